//! Ends: of governor, of a server, of a container.

use super::{SERVERS, sees, site};
use governor_tests::containers::{Containers, LISTENS};
use governor_tests::database_host::{PORT, REMOTE_V4, SERVER_V4, SERVER_V6, psql_running};
use governor_tests::governor::text;
use governor_tests::{Auth, Class, Options, process, wait};

#[test]
fn without_governor_containers_are_refused_or_pass_as_the_rule_says() {
    for (word, passes) in [("refuse", false), ("pass", true)] {
        let mut site = site(1, &format!("{SERVERS}\nwhen_down = \"{word}\""));
        let container = &site.containers[0];
        container.remote_psql(SERVER_V4, "SELECT 1").unwrap().ok().unwrap();
        site.governor.kill().unwrap();
        for server in [SERVER_V4, SERVER_V6] {
            let remote =
                container.remote_psql(server, &sees(if server == SERVER_V4 { REMOTE_V4 } else { "fd77::2" }));
            let local = container.local_psql(&site.group, server, Class::Agent, "SELECT 't'::text");
            for done in [remote.unwrap(), local.unwrap()] {
                if passes {
                    assert_eq!(done.ok().unwrap().out(), "t\n");
                } else {
                    assert!(done.err().contains("Connection refused"), "{}", done.all());
                }
            }
        }
        site.governor.launch().unwrap();
        let container = &site.containers[0];
        assert_eq!(container.remote_psql(SERVER_V4, &sees(REMOTE_V4)).unwrap().ok().unwrap().out(), "t\n");
        let gap = site.governor.wait_for_record("agent_gap", |_| true).unwrap();
        assert_eq!(text(&gap, "cause"), "killed", "{gap}");
        site.governor
            .wait_for_record("kernel_event", |event| text(event, "passed") == passes.to_string())
            .unwrap();
        // A clean stop takes everything off.
        site.governor.stop().unwrap();
        let container = &site.containers[0];
        assert_eq!(container.remote_psql(SERVER_V4, &sees(REMOTE_V4)).unwrap().ok().unwrap().out(), "t\n");
    }
}

#[test]
fn detach_leaves_nothing_in_a_container_either() {
    let options = Options { on_stop: "keep", ..Options::default() };
    let mut site = Containers::start(1, SERVERS, PORT + 1, &options).unwrap();
    let container = &site.containers[0];
    container.remote_psql(SERVER_V4, "SELECT 1").unwrap().ok().unwrap();
    let place = format!("net:[{}]", container.namespace.inode().unwrap());
    let doctor = || {
        let mut doctor = site.governor.command(&["doctor"]).unwrap();
        doctor.stdin(std::process::Stdio::null());
        process::run(doctor, wait::PATIENCE).unwrap().all()
    };
    let said = doctor();
    assert!(said.lines().any(|line| line.contains("steer") && line.contains(&place)), "{place}: {said}");
    site.governor.stop().unwrap();
    let container = &site.containers[0];
    let refused = container.remote_psql(SERVER_V4, "SELECT 1").unwrap();
    assert!(refused.err().contains("Connection refused"), "{}", refused.all());
    let left = site.governor.cli(&["detach", "--dry-run"]).unwrap().ok().unwrap().out();
    assert!(left.contains("steer"), "{left}");
    site.governor.detach().unwrap().ok().unwrap();
    container.remote_psql(SERVER_V4, "SELECT 1").unwrap().ok().unwrap();
    let left = site.governor.cli(&["detach", "--dry-run"]).unwrap().ok().unwrap().out();
    assert_eq!(left, "nothing of governor is in the kernel\n");
}

#[test]
fn a_server_that_restarts_in_its_container_is_found_again() {
    let mut site = site(1, SERVERS);
    site.containers[0].remote_psql(SERVER_V4, "SELECT 1").unwrap().ok().unwrap();
    site.containers[0].postgres.stop().unwrap();
    let down = site.containers[0].remote_psql(SERVER_V4, "SELECT 1").unwrap();
    assert!(!down.status.success(), "{}", down.all());
    // Its group is removed and made anew, as with a service.
    let group = site.containers[0].cgroup.clone();
    wait::until("the group to be empty", wait::PATIENCE, || Ok(std::fs::remove_dir(&group).ok())).unwrap();
    std::fs::create_dir(&group).unwrap();
    site.containers[0].postgres.start_again(Auth::Trust, LISTENS).unwrap();
    for _ in 0..3 {
        let seen = site.containers[0].remote_psql(SERVER_V4, &sees(REMOTE_V4)).unwrap().ok().unwrap().out();
        assert_eq!(seen, "t\n");
    }
}

#[test]
fn a_stranger_on_the_port_in_a_container_gets_nothing() {
    let mut site = site(1, SERVERS);
    site.containers[0].remote_psql(SERVER_V4, "SELECT 1").unwrap().ok().unwrap();
    site.containers[0].postgres.stop().unwrap();
    let mut squatter = governor_tests::client::outside("python3", PORT);
    squatter.args([
        "-ISc",
        "import socket\ns = socket.create_server(('0.0.0.0', 5432))\ns.settimeout(60)\n\
         while True:\n    c, _ = s.accept(); print('got', c.recv(9), flush=True)",
    ]);
    site.containers[0].namespace.enter(&mut squatter).unwrap();
    governor_tests::cgroup::enter(&mut squatter, &site.group.client(Class::Service)).unwrap();
    let squatter = governor_tests::Running::start(squatter, &[]).unwrap();
    wait::until("governor to see it", wait::PATIENCE, || {
        Ok(site.governor.log().contains("is not that server").then_some(()))
    })
    .unwrap();
    let done = site.containers[0].remote_psql(SERVER_V4, "SELECT 1").unwrap();
    assert!(!done.status.success(), "{}", done.all());
    squatter.signal(libc::SIGKILL).unwrap();
    let said = squatter.finish(wait::PATIENCE).unwrap().out();
    assert!(!said.lines().any(|line| line != "got b''"), "the stranger was sent something: {said}");
}

#[test]
fn a_container_that_ends_in_the_middle_takes_its_sessions_along_and_nothing_stays() {
    let mut site = site(2, SERVERS);
    let ending = &site.containers[1];
    let running = psql_running(ending.remote("psql", SERVER_V4).unwrap(), "SELECT pg_sleep(600)").unwrap();
    wait::until("the statement", wait::PATIENCE, || {
        let asleep = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'";
        Ok((ending.truth(asleep)? == "1").then_some(()))
    })
    .unwrap();
    let start = site.governor.wait_for_record("session_start", |_| true).unwrap();
    let id = text(&start, "session");
    let ending = site.containers.pop().unwrap();
    let governor_tests::containers::Container { mut postgres, namespace, remote, .. } = ending;
    postgres.kill().unwrap();
    drop(namespace);
    site.governor.wait_for_record("session_end", |record| text(record, "session") == id).unwrap();
    running.signal(libc::SIGKILL).unwrap();
    running.finish(wait::PATIENCE).unwrap();
    site.wait_captured(1).unwrap();
    // The kernel ends a namespace that nobody keeps, and a cable with either end.
    wait::until("the namespace to be gone", wait::PATIENCE, || {
        Ok(remote.ip("link show to-server").is_err().then_some(()))
    })
    .unwrap();
    assert_eq!(site.metric("governor_connections_active").unwrap(), 0.0);
    let seen = site.containers[0].remote_psql(SERVER_V4, &sees(REMOTE_V4)).unwrap().ok().unwrap();
    assert_eq!(seen.out(), "t\n", "the other one goes on");
    site.governor.stop().unwrap();
    site.governor.cli(&["audit", "completeness"]).unwrap().ok().unwrap();
}
