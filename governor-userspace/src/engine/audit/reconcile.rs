//! Compares, socket by socket, what the kernel counted with what governor counted and put on record.
//!
//! Both tell of a socket's end in their own time: the kernel when TCP is done with it, which may be long after
//! governor closed it, or before governor noticed. So each waits here for the other.
//!
//! What equals what, for one socket:
//! ```text
//! received by the kernel when governor closed  =  read + left unread;    what came after that is late
//! acknowledged by the peer =  written − undelivered, and undelivered is 0 where the peer took everything
//! ```
//! Invariant: every socket that either told of ends in exactly one of: equal, refused, a mismatch.

use super::{Completeness, CompletenessMismatch, Count, MismatchKind, Side, SideCount, UnixSide};
use crate::engine::model::{SessionId, Timestamp};
use std::collections::{HashMap, HashSet, VecDeque};

/// What governor counted on one socket, at its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SocketCount {
    /// The kernel's number for the socket.
    pub cookie: u64,
    pub side: Side,
    pub read: u64,
    /// Arrived, and left unread when governor closed it.
    pub unread: u64,
    pub written: u64,
    /// What the kernel had received by then, counted as [`KernelCount::received`].
    pub arrived: u64,
    /// TCP was done with it by then.
    pub was_over: bool,
}

/// Whose count it became.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Accounted {
    /// It is in this session's last record.
    Session(SessionId),
    /// Closed before there was a session; counted as such.
    Refused,
    /// The session ended without its last record.
    Nowhere(SessionId),
}

/// What the kernel counted on one socket, at its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KernelCount {
    pub cookie: u64,
    pub side: Side,
    /// The peer's FIN counts as a byte where `fin` says so.
    pub received: u64,
    pub acked: u64,
    /// `None`: only who read the socket knows.
    pub fin: Option<bool>,
    /// Everything that was written reached the peer.
    pub delivered: bool,
    pub pid: Option<u32>,
    pub uid: Option<u32>,
}

impl KernelCount {
    fn is_empty(&self) -> bool {
        self.acked == 0 && self.received <= u64::from(self.fin.unwrap_or(true))
    }
}

/// A mismatch, and the session that it is about where there is one.
pub type Found = (Option<SessionId>, CompletenessMismatch);

/// See the module.
#[derive(Debug)]
pub struct Reconciler {
    limits: ReconcileLimits,
    /// Sockets that governor has and that it will account for.
    open: [HashSet<u64>; 2],
    /// Told by governor, not yet by the kernel.
    governor: HashMap<u64, (SocketCount, Accounted)>,
    /// The same by age; entries that were met meanwhile are skipped.
    governor_by_age: VecDeque<(u64, Timestamp)>,
    /// Told by the kernel, not yet by governor.
    kernel: HashMap<u64, (KernelCount, Timestamp)>,
    found: Vec<Found>,
    /// All that were found, by kind: more than are told one by one.
    kinds: [u64; MismatchKind::ALL.len()],
    /// Since when, and how many, are told one by one.
    told: (Timestamp, usize),
    /// Lost by the kernel, and not yet matched by one that governor waits for in vain.
    lost_unmatched: u64,
    sums: Completeness,
}

#[derive(Clone, Copy, Debug)]
pub struct ReconcileLimits {
    /// From accept to the moment when governor must know of a socket that the kernel saw closing.
    pub unknown_ns: u64,
    /// TCP may go on so long after governor closed a socket whose peer does not answer.
    pub silent_ns: u64,
    /// Sockets that wait for the kernel's word.
    pub waiting_max: usize,
}

impl Default for ReconcileLimits {
    fn default() -> Self {
        Self { unknown_ns: 10_000_000_000, silent_ns: 30 * 60 * 1_000_000_000, waiting_max: 1 << 17 }
    }
}

impl Reconciler {
    pub fn new(limits: ReconcileLimits) -> Self {
        Self {
            limits,
            open: [HashSet::new(), HashSet::new()],
            governor: HashMap::new(),
            governor_by_age: VecDeque::new(),
            kernel: HashMap::new(),
            found: Vec::new(),
            kinds: [0; MismatchKind::ALL.len()],
            told: (Timestamp::default(), 0),
            lost_unmatched: 0,
            sums: Completeness::default(),
        }
    }

    /// governor has this socket, and will account for it.
    pub fn opened(&mut self, side: Side, cookie: u64) {
        self.open_mut(side).insert(cookie);
    }

    /// governor has closed a socket.
    pub fn ended(&mut self, now: Timestamp, count: SocketCount, accounted: Accounted) {
        self.open_mut(count.side).remove(&count.cookie);
        let side = side_mut(&mut self.sums, count.side);
        match &accounted {
            Accounted::Session(_) => side.audited.add(count.read, count.written),
            Accounted::Refused => side.refused.add(count.read, count.written),
            Accounted::Nowhere(_) => {}
        }
        if let Some((kernel, _)) = self.kernel.remove(&count.cookie) {
            return self.compare(&kernel, &count, accounted);
        }
        self.governor_by_age.push_back((count.cookie, now));
        self.governor.insert(count.cookie, (count, accounted));
    }

    /// governor has this unix socket. The kernel will say nothing of it.
    pub fn unix_opened(&mut self, side: Side) {
        self.unix_mut(side).open += 1;
    }

    /// governor has closed a unix socket.
    pub fn unix_ended(&mut self, side: Side, read: u64, written: u64, accounted: Accounted) {
        let of = self.unix_mut(side);
        of.open = of.open.saturating_sub(1);
        match accounted {
            Accounted::Session(_) => of.audited.add(read, written),
            Accounted::Refused => of.refused.add(read, written),
            // Here governor alone can tell.
            Accounted::Nowhere(session) => {
                let bytes = read.saturating_add(written);
                self.note(Some(session), mismatch(MismatchKind::Unaudited, side, bytes, 0, 0));
            }
        }
    }

    /// The kernel told of a socket's end.
    pub fn counted(&mut self, now: Timestamp, kernel: KernelCount) {
        match self.governor.remove(&kernel.cookie) {
            Some((count, accounted)) => self.compare(&kernel, &count, accounted),
            None => {
                self.kernel.insert(kernel.cookie, (kernel, now));
            }
        }
    }

    /// The kernel had no room to keep the counts of so many sockets, in all.
    pub fn lost(&mut self, total: u64) {
        let new = total.saturating_sub(self.sums.lost);
        if new > 0 {
            self.sums.lost = total;
            self.lost_unmatched += new;
            self.note(None, mismatch(MismatchKind::Lost, Side::Governor, 0, new, 0));
        }
    }

    /// How many there were of each kind, told one by one or not.
    pub fn kinds(&self) -> impl Iterator<Item = (MismatchKind, u64)> {
        MismatchKind::ALL.into_iter().zip(self.kinds)
    }

    /// Gives up what has waited too long. Answers what did not add up since the last call.
    pub fn tick(&mut self, now: Timestamp) -> Vec<Found> {
        let (since, _) = self.told;
        if now.since_ns(since) >= TOLD_NS {
            self.told = (now, 0);
        }
        let Self { kernel, open, limits, .. } = self;
        let overdue: Vec<u64> = kernel
            .iter()
            .filter(|(cookie, (_, told))| {
                now.since_ns(*told) >= limits.unknown_ns && open.iter().all(|known| !known.contains(*cookie))
            })
            .map(|(cookie, _)| *cookie)
            .collect();
        for cookie in overdue {
            match self.kernel.remove(&cookie) {
                // A connection to a database that governor gave up while it was made: nothing went over it.
                Some((kernel, _)) if kernel.side == Side::Database && kernel.is_empty() => {
                    self.sums.databases.counted.add(0, 0);
                    self.sums.databases.refused.add(0, 0);
                }
                Some((kernel, _)) => self.unaudited(None, &kernel),
                None => {}
            }
        }
        while let Some((cookie, told)) = self.governor_by_age.front().copied() {
            let waits = self.governor.contains_key(&cookie);
            let in_time = now.since_ns(told) < self.limits.silent_ns;
            if waits && in_time && self.governor.len() <= self.limits.waiting_max {
                break;
            }
            self.governor_by_age.pop_front();
            if let Some((count, accounted)) = self.governor.remove(&cookie) {
                self.uncounted(&count, accounted);
            }
        }
        // One that waits long must not keep those behind it in memory that do not.
        if self.governor_by_age.len() > 2 * self.governor.len() + AGES_SPARE {
            let governor = &self.governor;
            self.governor_by_age.retain(|(cookie, _)| governor.contains_key(cookie));
        }
        std::mem::take(&mut self.found)
    }

    /// The comparison as it stands.
    pub fn sums(&self) -> Completeness {
        let mut sums = self.sums.clone();
        for side in [Side::Client, Side::Database] {
            let kernel = self.kernel.values().filter(|(kernel, _)| kernel.side == side).count();
            let governor = self.governor.values().filter(|(count, _)| count.side == side).count();
            let of = side_mut(&mut sums, side);
            of.pending = (kernel + governor) as u64;
            of.open = self.open.get(index(side)).map_or(0, HashSet::len) as u64;
        }
        sums
    }

    fn compare(&mut self, kernel: &KernelCount, count: &SocketCount, accounted: Accounted) {
        if let Accounted::Nowhere(session) = accounted {
            return self.unaudited(Some(session), kernel);
        }
        let session = match accounted {
            Accounted::Session(session) => Some(session),
            _ => None,
        };
        let side = side_mut(&mut self.sums, kernel.side);
        let accounted_in = count.read + count.unread;
        // The peer's FIN comes last, and is no byte that anybody could read.
        let late = kernel.received.saturating_sub(count.arrived);
        let in_time = kernel.received - late;
        let fin_is_late = late > 0 && kernel.fin.unwrap_or(true);
        let fin_in_time =
            late == 0 && in_time > 0 && kernel.fin.unwrap_or(count.was_over && in_time > accounted_in);
        let (late, in_time) = (late - u64::from(fin_is_late), in_time - u64::from(fin_in_time));
        side.counted.add(in_time + late, kernel.acked);
        side.unread += count.unread;
        side.late += late;
        if in_time != accounted_in {
            side.difference.bytes_in += signed(in_time) - signed(accounted_in);
            let found = mismatch(MismatchKind::BytesIn, kernel.side, in_time, accounted_in, kernel.cookie);
            self.note(session.clone(), of(kernel, found));
        }
        let side = side_mut(&mut self.sums, kernel.side);
        if kernel.acked < count.written && !kernel.delivered {
            side.undelivered += count.written - kernel.acked;
        } else if kernel.acked != count.written {
            side.difference.bytes_out += signed(kernel.acked) - signed(count.written);
            let found =
                mismatch(MismatchKind::BytesOut, kernel.side, kernel.acked, count.written, kernel.cookie);
            self.note(session, of(kernel, found));
        }
    }

    fn unaudited(&mut self, session: Option<SessionId>, kernel: &KernelCount) {
        let side = side_mut(&mut self.sums, kernel.side);
        side.counted.add(kernel.received, kernel.acked);
        side.difference.connections += 1;
        side.difference.bytes_in += signed(kernel.received);
        side.difference.bytes_out += signed(kernel.acked);
        let bytes = kernel.received.saturating_add(kernel.acked);
        self.note(
            session,
            of(kernel, mismatch(MismatchKind::Unaudited, kernel.side, bytes, 0, kernel.cookie)),
        );
    }

    fn uncounted(&mut self, count: &SocketCount, accounted: Accounted) {
        let side = side_mut(&mut self.sums, count.side);
        if !matches!(accounted, Accounted::Nowhere(_)) {
            side.difference.connections -= 1;
            side.difference.bytes_in -= signed(count.read);
            side.difference.bytes_out -= signed(count.written);
        }
        if self.lost_unmatched > 0 {
            // This is one of those that the kernel admitted to have lost.
            self.lost_unmatched -= 1;
            return;
        }
        let session = match accounted {
            Accounted::Session(session) | Accounted::Nowhere(session) => Some(session),
            Accounted::Refused => None,
        };
        let bytes = count.read.saturating_add(count.written);
        self.note(session, mismatch(MismatchKind::Uncounted, count.side, 0, bytes, count.cookie));
    }

    fn note(&mut self, session: Option<SessionId>, mismatch: CompletenessMismatch) {
        self.sums.mismatches += 1;
        let at = MismatchKind::ALL.iter().position(|kind| *kind == mismatch.kind);
        if let Some(count) = at.and_then(|at| self.kinds.get_mut(at)) {
            *count += 1;
        }
        // Who can cause one can cause many: a flood must not fill the audit.
        let (_, told) = &mut self.told;
        if *told < TOLD_MAX {
            *told += 1;
            self.found.push((session, mismatch));
        }
    }

    fn unix_mut(&mut self, side: Side) -> &mut UnixSide {
        if side == Side::Database { &mut self.sums.unix.databases } else { &mut self.sums.unix.clients }
    }

    fn open_mut(&mut self, side: Side) -> &mut HashSet<u64> {
        let [client, database] = &mut self.open;
        if side == Side::Database { database } else { client }
    }
}

impl SideCount {
    /// Connections and bytes that the kernel counted, less all that is known of them.
    pub fn balance(&self) -> (i64, i64, i64) {
        let known =
            |counted: u64, audited: u64, refused: u64| signed(counted) - signed(audited) - signed(refused);
        let Count { connections, bytes_in, bytes_out } = self.counted;
        let (audited, refused) = (self.audited, self.refused);
        (
            known(connections, audited.connections, refused.connections) - self.difference.connections,
            known(bytes_in, audited.bytes_in, refused.bytes_in)
                - signed(self.unread)
                - signed(self.late)
                - self.difference.bytes_in,
            known(bytes_out, audited.bytes_out, refused.bytes_out) + signed(self.undelivered)
                - self.difference.bytes_out,
        )
    }
}

fn index(side: Side) -> usize {
    usize::from(side == Side::Database)
}

fn side_mut(sums: &mut Completeness, side: Side) -> &mut SideCount {
    if side == Side::Database { &mut sums.databases } else { &mut sums.clients }
}

fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

fn mismatch(kind: MismatchKind, side: Side, counted: u64, audited: u64, socket: u64) -> CompletenessMismatch {
    CompletenessMismatch { kind, side, counted, audited, socket, pid: None, uid: None, run: String::new() }
}

fn of(kernel: &KernelCount, mismatch: CompletenessMismatch) -> CompletenessMismatch {
    CompletenessMismatch { pid: kernel.pid, uid: kernel.uid, ..mismatch }
}

/// Ages of sockets that wait no more, kept before they are cleared away.
const AGES_SPARE: usize = 1024;
/// So many are told one by one in so long; further ones are in the sums only.
const TOLD_MAX: usize = 100;
const TOLD_NS: u64 = 60 * 1_000_000_000;

#[cfg(test)]
#[path = "reconcile_tests.rs"]
mod tests;
