//! Every time without governance is on record, with its cause and what became of connections in it.

use governor_tests::governor::{field, text};
use governor_tests::postgres::Auth;
use governor_tests::{Class, Finished, Options, Site, wait};
use serde_json::Value;

pub fn keeps() -> Options {
    Options { on_stop: "keep", ..Options::default() }
}

pub fn one(site: &Site) -> Finished {
    site.psql(Class::Service, "SELECT 1;").unwrap()
}

pub fn governed(site: &Site) {
    assert_eq!(one(site).ok().unwrap().out(), "1\n");
}

pub fn refused(site: &Site) {
    let done = one(site);
    assert!(!done.status.success() && done.err().contains("Operation not permitted"), "{}", done.all());
}

pub fn only_gap(site: &Site) -> Value {
    let gaps = site.governor.events("agent_gap").unwrap();
    assert_eq!(gaps.len(), 1, "{gaps:?}");
    gaps.into_iter().next().unwrap()
}

pub fn number(record: &Value, key: &str) -> u64 {
    field(record, key).as_u64().unwrap_or_else(|| panic!("no {key} in {record}"))
}

pub fn metric(site: &Site, line: &str) -> f64 {
    let page = site.governor.metrics().unwrap();
    let found = page.lines().find_map(|found| found.strip_prefix(line)?.trim().parse().ok());
    found.unwrap_or_else(|| panic!("no {line} in\n{page}"))
}

#[test]
fn a_first_start_has_no_gap() {
    let site = Site::start().unwrap();
    assert!(site.governor.events("agent_gap").unwrap().is_empty());
    let said = site.governor.cli(&["status"]).unwrap().ok().unwrap().out();
    assert!(said.lines().any(|line| line.starts_with("gaps") && line.ends_with("none")), "{said}");
}

#[test]
fn a_kill_is_a_gap_with_the_connections_that_were_refused_in_it() {
    let mut site = Site::start().unwrap();
    governed(&site);
    let dead = site.governor.pid().unwrap();
    site.governor.kill().unwrap();
    for _ in 0..3 {
        refused(&site);
    }
    site.governor.launch().unwrap();
    governed(&site);
    let gap = only_gap(&site);
    assert_eq!((text(&gap, "cause").as_str(), text(&gap, "hooks").as_str()), ("killed", "kept"), "{gap}");
    assert_eq!((number(&gap, "pid"), number(&gap, "passed")), (dead.into(), 0), "{gap}");
    // psql tries an address once more after a refusal of encryption: what counts is that each is there.
    let count = number(&gap, "refused");
    assert!(count >= 3, "{gap}");
    let events = site.governor.events("kernel_event").unwrap();
    assert_eq!(events.len() as u64, count, "{events:?}");
    for event in &events {
        assert_eq!(text(event, "cause"), "listener_gone", "{event}");
        assert_eq!(field(event, "passed"), &Value::Bool(false));
        assert_eq!(text(event, "command"), "psql");
    }
    let said = site.governor.cli(&["status"]).unwrap().ok().unwrap().out();
    assert!(said.contains("killed") && said.contains(&format!("{count} connections refused")), "{said}");
    let found = site.governor.cli(&["audit", "gaps"]).unwrap().ok().unwrap().out();
    assert!(found.contains("without governance"), "{found}");
    assert!(metric(&site, "governor_gaps_total{cause=\"killed\"}") == 1.0);
    assert!(metric(&site, "governor_gap_seconds_total") > 0.0);
    site.governor.cli(&["audit", "verify"]).unwrap().ok().unwrap();
}

#[test]
fn connections_that_passed_in_a_gap_are_counted_and_named() {
    let options = Options { when_down: "pass", ..Options::default() };
    let mut site = Site::with(Auth::Trust, &options).unwrap();
    site.governor.kill().unwrap();
    governed(&site);
    site.governor.launch().unwrap();
    let gap = only_gap(&site);
    assert_eq!((number(&gap, "refused"), number(&gap, "passed") >= 1), (0, true), "{gap}");
    // They are read from the ring buffer when the gap is on record already.
    let events = wait::until("an event for each", wait::PATIENCE, || {
        let events = site.governor.events("kernel_event")?;
        Ok((events.len() as u64 >= number(&gap, "passed")).then_some(events))
    })
    .unwrap();
    assert!(events.iter().all(|event| field(event, "passed") == &Value::Bool(true)), "{events:?}");
    assert_eq!(events.len() as u64, number(&gap, "passed"));
}

#[test]
fn a_clean_stop_keeps_the_hooks_and_refuses_until_the_next_start() {
    let mut site = Site::with(Auth::Trust, &keeps()).unwrap();
    governed(&site);
    site.governor.stop().unwrap();
    refused(&site);
    // A start that fails changes nothing.
    std::fs::rename(site.governor.config_path(), site.governor.state_dir().join("aside")).unwrap();
    assert!(site.governor.launch().is_err());
    refused(&site);
    std::fs::rename(site.governor.state_dir().join("aside"), site.governor.config_path()).unwrap();
    site.governor.launch().unwrap();
    governed(&site);
    let gap = only_gap(&site);
    assert_eq!((text(&gap, "cause").as_str(), text(&gap, "hooks").as_str()), ("stopped", "kept"), "{gap}");
    assert!(text(&gap, "reason").contains("SIGTERM") && number(&gap, "refused") >= 2, "{gap}");
}

#[test]
fn a_clean_stop_that_keeps_the_hooks_passes_where_the_rule_says_so() {
    let options = Options { when_down: "pass", ..keeps() };
    let mut site = Site::with(Auth::Trust, &options).unwrap();
    site.governor.stop().unwrap();
    governed(&site);
    site.governor.launch().unwrap();
    assert!(number(&only_gap(&site), "passed") >= 1);
}

#[test]
fn a_clean_stop_that_detaches_lets_connections_go_direct_on_record() {
    let mut site = Site::start().unwrap();
    site.governor.stop().unwrap();
    governed(&site);
    site.governor.launch().unwrap();
    let gap = only_gap(&site);
    assert_eq!((text(&gap, "cause").as_str(), text(&gap, "hooks").as_str()), ("stopped", "off"), "{gap}");
    assert!(text(&gap, "reason").contains("direct"), "{gap}");
}

#[test]
fn detach_opens_the_way_after_a_stop_and_not_under_a_living_agent() {
    let mut site = Site::with(Auth::Trust, &keeps()).unwrap();
    let said = site.governor.cli(&["detach"]).unwrap();
    let pid = site.governor.pid().unwrap().to_string();
    assert!(!said.status.success() && said.err().contains(&pid), "{}", said.all());
    governed(&site);
    assert_eq!(site.governor.events("session_start").unwrap().len(), 1, "still governed");

    site.governor.stop().unwrap();
    refused(&site);
    let said = site.governor.cli(&["detach", "--dry-run"]).unwrap().ok().unwrap().out();
    assert!(said.contains("connect4") && said.contains("pins") && said.contains("mount"), "{said}");
    refused(&site);
    // The same by what is in the kernel, for this test's cgroup alone.
    let group = site.group.path().to_str().unwrap().to_owned();
    let everywhere = ["detach", "--all", "--cgroup", &group];
    let dry: Vec<&str> = everywhere.iter().copied().chain(["--dry-run"]).collect();
    let said = site.governor.cli(&dry).unwrap().ok().unwrap().out();
    assert!(said.contains("connect6") && said.contains("hand_over"), "{said}");
    site.governor.cli(&everywhere).unwrap().ok().unwrap();
    governed(&site);
    for args in [&dry[..], &["detach"], &["detach", "--dry-run"]] {
        let said = site.governor.cli(args).unwrap().ok().unwrap().out();
        assert!(said.contains("nothing of governor"), "{args:?}: {said}");
    }
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(site.governor.state_dir().to_str().unwrap()), "a mount is left");
}

#[test]
fn signs_of_life_go_on_while_the_agent_lives() {
    let site = Site::start().unwrap();
    let file = site.governor.state_dir().join("life");
    let stamp = || -> Value { serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap() };
    let first = wait::until("a sign of life", wait::PATIENCE, || Ok(file.exists().then(stamp))).unwrap();
    assert_eq!(first["state"], "governing");
    wait::until("a later sign of life", wait::PATIENCE, || {
        let now = stamp();
        Ok((now["at"]["boottime_ns"].as_u64() > first["at"]["boottime_ns"].as_u64()).then_some(()))
    })
    .unwrap();
}
