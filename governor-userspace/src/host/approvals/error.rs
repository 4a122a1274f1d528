//! What can go wrong with a hold, and whose turn it is then.

use super::entry::answer_word;
use crate::engine::approval::Answer;
use std::io;
use std::path::PathBuf;

/// The directory of requests cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("approvals in {}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
}

/// Why a statement cannot wait. It must be refused then.
#[derive(Debug, thiserror::Error)]
pub enum SubmitError {
    #[error("{limit} statements wait for approval already; nothing more can be held")]
    Full { limit: usize },
    #[error("approval id {id:?} is not one that this store made, or is taken")]
    BadId { id: String },
    #[error("no random id could be made")]
    NoId,
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why an answer was not taken.
#[derive(Debug, thiserror::Error)]
pub enum AnswerError {
    #[error("there is no approval request {id}")]
    Unknown { id: String },
    #[error("{id} has ended already: {}", describe(answer))]
    Ended { id: String, answer: Answer },
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why what a person typed names no single request.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum LookupError {
    #[error("no approval request begins with {0:?}")]
    Unknown(String),
    #[error("{typed:?} could be any of {}", candidates.join(", "))]
    Ambiguous { typed: String, candidates: Vec<String> },
}

fn describe(answer: &Answer) -> String {
    match answer {
        Answer::Granted { by, .. } | Answer::Refused { by, .. } => format!("{} by {by}", answer_word(answer)),
        Answer::Lost { reason } => format!("lost ({reason})"),
        Answer::Expired | Answer::Cancelled => answer_word(answer).into(),
    }
}
