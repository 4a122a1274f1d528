//! The policy files on disk, and the set that is in force.
//!
//! Invariant: [`PolicyStore::current`] is always a whole, valid set. A reload that finds any problem leaves
//! the set before in force; so does a policy directory that vanished, because its forbids would go with it.

mod files;
mod watch;

pub use files::read_path;
pub use watch::PolicyWatch;

use crate::engine::policy::{PolicyError, PolicySet, PolicySource, Problem, Profile};
use arc_swap::ArcSwap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Where policies come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyOptions {
    /// The built-in policies to start from.
    pub profile: Profile,
    /// Whether they are in force at all; without them, what the directory does not permit is denied.
    pub builtin: bool,
    /// `@id`s of policies that are left out.
    pub disabled: Vec<String>,
    /// Directory of `*.cedar` files. A directory that does not exist at the start has none.
    pub dir: Option<PathBuf>,
}

impl Default for PolicyOptions {
    fn default() -> Self {
        Self { profile: Profile::default(), builtin: true, disabled: vec![], dir: None }
    }
}

/// A set that came into force, or stayed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reloaded {
    /// Version before; equal to `version` where nothing changed.
    pub before: String,
    pub version: String,
    pub policies_count: usize,
    pub files_count: usize,
}

/// The policy set in force, replaced as a whole.
#[derive(Debug)]
pub struct PolicyStore {
    options: PolicyOptions,
    current: ArcSwap<PolicySet>,
    /// The directory has been read: from then on its absence is an error.
    dir_seen: AtomicBool,
    /// Reloads take turns, so that an older reading never replaces a newer one.
    reloading: parking_lot::Mutex<()>,
}

impl PolicyStore {
    /// Reads and checks everything that `options` names.
    ///
    /// # Errors
    /// Every problem of every file; nothing is in force then.
    pub fn open(options: PolicyOptions) -> Result<Self, PolicyError> {
        let (set, dir_seen) = load(&options, false)?;
        Ok(Self {
            options,
            current: ArcSwap::from_pointee(set),
            dir_seen: AtomicBool::new(dir_seen),
            reloading: parking_lot::Mutex::new(()),
        })
    }

    /// The set in force. Cheap; hold it for one decision, not for a session.
    pub fn current(&self) -> Arc<PolicySet> {
        self.current.load_full()
    }

    pub fn options(&self) -> &PolicyOptions {
        &self.options
    }

    /// Reads the files again and puts them in force, all or nothing.
    ///
    /// # Errors
    /// Every problem found; the set before stays in force.
    pub fn reload(&self) -> Result<Reloaded, PolicyError> {
        let _turn = self.reloading.lock();
        let (set, dir_seen) = load(&self.options, self.dir_seen.load(Ordering::Relaxed))?;
        self.dir_seen.fetch_or(dir_seen, Ordering::Relaxed);
        let before = self.current().version().to_owned();
        let reloaded = Reloaded {
            before,
            version: set.version().to_owned(),
            policies_count: set.policies_count(),
            files_count: set.files().len(),
        };
        if reloaded.before != reloaded.version {
            self.current.store(Arc::new(set));
        }
        Ok(reloaded)
    }

    /// Follows the policy directory from a thread of its own until the returned handle is dropped.
    /// `on_reload` hears of every set that came into force and of every refusal, not of events
    /// that changed nothing. A directory that is made later, or replaced, is followed too.
    ///
    /// # Errors
    /// Where the system gives no watch (limits of inotify), or the directory's parent cannot be watched.
    pub fn watch(
        self: &Arc<Self>,
        on_reload: impl Fn(Result<Reloaded, PolicyError>) + Send + 'static,
    ) -> Result<PolicyWatch, notify::Error> {
        PolicyWatch::start(Arc::clone(self), on_reload)
    }
}

/// The set, and whether the directory was there.
fn load(options: &PolicyOptions, dir_required: bool) -> Result<(PolicySet, bool), PolicyError> {
    let mut sources: Vec<PolicySource> =
        if options.builtin { PolicySet::builtin(options.profile) } else { vec![] };
    let mut dir_seen = false;
    if let Some(dir) = &options.dir {
        match files::read_dir(dir)? {
            Some(found) => {
                dir_seen = true;
                sources.extend(found);
            }
            None if dir_required => {
                let reason = "the policy directory is gone; the policies before stay in force";
                let problem = Problem::of_file(&dir.display().to_string(), reason);
                return Err(PolicyError { problems: vec![problem] });
            }
            None => {}
        }
    }
    Ok((PolicySet::compile_with(&sources, &options.disabled)?, dir_seen))
}

#[cfg(test)]
mod tests;
