//! What governor may do on the host: no more than it needs, and less once it has started.
//!
//! ```text
//! start         every capability that is needed is there, or governor names it and refuses
//! harden        nothing that is executed gains rights; memory, in which keys lie, is not for others to read
//! settle        after the kernel programs are attached: what only that needed goes
//! confine       a thread that reads what peers send: fewer capabilities still, and a filter of system calls
//! ```
//! Threads of one process share their memory, so a thread's limits stop what it is *made to do*, not somebody who
//! writes to memory at will; `docs/decisions/0047-privileges.md` weighs that against a process of its own.

mod capabilities;
mod seccomp;

pub use capabilities::{Missing, NEEDS, Need, check, held, settle};
pub use seccomp::FilterError;

/// For the whole process; call before it has threads.
pub fn harden() {
    // SAFETY: prctl with plain integers.
    let failed = unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0
            || libc::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0) != 0
    };
    if failed {
        tracing::warn!(error = %std::io::Error::last_os_error(), "the process cannot be hardened");
    }
}

/// For the calling thread and those that it starts: it reads bytes that peers chose.
pub fn confine_worker() {
    if let Err(error) = capabilities::keep_for_worker() {
        tracing::error!(%error, "a worker thread keeps capabilities that it does not need");
    }
    if let Err(error) = seccomp::install() {
        tracing::error!(%error, "a worker thread runs without a filter of system calls");
    }
}

/// For the calling thread and those that it starts: it writes files of governor's own, and nothing else.
pub fn confine_writer() {
    if let Err(error) = capabilities::keep_for_writer() {
        tracing::error!(%error, "a thread keeps capabilities that it does not need");
    }
}
