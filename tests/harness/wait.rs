//! Waiting with a deadline: the only clock that a test may lean on.

use anyhow::{Result, bail};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Long enough for a busy two-core machine; reached only when something is broken.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Ends every wait of this program with an error; for signal handlers, in which it is allowed.
pub fn abort() {
    ABORTED.store(true, Ordering::Relaxed);
}

/// Whether [`abort`] was called.
pub fn aborted() -> bool {
    ABORTED.load(Ordering::Relaxed)
}

/// Takes an earlier [`abort`] back, so that what remains to be cleaned up can be waited for.
pub fn resume() {
    ABORTED.store(false, Ordering::Relaxed);
}

/// Asks `probe` until it answers `Some`, or fails naming `what` after `limit`. An error ends the wait at once.
pub fn until<T>(what: &str, limit: Duration, mut probe: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(answer) = probe()? {
            return Ok(answer);
        }
        if ABORTED.load(Ordering::Relaxed) {
            bail!("interrupted while waiting for {what}");
        }
        if Instant::now() >= deadline {
            bail!("gave up after {} s waiting for {what}", limit.as_secs_f32());
        }
        std::thread::sleep(POLL_INTERVAL);
    }
}

static ABORTED: AtomicBool = AtomicBool::new(false);
const POLL_INTERVAL: Duration = Duration::from_millis(15);
