//! An interrupted program takes away what it started before it ends.
//!
//! A signal ends every wait of the work with an error; owners are then dropped, and dropping cleans up.

use anyhow::{Result, bail};
use governor_tests::wait;

/// From now on SIGINT, SIGTERM and SIGHUP end waits, and not the program.
pub fn catch() {
    extern "C" fn handler(_: libc::c_int) {
        wait::abort();
    }
    let handler: extern "C" fn(libc::c_int) = handler;
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
        // SAFETY: the handler stores to an atomic and does nothing else.
        unsafe { libc::signal(signal, handler as libc::sighandler_t) };
    }
}

/// Works with what was started, then takes it away: an interrupt cuts short the one and not the other.
pub fn drop_after<T>(owner: T, work: impl FnOnce(&T) -> Result<()>) -> Result<()> {
    let result = work(&owner);
    let interrupted = wait::aborted();
    wait::resume();
    drop(owner);
    if interrupted {
        wait::abort();
    }
    result
}

/// What came of the work, once everything is taken away.
pub fn told<T>(result: Result<T>) -> Result<T> {
    if wait::aborted() {
        bail!("interrupted; everything was taken away");
    }
    result
}
