//! What can go wrong between the agent and its kernel programs. All are the operator's to mend;
//! none is shown to a client.

use std::io;
use std::path::PathBuf;

#[derive(Debug, thiserror::Error)]
pub enum KernelError {
    /// The kernel said EPERM.
    #[error(
        "not permitted to {action}: missing {missing}; run as root or grant CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON"
    )]
    NotPermitted { action: String, missing: String },
    /// The object cannot be read, or its maps cannot be made.
    #[error("the kernel programs cannot be loaded: {reason}")]
    Object { reason: String },
    /// The verifier or the kernel refused one program.
    #[error("program {program} cannot be loaded: {reason}")]
    Program { program: &'static str, reason: String },
    #[error("program {program} cannot be attached to {}: {reason}", place.display())]
    Attach { program: &'static str, place: PathBuf, reason: String },
    /// The object does not have what this agent expects: they were not built together.
    #[error("map {map} of the kernel programs cannot be used: {reason}")]
    Map { map: &'static str, reason: String },
    #[error("{} is not a directory of the cgroup v2 mount: {reason}", path.display())]
    NotACgroup { path: PathBuf, reason: String },
    #[error(
        "no cgroup v2 mount in /proc/self/mountinfo; mount one: `mount -t cgroup2 none /sys/fs/cgroup/unified`"
    )]
    NoCgroupMount,
    #[error("port {port} has two rules for cgroup {}", cgroup.display())]
    DuplicateRule { port: u16, cgroup: PathBuf },
    #[error("a listener cannot be served: {reason}")]
    Listener { reason: String },
    /// A connection to the agent would be captured by the agent.
    #[error("a listener cannot be served: its port {port} is itself captured; listen on another port")]
    ListenerPortCaptured { port: u16 },
    #[error("pins in {} failed: {reason}", path.display())]
    Pin { path: PathBuf, reason: String },
    /// Something can be taken only once, or in another order.
    #[error("{0}")]
    Order(&'static str),
    #[error("{action}: {source}")]
    System { action: &'static str, source: io::Error },
}

/// The error with everything below it, on one line: aya keeps the errno in the source.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        let part = source.to_string();
        if !text.ends_with(&part) {
            text.push_str(": ");
            text.push_str(&part);
        }
        next = source.source();
    }
    text
}

/// Whether an EPERM or EACCES lies below.
pub(super) fn is_permission(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(current) = next {
        if let Some(io_error) = current.downcast_ref::<io::Error>() {
            // EACCES is the verifier's "invalid program", not a missing right.
            return io_error.raw_os_error() == Some(libc::EPERM);
        }
        next = current.source();
    }
    false
}

/// The last lines of a verifier log: the refusal and the instructions before it.
pub(super) fn log_tail(log: &str) -> String {
    let lines: Vec<&str> = log.lines().filter(|line| !line.trim().is_empty()).collect();
    let skipped = lines.len().saturating_sub(VERIFIER_LINES_COUNT);
    lines.get(skipped..).unwrap_or_default().join("\n")
}

const VERIFIER_LINES_COUNT: usize = 20;
