//! `/v1/reveal` turns tokens back into values; `/v1/keys` lists masking keys by name, POST rotates them.

use super::error::{ApiError, blocking};
use super::peer::Peer;
use crate::app::handle::Handle;
use crate::host::masking::{KeyInfo, RevealAnswer, RevealError, RevealRequest, RotateError};
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use axum::http::StatusCode;
use axum::{Extension, Json};
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RevealBody {
    pub reason: String,
    pub tokens: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyList {
    pub keys: Vec<KeyInfo>,
}

pub(super) async fn reveal(
    State(handle): State<Handle>,
    Extension(peer): Extension<Peer>,
    body: Result<Json<RevealBody>, JsonRejection>,
) -> Result<Json<RevealAnswer>, ApiError> {
    let Json(body) = body?;
    let request = RevealRequest { reason: body.reason, tokens: body.tokens };
    Ok(Json(blocking(move || handle.reveal(&peer.approver(), peer.pid, peer.gid, &request)).await??))
}

/// Names and times only, so everybody who may speak to the socket may ask.
pub(super) async fn keys(State(handle): State<Handle>) -> Result<Json<KeyList>, ApiError> {
    Ok(Json(KeyList { keys: blocking(move || handle.masking_keys()).await? }))
}

pub(super) async fn rotate(
    State(handle): State<Handle>,
    Extension(peer): Extension<Peer>,
) -> Result<Json<KeyInfo>, ApiError> {
    if !peer.is_administrator() {
        return Err(ApiError::new(StatusCode::FORBIDDEN, "only root may rotate keys", "run it with sudo"));
    }
    Ok(Json(blocking(move || handle.rotate_masking_key(peer.pid, peer.uid, peer.gid)).await??))
}

impl From<RevealError> for ApiError {
    fn from(error: RevealError) -> Self {
        let (status, hint) = match &error {
            RevealError::NotMember { .. } => {
                (StatusCode::FORBIDDEN, "approvals.groups.reveal in the configuration lists who may")
            }
            RevealError::NotAPerson { .. } => (StatusCode::FORBIDDEN, "ask a person to do it"),
            RevealError::NoReason | RevealError::Count => (StatusCode::BAD_REQUEST, ""),
            RevealError::Token { .. } => {
                (StatusCode::UNPROCESSABLE_ENTITY, "nothing was revealed; governor keys list names the keys")
            }
            RevealError::Audit(_) | RevealError::NotServed => (StatusCode::INTERNAL_SERVER_ERROR, ""),
        };
        Self::new(status, &error, hint)
    }
}

impl From<RotateError> for ApiError {
    fn from(error: RotateError) -> Self {
        let status = match &error {
            RotateError::Keys(_) => StatusCode::UNPROCESSABLE_ENTITY,
            RotateError::Audit { .. } | RotateError::NotServed => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self::new(status, &error, "")
    }
}
