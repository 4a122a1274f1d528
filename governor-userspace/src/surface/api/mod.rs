//! The HTTP API: control socket, metrics and health. One file per resource.
//!
//! Two listeners, two audiences. The control socket (a Unix socket in the state directory) knows its
//! callers by the kernel's peer credentials and takes answers and commands. The telemetry address (TCP)
//! is for scrapers and load balancers and only tells.

mod approvals;
mod break_glass;
mod control;
mod data;
mod error;
mod faces;
mod masking;
mod peer;
mod peers;
mod policy;
mod serve;
mod socket;
mod telemetry;
mod upgrade;

pub use approvals::{ApprovalList, NoteBody};
pub use break_glass::GlassBody;
pub use control::serve_control;
pub use data::DataList;
pub use error::ErrorBody;
pub use faces::Api;
pub use masking::{KeyList, RevealBody};
pub use peer::Peer;
pub use socket::{ControlSocket, SocketError};
pub use telemetry::{BindError, METRICS_ADDRESS_FILE, TelemetryListener, serve_telemetry};
pub use upgrade::UpgradeStarted;

#[cfg(test)]
mod tests;
