//! Unix sockets of servers on this host: taken over by their paths, so that clients meet governor.
//!
//! No hook is needed: whoever connects to the path reaches governor's own socket, and the kernel says who that is. The
//! server's own socket is set aside, for governor only, and reached by its inode with the client's user and group, so that
//! the server's `peer` authentication goes on as before. `docs/unix-sockets.md` has the whole of it.
//!
//! ```text
//! client ─▶ DIR/.s.PGSQL.5432 (governor) ─▶ peer: who ─▶ session ─▶ run_as: as the client ─▶ the server's inode
//!              place: one step of taking it · keeper: again whenever the server starts · journal: after a crash
//! ```

mod error;
mod inode;
mod journal;
mod keeper;
mod names;
mod peer;
mod place;
mod run_as;
mod server;

pub use error::UnixError;
pub use keeper::{Capture, Event, Keeper, Servers, release, taken};
pub use names::abstract_servers;
pub use peer::Peer;
pub use run_as::Ids;
pub use server::Server;
