//! A service's conversation, simple and extended: each statement is understood, decided and recorded, and its rows pass.
//!
//! Masked rows are in `values`: a restricted session asks its server a lot, and there is none here.

use crate::corpus::SEED_TUNE;
use crate::corpus::rows::{Length, table};
use crate::statements::texts;
use bytes::BytesMut;
use governor::engine::masking::{ColumnAction, Detectors, Format};
use governor::engine::model::{Class, Endpoint, Principal, SessionId, Timestamp};
use governor::engine::policy::{PolicySet, Profile};
use governor::engine::session::cases::Actor;
use governor::engine::session::{Actions, EngineLimits, Governance, Input, Session, SessionSetup, TlsMode};
use std::sync::Arc;

pub fn work(detectors: &Arc<Detectors>) {
    let mut conversation = Conversation::start(Class::Service, detectors.clone());
    for number in 0..STATEMENTS_COUNT {
        conversation.simple(&texts(number)[0]);
        conversation.extended(&texts(0)[1]);
    }
    // Else what is counted would be refusals.
    assert!(!conversation.ended, "the session goes on");
    assert!(conversation.shown.contains(&b'@'), "a service's rows pass");
}

struct Conversation {
    session: Session,
    governance: Governance,
    client: BytesMut,
    server: BytesMut,
    rows: Vec<u8>,
    /// What the client was told last.
    shown: Vec<u8>,
    ended: bool,
}

impl Conversation {
    fn start(class: Class, detectors: Arc<Detectors>) -> Self {
        let policy = Arc::new(PolicySet::compile(&PolicySet::builtin(Profile::Protect)).unwrap());
        let mut governance = Governance::new(policy, detectors, Arc::default(), EngineLimits::default());
        let setup = SessionSetup {
            id: SessionId("s".into()),
            principal: Arc::new(principal(class)),
            client: None,
            destination: Endpoint::tcp([127, 0, 0, 1].into(), 5432),
            tls: TlsMode::Decline,
            hello: Default::default(),
        };
        let mut out = Actions::default();
        let session = Session::start(setup, Timestamp::default(), &mut governance, &mut out);
        let (_, rows) = table(SEED_TUNE, ROWS_COUNT, ColumnAction::Clear, Format::Text, Length::Short);
        let rows = rows.iter().flat_map(|row| message(b'D', row)).collect();
        let mut conversation = Self {
            session,
            governance,
            client: BytesMut::new(),
            server: BytesMut::new(),
            rows,
            shown: vec![],
            ended: false,
        };
        conversation.take(out);
        conversation.client_says(b"\0\0\0\x14\0\x03\0\0user\0alice\0\0");
        conversation.input(Input::Connected);
        conversation.server_says(b"R\0\0\0\x08\0\0\0\0Z\0\0\0\x05I");
        conversation
    }

    fn simple(&mut self, text: &str) {
        self.client_says(&message(b'Q', format!("{text}\0").as_bytes()));
        self.answer(&[]);
    }

    fn extended(&mut self, text: &str) {
        let messages = [
            message(b'P', format!("\0{text}\0\0\0").as_bytes()),
            message(b'B', b"\0\0\0\0\0\x01\0\0\0\x0242\0\0"),
            message(b'D', b"P\0"),
            message(b'E', b"\0\0\0\0\0"),
            message(b'S', b""),
        ];
        self.client_says(&messages.concat());
        self.answer(&[message(b'1', b""), message(b'2', b"")].concat());
    }

    /// What the server says to a statement with rows.
    fn answer(&mut self, before: &[u8]) {
        let mut description = (COLUMNS.len() as u16).to_be_bytes().to_vec();
        for (name, oid) in COLUMNS {
            description.extend_from_slice(format!("{name}\0").as_bytes());
            description.extend_from_slice(&[0; 6]);
            description.extend_from_slice(&oid.to_be_bytes());
            description.extend_from_slice(b"\xff\xff\xff\xff\xff\xff\0\0");
        }
        let ends = [message(b'C', b"SELECT 64\0"), message(b'Z', b"I")].concat();
        let reply = [before, &message(b'T', &description), &self.rows, &ends].concat();
        self.server_says(&reply);
    }

    fn client_says(&mut self, bytes: &[u8]) {
        self.client.extend_from_slice(bytes);
        self.resume();
    }

    fn server_says(&mut self, bytes: &[u8]) {
        self.server.extend_from_slice(bytes);
        let mut buffer = std::mem::take(&mut self.server);
        self.input(Input::Server(&mut buffer));
        self.server = buffer;
    }

    fn input(&mut self, input: Input<'_>) {
        let mut out = Actions::default();
        self.session.handle(Timestamp::default(), input, &mut self.governance, &mut out);
        self.take(out);
        self.resume();
    }

    fn resume(&mut self) {
        while self.session.wants_client() && !self.client.is_empty() && !self.ended {
            let before = self.client.len();
            let mut buffer = std::mem::take(&mut self.client);
            let mut out = Actions::default();
            self.session.handle(
                Timestamp::default(),
                Input::Client(&mut buffer),
                &mut self.governance,
                &mut out,
            );
            self.client = buffer;
            let quiet = out.is_empty();
            self.take(out);
            if quiet && self.client.len() == before {
                break;
            }
        }
    }

    fn take(&mut self, out: Actions) {
        if !out.to_client.is_empty() {
            self.shown.clear();
        }
        for bytes in out.to_client {
            self.shown.extend_from_slice(&bytes);
        }
        self.ended |= out.close.is_some();
    }
}

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut message = vec![kind];
    message.extend((body.len() as u32 + 4).to_be_bytes());
    message.extend_from_slice(body);
    message
}

/// Somebody of this class.
pub fn principal(class: Class) -> Principal {
    Actor {
        class: Some(class),
        user: Some("alice".into()),
        groups: Some(vec!["staff".into()]),
        executable: Some("/usr/bin/psql".into()),
        ..Actor::default()
    }
    .principal()
}

/// Those of `corpus::rows::table`.
const COLUMNS: [(&str, u32); 8] = [
    ("id", 20),
    ("name", 25),
    ("email", 25),
    ("placed", 1184),
    ("status", 25),
    ("total", 701),
    ("town", 25),
    ("remark", 25),
];
const ROWS_COUNT: usize = 64;
const STATEMENTS_COUNT: usize = 400;
