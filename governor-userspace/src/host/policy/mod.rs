//! The policy files on disk, and the set that is in force.
//!
//! Invariant: [`PolicyStore::current`] is always a whole, valid set. A reload that finds any problem leaves
//! the set before in force; so does a policy directory that vanished, because its forbids would go with it.

mod files;
mod watch;

pub use files::{PolicyFiles, case_paths, parse_toml, read_file, read_path};
pub use watch::PolicyWatch;

use crate::engine::policy::{Pack, PolicyError, PolicyParts, PolicySet, Problem, Profile};
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
    /// Rule packs in force, by name.
    pub packs: Vec<String>,
    /// Name of the time zone of `context.time`, such as `Europe/Berlin`; `None` is UTC.
    pub zone: Option<String>,
    /// Directory of `*.cedar` and `*.labels.toml` files. A directory that does not exist at the start has none.
    pub dir: Option<PathBuf>,
}

impl Default for PolicyOptions {
    fn default() -> Self {
        Self {
            profile: Profile::default(),
            builtin: true,
            disabled: vec![],
            packs: vec![],
            zone: None,
            dir: None,
        }
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

impl PolicyOptions {
    /// Everything but the directory: built-in policies and packs.
    ///
    /// # Errors
    /// For a pack or time zone that does not exist.
    pub fn parts(&self) -> Result<PolicyParts, PolicyError> {
        let mut sources = if self.builtin { PolicySet::builtin(self.profile) } else { vec![] };
        let mut problems = vec![];
        for name in &self.packs {
            match Pack::named(name) {
                Some(pack) => sources.push(pack.source()),
                None => problems.push(no_such_pack(name)),
            }
        }
        let zone = self.zone.as_deref().map(time_zone).transpose().map_err(|reason| {
            problems.push(Problem::of_file(CONFIGURATION, reason));
        });
        match zone {
            Ok(zone) if problems.is_empty() => {
                let disabled = self.disabled.clone();
                Ok(PolicyParts { sources, disabled, zone, ..PolicyParts::default() })
            }
            _ => Err(PolicyError { problems }),
        }
    }
}

fn no_such_pack(name: &str) -> Problem {
    Problem::of_file(CONFIGURATION, format!("there is no rule pack {name:?}; there are {}", Pack::names()))
}

/// A time zone of the host's database, by name.
///
/// # Errors
/// One sentence where there is none of that name.
pub fn time_zone(name: &str) -> Result<jiff::tz::TimeZone, String> {
    let found = if name == "UTC" { Ok(jiff::tz::TimeZone::UTC) } else { jiff::tz::TimeZone::get(name) };
    found.map_err(|_| {
        format!("{name:?} is no time zone of this host; write a name such as \"Europe/Berlin\", or \"UTC\"")
    })
}

/// The set, and whether the directory was there.
fn load(options: &PolicyOptions, dir_required: bool) -> Result<(PolicySet, bool), PolicyError> {
    let mut parts = options.parts()?;
    let mut dir_seen = false;
    if let Some(dir) = &options.dir {
        match files::read_dir(dir)? {
            Some(found) => {
                dir_seen = true;
                found.join(&mut parts);
            }
            None if dir_required => {
                let reason = "the policy directory is gone; the policies before stay in force";
                let problem = Problem::of_file(&dir.display().to_string(), reason);
                return Err(PolicyError { problems: vec![problem] });
            }
            None => {}
        }
    }
    Ok((PolicySet::compile_parts(&parts)?, dir_seen))
}

/// In place of a file name where the fault is in governor's configuration.
const CONFIGURATION: &str = "configuration";

#[cfg(test)]
mod tests;
