//! The discovery catalogue beyond one run: kept on disk, spoken of by operators, told to audit, metrics and log.
//!
//! Sessions collect and judge ([`Discovery`](crate::engine::session::Discovery)); here is what outlives them.

mod keeper;
mod lookup;
mod store;

pub use keeper::{DataAsk, DataColumn, DataError, DataFilter, DiscoveryFiles, DiscoveryKeeper};
pub use store::{DiscoveryFile, DiscoveryFileError};

#[cfg(test)]
mod tests;
