//! Filters over stored records match what they name and nothing else.

use super::super::*;
use super::samples::statement;
use super::{at, encode};
use crate::engine::model::*;
use proptest::prelude::*;

#[test]
fn filters_match_what_they_name_and_nothing_else() {
    let event = AuditEvent::Statement(Box::new(statement("DELETE FROM Orders", "alice", "S1.1")));
    let json = encode(5, &AuditRecord { at: at(60), session: Some(SessionId("S1".into())), event });
    let row = Row::parse(&json).unwrap();
    let some = |s: &str| Some(s.to_owned());
    let f = Filter::default;
    let yes = [
        f(),
        Filter { user: some("alice"), ..f() },
        Filter { class: Some(Class::Agent), verdict: Some(Verdict::Deny), ..f() },
        Filter { relation: some("orders"), kind: some("delete"), ..f() },
        Filter { relation: some("public.orders"), text: some("from orders"), ..f() },
        Filter { session: some("S1"), database: some("shop"), event: some("statement"), ..f() },
        Filter {
            since: some("2027-01-15T08:01:00.123456Z"),
            until: some("2027-01-15T08:01:00.123457Z"),
            ..f()
        },
    ];
    for filter in yes {
        assert!(filter.may_match(&json) && filter.matches(&row), "{filter:?}");
    }
    let no = [
        // The database user is a claim: it does not stand for the attested user.
        Filter { user: some("app"), ..f() },
        Filter { class: Some(Class::Person), ..f() },
        Filter { verdict: Some(Verdict::Allow), ..f() },
        Filter { relation: some("rders"), ..f() },
        Filter { relation: some("other.orders"), ..f() },
        Filter { text: some("drop"), ..f() },
        Filter { session: some("S"), ..f() },
        Filter { event: some("completion"), ..f() },
        Filter { since: some("2027-01-15T08:01:00.123457Z"), ..f() },
        Filter { until: some("2027-01-15T08:01:00.123456Z"), ..f() },
    ];
    for filter in no {
        assert!(!filter.matches(&row), "{filter:?}");
    }
}

proptest! {
    /// The cheap test on bytes never hides a match, whatever the strings.
    #[test]
    fn the_cheap_test_hides_nothing(text in any::<String>(), user in "[a-z/\"\\\\é\u{7f}]{1,4}") {
        let event = AuditEvent::Statement(Box::new(statement(&text, &user, "S1.1")));
        let json = encode(0, &AuditRecord { at: at(0), session: None, event });
        let filter = Filter { user: Some(user), ..Filter::default() };
        prop_assert!(filter.matches(&Row::parse(&json).unwrap()) && filter.may_match(&json));
    }
}
