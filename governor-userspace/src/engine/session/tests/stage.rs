//! A session between a scripted client and a scripted server.

use super::super::*;
use crate::engine::audit::{AuditRecord, StatementRecord};
use crate::engine::masking::Detectors;
use crate::engine::model::{Class, Verdict};
use crate::engine::policy::{PolicySet, Profile};
use crate::engine::wire::postgres::{Header, backend};
use bytes::BytesMut;
use std::sync::LazyLock;

/// Session and everything around it, with what it sent and wrote so far.
pub struct Stage {
    pub session: Session,
    pub governance: Governance,
    pub to_server: Vec<u8>,
    pub to_client: Vec<u8>,
    pub records: Vec<AuditRecord>,
    pub completions: Vec<AuditRecord>,
    pub requests: Vec<Request>,
    pub closed: Option<CloseReason>,
    client: BytesMut,
    server: BytesMut,
    /// Of the server's message that is not complete.
    unfinished: Vec<u8>,
    now: Timestamp,
    /// What the server tells of the session's state: search_path, role, session_authorization, row_security, and the
    /// names of temporary relations. `None`: the test answers.
    pub state: Option<[String; 5]>,
    /// How often it was asked.
    pub asked: usize,
    pub transaction: u8,
    /// How often it was asked whether something changed.
    pub checked: usize,
    /// What it answers then. `None`: nothing has.
    pub told_of_check: Option<String>,
}

impl Stage {
    pub fn new(class: Class) -> Self {
        Self::with(class, TlsMode::Decline, EngineLimits::default())
    }

    pub fn with(class: Class, tls: TlsMode, limits: EngineLimits) -> Self {
        Self::with_hello(class, tls, limits, HelloRule::Unexpected)
    }

    pub fn with_hello(class: Class, tls: TlsMode, limits: EngineLimits, hello: HelloRule) -> Self {
        // Made once: compiling policies and detectors takes far longer than any session.
        static MADE: LazyLock<(Arc<PolicySet>, Arc<Detectors>)> = LazyLock::new(|| {
            let policy = PolicySet::compile(&PolicySet::builtin(Profile::Protect)).unwrap();
            (Arc::new(policy), Arc::new(Detectors::new().unwrap()))
        });
        let (policy, detectors) = MADE.clone();
        let mut governance = Governance::new(policy, detectors, Arc::default(), limits);
        let setup = SessionSetup {
            hello,
            id: SessionId("s1".into()),
            principal: Arc::new(crate::engine::policy::tests::principal(class)),
            client: None,
            destination: Endpoint::tcp([127, 0, 0, 1].into(), 5432),
            tls,
        };
        let mut out = Actions::default();
        let now = Timestamp { unix_ns: 1, monotonic_ns: 1 };
        let session = Session::start(setup, now, &mut governance, &mut out);
        let mut stage = Self {
            session,
            governance,
            to_server: vec![],
            to_client: vec![],
            records: vec![],
            completions: vec![],
            requests: vec![],
            closed: None,
            client: BytesMut::new(),
            server: BytesMut::new(),
            unfinished: vec![],
            now,
            state: Some(["\"$user\", public", "none", "app", "on", "[]"].map(str::to_owned)),
            asked: 0,
            transaction: b'I',
            checked: 0,
            told_of_check: None,
        };
        stage.take(out);
        stage
    }

    /// Past authentication and the reading of the catalogue, with nothing sent or written.
    pub fn ready(class: Class) -> Self {
        let mut stage = Self::new(class);
        stage.connect();
        stage
    }

    /// The same over a catalogue with further rows.
    pub fn ready_with(class: Class, more: &[&[&str]]) -> Self {
        let mut stage = Self::new(class);
        stage.connect_with(more);
        stage
    }

    pub fn connect(&mut self) {
        self.connect_with(&[]);
    }

    pub fn connect_with(&mut self, more: &[&[&str]]) {
        self.client(&startup(&[("user", "app"), ("database", "shop")]));
        self.input(Input::Connected);
        self.server(&message(b'R', &0u32.to_be_bytes()));
        self.server_version("15.18");
        self.server(&message(b'K', b"\0\0\0\x07key!"));
        self.server(&ready(b'I'));
        if !self.session.is_established() || self.to_client.last() != Some(&b'I') {
            self.catalogue_of(more);
        }
        assert!(self.to_client.ends_with(&ready(b'I')), "the client is told that the server is ready");
        self.clear();
    }

    /// The server tells its version.
    pub fn server_version(&mut self, version: &str) {
        self.server(&message(b'S', format!("server_version\0{version}\0").as_bytes()));
    }

    /// The server's answer to governor's question: `people(id, email, note)` and the server's own functions.
    pub fn catalogue(&mut self) {
        self.catalogue_of(&[]);
    }

    /// With further rows of that answer.
    pub fn catalogue_of(&mut self, more: &[&[&str]]) {
        self.server(&data_row(&["r", "20000", "public", "people", "r", "20001", "1000"]));
        for (number, name, oid) in [("1", "id", "23"), ("2", "email", "25"), ("3", "note", "25")] {
            self.server(&data_row(&["c", "20000", number, name, oid]));
        }
        for (name, volatility) in SYSTEM_FUNCTIONS {
            let (stable, volatile) = (volatility == "s", volatility == "v");
            let is = |yes| if yes { "t" } else { "f" };
            self.server(&data_row(&["s", name, is(stable), is(volatile), "f"]));
        }
        for row in more {
            self.server(&data_row(row));
        }
        for _ in 0..catalogue::RESULTS {
            self.server(&complete("SELECT 0"));
        }
        self.server(&ready(b'I'));
    }

    /// From now on it is so late.
    pub fn at(&mut self, now: Timestamp) {
        self.now = now;
    }

    pub fn clear(&mut self) {
        self.to_server.clear();
        self.to_client.clear();
        self.records.clear();
        self.completions.clear();
        self.requests.clear();
    }

    pub fn client(&mut self, bytes: &[u8]) {
        self.client.extend_from_slice(bytes);
        self.resume();
    }

    /// The server answers the Parse behind which a Bind waits for what it is asked. Whether one waits.
    pub fn parsed(&mut self) -> bool {
        let waits = matches!(self.session.phase, Phase::AskingState);
        if waits {
            self.server(&message(b'1', b""));
        }
        waits
    }

    /// As the host does: bytes that wait are offered again after every input.
    fn resume(&mut self) {
        while self.session.wants_client() && !self.client.is_empty() {
            let before = self.client.len();
            let mut buffer = std::mem::take(&mut self.client);
            let mut out = Actions::default();
            self.session.handle(self.now, Input::Client(&mut buffer), &mut self.governance, &mut out);
            self.client = buffer;
            let quiet = out.is_empty();
            self.take(out);
            self.answer_checks();
            if quiet && self.client.len() == before {
                return;
            }
        }
    }

    pub fn server(&mut self, bytes: &[u8]) {
        if let Some((b'Z', state)) = messages_or_none(bytes).and_then(|all| all.last().cloned()) {
            self.transaction = state[0];
        }
        if self.unfinished.is_empty() {
            self.answer_checks();
        }
        // Up to each border between messages: there its answers to governor's own questions come.
        let mut rest = bytes;
        while !rest.is_empty() {
            let begun = self.unfinished.len();
            let whole = [&self.unfinished[..], rest].concat();
            let end = Header::peek(&whole).ok().flatten().map(|header| header.total_bytes());
            let (now, later) = match end {
                Some(end) if end <= whole.len() => rest.split_at(end - begun),
                _ => (rest, &rest[rest.len()..]),
            };
            self.unfinished.extend_from_slice(now);
            let is_border = end == Some(self.unfinished.len());
            self.feed(now);
            if is_border {
                self.unfinished.clear();
                self.answer_checks();
            }
            rest = later;
        }
    }

    /// The server says that what a statement relies on is as it was, or otherwise.
    fn answer_checks(&mut self) {
        while let Some(question) = self
            .session
            .pipeline
            .front()
            .and_then(|owed| owed.question.as_ref())
            .filter(|_| self.state.is_some())
        {
            self.checked += 1;
            // Where it was asked in a transaction of its own.
            let ends = matches!(self.session.phase, Phase::AskingState)
                && self.session.pipeline.len() > 1
                && !self.session.batch_open;
            let told = self.told_of_check.clone().unwrap_or_else(|| question.expected[0].clone());
            let done = |kind| message(kind, b"");
            let answer =
                [done(b'1'), done(b'2'), data_row(&[&told]), complete("SELECT 1"), done(b'3'), done(b'3')];
            self.feed(&answer.concat());
            if ends {
                self.feed(&ready(self.transaction));
            }
        }
    }

    fn feed(&mut self, bytes: &[u8]) {
        self.server.extend_from_slice(bytes);
        let mut buffer = std::mem::take(&mut self.server);
        let mut out = Actions::default();
        self.session.handle(self.now, Input::Server(&mut buffer), &mut self.governance, &mut out);
        self.server = buffer;
        self.take(out);
        self.resume();
    }

    pub fn input(&mut self, input: Input<'_>) {
        let mut out = Actions::default();
        self.session.handle(self.now, input, &mut self.governance, &mut out);
        self.take(out);
        self.resume();
    }

    fn take(&mut self, mut out: Actions) {
        for record in &out.records {
            serde_json::to_string(record).unwrap();
        }
        self.records.append(&mut out.records);
        self.completions.append(&mut out.completions);
        self.requests.append(&mut out.requests);
        let mut asked = None;
        for (bytes, _permit) in out.to_server {
            match [false, true].into_iter().find(|all| self.state.is_some() && bytes == ask::question(*all)) {
                None if self.state.is_some() => self.to_server.extend_from_slice(&without_check(&bytes)),
                None => self.to_server.extend_from_slice(&bytes),
                Some(all) => asked = Some(all),
            }
        }
        for bytes in out.to_client {
            self.to_client.extend_from_slice(&bytes);
        }
        self.closed = self.closed.take().or(out.close);
        if let Some(all) = asked {
            self.asked += 1;
            self.server(&self.told(all));
        }
    }

    /// The server's answer to governor's question about the session's state.
    fn told(&self, all: bool) -> Vec<u8> {
        let values = self.state.as_ref().unwrap();
        let mut answer = Vec::new();
        for value in values.iter().take(if all { 5 } else { 4 }) {
            answer.extend(message(b'1', b""));
            answer.extend(message(b'2', b""));
            answer.extend(data_row(&[value]));
            answer.extend(complete("SHOW"));
            answer.extend(message(b'3', b""));
            answer.extend(message(b'3', b""));
        }
        answer.extend(ready(self.transaction));
        answer
    }

    pub fn statements(&self) -> Vec<&StatementRecord> {
        let events = self.records.iter().filter_map(|r| match &r.event {
            AuditEvent::Statement(statement) => Some(&**statement),
            _ => None,
        });
        events.collect()
    }

    pub fn verdicts(&self) -> Vec<Verdict> {
        self.statements().iter().map(|s| s.verdict).collect()
    }

    /// The SQLSTATEs of the errors that the client got.
    pub fn errors(&self) -> Vec<String> {
        let found = messages(&self.to_client).into_iter().filter(|(kind, _)| *kind == b'E');
        found
            .map(|(_, body)| {
                String::from_utf8(backend::error_field(&body, b'C').unwrap().unwrap().to_vec()).unwrap()
            })
            .collect()
    }

    /// Types of the messages that the client got.
    pub fn client_kinds(&self) -> String {
        messages(&self.to_client).iter().map(|(kind, _)| char::from(*kind)).collect()
    }

    pub fn server_kinds(&self) -> String {
        messages(&self.to_server).iter().map(|(kind, _)| char::from(*kind)).collect()
    }
}

/// What governor sends, without the questions whether something changed.
fn without_check(bytes: &[u8]) -> Vec<u8> {
    let name = check::NAME.as_bytes();
    let asks = |part: &[u8]| part.windows(name.len()).any(|window| window == name);
    let Some(all) = messages_or_none(bytes).filter(|_| asks(bytes)) else { return bytes.to_vec() };
    if all.last().is_some_and(|(kind, _)| matches!(kind, b'H' | b'S')) {
        return vec![];
    }
    all.into_iter().filter(|(_, body)| !asks(body)).flat_map(|(kind, body)| message(kind, &body)).collect()
}

fn messages_or_none(mut bytes: &[u8]) -> Option<Vec<(u8, Vec<u8>)>> {
    let mut found = vec![];
    while let Ok(Some(header)) = Header::peek(bytes) {
        found.push((header.kind, bytes.get(5..header.total_bytes())?.to_vec()));
        bytes = &bytes[header.total_bytes()..];
    }
    bytes.is_empty().then_some(found)
}

pub fn messages(mut bytes: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let mut found = vec![];
    while let Some(header) = Header::peek(bytes).unwrap() {
        found.push((header.kind, bytes[5..header.total_bytes()].to_vec()));
        bytes = &bytes[header.total_bytes()..];
    }
    assert!(bytes.is_empty(), "half a message: {bytes:?}");
    found
}

pub fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut m = vec![kind];
    m.extend(((body.len() + 4) as u32).to_be_bytes());
    m.extend(body);
    m
}

pub fn startup(parameters: &[(&str, &str)]) -> Vec<u8> {
    let mut body = (3u32 << 16).to_be_bytes().to_vec();
    for (name, value) in parameters {
        body.extend(format!("{name}\0{value}\0").bytes());
    }
    body.push(0);
    let mut packet = ((body.len() + 4) as u32).to_be_bytes().to_vec();
    packet.extend(body);
    packet
}

pub fn query(text: &str) -> Vec<u8> {
    message(b'Q', format!("{text}\0").as_bytes())
}

pub fn parse(name: &str, text: &str) -> Vec<u8> {
    message(b'P', format!("{name}\0{text}\0\0\0").as_bytes())
}

pub fn bind(portal: &str, statement: &str) -> Vec<u8> {
    message(b'B', format!("{portal}\0{statement}\0\0\0\0\0\0\0").as_bytes())
}

pub fn describe(portal: &str) -> Vec<u8> {
    message(b'D', format!("P{portal}\0").as_bytes())
}

pub fn execute(portal: &str) -> Vec<u8> {
    message(b'E', format!("{portal}\0\0\0\0\0").as_bytes())
}

pub fn sync() -> Vec<u8> {
    message(b'S', b"")
}

pub fn ready(state: u8) -> Vec<u8> {
    message(b'Z', &[state])
}

pub fn complete(tag: &str) -> Vec<u8> {
    message(b'C', format!("{tag}\0").as_bytes())
}

pub fn error(sqlstate: &str) -> Vec<u8> {
    message(b'E', format!("SERROR\0C{sqlstate}\0Mtest\0\0").as_bytes())
}

pub fn data_row(values: &[&str]) -> Vec<u8> {
    let mut body = (values.len() as u16).to_be_bytes().to_vec();
    for value in values {
        body.extend((value.len() as u32).to_be_bytes());
        body.extend(value.bytes());
    }
    message(b'D', &body)
}

/// Columns of text type: name, relation, attribute.
pub fn row_description(columns: &[(&str, u32, i16)]) -> Vec<u8> {
    row_description_of(columns, 25)
}

/// With columns of another type than text.
pub fn row_description_of(columns: &[(&str, u32, i16)], type_oid: u32) -> Vec<u8> {
    let mut body = (columns.len() as u16).to_be_bytes().to_vec();
    for (name, relation, attribute) in columns {
        body.extend(format!("{name}\0").bytes());
        body.extend(relation.to_be_bytes());
        body.extend(attribute.to_be_bytes());
        body.extend(type_oid.to_be_bytes());
        body.extend((-1i16).to_be_bytes());
        body.extend((-1i32).to_be_bytes());
        body.extend(0i16.to_be_bytes());
    }
    message(b'T', &body)
}

/// Functions that the tests call: name and volatility.
const SYSTEM_FUNCTIONS: [(&str, &str); 26] = [
    ("reverse", "i"),
    ("substr", "i"),
    ("string_agg", "i"),
    ("upper", "i"),
    ("lower", "i"),
    ("count", "i"),
    ("max", "i"),
    ("now", "s"),
    ("set_config", "v"),
    ("pg_notify", "v"),
    ("pg_sleep", "v"),
    ("nextval", "v"),
    ("generate_series", "i"),
    ("row_to_json", "s"),
    ("pg_terminate_backend", "v"),
    ("concat", "i"),
    ("replace", "i"),
    ("ascii", "i"),
    ("to_jsonb", "i"),
    ("jsonb_agg", "i"),
    ("jsonb_typeof", "i"),
    ("jsonb_array_length", "i"),
    ("jsonb_array_elements", "i"),
    ("jsonb_path_query", "i"),
    ("jsonb_each", "i"),
    ("jsonb_to_record", "i"),
];
