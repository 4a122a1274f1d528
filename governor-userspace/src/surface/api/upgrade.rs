//! `/v1/upgrade`.

use super::error::{ApiError, blocking};
use super::peer::Peer;
use crate::app::handle::Handle;
use axum::extract::State;
use axum::http::StatusCode;
use axum::{Extension, Json};
use serde::{Deserialize, Serialize};

/// The new agent, which is not there yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpgradeStarted {
    pub pid: u32,
}

/// Answers when the new agent was started: it takes this socket over when it is ready.
pub(super) async fn start(
    State(handle): State<Handle>,
    Extension(peer): Extension<Peer>,
) -> Result<Json<UpgradeStarted>, ApiError> {
    if !peer.is_administrator() {
        return Err(ApiError::new(
            StatusCode::FORBIDDEN,
            "only root may upgrade the agent",
            "run it with sudo",
        ));
    }
    match blocking(move || handle.upgrade()).await? {
        Ok(pid) => Ok(Json(UpgradeStarted { pid })),
        Err(reason) => Err(ApiError::new(StatusCode::CONFLICT, reason, "the agent goes on as it is")),
    }
}
