//! The kernel's count of connections and bytes equals what the records account for; what passes governor shows.

// Helpers beside the tests fail the test that called them.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use descriptor::Descriptor;
use governor_tests::client::PSQL_ROWS;
use governor_tests::database_host::{self, DatabaseHost, PORT, REMOTE_V4, REMOTE_V6, SERVER_V4, SERVER_V6};
use governor_tests::governor::{field, text};
use governor_tests::pki::Pki;
use governor_tests::postgres::Postgres;
use governor_tests::{Auth, Cgroup, Class, Governor, Options, Site, database, process, wait, wire};
use nix::sys::socket::{getsockopt, sockopt};
use serde_json::Value;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::Duration;

/// What `governor audit completeness` says of the newest run, and whether it is content.
fn completeness(governor: &Governor) -> (Value, bool) {
    let done = governor.cli(&["audit", "completeness", "--json"]).unwrap();
    let mut runs: Vec<Value> =
        serde_json::from_str(&done.out()).unwrap_or_else(|error| panic!("{error}: {}", done.all()));
    (runs.pop().unwrap(), done.status.success())
}

fn number(value: &Value, path: &str) -> u64 {
    value.pointer(path).and_then(Value::as_u64).unwrap_or_else(|| panic!("no {path} in {value}"))
}

/// A site whose server has TLS.
fn secure_site() -> Site {
    let pki = Pki::new().unwrap();
    pki.server("server", &["localhost", "127.0.0.1"]).unwrap();
    let settings = [
        "ssl=on".to_owned(),
        format!("ssl_cert_file={}", pki.path("server.crt").display()),
        format!("ssl_key_file={}", pki.path("server.key").display()),
        "max_connections=200".to_owned(),
    ];
    let settings: Vec<&str> = settings.iter().map(String::as_str).collect();
    let postgres = Postgres::start_with(Auth::Trust, &settings).unwrap();
    database::load(&postgres, "shop").unwrap();
    let group = Cgroup::create("governor-test").unwrap();
    let governor = Governor::start(&group, postgres.port(), &Options::default()).unwrap();
    Site { governor, group, postgres }
}

fn reset(stream: &TcpStream) {
    let linger = nix::libc::linger { l_onoff: 1, l_linger: 0 };
    nix::sys::socket::setsockopt(stream, sockopt::Linger, &linger).unwrap();
}

/// Sessions that end in every way that a client can think of.
fn every_ending(site: &Site) -> u64 {
    let mut connections = 0;
    for round in 0..40 {
        // A clean goodbye; a close without one; a reset; half a close.
        for ending in 0..4 {
            let mut session = site.wire(Class::Service).unwrap();
            session.send(&wire::query("SELECT repeat('x', 100000)")).unwrap();
            let stream = session.sender().unwrap();
            match ending {
                0 => {
                    session.until_ready().unwrap();
                    session.send(&wire::message(b'X', b"")).unwrap();
                    session.until_closed().unwrap();
                }
                1 => {
                    session.until_ready().unwrap();
                }
                2 => reset(&stream),
                _ => {
                    stream.shutdown(Shutdown::Write).unwrap();
                    session.until_closed().unwrap();
                }
            }
            connections += 1;
        }
        // Nothing at all, and bytes that are no protocol.
        let silent = site.socket(Class::Service).unwrap();
        let mut garbage = site.socket(Class::Service).unwrap();
        garbage.stream.write_all(&[0, 0, 0, 9, 9, 9, 9, 9, 9]).unwrap();
        if round % 2 == 0 {
            reset(&garbage.stream);
        }
        drop((silent, garbage));
        // A cancel request that hits nothing.
        let mut cancel = site.socket(Class::Service).unwrap();
        cancel.stream.write_all(&wire::cancel(&[0, 0, 0, 1, 0, 0, 0, 2])).unwrap();
        cancel.stream.read_to_end(&mut Vec::new()).unwrap();
        connections += 3;
    }
    connections
}

#[test]
fn thousands_of_sessions_of_every_ending_are_accounted_for_to_the_byte() {
    let mut site = secure_site();
    let mut connections = every_ending(&site);
    // COPY both ways, in clear and in TLS.
    for mode in ["disable", "require"] {
        let rows: String = (0..20_000).map(|row| format!("{row}\tvalue {row}\n")).collect();
        let script = format!(
            "CREATE TABLE bulk_{mode} (a int, b text);\nCOPY bulk_{mode} FROM STDIN;\n{rows}\\.\nCOPY bulk_{mode} TO STDOUT;\n"
        );
        let mut psql = site.client("psql", Class::Service).unwrap();
        psql.env("PGSSLMODE", mode).args(PSQL_ROWS);
        process::Running::start(psql, script.as_bytes())
            .unwrap()
            .finish(wait::PATIENCE)
            .unwrap()
            .ok()
            .unwrap();
        connections += 1;
    }
    // A cancel request that stops a statement: a connection of the client's, and one of governor's.
    let mut slow = site.wire(Class::Service).unwrap();
    slow.send(&wire::query("SELECT pg_sleep(600)")).unwrap();
    wait::until("the sleep to run", wait::PATIENCE, || {
        let asked = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(600)' AND state = 'active' AND pid <> pg_backend_pid()";
        Ok((site.truth(asked)? == "1").then_some(()))
    })
    .unwrap();
    let mut cancel = site.socket(Class::Service).unwrap();
    cancel.stream.write_all(&wire::cancel(&slow.cancel_key)).unwrap();
    slow.until_ready().unwrap();
    cancel.stream.read_to_end(&mut Vec::new()).unwrap();
    drop((slow, cancel));
    connections += 2;
    // A connection for each transaction, eight at a time.
    let (clients, transactions) = (8, 250);
    let mut pgbench = site.client("pgbench", Class::Service).unwrap();
    pgbench.args(["-i", "-q", "-s", "1"]);
    process::run(pgbench, Duration::from_secs(120)).unwrap().ok().unwrap();
    let mut pgbench = site.client("pgbench", Class::Service).unwrap();
    pgbench.env("PGSSLMODE", "disable");
    let (c, t) = (clients.to_string(), transactions.to_string());
    pgbench.args(["-n", "-S", "-C", "-j", "2", "-c", &c, "-t", &t]);
    process::run(pgbench, Duration::from_secs(240)).unwrap().ok().unwrap();
    connections += clients * transactions;

    // While it runs: everything that has ended is compared, and nothing differs.
    wait::until("all sockets to be compared", wait::PATIENCE, || {
        let status = site.governor.json(&["status"])?.remove(0);
        let (pending, open) =
            (number(&status, "/completeness/clients/pending"), number(&status, "/completeness/clients/open"));
        Ok((pending + open == 0).then_some(()))
    })
    .unwrap();
    site.governor.stop().unwrap();
    let (run, content) = completeness(&site.governor);
    println!("{}", site.governor.cli(&["audit", "completeness"]).unwrap().out());
    assert!(content && text(&run, "verdict") == "whole", "{run:#}");
    assert_eq!(field(&run, "stopped"), &Value::Bool(true));
    let counted = number(&run, "/sums/clients/counted/connections");
    // psql and pgbench may connect more often than asked, never less.
    assert!(counted >= connections, "{counted} of {connections}");
    assert_eq!(counted, number(&run, "/sums/capture/handed_over"));
    let redirected = number(&run, "/sums/capture/redirected");
    assert_eq!(redirected, counted + number(&run, "/sums/capture/not_arrived"));
    for side in ["clients", "databases"] {
        let of = |path: &str| number(&run, &format!("/sums/{side}/{path}"));
        assert_eq!((of("pending"), of("open")), (0, 0), "{run:#}");
        // The kernel's running sums say the same as its records, one by one.
        assert_eq!(of("kernel_opened"), of("counted/connections"), "{side}");
        assert_eq!(of("kernel_closed"), of("counted/connections"), "{side}");
        assert_eq!(
            of("counted/connections"),
            of("audited/connections") + of("refused/connections"),
            "{side}"
        );
        assert_eq!(
            of("counted/bytes_in"),
            of("audited/bytes_in") + of("refused/bytes_in") + of("unread") + of("late")
        );
        assert_eq!(
            of("counted/bytes_out") + of("undelivered"),
            of("audited/bytes_out") + of("refused/bytes_out")
        );
        assert!(of("counted/bytes_in") > 100_000 && of("counted/bytes_out") > 100_000);
    }
    // The sums are signed with everything else.
    let verified = site.governor.json(&["audit", "verify"]).unwrap().remove(0);
    assert_eq!(verified["ok"], Value::Bool(true));
    assert_eq!(number(&verified, "/summary/completeness/clients/counted/connections"), counted);
    assert_eq!(number(&verified, "/summary/completeness_mismatches"), 0);
    assert!(site.governor.events("completeness_mismatch").unwrap().is_empty());
}

#[test]
fn a_connection_that_is_taken_past_governor_is_found_out() {
    let site = Site::start().unwrap();
    site.psql(Class::Service, "SELECT 1").unwrap().ok().unwrap();
    let pid = site.governor.pid().unwrap();
    let listeners = stolen_listeners(&site.governor);
    // governor sleeps while somebody else who has its socket takes a connection in its place.
    stop(pid);
    let mut client = site.socket(Class::Service).unwrap();
    let mut taken = take_past(&listeners);
    client.stream.write_all(b"past governor").unwrap();
    taken.read_exact(&mut [0; 13]).unwrap();
    taken.write_all(b"pong").unwrap();
    client.stream.read_exact(&mut [0; 4]).unwrap();
    drop((taken, listeners, client));
    process::send_signal(pid, libc::SIGCONT).unwrap();

    let record = site.governor.wait_for_record("completeness_mismatch", |_| true).unwrap();
    assert_eq!((text(&record, "kind"), text(&record, "side")), ("unaudited".into(), "client".into()));
    assert!(number(&record, "/counted") >= 17, "{record}");
    let metrics = site.governor.metrics().unwrap();
    assert!(metrics.contains("governor_completeness_mismatches_total{kind=\"unaudited\"} 1\n"), "{metrics}");
    let (run, content) = completeness(&site.governor);
    assert!(!content && text(&run, "verdict") == "difference", "{run:#}");
    assert_eq!(run["mismatches"].as_array().unwrap().len(), 1);
    let said = site.governor.cli(&["audit", "completeness"]).unwrap();
    assert!(said.out().contains("FOUND: the kernel's count and the records differ"), "{}", said.out());
    let status = site.governor.cli(&["status"]).unwrap().out();
    assert!(status.contains("1 MISMATCHES"), "{status}");
    // Others go on, and the chain that tells of it is whole.
    site.psql(Class::Service, "SELECT 2").unwrap().ok().unwrap();
    let verified = site.governor.cli(&["audit", "verify"]).unwrap().ok().unwrap().out();
    assert!(verified.contains("1 times the kernel's count and the records differed"), "{verified}");
}

#[test]
fn bytes_that_are_read_beside_governor_are_found_out() {
    let site = Site::start().unwrap();
    let mut session = site.wire(Class::Service).unwrap();
    assert_eq!(wire::tags(&session.query("SELECT 1").unwrap()), "TDCZ");
    let pid = site.governor.pid().unwrap();
    let client = session.sender().unwrap().local_addr().unwrap();
    let mut beside: TcpStream =
        stolen(pid, |socket| (socket.peer_addr().ok()?.as_socket()? == client).then_some(())).into();
    stop(pid);
    let hidden = wire::query("DELETE FROM orders");
    session.send(&hidden).unwrap();
    beside.set_nonblocking(false).unwrap();
    beside.read_exact(&mut vec![0; hidden.len()]).unwrap();
    drop(beside);
    process::send_signal(pid, libc::SIGCONT).unwrap();
    assert_eq!(wire::tags(&session.query("SELECT 2").unwrap()), "TDCZ");
    session.send(&wire::message(b'X', b"")).unwrap();
    session.until_closed().unwrap();

    let record = site.governor.wait_for_record("completeness_mismatch", |_| true).unwrap();
    assert_eq!((text(&record, "kind"), text(&record, "side")), ("bytes_in".into(), "client".into()));
    assert_eq!(number(&record, "/counted") - number(&record, "/audited"), hidden.len() as u64);
    let ended = site.governor.wait_for_record("session_end", |_| true).unwrap();
    assert_eq!(text(&record, "session"), text(&ended, "session"), "the session is named");
    assert!(!completeness(&site.governor).1);
}

#[test]
fn connections_that_are_refused_before_a_session_are_accounted_for() {
    let more = "[limits]\nconnections_per_source_max = 2\n".to_owned();
    let mut site = Site::with(Auth::Trust, &Options { more, ..Options::default() }).unwrap();
    let held: Vec<_> = (0..2).map(|_| site.wire(Class::Service).unwrap()).collect();
    // So many are told why; the others are only closed.
    let over: Vec<_> = (0..50).map(|_| site.socket(Class::Service).unwrap()).collect();
    for socket in over {
        (&socket.stream).write_all(&wire::startup("app", "shop")).ok();
        let mut reply = Vec::new();
        (&socket.stream).read_to_end(&mut reply).ok();
    }
    drop(held);
    site.governor.stop().unwrap();
    let (run, content) = completeness(&site.governor);
    assert!(content, "{run:#}");
    assert_eq!(number(&run, "/sums/clients/counted/connections"), 52, "{run:#}");
    let refused = number(&run, "/sums/clients/refused/connections");
    assert!(refused > 0 && refused < 50, "{run:#}");
}

#[test]
fn what_ended_with_a_killed_agent_is_told_by_the_next() {
    let mut site = Site::start().unwrap();
    let mut held: Vec<_> = (0..3).map(|_| site.wire(Class::Service).unwrap()).collect();
    for session in &mut held {
        assert_eq!(wire::tags(&session.query("SELECT 1").unwrap()), "TDCZ");
    }
    site.governor.kill().unwrap();
    drop(held);
    site.governor.launch().unwrap();
    site.psql(Class::Service, "SELECT 2").unwrap().ok().unwrap();
    site.governor.stop().unwrap();
    let (run, content) = completeness(&site.governor);
    assert!(content, "{run:#}");
    assert_eq!(number(&run, "/sums/before/client/connections"), 3, "{run:#}");
    assert_eq!(number(&run, "/sums/before/database/connections"), 3, "{run:#}");
    assert!(number(&run, "/sums/before/client/bytes_in") > 60, "{run:#}");
    let said = site.governor.cli(&["audit", "completeness"]).unwrap().out();
    assert!(said.contains("the agent before left 3 connections of clients"), "{said}");
}

#[test]
fn sessions_of_other_hosts_are_accounted_for_to_the_byte_on_both_sides() {
    let mut site = DatabaseHost::start("ports = [5432]", Auth::Trust, &Options::default()).unwrap();
    let mut connections = 0;
    for (server, _) in [(SERVER_V4, REMOTE_V4), (SERVER_V6, REMOTE_V6)] {
        for sql in ["SELECT repeat('x', 100000)", "SELECT 1", "nonsense"] {
            site.remote_psql(server, sql).unwrap();
            connections += 1;
        }
        // A connection for each transaction.
        let mut pgbench = site.remote("pgbench", server).unwrap();
        let script = site.governor.state_dir().join("one.sql");
        std::fs::write(&script, "SELECT 1;\n").unwrap();
        pgbench.args(["-n", "-C", "-c", "4", "-j", "2", "-t", "25", "-f"]).arg(&script);
        process::run(pgbench, Duration::from_secs(120)).unwrap().ok().unwrap();
        connections += 100;
        // One that is gone in the middle of an answer.
        let mut python = site.remote("python3", server).unwrap();
        python.args(["-c", "import socket, sys; s = socket.create_connection((sys.argv[1], 5432)); s.sendall(b'\\0\\0\\0\\x09xxxxx')", server]);
        process::run(python, wait::PATIENCE).unwrap().ok().unwrap();
        connections += 1;
        site.local_psql("127.0.0.1", Class::Service, "SELECT 'local'").unwrap().ok().unwrap();
    }
    // From this host, in no group of `clients`: closed, and counted all the same.
    let mut psql = governor_tests::client::outside("psql", PORT);
    psql.env("PGHOST", "127.0.0.1");
    site.host.enter(&mut psql).unwrap();
    assert!(!database_host::psql(psql, "SELECT 1").unwrap().status.success());

    let status = site.governor.json(&["status"]).unwrap().remove(0);
    let listeners = status["kernel_side"]["listeners"].as_array().unwrap();
    assert!(listeners.iter().any(|one| one["port"] == PORT), "{listeners:?}");
    site.governor.stop().unwrap();
    let said = site.governor.cli(&["audit", "completeness"]).unwrap().out();
    println!("{said}");
    let (run, content) = completeness(&site.governor);
    assert!(content && text(&run, "verdict") == "whole", "{run:#}");
    let arrived = number(&run, "/sums/capture/arrived");
    assert!(arrived > connections, "{arrived} of {connections}");
    let counted = number(&run, "/sums/clients/counted/connections");
    assert_eq!(counted, arrived + number(&run, "/sums/capture/handed_over"));
    assert_eq!(number(&run, "/sums/capture/handed_over"), 2, "the local sessions");
    assert!(number(&run, "/sums/clients/refused/connections") >= 1, "{run:#}");
    for side in ["clients", "databases"] {
        let of = |path: &str| number(&run, &format!("/sums/{side}/{path}"));
        assert_eq!((of("pending"), of("open")), (0, 0), "{run:#}");
        assert_eq!(of("kernel_opened"), of("counted/connections"), "{side}");
        assert_eq!(of("counted/connections"), of("audited/connections") + of("refused/connections"));
        assert!(of("counted/bytes_in") > 10_000 && of("counted/bytes_out") > 10_000, "{run:#}");
    }
    assert!(said.contains(&format!("arrived from other hosts: {arrived}")), "{said}");
    assert!(site.governor.events("completeness_mismatch").unwrap().is_empty());
}

#[test]
fn an_arriving_connection_that_is_taken_past_governor_is_found_out() {
    let site = DatabaseHost::start("ports = [5432]", Auth::Trust, &Options::default()).unwrap();
    site.remote_psql(SERVER_V4, "SELECT 1").unwrap().ok().unwrap();
    let pid = site.governor.pid().unwrap();
    let listeners = stolen_listeners(&site.governor);
    stop(pid);
    let mut client = site.remote("python3", SERVER_V4).unwrap();
    client.args(["-c", "import socket, sys; s = socket.create_connection((sys.argv[1], 5432)); s.sendall(b'past governor'); s.recv(9)", SERVER_V4]);
    let client = process::Running::start(client, &[]).unwrap();
    let mut taken = take_past(&listeners);
    taken.read_exact(&mut [0; 13]).unwrap();
    taken.write_all(b"pong").unwrap();
    drop((taken, listeners));
    client.finish(wait::PATIENCE).unwrap().ok().unwrap();
    process::send_signal(pid, libc::SIGCONT).unwrap();

    let record = site.governor.wait_for_record("completeness_mismatch", |_| true).unwrap();
    assert_eq!((text(&record, "kind"), text(&record, "side")), ("unaudited".into(), "client".into()));
    assert!(number(&record, "/counted") >= 17 && field(&record, "pid").is_null(), "{record}");
    let start = &site.governor.events("agent_start").unwrap()[0];
    assert_eq!(text(&record, "run"), text(start, "run"));
    let (run, content) = completeness(&site.governor);
    assert!(!content && text(&run, "verdict") == "difference", "{run:#}");
}

#[test]
fn sessions_over_unix_sockets_are_a_row_that_says_that_nobody_else_counted() {
    let directory = tempfile::tempdir().unwrap();
    if let Some((uid, gid)) = governor_tests::postgres::server_user().unwrap() {
        std::os::unix::fs::chown(directory.path(), Some(uid), Some(gid)).unwrap();
    }
    let postgres = Postgres::start_with_socket_in(directory.path(), Auth::Trust, &[]).unwrap();
    database::load(&postgres, "shop").unwrap();
    let socket = directory.path().join(format!(".s.PGSQL.{}", postgres.port()));
    let group = Cgroup::create("governor-test").unwrap();
    let more = format!("\n[[capture.unix]]\npath = {socket:?}\n");
    let options = Options { more, ..Options::default() };
    let mut governor = Governor::start(&group, postgres.port(), &options).unwrap();
    let psql = |host: &std::ffi::OsStr| {
        let mut psql =
            governor_tests::client::command("psql", &group, Class::Service, postgres.port()).unwrap();
        psql.env("PGHOST", host).env_remove("PGSSLMODE").args(PSQL_ROWS);
        psql.args(["-c", "SELECT repeat('x', 100000)"]);
        process::run(psql, wait::PATIENCE).unwrap().ok().unwrap();
    };
    for _ in 0..3 {
        psql(directory.path().as_os_str());
    }
    psql("127.0.0.1".as_ref());
    let ended = wait::until("the sessions' last records", wait::PATIENCE, || {
        let ended = governor.events("session_end")?;
        Ok((ended.len() == 4).then_some(ended))
    })
    .unwrap();
    let over_unix: Vec<&Value> =
        ended.iter().filter(|end| field(end, "sockets")["unix"].is_object()).collect();
    assert_eq!(over_unix.len(), 3, "{ended:?}");
    wait::until("the status to tell", wait::PATIENCE, || {
        let status = governor.cli(&["status"])?.ok()?.out();
        Ok(status.contains("3 over unix sockets, which the kernel does not count").then_some(()))
    })
    .unwrap();
    governor.stop().unwrap();
    let said = governor.cli(&["audit", "completeness"]).unwrap().ok().unwrap().out();
    println!("{said}");
    assert!(said.contains("unix sockets, clients: the kernel keeps no count of these"), "{said}");
    let (run, content) = completeness(&governor);
    assert!(content && text(&run, "verdict") == "whole", "{run:#}");
    for side in ["clients", "databases"] {
        let of = |path: &str| number(&run, &format!("/sums/unix/{side}/{path}"));
        assert_eq!((of("audited/connections"), of("open")), (3, 0), "{run:#}");
        assert!(of("audited/bytes_in") + of("audited/bytes_out") > 300_000, "{run:#}");
        assert_eq!(number(&run, &format!("/sums/{side}/counted/connections")), 1, "the one over TCP");
    }
    assert_eq!(run["sums"]["unix"]["clients"]["audited"], run["sessions"]["unix"]["client"]);
}

/// SIGSTOP, and every thread has heard it: until then one of them may read what is not for it.
fn stop(pid: u32) {
    process::send_signal(pid, libc::SIGSTOP).unwrap();
    wait::until("every thread to be stopped", wait::PATIENCE, || {
        let mut threads = std::fs::read_dir(format!("/proc/{pid}/task"))?;
        let stopped = threads.all(|thread| {
            let stat = thread.and_then(|thread| std::fs::read_to_string(thread.path().join("stat")));
            stat.is_ok_and(|stat| stat.rsplit(')').next().is_some_and(|rest| rest.starts_with(" T")))
        });
        Ok(stopped.then_some(()))
    })
    .unwrap();
}

/// Every IPv4 listener of governor's at which clients may arrive.
fn stolen_listeners(governor: &Governor) -> Vec<TcpListener> {
    let metrics = governor.metrics_address().unwrap();
    let pid = governor.pid().unwrap();
    let mut known: Vec<SocketAddr> = Vec::new();
    let mut found = Vec::new();
    while let Some(listener) = copied(pid, |socket| {
        let local: SocketAddr = socket.local_addr().ok()?.as_socket()?;
        let listens = getsockopt(socket, sockopt::AcceptConn).unwrap_or(false);
        let is_new = local.is_ipv4() && local.to_string() != metrics && !known.contains(&local);
        (listens && is_new).then_some(())
    }) {
        let listener = TcpListener::from(listener);
        known.push(listener.local_addr().unwrap());
        found.push(listener);
    }
    // As many as governor has by default.
    assert!(found.len() >= 4, "{known:?}");
    found
}

/// The next connection at one of these, which are not blocking, as governor's are.
fn take_past(listeners: &[TcpListener]) -> TcpStream {
    let taken = wait::until("a connection at one of the listeners", wait::PATIENCE, || {
        Ok(listeners.iter().find_map(|listener| listener.accept().ok()).map(|(taken, _)| taken))
    })
    .unwrap();
    taken.set_nonblocking(false).unwrap();
    taken
}

/// A copy of a socket of another process, as root can have one: the first that fits.
fn stolen(pid: u32, fits: impl Fn(&Descriptor) -> Option<()>) -> OwnedFd {
    copied(pid, fits).unwrap_or_else(|| panic!("process {pid} has no such socket"))
}

fn copied(pid: u32, fits: impl Fn(&Descriptor) -> Option<()>) -> Option<OwnedFd> {
    // SAFETY: plain integers in, a descriptor or an error out.
    let process = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    assert!(process >= 0, "{}", std::io::Error::last_os_error());
    // SAFETY: the kernel has just made it for us.
    let process = unsafe { OwnedFd::from_raw_fd(process as i32) };
    for entry in std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap() {
        let number: i32 = entry.unwrap().file_name().to_string_lossy().parse().unwrap();
        // SAFETY: plain integers in, a descriptor or an error out.
        let copy = unsafe { libc::syscall(libc::SYS_pidfd_getfd, process.as_raw_fd(), number, 0) };
        if copy < 0 {
            continue;
        }
        // SAFETY: the kernel has just made it for us.
        let copy = unsafe { OwnedFd::from_raw_fd(copy as i32) };
        let view = Descriptor(copy);
        if fits(&view).is_some() {
            return Some(view.0);
        }
    }
    None
}

/// Asks a descriptor for its addresses.
mod descriptor {
    use nix::sys::socket::{SockaddrStorage, getpeername, getsockname};
    use std::net::SocketAddr;
    use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

    pub struct Descriptor(pub OwnedFd);

    pub struct Address(SockaddrStorage);

    impl Descriptor {
        pub fn local_addr(&self) -> nix::Result<Address> {
            getsockname(self.0.as_raw_fd()).map(Address)
        }

        pub fn peer_addr(&self) -> nix::Result<Address> {
            getpeername(self.0.as_raw_fd()).map(Address)
        }
    }

    impl AsFd for Descriptor {
        fn as_fd(&self) -> BorrowedFd<'_> {
            self.0.as_fd()
        }
    }

    impl Address {
        pub fn as_socket(&self) -> Option<SocketAddr> {
            let v4 = self.0.as_sockaddr_in().map(|v4| SocketAddr::from((v4.ip(), v4.port())));
            v4.or_else(|| self.0.as_sockaddr_in6().map(|v6| SocketAddr::from((v6.ip(), v6.port()))))
        }
    }
}
