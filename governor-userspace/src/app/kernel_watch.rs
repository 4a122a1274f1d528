//! Looks from time to time at what else is on governor's hooks, and at how full its maps are.

use super::handle::{KernelSide, StatusForeign, StatusHook, StatusListener, StatusMap};
use crate::host::kernel::{Kernel, inspect};
use crate::host::telemetry::Metrics;
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
