//! Pairs each PostgreSQL reply with the request that asked for it.
//!
//! Clients pipeline: many requests may be in flight before the first reply, so a reply alone does
//! not say which decision governs its rows.
//!
//! Invariant: the queue has one entry per reply that the server still owes, in order.
//! Protocol: <https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-PIPELINING>

use super::check::Question;
use super::facts::StatementRef;
use super::inference::Unsettled;
use super::meaning::Meaning;
use super::slots::Ticket;
use crate::engine::masking::MaskCounts;
use crate::engine::model::{DecisionId, LimitKind, Timestamp};
use bytes::Bytes;
use std::collections::VecDeque;

/// A forwarded request and what its reply will mean.
#[derive(Debug)]
pub(super) struct Owed {
    pub expect: Expect,
    /// The statement whose results come next; further ones of a multi-statement query behind it.
    pub run: Option<Run>,
    pub more: VecDeque<Run>,
    /// The server will answer governor's stand-in with an error; the client gets this one instead.
    pub denial: Option<Bytes>,
    /// What is kept for it, in bytes.
    pub weight: usize,
    /// Of [`Expect::OwnCheck`].
    pub question: Option<Box<Question>>,
    /// How many CopyDone and CopyFail the client had sent before this; one more for each COPY that it began.
    copy_ends: u64,
}

impl Owed {
    pub fn new(expect: Expect) -> Self {
        Self {
            expect,
            run: None,
            more: VecDeque::new(),
            denial: None,
            weight: 0,
            question: None,
            copy_ends: 0,
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Expect {
    Query,
    Parse {
        statement: Box<[u8]>,
        ticket: Ticket,
    },
    Bind {
        portal: Box<[u8]>,
        ticket: Ticket,
    },
    DescribeStatement {
        statement: Box<[u8]>,
    },
    DescribePortal {
        portal: Box<[u8]>,
        own: bool,
    },
    Execute {
        portal: Box<[u8]>,
    },
    CloseStatement {
        statement: Box<[u8]>,
    },
    ClosePortal {
        portal: Box<[u8]>,
    },
    Sync,
    FunctionCall,
    /// governor's own simple query, such as reading the catalogue.
    OwnQuery,
    /// governor's own question about what a statement relies on, without a Sync.
    OwnCheck,
    /// governor's own Sync.
    OwnSync,
}

impl Expect {
    /// Ends with ReadyForQuery: an error does not remove it.
    pub fn is_barrier(&self) -> bool {
        matches!(self, Self::Query | Self::Sync | Self::FunctionCall | Self::OwnQuery | Self::OwnSync)
    }
}

/// A statement that was forwarded, until its last reply.
#[derive(Debug)]
pub(super) struct Run {
    pub decision: DecisionId,
    pub statement: StatementRef,
    pub started: Timestamp,
    pub governor_ns: u64,
    pub rows: u64,
    pub bytes: u64,
    pub masked: MaskCounts,
    /// The bound that it met.
    pub limit: Option<LimitKind>,
    /// The portal or cursor whose rows it brings, where they are counted together.
    pub portal: Option<Box<[u8]>>,
    /// The statement whose rows come, and the state in which it is read.
    pub source: Meaning,
    /// What its answer tells of masked columns, to be charged when the rows are counted.
    pub unsettled: Option<Box<Unsettled>>,
    /// SQL-level PREPARE under way: name and ticket.
    pub prepares: Option<(Box<[u8]>, Ticket)>,
    /// DECLARE under way: name and ticket.
    pub declares: Option<(Box<[u8]>, Ticket)>,
}

/// Replies that the server owes, oldest first.
#[derive(Debug, Default)]
pub(super) struct Pipeline {
    queue: VecDeque<Owed>,
    /// Entries that end with ReadyForQuery.
    barriers: usize,
    /// Their weight together.
    bytes: usize,
    /// Since it became full the server was asked to send what it has.
    flushed: bool,
    /// An extended-protocol message failed and the server skips everything up to the next Sync,
    /// which the client has not sent yet.
    pub server_skips: bool,
    /// CopyDone and CopyFail that the client sent.
    copy_ends: u64,
    /// Syncs that were sent into the COPY under way. It swallows them, unless it fails before.
    copy_syncs: u32,
    /// Syncs that were sent into a COPY that failed: those behind what made it fail are answered.
    doubtful_syncs: u32,
}

impl Pipeline {
    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.queue.len()
    }

    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Nothing is owed but answers to Close, which cannot fail and begins no transaction: drivers put it before a
    /// batch. What is asked behind it is asked as if nothing were under way.
    pub fn owes_only_closes(&self) -> bool {
        self.queue
            .iter()
            .all(|owed| matches!(owed.expect, Expect::CloseStatement { .. } | Expect::ClosePortal { .. }))
    }

    /// So much is owed that the client has to wait.
    pub fn is_full(&self) -> bool {
        self.queue.len() >= COUNT_MAX || self.bytes >= BYTES_MAX
    }

    /// The client waits, but the server may wait for the client: without a Sync it keeps its replies. True
    /// once each time, where it has to be asked for them.
    pub fn wants_flush(&mut self) -> bool {
        self.is_full() && !std::mem::replace(&mut self.flushed, true)
    }

    /// A request is under way whose ReadyForQuery has not come.
    pub fn has_barrier(&self) -> bool {
        self.barriers > 0
    }

    /// The statement whose replies come next, or that is the first to have any.
    pub fn running_mut(&mut self) -> Option<&mut Run> {
        self.queue.iter_mut().find_map(|owed| owed.run.as_mut())
    }

    /// What [`Self::running_mut`] belongs to.
    pub fn front_running(&self) -> Option<&Owed> {
        self.queue.iter().find(|owed| owed.run.is_some())
    }

    /// A statement is under way.
    pub fn runs(&self) -> bool {
        self.queue.iter().any(|owed| owed.run.is_some())
    }

    pub fn push(&mut self, mut owed: Owed) {
        owed.copy_ends = self.copy_ends;
        self.barriers += usize::from(owed.expect.is_barrier());
        self.bytes += owed.weight;
        self.queue.push_back(owed);
    }

    pub fn front(&self) -> Option<&Owed> {
        self.queue.front()
    }

    pub fn front_mut(&mut self) -> Option<&mut Owed> {
        self.queue.front_mut()
    }

    pub fn pop(&mut self) -> Option<Owed> {
        let owed = self.queue.pop_front()?;
        self.barriers -= usize::from(owed.expect.is_barrier());
        self.bytes -= owed.weight;
        self.flushed &= self.is_full();
        if self.queue.is_empty() {
            self.queue.shrink_to(COUNT_KEPT);
        }
        Some(owed)
    }

    /// The last `count` statements that were put in, newest first.
    pub fn newest_runs(&mut self, count: usize) -> impl Iterator<Item = &mut Run> {
        self.queue
            .iter_mut()
            .rev()
            .flat_map(|owed| owed.more.iter_mut().rev().chain(owed.run.as_mut()))
            .take(count)
    }

    /// An error came for an extended-protocol message: removes it and everything up to the next
    /// barrier, which stays. Without one, the server goes on skipping.
    pub fn fail_to_barrier(&mut self) -> Vec<Owed> {
        let mut failed = Vec::new();
        while self.queue.front().is_some_and(|owed| owed.expect != Expect::Sync) {
            failed.extend(self.pop());
        }
        self.server_skips = self.queue.is_empty();
        failed
    }

    /// A COPY FROM STDIN has begun: it swallows Syncs up to the client's CopyDone or CopyFail, also those
    /// already sent. True where the client has yet to end it.
    pub fn copy_in_began(&mut self) -> bool {
        let Some(front) = self.queue.front_mut() else { return false };
        let before = front.copy_ends;
        front.copy_ends += 1;
        let inside = |owed: &Owed| owed.expect == Expect::Sync && owed.copy_ends <= before;
        while self.queue.get(1).is_some_and(inside) {
            self.bytes -= self.queue.remove(1).map_or(0, |owed| owed.weight);
            self.barriers -= 1;
            self.copy_syncs += 1;
        }
        self.copy_ends <= before
    }

    /// The client sent CopyDone or CopyFail.
    pub fn copy_in_ended(&mut self) {
        self.copy_ends += 1;
    }

    /// The client sent a Sync into the COPY under way.
    pub fn sync_in_copy(&mut self) {
        self.copy_syncs += 1;
    }

    /// A statement is through: what was sent into its COPY is swallowed.
    pub fn copy_completed(&mut self) {
        self.copy_syncs = 0;
    }

    /// A statement failed, a COPY perhaps.
    pub fn copy_failed(&mut self) {
        self.doubtful_syncs += std::mem::take(&mut self.copy_syncs);
    }

    /// A ReadyForQuery that answers nothing in the queue may answer a Sync that was sent into a COPY that failed.
    pub fn answers_doubtful_sync(&mut self) -> bool {
        let answers = self.doubtful_syncs > 0;
        if answers {
            self.doubtful_syncs -= 1;
            self.server_skips = false;
        }
        answers
    }

    /// Anything but ReadyForQuery came: Syncs before what it answers were answered, if they ever are.
    pub fn doubt_is_over(&mut self) {
        self.doubtful_syncs = 0;
    }

    pub fn drain(&mut self) -> impl Iterator<Item = Owed> {
        self.barriers = 0;
        self.bytes = 0;
        self.queue.drain(..)
    }
}

/// Replies that may be owed.
const COUNT_MAX: usize = 16_384;
/// Room that stays when nothing is owed: more than a statement's messages, little beside a connection.
const COUNT_KEPT: usize = 8;
/// Texts and values that are kept for them.
const BYTES_MAX: usize = 16 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn execute() -> Owed {
        Owed::new(Expect::Execute { portal: Box::default() })
    }

    #[test]
    fn an_error_removes_everything_up_to_sync() {
        let mut p = Pipeline::default();
        p.push(execute());
        p.push(execute());
        p.push(Owed::new(Expect::Sync));
        p.push(execute());
        assert_eq!(p.fail_to_barrier().len(), 2);
        assert_eq!((p.len(), p.server_skips), (2, false));
    }

    #[test]
    fn without_a_sync_the_server_goes_on_skipping() {
        let mut p = Pipeline::default();
        p.push(execute());
        assert_eq!(p.fail_to_barrier().len(), 1);
        assert!(p.server_skips);
    }

    #[test]
    fn syncs_sent_before_a_copy_began_are_not_owed() {
        let mut p = Pipeline::default();
        p.push(execute());
        p.push(Owed::new(Expect::Sync));
        assert!(p.copy_in_began(), "the client has yet to end it");
        assert_eq!((p.len(), p.has_barrier()), (1, false));
        p.copy_completed();
        assert!(!p.answers_doubtful_sync(), "the COPY swallowed it");
    }

    #[test]
    fn a_sync_behind_copy_done_is_owed() {
        let mut p = Pipeline::default();
        p.push(execute());
        p.push(Owed::new(Expect::Sync));
        p.copy_in_ended();
        p.push(Owed::new(Expect::Sync));
        assert!(!p.copy_in_began(), "the client has ended it already");
        assert_eq!((p.len(), p.has_barrier()), (2, true));
    }

    #[test]
    fn syncs_in_a_copy_that_failed_may_be_answered_each() {
        let mut p = Pipeline::default();
        p.push(execute());
        p.copy_in_began();
        p.sync_in_copy();
        p.sync_in_copy();
        p.copy_failed();
        assert_eq!([(); 3].map(|()| p.answers_doubtful_sync()), [true, true, false]);
    }

    #[test]
    fn syncs_behind_an_end_that_was_sent_early_are_owed() {
        let mut p = Pipeline::default();
        // COPY, Sync, CopyDone, Sync, COPY, CopyDone, Sync, and an Execute behind.
        p.push(execute());
        p.push(Owed::new(Expect::Sync));
        p.copy_in_ended();
        p.push(Owed::new(Expect::Sync));
        p.push(execute());
        p.copy_in_ended();
        p.push(Owed::new(Expect::Sync));
        p.push(execute());
        assert!(!p.copy_in_began());
        assert_eq!((p.len(), p.copy_syncs), (5, 1));
        assert_eq!(p.pop().map(|o| o.expect), Some(Expect::Execute { portal: Box::default() }));
        assert_eq!(p.pop().map(|o| o.expect), Some(Expect::Sync));
        assert!(!p.copy_in_began());
        assert_eq!(p.len(), 3);
        p.pop();
        p.pop();
        assert!(p.copy_in_began(), "of the last one nothing was sent");
    }
}
