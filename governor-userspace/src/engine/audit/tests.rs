//! The chain in memory: every way of tampering that we can think of, and encoding there and back.

use super::*;
use crate::engine::model::Answer;
use crate::engine::model::*;
use ed25519_dalek::SigningKey;
use proptest::prelude::*;
use std::collections::HashSet;

/// Segments of one chain as bytes, and its head.
#[derive(Clone)]
struct Chain {
    segments: Vec<Vec<u8>>,
    head: Option<Vec<u8>>,
}

const KEY: [u8; 32] = [7; 32];

fn at(second: u64) -> Timestamp {
    Timestamp { unix_ns: (1_800_000_000 + second) * 1_000_000_000 + 123_456_000, monotonic_ns: second }
}

/// Writes chains as the ledger does, so that tampered ones can also be made with care.
struct Builder {
    key: SigningKey,
    seq: u64,
    hash: ChainHash,
    merkle: Merkle,
    from: u64,
    encoder: Encoder,
    segments: Vec<Vec<u8>>,
}

impl Builder {
    fn new(key: [u8; 32]) -> Self {
        let mut builder = Self {
            key: SigningKey::from_bytes(&key),
            seq: 0,
            hash: ChainHash::GENESIS,
            merkle: Merkle::default(),
            from: 0,
            encoder: Encoder::default(),
            segments: vec![],
        };
        builder.segment();
        builder
    }

    fn push(&mut self, event: &impl serde::Serialize) {
        let json = serde_json::to_vec(event).unwrap();
        let (seq, encoder) = (self.seq, &mut self.encoder);
        let out = self.segments.last_mut().unwrap();
        self.hash = push_line(out, &self.hash, |out| encoder.write(out, seq, at(seq), None, &json));
        self.merkle.push(&self.hash);
        self.seq += 1;
    }

    fn segment(&mut self) {
        self.segments.push(vec![]);
        let key = key_id(&self.key.verifying_key());
        let segment = self.segments.len() as u64;
        self.push(&LedgerEvent::SegmentStart(SegmentStart { format: 1, segment, previous: self.hash, key }));
    }

    fn records(&mut self, count: usize) {
        for n in 0..count {
            self.push(&AuditEvent::Cancel { forwarded: n % 2 == 0, reason: format!("number {n}") });
        }
    }

    fn checkpoint(&mut self) {
        let segment = self.segments.len() as u64;
        let root = self.merkle.root();
        let time = at(self.seq).rfc3339();
        let checkpoint = Checkpoint::sign(&self.key, segment, self.from, self.seq, self.hash, root, &time);
        self.from = self.seq;
        self.push(&LedgerEvent::Checkpoint(checkpoint));
        self.merkle = Merkle::starting_with(&self.hash);
    }

    fn head(&self) -> Vec<u8> {
        let segment = self.segments.len() as u64;
        let head = Head::sign(&self.key, segment, self.seq - 1, self.hash, at(self.seq - 1).rfc3339());
        serde_json::to_vec(&head).unwrap()
    }
}

/// Three segments; the head names the last checkpoint; two records follow it.
fn chain() -> Chain {
    let mut b = Builder::new(KEY);
    b.checkpoint();
    b.records(5);
    b.checkpoint();
    b.segment();
    b.records(4);
    b.checkpoint();
    b.segment();
    b.records(2);
    b.checkpoint();
    let head = Some(b.head());
    b.records(2);
    Chain { segments: b.segments, head }
}

fn verify_with(chain: &Chain, key: [u8; 32], piece: usize) -> (Summary, Option<Finding>) {
    let mut verifier = Verifier::new(SigningKey::from_bytes(&key).verifying_key());
    let run = |verifier: &mut Verifier| -> Result<(), Finding> {
        verifier.head(chain.head.as_deref())?;
        for (index, segment) in chain.segments.iter().enumerate() {
            verifier.segment(index as u64 + 1)?;
            segment.chunks(piece).try_for_each(|bytes| verifier.feed(bytes))?;
        }
        verifier.finish()
    };
    let finding = run(&mut verifier).err();
    (verifier.summary(), finding)
}

fn problem(chain: &Chain) -> Option<Problem> {
    verify_with(chain, KEY, 1 << 20).1.map(|finding| finding.problem)
}

fn lines(segment: &[u8]) -> Vec<Vec<u8>> {
    segment.split_inclusive(|&b| b == b'\n').map(<[u8]>::to_vec).collect()
}

/// Computes every hash anew from `segment` on, as one who knows the format but not the key would.
fn rehash(chain: &mut Chain, mut previous: ChainHash) {
    for segment in &mut chain.segments {
        let mut new = vec![];
        for line in lines(segment) {
            previous = push_line(&mut new, &previous, |out| {
                out.extend_from_slice(&line[LINE_JSON_OFFSET..line.len() - 1])
            });
        }
        *segment = new;
    }
}

#[test]
fn an_untouched_chain_is_whole_however_the_bytes_come() {
    let chain = chain();
    for piece in [1, 2, 3, 64, 65, 66, 1000, 1 << 20] {
        let (summary, finding) = verify_with(&chain, KEY, piece);
        assert_eq!(finding, None, "in pieces of {piece}");
        assert_eq!((summary.segments, summary.records, summary.checkpoints), (3, 13, 4));
        assert_eq!((summary.unsigned_records, summary.last_seq), (2, Some(19)));
        assert_eq!(summary.first_time.as_deref(), Some("2027-01-15T08:00:00.123456Z"));
    }
}

#[test]
fn no_byte_can_change_unseen() {
    let good = chain();
    for segment in 0..good.segments.len() {
        for offset in 0..good.segments[segment].len() {
            let flip = [0x01, 0x20, 0x80][offset % 3];
            let mut bad = good.clone();
            bad.segments[segment][offset] ^= flip;
            assert!(problem(&bad).is_some(), "segment {segment} byte {offset} ^ {flip:#x}");
        }
    }
    let head = good.head.as_ref().unwrap();
    for offset in 0..head.len() {
        let mut bad = good.clone();
        bad.head.as_mut().unwrap()[offset] ^= 0x01;
        assert!(problem(&bad).is_some(), "head byte {offset}");
    }
}

#[test]
fn every_removed_doubled_or_swapped_line_is_found() {
    let good = chain();
    for segment in 0..good.segments.len() {
        let whole = lines(&good.segments[segment]);
        // The last two lines of the chain are not signed yet: cutting them off cannot be seen.
        let signed = if segment == 2 { whole.len() - 2 } else { whole.len() };
        for n in 0..whole.len() {
            let check = |edit: &dyn Fn(&mut Vec<Vec<u8>>), what: &str| {
                let mut bad = good.clone();
                let mut lines = whole.clone();
                edit(&mut lines);
                bad.segments[segment] = lines.concat();
                assert!(problem(&bad).is_some(), "segment {segment} line {n} {what}");
            };
            if n < signed || n + 1 < whole.len() {
                check(&|lines| drop(lines.remove(n)), "removed");
            }
            check(&|lines| lines.insert(n, lines[n].clone()), "doubled");
            if n + 1 < whole.len() {
                check(&|lines| lines.swap(n, n + 1), "swapped");
            }
        }
    }
}

#[test]
fn truncation_is_seen_exactly_up_to_the_head() {
    let good = chain();
    let last = lines(&good.segments[2]);
    for kept in 0..=last.len() {
        let mut cut = good.clone();
        cut.segments[2] = last[..kept].concat();
        // Header, two records, checkpoint: four lines that the head vouches for.
        assert_eq!(problem(&cut).is_some(), kept < 4, "{kept} lines kept");
    }
    let mut bytes_cut = good.clone();
    bytes_cut.segments[2].pop();
    assert!(matches!(problem(&bytes_cut), Some(Problem::LineIncomplete { .. })));
    for kept in 0..3 {
        let mut cut = good.clone();
        cut.segments.truncate(kept);
        assert!(matches!(problem(&cut), Some(Problem::CutShort { .. })), "{kept} segments kept");
    }
    let mut headless = good.clone();
    headless.head = None;
    assert_eq!(problem(&headless), Some(Problem::HeadMissing));
    let mut middle = good;
    middle.segments.remove(1);
    assert!(matches!(problem(&middle), Some(Problem::HeaderWrong { .. } | Problem::SequenceGap { .. })));
}

#[test]
fn an_older_checkpoint_cannot_be_made_into_a_head() {
    let good = chain();
    let mut cut = good.clone();
    cut.segments.truncate(2);
    let line = lines(&cut.segments[1]).pop().unwrap();
    let (hash, json) = split_line(&line[..line.len() - 1]).unwrap();
    let StoredRecord { seq, body: StoredBody::Ledger(LedgerEvent::Checkpoint(checkpoint)), at, .. } =
        decode(json).unwrap()
    else {
        panic!("a segment ends with a checkpoint")
    };
    let Checkpoint { key, signature, .. } = checkpoint;
    let forged = Head { segment: 2, seq, hash, time: at.rfc3339(), key, signature };
    cut.head = Some(serde_json::to_vec(&forged).unwrap());
    assert_eq!(problem(&cut), Some(Problem::HeadSignatureBad));
}

#[test]
fn rewriting_every_hash_is_stopped_by_the_signatures() {
    let good = chain();
    let edit = |from: &str, to: &str| {
        let mut bad = good.clone();
        for segment in &mut bad.segments {
            *segment = String::from_utf8(segment.clone()).unwrap().replacen(from, to, 1).into_bytes();
        }
        rehash(&mut bad, ChainHash::GENESIS);
        problem(&bad)
    };
    assert!(matches!(edit("number 1", "number 9"), Some(Problem::CheckpointWrong { .. })));
    assert!(matches!(
        edit("\"forwarded\":true", "\"forwarded\":false"),
        Some(Problem::CheckpointWrong { .. })
    ));
    assert!(matches!(edit("\"format\":1", "\"format\":2"), Some(Problem::HeaderWrong { .. })));
}

#[test]
fn a_chain_signed_by_another_key_is_found() {
    let good = chain();
    let other = [8; 32];
    assert!(matches!(verify_with(&good, other, 99).1.unwrap().problem, Problem::WrongKey { .. }));
    // Everything made anew with another key, under the first key's name.
    let mut b = Builder::new(other);
    b.records(3);
    b.checkpoint();
    let mut forged = Chain { head: Some(b.head()), segments: b.segments };
    let (mine, theirs) = (
        key_id(&SigningKey::from_bytes(&KEY).verifying_key()),
        key_id(&SigningKey::from_bytes(&other).verifying_key()),
    );
    let rename = |bytes: &[u8]| String::from_utf8_lossy(bytes).replace(&theirs, &mine).into_bytes();
    forged.segments[0] = rename(&forged.segments[0]);
    forged.head = forged.head.map(|head| rename(&head));
    rehash(&mut forged, ChainHash::GENESIS);
    assert_eq!(problem(&forged), Some(Problem::HeadSignatureBad));
}

#[test]
fn an_anchor_kept_elsewhere_reveals_a_chain_made_anew() {
    let mut b = Builder::new(KEY);
    b.records(3);
    b.checkpoint();
    let (first_head, first_hash) = (b.head(), b.hash);
    let first = Chain { head: Some(first_head), segments: b.segments.clone() };
    let mut b = Builder::new(KEY);
    b.records(2);
    b.push(&AuditEvent::AgentStop { reason: "other".into(), run: String::new() });
    b.checkpoint();
    let anew = Chain { head: Some(b.head()), segments: b.segments };
    for (chain, expected) in [(first, None), (anew, Some(Problem::NotTheSame { who: "the anchor" }))] {
        assert_eq!(problem(&chain), None);
        let mut verifier = Verifier::new(SigningKey::from_bytes(&KEY).verifying_key());
        verifier.witness(4, first_hash, "the anchor");
        verifier.segment(1).unwrap();
        let found = verifier.feed(&chain.segments[0]).and_then(|()| verifier.finish()).err();
        assert_eq!(found.map(|finding| finding.problem), expected);
    }
}

#[test]
fn the_finding_names_the_place() {
    let mut bad = chain();
    let text = String::from_utf8(bad.segments[1].clone()).unwrap().replace("number 2", "number 3");
    bad.segments[1] = text.into_bytes();
    let finding = verify_with(&bad, KEY, 50).1.unwrap();
    assert_eq!((finding.segment, finding.line, finding.seq), (2, 4, Some(11)));
    assert_eq!(
        finding.to_string(),
        "segment 2, line 4 (seq 11): the hash does not fit: this record was changed, or the one before"
    );
}

#[test]
fn a_tail_can_be_verified_without_what_came_before() {
    let good = chain();
    let key = SigningKey::from_bytes(&KEY).verifying_key();
    let mut verifier = Verifier::from_segment(key, 2);
    verifier.head(good.head.as_deref()).unwrap();
    for number in [2, 3] {
        verifier.segment(number).unwrap();
        verifier.feed(&good.segments[number as usize - 1]).unwrap();
    }
    verifier.finish().unwrap();
    let mut whole = Verifier::new(key);
    for number in [1, 2, 3] {
        whole.segment(number).unwrap();
        whole.feed(&good.segments[number as usize - 1]).unwrap();
    }
    let (a, b) = (verifier.tail(), whole.tail());
    assert_eq!((a.seq_next, a.hash, &a.merkle, a.from), (b.seq_next, b.hash, &b.merkle, b.from));
}

#[test]
fn garbage_never_panics_and_a_line_without_end_is_refused() {
    let key = SigningKey::from_bytes(&KEY).verifying_key();
    let mut verifier = Verifier::new(key);
    verifier.segment(1).unwrap();
    let block = vec![b'a'; 1 << 20];
    let finding = (0..64).find_map(|_| verifier.feed(&block).err()).unwrap();
    assert_eq!(finding.problem, Problem::LineTooLong);
}

fn statement(text: &str, user: &str, decision: &str) -> StatementRecord {
    StatementRecord {
        decision: DecisionId(decision.into()),
        verdict: Verdict::Deny,
        reasons: vec![Reason { policy: "p".into(), text: "no \"way\"".into(), hint: "ask\n".into() }].into(),
        kind: StatementKind::Delete,
        tag: "DELETE".into(),
        text: text.into(),
        text_bytes: text.len() as u64,
        fingerprint: "0123456789abcdef".into(),
        reads: vec!["public.orders".into()].into(),
        writes: vec![].into(),
        unknown: Some(Unknown::DynamicSql { by: "do".into() }),
        parameters: vec![None, Some("x\u{0}".into())].into(),
        conditions: vec!["public.people.ssn in WHERE (pattern)".to_owned()].into(),
        executes: vec![],
        approval: Some("A1".into()),
        break_glass: None,
        class: Class::Agent,
        user: user.into(),
        pid: 4711,
        database: "shop".into(),
        database_user: "app".into(),
    }
}

fn every_event(text: &str) -> Vec<AuditEvent> {
    let decision = DecisionId("S1.1".into());
    let endpoint = Endpoint::tcp("::1".parse().unwrap(), 5432);
    let principal = Principal {
        class: Class::Person,
        class_evidence: vec![text.into()],
        pid: 1,
        start_ticks: 2,
        uid: 3,
        user: text.into(),
        gid: 4,
        groups: vec![],
        login_uid: Some(5),
        login_user: None,
        command: "psql".into(),
        executable: Some("/usr/bin/psql".into()),
        executable_sha256: None,
        command_line: vec![text.into()],
        cgroup_id: u64::MAX,
        cgroup: None,
        unit: None,
        container: None,
        container_facts: Default::default(),
        terminal: Some("pts/3".into()),
        ancestors: vec![Ancestor { pid: 1, start_ticks: 0, executable: "init".into() }],
        remote: None,
    };
    let claims = Claims { user: "app".into(), database: text.into(), application_name: String::new() };
    let answer = Answer::Granted { by: text.into(), uid: 0, note: "ok".into() };
    let (glass_principal, hello_principal) = (principal.clone(), principal.clone());
    vec![
        AuditEvent::AgentStart(AgentStart {
            version: "1".into(),
            pid: 1,
            profile: "enforce".into(),
            policy: text.into(),
            run: text.into(),
            took_over_from: Some(text.into()),
        }),
        AuditEvent::AgentStop { reason: text.into(), run: text.into() },
        AuditEvent::PolicyLoaded { version: "1".into(), files: vec![text.into()] },
        AuditEvent::PolicyRefused { reason: text.into() },
        AuditEvent::SessionStart(Box::new(SessionStart {
            principal,
            client: Some(endpoint.clone()),
            destination: endpoint.clone(),
            attested_by: Some(Attestation::SoPeercred),
        })),
        AuditEvent::SessionDecision(SessionDecision {
            decision: decision.clone(),
            verdict: Verdict::Hold,
            reasons: vec![].into(),
            claims,
        }),
        AuditEvent::Statement(Box::new(statement(text, text, "S1.1"))),
        AuditEvent::Completion(Completion {
            decision: decision.clone(),
            outcome: Outcome::Error,
            tag: None,
            rows: u64::MAX,
            bytes: 0,
            masked: 1,
            masked_by: vec![],
            masked_in_doubt: vec![],
            duration_ns: 2,
            governor_ns: 3,
            sqlstate: Some("42501".into()),
            limit: None,
            told_millibits: 0,
        }),
        AuditEvent::HoldStart(HoldStart {
            approval: "A1".into(),
            decision,
            approvers: text.into(),
            expires: at(9),
        }),
        AuditEvent::HoldEnd(HoldEnd { approval: "A1".into(), answer }),
        AuditEvent::TokenReveal(Box::new(TokenReveal {
            granted: false,
            refusal: text.into(),
            reason: text.into(),
            tokens_count: 2,
            tokens: vec![text.into(), "tok_0".into()],
            principal: glass_principal.clone(),
        })),
        AuditEvent::MaskingKey(KeyChange {
            key: "00ff00ff".into(),
            principal: Some(Box::new(glass_principal.clone())),
        }),
        AuditEvent::MaskingKey(KeyChange { key: text.into(), principal: None }),
        AuditEvent::BreakGlassStart(BreakGlassStart {
            id: "B1".into(),
            reason: text.into(),
            expires: at(9),
            principal: Box::new(glass_principal),
        }),
        AuditEvent::BreakGlassEnd { id: "B1".into(), reason: "expired".into() },
        AuditEvent::DataFinding(DataFinding {
            change: DataChange::Drift,
            server: endpoint.clone(),
            database: text.into(),
            column: text.into(),
            category: Some(Category::Iban),
            detector: "iban".into(),
            confidence_percent: 90,
            kinds: vec![Category::Iban, Category::Email],
            values: 7,
            masked_whole: true,
        }),
        AuditEvent::DataRuling(DataRuling {
            ruling: "dismissed".into(),
            server: endpoint.clone(),
            database: text.into(),
            column: text.into(),
            category: None,
            reason: text.into(),
            by: text.into(),
            uid: 7,
        }),
        AuditEvent::OpenConnection(OpenConnection {
            client: endpoint.clone(),
            destination: endpoint.clone(),
            uid: 7,
            pid: Some(9),
            command: text.into(),
            cgroup: text.into(),
            arrived: true,
            ended: false,
            problem: text.into(),
        }),
        AuditEvent::Cancel { forwarded: true, reason: text.into() },
        AuditEvent::Hello(Box::new(HelloRecord {
            peer: Some(text.into()),
            key: Some(text.into()),
            principal: Some(Box::new(hello_principal)),
            ..HelloRecord::new(HelloWay::Received, HelloOutcome::WrongAddress, text)
        })),
        TlsOutcome::Declined.into(),
        AuditEvent::ProtocolError { side: Side::Client, message: text.into() },
        AuditEvent::SessionEnd(SessionEnd {
            reason: text.into(),
            statements: 1,
            bytes_from_client: 2,
            bytes_from_database: 3,
            sockets: Some(SessionSockets::default()),
            run: text.into(),
        }),
        AuditEvent::Completeness(Box::default()),
        AuditEvent::CompletenessMismatch(CompletenessMismatch {
            kind: MismatchKind::Unaudited,
            side: Side::Client,
            counted: 1,
            audited: 2,
            socket: 3,
            pid: Some(4),
            uid: None,
            run: text.into(),
        }),
        AuditEvent::AgentGap(Box::new(AgentGap {
            from: "2026-01-01T00:00:00.000000Z".into(),
            until: "2026-01-01T00:00:01.000000Z".into(),
            duration_ms: 1000,
            cause: GapCause::Killed,
            reason: text.into(),
            pid: Some(7),
            version: Some(text.into()),
            hooks: GapHooks::Kept,
            refused: 2,
            passed: 3,
            events_lost: 4,
        })),
        AuditEvent::KernelEvent(Box::new(KernelEventRecord {
            cause: "listener_gone".into(),
            passed: false,
            reason: text.into(),
            destination: endpoint,
            pid: 1,
            uid: 2,
            command: text.into(),
            cgroup_id: 3,
            netns_cookie: 4,
        })),
        AuditEvent::KernelEventsOmitted { count: 5, since: "2026-01-01T00:00:00.000000Z".into() },
        AuditEvent::UnixSocket(UnixSocketRecord {
            socket: text.into(),
            change: UnixSocketChange::GivenBack,
            reason: text.into(),
        }),
        AuditEvent::DirectConnection(DirectConnection {
            socket: text.into(),
            pid: Some(7),
            uid: None,
            command: text.into(),
            ended: false,
            problem: text.into(),
        }),
    ]
}

/// Encodes as the ledger does and answers the JSON.
fn encode(seq: u64, record: &AuditRecord) -> Vec<u8> {
    let mut batch = Batch::default();
    batch.push(record).unwrap();
    let mut out = vec![];
    let (at, session, event) = batch.iter().next().unwrap();
    Encoder::default().write(&mut out, seq, at, session, event);
    out
}

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
    assert_eq!(names.len(), 29, "every event is here: {names:?}");
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
        which in 0usize..16,
    ) {
        let event = every_event(&text).swap_remove(which);
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
                .map(|t| Reason { policy: t.clone(), text: text.clone(), hint: t.clone() })
                .collect(),
            kind: StatementKind::ALL[kind],
            reads: texts.clone().into(),
            writes: texts.iter().rev().cloned().collect(),
            unknown: option.clone().map(|by| Unknown::DynamicSql { by }),
            parameters: texts.iter().cloned().map(Some).chain([None]).skip(which).collect(),
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
            masked_in_doubt: MaskDoubt::ALL.into_iter().take(which % 4).map(|d| (d, numbers[3])).collect(),
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

    #[test]
    fn the_verifier_takes_any_bytes(pieces in proptest::collection::vec(any::<Vec<u8>>(), 0..8)) {
        let mut verifier = Verifier::new(SigningKey::from_bytes(&KEY).verifying_key());
        verifier.segment(1).unwrap();
        let _ = pieces.iter().try_for_each(|bytes| verifier.feed(bytes));
        prop_assert!(verifier.finish().is_err());
    }
}

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
