//! Signals in, readiness out.

use super::handle::Handle;
use anyhow::Context as _;
use std::fs::File;
use std::io::Write;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// The signals that the agent knows.
#[derive(Debug)]
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
    /// Heard while something else was under way, and not acted on yet.
    heard: Option<&'static str>,
}

impl Signals {
    pub fn listen() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
            heard: None,
        })
    }

    /// Waits for the reason to stop; reads policy, and keys and peers of hellos, again for each SIGHUP before.
    pub async fn wait(&mut self, handle: &Handle) -> &'static str {
        loop {
            if let Some(reason) = self.heard.take() {
                return reason;
            }
            tokio::select! {
                _ = self.terminate.recv() => return "SIGTERM",
                _ = self.interrupt.recv() => return "SIGINT",
                () = handle.drain_requested() => return "requested",
                _ = self.hang_up.recv() => {
                    let handle = handle.clone();
                    // Reads files: not on the thread that serves the control socket.
                    drop(tokio::task::spawn_blocking(move || {
                        match handle.reload_policy() {
                            Ok(loaded) => tracing::info!(version = loaded.version, "policy read again"),
                            Err(error) => tracing::error!(error, "policy refused; the one before stays in force"),
                        }
                        // It tells itself.
                        let _ = handle.reload_peers();
                    }));
                }
            }
        }
    }

    /// A request to stop while something else is under way. It is kept for [`Signals::wait`] and [`Signals::again`].
    pub async fn hear(&mut self) {
        if self.heard.is_some() {
            return std::future::pending().await;
        }
        let reason = tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        };
        self.heard = Some(reason);
    }

    /// Another request to stop, while stopping.
    pub async fn again(&mut self) {
        if self.heard.take().is_some() {
            return;
        }
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Tells systemd, and whoever holds the other end of `ready_fd`.
pub(super) fn tell_ready(ready_fd: Option<RawFd>) -> anyhow::Result<()> {
    // Without systemd there is nobody to tell.
    let _ = sd_notify::notify(false, &[sd_notify::NotifyState::Ready]);
    if let Some(fd) = ready_fd {
        // SAFETY: F_GETFD only asks whether the number is an open descriptor.
        let is_open = unsafe { libc::fcntl(fd, libc::F_GETFD) } != -1;
        anyhow::ensure!(is_open, "--ready-fd {fd} is not an open descriptor");
        // SAFETY: it is open, and our parent passed it to us for this: nothing else here uses it.
        let mut file = File::from(unsafe { OwnedFd::from_raw_fd(fd) });
        file.write_all(b"READY\n").with_context(|| format!("cannot write to --ready-fd {fd}"))?;
    }
    Ok(())
}

/// Tells systemd which process the service is from now on. Only the one that it knows so far may say so.
pub(super) fn tell_successor(pid: i32) {
    if let Ok(pid) = u32::try_from(pid) {
        let _ = sd_notify::notify(false, &[sd_notify::NotifyState::MainPid(pid)]);
    }
}

/// Whether the service manager ends an agent that does not say that it lives (`WatchdogSec=`). The process to which it
/// said so may be an agent before this one.
pub(super) fn is_watched() -> bool {
    std::env::var_os("WATCHDOG_USEC").is_some()
}

/// Tells systemd that the agent lives. May block on it.
pub(super) fn tell_alive() {
    let _ = sd_notify::notify(false, &[sd_notify::NotifyState::Watchdog]);
}

pub(super) fn tell_stopping() {
    let _ = sd_notify::notify(false, &[sd_notify::NotifyState::Stopping]);
}
