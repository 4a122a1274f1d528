//! Every way of tampering with a chain that we can think of, and the verifier on any bytes.

use super::super::*;
use super::at;
use ed25519_dalek::SigningKey;
use proptest::prelude::*;

/// Segments of one chain as bytes, and its head.
#[derive(Clone)]
struct Chain {
    segments: Vec<Vec<u8>>,
    head: Option<Vec<u8>>,
}

const KEY: [u8; 32] = [7; 32];

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

proptest! {
    #[test]
    fn the_verifier_takes_any_bytes(pieces in proptest::collection::vec(any::<Vec<u8>>(), 0..8)) {
        let mut verifier = Verifier::new(SigningKey::from_bytes(&KEY).verifying_key());
        verifier.segment(1).unwrap();
        let _ = pieces.iter().try_for_each(|bytes| verifier.feed(bytes));
        prop_assert!(verifier.finish().is_err());
    }
}
