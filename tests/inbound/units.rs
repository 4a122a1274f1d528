//! A server that the configuration names by the unit in which it runs.

use super::sees;
use governor_tests::database_host::{DatabaseHost, REMOTE_V4, SERVER_V4};
use governor_tests::governor::field;

const EMAIL: &str = "SELECT email FROM people WHERE id = 1";

/// With its ports beside the unit, and with whatever the unit listens on.
#[test]
fn a_server_is_found_by_its_unit_and_sees_its_clients() {
    for inbound in ["ports = [5432]\nunit = \"postgresql@*.service\"", "unit = \"postgresql@*.service\""] {
        let site = DatabaseHost::start_unit("postgresql@15-main.service", inbound).unwrap();
        let secret = site.truth(EMAIL).unwrap();
        let shown = site.remote_psql(SERVER_V4, EMAIL).unwrap().ok().unwrap().out();
        assert!(!shown.contains(&secret), "{inbound}: {shown}");
        let seen = site.remote_psql(SERVER_V4, &sees(REMOTE_V4)).unwrap().ok().unwrap().out();
        assert_eq!(seen, "t\n", "{inbound}");
        let start = site.governor.wait_for_record("session_start", |_| true).unwrap();
        assert_eq!(field(&start, "client")["address"], REMOTE_V4, "{inbound}");
    }
}
