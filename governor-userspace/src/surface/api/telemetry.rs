//! `/metrics`, `/healthz`, `/readyz` on a TCP address.

use super::error::{ApiError, blocking};
use super::serve::{self, Limits};
use crate::app::handle::{Handle, Health, Phase};
use crate::host::ports::port_owner;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use std::fs;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::time::Duration;

/// Why the telemetry address cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    #[error(
        "metrics address {address} is taken by {owner}; choose another in the configuration, or 0 for any port"
    )]
    InUse { address: SocketAddr, owner: String },
    #[error("metrics address {address}: {source}")]
    Io { address: SocketAddr, source: io::Error },
}

/// A bound telemetry listener.
#[derive(Debug)]
pub struct TelemetryListener {
    listener: TcpListener,
    address: SocketAddr,
}

impl TelemetryListener {
    /// Binds `address` (port 0: any free one) and writes the real one to
    /// [`METRICS_ADDRESS_FILE`] in `state_dir`.
    pub fn bind(address: SocketAddr, state_dir: &Path) -> Result<Self, BindError> {
        let failed = |source| BindError::Io { address, source };
        let listener = TcpListener::bind(address).map_err(|source| match source.kind() {
            io::ErrorKind::AddrInUse => {
                let owner = port_owner(address.port());
                let owner = owner.map_or_else(|| "another process".into(), |owner| owner.to_string());
                BindError::InUse { address, owner }
            }
            _ => failed(source),
        })?;
        listener.set_nonblocking(true).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        // Renamed into place: whoever waits for the file reads a whole address.
        let file = state_dir.join(METRICS_ADDRESS_FILE);
        let temporary = file.with_extension("addr.new");
        fs::write(&temporary, format!("{address}\n"))
            .and_then(|()| fs::rename(&temporary, &file))
            .map_err(failed)?;
        Ok(Self { listener, address })
    }

    /// The address really bound.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// Serves telemetry until the future is dropped.
pub async fn serve_telemetry(listener: TelemetryListener, handle: Handle) -> io::Result<()> {
    handle.set_metrics_address(listener.address.to_string());
    let tcp = tokio::net::TcpListener::from_std(listener.listener)?;
    let router = Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .with_state(handle);
    let limits = Limits { connections_max: 64, request_timeout: Duration::from_secs(10) };
    serve::accept_loop(limits, router, tcp).await
}

async fn metrics(State(handle): State<Handle>) -> Result<Response, ApiError> {
    let text = blocking(move || handle.exposition()).await?;
    let text = text.map_err(|error| ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, error, ""))?;
    Ok(([(header::CONTENT_TYPE, EXPOSITION_TYPE)], text).into_response())
}

async fn healthz(State(handle): State<Handle>) -> Result<(StatusCode, Json<Health>), ApiError> {
    let health = blocking(move || handle.health()).await?;
    let status = if health.healthy { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    Ok((status, Json(health)))
}

async fn readyz(State(handle): State<Handle>) -> (StatusCode, &'static str) {
    match handle.phase() {
        Phase::Ready => (StatusCode::OK, "ready\n"),
        Phase::Starting => (StatusCode::SERVICE_UNAVAILABLE, "starting\n"),
        Phase::Draining => (StatusCode::SERVICE_UNAVAILABLE, "draining\n"),
    }
}

/// File in the state directory that holds `HOST:PORT`.
pub const METRICS_ADDRESS_FILE: &str = "metrics.addr";
const EXPOSITION_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";
