//! Which processes hold a socket.
//!
//! Every process shows the inodes behind its descriptors (`/proc/PID/fd`). A socket may have several holders: it is
//! inherited by a fork, and handed over by SCM_RIGHTS. All count.
//!
//! Source: proc_pid_fd(5), pidfd_getfd(2).

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

/// One process and the number under which it has the socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    pub pid: u32,
    /// Short command name; `?` where the process is gone.
    pub command: String,
    /// Path below the cgroup v2 mount; empty where it is not known.
    pub cgroup: String,
    pub descriptor: RawFd,
}

/// The holders of these inodes, as far as the caller may inspect them.
pub fn holders(inodes: &HashSet<u32>) -> HashMap<u32, Vec<Holder>> {
    let mut found: HashMap<u32, Vec<Holder>> = HashMap::new();
    if inodes.is_empty() {
        return found;
    }
    let Ok(processes) = fs::read_dir("/proc") else { return found };
    for process in processes.flatten() {
        let Some(pid) = process.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        let Ok(descriptors) = fs::read_dir(process.path().join("fd")) else { continue };
        for (descriptor, inode) in descriptors.flatten().filter_map(|entry| socket(&entry)) {
            if inodes.contains(&inode) {
                found.entry(inode).or_default().push(Holder {
                    pid,
                    command: crate::host::ports::command_of(pid),
                    cgroup: cgroup_of(pid),
                    descriptor,
                });
            }
        }
    }
    found
}

/// Every socket of a process, by its descriptor, as far as the caller may inspect it.
pub fn sockets_of(pid: u32) -> Vec<RawFd> {
    let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    descriptors.filter_map(|entry| socket(&entry)).map(|(descriptor, _)| descriptor).collect()
}

/// Number and inode, where the descriptor is a socket.
fn socket(entry: &fs::DirEntry) -> Option<(RawFd, u32)> {
    let target = fs::read_link(entry.path()).ok()?;
    let inode = target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()?;
    Some((entry.file_name().to_str()?.parse().ok()?, inode))
}

/// A process's descriptor as one of our own, for asking the kernel about its socket. Needs the right to trace it.
pub fn duplicate(pid: u32, descriptor: RawFd) -> io::Result<OwnedFd> {
    let pid = libc::pid_t::try_from(pid).map_err(io::Error::other)?;
    // SAFETY: plain integers; the answer is a new descriptor or -1.
    let process = owned(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) })?;
    // SAFETY: as above; the descriptor is open.
    owned(unsafe { libc::syscall(libc::SYS_pidfd_getfd, process.as_raw_fd(), descriptor, 0) })
}

fn owned(answer: libc::c_long) -> io::Result<OwnedFd> {
    match RawFd::try_from(answer) {
        // SAFETY: the kernel made this descriptor for us a moment ago; nobody else owns it.
        Ok(descriptor) if descriptor >= 0 => Ok(unsafe { OwnedFd::from_raw_fd(descriptor) }),
        _ => Err(io::Error::last_os_error()),
    }
}

fn cgroup_of(pid: u32) -> String {
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
    text.lines().find_map(|line| line.strip_prefix("0::")).unwrap_or_default().to_owned()
}
