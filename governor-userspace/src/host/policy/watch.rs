//! Reloads policies when their directory changes.
//!
//! Waits until changes settle, because an editor or installer writes several files, and some in pieces. The
//! directory's parent is watched as well, so that making or replacing the directory is noticed.

use super::{PolicyStore, Reloaded};
use crate::engine::policy::PolicyError;
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Follows the policy directory while it lives.
#[derive(Debug)]
pub struct PolicyWatch {
    stop: Sender<Message>,
    thread: Option<JoinHandle<()>>,
}

enum Message {
    Changed(notify::Result<notify::Event>),
    Stop,
}

impl PolicyWatch {
    pub(super) fn start(
        store: Arc<PolicyStore>,
        on_reload: impl Fn(Result<Reloaded, PolicyError>) + Send + 'static,
    ) -> Result<Self, notify::Error> {
        let (stop, messages) = channel();
        let Some(dir) = store.options().dir.clone() else {
            return Ok(Self { stop, thread: None });
        };
        let dir = std::path::absolute(dir)?;
        let events = stop.clone();
        let mut watcher = notify::recommended_watcher(move |event| {
            let _ = events.send(Message::Changed(event)); // nobody listens any more: it is being dropped
        })?;
        if let Some(parent) = dir.parent().filter(|parent| parent.is_dir()) {
            watcher.watch(parent, RecursiveMode::NonRecursive)?;
        }
        if dir.is_dir() {
            watcher.watch(&dir, RecursiveMode::NonRecursive)?;
        }
        let follower = Follower { store, dir, watcher, messages };
        let thread = std::thread::Builder::new()
            .name("policy-watch".into())
            .spawn(move || follower.run(on_reload))
            .map_err(notify::Error::io)?;
        Ok(Self { stop, thread: Some(thread) })
    }
}

impl Drop for PolicyWatch {
    fn drop(&mut self) {
        let _ = self.stop.send(Message::Stop); // the thread has ended already
        if let Some(thread) = self.thread.take()
            && thread.thread().id() != std::thread::current().id()
        {
            let _ = thread.join(); // it panicked in the callback: nothing left to stop
        }
    }
}

struct Follower {
    store: Arc<PolicyStore>,
    dir: PathBuf,
    watcher: RecommendedWatcher,
    messages: Receiver<Message>,
}

impl Follower {
    fn run(mut self, on_reload: impl Fn(Result<Reloaded, PolicyError>)) {
        let mut refused: Option<PolicyError> = None;
        // The directory may have changed between its first reading and the watch.
        loop {
            match self.store.reload() {
                Ok(reloaded) if reloaded.version == reloaded.before && refused.is_none() => {}
                Ok(reloaded) => {
                    refused = None;
                    on_reload(Ok(reloaded));
                }
                Err(error) if refused.as_ref() == Some(&error) => {} // said already
                Err(error) => {
                    refused = Some(error.clone());
                    on_reload(Err(error));
                }
            }
            if !self.wait_for_change() {
                return;
            }
        }
    }

    /// Waits for a change and until it settles; `false` where it is time to stop.
    fn wait_for_change(&mut self) -> bool {
        loop {
            match self.messages.recv() {
                Ok(Message::Changed(event)) if self.matters(&event) => break,
                Ok(Message::Changed(_)) => {}
                Ok(Message::Stop) | Err(_) => return false,
            }
        }
        let started = Instant::now();
        while started.elapsed() < SETTLE_MAX {
            match self.messages.recv_timeout(SETTLE) {
                Ok(Message::Changed(event)) => {
                    self.matters(&event);
                }
                Err(RecvTimeoutError::Timeout) => break,
                Ok(Message::Stop) | Err(RecvTimeoutError::Disconnected) => return false,
            }
        }
        true
    }

    /// Whether an event can concern policies; watches the directory again where it is a new one.
    fn matters(&mut self, event: &notify::Result<notify::Event>) -> bool {
        let Ok(event) = event else {
            return true; // events were lost: look
        };
        if matches!(event.kind, EventKind::Access(_)) {
            return false; // our own reading
        }
        let is_dir_itself = |path: &PathBuf| path == &self.dir;
        if event.paths.iter().any(is_dir_itself) && self.dir.is_dir() {
            let _ = self.watcher.unwatch(&self.dir); // not watched any more: its inode is gone
            let _ = self.watcher.watch(&self.dir, RecursiveMode::NonRecursive); // gone again: another event follows
            return true;
        }
        let below = |path: &PathBuf| path.parent() == Some(Path::new(&self.dir)) || path == &self.dir;
        event.need_rescan() || event.paths.iter().any(below)
    }
}

/// Quiet time after which a change is taken as complete.
const SETTLE: Duration = Duration::from_millis(150);
/// Changes that never end are read at least this often.
const SETTLE_MAX: Duration = Duration::from_secs(2);
