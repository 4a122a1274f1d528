//! Who is attached where: programs on the hooks that governor uses, its own and those of others.
//!
//! Two questions. The agent asks, of the cgroups that matter to it, whether programs of others run there
//! ([`foreign_on`]): that needs no more than it has. `governor doctor` asks for everything ([`hooks`]): names, pins and
//! owners of all programs on the host's cgroups and network namespaces, for which the kernel wants CAP_SYS_ADMIN.

use super::cgroup::{cgroup2_mount, mounts};
use super::sys;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// One program on one hook.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Hook {
    /// As libbpf names it: `cgroup/connect4`.
    pub hook: &'static str,
    /// A cgroup's directory, or `net:[INODE]`.
    pub place: String,
    pub program_id: u32,
    /// As the kernel has it: at most 15 characters.
    pub program: String,
    /// Attached by this link; without one it was attached the old way.
    pub link_id: Option<u32>,
    /// Where program or link are pinned.
    pub pins: Vec<PathBuf>,
    /// Processes that hold program or link open: `PID NAME`.
    pub holders: Vec<String>,
    /// The uid that loaded it.
    pub uid: Option<u32>,
}

/// A hook that governor uses.
struct Kind {
    attach_type: u32,
    name: &'static str,
    /// What a program of somebody else on it can do to governor.
    consequence: &'static str,
}

/// Every program on hooks that governor uses, wherever it is attached. The error says what is missing.
pub fn hooks() -> io::Result<Vec<Hook>> {
    let mut programs: HashMap<u32, (String, Option<u32>)> = HashMap::new();
    for program in aya::programs::loaded_programs() {
        let program = program.map_err(io::Error::other)?;
        let name = program.name_as_str().unwrap_or_default().to_owned();
        programs.insert(program.id(), (name, program.created_by_uid()));
    }
    let described = |hook: Hook| {
        let (program, uid) = programs.get(&hook.program_id).cloned().unwrap_or_default();
        Hook { program, uid, ..hook }
    };
    let mut found: Vec<Hook> = Vec::new();
    let mut linked: HashSet<(u32, u32)> = HashSet::new();
    let directories = cgroups()?;
    for id in sys::link_ids()? {
        // One that is gone meanwhile is no hook.
        let Some(link) = sys::link_by_id(id)? else { continue };
        let info = sys::link_info(link.as_fd())?;
        let (attach_type, place) = match info.kind {
            sys::LINK_CGROUP => {
                let place = directories.get(&info.target).map_or_else(
                    || format!("a removed cgroup ({})", info.target),
                    |path| path.display().to_string(),
                );
                (info.attach_type, place)
            }
            // Inode and attach type share a word.
            sys::LINK_NETNS => {
                let [low, high] = halves(info.target);
                (high, format!("net:[{low}]"))
            }
            _ => continue,
        };
        let Some(kind) = KINDS.iter().find(|kind| kind.attach_type == attach_type) else { continue };
        linked.insert((info.program_id, attach_type));
        found.push(described(Hook {
            hook: kind.name,
            place,
            program_id: info.program_id,
            link_id: Some(id),
            ..Hook::default()
        }));
    }
    // What was attached without a link is found by asking each cgroup.
    for path in directories.values() {
        let Ok(directory) = fs::File::open(path) else { continue };
        for kind in KINDS.iter().filter(|kind| kind.attach_type != SK_LOOKUP) {
            for program_id in sys::programs_on(directory.as_fd(), kind.attach_type, false).unwrap_or_default()
            {
                if !linked.contains(&(program_id, kind.attach_type)) {
                    found.push(described(Hook {
                        hook: kind.name,
                        place: path.display().to_string(),
                        program_id,
                        ..Hook::default()
                    }));
                }
            }
        }
    }
    find_pins(&mut found);
    find_holders(&mut found);
    found.sort_by(|a, b| (&a.place, a.hook, a.program_id).cmp(&(&b.place, b.hook, b.program_id)));
    Ok(found)
}

/// Numbers of programs that run for sockets of this cgroup, on hooks that governor uses, and that are not `own`:
/// attached to it or to one above it.
pub fn foreign_on(cgroup: &Path, own: &HashSet<u32>) -> io::Result<Vec<(&'static str, u32)>> {
    let directory = fs::File::open(cgroup)?;
    let mut found = Vec::new();
    for kind in KINDS.iter().filter(|kind| kind.attach_type != SK_LOOKUP) {
        for id in sys::programs_on(directory.as_fd(), kind.attach_type, true)? {
            if !own.contains(&id) {
                found.push((kind.name, id));
            }
        }
    }
    Ok(found)
}

/// Numbers of programs that are asked in this network namespace where an arriving connection goes, and that are not `own`.
pub(super) fn foreign_in(namespace: BorrowedFd<'_>, own: &HashSet<u32>) -> io::Result<Vec<u32>> {
    let mut found = sys::programs_on(namespace, SK_LOOKUP, false)?;
    found.retain(|id| !own.contains(id));
    Ok(found)
}

/// What a program of somebody else on this hook can do to governor.
pub fn consequence(hook: &str) -> &'static str {
    KINDS.iter().find(|kind| kind.name == hook).map_or("", |kind| kind.consequence)
}

/// Names of the hooks that governor uses.
pub fn hook_names() -> impl Iterator<Item = &'static str> {
    KINDS.iter().map(|kind| kind.name)
}

/// Directories of the cgroup v2 mount by their ids, at most [`CGROUPS_MAX`].
fn cgroups() -> io::Result<BTreeMap<u64, PathBuf>> {
    let mount = cgroup2_mount().map_err(io::Error::other)?;
    let mut found = BTreeMap::new();
    let mut waiting = vec![mount];
    while let Some(path) = waiting.pop() {
        if found.len() >= CGROUPS_MAX {
            break;
        }
        // A cgroup may go at any time.
        let (Ok(metadata), Ok(entries)) = (fs::metadata(&path), fs::read_dir(&path)) else { continue };
        waiting.extend(
            entries
                .flatten()
                .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
                .map(|entry| entry.path()),
        );
        found.insert(metadata.ino(), path);
    }
    Ok(found)
}

/// Looks through every bpffs of this mount namespace.
fn find_pins(hooks: &mut [Hook]) {
    let mountinfo = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let mut waiting: Vec<PathBuf> =
        mounts(&mountinfo).filter(|mount| mount.kind == "bpf").map(|mount| mount.point).collect();
    let mut left = PINS_MAX;
    while let Some(directory) = waiting.pop() {
        for entry in fs::read_dir(&directory).into_iter().flatten().flatten() {
            let path = entry.path();
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                waiting.push(path);
                continue;
            }
            left -= 1;
            if left == 0 {
                return;
            }
            let Ok(object) = sys::open_pin(&path) else { continue };
            let numbers = numbers(&format!("/proc/self/fdinfo/{}", std::os::fd::AsRawFd::as_raw_fd(&object)));
            hooks.iter_mut().filter(|hook| numbers.name(hook)).for_each(|hook| hook.pins.push(path.clone()));
        }
    }
}

/// Looks through the descriptors of every process.
fn find_holders(hooks: &mut [Hook]) {
    for process in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = process.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        let mut held: HashSet<usize> = HashSet::new();
        for entry in fs::read_dir(process.path().join("fd")).into_iter().flatten().flatten() {
            let is_bpf = fs::read_link(entry.path()).is_ok_and(|target| {
                let target = target.to_string_lossy();
                target.contains("bpf-prog") || target.contains("bpf_link")
            });
            if !is_bpf {
                continue;
            }
            let fdinfo = process.path().join("fdinfo").join(entry.file_name());
            let numbers = numbers(&fdinfo.display().to_string());
            held.extend(hooks.iter().enumerate().filter(|(_, hook)| numbers.name(hook)).map(|(at, _)| at));
        }
        if held.is_empty() {
            continue;
        }
        let name = fs::read_to_string(process.path().join("comm")).unwrap_or_default();
        for at in held {
            if let Some(hook) = hooks.get_mut(at) {
                hook.holders.push(format!("{pid} {}", name.trim()));
            }
        }
    }
}

/// What `/proc/PID/fdinfo/N` says of a descriptor of a program or a link.
#[derive(Debug, Default, PartialEq, Eq)]
struct Numbers {
    link: Option<u32>,
    program: Option<u32>,
}

impl Numbers {
    fn name(&self, hook: &Hook) -> bool {
        match self.link {
            Some(link) => hook.link_id == Some(link),
            None => self.program == Some(hook.program_id),
        }
    }
}

fn numbers(fdinfo: &str) -> Numbers {
    parse_numbers(&fs::read_to_string(fdinfo).unwrap_or_default())
}

fn parse_numbers(text: &str) -> Numbers {
    let of = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim().parse().ok()
    };
    Numbers { link: of("link_id:"), program: of("prog_id:") }
}

fn halves(word: u64) -> [u32; 2] {
    let [a, b, c, d, e, f, g, h] = word.to_ne_bytes();
    [u32::from_ne_bytes([a, b, c, d]), u32::from_ne_bytes([e, f, g, h])]
}

/// `enum bpf_attach_type` of linux/bpf.h.
const SK_LOOKUP: u32 = 36;
/// The hook that is a network namespace's.
pub(super) const SK_LOOKUP_NAME: &str = "sk_lookup";
const KINDS: &[Kind] = &[
    Kind {
        attach_type: 2,
        name: "cgroup/sock_create",
        consequence: "it can refuse sockets before governor's programs see them",
    },
    Kind {
        attach_type: 3,
        name: "sockops",
        consequence: "it can take back the callbacks that governor asked for: identities and counts may be lost, and are then told",
    },
    Kind {
        attach_type: 8,
        name: "cgroup/bind4",
        consequence: "it can move a bind() to a port of governor's after governor allowed it",
    },
    Kind {
        attach_type: 9,
        name: "cgroup/bind6",
        consequence: "it can move a bind() to a port of governor's after governor allowed it",
    },
    Kind {
        attach_type: 10,
        name: "cgroup/connect4",
        consequence: "it can change a destination: what it sends to a captured port on a cgroup above governor's, or away from one below, goes ungoverned",
    },
    Kind {
        attach_type: 11,
        name: "cgroup/connect6",
        consequence: "it can change a destination: what it sends to a captured port on a cgroup above governor's, or away from one below, goes ungoverned",
    },
    Kind {
        attach_type: 29,
        name: "cgroup/getpeername4",
        consequence: "clients may be shown another server than they asked for",
    },
    Kind {
        attach_type: 30,
        name: "cgroup/getpeername6",
        consequence: "clients may be shown another server than they asked for",
    },
    Kind {
        attach_type: SK_LOOKUP,
        name: SK_LOOKUP_NAME,
        consequence: "it can send arriving connections to another listener before governor's program is asked",
    },
];

/// Cgroups that are looked at.
const CGROUPS_MAX: usize = 20_000;
/// Pinned objects that are looked at.
const PINS_MAX: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fdinfo_names_links_and_programs() {
        let link = "pos:\t0\nlink_type:\tcgroup\nlink_id:\t12\nprog_tag:\t00\nprog_id:\t34\ncgroup_id:\t5\n";
        assert_eq!(parse_numbers(link), Numbers { link: Some(12), program: Some(34) });
        assert_eq!(parse_numbers("prog_type:\t18\nprog_id:\t7\n"), Numbers { link: None, program: Some(7) });
        assert_eq!(parse_numbers("pos:\t0\n"), Numbers::default());
        // Another link of the same program is another hook.
        let hook = Hook { link_id: Some(12), program_id: 34, ..Hook::default() };
        assert!(parse_numbers(link).name(&hook));
        assert!(!Numbers { link: Some(13), program: Some(34) }.name(&hook));
        assert!(Numbers { link: None, program: Some(34) }.name(&hook));
    }

    #[test]
    fn every_hook_says_what_a_stranger_on_it_means() {
        for name in hook_names() {
            assert!(!consequence(name).is_empty(), "{name}");
        }
        assert_eq!(halves(u64::from_ne_bytes([1, 0, 0, 0, 2, 0, 0, 0])), [1, 2]);
    }
}
