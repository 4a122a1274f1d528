//! How the agent shows itself, as the app sees it: `surface` implements this, and `app` never names it.

use super::handle::Handle;
use std::net::SocketAddr;
use std::path::Path;

/// Where the faces answer.
#[derive(Clone, Copy, Debug)]
pub struct Places<'a> {
    pub state_dir: &'a Path,
    /// Group of the host that may reach the control socket; `None`: the agent's own.
    pub socket_group: Option<&'a str>,
    /// `None` where no metrics are wanted.
    pub metrics: Option<SocketAddr>,
}

/// The control socket, the metrics endpoint and what may come.
pub trait Faces {
    /// Takes the places where they will answer; nothing answers yet. Fails where another agent has
    /// them already, naming it.
    fn open(&self, places: &Places<'_>) -> anyhow::Result<Box<dyn OpenFaces>>;
}

/// Faces that have their places.
pub trait OpenFaces {
    /// Answers from now on, in tasks of the current tokio runtime.
    fn serve(self: Box<Self>, handle: &Handle) -> Serving;
}

/// Faces that answer, until this is dropped.
#[derive(Debug)]
pub struct Serving(pub tokio::task::JoinSet<()>);

impl Serving {
    /// Leaves their places to another agent: they are free when this returns.
    pub async fn leave(mut self) {
        self.0.shutdown().await;
    }
}
