//! What the minute and a broken glass decided is not used in another minute, or when the glass is whole.

use super::stage::*;
use crate::engine::model::{Class, Timestamp, Verdict};
use crate::engine::policy::{PolicySet, PolicySource, Profile};
use crate::engine::session::{Broken, login_of};
use std::sync::Arc;

const MINUTE: u64 = 60_000_000_000;

/// Sensitive columns are seen, and DROP runs, from the tenth minute of each hour on, or while the glass is broken.
fn stage() -> Stage {
    let mut s = Stage::ready(Class::Person);
    let mut sources = PolicySet::builtin(Profile::Protect);
    sources.push(PolicySource::new(
        "mine.cedar",
        r#"@id("see") permit (principal, action == Governor::Action::"see", resource);
           @id("window") forbid (principal, action in [Governor::Action::"see", Governor::Action::"drop"], resource)
           unless { context.time.minute >= 10 || context has break_glass };"#,
    ));
    let disabled = ["personal-data-partial", "doubtful-data-redacted", "people-destructive-approved"];
    let set = PolicySet::compile_with(&sources, &disabled.map(str::to_owned)).unwrap();
    s.governance.policy = Arc::new(set);
    // Reading the catalogue again is not what these tests are about.
    s.governance.limits.catalogue_age_ns_max = u64::MAX;
    s
}

fn minute(s: &mut Stage, minutes: u64) {
    s.at(Timestamp { unix_ns: minutes * MINUTE + 1, monotonic_ns: minutes * MINUTE + 1 });
}

fn shatter(s: &Stage, until_minute: u64) {
    let expires = Timestamp { unix_ns: 0, monotonic_ns: until_minute * MINUTE };
    let broken = Broken { id: "glass-1".into(), reason: "INC-1".into(), expires };
    s.governance.glass.shatter(login_of(s.session.principal()), broken);
}

#[test]
fn a_statement_runs_within_its_window_only() {
    for (at, verdict) in [(9, Verdict::Deny), (10, Verdict::Allow), (59, Verdict::Allow), (60, Verdict::Deny)]
    {
        let mut s = stage();
        // Asked before in another minute: that answer is not used.
        s.client(&query("DROP TABLE people"));
        assert_eq!(s.verdicts(), [Verdict::Deny]);
        s.server(&[error("42601"), ready(b'I')].concat());
        s.clear();
        minute(&mut s, at);
        s.client(&query("DROP TABLE people"));
        assert_eq!(s.verdicts(), [verdict], "minute {at}");
    }
}

#[test]
fn broken_glass_lifts_and_its_id_is_on_record() {
    for (at, verdict, id) in [(2, Verdict::Allow, Some("glass-1")), (3, Verdict::Deny, None)] {
        let mut s = stage();
        shatter(&s, 3);
        minute(&mut s, at);
        s.client(&query("DROP TABLE people"));
        assert_eq!((s.verdicts(), s.statements()[0].break_glass.as_deref()), (vec![verdict], id));
    }
}

/// A prepared statement bound inside an open transaction, so that its portal stays.
fn described(s: &mut Stage) {
    s.client(&query("BEGIN"));
    s.server(&[complete("BEGIN"), ready(b'T')].concat());
    s.client(&[parse("s", "SELECT email FROM people"), bind("p", "s"), describe("p"), sync()].concat());
    let described = row_description(&[("email", 20000, 2)]);
    s.server(&[message(b'1', b""), message(b'2', b""), described, ready(b'T')].concat());
    s.clear();
}

fn shown(s: &mut Stage) -> bool {
    s.client(&[execute("p"), sync()].concat());
    assert_eq!(s.server_kinds(), "DES", "its columns are asked for anew");
    let rows = [row_description(&[("email", 20000, 2)]), data_row(&["louis@example.com"])].concat();
    s.server(&[rows, complete("SELECT 1"), ready(b'T')].concat());
    String::from_utf8_lossy(&s.to_client).contains("louis@example.com")
}

#[test]
fn columns_that_were_described_in_a_window_are_masked_behind_it() {
    for (begin, end, clear) in [(59, 60, false), (9, 10, true)] {
        let mut s = stage();
        minute(&mut s, begin);
        described(&mut s);
        minute(&mut s, end);
        assert_eq!(shown(&mut s), clear, "from minute {begin} to {end}");
    }
}

#[test]
fn columns_that_were_described_under_broken_glass_are_masked_when_it_is_whole() {
    let mut s = stage();
    minute(&mut s, 1);
    shatter(&s, 9);
    described(&mut s);
    s.governance.glass.mend(login_of(s.session.principal()));
    assert!(!shown(&mut s));
}
