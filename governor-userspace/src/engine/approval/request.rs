//! An approval request and its life: pending → granted | refused | expired | cancelled | lost.

use crate::engine::model::{
    Answer, Claims, DecisionId, Endpoint, Principal, Reason, SessionId, Statement, Timestamp,
};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Everything a person needs to decide on a held statement.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ApprovalRequest {
    /// Short, unique on this host, easy to type.
    pub id: String,
    pub session: SessionId,
    pub decision: DecisionId,
    pub created: Timestamp,
    /// Never later than the configured limit after `created`.
    pub expires: Timestamp,
    /// The group whose members may answer.
    pub approvers: String,
    pub principal: Principal,
    pub claims: Claims,
    pub destination: Endpoint,
    /// The held statements, in order; more than one for a multi-statement simple query.
    pub statements: Vec<Statement>,
    /// Bound values, masked as in records.
    pub parameters: Arc<[Option<String>]>,
    pub reasons: Arc<[Reason]>,
    /// The server's transaction state when it was held: `idle`, `transaction`, `failed`.
    pub transaction: String,
}

/// Where a request is in its life.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum State {
    Pending,
    Ended { at: Timestamp, answer: Answer },
}
