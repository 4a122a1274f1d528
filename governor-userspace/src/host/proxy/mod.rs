//! Accepts captured connections and relays them through the session machine.
//!
//! ```text
//! door ─ accept ─▶ workers (one thread each) ─▶ relay: one task per connection
//!                                                     │ leg (client)  leg (database)
//!                                                     ├ handshake: TLS on both legs (`host/tls`)
//!                                                     ├ hello: who a client on another host is (`host/peers`)
//!                                                     └ ledger · approvals · cancel registry
//! ```
//!
//! A connection stays on one thread for its whole life: no hop between threads on any statement.

mod account;
mod arrival;
mod cancel;
mod handshake;
mod hello;
mod inbound;
mod keepalive;
mod leg;
mod listener;
mod observe;
mod relay;
mod retries;
mod socket;
mod sources;
mod stream;
mod upstream;
mod worker;

pub use arrival::Door;
pub use cancel::{CancelRegistry, Elsewhere};
pub use hello::OwnQuestions;
pub use inbound::{Ask, Inbound, InboundPorts};
pub use listener::{Doors, ListenError, Listener, OpenDoor, bind, serve};
pub use retries::Retries;
pub use sources::Sources;
pub use worker::{Drain, Shared, Workers};

use crate::engine::session::TlsMode;

/// What is done with a captured port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortRule {
    pub port: u16,
    pub tls: TlsMode,
}
