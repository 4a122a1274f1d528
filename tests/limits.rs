//! What no client, server or network can make governor keep, wait for or serve.

// Helpers beside the tests fail the test that called them.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

#[path = "limits/gigabyte.rs"]
mod gigabyte;
#[path = "limits/idle.rs"]
mod idle;

use governor_tests::remote_socket::RemoteSocket;
use governor_tests::wire::{self, Message, Wire};
use governor_tests::{Auth, Cgroup, Class, Governor, Options, Site, process, wait};
use std::collections::HashSet;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::time::Instant;

/// More than any of these peers may make governor keep: allocator slack of a debug build included.
const GROWTH_KIB_MAX: u64 = 96 * 1024;
const MIB: usize = 1 << 20;

fn limited(limits: &str) -> Site {
    let options = Options { more: format!("[limits]\n{limits}\n"), ..Options::default() };
    Site::with(Auth::Trust, &options).unwrap()
}

fn counted(site: &Site, series: &str) -> f64 {
    let page = site.governor.metrics().unwrap();
    page.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')).unwrap().parse().unwrap()
}

/// The error that a new client of `class` is refused with; `None` where it is served.
fn refusal(site: &Site, class: Class) -> Option<Message> {
    let mut wire = Wire::new(site.socket(class).unwrap()).unwrap();
    wire.send(&wire::startup("app", "shop")).unwrap();
    let replies = wire.until_ready().unwrap();
    replies.into_iter().find(|message| message.tag == b'E')
}

/// What governor grew by at most while `work` ran, printed.
fn growth_kib(what: &str, pid: u32, work: impl FnOnce()) -> u64 {
    process::forget_peak(pid).unwrap();
    let before = process::rss_kib(pid).unwrap();
    let begun = Instant::now();
    work();
    let growth = process::peak_kib(pid).unwrap().saturating_sub(before);
    println!("{what}: at most {growth} KiB more, in {:?}", begun.elapsed());
    growth
}

#[test]
fn over_the_limit_a_client_is_told_so_and_cancel_still_works() {
    let site = limited("connections_max = 6\nconnections_per_source_max = 6");
    let mut sessions: Vec<Wire> = (0..6).map(|_| site.wire(Class::Service).unwrap()).collect();
    for class in [Class::Service, Class::Person] {
        let error = refusal(&site, class).expect("refused");
        assert_eq!(error.field(b'C').as_deref(), Some("53300"));
        assert_eq!(error.field(b'V').as_deref(), Some("FATAL"));
        assert!(error.field(b'H').unwrap().contains("limits.connections_max"), "{error:?}");
    }
    let psql = site.psql(Class::Service, "SELECT 1;").unwrap();
    assert!(psql.err().contains("6 connections are open"), "{}", psql.err());
    // A request that needs no place gets none denied.
    sessions[0].send(&wire::query("SELECT pg_sleep(600)")).unwrap();
    wait::until("the sleep", wait::PATIENCE, || {
        let sql = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'";
        Ok((site.truth(sql)? == "1").then_some(()))
    })
    .unwrap();
    let mut canceller = Wire::new(site.socket(Class::Service).unwrap()).unwrap();
    canceller.send(&wire::cancel(&sessions[0].cancel_key)).unwrap();
    let reply = sessions[0].until_ready().unwrap();
    assert_eq!(reply.iter().find_map(|m| m.field(b'C').filter(|_| m.tag == b'E')).as_deref(), Some("57014"));
    assert!(counted(&site, "governor_connections_refused_total{reason=\"limit\"}") >= 3.0);
    drop(sessions.pop());
    wait::until("a free place", wait::PATIENCE, || {
        Ok(refusal(&site, Class::Service).is_none().then_some(()))
    })
    .unwrap();
}

#[test]
fn one_source_does_not_shut_out_another() {
    let site = limited("connections_per_source_max = 4");
    let sessions: Vec<Wire> = (0..4).map(|_| site.wire(Class::Service).unwrap()).collect();
    let error = refusal(&site, Class::Service).expect("refused");
    assert_eq!(error.field(b'C').as_deref(), Some("53300"));
    assert!(error.field(b'H').unwrap().contains("limits.connections_per_source_max"), "{error:?}");
    assert!(error.field(b'M').unwrap().contains("root has 4 connections"), "who: {error:?}");
    assert!(refusal(&site, Class::Person).is_none(), "another cgroup is another source");
    assert!(counted(&site, "governor_connections_refused_total{reason=\"source_limit\"}") >= 1.0);
    drop(sessions);
    wait::until("a free place", wait::PATIENCE, || {
        Ok(refusal(&site, Class::Service).is_none().then_some(()))
    })
    .unwrap();
}

#[test]
fn a_storm_of_connections_costs_little_and_ends() {
    let mut site = limited("connections_max = 20\nconnections_per_source_max = 20\nstartup_timeout = \"2s\"");
    let mut served = site.wire(Class::Person).unwrap();
    let pid = site.governor.pid().unwrap();
    let mut storm = Vec::new();
    let growth = growth_kib("400 connections at once", pid, || {
        storm = (0..400).map(|_| site.socket(Class::Service).unwrap()).collect();
        assert_eq!(wire::tags(&served.query("SELECT 1").unwrap()), "TDCZ", "who is served stays so");
    });
    assert!(growth < GROWTH_KIB_MAX);
    // Silent ones are ended by the deadline; beyond the refusals connections are closed at once.
    for mut socket in storm {
        let mut said = Vec::new();
        socket.stream.set_read_timeout(Some(wait::PATIENCE)).unwrap();
        match socket.stream.read_to_end(&mut said) {
            Ok(_) => {}
            Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset),
        }
    }
    assert!(site.governor.alive().unwrap());
    wait::until("a free place", wait::PATIENCE, || {
        Ok(refusal(&site, Class::Service).is_none().then_some(()))
    })
    .unwrap();
}

#[test]
fn a_start_up_of_a_byte_at_a_time_ends_at_its_deadline() {
    let site = limited("startup_timeout = \"500ms\"");
    let mut slow = site.socket(Class::Service).unwrap();
    let packet = wire::startup_with(0, &[("user", "app"), ("application_name", &"x".repeat(9_000))]);
    let mut bytes = packet.iter();
    let begun = Instant::now();
    wait::until("the end of the connection", wait::PATIENCE, || {
        Ok(slow.stream.write_all(&[*bytes.next().unwrap()]).is_err().then_some(()))
    })
    .unwrap();
    println!(
        "ended after {:?}, {} bytes of {} sent",
        begun.elapsed(),
        packet.len() - bytes.len(),
        packet.len()
    );
    let end = site.governor.wait_for_record("session_end", |_| true).unwrap();
    assert!(end.to_string().contains("startup_timeout"), "{end}");
}

#[test]
fn an_authentication_that_is_not_answered_ends_at_its_deadline() {
    let options = Options {
        more: "[limits]\nauthentication_timeout = \"500ms\"\nupstream_connect_timeout = \"500ms\"\n".into(),
        ..Options::default()
    };
    let site = Site::with(Auth::ScramSha256, &options).unwrap();
    let mut silent = Wire::new(site.socket(Class::Service).unwrap()).unwrap();
    silent.send(&wire::startup("app", "shop")).unwrap();
    assert_eq!(silent.read().unwrap().tag, b'R');
    let error = silent.read().unwrap();
    assert_eq!((error.tag, error.field(b'V').as_deref()), (b'E', Some("FATAL")));
    assert!(silent.until_closed().unwrap().is_empty());
}

/// Closes a socket so that its peer never hears of it.
fn vanish(stream: &TcpStream) {
    let on: libc::c_int = 1;
    // SAFETY: the option's value is an int of this frame, and its length is told.
    let set = unsafe {
        libc::setsockopt(
            stream.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_REPAIR,
            (&raw const on).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    assert_eq!(set, 0, "{}", std::io::Error::last_os_error());
}

/// Bytes that were written and that the other kernel has not acknowledged.
fn unacknowledged(stream: &TcpStream) -> libc::c_int {
    let mut bytes: libc::c_int = 0;
    // SAFETY: the request writes one int, into this frame.
    let done = unsafe { libc::ioctl(stream.as_raw_fd(), libc::TIOCOUTQ, &raw mut bytes) };
    assert_eq!(done, 0, "{}", std::io::Error::last_os_error());
    bytes
}

#[test]
fn a_client_that_vanishes_without_a_word_is_noticed() {
    let site = limited("peer_timeout = \"2s\"");
    let socket = site.socket(Class::Service).unwrap();
    let other = socket.stream.try_clone().unwrap();
    let mut client = Wire::new(socket).unwrap();
    client.start("app", "shop").unwrap();
    let begun = Instant::now();
    vanish(&other);
    drop((client, other));
    let end = site.governor.wait_for_record("session_end", |_| true).unwrap();
    println!("noticed after {:?}", begun.elapsed());
    assert!(end.to_string().contains("client_closed"), "{end}");
}

#[test]
fn a_server_that_vanishes_without_a_word_is_noticed() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut buffer = [0; 4096];
        assert!(stream.read(&mut buffer).unwrap() > 0);
        stream.write_all(&[wire::message(b'R', &[0; 4]), wire::message(b'Z', b"I")].concat()).unwrap();
        // Nothing is under way that would be sent again: only a question of the kernel's can find out.
        wait::until("everything to be acknowledged", wait::PATIENCE, || {
            Ok((unacknowledged(&stream) == 0).then_some(()))
        })
        .unwrap();
        vanish(&stream);
    });
    let group = Cgroup::create("governor-test").unwrap();
    let options = Options { more: "[limits]\npeer_timeout = \"2s\"\n".into(), ..Options::default() };
    let governor = Governor::start(&group, address.port(), &options).unwrap();
    let mut client =
        Wire::new(RemoteSocket::connect(&group.client(Class::Service), address).unwrap()).unwrap();
    client.start("app", "shop").unwrap();
    let begun = Instant::now();
    server.join().unwrap();
    assert!(client.until_closed().unwrap().is_empty());
    println!("noticed after {:?}", begun.elapsed());
    drop(governor);
}

#[test]
fn a_gigabyte_that_is_announced_and_never_comes_costs_no_memory() {
    let site = Site::start().unwrap();
    let mut clients = Vec::new();
    let growth = growth_kib("64 × 1 GiB announced", site.governor.pid().unwrap(), || {
        for number in 0..64 {
            let class = [Class::Service, Class::Agent][number % 2];
            let mut client = site.wire(class).unwrap();
            let tag = b"QPBd"[number / 2 % 4];
            client.send(&[&[tag, 0x3f, 0xff, 0xff, 0xfe][..], &[b'x'; 1000]].concat()).unwrap();
            clients.push(client);
        }
        site.psql(Class::Service, "SELECT 1;").unwrap().ok().unwrap();
    });
    assert!(growth < GROWTH_KIB_MAX);
}

#[test]
fn an_insert_of_256_mib_is_policed_in_bounded_memory() {
    let site = Site::start().unwrap();
    site.truth("CREATE TABLE big (t text); GRANT ALL ON big TO app").unwrap();
    let pid = site.governor.pid().unwrap();
    let insert = wire::query(&format!("INSERT INTO big VALUES ('{}')", "x".repeat(256 * MIB)));
    for class in [Class::Agent, Class::Person] {
        let mut client = site.wire(class).unwrap();
        let growth = growth_kib("256 MiB denied", pid, || {
            client.send(&insert).unwrap();
            let reply = client.until_ready().unwrap();
            assert_eq!(reply[0].field(b'C').as_deref(), Some("42501"), "{:?}", reply[0]);
        });
        assert!(growth < GROWTH_KIB_MAX);
        assert_eq!(wire::tags(&client.query("SELECT 1").unwrap()), "TDCZ", "the session goes on");
    }
    assert_eq!(site.truth("SELECT count(*) FROM big").unwrap(), "0");
    let mut service = site.wire(Class::Service).unwrap();
    let growth = growth_kib("256 MiB passed", pid, || {
        service.send(&insert).unwrap();
        assert_eq!(wire::tags(&service.until_ready().unwrap()), "CZ");
    });
    assert!(growth < GROWTH_KIB_MAX);
    assert_eq!(site.truth("SELECT length(t) FROM big").unwrap(), (256 * MIB).to_string());
    // As a bound value the statement is known: it is the value that streams.
    let (parse, execute) = (wire::parse("", "INSERT INTO big VALUES ($1::text)"), wire::execute(""));
    let value = "y".repeat(64 * MIB);
    let bound = [parse, wire::bind("", "", &[&value]), execute, wire::sync()].concat();
    let mut person = site.wire(Class::Person).unwrap();
    let growth = growth_kib("64 MiB bound", pid, || {
        person.send(&bound).unwrap();
        assert_eq!(wire::tags(&person.until_ready().unwrap()), "12CZ");
    });
    assert!(growth < GROWTH_KIB_MAX);
}

#[test]
fn a_value_of_256_mib_passes_in_bounded_memory() {
    let site = Site::start().unwrap();
    let mut service = site.wire(Class::Service).unwrap();
    let growth = growth_kib("a value of 256 MiB", site.governor.pid().unwrap(), || {
        let reply = service.query(&format!("SELECT repeat('x', {})", 256 * MIB)).unwrap();
        assert_eq!(wire::tags(&reply), "TDCZ");
        assert_eq!(reply[1].body.len(), 256 * MIB + 6);
    });
    assert!(growth < GROWTH_KIB_MAX);
}

#[test]
fn ten_thousand_prepared_statements_and_a_million_rows_take_their_place_only() {
    let site = Site::start().unwrap();
    let pid = site.governor.pid().unwrap();
    for class in [Class::Service, Class::Person] {
        let mut client = site.wire(class).unwrap();
        let growth = growth_kib("10,000 prepared statements", pid, || {
            for hundred in 0..100 {
                let batch: Vec<u8> = (0..100)
                    .flat_map(|n| {
                        wire::parse(&format!("s{hundred}_{n}"), &format!("SELECT {hundred} * 100 + {n}"))
                    })
                    .collect();
                client.send(&[batch, wire::sync()].concat()).unwrap();
                assert_eq!(wire::tags(&client.until_ready().unwrap()), "1".repeat(100) + "Z");
            }
            let held = client.query("SELECT count(*) FROM pg_prepared_statements").unwrap();
            assert_eq!(held[1].row().unwrap()[0].as_deref(), Some(&b"10000"[..]));
            for name in ["s0_0", "s99_99"] {
                client.send(&[wire::bind("", name, &[]), wire::execute(""), wire::sync()].concat()).unwrap();
                assert_eq!(wire::tags(&client.until_ready().unwrap()), "2DCZ", "{name}");
            }
        });
        assert!(growth < GROWTH_KIB_MAX);
        let growth = growth_kib("a million rows", pid, || {
            client.send(&wire::query("SELECT n, 'row ' || n FROM generate_series(1, 1000000) n")).unwrap();
            assert_eq!(client.read().unwrap().tag, b'T');
            let rows = std::iter::from_fn(|| client.read().ok().filter(|m| m.tag == b'D')).count();
            assert_eq!(rows, 1_000_000, "{}", class.as_str());
            assert_eq!(client.read().unwrap().tag, b'Z');
        });
        assert!(growth < GROWTH_KIB_MAX);
        if class == Class::Service {
            continue;
        }
        // One more is judged like the first, and those from before go on.
        let evil = [wire::parse("evil", "SELEC 1"), wire::bind("", "evil", &[])].concat();
        client.send(&[evil, wire::execute(""), wire::sync()].concat()).unwrap();
        let refused = client.until_ready().unwrap();
        let error = refused.iter().find(|message| message.tag == b'E').expect("denied");
        assert_eq!(error.field(b'C').as_deref(), Some("42501"), "{error:?}");
        client.send(&[wire::bind("", "s50_50", &[]), wire::execute(""), wire::sync()].concat()).unwrap();
        assert_eq!(wire::tags(&client.until_ready().unwrap()), "2DCZ");
        // And a million of which each holds something that is masked.
        let people: usize = site.truth("SELECT count(*) FROM people").unwrap().parse().unwrap();
        let secrets = site.truth("SELECT string_agg(email, ' ') FROM people").unwrap();
        let secrets: HashSet<&[u8]> = secrets.split(' ').map(str::as_bytes).collect();
        let times = 1_000_000_usize.div_ceil(people);
        let growth = growth_kib("a million masked rows", pid, || {
            let sql = format!("SELECT email FROM people, generate_series(1, {times})");
            client.send(&wire::query(&sql)).unwrap();
            assert_eq!(client.read().unwrap().tag, b'T');
            let mut count = 0;
            let end = loop {
                let message = client.read().unwrap();
                if message.tag != b'D' {
                    break message;
                }
                let row = message.row().unwrap();
                assert!(!secrets.contains(row[0].as_deref().unwrap()), "{row:?}");
                count += 1;
            };
            assert_eq!((count, end.tag), (people * times, b'C'), "{end:?}");
            assert_eq!(client.read().unwrap().tag, b'Z');
        });
        assert!(growth < GROWTH_KIB_MAX);
    }
}

/// Just as long as may be is read and known; one byte more is not, and counts as what nobody knows.
#[test]
fn a_statement_is_known_up_to_the_ceiling_and_not_a_byte_beyond() {
    const CEILING: usize = 64 * 1024;
    let site = limited("statement_bytes_max = \"64KiB\"");
    // The message of a simple query is its text and a zero.
    let of = |bytes: usize| format!("SELECT 1 --{}", "x".repeat(bytes - "SELECT 1 --".len() - 1));
    let mut service = site.wire(Class::Service).unwrap();
    let mut person = site.wire(Class::Person).unwrap();
    for bytes in [CEILING - 1, CEILING, CEILING + 1] {
        let text = of(bytes);
        assert_eq!(wire::tags(&service.query(&text).unwrap()), "TDCZ", "{bytes}");
        let reply = person.query(&text).unwrap();
        let code = reply.iter().find(|message| message.tag == b'E').and_then(|error| error.field(b'C'));
        let wanted = (bytes > CEILING).then_some("42501");
        assert_eq!(code.as_deref(), wanted, "{bytes}: {reply:?}");
    }
    let unknown = |record: &serde_json::Value| record.to_string().contains("too_long");
    site.governor.wait_for_record("statement", unknown).unwrap();
    let records = site.governor.events("statement").unwrap();
    assert_eq!(records.iter().filter(|record| unknown(record)).count(), 2, "one of each: {records:#?}");
}

/// Dozens of long requests whose answers the server keeps, because no Sync comes.
#[test]
fn a_pipeline_without_sync_is_bounded() {
    let site = Site::start().unwrap();
    let mut service = site.wire(Class::Service).unwrap();
    let growth = growth_kib("60 × 1 MiB pipelined", site.governor.pid().unwrap(), || {
        let text = format!("SELECT '{}'", "x".repeat(MIB - 100));
        let mut sent = service.sender().unwrap();
        let sender = std::thread::spawn(move || {
            for _ in 0..60 {
                sent.write_all(&wire::parse("", &text)).unwrap();
            }
            sent.write_all(&wire::sync()).unwrap();
        });
        let replies = service.until_ready().unwrap();
        assert_eq!(wire::tags(&replies), "1".repeat(60) + "Z");
        sender.join().unwrap();
    });
    assert!(growth < GROWTH_KIB_MAX);
}
