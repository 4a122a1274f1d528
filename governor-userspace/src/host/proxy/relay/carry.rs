//! Carries out what the session asked for: records first, then effects, then bytes.

use super::super::handshake::secure;
use super::super::stream::Stream;
use super::super::upstream;
use super::super::worker::{Shared, Work};
use super::greeting::Prepared;
use super::{Relay, step};
use crate::engine::audit::AuditEvent;
use crate::engine::session::{CloseReason, Input, Request, StopReason, TooMany};
use crate::host::clock;
use crate::host::telemetry::{CancelResult, RefusedReason};
use std::io;
use std::sync::atomic::Ordering;

impl Relay {
    /// Does what the session asked for, and lets it go on with bytes that were waiting for that.
    pub(super) fn carry_out(&mut self) {
        loop {
            self.apply();
            let waiting = !self.client.unread.is_empty() && self.session.wants_client() && !self.closing;
            if !waiting {
                return;
            }
            let before = self.client.unread.len();
            let mut unread = std::mem::take(&mut self.client.unread);
            step(&self.local, &mut self.session, &mut self.actions, Input::Client(&mut unread));
            self.client.unread = unread;
            self.client.shrink();
            if self.client.unread.len() == before && self.actions.is_empty() {
                return;
            }
        }
    }

    fn apply(&mut self) {
        let shared = self.local.shared.clone();
        if !self.write_records() {
            // Nothing of this call may leave: governor could not write down what it let through.
            self.actions.clear();
            self.actions_after_ledger_failure();
        }
        for record in self.actions.completions.drain(..) {
            self.observer.observe(&shared.metrics, &record);
            if matches!(record.event, AuditEvent::SessionEnd(_)) {
                self.last = Some(record);
                continue;
            }
            if let Err(error) = shared.ledger.append_lazy(&record) {
                tracing::error!(%error, "cannot queue a completion record");
            }
        }
        if let Some(server) = &mut self.server {
            for (bytes, _permit) in self.actions.to_server.drain(..) {
                server.push(bytes);
            }
        }
        for bytes in self.actions.to_client.drain(..) {
            self.client.push(bytes);
        }
        let close = self.actions.close.take();
        let requests = std::mem::take(&mut self.actions.requests);
        self.actions.clear();
        if let Some(reason) = close {
            if reason == CloseReason::ChannelBinding {
                shared.retries.note(self.session.principal(), &self.route.destination);
            }
            if let Some(refused) = refused(&reason) {
                shared.metrics.connection_refused(refused);
            }
            self.closing = true;
            self.unanswered = reason == CloseReason::CancelDone;
        }
        for request in requests {
            self.request(request);
        }
        let held = self.session.is_held();
        self.cancel.runs.store(held && self.session.runs(), Ordering::Release);
        if held && !self.cancel.held.load(Ordering::Acquire) {
            // A request that came too late for an earlier hold is not for this one.
            self.cancel.pending.store(false, Ordering::Release);
        }
        self.cancel.held.store(held, Ordering::Release);
    }

    /// Records come before bytes. False where they could not be written.
    fn write_records(&mut self) -> bool {
        let records = &self.actions.records;
        if records.is_empty() {
            return true;
        }
        let ledger = &self.local.shared.ledger;
        let written = if self.actions.sync { ledger.append_sync(records) } else { ledger.append(records) };
        for record in records {
            self.observer.observe(&self.local.shared.metrics, record);
        }
        match written {
            Ok(()) => true,
            Err(error) => {
                self.local.shared.metrics.audit_failed();
                tracing::error!(%error, session = %self.session.id(), "cannot write an audit record: the session ends");
                false
            }
        }
    }

    fn actions_after_ledger_failure(&mut self) {
        step(&self.local, &mut self.session, &mut self.actions, Input::Stop(StopReason::LedgerFailed));
        self.actions.records.clear();
        self.actions.to_server.clear();
        self.closing = true;
    }

    fn request(&mut self, request: Request) {
        let shared = self.local.shared.clone();
        match request {
            Request::Dial => {
                let route = self.route.clone();
                // The connecting has a limit of its own.
                let limit = shared.connect_timeout + shared.authentication_timeout;
                self.deadline.as_mut().reset(tokio::time::Instant::now() + limit);
                let retry = shared.retries.may_be(self.session.principal(), &route.destination);
                let plain = |(reached, said): upstream::Reached| (reached.map(|stream| (stream, None)), said);
                self.dialling = Some(match self.prepared.take() {
                    Some(Prepared { stream, greeted: true }) => {
                        Box::pin(std::future::ready((Ok((stream, None)), None)))
                    }
                    Some(Prepared { stream, greeted: false }) => {
                        Box::pin(async move { plain(upstream::greet(&shared, &route, stream).await) })
                    }
                    None if retry => Box::pin(async move {
                        let mut said = None;
                        (secure(&shared, &route, &mut said).await, said)
                    }),
                    None => Box::pin(async move { plain(upstream::reach(&shared, &route).await) }),
                });
            }
            Request::NegotiateTls { direct } => self.negotiating = Some(direct),
            Request::Greet { packet } => self.greeting = Some(packet),
            // The queue writes to disk: not on the thread that serves other sessions.
            Request::Hold(approval) => {
                self.submitting =
                    Some(tokio::task::spawn_blocking(move || shared.approvals.submit(*approval)));
            }
            Request::WithdrawHold { approval, answer } => {
                self.hold = None;
                drop(tokio::task::spawn_blocking(move || {
                    if let Err(error) = shared.approvals.withdraw(&approval, answer, clock::now()) {
                        tracing::debug!(%error, %approval, "a hold ended elsewhere first");
                    }
                }));
            }
            Request::CancelKey { process, secret } => {
                self.registration = Some(shared.cancels.register(
                    &self.route.destination,
                    process,
                    secret,
                    self.cancel.clone(),
                ));
            }
            Request::MatchCancel { process, secret } => {
                self.matched = Some(shared.cancels.find(&self.route.destination, process, &secret));
            }
            Request::Cancel { packet, permit: _permit } => self.waiting_cancel = Some(packet),
            Request::CancelOwn { packet, permit: _permit } => {
                let route = self.route.clone();
                self.cancelling = Some(Box::pin(async move {
                    let sent = async {
                        let stream = unrecorded(&shared, upstream::reach(&shared, &route).await)?;
                        upstream::cancel(stream, &packet, shared.connect_timeout).await
                    };
                    if let Err(error) = sent.await {
                        tracing::warn!(%error, destination = %route.destination, "a statement over its limit could not be cancelled");
                    }
                }));
            }
            Request::PassUnread => {
                self.unread = Some(shared.cancels.pass_unread(&self.route.destination));
                self.pass_unread = true;
            }
            Request::CatalogueOutdated { destination, database } => {
                for other in self.local.others.iter().filter_map(|o| o.upgrade()) {
                    let _ = other.send(Work::CatalogueOutdated(destination.clone(), database.clone()));
                }
            }
            Request::Catalogue { destination, database, catalogue } => {
                for other in self.local.others.iter().filter_map(|o| o.upgrade()) {
                    let _ =
                        other.send(Work::Catalogue(destination.clone(), database.clone(), catalogue.clone()));
                }
            }
        }
    }

    pub(super) async fn pass_cancel(&mut self, packet: &[u8]) -> CancelResult {
        let prepared = self.prepared.take();
        let shared = &self.local.shared;
        let limit = shared.connect_timeout;
        let pass = async {
            let reached = match prepared {
                Some(Prepared { stream, greeted: true }) => (Ok(stream), None),
                Some(Prepared { stream, greeted: false }) => {
                    upstream::greet(shared, &self.route, stream).await
                }
                None => upstream::reach(shared, &self.route).await,
            };
            let stream = unrecorded(shared, reached)?;
            upstream::cancel(stream, packet, limit).await
        };
        match pass.await {
            Ok(()) => CancelResult::Forwarded,
            Err(error) => {
                tracing::warn!(%error, destination = %self.route.destination, "a cancel request did not reach the server");
                CancelResult::Failed
            }
        }
    }
}

/// Of a connection that is no session's, or that of one that has ended: a hello on it is counted, and in the log.
fn unrecorded(shared: &Shared, (reached, said): upstream::Reached) -> io::Result<Stream> {
    if let Some(record) = said {
        shared.metrics.hello(record.way, record.outcome);
    }
    reached
}

/// Why a connection was not served, for those that never came to run anything.
fn refused(reason: &CloseReason) -> Option<RefusedReason> {
    match reason {
        CloseReason::ConnectionDenied => Some(RefusedReason::Policy),
        CloseReason::ConnectFailed => Some(RefusedReason::Upstream),
        CloseReason::TlsRefused | CloseReason::TlsFailed | CloseReason::ChannelBinding => {
            Some(RefusedReason::Tls)
        }
        CloseReason::HelloRefused => Some(RefusedReason::Hello),
        CloseReason::LedgerFailed => Some(RefusedReason::Audit),
        CloseReason::Draining => Some(RefusedReason::Draining),
        CloseReason::TooMany(TooMany::Connections { .. }) => Some(RefusedReason::Limit),
        CloseReason::TooMany(TooMany::OfSource { .. }) => Some(RefusedReason::SourceLimit),
        _ => None,
    }
}
