//! The command line: what an operator meets, good days and bad.

// Helpers beside the tests fail the test that called them.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use governor_tests::governor::text;
use governor_tests::{Auth, Cgroup, Class, Finished, Governor, Options, Postgres, Site, process, wait};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;

/// Runs an agent that is expected to refuse, and answers what it said.
fn refused(governor: &Governor) -> Finished {
    let done = process::run(governor.run_command().unwrap(), wait::PATIENCE).unwrap();
    assert!(!done.status.success(), "it started: {}", done.all());
    assert!(!done.all().contains("panicked"), "{}", done.all());
    done
}

fn with_more(more: &str) -> (Cgroup, Governor) {
    let group = Cgroup::create("governor-test").unwrap();
    let options = Options { more: more.into(), ..Options::default() };
    let governor = Governor::prepare(&group, 5432, &options).unwrap();
    (group, governor)
}

#[test]
fn an_unknown_key_is_an_error_that_names_it() {
    let (_group, governor) = with_more("[audit]\nsegmnt_bytes = 5\n");
    let said = refused(&governor).all();
    assert!(said.contains("segmnt_bytes") && said.contains("governor.toml"), "{said}");
}

#[test]
fn a_bad_policy_refuses_to_start_with_file_and_line() {
    let group = Cgroup::create("governor-test").unwrap();
    let bad = "permit (principal, action, resource);\n\nforbid (principal, action == Governor::Action::\"fly\", resource);\n";
    let options = Options { policies: vec![("bad.cedar".into(), bad.into())], ..Options::default() };
    let governor = Governor::prepare(&group, 5432, &options).unwrap();
    let said = refused(&governor).all();
    assert!(said.contains("bad.cedar") && said.contains('3'), "{said}");
}

#[test]
fn a_bad_policy_at_run_time_leaves_the_old_one_in_force() {
    let good = "@id(\"shut\")\n@reason(\"closed for now\")\nforbid (principal, action in Governor::Action::\"run\", resource);\n";
    let options = Options { policies: vec![("site.cedar".into(), good.into())], ..Options::default() };
    let site = Site::with(Auth::Trust, &options).unwrap();
    let closed = || site.psql(Class::Service, "SELECT 1;").unwrap().err();
    assert!(closed().contains("closed for now"), "{}", closed());
    let file = site.governor.policy_dir().join("site.cedar");
    std::fs::write(&file, "permit (principal, action, resource)\n").unwrap();
    let refused = site.governor.wait_for_record("policy_refused", |_| true).unwrap();
    assert!(text(&refused, "reason").contains("site.cedar"), "{refused}");
    assert!(closed().contains("closed for now"), "{}", closed());
    let check =
        site.governor.cli(&["policy", "check", site.governor.policy_dir().to_str().unwrap()]).unwrap();
    assert!(!check.status.success() && check.all().contains("site.cedar"), "{}", check.all());
    std::fs::write(&file, good).unwrap();
    site.governor
        .cli(&["policy", "check", site.governor.policy_dir().to_str().unwrap()])
        .unwrap()
        .ok()
        .unwrap();
}

#[test]
fn an_audit_directory_that_cannot_be_written_refuses_to_start() {
    let (_group, governor) = with_more("");
    // A file where the directory should be stops root too.
    std::fs::write(governor.state_dir().join("audit"), "in the way").unwrap();
    let said = refused(&governor).all();
    assert!(said.contains("audit"), "{said}");
}

#[test]
fn a_port_in_use_names_its_owner() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let (_group, governor) = with_more("");
    let config = std::fs::read_to_string(governor.config_path()).unwrap();
    std::fs::write(governor.config_path(), config.replace("127.0.0.1:0", &format!("127.0.0.1:{port}")))
        .unwrap();
    let said = refused(&governor).all();
    let me = std::process::id().to_string();
    assert!(said.contains(&port.to_string()) && said.contains(&me), "port {port} of pid {me}: {said}");
}

#[test]
fn a_second_agent_on_the_same_state_directory_is_refused() {
    let site = Site::start().unwrap();
    let said = refused(&site.governor).all();
    let owner = site.governor.pid().unwrap().to_string();
    assert!(said.contains(&owner), "which process has it ({owner})? {said}");
    assert_eq!(site.psql(Class::Service, "SELECT 1;").unwrap().ok().unwrap().out(), "1\n");
}

#[test]
fn two_instances_run_beside_each_other() {
    let (one, two) = (Site::start().unwrap(), Site::start().unwrap());
    for site in [&one, &two] {
        assert_eq!(site.psql(Class::Service, "SELECT 1;").unwrap().ok().unwrap().out(), "1\n");
        assert_eq!(site.governor.events("session_start").unwrap().len(), 1);
    }
}

#[test]
fn status_tells_and_waits() {
    let mut site = Site::start().unwrap();
    let said = site.governor.cli(&["status", "--wait"]).unwrap().ok().unwrap().out();
    assert!(said.contains(&site.governor.pid().unwrap().to_string()), "{said}");
    assert!(!site.governor.json(&["status"]).unwrap().is_empty());
    site.governor.stop().unwrap();
    let down = site.governor.cli(&["status"]).unwrap();
    assert!(!down.status.success() && !down.all().contains("panicked"), "{}", down.all());
}

#[test]
fn doctor_answers_for_each_thing_the_host_must_have() {
    let site = Site::start().unwrap();
    let said = site.governor.cli(&["doctor"]).unwrap().all();
    for subject in ["kernel", "cgroup", "BTF", "bpf", "CAP_"] {
        assert!(said.to_lowercase().contains(&subject.to_lowercase()), "{subject} is missing in {said}");
    }
}

#[test]
fn completions_and_man_pages_are_printed_without_an_agent() {
    let (_group, governor) = with_more("");
    for shell in ["bash", "zsh", "fish"] {
        let said = governor.cli(&["completions", shell]).unwrap().ok().unwrap().out();
        assert!(said.contains("governor"), "{shell}: {said:.200}");
    }
    let page = governor.cli(&["man"]).unwrap().ok().unwrap().out();
    assert!(page.contains(".TH"), "{page:.200}");
}

#[test]
fn verbs_without_an_agent_say_how_to_start_one() {
    let (_group, governor) = with_more("");
    let done = governor.cli(&["approvals", "list"]).unwrap();
    assert!(!done.status.success());
    assert!(done.err().contains("governor run") || done.err().contains("not running"), "{}", done.err());
}

#[test]
fn a_dead_agent_refuses_where_the_rule_says_so() {
    let mut site = Site::start().unwrap();
    site.governor.kill().unwrap();
    let done = site.psql(Class::Service, "SELECT 1;").unwrap();
    assert!(!done.status.success(), "a connection came through without a governor: {}", done.out());
    site.governor.launch().unwrap();
    assert_eq!(site.psql(Class::Service, "SELECT 1;").unwrap().ok().unwrap().out(), "1\n");
}

#[test]
fn a_stopped_agent_leaves_the_way_open_where_the_rule_says_so() {
    let options = Options { when_down: "pass", ..Options::default() };
    let mut site = Site::with(Auth::Trust, &options).unwrap();
    site.governor.stop().unwrap();
    assert_eq!(
        site.psql(Class::Service, "SELECT 1;").unwrap().ok().unwrap().out(),
        "1\n",
        "the way is direct again"
    );
}

#[test]
fn secrets_are_readable_by_their_owner_only() {
    let site = Site::start().unwrap();
    for name in ["keys", "audit"] {
        let mode = std::fs::metadata(site.governor.state_dir().join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o007, 0, "{name} is open to others: {mode:o}");
    }
}

#[test]
fn the_harness_database_is_reachable_without_governor() {
    // Guards the other tests of this file: a refusal must be governor's, not a server that is not there.
    let server = Postgres::start(Auth::Trust).unwrap();
    assert_eq!(server.admin("shop", "SELECT 1").unwrap(), "1");
}

/// As an agent that ends, or hands its place over, just when it is asked.
#[test]
fn an_agent_that_is_gone_in_the_middle_is_an_error_and_no_signal() {
    let directory = tempfile::tempdir().unwrap();
    let listener = std::os::unix::net::UnixListener::bind(directory.path().join("control.sock")).unwrap();
    std::thread::spawn(move || listener.incoming().for_each(drop));
    // Whether the request is written before the other end is gone, or after it, is up to the moment.
    for _ in 0..200 {
        let mut status = std::process::Command::new(governor_tests::governor::binary().unwrap());
        status.arg("--state-dir").arg(directory.path()).arg("status");
        let done = process::run(status, wait::PATIENCE).unwrap();
        assert_eq!(done.status.code(), Some(1), "{}: {}", process::describe(done.status), done.all());
        assert!(done.err().contains("control.sock"), "{}", done.all());
    }
}
