//! From the last signs of life to the gap, without a clock of its own.

use super::{Ending, SignOfLife};
use crate::engine::audit::{AgentGap, GapCause, GapHooks};
use crate::engine::model::rfc3339;
use crate::host::clock::Moment;

/// What the kernel programs of a dead agent still say; only within one start of the host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Remains {
    /// Its last heartbeat, CLOCK_MONOTONIC; 0 where it is not known.
    pub heartbeat_ns: u64,
    /// Since its load.
    pub refused: u64,
    pub passed: u64,
    pub events_lost: u64,
}

/// The time between the agent before and now; `None` where there was no agent before.
pub fn gap_before(sign: Option<&SignOfLife>, remains: Option<&Remains>, now: &Moment) -> Option<AgentGap> {
    let same_boot = sign.is_none_or(|sign| sign.at.boot == now.boot && !now.boot.is_empty());
    let by_sign = sign.map(|sign| {
        if same_boot {
            return now.boottime_ns.saturating_sub(sign.at.boottime_ns);
        }
        // The wall clock may have been set meanwhile; that long the host has been up without an agent for sure.
        now.unix_ns.saturating_sub(sign.at.unix_ns).max(match sign.ending {
            Ending::Illegible => 0,
            _ => now.boottime_ns,
        })
    });
    let by_heartbeat = remains
        .filter(|remains| remains.heartbeat_ns > 0)
        .map(|remains| now.monotonic_ns.saturating_sub(remains.heartbeat_ns));
    let ended = sign.is_some_and(|sign| matches!(sign.ending, Ending::Stopped { .. }));
    let length_ns = match (by_sign, by_heartbeat) {
        // It said when it stopped; a heartbeat more or less says nothing against that.
        (Some(by_sign), _) if ended => by_sign,
        // A sign that could not be written (full disk) must not make the gap longer than it was.
        (Some(by_sign), Some(by_heartbeat)) => by_sign.min(by_heartbeat),
        (Some(length), None) | (None, Some(length)) => length,
        (None, None) => remains.map(|_| 0)?,
    };
    let (cause, why) = match sign.map(|sign| &sign.ending) {
        Some(Ending::Stopped { reason }) if same_boot => {
            (GapCause::Stopped, format!("it was stopped ({reason})"))
        }
        Some(Ending::Stopped { reason }) => (
            GapCause::Stopped,
            format!("it was stopped ({reason}), and the host was started again meanwhile"),
        ),
        Some(Ending::Failed { reason }) => (GapCause::Failed, format!("it failed ({reason})")),
        Some(Ending::Governing) if same_boot => {
            (GapCause::Killed, "it ended without a word (killed, out of memory, or crashed)".to_owned())
        }
        Some(Ending::Governing) => (GapCause::Reboot, "the host was started again".to_owned()),
        Some(Ending::Illegible) => (GapCause::Unknown, "its last sign of life cannot be read".to_owned()),
        None => (GapCause::Unknown, "it left no sign of life but its kernel programs".to_owned()),
    };
    let counted = remains.map(|remains| {
        let (refused, passed) = sign.map_or((0, 0), |sign| (sign.refused, sign.passed));
        // Another load's numbers say nothing about this one's.
        let since = |total: u64, then: u64| if then > total { total } else { total - then };
        (since(remains.refused, refused), since(remains.passed, passed))
    });
    Some(describe(
        length_ns,
        now,
        cause,
        &why,
        counted,
        remains.map_or(0, |remains| remains.events_lost),
        sign,
    ))
}

/// A time in which the running agent did nothing for longer than the kernel waits.
pub fn wedged(length_ns: u64, now: &Moment, refused: u64, passed: u64) -> AgentGap {
    let why = "it was there, but gave no heartbeat (stopped by a signal, or starved)";
    describe(length_ns, now, GapCause::Wedged, why, Some((refused, passed)), 0, None)
}

/// A time in which the kernel programs were off some cgroups of the running agent.
pub fn detached(length_ns: u64, now: &Moment, cgroups: &[String]) -> AgentGap {
    let why = format!(
        "the kernel programs were off {} (removed and made again, or taken off by somebody)",
        cgroups.join(", ")
    );
    describe(length_ns, now, GapCause::Detached, &why, None, 0, None)
}

fn describe(
    length_ns: u64,
    now: &Moment,
    cause: GapCause,
    why: &str,
    counted: Option<(u64, u64)>,
    events_lost: u64,
    sign: Option<&SignOfLife>,
) -> AgentGap {
    let hooks = if counted.is_some() { GapHooks::Kept } else { GapHooks::Off };
    let (refused, passed) = counted.unwrap_or_default();
    let what = match hooks {
        GapHooks::Kept => format!("{refused} connections refused, {passed} passed"),
        GapHooks::Off => "connections went direct, uncounted".to_owned(),
    };
    let reason = format!("{} without governance: {why}; {what}", seconds(length_ns));
    let sign = sign.filter(|sign| sign.ending != Ending::Illegible);
    AgentGap {
        from: rfc3339(now.unix_ns.saturating_sub(length_ns)),
        until: rfc3339(now.unix_ns),
        duration_ms: length_ns / 1_000_000,
        cause,
        reason,
        pid: sign.map(|sign| sign.pid),
        version: sign.map(|sign| sign.version.clone()),
        hooks,
        refused,
        passed,
        events_lost,
    }
}

fn seconds(ns: u64) -> String {
    let tenths = ns / 100_000_000;
    format!("{}.{} s", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;
    const EPOCH: u64 = 1_700_000_000 * SECOND;

    fn at(boot: &str, uptime_s: u64, unix_s: u64) -> Moment {
        let ns = uptime_s * SECOND;
        Moment { boot: boot.into(), boottime_ns: ns, monotonic_ns: ns, unix_ns: EPOCH + unix_s * SECOND }
    }

    fn sign(at: Moment, ending: Ending) -> SignOfLife {
        SignOfLife { version: "1.2".into(), pid: 7, at, ending, refused: 10, passed: 1 }
    }

    fn stopped() -> Ending {
        Ending::Stopped { reason: "SIGTERM".into() }
    }

    #[test]
    fn a_first_start_has_no_gap() {
        assert_eq!(gap_before(None, None, &at("a", 5, 5)), None);
    }

    #[test]
    fn a_kill_is_measured_from_the_last_sign_and_counted_by_what_the_kernel_kept() {
        let sign = sign(at("a", 100, 100), Ending::Governing);
        let remains = Remains { heartbeat_ns: 100 * SECOND, refused: 14, passed: 1, events_lost: 2 };
        let gap = gap_before(Some(&sign), Some(&remains), &at("a", 142, 142)).unwrap();
        assert_eq!((gap.cause, gap.duration_ms, gap.hooks), (GapCause::Killed, 42_000, GapHooks::Kept));
        assert_eq!((gap.refused, gap.passed, gap.events_lost), (4, 0, 2));
        assert_eq!((gap.pid, gap.version.as_deref()), (Some(7), Some("1.2")));
        assert_eq!((gap.from, gap.until), (rfc3339(EPOCH + 100 * SECOND), rfc3339(EPOCH + 142 * SECOND)));
    }

    #[test]
    fn a_wall_clock_that_was_set_changes_no_length_within_one_start_of_the_host() {
        for jump_s in [0, 50, 5_000_000] {
            let sign = sign(at("a", 100, 1_000), Ending::Governing);
            let gap = gap_before(Some(&sign), None, &at("a", 130, jump_s)).unwrap();
            assert_eq!((gap.duration_ms, gap.hooks), (30_000, GapHooks::Off), "{jump_s}");
            assert_eq!(gap.until, rfc3339(EPOCH + jump_s * SECOND));
        }
    }

    #[test]
    fn a_suspended_host_counts_in_the_boot_clock() {
        let sign = sign(at("a", 100, 100), stopped());
        let now = Moment { boottime_ns: 900 * SECOND, ..at("a", 130, 900) };
        assert_eq!(gap_before(Some(&sign), None, &now).unwrap().duration_ms, 800_000);
    }

    #[test]
    fn a_reboot_is_told_by_the_wall_clock_and_at_least_by_the_time_the_host_is_up() {
        let governing = sign(at("a", 9_000, 100), Ending::Governing);
        for (unix_s, expected_s) in [(700, 600), (130, 60), (0, 60)] {
            let gap = gap_before(Some(&governing), None, &at("b", 60, unix_s)).unwrap();
            assert_eq!((gap.cause, gap.duration_ms), (GapCause::Reboot, expected_s * 1000), "{unix_s}");
        }
        let stopped = sign(at("a", 9_000, 100), stopped());
        let gap = gap_before(Some(&stopped), None, &at("b", 60, 700)).unwrap();
        assert_eq!(gap.cause, GapCause::Stopped);
        assert!(gap.reason.contains("started again"), "{}", gap.reason);
    }

    #[test]
    fn a_sign_that_could_not_be_written_yields_to_the_heartbeat_in_the_kernel() {
        let sign = sign(at("a", 100, 100), Ending::Governing);
        let remains = Remains { heartbeat_ns: 160 * SECOND, ..Remains::default() };
        let gap = gap_before(Some(&sign), Some(&remains), &at("a", 165, 165)).unwrap();
        assert_eq!(gap.duration_ms, 5_000);
        let gap = gap_before(None, Some(&remains), &at("a", 165, 165)).unwrap();
        assert_eq!((gap.duration_ms, gap.cause), (5_000, GapCause::Unknown));
    }

    #[test]
    fn a_stop_begins_when_it_was_told_not_at_a_heartbeat() {
        let sign = sign(at("a", 100, 100), stopped());
        let remains = Remains { heartbeat_ns: 104 * SECOND, refused: 12, passed: 1, events_lost: 0 };
        let gap = gap_before(Some(&sign), Some(&remains), &at("a", 110, 110)).unwrap();
        assert_eq!((gap.cause, gap.duration_ms, gap.refused), (GapCause::Stopped, 10_000, 2));
    }

    #[test]
    fn counters_of_another_load_are_taken_as_they_are() {
        let sign = sign(at("a", 100, 100), Ending::Governing);
        let remains = Remains { heartbeat_ns: 1, refused: 3, passed: 0, events_lost: 0 };
        assert_eq!(gap_before(Some(&sign), Some(&remains), &at("a", 101, 101)).unwrap().refused, 3);
    }

    #[test]
    fn a_damaged_sign_is_an_unknown_cause_since_the_files_own_time() {
        let sign = SignOfLife {
            at: Moment { unix_ns: EPOCH, ..Moment::default() },
            ..sign(at("", 0, 0), Ending::Illegible)
        };
        let gap = gap_before(Some(&sign), None, &at("a", 5_000, 20)).unwrap();
        assert_eq!((gap.cause, gap.duration_ms, gap.pid), (GapCause::Unknown, 20_000, None));
    }
}
