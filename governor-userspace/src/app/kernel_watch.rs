//! Looks from time to time at what else is on governor's hooks, and at how full its maps are.

use super::handle::{KernelSide, StatusForeign, StatusHook, StatusListener, StatusMap};
use crate::host::kernel::{Counters, Kernel, inspect};
use crate::host::telemetry::{KernelCounters, Metrics};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Called with every heartbeat; looks every few.
#[derive(Debug)]
pub(super) struct KernelWatch {
    metrics: Arc<Metrics>,
    beats: u32,
    /// Programs of others that were told already.
    known: BTreeSet<(&'static str, u32)>,
}

impl KernelWatch {
    pub fn new(metrics: Arc<Metrics>) -> Self {
        Self { metrics, beats: 0, known: BTreeSet::new() }
    }

    pub fn look(&mut self, kernel: &Kernel) {
        let is_due = self.beats.is_multiple_of(BEATS);
        self.beats = self.beats.wrapping_add(1);
        if !is_due {
            return;
        }
        match kernel.map_levels() {
            Ok(levels) => {
                for level in levels {
                    self.metrics.kernel_map(level.map, level.entries, level.capacity.into());
                }
            }
            Err(error) => tracing::warn!(%error, "it is not known how full the kernel's maps are"),
        }
        let Ok(foreign) = kernel.foreign() else { return };
        self.metrics.foreign_programs(foreign.len());
        let mut present = BTreeSet::new();
        for (hook, program, cgroup) in foreign {
            present.insert((hook, program));
            if !self.known.contains(&(hook, program)) {
                tracing::warn!(
                    hook,
                    program,
                    cgroup = %cgroup.display(),
                    consequence = inspect::consequence(hook),
                    "a program of somebody else runs on a hook that governor uses: `governor doctor` names it"
                );
            }
        }
        // One that goes and comes back is told again.
        self.known = present;
    }
}

/// What metrics and status tell of the kernel programs' own counts.
pub(super) fn kernel_counters(counters: &Counters) -> KernelCounters {
    KernelCounters {
        redirected: counters.redirected,
        refused: counters.refused(),
        identity_missing: counters.pending_failed,
        events_dropped: counters.events_dropped,
        passed: counters.passed(),
        // In the order of `KernelFault`.
        faults: [
            counters.refused_heartbeat_stale,
            counters.refused_namespace_unknown,
            counters.refused_listener_gone,
            counters.refused_storage_failed,
            counters.refused_device_bound,
            counters.inbound_refused_heartbeat_stale,
            counters.inbound_refused_listener_gone,
            counters.pending_failed,
            counters.inbound_own_failed,
            counters.totals_failed,
            counters.totals_dropped,
            counters.bind_refused,
            counters.raw_refused,
        ],
        waited: [counters.namespace_waited, counters.namespace_waited_in_vain],
    }
}

/// What the surface may know of it.
pub(super) fn kernel_side(kernel: &Kernel) -> KernelSide {
    KernelSide {
        hooks: kernel
            .attached()
            .into_iter()
            .map(|hook| StatusHook {
                program: hook.program.into(),
                cgroup: hook.cgroup.display().to_string(),
                pinned: hook.pinned,
            })
            .collect(),
        maps: kernel
            .map_levels()
            .unwrap_or_default()
            .into_iter()
            .map(|level| StatusMap {
                map: level.map.into(),
                entries: level.entries,
                capacity: level.capacity.into(),
            })
            .collect(),
        listeners: kernel
            .totals()
            .unwrap_or_default()
            .into_iter()
            .map(|totals| StatusListener {
                netns_cookie: totals.netns_cookie,
                port: totals.port,
                opened: totals.opened,
                closed: totals.closed,
                bytes_received: totals.bytes_received,
                bytes_acked: totals.bytes_acked,
            })
            .collect(),
        foreign: kernel
            .foreign()
            .unwrap_or_default()
            .into_iter()
            .map(|(hook, program_id, cgroup)| StatusForeign {
                hook: hook.into(),
                program_id,
                cgroup: cgroup.display().to_string(),
                consequence: inspect::consequence(hook).into(),
            })
            .collect(),
    }
}

/// Looks at every so many heartbeats.
const BEATS: u32 = 5;

#[cfg(test)]
mod tests {
    use super::*;

    /// What the kernel programs meet is seen in the series of its own cause, and in no other.
    #[test]
    fn every_fault_of_the_kernel_side_lands_in_the_series_of_its_cause() {
        type Count = fn(&mut Counters) -> &mut u64;
        let causes: [(&str, Count); 13] = [
            ("heartbeat_stale", |counters| &mut counters.refused_heartbeat_stale),
            ("namespace_unknown", |counters| &mut counters.refused_namespace_unknown),
            ("listener_gone", |counters| &mut counters.refused_listener_gone),
            ("storage_failed", |counters| &mut counters.refused_storage_failed),
            ("device_bound", |counters| &mut counters.refused_device_bound),
            ("inbound_heartbeat_stale", |counters| &mut counters.inbound_refused_heartbeat_stale),
            ("inbound_listener_gone", |counters| &mut counters.inbound_refused_listener_gone),
            ("pending_failed", |counters| &mut counters.pending_failed),
            ("inbound_own_failed", |counters| &mut counters.inbound_own_failed),
            ("totals_failed", |counters| &mut counters.totals_failed),
            ("totals_dropped", |counters| &mut counters.totals_dropped),
            ("bind_refused", |counters| &mut counters.bind_refused),
            ("raw_refused", |counters| &mut counters.raw_refused),
        ];
        let faults = |page: &str| -> Vec<String> {
            let lines = page.lines().filter(|line| line.starts_with("governor_kernel_faults_total{"));
            lines.map(str::to_owned).collect()
        };
        for (cause, count) in causes {
            let mut counters = Counters::default();
            *count(&mut counters) = 7;
            let page = Metrics::new().unwrap().exposition(Some(kernel_counters(&counters))).unwrap();
            let found = faults(&page);
            assert_eq!(found.len(), causes.len(), "a cause is not in this test: {found:?}");
            let set: Vec<&String> = found.iter().filter(|line| !line.ends_with(" 0")).collect();
            assert_eq!(set, [&format!("governor_kernel_faults_total{{cause=\"{cause}\"}} 7")]);
        }
        let counters = Counters { events_dropped: 5, ..Counters::default() };
        let page = Metrics::new().unwrap().exposition(Some(kernel_counters(&counters))).unwrap();
        assert!(page.contains("\ngovernor_kernel_events_dropped_total 5\n"), "{page}");
    }
}
