//! What `doctor` and `status` say of hooks, maps, and programs of others on the same hooks.

// Helpers beside the tests fail the test that called them.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use governor_tests::governor::text;
use governor_tests::{Class, Governor, Namespace, Site, client, process, wait};
use serde_json::Value;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::path::Path;

/// A program of somebody else: it lets everything pass.
struct Stranger(OwnedFd);

impl Stranger {
    fn load(kind: u32, attach_type: u32) -> Self {
        // r0 = 1; exit
        let instructions: [u64; 2] = [0x0000_0001_0000_00b7, 0x95];
        let license = c"Apache-2.0";
        let mut attr = [0_u64; 16];
        attr[0] = u64::from(kind) | (instructions.len() as u64) << 32;
        attr[1] = instructions.as_ptr() as u64;
        attr[2] = license.as_ptr() as u64;
        attr[6] = u64::from_ne_bytes(*b"stranger");
        attr[8] = u64::from(attach_type) << 32;
        Self(bpf(5, &mut attr).map(owned).unwrap())
    }

    /// By a link, which ends with what is returned.
    fn link(&self, cgroup: &Path, attach_type: u32) -> OwnedFd {
        let cgroup = File::open(cgroup).unwrap();
        let mut attr = [0_u64; 4];
        attr[0] = fd(&self.0) | fd(&cgroup) << 32;
        attr[1] = u64::from(attach_type);
        owned(bpf(28, &mut attr).unwrap())
    }

    /// The old way, which stays until it is taken off.
    fn attach(&self, cgroup: &Path, attach_type: u32) {
        let cgroup = File::open(cgroup).unwrap();
        let many = 2_u64;
        let mut attr = [fd(&cgroup) | fd(&self.0) << 32, u64::from(attach_type) | many << 32];
        bpf(8, &mut attr).unwrap();
    }

    fn detach(&self, cgroup: &Path, attach_type: u32) {
        let cgroup = File::open(cgroup).unwrap();
        let mut attr = [fd(&cgroup) | fd(&self.0) << 32, u64::from(attach_type)];
        bpf(9, &mut attr).unwrap();
    }
}

fn fd(file: &impl AsRawFd) -> u64 {
    u64::try_from(file.as_raw_fd()).unwrap()
}

fn bpf<const N: usize>(command: i64, attr: &mut [u64; N]) -> io::Result<i32> {
    // SAFETY: the pointer and the length are those of `attr`; what it points to outlives the call.
    let answer = unsafe { libc::syscall(libc::SYS_bpf, command, attr.as_mut_ptr(), size_of_val(attr)) };
    if answer < 0 { Err(io::Error::last_os_error()) } else { Ok(answer as i32) }
}

fn owned(fd: i32) -> OwnedFd {
    // SAFETY: the kernel has just made it for us.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// `governor doctor --json` of an instance, with its configuration.
fn doctor(governor: &Governor) -> Vec<Value> {
    let mut command = governor.command(&["doctor", "--json"]).unwrap();
    command.arg("--config").arg(governor.config_path());
    let said = process::run(command, wait::PATIENCE).unwrap().ok().unwrap().out();
    serde_json::from_str(&said).unwrap()
}

fn others(checks: &[Value]) -> Vec<String> {
    let found = checks.iter().filter(|check| text(check, "name") == "other program");
    found.map(|check| text(check, "found")).collect()
}

#[test]
fn programs_of_others_on_the_same_hooks_are_named_with_what_they_mean() {
    const SOCK_ADDR: (u32, u32) = (18, 10);
    const SOCK_OPS: (u32, u32) = (13, 3);
    let site = Site::start().unwrap();
    let checks = doctor(&site.governor);
    assert!(others(&checks).is_empty(), "{checks:#?}");
    let attached = checks.iter().find(|check| text(check, "name") == "attached programs").unwrap();
    let ours: Vec<&Value> =
        attached["rows"].as_array().unwrap().iter().filter(|row| row["of"] == "governor").collect();
    for program in ["connect4", "connect6", "hand_over", "bind4", "getpeername6"] {
        let row = ours.iter().find(|row| row["hook"]["program"] == program).unwrap();
        let pin = row["hook"]["pins"][0].as_str().unwrap();
        assert!(pin.starts_with(site.governor.state_dir().join("pins").to_str().unwrap()), "{row}");
        assert!(row["hook"]["place"].as_str().unwrap().contains("governor-test-"), "{row}");
        let holder = format!("{} governor", site.governor.pid().unwrap());
        assert!(row["hook"]["holders"].as_array().unwrap().contains(&Value::from(holder)), "{row}");
    }

    let clients = site.group.clients();
    let stranger = Stranger::load(SOCK_ADDR.0, SOCK_ADDR.1);
    let link = stranger.link(&site.group.client(Class::Service), SOCK_ADDR.1);
    let old = Stranger::load(SOCK_OPS.0, 0);
    old.attach(&clients, SOCK_OPS.1);
    let checks = doctor(&site.governor);
    let found = others(&checks);
    assert_eq!(found.len(), 2, "{found:?}");
    let me = std::process::id().to_string();
    for (hook, place) in
        [("cgroup/connect4", site.group.client(Class::Service)), ("sockops", clients.clone())]
    {
        let line = found.iter().find(|line| line.starts_with(hook)).unwrap();
        assert!(line.contains(place.to_str().unwrap()) && line.contains("\"stranger\""), "{line}");
        assert!(line.contains(&format!("held by {me} ")), "{line}");
    }
    for check in checks.iter().filter(|check| text(check, "name") == "other program") {
        assert_eq!(text(check, "outcome"), "warn");
        assert!(!text(check, "consequence").is_empty() && !text(check, "fix").is_empty(), "{check}");
    }
    // The agent itself sees what runs for its sockets from the captured cgroup upwards.
    let foreign = |page: &str| page.lines().any(|line| line == "governor_kernel_foreign_programs 1");
    wait::until("the agent to see it", wait::PATIENCE, || {
        Ok(foreign(&site.governor.metrics()?).then_some(()))
    })
    .unwrap();
    let status = site.governor.json(&["status"]).unwrap().remove(0);
    assert_eq!(status["kernel_side"]["foreign"][0]["hook"], "sockops", "{status:#}");
    assert!(site.governor.log().contains("a program of somebody else runs on a hook"));
    let said = site.governor.cli(&["status"]).unwrap().out();
    assert!(said.contains("others      program "), "{said}");

    drop(link);
    old.detach(&clients, SOCK_OPS.1);
    assert!(others(&doctor(&site.governor)).is_empty());
    assert!(site.psql(Class::Service, "SELECT 1").unwrap().ok().is_ok());
}

#[test]
fn status_tells_hooks_and_maps() {
    let site = Site::start().unwrap();
    site.psql(Class::Service, "SELECT 1").unwrap().ok().unwrap();
    let status = site.governor.json(&["status"]).unwrap().remove(0);
    let hooks = status["kernel_side"]["hooks"].as_array().unwrap();
    assert!(hooks.iter().all(|hook| hook["pinned"] == true), "{status:#}");
    assert!(hooks.iter().any(|hook| hook["program"] == "connect4"), "{status:#}");
    let maps = status["kernel_side"]["maps"].as_array().unwrap();
    let entries =
        |name: &str| maps.iter().find(|map| map["map"] == name).unwrap()["entries"].as_u64().unwrap();
    assert_eq!((entries("RULES"), entries("PENDING")), (1, 0), "{status:#}");
    assert!(
        entries("LISTENERS") >= 1 && entries("GUARDED_PORTS") >= 1 && entries("TOTALS") >= 2,
        "{status:#}"
    );
    let page = site.governor.metrics().unwrap();
    assert!(page.contains("governor_kernel_map_entries{map=\"RULES\"} 1\n"), "{page}");
    assert!(page.contains("governor_kernel_map_capacity{map=\"PENDING\"} 65536\n"), "{page}");
}

#[test]
fn doctor_says_what_this_kernel_has_and_what_that_means() {
    let site = Site::start().unwrap();
    let checks = doctor(&site.governor);
    for name in [
        "map types",
        "namespace cookie",
        "sk_lookup",
        "program replacement",
        "bpf as LSM",
        "seccomp",
        "unprivileged bpf",
        "io_uring",
        "MPTCP",
        "TCP Fast Open",
        "privileges",
        "hooks",
    ] {
        let check =
            checks.iter().find(|check| text(check, "name") == name).unwrap_or_else(|| panic!("{name}"));
        assert!(!text(check, "found").is_empty(), "{check}");
        if text(check, "outcome") != "ok" {
            assert!(!text(check, "consequence").is_empty() && !text(check, "fix").is_empty(), "{check}");
        }
    }
    let said = site.governor.cli(&["doctor"]).unwrap().ok().unwrap().out();
    assert!(said.contains("hand_over") && said.contains("This host can run governor."), "{said}");
}

/// What a running agent says of itself: where it listens, what goes through it, and when it was away.
#[test]
fn doctor_tells_namespaces_flows_and_gaps_of_a_running_agent() {
    let mut site = Site::start().unwrap();
    let found = |site: &Site, name: &str| -> Option<(String, String)> {
        let checks = doctor(&site.governor);
        let check = checks.iter().find(|check| text(check, "name") == name)?;
        if text(check, "outcome") != "ok" {
            assert!(!text(check, "consequence").is_empty() && !text(check, "fix").is_empty(), "{check}");
        }
        Some((text(check, "outcome"), text(check, "found")))
    };
    let ok = |text: &str| Some(("ok".to_owned(), text.to_owned()));
    let namespaces = |count: u32| {
        ok(&format!(
            "beside its own: {count} with captured processes served, 0 not; 0 with captured servers served, 0 not"
        ))
    };
    assert_eq!(found(&site, "gaps"), ok("none"));
    assert_eq!(found(&site, "namespaces"), namespaces(0));
    site.psql(Class::Service, "SELECT 1").unwrap().ok().unwrap();
    let held = site.wire(Class::Service).unwrap();
    let flows =
        "2 accepted, 1 of them open; 0 refused and 0 passed by the kernel programs; 0 open and not governed";
    wait::until("the first to be closed", wait::PATIENCE, || {
        Ok((found(&site, "flows") == ok(flows)).then_some(()))
    })
    .unwrap_or_else(|error| panic!("{error}: {:?}", found(&site, "flows")));
    // Status has the same, by listener.
    let status = site.governor.json(&["status"]).unwrap().remove(0);
    let listeners = status["kernel_side"]["listeners"].as_array().unwrap();
    let sum = |key: &str| -> u64 {
        let of_clients = listeners.iter().filter(|listener| !listener["port"].is_null());
        of_clients.map(|listener| listener[key].as_u64().unwrap()).sum()
    };
    assert_eq!((sum("opened"), sum("closed")), (2, 1), "{status:#}");
    let said = site.governor.cli(&["status"]).unwrap().ok().unwrap().out();
    let flows = said.lines().find(|line| line.starts_with("complete")).unwrap();
    assert!(flows.contains(" 1 connections closed, ") && flows.ends_with("all accounted for"), "{said}");
    drop(held);

    let container = Namespace::create().unwrap();
    let mut sleep = client::command("sleep", &site.group, Class::Service, site.postgres.port()).unwrap();
    container.enter(sleep.arg("600")).unwrap();
    let mut sleep = process::spawn(sleep, libc::SIGKILL).unwrap();
    wait::until("the container to be served", wait::PATIENCE, || {
        Ok((found(&site, "namespaces") == namespaces(1)).then_some(()))
    })
    .unwrap();
    let status = site.governor.json(&["status"]).unwrap().remove(0);
    assert_eq!((&status["namespaces"]["served"], &status["namespaces"]["unserved"]), (&1.into(), &0.into()));
    sleep.kill().unwrap();
    sleep.wait().unwrap();

    site.governor.kill().unwrap();
    assert_eq!((found(&site, "agent"), found(&site, "gaps")), (ok("not running"), None));
    assert!(!site.psql(Class::Service, "SELECT 1").unwrap().status.success());
    site.governor.launch().unwrap();
    let (outcome, gap) = found(&site, "gaps").unwrap();
    assert_eq!(outcome, "warn", "{gap}");
    assert!(gap.starts_with("1, the last until ") && gap.contains("connections refused"), "{gap}");
    let said = site.governor.cli(&["doctor"]).unwrap().ok().unwrap().out();
    assert!(said.lines().any(|line| line.contains("gaps") && line.contains(&gap)), "{said}");
}
