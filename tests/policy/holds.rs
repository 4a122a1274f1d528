//! Statements that wait: answered by a person, expired, cancelled, left.

use governor_tests::governor::text;
use governor_tests::{Class, Options, Site, process, wait, wire};

const DELETE: &str = "DELETE FROM orders WHERE id = 1";

#[test]
fn a_held_statement_runs_in_place_when_it_is_approved() {
    let site = Site::start().unwrap();
    let script = format!(
        "BEGIN;\nSELECT txid_current() AS before \\gset\n{DELETE};\nSELECT txid_current() = :before;\nCOMMIT;\n"
    );
    let waiting = site.psql_running(Class::Agent, &script).unwrap();
    let id = site.governor.wait_for_hold().unwrap();
    assert_eq!(site.truth("SELECT count(*) FROM orders WHERE id = 1").unwrap(), "1", "it must wait");
    let shown = site.governor.cli(&["approvals", "show", &id]).unwrap().ok().unwrap().out();
    for part in [DELETE, "orders", "agent"] {
        assert!(shown.contains(part), "{part} is missing in {shown}");
    }
    site.governor.cli(&["approvals", "approve", &id]).unwrap().ok().unwrap();
    let done = waiting.finish(wait::PATIENCE).unwrap().ok().unwrap();
    assert!(done.err().contains("NOTICE") && done.err().contains(&id), "the client is told: {}", done.err());
    assert_eq!(done.out(), "t\n", "same transaction");
    assert_eq!(site.truth("SELECT count(*) FROM orders WHERE id = 1").unwrap(), "0");
    let end = site.governor.wait_for_record("hold_end", |record| text(record, "approval") == id).unwrap();
    assert!(end.to_string().contains("granted"), "{end}");
}

#[test]
fn a_refused_statement_ends_with_a_clear_error() {
    let site = Site::start().unwrap();
    let waiting = site.psql_running(Class::Agent, &format!("{DELETE};\nSELECT 'still here';\n")).unwrap();
    let id = site.governor.wait_for_hold().unwrap();
    site.governor.cli(&["approvals", "deny", &id]).unwrap().ok().unwrap();
    let done = waiting.finish(wait::PATIENCE).unwrap();
    assert!(done.err().contains("42501"), "{}", done.err());
    assert_eq!(done.out(), "still here\n");
    assert_eq!(site.truth("SELECT count(*) FROM orders WHERE id = 1").unwrap(), "1");
}

#[test]
fn an_unanswered_statement_expires() {
    let site =
        Site::with(governor_tests::Auth::Trust, &Options { approval_timeout: "1s", ..Options::default() })
            .unwrap();
    let done = site.psql(Class::Agent, &format!("{DELETE};\nSELECT 'still here';\n")).unwrap();
    assert!(done.err().contains("42501") || done.err().contains("57014"), "{}", done.err());
    assert_eq!(done.out(), "still here\n");
    assert_eq!(site.truth("SELECT count(*) FROM orders WHERE id = 1").unwrap(), "1");
    let end = site.governor.wait_for_record("hold_end", |_| true).unwrap();
    assert!(end.to_string().contains("expired"), "{end}");
}

#[test]
fn a_held_statement_can_be_cancelled() {
    let site = Site::start().unwrap();
    let mut agent = site.wire(Class::Agent).unwrap();
    agent.send(&wire::query(DELETE)).unwrap();
    let id = site.governor.wait_for_hold().unwrap();
    let mut canceller = wire::Wire::new(site.socket(Class::Agent).unwrap()).unwrap();
    canceller.send(&wire::cancel(&agent.cancel_key)).unwrap();
    let reply = agent.until_ready().unwrap();
    let error = reply.iter().find(|message| message.tag == b'E').expect("an error");
    assert_eq!(error.field(b'C').as_deref(), Some("57014"), "{error:?}");
    assert_eq!(wire::tags(&agent.query("SELECT 1").unwrap()), "TDCZ");
    let late = site.governor.cli(&["approvals", "approve", &id]).unwrap();
    assert!(!late.status.success(), "a cancelled request cannot be approved: {}", late.all());
    assert_eq!(site.truth("SELECT count(*) FROM orders WHERE id = 1").unwrap(), "1");
}

#[test]
fn a_client_that_leaves_takes_its_request_along() {
    let site = Site::start().unwrap();
    let mut agent = site.wire(Class::Agent).unwrap();
    agent.send(&wire::query(DELETE)).unwrap();
    let id = site.governor.wait_for_hold().unwrap();
    drop(agent);
    let end = site.governor.wait_for_record("hold_end", |record| text(record, "approval") == id).unwrap();
    assert!(end.to_string().contains("lost"), "{end}");
    assert_eq!(site.truth("SELECT count(*) FROM orders WHERE id = 1").unwrap(), "1");
}

#[test]
fn held_requests_survive_a_restart_as_records() {
    let mut site = Site::start().unwrap();
    let waiting = site.psql_running(Class::Agent, &format!("{DELETE};\n")).unwrap();
    let id = site.governor.wait_for_hold().unwrap();
    site.governor.kill().unwrap();
    let done = waiting.finish(wait::PATIENCE).unwrap();
    assert!(!done.err().is_empty(), "its connection ended with an error");
    site.governor.launch().unwrap();
    let shown = site.governor.cli(&["approvals", "show", &id]).unwrap().ok().unwrap().out();
    assert!(shown.contains(DELETE), "{shown}");
    assert!(!site.governor.cli(&["approvals", "approve", &id]).unwrap().status.success());
    assert_eq!(site.truth("SELECT count(*) FROM orders WHERE id = 1").unwrap(), "1");
}

#[test]
fn only_the_instance_owner_may_answer() {
    let site = Site::start().unwrap();
    let waiting = site.psql_running(Class::Agent, &format!("{DELETE};\n")).unwrap();
    let id = site.governor.wait_for_hold().unwrap();
    // The state directory alone must not decide: open it for everybody, the peer credentials still count.
    std::fs::set_permissions(site.governor.state_dir(), std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .unwrap();
    let mut stranger = site.governor.command(&["approvals", "approve", &id]).unwrap();
    governor_tests::postgres::run_as_server_user(&mut stranger).unwrap();
    let refused = process::run(stranger, wait::PATIENCE).unwrap();
    assert!(!refused.status.success(), "{}", refused.all());
    assert_eq!(site.truth("SELECT count(*) FROM orders WHERE id = 1").unwrap(), "1");
    site.governor.cli(&["approvals", "deny", &id]).unwrap().ok().unwrap();
    waiting.finish(wait::PATIENCE).unwrap();
}
