//! A running process as the kernel hook would attest it if it connected now: for questions about policy.
//!
//! What is told here decides no traffic: a session is decided on what the hook saw.

use super::Attested;
use nix::time::{ClockId, clock_gettime};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Reads process `pid`; `cgroup2_mount` is where the unified hierarchy is mounted.
///
/// # Errors
/// Where there is no such process, or it may not be read.
pub fn attest(pid: u32, cgroup2_mount: &Path) -> io::Result<Attested> {
    let directory = Path::new("/proc").join(pid.to_string());
    let status = fs::read_to_string(directory.join("status"))?;
    let real = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_ascii_whitespace().next()?.parse().ok()
    };
    let unreadable = || io::Error::new(io::ErrorKind::InvalidData, "its status cannot be understood");
    let cgroups = fs::read_to_string(directory.join("cgroup"))?;
    let cgroup = cgroups.lines().find_map(|line| line.strip_prefix("0::")).ok_or_else(unreadable)?;
    let cgroup_id = fs::metadata(cgroup2_mount.join(cgroup.trim_start_matches('/')))?.ino();
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC)?;
    let ns = u64::try_from(now.tv_sec()).unwrap_or(0).saturating_mul(1_000_000_000);
    Ok(Attested {
        tgid: pid,
        uid: real("Uid:").ok_or_else(unreadable)?,
        gid: real("Gid:").ok_or_else(unreadable)?,
        command: fs::read_to_string(directory.join("comm"))?.trim_end_matches('\n').to_owned(),
        cgroup_id,
        connected_ns: ns.saturating_add(u64::try_from(now.tv_nsec()).unwrap_or(0)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_attested() {
        // Any directory stands for the mount: only the group's own is looked up below it.
        let own = fs::read_to_string("/proc/self/cgroup").unwrap();
        let path = own.lines().find_map(|line| line.strip_prefix("0::")).unwrap();
        let mount = tempfile::tempdir().unwrap();
        let group = mount.path().join(path.trim_start_matches('/'));
        fs::create_dir_all(&group).unwrap();
        let attested = attest(std::process::id(), mount.path()).unwrap();
        assert_eq!(attested.uid, nix::unistd::getuid().as_raw());
        assert_eq!(attested.cgroup_id, fs::metadata(&group).unwrap().ino());
        assert!(attest(u32::MAX, mount.path()).is_err());
    }
}
