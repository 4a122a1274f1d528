//! Brings the kernel's count of governor's sockets and governor's own together.
//!
//! Workers tell of sockets as they open and close them: one push into a list, twice in a socket's life. The
//! comparison itself runs beside the data path, several times a second.

use crate::engine::audit::{
    Accounted, CaptureCount, Completeness, Found, KernelCount, MismatchKind, ReconcileLimits, Reconciler,
    SessionSockets, Side, SocketCount,
};
use crate::engine::model::Timestamp;
use crate::host::kernel::{ClosedSockets, Counters, Fin, ListenerTotals, SocketTotals};
use parking_lot::Mutex;

/// See the module. One for each agent.
#[derive(Debug)]
pub struct Books {
    told: Mutex<Vec<Told>>,
    reconciler: Mutex<Reconciler>,
}

#[derive(Debug)]
enum Told {
    Opened(Side, u64),
    Ended(SocketCount, Accounted),
    UnixOpened(Side),
    UnixEnded { side: Side, read: u64, written: u64, accounted: Accounted },
}

impl Default for Books {
    fn default() -> Self {
        Self { told: Mutex::default(), reconciler: Mutex::new(Reconciler::new(ReconcileLimits::default())) }
    }
}

impl Books {
    /// governor has this socket, and will tell of its end.
    pub fn opened(&self, side: Side, cookie: u64) {
        self.told.lock().push(Told::Opened(side, cookie));
    }

    /// governor has closed a socket.
    pub fn ended(&self, count: SocketCount, accounted: Accounted) {
        self.told.lock().push(Told::Ended(count, accounted));
    }

    /// As [`Books::opened`], of a unix socket.
    pub fn unix_opened(&self, side: Side) {
        self.told.lock().push(Told::UnixOpened(side));
    }

    /// As [`Books::ended`], of a unix socket.
    pub fn unix_ended(&self, side: Side, read: u64, written: u64, accounted: Accounted) {
        self.told.lock().push(Told::UnixEnded { side, read, written, accounted });
    }

    /// Takes in what both have told. Answers what does not add up since the last call.
    pub fn compare(
        &self,
        now: Timestamp,
        closed: &mut ClosedSockets,
        counters: Option<&Counters>,
    ) -> Vec<Found> {
        let mut books = self.reconciler.lock();
        for told in std::mem::take(&mut *self.told.lock()) {
            match told {
                Told::Opened(side, cookie) => books.opened(side, cookie),
                Told::Ended(count, accounted) => books.ended(now, count, accounted),
                Told::UnixOpened(side) => books.unix_opened(side),
                Told::UnixEnded { side, read, written, accounted } => {
                    books.unix_ended(side, read, written, accounted);
                }
            }
        }
        while let Some(totals) = closed.take() {
            books.counted(now, kernel_count(&totals));
        }
        if let Some(counters) = counters {
            books.lost(counters.totals_dropped.saturating_add(counters.totals_failed));
        }
        books.tick(now)
    }

    /// What the agent before did not live to compare.
    pub fn before(sockets: &[SocketTotals]) -> Option<SessionSockets> {
        let mut sums = SessionSockets::default();
        for kernel in sockets.iter().map(kernel_count) {
            let fin = u64::from(kernel.fin == Some(true));
            sums.add(kernel.side, kernel.received.saturating_sub(fin), kernel.acked);
        }
        (!sockets.is_empty()).then_some(sums)
    }

    /// How many mismatches there were of each kind.
    pub fn kinds(&self) -> Vec<(MismatchKind, u64)> {
        self.reconciler.lock().kinds().collect()
    }

    /// The comparison as it stands.
    pub fn sums(&self, counters: Option<&Counters>, totals: &[ListenerTotals]) -> Completeness {
        let mut sums = self.reconciler.lock().sums();
        for listener in totals {
            let side = if listener.port.is_some() { &mut sums.clients } else { &mut sums.databases };
            side.kernel_opened += listener.opened;
            side.kernel_closed += listener.closed;
        }
        if let Some(counters) = counters {
            sums.capture = CaptureCount {
                redirected: counters.redirected,
                handed_over: counters.handed_over,
                not_arrived: counters.not_arrived,
                refused: counters.refused(),
                passed: counters.passed(),
                arrived: counters.inbound_arrived,
            };
        }
        sums
    }
}

fn kernel_count(totals: &SocketTotals) -> KernelCount {
    // A client on another host has no process here.
    let has_process = totals.accepted && totals.tgid != 0;
    KernelCount {
        cookie: totals.cookie,
        side: if totals.accepted { Side::Client } else { Side::Database },
        received: totals.bytes_received,
        acked: totals.payload_acked,
        fin: match totals.fin_received {
            Fin::Yes => Some(true),
            Fin::No => Some(false),
            Fin::IfRead => None,
        },
        delivered: totals.delivered,
        pid: has_process.then_some(totals.tgid),
        uid: has_process.then_some(totals.uid),
    }
}
