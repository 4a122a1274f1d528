//! Puts together what the kernel hook saw and what procfs says.

use super::agents::{KnownAgents, Recogniser};
use super::attested::{self, Voucher};
use super::cache::{Chain, ProcessCache};
use super::cgroup::{CgroupIndex, is_cgroup2};
use super::classify::{Assignment, Scene, classify, classify_remote};
use super::container::ContainerFiles;
use super::executable_hash::ExecutableHashes;
use super::facts::Facts;
use super::procfs::{Procfs, Stat};
use super::recent::{Likeness, Recent};
use super::secrets::printable;
use super::users::Names;
use super::workload::{Workload, terminal_name};
use crate::engine::model::{Ancestor, ContainerFacts, Principal, RemoteClient};
use nix::time::{ClockId, clock_gettime};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// What the kernel hook saw when a process connected. All of it is certain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attested {
    /// The process, in the host's pid namespace.
    pub tgid: u32,
    pub uid: u32,
    pub gid: u32,
    /// Short name of the connecting thread.
    pub command: String,
    pub cgroup_id: u64,
    /// Nanoseconds of CLOCK_MONOTONIC (`bpf_ktime_get_ns`).
    pub connected_ns: u64,
}

/// What the operator says about processes, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentityRules {
    pub agents: KnownAgents,
    pub assignments: Vec<Assignment>,
}

impl Default for IdentityRules {
    fn default() -> Self {
        Self { agents: KnownAgents::builtin(), assignments: Vec::new() }
    }
}

/// Why no process can be identified on this host.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    #[error("{} is not a cgroup v2 mount; identity needs the unified hierarchy", .0.display())]
    NotCgroup2(PathBuf),
    #[error("cgroup v2 mount {}: {source}", path.display())]
    Mount { path: PathBuf, source: std::io::Error },
    #[error("the known agents do not compile: {0}")]
    Agents(String),
}

/// Finds out who is behind a connection. One for the whole agent; its threads share it.
///
/// Costs two system calls for a process seen within a second, some twenty for one seen before, and about twenty more
/// for each ancestor never seen. Blocks only for the user database.
#[derive(Debug)]
pub struct Identifier {
    procfs: Procfs,
    cgroups: CgroupIndex,
    recogniser: Recogniser,
    assignments: Vec<Assignment>,
    names: Names,
    cache: ProcessCache,
    recent: Recent,
    hashes: ExecutableHashes,
    containers: ContainerFiles,
    hashes_wanted: AtomicBool,
}

/// What procfs said about the caller, all of one process and one program.
struct Seen {
    stat: Stat,
    facts: Arc<Facts>,
    executable_sha256: Option<String>,
    ancestors: Chain,
    groups: Option<Vec<u32>>,
    login_uid: Option<u32>,
    login_session: Option<u32>,
    cgroup: Option<String>,
}

impl Identifier {
    /// `cgroup2_mount` is where the unified hierarchy is mounted.
    pub fn new(rules: IdentityRules, cgroup2_mount: PathBuf) -> Result<Self, IdentityError> {
        if !is_cgroup2(&cgroup2_mount) {
            return Err(IdentityError::NotCgroup2(cgroup2_mount));
        }
        Self::with_roots(rules, cgroup2_mount, PathBuf::from("/proc"))
    }

    fn with_roots(rules: IdentityRules, cgroups: PathBuf, procfs: PathBuf) -> Result<Self, IdentityError> {
        let index = CgroupIndex::new(&cgroups)
            .map_err(|source| IdentityError::Mount { path: cgroups.clone(), source })?;
        let recogniser =
            Recogniser::new(&rules.agents).map_err(|error| IdentityError::Agents(error.to_string()))?;
        Ok(Self {
            procfs: Procfs::new(procfs),
            cgroups: index,
            recogniser,
            assignments: rules.assignments,
            names: Names::new(),
            cache: ProcessCache::new(),
            recent: Recent::new(),
            hashes: ExecutableHashes::new(),
            containers: ContainerFiles::new("/".into()),
            hashes_wanted: AtomicBool::new(false),
        })
    }

    /// Whether principals have the hash of their executable from now on: reading a large file for the first
    /// time takes a while, so it is read only where a policy looks at it.
    pub fn want_executable_hashes(&self, wanted: bool) {
        self.hashes_wanted.store(wanted, Ordering::Relaxed);
    }

    /// Who connected. Always answers: of a process that is gone only what the kernel attests is known, and
    /// its class is the strictest that this leaves possible. The same principal as before where nothing has changed.
    pub fn identify(&self, attested: &Attested) -> Arc<Principal> {
        let at = Instant::now();
        let known = self.recent.has(attested.tgid).then(|| self.likeness(attested)).flatten();
        if let Some(known) = known.and_then(|likeness| self.recent.get(&likeness)) {
            return known;
        }
        let with_hash = self.hashes_wanted.load(Ordering::Relaxed);
        let (seen, gone) = match self.observe(attested, with_hash) {
            Ok(seen) => (Some(seen), None),
            Err(why) => (None, Some(why)),
        };
        let principal = Arc::new(self.principal(attested, seen.as_ref(), gone));
        let likeness = seen.filter(|seen| self.is_older(attested, &seen.stat)).and_then(|seen| {
            let executable = seen.facts.executable.as_ref().map(|executable| executable.path.clone());
            Likeness::new(attested, seen.stat, executable, with_hash)
        });
        if let Some(likeness) = likeness {
            self.recent.put(likeness, at, principal.clone());
        }
        principal
    }

    /// What the engine calls the container that process `pid` runs in, else the container's id; `None` outside of one. For
    /// people to read: no decision rests on it.
    pub fn container_of(&self, pid: u32) -> Option<String> {
        let workload = Workload::from_cgroup(&printable(&self.procfs.open(pid)?.cgroup()?));
        let facts = self.containers.facts(&workload);
        let name = facts.container_name.or(workload.container)?;
        Some(facts.image.map_or_else(|| name.clone(), |image| format!("{name}, {image}")))
    }

    /// What must be the same for an answer to be the same; `None` where that cannot be told.
    fn likeness(&self, attested: &Attested) -> Option<Likeness> {
        let seen = self.recent.watched(attested.tgid).and_then(|watched| watched.look());
        let (stat, executable) = match seen {
            Some(seen) => seen,
            // Not seen yet, or its number is another's by now.
            None => {
                let watched = self.procfs.open(attested.tgid)?.watch()?;
                let seen = watched.look()?;
                self.recent.watch(attested.tgid, watched);
                seen
            }
        };
        self.is_older(attested, &stat).then_some(())?;
        Likeness::new(attested, stat, executable, self.hashes_wanted.load(Ordering::Relaxed))
    }

    /// Whether the process ran before the tick of the connect: then nobody else had its number since.
    fn is_older(&self, attested: &Attested, stat: &Stat) -> bool {
        let connected_ns = attested.connected_ns.saturating_add(suspended_ns());
        self.procfs.ticks_ns(stat.start_ticks).saturating_add(self.procfs.tick_ns()) <= connected_ns
    }

    fn principal(&self, attested: &Attested, seen: Option<&Seen>, gone: Option<&'static str>) -> Principal {
        let current_cgroup = seen.and_then(|s| s.cgroup.as_deref());
        let cgroup = self.cgroups.path(attested.cgroup_id, current_cgroup).map(|path| printable(&path));
        let workload = cgroup.as_deref().map(Workload::from_cgroup).unwrap_or_default();
        let container_facts = self.containers.facts(&workload);
        let user = self.names.user(attested.uid).unwrap_or_else(|| attested.uid.to_string());
        let terminal = seen.and_then(|s| terminal_name(s.stat.terminal));
        let login_uid = seen.and_then(|s| s.login_uid);
        let none: Chain = Arc::new([]);
        let ancestors = seen.map_or(&none, |s| &s.ancestors);
        let classified = classify(
            &Scene {
                gone,
                uid: attested.uid,
                user: &user,
                cgroup: cgroup.as_deref(),
                workload: &workload,
                facts: seen.map(|s| &*s.facts),
                ancestors,
                login_uid,
                login_session: seen.and_then(|s| s.login_session),
                terminal: terminal.as_deref(),
            },
            &self.assignments,
            &self.recogniser,
        );
        let gids = seen.and_then(|s| s.groups.as_deref()).unwrap_or_default();
        Principal {
            class: classified.class,
            class_evidence: classified.evidence,
            pid: attested.tgid,
            start_ticks: seen.map_or(0, |s| s.stat.start_ticks),
            uid: attested.uid,
            user,
            gid: attested.gid,
            groups: self.group_names(attested.gid, gids, classified.groups),
            login_uid,
            login_user: login_uid.map(|uid| self.names.user(uid).unwrap_or_else(|| uid.to_string())),
            command: printable(&attested.command),
            executable: seen.and_then(|s| s.facts.executable.as_ref()).map(|e| e.path.clone()),
            executable_sha256: seen.and_then(|s| s.executable_sha256.clone()),
            command_line: seen.map(|s| s.facts.arguments.clone()).unwrap_or_default(),
            cgroup_id: attested.cgroup_id,
            cgroup,
            unit: workload.unit,
            container: workload.container,
            container_facts,
            terminal,
            ancestors: ancestors
                .iter()
                .map(|(pid, facts)| Ancestor {
                    pid: *pid,
                    start_ticks: facts.start_ticks,
                    executable: facts.program().to_owned(),
                })
                .collect(),
            remote: None,
        }
    }

    /// Who is at the other end of a local socket, by its credentials (`SO_PEERCRED`): it waits for our answer, so it
    /// is still there.
    pub fn identify_peer(&self, pid: u32, uid: u32, gid: u32) -> Arc<Principal> {
        let process = self.procfs.open(pid);
        let cgroup_id = process
            .as_ref()
            .and_then(|process| process.cgroup())
            .and_then(|path| self.cgroups.id_of(&path))
            .unwrap_or_default();
        let connected_ns = clock_gettime(ClockId::CLOCK_MONOTONIC)
            .ok()
            .and_then(|at| u64::try_from(at.tv_sec()).ok()?.checked_mul(1_000_000_000))
            .map_or(0, |ns| ns.saturating_add(1_000_000_000));
        self.identify(&Attested { tgid: pid, uid, gid, command: String::new(), cgroup_id, connected_ns })
    }

    /// What the hook would have seen of a client whose socket says who connected (`SO_PEERCRED`). `has_ended` tells
    /// whether that process is gone: then its number may be another's, and nothing is read by it.
    pub fn attest_peer(&self, pid: u32, uid: u32, gid: u32, has_ended: impl Fn() -> bool) -> Attested {
        let now = clock_gettime(ClockId::CLOCK_MONOTONIC).ok();
        let now_ns = now.and_then(|at| {
            u64::try_from(at.tv_sec())
                .ok()?
                .checked_mul(1_000_000_000)?
                .checked_add(u64::try_from(at.tv_nsec()).ok()?)
        });
        let process = self.procfs.open(pid);
        let cgroup = process.as_ref().and_then(|process| process.cgroup());
        let cgroup_id = cgroup.and_then(|path| self.cgroups.id_of(&path));
        let command = process.as_ref().and_then(|process| process.command());
        if has_ended() {
            // No process started so early: whoever has the number now is taken for another one.
            return Attested { tgid: pid, uid, gid, command: String::new(), cgroup_id: 0, connected_ns: 0 };
        }
        Attested {
            tgid: pid,
            uid,
            gid,
            command: command.unwrap_or_default(),
            cgroup_id: cgroup_id.unwrap_or_default(),
            connected_ns: now_ns.unwrap_or_default(),
        }
    }

    /// Who a client on another host is.
    pub fn identify_remote(&self, client: RemoteClient) -> Principal {
        let classified = classify_remote(&client, &self.assignments);
        Principal {
            class: classified.class,
            class_evidence: classified.evidence,
            pid: 0,
            start_ticks: 0,
            uid: Principal::NO_ID,
            user: client.address.to_string(),
            gid: Principal::NO_ID,
            groups: classified.groups,
            login_uid: None,
            login_user: None,
            command: String::new(),
            executable: None,
            executable_sha256: None,
            command_line: Vec::new(),
            cgroup_id: 0,
            cgroup: None,
            unit: None,
            container: None,
            container_facts: ContainerFacts::default(),
            terminal: None,
            ancestors: Vec::new(),
            remote: Some(client),
        }
    }

    /// Who a client on another host is, where that host's governor said so.
    pub fn identify_attested(&self, said: Principal, voucher: Voucher) -> Principal {
        attested::principal(said, voucher, &self.assignments)
    }

    /// Reads the process, again where it changed its program meanwhile.
    fn observe(&self, attested: &Attested, with_hash: bool) -> Result<Seen, &'static str> {
        let process = self.procfs.open(attested.tgid).ok_or(GONE)?;
        for _ in 0..ATTEMPTS_MAX {
            let stat = process.stat().ok_or(GONE)?;
            let connected_ns = attested.connected_ns.saturating_add(suspended_ns());
            let started_ns = self.procfs.ticks_ns(stat.start_ticks);
            if started_ns > connected_ns {
                return Err(RECYCLED);
            }
            let credentials = process.credentials();
            // Start times are as coarse as ticks: within the tick of the connect the uid must agree too.
            if started_ns.saturating_add(self.procfs.tick_ns()) > connected_ns
                && credentials.as_ref().is_some_and(|c| !c.uids.contains(&attested.uid))
            {
                return Err(RECYCLED);
            }
            let executable = process.executable();
            let facts = self.cache.facts(attested.tgid, &process, &stat, Some(&executable), &self.recogniser);
            let file = with_hash.then(|| process.executable_file()).flatten();
            let seen = Seen {
                stat,
                facts,
                executable_sha256: file.and_then(|file| self.hashes.sha256(file)),
                ancestors: self.cache.chain(attested.tgid, &stat, &self.procfs, &self.recogniser),
                groups: credentials.map(|c| c.groups),
                login_uid: process.login_uid(),
                login_session: process.login_session(),
                cgroup: process.cgroup(),
            };
            let after = process.stat().ok_or(GONE)?;
            if (after.start_ticks, after.image) == (stat.start_ticks, stat.image) {
                return Ok(seen);
            }
        }
        Err(RESTLESS)
    }

    /// Names of the groups that the process has, then those that the configuration gives it.
    fn group_names(&self, gid: u32, gids: &[u32], assigned: Vec<String>) -> Vec<String> {
        let own = std::iter::once(gid).chain(gids.iter().copied());
        let names = own.map(|gid| self.names.group(gid).unwrap_or_else(|| gid.to_string()));
        names.chain(assigned).fold(Vec::new(), |mut out, name| {
            if !out.contains(&name) {
                out.push(name);
            }
            out
        })
    }
}

/// How long the host slept since boot: start times count that, the hook's clock does not.
fn suspended_ns() -> u64 {
    let now = |clock| {
        let at = clock_gettime(clock).ok()?;
        let (seconds, ns) = (u64::try_from(at.tv_sec()).ok()?, u64::try_from(at.tv_nsec()).ok()?);
        seconds.checked_mul(1_000_000_000)?.checked_add(ns)
    };
    let monotonic = now(ClockId::CLOCK_MONOTONIC).unwrap_or(0);
    now(ClockId::CLOCK_BOOTTIME).unwrap_or(0).saturating_sub(monotonic)
}

const GONE: &str = "the process was gone before it could be read; only what the kernel saw is known";
const RECYCLED: &str =
    "the process was gone and its pid in use again; only what the kernel saw at the connect is known";
const RESTLESS: &str =
    "the process kept changing its program while it was read; only what the kernel saw is known";
const ATTEMPTS_MAX: usize = 3;

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
