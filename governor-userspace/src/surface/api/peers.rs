//! `/v1/peers/…`.

use super::error::{ApiError, blocking};
use super::peer::Peer;
use crate::app::handle::{Handle, PeersReload};
use axum::extract::State;
use axum::http::StatusCode;
use axum::{Extension, Json};

pub(super) async fn reload(
    State(handle): State<Handle>,
    Extension(peer): Extension<Peer>,
) -> Result<Json<PeersReload>, ApiError> {
    if !peer.is_administrator() {
        return Err(ApiError::new(
            StatusCode::FORBIDDEN,
            "only root may have peers read again",
            "run it with sudo",
        ));
    }
    blocking(move || handle.reload_peers()).await?.map(Json).map_err(|reason| {
        let hint = "keys and peers before stay in force; mend the file and try again";
        ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, reason, hint)
    })
}
