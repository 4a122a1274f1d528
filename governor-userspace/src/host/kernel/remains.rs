//! What governor left in the kernel: finds it without a running agent, and removes it.
//!
//! Two ways lead there. Pins are in a bpffs that governor mounted, or in the pin directory of an instance.
//! Hooks are found in the kernel itself by the maps that their programs use, whoever holds or pins them.
//!
//! Invariant: what a living process holds is not touched.

use super::cgroup::mounts;
use super::error::chain;
use super::load::STEER;
use super::pins::{self, MOUNT_SOURCE};
use super::{KernelError, sys};
use aya::maps::loaded_maps;
use aya::programs::loaded_programs;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::os::fd::AsFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// One program of governor on one hook.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Hook {
    pub link: u32,
    pub program: String,
    /// Directory of the cgroup, or the network namespace; as far as it can be named.
    pub place: String,
    /// Living processes that hold it, beside its pin.
    pub held_by: Vec<u32>,
}

/// A pin directory in which something may be left.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PinPlace {
    pub path: PathBuf,
    /// One for each load whose pins are left.
    pub generations: Vec<PathBuf>,
    /// A bpffs that governor mounted.
    pub mounted: bool,
}

/// What is to go.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Remains {
    pub hooks: Vec<Hook>,
    pub pins: Vec<PinPlace>,
}

impl Remains {
    /// Of the instance whose pin directory this is.
    pub fn of_instance(pin_dir: &Path) -> Result<Self, KernelError> {
        let place = pin_place(pin_dir)?;
        let holders = holders();
        let programs = program_names();
        let mut hooks = Vec::new();
        for generation in &place.generations {
            for pin in pins::link_pins(generation)? {
                // Gone between the listing and now: nothing to do.
                let Ok(link) = sys::open_pin(&pin) else { continue };
                let info = sys::link_info(link.as_fd()).map_err(failed("reading a link"))?;
                hooks.push(hook(&info, &programs, &holders));
            }
        }
        hooks.sort_by_key(|hook| hook.link);
        Ok(Self { hooks, pins: Some(place).into_iter().filter(PinPlace::is_anything).collect() })
    }

    /// Of every governor in this kernel. With `below`, only hooks on that cgroup and below it, the pins of these, and what the
    /// same instances have on network namespaces, which are below no cgroup.
    pub fn of_host(below: Option<&Path>) -> Result<Self, KernelError> {
        let holders = holders();
        let programs = program_names();
        let ours = our_programs()?;
        let within = below.map(cgroup_ids).transpose()?;
        let mut found = Vec::new();
        for id in sys::link_ids().map_err(failed("listing the kernel's links (needs CAP_SYS_ADMIN)"))? {
            let Some(link) = sys::link_by_id(id).map_err(failed("opening a link"))? else { continue };
            let info = sys::link_info(link.as_fd()).map_err(failed("reading a link"))?;
            if let Some(instance) = ours.get(&info.program_id) {
                found.push((info, instance));
            }
        }
        let is_within = |info: &sys::LinkInfo| {
            within.as_ref().is_none_or(|ids| info.kind == sys::LINK_CGROUP && ids.contains(&info.target))
        };
        let instances: BTreeSet<u32> =
            found.iter().filter(|(info, _)| is_within(info)).map(|(_, instance)| **instance).collect();
        let is_wanted = |info: &sys::LinkInfo, instance: &u32| {
            is_within(info) || info.kind == sys::LINK_NETNS && instances.contains(instance)
        };
        let wanted = found.iter().filter(|(info, instance)| is_wanted(info, instance));
        let hooks: Vec<Hook> = wanted.map(|(info, _)| hook(info, &programs, &holders)).collect();
        let links: BTreeSet<u32> = hooks.iter().map(|hook| hook.link).collect();
        let mut places = Vec::new();
        for path in our_mounts()? {
            let place = pin_place(&path)?;
            if within.is_none() || place.pins_any_of(&links)? {
                places.push(place);
            }
        }
        places.retain(PinPlace::is_anything);
        Ok(Self { hooks, pins: places })
    }

    /// Living processes that hold any of it, this one left out.
    pub fn held_by(&self) -> BTreeSet<u32> {
        let me = std::process::id();
        self.hooks.iter().flat_map(|hook| hook.held_by.iter().copied()).filter(|pid| *pid != me).collect()
    }

    pub fn is_empty(&self) -> bool {
        self.hooks.is_empty() && self.pins.is_empty()
    }

    /// Takes hooks off, those that steer and redirect first, then removes pins and the mounts that are ours.
    pub fn remove(&self) -> Result<(), KernelError> {
        let mut hooks: Vec<&Hook> = self.hooks.iter().collect();
        hooks.sort_by_key(|hook| (hook.program != STEER, !hook.program.starts_with("connect")));
        for hook in hooks {
            if let Some(link) = open_for_removal(hook.link)? {
                match sys::link_detach(link.as_fd()) {
                    Ok(()) => {}
                    // The cgroup or namespace is gone, and the link with it.
                    Err(error) if error.raw_os_error() == Some(libc::ENOLINK) => {}
                    Err(error) => return Err(failed("taking a program off")(error)),
                }
            }
        }
        for place in &self.pins {
            for generation in &place.generations {
                pins::remove_generation(generation)?;
            }
            pins::unmount_if_ours(&place.path)?;
        }
        Ok(())
    }
}

impl PinPlace {
    fn is_anything(&self) -> bool {
        self.mounted || !self.generations.is_empty()
    }

    fn pins_any_of(&self, links: &BTreeSet<u32>) -> Result<bool, KernelError> {
        for generation in &self.generations {
            for pin in pins::link_pins(generation)? {
                let id =
                    sys::open_pin(&pin).and_then(|link| sys::link_info(link.as_fd())).map(|info| info.id);
                if id.is_ok_and(|id| links.contains(&id)) {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }
}

fn pin_place(path: &Path) -> Result<PinPlace, KernelError> {
    if !path.is_dir() {
        return Ok(PinPlace { path: path.to_path_buf(), generations: Vec::new(), mounted: false });
    }
    let path = fs::canonicalize(path)
        .map_err(|error| KernelError::Pin { path: path.into(), reason: error.to_string() })?;
    let generations = pins::generations(&path)?.into_iter().map(|(_, path)| path).collect();
    Ok(PinPlace { generations, mounted: our_mounts()?.contains(&path), path })
}

/// A link that went by itself meanwhile is none. Without CAP_SYS_ADMIN only pins can be removed, which is enough
/// for what nobody else holds.
fn open_for_removal(link: u32) -> Result<Option<std::os::fd::OwnedFd>, KernelError> {
    match sys::link_by_id(link) {
        Err(error) if error.raw_os_error() == Some(libc::EPERM) => Ok(None),
        other => other.map_err(failed("opening a link")),
    }
}

fn our_mounts() -> Result<Vec<PathBuf>, KernelError> {
    let mountinfo =
        fs::read_to_string("/proc/self/mountinfo").map_err(failed("reading /proc/self/mountinfo"))?;
    let ours = mounts(&mountinfo).filter(|mount| mount.kind == "bpf" && mount.source == MOUNT_SOURCE);
    Ok(ours.map(|mount| mount.point).collect())
}

/// Programs that use maps of governor's (names alone, such as `connect4`, are anybody's), each with what tells instances apart:
/// the map of counters that all programs of one share.
fn our_programs() -> Result<BTreeMap<u32, u32>, KernelError> {
    // What goes away while we list it is nobody's any more.
    let names: HashMap<u32, String> = loaded_maps()
        .filter_map(Result::ok)
        .filter_map(|map| Some((map.id(), map.name_as_str()?.to_owned())))
        .collect();
    let mut ours = BTreeMap::new();
    for program in loaded_programs() {
        let Ok(program) = program else { continue };
        let maps = program.map_ids().ok().flatten().unwrap_or_default();
        let used = |name: &str| maps.iter().find(|id| names.get(id).is_some_and(|found| found == name));
        if let Some(counters) = used("COUNTERS")
            && MARKS.iter().any(|name| used(name).is_some())
        {
            ours.insert(program.id(), *counters);
        }
    }
    Ok(ours)
}

fn program_names() -> BTreeMap<u32, String> {
    loaded_programs()
        .filter_map(Result::ok)
        .map(|program| (program.id(), program.name_as_str().unwrap_or("?").to_owned()))
        .collect()
}

fn hook(
    info: &sys::LinkInfo,
    programs: &BTreeMap<u32, String>,
    holders: &HashMap<u32, BTreeSet<u32>>,
) -> Hook {
    let place = match info.kind {
        sys::LINK_CGROUP => cgroup_name(info.target),
        // The low half, on either byte order, is the first u32.
        sys::LINK_NETNS => format!("network namespace {}", sys::first_half(info.target)),
        kind => format!("link of kind {kind}"),
    };
    Hook {
        link: info.id,
        program: programs.get(&info.program_id).cloned().unwrap_or_else(|| "?".to_owned()),
        place,
        held_by: holders.get(&info.id).map(|pids| pids.iter().copied().collect()).unwrap_or_default(),
    }
}

/// The directory with this inode in the cgroup v2 mount.
fn cgroup_name(id: u64) -> String {
    let found = super::cgroup2_mount().ok().and_then(|mount| find_directory(&mount, id, CGROUP_DEPTH_MAX));
    found.map_or_else(|| format!("cgroup {id} (removed)"), |path| path.display().to_string())
}

fn find_directory(at: &Path, id: u64, depth: usize) -> Option<PathBuf> {
    if fs::metadata(at).is_ok_and(|found| found.ino() == id) {
        return Some(at.to_path_buf());
    }
    let below = depth.checked_sub(1)?;
    let entries = fs::read_dir(at).ok()?.filter_map(Result::ok);
    let directories = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    directories.into_iter().find_map(|entry| find_directory(&entry.path(), id, below))
}

/// Ids of a cgroup and everything below it.
fn cgroup_ids(path: &Path) -> Result<BTreeSet<u64>, KernelError> {
    let refuse = |error: std::io::Error| KernelError::NotACgroup {
        path: path.to_path_buf(),
        reason: error.to_string(),
    };
    let mut ids = BTreeSet::from([fs::metadata(path).map_err(refuse)?.ino()]);
    let mut left = vec![path.to_path_buf()];
    while let Some(directory) = left.pop() {
        // Removed meanwhile: then so are its hooks.
        let Ok(entries) = fs::read_dir(&directory) else { continue };
        for entry in entries.filter_map(Result::ok) {
            if let Ok(found) = entry.metadata()
                && found.is_dir()
            {
                ids.insert(found.ino());
                left.push(entry.path());
            }
        }
    }
    Ok(ids)
}

/// Which living processes hold which link: the kernel writes a descriptor's link into its fdinfo.
fn holders() -> HashMap<u32, BTreeSet<u32>> {
    let mut found: HashMap<u32, BTreeSet<u32>> = HashMap::new();
    let processes = fs::read_dir("/proc").into_iter().flatten().filter_map(Result::ok);
    for process in processes {
        let Some(pid) = process.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        // Processes end at any time.
        let descriptors =
            fs::read_dir(process.path().join("fd")).into_iter().flatten().filter_map(Result::ok);
        for descriptor in descriptors {
            let is_link = fs::read_link(descriptor.path()).is_ok_and(|target| {
                target.as_os_str() == "anon_inode:bpf_link" || target.as_os_str() == "anon_inode:bpf-link"
            });
            if !is_link {
                continue;
            }
            let info = process.path().join("fdinfo").join(descriptor.file_name());
            let text = fs::read_to_string(info).unwrap_or_default();
            let id = text.lines().find_map(|line| line.strip_prefix("link_id:")?.trim().parse().ok());
            if let Some(id) = id {
                found.entry(id).or_default().insert(pid);
            }
        }
    }
    found
}

fn failed(action: &'static str) -> impl Fn(std::io::Error) -> KernelError {
    move |source| {
        let text = chain(&source);
        KernelError::System { action, source: std::io::Error::new(source.kind(), text) }
    }
}

/// Maps whose names, beside `COUNTERS`, make a program governor's.
const MARKS: [&str; 7] =
    ["FLOWS", "EXEMPT", "GUARDED_PORTS", "PENDING", "EVENTS", "INBOUND_PORTS", "CLIENTS"];
/// A cgroup tree is never so deep; a loop cannot be in it.
const CGROUP_DEPTH_MAX: usize = 32;
