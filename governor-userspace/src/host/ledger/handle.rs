//! The ledger as the rest of the agent sees it: cheap to clone, callable from any thread.
//!
//! Encoding happens on the caller's thread before the chain's lock is taken; under the lock there are
//! the envelope, the hash and a copy into the spool. Flushing to disk happens outside it, and
//! callers that wait for the disk share one flush.
//!
//! Lock order: `syncing`, then `writer`, then `lazies`.

use super::place::{Place, Successor, Whereabouts};
use super::spool::Spool;
use super::writer::Writer;
use super::{LedgerError, keys, recover, segment};
use crate::engine::audit::{AuditRecord, Batch, Head};
use crate::engine::model::Timestamp;
use ed25519_dalek::SigningKey;
use nix::fcntl::Flock;
use parking_lot::{Mutex, MutexGuard};
use std::cell::RefCell;
use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

/// Where the ledger lives and how it behaves.
#[derive(Clone, Debug)]
pub struct LedgerOptions {
    pub dir: PathBuf,
    pub keys_dir: PathBuf,
    /// The tick after a segment reached this size starts the next one; at twice the size an append does.
    pub segment_bytes_max: u64,
    /// A checkpoint follows after at most this many records …
    pub checkpoint_every_records: u64,
    /// … and at most this long after the one before, where there is anything to sign.
    pub checkpoint_every_ms: u64,
    /// Records that [`Ledger::append_lazy`] may keep in memory.
    pub lazies_count_max: usize,
    /// Room for lines that wait for their segment; 0 writes each append to it at once.
    pub spool_bytes: usize,
}

impl LedgerOptions {
    pub fn new(dir: impl Into<PathBuf>, keys_dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            keys_dir: keys_dir.into(),
            segment_bytes_max: 64 << 20,
            checkpoint_every_records: 4096,
            checkpoint_every_ms: 1000,
            lazies_count_max: 4096,
            spool_bytes: 256 << 10,
        }
    }
}

/// The audit chain of one instance, open for writing.
#[derive(Clone)]
pub struct Ledger(Arc<Shared>);

struct Shared {
    options: LedgerOptions,
    key: Arc<SigningKey>,
    writer: Mutex<Writer>,
    lazies: Mutex<Batch>,
    syncing: Mutex<Synced>,
    counters: Counters,
    closed: AtomicBool,
    /// `None` while another agent has the chain.
    lock: Mutex<Option<Flock<File>>>,
    whereabouts: Whereabouts,
}

struct Synced {
    /// Every line before this sequence number is on disk.
    seq_end: u64,
    /// Sequence number of the checkpoint in the head file.
    head_seq: Option<u64>,
    head_at: Timestamp,
}

#[derive(Default)]
struct Counters {
    records: AtomicU64,
    bytes: AtomicU64,
    /// Of writes, as the writer counts them; and of everything else.
    write_errors: AtomicU64,
    errors: AtomicU64,
    lazies_pending: AtomicU64,
    seq_end: AtomicU64,
    segment: AtomicU64,
    checkpoint_seq: AtomicU64,
    checkpoint_unix_ns: AtomicU64,
    head_seq: AtomicU64,
    syncs: AtomicU64,
}

/// Counters since the ledger was opened, and where it stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LedgerStats {
    pub records: u64,
    /// Bytes of JSON of those records, without envelope and hash.
    pub bytes: u64,
    pub errors: u64,
    /// Records in memory that wait for the next write.
    pub lazies_pending: u64,
    /// Sequence number of the last line.
    pub last_seq: u64,
    pub segment: u64,
    pub checkpoint_seq: u64,
    pub checkpoint_unix_ns: u64,
    /// Checkpoint that the head file names: everything up to it is on disk and cannot be cut off unseen.
    pub head_seq: u64,
    /// Flushes to disk.
    pub syncs: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    Ok,
    /// The last write failed. Every append tries again; until one succeeds nothing is recorded.
    Failed {
        since: Timestamp,
        error: String,
        records_refused: u64,
    },
    Closed,
}

impl Ledger {
    /// Opens or starts the chain: takes the lock, loads or makes the keys, checks the end of the chain,
    /// repairs what a crash left. Blocks for the time it takes to read the last segment.
    pub fn open(options: LedgerOptions, now: Timestamp) -> Result<Self, LedgerError> {
        let (lock, key, writer) = open_writer(&options, now)?;
        let ledger = Self(Arc::new(Shared {
            options,
            key,
            closed: AtomicBool::new(false),
            syncing: Mutex::new(Synced { seq_end: 0, head_seq: None, head_at: now }),
            writer: Mutex::new(writer),
            lazies: Mutex::default(),
            counters: Counters::default(),
            lock: Mutex::new(Some(lock)),
            whereabouts: Whereabouts::default(),
        }));
        ledger.checkpoint(now)?;
        Ok(ledger)
    }

    /// Puts everything on disk, signs it, and gives the chain away: another agent may open it when this
    /// returns. Appends wait until [`Ledger::follow`] or [`Ledger::take_back`]. On an error the chain is still
    /// this agent's.
    pub fn hand_over(&self, now: Timestamp) -> Result<(), LedgerError> {
        self.flush()?;
        self.0.whereabouts.set(Place::Between);
        let signed = self.sign(now, true);
        if let Err(error) = signed {
            self.0.writer.lock().closed = false;
            self.0.whereabouts.set(Place::Own);
            return Err(error);
        }
        self.0.writer.lock().leave_spool();
        // Closing the descriptor releases the lock.
        drop(self.0.lock.lock().take());
        Ok(())
    }

    pub fn is_handed_over(&self) -> bool {
        self.0.lock.lock().is_none()
    }

    /// Another agent has the chain: everything goes there from now on.
    pub fn follow(&self, successor: Arc<dyn Successor>) {
        self.0.whereabouts.set(Place::Elsewhere(successor));
    }

    /// Nobody took it: opens the chain again.
    pub fn take_back(&self, now: Timestamp) -> Result<(), LedgerError> {
        let (lock, _key, writer) = open_writer(&self.0.options, now)?;
        *self.0.lock.lock() = Some(lock);
        *self.0.syncing.lock() = Synced { seq_end: 0, head_seq: None, head_at: now };
        *self.0.writer.lock() = writer;
        self.0.whereabouts.set(Place::Own);
        self.checkpoint(now)
    }

    /// Records of another agent, which has them encoded already.
    pub fn append_batch(&self, batch: &Batch, durable: bool) -> Result<(), LedgerError> {
        match self.place(batch, durable)? {
            Some(seq_end) if durable => self.sync_to(seq_end),
            _ => Ok(()),
        }
    }

    /// Writes records in order, at once: into the spool, or with one write(2). `Ok`: they are in the page
    /// cache and survive the death of this process. Error: none of them is in the chain.
    pub fn append(&self, records: &[AuditRecord]) -> Result<(), LedgerError> {
        self.encoded(records, false).map(|_| ())
    }

    /// As [`Ledger::append`], and on disk before it returns: survives a power cut.
    pub fn append_sync(&self, records: &[AuditRecord]) -> Result<(), LedgerError> {
        match self.encoded(records, true)? {
            Some(seq_end) => self.sync_to(seq_end),
            // Whoever has the chain has put it on disk.
            None => Ok(()),
        }
    }

    /// Keeps the record in memory until the next append, tick or flush. A `kill -9` may lose it. Where
    /// too many wait already, writes at once.
    pub fn append_lazy(&self, record: &AuditRecord) -> Result<(), LedgerError> {
        if self.0.closed.load(Relaxed) {
            return Err(LedgerError::Closed);
        }
        let mut lazies = self.0.lazies.lock();
        let pending = self.0.counters.lazies_pending.load(Relaxed);
        if pending >= self.0.options.lazies_count_max as u64 || lazies.bytes_count() > LAZIES_BYTES_MAX {
            drop(lazies);
            return self.append(std::slice::from_ref(record));
        }
        lazies.push(record)?;
        self.0.counters.lazies_pending.fetch_add(1, Relaxed);
        Ok(())
    }

    /// Writes what [`Ledger::append_lazy`] queued.
    pub fn flush(&self) -> Result<(), LedgerError> {
        self.append(&[])
    }

    /// Signs the chain up to here, puts it on disk and publishes the head.
    pub fn checkpoint(&self, now: Timestamp) -> Result<(), LedgerError> {
        self.sign(now, false)
    }

    /// The periodic work; call it every 100 ms or so. Writes queued records, signs when it is time, and
    /// tries again what failed.
    pub fn tick(&self, now: Timestamp) -> Result<(), LedgerError> {
        if self.0.counters.lazies_pending.load(Relaxed) > 0 {
            self.flush()?;
        }
        let is_full = {
            let mut writer = self.0.writer.lock();
            writer.rotation_blocked = false;
            let settled = writer.settle();
            self.count(&writer);
            settled?;
            writer.is_full() && !writer.closed
        };
        if is_full {
            // First without the chain's lock, so that little is left to flush under it.
            self.sync(&mut self.0.syncing.lock())?;
            let mut writer = self.0.writer.lock();
            if writer.is_full() && !writer.closed {
                writer.rotate_or_go_on(now);
                self.count(&writer);
            }
        }
        let every_ns = self.0.options.checkpoint_every_ms.saturating_mul(1_000_000);
        let mark = {
            let mut writer = self.0.writer.lock();
            if writer.closed {
                return Ok(());
            }
            let due = writer.unsigned_records > 0
                && writer.last_checkpoint.is_none_or(|mark| now.since_ns(mark.at) >= every_ns);
            if due || writer.failure.is_some() {
                let result = writer.checkpoint(now);
                self.count(&writer);
                result?;
            }
            writer.last_checkpoint
        };
        let head_is_due = {
            let synced = self.0.syncing.lock();
            mark.is_some_and(|mark| synced.head_seq.is_none_or(|seq| seq < mark.seq))
                && now.since_ns(synced.head_at) >= every_ns
        };
        if head_is_due { self.publish_head(now) } else { Ok(()) }
    }

    /// Writes everything, signs it, puts it on disk, and refuses from now on. Other clones see that too.
    pub fn close(&self, now: Timestamp) -> Result<(), LedgerError> {
        self.0.closed.store(true, Relaxed);
        match self.sign(now, true) {
            Err(LedgerError::Closed) => Ok(()),
            other => other,
        }
    }

    pub fn health(&self) -> Health {
        let writer = self.0.writer.lock();
        match &writer.failure {
            _ if writer.closed => Health::Closed,
            None => Health::Ok,
            Some(failure) => Health::Failed {
                since: failure.since,
                error: failure.error.clone(),
                records_refused: failure.records_refused,
            },
        }
    }

    /// Never waits for a write.
    pub fn stats(&self) -> LedgerStats {
        let counters = &self.0.counters;
        LedgerStats {
            records: counters.records.load(Relaxed),
            bytes: counters.bytes.load(Relaxed),
            errors: counters.errors.load(Relaxed) + counters.write_errors.load(Relaxed),
            lazies_pending: counters.lazies_pending.load(Relaxed),
            last_seq: counters.seq_end.load(Relaxed).saturating_sub(1),
            segment: counters.segment.load(Relaxed),
            checkpoint_seq: counters.checkpoint_seq.load(Relaxed),
            checkpoint_unix_ns: counters.checkpoint_unix_ns.load(Relaxed),
            head_seq: counters.head_seq.load(Relaxed),
            syncs: counters.syncs.load(Relaxed),
        }
    }

    fn sign(&self, now: Timestamp, last: bool) -> Result<(), LedgerError> {
        // While it is handed over, what is queued waits for whoever has the chain then.
        let flushed = if self.0.whereabouts.is_between() { Ok(()) } else { self.flush() };
        let signed = {
            let mut writer = self.0.writer.lock();
            if writer.closed {
                return flushed.and(Err(LedgerError::Closed));
            }
            let result = writer.checkpoint(now);
            writer.closed = last;
            self.count(&writer);
            result
        };
        flushed?;
        signed?;
        self.publish_head(now)
    }

    fn encoded(&self, records: &[AuditRecord], durable: bool) -> Result<Option<u64>, LedgerError> {
        ENCODED.with_borrow_mut(|batch| {
            batch.clear();
            for record in records {
                batch.push(record)?;
            }
            self.place(batch, durable)
        })
    }

    /// Gives records their place in the chain. Answers the sequence number after the last line written; `None`
    /// where another agent has written them.
    fn place(&self, batch: &Batch, durable: bool) -> Result<Option<u64>, LedgerError> {
        loop {
            {
                let mut writer = self.0.writer.lock();
                if !writer.closed {
                    return self.place_here(&mut writer, batch).map(Some);
                }
            }
            match self.0.whereabouts.settled()? {
                // Taken back meanwhile, unless it was closed for good.
                Place::Own if self.0.writer.lock().closed => return Err(LedgerError::Closed),
                Place::Own | Place::Between => {}
                Place::Elsewhere(successor) => {
                    return self.place_elsewhere(&*successor, batch, durable).map(|()| None);
                }
            }
        }
    }

    fn place_here(&self, writer: &mut Writer, batch: &Batch) -> Result<u64, LedgerError> {
        // What was queued first comes first in the chain.
        writer.carry.absorb(&mut self.0.lazies.lock());
        let records = (writer.carry.len() + batch.len()) as u64;
        let bytes = (writer.carry.bytes_count() + batch.bytes_count()) as u64;
        let result = writer.append(batch);
        if result.is_ok() {
            self.0.counters.records.fetch_add(records, Relaxed);
            self.0.counters.bytes.fetch_add(bytes, Relaxed);
            let written = records - batch.len() as u64;
            self.0.counters.lazies_pending.fetch_sub(written, Relaxed);
        }
        self.count(writer);
        result.map(|()| writer.seq_next)
    }

    fn place_elsewhere(
        &self,
        successor: &dyn Successor,
        batch: &Batch,
        durable: bool,
    ) -> Result<(), LedgerError> {
        // One at a time, so that what was queued first comes first there too.
        let mut writer = self.0.writer.lock();
        writer.carry.absorb(&mut self.0.lazies.lock());
        let queued = writer.carry.len() as u64;
        if queued > 0 {
            successor.append(&writer.carry, durable)?;
            writer.carry.clear();
            self.0.counters.lazies_pending.fetch_sub(queued, Relaxed);
        }
        if batch.is_empty() { Ok(()) } else { successor.append(batch, durable) }
    }

    /// Everyone who waits here at the same time shares one flush of the disk.
    fn sync_to(&self, seq_end: u64) -> Result<(), LedgerError> {
        let mut synced = self.0.syncing.lock();
        if synced.seq_end >= seq_end { Ok(()) } else { self.sync(&mut synced) }
    }

    fn sync(&self, synced: &mut MutexGuard<'_, Synced>) -> Result<(), LedgerError> {
        // Earlier segments were put on disk when they ended.
        let (file, seq_end) = {
            let mut writer = self.0.writer.lock();
            writer.settle().inspect_err(|_| self.count(&writer))?;
            (Arc::clone(&writer.file), writer.seq_next)
        };
        self.0.counters.syncs.fetch_add(1, Relaxed);
        if let Err(source) = file.sync_data() {
            // What the kernel could not write it may have forgotten: the gap goes on record.
            let mut writer = self.0.writer.lock();
            let at = writer.last_at;
            writer.fail(at, &source, 0);
            self.count(&writer);
            return Err(LedgerError::Sync { source });
        }
        synced.seq_end = synced.seq_end.max(seq_end);
        Ok(())
    }

    /// The chain goes to disk first: a head must never know more than the disk.
    fn publish_head(&self, now: Timestamp) -> Result<(), LedgerError> {
        let mut synced = self.0.syncing.lock();
        let mark = self.0.writer.lock().last_checkpoint;
        let Some(mark) = mark.filter(|mark| synced.head_seq.is_none_or(|seq| seq < mark.seq)) else {
            return Ok(());
        };
        if synced.seq_end <= mark.seq {
            self.sync(&mut synced)?;
        }
        let head = Head::sign(&self.0.key, mark.segment, mark.seq, mark.hash, mark.at.rfc3339());
        let dir = &self.0.options.dir;
        segment::write_head(dir, &head).map_err(|source| {
            self.0.counters.errors.fetch_add(1, Relaxed);
            LedgerError::File { path: dir.join(segment::HEAD_FILE), source }
        })?;
        synced.head_seq = Some(head.seq);
        synced.head_at = now;
        self.0.counters.head_seq.store(head.seq, Relaxed);
        Ok(())
    }

    fn count(&self, writer: &Writer) {
        let counters = &self.0.counters;
        counters.seq_end.store(writer.seq_next, Relaxed);
        counters.write_errors.store(writer.errors_count, Relaxed);
        counters.segment.store(writer.segment, Relaxed);
        if let Some(mark) = writer.last_checkpoint {
            counters.checkpoint_seq.store(mark.seq, Relaxed);
            counters.checkpoint_unix_ns.store(mark.at.unix_ns, Relaxed);
        }
    }
}

/// Takes the lock, loads or makes the keys, checks the end of the chain and repairs what a crash left.
fn open_writer(
    options: &LedgerOptions,
    now: Timestamp,
) -> Result<(Flock<File>, Arc<SigningKey>, Writer), LedgerError> {
    let lock = recover::lock_directory(&options.dir)?;
    let key = Arc::new(keys::load_or_create(&options.keys_dir)?);
    let recovered = recover::recover(&options.dir, &key.verifying_key())?;
    let mut writer = Writer::resume(
        options.dir.clone(),
        Arc::clone(&key),
        recovered.tail,
        options.segment_bytes_max.max(1),
        options.checkpoint_every_records.max(1),
        now,
    )?;
    if let Some(cut) = recovered.cut {
        writer.write_event(now, &cut)?;
    }
    // What it held is in the segment by now. Without one (too little space) everything still works.
    if let Ok(Some(spool)) = Spool::create(&options.dir, options.spool_bytes) {
        writer.use_spool(spool);
    }
    Ok((lock, key, writer))
}

impl Drop for Shared {
    /// Without [`Ledger::close`] nothing is signed, but nothing that was queued is lost either.
    fn drop(&mut self) {
        let writer = self.writer.get_mut();
        writer.carry.absorb(self.lazies.get_mut());
        let _ = writer.append(&Batch::default());
        let _ = writer.flush_spool();
    }
}

impl std::fmt::Debug for Ledger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ledger").field("dir", &self.0.options.dir).field("stats", &self.stats()).finish()
    }
}

thread_local! {
    static ENCODED: RefCell<Batch> = RefCell::default();
}

const LAZIES_BYTES_MAX: usize = 4 << 20;
