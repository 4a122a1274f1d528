//! Places where tests make a fault (a panic) in the reading of SQL. Each is inside of a guard: what cannot be read is
//! unknown, and the session goes on.

#[cfg(not(test))]
pub(super) fn point(_: &'static str) {}

#[cfg(test)]
pub(super) fn point(part: &'static str) {
    assert!(tests::ARMED.get() != Some(part), "a fault made by a test");
}

#[cfg(test)]
pub(in crate::engine) mod tests {
    use super::super::{PostgresDialect, SecondReading, SqlDialect, second_reading};
    use crate::engine::model::{StatementKind, Unknown};
    use std::cell::Cell;

    thread_local! {
        /// The part that fails.
        pub static ARMED: Cell<Option<&'static str>> = const { Cell::new(None) };
    }

    pub fn failing<T>(part: &'static str, run: impl FnOnce() -> T) -> T {
        ARMED.set(Some(part));
        let result = run();
        ARMED.set(None);
        result
    }

    #[test]
    fn a_fault_in_the_reading_of_a_text_makes_it_unknown_and_the_next_is_read() {
        let read = || PostgresDialect::default().script("DELETE FROM orders; SELECT 1").statements;
        let failed = failing("facts", read);
        assert_eq!((failed.len(), failed[0].kind), (1, StatementKind::Unknown));
        assert!(matches!(failed[0].unknown, Some(Unknown::NotUnderstood { .. })), "{:?}", failed[0].unknown);
        let kinds: Vec<StatementKind> = read().iter().map(|s| s.kind).collect();
        assert_eq!(kinds, [StatementKind::Delete, StatementKind::Select]);
    }

    /// The facts stand: it only ever makes them stricter.
    #[test]
    fn a_fault_in_the_second_reading_changes_nothing() {
        let facts = PostgresDialect::default().script("SELECT 1").statements;
        assert_eq!(second_reading("SELECT 1", &facts), SecondReading::Agrees);
        let failed = failing("second reading", || second_reading("SELECT 1", &facts));
        assert_eq!(failed, SecondReading::NoOpinion);
    }
}
