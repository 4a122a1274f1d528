//! The wall clock is set while governor runs: governing, holds, heartbeat and lengths of time do not notice.

use super::gaps::{governed, metric, number, only_gap, refused};
use governor_tests::governor::{field, text};
use governor_tests::postgres::Auth;
use governor_tests::wall_clock::WallClock;
use governor_tests::{Class, Options, Site, wait};

const DAY_S: i64 = 86_400;

#[test]
fn a_wall_clock_that_is_set_changes_nothing_but_the_times_on_record() {
    let directory = tempfile::tempdir().unwrap();
    let clock = WallClock::create(directory.path()).unwrap();
    let options = Options {
        launcher: clock.launcher(),
        approval_timeout: "10m",
        more: "[audit]\ncheckpoint_interval = \"100ms\"\n".into(),
        ..Options::default()
    };
    let mut site = Site::with(Auth::Trust, &options).unwrap();
    governed(&site);
    let stamp = |site: &Site| {
        let file = std::fs::read(site.governor.state_dir().join("life")).unwrap();
        let sign: serde_json::Value = serde_json::from_slice(&file).unwrap();
        sign["at"]["unix_ns"].as_u64().unwrap() / 1_000_000_000
    };
    let first = stamp(&site);
    let held = site.psql_running(Class::Agent, "DELETE FROM orders WHERE id = 1;").unwrap();
    let id = site.governor.wait_for_hold().unwrap();

    for (number, (offset_s, direction)) in
        [(DAY_S, "forward"), (-DAY_S, "back"), (0, "forward")].into_iter().enumerate()
    {
        clock.set(offset_s).unwrap();
        let series = format!("governor_clock_steps_total{{direction=\"{direction}\"}}");
        let wanted = if number == 2 { 2.0 } else { 1.0 };
        wait::until("the step to be told", wait::PATIENCE, || {
            Ok((metric(&site, &series) == wanted).then_some(()))
        })
        .unwrap();
        wait::until("a sign of life at the new time", wait::PATIENCE, || {
            let passed_s = stamp(&site) as i64 - first as i64;
            Ok(((passed_s - offset_s).abs() < 600).then_some(()))
        })
        .unwrap();
        governed(&site);
        assert_eq!(metric(&site, "governor_holds_pending "), 1.0, "neither expired nor forgotten");
    }
    assert!(site.governor.log().contains("the wall clock was set"), "{}", site.governor.log());
    // It is answered as if nothing had been.
    site.governor.cli(&["approvals", "approve", &id]).unwrap().ok().unwrap();
    held.finish(wait::PATIENCE).unwrap().ok().unwrap();
    assert!(site.governor.events("agent_gap").unwrap().is_empty(), "the heartbeat goes by another clock");

    // A gap in which the clock is set is as long as it was.
    site.governor.kill().unwrap();
    refused(&site);
    clock.set(7 * DAY_S).unwrap();
    site.governor.launch().unwrap();
    let gap = only_gap(&site);
    assert_eq!(text(&gap, "cause"), "killed", "{gap}");
    assert!(number(&gap, "duration_ms") < 600_000, "{gap}");
    governed(&site);
    let verified = site.governor.cli(&["audit", "verify"]).unwrap().ok().unwrap().out();
    assert!(verified.contains("clock"), "steps back are told: {verified}");
    assert_eq!(field(&gap, "hooks"), "kept");
}
