//! A server's unix socket in a container: its directory is mounted (`podman run --volume`), and governor has taken the socket over.
//! Root of the container is user 0 of the host, or of a user namespace of its own (`--uidmap`).

use super::{BILLING, Site, no_engine};
use governor_tests::governor::{Governor, field, text};
use governor_tests::postgres::{Auth, Postgres, server_user};
use governor_tests::{Options, process, wait};
use serde_json::Value;
use std::fmt::Write as _;
use std::os::unix::fs::{PermissionsExt, chown};
use tempfile::TempDir;

/// Each way says one line: its name, and what came of it. `stay` keeps what it reached, and ends when that is ended.
const WAYS: &str = r"
import os, socket, struct, sys
path = sys.argv[1]; aside = os.path.join(os.path.dirname(path), '.governor', os.path.basename(path))
def connect(to):
    s = socket.socket(socket.AF_UNIX); s.settimeout(60); s.connect(to); return s
def stay(s):
    body = struct.pack('>I', 196608) + b'user\0app\0database\0shop\0\0'
    s.sendall(struct.pack('>I', len(body) + 4) + body)
    print('stay connected', flush=True)
    while s.recv(65536): pass
    return 'ended'
ways = {
    'connect': lambda: connect(path) and 'connected',
    'unlink': lambda: os.unlink(path),
    'replace': lambda: os.rename(path, path + '.x'),
    'list': lambda: os.listdir(os.path.dirname(aside)) and 'listed',
    'aside': lambda: connect(aside) and 'connected',
    'stay': lambda: stay(connect(aside)),
}
for name in sys.argv[2:]:
    try: print(name, ways[name](), flush=True)
    except OSError as e: print(name, 'errno', e.errno, flush=True)
";

struct Mounted {
    site: Site,
    socket: Postgres,
    directory: TempDir,
}

impl Mounted {
    fn start() -> Self {
        let mut site = Site::prepare(&Options::default());
        let directory = tempfile::Builder::new().prefix("governor-run-").tempdir().unwrap();
        let (uid, gid) = server_user().unwrap().unwrap();
        chown(directory.path(), Some(uid), Some(gid)).unwrap();
        std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o2775)).unwrap();
        let socket = Postgres::start_with_socket_in(directory.path(), Auth::Trust, &[]).unwrap();
        governor_tests::database::load(&socket, "shop").unwrap();
        socket.admin("postgres", "ALTER ROLE app SUPERUSER").unwrap();
        let path = directory.path().join(format!(".s.PGSQL.{}", socket.port()));
        let mut options = site.options();
        write!(options.more, "\n[[capture.unix]]\npath = {path:?}\ndirect_connections = \"end\"\n").unwrap();
        site.governor = Governor::prepare(&site.group, 1, &options).unwrap();
        site.governor.launch().unwrap();
        Self { site, socket, directory }
    }

    /// A container with the directory mounted, so.
    fn run(&self, name: &str, mode: &str, options: &[&str]) -> String {
        let volume = format!("{}:/run/postgresql{mode}", self.directory.path().display());
        self.site.run(name, &[&["--volume", &volume], options].concat(), BILLING)
    }

    fn try_ways(&self, container: &str, ways: &[&str]) -> Vec<String> {
        let path = format!("/run/postgresql/.s.PGSQL.{}", self.socket.port());
        let arguments = [&["exec", container, "python3", "-ISc", WAYS, &path], ways].concat();
        let command = self.site.engine.podman_command(&arguments).unwrap();
        let done = process::run(command, wait::PATIENCE * 3).unwrap().ok().unwrap();
        done.out().lines().map(str::to_owned).collect()
    }

    /// psql by the mounted socket is governed, as this container.
    fn assert_governed(&self, name: &str, id: &str) {
        let done = self.site.engine.psql(name, "/run/postgresql", self.socket.port(), "SELECT 1").unwrap();
        assert_eq!(done.ok().unwrap().out(), "1\n");
        let principal = self.site.principal(id);
        assert_eq!((&principal["container_name"], &principal["image"]), (&name.into(), &BILLING.into()));
    }
}

#[test]
fn by_a_mounted_directory_a_container_meets_governor_and_cannot_take_its_socket_away() {
    if no_engine() {
        return;
    }
    let mounted = Mounted::start();
    let read_only = mounted.run("read-only", ":ro", &[]);
    // Where user 0 of the container is nobody on the host, the directory may also be written as far as its mode says.
    let mapped = mounted.run("mapped", "", &["--uidmap", "0:100000:65536", "--gidmap", "0:100000:65536"]);
    mounted.assert_governed("read-only", &read_only);
    mounted.assert_governed("mapped", &mapped);
    let ways = ["connect", "unlink", "replace"];
    let expected = ["connect connected", "unlink errno 30", "replace errno 30"];
    assert_eq!(mounted.try_ways("read-only", &ways), expected, "EROFS");
    let ways = ["connect", "unlink", "replace", "list", "aside"];
    let expected =
        ["connect connected", "unlink errno 13", "replace errno 13", "list errno 13", "aside errno 13"];
    assert_eq!(mounted.try_ways("mapped", &ways), expected, "EACCES");
    mounted.assert_governed("mapped", &mapped);
    assert!(mounted.site.governor.events("direct_connection").unwrap().is_empty());
}

/// User 0 of the host may enter any directory that it sees: the server's own socket lies in one beside governor's.
#[test]
fn the_hosts_user_0_in_a_container_reaches_the_servers_own_socket_and_is_told_of_and_ended() {
    if no_engine() {
        return;
    }
    let mounted = Mounted::start();
    let id = mounted.run("user-0", ":ro", &[]);
    mounted.assert_governed("user-0", &id);
    assert_eq!(mounted.try_ways("user-0", &["stay"]), ["stay connected", "stay ended"]);
    let told: Value = mounted.site.governor.wait_for_record("direct_connection", |_| true).unwrap();
    assert_eq!(text(&told, "ended"), "true", "{told}");
    assert_eq!(field(&told, "uid"), 0, "{told}");
}
