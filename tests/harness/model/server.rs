//! The model server: bytes of a client in, bytes for it out, as one PostgreSQL backend would.
//!
//! It has the protocol's states and nothing else: a transaction state, prepared statements and portals by name, skipping
//! up to Sync after an error, COPY. Statements are those of [`Sql`]; nothing is stored.
//!
//! Invariant: what it answers depends on the bytes it got, not on how they were cut or when they came.
//! Protocol: <https://www.postgresql.org/docs/current/protocol-flow.html>

mod extended;
mod own;

use super::choices::Choices;
use super::sql::{BAD_ROW, FUNCTION_OID, Rows, Sql};
use super::{first_message, messages};
use own::QUESTION;
use std::collections::{BTreeMap, VecDeque};

/// How a statement ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Complete,
    Suspended,
    Error,
    /// Part of a text of which an earlier statement failed.
    Skipped,
}

/// A statement that ran, or would have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ran {
    pub text: String,
    pub outcome: Outcome,
    /// DataRows of it.
    pub rows: u64,
}

/// One backend.
#[derive(Debug)]
pub struct Server<'a> {
    /// What ran, in order.
    pub log: Vec<Ran>,
    /// The messages that counted: all but those skipped after an error.
    pub effective: Vec<u8>,
    /// Something was skipped after an error.
    pub has_skipped: bool,
    /// The session is over.
    pub ended: bool,
    /// Something else came during a COPY: the server cannot go on.
    pub lost_its_place: bool,
    input: Vec<u8>,
    output: Vec<u8>,
    started: bool,
    transaction: u8,
    skipping: bool,
    copying: Option<Copying>,
    statements: BTreeMap<String, Statement>,
    portals: BTreeMap<String, Portal>,
    /// The answer to the question that was parsed last.
    told: &'static str,
    /// Where asynchronous messages come in between.
    noise: Choices<'a>,
}

/// A COPY FROM STDIN under way.
#[derive(Debug)]
enum Copying {
    /// Begun by Query; these follow in the same text.
    Simple(VecDeque<Sql>),
    /// Begun by Execute.
    Extended,
}

#[derive(Clone, Copy, Debug)]
struct Statement {
    /// `None` is the empty text.
    sql: Option<Sql>,
    /// It had result columns when it was parsed.
    has_rows: bool,
    /// What the log of what ran calls it: the whole PREPARE where SQL prepared it.
    text: &'static str,
}

#[derive(Clone, Copy, Debug)]
struct Portal {
    sql: Option<Sql>,
    /// What it gives, fixed when it was bound.
    rows: Rows,
    /// Rows given so far.
    position: u64,
    /// A command that has run and cannot run again.
    done: bool,
    /// What the log of what ran calls it: a portal that DECLARE made has no text of its own.
    text: &'static str,
}

impl<'a> Server<'a> {
    pub fn new(noise: Choices<'a>) -> Self {
        Self {
            log: vec![],
            effective: vec![],
            has_skipped: false,
            ended: false,
            lost_its_place: false,
            input: vec![],
            output: vec![],
            started: false,
            transaction: b'I',
            skipping: false,
            copying: None,
            statements: BTreeMap::new(),
            portals: BTreeMap::new(),
            told: "",
            noise,
        }
    }

    /// The client's next bytes, cut anywhere.
    pub fn receive(&mut self, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
        let mut input = std::mem::take(&mut self.input);
        let mut used = 0;
        if !self.started {
            used = self.start(&input);
        }
        while self.started
            && !self.ended
            && let Some((kind, body, rest)) = first_message(input.get(used..).unwrap_or_default())
        {
            let whole = used..input.len() - rest.len();
            if self.skipping && !matches!(kind, b'S' | b'X') {
                self.has_skipped = true;
            } else if body.windows(QUESTION.len()).any(|part| part == QUESTION) {
                self.question(kind, body);
            } else {
                self.effective.extend_from_slice(input.get(whole.clone()).unwrap_or_default());
                self.message(kind, body);
            }
            used = whole.end;
        }
        input.drain(..used);
        self.input = input;
    }

    /// What it has sent and nobody took yet.
    pub fn take_output(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.output)
    }

    pub fn copying(&self) -> bool {
        self.copying.is_some()
    }

    /// As ReadyForQuery says it: `I`, `T` or `E`.
    pub fn transaction(&self) -> u8 {
        self.transaction
    }

    fn start(&mut self, input: &[u8]) -> usize {
        let Some(length) = input.first_chunk::<4>().map(|head| u32::from_be_bytes(*head) as usize) else {
            return 0;
        };
        if input.len() < length {
            return 0;
        }
        self.started = true;
        self.put(b'R', &0_u32.to_be_bytes());
        self.put(b'S', b"client_encoding\0UTF8\0");
        self.put(b'S', b"standard_conforming_strings\0on\0");
        self.put(b'K', b"\0\0\0\x07key!");
        self.put(b'Z', b"I");
        length
    }

    fn message(&mut self, kind: u8, body: &[u8]) {
        if self.copying.is_some() {
            return self.copy_message(kind, body);
        }
        let mut names = body.split(|byte| *byte == 0).map(|name| String::from_utf8_lossy(name).into_owned());
        let mut name = || names.next().unwrap_or_default();
        match kind {
            b'Q' => self.query(&name()),
            b'P' => {
                let (statement, text) = (name(), name());
                self.parse(statement, &text);
            }
            b'B' => {
                let (portal, statement) = (name(), name());
                self.bind(portal, &statement);
            }
            b'D' => self.describe(&name()),
            b'E' => {
                let portal = name();
                let limit = body.last_chunk::<4>().map_or(0, |n| u32::from_be_bytes(*n));
                self.execute(&portal, u64::from(limit));
            }
            b'C' => {
                let named = name();
                match named.split_at_checked(1) {
                    Some(("S", statement)) => drop(self.statements.remove(statement)),
                    Some((_, portal)) => drop(self.portals.remove(portal)),
                    None => {}
                }
                self.emit(b'3', b"");
            }
            b'S' => {
                self.skipping = false;
                self.ready();
            }
            b'F' => self.function_call(body),
            b'X' => self.ended = true,
            // Flush changes nothing here; COPY messages outside of a COPY are ignored, as one may just have failed.
            _ => {}
        }
    }

    // --- simple query

    fn query(&mut self, text: &str) {
        self.statements.remove("");
        if text.contains("pg_catalog.pg_class") {
            return self.catalogue(text.split(';').count());
        }
        match Sql::parse(text) {
            None => {
                self.ran(text.trim(), Outcome::Error, 0);
                self.fail("42601");
                self.ready();
            }
            Some(statements) if statements.is_empty() => {
                self.ran(text.trim(), Outcome::Complete, 0);
                self.emit(b'I', b"");
                self.ready();
            }
            Some(statements) => self.run_text(statements.into()),
        }
    }

    /// Runs statements of one text up to its end, an error, or a COPY that needs data.
    fn run_text(&mut self, mut statements: VecDeque<Sql>) {
        while let Some(sql) = statements.pop_front() {
            if self.transaction == b'E' && !sql.ends_transaction() {
                self.ran(sql.text(), Outcome::Error, 0);
                self.fail("25P02");
                self.skip_text(&statements);
                break;
            }
            if sql != Sql::Missing {
                self.portals.remove("");
            }
            if sql == Sql::CopyIn {
                self.emit(b'G', b"\0\0\x02\0\0\0\0");
                self.copying = Some(Copying::Simple(statements));
                return;
            }
            let (rows, _) = self.rows_of(sql);
            if rows != Rows::None && self.can_run(sql).is_ok() {
                self.emit(b'T', &columns(sql));
            }
            let mut portal = Portal { sql: Some(sql), rows, position: 0, done: false, text: sql.text() };
            if !self.run(&mut portal, 0) {
                if self.transaction == b'E' && sql != Sql::Missing {
                    // The unnamed portal that failed stays until the transaction ends.
                    self.portals.insert(String::new(), portal);
                }
                self.skip_text(&statements);
                break;
            }
        }
        self.ready();
    }

    fn skip_text(&mut self, statements: &VecDeque<Sql>) {
        for sql in statements {
            self.ran(sql.text(), Outcome::Skipped, 0);
        }
    }

    // --- function call

    fn function_call(&mut self, body: &[u8]) {
        let oid = body.first_chunk::<4>().map_or(0, |oid| u32::from_be_bytes(*oid));
        let text = format!("FunctionCall {oid}");
        if self.transaction == b'E' {
            self.ran(&text, Outcome::Error, 0);
            self.fail("25P02");
        } else if oid != FUNCTION_OID {
            self.ran(&text, Outcome::Error, 0);
            self.fail("42883");
        } else {
            self.ran(&text, Outcome::Complete, 0);
            self.emit(b'V', b"\0\0\0\x015");
        }
        self.ready();
    }

    // --- running

    /// What a statement gives, and under which name it finds that.
    fn rows_of(&self, sql: Sql) -> (Rows, Option<&'static str>) {
        match sql {
            Sql::Execute => {
                let prepared = self.statements.get("q").and_then(|s| s.sql);
                (prepared.map_or(Rows::None, Sql::rows), Some("q"))
            }
            Sql::Fetch => match self.portals.get("c") {
                Some(cursor) => {
                    let left = match cursor.rows {
                        Rows::Count(all) => all.saturating_sub(cursor.position),
                        _ => 0,
                    };
                    (Rows::Count(left.min(2)), Some("c"))
                }
                None => (Rows::None, Some("c")),
            },
            other => (other.rows(), None),
        }
    }

    /// Whether the names that it needs are there.
    fn can_run(&self, sql: Sql) -> Result<(), &'static str> {
        match sql {
            Sql::Missing => Err("42P01"),
            Sql::Prepare if self.statements.contains_key("q") => Err("42P05"),
            Sql::Execute | Sql::Deallocate if !self.statements.contains_key("q") => Err("26000"),
            Sql::Declare if self.portals.contains_key("c") => Err("42P03"),
            Sql::Fetch if !self.portals.contains_key("c") => Err("34000"),
            _ => Ok(()),
        }
    }

    /// Runs a portal up to `limit` rows, 0 for all. False where it failed.
    fn run(&mut self, portal: &mut Portal, limit: u64) -> bool {
        let Some(sql) = portal.sql else { return true };
        if let Err(sqlstate) = self.can_run(sql)
            && portal.position == 0
        {
            self.ran(sql.text(), Outcome::Error, 0);
            self.fail(sqlstate);
            return false;
        }
        let (last, fails) = match portal.rows {
            Rows::None => {
                self.command(sql);
                portal.done = true;
                return true;
            }
            Rows::Count(count) => (count, false),
            Rows::FailsAfter(count) => (count, true),
        };
        let text = portal.text;
        let left = last.saturating_sub(portal.position);
        let now = if limit == 0 { left } else { left.min(limit) };
        for _ in 0..now {
            portal.position += 1;
            self.emit(b'D', &row(sql, portal.position));
        }
        if sql == Sql::Fetch
            && let Some(cursor) = self.portals.get_mut("c")
            && portal.position == now
        {
            // All of FETCH runs at once; its portal then hands out what it has.
            cursor.position += last;
        }
        if limit != 0 && now == limit {
            self.ran(text, Outcome::Suspended, now);
            self.emit(b's', b"");
        } else if fails {
            self.ran(text, Outcome::Error, now);
            self.fail("22012");
            return false;
        } else {
            self.ran(text, Outcome::Complete, now);
            self.complete(&format!("{} {now}", sql.tag()));
        }
        true
    }

    /// A statement without rows.
    fn command(&mut self, sql: Sql) {
        let failed = self.transaction == b'E';
        match sql {
            Sql::Begin => {
                if self.transaction == b'T' {
                    self.notice("25001");
                }
                self.transaction = b'T';
            }
            Sql::Commit | Sql::Rollback => {
                if self.transaction == b'I' {
                    self.notice("25P01");
                }
                self.transaction = b'I';
                self.portals.clear();
            }
            Sql::Prepare => {
                let statement = Statement { sql: Some(Sql::Five), has_rows: true, text: sql.text() };
                self.statements.insert("q".into(), statement);
            }
            Sql::Deallocate => drop(self.statements.remove("q")),
            Sql::DeallocateAll => {
                // The unnamed one is not SQL's: it stays.
                self.statements.retain(|name, _| name.is_empty());
            }
            Sql::Declare => {
                let cursor =
                    Portal { sql: Some(Sql::Five), rows: Rows::Count(5), position: 0, done: false, text: "" };
                self.portals.insert("c".into(), cursor);
            }
            Sql::Drop => self.notice("00000"),
            Sql::CopyOut => {
                self.emit(b'H', b"\0\0\x01\0\0");
                self.emit(b'd', b"1\n");
                self.emit(b'd', b"2\n");
                self.emit(b'c', b"");
                self.ran(sql.text(), Outcome::Complete, 0);
                return self.complete("COPY 2");
            }
            _ => {}
        }
        self.ran(sql.text(), Outcome::Complete, 0);
        self.complete(if failed { "ROLLBACK" } else { sql.tag() });
    }

    // --- COPY FROM STDIN

    fn copy_message(&mut self, kind: u8, body: &[u8]) {
        match kind {
            b'd' if body == BAD_ROW => self.copy_fails("22P02"),
            b'd' | b'H' | b'S' => {}
            b'f' => self.copy_fails("57014"),
            b'c' => {
                let copying = self.copying.take();
                self.ran(Sql::CopyIn.text(), Outcome::Complete, 0);
                self.complete("COPY 1");
                if let Some(Copying::Simple(rest)) = copying {
                    self.run_text(rest);
                }
            }
            _ => {
                // The server has read half a message: it ends the session.
                self.copy_fails("08P01");
                self.lost_its_place = true;
                self.ended = true;
            }
        }
    }

    fn copy_fails(&mut self, sqlstate: &str) {
        let copying = self.copying.take();
        self.ran(Sql::CopyIn.text(), Outcome::Error, 0);
        match copying {
            Some(Copying::Simple(rest)) => {
                self.fail(sqlstate);
                self.skip_text(&rest);
                self.ready();
            }
            _ => self.fail_extended(sqlstate),
        }
    }

    // --- ends

    /// An error, without what follows it.
    fn fail(&mut self, sqlstate: &str) {
        if self.transaction == b'I' {
            self.portals.clear();
        } else {
            self.transaction = b'E';
        }
        self.emit(b'E', format!("SERROR\0VERROR\0C{sqlstate}\0Mthe model says no\0\0").as_bytes());
    }

    /// An error of an extended-protocol message: everything up to the next Sync is skipped.
    fn fail_extended(&mut self, sqlstate: &str) {
        self.fail(sqlstate);
        self.skipping = true;
    }

    fn ready(&mut self) {
        if self.transaction == b'I' {
            self.portals.clear();
        }
        self.emit(b'Z', &[self.transaction]);
    }

    fn complete(&mut self, tag: &str) {
        self.emit(b'C', format!("{tag}\0").as_bytes());
    }

    fn notice(&mut self, sqlstate: &str) {
        self.emit(b'N', format!("SNOTICE\0VNOTICE\0C{sqlstate}\0Mmind this\0\0").as_bytes());
    }

    fn ran(&mut self, text: &str, outcome: Outcome, rows: u64) {
        self.log.push(Ran { text: text.into(), outcome, rows });
    }

    /// A message; now and then something that nobody asked for comes first.
    fn emit(&mut self, kind: u8, body: &[u8]) {
        match self.noise.byte() % 24 {
            21 => self.put(b'N', b"SNOTICE\0VNOTICE\0C00000\0Mby the way\0\0"),
            22 => self.put(b'A', b"\0\0\0\x07channel\0payload\0"),
            23 => self.put(b'S', b"application_name\0model\0"),
            _ => {}
        }
        self.put(kind, body);
    }

    fn put(&mut self, kind: u8, body: &[u8]) {
        self.output.push(kind);
        self.output.extend((body.len() as u32 + 4).to_be_bytes());
        self.output.extend_from_slice(body);
    }
}

/// The value that nobody may see whose policy masks it.
pub const CLEAR_VALUE: &str = "louis@example.com";

fn row(sql: Sql, number: u64) -> Vec<u8> {
    let number = number.to_string();
    match sql {
        Sql::People => data_row(&[&number, if number == "1" { CLEAR_VALUE } else { "anna@example.org" }]),
        _ => data_row(&[&number]),
    }
}

fn data_row(values: &[&str]) -> Vec<u8> {
    let mut body = (values.len() as u16).to_be_bytes().to_vec();
    for value in values {
        body.extend((value.len() as u32).to_be_bytes());
        body.extend(value.bytes());
    }
    body
}

/// RowDescription: name, relation, attribute and type of each column.
fn columns(sql: Sql) -> Vec<u8> {
    let columns: &[(&str, u32, u16, u32)] = match sql {
        Sql::People => &[("id", 20000, 1, 23), ("email", 20000, 2, 25)],
        _ => &[("n", 0, 0, 23)],
    };
    let mut body = (columns.len() as u16).to_be_bytes().to_vec();
    for (name, relation, attribute, oid) in columns {
        body.extend(format!("{name}\0").bytes());
        body.extend(relation.to_be_bytes());
        body.extend(attribute.to_be_bytes());
        body.extend(oid.to_be_bytes());
        body.extend((-1_i16).to_be_bytes());
        body.extend((-1_i32).to_be_bytes());
        body.extend(0_u16.to_be_bytes());
    }
    body
}

/// Kinds of the messages that count in a reply: what comes unasked is left out.
pub fn answer_kinds(reply: &[u8]) -> String {
    messages(reply)
        .0
        .iter()
        .filter(|(kind, _)| !matches!(kind, b'N' | b'A' | b'S'))
        .map(|(k, _)| char::from(*k))
        .collect()
}
