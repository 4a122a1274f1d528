//! `/v1/data`: GET lists columns, POST says something about one.

use super::error::{ApiError, blocking};
use super::peer::Peer;
use crate::app::handle::Handle;
use crate::host::discovery::{DataAsk, DataColumn, DataError, DataFilter};
use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::{Extension, Json};
use serde::{Deserialize, Serialize};

/// Sorted by server, database and name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataList {
    pub columns: Vec<DataColumn>,
}

/// Changes nothing and shows no value, so everybody who may speak to the socket may ask.
pub(super) async fn list(
    State(handle): State<Handle>,
    filter: Result<Query<DataFilter>, QueryRejection>,
) -> Result<Json<DataList>, ApiError> {
    let Query(filter) = filter?;
    let columns = blocking(move || handle.data(&filter)).await??;
    Ok(Json(DataList { columns }))
}

pub(super) async fn say(
    State(handle): State<Handle>,
    Extension(peer): Extension<Peer>,
    ask: Result<Json<DataAsk>, JsonRejection>,
) -> Result<Json<DataColumn>, ApiError> {
    let Json(ask) = ask?;
    Ok(Json(blocking(move || handle.say_of_data(&peer.approver(), peer.pid, peer.gid, &ask)).await??))
}

impl From<DataError> for ApiError {
    fn from(error: DataError) -> Self {
        let (status, hint) = match &error {
            DataError::NotMember { .. } => {
                (StatusCode::FORBIDDEN, "root may, and who approvals.groups.data in the configuration lists")
            }
            DataError::AnAgent { .. } => (StatusCode::FORBIDDEN, "ask a person to do it"),
            DataError::Unknown { .. } => (
                StatusCode::NOT_FOUND,
                "known are columns that `governor data list --all` shows, and those of databases that a person or an \
                 agent connected to since the start; [[masking.columns]] labels any",
            ),
            DataError::Ambiguous { .. } => (StatusCode::CONFLICT, "say which with --database or --server"),
            DataError::NotAColumn(_) | DataError::NoReason => (StatusCode::BAD_REQUEST, ""),
            DataError::NoCategory { .. } => {
                (StatusCode::BAD_REQUEST, "`governor data label --help` has the categories")
            }
            DataError::NothingFound(_) => (StatusCode::CONFLICT, ""),
            DataError::Audit(_) | DataError::NotKept(_) | DataError::NotServed => {
                (StatusCode::INTERNAL_SERVER_ERROR, "")
            }
        };
        Self::new(status, &error, hint)
    }
}
