//! A fault of governor's own (a panic) in one question: it is answered safely, and the session goes on.
//!
//! Reading of SQL, lineage and each masked value have guards of their own: what they cannot do is unknown or masked. Here
//! is the rest: a decision that cannot be made denies, and rows whose plan cannot be made are masked in every column.
//! How long a question takes is bounded by what is asked: texts, trees and policies have a largest size.

use crate::engine::model::Decision;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Runs `question`; `None` where it panicked. Caches that it was writing to are compared with the whole key when they
/// are read, so nothing half done is taken for an answer.
pub(super) fn guarded<T>(part: &'static str, question: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(|| {
        point(part);
        question()
    }))
    .ok()
}

/// What is answered in place of a decision.
pub(super) fn denial() -> Decision {
    Decision::deny(
        "governor.fault",
        "governor failed while it decided",
        "Tell the operator: governor's log has the place. Other statements are served.",
    )
}

/// A place where tests make a fault.
#[cfg(not(test))]
fn point(_: &'static str) {}

#[cfg(test)]
fn point(part: &'static str) {
    assert!(tests::ARMED.get() != Some(part), "a fault made by a test");
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::tests::stage::*;
    use crate::engine::model::{Class, Verdict};
    use crate::engine::sql::fault::tests as sql;
    use std::cell::Cell;

    thread_local! {
        /// The part that fails.
        pub static ARMED: Cell<Option<&'static str>> = const { Cell::new(None) };
    }

    fn failing<T>(part: &'static str, run: impl FnOnce() -> T) -> T {
        ARMED.set(Some(part));
        let result = run();
        ARMED.set(None);
        result
    }

    #[test]
    fn a_fault_in_a_decision_denies_that_statement_and_the_session_goes_on() {
        for class in Class::ALL {
            let mut s = Stage::ready(class);
            failing("policy", || s.client(&query("SELECT note FROM people")));
            assert_eq!(s.verdicts(), [Verdict::Deny], "{class}");
            assert_eq!(s.statements()[0].reasons[0].policy, "governor.fault");
            s.server(&[error("42601"), ready(b'I')].concat());
            assert_eq!(s.errors(), ["42501"]);
            s.clear();
            s.client(&query("SELECT note FROM people"));
            assert_eq!((s.verdicts(), s.server_kinds().as_str()), (vec![Verdict::Allow], "Q"), "{class}");
        }
    }

    #[test]
    fn a_fault_at_the_start_refuses_the_connection() {
        let mut s = Stage::new(Class::Person);
        failing("policy", || s.client(&startup(&[("user", "app"), ("database", "shop")])));
        assert_eq!(s.errors(), ["28000"]);
        assert!(s.closed.is_some());
    }

    #[test]
    fn rows_whose_plan_cannot_be_made_are_masked_in_every_column() {
        let mut s = Stage::ready(Class::Agent);
        s.client(&query("SELECT note FROM people"));
        let rows = [row_description(&[("note", 20000, 3)]), data_row(&["plain words"])].concat();
        failing("rows", || s.server(&rows));
        s.server(&[complete("SELECT 1"), ready(b'I')].concat());
        assert_eq!(s.client_kinds(), "TDCZ");
        assert!(!String::from_utf8_lossy(&s.to_client).contains("plain words"));
    }

    /// The reading of SQL has guards of its own: its fault is a statement that nobody understood.
    #[test]
    fn a_fault_in_the_parser_denies_people_and_agents_is_recorded_and_the_session_goes_on() {
        for (class, verdict) in
            [(Class::Agent, Verdict::Deny), (Class::Person, Verdict::Deny), (Class::Service, Verdict::Allow)]
        {
            let mut s = Stage::ready(class);
            sql::failing("facts", || s.client(&query("SELECT note FROM people")));
            assert_eq!(s.verdicts(), [verdict], "{class}");
            let unknown = s.statements()[0].unknown.clone();
            assert!(unknown.is_some(), "{class}: the record says why");
            let reply = if verdict == Verdict::Deny { error("42601") } else { complete("SELECT 0") };
            s.server(&[reply, ready(b'I')].concat());
            assert_eq!(s.client_kinds(), if verdict == Verdict::Deny { "EZ" } else { "CZ" }, "{class}");
            s.clear();
            s.client(&query("SELECT note FROM people"));
            assert_eq!((s.verdicts(), s.server_kinds().as_str()), (vec![Verdict::Allow], "Q"), "{class}");
            assert!(s.statements()[0].unknown.is_none(), "{class}");
        }
    }

    /// Which columns the text names is known without it; this result names none of a table's own.
    #[test]
    fn a_fault_in_the_lineage_masks_what_it_would_have_shown() {
        for (part, clear) in [(None, true), (Some("lineage"), false)] {
            let mut s = Stage::ready(Class::Person);
            let mut run = || {
                s.client(&query("SELECT x FROM (SELECT upper(note) AS x, email AS y FROM people) s"));
                s.server(&[row_description(&[("x", 0, 0)]), data_row(&["plain words"])].concat());
            };
            match part {
                Some(part) => sql::failing(part, run),
                None => run(),
            }
            assert_eq!(String::from_utf8_lossy(&s.to_client).contains("plain words"), clear, "{part:?}");
        }
    }
}
