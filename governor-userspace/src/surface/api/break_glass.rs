//! `/v1/break-glass`: POST breaks it for the caller's own login, DELETE ends that.

use super::error::{ApiError, blocking};
use super::peer::Peer;
use crate::app::handle::Handle;
use crate::host::glass::{GlassAnswer, GlassError, GlassRequest};
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use axum::http::StatusCode;
use axum::{Extension, Json};
use serde::{Deserialize, Serialize};
use std::time::Duration;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GlassBody {
    pub reason: String,
    pub seconds: u64,
}

pub(super) async fn shatter(
    State(handle): State<Handle>,
    Extension(peer): Extension<Peer>,
    body: Result<Json<GlassBody>, JsonRejection>,
) -> Result<Json<GlassAnswer>, ApiError> {
    let Json(body) = body?;
    let request = GlassRequest { reason: body.reason, time: Duration::from_secs(body.seconds) };
    Ok(Json(blocking(move || handle.break_glass(&peer.approver(), peer.pid, peer.gid, request)).await??))
}

pub(super) async fn mend(
    State(handle): State<Handle>,
    Extension(peer): Extension<Peer>,
) -> Result<Json<GlassAnswer>, ApiError> {
    Ok(Json(blocking(move || handle.mend_glass(peer.pid, peer.uid, peer.gid)).await??))
}

impl From<GlassError> for ApiError {
    fn from(error: GlassError) -> Self {
        let (status, hint) = match &error {
            GlassError::NotMember { .. } => {
                (StatusCode::FORBIDDEN, "approvals.groups.break_glass in the configuration lists who may")
            }
            GlassError::NotAPerson { .. } => (StatusCode::FORBIDDEN, "ask a person to do it"),
            GlassError::NoReason | GlassError::Time => (StatusCode::BAD_REQUEST, ""),
            GlassError::Whole { .. } => (StatusCode::NOT_FOUND, ""),
            GlassError::Audit(_) | GlassError::NotServed => (StatusCode::INTERNAL_SERVER_ERROR, ""),
        };
        Self::new(status, &error, hint)
    }
}
