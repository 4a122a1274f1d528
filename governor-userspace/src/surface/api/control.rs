//! The control socket's routes.

use super::error::{ApiError, blocking};
use super::serve::{self, Limits};
use super::socket::ControlSocket;
use super::{approvals, break_glass, data, masking, peers, policy, upgrade};
use crate::app::handle::{Handle, Status};
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{StatusCode, Uri};
use axum::routing::{get, post};
use axum::{Json, Router};
use std::time::Duration;

/// Serves the control socket until the future is dropped. Removes the socket then.
pub async fn serve_control(socket: ControlSocket, handle: Handle) -> std::io::Result<()> {
    let listener = socket.listener()?;
    let router = router(handle);
    let limits = Limits { connections_max: 64, request_timeout: Duration::from_secs(30) };
    serve::accept_loop(limits, router, listener).await
}

fn router(handle: Handle) -> Router {
    Router::new()
        .route("/v1/status", get(status))
        .route("/v1/approvals", get(approvals::list))
        .route("/v1/approvals/{id}", get(approvals::show))
        .route("/v1/approvals/{id}/approve", post(approvals::approve))
        .route("/v1/approvals/{id}/refuse", post(approvals::refuse))
        .route("/v1/break-glass", post(break_glass::shatter).delete(break_glass::mend))
        .route("/v1/reveal", post(masking::reveal).layer(DefaultBodyLimit::max(SQL_BODY_BYTES_MAX)))
        .route("/v1/keys", get(masking::keys).post(masking::rotate))
        .route("/v1/data", get(data::list).post(data::say))
        .route("/v1/upgrade", post(upgrade::start))
        .route("/v1/peers/reload", post(peers::reload))
        .route("/v1/policy/reload", post(policy::reload))
        .route("/v1/policy/explain", post(policy::explain).layer(DefaultBodyLimit::max(SQL_BODY_BYTES_MAX)))
        .fallback(no_route)
        .method_not_allowed_fallback(no_method)
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(handle)
}

async fn status(State(handle): State<Handle>) -> Result<Json<Status>, ApiError> {
    Ok(Json(blocking(move || handle.status()).await?))
}

async fn no_route(uri: Uri) -> ApiError {
    ApiError::new(
        StatusCode::NOT_FOUND,
        format!("there is no {}", uri.path()),
        "the command and the agent may be of different versions",
    )
}

async fn no_method(uri: Uri) -> ApiError {
    ApiError::new(StatusCode::METHOD_NOT_ALLOWED, format!("{} is not used this way", uri.path()), "")
}

/// A note is the largest thing that anybody sends, but for SQL that is to be explained and tokens.
const BODY_BYTES_MAX: usize = 16 << 10;
const SQL_BODY_BYTES_MAX: usize = 64 << 10;
