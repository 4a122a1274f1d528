//! The client's side: are these the replies that a server may give to these requests?
//!
//! Each request is answered, in order; after an error in the extended protocol everything up to Sync is skipped; there is
//! exactly one ReadyForQuery for each Query, FunctionCall and Sync that counts; the transaction's state changes only for
//! a reason that the client could see.

use super::sql::BAD_ROW;
use super::{first_message, messages};

/// Fails with what does not fit. `sent` are the client's messages, `replies` everything that came after start-up.
pub fn replies(sent: &[Vec<u8>], replies: &[u8]) -> Result<(), String> {
    let (all, rest) = messages(replies);
    if !rest.is_empty() {
        return Err(format!("half a message at the end: {rest:?}"));
    }
    // What comes unasked says nothing about requests.
    let answers: Vec<_> = all.into_iter().filter(|(kind, _)| !matches!(kind, b'N' | b'A' | b'S')).collect();
    let requests = sent.iter().filter_map(|message| first_message(message)).map(|(k, b, _)| (k, b)).collect();
    let mut checker = Checker {
        requests,
        at: 0,
        answers,
        seen: 0,
        skipping: false,
        state: b'I',
        tags: vec![],
        failed: false,
    };
    checker.run().map_err(|why| {
        let (request, answer) = (checker.requests.get(checker.at), checker.answers.get(checker.seen));
        format!("{why}; at request {} {request:?}, reply {} {answer:?}", checker.at, checker.seen)
    })
}

struct Checker<'a> {
    requests: Vec<(u8, &'a [u8])>,
    at: usize,
    answers: Vec<(u8, &'a [u8])>,
    seen: usize,
    skipping: bool,
    /// As the last ReadyForQuery said it.
    state: u8,
    /// Command tags and errors since then.
    tags: Vec<String>,
    failed: bool,
}

impl Checker<'_> {
    fn run(&mut self) -> Result<(), String> {
        while let Some((kind, body)) = self.requests.get(self.at).copied() {
            match kind {
                b'S' => {
                    self.skipping = false;
                    self.ready()?;
                }
                b'X' => break,
                _ if self.skipping => {}
                b'Q' => self.query()?,
                b'P' => self.one_of(b"1")?,
                b'B' => self.one_of(b"2")?,
                b'C' => self.one_of(b"3")?,
                b'D' if body.first() == Some(&b'S') => {
                    self.one_of(b"t")?;
                    if !self.skipping {
                        self.one_of(b"Tn")?;
                    }
                }
                b'D' => self.one_of(b"Tn")?,
                b'E' => self.results(b"CIs", false)?,
                b'F' => {
                    self.one_of(b"V")?;
                    self.skipping = false;
                    self.ready()?;
                }
                // Flush, and data of a COPY that is not under way.
                _ => {}
            }
            self.at += 1;
        }
        match self.answers.get(self.seen) {
            None => Ok(()),
            Some(_) => Err("more replies than requests".into()),
        }
    }

    fn next(&mut self) -> Result<(u8, Vec<u8>), String> {
        let (kind, body) = self.answers.get(self.seen).copied().ok_or("a reply is missing")?;
        match kind {
            b'C' => self.tags.push(String::from_utf8_lossy(body).trim_end_matches('\0').to_owned()),
            b'E' => self.failed = true,
            _ => {}
        }
        self.seen += 1;
        Ok((kind, body.to_vec()))
    }

    fn peek(&self) -> Option<u8> {
        self.answers.get(self.seen).map(|(kind, _)| *kind)
    }

    /// One of `kinds`, or an error, after which the rest is skipped.
    fn one_of(&mut self, kinds: &[u8]) -> Result<(), String> {
        match self.next()? {
            (b'E', _) => self.skipping = true,
            (kind, _) if kinds.contains(&kind) => {}
            (kind, _) => {
                self.seen -= 1;
                return Err(format!(
                    "expected {:?}, not {:?}",
                    String::from_utf8_lossy(kinds),
                    char::from(kind)
                ));
            }
        }
        Ok(())
    }

    /// A simple query: results of each statement, then ReadyForQuery.
    fn query(&mut self) -> Result<(), String> {
        while self.peek() != Some(b'Z') && !self.skipping {
            self.results(b"CI", true)?;
        }
        self.skipping = false;
        self.ready()
    }

    /// Rows, a COPY or nothing, and then one of `ends`.
    fn results(&mut self, ends: &[u8], described: bool) -> Result<(), String> {
        match self.peek() {
            Some(b'G') => {
                self.next()?;
                self.copy_in(described)?;
                if self.skipping {
                    return Ok(());
                }
            }
            Some(b'H') => {
                self.next()?;
                while self.peek() == Some(b'd') {
                    self.next()?;
                }
                self.one_of(b"c")?;
            }
            Some(b'T') if described => {
                self.next()?;
                self.rows()?;
            }
            Some(b'D') if !described => self.rows()?,
            _ => {}
        }
        self.one_of(ends)
    }

    fn rows(&mut self) -> Result<(), String> {
        while self.peek() == Some(b'D') {
            self.next()?;
        }
        Ok(())
    }

    /// Goes over the client's own data up to where the COPY ends.
    fn copy_in(&mut self, simple: bool) -> Result<(), String> {
        while let Some((kind, body)) = self.requests.get(self.at + 1).copied() {
            match kind {
                b'c' => {
                    self.at += 1;
                    return Ok(());
                }
                b'f' => {
                    self.at += 1;
                    return self.copy_failed(simple);
                }
                b'd' if body == BAD_ROW => {
                    self.at += 1;
                    return self.copy_failed(simple);
                }
                b'd' | b'H' | b'S' => self.at += 1,
                _ => return Err("the client sends something else during a COPY".into()),
            }
        }
        Err("the client does not end its COPY".into())
    }

    fn copy_failed(&mut self, _simple: bool) -> Result<(), String> {
        match self.next()? {
            (b'E', _) => self.skipping = true,
            _ => return Err("a COPY that must fail does not".into()),
        }
        Ok(())
    }

    fn ready(&mut self) -> Result<(), String> {
        let (kind, body) = self.next()?;
        let state = match (kind, body.as_slice()) {
            (b'Z', [state]) => *state,
            _ => return Err("expected ReadyForQuery".into()),
        };
        let began = self.tags.iter().any(|tag| tag == "BEGIN");
        let ended = self.tags.iter().any(|tag| tag == "COMMIT" || tag == "ROLLBACK");
        let possible = match (self.state, state) {
            (b'I', b'I') => !began || ended || self.failed,
            (b'I', b'T') => began,
            (b'I', b'E') => began && self.failed,
            (b'T', b'T') => !self.failed || began && ended,
            (b'T', b'E') => self.failed,
            (b'T' | b'E', b'I') => ended,
            (b'E', b'E') => self.tags.iter().all(|tag| tag.is_empty()) || ended && began,
            (b'E', b'T') => ended && began,
            _ => false,
        };
        if !possible {
            return Err(format!(
                "transaction state {:?} after {:?}, tags {:?}",
                char::from(state),
                char::from(self.state),
                self.tags
            ));
        }
        (self.state, self.failed) = (state, false);
        self.tags.clear();
        Ok(())
    }
}
