//! What a caller reads when something did not work: `{"error": …, "hint": …}`.

use crate::app::handle::DecideError;
use crate::host::approvals::{AnswerError, LookupError};
use axum::Json;
use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};

/// The body of every answer that is not a success.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    pub error: String,
    /// The way out; empty where there is none.
    #[serde(default)]
    pub hint: String,
}

#[derive(Debug)]
pub(super) struct ApiError {
    pub status: StatusCode,
    pub body: ErrorBody,
}

impl ApiError {
    pub(super) fn new(status: StatusCode, error: impl ToString, hint: &str) -> Self {
        Self { status, body: ErrorBody { error: error.to_string(), hint: hint.into() } }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        (self.status, Json(self.body)).into_response()
    }
}

impl From<DecideError> for ApiError {
    fn from(error: DecideError) -> Self {
        let (status, hint) = match &error {
            DecideError::NotAllowed(_) => (
                StatusCode::FORBIDDEN,
                "members of the group, and root, may answer; [approvers] in the configuration lists them",
            ),
            DecideError::Answer(AnswerError::Unknown { .. }) => {
                (StatusCode::NOT_FOUND, "governor approvals list --all shows every request")
            }
            DecideError::Answer(AnswerError::Ended { .. }) => (StatusCode::CONFLICT, ""),
            DecideError::Answer(AnswerError::Store(_)) => (
                StatusCode::INTERNAL_SERVER_ERROR,
                "the answer was not given: nothing that is not on disk counts",
            ),
        };
        Self::new(status, &error, hint)
    }
}

impl From<LookupError> for ApiError {
    fn from(error: LookupError) -> Self {
        let (status, hint) = match &error {
            LookupError::Unknown(_) => {
                (StatusCode::NOT_FOUND, "governor approvals list --all shows every request")
            }
            LookupError::Ambiguous { .. } => (StatusCode::CONFLICT, "type more of the id"),
        };
        Self::new(status, &error, hint)
    }
}

impl From<QueryRejection> for ApiError {
    fn from(rejection: QueryRejection) -> Self {
        Self::new(rejection.status(), rejection.body_text(), "")
    }
}

impl From<JsonRejection> for ApiError {
    fn from(rejection: JsonRejection) -> Self {
        Self::new(rejection.status(), rejection.body_text(), "the body is {\"note\": \"…\"}, or empty")
    }
}

/// Runs blocking work (disk, user database) off the runtime's threads.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, ApiError> {
    tokio::task::spawn_blocking(work).await.map_err(|_| {
        ApiError::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "the request could not be completed",
            "see the agent's log",
        )
    })
}
