//! The built command against a real control socket: exit codes, output, pipes.

use governor::app::handle::{Agent, Handle, HandleParts, LedgerStatus, PolicyReload};
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
