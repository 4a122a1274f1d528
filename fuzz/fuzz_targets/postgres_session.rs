//! Any conversation: no panic, what agents may not run never reaches the server, and cutting the bytes
//! elsewhere changes nothing.
#![no_main]

use arbitrary::Arbitrary;
use governor::engine::masking::Detectors;
use governor::engine::model::{Class, Endpoint, Principal, SessionId, Timestamp};
use governor::engine::policy::{PolicySet, Profile};
use governor::engine::session::cases::Actor;
use governor::engine::session::{Actions, EngineLimits, Governance, Input, Session, SessionSetup, TlsMode};
use libfuzzer_sys::fuzz_target;
use std::sync::{Arc, OnceLock};

#[derive(Arbitrary, Debug)]
struct Conversation<'a> {
    class: u8,
    /// Skip the opening: most interesting states are behind it.
    connected: bool,
    turns: Vec<Turn<'a>>,
    cut: u8,
}

#[derive(Arbitrary, Debug)]
enum Turn<'a> {
    Query(u8),
    Parse(u8, u8),
    Bind(u8, u8),
    Execute(u8),
    Describe(bool, u8),
    Close(bool, u8),
    Sync,
    CopyData(&'a [u8]),
    CopyDone,
    /// A message of any type towards the server.
    Client(u8, &'a [u8]),
    /// A message of any type towards the client.
    Server(u8, &'a [u8]),
    Reply(u8),
    RawClient(&'a [u8]),
    RawServer(&'a [u8]),
    Held,
    Granted,
    Refused,
    Cancel,
    ClientClosed,
    ServerClosed,
}

/// Marks what an agent may never send.
const FORBIDDEN: &str = "zz_forbidden_zz";
const TEXTS: [&str; 10] = [
    "SELECT 1",
    "SELECT * FROM people",
    "DELETE FROM people WHERE id = 1",
    "DROP TABLE zz_forbidden_zz",
    "SELECT 1; TRUNCATE zz_forbidden_zz",
    "COPY people FROM STDIN; DROP TABLE zz_forbidden_zz",
    "PREPARE a AS DELETE FROM zz_forbidden_zz",
    "EXECUTE a",
    "COPY people FROM STDIN",
    "",
];
const NAMES: [&str; 3] = ["", "a", "b"];

fuzz_target!(|conversation: Conversation<'_>| {
    let whole = run(&conversation, usize::MAX);
    let cut = run(&conversation, usize::from(conversation.cut % 16) + 1);
    assert!(whole.0 == cut.0, "to the server");
    assert!(whole.1 == cut.1, "to the client");
    let raw = conversation.turns.iter().any(|t| matches!(t, Turn::RawClient(_) | Turn::Client(..)));
    // An approval lets the client's own statement run; none of the texts is only held.
    if class(&conversation) == Class::Agent && !raw && conversation.connected {
        let sent = String::from_utf8_lossy(&whole.0).into_owned();
        let sent = sent.replace("PREPARE a AS DELETE FROM zz_forbidden_zz", "");
        assert!(!sent.contains(FORBIDDEN), "{sent}");
    }
});

fn class(conversation: &Conversation<'_>) -> Class {
    Class::ALL[usize::from(conversation.class) % 3]
}

struct Play {
    session: Session,
    to_server: Vec<u8>,
    to_client: Vec<u8>,
    client: bytes::BytesMut,
    server: bytes::BytesMut,
    ended: bool,
}

impl Play {
    fn input(&mut self, governance: &mut Governance, input: Input<'_>) {
        let mut out = Actions::default();
        self.session.handle(Timestamp::default(), input, governance, &mut out);
        self.take(out);
        self.resume(governance);
    }

    fn resume(&mut self, governance: &mut Governance) {
        while self.session.wants_client() && !self.client.is_empty() && !self.ended {
            let before = self.client.len();
            let mut buffer = std::mem::take(&mut self.client);
            let mut out = Actions::default();
            self.session.handle(Timestamp::default(), Input::Client(&mut buffer), governance, &mut out);
            self.client = buffer;
            let quiet = out.is_empty();
            self.take(out);
            if quiet && self.client.len() == before {
                break;
            }
        }
    }

    fn take(&mut self, out: Actions) {
        for (bytes, _permit) in out.to_server {
            self.to_server.extend_from_slice(&bytes);
        }
        for bytes in out.to_client {
            self.to_client.extend_from_slice(&bytes);
        }
        self.ended |= out.close.is_some();
    }

    fn client(&mut self, governance: &mut Governance, bytes: &[u8], step: usize) {
        for part in bytes.chunks(step.min(bytes.len().max(1))) {
            self.client.extend_from_slice(part);
            self.resume(governance);
            // governor asks for the session's state: the server would not tell.
            while self.to_server.ends_with(b"governor\x01state\0S\0\0\0\x04") && !self.ended {
                self.to_server.extend_from_slice(b"H\0\0\0\x04");
                self.server(governance, &refusal(), usize::MAX);
            }
        }
    }

    fn server(&mut self, governance: &mut Governance, bytes: &[u8], step: usize) {
        for part in bytes.chunks(step.min(bytes.len().max(1))) {
            self.server.extend_from_slice(part);
            let mut buffer = std::mem::take(&mut self.server);
            self.input(governance, Input::Server(&mut buffer));
            self.server = buffer;
        }
    }
}

fn run(conversation: &Conversation<'_>, step: usize) -> (Vec<u8>, Vec<u8>) {
    static MADE: OnceLock<(Arc<PolicySet>, Arc<Detectors>)> = OnceLock::new();
    let (policy, detectors) = MADE
        .get_or_init(|| {
            let policy = PolicySet::compile(&PolicySet::builtin(Profile::Protect)).expect("built in");
            (Arc::new(policy), Arc::new(Detectors::new().expect("built in")))
        })
        .clone();
    let limits = EngineLimits { statement_bytes_max: 4096, row_bytes_max: 4096, ..EngineLimits::default() };
    let mut governance = Governance::new(policy, detectors, Arc::default(), limits);
    let g = &mut governance;
    let setup = SessionSetup {
        id: SessionId("s".into()),
        principal: Arc::new(principal(class(conversation))),
        client: None,
        destination: Endpoint::tcp([127, 0, 0, 1].into(), 5432),
        tls: TlsMode::Decline,
        hello: Default::default(),
    };
    let mut out = Actions::default();
    let session = Session::start(setup, Timestamp::default(), g, &mut out);
    let mut play = Play {
        session,
        to_server: vec![],
        to_client: vec![],
        client: bytes::BytesMut::new(),
        server: bytes::BytesMut::new(),
        ended: false,
    };
    if conversation.connected {
        play.client(g, &startup(), usize::MAX);
        play.input(g, Input::Connected);
        play.server(g, &[message(b'R', &[0; 4]), message(b'Z', b"I")].concat(), usize::MAX);
        if class(conversation) != Class::Service {
            // The catalogue cannot be read: everything is in doubt.
            play.server(g, &refusal(), usize::MAX);
        }
        assert!(!play.ended && play.to_client.ends_with(b"Z\0\0\0\x05I"), "it is connected");
    }
    for turn in conversation.turns.iter().take(64) {
        let name = |n: &u8| NAMES[usize::from(*n) % NAMES.len()];
        let text = |n: &u8| TEXTS[usize::from(*n) % TEXTS.len()];
        let kind = |portal: &bool| if *portal { 'P' } else { 'S' };
        match turn {
            Turn::Query(t) => play.client(g, &message(b'Q', format!("{}\0", text(t)).as_bytes()), step),
            Turn::Parse(n, t) => {
                play.client(g, &message(b'P', format!("{}\0{}\0\0\0", name(n), text(t)).as_bytes()), step);
            }
            Turn::Bind(p, n) => {
                play.client(
                    g,
                    &message(b'B', format!("{}\0{}\0\0\0\0\0\0\0", name(p), name(n)).as_bytes()),
                    step,
                );
            }
            Turn::Execute(p) => {
                play.client(g, &message(b'E', format!("{}\0\0\0\0\0", name(p)).as_bytes()), step)
            }
            Turn::Describe(p, n) => {
                play.client(g, &message(b'D', format!("{}{}\0", kind(p), name(n)).as_bytes()), step);
            }
            Turn::Close(p, n) => {
                play.client(g, &message(b'C', format!("{}{}\0", kind(p), name(n)).as_bytes()), step);
            }
            Turn::Sync => play.client(g, &message(b'S', b""), step),
            Turn::CopyData(bytes) => play.client(g, &message(b'd', bytes), step),
            Turn::CopyDone => play.client(g, &message(b'c', b""), step),
            Turn::Client(kind, body) => play.client(g, &message(*kind, body), step),
            Turn::Server(kind, body) => play.server(g, &message(*kind, body), step),
            Turn::Reply(n) => play.server(g, &reply(*n), step),
            Turn::RawClient(bytes) => play.client(g, bytes, step),
            Turn::RawServer(bytes) => play.server(g, bytes, step),
            Turn::Held => play.input(g, Input::Held { approval: "a".into() }),
            Turn::Granted => {
                let answer = governor::engine::approval::Answer::Granted {
                    by: "b".into(),
                    uid: 1,
                    note: String::new(),
                };
                play.input(g, Input::Answered { answer });
            }
            Turn::Refused => {
                play.input(g, Input::Answered { answer: governor::engine::approval::Answer::Expired })
            }
            Turn::Cancel => play.input(g, Input::CancelRequested),
            Turn::ClientClosed => play.input(g, Input::ClientClosed),
            Turn::ServerClosed => play.input(g, Input::ServerClosed),
        }
    }
    (play.to_server, play.to_client)
}

/// Well-formed messages that servers send.
fn reply(n: u8) -> Vec<u8> {
    match n % 14 {
        0 => message(b'1', b""),
        1 => message(b'2', b""),
        2 => message(b'3', b""),
        3 => message(b'C', b"SELECT 1\0"),
        4 => message(b'C', b"PREPARE\0"),
        5 => message(b'E', b"C26000\0\0"),
        6 => message(b'Z', b"I"),
        7 => message(b'Z', b"T"),
        8 => message(b'T', b"\0\x01x\0\0\0\0\0\0\0\0\0\0\x19\xff\xff\xff\xff\xff\xff\0\0"),
        9 => message(b'D', b"\0\x01\0\0\0\x01v"),
        10 => message(b'n', b""),
        11 => message(b'G', b"\0\0\0"),
        12 => message(b's', b""),
        _ => message(b't', b"\0\0"),
    }
}

/// The client's first message.
fn startup() -> Vec<u8> {
    let body = b"\0\x03\0\0user\0alice\0\0";
    [&((body.len() + 4) as u32).to_be_bytes()[..], body].concat()
}

/// A server that does not tell.
fn refusal() -> Vec<u8> {
    [message(b'E', b"C42501\0\0"), message(b'Z', b"I")].concat()
}

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut m = vec![kind];
    m.extend(((body.len() + 4) as u32).to_be_bytes());
    m.extend(body);
    m
}

fn principal(class: Class) -> Principal {
    Actor { class: Some(class), user: Some("alice".into()), ..Actor::default() }.principal()
}
