//! Nouns that every part of the engine shares.

mod answer;
mod catalogue;
mod category;
mod condition;
mod copy;
mod decision;
mod denial_code;
mod endpoint;
mod hidden;
mod lineage;
mod mask_doubt;
mod pattern;
mod principal;
mod relation;
mod search_path;
mod session_state;
mod side_effects;
mod stamps;
mod statement;
mod time;
mod tls;
mod types;

pub use answer::Answer;
pub use catalogue::{
    Body, Builder as CatalogueBuilder, Catalogue, Column, ColumnId, DatabaseIdentity, FIRST_USER_OID,
    Function, Oid, Relation, RelationKind, Resolved, SystemFunction, Volatility,
};
pub use category::Category;
pub use condition::{ANY_KEY, Clause, Condition, Conditions, Copied, Form};
pub use copy::{CopyFormat, CopyOptions};
pub use decision::{
    Decision, DecisionId, Hold, LimitKind, Limits, MaskStyle, Obligations, Rate, Reason, Verdict,
};
pub use denial_code::DenialCode;
pub use endpoint::{Claims, Endpoint, NetworkNamespace, SessionId};
pub use hidden::HiddenConstants;
pub use lineage::{Doubt, Flow, Lineage, Temporary};
pub use mask_doubt::MaskDoubt;
pub use pattern::wildcard;
pub use principal::{Ancestor, Class, ContainerFacts, PeerAttestation, Principal, RemoteClient};
pub use relation::{ColumnName, RelationName};
pub use search_path::SearchPath;
pub use session_state::{SessionState, Setting, TempObject, TempObjects, TempRows, TempSource};
pub use side_effects::{Cascade, Changing, Rule, SideEffects, Trigger};
pub use stamps::{FunctionStamp, RelationStamp, Stamps};
pub use statement::{
    Change, Cursor, CursorUse, FunctionName, Mentions, SessionEffect, Statement, StatementKind, Target,
    Unknown,
};
pub use time::{Timestamp, rfc3339};
pub use tls::{PeerCertificate, ShownCertificate, TlsSession, UpstreamTls};
pub use types::{RowField, TypeShape, Types};
