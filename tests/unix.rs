//! Clients of a server's unix socket: governed, with the server none the wiser, and without another way to it.

// Helpers beside the tests fail the test that called them.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

#[path = "unix/faults.rs"]
mod faults;
#[path = "unix/given_back.rs"]
mod given_back;
#[path = "unix/past.rs"]
mod past;

use governor_tests::client::PSQL_ROWS;
use governor_tests::governor::{field, text};
use governor_tests::{
    Auth, Cgroup, Class, Finished, Governor, Options, Postgres, Running, client, database, process, wait,
};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// A database host: a server with a socket for everybody, and governor in front of that.
///
/// Dropped in this order.
struct Host {
    governor: Governor,
    group: Cgroup,
    postgres: Postgres,
    directory: TempDir,
}

impl Host {
    fn start() -> Self {
        Self::with("", &Options::default())
    }

    /// `more`: further keys of the block `[[capture.unix]]`.
    fn with(more: &str, options: &Options) -> Self {
        let directory = public_directory();
        let postgres =
            Postgres::start_with_socket_in(directory.path(), Auth::Trust, &options.server_settings);
        let postgres = postgres.unwrap();
        database::load(&postgres, "shop").unwrap();
        let group = Cgroup::create("governor-test-unix").unwrap();
        let options = Options {
            more: format!("{}{}", block(&socket_in(directory.path(), postgres.port()), more), options.more),
            ..options.clone()
        };
        let governor = Governor::start(&group, postgres.port(), &options).unwrap();
        Self { governor, group, postgres, directory }
    }

    fn socket(&self) -> PathBuf {
        socket_in(self.directory.path(), self.postgres.port())
    }

    /// A client of the socket, in the group of `class`.
    fn client(&self, program: &str, class: Class) -> Command {
        let mut command = client::command(program, &self.group, class, self.postgres.port()).unwrap();
        command.env("PGHOST", self.directory.path()).env_remove("PGSSLMODE");
        command
    }

    fn psql(&self, class: Class, script: &str) -> Finished {
        self.psql_as(class, None, &[], script)
    }

    /// As a user of the host, with more of the environment.
    fn psql_as(
        &self,
        class: Class,
        user: Option<&str>,
        environment: &[(&str, &str)],
        script: &str,
    ) -> Finished {
        let mut psql = self.client("psql", class);
        psql.args(PSQL_ROWS).envs(environment.iter().copied());
        if let Some(user) = user {
            become_user(&mut psql, user);
        }
        Running::start(psql, script.as_bytes()).unwrap().finish(wait::PATIENCE).unwrap()
    }

    /// Waits until clients are answered again, through governor or not.
    fn wait_for_answers(&self) {
        wait::until("answers at the socket", wait::PATIENCE, || {
            Ok(self.psql(Class::Service, "SELECT 1;").status.success().then_some(()))
        })
        .unwrap();
    }

    fn sessions(&self) -> usize {
        self.governor.events("session_start").unwrap().len()
    }
}

/// A directory as `/run/postgresql` is: of the server's user, open to all.
fn public_directory() -> TempDir {
    let directory = tempfile::Builder::new().prefix("governor-run-").tempdir().unwrap();
    if let Some((uid, gid)) = governor_tests::postgres::server_user().unwrap() {
        chown(directory.path(), Some(uid), Some(gid)).unwrap();
    }
    std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o2775)).unwrap();
    directory
}

fn socket_in(directory: &Path, port: u16) -> PathBuf {
    directory.join(format!(".s.PGSQL.{port}"))
}

fn block(path: &Path, more: &str) -> String {
    format!("\n[[capture.unix]]\npath = {path:?}\n{more}\n")
}

fn become_user(command: &mut Command, name: &str) {
    let user = nix::unistd::User::from_name(name).unwrap().unwrap();
    command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
}

/// Owner, group and mode of a file.
fn access(path: &Path) -> (u32, u32, u32) {
    let metadata = std::fs::symlink_metadata(path).unwrap();
    (metadata.uid(), metadata.gid(), metadata.mode())
}

#[test]
fn psql_over_the_socket_is_governed_like_any_other() {
    let host = Host::start();
    let plain = host.psql(Class::Service, "SELECT ssn FROM people WHERE id = 1;").ok().unwrap().out();
    let truth = host.postgres.admin("shop", "SELECT ssn FROM people WHERE id = 1").unwrap();
    assert_eq!(plain.trim(), truth);
    let masked = host.psql(Class::Agent, "SELECT ssn FROM people WHERE id = 1;").ok().unwrap().out();
    assert!(!masked.trim().is_empty() && !masked.contains(&truth), "{masked}");
    let denied = host.psql(Class::Agent, "DROP TABLE orders;");
    assert!(denied.err().contains("governor"), "{}", denied.err());
    assert_eq!(host.postgres.admin("shop", "SELECT count(*) > 0 FROM orders").unwrap(), "t");
    // To the server it is a local connection like before.
    let seen = "SELECT client_addr IS NULL, client_port FROM pg_stat_activity WHERE pid = pg_backend_pid();";
    assert_eq!(host.psql(Class::Service, seen).ok().unwrap().out().trim(), "t|-1");

    let starts = host.governor.events("session_start").unwrap();
    let start = starts.iter().find(|record| text(field(record, "principal"), "class") == "agent").unwrap();
    let destination = field(start, "destination");
    assert_eq!(text(destination, "socket"), host.socket().display().to_string());
    assert_eq!(text(destination, "port"), host.postgres.port().to_string());
    assert_eq!(text(start, "attested_by"), "so_peercred");
    let principal = field(start, "principal");
    assert_eq!(text(principal, "command"), "psql");
    assert_eq!(text(principal, "uid"), "0");
    assert!(text(principal, "cgroup").ends_with("clients/agent"), "{principal}");
    let status = host.governor.cli(&["status"]).unwrap().out();
    assert!(status.contains(&host.socket().display().to_string()), "{status}");
    let page = host.governor.metrics().unwrap();
    assert!(page.contains("\ngovernor_unix_sockets_taken 1\n"), "{page}");
}

#[test]
fn peer_authentication_goes_on() {
    let host = Host::start();
    host.postgres
        .admin("shop", "CREATE ROLE daemon LOGIN; CREATE ROLE nobody LOGIN; CREATE ROLE mapped LOGIN;")
        .unwrap();
    std::fs::write(host.postgres.data_dir().join("pg_ident.conf"), "os daemon mapped\n").unwrap();
    host.postgres.authenticate("local all mapped peer map=os\nlocal all all peer").unwrap();
    let who = |user: &str, role: &str| {
        let answer = host.psql_as(Class::Service, Some(user), &[("PGUSER", role)], "SELECT current_user;");
        if answer.status.success() { answer.out().trim().to_owned() } else { answer.err() }
    };
    // The reload takes its moment.
    wait::until("peer authentication", wait::PATIENCE, || {
        Ok(who("daemon", "nobody").contains("Peer authentication failed").then_some(()))
    })
    .unwrap();
    assert_eq!(who("daemon", "daemon"), "daemon");
    assert_eq!(who("nobody", "nobody"), "nobody");
    assert_eq!(who("daemon", "mapped"), "mapped", "by pg_ident.conf");
    for (user, role) in [("nobody", "daemon"), ("nobody", "mapped"), ("daemon", "app")] {
        let refused = who(user, role);
        assert!(refused.contains(&format!("Peer authentication failed for user \"{role}\"")), "{refused}");
    }
    // The other way round: a client that wants to know whose server it is.
    let wants = |owner| {
        host.psql_as(
            Class::Service,
            Some("daemon"),
            &[("PGUSER", "daemon"), ("PGREQUIREPEER", owner)],
            "SELECT 1;",
        )
    };
    wants("postgres").ok().unwrap();
    assert!(wants("root").err().contains("requirepeer"), "{}", wants("root").err());
    let uids: Vec<String> = host
        .governor
        .events("session_start")
        .unwrap()
        .iter()
        .map(|start| text(field(start, "principal"), "uid"))
        .collect();
    assert!(uids.contains(&"65534".to_owned()) && uids.contains(&"1".to_owned()), "{uids:?}");
}

#[test]
fn a_server_that_is_started_again_is_governed_again() {
    let mut host = Host::start();
    let before = access(&host.socket());
    for round in 0..3 {
        let sessions = host.sessions();
        if round == 2 {
            host.postgres.kill().unwrap();
            let refused = host.psql(Class::Service, "SELECT 1;");
            assert!(!refused.status.success(), "there is no server");
        } else {
            host.postgres.stop().unwrap();
            assert!(!host.socket().exists(), "a server that stops removes its socket");
        }
        wait::until("the server's new start", wait::PATIENCE, || Ok(host.postgres.start_as_before().ok()))
            .unwrap();
        host.wait_for_answers();
        let masked = host.psql(Class::Agent, "SELECT ssn FROM people WHERE id = 1;").ok().unwrap().out();
        let truth = host.postgres.admin("shop", "SELECT ssn FROM people WHERE id = 1").unwrap();
        assert!(!masked.contains(&truth), "round {round}: {masked}");
        assert!(host.sessions() > sessions, "round {round}");
        assert_eq!(access(&host.socket()), before, "round {round}");
    }
    let changes: Vec<String> =
        host.governor.events("unix_socket").unwrap().iter().map(|r| text(r, "change")).collect();
    // A killed server leaves the path, and removes it when it starts: whether that moment is seen is chance.
    let taken = changes.iter().filter(|change| *change == "taken").count();
    assert!(taken == 4 && matches!(changes.len() - taken, 2 | 3), "{changes:?}");
}

#[test]
fn a_clean_stop_gives_the_socket_back_and_leaves_nothing() {
    let mut host = Host::start();
    host.governor.stop().unwrap();
    assert_eq!(host.psql(Class::Agent, "SELECT 1;").ok().unwrap().out().trim(), "1", "direct");
    let names: Vec<_> =
        std::fs::read_dir(host.directory.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names.len(), 2, "the socket and the server's lock file: {names:?}");
    assert!(!host.governor.state_dir().join("unix-sockets.json").exists());
    host.governor.launch().unwrap();
    let sessions = host.sessions();
    host.psql(Class::Agent, "SELECT 1;").ok().unwrap();
    assert_eq!(host.sessions(), sessions + 1);
}

#[test]
fn a_killed_governor_refuses_and_the_next_one_goes_on() {
    let mut host = Host::start();
    for round in 0..2 {
        host.governor.kill().unwrap();
        let refused = host.psql(Class::Service, "SELECT 1;");
        assert!(refused.err().contains("Connection refused"), "round {round}: {}", refused.err());
        if round == 1 {
            // Nothing is left of what was written down.
            std::fs::remove_file(host.governor.state_dir().join("unix-sockets.json")).unwrap();
        }
        host.governor.launch().unwrap();
        host.psql(Class::Service, "SELECT 1;").ok().unwrap();
    }
    let adopted = host.governor.events("unix_socket").unwrap();
    assert_eq!(adopted.iter().filter(|record| text(record, "change") == "adopted").count(), 2);
    // A server that was started anew while nobody governed.
    host.governor.kill().unwrap();
    host.postgres.stop().unwrap();
    host.postgres.start_as_before().unwrap();
    host.governor.launch().unwrap();
    let sessions = host.sessions();
    host.psql(Class::Service, "SELECT 1;").ok().unwrap();
    assert_eq!(host.sessions(), sessions + 1);
    host.governor.stop().unwrap();
    host.psql(Class::Service, "SELECT 1;").ok().unwrap();
}

/// No hook stands at a path, and nobody is there to give it back: what `pass` opens over TCP stays shut here.
#[test]
fn a_killed_governor_refuses_at_the_socket_also_where_the_rules_say_pass() {
    let options = Options { when_down: "pass", ..Options::default() };
    let mut host = Host::with("when_down = \"pass\"", &options);
    host.psql(Class::Service, "SELECT 1;").ok().unwrap();
    let at_server = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()";
    for _ in 0..2 {
        host.governor.kill().unwrap();
        let mut tcp = host.client("psql", Class::Service);
        tcp.args(PSQL_ROWS).args(["-c", "SELECT inet_client_addr()"]).env("PGHOST", "127.0.0.1");
        let passed = process::run(tcp, wait::PATIENCE).unwrap().ok().unwrap();
        assert_eq!(passed.out(), "127.0.0.1\n", "over TCP the rule holds");
        let refused = host.psql(Class::Service, "SELECT 1;");
        assert!(refused.err().contains("Connection refused"), "{}", refused.all());
        wait::until("nobody at the server", wait::PATIENCE, || {
            Ok((host.postgres.admin("shop", at_server)? == "0").then_some(()))
        })
        .unwrap();
        host.governor.launch().unwrap();
        let sessions = host.sessions();
        host.psql(Class::Service, "SELECT 1;").ok().unwrap();
        assert_eq!(host.sessions(), sessions + 1, "the next start governs again");
    }
    // Or detach, which gives the path back.
    host.governor.kill().unwrap();
    host.governor.detach().unwrap();
    let sessions = host.sessions();
    host.psql(Class::Service, "SELECT 1;").ok().unwrap();
    assert_eq!(host.sessions(), sessions);
}

#[test]
fn a_cancel_request_goes_over_the_socket() {
    let host = Host::start();
    let mut psql = host.client("psql", Class::Service);
    psql.args(PSQL_ROWS);
    let running = Running::start(psql, b"SELECT pg_sleep(600);").unwrap();
    let sleeping = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'";
    wait::until("the sleep", wait::PATIENCE, || {
        Ok((host.postgres.admin("shop", sleeping)? == "1").then_some(()))
    })
    .unwrap();
    // What psql does at Ctrl-C.
    running.signal(libc::SIGINT).unwrap();
    let end = running.finish(wait::PATIENCE).unwrap();
    assert!(end.err().contains("canceling statement due to user request"), "{}", end.err());
    let cancel = host.governor.wait_for_record("cancel", |_| true).unwrap();
    assert_eq!(field(&cancel, "forwarded").as_bool(), Some(true));
}

#[test]
fn a_held_statement_waits_and_the_request_for_encryption_gets_the_servers_answer() {
    let host = Host::with(
        "",
        &Options { more: "\n[policy]\npacks = [\"agents-with-approval\"]\n".into(), ..Options::default() },
    );
    let mut psql = host.client("psql", Class::Agent);
    psql.args(PSQL_ROWS);
    let held = Running::start(psql, b"UPDATE orders SET state = 'held' WHERE id = 1;").unwrap();
    let id = host.governor.wait_for_hold().unwrap();
    let shown = host.governor.cli(&["approvals", "show", &id]).unwrap().ok().unwrap().out();
    assert!(shown.contains(&host.socket().display().to_string()), "{shown}");
    host.governor.cli(&["approvals", "approve", &id]).unwrap().ok().unwrap();
    held.finish(wait::PATIENCE).unwrap().ok().unwrap();
    assert_eq!(host.postgres.admin("shop", "SELECT state FROM orders WHERE id = 1").unwrap(), "held");
    // libpq never asks here; the server says no to those who do.
    for request in ["0000000804d2162f", "0000000804d21630"] {
        let script = format!(
            "import socket, sys\ns = socket.socket(socket.AF_UNIX)\ns.connect(sys.argv[1])\n\
             s.sendall(bytes.fromhex('{request}'))\nprint(s.recv(9))"
        );
        let mut python = Command::new("python3");
        python.args(["-c", &script]).arg(host.socket());
        assert_eq!(process::run(python, wait::PATIENCE).unwrap().ok().unwrap().out(), "b'N'\n", "{request}");
    }
}

#[test]
fn a_pattern_takes_every_server_of_a_directory_that_may_come_later() {
    let directory = public_directory();
    let group = Cgroup::create("governor-test-unix").unwrap();
    let options = Options { more: block(&directory.path().join(".s.PGSQL.*"), ""), ..Options::default() };
    let governor = Governor::start(&group, governor_tests::postgres::free_port().unwrap(), &options).unwrap();
    let mut servers: Vec<Postgres> =
        (0..2).map(|_| Postgres::start_with_socket_in(directory.path(), Auth::Trust, &[]).unwrap()).collect();
    let ask = |server: &Postgres| {
        let mut psql = client::command("psql", &group, Class::Service, server.port()).unwrap();
        psql.args(PSQL_ROWS).env("PGHOST", directory.path());
        Running::start(psql, b"SELECT inet_server_port() IS NULL, current_setting('port');")
            .unwrap()
            .finish(wait::PATIENCE)
            .unwrap()
    };
    for server in &servers {
        wait::until("the socket to be taken", wait::PATIENCE, || {
            ask(server);
            let starts = governor.events("session_start")?;
            let socket = socket_in(directory.path(), server.port()).display().to_string();
            Ok(starts.iter().any(|start| text(field(start, "destination"), "socket") == socket).then_some(()))
        })
        .unwrap();
        assert_eq!(ask(server).ok().unwrap().out().trim(), format!("t|{}", server.port()));
    }
    // One goes, the other stays.
    let gone = servers.remove(0);
    let path = socket_in(directory.path(), gone.port());
    drop(gone);
    assert!(!path.exists());
    ask(&servers[0]).ok().unwrap();
    assert!(governor.metrics().unwrap().contains("\ngovernor_unix_takeovers_total 2\n"));
}

#[test]
fn other_permissions_than_the_servers_close_the_moment_before_governor() {
    let options = Options { server_settings: vec!["unix_socket_permissions=0700"], ..Options::default() };
    let mut host = Host::with("mode = \"0777\"", &options);
    let ask = |host: &Host| host.psql_as(Class::Service, Some("daemon"), &[], "SELECT 1;");
    ask(&host).ok().unwrap();
    host.postgres.stop().unwrap();
    host.postgres.start_as_before().unwrap();
    // The server sets its own once more, on whatever is at its path.
    wait::until("the mode", wait::PATIENCE, || Ok(ask(&host).status.success().then_some(()))).unwrap();
    host.governor.stop().unwrap();
    assert_eq!(access(&host.socket()).2 & 0o777, 0o700, "the server's own");
    assert!(ask(&host).err().contains("Permission denied"), "{}", ask(&host).err());
}

#[test]
fn what_a_stop_leaves_taken_is_given_back_by_detach() {
    let mut host = Host::with("", &Options { on_stop: "keep", ..Options::default() });
    let before = access(&host.socket());
    host.governor.stop().unwrap();
    let refused = host.psql(Class::Service, "SELECT 1;");
    assert!(refused.err().contains("Connection refused"), "{}", refused.err());
    let shown = host.governor.cli(&["detach", "--dry-run"]).unwrap().ok().unwrap().out();
    assert!(shown.contains(&format!("socket {}", host.socket().display())), "{shown}");
    host.governor.cli(&["detach"]).unwrap().ok().unwrap();
    host.psql(Class::Service, "SELECT 1;").ok().unwrap();
    assert_eq!(access(&host.socket()), before);
    // The same after a kill, and with `pass` a stop gives it back by itself.
    host.governor.launch().unwrap();
    let running = host.governor.cli(&["detach"]).unwrap();
    assert!(running.err().contains("governor is running"), "{}", running.err());
    host.governor.kill().unwrap();
    host.governor.cli(&["detach"]).unwrap().ok().unwrap();
    host.psql(Class::Service, "SELECT 1;").ok().unwrap();
    assert!(!host.directory.path().join(".governor").exists());
    let mut host = Host::with("when_down = \"pass\"", &Options { on_stop: "keep", ..Options::default() });
    host.governor.stop().unwrap();
    host.psql(Class::Service, "SELECT 1;").ok().unwrap();
}

#[test]
fn what_cannot_be_taken_is_refused_with_its_reason() {
    let host = Host::start();
    let options = Options { more: block(&host.socket(), ""), ..Options::default() };
    let other =
        Governor::prepare(&host.group, governor_tests::postgres::free_port().unwrap(), &options).unwrap();
    let second = process::run(other.run_command().unwrap(), wait::PATIENCE).unwrap();
    assert!(second.all().contains("is taken over by another governor"), "{}", second.all());
    let directory = public_directory();
    std::fs::create_dir(directory.path().join(".governor")).unwrap();
    let options = Options { more: block(&directory.path().join(".s.PGSQL.5432"), ""), ..Options::default() };
    let squatted =
        Governor::prepare(&host.group, governor_tests::postgres::free_port().unwrap(), &options).unwrap();
    let refused = process::run(squatted.run_command().unwrap(), wait::PATIENCE).unwrap();
    assert!(refused.all().contains("is not governor's own"), "{}", refused.all());
}

/// How long clients can reach a starting server directly, and what a connection costs. Run it by name with `--ignored`.
#[test]
#[ignore = "measures; asserts nothing"]
fn measure_the_moment_before_governor_and_the_cost_of_a_connection() {
    let mut host = Host::start();
    // The client's end of a socket says which process listens at it.
    let script = "import collections, socket, struct, sys\nmet = collections.Counter()\nwhile True:\n    \
                  s = socket.socket(socket.AF_UNIX)\n    try:\n        s.connect(sys.argv[1])\n        \
                  pid = struct.unpack('3i', s.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0]\n        \
                  met['governor' if pid == int(sys.argv[2]) else 'server'] += 1\n    \
                  except OSError as error:\n        met[type(error).__name__] += 1\n    s.close()\n    \
                  print(dict(met), flush=True)";
    let rounds = 30;
    let log = tempfile::NamedTempFile::new().unwrap();
    let mut python = Command::new("python3");
    python.args(["-c", script]).arg(host.socket()).arg(host.governor.pid().unwrap().to_string());
    python.stdout(log.reopen().unwrap());
    let mut client = process::spawn(python, libc::SIGKILL).unwrap();
    for _ in 0..rounds {
        host.postgres.stop().unwrap();
        host.postgres.start_as_before().unwrap();
    }
    client.kill().unwrap();
    client.wait().unwrap();
    let said = std::fs::read_to_string(log.path()).unwrap();
    println!(
        "whom a client that never rests met in {rounds} restarts: {}",
        said.lines().rev().nth(1).unwrap_or_default()
    );
    host.wait_for_answers();
    let statement = host.directory.path().join("one.sql");
    std::fs::write(&statement, "SELECT 1;\n").unwrap();
    for (what, directory) in [("direct", host.postgres.socket_dir()), ("governed", host.directory.path())] {
        for (kind, more) in
            [("a connection each", &["-C", "-t", "500"][..]), ("one connection", &["-t", "5000"])]
        {
            let mut bench =
                host.client(&host.postgres.bin().join("pgbench").display().to_string(), Class::Service);
            bench.env("PGHOST", directory).args(["-n", "-c", "1", "-f"]).arg(&statement).args(more);
            let done = process::run(bench, wait::PATIENCE * 4).unwrap().ok().unwrap().out();
            let line = done.lines().find(|line| line.starts_with("latency average")).unwrap_or_default();
            println!("{what}, {kind}: {line}");
        }
    }
}
