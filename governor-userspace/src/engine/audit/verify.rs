//! Finds any change of a chain, from its bytes and the public key alone.
//!
//! Bytes come in any pieces, segment by segment; memory is one line. The same machine serves the
//! auditor (from the first segment on) and the ledger when it starts (from a segment near the end).
//!
//! Invariant: after the first [`Finding`] nothing more is read; [`Verifier::tail`] is the good part.

use super::{
    ChainHash, Checkpoint, Completeness, Envelope, FORMAT_VERSION, Head, LINE_BYTES_MAX, Merkle,
    SegmentStart, key_id, parse_time, split_line,
};
use ed25519_dalek::VerifyingKey;
use serde::Deserialize;

/// The first bad place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("segment {segment}, line {line}{}: {problem}", .seq.map(|seq| format!(" (seq {seq})")).unwrap_or_default())]
pub struct Finding {
    pub segment: u64,
    /// Counted from 1; 0 where no line is to blame.
    pub line: u64,
    /// What the line says of itself, where it can be read.
    pub seq: Option<u64>,
    pub problem: Problem,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    #[error("segment {expected} is missing")]
    SegmentMissing { expected: u64 },
    #[error("the line is not a hash and a JSON object")]
    LineMalformed,
    #[error("the last line is cut short after {bytes} bytes")]
    LineIncomplete { bytes: u64 },
    #[error("the line is longer than any record may be")]
    LineTooLong,
    #[error("the segment does not start with its header")]
    HeaderMissing,
    #[error("a segment header stands in the middle of a segment")]
    HeaderMisplaced,
    #[error("the segment header is wrong: {what}")]
    HeaderWrong { what: &'static str },
    #[error("expected sequence number {expected}: records were removed, inserted or moved")]
    SequenceGap { expected: u64 },
    #[error("the hash does not fit: this record was changed, or the one before")]
    HashMismatch,
    #[error("the checkpoint is wrong: {what}")]
    CheckpointWrong { what: &'static str },
    #[error("the checkpoint's signature is not by this key over this chain")]
    SignatureBad,
    #[error("made with key {found}, not with {expected}")]
    WrongKey { found: String, expected: String },
    #[error("the head file is missing, so nothing shows that no records were cut off the end")]
    HeadMissing,
    #[error("the head file is not a head")]
    HeadUnreadable,
    #[error("the head file's signature is not by this key")]
    HeadSignatureBad,
    #[error("the chain ends at {}, but reached {seq} before: records were cut off", .last.map_or("nothing".to_owned(), |seq| seq.to_string()))]
    CutShort { seq: u64, last: Option<u64> },
    #[error("this record is not the one that was there when {who} was made")]
    NotTheSame { who: &'static str },
}

impl Problem {
    /// What an agent that stopped in the middle of a write, or a power cut, can leave behind.
    pub fn may_be_a_crash(&self) -> bool {
        matches!(
            self,
            Self::LineMalformed
                | Self::LineIncomplete { .. }
                | Self::LineTooLong
                | Self::HeaderMissing
                | Self::HashMismatch
        )
    }
}

/// What was read, good up to the finding if there is one.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Summary {
    pub segments: u64,
    /// Lines that are neither segment headers nor checkpoints.
    pub records: u64,
    pub checkpoints: u64,
    /// Wall time of the first and last line, RFC 3339.
    pub first_time: Option<String>,
    pub last_time: Option<String>,
    pub last_seq: Option<u64>,
    pub last_hash: Option<ChainHash>,
    /// Records after the last checkpoint: chained, not yet signed.
    pub unsigned_records: u64,
    /// How often wall time went back between lines by more than a second.
    pub clock_steps_back: u64,
    /// The newest sums of what the kernel counted and what records account for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub completeness: Option<Completeness>,
    /// `completeness_mismatch` records.
    pub completeness_mismatches: u64,
    /// Admissions by the agent itself, in words: tails cut after a crash, times when it could not write.
    pub notes: Vec<String>,
}

/// Where the good part of the chain ends: what a writer needs to go on.
#[derive(Clone, Debug)]
pub struct Tail {
    pub segment: u64,
    /// Bytes of `segment` that are good.
    pub segment_bytes: u64,
    /// The segment's header has been read.
    pub has_header: bool,
    pub seq_next: u64,
    pub hash: ChainHash,
    /// Leaves since the last checkpoint, and the sequence number of the first.
    pub merkle: Merkle,
    pub from: u64,
    pub unsigned_records: u64,
}

/// See the module.
#[derive(Debug)]
pub struct Verifier {
    key: VerifyingKey,
    key_id: String,
    /// The chain's first line is taken on trust: it starts a segment that is not the first.
    trust_first_header: bool,
    witnesses: Vec<Witness>,
    partial: Vec<u8>,
    line: u64,
    tail: Tail,
    last_was_checkpoint: bool,
    last_unix_ns: u64,
    summary: Summary,
}

/// Knowledge from outside the chain of what stood where.
#[derive(Clone, Debug)]
struct Witness {
    seq: u64,
    hash: ChainHash,
    who: &'static str,
    met: bool,
}

#[derive(Deserialize)]
struct Admission {
    #[serde(default)]
    bytes: u64,
    #[serde(default)]
    reason: String,
    #[serde(default)]
    since: String,
    #[serde(default)]
    error: String,
    #[serde(default)]
    records_refused: u64,
}

impl Verifier {
    /// From the beginning of the chain.
    pub fn new(key: VerifyingKey) -> Self {
        Self {
            key_id: key_id(&key),
            key,
            trust_first_header: false,
            witnesses: vec![],
            partial: vec![],
            line: 0,
            tail: Tail {
                segment: 0,
                segment_bytes: 0,
                has_header: true,
                seq_next: 0,
                hash: ChainHash::GENESIS,
                merkle: Merkle::default(),
                from: 0,
                unsigned_records: 0,
            },
            last_was_checkpoint: true,
            last_unix_ns: 0,
            summary: Summary::default(),
        }
    }

    /// From the start of `segment` on; what it says of the chain before it is believed.
    pub fn from_segment(key: VerifyingKey, segment: u64) -> Self {
        let mut verifier = Self::new(key);
        if segment > 1 {
            verifier.trust_first_header = true;
            verifier.tail.segment = segment - 1;
        }
        verifier
    }

    /// Reads the content of the head file. Call before any segment is fed.
    pub fn head(&mut self, content: Option<&[u8]>) -> Result<Head, Finding> {
        let finding = |problem| Finding { segment: 0, line: 0, seq: None, problem };
        let content = content.ok_or_else(|| finding(Problem::HeadMissing))?;
        let head: Head = serde_json::from_slice(content).map_err(|_| finding(Problem::HeadUnreadable))?;
        if head.key != self.key_id {
            let (found, expected) = (head.key, self.key_id.clone());
            return Err(finding(Problem::WrongKey { found, expected }));
        }
        if !head.verify(&self.key) {
            return Err(finding(Problem::HeadSignatureBad));
        }
        self.witness(head.seq, head.hash, "the head");
        Ok(head)
    }

    /// Demands that line `seq` be there with this hash: an anchor kept somewhere else.
    pub fn witness(&mut self, seq: u64, hash: ChainHash, who: &'static str) {
        self.witnesses.push(Witness { seq, hash, who, met: false });
    }

    /// The following bytes are those of segment `number`.
    pub fn segment(&mut self, number: u64) -> Result<(), Finding> {
        self.end_of_segment()?;
        let expected = self.tail.segment + 1;
        if number != expected {
            return Err(self.finding(0, None, Problem::SegmentMissing { expected }));
        }
        self.tail.segment = number;
        self.tail.segment_bytes = 0;
        self.tail.has_header = false;
        self.line = 0;
        Ok(())
    }

    /// More bytes of the present segment.
    pub fn feed(&mut self, mut bytes: &[u8]) -> Result<(), Finding> {
        while let Some(end) = memchr::memchr(b'\n', bytes) {
            let (line, rest) = bytes.split_at(end);
            if self.partial.is_empty() {
                self.line(line)?;
            } else {
                let mut whole = std::mem::take(&mut self.partial);
                whole.extend_from_slice(line);
                self.line(&whole)?;
                whole.clear();
                self.partial = whole;
            }
            bytes = rest.get(1..).unwrap_or_default();
        }
        if self.partial.len() + bytes.len() > LINE_BYTES_MAX {
            self.partial.clear();
            return Err(self.finding(self.line + 1, None, Problem::LineTooLong));
        }
        self.partial.extend_from_slice(bytes);
        Ok(())
    }

    /// The chain ends here.
    pub fn finish(&mut self) -> Result<(), Finding> {
        self.end_of_segment()?;
        let last = self.tail.seq_next.checked_sub(1);
        match self.witnesses.iter().find(|witness| !witness.met) {
            Some(&Witness { seq, .. }) => Err(self.finding(0, None, Problem::CutShort { seq, last })),
            None => Ok(()),
        }
    }

    /// All witnesses so far were met: the good part reaches at least as far as they know.
    pub fn witnesses_met(&self) -> bool {
        self.witnesses.iter().all(|witness| witness.met)
    }

    pub fn summary(&self) -> Summary {
        let last = self.tail.seq_next.checked_sub(1);
        Summary {
            last_seq: last,
            last_hash: last.map(|_| self.tail.hash),
            unsigned_records: self.tail.unsigned_records,
            ..self.summary.clone()
        }
    }

    pub fn tail(&self) -> &Tail {
        &self.tail
    }

    fn end_of_segment(&mut self) -> Result<(), Finding> {
        if !self.partial.is_empty() {
            let bytes = self.partial.len() as u64;
            self.partial.clear();
            return Err(self.finding(self.line + 1, None, Problem::LineIncomplete { bytes }));
        }
        if !self.tail.has_header {
            return Err(self.finding(self.line + 1, None, Problem::HeaderMissing));
        }
        Ok(())
    }

    fn line(&mut self, line: &[u8]) -> Result<(), Finding> {
        let number = self.line + 1;
        let Some((hash, json)) = split_line(line) else {
            return Err(self.finding(number, None, Problem::LineMalformed));
        };
        let envelope: Option<Envelope<'_>> = serde_json::from_slice(json).ok();
        let seq = envelope.as_ref().map(|envelope| envelope.seq);
        let fail = |problem| Err(self.finding(number, seq, problem));

        if self.trust_first_header
            && let Ok(start) = serde_json::from_slice::<SegmentStart>(json)
            && let Some(before) = seq.and_then(|seq| seq.checked_sub(1))
        {
            self.trust_first_header = false;
            self.tail.hash = start.previous;
            self.tail.seq_next = before + 1;
            // A segment ends with a checkpoint, so that line is the only leaf before the header.
            self.tail.merkle = Merkle::starting_with(&start.previous);
            self.tail.from = before;
            self.meet_witness(number, before, start.previous)?;
            return self.line(line);
        }
        let expected = self.tail.seq_next;
        if seq.is_some_and(|seq| seq != expected) {
            return fail(Problem::SequenceGap { expected });
        }
        if self.tail.hash.next(json) != hash {
            return fail(Problem::HashMismatch);
        }
        let Some(envelope) = envelope else {
            return fail(Problem::LineMalformed);
        };
        let Some(unix_ns) = parse_time(&envelope.time) else {
            return fail(Problem::LineMalformed);
        };
        let is_header = envelope.event == "segment_start";
        let is_checkpoint = envelope.event == "checkpoint";
        match (is_header, self.tail.has_header) {
            (true, false) => self.check_header(json).or_else(fail)?,
            (false, true) => {}
            (true, true) => return fail(Problem::HeaderMisplaced),
            (false, false) => return fail(Problem::HeaderMissing),
        }
        if is_checkpoint {
            self.check_checkpoint(json, envelope.seq, &envelope.time).or_else(fail)?;
        }
        self.meet_witness(number, envelope.seq, hash)?;

        if is_checkpoint {
            self.tail.from = envelope.seq;
            self.tail.merkle = Merkle::starting_with(&hash);
            self.tail.unsigned_records = 0;
            self.summary.checkpoints += 1;
        } else {
            self.tail.merkle.push(&hash);
            if is_header {
                self.summary.segments += 1;
            } else {
                self.tail.unsigned_records += 1;
                self.summary.records += 1;
            }
        }
        self.note_admission(&envelope, json);
        if self.last_unix_ns > unix_ns.saturating_add(CLOCK_STEP_NS) {
            self.summary.clock_steps_back += 1;
        }
        self.last_unix_ns = unix_ns;
        self.summary.first_time.get_or_insert_with(|| envelope.time.to_string());
        let last_time = self.summary.last_time.get_or_insert_default();
        last_time.clear();
        last_time.push_str(&envelope.time);
        self.last_was_checkpoint = is_checkpoint;
        self.tail.has_header = true;
        self.tail.hash = hash;
        self.tail.seq_next = envelope.seq + 1;
        self.tail.segment_bytes += line.len() as u64 + 1;
        self.line = number;
        Ok(())
    }

    fn check_header(&self, json: &[u8]) -> Result<(), Problem> {
        let wrong = |what| Err(Problem::HeaderWrong { what });
        let Ok(start) = serde_json::from_slice::<SegmentStart>(json) else {
            return wrong("it cannot be read");
        };
        if start.format != FORMAT_VERSION {
            return wrong("another format version");
        }
        if start.segment != self.tail.segment {
            return wrong("another segment number than the file's");
        }
        if start.previous != self.tail.hash {
            return wrong("it does not follow the segment before");
        }
        if !self.last_was_checkpoint {
            return wrong("the segment before does not end with a checkpoint");
        }
        self.check_key(start.key)
    }

    fn check_checkpoint(&self, json: &[u8], seq: u64, time: &str) -> Result<(), Problem> {
        let wrong = |what| Err(Problem::CheckpointWrong { what });
        let Ok(checkpoint) = serde_json::from_slice::<Checkpoint>(json) else {
            return wrong("it cannot be read");
        };
        if checkpoint.segment != self.tail.segment {
            return wrong("another segment");
        }
        if checkpoint.previous != self.tail.hash || checkpoint.from != self.tail.from {
            return wrong("another place in the chain");
        }
        if checkpoint.root != self.tail.merkle.root() {
            return wrong("the Merkle root does not fit");
        }
        self.check_key(checkpoint.key.clone())?;
        if !checkpoint.verify(&self.key, seq, time) {
            return Err(Problem::SignatureBad);
        }
        Ok(())
    }

    fn check_key(&self, found: String) -> Result<(), Problem> {
        if found == self.key_id {
            return Ok(());
        }
        Err(Problem::WrongKey { found, expected: self.key_id.clone() })
    }

    fn meet_witness(&mut self, line: u64, seq: u64, hash: ChainHash) -> Result<(), Finding> {
        let mut contradicted = None;
        for witness in self.witnesses.iter_mut().filter(|witness| witness.seq == seq) {
            if witness.hash == hash {
                witness.met = true;
            } else {
                contradicted = Some(witness.who);
            }
        }
        match contradicted {
            Some(who) => Err(self.finding(line, Some(seq), Problem::NotTheSame { who })),
            None => Ok(()),
        }
    }

    fn note_admission(&mut self, envelope: &Envelope<'_>, json: &[u8]) {
        match &*envelope.event {
            "completeness" => self.summary.completeness = serde_json::from_slice(json).ok(),
            "completeness_mismatch" => self.summary.completeness_mismatches += 1,
            _ => {}
        }
        if !matches!(&*envelope.event, "tail_cut" | "write_failed") || self.summary.notes.len() >= NOTES_MAX {
            return;
        }
        let Ok(said) = serde_json::from_slice::<Admission>(json) else { return };
        let Envelope { seq, time, event, .. } = envelope;
        self.summary.notes.push(match &**event {
            "tail_cut" => {
                format!("{time} seq {seq}: {} bytes cut after a crash ({})", said.bytes, said.reason)
            }
            _ => format!(
                "{time} seq {seq}: could not write since {} ({}); {} records refused with their statements",
                said.since, said.error, said.records_refused
            ),
        });
    }

    fn finding(&self, line: u64, seq: Option<u64>, problem: Problem) -> Finding {
        Finding { segment: self.tail.segment, line, seq, problem }
    }
}

/// Threads stamp records before they queue for the chain: smaller steps back are no news.
const CLOCK_STEP_NS: u64 = 1_000_000_000;
const NOTES_MAX: usize = 100;
