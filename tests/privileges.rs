//! Least privilege: a user of its own with the listed capabilities is enough, and one fewer is named.

// Helpers beside the tests fail the test that called them.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use governor_tests::{Auth, Cgroup, Class, Governor, Options, Postgres, database, process, wait};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use std::collections::BTreeSet;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};

/// Nobody: a user to whom nothing belongs.
const USER: u32 = 65_534;

/// As `deploy/governor.service` grants them.
fn listed() -> Vec<String> {
    let unit = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/governor.service");
    let unit = std::fs::read_to_string(unit).unwrap();
    let line = unit.lines().find_map(|line| line.strip_prefix("CapabilityBoundingSet=")).unwrap();
    line.split(' ').map(str::to_owned).collect()
}

/// `setpriv` for an unprivileged user with these capabilities and no way to any other.
fn as_user_with(capabilities: &[String]) -> Vec<String> {
    let words: Vec<String> = capabilities
        .iter()
        .map(|name| format!("+{}", name.trim_start_matches("CAP_").to_ascii_lowercase()))
        .collect();
    let set = if words.is_empty() { "-all".to_owned() } else { format!("-all,{}", words.join(",")) };
    let mut command = vec!["setpriv".to_owned()];
    command.extend([format!("--reuid={USER}"), format!("--regid={USER}"), "--clear-groups".into()]);
    command.extend([
        format!("--bounding-set={set}"),
        format!("--inh-caps={set}"),
        format!("--ambient-caps={set}"),
        "--no-new-privs".into(),
    ]);
    command
}

/// What the unit does before it starts the agent: a bpffs for the pins, and directories that belong to the user.
struct Pins(PathBuf);

impl Pins {
    fn prepare(governor: &Governor) -> Self {
        let state = governor.state_dir();
        let pins = state.join("pins");
        std::fs::create_dir(&pins).unwrap();
        mount(Some("bpf"), &pins, Some("bpf"), MsFlags::empty(), Some("mode=0700")).unwrap();
        for path in [state, &pins, &governor.config_path()] {
            chown(path, Some(USER), Some(USER)).unwrap();
        }
        Self(pins)
    }
}

impl Drop for Pins {
    fn drop(&mut self) {
        umount2(&self.0, MntFlags::MNT_DETACH).ok();
    }
}

#[test]
fn an_unprivileged_user_with_the_listed_capabilities_governs() {
    let postgres = Postgres::start(Auth::ScramSha256).unwrap();
    database::load(&postgres, "shop").unwrap();
    let group = Cgroup::create("governor-test").unwrap();
    let options = Options { launcher: as_user_with(&listed()), ..Options::default() };
    let mut governor = Governor::prepare(&group, postgres.port(), &options).unwrap();
    let _pins = Pins::prepare(&governor);
    governor.launch().unwrap();
    let psql = |class, sql: &str| {
        let mut psql = governor_tests::client::command("psql", &group, class, postgres.port()).unwrap();
        psql.args(governor_tests::client::PSQL_ROWS).args(["-c", sql]);
        process::run(psql, wait::PATIENCE).unwrap()
    };
    assert_eq!(psql(Class::Service, "SELECT count(*) > 0 FROM people").ok().unwrap().out(), "t\n");
    // Identity, policy, masking, audit: nothing of it needs more.
    let denied = psql(Class::Agent, "DROP TABLE people");
    assert!(!denied.status.success() && denied.err().contains("governor"), "{}", denied.err());
    let started = governor.events("session_start").unwrap();
    let service = started.iter().find(|record| record["principal"]["class"] == "service").unwrap();
    assert!(service["principal"]["executable"].as_str().unwrap().contains("psql"), "{service}");

    // Once it governs it has less than it started with, and workers less than that.
    let pid = governor.pid().unwrap();
    let threads: Vec<(String, String)> = std::fs::read_dir(format!("/proc/{pid}/task"))
        .unwrap()
        .map(|task| {
            let status = std::fs::read_to_string(task.unwrap().path().join("status")).unwrap();
            let of = |field: &str| {
                status.lines().find_map(|line| line.strip_prefix(field)).unwrap_or_default().trim().to_owned()
            };
            assert_eq!(of("NoNewPrivs:"), "1");
            // The one that starts a new agent in an upgrade hands on what the service was given.
            if of("Name:") != "governor-launch" {
                assert_eq!(of("CapInh:"), "0000000000000000", "{status}");
            }
            (of("Name:"), format!("{} {}", of("CapPrm:"), of("Seccomp:")))
        })
        .collect();
    let of = |name: &str| -> BTreeSet<&str> {
        threads.iter().filter(|(thread, _)| thread.starts_with(name)).map(|(_, what)| what.as_str()).collect()
    };
    // CAP_NET_ADMIN 12, CAP_SYS_PTRACE 19, CAP_DAC_READ_SEARCH 2, CAP_SYS_ADMIN 21 for containers; a filter is mode 2.
    assert_eq!(of("governor-w"), BTreeSet::from(["0000000000080004 2"]), "{threads:?}");
    assert_eq!(of("governor-ledger"), BTreeSet::from(["0000000000000000 0"]), "{threads:?}");
    let main = threads.iter().find(|(name, _)| name == "governor").unwrap();
    assert_eq!(main.1, "0000000000281004 0", "{threads:?}");
    // Its memory, in which keys lie, belongs to root alone.
    let memory = std::fs::metadata(format!("/proc/{pid}/mem")).unwrap();
    assert_eq!(std::os::unix::fs::MetadataExt::uid(&memory), 0, "the process can be dumped");

    assert!(governor.stop().unwrap().unwrap().success());
    assert_eq!(governor.events("agent_stop").unwrap().len(), 1);
}

#[test]
fn one_capability_fewer_is_named_with_what_it_is_for() {
    let group = Cgroup::create("governor-test").unwrap();
    // CAP_SYS_ADMIN is for other network namespaces: without it their connections are refused, and all else goes on. With
    // it CAP_BPF and CAP_PERFMON would be there as well.
    let required: Vec<String> = listed().into_iter().filter(|name| name != "CAP_SYS_ADMIN").collect();
    for missing in required.clone() {
        let rest: Vec<String> = required.iter().filter(|name| **name != missing).cloned().collect();
        let options = Options { launcher: as_user_with(&rest), ..Options::default() };
        let governor = Governor::prepare(&group, 5432, &options).unwrap();
        let _pins = Pins::prepare(&governor);
        let done = process::run(governor.run_command().unwrap(), wait::PATIENCE).unwrap();
        assert!(!done.status.success(), "{}", done.all());
        let said = done.all();
        assert!(said.contains(&format!("missing {missing} (")), "{missing}: {said}");
        assert!(said.contains(&format!("AmbientCapabilities={missing}")), "{missing}: {said}");
        assert!(!said.contains("panicked"), "{said}");
    }
}
