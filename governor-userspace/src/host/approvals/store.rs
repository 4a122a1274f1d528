//! The durable queue: submit, answer exactly once, expire, keep as records.
//!
//! Each request is one file from the moment it is submitted, so a restart of the agent forgets
//! nothing: what was pending then has lost its connection and becomes `lost`. Ended requests stay
//! for a time, bounded in number and bytes.
//!
//! Invariants: an id is in `pending` or in `ended`, never both; it leaves `pending` once, under the
//! lock, after its file says how it ended; the waiting session gets that same answer.
//! A file that cannot be written changes nothing: an answer that is not on disk was not given.
//!
//! All methods block on the disk; async callers wrap them in `spawn_blocking`.

use super::entry::{self, Approval, StateFilter};
use super::error::{AnswerError, LookupError, StoreError, SubmitError};
use super::id;
use crate::engine::approval::{Answer, ApprovalRequest, State};
use crate::engine::model::Timestamp;
use crate::host::clock;
use crate::host::telemetry::Metrics;
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::oneshot;

/// Bounds of the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ApprovalLimits {
    /// Statements that may wait at once; one more is refused.
    pub pending_max: usize,
    /// Ended requests kept as records.
    pub ended_max: usize,
    /// Bytes of ended requests kept as records.
    pub ended_bytes_max: u64,
    /// Age of the oldest ended request kept, nanoseconds since it ended.
    pub ended_age_ns_max: u64,
}

impl Default for ApprovalLimits {
    fn default() -> Self {
        Self {
            pending_max: 256,
            ended_max: 10_000,
            ended_bytes_max: 256 << 20,
            ended_age_ns_max: 30 * 24 * 3600 * 1_000_000_000,
        }
    }
}

/// A request that now waits.
#[derive(Debug)]
pub struct Submitted {
    pub id: String,
    /// Yields the one answer. Dropping it says that the client went away: nobody can approve then,
    /// and the next tick ends the request as lost ([`ApprovalStore::withdraw`] does at once).
    pub answer: oneshot::Receiver<Answer>,
}

/// The queue of one agent. Share it by reference.
#[derive(Debug)]
pub struct ApprovalStore {
    pub(super) dir: PathBuf,
    limits: ApprovalLimits,
    /// Holds are counted here and nowhere else.
    metrics: Arc<Metrics>,
    /// Read without the lock by metrics and status.
    pending_count: AtomicUsize,
    pub(super) queue: Mutex<Queue>,
    /// Another agent took over: people answer there.
    pub(super) stands_beside: AtomicBool,
    /// This agent took over, and the one before still has sessions.
    pub(super) has_predecessor: AtomicBool,
}

#[derive(Debug, Default)]
pub(super) struct Queue {
    pending: BTreeMap<String, Waiting>,
    ended: BTreeMap<String, Ended>,
    /// The same as `ended`, oldest first: (wall time of its end, id).
    ended_by_time: BTreeSet<(u64, String)>,
    ended_bytes: u64,
}

#[derive(Debug)]
struct Waiting {
    request: ApprovalRequest,
    answer: oneshot::Sender<Answer>,
}

/// What is kept in memory of an ended request; the rest is in its file.
#[derive(Debug)]
struct Ended {
    at_unix_ns: u64,
    bytes: u64,
}

impl ApprovalStore {
    /// Opens the directory, making it where missing. Whatever was pending in an earlier run is
    /// written down as lost, and handed back so that the audit can say so too. A file that cannot
    /// be read is left alone and logged.
    pub fn open(
        dir: impl Into<PathBuf>,
        limits: ApprovalLimits,
        metrics: Arc<Metrics>,
        now: Timestamp,
    ) -> Result<(Self, Vec<Approval>), StoreError> {
        Self::open_beside(dir, limits, metrics, now, false)
    }

    /// As [`ApprovalStore::open`]. With a predecessor what is pending waits there, and nothing is lost yet.
    pub fn open_beside(
        dir: impl Into<PathBuf>,
        limits: ApprovalLimits,
        metrics: Arc<Metrics>,
        now: Timestamp,
        has_predecessor: bool,
    ) -> Result<(Self, Vec<Approval>), StoreError> {
        let dir = dir.into();
        let failed = |source| StoreError::Io { path: dir.clone(), source };
        DirBuilder::new().recursive(true).mode(0o700).create(&dir).map_err(failed)?;
        let mut queue = Queue::default();
        let mut lost = Vec::new();
        // Listed first: loading writes temporary files of its own.
        let (temporary, rest): (Vec<PathBuf>, Vec<PathBuf>) =
            list(&dir).map_err(failed)?.into_iter().partition(|path| has_extension(path, entry::TEMPORARY));
        // Those of a predecessor are still in use.
        for path in temporary.iter().filter(|_| !has_predecessor) {
            fs::remove_file(path).map_err(failed)?;
        }
        let waits_elsewhere = |path: &PathBuf| {
            let id = path.file_stem().and_then(|name| name.to_str()).unwrap_or_default();
            has_predecessor && entry::read(&dir, id).is_ok_and(|approval| approval.is_pending())
        };
        for path in rest.iter().filter(|path| has_extension(path, "json") && !waits_elsewhere(path)) {
            lost.extend(queue.load(&dir, path, now).map_err(failed)?);
        }
        let pending_count = AtomicUsize::new(0);
        let store = Self {
            dir,
            limits,
            metrics,
            pending_count,
            queue: Mutex::new(queue),
            stands_beside: AtomicBool::new(false),
            has_predecessor: AtomicBool::new(has_predecessor),
        };
        store.forget_old(&mut store.queue.lock(), now);
        Ok((store, lost))
    }

    /// An id that no request on disk has. Not reserved: [`ApprovalStore::submit`] checks again.
    pub fn new_id(&self) -> Result<String, SubmitError> {
        let queue = self.queue.lock();
        for _ in 0..ID_ATTEMPTS {
            let id = id::random().map_err(|_| SubmitError::NoId)?;
            if !queue.knows(&id) {
                return Ok(id);
            }
        }
        Err(SubmitError::NoId)
    }

    /// Lets a statement wait. An empty `request.id` is filled in. On disk when this returns.
    pub fn submit(&self, mut request: ApprovalRequest) -> Result<Submitted, SubmitError> {
        if request.id.is_empty() {
            request.id = self.new_id()?;
        }
        let mut queue = self.queue.lock();
        if queue.pending.len() >= self.limits.pending_max {
            return Err(SubmitError::Full { limit: self.limits.pending_max });
        }
        if !id::is_id(&request.id) || queue.knows(&request.id) {
            return Err(SubmitError::BadId { id: request.id });
        }
        let id = request.id.clone();
        let approval = Approval { request, state: State::Pending };
        self.write(&approval)?;
        let (sender, receiver) = oneshot::channel();
        queue.pending.insert(id.clone(), Waiting { request: approval.request, answer: sender });
        self.pending_count.store(queue.pending.len(), Ordering::Relaxed);
        self.metrics.hold_started();
        Ok(Submitted { id, answer: receiver })
    }

    /// Gives a person's answer. The first wins; every later one is told who was first.
    /// An answer that comes after the request's time is over finds it expired.
    pub fn answer(&self, id: &str, answer: Answer, now: Timestamp) -> Result<Approval, AnswerError> {
        let elsewhere =
            self.has_predecessor.load(Ordering::Acquire) && !self.queue.lock().pending.contains_key(id);
        if elsewhere { self.answer_beside(id, &answer) } else { self.end(id, answer, now) }
    }

    /// Ends a request without a person: its client cancelled or went away, or the agent stops.
    pub fn withdraw(&self, id: &str, answer: Answer, now: Timestamp) -> Result<Approval, AnswerError> {
        self.end(id, answer, now)
    }

    /// Ends every request whose time is over or whose client is gone, and drops old records. Call it
    /// about once a second. Answers the ids that ended; one whose file could not be written is told
    /// to its client all the same and will be found as lost by the next start.
    pub fn tick(&self, now: Timestamp) -> Vec<String> {
        let mut queue = self.queue.lock();
        let mut over: Vec<(String, Answer)> =
            queue.pending.iter().filter_map(|(id, waiting)| Some((id.clone(), waiting.over(now)?))).collect();
        over.extend(self.answers_beside(queue.pending.keys()));
        for (id, answer) in &over {
            if let Err(error) = self.end_locked(&mut queue, id, answer.clone(), now) {
                tracing::error!(%id, %error, "an approval request that ended could not be written");
                self.deliver(&mut queue, id, answer, now);
            }
        }
        if !self.stands_beside.load(Ordering::Acquire) {
            self.forget_old(&mut queue, now);
        }
        over.into_iter().map(|(id, _)| id).collect()
    }

    /// Calls [`ApprovalStore::tick`] until dropped.
    pub async fn run_expiry(self: Arc<Self>) {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let store = Arc::clone(&self);
            let _ = tokio::task::spawn_blocking(move || store.tick(clock::now())).await;
        }
    }

    /// Ends everything that waits, because the agent stops.
    pub fn withdraw_all(&self, reason: &str, now: Timestamp) {
        let ids: Vec<String> = self.queue.lock().pending.keys().cloned().collect();
        for id in ids {
            if let Err(error) = self.withdraw(&id, Answer::Lost { reason: reason.into() }, now) {
                tracing::warn!(%id, %error, "an approval request could not be ended");
            }
        }
    }

    /// Statements that wait now.
    pub fn pending_count(&self) -> usize {
        self.pending_count.load(Ordering::Relaxed)
    }

    /// Requests, newest first, at most `limit`: those that wait before those that ended.
    pub fn list(&self, filter: StateFilter, limit: usize) -> Vec<Approval> {
        let (mut found, ended): (Vec<Approval>, Vec<String>) = {
            let queue = self.queue.lock();
            let pending = queue.pending.values().map(Waiting::approval);
            let pending = pending.chain(self.foreign(&queue));
            let pending = if filter == StateFilter::Ended { vec![] } else { pending.collect() };
            let ended = queue.ended_by_time.iter().rev().take(limit).map(|(_, id)| id.clone());
            (pending, if filter == StateFilter::Pending { vec![] } else { ended.collect() })
        };
        found.sort_by_key(|approval| std::cmp::Reverse(approval.request.created));
        found.truncate(limit);
        let room = limit - found.len();
        // Read outside the lock; a record that is dropped meanwhile is simply not shown.
        found.extend(ended.iter().take(room).filter_map(|id| entry::read(&self.dir, id).ok()));
        found
    }

    /// One request by its exact id. `None` where there is none, or its file is damaged.
    pub fn get(&self, id: &str) -> Option<Approval> {
        {
            let queue = self.queue.lock();
            if let Some(waiting) = queue.pending.get(id) {
                return Some(waiting.approval());
            }
            // A name from outside becomes a path only where it is an id.
            if !self.has_predecessor.load(Ordering::Acquire) || !id::is_id(id) {
                queue.ended.get(id)?;
            }
        }
        entry::read(&self.dir, id).ok()
    }

    /// The request whose id begins with what a person typed: among those that wait, else among all.
    pub fn resolve(&self, typed: &str) -> Result<String, LookupError> {
        let unknown = || LookupError::Unknown(typed.chars().take(64).collect());
        let prefix = id::normalise(typed).ok_or_else(unknown)?;
        let queue = self.queue.lock();
        let mut candidates = matching(&queue.pending, &prefix);
        let foreign = self.foreign(&queue).into_iter().map(|approval| approval.request.id);
        candidates.extend(foreign.filter(|id| id.starts_with(&prefix)));
        if candidates.is_empty() {
            candidates = matching(&queue.ended, &prefix);
        }
        match candidates.as_slice() {
            [] => Err(unknown()),
            [only] => Ok(only.clone()),
            _ => Err(LookupError::Ambiguous { typed: prefix, candidates }),
        }
    }

    fn end(&self, id: &str, answer: Answer, now: Timestamp) -> Result<Approval, AnswerError> {
        self.end_locked(&mut self.queue.lock(), id, answer, now)
    }

    fn end_locked(
        &self,
        queue: &mut Queue,
        id: &str,
        answer: Answer,
        now: Timestamp,
    ) -> Result<Approval, AnswerError> {
        let Some(waiting) = queue.pending.get(id) else {
            return Err(self.why_not_pending(queue, id));
        };
        let by_person = matches!(answer, Answer::Granted { .. } | Answer::Refused { .. });
        let over = if by_person { waiting.over(now) } else { None };
        let late = over.is_some();
        let answer = over.unwrap_or(answer);
        let state = State::Ended { at: now, answer: answer.clone() };
        let approval = Approval { request: waiting.request.clone(), state };
        let bytes = self.write(&approval)?;
        self.deliver(queue, id, &answer, now);
        queue.keep(id.to_owned(), Ended { at_unix_ns: now.unix_ns, bytes });
        if late { Err(AnswerError::Ended { id: id.to_owned(), answer }) } else { Ok(approval) }
    }

    /// Tells the waiting session, which may be gone: the record stands all the same.
    fn deliver(&self, queue: &mut Queue, id: &str, answer: &Answer, now: Timestamp) {
        if let Some(waiting) = queue.pending.remove(id) {
            self.metrics.hold_ended(answer, now.since_ns(waiting.request.created));
            let _ = waiting.answer.send(answer.clone());
        }
        self.pending_count.store(queue.pending.len(), Ordering::Relaxed);
    }

    fn why_not_pending(&self, queue: &Queue, id: &str) -> AnswerError {
        let ended = queue.ended.get(id).and_then(|_| entry::read(&self.dir, id).ok());
        match ended.map(|approval| approval.state) {
            Some(State::Ended { answer, .. }) => AnswerError::Ended { id: id.to_owned(), answer },
            _ => AnswerError::Unknown { id: id.chars().take(64).collect() },
        }
    }

    fn forget_old(&self, queue: &mut Queue, now: Timestamp) {
        while let Some((at, id)) = queue.ended_by_time.first().cloned() {
            let age_ns = now.unix_ns.saturating_sub(at);
            let fits = queue.ended.len() <= self.limits.ended_max
                && queue.ended_bytes <= self.limits.ended_bytes_max
                && age_ns <= self.limits.ended_age_ns_max;
            if fits {
                return;
            }
            if let Err(error) = entry::remove(&self.dir, &id) {
                tracing::warn!(%id, %error, "an old approval record could not be removed");
            }
            queue.forget(at, id);
        }
    }

    fn write(&self, approval: &Approval) -> Result<u64, StoreError> {
        entry::write(&self.dir, approval)
            .map_err(|source| StoreError::Io { path: entry::path(&self.dir, &approval.request.id), source })
    }
}

impl Waiting {
    fn approval(&self) -> Approval {
        Approval { request: self.request.clone(), state: State::Pending }
    }

    /// How it has ended by itself; `None` while a person's answer still counts.
    fn over(&self, now: Timestamp) -> Option<Answer> {
        if now.monotonic_ns >= self.request.expires.monotonic_ns {
            Some(Answer::Expired)
        } else if self.answer.is_closed() {
            Some(Answer::Lost { reason: "client went away".into() })
        } else {
            None
        }
    }
}

impl Queue {
    pub(super) fn knows(&self, id: &str) -> bool {
        self.pending.contains_key(id) || self.ended.contains_key(id)
    }

    fn keep(&mut self, id: String, ended: Ended) {
        self.ended_bytes += ended.bytes;
        self.ended_by_time.insert((ended.at_unix_ns, id.clone()));
        self.ended.insert(id, ended);
    }

    fn forget(&mut self, at_unix_ns: u64, id: String) {
        if let Some(ended) = self.ended.remove(&id) {
            self.ended_bytes = self.ended_bytes.saturating_sub(ended.bytes);
        }
        self.ended_by_time.remove(&(at_unix_ns, id));
    }

    /// Takes up a file of an earlier run; answers the request if that lost it.
    pub(super) fn load(&mut self, dir: &Path, path: &Path, now: Timestamp) -> io::Result<Option<Approval>> {
        let name = path.file_stem().and_then(|name| name.to_str()).unwrap_or_default();
        if !id::is_id(name) {
            return Ok(None);
        }
        let mut approval = match entry::read(dir, name) {
            Ok(approval) => approval,
            Err(error) => {
                tracing::error!(file = %path.display(), %error, "an approval record cannot be read; left as it is");
                return Ok(None);
            }
        };
        let was_pending = approval.is_pending();
        if was_pending {
            let answer = Answer::Lost { reason: "agent restarted".into() };
            approval.state = State::Ended { at: now, answer };
            entry::write(dir, &approval)?;
        }
        if let State::Ended { at, .. } = approval.state {
            let bytes = fs::metadata(path)?.len();
            self.keep(name.to_owned(), Ended { at_unix_ns: at.unix_ns, bytes });
        }
        Ok(was_pending.then_some(approval))
    }
}

fn matching<V>(requests: &BTreeMap<String, V>, prefix: &str) -> Vec<String> {
    let from = requests.range(prefix.to_owned()..);
    from.take_while(|(id, _)| id.starts_with(prefix)).map(|(id, _)| id.clone()).collect()
}

pub(super) fn list(dir: &Path) -> io::Result<Vec<PathBuf>> {
    fs::read_dir(dir)?.map(|file| Ok(file?.path())).collect()
}

pub(super) fn has_extension(path: &Path, extension: &str) -> bool {
    path.extension().is_some_and(|found| found == extension)
}

/// How late an expiry may be.
const TICK: Duration = Duration::from_millis(500);
/// 2^30 ids against at most some ten thousand in use: one attempt nearly always does.
const ID_ATTEMPTS: usize = 32;
