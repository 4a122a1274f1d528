//! The built command against a real control socket: exit codes, output, pipes.

#![allow(clippy::unwrap_used, reason = "a test that cannot set up has failed")]

use governor::app::handle::{Agent, Handle, HandleParts, LedgerStatus, PolicyReload};
use governor::engine::approval::{Answer, ApprovalRequest};
use governor::engine::model::{
    Claims, Class, DecisionId, Endpoint, Principal, Reason, RelationName, SessionId, Statement,
    StatementKind, Timestamp, Unknown,
};
use governor::host::approvals::{ApprovalLimits, ApprovalStore, ApproverRules};
use governor::host::clock;
use governor::host::telemetry::{KernelCounters, Metrics};
use governor::surface::api::{ControlSocket, serve_control};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;

/// An agent with nothing captured yet.
struct Idle;

impl Agent for Idle {
    fn capture(&self) -> Vec<String> {
        vec![]
    }
    fn policy_version(&self) -> String {
        "v1".into()
    }
    fn reload_policy(&self) -> Result<PolicyReload, String> {
        Err("no policy directory".into())
    }
    fn explain(
        &self,
        question: &governor::engine::session::explain::Question,
    ) -> Result<governor::engine::session::explain::Explanation, String> {
        use governor::engine::policy::{PolicySet, Profile};
        let set = PolicySet::compile(&PolicySet::builtin(Profile::Protect)).unwrap();
        governor::engine::session::explain::explain(
            &set,
            question,
            governor::engine::session::ColumnWords::default(),
        )
    }
    fn ledger(&self) -> LedgerStatus {
        LedgerStatus::default()
    }
    fn kernel(&self) -> Option<KernelCounters> {
        None
    }
}

fn serve(dir: &Path) -> (tokio::runtime::Runtime, Handle) {
    let metrics = Arc::new(Metrics::new().unwrap());
    let (approvals, _) = ApprovalStore::open(
        dir.join("approvals"),
        ApprovalLimits::default(),
        Arc::clone(&metrics),
        clock::now(),
    )
    .unwrap();
    let handle = Handle::new(HandleParts {
        profile: "observe".into(),
        started: clock::now(),
        agent: Box::new(Idle),
        approvals: Arc::new(approvals),
        approver_rules: ApproverRules::default(),
        metrics,
    });
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let socket = ControlSocket::bind(dir.join("control.sock"), None).unwrap();
    runtime.spawn(serve_control(socket, handle.clone()));
    (runtime, handle)
}

fn governor(dir: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_governor"));
    command.arg("--state-dir").arg(dir).args(arguments).env_remove("GOVERNOR_CONFIG");
    command
}

fn run(dir: &Path, arguments: &[&str]) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = governor(dir, arguments).output().unwrap();
    (status.code(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

#[test]
fn without_an_agent_the_way_to_start_one_is_told() {
    let dir = tempfile::tempdir().unwrap();
    for verb in [&["status"][..], &["approvals", "list"], &["approvals", "approve", "k7q2mx"]] {
        let (code, out, error) = run(dir.path(), verb);
        assert_eq!((code, out.as_str()), (Some(1), ""), "{verb:?}");
        assert!(error.contains("no governor is running") && error.contains("control.sock"), "{error}");
        assert!(error.contains("sudo governor run --state-dir"), "{error}");
    }
    assert_eq!(run(dir.path(), &["dance"]).0, Some(2));
    assert_eq!(run(dir.path(), &["--version"]).0, Some(0));
}

#[test]
fn status_succeeds_once_the_agent_is_ready() {
    let dir = tempfile::tempdir().unwrap();
    let (_runtime, handle) = serve(dir.path());
    let (code, out, _) = run(dir.path(), &["status"]);
    assert_eq!(code, Some(1), "{out}");
    assert!(out.contains("starting") && !out.contains('\x1b'), "{out}");

    let waiting =
        governor(dir.path(), &["status", "--wait=60", "--json"]).stdout(Stdio::piped()).spawn().unwrap();
    handle.set_ready();
    let output = waiting.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    let status: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&status["phase"], &status["profile"]), (&"ready".into(), &"observe".into()));
}

#[test]
fn lists_are_for_people_or_for_programs() {
    let dir = tempfile::tempdir().unwrap();
    let (_runtime, _handle) = serve(dir.path());
    assert_eq!(run(dir.path(), &["approvals", "list"]).1, "Nothing waits for an answer.\n");
    assert_eq!(run(dir.path(), &["approvals", "list", "--json"]).1, "");
    let (code, _, error) = run(dir.path(), &["approvals", "show", "zzz"]);
    assert_eq!(code, Some(1));
    assert!(error.contains("no approval request begins with \"zzz\""), "{error}");
    let (code, _, error) = run(dir.path(), &["approvals", "show", "../.."]);
    assert_eq!(code, Some(1));
    assert!(error.contains("not an id"), "{error}");
}

#[test]
fn a_hold_is_shown_and_answered_from_another_terminal() {
    let dir = tempfile::tempdir().unwrap();
    let (_runtime, handle) = serve(dir.path());
    let submitted = handle.approvals().submit(request()).unwrap();
    let id = submitted.id.as_str();

    let (_, list, _) = run(dir.path(), &["approvals", "list"]);
    assert!(list.contains(id) && list.contains("DELETE FROM orders WHERE id < 10"), "{list}");
    let (code, page, _) = run(dir.path(), &["approvals", "show", &id[..5]]);
    assert_eq!(code, Some(0));
    assert!(page.contains("agents ask before they delete [agent-delete]"), "{page}");

    let (code, out, error) = run(dir.path(), &["approvals", "deny", id, "--note", "use the archive job"]);
    assert_eq!(code, Some(0), "{error}");
    assert!(out.starts_with(&format!("{id} denied by ")), "{out}");
    let answer = submitted.answer.blocking_recv().unwrap();
    assert!(matches!(&answer, Answer::Refused { note, .. } if note == "use the archive job"), "{answer:?}");

    let (code, out, error) = run(dir.path(), &["approvals", "approve", id]);
    assert_eq!((code, out.as_str()), (Some(1), ""));
    assert!(error.contains(&format!("{id} has ended already: refused by ")), "{error}");
    let (_, lines, _) = run(dir.path(), &["approvals", "list", "--all", "--json"]);
    let record: serde_json::Value = serde_json::from_str(lines.trim()).unwrap();
    assert_eq!(
        (&record["state"], &record["answer"]["answer"]),
        (&"ended".into(), &"refused".into()),
        "{record}"
    );
}

/// A DELETE by an agent, held for a minute. Its uid is nobody who runs this test.
fn request() -> ApprovalRequest {
    let created = clock::now();
    let expires = Timestamp {
        unix_ns: created.unix_ns + 60_000_000_000,
        monotonic_ns: created.monotonic_ns + 60_000_000_000,
    };
    let statement = Statement {
        kind: StatementKind::Delete,
        tag: "DELETE".into(),
        writes: vec![RelationName { schema: Some("shop".into()), name: "orders".into() }],
        has_where: Some(true),
        unknown: None,
        ..Statement::unknown("DELETE FROM orders WHERE id < 10".into(), Unknown::TooDeep)
    };
    ApprovalRequest {
        id: String::new(),
        session: SessionId("s1".into()),
        decision: DecisionId("s1.4".into()),
        created,
        expires,
        approvers: "dba".into(),
        principal: Principal {
            class: Class::Agent,
            class_evidence: vec!["ancestor claude".into()],
            pid: 4711,
            start_ticks: 99,
            uid: 61234,
            user: "alice".into(),
            gid: 61234,
            groups: vec![],
            login_uid: None,
            login_user: None,
            command: "psql".into(),
            executable: Some("/usr/bin/psql".into()),
            executable_sha256: None,
            command_line: vec!["psql".into(), "shop".into()],
            cgroup_id: 7,
            cgroup: None,
            unit: None,
            container: None,
            container_facts: Default::default(),
            terminal: None,
            ancestors: vec![],
            remote: None,
        },
        claims: Claims { user: "app".into(), database: "shop".into(), application_name: "psql".into() },
        destination: Endpoint::tcp([127, 0, 0, 1].into(), 5432),
        statements: vec![statement],
        parameters: vec![].into(),
        reasons: vec![Reason {
            policy: "agent-delete".into(),
            text: "agents ask before they delete".into(),
            hint: String::new(),
            ..Reason::default()
        }]
        .into(),
        transaction: "transaction".into(),
    }
}

/// A reader that goes away is not worth a word.
#[test]
fn a_broken_pipe_is_quiet() {
    let dir = tempfile::tempdir().unwrap();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = governor(dir.path(), &["completions", "bash"]);
    let child = command.stdout(writer).stderr(Stdio::piped()).spawn().unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
}
