//! The capabilities that the service needs: the one list, with the reason for each.
//!
//! Invariant: `deploy/governor.service` grants those that say so and no other; a test compares.

use caps::{CapSet, Capability, CapsHashSet};
use std::fmt;

/// One capability, and what for.
#[derive(Clone, Copy, Debug)]
pub struct Need {
    pub capability: Capability,
    pub why: &'static str,
    /// Without it governor does not start. Others are kept where they were given.
    pub required: bool,
    /// The unit grants it.
    pub by_unit: bool,
    /// What goes once the kernel programs are attached.
    pub only_to_start: bool,
    /// Threads that read what peers send need it too.
    pub by_workers: bool,
}

const fn required(capability: Capability, why: &'static str) -> Need {
    Need { capability, why, required: true, by_unit: true, only_to_start: false, by_workers: false }
}

const fn optional(capability: Capability, why: &'static str) -> Need {
    Need { required: false, by_unit: false, ..required(capability, why) }
}

/// The one list.
pub const NEEDS: &[Need] = &[
    Need {
        only_to_start: true,
        ..required(Capability::CAP_BPF, "loads the kernel programs and makes their maps")
    },
    Need {
        only_to_start: true,
        ..required(Capability::CAP_PERFMON, "lets the kernel programs read what the kernel knows of a socket")
    },
    required(
        Capability::CAP_NET_ADMIN,
        "attaches the programs to cgroups, and ends connections that were open before",
    ),
    Need {
        by_workers: true,
        ..required(
            Capability::CAP_SYS_PTRACE,
            "reads /proc/PID/exe and environ of other users' processes: who is behind a connection",
        )
    },
    Need {
        by_workers: true,
        ..required(
            Capability::CAP_DAC_READ_SEARCH,
            "opens a cgroup by the id that the kernel gave, and a server's key files",
        )
    },
    Need {
        by_unit: true,
        ..optional(
            Capability::CAP_SYS_ADMIN,
            "mounts a bpffs for the pins; enters the network namespaces of containers",
        )
    },
    optional(Capability::CAP_DAC_OVERRIDE, "takes over a server's unix socket in a directory of its user"),
    optional(Capability::CAP_CHOWN, "gives that socket the owner that it had"),
    optional(Capability::CAP_FOWNER, "gives that socket the mode that it had"),
    optional(
        Capability::CAP_SETUID,
        "connects to a unix socket as its client's user, for peer authentication",
    ),
    optional(Capability::CAP_SETGID, "the same for its group"),
    optional(Capability::CAP_SYS_NICE, "is in front of a starting server's unix socket in time"),
];

/// Required capabilities that are not there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing(pub Vec<(&'static str, &'static str)>);

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(missing) = self;
        for (name, why) in missing {
            write!(f, "missing {name} ({why}); ")?;
        }
        let names: Vec<&str> = missing.iter().map(|(name, _)| *name).collect();
        write!(f, "run governor as root, or grant it: AmbientCapabilities={} in its unit", names.join(" "))
    }
}

impl std::error::Error for Missing {}

/// Whether everything that is required is there.
pub fn check() -> Result<(), Missing> {
    let held = held();
    let missing: Vec<_> = NEEDS
        .iter()
        .filter(|need| need.required && !has(&held, need.capability))
        .map(|need| (name(need.capability), need.why))
        .collect();
    if missing.is_empty() { Ok(()) } else { Err(Missing(missing)) }
}

/// The calling thread's effective capabilities.
pub fn held() -> CapsHashSet {
    caps::read(None, CapSet::Effective).unwrap_or_default()
}

/// Drops what is not needed any more once the kernel programs are attached. For the calling thread and those that it
/// starts from then on.
pub fn settle() {
    if let Err(error) = keep(|need| !need.only_to_start) {
        tracing::warn!(%error, "capabilities that are not needed any more are kept");
    }
}

pub(super) fn keep_for_worker() -> Result<(), caps::errors::CapsError> {
    keep(|need| need.by_workers)
}

pub(super) fn keep_for_writer() -> Result<(), caps::errors::CapsError> {
    keep(|_| false)
}

/// Keeps those of the list that `which` names, where they are held; everything else goes for good.
fn keep(which: impl Fn(&Need) -> bool) -> Result<(), caps::errors::CapsError> {
    let permitted = caps::read(None, CapSet::Permitted)?;
    let kept: CapsHashSet = NEEDS
        .iter()
        .filter(|need| which(need) && permitted.contains(&need.capability))
        .map(|need| need.capability)
        .collect();
    // A program that is executed inherits none: first what could give it any.
    caps::clear(None, CapSet::Ambient)?;
    caps::clear(None, CapSet::Inheritable)?;
    caps::set(None, CapSet::Effective, &kept)?;
    caps::set(None, CapSet::Permitted, &kept)
}

/// CAP_SYS_ADMIN stands in for the two that were split off from it.
fn has(held: &CapsHashSet, capability: Capability) -> bool {
    let split_off = matches!(capability, Capability::CAP_BPF | Capability::CAP_PERFMON);
    held.contains(&capability) || split_off && held.contains(&Capability::CAP_SYS_ADMIN)
}

fn name(capability: Capability) -> &'static str {
    match capability {
        Capability::CAP_BPF => "CAP_BPF",
        Capability::CAP_PERFMON => "CAP_PERFMON",
        Capability::CAP_NET_ADMIN => "CAP_NET_ADMIN",
        Capability::CAP_SYS_PTRACE => "CAP_SYS_PTRACE",
        Capability::CAP_DAC_READ_SEARCH => "CAP_DAC_READ_SEARCH",
        // Nothing else is required.
        _ => "a capability",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unit_lets_through_the_calls_that_no_set_of_systemd_has() {
        let unit = include_str!("../../../../deploy/governor.service");
        let filter = unit.lines().find_map(|line| line.strip_prefix("SystemCallFilter=")).unwrap();
        for call in ["bpf", "open_by_handle_at", "pidfd_getfd", "seccomp", "setns"] {
            assert!(filter.split(' ').any(|word| word == call), "{call}");
        }
    }

    #[test]
    fn the_unit_grants_what_the_list_says_and_no_more() {
        let unit = include_str!("../../../../deploy/governor.service");
        let granted = unit.lines().find_map(|line| line.strip_prefix("CapabilityBoundingSet=")).unwrap();
        let mut granted: Vec<&str> = granted.split(' ').collect();
        let mut wanted: Vec<String> =
            NEEDS.iter().filter(|need| need.by_unit).map(|need| need.capability.to_string()).collect();
        granted.sort_unstable();
        wanted.sort_unstable();
        assert_eq!(granted, wanted);
        for need in NEEDS.iter().filter(|need| need.required) {
            assert_eq!(name(need.capability), need.capability.to_string());
        }
    }

    #[test]
    fn a_missing_one_is_named_with_what_it_is_for() {
        let said = Missing(vec![("CAP_SYS_PTRACE", "reads /proc")]).to_string();
        assert!(
            said.starts_with("missing CAP_SYS_PTRACE (reads /proc); run governor as root, or grant it"),
            "{said}"
        );
    }

    #[test]
    fn a_worker_keeps_identity_and_a_writer_nothing() {
        let kept = |confine: fn() -> Result<(), caps::errors::CapsError>| {
            std::thread::spawn(move || {
                confine().unwrap();
                let held = held();
                // Nothing that was given up comes back.
                assert!(caps::raise(None, CapSet::Effective, Capability::CAP_BPF).is_err());
                held
            })
            .join()
            .unwrap()
        };
        assert!(kept(keep_for_writer).is_empty());
        let held_before = held();
        for need in NEEDS {
            let wanted = need.by_workers && held_before.contains(&need.capability);
            assert_eq!(kept(keep_for_worker).contains(&need.capability), wanted, "{need:?}");
        }
    }
}
