//! Remembers for a moment who a process is, so that one that connects again and again is not read again each time.
//!
//! Asked again with every connection is what tells one process and one program from another: start time, memory layout,
//! executable, parent and terminal. All else (groups, login, names) is as old as [`AGE_MAX`] at most.

use super::identifier::Attested;
use super::procfs::{Stat, Watched};
use crate::engine::model::Principal;
use lru::LruCache;
use parking_lot::Mutex;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Everything that must be the same for an answer to be the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Likeness {
    tgid: u32,
    uid: u32,
    gid: u32,
    command: String,
    cgroup_id: u64,
    stat: Stat,
    executable: String,
    with_hash: bool,
}

impl Likeness {
    /// `None` where two programs of the process could not be told apart.
    pub fn new(attested: &Attested, stat: Stat, executable: Option<String>, with_hash: bool) -> Option<Self> {
        stat.image.is_known().then_some(())?;
        Some(Self {
            tgid: attested.tgid,
            uid: attested.uid,
            gid: attested.gid,
            command: attested.command.clone(),
            cgroup_id: attested.cgroup_id,
            stat,
            executable: executable?,
            with_hash,
        })
    }
}

/// To whom, when and what.
type Answer = (Likeness, Instant, Arc<Principal>);

/// Bounded memory of answers, and of the processes that connect most, held open.
pub(super) struct Recent {
    answers: Mutex<LruCache<u32, Answer>>,
    watched: Mutex<LruCache<u32, Arc<Watched>>>,
}

impl Recent {
    pub fn new() -> Self {
        Self {
            answers: Mutex::new(LruCache::new(ENTRIES_MAX)),
            watched: Mutex::new(LruCache::new(WATCHED_MAX)),
        }
    }

    /// Whether it is worth a look at the process.
    pub fn has(&self, tgid: u32) -> bool {
        self.answers.lock().peek(&tgid).is_some_and(|(_, at, _)| at.elapsed() <= AGE_MAX)
    }

    /// The process that had this number last, and may be gone.
    pub fn watched(&self, tgid: u32) -> Option<Arc<Watched>> {
        self.watched.lock().get(&tgid).cloned()
    }

    pub fn watch(&self, tgid: u32, watched: Watched) {
        self.watched.lock().put(tgid, Arc::new(watched));
    }

    pub fn get(&self, likeness: &Likeness) -> Option<Arc<Principal>> {
        let mut known = self.answers.lock();
        let (was, at, principal) = known.get(&likeness.tgid)?;
        (was == likeness && at.elapsed() <= AGE_MAX).then(|| principal.clone())
    }

    /// `at` is before the first read.
    pub fn put(&self, likeness: Likeness, at: Instant, principal: Arc<Principal>) {
        self.answers.lock().put(likeness.tgid, (likeness, at, principal));
    }
}

impl std::fmt::Debug for Recent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Recent").field("processes", &self.answers.lock().len()).finish_non_exhaustive()
    }
}

const AGE_MAX: Duration = Duration::from_secs(1);
/// Some kilobytes each.
const ENTRIES_MAX: NonZeroUsize = NonZeroUsize::new(1024).unwrap();
/// Two descriptors each.
const WATCHED_MAX: NonZeroUsize = NonZeroUsize::new(64).unwrap();
