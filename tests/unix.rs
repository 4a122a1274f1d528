//! Clients of a server's unix socket: governed, with the server none the wiser, and without another way to it.

// Helpers beside the tests fail the test that called them.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use governor_tests::client::PSQL_ROWS;
use governor_tests::governor::{field, text};
use governor_tests::{
    Auth, Cgroup, Class, Finished, Governor, Options, Postgres, Running, client, database, wait,
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
    std::fs::write(host.postgres.socket_dir().join("data/pg_ident.conf"), "os daemon mapped\n").unwrap();
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
        wait::until("the server's new start", wait::PATIENCE, || Ok(host.postgres.start_again().ok()))
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
    assert_eq!(changes, ["taken", "gone", "taken", "gone", "taken", "taken"]);
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
    host.postgres.start_again().unwrap();
    host.governor.launch().unwrap();
    let sessions = host.sessions();
    host.psql(Class::Service, "SELECT 1;").ok().unwrap();
    assert_eq!(host.sessions(), sessions + 1);
    host.governor.stop().unwrap();
    host.psql(Class::Service, "SELECT 1;").ok().unwrap();
}
