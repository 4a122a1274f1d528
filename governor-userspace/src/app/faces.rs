//! How the agent shows itself, as the app sees it: `surface` implements this, and `app` never names it.

use super::handle::Handle;
use std::net::SocketAddr;
use std::path::Path;

/// The control socket, the metrics endpoint and what may come.
pub trait Faces {
    /// Takes the places where they will answer; nothing answers yet. Fails where another agent has
    /// them already, naming it. `metrics` is `None` where no metrics are wanted.
    fn open(&self, state_dir: &Path, metrics: Option<SocketAddr>) -> anyhow::Result<Box<dyn OpenFaces>>;
}

/// Faces that have their places.
pub trait OpenFaces {
    /// Answers from now on, in tasks of the current tokio runtime.
    fn serve(self: Box<Self>, handle: &Handle);
}
