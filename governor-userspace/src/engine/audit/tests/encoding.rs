//! What is encoded is read back, as serde would have written it.

use super::super::*;
use super::samples::{every_event, statement};
use super::{at, encode};
use crate::engine::model::*;
use proptest::prelude::*;
use std::collections::HashSet;

#[test]
fn no_event_has_a_field_that_the_envelope_has() {
    let events = every_event("x");
    let mut names = HashSet::new();
    for event in events {
        let record = AuditRecord { at: at(0), session: None, event };
        let json = encode(0, &record);
        // serde_json keeps the last of two equal names: count them in the text instead.
        for name in ["seq", "time", "mono_ns", "session", "event"] {
            let quoted = format!("\"{name}\":");
            assert_eq!(String::from_utf8_lossy(&json).matches(&quoted).count(), 1, "{name}");
        }
        let envelope: Envelope<'_> = serde_json::from_slice(&json).unwrap();
        names.insert(envelope.event.to_string());
        assert!(Row::parse(&json).is_some(), "{}", String::from_utf8_lossy(&json));
    }
    assert_eq!(names.len(), 31, "every event is here: {names:?}");
}

#[test]
fn events_of_a_later_version_are_kept_as_such() {
    let json = br#"{"seq":3,"time":"2027-01-15T08:00:00.000000Z","mono_ns":1,"session":null,"event":"dreamt","of":{}}"#;
    assert_eq!(decode(json).unwrap().body, StoredBody::Newer("dreamt".into()));
    assert_eq!(Row::parse(json).unwrap().event, "dreamt");
}

#[test]
fn an_event_too_long_leaves_the_batch_as_it_was() {
    let mut batch = Batch::default();
    let record = |reason: String| AuditRecord {
        at: at(0),
        session: None,
        event: AuditEvent::AgentStop { reason, run: String::new() },
    };
    batch.push(&record("short".into())).unwrap();
    let error = batch.push(&record("x".repeat(EVENT_BYTES_MAX))).unwrap_err();
    assert!(matches!(error, EncodeError::TooLong { .. }));
    assert_eq!((batch.len(), batch.iter().count()), (1, 1));
}

proptest! {
    #[test]
    fn what_is_encoded_is_read_back(
        text in any::<String>(),
        session in proptest::option::of(any::<String>()),
        seq: u64,
        unix_us in 0u64..9_000_000_000_000_000,
        monotonic_ns: u64,
        which: prop::sample::Index,
    ) {
        let event = which.get(&every_event(&text)).clone();
        let at = Timestamp { unix_ns: unix_us * 1000, monotonic_ns };
        let session = session.map(|id| SessionId(id.into()));
        let json = encode(seq, &AuditRecord { at, session: session.clone(), event: event.clone() });
        prop_assert!(!json.contains(&b'\n'));
        prop_assert_eq!(decode(&json).unwrap(), StoredRecord { seq, at, session, body: StoredBody::Agent(event) });
    }

    /// The encoder of statements must not differ from the format that serde describes.
    #[test]
    fn events_are_written_as_serde_writes_them(
        text in any::<String>(),
        texts in proptest::collection::vec(any::<String>(), 0..3),
        numbers: [u64; 5],
        option in proptest::option::of("[A-Z0-9\"\u{1f}\u{7f}é]{0,5}"),
        kind in 0usize..StatementKind::ALL.len(),
        which in 0usize..3,
    ) {
        let mut events = every_event(&text);
        events.push(AuditEvent::Statement(Box::new(StatementRecord {
            verdict: [Verdict::Allow, Verdict::Deny, Verdict::Hold][which],
            reasons: texts
                .iter()
                .map(|t| Reason {
                    policy: t.clone(),
                    text: text.clone(),
                    hint: t.clone(),
                    sqlstate: DenialCode::ALL[kind % DenialCode::ALL.len()],
                })
                .collect(),
            kind: StatementKind::ALL[kind],
            reads: texts.clone().into(),
            writes: texts.iter().rev().cloned().collect(),
            unknown: option.clone().map(|by| Unknown::DynamicSql { by }),
            parameters: texts.iter().cloned().map(Some).chain([None]).skip(which).collect(),
            tokens: 2,
            conditions: option.clone().into_iter().collect(),
            executes: texts.iter().map(|t| t.as_str().into()).collect(),
            approval: option.clone(),
            break_glass: option.as_deref().map(Into::into),
            class: Class::ALL[which],
            text_bytes: numbers[0],
            pid: numbers[1] as u32,
            ..statement(&text, &text, &text)
        })));
        let outcomes =
            [Outcome::Complete, Outcome::Suspended, Outcome::Error, Outcome::Skipped, Outcome::Lost];
        events.push(AuditEvent::Completion(Completion {
            decision: DecisionId(text.as_str().into()),
            outcome: outcomes[kind % outcomes.len()],
            tag: option.clone(),
            rows: numbers[0],
            bytes: numbers[1],
            masked: numbers[2],
            masked_by: Category::ALL.into_iter().take(which).map(|c| (c, numbers[3])).collect(),
            masked_in_doubt: MaskDoubt::ALL.into_iter().take(which % 5).map(|d| (d, numbers[3])).collect(),
            duration_ns: numbers[3],
            governor_ns: numbers[4],
            sqlstate: option,
            limit: LimitKind::ALL.into_iter().nth(which),
            told_millibits: numbers[2],
        }));
        for event in events {
            let mut batch = Batch::default();
            batch.push(&AuditRecord { at: at(0), session: None, event: event.clone() }).unwrap();
            let written = batch.iter().next().unwrap().2.to_vec();
            prop_assert_eq!(
                String::from_utf8(written).unwrap(),
                serde_json::to_string(&event).unwrap()
            );
        }
    }
}
