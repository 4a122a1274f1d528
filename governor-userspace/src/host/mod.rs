//! Effects. Each module owns one outside thing.

pub mod approvals;
pub mod clock;
pub mod completeness;
pub mod config;
pub mod discovery;
pub mod glass;
pub mod handover;
pub mod identity;
pub mod inbound;
pub mod kernel;
pub mod ledger;
pub mod life;
pub mod masking;
pub mod namespaces;
pub mod peers;
pub mod policy;
pub mod ports;
pub mod privileges;
pub mod proxy;
pub mod sockdiag;
pub mod telemetry;
pub mod tls;
pub mod unix;
