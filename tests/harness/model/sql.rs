//! The few statements that the model knows. Every other text is a syntax error to it.
//!
//! They need the tables of [`SCHEMA`], and what they answer does not depend on what ran before.

/// One statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sql {
    One,
    Five,
    People,
    Insert,
    Update,
    Delete,
    Drop,
    FailsAfterTwo,
    Missing,
    CopyIn,
    CopyOut,
    Begin,
    Commit,
    Rollback,
    Prepare,
    Execute,
    Deallocate,
    DeallocateAll,
    Declare,
    Fetch,
}

/// What a statement gives back when it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rows {
    /// Only a command tag.
    None,
    /// So many rows, then the end.
    Count(u64),
    /// So many rows, then an error.
    FailsAfter(u64),
}

impl Sql {
    pub const ALL: [Self; 20] = [
        Self::One,
        Self::Five,
        Self::People,
        Self::Insert,
        Self::Update,
        Self::Delete,
        Self::Drop,
        Self::FailsAfterTwo,
        Self::Missing,
        Self::CopyIn,
        Self::CopyOut,
        Self::Begin,
        Self::Commit,
        Self::Rollback,
        Self::Prepare,
        Self::Execute,
        Self::Deallocate,
        Self::DeallocateAll,
        Self::Declare,
        Self::Fetch,
    ];

    pub fn text(self) -> &'static str {
        match self {
            Self::One => "SELECT 1 AS one",
            Self::Five => "SELECT n FROM generate_series(1, 5) AS n",
            Self::People => "SELECT id, email FROM people WHERE id < 3 ORDER BY id",
            Self::Insert => "INSERT INTO notes VALUES (1, 'x')",
            Self::Update => "UPDATE notes SET note = 'y' WHERE id = -1",
            Self::Delete => "DELETE FROM notes WHERE id = -1",
            Self::Drop => "DROP TABLE IF EXISTS zz_forbidden",
            Self::FailsAfterTwo => "SELECT 1 / (3 - n) FROM generate_series(1, 5) AS n",
            Self::Missing => "SELECT * FROM zz_missing",
            Self::CopyIn => "COPY notes FROM STDIN",
            Self::CopyOut => "COPY (SELECT n FROM generate_series(1, 2) AS n) TO STDOUT",
            Self::Begin => "BEGIN",
            Self::Commit => "COMMIT",
            Self::Rollback => "ROLLBACK",
            Self::Prepare => "PREPARE q AS SELECT n FROM generate_series(1, 5) AS n",
            Self::Execute => "EXECUTE q",
            Self::Deallocate => "DEALLOCATE q",
            Self::DeallocateAll => "DEALLOCATE ALL",
            Self::Declare => "DECLARE c CURSOR FOR SELECT n FROM generate_series(1, 5) AS n",
            Self::Fetch => "FETCH 2 FROM c",
        }
    }

    /// Statements of a text; `None` where the server's grammar refuses it.
    pub fn parse(text: &str) -> Option<Vec<Self>> {
        text.split(';')
            .map(str::trim)
            .filter(|part| !part.is_empty())
            .map(|part| Self::ALL.into_iter().find(|sql| sql.text() == part))
            .collect()
    }

    /// What a query gives, EXECUTE and FETCH apart: theirs is what their name means.
    pub fn rows(self) -> Rows {
        match self {
            Self::One => Rows::Count(1),
            Self::Five => Rows::Count(5),
            Self::People => Rows::Count(2),
            Self::FailsAfterTwo => Rows::FailsAfter(2),
            _ => Rows::None,
        }
    }

    /// May run in a failed transaction.
    pub fn ends_transaction(self) -> bool {
        matches!(self, Self::Commit | Self::Rollback)
    }

    /// The command tag without counts.
    pub fn tag(self) -> &'static str {
        match self {
            Self::One | Self::Five | Self::People | Self::FailsAfterTwo | Self::Missing | Self::Execute => {
                "SELECT"
            }
            Self::Insert => "INSERT 0 1",
            Self::Update => "UPDATE 0",
            Self::Delete => "DELETE 0",
            Self::Drop => "DROP TABLE",
            Self::CopyIn | Self::CopyOut => "COPY",
            Self::Begin => "BEGIN",
            Self::Commit => "COMMIT",
            Self::Rollback => "ROLLBACK",
            Self::Prepare => "PREPARE",
            Self::Deallocate => "DEALLOCATE",
            Self::DeallocateAll => "DEALLOCATE ALL",
            Self::Declare => "DECLARE CURSOR",
            Self::Fetch => "FETCH",
        }
    }
}

/// No statement of a kind that runs: the server refuses it while it reads it.
pub const WRONG: &str = "SELEC 1";
/// A row of COPY data that the server refuses.
pub const BAD_ROW: &[u8] = b"bad\trow\n";
pub const GOOD_ROW: &[u8] = b"1\tx\n";
/// A function that FunctionCall may name: `int4abs(int4)`, built in under this number.
pub const FUNCTION_OID: u32 = 1251;

/// The tables that the statements use, for a real server.
pub const SCHEMA: &str = "DROP TABLE IF EXISTS people, notes; \
    CREATE TABLE people (id int, email text, note text); \
    INSERT INTO people VALUES (1, 'louis@example.com', 'a'), (2, 'anna@example.org', 'b'); \
    CREATE TABLE notes (id int, note text)";
