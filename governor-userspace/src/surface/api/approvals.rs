//! `/v1/approvals`: list, show, approve, refuse.

use super::error::{ApiError, blocking};
use super::peer::Peer;
use crate::app::handle::Handle;
use crate::host::approvals::{Approval, StateFilter};
use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::{Extension, Json};
use serde::{Deserialize, Serialize};

/// `?state=pending|ended|all&limit=N`
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct ListQuery {
    state: StateFilter,
    limit: Option<usize>,
}

/// Requests that wait come first, then the newest ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ApprovalList {
    pub approvals: Vec<Approval>,
}

/// The body of approve and refuse.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NoteBody {
    /// Kept in the record, and shown to the client whose statement is refused.
    pub note: String,
}

pub(super) async fn list(
    State(handle): State<Handle>,
    query: Result<Query<ListQuery>, QueryRejection>,
) -> Result<Json<ApprovalList>, ApiError> {
    let Query(query) = query?;
    let limit = query.limit.unwrap_or(LIST_DEFAULT).min(LIST_MAX);
    let approvals = blocking(move || handle.approvals().list(query.state, limit)).await?;
    Ok(Json(ApprovalList { approvals }))
}

/// The id may be shortened as long as it names one request.
pub(super) async fn show(
    State(handle): State<Handle>,
    Path(typed): Path<String>,
) -> Result<Json<Approval>, ApiError> {
    let found = blocking(move || {
        let id = handle.approvals().resolve(&typed)?;
        handle.approvals().get(&id).ok_or(crate::host::approvals::LookupError::Unknown(id))
    });
    Ok(Json(found.await??))
}

pub(super) async fn approve(
    State(handle): State<Handle>,
    Extension(peer): Extension<Peer>,
    Path(id): Path<String>,
    body: Note,
) -> Result<Json<Approval>, ApiError> {
    decide(handle, peer, id, true, body).await
}

pub(super) async fn refuse(
    State(handle): State<Handle>,
    Extension(peer): Extension<Peer>,
    Path(id): Path<String>,
    body: Note,
) -> Result<Json<Approval>, ApiError> {
    decide(handle, peer, id, false, body).await
}

/// Takes exact ids only: what a person approves is what they saw.
async fn decide(
    handle: Handle,
    peer: Peer,
    id: String,
    grant: bool,
    body: Note,
) -> Result<Json<Approval>, ApiError> {
    let note = body?.map(|Json(body)| body.note).unwrap_or_default();
    let decided = blocking(move || handle.decide(&id, &peer.approver(), grant, note)).await?;
    Ok(Json(decided?))
}

/// No body at all is an empty note.
type Note = Result<Option<Json<NoteBody>>, JsonRejection>;

const LIST_DEFAULT: usize = 100;
const LIST_MAX: usize = 1000;
