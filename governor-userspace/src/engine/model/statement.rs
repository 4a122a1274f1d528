//! Facts about one SQL command: what policy, masking and records may know of it.

use super::{CopyOptions, RelationName};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// What a statement does, as a closed set. The words appear in policy, records and metrics.
///
/// A statement that does several things has the *strongest*: `WITH x AS (DELETE …) SELECT` is `Delete`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StatementKind {
    /// No command at all (empty or only comments).
    Empty,
    Select,
    /// EXPLAIN without ANALYZE, SHOW and other commands that read no rows of relations.
    Explain,
    Show,
    /// FETCH, MOVE, CLOSE, DECLARE of a cursor; PREPARE/EXECUTE have the kind of what they run, where known.
    Cursor,
    Execute,
    Prepare,
    Deallocate,
    Insert,
    Update,
    Delete,
    Merge,
    Truncate,
    /// COPY … FROM.
    CopyIn,
    /// COPY … TO.
    CopyOut,
    /// CREATE, ALTER, COMMENT, RENAME and the like.
    Ddl,
    /// DROP of any object.
    Drop,
    /// GRANT, REVOKE, roles, default privileges, ownership.
    Dcl,
    /// BEGIN, COMMIT, ROLLBACK, SAVEPOINT and the like.
    Transaction,
    /// SET, RESET, DISCARD.
    Session,
    /// LISTEN, NOTIFY, UNLISTEN.
    Notify,
    Lock,
    /// CALL of a procedure.
    Call,
    /// DO: code in a string.
    Do,
    /// VACUUM, ANALYZE, CLUSTER, REINDEX, CHECKPOINT, REFRESH MATERIALIZED VIEW.
    Maintenance,
    /// LOAD, ALTER SYSTEM, CREATE EXTENSION, COPY to or from a program or a server's file.
    Administration,
    /// The text could not be understood; see [`Statement::unknown`].
    Unknown,
}

impl StatementKind {
    /// The word used in policy, records and metrics (snake case, as serialised).
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::Select => "select",
            Self::Explain => "explain",
            Self::Show => "show",
            Self::Cursor => "cursor",
            Self::Execute => "execute",
            Self::Prepare => "prepare",
            Self::Deallocate => "deallocate",
            Self::Insert => "insert",
            Self::Update => "update",
            Self::Delete => "delete",
            Self::Merge => "merge",
            Self::Truncate => "truncate",
            Self::CopyIn => "copy_in",
            Self::CopyOut => "copy_out",
            Self::Ddl => "ddl",
            Self::Drop => "drop",
            Self::Dcl => "dcl",
            Self::Transaction => "transaction",
            Self::Session => "session",
            Self::Notify => "notify",
            Self::Lock => "lock",
            Self::Call => "call",
            Self::Do => "do",
            Self::Maintenance => "maintenance",
            Self::Administration => "administration",
            Self::Unknown => "unknown",
        }
    }

    pub const ALL: [StatementKind; 27] = [
        Self::Empty,
        Self::Select,
        Self::Explain,
        Self::Show,
        Self::Cursor,
        Self::Execute,
        Self::Prepare,
        Self::Deallocate,
        Self::Insert,
        Self::Update,
        Self::Delete,
        Self::Merge,
        Self::Truncate,
        Self::CopyIn,
        Self::CopyOut,
        Self::Ddl,
        Self::Drop,
        Self::Dcl,
        Self::Transaction,
        Self::Session,
        Self::Notify,
        Self::Lock,
        Self::Call,
        Self::Do,
        Self::Maintenance,
        Self::Administration,
        Self::Unknown,
    ];
}

/// Why nothing certain can be said of a statement. Doubt is never treated as safety.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "cause", rename_all = "snake_case")]
pub enum Unknown {
    /// The server's own grammar refuses the text.
    Unparsable { message: String },
    /// The text is longer than governor collects.
    TooLong { bytes: u64 },
    /// Nested deeper than governor reads.
    TooDeep,
    /// SQL inside a string that is run on the server (DO, dblink, query_to_xml, …).
    DynamicSql { by: String },
    /// The protocol's FunctionCall message: a function by number.
    FunctionCall { oid: u32 },
    /// EXECUTE of a statement that this session did not see prepared.
    UnseenPrepared { name: String },
    /// A node or setting whose meaning governor does not know.
    NotUnderstood { what: String },
}

impl Unknown {
    /// The closed word for policy and metrics.
    pub fn cause(&self) -> &'static str {
        match self {
            Self::Unparsable { .. } => "unparsable",
            Self::TooLong { .. } => "too_long",
            Self::TooDeep => "too_deep",
            Self::DynamicSql { .. } => "dynamic_sql",
            Self::FunctionCall { .. } => "function_call",
            Self::UnseenPrepared { .. } => "unseen_prepared",
            Self::NotUnderstood { .. } => "not_understood",
        }
    }
}

/// A function as a statement names it, case folded as the server folds it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct FunctionName {
    pub schema: Option<String>,
    pub name: String,
}

impl std::fmt::Display for FunctionName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.schema {
            Some(schema) => write!(f, "{schema}.{}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

/// Which columns a piece of a statement can draw data from: an upper bound by name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mentions {
    /// Last part of every column reference, sorted, without duplicates.
    pub columns: Vec<String>,
    /// A `*`, a whole-row reference or a NATURAL JOIN draws from columns that are not named.
    pub every_column: bool,
}

/// One entry of a top-level SELECT list (or RETURNING list), in order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    pub mentions: Mentions,
    /// `count(…)` at the top of the expression: a number that tells no value.
    pub is_count: bool,
    /// A literal or parameter only: draws from no column.
    pub is_constant: bool,
}

/// What a statement does to the session's own state, beside [`Statement::setting`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionEffect {
    /// SET LOCAL: the transaction's end undoes it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_local: bool,
    /// The temporary table or view that it makes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub makes_temporary: Option<String>,
    /// The cursor that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<Cursor>,
}

/// DECLARE, FETCH, MOVE and CLOSE. For DECLARE the query is [`Statement::inner`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor {
    /// `None`: CLOSE ALL.
    pub name: Option<String>,
    pub does: CursorUse,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CursorUse {
    Declare {
        /// WITH HOLD: it outlives its transaction.
        holds: bool,
    },
    Fetch,
    Close,
}

/// Rows of one relation change, by a command at any depth.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    pub relation: RelationName,
    /// Insert, Update, Delete, Merge, Truncate or CopyIn.
    pub kind: StatementKind,
    /// Written with ONLY: children keep their rows.
    pub only: bool,
    /// Its WHERE can leave rows out.
    pub restricted: bool,
    /// Columns that the WHERE compares for equality with constants or parameters, and with how many.
    pub pinned: Vec<(String, u32)>,
    /// Columns that an UPDATE assigns.
    pub sets: Vec<String>,
    /// An INSERT with ON CONFLICT: a key that is there already is no error.
    #[serde(default)]
    pub goes_on: bool,
}

/// One parsed SQL command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Statement {
    /// The command's own text, without its neighbours in a multi-statement query.
    pub text: Arc<str>,
    pub kind: StatementKind,
    /// The command in the server's words, such as `DROP TABLE` or `CREATE INDEX`.
    pub tag: String,
    /// Relations whose rows are read, at any depth; sorted, unique.
    pub reads: Vec<RelationName>,
    /// Relations whose rows or definition change, at any depth; sorted, unique.
    pub writes: Vec<RelationName>,
    /// Functions called, at any depth; sorted, unique.
    pub functions: Vec<FunctionName>,
    /// Names behind a dot that call a function where there is one of that name: `(value).f` is `f(value)`, and so is
    /// `n.f` where `n` is what a function in FROM gives. Otherwise fields. Sorted, unique.
    #[serde(default)]
    pub dotted: Vec<FunctionName>,
    /// Operators by name, at any depth; sorted, unique.
    #[serde(default)]
    pub operators: Vec<String>,
    /// Something is made a value of a named type, which may run code: a cast, or the check of a domain. Not where a
    /// constant is read as one of the types that the grammar itself has words for.
    #[serde(default)]
    pub casts: bool,
    /// Relations that are named with ONLY wherever they are named; sorted, unique.
    #[serde(default)]
    pub only: Vec<RelationName>,
    /// Every command that changes rows when this statement runs.
    #[serde(default)]
    pub changes: Vec<Change>,
    /// For UPDATE and DELETE: whether every such command in the statement has a WHERE that is not
    /// trivially true; for MERGE its ON, where what matches is updated or deleted without a further condition.
    /// `None` where the kind has no WHERE to speak of.
    pub has_where: Option<bool>,
    /// The kinds of everything that runs, sorted: a writing CTE under SELECT shows both.
    pub kinds: Vec<StatementKind>,
    pub mentions: Mentions,
    /// The top-level result columns where they can be told apart; `None` under set operations,
    /// sub-selects, CTEs and everything else where only [`Statement::mentions`] bounds the flow.
    pub targets: Option<Vec<Target>>,
    /// Name and value of `SET`/`RESET`, `None` otherwise. Value is `None` for RESET and DEFAULT.
    pub setting: Option<(String, Option<String>)>,
    /// Name in SQL-level PREPARE, EXECUTE or DEALLOCATE.
    pub prepared_name: Option<String>,
    /// The inner statement of PREPARE, of EXPLAIN, and of DECLARE.
    pub inner: Option<Box<Statement>>,
    /// Boxed: few statements have one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<Box<SessionEffect>>,
    /// How a COPY TO STDOUT writes its rows; `None` for everything else, and where its options are not understood.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub copy: Option<Box<CopyOptions>>,
    /// Says why the facts above are not the whole truth; `None` where they are.
    pub unknown: Option<Unknown>,
    /// Shape of the text with literals removed: 16 hexadecimal digits.
    pub fingerprint: String,
}

impl Statement {
    /// It reads or changes rows, whatever its kind: a SELECT that calls a function which locks, notifies or sets is of that
    /// function's kind.
    pub fn asks_or_changes_rows(&self) -> bool {
        use StatementKind as K;
        let touches =
            |kind: &K| matches!(kind, K::Select | K::Insert | K::Update | K::Delete | K::Merge | K::CopyOut);
        self.kinds.iter().any(touches)
    }

    /// Functions that it calls, or calls where they exist.
    pub fn calls(&self) -> impl Iterator<Item = &FunctionName> {
        self.functions.iter().chain(&self.dotted)
    }

    /// A statement of which nothing is known but its text.
    pub fn unknown(text: Arc<str>, why: Unknown) -> Self {
        Self {
            text,
            kind: StatementKind::Unknown,
            tag: "UNKNOWN".into(),
            reads: vec![],
            writes: vec![],
            functions: vec![],
            dotted: vec![],
            operators: vec![],
            casts: false,
            only: vec![],
            changes: vec![],
            has_where: None,
            kinds: vec![StatementKind::Unknown],
            mentions: Mentions { columns: vec![], every_column: true },
            targets: None,
            setting: None,
            prepared_name: None,
            inner: None,
            session: None,
            copy: None,
            unknown: Some(why),
            fingerprint: String::new(),
        }
    }

    /// What `SET name = value` is.
    pub fn setting(name: &str, value: &str) -> Self {
        let text = format!("SET {name} = '{}'", value.replace('\'', "''"));
        Self {
            kind: StatementKind::Session,
            kinds: vec![StatementKind::Session],
            tag: "SET".into(),
            mentions: Mentions::default(),
            setting: Some((name.to_ascii_lowercase(), Some(value.into()))),
            unknown: None,
            ..Self::unknown(text.into(), Unknown::TooDeep)
        }
    }

    /// May change data, definitions, rights or settings outside this session.
    pub fn is_write(&self) -> bool {
        use StatementKind as K;
        self.kinds.iter().any(|kind| {
            !matches!(
                kind,
                K::Empty
                    | K::Select
                    | K::Explain
                    | K::Show
                    | K::Cursor
                    | K::CopyOut
                    | K::Transaction
                    | K::Session
                    | K::Prepare
                    | K::Deallocate
                    | K::Notify
            )
        })
    }
}
