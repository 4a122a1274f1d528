//! What policy bounds: rates, rows, time; and what it lifts while the glass is broken.

// Helpers beside the tests fail the test that called them.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use governor_tests::governor::{field, text};
use governor_tests::process::{self, Finished};
use governor_tests::{Auth, Class, Options, Site, cgroup, wait, wire};

fn site(policy: &str) -> Site {
    let options = Options {
        policies: vec![("mine.cedar".into(), policy.into())],
        more: "[approvals.groups]\nbreak_glass = [\"root\"]\n".into(),
        ..Options::default()
    };
    Site::with(Auth::Trust, &options).unwrap()
}

fn bounded(annotation: &str) -> Site {
    site(&format!(
        r#"@id("mine") {annotation}
           permit (principal, action in [Governor::Action::"select", Governor::Action::"copy_in"], resource);"#
    ))
}

#[test]
fn a_result_is_cut_after_its_last_permitted_row() {
    let site = bounded(r#"@rows("10")"#);
    for class in Class::ALL {
        let mut client = site.wire(class).unwrap();
        let all = client.query("SELECT generate_series(1, 10)").unwrap();
        assert_eq!(all.iter().filter(|m| m.tag == b'D').count(), 10, "{class:?}");
        for sql in ["SELECT generate_series(1, 11)", "SELECT generate_series(1, 3000000)"] {
            let cut = client.query(sql).unwrap();
            assert_eq!(wire::tags(&cut), format!("T{}EZ", "D".repeat(10)), "{class:?}");
            let error = &cut[11];
            assert_eq!(error.field(b'C').as_deref(), Some("53400"));
            assert!(error.field(b'M').unwrap().contains("more than 10 rows"), "{error:?}");
            assert!(error.field(b'H').is_some() && error.field(b'D').unwrap().contains("limit=rows"));
            assert_eq!(wire::tags(&client.query("SELECT 1").unwrap()), "TDCZ", "the session goes on");
        }
        client.query("BEGIN").unwrap();
        let cut = client.query("SELECT generate_series(1, 3000000)").unwrap();
        assert_eq!(cut.last().unwrap().body, b"E", "the transaction failed");
        assert_eq!(client.query("ROLLBACK").unwrap().last().unwrap().body, b"I");
    }
    let done = site.governor.wait_for_record("completion", |record| text(record, "limit") == "rows").unwrap();
    assert_eq!(field(&done, "rows").as_u64(), Some(10), "{done}");
    assert!(site.governor.metrics().unwrap().contains("governor_limits_total{limit=\"rows\"}"));
}

#[test]
fn a_cut_in_the_extended_protocol_skips_to_sync() {
    let site = bounded(r#"@rows("3")"#);
    for rows in ["5", "2000000"] {
        let mut client = site.wire(Class::Person).unwrap();
        let batch = [
            wire::extended(&format!("SELECT generate_series(1, {rows})"), &[]),
            wire::extended("SELECT 'behind'", &[]),
            wire::sync(),
            wire::extended("SELECT 'after'", &[]),
            wire::sync(),
        ];
        client.send(&batch.concat()).unwrap();
        let first = client.until_ready().unwrap();
        let tags = wire::tags(&first);
        assert!(tags.ends_with("DDDEZ") && !format!("{first:?}").contains("behind"), "{tags}");
        let second = client.until_ready().unwrap();
        assert!(wire::tags(&second).ends_with("DCZ"), "{second:?}");
    }
}

#[test]
fn fetching_in_small_steps_is_no_way_around() {
    let site = bounded(r#"@rows("5")"#);
    let mut client = site.wire(Class::Person).unwrap();
    client.send(&[wire::query("BEGIN")].concat()).unwrap();
    client.until_ready().unwrap();
    let first = [
        wire::parse("", "SELECT generate_series(1, 100)"),
        wire::bind("p", "", &[]),
        wire::execute_rows("p", 3),
        wire::execute_rows("p", 3),
        wire::sync(),
    ];
    client.send(&first.concat()).unwrap();
    let reply = client.until_ready().unwrap();
    assert_eq!(reply.iter().filter(|m| m.tag == b'D').count(), 5, "{}", wire::tags(&reply));
    assert!(reply.iter().any(|m| m.field(b'C').as_deref() == Some("53400")), "{reply:?}");
}

#[test]
fn a_statement_over_its_time_is_cancelled_on_the_server() {
    let site = bounded(r#"@time("300ms")"#);
    for class in [Class::Service, Class::Person] {
        let mut client = site.wire(class).unwrap();
        let reply = client.query("SELECT pg_sleep(600)").unwrap();
        let error = reply.iter().find(|m| m.tag == b'E').unwrap();
        assert_eq!(error.field(b'C').as_deref(), Some("57014"), "{error:?}");
        assert!(error.field(b'M').unwrap().contains("longer than 300 ms"), "{error:?}");
        let asleep = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(600)%' \
                      AND state = 'active' AND pid <> pg_backend_pid()";
        assert_eq!(site.truth(asleep).unwrap(), "0", "it was stopped");
        // What follows at once is not hit by a cancel that comes late.
        for _ in 0..50 {
            assert_eq!(wire::tags(&client.query("SELECT 1").unwrap()), "TDCZ");
        }
        let batch = [wire::extended("SELECT pg_sleep(600)", &[]), wire::sync()];
        client.send(&batch.concat()).unwrap();
        let reply = client.until_ready().unwrap();
        assert!(reply.iter().any(|m| m.field(b'C').as_deref() == Some("57014")), "{reply:?}");
    }
    site.governor.wait_for_record("completion", |record| text(record, "limit") == "time").unwrap();
}

#[test]
fn a_rate_counts_over_all_connections_of_one_principal() {
    let site = bounded(r#"@rate("6/1h")"#);
    let mut passed = 0;
    for _ in 0..4 {
        let mut client = site.wire(Class::Person).unwrap();
        for _ in 0..3 {
            let reply = client.query("SELECT 1").unwrap();
            match wire::tags(&reply).as_str() {
                "TDCZ" => passed += 1,
                "EZ" => {
                    assert_eq!(reply[0].field(b'C').as_deref(), Some("53400"), "{reply:?}");
                    assert!(reply[0].field(b'H').unwrap().contains("Try again in"), "{reply:?}");
                }
                other => panic!("{other}"),
            }
        }
    }
    assert_eq!(passed, 6);
    let mut service = site.wire(Class::Service).unwrap();
    assert_eq!(wire::tags(&service.query("SELECT 1").unwrap()), "TDCZ", "another principal");
    assert!(site.governor.metrics().unwrap().contains("governor_limits_total{limit=\"rate\"} 6"));
}

const FROZEN: &str = r#"
@id("frozen")
@reason("orders are frozen")
@hint("in an emergency: governor break-glass")
forbid (principal, action == Governor::Action::"update", resource)
when { context.writes.contains("orders") }
unless { context has break_glass };
"#;

fn glass(site: &Site, class: Class, args: &[&str]) -> Finished {
    let mut command = site.governor.command(&[&["break-glass"], args].concat()).unwrap();
    cgroup::enter(&mut command, &site.group.client(class)).unwrap();
    process::run(command, wait::PATIENCE).unwrap()
}

#[test]
fn broken_glass_lifts_what_policy_lets_it_and_is_on_record() {
    let site = site(FROZEN);
    let update = "UPDATE orders SET item = 'x' WHERE id = 1";
    let mut person = site.wire(Class::Person).unwrap();
    let mut agent = site.wire(Class::Agent).unwrap();
    assert_eq!(wire::tags(&person.query(update).unwrap()), "EZ");

    for class in [Class::Agent, Class::Service] {
        let refused = glass(&site, class, &["--reason", "let me"]);
        assert!(!refused.status.success() && refused.all().contains("only a person"), "{}", refused.all());
    }
    let refused = glass(&site, Class::Person, &["--reason", " "]);
    assert!(!refused.status.success(), "a reason has to be given");
    assert_eq!(wire::tags(&person.query(update).unwrap()), "EZ");

    glass(&site, Class::Person, &["--reason", "INC-1: orders are stuck", "--for", "10m"]).ok().unwrap();
    assert_eq!(wire::tags(&person.query(update).unwrap()), "CZ", "on a session that was open before");
    assert_eq!(wire::tags(&agent.query(update).unwrap()), "EZ", "never for agents");
    let start = site.governor.wait_for_record("break_glass_start", |_| true).unwrap();
    assert_eq!(text(&start, "reason"), "INC-1: orders are stuck");
    let id = text(&start, "id");
    let ran = site.governor.wait_for_record("statement", |r| text(r, "break_glass") == id).unwrap();
    assert_eq!((text(&ran, "text").as_str(), text(&ran, "verdict").as_str()), (update, "allow"));
    let metrics = site.governor.metrics().unwrap();
    assert!(
        metrics.contains("governor_break_glass_active 1") && metrics.contains("governor_break_glass_total 1")
    );
    assert!(site.governor.log().contains("the glass was broken"));

    glass(&site, Class::Person, &["--end"]).ok().unwrap();
    assert_eq!(wire::tags(&person.query(update).unwrap()), "EZ");
    let end = site.governor.wait_for_record("break_glass_end", |r| text(r, "id") == id).unwrap();
    assert_eq!(text(&end, "reason"), "ended");
}

#[test]
fn broken_glass_expires_by_itself() {
    let site = site(FROZEN);
    let update = "UPDATE orders SET item = 'x' WHERE id = 1";
    let mut person = site.wire(Class::Person).unwrap();
    glass(&site, Class::Person, &["--reason", "short", "--for", "1s"]).ok().unwrap();
    let end = site.governor.wait_for_record("break_glass_end", |_| true).unwrap();
    assert_eq!(text(&end, "reason"), "expired");
    assert_eq!(wire::tags(&person.query(update).unwrap()), "EZ");
}

#[test]
fn nobody_breaks_the_glass_who_is_not_listed() {
    let options = Options { policies: vec![("mine.cedar".into(), FROZEN.into())], ..Options::default() };
    let site = Site::with(Auth::Trust, &options).unwrap();
    let refused = glass(&site, Class::Person, &["--reason", "I am root"]);
    assert!(!refused.status.success(), "not even root");
    assert!(refused.all().contains("break_glass"), "{}", refused.all());
}
