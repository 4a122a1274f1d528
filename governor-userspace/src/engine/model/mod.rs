//! Nouns that every part of the engine shares.

mod answer;
mod category;
mod decision;
mod endpoint;
mod principal;
mod relation;
mod statement;
mod time;
mod tls;

pub use answer::Answer;
pub use category::Category;
pub use decision::{Decision, DecisionId, Hold, MaskStyle, Obligations, Reason, Verdict};
pub use endpoint::{Claims, Endpoint, SessionId};
pub use principal::{Ancestor, Class, Principal};
pub use relation::{ColumnName, RelationName};
pub use statement::{FunctionName, Mentions, Statement, StatementKind, Target, Unknown};
pub use time::Timestamp;
pub use tls::{PeerCertificate, ShownCertificate, TlsSession, UpstreamTls};
