//! The one face of every SQL grammar.

use crate::engine::model::Statement;

/// The commands of one query text, in order; never empty (a blank text gives one `Empty` statement).
///
/// Where the text cannot be understood as a whole, it is one statement with
/// [`Statement::unknown`] set: nothing is guessed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Script {
    pub statements: Vec<Statement>,
}

/// A database's own reading of SQL text. Pure: the same text gives the same facts.
pub trait SqlDialect: Send + Sync + std::fmt::Debug {
    /// Facts of every command in `text`. Never panics, bounded in time and stack for any input.
    fn script(&self, text: &str) -> Script;
}
