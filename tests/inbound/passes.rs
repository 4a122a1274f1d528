//! A server of the host itself that goes on without governor, where the configuration says so.

use super::site;
use governor_tests::Class;
use governor_tests::database_host::{DatabaseHost, SERVER_V4, SERVER_V6};
use governor_tests::governor::text;

const EMAIL: &str = "SELECT email FROM people WHERE id = 1";

/// With `when_down = "pass"` a server of the host goes on without governor, and is governed again with the next one.
#[test]
fn where_the_configuration_says_so_a_server_goes_on_without_governor() {
    let mut site = site("ports = [5432]\nwhen_down = \"pass\"");
    let secret = site.truth(EMAIL).unwrap();
    let remote = |site: &DatabaseHost| site.remote_psql(SERVER_V4, EMAIL).unwrap();
    assert!(!remote(&site).ok().unwrap().out().contains(&secret));
    site.governor.kill().unwrap();
    for server in [SERVER_V4, SERVER_V6] {
        let done = site.remote_psql(server, EMAIL).unwrap().ok().unwrap();
        assert!(done.out().contains(&secret), "{}", done.all());
    }
    let beside = site.local_psql("127.0.0.1", Class::Agent, EMAIL).unwrap();
    assert!(beside.ok().unwrap().out().contains(&secret));
    site.governor.launch().unwrap();
    assert!(!remote(&site).ok().unwrap().out().contains(&secret));
    let gap = site.governor.wait_for_record("agent_gap", |_| true).unwrap();
    assert_eq!(text(&gap, "cause"), "killed", "{gap}");
}
