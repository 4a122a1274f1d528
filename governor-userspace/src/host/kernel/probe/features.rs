//! What this kernel has that governor uses or has to reckon with, and what that means.

use super::{Check, Outcome, ok};
use crate::host::kernel::error::chain;
use aya::maps::MapType;
use aya::programs::ProgramType;
use aya::sys::{is_map_supported, is_program_supported};
use std::fs;
use std::net::TcpListener;

/// Each with its consequence. None of them changes anything on the host.
pub(super) fn features() -> Vec<Check> {
    vec![
        maps(),
        namespace_cookie(),
        program(
            "sk_lookup",
            ProgramType::SkLookup,
            "connections that arrive at a database's host cannot be captured there",
        ),
        link_update(),
        lsm(),
        seccomp(),
        unprivileged_bpf(),
        io_uring(),
        multipath(),
        fast_open(),
    ]
}

fn maps() -> Check {
    let name = "map types";
    let kinds = [
        (MapType::SkStorage, "socket storage"),
        (MapType::RingBuf, "ring buffer"),
        (MapType::SockHash, "sockhash"),
        (MapType::PerCpuHash, "per-CPU hash"),
    ];
    let mut missing = Vec::new();
    for (kind, label) in kinds {
        match is_map_supported(kind) {
            Ok(true) => {}
            Ok(false) => missing.push(label.to_owned()),
            Err(error) => missing.push(format!("{label}: {}", chain(&error))),
        }
    }
    if missing.is_empty() {
        return ok(name, "socket storage, ring buffer, sockhash, per-CPU hash".to_owned());
    }
    super::fail(
        name,
        &format!("not usable: {}", missing.join("; ")),
        "use Linux 5.15 or later, and run this as root",
        "the programs cannot be loaded: nothing is captured",
    )
}

fn namespace_cookie() -> Check {
    let name = "namespace cookie";
    let socket = TcpListener::bind(("127.0.0.1", 0));
    let cookie = socket.map_err(|error| error.to_string()).and_then(|socket| {
        crate::host::kernel::load::netns_cookie(std::os::fd::AsFd::as_fd(&socket))
            .map_err(|error| error.to_string())
    });
    match cookie {
        Ok(cookie) => ok(name, format!("this network namespace is {cookie}")),
        Err(error) => super::fail(
            name,
            &error,
            "use Linux 5.15 or later",
            "network namespaces cannot be told apart: nothing is captured",
        ),
    }
}

fn program(name: &'static str, kind: ProgramType, consequence: &str) -> Check {
    match is_program_supported(kind) {
        Ok(true) => ok(name, "loads".to_owned()),
        Ok(false) => warn(name, "not in this kernel".to_owned(), "use Linux 5.9 or later", consequence),
        Err(error) => warn(name, chain(&error), "run this as root", consequence),
    }
}

fn link_update() -> Check {
    let name = "program replacement";
    match aya::util::KernelVersion::current() {
        Ok(version) if version >= aya::util::KernelVersion::new(5, 7, 0) => {
            ok(name, "BPF_LINK_UPDATE: programs can be replaced in place".to_owned())
        }
        _ => warn(
            name,
            "no BPF_LINK_UPDATE".to_owned(),
            "use Linux 5.7 or later",
            "an upgrade attaches new programs beside the old ones",
        ),
    }
}

fn lsm() -> Check {
    let name = "bpf as LSM";
    match fs::read_to_string("/sys/kernel/security/lsm") {
        Ok(list) if list.split(',').any(|module| module.trim() == "bpf") => ok(name, "enabled".to_owned()),
        Ok(list) => ok(name, format!("not enabled ({}): governor does not use it", list.trim())),
        Err(_) => ok(name, "not known (no securityfs): governor does not use it".to_owned()),
    }
}

fn seccomp() -> Check {
    let name = "seccomp";
    let filters = fs::read_to_string("/proc/sys/kernel/seccomp/actions_avail").unwrap_or_default();
    if filters.split_whitespace().any(|action| action == "errno") {
        return ok(name, "filters: worker threads run under one".to_owned());
    }
    warn(
        name,
        "no filters".to_owned(),
        "use a kernel built with CONFIG_SECCOMP_FILTER=y",
        "threads that read what peers send may make every system call that the service may",
    )
}

fn unprivileged_bpf() -> Check {
    let name = "unprivileged bpf";
    match fs::read_to_string("/proc/sys/kernel/unprivileged_bpf_disabled").as_deref().map(str::trim) {
        Ok("0") => warn(
            name,
            "every user may load programs".to_owned(),
            "sysctl kernel.unprivileged_bpf_disabled=2",
            "more of the kernel is open to every user; governor's programs and maps are not",
        ),
        Ok(value) => ok(name, format!("disabled ({value})")),
        Err(_) => ok(name, "not known: no such setting".to_owned()),
    }
}

fn io_uring() -> Check {
    let name = "io_uring";
    let found = match fs::read_to_string("/proc/sys/kernel/io_uring_disabled").as_deref().map(str::trim) {
        Ok("2") => "disabled",
        Ok("1") => "for privileged users: its connections are captured as all others",
        Ok(_) => "enabled: its connections are captured as all others",
        Err(_) => {
            "no setting (before Linux 6.6, or not built in): its connections are captured as all others"
        }
    };
    ok(name, found.to_owned())
}

fn multipath() -> Check {
    let name = "MPTCP";
    let found = match fs::read_to_string("/proc/sys/net/mptcp/enabled").as_deref().map(str::trim) {
        Ok("1") => "enabled: its connections are captured; getpeername() there shows governor's listener",
        Ok(_) => "disabled",
        Err(_) => "not in this kernel",
    };
    ok(name, found.to_owned())
}

fn fast_open() -> Check {
    let name = "TCP Fast Open";
    let setting = fs::read_to_string("/proc/sys/net/ipv4/tcp_fastopen").unwrap_or_default();
    let client = setting.trim().parse::<u32>().is_ok_and(|bits| bits & 1 != 0);
    let found = if client { "enabled for clients: captured as all others" } else { "off for clients" };
    ok(name, found.to_owned())
}

fn warn(name: &'static str, found: String, fix: &str, consequence: &str) -> Check {
    Check { name, ok: Outcome::Warn, found, fix: fix.to_owned(), consequence: consequence.to_owned() }
}
