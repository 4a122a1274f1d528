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
        for descriptor in descriptors.flatten() {
            let inode = fs::read_link(descriptor.path()).ok().and_then(|target| {
                target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse::<u32>().ok()
            });
            let number = descriptor.file_name().to_str().and_then(|name| name.parse().ok());
            if let (Some(inode), Some(descriptor)) = (inode.filter(|inode| inodes.contains(inode)), number) {
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

/// The holder's descriptor as one of our own, for asking the kernel about its socket. Needs the right to trace it.
pub fn duplicate(holder: &Holder) -> io::Result<OwnedFd> {
    let pid = libc::pid_t::try_from(holder.pid).map_err(io::Error::other)?;
    // SAFETY: plain integers; the answer is a new descriptor or -1.
    let process = owned(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) })?;
    // SAFETY: as above; the descriptor is open.
    owned(unsafe { libc::syscall(libc::SYS_pidfd_getfd, process.as_raw_fd(), holder.descriptor, 0) })
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
