//! Which processes are in which network namespace.
//!
//! Source: namespaces(7) (`/proc/PID/ns/net`), proc_pid_mountinfo(5), cgroups(7).

use std::collections::HashMap;
use std::fs;
use std::net::IpAddr;

/// Processes of one network namespace; the first few of them.
pub type Pids = Vec<u32>;

/// The network namespace of a process or thread, by inode number. `None` where it is gone or may not be
/// looked at.
pub fn namespace_of(pid: u32) -> Option<u64> {
    inode(fs::read_link(format!("/proc/{pid}/ns/net")).ok()?.to_str()?)
}

/// governor's own.
pub fn own_namespace() -> Option<u64> {
    inode(fs::read_link("/proc/self/ns/net").ok()?.to_str()?)
}

/// Every network namespace that a process is in. Costs one directory and one link for each process of the
/// host.
pub fn processes() -> HashMap<u64, Pids> {
    let mut found: HashMap<u64, Pids> = HashMap::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        let Some(namespace) = namespace_of(pid) else { continue };
        let pids = found.entry(namespace).or_default();
        if pids.len() < PIDS_MAX {
            pids.push(pid);
        }
    }
    found
}

/// Addresses of the interfaces of the calling thread's network namespace; `None` where they cannot be told.
pub fn addresses() -> Option<Vec<IpAddr>> {
    let interfaces = nix::ifaddrs::getifaddrs().ok()?;
    let address = |found: nix::sys::socket::SockaddrStorage| {
        let v4 = found.as_sockaddr_in().map(|address| IpAddr::V4(address.ip()));
        v4.or_else(|| found.as_sockaddr_in6().map(|address| IpAddr::V6(address.ip())))
    };
    Some(interfaces.filter_map(|interface| address(interface.address?)).collect())
}

/// Whether a process is in one of these cgroups or below: paths below the cgroup v2 mount, `/` for the root.
pub fn runs_in(pid: u32, cgroups: &[String]) -> bool {
    let Ok(text) = fs::read_to_string(format!("/proc/{pid}/cgroup")) else { return false };
    text.lines().find_map(|line| line.strip_prefix("0::")).is_some_and(|path| {
        cgroups.iter().any(|cgroup| {
            path.strip_prefix(cgroup.trim_end_matches('/'))
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        })
    })
}

/// Whether a mount keeps the namespace, as container engines and `ip netns` make one, so that processes can
/// enter it later: in the mounts of governor or of the host's first process.
pub fn is_pinned(namespace: u64) -> bool {
    let name = format!("net:[{namespace}]");
    ["/proc/self/mountinfo", "/proc/1/mountinfo"]
        .iter()
        .filter_map(|table| fs::read_to_string(table).ok())
        .any(|table| table.lines().any(|line| line.split(' ').nth(3) == Some(name.as_str())))
}

/// `net:[4026531840]`
fn inode(link: &str) -> Option<u64> {
    link.strip_prefix("net:[")?.strip_suffix(']')?.parse().ok()
}

/// Of one namespace: enough to find one that runs in a captured cgroup.
const PIDS_MAX: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_found_in_its_namespace() {
        let own = own_namespace().unwrap();
        assert_eq!(namespace_of(std::process::id()), Some(own));
        assert!(processes().get(&own).is_some_and(|pids| !pids.is_empty()));
        assert_eq!(namespace_of(u32::MAX), None);
        assert!(!is_pinned(1));
    }

    #[test]
    fn links_of_other_kinds_are_no_network_namespace() {
        assert_eq!(inode("net:[4026531840]"), Some(4_026_531_840));
        for other in ["mnt:[4026531840]", "net:[]", "net:[x]", "net:4", ""] {
            assert_eq!(inode(other), None, "{other}");
        }
    }

    #[test]
    fn cgroups_are_matched_by_whole_components() {
        let own = fs::read_to_string("/proc/self/cgroup").unwrap();
        let own = own.lines().find_map(|line| line.strip_prefix("0::")).unwrap().to_owned();
        let pid = std::process::id();
        assert!(runs_in(pid, &["/".into()]));
        assert!(runs_in(pid, &["/elsewhere".into(), own.clone()]));
        assert!(!runs_in(pid, &[format!("{}x", own.trim_end_matches('/'))]));
        assert!(!runs_in(pid, &[]));
    }
}
