//! The session's own state, followed: search_path, roles, row security, temporary objects.
//!
//! Each statement that is forwarded moves the state on. Where that cannot be done with certainty (RESET, the end of
//! a transaction in which something was set, a function that may set anything) the state becomes unknown, and the
//! server is asked before the next statement, on the client's own connection (`ask.rs`). So a rollback, a savepoint or
//! a role's own defaults need no model here: the server tells what they left. Inside one batch nobody can be asked,
//! and unknown stays unknown.
//!
//! Only for sessions that something may be denied to or masked from: others are not followed and never asked.
//!
//! Invariant: a value is `Known` only where the server told it, or where a plain SET of this session gave it since.

use crate::engine::model::{SearchPath, SessionState, Setting, Statement, StatementKind, TempSource};
use std::sync::Arc;

/// What is known of the session's state, and whether that has to be confirmed.
#[derive(Clone, Debug)]
pub(super) struct Following {
    state: Arc<SessionState>,
    /// Something may differ from what is known: ask before the next statement, where that is possible.
    is_stale: bool,
    /// A followed setting changed since the transaction began: its end may undo that.
    touched: bool,
    /// SET LOCAL: the end of the transaction undoes it, even the end of one that nobody began.
    has_local: bool,
    /// `search_path` names `"$user"`, as far as is known.
    path_names_user: bool,
    /// How text is read changed, and the server has not said so yet.
    lexing_in_doubt: bool,
    /// The server would not answer: it is not asked again before something else changes.
    refused: bool,
}

/// What a statement can reach beside what its text says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// Nothing that changes the session.
    Text,
    /// Code on the server that its text does not show: functions, procedures, triggers.
    Code,
}

/// The server's answers, in the order of the questions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Told {
    pub search_path: String,
    pub role: String,
    pub session_user: String,
    pub row_security: String,
    /// Names of the session's temporary relations; `None` where they were not asked for.
    pub temporary: Option<Vec<String>>,
}

impl Default for Following {
    fn default() -> Self {
        Self {
            state: SessionState::not_followed(),
            is_stale: true,
            touched: false,
            has_local: false,
            path_names_user: true,
            lexing_in_doubt: false,
            refused: false,
        }
    }
}

impl Following {
    /// The state in which the next statement is read.
    pub fn state(&self) -> &Arc<SessionState> {
        &self.state
    }

    pub fn wants_to_ask(&self) -> bool {
        self.is_stale && !self.refused
    }

    /// Text that comes before the server's next ReadyForQuery may be read otherwise than governor would.
    pub fn lexing_in_doubt(&self) -> bool {
        self.lexing_in_doubt
    }

    /// `statement` is forwarded.
    pub fn follow(&mut self, statement: &Statement, reach: Reach) {
        self.follow_setting(statement);
        match statement.tag.as_str() {
            "DISCARD ALL" => {
                self.doubt("DISCARD ALL");
                self.lexing_in_doubt = true;
                self.edit().temporary.clear();
            }
            "DISCARD TEMP" => self.edit().temporary.clear(),
            _ => {}
        }
        if statement.kind == StatementKind::Transaction {
            self.follow_transaction(&statement.tag);
        }
        self.follow_temporary(statement);
        if reach == Reach::Code || statement.unknown.is_some() {
            let why = "code on the server may have changed it";
            self.doubt(why);
            let temporary = &mut self.edit().temporary;
            temporary.doubt_all(why);
            temporary.unseen = Some(why.into());
        }
    }

    /// A statement failed: its transaction, or the part of it up to here, is undone.
    pub fn failed(&mut self) {
        let why = "a statement failed and its transaction was undone";
        if self.touched {
            self.doubt(why);
        }
        if !self.state.temporary.is_empty() {
            self.edit().temporary.roll_back(why);
        }
    }

    /// ReadyForQuery.
    pub fn ready(&mut self, in_transaction: bool) {
        self.lexing_in_doubt = false;
        if in_transaction {
            return;
        }
        if std::mem::take(&mut self.has_local) {
            self.doubt("the transaction of a SET LOCAL ended");
        }
        self.touched = false;
        if !self.state.temporary.is_empty() {
            self.edit().temporary.settle();
        }
        self.is_stale |= self.state.temporary.unseen.is_some();
    }

    /// The server reported a setting on its own.
    pub fn reported(&mut self, name: &[u8], value: &[u8]) {
        if name == b"search_path"
            && let Ok(value) = std::str::from_utf8(value)
            && let Some(user) = self.current_user()
        {
            self.set_path(value, &user);
        }
    }

    /// The server answered; `None`: it would not.
    pub fn told(&mut self, answers: Option<Told>) {
        self.is_stale = false;
        let Some(told) = answers else {
            self.refused = true;
            let state = self.edit();
            let temporary = std::mem::take(&mut state.temporary);
            *state = SessionState::unknown("the server would not tell");
            state.temporary = temporary;
            return;
        };
        let user = if told.role == NO_ROLE { &told.session_user } else { &told.role };
        let state = self.edit();
        state.role = Setting::Known(user.clone());
        state.session_user = Setting::Known(told.session_user.clone());
        state.row_security = Setting::Known(told.row_security.clone());
        if let Some(names) = &told.temporary {
            state.temporary.confirm(names);
        }
        self.set_path(&told.search_path, user);
    }

    fn follow_setting(&mut self, statement: &Statement) {
        let Some((name, value)) = &statement.setting else { return };
        if matches!(name.as_str(), "standard_conforming_strings" | "client_encoding" | ALL) {
            self.lexing_in_doubt = true;
        }
        if statement.kind != StatementKind::Session {
            // Calls of set_config: one is told, there may be others.
            return self.doubt("set_config was called");
        }
        if !matches!(name.as_str(), PATH | ROLE | AUTHORIZATION | ROW_SECURITY | ALL) {
            return;
        }
        self.refused = false;
        let is_local = statement.session.as_ref().is_some_and(|effect| effect.is_local);
        (self.touched, self.has_local) = (true, self.has_local || is_local);
        let Some(value) = value else { return self.doubt("it was reset") };
        match name.as_str() {
            PATH => match self.current_user() {
                Some(user) => self.set_path(value, &user),
                None => self.set_path(value, ""),
            },
            ROW_SECURITY => self.edit().row_security = boolean(value),
            // A role's name decides what "$user" is.
            _ => {
                let why = || format!("{name} was set");
                let names_user = self.path_names_user;
                let state = self.edit();
                state.role = Setting::Unknown(why());
                if name == AUTHORIZATION {
                    state.session_user = Setting::Unknown(why());
                }
                if names_user {
                    state.set_search_path(SearchPath::Unknown(why()));
                }
                self.is_stale = true;
            }
        }
    }

    fn follow_transaction(&mut self, tag: &str) {
        if matches!(tag, "BEGIN" | "START TRANSACTION" | "SAVEPOINT" | "RELEASE") {
            return;
        }
        let why = "a transaction ended in which it was changed";
        if self.touched {
            self.doubt(why);
        }
        if !self.state.temporary.is_empty() {
            let temporary = &mut self.edit().temporary;
            if !matches!(tag, "COMMIT" | "END") {
                temporary.roll_back(why);
            } else if temporary.iter().any(|(_, object)| object.in_transaction) {
                // ON COMMIT DROP.
                temporary.unseen = Some(why.into());
            }
        }
    }

    /// Temporary objects that the statement makes, changes or drops.
    fn follow_temporary(&mut self, statement: &Statement) {
        let has = |kind| statement.kinds.contains(&kind);
        let made = statement.session.as_ref().and_then(|effect| effect.makes_temporary.as_deref());
        if let Some(name) = made {
            let source = self.source(statement);
            let temporary = &mut self.edit().temporary;
            if statement.unknown.is_some() || has(StatementKind::Execute) {
                temporary.doubt(name, "its query is not known");
            } else {
                temporary.make(name, source);
            }
            return;
        }
        if has(StatementKind::Ddl) && self.may_make_temporary(statement) {
            for relation in statement.writes.iter().filter(|relation| relation.schema.is_none()) {
                self.edit().temporary.doubt(&relation.name, "it may be temporary");
            }
        }
        if self.state.temporary.is_empty() {
            return;
        }
        let touched = statement.writes.iter().filter(|relation| {
            relation.schema.as_deref().is_none_or(|schema| schema.starts_with("pg_temp"))
                && self.state.temporary.get(&relation.name).is_some()
        });
        let touched: Vec<String> = touched.map(|relation| relation.name.clone()).collect();
        for name in touched {
            let source = self.source(statement);
            let temporary = &mut self.edit().temporary;
            if has(StatementKind::Drop) || (has(StatementKind::Ddl) && statement.tag != "CREATE INDEX") {
                temporary.doubt(&name, "it was altered or dropped");
                temporary.unseen = Some("a temporary object was altered or dropped".into());
            } else if has(StatementKind::Insert) || has(StatementKind::Update) || has(StatementKind::Merge) {
                let only_values = statement.reads.is_empty() && statement.calls().next().is_none();
                if !only_values {
                    temporary.feed(&name, source);
                }
            }
        }
    }

    fn source(&self, statement: &Statement) -> TempSource {
        TempSource { text: statement.text.clone(), search_path: self.state.search_path.clone() }
    }

    /// A definition without TEMP whose object becomes temporary all the same.
    fn may_make_temporary(&self, statement: &Statement) -> bool {
        let tags = ["CREATE TABLE", "CREATE TABLE AS", "SELECT INTO", "CREATE VIEW"];
        if !tags.contains(&statement.tag.as_str()) {
            return false;
        }
        let path_begins_with_it = match &self.state.search_path {
            SearchPath::Known(path) => path.first().is_some_and(|schema| schema.starts_with("pg_temp")),
            SearchPath::Unknown(_) => !self.state.temporary.is_empty(),
        };
        // A view of a temporary table is temporary.
        let reads_one = statement.reads.iter().any(|relation| {
            relation.schema.as_deref().is_none_or(|schema| schema.starts_with("pg_temp"))
                && self.state.temporary.get(&relation.name).is_some()
        });
        path_begins_with_it || (statement.tag == "CREATE VIEW" && reads_one)
    }

    /// All settings become unknown, and the server is asked.
    fn doubt(&mut self, why: &str) {
        (self.is_stale, self.refused, self.touched) = (true, false, true);
        let state = self.edit();
        let temporary = std::mem::take(&mut state.temporary);
        *state = SessionState::unknown(why);
        state.temporary = temporary;
        self.path_names_user = true;
    }

    /// Nobody knows any more what these temporary relations hold.
    pub fn doubt_temporary(&mut self, names: &[String], why: &str) {
        for name in names {
            self.edit().temporary.doubt(name, why);
        }
    }

    fn edit(&mut self) -> &mut SessionState {
        Arc::make_mut(&mut self.state)
    }

    fn current_user(&self) -> Option<String> {
        self.state.role.known().map(str::to_owned)
    }

    /// `user` is empty where it is not known.
    fn set_path(&mut self, text: &str, user: &str) {
        let names = names_in_list(text);
        self.path_names_user = names.as_ref().is_none_or(|names| names.iter().any(|name| name == USER));
        let path = match names {
            None => SearchPath::Unknown("its value is not a list of names".into()),
            Some(_) if self.path_names_user && user.is_empty() => {
                SearchPath::Unknown("it names the user, who is not known".into())
            }
            Some(names) => SearchPath::Known(
                names.into_iter().map(|name| if name == USER { user.to_owned() } else { name }).collect(),
            ),
        };
        self.is_stale |= matches!(path, SearchPath::Unknown(_));
        self.edit().set_search_path(path);
    }
}

fn boolean(value: &str) -> Setting {
    match value.to_ascii_lowercase().as_str() {
        "on" | "true" | "yes" | "1" => Setting::Known("on".into()),
        "off" | "false" | "no" | "0" => Setting::Known("off".into()),
        _ => Setting::Unknown("its value is not plain".into()),
    }
}

/// Reads a list of names as the server does: words are folded, quotes keep them as they are. `None` where the server
/// would refuse it, or cut a name.
///
/// Source: `SplitIdentifierString` in PostgreSQL's `utils/adt/varlena.c`.
pub(super) fn names_in_list(text: &str) -> Option<Vec<String>> {
    let blank = |c: char| matches!(c, ' ' | '\t' | '\n' | '\r' | '\x0b' | '\x0c');
    let mut names = Vec::new();
    let mut rest = text.trim_matches(blank);
    if rest.is_empty() {
        return Some(names);
    }
    loop {
        let name = if let Some(mut quoted) = rest.strip_prefix('"') {
            let mut name = String::new();
            loop {
                let (part, behind) = quoted.split_once('"')?;
                name.push_str(part);
                match behind.strip_prefix('"') {
                    Some(more) => {
                        name.push('"');
                        quoted = more;
                    }
                    None => {
                        rest = behind;
                        break;
                    }
                }
            }
            name
        } else {
            let end = rest.find(|c| c == ',' || blank(c)).unwrap_or(rest.len());
            let (word, behind) = rest.split_at(end);
            rest = behind;
            // Letters beyond ASCII are folded by the database's own rules.
            if word.is_empty() || !word.is_ascii() {
                return None;
            }
            word.to_ascii_lowercase()
        };
        if name.len() >= NAME_BYTES || names.len() >= NAMES_COUNT_MAX {
            return None;
        }
        names.push(name);
        rest = rest.trim_start_matches(blank);
        match rest.strip_prefix(',') {
            Some(more) => rest = more.trim_start_matches(blank),
            None => return rest.is_empty().then_some(names),
        }
    }
}

const PATH: &str = "search_path";
const ROLE: &str = "role";
const AUTHORIZATION: &str = "session_authorization";
const ROW_SECURITY: &str = "row_security";
/// RESET ALL.
const ALL: &str = "all";
/// What SHOW role tells where none is set.
const NO_ROLE: &str = "none";
const USER: &str = "$user";
/// The server's NAMEDATALEN.
const NAME_BYTES: usize = 64;
const NAMES_COUNT_MAX: usize = 256;

#[cfg(test)]
mod tests;
