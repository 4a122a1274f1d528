//! Keeps what was read about processes, so that a client that reconnects costs little.
//!
//! The key is pid and start time, which name one process for ever. A process that runs another program
//! keeps both, so an entry counts only while the program's memory layout is the same too.

use super::agents::Recogniser;
use super::facts::Facts;
use super::procfs::{Executable, Image, Process, Procfs, Stat};
use lru::LruCache;
use parking_lot::Mutex;
use std::num::NonZeroUsize;
use std::sync::Arc;

type Key = (u32, u64);

/// Processes above another, nearest first, each with its pid.
pub(super) type Chain = Arc<[(u32, Arc<Facts>)]>;

/// Bounded memory of processes and their ancestry.
pub(super) struct ProcessCache {
    facts: Mutex<LruCache<Key, Arc<Facts>>>,
    chains: Mutex<LruCache<Key, (Image, Chain)>>,
}

impl ProcessCache {
    pub(super) fn new() -> Self {
        Self { facts: Mutex::new(LruCache::new(ENTRIES_MAX)), chains: Mutex::new(LruCache::new(ENTRIES_MAX)) }
    }

    /// Facts about a process; `executable` is given where it was just read and must agree.
    pub(super) fn facts(
        &self,
        pid: u32,
        process: &Process,
        stat: &Stat,
        executable: Option<&Option<Executable>>,
        recogniser: &Recogniser,
    ) -> Arc<Facts> {
        let key = (pid, stat.start_ticks);
        if let Some(known) = self.facts.lock().get(&key)
            && known.image == stat.image
            && executable.is_none_or(|now| *now == known.executable)
        {
            return Arc::clone(known);
        }
        let facts = Arc::new(Facts::read(process, stat, recogniser));
        self.facts.lock().put(key, Arc::clone(&facts));
        facts
    }

    /// The processes above one, as they were when it was first seen: a parent that ended meanwhile still
    /// is the parent, so a process does not lose its past by outliving it.
    pub(super) fn chain(&self, pid: u32, stat: &Stat, procfs: &Procfs, recogniser: &Recogniser) -> Chain {
        let key = (pid, stat.start_ticks);
        if let Some((image, chain)) = self.chains.lock().get(&key)
            && *image == stat.image
        {
            return Arc::clone(chain);
        }
        let mut chain = Vec::new();
        let mut below = *stat;
        while chain.len() < ANCESTORS_MAX && below.parent != 0 {
            let Some(process) = procfs.open(below.parent) else { break };
            let Some(parent) = process.stat() else { break };
            // A parent is never younger than its child: this pid was taken by another process meanwhile.
            if parent.start_ticks > below.start_ticks {
                break;
            }
            chain.push((below.parent, self.facts(below.parent, &process, &parent, None, recogniser)));
            below = parent;
        }
        let chain: Chain = chain.into();
        self.chains.lock().put(key, (stat.image, Arc::clone(&chain)));
        chain
    }
}

impl std::fmt::Debug for ProcessCache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ProcessCache").field("processes", &self.facts.lock().len()).finish_non_exhaustive()
    }
}

/// About a kilobyte each.
const ENTRIES_MAX: NonZeroUsize = NonZeroUsize::new(4096).unwrap();
pub(super) const ANCESTORS_MAX: usize = 16;
