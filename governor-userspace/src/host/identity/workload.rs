//! What a cgroup path says about where a process runs: its systemd unit, its container.
//!
//! Only the part of a path that the host's own manager made counts. Whoever owns a delegated part (a
//! container's root, a user's own systemd) can make a group there with any name, so a name further down,
//! such as `billing.service`, is no evidence of the host's `billing.service`.
//!
//! Source: systemd.slice(5), systemd's cgroup naming; the container engines' own conventions.

/// Where a process runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Workload {
    /// `app.service`; below a user's own manager `user@1000.service/app.service`.
    pub unit: Option<String>,
    /// Identity that the container engine gave; for nspawn and LXC the machine's name. Below a unit or in a user's part
    /// `UNIT/ID`: whoever owns that part may give a group there any name.
    pub container: Option<String>,
    /// UID of the Kubernetes pod; of a pod of Podman its id.
    pub pod: Option<String>,
    /// The container's group is one that the engine itself made: no unit's or user's own part is above it.
    pub container_is_the_hosts: bool,
    /// Inside a login session or a user's own manager.
    pub user_session: bool,
}

impl Workload {
    /// Reads a path below the cgroup v2 mount.
    pub(super) fn from_cgroup(path: &str) -> Self {
        let components: Vec<&str> = path.split('/').filter(|c| !c.is_empty()).collect();
        let is_container =
            |at: &usize| component(&components, *at).is_some_and(|c| container_name(c).is_some());
        let container_at =
            (0..components.len()).find(|at| is_container(at) && !is_podmans_pod(&components, *at));
        let name = container_at.and_then(|at| container_name(component(&components, at)?));
        let outside = components.get(..container_at.unwrap_or(components.len())).unwrap_or_default();
        let user_session = outside.first() == Some(&"user.slice");
        // A container engine's scope is the container itself, not a unit that somebody wrote.
        let unit = unit(outside);
        let container_is_the_hosts = name.is_some() && unit.is_none() && !user_session;
        let owner = unit.as_deref().or(user_session.then_some("user.slice"));
        let container = name.map(|name| owner.map_or(name.to_owned(), |owner| format!("{owner}/{name}")));
        let pod = container_is_the_hosts.then(|| pod(outside)).flatten();
        Self { unit, container, pod, container_is_the_hosts, user_session }
    }
}

/// The systemd unit that a cgroup belongs to.
pub fn unit_of(cgroup: &str) -> Option<String> {
    Workload::from_cgroup(cgroup).unit
}

fn component<'c>(components: &[&'c str], at: usize) -> Option<&'c str> {
    components.get(at).copied()
}

/// `libpod_parent/POD/libpod-ID`: an id by itself, that Podman made for a pod and not for a container.
fn is_podmans_pod(components: &[&str], at: usize) -> bool {
    let is_parent = at.checked_sub(1).and_then(|above| component(components, above)) == Some("libpod_parent");
    let below = component(components, at + 1).and_then(|below| below.strip_prefix("libpod-"));
    is_parent && component(components, at).is_some_and(is_container_id) && below.is_some_and(is_container_id)
}

/// `kubepods/burstable/podUID`, or `kubepods-burstable-podUID.slice`, in which systemd wants `_` for `-`. Of Podman
/// `libpod_parent/ID`, or `machine-libpod_pod_ID.slice`.
fn pod(components: &[&str]) -> Option<String> {
    let (last, above) = components.split_last()?;
    let podmans = match last.strip_prefix("machine-libpod_pod_") {
        Some(slice) => slice.strip_suffix(".slice"),
        None => (above.last() == Some(&"libpod_parent")).then_some(*last),
    };
    if let Some(id) = podmans.filter(|id| is_container_id(id)) {
        return Some(id.to_owned());
    }
    let uid = match last.strip_suffix(".slice") {
        Some(slice) if slice.starts_with("kubepods") => slice.rsplit_once("-pod")?.1.replace('_', "-"),
        None if above.first() == Some(&"kubepods") => last.strip_prefix("pod")?.to_owned(),
        _ => return None,
    };
    let fits = uid.len() <= POD_UID_BYTES_MAX && uid.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    (fits && !uid.is_empty()).then_some(uid)
}

/// A UUID has 36; static pods have a hash.
const POD_UID_BYTES_MAX: usize = 64;

/// The outermost component that is not a slice, as systemd itself finds the unit of a process.
fn unit(components: &[&str]) -> Option<String> {
    let (at, name) = components.iter().enumerate().find(|(_, name)| !name.ends_with(".slice"))?;
    let name = unescaped(name);
    if !is_unit(name) {
        return None;
    }
    let below = components.get(at + 1..).unwrap_or_default();
    let manager = name.starts_with("user@") && name.ends_with(".service");
    if let Some(inner) = manager.then(|| unit(below)).flatten() {
        return Some(format!("{name}/{inner}"));
    }
    Some(name.to_owned())
}

/// systemd puts `_` before names that would clash with the kernel's own files.
fn unescaped(name: &str) -> &str {
    name.strip_prefix('_').unwrap_or(name)
}

fn is_unit(name: &str) -> bool {
    name.rsplit_once('.').is_some_and(|(stem, kind)| {
        !stem.is_empty() && matches!(kind, "service" | "scope" | "socket" | "mount" | "swap")
    })
}

/// The container that a path component stands for.
fn container_name(component: &str) -> Option<&str> {
    let stem = component.strip_suffix(".scope").unwrap_or(component);
    for engine in ENGINES {
        if let Some(id) = stem.strip_prefix(engine).filter(|id| is_container_id(id)) {
            return Some(id);
        }
    }
    // cgroupfs driver: /docker/ID, /kubepods/burstable/podUID/ID, /ecs/TASK/ID
    if is_container_id(stem) && stem == component {
        return Some(stem);
    }
    for (prefix, suffix) in [("machine-", ".scope"), ("lxc.payload.", "")] {
        if let Some(name) = component.strip_prefix(prefix).and_then(|rest| rest.strip_suffix(suffix))
            && !name.is_empty()
        {
            return Some(name);
        }
    }
    None
}

/// What they put before an id. `libpod-payload-` is Podman's below a unit that runs it (`--cgroups=split`, Quadlet).
const ENGINES: [&str; 7] =
    ["docker-", "cri-containerd-", "crio-", "libpod-payload-", "libpod-", "containerd-", "nerdctl-"];

pub(super) fn is_container_id(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

/// The name of a terminal device (`pts/3`, `tty1`) from its number in `/proc/PID/stat`; `None` for 0.
///
/// Source: Linux `Documentation/admin-guide/devices.txt`.
pub(super) fn terminal_name(device: u32) -> Option<String> {
    if device == 0 {
        return None;
    }
    let major = (device >> 8) & 0xfff;
    let minor = (device & 0xff) | ((device >> 12) & 0xf_ff00);
    Some(match (major, minor) {
        (136..=143, _) => format!("pts/{}", minor + (major - 136) * 256),
        (4, 0..=63) => format!("tty{minor}"),
        (4, _) => format!("ttyS{}", minor - 64),
        (5, 0) => "tty".into(),
        (5, 1) => "console".into(),
        (204, 64..) => format!("ttyAMA{}", minor - 64),
        (229, _) => format!("hvc{minor}"),
        _ => format!("terminal {major}:{minor}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "4f1c9d3b7a6e5d4c3b2a190817263544f1c9d3b7a6e5d4c3b2a1908172635441";

    const POD: &str = "d26fb5d0a334a4ee7d3866faad213dbe27355ec2f547dc40880dedc986fc5f43";

    #[test]
    fn an_id_of_a_pod_is_no_container_and_a_container_makes_no_pod_of_itself() {
        for (path, container) in [
            ("/libpod_parent/POD/libpod-ID", ID),
            ("/libpod_parent/POD/conmon", POD),
            // Whoever owns the group of a container may make any group in it.
            ("/docker/POD/libpod-ID", POD),
            ("/docker/POD/libpod_parent/POD/libpod-ID", POD),
        ] {
            let got = Workload::from_cgroup(&path.replace("ID", ID).replace("POD", POD));
            assert_eq!(got.container.as_deref(), Some(container), "{path}");
        }
    }

    /// What a user, or a service that may make groups, calls a group is not the host's container of that name.
    #[test]
    fn a_container_in_a_part_that_somebody_else_owns_has_that_parts_name() {
        for (path, owner) in [
            ("/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-ID.scope", "user@1000.service"),
            ("/user.slice/user-1000.slice/session-3.scope/docker-ID.scope", "session-3.scope"),
            ("/user.slice/libpod-ID.scope", "user.slice"),
            ("/system.slice/web.service/libpod-payload-ID", "web.service"),
            ("/system.slice/own.service/docker/ID", "own.service"),
        ] {
            let got = Workload::from_cgroup(&path.replace("ID", ID));
            assert_eq!(got.container, Some(format!("{owner}/{ID}")), "{path}");
            assert!(!got.container_is_the_hosts, "{path}");
        }
    }

    #[test]
    fn a_pod_is_known_by_the_part_that_the_host_made() {
        for (path, pod, own) in [
            ("/kubepods/burstable/pod1f-2e/ID", Some("1f-2e"), true),
            ("/kubepods/pod1f/ID", Some("1f"), true),
            (
                "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod1f_2e.slice/crio-ID.scope",
                Some("1f-2e"),
                true,
            ),
            ("/docker/ID", None, true),
            ("/docker/ID/kubepods/pod1f/ID", None, true),
            ("/kubepods/burstable/podx.y/ID", None, true),
            ("/system.slice/own.service/kubepods/pod1f/ID", None, false),
            ("/user.slice/user-1000.slice/user@1000.service/kubepods/pod1f/ID", None, false),
            ("/user.slice/kubepods-pod1f.slice/docker-ID.scope", None, false),
            ("/kubepods/pod1f", None, false),
            ("/libpod_parent/POD/libpod-ID", Some(POD), true),
            ("/some.slice/libpod_parent/POD/libpod-ID", Some(POD), true),
            ("/machine.slice/machine-libpod_pod_POD.slice/libpod-ID.scope/container", Some(POD), true),
            ("/machine.slice/machine-libpod_pod_short.slice/libpod-ID.scope", None, true),
            ("/libpod_parent/libpod-ID", None, true),
            ("/machine.slice/libpod-ID.scope/libpod_parent/POD/libpod-ID", None, true),
            ("/system.slice/own.service/libpod_parent/POD/libpod-ID", None, false),
        ] {
            let got = Workload::from_cgroup(&path.replace("ID", ID).replace("POD", POD));
            assert_eq!((got.pod.as_deref(), got.container_is_the_hosts), (pod, own), "{path}");
        }
    }

    #[test]
    fn finds_unit_container_and_session() {
        for (path, unit, container, session) in [
            ("/", None, None, false),
            ("/system.slice/postgresql@15-main.service", Some("postgresql@15-main.service"), None, false),
            ("/system.slice/system-app.slice/app@1.service/worker", Some("app@1.service"), None, false),
            ("/init.scope", Some("init.scope"), None, false),
            ("/system.slice/_cgroup.service", Some("cgroup.service"), None, false),
            ("/user.slice/user-1000.slice/session-3.scope", Some("session-3.scope"), None, true),
            (
                "/user.slice/user-1000.slice/user@1000.service/app.slice/app-x.service",
                Some("user@1000.service/app-x.service"),
                None,
                true,
            ),
            ("/user.slice/user-1000.slice/user@1000.service", Some("user@1000.service"), None, true),
            ("/docker/ID", None, Some(ID), false),
            ("/system.slice/docker-ID.scope", None, Some(ID), false),
            ("/machine.slice/libpod-ID.scope/container", None, Some(ID), false),
            ("/kubepods/burstable/pod1f/ID", None, Some(ID), false),
            ("/kubepods.slice/kubepods-pod1f.slice/cri-containerd-ID.scope", None, Some(ID), false),
            ("/kubepods.slice/kubepods-pod1f.slice/crio-ID.scope", None, Some(ID), false),
            (
                "/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-ID.scope",
                Some("user@1000.service"),
                Some("user@1000.service/ID"),
                true,
            ),
            ("/machine.slice/machine-web.scope", None, Some("web"), false),
            ("/lxc.payload.web/system.slice/x.service", None, Some("web"), false),
            ("/plain/group", None, None, false),
            ("/system.slice/docker-short.scope", Some("docker-short.scope"), None, false),
        ] {
            let path = path.replace("ID", ID);
            let got = Workload::from_cgroup(&path);
            assert_eq!(got.unit.as_deref(), unit, "{path}");
            let container = container.map(|container| container.replace("ID", ID));
            assert_eq!(got.container, container, "{path}");
            assert_eq!(got.user_session, session, "{path}");
        }
    }

    #[test]
    fn names_inside_delegated_groups_are_no_units_of_the_host() {
        for path in [
            "/system.slice/docker-ID.scope/system.slice/billing.service",
            "/docker/ID/billing.service",
            "/user.slice/user-1000.slice/user@1000.service/billing.service",
            "/user.slice/user-1000.slice/user@1000.service/app.slice/billing.service",
            "/system.slice/app.service/billing.service",
            "/plain/billing.service",
            "/user.slice/user-1000.slice/session-3.scope/billing.service",
        ] {
            let unit = Workload::from_cgroup(&path.replace("ID", ID)).unit;
            assert_ne!(unit.as_deref(), Some("billing.service"), "{path}");
        }
    }

    #[test]
    fn names_terminals() {
        let device = |major: u32, minor: u32| (minor & 0xff) | (major << 8) | ((minor & 0xf_ff00) << 12);
        for (number, expected) in [
            (0, None),
            (device(136, 3), Some("pts/3")),
            (device(136, 300), Some("pts/300")),
            (device(137, 0), Some("pts/256")),
            (device(4, 1), Some("tty1")),
            (device(4, 64), Some("ttyS0")),
            (device(5, 1), Some("console")),
            (device(229, 0), Some("hvc0")),
            (device(300, 2), Some("terminal 300:2")),
            (u32::MAX, Some("terminal 4095:1048575")),
        ] {
            assert_eq!(terminal_name(number).as_deref(), expected, "{number}");
        }
    }
}
