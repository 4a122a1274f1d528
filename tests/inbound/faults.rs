//! Faults of a database's host: whoever arrives is refused or served, and never reaches the server past governor.

use super::{PORTS, sees, site};
use governor_tests::database_host::{self, DatabaseHost, REMOTE_V4, SERVER_V4, SERVER_V6};
use governor_tests::governor::{field, text};
use governor_tests::{Class, wait};
use std::time::Duration;

fn refused(site: &DatabaseHost) {
    for server in [SERVER_V4, SERVER_V6] {
        let done = site.remote_psql(server, "SELECT 1").unwrap();
        assert!(done.err().contains("Connection refused"), "{}", done.all());
    }
    let done = site.local_psql("127.0.0.1", Class::Service, "SELECT 1").unwrap();
    assert!(done.err().contains("Connection refused"), "{}", done.all());
}

fn governed(site: &DatabaseHost) {
    let before = site.governor.count_records("session_start").unwrap();
    assert_eq!(site.remote_psql(SERVER_V4, &sees(REMOTE_V4)).unwrap().ok().unwrap().out(), "t\n");
    site.local_psql("::1", Class::Service, "SELECT 1").unwrap().ok().unwrap();
    assert_eq!(site.governor.count_records("session_start").unwrap(), before + 2);
}

#[test]
fn an_agent_that_hangs_is_refused_for_where_connections_arrive() {
    let site = site(PORTS);
    governed(&site);
    site.governor.signal(libc::SIGSTOP).unwrap();
    let hung = wait::until("the kernel to count it as dead", Duration::from_secs(20), || {
        let mut psql = site.remote("psql", SERVER_V4)?;
        psql.env("PGCONNECT_TIMEOUT", "2");
        let done = database_host::psql(psql, "SELECT 1")?;
        assert!(!done.status.success(), "ungoverned: {}", done.out());
        Ok(done.err().contains("Connection refused").then_some(()))
    });
    let then = hung.map(|()| refused(&site));
    site.governor.signal(libc::SIGCONT).unwrap();
    then.unwrap();
    let gap = site.governor.wait_for_record("agent_gap", |_| true).unwrap();
    assert_eq!((text(&gap, "cause").as_str(), text(&gap, "hooks").as_str()), ("wedged", "kept"), "{gap}");
    assert!(field(&gap, "refused").as_u64().unwrap() >= 3, "{gap}");
    site.governor
        .wait_for_record("kernel_event", |event| text(event, "cause") == "inbound_heartbeat_stale")
        .unwrap();
    let cause = "governor_kernel_faults_total{cause=\"inbound_heartbeat_stale\"}";
    assert!(site.metric(cause).unwrap() >= 3.0);
    governed(&site);
}

#[test]
fn pins_that_are_unmounted_are_made_again_and_a_kill_still_refuses_who_arrives() {
    let mut site = site(PORTS);
    let pins = site.governor.state_dir().join("pins");
    nix::mount::umount2(&pins, nix::mount::MntFlags::MNT_DETACH).unwrap();
    wait::until("a word in the log", wait::PATIENCE, || {
        Ok(site.governor.log().contains("are made again").then_some(()))
    })
    .unwrap();
    assert!(site.metric("governor_kernel_pins_remade_total").unwrap() > 0.0);
    governed(&site);
    site.governor.kill().unwrap();
    refused(&site);
    site.governor.launch().unwrap();
    governed(&site);
}

/// A service of this host that is started again has a new cgroup of the same name.
#[test]
fn clients_whose_cgroup_is_made_again_are_known_again() {
    let site = site(PORTS);
    governed(&site);
    let children: Vec<_> = Class::ALL.iter().map(|class| site.group.client(*class)).collect();
    wait::until("the cgroup to go", wait::PATIENCE, || {
        for child in &children {
            std::fs::remove_dir(child).ok();
        }
        Ok(std::fs::remove_dir(site.group.clients()).ok())
    })
    .unwrap();
    wait::until("the metric to tell", wait::PATIENCE, || {
        Ok((site.metric("governor_kernel_whole")? == 0.0).then_some(()))
    })
    .unwrap();
    for child in &children {
        std::fs::create_dir_all(child).unwrap();
    }
    // Until its hooks are on again its processes are not known, and closed.
    wait::until("the clients to be known", wait::PATIENCE, || {
        let done = site.local_psql("127.0.0.1", Class::Service, "SELECT 1")?;
        let told = done.status.success() || done.err().contains("closed");
        assert!(told, "{}", done.all());
        Ok(done.status.success().then_some(()))
    })
    .unwrap();
    assert_eq!(site.metric("governor_kernel_whole").unwrap(), 1.0);
    let sessions = site.governor.events("session_start").unwrap();
    let last = sessions.last().unwrap();
    assert!(field(last, "principal")["pid"].as_u64().is_some(), "{last}");
    governed(&site);
}

/// The server's answer to a client that it cannot have: it is away, and governor is not.
#[test]
fn a_server_that_is_away_is_told_and_counted() {
    let mut site = site(PORTS);
    governed(&site);
    site.postgres.stop().unwrap();
    let done = site.remote_psql(SERVER_V4, "SELECT 1").unwrap();
    assert!(
        !done.status.success() && !done.err().contains("closed the connection unexpectedly"),
        "{}",
        done.all()
    );
    assert!(site.metric("governor_connections_refused_total{reason=\"upstream\"}").unwrap() >= 1.0);
    site.postgres.start_as_before().unwrap();
    governed(&site);
}
