//! One captured connection from accept to close: drives the session machine and carries out what it
//! asks for, in the order that its actions promise.

mod carry;
mod greeting;
mod negotiating;
mod unread;

use super::account::Account;
use super::arrival::{Arrival, Door, Route};
use super::cancel::{CancelTarget, Registration, Unread};
use super::leg::Leg;
use super::observe::Observer;
use super::socket::Socket;
use super::sources::{Entered, Source};
use super::stream::Stream;
use super::worker::{Drain, Local};
use crate::engine::approval::Answer;
use crate::engine::audit::{AuditEvent, AuditRecord, HelloRecord, Side};
use crate::engine::model::{SessionId, Timestamp, UpstreamTls};
use crate::engine::session::{Actions, CancelMatch, Input, Session, SessionSetup, StopReason, TooMany};
use crate::host::approvals::{SubmitError, Submitted};
use crate::host::clock;
use crate::host::telemetry::metrics::ActiveSession;
use crate::host::telemetry::{CancelResult, Direction, RefusedReason};
use bytes::Bytes;
use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::Sleep;

use greeting::Prepared;

/// Serves one accepted connection until it ends. `peer` is the client's address, where it has one.
pub(super) async fn serve(
    socket: Socket,
    peer: Option<SocketAddr>,
    door: Arc<Door>,
    local: Rc<Local>,
    over_limit: bool,
) {
    let shared = &local.shared;
    let metrics = shared.metrics.clone();
    let _active = metrics.connection_accepted();
    let Arrival { who, client, tls, mut route } = match Arrival::of(&socket, peer, &door, shared).await {
        Ok(arrival) => arrival,
        Err(reason) => {
            if door.counts(&socket, shared) {
                drop(Account::new(shared.books.clone()).counted(socket, Side::Client));
            }
            return metrics.connection_refused(reason);
        }
    };
    let socket = route.account.counted(socket, Side::Client);
    drop(door);
    let of_source = shared.sources.enter(Source::of(&who));
    let per_source_max = shared.connections_per_source_max;
    if of_source.count > per_source_max + REFUSALS_PER_SOURCE_MAX {
        return metrics.connection_refused(RefusedReason::SourceLimit);
    }
    local.shared.identifier.want_executable_hashes(local.shared.policy.current().wants_executable_hash());
    let (principal, hello) = greeting::identify(shared, who);
    let setup = SessionSetup {
        id: SessionId(clock::session_id().into()),
        principal,
        client,
        destination: route.destination.clone(),
        tls,
        hello,
    };
    let class = setup.principal.class;
    let mut actions = Actions::default();
    let mut session = Session::start(setup, clock::now(), &mut local.governance.borrow_mut(), &mut actions);
    route.asker = greeting::asker(shared, hello, &route, &session);
    if over_limit {
        session.refuse(TooMany::Connections { max: shared.connections_max });
    } else if of_source.count > per_source_max {
        session.refuse(TooMany::OfSource { max: per_source_max });
    }
    let deadline = Box::pin(tokio::time::sleep(shared.startup_timeout));
    let mut relay = Relay {
        session_gauge: metrics.session_started(class),
        _of_source: of_source,
        deadline,
        observer: Observer::new(class),
        session,
        actions,
        client: Leg::new(Stream::Plain(socket)),
        server: None,
        dialling: None,
        negotiating: None,
        greeting: None,
        prepared: None,
        submitting: None,
        hold: None,
        registration: None,
        cancel: Arc::default(),
        drain: local.shared.drain.clone(),
        draining: Drain::No,
        route,
        closing: false,
        lingering: false,
        unanswered: false,
        pass_unread: false,
        unread: None,
        matched: None,
        cancel_result: None,
        waiting_cancel: None,
        cancelling: None,
        limit: None,
        last: None,
        local,
    };
    relay.route.account.begin(relay.session.id().clone());
    relay.run().await;
    relay.settle();
}

/// The connection to the database; where TLS on it was not the client's wish, what it is.
type Dialled = (Stream, Option<Box<UpstreamTls>>);
/// With what became of a hello on the way.
type Dialling = Pin<Box<dyn Future<Output = (io::Result<Dialled>, Option<Box<HelloRecord>>)>>>;

struct Relay {
    local: Rc<Local>,
    session: Session,
    actions: Actions,
    client: Leg,
    server: Option<Leg>,
    dialling: Option<Dialling>,
    /// TLS is to be set up; whether it is direct.
    negotiating: Option<bool>,
    /// Another governor's hello, to be answered.
    greeting: Option<Bytes>,
    prepared: Option<Prepared>,
    submitting: Option<JoinHandle<Result<Submitted, SubmitError>>>,
    hold: Option<oneshot::Receiver<Answer>>,
    cancel: Arc<CancelTarget>,
    registration: Option<Registration>,
    /// Counted among the sessions whose cancel keys are not known.
    unread: Option<Unread>,
    /// What this connection's cancel request means; told with the next round.
    matched: Option<CancelMatch>,
    /// What became of this connection's cancel request.
    cancel_result: Option<CancelResult>,
    /// To be sent to the server before this connection closes.
    waiting_cancel: Option<Bytes>,
    drain: watch::Receiver<Drain>,
    draining: Drain,
    route: Route,
    closing: bool,
    /// The time for the last bytes is running.
    lingering: bool,
    /// A cancel request: nobody is answered.
    unanswered: bool,
    pass_unread: bool,
    observer: Observer,
    /// A cancel request for the session's own statement is on its way.
    cancelling: Option<Pin<Box<dyn Future<Output = ()>>>>,
    /// Wakes the session at its deadline, which stands beside it.
    limit: Option<(Timestamp, Pin<Box<Sleep>>)>,
    /// Of start-up, then of authentication, at last of the last bytes.
    deadline: Pin<Box<Sleep>>,
    /// The record of the session's end, until its sockets are closed and counted.
    last: Option<AuditRecord>,
    session_gauge: ActiveSession,
    _of_source: Entered,
}

/// What woke the relay.
enum Event {
    /// Bytes were read and dealt with, or written.
    Progress,
    ClientClosed,
    ServerClosed,
    Dialled(io::Result<Dialled>, Option<Box<HelloRecord>>),
    Submitted(Result<Submitted, String>),
    Answered(Answer),
    Cancel,
    CancelMatched(CancelMatch),
    StartupTimeout,
    /// The session's own deadline has passed.
    Limit,
    CancelSent,
    Drain,
    /// Everything is sent and nothing more will come.
    Done,
}

impl Relay {
    /// What happens once in a session's life is boxed: the room for it would stand in every connection's task.
    async fn run(&mut self) {
        self.carry_out();
        loop {
            if self.pass_unread
                && self.client.is_flushed()
                && self.server.as_ref().is_some_and(Leg::is_flushed)
            {
                return Box::pin(self.run_unread()).await;
            }
            if let Some(direct) = self.negotiating.take() {
                Box::pin(self.negotiate(direct)).await;
                continue;
            }
            if let Some(packet) = self.greeting.take() {
                Box::pin(self.greet(&packet)).await;
                continue;
            }
            let event = {
                let cancel = self.cancel.clone();
                let mut cancelled = std::pin::pin!(cancel.requested.notified());
                let mut drain = self.drain.clone();
                let seen = *drain.borrow_and_update();
                self.draining = seen;
                let mut drained = std::pin::pin!(async move {
                    // The sender lives as long as the agent.
                    match drain.wait_for(|now| *now > seen).await {
                        Ok(now) => *now,
                        Err(_) => Drain::All,
                    }
                });
                poll_fn(|cx| self.poll(cx, cancelled.as_mut(), drained.as_mut())).await
            };
            let input = match event {
                Event::Progress => continue,
                Event::Done => break,
                Event::ClientClosed => Input::ClientClosed,
                Event::ServerClosed => Input::ServerClosed,
                Event::Dialled(dialled, said) => {
                    if let Some(record) = said {
                        self.handle(Input::SaidHello(record));
                    }
                    self.dialled(dialled)
                }
                Event::Submitted(Ok(submitted)) => {
                    self.hold = Some(submitted.answer);
                    Input::Held { approval: submitted.id }
                }
                Event::Submitted(Err(reason)) => Input::HoldFailed { reason },
                Event::Answered(answer) => Input::Answered { answer },
                Event::Cancel => Input::CancelRequested,
                Event::CancelMatched(found) => {
                    self.cancel_result = Some(match found {
                        CancelMatch::Held { .. } => CancelResult::Hold,
                        CancelMatch::Live | CancelMatch::Unknown { .. } => CancelResult::Unknown,
                    });
                    Input::CancelMatched(found)
                }
                Event::Limit => Input::Tick,
                Event::CancelSent => Input::CancelSent,
                Event::StartupTimeout => Input::Stop(StopReason::StartupTimeout),
                Event::Drain if self.draining == Drain::Unrecorded => Input::Stop(StopReason::LedgerFailed),
                Event::Drain => Input::Stop(StopReason::Draining),
            };
            self.handle(input);
        }
        // The client's connection closes when the server has taken the request, as without governor: what
        // the client sends next on its session is not what it wants cancelled.
        if let Some(packet) = self.waiting_cancel.take() {
            self.cancel_result = Some(Box::pin(self.pass_cancel(&packet)).await);
        }
        if let Some(result) = self.cancel_result {
            self.local.shared.metrics.cancel_request(result);
        }
        Box::pin(self.say_goodbye()).await;
    }

    /// Closes what is still open, and writes the session's last record with what its sockets carried.
    fn settle(self) {
        let Self { local, client, server, dialling, prepared, cancelling, route, last, session, .. } = self;
        drop((client, server, dialling, prepared, cancelling));
        let Some(mut record) = last else {
            tracing::error!(session = %session.id(), "a session ended without its last record");
            return;
        };
        if let AuditEvent::SessionEnd(end) = &mut record.event {
            end.sockets = Some(route.account.sums());
            end.run = clock::run_id().into();
        }
        record.at = clock::now();
        match local.shared.ledger.append_lazy(&record) {
            Ok(()) => route.account.settle(),
            Err(error) => {
                tracing::error!(%error, session = %session.id(), "cannot queue a session's last record")
            }
        }
    }

    /// Closes the client's connection so that the last message arrives: a socket that is closed with
    /// unread input resets, and the client may never see what was sent before.
    async fn say_goodbye(&mut self) {
        // Nothing was sent that could be lost: closed at once, as a server does.
        let unanswered = self.unanswered && self.client.unread.is_empty() && !self.client.is_encrypted();
        if self.client.closed || unanswered {
            return;
        }
        let stream = self.client.stream_mut();
        let goodbye = async {
            stream.shutdown().await?;
            let mut ignored = [0u8; 4096];
            while stream.read(&mut ignored).await? > 0 {}
            io::Result::Ok(())
        };
        let _ = tokio::time::timeout(GOODBYE, goodbye).await;
    }

    /// Whether the session ends at this stage of a drain.
    fn ends_at(&self, drain: Drain) -> bool {
        drain >= Drain::All || self.session.is_idle() || self.session.is_held()
    }

    /// One round: send what waits, read what came, notice what else happened.
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        cancelled: Pin<&mut impl Future<Output = ()>>,
        drained: Pin<&mut impl Future<Output = Drain>>,
    ) -> Poll<Event> {
        // Statement after statement goes round here, without leaving: nothing is set up anew for each.
        loop {
            let client_flushed = match self.client.poll_flush(cx) {
                Poll::Ready(Err(_)) => {
                    return Poll::Ready(if self.closing { Event::Done } else { Event::ClientClosed });
                }
                Poll::Ready(Ok(())) => true,
                Poll::Pending => false,
            };
            let mut server_flushed = true;
            if let Some(server) = &mut self.server {
                match server.poll_flush(cx) {
                    Poll::Ready(Ok(())) => {}
                    Poll::Pending => server_flushed = false,
                    // What the server had to say before it closed is still to be read.
                    Poll::Ready(Err(_)) => server.discard_out(),
                }
            }
            if self.closing {
                return if client_flushed && server_flushed {
                    Poll::Ready(Event::Done)
                } else {
                    self.poll_linger(cx)
                };
            }
            if self.pass_unread && client_flushed && server_flushed {
                return Poll::Ready(Event::Progress);
            }
            // Before the next read: whoever cancels may leave as soon as the request is sent.
            if let Some(found) = self.matched.take() {
                return Poll::Ready(Event::CancelMatched(found));
            }
            match self.poll_reads(cx) {
                Poll::Ready(Event::Progress) if self.negotiating.is_some() || self.greeting.is_some() => {
                    return Poll::Ready(Event::Progress);
                }
                Poll::Ready(Event::Progress) => {}
                Poll::Ready(event) => return Poll::Ready(event),
                Poll::Pending => break,
            }
        }
        if self.draining > Drain::No && self.ends_at(self.draining) {
            return Poll::Ready(Event::Drain);
        }
        if let Some(dialling) = &mut self.dialling
            && let Poll::Ready(result) = dialling.as_mut().poll(cx)
        {
            self.dialling = None;
            return Poll::Ready(Event::Dialled(result.0, result.1));
        }
        if let Some(submitting) = &mut self.submitting
            && let Poll::Ready(result) = Pin::new(submitting).poll(cx)
        {
            self.submitting = None;
            return Poll::Ready(Event::Submitted(match result {
                Ok(submitted) => submitted.map_err(|error| error.to_string()),
                Err(error) => Err(error.to_string()),
            }));
        }
        if let Some(hold) = &mut self.hold
            && let Poll::Ready(answer) = Pin::new(hold).poll(cx)
        {
            self.hold = None;
            let answer =
                answer.unwrap_or_else(|_| Answer::Lost { reason: "the approval queue closed".into() });
            return Poll::Ready(Event::Answered(answer));
        }
        if self.session.is_held() && cancelled.poll(cx).is_ready() {
            // Told twice, or about a hold that has ended: wait anew.
            let told = self.cancel.pending.swap(false, Ordering::AcqRel);
            return Poll::Ready(if told { Event::Cancel } else { Event::Progress });
        }
        if !self.session.is_established() && self.deadline.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Event::StartupTimeout);
        }
        if let Some(cancelling) = &mut self.cancelling
            && cancelling.as_mut().poll(cx).is_ready()
        {
            self.cancelling = None;
            return Poll::Ready(Event::CancelSent);
        }
        if let Poll::Ready(event) = self.poll_limit(cx) {
            return Poll::Ready(event);
        }
        match drained.poll(cx) {
            Poll::Ready(_) => Poll::Ready(Event::Progress),
            Poll::Pending => Poll::Pending,
        }
    }

    /// The session may want to be woken though nothing comes.
    fn poll_limit(&mut self, cx: &mut Context<'_>) -> Poll<Event> {
        let Some(deadline) = self.session.deadline() else {
            self.limit = None;
            return Poll::Pending;
        };
        if self.limit.as_ref().is_none_or(|(at, _)| *at != deadline) {
            let wait = Duration::from_nanos(deadline.since_ns(clock::now()));
            self.limit = Some((deadline, Box::pin(tokio::time::sleep(wait))));
        }
        let Some((_, sleep)) = &mut self.limit else { return Poll::Pending };
        sleep.as_mut().poll(cx).map(|()| {
            self.limit = None;
            Event::Limit
        })
    }

    /// The last bytes get so much time to leave.
    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<Event> {
        if !self.lingering {
            self.lingering = true;
            self.deadline.as_mut().reset(tokio::time::Instant::now() + LINGER);
        }
        self.deadline.as_mut().poll(cx).map(|()| Event::Done)
    }

    fn poll_reads(&mut self, cx: &mut Context<'_>) -> Poll<Event> {
        // The server first: its replies are what a client waits for.
        if self.server.as_ref().is_some_and(|s| !s.closed) && !self.client.is_congested() {
            match self.poll_server(cx) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Event::ServerClosed),
                Poll::Ready(Err(error)) => {
                    // A server that refuses a certificate says so after its handshake: the log has its words.
                    tracing::info!(%error, session = %self.session.id(), "the database's connection broke");
                    return Poll::Ready(Event::ServerClosed);
                }
                Poll::Ready(Ok(_)) => return Poll::Ready(Event::Progress),
                Poll::Pending => {}
            }
        }
        let congested = self.server.as_ref().is_some_and(Leg::is_congested);
        // Before authentication nobody may make governor keep much; later, as much as one message needs.
        let consumes = self.session.is_established() && self.session.wants_client();
        let wanted = !self.client.closed && (consumes || self.client.unread.len() < WAITING_BYTES_MAX);
        if wanted && !congested {
            match self.poll_client(cx) {
                Poll::Ready(Err(_)) => return Poll::Ready(Event::ClientClosed),
                Poll::Ready(Ok(_)) => return Poll::Ready(Event::Progress),
                Poll::Pending => {}
            }
        }
        if self.client.closed && self.client_is_through() {
            return Poll::Ready(Event::ClientClosed);
        }
        Poll::Pending
    }

    /// The client sent its last byte, and everything that it asked for was answered: a client may close
    /// its sending side and wait for results.
    fn client_is_through(&self) -> bool {
        let waits = self.session.is_held() || self.submitting.is_some() || !self.session.is_established();
        waits || (self.session.owes_nothing() && self.dialling.is_none())
    }

    fn poll_client(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let local = self.local.clone();
        let mut scratch = local.scratch.borrow_mut();
        let (session, actions) = (&mut self.session, &mut self.actions);
        let polled = self
            .client
            .poll_read(cx, &mut scratch, |buffer| step(&local, session, actions, Input::Client(buffer)));
        drop(scratch);
        if let Poll::Ready(Ok(n)) = polled {
            local.shared.metrics.relayed(Direction::ToServer, n as u64);
            self.carry_out();
        }
        polled
    }

    fn poll_server(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let Some(server) = &mut self.server else { return Poll::Pending };
        let local = self.local.clone();
        let mut scratch = local.scratch.borrow_mut();
        let (session, actions) = (&mut self.session, &mut self.actions);
        let polled = server
            .poll_read(cx, &mut scratch, |buffer| step(&local, session, actions, Input::Server(buffer)));
        drop(scratch);
        if let Poll::Ready(Ok(n)) = polled {
            local.shared.metrics.relayed(Direction::ToClient, n as u64);
            self.carry_out();
        }
        polled
    }

    fn handle(&mut self, input: Input<'_>) {
        step(&self.local, &mut self.session, &mut self.actions, input);
        self.carry_out();
    }
}

/// One step of the machine, with its cost charged to what it forwarded.
fn step(local: &Local, session: &mut Session, actions: &mut Actions, input: Input<'_>) {
    let mut governance = local.governance.borrow_mut();
    let policy = local.shared.policy.current();
    if !Arc::ptr_eq(&policy, &governance.policy) {
        governance.change_policy(policy);
    }
    let now = clock::now();
    session.handle(now, input, &mut governance, actions);
    session.charge(|| clock::monotonic_ns().saturating_sub(now.monotonic_ns));
}

/// What a client may send while nothing of it is consumed: more than the longest answer to an
/// authentication request.
const WAITING_BYTES_MAX: usize = 68 << 10;
/// The last bytes of a session get so long to leave.
const LINGER: Duration = Duration::from_secs(2);
/// A client gets so long to close after it was told why. No shorter than the worker's own tick: a timer that is due before
/// all others wakes the poll of its own thread.
const GOODBYE: Duration = Duration::from_secs(1);
/// Connections beyond one source's limit that are told so; beyond these its connections are only closed.
const REFUSALS_PER_SOURCE_MAX: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    fn result_bytes<A, B, C, D, E, F>(_: impl Fn(A, B, C, D, E) -> F) -> usize {
        size_of::<F>()
    }

    #[test]
    fn the_task_of_a_connection_is_small() {
        let bytes = result_bytes(serve);
        println!("bytes of a connection's task: {bytes}");
        assert!(bytes <= TASK_BYTES_MAX, "{bytes}");
    }

    /// What was counted, rounded up: with what the allocations of a session add, an idle connection stays
    /// within its 16 KiB.
    const TASK_BYTES_MAX: usize = 6 << 10;
}
