//! The queue: exactly one answer, durable, bounded.

use super::*;
use crate::engine::approval::{Answer, ApprovalRequest, State};
use crate::engine::model::{
    Ancestor, Claims, Class, DecisionId, Endpoint, Principal, Reason, SessionId, Statement, Timestamp,
    Unknown,
};
use crate::host::telemetry::Metrics;
use std::sync::Arc;

const SECOND: u64 = 1_000_000_000;

pub(crate) fn at(seconds: u64) -> Timestamp {
    Timestamp { unix_ns: 1_700_000_000 * SECOND + seconds * SECOND, monotonic_ns: seconds * SECOND }
}

/// A DELETE by an agent of uid 1000, held for group `dba` from second 0 to second 300.
pub(crate) fn request() -> ApprovalRequest {
    let text = "DELETE FROM orders WHERE id < 10";
    ApprovalRequest {
        id: String::new(),
        session: SessionId("s1".into()),
        decision: DecisionId("s1.4".into()),
        created: at(0),
        expires: at(300),
        approvers: "dba".into(),
        principal: Principal {
            class: Class::Agent,
            class_evidence: vec!["ancestor claude".into()],
            pid: 4711,
            start_ticks: 99,
            uid: 1000,
            user: "alice".into(),
            gid: 1000,
            groups: vec![],
            login_uid: Some(1000),
            login_user: Some("alice".into()),
            command: "psql".into(),
            executable: Some("/usr/bin/psql".into()),
            executable_sha256: None,
            command_line: vec!["psql".into(), "shop".into()],
            cgroup_id: 7,
            cgroup: Some("/user.slice".into()),
            unit: None,
            container: None,
            container_facts: Default::default(),
            terminal: Some("pts/3".into()),
            ancestors: vec![Ancestor { pid: 4700, start_ticks: 90, executable: "/usr/bin/claude".into() }],
            remote: None,
        },
        claims: Claims { user: "app".into(), database: "shop".into(), application_name: "psql".into() },
        destination: Endpoint::tcp("127.0.0.1".parse().unwrap(), 5432),
        statements: vec![Statement::unknown(text.into(), Unknown::TooDeep)],
        parameters: vec![Some("10".into()), None].into(),
        reasons: vec![Reason {
            policy: "agent-delete".into(),
            text: "agents ask first".into(),
            ..Reason::default()
        }]
        .into(),
        transaction: "transaction".into(),
    }
}

fn granted(by: &str) -> Answer {
    Answer::Granted { by: by.into(), uid: 0, note: "ok".into() }
}

fn open(dir: &tempfile::TempDir) -> ApprovalStore {
    limited(dir, ApprovalLimits::default())
}

fn limited(dir: &tempfile::TempDir, limits: ApprovalLimits) -> ApprovalStore {
    reopen(dir, limits, at(0)).0
}

fn reopen(dir: &tempfile::TempDir, limits: ApprovalLimits, now: Timestamp) -> (ApprovalStore, Vec<Approval>) {
    ApprovalStore::open(dir.path(), limits, Arc::new(Metrics::new().unwrap()), now).unwrap()
}

#[test]
fn fifty_answerers_at_once_give_one_answer() {
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(open(&dir));
    let submitted = store.submit(request()).unwrap();
    let barrier = Arc::new(std::sync::Barrier::new(50));
    let threads: Vec<_> = (0..50)
        .map(|number| {
            let (store, barrier, id) = (Arc::clone(&store), Arc::clone(&barrier), submitted.id.clone());
            std::thread::spawn(move || {
                let name = format!("person{number}");
                let answer = match number % 2 {
                    0 => granted(&name),
                    _ => Answer::Refused { by: name.clone(), uid: number, note: String::new() },
                };
                barrier.wait();
                (name, store.answer(&id, answer, at(1)))
            })
        })
        .collect();
    let results: Vec<_> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
    let winners: Vec<_> = results.iter().filter(|(_, result)| result.is_ok()).collect();
    assert_eq!(winners.len(), 1);
    let winner = &winners[0].0;
    for (name, result) in results.iter().filter(|(_, result)| result.is_err()) {
        let error = result.as_ref().unwrap_err().to_string();
        assert!(error.ends_with(&format!("by {winner}")), "{name} was told: {error}");
    }
    let delivered = submitted.answer.blocking_recv().unwrap();
    assert!(matches!(&delivered, Answer::Granted { by, .. } | Answer::Refused { by, .. } if by == winner));
    assert_eq!(store.get(&submitted.id).unwrap().state, State::Ended { at: at(1), answer: delivered });
    assert_eq!(store.pending_count(), 0);
}

#[test]
fn a_restart_keeps_every_request_and_loses_the_pending_ones() {
    let dir = tempfile::tempdir().unwrap();
    let (answered, waiting, asked) = {
        let store = open(&dir);
        let answered = store.submit(request()).unwrap();
        store.answer(&answered.id, granted("root"), at(5)).unwrap();
        let asked = request();
        let waiting = store.submit(asked.clone()).unwrap();
        (answered.id, waiting.id, asked)
    };
    std::fs::write(dir.path().join(format!("{waiting}.tmp")), "half a fi").unwrap();
    std::fs::write(dir.path().join("zzzzzz.json"), "{broken").unwrap();

    let (store, handed_back) = reopen(&dir, ApprovalLimits::default(), at(60));
    assert_eq!(store.pending_count(), 0);
    assert_eq!(store.get(&answered).unwrap().state, State::Ended { at: at(5), answer: granted("root") });
    let lost = store.get(&waiting).unwrap();
    let restarted = Answer::Lost { reason: "agent restarted".into() };
    assert_eq!(lost.state, State::Ended { at: at(60), answer: restarted.clone() });
    assert_eq!(lost.request.clone(), ApprovalRequest { id: waiting.clone(), ..asked });
    assert_eq!(handed_back, std::slice::from_ref(&lost));
    let late = store.answer(&waiting, granted("root"), at(61)).unwrap_err();
    assert_eq!(late.to_string(), format!("{waiting} has ended already: lost (agent restarted)"));
    assert!(!dir.path().join(format!("{waiting}.tmp")).exists());
    assert!(dir.path().join("zzzzzz.json").exists(), "a damaged record is evidence and stays");
    assert_eq!(store.list(StateFilter::All, 10).len(), 2);
    assert_eq!(store.list(StateFilter::Ended, 1)[0].request.id, waiting, "newest end first");
}

#[test]
fn time_over_is_expired_and_no_answer_can_come_late() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    let ticked = store.submit(request()).unwrap();
    assert!(store.tick(at(299)).is_empty());
    assert_eq!(store.tick(at(300)), [ticked.id.as_str()]);
    assert_eq!(ticked.answer.blocking_recv().unwrap(), Answer::Expired);

    // The tick has not run yet, the clock has.
    let late = store.submit(request()).unwrap();
    let error = store.answer(&late.id, granted("root"), at(301)).unwrap_err();
    assert_eq!(error.to_string(), format!("{} has ended already: expired", late.id));
    assert_eq!(late.answer.blocking_recv().unwrap(), Answer::Expired);
}

/// An approver must not be told "approved" when nothing can run any more.
#[test]
fn nobody_can_approve_for_a_client_that_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    let Submitted { id, answer } = store.submit(request()).unwrap();
    drop(answer);
    let error = store.answer(&id, granted("root"), at(1)).unwrap_err();
    assert_eq!(error.to_string(), format!("{id} has ended already: lost (client went away)"));

    let Submitted { id, answer } = store.submit(request()).unwrap();
    drop(answer);
    assert_eq!(store.tick(at(1)), [id.as_str()]);
    assert_eq!(store.get(&id).unwrap().state_word(), "lost");
}

#[test]
fn holds_are_counted_once_each() {
    let dir = tempfile::tempdir().unwrap();
    let metrics = Arc::new(Metrics::new().unwrap());
    let store =
        ApprovalStore::open(dir.path(), ApprovalLimits::default(), Arc::clone(&metrics), at(0)).unwrap().0;
    let waits = [(); 3].map(|()| store.submit(request()).unwrap());
    store.answer(&waits[0].id, granted("root"), at(7)).unwrap();
    store.answer(&waits[0].id, granted("root"), at(8)).unwrap_err();
    store.withdraw(&waits[1].id, Answer::Cancelled, at(9)).unwrap();
    let text = metrics.exposition(None).unwrap();
    for line in [
        "governor_holds_pending 1",
        "governor_holds_ended_total{answer=\"granted\"} 1",
        "governor_holds_ended_total{answer=\"cancelled\"} 1",
        "governor_hold_wait_seconds_sum 16",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }
}

#[test]
fn a_full_queue_refuses_and_a_withdrawn_request_makes_room() {
    let dir = tempfile::tempdir().unwrap();
    let limits = ApprovalLimits { pending_max: 2, ..ApprovalLimits::default() };
    let store = limited(&dir, limits);
    let first = store.submit(request()).unwrap();
    let second = store.submit(request()).unwrap();
    assert_ne!(first.id, second.id);
    assert!(matches!(store.submit(request()), Err(SubmitError::Full { limit: 2 })));
    store.withdraw(&first.id, Answer::Cancelled, at(1)).unwrap();
    assert_eq!(first.answer.blocking_recv().unwrap(), Answer::Cancelled);
    store.submit(request()).unwrap();
    store.withdraw_all("agent stops", at(2));
    assert_eq!(second.answer.blocking_recv().unwrap(), Answer::Lost { reason: "agent stops".into() });
    assert_eq!(store.pending_count(), 0);
}

#[test]
fn ids_from_outside_are_checked_before_they_name_files() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    for bad in ["../../x", "short", "K7Q2MX", "k7q2mx.json"] {
        let refused = store.submit(ApprovalRequest { id: bad.into(), ..request() });
        assert!(matches!(refused, Err(SubmitError::BadId { .. })), "{bad}");
        assert!(store.get(bad).is_none());
        assert!(matches!(store.answer(bad, granted("root"), at(1)), Err(AnswerError::Unknown { .. })));
    }
    let own = ApprovalRequest { id: store.new_id().unwrap(), ..request() };
    let _waits = store.submit(own.clone()).unwrap();
    assert!(matches!(store.submit(own.clone()), Err(SubmitError::BadId { .. })), "taken while it waits");
    store.answer(&own.id, granted("root"), at(1)).unwrap();
    assert!(matches!(store.submit(own), Err(SubmitError::BadId { .. })), "taken by a record");
}

#[test]
fn prefixes_name_one_request_or_say_why_not() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    let _wait = ["k7q2mx", "k7q3mx", "b0rder"]
        .map(|id| store.submit(ApprovalRequest { id: id.into(), ..request() }).unwrap());
    assert_eq!(store.resolve("K7Q3").unwrap(), "k7q3mx");
    assert_eq!(store.resolve("bO").unwrap(), "b0rder");
    let ambiguous = store.resolve("k7q").unwrap_err().to_string();
    assert_eq!(ambiguous, "\"k7q\" could be any of k7q2mx, k7q3mx");
    store.answer("k7q2mx", granted("root"), at(1)).unwrap();
    assert_eq!(store.resolve("k7q").unwrap(), "k7q3mx", "those that wait come first");
    assert_eq!(store.resolve("k7q2").unwrap(), "k7q2mx", "then records");
    for unknown in ["", "zzz", "../k7q", "k7q2mxx"] {
        assert!(matches!(store.resolve(unknown), Err(LookupError::Unknown(_))), "{unknown}");
    }
}

#[test]
fn records_are_bounded_by_number_bytes_and_age() {
    let dir = tempfile::tempdir().unwrap();
    let end = |store: &ApprovalStore, second| {
        let submitted = store.submit(ApprovalRequest { expires: at(9_999_999), ..request() }).unwrap();
        store.answer(&submitted.id, granted("root"), at(second)).unwrap();
        submitted.id
    };
    let limits = ApprovalLimits { ended_max: 3, ..ApprovalLimits::default() };
    let store = limited(&dir, limits);
    let ids: Vec<String> = (1..=5).map(|second| end(&store, second)).collect();
    store.tick(at(6));
    let kept: Vec<String> = store.list(StateFilter::All, 10).into_iter().map(|a| a.request.id).collect();
    assert_eq!(kept, [ids[4].as_str(), &ids[3], &ids[2]]);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 3);

    store.tick(at(30 * 24 * 3600 + 4));
    assert_eq!(store.list(StateFilter::All, 10).len(), 2, "30 days after second 3");

    let limits = ApprovalLimits { ended_bytes_max: 1, ..ApprovalLimits::default() };
    let (store, lost) = reopen(&dir, limits, at(10));
    assert!(lost.is_empty());
    assert!(store.list(StateFilter::All, 10).is_empty());
}

/// An answer that is not on disk was not given.
#[test]
fn an_answer_that_cannot_be_written_is_not_given() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    let mut submitted = store.submit(request()).unwrap();
    std::fs::remove_dir_all(dir.path()).unwrap();
    assert!(matches!(store.answer(&submitted.id, granted("root"), at(1)), Err(AnswerError::Store(_))));
    assert!(submitted.answer.try_recv().is_err());
    assert_eq!(store.pending_count(), 1);
    assert!(matches!(store.submit(request()), Err(SubmitError::Store(_))));
    // Its time still ends.
    assert_eq!(store.tick(at(300)).len(), 1);
    assert_eq!(submitted.answer.blocking_recv().unwrap(), Answer::Expired);
    std::fs::create_dir(dir.path()).unwrap();
}

#[test]
fn who_may_answer() {
    let person = |uid: u32, login: Option<u32>, groups: &[&str]| Approver {
        uid,
        user: if uid == 0 { "root".into() } else { format!("u{uid}") },
        login_uid: login,
        login_user: login.map(|uid| format!("u{uid}")),
        groups: groups.iter().map(|&group| group.into()).collect(),
    };
    let members = vec!["u1001".to_owned(), "uid:1002".into(), "group:leads".into()];
    let listed = ApproverRules { groups: [("dba".to_owned(), members)].into(), ..Default::default() };
    let unlisted = ApproverRules::default();
    let alone = ApproverRules { self_approval_as_root: true, ..Default::default() };

    // The requester is uid 1000, logged in as 1000.
    let table = [
        ("root", &unlisted, person(0, None, &[]), true),
        ("root from another login", &unlisted, person(0, Some(1001), &[]), true),
        ("the requester under sudo", &unlisted, person(0, Some(1000), &[]), false),
        ("the same on a host with one administrator", &alone, person(0, Some(1000), &[]), true),
        ("the requester", &unlisted, person(1000, Some(1000), &["dba"]), false),
        ("the requester where root may", &alone, person(1000, Some(1000), &["dba"]), false),
        ("the requester after su", &unlisted, person(1001, Some(1000), &["dba"]), false),
        ("unix group", &unlisted, person(1001, Some(1001), &["dba"]), true),
        ("other unix group", &unlisted, person(1001, Some(1001), &["staff"]), false),
        ("listed by name", &listed, person(1001, None, &[]), true),
        ("listed by uid", &listed, person(1002, None, &[]), true),
        ("listed by group", &listed, person(1003, None, &["leads"]), true),
        ("a list replaces the unix group", &listed, person(1004, None, &["dba"]), false),
    ];
    for (who, rules, approver, expected) in table {
        let answer = rules.may_answer(&approver, &request());
        assert_eq!(answer.is_ok(), expected, "{who}: {answer:?}");
    }

    // Where everything is root, root marks nobody.
    let mut by_root = request();
    by_root.principal.uid = 0;
    by_root.principal.login_uid = None;
    assert!(unlisted.may_answer(&person(0, None, &[]), &by_root).is_ok());
    by_root.principal.login_uid = Some(1000);
    assert!(unlisted.may_answer(&person(0, Some(1000), &[]), &by_root).is_err());
    assert_eq!(person(0, Some(1000), &[]).name(), "root (login u1000)");
}
