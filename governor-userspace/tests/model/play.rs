//! A session between a client whose bytes are known and a model server, as the host would drive it.

use bytes::BytesMut;
use governor::engine::approval::{Answer, ApprovalRequest};
use governor::engine::audit::{AuditEvent, AuditRecord, Outcome};
use governor::engine::masking::Detectors;
use governor::engine::model::{Class, Endpoint, Principal, SessionId, Timestamp, Verdict};
use governor::engine::policy::{PolicySet, Profile};
use governor::engine::session::cases::Actor;
use governor::engine::session::{
    Actions, CloseReason, EngineLimits, Governance, Input, Request, Session, SessionSetup, TlsMode,
};
use governor_tests::model::{Choices, Server};
use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

/// What a session did so far.
pub struct Play {
    pub session: Session,
    pub governance: Governance,
    pub to_server: Vec<u8>,
    pub to_client: Vec<u8>,
    pub records: Vec<AuditRecord>,
    pub completions: Vec<AuditRecord>,
    pub closed: Option<CloseReason>,
    /// Bytes that were read and not consumed, at most.
    pub waiting_bytes_max: usize,
    /// Decides which texts are refused when they are held. By text and not one after another: whether a statement
    /// behind a failing one is held at all depends on what the server has said by then.
    refusals: u8,
    dialled: bool,
    held: Vec<ApprovalRequest>,
    client: BytesMut,
    server: BytesMut,
}

impl Play {
    pub fn new(class: Class, profile: Profile, limits: EngineLimits, answers: Choices<'_>) -> Self {
        Self::under(governance(profile, limits), class, answers)
    }

    /// A session under what another may have been governed by before, as sessions of one worker are.
    pub fn under(mut governance: Governance, class: Class, mut answers: Choices<'_>) -> Self {
        let setup = SessionSetup {
            hello: governor::engine::session::HelloRule::default(),
            id: SessionId("s".into()),
            principal: Arc::new(principal(class)),
            client: None,
            destination: Endpoint::tcp([127, 0, 0, 1].into(), 5432),
            tls: TlsMode::Decline,
        };
        let mut out = Actions::default();
        let session = Session::start(setup, NOW, &mut governance, &mut out);
        let mut play = Self {
            session,
            governance,
            to_server: vec![],
            to_client: vec![],
            records: vec![],
            completions: vec![],
            closed: None,
            waiting_bytes_max: 0,
            refusals: answers.byte(),
            dialled: false,
            held: vec![],
            client: BytesMut::new(),
            server: BytesMut::new(),
        };
        play.take(out);
        play
    }

    /// More bytes of the client; `false` in the host would mean: do not read on.
    pub fn client(&mut self, bytes: &[u8]) {
        self.client.extend_from_slice(bytes);
        self.resume();
    }

    pub fn server(&mut self, bytes: &[u8]) {
        self.server.extend_from_slice(bytes);
        let mut buffer = std::mem::take(&mut self.server);
        self.input(Input::Server(&mut buffer));
        self.server = buffer;
        self.resume();
    }

    pub fn wants_client(&self) -> bool {
        self.session.wants_client()
    }

    pub fn input(&mut self, input: Input<'_>) {
        let mut out = Actions::default();
        self.session.handle(NOW, input, &mut self.governance, &mut out);
        self.take(out);
    }

    /// As the host does: what waits is offered again after every input, and requests are answered.
    fn resume(&mut self) {
        loop {
            if std::mem::take(&mut self.dialled) {
                self.input(Input::Connected);
            } else if let Some(request) = self.held.pop() {
                self.input(Input::Held { approval: "a1".into() });
                let (by, note) = ("boss".into(), String::new());
                let text = request.statements.first().map(|s| s.text.to_string()).unwrap_or_default();
                let sum = text.bytes().fold(self.refusals, u8::wrapping_add);
                let answer = match sum % 3 {
                    0 => Answer::Refused { by, uid: 1, note },
                    _ => Answer::Granted { by, uid: 1, note },
                };
                self.input(Input::Answered { answer });
            } else if self.session.wants_client() && !self.client.is_empty() && self.closed.is_none() {
                let before = self.client.len();
                let mut buffer = std::mem::take(&mut self.client);
                let mut out = Actions::default();
                self.session.handle(NOW, Input::Client(&mut buffer), &mut self.governance, &mut out);
                self.client = buffer;
                let quiet = out.is_empty();
                self.take(out);
                if quiet && self.client.len() == before {
                    break;
                }
            } else {
                break;
            }
        }
        let client = if self.session.wants_client() { self.client.len() } else { 0 };
        if self.closed.is_none() {
            self.waiting_bytes_max = self.waiting_bytes_max.max(client).max(self.server.len());
        }
    }

    fn take(&mut self, mut out: Actions) {
        self.records.append(&mut out.records);
        self.completions.append(&mut out.completions);
        for request in out.requests {
            match request {
                Request::Dial => self.dialled = true,
                Request::Hold(request) => self.held.push(*request),
                _ => {}
            }
        }
        for (bytes, _permit) in out.to_server {
            self.to_server.extend_from_slice(&bytes);
        }
        for bytes in out.to_client {
            self.to_client.extend_from_slice(&bytes);
        }
        self.closed = self.closed.take().or(out.close);
    }

    /// Plays `client` against `server` to the end; `cuts` says who is next and how much comes at once.
    pub fn converse(&mut self, client: &[u8], server: &mut Server<'_>, cuts: &mut Cuts<'_>) {
        let (mut sent, mut pending, mut seen) = (0, Vec::new(), 0);
        while self.closed.is_none() {
            server.receive(self.to_server.get(seen..).unwrap_or_default());
            seen = self.to_server.len();
            pending.extend(server.take_output());
            let may_send = sent < client.len() && self.wants_client();
            if pending.is_empty() && !may_send {
                break;
            }
            if may_send && (pending.is_empty() || cuts.client_is_next()) {
                let end = sent.saturating_add(cuts.size()).min(client.len());
                self.client(client.get(sent..end).unwrap_or_default());
                sent = end;
            } else {
                let rest = pending.split_off(cuts.size().min(pending.len()));
                self.server(&pending);
                pending = rest;
            }
        }
    }

    /// Plays both sides' bytes as they are, whatever the session makes of them.
    pub fn recorded(&mut self, mut client: &[u8], mut server: &[u8], cuts: &mut Cuts<'_>) {
        while self.closed.is_none() {
            let may_send = !client.is_empty() && self.wants_client();
            if may_send && (server.is_empty() || cuts.client_is_next()) {
                let (now, rest) = client.split_at(cuts.size().min(client.len()));
                client = rest;
                self.client(now);
            } else if server.is_empty() {
                break;
            } else {
                let (now, rest) = server.split_at(cuts.size().min(server.len()));
                server = rest;
                self.server(now);
            }
        }
    }

    /// What was let through: text, verdict's outcome, rows; in the order of the records.
    pub fn runs(&self) -> Vec<(String, Outcome, u64)> {
        let done: HashMap<_, _> = self
            .completions
            .iter()
            .filter_map(|record| match &record.event {
                AuditEvent::Completion(done) => Some((done.decision.clone(), done)),
                _ => None,
            })
            .collect();
        let allowed = self.records.iter().filter_map(|record| match &record.event {
            AuditEvent::Statement(statement) if statement.verdict == Verdict::Allow => Some(statement),
            _ => None,
        });
        allowed
            .map(|statement| {
                let done = done.get(&statement.decision);
                let outcome = done.map_or(Outcome::Lost, |done| done.outcome);
                (statement.text.to_string(), outcome, done.map_or(0, |done| done.rows))
            })
            .collect()
    }
}

/// Who is next and how much comes at once.
pub struct Cuts<'a> {
    choices: Choices<'a>,
}

impl<'a> Cuts<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { choices: Choices::new(bytes) }
    }

    fn client_is_next(&mut self) -> bool {
        // At the end of the choices the server speaks first.
        self.choices.once_in(2)
    }

    pub fn size(&mut self) -> usize {
        match self.choices.byte() {
            0 => usize::MAX,
            n @ 1..=40 => usize::from(n),
            n => usize::from(n) * 4,
        }
    }
}

/// What the built-in policies ask for.
pub fn governance(profile: Profile, limits: EngineLimits) -> Governance {
    let (policy, detectors) = made(profile);
    Governance::new(policy, detectors, Arc::default(), limits)
}

fn made(profile: Profile) -> (Arc<PolicySet>, Arc<Detectors>) {
    static MADE: OnceLock<(Arc<PolicySet>, Arc<PolicySet>, Arc<Detectors>)> = OnceLock::new();
    let (protect, observe, detectors) = MADE.get_or_init(|| {
        let compile = |profile| Arc::new(PolicySet::compile(&PolicySet::builtin(profile)).expect("built in"));
        (compile(Profile::Protect), compile(Profile::Observe), Arc::new(Detectors::new().expect("built in")))
    });
    let policy = if profile == Profile::Observe { observe } else { protect };
    (policy.clone(), detectors.clone())
}

pub fn principal(class: Class) -> Principal {
    Actor { class: Some(class), user: Some("alice".into()), ..Actor::default() }.principal()
}

const NOW: Timestamp = Timestamp { unix_ns: 1, monotonic_ns: 1 };
