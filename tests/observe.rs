//! `--profile observe`: nothing changes on the wire, everything is recorded.

// Helpers beside the tests fail the test that called them.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use governor_tests::governor::text;
use governor_tests::{Auth, Class, Options, Site, wire};

fn observing() -> Site {
    Site::with(Auth::Trust, &Options { profile: Some("observe"), ..Options::default() }).unwrap()
}

#[test]
fn even_an_agent_gets_byte_equal_results() {
    let site = observing();
    for script in [
        "SELECT * FROM people ORDER BY id;",
        "SELECT card_number FROM cards ORDER BY id;",
        "COPY (SELECT * FROM people ORDER BY id) TO STDOUT;",
        "SELEC 1;",
        "BEGIN; DELETE FROM orders WHERE id = 2; ROLLBACK;",
    ] {
        let (through, direct) = (site.psql(Class::Agent, script).unwrap(), site.psql_direct(script).unwrap());
        assert_eq!((through.stdout, through.stderr), (direct.stdout, direct.stderr), "{script}");
    }
}

#[test]
fn replies_are_equal_byte_by_byte() {
    let site = observing();
    let request = [
        wire::extended("SELECT id, email, ssn FROM people ORDER BY id", &[]),
        wire::sync(),
        wire::query("SELECT * FROM cards ORDER BY id; SELECT 1/0"),
        wire::message(b'X', &[]),
    ]
    .concat();
    let answer = |socket: governor_tests::remote_socket::RemoteSocket| {
        let mut wire = wire::Wire::new(socket).unwrap();
        wire.start("app", "shop").unwrap();
        wire.send(&request).unwrap();
        wire.until_closed().unwrap()
    };
    let through = answer(site.socket(Class::Agent).unwrap());
    // The agent's own group is not captured: from there the way is direct.
    let direct =
        governor_tests::remote_socket::RemoteSocket::connect(&site.group.agent_host(), site.server_address());
    assert_eq!(through, answer(direct.unwrap()));
}

#[test]
fn what_would_have_been_denied_runs_and_is_recorded() {
    let site = observing();
    site.truth("CREATE TABLE doomed (a int)").unwrap();
    site.psql(Class::Agent, "DROP TABLE doomed;").unwrap().ok().unwrap();
    assert_eq!(site.truth("SELECT to_regclass('doomed') IS NULL").unwrap(), "t");
    site.governor
        .wait_for_record("statement", |record| text(record, "text").contains("DROP TABLE doomed"))
        .unwrap();
    site.governor.cli(&["audit", "verify"]).unwrap().ok().unwrap();
}
