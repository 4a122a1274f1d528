//! Reads what the kernel programs have to say: events from the ring buffer, and their log lines.

use super::KernelError;
use super::maps::{command, socket_address};
use aya::maps::{MapData, RingBuf};
use aya_log::EbpfLogger;
use governor_common::event::{Event, EventCause};
use std::fmt;
use std::net::SocketAddr;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// One connection that did not go the governed way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KernelEvent {
    /// CLOCK_MONOTONIC.
    pub at_ns: u64,
    pub cause: EventCause,
    /// `true`: went direct, ungoverned. `false`: refused.
    pub passed: bool,
    /// For [`EventCause::BindRefused`]: the port that somebody wanted.
    pub original: SocketAddr,
    pub tgid: u32,
    /// Thread id.
    pub pid: u32,
    pub uid: u32,
    pub command: String,
    pub cgroup_id: u64,
    pub netns_cookie: u64,
}

impl KernelEvent {
    /// `None` for bytes that are no event of this version.
    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        if bytes.len() != size_of::<Event>() {
            return None;
        }
        // SAFETY: the length is checked, `Event` is plain old data (asserted where it is defined),
        // and the read asks for no alignment.
        let event = unsafe { bytes.as_ptr().cast::<Event>().read_unaligned() };
        Some(Self {
            at_ns: event.at_ns,
            cause: EventCause::from_u16(event.cause)?,
            passed: event.passed != 0,
            original: socket_address(&event.original),
            tgid: event.process.tgid,
            pid: event.process.pid,
            uid: event.process.uid,
            command: command(&event.process),
            cgroup_id: event.process.cgroup_id,
            netns_cookie: event.netns_cookie,
        })
    }
}

type Logger = EbpfLogger<&'static dyn log::Log>;

/// The stream of events. Log lines of the programs go to the `log` crate while it is polled.
pub struct KernelEvents {
    events: AsyncFd<RingBuf<MapData>>,
    log: AsyncFd<Logger>,
}

impl fmt::Debug for KernelEvents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KernelEvents").finish_non_exhaustive()
    }
}

impl KernelEvents {
    /// Needs a tokio runtime around it.
    pub(super) fn new(events: RingBuf<MapData>, log: Logger) -> Result<Self, KernelError> {
        // SAFETY: both types own their descriptor and keep it open for as long as they live.
        let events = unsafe { AsyncFd::register_with_interest(events, Interest::READABLE) }
            .map_err(|error| registered(error.into()))?;
        // SAFETY: as above.
        let log = unsafe { AsyncFd::register_with_interest(log, Interest::READABLE) }
            .map_err(|error| registered(error.into()))?;
        Ok(Self { events, log })
    }

    /// The next event. May be dropped and called again at any time without losing one.
    pub async fn next(&mut self) -> Result<KernelEvent, KernelError> {
        loop {
            // Readiness is cleared before the buffer is emptied: what comes later wakes us again.
            self.log.get_mut().flush();
            while let Some(item) = self.events.get_mut().next() {
                if let Some(event) = KernelEvent::from_bytes(&item) {
                    return Ok(event);
                }
            }
            tokio::select! {
                ready = self.events.readable() => ready.map_err(registered)?.clear_ready(),
                ready = self.log.readable() => ready.map_err(registered)?.clear_ready(),
            }
        }
    }
}

fn registered(source: std::io::Error) -> KernelError {
    KernelError::System { action: "waiting for kernel events", source }
}
