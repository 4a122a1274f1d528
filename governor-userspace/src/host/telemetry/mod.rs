//! What governor tells its operators: metrics and log lines.

mod build;
mod children;
pub mod labels;
pub mod log;
pub mod metrics;
mod process;
pub mod table;

pub use build::MetricsError;
pub use labels::ClockStep;
pub use labels::{
    CancelResult, Closed, DirectAction, Direction, NamespaceFailure, NamespaceFound, OpenOutcome,
    RefusedReason, RevealOutcome,
};
pub use metrics::{KernelCounters, Metrics};
