//! Pins: what lets the hooks outlive a killed agent, and lets the next one clean up after it.
//!
//! Each load has a directory of its own ("generation") below the pin directory, so that a new agent
//! can attach beside its dead predecessor before it removes the old links.
//!
//! The pin directory belongs to one instance: two living agents must not share it.

use super::KernelError;
use super::error::chain;
use super::events::KernelEvent;
use super::maps::{Counters, monotonic_ns};
use aya::Ebpf;
use aya::maps::{Map, MapData, PerCpuArray, RingBuf};
use aya::programs::links::{FdLink, PinnedLink};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::statfs::{BPF_FS_MAGIC, statfs};
use std::fmt::Display;
use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// What the programs of a dead predecessor saw while nobody listened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Previous {
    /// Since *its* load, the time before its death included.
    pub counters: Counters,
    /// Not read by it: since its death, as far as the buffer went.
    pub events: Vec<KernelEvent>,
}

/// The pin directory with this load's generation in it.
#[derive(Debug)]
pub(super) struct PinDirectory {
    root: PathBuf,
    generation: PathBuf,
}

impl PinDirectory {
    /// Creates the directory, mounts a bpffs on it where it lies on none, and starts a generation.
    pub fn open(root: &Path) -> Result<Self, KernelError> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(root).map_err(failed(root))?;
        let root = fs::canonicalize(root).map_err(failed(root))?;
        if statfs(&root).map_err(failed(&root))?.filesystem_type() != BPF_FS_MAGIC {
            let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
            mount(Some(MOUNT_SOURCE), &root, Some("bpf"), flags, Some("mode=0700")).map_err(failed(&root))?;
        }
        // A bpffs takes no dots in names.
        let generation = root.join(format!("{}_{}", std::process::id(), monotonic_ns()?));
        fs::DirBuilder::new().mode(0o700).create(&generation).map_err(failed(&generation))?;
        Ok(Self { root, generation })
    }

    pub fn pin_maps(&self, ebpf: &Ebpf) -> Result<(), KernelError> {
        for (name, map) in ebpf.maps() {
            // Constants and globals (".rodata", ".bss") go with their programs.
            if name.contains('.') {
                continue;
            }
            let path = self.generation.join(format!("{MAP_PREFIX}{name}"));
            map.pin(&path).map_err(|error| failed(&path)(chain(&error)))?;
        }
        Ok(())
    }

    pub fn pin_link(&self, link: FdLink, program: &str, place_id: u64) -> Result<PinnedLink, KernelError> {
        let path = self.generation.join(format!("link_{program}_{place_id}"));
        link.pin(&path).map_err(|error| failed(&path)(chain(&error)))
    }

    /// Removes every other generation, and says what the newest of them saw.
    pub fn remove_previous(&mut self) -> Result<Option<Previous>, KernelError> {
        let mut generations: Vec<(u64, PathBuf)> = Vec::new();
        for entry in fs::read_dir(&self.root).map_err(failed(&self.root))? {
            let path = entry.map_err(failed(&self.root))?.path();
            let started = path.file_name().and_then(|name| name.to_str()).and_then(started_ns);
            if let Some(started_ns) = started
                && path != self.generation
            {
                generations.push((started_ns, path));
            }
        }
        generations.sort();
        let previous = generations.last().and_then(|(_, path)| read_previous(path));
        for (_, path) in &generations {
            remove_generation(path)?;
        }
        Ok(previous)
    }

    /// Removes this generation, and the bpffs if it is one that we mounted and nothing else is in it.
    pub fn remove(self) -> Result<(), KernelError> {
        remove_generation(&self.generation)?;
        if !is_in_use(&self.root)? && is_our_mount(&self.root) {
            umount2(&self.root, MntFlags::MNT_DETACH).map_err(failed(&self.root))?;
        }
        Ok(())
    }
}

/// The part of a generation's name that orders them: `PID_NANOSECONDS`.
fn started_ns(name: &str) -> Option<u64> {
    let (pid, started_ns) = name.split_once('_')?;
    pid.parse::<u32>().ok()?;
    started_ns.parse().ok()
}

/// What steers and redirects first here too: while they go one by one, no connection may lose its identity.
fn remove_generation(path: &Path) -> Result<(), KernelError> {
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
    Some(Previous { counters: Counters::read(&counters).ok()?, events })
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
const MOUNT_SOURCE: &str = "governor";
const MAP_PREFIX: &str = "map_";
