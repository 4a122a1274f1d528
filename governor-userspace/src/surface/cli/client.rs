//! Speaks to the running agent: HTTP over the control socket.

use crate::surface::api::ErrorBody;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use nix::sys::signal::{SigHandler, Signal, signal};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::net::UnixStream;

/// Why the agent gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error(
        "no governor is running here (nobody answers at {})\n  start one:  sudo governor run --state-dir {}\n  \
         or name another instance with --state-dir",
        socket.display(), socket.parent().unwrap_or(Path::new(".")).display()
    )]
    NotRunning { socket: PathBuf },
    #[error("you may not speak to the governor at {}\n  run this with sudo, or become a member of the socket's group", socket.display())]
    NotAllowed { socket: PathBuf },
    #[error("{}{}", .0.error, hint(&.0.hint))]
    Refused(ErrorBody, StatusCode),
    #[error("the agent at {} did not answer within {} s", socket.display(), TIMEOUT.as_secs())]
    Timeout { socket: PathBuf },
    #[error("the agent at {} gave an answer that this command does not understand: {reason}", socket.display())]
    Broken { socket: PathBuf, reason: String },
}

/// One agent's control socket.
#[derive(Clone, Debug)]
pub struct Client {
    socket: PathBuf,
}

impl Client {
    pub fn new(socket: PathBuf) -> Self {
        Self { socket }
    }

    pub fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        self.call(Method::GET, path, Bytes::new())
    }

    pub fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, ClientError> {
        let body = serde_json::to_vec(body).map_err(|error| self.broken(error))?;
        self.call(Method::POST, path, body.into())
    }

    pub fn delete<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        self.call(Method::DELETE, path, Bytes::new())
    }

    fn call<T: DeserializeOwned>(&self, method: Method, path: &str, body: Bytes) -> Result<T, ClientError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| self.broken(error))?;
        let exchange = async {
            tokio::time::timeout(TIMEOUT, self.exchange(method, path, body))
                .await
                .unwrap_or_else(|_| Err(ClientError::Timeout { socket: self.socket.clone() }))
        };
        let hears_errors = WritesFail::begin();
        let result = runtime.block_on(exchange);
        drop(hears_errors);
        let (status, body) = result?;
        if status.is_success() {
            return serde_json::from_slice(&body).map_err(|error| self.broken(error));
        }
        match serde_json::from_slice(&body) {
            Ok(refusal) => Err(ClientError::Refused(refusal, status)),
            Err(_) => Err(self.broken(status)),
        }
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<(StatusCode, Bytes), ClientError> {
        let stream = UnixStream::connect(&self.socket).await.map_err(|error| match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
                ClientError::NotRunning { socket: self.socket.clone() }
            }
            io::ErrorKind::PermissionDenied => ClientError::NotAllowed { socket: self.socket.clone() },
            _ => self.broken(error),
        })?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|e| self.broken(e))?;
        tokio::spawn(connection);
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "governor")
            .header("content-type", "application/json")
            .header("connection", "close")
            .body(Full::new(body))
            .map_err(|error| self.broken(error))?;
        let response = sender.send_request(request).await.map_err(|error| self.broken(error))?;
        let status = response.status();
        let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
        let body = body.map_err(|error| ClientError::Broken {
            socket: self.socket.clone(),
            reason: error.to_string(),
        })?;
        Ok((status, body.to_bytes()))
    }

    fn broken(&self, reason: impl ToString) -> ClientError {
        ClientError::Broken { socket: self.socket.clone(), reason: reason.to_string() }
    }
}

/// While this lives, writing to an agent that is gone is an error and not the end of this program: as an agent hands its place
/// over, the one that was asked may be. Elsewhere a verb ends with its reader (`cli::main`).
struct WritesFail(Option<SigHandler>);

impl WritesFail {
    fn begin() -> Self {
        // SAFETY: to ignore a signal is no handler of ours, so nothing can run in a signal context.
        Self(unsafe { signal(Signal::SIGPIPE, SigHandler::SigIgn) }.ok())
    }
}

impl Drop for WritesFail {
    fn drop(&mut self) {
        if let Some(before) = self.0 {
            // SAFETY: what was in force before this, which is one of the two that are no handlers.
            let _ = unsafe { signal(Signal::SIGPIPE, before) };
        }
    }
}

fn hint(hint: &str) -> String {
    if hint.is_empty() { String::new() } else { format!("\n  {hint}") }
}

const TIMEOUT: Duration = Duration::from_secs(35);
const ANSWER_BYTES_MAX: usize = 256 << 20;
