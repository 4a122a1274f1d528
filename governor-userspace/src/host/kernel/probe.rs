//! Says what this host can do, and how to mend what it cannot: the kernel part of `governor doctor`.

use super::cgroup::{cgroup2_mount, mounts};
use super::error::chain;
use aya::programs::ProgramType;
use aya::sys::is_program_supported;
use aya::util::KernelVersion;
use std::fs;
use std::path::Path;

mod features;

/// How a check came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Ok,
    /// Works, with the stated consequence.
    Warn,
    /// Capture does not work.
    Fail,
}

/// One question to the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    pub name: &'static str,
    pub ok: Outcome,
    /// What is there.
    pub found: String,
    /// What to do; empty where nothing is to be done.
    pub fix: String,
    /// What happens if it stays so; empty where nothing does.
    pub consequence: String,
}

/// Asks everything. Changes nothing on the host.
pub fn probe() -> Vec<Check> {
    let mut checks = vec![kernel_version(), cgroup_mount(), btf(), bpffs(), capabilities(), programs()];
    checks.extend(features::features());
    checks
}

/// Names of needed capabilities that this process does not have.
pub(super) fn missing_capabilities() -> Vec<&'static str> {
    let Ok(status) = fs::read_to_string("/proc/self/status") else {
        return Vec::new();
    };
    missing_in(effective(&status).unwrap_or(0))
}

fn kernel_version() -> Check {
    let name = "kernel version";
    let Ok(version) = KernelVersion::current() else {
        return fail(name, "unreadable", "", "it is not known whether the programs load");
    };
    let found = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned();
    if version >= TESTED {
        ok(name, found)
    } else if version >= NEEDED {
        Check {
            name,
            ok: Outcome::Warn,
            found,
            fix: "upgrade to Linux 6.1 or later".to_owned(),
            consequence: "kernels before 6.1 are not tested".to_owned(),
        }
    } else {
        let fix = "upgrade to Linux 6.1 or later";
        fail(name, &found, fix, "sock_ops programs cannot tell network namespaces apart: nothing is captured")
    }
}

fn cgroup_mount() -> Check {
    let name = "cgroup v2";
    match cgroup2_mount() {
        Ok(mount) => ok(name, format!("mounted at {}", mount.display())),
        Err(error) => fail(
            name,
            &error.to_string(),
            "mount -t cgroup2 none /sys/fs/cgroup/unified, or boot with systemd.unified_cgroup_hierarchy=1",
            "there is nothing to attach to: nothing is captured",
        ),
    }
}

fn btf() -> Check {
    let name = "BTF";
    let path = Path::new("/sys/kernel/btf/vmlinux");
    if path.exists() {
        return ok(name, path.display().to_string());
    }
    fail(
        name,
        "no /sys/kernel/btf/vmlinux",
        "use a kernel built with CONFIG_DEBUG_INFO_BTF=y (the distributions' are)",
        "socket storage needs BTF: the programs may not load",
    )
}

fn bpffs() -> Check {
    let name = "bpffs";
    let mounted = fs::read_to_string("/proc/self/mountinfo").ok().and_then(|mountinfo| {
        let mount = mounts(&mountinfo).find(|mount| mount.kind == "bpf")?;
        Some(mount.point)
    });
    if let Some(point) = mounted {
        return ok(name, format!("mounted at {}", point.display()));
    }
    let known = fs::read_to_string("/proc/filesystems").unwrap_or_default();
    if known.lines().any(|line| line.split_whitespace().last() == Some("bpf")) {
        return ok(name, "supported; governor mounts one of its own under its state directory".to_owned());
    }
    Check {
        name,
        ok: Outcome::Warn,
        found: "not in /proc/filesystems".to_owned(),
        fix: "use a kernel built with CONFIG_BPF_SYSCALL=y".to_owned(),
        consequence: "programs cannot be pinned: traffic goes ungoverned when governor dies".to_owned(),
    }
}

fn capabilities() -> Check {
    let name = "capabilities";
    let missing = missing_capabilities();
    if missing.is_empty() {
        return ok(name, "CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON (or CAP_SYS_ADMIN)".to_owned());
    }
    fail(
        name,
        &format!("missing {}", missing.join(", ")),
        "run as root, or set AmbientCapabilities=CAP_BPF CAP_NET_ADMIN CAP_PERFMON CAP_SYS_ADMIN in the unit",
        "the programs cannot be loaded: nothing is captured",
    )
}

fn programs() -> Check {
    let name = "program types";
    let mut unusable: Vec<String> = Vec::new();
    for (kind, label) in [
        (ProgramType::CgroupSockAddr, "cgroup/sock_addr"),
        (ProgramType::SockOps, "sock_ops"),
        (ProgramType::CgroupSock, "cgroup/sock"),
    ] {
        match is_program_supported(kind) {
            Ok(true) => {}
            Ok(false) => unusable.push(format!("{label}: not supported")),
            Err(error) => unusable.push(format!("{label}: {}", chain(&error))),
        }
    }
    if unusable.is_empty() {
        return ok(name, "cgroup/sock_addr, cgroup/sock and sock_ops load".to_owned());
    }
    fail(
        name,
        &unusable.join("; "),
        "use a kernel with CONFIG_CGROUP_BPF=y and the capabilities above; in a container, allow bpf(2) in its seccomp profile",
        "nothing is captured",
    )
}

fn ok(name: &'static str, found: String) -> Check {
    Check { name, ok: Outcome::Ok, found, fix: String::new(), consequence: String::new() }
}

fn fail(name: &'static str, found: &str, fix: &str, consequence: &str) -> Check {
    Check {
        name,
        ok: Outcome::Fail,
        found: found.to_owned(),
        fix: fix.to_owned(),
        consequence: consequence.to_owned(),
    }
}

/// The CapEff line of `/proc/PID/status`.
fn effective(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    u64::from_str_radix(line.trim(), 16).ok()
}

fn missing_in(effective: u64) -> Vec<&'static str> {
    let has = |bit: u32| effective & (1 << bit) != 0;
    CAPABILITIES
        .iter()
        // CAP_SYS_ADMIN stands in for the two that were split off from it.
        .filter(|(_, bit, from_sys_admin)| !(has(*bit) || *from_sys_admin && has(CAP_SYS_ADMIN)))
        .map(|(name, _, _)| *name)
        .collect()
}

/// First kernel with the netns cookie in sock_ops and for sockets.
const NEEDED: KernelVersion = KernelVersion::new(5, 15, 0);
const TESTED: KernelVersion = KernelVersion::new(6, 1, 0);

/// linux/capability.h: name, bit, whether CAP_SYS_ADMIN includes it.
const CAPABILITIES: [(&str, u32, bool); 3] =
    [("CAP_BPF", 39, true), ("CAP_NET_ADMIN", 12, false), ("CAP_PERFMON", 38, true)];
const CAP_SYS_ADMIN: u32 = 21;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_capabilities_are_named() {
        let status = |mask: u64| format!("Name:\tx\nCapEff:\t{mask:016x}\nCapBnd:\t0\n");
        let missing = |mask: u64| missing_in(effective(&status(mask)).unwrap());
        assert_eq!(missing(0), ["CAP_BPF", "CAP_NET_ADMIN", "CAP_PERFMON"]);
        assert_eq!(missing(1 << 39 | 1 << 12), ["CAP_PERFMON"]);
        assert_eq!(missing(1 << 21), ["CAP_NET_ADMIN"]);
        assert!(missing(u64::MAX >> 23).is_empty());
        assert_eq!(effective("Name:\tx\n"), None);
    }

    #[test]
    fn every_failure_says_how_to_mend_it() {
        for check in probe() {
            assert!(!check.found.is_empty(), "{}", check.name);
            if check.ok != Outcome::Ok {
                assert!(!check.fix.is_empty() && !check.consequence.is_empty(), "{}", check.name);
            }
        }
    }
}
