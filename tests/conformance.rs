//! The server's own regression suite, a part that fits into every test run: the same both ways, file by file.
//!
//! The whole of it, and the suite of sessions beside each other, is `cargo xtask conformance regress | isolation`.

// Helpers beside the tests fail the test that called them.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use governor_tests::postgres::{Auth, Postgres};
use governor_tests::regress::{self, Suite};
use governor_tests::{Cgroup, Class, Governor, Options, programs};

#[test]
fn regression_files_are_the_same_for_services_and_for_an_observed_agent() {
    let observe = Options { profile: Some("observe"), ..Options::default() };
    the_same(Suite::Regress, REGRESS, &[(Options::default(), Class::Service), (observe, Class::Agent)]);
}

#[test]
fn isolation_files_are_the_same() {
    the_same(Suite::Isolation, ISOLATION, &[(Options::default(), Class::Service)]);
}

/// Each run has a server of its own: files leave roles and databases behind.
fn the_same(suite: Suite, files: &[&str], ways: &[(Options, Class)]) {
    let start = || Postgres::start_with(Auth::Trust, regress::SETTINGS).unwrap();
    let plain = start();
    let version = regress::major(&plain).unwrap();
    if programs::missing("the server's regression suite", &programs::regress(version)) {
        return;
    }
    let files: Vec<String> = files.iter().map(|name| (*name).to_owned()).collect();
    let direct = regress::run(suite, &plain, None, &files).unwrap();
    drop(plain);
    assert_eq!(direct.outputs.len(), files.len(), "{}", direct.said);
    for (options, class) in ways {
        let postgres = start();
        let group = Cgroup::create("governor-test").unwrap();
        let governor = Governor::start(&group, postgres.port(), options).unwrap();
        let governed = regress::run(suite, &postgres, Some((&group, *class)), &files).unwrap();
        for (name, output) in &direct.outputs {
            let other = &governed.outputs[name];
            assert!(
                output == other,
                "{name} differs:\n--- directly\n{}\n--- through governor\n{}",
                text(output),
                text(other)
            );
        }
        assert_eq!(direct.unexpected, governed.unexpected);
        assert!(governor.count_records("statement").unwrap() > 100, "it did not go through governor");
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// What governor has to understand or stay out of: protocol, transactions, prepared statements, COPY, cursors, errors
/// and notices, settings, large values. `test_setup` makes what the others need.
const REGRESS: &[&str] = &[
    "test_setup",
    "copy",
    "copyselect",
    "copydml",
    "transactions",
    "prepare",
    "prepared_xacts",
    "portals",
    "portals_p2",
    "psql",
    "psql_crosstab",
    "async",
    "errors",
    "guc",
    "combocid",
    "largeobject",
    "strings",
    "encoding",
    "unicode",
    "json_encoding",
    "bit",
    "numeric",
    "copy2",
    "plancache",
    "rules",
    "privileges",
    "temp",
    "dbsize",
    "xml",
    "plpgsql",
];

const ISOLATION: &[&str] = &[
    "read-only-anomaly",
    "deadlock-simple",
    "deadlock-hard",
    "async-notify",
    "nowait",
    "skip-locked",
    "timeouts",
    "tuplelock-conflict",
    "lock-committed-update",
    "eval-plan-qual",
    "insert-conflict-do-update",
    "prepared-transactions-cic",
    "plpgsql-toast",
];
