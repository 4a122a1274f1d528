//! Real sockets, real HTTP, the real store; only the parts behind [`Agent`] are small ones of our own.

use super::*;
use crate::app::handle::{
    Agent, Handle, HandleParts, LedgerStatus, PeersReload, Phase, PolicyReload, Status,
};
use crate::engine::approval::{Answer, ApprovalRequest, State};
use crate::host::approvals::tests::request;
use crate::host::approvals::{Approval, ApprovalLimits, ApprovalStore, ApproverRules};
use crate::host::clock;
use crate::host::telemetry::{KernelCounters, Metrics};
use crate::surface::cli::client::{Client, ClientError};
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

#[derive(Default)]
struct Switches {
    ledger_broken: AtomicBool,
    policy_broken: AtomicBool,
    attached: AtomicBool,
}

struct Parts(Arc<Switches>);

impl Agent for Parts {
    fn capture(&self) -> Vec<String> {
        vec!["cgroup /demo ports 5432".into()]
    }
    fn policy_version(&self) -> String {
        "v1".into()
    }
    fn reload_policy(&self) -> Result<PolicyReload, String> {
        if self.0.policy_broken.load(Ordering::SeqCst) {
            return Err("a.cedar:3: unexpected token".into());
        }
        Ok(PolicyReload { version: "v2".into(), policies: 7 })
    }
    fn reload_peers(&self) -> Result<PeersReload, String> {
        if self.0.policy_broken.load(Ordering::SeqCst) {
            return Err("governor.toml:7: unknown key".into());
        }
        Ok(PeersReload { changed: true, key: "00ff".into(), peers: 2 })
    }
    fn explain(
        &self,
        question: &crate::engine::session::explain::Question,
    ) -> Result<crate::engine::session::explain::Explanation, String> {
        use crate::engine::policy::{PolicySet, Profile};
        let set = PolicySet::compile(&PolicySet::builtin(Profile::Protect)).unwrap();
        crate::engine::session::explain::explain(
            &set,
            question,
            crate::engine::session::ColumnWords::default(),
        )
    }
    fn ledger(&self) -> LedgerStatus {
        let broken = self.0.ledger_broken.load(Ordering::SeqCst);
        LedgerStatus { sequence: 12, error: broken.then(|| "no space left".into()) }
    }
    fn kernel(&self) -> Option<KernelCounters> {
        let attached = self.0.attached.load(Ordering::SeqCst);
        attached.then(|| KernelCounters { redirected: 3, ..KernelCounters::default() })
    }
}

/// An instance in its own directory, served by its own runtime.
struct Instance {
    dir: tempfile::TempDir,
    handle: Handle,
    switches: Arc<Switches>,
    telemetry: std::net::SocketAddr,
    _runtime: tokio::runtime::Runtime,
}

impl Instance {
    fn start(rules: ApproverRules) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let now = clock::now();
        let metrics = Arc::new(Metrics::new().unwrap());
        let approvals_dir = dir.path().join("approvals");
        let (approvals, _) =
            ApprovalStore::open(approvals_dir, ApprovalLimits::default(), Arc::clone(&metrics), now).unwrap();
        let switches = Arc::new(Switches::default());
        switches.attached.store(true, Ordering::SeqCst);
        let handle = Handle::new(HandleParts {
            profile: "protect".into(),
            started: now,
            agent: Box::new(Parts(Arc::clone(&switches))),
            approvals: Arc::new(approvals),
            approver_rules: rules,
            metrics,
        });
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let socket = ControlSocket::bind(dir.path().join("control.sock"), None).unwrap();
        let listener = TelemetryListener::bind("127.0.0.1:0".parse().unwrap(), dir.path()).unwrap();
        let telemetry = listener.address();
        runtime.spawn(serve_control(socket, handle.clone()));
        runtime.spawn(serve_telemetry(listener, handle.clone()));
        runtime.spawn(Arc::clone(handle.approvals()).run_expiry());
        Self { dir, handle, switches, telemetry, _runtime: runtime }
    }

    fn socket(&self) -> PathBuf {
        self.dir.path().join("control.sock")
    }

    fn client(&self) -> Client {
        Client::new(self.socket())
    }

    fn scrape(&self, path: &str) -> (u16, String) {
        let mut stream = std::net::TcpStream::connect(self.telemetry).unwrap();
        exchange(&mut stream, &format!("GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"))
    }
}

/// Sends raw bytes and reads the whole answer: status and everything after the headers.
fn exchange(stream: &mut (impl Read + Write), bytes: &str) -> (u16, String) {
    stream.write_all(bytes.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

fn refusal<T: std::fmt::Debug>(result: Result<T, ClientError>) -> (u16, ErrorBody) {
    match result {
        Err(ClientError::Refused(body, status)) => (status.as_u16(), body),
        other => panic!("{other:?}"),
    }
}

/// One that waits until somebody answers or a minute is over.
fn waiting() -> ApprovalRequest {
    let created = clock::now();
    let mut expires = created;
    expires.monotonic_ns += 60_000_000_000;
    ApprovalRequest { created, expires, ..request() }
}

#[test]
fn status_tells_what_the_agent_knows() {
    let instance = Instance::start(ApproverRules::default());
    let status: Status = instance.client().get("/v1/status").unwrap();
    assert_eq!((status.phase, status.pid, status.holds_pending), (Phase::Starting, std::process::id(), 0));
    assert_eq!(status.capture, ["cgroup /demo ports 5432"]);
    assert_eq!((status.ledger.sequence, status.kernel.unwrap().redirected), (12, 3));
    assert_eq!(status.metrics_address, Some(instance.telemetry.to_string()));
    instance.handle.set_ready();
    assert_eq!(instance.client().get::<Status>("/v1/status").unwrap().phase, Phase::Ready);
}

#[test]
fn an_approval_goes_from_the_socket_to_the_waiting_session() {
    let instance = Instance::start(ApproverRules::default());
    let submitted = instance.handle.approvals().submit(waiting()).unwrap();
    let client = instance.client();
    let list: ApprovalList = client.get("/v1/approvals?state=pending").unwrap();
    assert_eq!(list.approvals.len(), 1);
    let shown: Approval = client.get(&format!("/v1/approvals/{}", &submitted.id[..4])).unwrap();
    assert_eq!(shown.request.id, submitted.id);

    let path = format!("/v1/approvals/{}/approve", submitted.id);
    let answered: Approval = client.post(&path, &NoteBody { note: "ticket 1".into() }).unwrap();
    // The tests may run as any user: the kernel says which.
    let uid = nix::unistd::getuid().as_raw();
    let State::Ended { answer: Answer::Granted { uid: by, note, .. }, .. } = &answered.state else {
        panic!("{answered:?}");
    };
    assert_eq!((*by, note.as_str()), (uid, "ticket 1"));
    assert!(matches!(submitted.answer.blocking_recv().unwrap(), Answer::Granted { .. }));

    let (status, body) =
        refusal(client.post::<Approval>(&path.replace("approve", "refuse"), &NoteBody::default()));
    assert_eq!(status, 409);
    assert!(body.error.contains("has ended already: granted by"), "{body:?}");
    assert!(client.get::<ApprovalList>("/v1/approvals").unwrap().approvals.is_empty());
    assert_eq!(client.get::<ApprovalList>("/v1/approvals?state=ended").unwrap().approvals.len(), 1);
}

/// The tick runs by itself.
#[test]
fn a_request_nobody_answers_expires() {
    let instance = Instance::start(ApproverRules::default());
    let mut request = waiting();
    request.expires.monotonic_ns = request.created.monotonic_ns + 1_000_000;
    let submitted = instance.handle.approvals().submit(request).unwrap();
    assert_eq!(submitted.answer.blocking_recv().unwrap(), Answer::Expired);
}

/// Needs root, because another user is needed: the peer's uid comes from the kernel, not from us.
#[test]
fn another_user_answers_only_by_the_rules() {
    if !nix::unistd::getuid().is_root() {
        eprintln!("skipped: needs root to become somebody else");
        return;
    }
    let group = vec!["uid:61234".to_owned()];
    let instance =
        Instance::start(ApproverRules { groups: [("dba".to_owned(), group)].into(), ..Default::default() });
    for (path, mode) in [(instance.dir.path().to_owned(), 0o755), (instance.socket(), 0o666)] {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    }
    let submitted = instance.handle.approvals().submit(waiting()).unwrap();
    let path = format!("/v1/approvals/{}/approve", submitted.id);
    let (status, body) = refusal(as_user(61235, &instance, &path));
    assert_eq!((status, body.error.as_str()), (403, "61235 is not in the approver group \"dba\""));
    let (status, body) = refusal(as_user(1000, &instance, &path));
    assert_eq!(status, 403);
    assert!(body.error.ends_with("asked for this statement, so somebody else has to answer"), "{body:?}");
    for read_again in ["/v1/policy/reload", "/v1/peers/reload"] {
        let (status, _) = refusal(as_user(61234, &instance, read_again));
        assert_eq!(status, 403, "an approver is not an administrator");
    }
    as_user(61234, &instance, &path).unwrap();
    let answer = submitted.answer.blocking_recv().unwrap();
    assert_eq!(answer, Answer::Granted { by: "61234".into(), uid: 61234, note: String::new() });
}

/// Posts with the credentials of `uid`: a thread of its own takes them on, so the rest of this process
/// keeps its own.
fn as_user(uid: u32, instance: &Instance, path: &str) -> Result<serde_json::Value, ClientError> {
    let (client, path) = (instance.client(), path.to_owned());
    let thread = std::thread::spawn(move || {
        // SAFETY: the raw system call changes this thread only; setresuid(2) of the C library would
        // change all threads. The thread ends with this closure.
        let failed = unsafe { libc::syscall(libc::SYS_setresuid, uid, uid, uid) };
        assert_eq!(failed, 0);
        client.post(&path, &NoteBody::default())
    });
    thread.join().unwrap()
}

#[test]
fn errors_are_json_with_a_hint_and_the_right_status() {
    let instance = Instance::start(ApproverRules::default());
    let client = instance.client();
    for (path, expected) in [
        ("/v1/approvals/zzzzzz", 404),
        ("/v1/approvals/%2e%2e%2fx", 404),
        ("/v1/nothing", 404),
        ("/v1/policy/reload", 405),
        ("/v1/approvals?state=sideways", 400),
        ("/v1/approvals?limit=-1", 400),
        ("/v1/approvals?unknown=1", 400),
    ] {
        let (status, body) = refusal(client.get::<serde_json::Value>(path));
        assert_eq!(status, expected, "{path}: {body:?}");
        assert!(!body.error.is_empty(), "{path}");
    }
    let (status, _) =
        refusal(client.post::<Approval>("/v1/approvals/zzzzzz/approve", &serde_json::json!({"nope": 1})));
    assert_eq!(status, 422);
    let long = NoteBody { note: "x".repeat(20_000) };
    let (status, _) = refusal(client.post::<Approval>("/v1/approvals/zzzzzz/approve", &long));
    assert_eq!(status, 413);
    let (status, _) =
        exchange(&mut UnixStream::connect(instance.socket()).unwrap(), "\x00\x01 garbage\r\n\r\n");
    assert_eq!(status, 400);
}

#[test]
fn policy_reload_tells_the_reason_and_is_counted() {
    let instance = Instance::start(ApproverRules::default());
    let reload: PolicyReload = instance.client().post("/v1/policy/reload", &()).unwrap();
    assert_eq!(reload, PolicyReload { version: "v2".into(), policies: 7 });
    instance.switches.policy_broken.store(true, Ordering::SeqCst);
    let (status, body) = refusal(instance.client().post::<PolicyReload>("/v1/policy/reload", &()));
    assert_eq!((status, body.error.as_str()), (422, "a.cedar:3: unexpected token"));
    let (_, text) = instance.scrape("/metrics");
    for line in [
        "governor_policy_reloads_total{result=\"ok\"} 1",
        "governor_policy_reloads_total{result=\"refused\"} 1",
        "governor_kernel_redirected_total 3",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }
}

#[test]
fn peers_that_are_read_again_are_counted_and_a_refusal_says_what_holds() {
    let instance = Instance::start(ApproverRules::default());
    let reload: PeersReload = instance.client().post("/v1/peers/reload", &()).unwrap();
    assert_eq!(reload, PeersReload { changed: true, key: "00ff".into(), peers: 2 });
    instance.switches.policy_broken.store(true, Ordering::SeqCst);
    let (status, body) = refusal(instance.client().post::<PeersReload>("/v1/peers/reload", &()));
    assert_eq!((status, body.error.as_str()), (422, "governor.toml:7: unknown key"));
    assert!(body.hint.contains("stay in force"), "{body:?}");
    let (_, text) = instance.scrape("/metrics");
    for result in ["ok", "refused"] {
        let line = format!("governor_peers_reloads_total{{result=\"{result}\"}} 1");
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }
}

#[test]
fn health_and_readiness_follow_the_agent() {
    let instance = Instance::start(ApproverRules::default());
    assert_eq!(instance.scrape("/readyz"), (503, "starting\n".into()));
    instance.handle.set_ready();
    assert_eq!(instance.scrape("/readyz"), (200, "ready\n".into()));
    assert_eq!(instance.scrape("/healthz").0, 200);
    instance.switches.ledger_broken.store(true, Ordering::SeqCst);
    instance.switches.attached.store(false, Ordering::SeqCst);
    let (status, body) = instance.scrape("/healthz");
    assert_eq!(status, 503);
    assert!(body.contains("audit ledger: no space left") && body.contains("not attached"), "{body}");
    instance.handle.drain();
    assert_eq!(instance.scrape("/readyz"), (503, "draining\n".into()));
    instance.handle.set_ready();
    assert_eq!(instance.handle.phase(), Phase::Draining, "draining is never undone");
}

#[test]
fn the_real_address_is_written_down_and_a_taken_port_names_its_owner() {
    let instance = Instance::start(ApproverRules::default());
    let written = std::fs::read_to_string(instance.dir.path().join(METRICS_ADDRESS_FILE)).unwrap();
    assert_eq!(written, format!("{}\n", instance.telemetry));
    let other = tempfile::tempdir().unwrap();
    let error = TelemetryListener::bind(instance.telemetry, other.path()).unwrap_err().to_string();
    assert!(error.contains(&format!("(pid {})", std::process::id())), "{error}");
    assert!(!other.path().join(METRICS_ADDRESS_FILE).exists());
}

#[test]
fn a_live_socket_names_its_owner_and_a_stale_one_is_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("control.sock");
    let first = ControlSocket::bind(&path, None).unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o7777, 0o660);
    let error = ControlSocket::bind(&path, None).unwrap_err().to_string();
    assert!(error.contains(&format!("(pid {})", std::process::id())), "{error}");

    // Killed: the file stays, lock and listener are gone.
    let stale = dir.path().join("stale.sock");
    drop(std::os::unix::net::UnixListener::bind(&stale).unwrap());
    assert!(stale.exists());
    ControlSocket::bind(&stale, None).unwrap();

    // Served by something without our lock: never taken away.
    let foreign = dir.path().join("foreign.sock");
    let _listener = std::os::unix::net::UnixListener::bind(&foreign).unwrap();
    assert!(matches!(ControlSocket::bind(&foreign, None), Err(SocketError::InUse { pid: Some(_), .. })));

    drop(first);
    assert!(!path.exists(), "a stopped agent leaves no socket");
}

#[test]
fn places_where_no_socket_can_be_are_told_apart() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("control.sock");
    std::fs::write(&file, "precious").unwrap();
    assert!(matches!(ControlSocket::bind(&file, None), Err(SocketError::NotSocket { .. })));
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "precious");
    let long = dir.path().join("x".repeat(120)).join("control.sock");
    assert!(matches!(ControlSocket::bind(long, None), Err(SocketError::PathTooLong { .. })));
    let missing = dir.path().join("missing/control.sock");
    assert!(matches!(ControlSocket::bind(missing, None), Err(SocketError::Io { .. })));
    let group = ControlSocket::bind(dir.path().join("g.sock"), Some("no-such-group"));
    assert!(matches!(group, Err(SocketError::NoGroup(_))));
}

/// Callers that connect and say nothing must not keep others out.
#[test]
fn silent_callers_do_not_block_others() {
    let instance = Instance::start(ApproverRules::default());
    let _silent: Vec<_> = (0..40).map(|_| UnixStream::connect(instance.socket()).unwrap()).collect();
    instance.client().get::<Status>("/v1/status").unwrap();
}
