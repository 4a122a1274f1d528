//! Pins: what lets the hooks outlive a killed agent, and lets the next one clean up after it.
//!
//! Each load has a directory of its own ("generation") below the pin directory, so that a new agent
//! can attach beside its dead predecessor before it removes the old links.
//!
//! The pin directory belongs to one instance: two living agents must not share it.

use super::error::chain;
use super::events::KernelEvent;
use super::maps::{Counters, broken, monotonic_ns};
use super::totals::{ClosedSockets, SocketTotals};
use super::{KernelError, sys};
use aya::Ebpf;
use aya::maps::{Array, Map, MapData, PerCpuArray, RingBuf};
use aya::programs::links::FdLink;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::statfs::{BPF_FS_MAGIC, statfs};
use std::collections::HashSet;
use std::fmt::Display;
use std::fs;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// A pinned link that this process holds as well: it stays attached while either is left.
#[derive(Debug)]
pub(super) struct PinnedFd {
    fd: OwnedFd,
    path: PathBuf,
}

impl PinnedFd {
    /// Takes the link off, whoever else holds it. A pin that is gone already (its file system was unmounted) is none.
    pub fn unpin(self) -> io::Result<()> {
        // Refused where it is off already: its cgroup is gone.
        let _ = sys::link_detach(self.fd.as_fd());
        let removed = fs::remove_file(&self.path);
        drop(self.fd);
        match removed {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Whether the link is on something, by the kernel's word.
    pub fn is_on(&self) -> io::Result<bool> {
        let info = sys::link_info(self.fd.as_fd())?;
        Ok(match info.kind {
            sys::LINK_NETNS => sys::first_half(info.target) != 0,
            _ => info.target != 0,
        })
    }

    pub fn is_pinned(&self) -> bool {
        self.path.exists()
    }

    /// Pins it again where it was.
    pub fn pin_again(&self) -> Result<(), KernelError> {
        sys::pin(self.fd.as_fd(), &self.path).map_err(failed(&self.path))
    }
}

/// What the programs of a dead predecessor saw while nobody listened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Previous {
    /// Since *its* load, the time before its death included.
    pub counters: Counters,
    /// Not read by it: since its death, as far as the buffer went.
    pub events: Vec<KernelEvent>,
    /// Its last sign of life, CLOCK_MONOTONIC.
    pub heartbeat_ns: u64,
    /// Its sockets whose end it did not live to compare, as far as the buffer went.
    pub sockets: Vec<SocketTotals>,
}

/// The pin directory with this load's generation in it.
#[derive(Debug)]
pub(super) struct PinDirectory {
    root: PathBuf,
    generation: PathBuf,
    maps: Vec<PinnedFd>,
}

impl PinDirectory {
    /// Creates the directory, mounts a bpffs on it where it lies on none, and starts a generation.
    pub fn open(root: &Path) -> Result<Self, KernelError> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(root).map_err(failed(root))?;
        let root = fs::canonicalize(root).map_err(failed(root))?;
        mount_where_missing(&root)?;
        // A bpffs takes no dots in names.
        let generation = root.join(format!("{}_{}", std::process::id(), monotonic_ns()?));
        fs::DirBuilder::new().mode(0o700).create(&generation).map_err(failed(&generation))?;
        Ok(Self { root, generation, maps: Vec::new() })
    }

    pub fn pin_maps(&mut self, ebpf: &Ebpf) -> Result<(), KernelError> {
        for (name, map) in ebpf.maps() {
            // Constants and globals (".rodata", ".bss") go with their programs.
            if name.contains('.') {
                continue;
            }
            let path = self.generation.join(format!("{MAP_PREFIX}{name}"));
            map.pin(&path).map_err(|error| failed(&path)(chain(&error)))?;
            let fd = sys::open_pin(&path).map_err(failed(&path))?;
            self.maps.push(PinnedFd { fd, path });
        }
        Ok(())
    }

    /// Names of this load's maps, and where each is pinned.
    pub fn shared_maps(&self) -> Vec<(String, PathBuf)> {
        let named = |pin: &PinnedFd| {
            let name = pin.path.file_name()?.to_str()?.strip_prefix(MAP_PREFIX)?.to_owned();
            Some((name, pin.path.clone()))
        };
        self.maps.iter().filter_map(named).collect()
    }

    pub fn pin_link(&self, link: FdLink, program: &str, place_id: u64) -> Result<PinnedFd, KernelError> {
        let path = self.generation.join(format!("{LINK_PREFIX}{program}_{place_id}"));
        let pinned = link.pin(&path).map_err(|error| failed(&path)(chain(&error)))?;
        // Opened before the first one closes: the link is held all the time.
        let fd = sys::open_pin(&path).map_err(failed(&path))?;
        drop(pinned);
        Ok(PinnedFd { fd, path })
    }

    /// Pins again what lost its pin, which happens when the file system is unmounted, or when somebody tidies up.
    /// Answers how many these were.
    pub fn pin_again<'a>(&'a self, links: impl Iterator<Item = &'a PinnedFd>) -> Result<usize, KernelError> {
        let lost: Vec<&PinnedFd> = self.maps.iter().chain(links).filter(|pin| !pin.is_pinned()).collect();
        if !lost.is_empty() {
            mount_where_missing(&self.root)?;
            if !self.generation.is_dir() {
                fs::DirBuilder::new()
                    .mode(0o700)
                    .create(&self.generation)
                    .map_err(failed(&self.generation))?;
            }
        }
        for pin in &lost {
            pin.pin_again()?;
        }
        Ok(lost.len())
    }

    pub fn generation(&self) -> &Path {
        &self.generation
    }

    /// Removes every other generation, and says what the newest of them saw.
    pub fn remove_previous(&self) -> Result<Option<Previous>, KernelError> {
        let mut generations = generations(&self.root)?;
        generations.retain(|(_, path)| *path != self.generation);
        let previous = generations.last().and_then(|(_, path)| read_previous(path));
        for (_, path) in &generations {
            remove_generation(path)?;
        }
        Ok(previous)
    }

    /// Removes generations of agents before this one that are gone, and `gone`. An agent that has taken over from this
    /// one meanwhile keeps its own.
    pub fn remove_before(&self, gone: Option<&Path>) -> Result<(), KernelError> {
        for (at, path) in generations(&self.root)? {
            let is_gone = gone == Some(path.as_path()) || !lives(&path);
            if at < self.started() && is_gone {
                remove_generation(&path)?;
            }
        }
        Ok(())
    }

    /// Removes generations of agents that came after this one and did not take over.
    pub fn remove_after(&self) -> Result<(), KernelError> {
        for (at, path) in generations(&self.root)? {
            if at > self.started() {
                remove_generation(&path)?;
            }
        }
        Ok(())
    }

    /// Numbers of the programs whose links this instance has pinned, the agent beside this one included. Best effort: what
    /// goes meanwhile is not there.
    pub fn programs(&self) -> HashSet<u32> {
        let mut found = HashSet::new();
        for (_, generation) in generations(&self.root).unwrap_or_default() {
            for pin in link_pins(&generation).unwrap_or_default() {
                let info = sys::open_pin(&pin).and_then(|link| sys::link_info(link.as_fd()));
                found.extend(info.ok().map(|info| info.program_id));
            }
        }
        found
    }

    fn started(&self) -> u64 {
        self.generation.file_name().and_then(|name| name.to_str()).and_then(started_ns).unwrap_or(0)
    }

    /// Removes this generation, and the bpffs if it is one that we mounted and nothing else is in it.
    pub fn remove(self) -> Result<(), KernelError> {
        remove_generation(&self.generation)?;
        unmount_if_ours(&self.root)
    }
}

fn mount_where_missing(root: &Path) -> Result<(), KernelError> {
    if statfs(root).map_err(failed(root))?.filesystem_type() != BPF_FS_MAGIC {
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
        mount(Some(MOUNT_SOURCE), root, Some("bpf"), flags, Some("mode=0700")).map_err(failed(root))?;
    }
    Ok(())
}

/// Where nothing is pinned any more. Without the right to unmount (CAP_SYS_ADMIN) an empty bpffs stays, which
/// holds nothing.
pub(super) fn unmount_if_ours(root: &Path) -> Result<(), KernelError> {
    if is_in_use(root)? || !is_our_mount(root) {
        return Ok(());
    }
    match umount2(root, MntFlags::MNT_DETACH) {
        Ok(()) | Err(nix::errno::Errno::EPERM) => Ok(()),
        Err(error) => Err(failed(root)(error)),
    }
}

/// Generations in a pin directory, oldest first, with the time that orders them.
pub(super) fn generations(root: &Path) -> Result<Vec<(u64, PathBuf)>, KernelError> {
    let mut found: Vec<(u64, PathBuf)> = Vec::new();
    for entry in fs::read_dir(root).map_err(failed(root))? {
        let path = entry.map_err(failed(root))?.path();
        if let Some(at) = path.file_name().and_then(|name| name.to_str()).and_then(started_ns) {
            found.push((at, path));
        }
    }
    found.sort();
    Ok(found)
}

/// Whether the process whose generation this is may still be there.
fn lives(generation: &Path) -> bool {
    let pid = generation.file_name().and_then(|name| name.to_str()).and_then(|name| name.split_once('_'));
    pid.is_some_and(|(pid, _)| Path::new("/proc").join(pid).exists())
}

/// Where a map of a living agent is pinned; an error where it is not.
pub(super) fn map_pin(generation: &Path, map: &str) -> Result<PathBuf, KernelError> {
    let path = generation.join(format!("{MAP_PREFIX}{map}"));
    match path.exists() {
        true => Ok(path),
        false => Err(failed(&path)("the agent that is taken over from has no such map")),
    }
}

/// Pins of links in a generation.
pub(super) fn link_pins(generation: &Path) -> Result<Vec<PathBuf>, KernelError> {
    let mut found = Vec::new();
    for entry in fs::read_dir(generation).map_err(failed(generation))? {
        let entry = entry.map_err(failed(generation))?;
        if entry.file_name().to_string_lossy().starts_with(LINK_PREFIX) {
            found.push(entry.path());
        }
    }
    found.sort();
    Ok(found)
}

/// The part of a generation's name that orders them: `PID_NANOSECONDS`.
fn started_ns(name: &str) -> Option<u64> {
    let (pid, started_ns) = name.split_once('_')?;
    pid.parse::<u32>().ok()?;
    started_ns.parse().ok()
}

/// What steers and redirects first here too: while they go one by one, no connection may lose its identity.
///
/// Links are taken off before their pins go: whoever lists links, as `bpftool` and `governor doctor` do, holds each for a
/// moment, and one that is held stays on. A dead agent's programs would go on refusing beside the living one's.
pub(super) fn remove_generation(path: &Path) -> Result<(), KernelError> {
    let mut pins: Vec<PathBuf> = Vec::new();
    for entry in fs::read_dir(path).map_err(failed(path))? {
        pins.push(entry.map_err(failed(path))?.path());
    }
    pins.sort_by_key(|pin| match pin.file_name().and_then(|name| name.to_str()) {
        Some(name) if name.starts_with("link_steer") => 0,
        Some(name) if name.starts_with("link_connect") => 1,
        _ => 2,
    });
    for pin in pins {
        let is_link = pin.file_name().is_some_and(|name| name.to_string_lossy().starts_with(LINK_PREFIX));
        if let Some(link) = is_link.then(|| sys::open_pin(&pin).ok()).flatten() {
            // Refused where it is off already. With the pin it goes all the same, unless somebody holds it.
            let _ = sys::link_detach(link.as_fd());
        }
        fs::remove_file(&pin).map_err(failed(&pin))?;
    }
    fs::remove_dir(path).map_err(failed(path))
}

/// Best effort: another version's maps may look different, and that must not keep us from starting.
fn read_previous(generation: &Path) -> Option<Previous> {
    let open = |name: &str| MapData::from_pin(generation.join(format!("{MAP_PREFIX}{name}"))).ok();
    let counters = PerCpuArray::try_from(Map::from_map_data(open("COUNTERS")?).ok()?).ok()?;
    let mut ring = RingBuf::try_from(Map::from_map_data(open("EVENTS")?).ok()?).ok()?;
    let mut events = Vec::new();
    while let Some(item) = ring.next() {
        events.extend(KernelEvent::from_bytes(&item));
    }
    let heartbeat = Array::<_, u64>::try_from(Map::from_map_data(open("HEARTBEAT")?).ok()?).ok()?;
    let heartbeat_ns = heartbeat.get(&0, 0).map_err(broken("HEARTBEAT")).ok()?;
    Some(Previous {
        counters: Counters::read(&counters).ok()?,
        events,
        heartbeat_ns,
        // An agent of before there were counts has none.
        sockets: read_sockets(open("FLOW_TOTALS")).unwrap_or_default(),
    })
}

fn read_sockets(ring: Option<MapData>) -> Option<Vec<SocketTotals>> {
    let mut ring = ClosedSockets::new(RingBuf::try_from(Map::from_map_data(ring?).ok()?).ok()?);
    Some(std::iter::from_fn(|| ring.take()).collect())
}

/// Whether somebody pinned something. The kernel puts `maps.debug` and `progs.debug` into every
/// bpffs; nobody else can make a name with a dot.
fn is_in_use(root: &Path) -> Result<bool, KernelError> {
    for entry in fs::read_dir(root).map_err(failed(root))? {
        if !entry.map_err(failed(root))?.file_name().to_string_lossy().contains('.') {
            return Ok(true);
        }
    }
    Ok(false)
}

fn is_our_mount(path: &Path) -> bool {
    let Ok(mountinfo) = fs::read_to_string("/proc/self/mountinfo") else {
        return false;
    };
    super::cgroup::mounts(&mountinfo)
        .any(|mount| mount.kind == "bpf" && mount.source == MOUNT_SOURCE && mount.point == path)
}

fn failed<E: Display>(path: &Path) -> impl Fn(E) -> KernelError {
    move |error| KernelError::Pin { path: path.to_path_buf(), reason: error.to_string() }
}

/// Source field of a bpffs that we mounted: the mark by which we know to unmount it.
pub(super) const MOUNT_SOURCE: &str = "governor";
const MAP_PREFIX: &str = "map_";
const LINK_PREFIX: &str = "link_";

#[cfg(test)]
mod tests {
    use super::*;

    /// Pins as plain files, which is all that removing them needs.
    fn pins(root: &Path, pid: u32, at: u64) -> PinDirectory {
        let generation = root.join(format!("{pid}_{at}"));
        fs::create_dir(&generation).unwrap();
        for name in ["map_FLOWS", "link_connect4_1", "link_steer_1"] {
            fs::write(generation.join(name), "").unwrap();
        }
        PinDirectory { root: root.into(), generation, maps: Vec::new() }
    }

    fn left(root: &Path) -> Vec<String> {
        let found = generations(root).unwrap().into_iter();
        found.map(|(_, path)| path.file_name().unwrap().to_str().unwrap().to_owned()).collect()
    }

    /// No process has it: numbers end below.
    const GONE: u32 = 1 << 23;

    #[test]
    fn of_a_chain_of_upgrades_each_agent_removes_what_is_before_it_and_gone() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        let me = std::process::id();
        // A killed one, one that still has sessions, this one, and one that took over from it.
        let _killed = pins(root, GONE, 1);
        let draining = pins(root, 1, 2);
        let this = pins(root, me, 3);
        let _after = pins(root, 1, 4);
        this.remove_before(None).unwrap();
        assert_eq!(left(root), ["1_2".to_owned(), format!("{me}_3"), "1_4".to_owned()]);
        // The one before ended: its number may be another process's already.
        this.remove_before(Some(draining.generation())).unwrap();
        assert_eq!(left(root), [format!("{me}_3"), "1_4".to_owned()]);
        // A dead agent of after this one is not for it to remove, unless it did not take over.
        let _later = pins(root, GONE, 5);
        this.remove_before(None).unwrap();
        assert_eq!(left(root).len(), 3);
        this.remove_after().unwrap();
        assert_eq!(left(root), [format!("{me}_3")]);
    }
}
