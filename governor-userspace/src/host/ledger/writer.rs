//! The end of the chain: gives records their place and writes them, all or nothing.
//!
//! Lines of records go through the spool where there is one; the ledger's own lines go to the file at once,
//! behind what the spool holds.
//!
//! Invariant: `len`, `seq_next`, `hash` and `merkle` describe what is whole in the file and, behind it, in the
//! spool. They move only after a write went through; after a failed one the file is cut back to its good
//! part before anything else is written.

use super::spool::Spool;
use super::{LedgerError, segment};
use crate::engine::audit::{
    Batch, ChainHash, Checkpoint, Encoder, FORMAT_VERSION, LedgerEvent, Merkle, SegmentStart, Tail, key_id,
    push_line,
};
use crate::engine::model::Timestamp;
use ed25519_dalek::SigningKey;
use std::fs::File;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::sync::Arc;

pub(super) struct Writer {
    dir: PathBuf,
    key: Arc<SigningKey>,
    segment_bytes_max: u64,
    checkpoint_every_records: u64,

    pub(super) file: Arc<File>,
    spool: Option<Spool>,
    pub(super) segment: u64,
    /// Bytes of the segment, those in the spool included.
    len: u64,
    pub(super) seq_next: u64,
    hash: ChainHash,
    merkle: Merkle,
    from: u64,
    /// Records since the last checkpoint.
    pub(super) unsigned_records: u64,
    pub(super) last_checkpoint: Option<Mark>,
    /// Time of the newest line.
    pub(super) last_at: Timestamp,

    pub(super) failure: Option<Failure>,
    /// The file may hold part of a failed write beyond `len`.
    tail_is_dirty: bool,
    /// A new segment could not be made; the present one goes on until the next tick.
    pub(super) rotation_blocked: bool,
    pub(super) closed: bool,
    pub(super) errors_count: u64,

    /// Queued records that wait for a write that goes through.
    pub(super) carry: Batch,
    encoder: Encoder,
    lines: Vec<u8>,
    leaves: Vec<ChainHash>,
}

/// A checkpoint that is in the chain.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mark {
    pub segment: u64,
    pub seq: u64,
    pub hash: ChainHash,
    pub at: Timestamp,
}

/// Since when, and why, nothing can be written.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    pub since: Timestamp,
    pub error: String,
    pub records_refused: u64,
}

impl Writer {
    /// Goes on at `tail`, whose segment is there and has its header, or starts that segment.
    pub(super) fn resume(
        dir: PathBuf,
        key: Arc<SigningKey>,
        tail: Tail,
        segment_bytes_max: u64,
        checkpoint_every_records: u64,
        now: Timestamp,
    ) -> Result<Self, LedgerError> {
        let number = tail.segment.max(1);
        let path = segment::path_of(&dir, number);
        let exists = path.exists();
        let file = segment::open(&dir, number, !exists)
            .and_then(|file| segment::sync_directory(&dir).map(|()| file))
            .map_err(|source| LedgerError::File { path, source })?;
        let mut writer = Self {
            dir,
            key,
            segment_bytes_max,
            checkpoint_every_records,
            file: Arc::new(file),
            spool: None,
            segment: number,
            len: tail.segment_bytes,
            seq_next: tail.seq_next,
            hash: tail.hash,
            merkle: tail.merkle,
            from: tail.from,
            unsigned_records: tail.unsigned_records,
            last_checkpoint: None,
            last_at: now,
            failure: None,
            tail_is_dirty: false,
            rotation_blocked: false,
            closed: false,
            errors_count: 0,
            carry: Batch::default(),
            encoder: Encoder::default(),
            lines: Vec::new(),
            leaves: Vec::new(),
        };
        if tail.segment_bytes == 0 {
            writer.write_header(now)?;
        }
        Ok(writer)
    }

    /// From now on records wait here for their segment.
    pub(super) fn use_spool(&mut self, spool: Spool) {
        self.spool = Some(spool);
    }

    /// The chain goes to another agent, which makes the spool anew. Nothing waits in it.
    pub(super) fn leave_spool(&mut self) {
        self.spool = None;
    }

    /// Writes what was carried over and then `batch`, as one write. On error none of `batch` is in the
    /// chain, and what was carried over stays so.
    pub(super) fn append(&mut self, batch: &Batch) -> Result<(), LedgerError> {
        if self.closed {
            return Err(LedgerError::Closed);
        }
        let carry = std::mem::take(&mut self.carry);
        let count = (carry.len() + batch.len()) as u64;
        let mut last_at = None;
        self.start_lines();
        for (at, session, event) in carry.iter().chain(batch.iter()) {
            // The gap is told in front of the first record that gets through after it.
            if last_at.is_none()
                && let Some(failure) = self.failure.clone()
            {
                self.push_event(at, &failure.event());
            }
            last_at = Some(at);
            self.push(at, session, event);
        }
        self.carry = carry;
        let Some(at) = last_at else { return Ok(()) };
        // After a failed write nothing counts but a write that goes through.
        let written = if self.failure.is_none() && self.spool_lines() { Ok(()) } else { self.write_lines() };
        if let Err(source) = written {
            self.fail(at, &source, batch.len() as u64);
            return Err(LedgerError::Write { source });
        }
        self.failure = None;
        self.last_at = at;
        self.carry.clear();
        self.unsigned_records += count;
        // The records are safe: what goes wrong from here on is counted, not answered.
        if self.unsigned_records >= self.checkpoint_every_records {
            let _ = self.checkpoint(at);
        }
        // The tick rotates before that, without making anyone wait for the disk.
        if self.len >= self.segment_bytes_max.saturating_mul(2) {
            self.rotate_or_go_on(at);
        }
        Ok(())
    }

    /// Signs everything up to here. Carried records are not included: append them before.
    pub(super) fn checkpoint(&mut self, now: Timestamp) -> Result<Mark, LedgerError> {
        self.start_lines();
        if let Some(failure) = self.failure.clone() {
            self.push_event(now, &failure.event());
        }
        // Leaves of lines that are in this same write count too.
        let mut merkle = self.merkle.clone();
        self.leaves.iter().for_each(|leaf| merkle.push(leaf));
        let seq = self.seq_next + self.leaves.len() as u64;
        let previous = self.leaves.last().copied().unwrap_or(self.hash);
        let checkpoint = Checkpoint::sign(
            &self.key,
            self.segment,
            self.from,
            seq,
            previous,
            merkle.root(),
            &now.rfc3339(),
        );
        self.push_event(now, &LedgerEvent::Checkpoint(checkpoint));
        if let Err(source) = self.write_lines() {
            self.fail(now, &source, 0);
            return Err(LedgerError::Write { source });
        }
        self.failure = None;
        self.unsigned_records = 0;
        self.from = seq;
        self.merkle = Merkle::starting_with(&self.hash);
        let mark = Mark { segment: self.segment, seq, hash: self.hash, at: now };
        self.last_checkpoint = Some(mark);
        Ok(mark)
    }

    /// Writes one record of the ledger's own.
    pub(super) fn write_event(&mut self, now: Timestamp, event: &LedgerEvent) -> Result<(), LedgerError> {
        self.start_lines();
        self.push_event(now, event);
        self.write_lines().map_err(|source| LedgerError::Write { source })?;
        self.unsigned_records += 1;
        Ok(())
    }

    /// The segment has reached its size.
    pub(super) fn is_full(&self) -> bool {
        self.len >= self.segment_bytes_max
    }

    /// Starts the next segment; where that fails, the present one goes on until the next tick.
    pub(super) fn rotate_or_go_on(&mut self, now: Timestamp) {
        if !self.rotation_blocked && self.rotate(now).is_err() {
            self.rotation_blocked = true;
            self.errors_count += 1;
        }
    }

    /// A segment ends with a checkpoint and is on disk before the next one starts.
    fn rotate(&mut self, now: Timestamp) -> Result<(), LedgerError> {
        if self.last_checkpoint.is_none_or(|mark| mark.seq + 1 != self.seq_next) {
            self.checkpoint(now)?;
        }
        self.flush_spool().map_err(|source| LedgerError::Write { source })?;
        self.file.sync_data().map_err(|source| LedgerError::Sync { source })?;
        let number = self.segment + 1;
        let path = segment::path_of(&self.dir, number);
        let file = segment::open(&self.dir, number, true)
            .map_err(|source| LedgerError::File { path: path.clone(), source })?;
        let before = (std::mem::replace(&mut self.file, Arc::new(file)), self.segment, self.len);
        self.segment = number;
        self.len = 0;
        let started = self.write_header(now).and_then(|()| {
            segment::sync_directory(&self.dir)
                .map_err(|source| LedgerError::File { path: self.dir.clone(), source })
        });
        if let Err(error) = started {
            if self.len > 0 {
                // The header is in the chain; only its name is not known to be on disk.
                self.errors_count += 1;
                return Ok(());
            }
            (self.file, self.segment, self.len) = before;
            let _ = std::fs::remove_file(&path);
            return Err(error);
        }
        Ok(())
    }

    fn write_header(&mut self, now: Timestamp) -> Result<(), LedgerError> {
        let header = LedgerEvent::SegmentStart(SegmentStart {
            format: FORMAT_VERSION,
            segment: self.segment,
            previous: self.hash,
            key: key_id(&self.key.verifying_key()),
        });
        self.start_lines();
        self.push_event(now, &header);
        self.write_lines().map_err(|source| {
            // The half of a header goes away with its file.
            self.tail_is_dirty = false;
            LedgerError::Write { source }
        })
    }

    fn start_lines(&mut self) {
        self.lines.clear();
        self.lines.shrink_to(LINES_BYTES_KEPT_MAX);
        self.leaves.clear();
    }

    fn push(&mut self, at: Timestamp, session: Option<&str>, event: &[u8]) {
        let seq = self.seq_next + self.leaves.len() as u64;
        let previous = self.leaves.last().copied().unwrap_or(self.hash);
        let encoder = &mut self.encoder;
        let hash = push_line(&mut self.lines, &previous, |out| encoder.write(out, seq, at, session, event));
        self.leaves.push(hash);
    }

    fn push_event(&mut self, at: Timestamp, event: &LedgerEvent) {
        // Strings and numbers only: this cannot fail, and an empty object would still be chained.
        let json = serde_json::to_vec(event).unwrap_or_else(|_| b"{}".to_vec());
        self.push(at, None, &json);
    }

    /// Everything that was pushed goes to the spool, and the chain moves on. False where it has no room.
    fn spool_lines(&mut self) -> bool {
        let fits = self.spool.as_mut().is_some_and(|spool| spool.push(&self.lines));
        if fits {
            self.advance();
        }
        fits
    }

    /// One write(2) for everything that was pushed, behind what the spool holds; then the chain moves on.
    fn write_lines(&mut self) -> io::Result<()> {
        self.flush_spool()?;
        write_whole(&self.file, self.len, &mut self.tail_is_dirty, &self.lines)?;
        self.advance();
        Ok(())
    }

    /// What waits in the spool goes to the segment, with one write(2). On error it waits on.
    pub(super) fn flush_spool(&mut self) -> io::Result<()> {
        let Some(spool) = &mut self.spool else { return Ok(()) };
        let lines = spool.content();
        if !lines.is_empty() {
            write_whole(&self.file, self.len - lines.len() as u64, &mut self.tail_is_dirty, lines)?;
            spool.clear();
        }
        Ok(())
    }

    /// [`Self::flush_spool`], with a failure noted.
    pub(super) fn settle(&mut self) -> Result<(), LedgerError> {
        self.flush_spool().map_err(|source| {
            self.fail(self.last_at, &source, 0);
            LedgerError::Write { source }
        })
    }

    /// The lines are in the chain.
    fn advance(&mut self) {
        self.len += self.lines.len() as u64;
        self.seq_next += self.leaves.len() as u64;
        if let Some(&last) = self.leaves.last() {
            self.hash = last;
        }
        self.leaves.iter().for_each(|leaf| self.merkle.push(leaf));
    }

    pub(super) fn fail(&mut self, now: Timestamp, error: &io::Error, records_refused: u64) {
        self.errors_count += 1;
        let failure = self.failure.get_or_insert_with(|| Failure {
            since: now,
            error: String::new(),
            records_refused: 0,
        });
        failure.error = error.to_string();
        failure.records_refused += records_refused;
    }
}

/// Appends to a file whose good part ends at `len`: everything, or nothing of it stays.
fn write_whole(file: &File, len: u64, tail_is_dirty: &mut bool, bytes: &[u8]) -> io::Result<()> {
    let mut file = file;
    if *tail_is_dirty {
        file.set_len(len)?;
        *tail_is_dirty = false;
    }
    file.write_all(bytes).inspect_err(|_| *tail_is_dirty = file.set_len(len).is_err())
}

impl Failure {
    fn event(&self) -> LedgerEvent {
        LedgerEvent::WriteFailed {
            since: self.since.rfc3339(),
            error: self.error.clone(),
            records_refused: self.records_refused,
        }
    }
}

const LINES_BYTES_KEPT_MAX: usize = 4 << 20;
