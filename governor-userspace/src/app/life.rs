//! Signs of life while the agent runs, and the gaps that they uncover.

use super::agent::KernelSlot;
use super::handle::Gaps;
use super::record;
use crate::engine::audit::{AgentGap, AuditEvent, GapHooks};
use crate::host::clock::Moment;
use crate::host::kernel::Kernel;
use crate::host::ledger::Ledger;
use crate::host::life::{Ending, LifeFile, Remains, SignOfLife, detached, gap_before, wedged};
use crate::host::telemetry::{ClockStep, Metrics};
use parking_lot::Mutex;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// What status shows of gaps; shared with the handle.
pub(super) type GapLog = Arc<Mutex<Gaps>>;
pub(super) type Trouble = Arc<Mutex<Option<String>>>;

/// Leaves the signs and writes gaps down. Dropped before its end was told, it says that the agent failed.
pub(super) struct LifeKeeper {
    file: LifeFile,
    kernel: KernelSlot,
    ledger: Ledger,
    metrics: Arc<Metrics>,
    gaps: GapLog,
    last: Mutex<Last>,
    /// What is wrong with hooks or pins now; health tells it.
    trouble: Trouble,
}

struct Last {
    /// The beat before, and what the kernel had counted by then. `None` before the first.
    beat: Option<(Moment, u64, u64)>,
    ended: bool,
    /// The last sign could not be left: said once.
    failing: bool,
    /// When hooks and pins were looked at last, CLOCK_MONOTONIC.
    tended_ns: Option<u64>,
}

impl LifeKeeper {
    pub fn new(
        state_dir: &Path,
        kernel: KernelSlot,
        ledger: Ledger,
        metrics: Arc<Metrics>,
        gaps: GapLog,
        trouble: Trouble,
    ) -> Self {
        let last = Mutex::new(Last { beat: None, ended: false, failing: false, tended_ns: None });
        Self { file: LifeFile::new(state_dir), kernel, ledger, metrics, gaps, last, trouble }
    }

    /// Once, right after the hooks are on: what was between the agent before and this one.
    pub fn look_back(&self) -> anyhow::Result<()> {
        let sign = self.file.read().unwrap_or_else(|error| {
            tracing::warn!(%error, "the last sign of life of the agent before cannot be read");
            None
        });
        let remains = self.kernel.lock().as_ref().and_then(|kernel| {
            let previous = kernel.previous()?;
            Some(Remains {
                heartbeat_ns: previous.heartbeat_ns,
                refused: previous.counters.refused(),
                passed: previous.counters.passed(),
                events_lost: previous.counters.events_dropped,
            })
        });
        match gap_before(sign.as_ref(), remains.as_ref(), &Moment::now()) {
            Some(gap) => self.note(gap),
            None => Ok(()),
        }
    }

    /// With every heartbeat, right before it is given.
    pub fn beat(&self) {
        let now = Moment::now();
        let (refused, passed) = self.counted();
        let before = self.last.lock().beat.replace((now.clone(), refused, passed));
        if let Some((before, refused_before, passed_before)) = before {
            let step_ns = now.step_since(&before);
            if step_ns != 0 {
                self.metrics.clock_step(if step_ns < 0 { ClockStep::Back } else { ClockStep::Forward });
                tracing::warn!(
                    seconds = step_ns / 1_000_000_000,
                    "the wall clock was set: records show the new time; heartbeat, time-outs and lengths go by clocks \
                     that cannot be set"
                );
            }
            let silence = now.monotonic_ns.saturating_sub(before.monotonic_ns);
            if silence > SILENCE_NS_MAX {
                let gap = wedged(
                    silence,
                    &now,
                    refused.saturating_sub(refused_before),
                    passed.saturating_sub(passed_before),
                );
                if let Err(error) = self.note(gap) {
                    tracing::error!(%error, "cannot record a time without governance");
                }
            }
        }
    }

    /// Puts back what was lost of hooks and pins, and writes down what that meant. With every beat.
    pub fn tend(&self) {
        let Some((mended, error)) = self.kernel.lock().as_mut().map(Kernel::tend) else { return };
        let now = Moment::now();
        let trouble = match &error {
            None if mended.cgroups_gone.is_empty() => None,
            None => Some(format!(
                "captured cgroups are gone: {}; they are captured again when they are there again",
                names(&mended.cgroups_gone).join(", ")
            )),
            Some(error) => {
                Some(format!("{error}; connections may go direct, now or after a kill, until that is mended"))
            }
        };
        self.metrics.kernel_whole(trouble.is_none());
        // The programs were on when all of them were seen last.
        let before = {
            let mut last = self.last.lock();
            let before = last.tended_ns;
            if error.is_none() {
                last.tended_ns = Some(now.monotonic_ns);
            }
            before
        };
        // Said once, not with every beat.
        if std::mem::replace(&mut *self.trouble.lock(), trouble.clone()) != trouble
            && let Some(trouble) = trouble
        {
            tracing::error!("hooks or pins were lost: {trouble}");
        }
        if mended.pinned_again > 0 {
            self.metrics.kernel_pins_remade(mended.pinned_again);
            tracing::error!(
                pins = mended.pinned_again,
                "pins of the kernel programs were gone and are made again"
            );
        }
        if !mended.attached_again.is_empty() {
            let length = before.map_or(0, |before| now.monotonic_ns.saturating_sub(before));
            if let Err(error) = self.note(detached(length, &now, &names(&mended.attached_again))) {
                tracing::error!(%error, "cannot record a time without governance");
            }
        }
    }

    /// Leaves the sign that goes with the last beat. Blocks on the disk.
    pub fn leave_sign(&self) {
        let (at, refused, passed) = match &*self.last.lock() {
            Last { ended: false, beat: Some(beat), .. } => beat.clone(),
            _ => return,
        };
        self.write(at, Ending::Governing, refused, passed);
    }

    /// The hooks are about to go, or to be left alone: from now on nobody governs new connections.
    pub fn end(&self, ending: Ending) {
        if !std::mem::replace(&mut self.last.lock().ended, true) {
            let (refused, passed) = self.counted();
            self.write(Moment::now(), ending, refused, passed);
        }
    }

    /// Another agent leaves the signs from now on.
    pub fn pass_on(&self) {
        self.last.lock().ended = true;
    }

    fn write(&self, at: Moment, ending: Ending, refused: u64, passed: u64) {
        let sign = SignOfLife {
            version: env!("CARGO_PKG_VERSION").into(),
            pid: std::process::id(),
            at,
            ending,
            refused,
            passed,
        };
        let result = self.file.write(&sign);
        let failed_before = std::mem::replace(&mut self.last.lock().failing, result.is_err());
        if let Err(error) = result {
            self.metrics.life_failed();
            if !failed_before {
                tracing::error!(%error, "no sign of life can be left in the state directory; after a kill the kernel's heartbeat is all that tells when");
            }
        }
    }

    fn note(&self, gap: AgentGap) -> anyhow::Result<()> {
        tracing::warn!(
            cause = ?gap.cause,
            from = gap.from,
            until = gap.until,
            refused = gap.refused,
            passed = gap.passed,
            hooks_off = gap.hooks == GapHooks::Off,
            "{}",
            gap.reason
        );
        self.metrics.gap(gap.cause, Duration::from_millis(gap.duration_ms));
        let mut gaps = self.gaps.lock();
        gaps.count += 1;
        gaps.last = Some(gap.clone());
        drop(gaps);
        self.ledger.append(&[record(AuditEvent::AgentGap(Box::new(gap)))])?;
        Ok(())
    }

    fn counted(&self) -> (u64, u64) {
        let counters = self.kernel.lock().as_ref().and_then(|kernel| kernel.counters().ok());
        counters.map_or((0, 0), |counters| (counters.refused(), counters.passed()))
    }
}

impl Drop for LifeKeeper {
    fn drop(&mut self) {
        if self.last.get_mut().beat.is_some() {
            let reason = if std::thread::panicking() { "a panic" } else { "an error; the log has it" };
            self.end(Ending::Failed { reason: reason.into() });
        }
    }
}

fn names(paths: &[std::path::PathBuf]) -> Vec<String> {
    paths.iter().map(|path| path.display().to_string()).collect()
}

/// As long as the kernel programs wait for a heartbeat.
const SILENCE_NS_MAX: u64 = crate::host::kernel::HEARTBEAT_TIMEOUT.as_nanos() as u64;
