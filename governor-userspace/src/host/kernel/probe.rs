//! Says what this host can do, and how to mend what it cannot: the kernel part of `governor doctor`.

/// How a check came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Ok,
    /// Works, with the stated consequence.
    Warn,
    /// Capture does not work.
    Fail,
}

/// One question to the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    pub name: &'static str,
    pub ok: Outcome,
    /// What is there.
    pub found: String,
    /// What to do; empty where nothing is to be done.
    pub fix: String,
    /// What happens if it stays so; empty where nothing does.
    pub consequence: String,
}

/// Asks everything. Changes nothing on the host.
pub fn probe() -> Vec<Check> {
    Vec::new()
}
