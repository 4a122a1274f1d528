//! Paths that a governor which is gone still has: given back by whoever takes all of them off this host.

use super::{Host, access};
use governor_tests::{Class, Governor, Options};

#[test]
fn detach_of_every_instance_gives_the_sockets_of_a_dead_one_back() {
    let mut host = Host::start();
    let before = access(&host.socket());
    let free = governor_tests::postgres::free_port().unwrap();
    let other = Governor::prepare(&host.group, free, &Options::default()).unwrap();
    let group = host.group.path().to_str().unwrap().to_owned();
    let all = ["detach", "--all", "--cgroup", &group];
    let running = other.cli(&all).unwrap();
    assert!(running.err().contains("governor is running"), "{}", running.all());
    host.psql(Class::Service, "SELECT 1;").ok().unwrap();
    host.governor.kill().unwrap();
    let shown = other.cli(&[&all[..], &["--dry-run"]].concat()).unwrap().ok().unwrap().out();
    assert!(shown.contains(&format!("socket {}", host.socket().display())), "{shown}");
    assert!(!host.psql(Class::Service, "SELECT 1;").status.success(), "only shown");
    other.cli(&all).unwrap().ok().unwrap();
    let sessions = host.sessions();
    host.psql(Class::Service, "SELECT 1;").ok().unwrap();
    assert_eq!((access(&host.socket()), host.sessions()), (before, sessions), "direct, and as before");
    assert!(!host.directory.path().join(".governor").exists());
    assert!(!host.governor.state_dir().join("unix-sockets.json").exists());
    // The pins, by which another instance's state directory is found, may be gone too: then it has to be named.
    host.governor.launch().unwrap();
    host.governor.kill().unwrap();
    let pins = host.governor.state_dir().join("pins");
    nix::mount::umount2(&pins, nix::mount::MntFlags::MNT_DETACH).unwrap();
    other.cli(&all).unwrap().ok().unwrap();
    assert!(!host.psql(Class::Service, "SELECT 1;").status.success(), "it is refused, never open");
    host.governor.cli(&["detach"]).unwrap().ok().unwrap();
    host.psql(Class::Service, "SELECT 1;").ok().unwrap();
    assert_eq!(access(&host.socket()), before);
    assert!(!host.directory.path().join(".governor").exists());
}
