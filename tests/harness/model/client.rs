//! Makes conversations that a correct client may hold, and some that are a little wrong, from a row of choices.
//!
//! A model server listens while the conversation is made, so that COPY data goes where a COPY is and everything is
//! properly ended. The client never waits: all that it sends is right whenever the replies come. Errors come by themselves: names that are not there, statements that fail, failed transactions.

use super::choices::Choices;
use super::server::Server;
use super::sql::{BAD_ROW, FUNCTION_OID, GOOD_ROW, Sql, WRONG};
use crate::wire;

/// What a client sends after its start-up packet, up to and with Terminate.
#[derive(Clone, Debug, Default)]
pub struct Conversation {
    pub messages: Vec<Vec<u8>>,
}

impl Conversation {
    pub fn bytes(&self) -> Vec<u8> {
        self.messages.concat()
    }
}

/// The start-up packet before it.
pub fn startup() -> Vec<u8> {
    wire::startup("app", "shop")
}

/// A conversation of at most `messages_max` messages and what ends it properly.
pub fn conversation(choices: &mut Choices<'_>, messages_max: usize) -> Conversation {
    let mut maker = Maker {
        server: Server::new(Choices::new(&[])),
        made: vec![],
        batch_open: false,
        copying: false,
        synced_in_copy: false,
    };
    maker.server.receive(&startup());
    while !choices.is_empty() && maker.made.len() < messages_max {
        maker.step(choices);
    }
    while maker.copying {
        maker.put(wire::message(b'c', b""));
    }
    if maker.batch_open {
        maker.put(wire::sync());
    }
    maker.put(wire::message(b'X', b""));
    Conversation { messages: maker.made }
}

struct Maker<'a> {
    server: Server<'a>,
    made: Vec<Vec<u8>>,
    /// Extended-protocol messages were sent since the last Sync.
    batch_open: bool,
    /// The client feeds a COPY, whether or not it has failed meanwhile.
    copying: bool,
    synced_in_copy: bool,
}

impl Maker<'_> {
    fn put(&mut self, message: Vec<u8>) {
        self.server.receive(&message);
        let kind = message.first().copied().unwrap_or_default();
        self.made.push(message);
        match kind {
            b'P' | b'B' | b'D' | b'E' | b'C' | b'H' => self.batch_open = true,
            // One inside a COPY may be swallowed by it: it is not the batch's end.
            b'S' if self.copying => self.synced_in_copy = true,
            b'S' => self.batch_open = false,
            _ => {}
        }
        if matches!(kind, b'c' | b'f') && self.copying {
            self.copying = false;
            if std::mem::take(&mut self.synced_in_copy) {
                // Whether that Sync was swallowed is not to matter for what follows.
                self.put(wire::sync());
            }
        }
        self.copying |= self.server.copying();
    }

    fn step(&mut self, choices: &mut Choices<'_>) {
        if self.copying {
            return self.copy_step(choices);
        }
        if self.batch_open {
            return match choices.below(8) {
                0 | 1 => self.put(wire::sync()),
                2 => self.put(wire::message(b'H', b"")),
                // A text in between, as some clients send for BEGIN.
                3 if choices.once_in(4) => self.query(choices),
                4 => self.run_one(choices),
                _ => self.extended(choices),
            };
        }
        match choices.below(8) {
            0..3 => self.query(choices),
            3 if choices.once_in(3) => self.function_call(choices),
            4 if choices.once_in(4) => self.put(wire::message(b'd', GOOD_ROW)),
            4 if choices.once_in(4) => self.put(wire::message(b'c', b"")),
            5 => self.extended(choices),
            _ => self.run_one(choices),
        }
    }

    fn copy_step(&mut self, choices: &mut Choices<'_>) {
        self.put(match choices.below(9) {
            0..4 => wire::message(b'd', GOOD_ROW),
            4 if choices.once_in(2) => wire::message(b'd', BAD_ROW),
            5 if choices.once_in(2) => wire::message(b'f', b"changed my mind\0"),
            6 => wire::message(b'H', b""),
            7 if self.batch_open => wire::sync(),
            _ => wire::message(b'c', b""),
        });
    }

    fn query(&mut self, choices: &mut Choices<'_>) {
        let texts: Vec<String> = (0..choices.below(4).max(1)).map(|_| self.text(choices)).collect();
        let text = texts.join("; ");
        self.put(wire::query(&text));
    }

    /// One statement as drivers run it.
    fn run_one(&mut self, choices: &mut Choices<'_>) {
        let text = self.text(choices);
        self.put(wire::parse("", &text));
        if choices.once_in(2) {
            self.put(describe(b'S', ""));
        }
        self.put(wire::bind("", "", &[]));
        if choices.once_in(2) {
            self.put(describe(b'P', ""));
        }
        let limit = limit(choices);
        self.put(execute("", limit));
        if !choices.once_in(3) {
            self.put(wire::sync());
        }
    }

    fn extended(&mut self, choices: &mut Choices<'_>) {
        let name = |choices: &mut Choices<'_>| choices.pick(&NAMES, "");
        let message = match choices.below(7) {
            0 | 1 => {
                let text = self.text(choices);
                let queries = [Sql::One.text(), Sql::Five.text()];
                let name = name(choices);
                // EXECUTE of a command that only the protocol prepares is a subject of its own.
                wire::parse(if queries.contains(&text.as_str()) || name != "q" { name } else { "a" }, &text)
            }
            2 | 3 => wire::bind(name(choices), name(choices), &[]),
            4 => {
                let portal = name(choices);
                execute(portal, limit(choices))
            }
            5 => describe(choices.pick(b"SP", b'S'), name(choices)),
            _ => {
                let what = choices.pick(b"SP", b'S');
                wire::message(b'C', format!("{}{}\0", char::from(what), name(choices)).as_bytes())
            }
        };
        self.put(message);
    }

    fn function_call(&mut self, choices: &mut Choices<'_>) {
        let oid = if choices.once_in(4) { 1 } else { FUNCTION_OID };
        let mut body = oid.to_be_bytes().to_vec();
        // No format codes, one argument of two bytes, a text result.
        body.extend(b"\0\0\0\x01\0\0\0\x02-5\0\0");
        self.put(wire::message(b'F', &body));
    }

    fn text(&self, choices: &mut Choices<'_>) -> String {
        match choices.below(24) {
            21 => String::new(),
            22 => WRONG.into(),
            23 => format!("{}; {}", Sql::One.text(), Sql::Five.text()),
            n => {
                let sql = Sql::ALL.get(n).copied().unwrap_or(Sql::One);
                // Cursors live in a transaction block: elsewhere it depends on the server's version.
                let cursor = matches!(sql, Sql::Declare | Sql::Fetch);
                if cursor && self.server.transaction() != b'T' { Sql::Begin.text() } else { sql.text() }
                    .into()
            }
        }
    }
}

fn limit(choices: &mut Choices<'_>) -> u32 {
    choices.pick(&[0, 0, 1, 2, 5, 9], 0)
}

fn execute(portal: &str, limit: u32) -> Vec<u8> {
    let mut body = format!("{portal}\0").into_bytes();
    body.extend(limit.to_be_bytes());
    wire::message(b'E', &body)
}

fn describe(what: u8, name: &str) -> Vec<u8> {
    wire::message(b'D', format!("{}{name}\0", char::from(what)).as_bytes())
}

/// `q` and `c` are also SQL's own: PREPARE makes the one, DECLARE the other.
const NAMES: [&str; 5] = ["", "a", "b", "q", "c"];
