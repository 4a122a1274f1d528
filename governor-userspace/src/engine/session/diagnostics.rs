//! What errors and notices of the server may tell a session that is masked.
//!
//! The server quotes values: a cast that fails, the DETAIL of a key, RAISE in a function. No lineage says which, so where
//! the statement may touch sensitive data, or a function was at work, the words are governor's own: the SQLSTATE, what it
//! means, and the name of the constraint stay. Words that the server takes from the client's own text stay too: errors of its
//! analysis point into that text, and of a few kinds of error the words never hold a value.
//!
//! Invariant: what is not known to be free of values is hidden.

use super::Session;
use super::facts::StatementRef;
use super::governance::Governance;
use super::meaning::touches_temporary;
use super::pipeline::Owed;
use super::server::Step;
use super::sqlstates;
use crate::engine::model::StatementKind;
use crate::engine::wire::postgres::backend::{error_fields, kind};
use crate::engine::wire::postgres::encode;

impl Session {
    /// An ErrorResponse or NoticeResponse as the client may read it. `body` may be cut short.
    pub(super) fn hide_words(&self, message: u8, body: &[u8], governance: &mut Governance) -> Step {
        if !self.may_be_masked {
            return Step::Pass;
        }
        let fields = error_fields(body);
        let words = fields.as_deref().map_or(Words::Unread, Words::of);
        let hide = match words {
            Words::Harmless => false,
            // Whatever the policy says of unknown columns: the client never had them.
            Words::Server | Words::Code | Words::Log | Words::Unread if self.holds_values => true,
            // While nothing is owed, the server speaks of itself; but a trigger may run at the login.
            Words::Server => {
                !self.pipeline.is_empty()
                    && self.front_is_doubtful(governance)
                    && self.hides_unknown(governance)
            }
            Words::Log | Words::Unread if self.pipeline.is_empty() && self.is_established() => false,
            // Code of users: what it reads is not in the statement.
            Words::Code | Words::Log | Words::Unread => self.hides_unknown(governance),
        };
        match (hide, words, message) {
            (false, ..) => Step::Pass,
            (true, Words::Log, kind::NOTICE_RESPONSE) => Step::Drop,
            (true, ..) => Step::Replace(encode::hidden(message, &kept(&fields.unwrap_or_default()))),
        }
    }

    /// The statement that the message is about may touch sensitive data.
    fn front_is_doubtful(&self, governance: &Governance) -> bool {
        let Some(catalogue) = self.trusted_catalogue(governance) else { return true };
        let doubtful = |statement: &StatementRef| {
            use StatementKind as K;
            // A constraint that was deferred is checked at COMMIT, or by SET CONSTRAINTS.
            let later = matches!(statement.kind, K::Transaction | K::Session);
            later
                || matches!(statement.kind, K::Cursor | K::Execute | K::Call | K::Do | K::Unknown)
                || catalogue.reads_sensitive(statement)
                || touches_temporary(statement, &self.following.state().temporary)
        };
        let run = self.pipeline.front().and_then(|owed: &Owed| owed.run.as_ref());
        run.is_none_or(|run| {
            run.source.basis.is_doubt() || doubtful(&run.statement) || doubtful(&run.source.statement)
        })
    }
}

/// Whose words they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Words {
    /// Of the client's own text, or of a kind that holds no value.
    Harmless,
    /// Of the server, about data.
    Server,
    /// Of a function, or raised within one.
    Code,
    /// The server's log, which a session may ask for: statements and plans.
    Log,
    /// Too long to be read, or broken.
    Unread,
}

impl Words {
    fn of(fields: &[(u8, &[u8])]) -> Self {
        let field = |code: u8| fields.iter().find(|(c, _)| *c == code).map(|(_, value)| *value);
        if !matches!(field(b'V'), Some(b"ERROR" | b"FATAL" | b"PANIC" | b"NOTICE" | b"WARNING")) {
            return Self::Log;
        }
        let class = field(b'C').and_then(|code| code.get(..2)).unwrap_or_default();
        let ends = field(b'V').is_some_and(|v| v == b"FATAL" || v == b"PANIC");
        // An error of a login's trigger ends the session, too.
        if ends && field(b'W').is_none() {
            return Self::Harmless;
        }
        // Context and a query of its own: it comes from within a function. COPY says only where in the data it is.
        let copies = |context: &[u8]| context.split(|b| *b == b'\n').all(|line| line.starts_with(b"COPY "));
        let within = [b'q', b'p'].iter().any(|code| field(*code).is_some())
            || field(b'W').is_some_and(|context| !copies(context));
        if within || field(b'R') == Some(b"exec_stmt_raise") {
            return Self::Code;
        }
        // A position points into the text that the client sent: only its analysis knows one.
        if field(b'P').is_some() || HARMLESS_CLASSES.contains(&class) || field(b'C') == Some(b"42501") {
            return Self::Harmless;
        }
        Self::Server
    }
}

/// Fields that stay, and what is said in place of the others.
fn kept(fields: &[(u8, &[u8])]) -> Vec<(u8, Vec<u8>)> {
    let field = |code: u8| fields.iter().find(|(c, _)| *c == code).map(|(_, value)| *value);
    // Five letters of a function's own may be anything.
    let of_code = Words::of(fields) == Words::Code;
    let sqlstate = field(b'C').filter(|code| sqlstates::is_known(code));
    let sqlstate = sqlstate.unwrap_or(if of_code { b"P0001" } else { b"XX000" });
    let severity = field(b'V').unwrap_or(b"ERROR");
    let mut kept = vec![(b'S', severity.to_vec()), (b'V', severity.to_vec()), (b'C', sqlstate.to_vec())];
    kept.push((b'M', meaning(sqlstate).as_bytes().to_vec()));
    kept.push((b'D', HIDDEN.as_bytes().to_vec()));
    // The server's own names of what was violated; RAISE may put anything there.
    if sqlstate.starts_with(b"23") && Words::of(fields) == Words::Server {
        let names = fields.iter().filter(|(code, _)| NAMES.contains(code));
        kept.extend(names.map(|(code, value)| (*code, value.to_vec())));
    }
    kept
}

/// What a condition means, in words without values.
fn meaning(sqlstate: &[u8]) -> &'static str {
    let exact = MEANINGS.iter().find(|(code, _)| code.as_bytes() == sqlstate);
    let class = || MEANINGS.iter().find(|(code, _)| code.as_bytes() == sqlstate.get(..2).unwrap_or_default());
    exact.or_else(class).map_or("the statement failed, or the server remarks something", |(_, text)| text)
}

const HIDDEN: &str = "governor hides the server's own words: they may quote data that is masked";

/// Schema, table, column, type and constraint.
const NAMES: &[u8] = b"stcdn";

/// Classes of errors whose words are about sessions, transactions, cursors and resources.
const HARMLESS_CLASSES: [&[u8]; 8] = [b"08", b"25", b"26", b"34", b"3B", b"40", b"53", b"57"];

/// By SQLSTATE, then by class.
const MEANINGS: &[(&str, &str)] = &[
    ("22001", "a value is too long for its type"),
    ("22003", "a number is out of range"),
    ("22007", "a value is no valid date or time"),
    ("22008", "a date or time is out of range"),
    ("22012", "division by zero"),
    ("22023", "a parameter has an invalid value"),
    ("22P02", "a value is not valid for its type"),
    ("22P03", "a value has an invalid binary form"),
    ("22", "a value is not valid"),
    ("23502", "a column that must have a value would be NULL"),
    ("23503", "a foreign key would be violated"),
    ("23505", "a unique key would be violated"),
    ("23514", "a check would be violated"),
    ("23P01", "an exclusion constraint would be violated"),
    ("23", "a constraint would be violated"),
    ("42P01", "a relation does not exist"),
    ("42703", "a column does not exist"),
    ("42704", "an object does not exist"),
    ("42883", "a function does not exist"),
    ("44000", "a row does not fit the condition of its view"),
    ("57014", "the statement was cancelled"),
    ("57P01", "the server ends the connection"),
    ("P0001", "a function raised an error or remarks something"),
];
