//! A service that dies again and again: as it is installed it is tried for ever; where an operator has set a limit of starts, the
//! manager gives it up. Either way each port is refused, or passes, as its rule says.

use crate::machine::{
    CONFIG, PINS, UNIT, ask, cause, finish, gap_after, governed, governor, is_governed, journal, main_pid,
    mounted, property, psql, records, rule, systemctl, until,
};
use crate::raw::{self, Answer};
use governor_tests::governor::text;
use std::path::Path;

const DROP_IN: &str = "/etc/systemd/system/governor.service.d/limit.conf";
/// Nobody listens there: a connect that passes is refused by the network, and one that does not by the kernel side.
const OTHER_PORT: u16 = 5433;

/// A port that is refused while governor is away, and one that passes.
fn rules() -> String {
    let passes =
        format!("[[capture.rules]]\ncgroup = \"/\"\nports = [{OTHER_PORT}]\nwhen_down = \"pass\"\n\n");
    rule("refuse") + &passes
}

/// How a connect to the port without a server ends.
fn ask_other() -> Option<i32> {
    raw::connect(([127, 0, 0, 1], OTHER_PORT).into()).unwrap_err().raw_os_error()
}

/// Each port as its rule says for the time without governor.
fn away() {
    assert_eq!(ask(), Answer::Refused);
    assert_eq!(ask_other(), Some(libc::ECONNREFUSED), "passed, to where nobody listens");
    assert!(mounted(1, PINS).is_some());
}

/// What an operator adds to the unit.
fn with(drop_in: &str) {
    std::fs::create_dir_all(Path::new(DROP_IN).parent().unwrap()).unwrap();
    std::fs::write(DROP_IN, drop_in).unwrap();
    systemctl(&["daemon-reload"]);
}

fn restarts() -> u32 {
    property("NRestarts").parse().unwrap()
}

/// Loads of the kernel programs that have pins.
fn generations() -> usize {
    std::fs::read_dir(PINS).unwrap().count()
}

/// The manager has given it up, and starts it for nobody.
fn given_up() {
    until("the manager to give up", || (property("ActiveState") == "failed").then_some(()));
    assert!(journal().contains("Start request repeated too quickly"), "{}", journal());
    println!("given up after {} restarts: {}", restarts(), property("Result"));
    let refused = finish("systemctl", &["start", UNIT]);
    assert!(!refused.status.success(), "{}", refused.all());
    assert_eq!((property("ActiveState").as_str(), main_pid()), ("failed", 0));
}

/// Nothing is left of it once it was stopped and taken off.
fn nothing_stays() {
    systemctl(&["stop", UNIT]);
    governor(&["detach", "--all"]);
    assert_eq!(mounted(1, PINS), None);
    let left = governor(&["detach", "--all", "--dry-run"]).out();
    assert_eq!(left, "nothing of governor is in the kernel\n");
    assert_eq!(ask(), Answer::Session, "direct");
}

#[test]
fn it_is_tried_for_ever_and_a_mended_file_is_enough() {
    governed(&rules());
    is_governed();
    let (gaps, before) = (records("agent_gap").len(), restarts());
    let config = std::fs::read_to_string(CONFIG).unwrap();
    std::fs::write(CONFIG, format!("{config}\nnonsense = true\n")).unwrap();
    let pid = main_pid();
    finish("systemctl", &["kill", "--signal=KILL", "--kill-whom=main", UNIT]).ok().unwrap();
    // More often than the manager's own limit, which the unit takes off.
    until("more starts than a limit would have", || (restarts() > before + 6).then_some(()));
    away();
    assert!(journal().contains("nonsense"), "{}", journal());
    assert_ne!(property("ActiveState"), "failed");
    std::fs::write(CONFIG, &config).unwrap();
    until("the service to be ready", || (property("ActiveState") == "active").then_some(()));
    assert_ne!(main_pid(), pid);
    is_governed();
    let gap = gap_after(gaps);
    assert_eq!((cause(&gap).as_str(), text(&gap, "hooks").as_str()), ("killed", "kept"), "{gap}");
    assert!(text(&gap, "refused").parse::<u64>().unwrap() >= 1, "{gap}");
    assert!(text(&gap, "passed").parse::<u64>().unwrap() >= 1, "{gap}");
    assert_eq!(records("agent_gap").len(), gaps + 1, "starts that came to nothing are none");
}

#[test]
fn where_starts_have_a_limit_the_rules_hold_until_somebody_comes() {
    governed(&rules());
    is_governed();
    let gaps = records("agent_gap").len();
    with("[Unit]\nStartLimitIntervalSec=1h\nStartLimitBurst=3\n[Service]\nRestartSec=100ms\n");
    let config = std::fs::read_to_string(CONFIG).unwrap();
    std::fs::write(CONFIG, "[capture]\nrules = 7\n").unwrap();
    finish("systemctl", &["kill", "--signal=KILL", "--kill-whom=main", UNIT]).ok().unwrap();
    given_up();
    away();
    let said = psql("SELECT 1");
    assert!(said.err().contains("Operation not permitted"), "{}", said.all());
    // The file alone is not enough now.
    std::fs::write(CONFIG, &config).unwrap();
    given_up();
    away();
    systemctl(&["reset-failed", UNIT]);
    systemctl(&["start", UNIT]);
    is_governed();
    let gap = gap_after(gaps);
    assert_eq!((cause(&gap).as_str(), text(&gap, "hooks").as_str()), ("killed", "kept"), "{gap}");
    assert!(text(&gap, "refused").parse::<u64>().unwrap() >= 3, "{gap}");
    governor(&["audit", "verify"]);
    std::fs::remove_file(DROP_IN).unwrap();
    systemctl(&["daemon-reload"]);
    nothing_stays();
}

#[test]
fn an_agent_that_is_killed_at_each_start_leaves_what_one_leaves() {
    governed(&rules());
    is_governed();
    let (pinned, gaps, starts) = (generations(), records("agent_gap").len(), records("agent_start").len());
    // Each is there for a moment: its hooks are on, and take the place of those of the one before.
    with(
        "[Unit]\nStartLimitIntervalSec=1h\nStartLimitBurst=4\n[Service]\nRestartSec=100ms\nExecStartPost=/bin/kill -KILL $MAINPID\n",
    );
    finish("systemctl", &["kill", "--signal=KILL", "--kill-whom=main", UNIT]).ok().unwrap();
    given_up();
    let agents = records("agent_start").len() - starts;
    assert!(agents >= 2, "{agents}: {}", journal());
    away();
    assert_eq!(generations(), pinned, "of {agents} agents the last one's alone are left");
    std::fs::remove_file(DROP_IN).unwrap();
    systemctl(&["daemon-reload"]);
    systemctl(&["reset-failed", UNIT]);
    systemctl(&["start", UNIT]);
    is_governed();
    assert_eq!(generations(), pinned);
    until("every gap on record", || (records("agent_gap").len() == gaps + agents + 1).then_some(()));
    let killed = records("agent_gap");
    assert!(killed[gaps..].iter().all(|gap| cause(gap) == "killed"), "{killed:#?}");
    governor(&["audit", "verify"]);
    nothing_stays();
}
