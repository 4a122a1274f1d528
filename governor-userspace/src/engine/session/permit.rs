//! Proof that a decision came before bytes: without a [`Permit`] nothing reaches the database.

use crate::engine::model::{Decision, Verdict};

/// Shows that these bytes may go to the database. Only this module makes one; it cannot be copied,
/// so forgetting to ask policy does not compile.
#[derive(Debug)]
#[must_use]
pub struct Permit(());

/// Bytes that no policy question is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ProtocolNeed {
    /// Answers to the server's authentication requests.
    Authentication,
    /// Sync, Flush, Describe, Close, Terminate: they run nothing.
    Framing,
    /// Data of a COPY that was decided when it began.
    CopyData,
    /// A cancel request: it stops a statement at most, and needs the key of one.
    Cancel,
    /// governor's own requests, such as reading the catalogue.
    OwnRequest,
}

impl Permit {
    /// `None` unless the verdict is Allow.
    pub fn issue(decision: &Decision) -> Option<Self> {
        (decision.verdict == Verdict::Allow).then_some(Self(()))
    }

    /// For bytes that run nothing; the reason is stated at each place that asks.
    pub(super) fn protocol(_need: ProtocolNeed) -> Self {
        Self(())
    }

    /// One permit for neighbouring messages that are sent as one chunk: all of them were permitted.
    pub(super) fn and(self, _other: Self) -> Self {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_allow_gives_a_permit() {
        let mut decision = Decision::deny("test", "", "");
        assert!(Permit::issue(&decision).is_none());
        decision.verdict = Verdict::Hold;
        assert!(Permit::issue(&decision).is_none());
        decision.verdict = Verdict::Allow;
        assert!(Permit::issue(&decision).is_some());
    }
}
