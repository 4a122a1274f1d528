//! `/v1/policy/…`.

use super::error::{ApiError, blocking};
use super::peer::Peer;
use crate::app::handle::{Handle, PolicyReload};
use crate::engine::session::explain::{Explanation, Question};
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use axum::http::StatusCode;
use axum::{Extension, Json};

pub(super) async fn reload(
    State(handle): State<Handle>,
    Extension(peer): Extension<Peer>,
) -> Result<Json<PolicyReload>, ApiError> {
    if !peer.is_administrator() {
        return Err(ApiError::new(StatusCode::FORBIDDEN, "only root may reload policy", "run it with sudo"));
    }
    match blocking(move || handle.reload_policy()).await? {
        Ok(reload) => Ok(Json(reload)),
        Err(reason) => Err(ApiError::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            reason,
            "the policy set before stays in force; governor policy check shows all errors",
        )),
    }
}

/// Changes nothing, so everybody who may speak to the socket may ask.
pub(super) async fn explain(
    State(handle): State<Handle>,
    question: Result<Json<Question>, JsonRejection>,
) -> Result<Json<Explanation>, ApiError> {
    let Json(question) = question?;
    blocking(move || handle.explain(&question))
        .await?
        .map(Json)
        .map_err(|reason| ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, reason, ""))
}
