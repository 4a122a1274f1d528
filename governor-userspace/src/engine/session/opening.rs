//! From the first byte to the server's first ReadyForQuery: cancel requests, the connection's own decision,
//! authentication passed through. What is about encryption is in `encryption.rs`.

use super::action::{Actions, CloseReason, Request, TooMany};
use super::chunk::{Chunk, ToServer};
use super::fault;
use super::governance::Governance;
use super::greeting::{HELLO_POLICY, NO_HELLO, NO_HELLO_HINT};
use super::permit::{Permit, ProtocolNeed};
use super::pipeline::{Expect, Owed};
use super::{Names, Phase, Session, catalogue};
use crate::engine::audit::{AuditEvent, SessionDecision};
use crate::engine::model::{Class, Decision, Statement, Timestamp, Verdict};
use crate::engine::policy::RunContext;
use crate::engine::wire::postgres::encode::{self, Report};
use crate::engine::wire::postgres::startup::{self, Opening, Startup};
use crate::engine::wire::postgres::{Header, ProtocolViolation, frontend};
use bytes::{Bytes, BytesMut};

impl Session {
    /// Reads encryption requests and the start-up packet.
    pub(super) fn opening_bytes(
        &mut self,
        now: Timestamp,
        buffer: &mut BytesMut,
        governance: &mut Governance,
        out: &mut Actions,
    ) -> Result<(), ProtocolViolation> {
        while let Phase::Opening { encryption_requests } = self.phase
            && !self.ended
        {
            let Some((opening, bytes)) = startup::parse(buffer)? else { return Ok(()) };
            match opening {
                Opening::SslRequest | Opening::GssEncRequest => {
                    let request = opening == Opening::SslRequest;
                    self.encryption_request(now, request, encryption_requests, bytes, buffer, out)?;
                }
                Opening::DirectTls => return self.direct_tls(now, encryption_requests, out),
                Opening::Hello => {
                    self.hello(now, encryption_requests, bytes, buffer, out)?;
                }
                Opening::Cancel { .. } if self.lacks_hello() => {
                    let reason = "its host has to say hello first, and did not".into();
                    self.record(out, now, AuditEvent::Cancel { forwarded: false, reason });
                    self.refuse_without_hello(now, out);
                }
                Opening::Cancel { process, secret } => {
                    let packet = buffer.split_to(bytes).freeze();
                    self.phase = Phase::Cancelling { process, packet };
                    out.requests.push(Request::MatchCancel { process, secret });
                }
                Opening::Unsupported { major, minor } => {
                    let message = format!(
                        "unsupported frontend protocol {major}.{minor}: governor supports 3.0 to 3.2"
                    );
                    self.fatal(&Report { sqlstate: "0A000", message, ..Report::default() }, out);
                    self.end(now, CloseReason::Protocol("unsupported protocol version".into()), out);
                }
                Opening::Startup(startup) => {
                    let packet = buffer.split_to(bytes).freeze();
                    self.startup(now, &startup, packet, governance, out);
                }
            }
        }
        Ok(())
    }

    /// Decides whether this client may connect at all.
    fn startup(
        &mut self,
        now: Timestamp,
        startup: &Startup,
        packet: Bytes,
        governance: &mut Governance,
        out: &mut Actions,
    ) {
        self.claims = startup.claims();
        self.names = Names::new(&self.setup.principal, &self.claims);
        self.ask_reach(governance);
        let mut decision =
            fault::guarded("policy", || self.asker(governance).connect()).unwrap_or_else(fault::denial);
        if decision.verdict == Verdict::Allow
            && self.restricted
            && let Some(refused) = self.judge_settings(startup, governance)
        {
            decision = refused;
        }
        if decision.verdict == Verdict::Hold {
            decision = Decision::deny(
                "governor.connect-hold",
                "a connection cannot be held for approval",
                "Ask for a policy that permits this connection.",
            );
        }
        let replication = startup.is_replication();
        if replication && (self.setup.principal.class != Class::Service || self.may_be_masked) {
            decision = Decision::deny(
                "governor.replication",
                "a replication connection carries every row unread",
                "Replication is for services whose data policy does not mask.",
            );
        }
        if self.lacks_hello() {
            self.note_missing_hello(now, out);
            decision = Decision::deny(HELLO_POLICY, NO_HELLO, NO_HELLO_HINT);
        }
        if let Some(too_many) = self.too_many {
            decision = self.refusal(too_many);
        }
        let id = self.next_decision();
        self.record(
            out,
            now,
            AuditEvent::SessionDecision(SessionDecision {
                decision: id.clone(),
                verdict: decision.verdict,
                reasons: decision.reasons.clone(),
                claims: self.shown_claims(governance),
            }),
        );
        match Permit::issue(&decision) {
            Some(permit) => {
                self.phase = Phase::Connecting { packet, permit, then_pass_unread: replication };
                out.requests.push(Request::Dial);
            }
            None => {
                let mut report = self.denial_report(&id, &decision, "this connection");
                report.sqlstate = if self.too_many.is_some() { "53300" } else { "28000" };
                self.fatal(&report, out);
                let reason = self.too_many.map_or(CloseReason::ConnectionDenied, CloseReason::TooMany);
                self.end(now, reason, out);
            }
        }
    }

    fn refusal(&self, too_many: TooMany) -> Decision {
        let principal = &self.setup.principal;
        let (text, key) = match too_many {
            TooMany::Connections { max } => {
                (format!("{max} connections are open, as many as are served"), "limits.connections_max")
            }
            TooMany::OfSource { max } => {
                let place = principal.cgroup.as_deref().unwrap_or("its cgroup");
                let text = format!(
                    "{} has {max} connections open in {place}, as many as one source may have",
                    principal.user
                );
                (text, "limits.connections_per_source_max")
            }
        };
        let hint = format!("Close idle connections or share them in a pool; the operator can raise {key}.");
        Decision::deny("governor.connections", &text, &hint)
    }

    /// Settings in the start-up packet are what SET would be: decided as such. `None` where all may be.
    fn judge_settings(&mut self, startup: &Startup, governance: &mut Governance) -> Option<Decision> {
        let Some(settings) = startup.settings() else {
            return Some(Decision::deny(
                "governor.start-up-options",
                "the start-up options are not understood",
                "Use -c NAME=VALUE, without quotes or backslashes.",
            ));
        };
        settings.into_iter().find_map(|(name, value)| {
            let statement = Statement::setting(&name, &value);
            let decision = self.asker(governance).run(&statement, RunContext::default());
            (decision.verdict != Verdict::Allow).then(|| Decision {
                verdict: Verdict::Deny,
                hold: None,
                ..(*decision).clone()
            })
        })
    }

    pub(super) fn connected(&mut self, out: &mut Actions) {
        match std::mem::replace(&mut self.phase, Phase::Authenticating) {
            Phase::Connecting { packet, permit, then_pass_unread } => {
                out.to_server.push((packet, permit));
                if then_pass_unread {
                    self.phase = Phase::PassUnread;
                    out.requests.push(Request::PassUnread);
                }
            }
            Phase::ConnectingUnread => {
                self.phase = Phase::PassUnread;
                out.requests.push(Request::PassUnread);
            }
            other => self.phase = other,
        }
    }

    pub(super) fn connect_failed(&mut self, now: Timestamp, reason: &str, out: &mut Actions) {
        let report = Report {
            sqlstate: "08001",
            message: format!("governor could not connect to {}: {reason}", self.setup.destination),
            detail: String::new(),
            hint: "Is the server running on that host and accepting TCP/IP connections?".into(),
        };
        self.note_tls_unfinished(now, reason, out);
        if !self.connect_failed_before_tls(&report, out) {
            self.fatal(&report, out);
        }
        self.end(now, CloseReason::ConnectFailed, out);
    }

    /// Answers to authentication requests pass; anything else waits until the server is ready.
    pub(super) fn authentication_bytes(
        &mut self,
        now: Timestamp,
        buffer: &mut BytesMut,
        out: &mut Actions,
    ) -> Result<(), ProtocolViolation> {
        if self.refuses_channel_binding(now, buffer, out)? {
            return Ok(());
        }
        let mut chunk = Chunk::new(buffer);
        let mut sink = ToServer(&mut out.to_server);
        let permit = || Permit::protocol(ProtocolNeed::Authentication);
        let result = loop {
            if !chunk.stream(&mut self.client_stream, permit, &mut sink) {
                break Ok(());
            }
            let header = match Header::peek(chunk.unread()) {
                Ok(Some(header)) => header,
                Ok(None) => break Ok(()),
                Err(violation) => break Err(violation),
            };
            if !matches!(header.kind, frontend::kind::PASSWORD | frontend::kind::TERMINATE) {
                break Ok(());
            }
            if let Err(violation) = header.at_most(frontend::AUTH_MESSAGE_BYTES_MAX) {
                break Err(violation);
            }
            chunk.pass_message::<ToServer<'_>>(header.total_bytes(), permit(), &mut self.client_stream);
        };
        chunk.flush(&mut sink);
        result
    }

    /// The server's first ReadyForQuery: reads the catalogue first where something may be denied, held or masked.
    /// True where `ready` may pass now.
    pub(super) fn server_ready(
        &mut self,
        now: Timestamp,
        ready: &[u8],
        governance: &mut Governance,
        out: &mut Actions,
    ) -> bool {
        let destination = &self.setup.destination;
        self.catalogue = governance.catalogue(destination.clone(), &self.claims.database);
        if self.restricted && governance.wants_catalogue(destination.clone(), &self.claims.database, now) {
            self.phase = Phase::ReadingCatalogue { ready: Some(Bytes::copy_from_slice(ready)) };
            self.read_catalogue(now, out);
            return false;
        }
        self.phase = Phase::Ready;
        true
    }

    /// Asks the server for its catalogue, on the client's own connection.
    pub(super) fn read_catalogue(&mut self, now: Timestamp, out: &mut Actions) {
        self.catalogue_asked = now;
        self.catalogue_reader = Some(Box::default());
        self.pipeline.push(Owed::new(Expect::OwnQuery));
        out.to_server.push((encode::query(&catalogue::QUERY), Permit::protocol(ProtocolNeed::OwnRequest)));
    }

    /// The answer to [`Self::read_catalogue`] is complete.
    pub(super) fn catalogue_read(&mut self, now: Timestamp, governance: &mut Governance, out: &mut Actions) {
        let dialect = crate::engine::sql::PostgresDialect::default();
        if let Some(data) = self.catalogue_reader.take().and_then(|reader| reader.finish()) {
            let rulings = governance.discovery.rulings(self.setup.destination.clone(), &self.claims.database);
            let labels = governance.all_labels();
            let mut read = catalogue::Catalogue::new(data, &labels, &rulings, &dialect, now);
            read.began = self.catalogue_asked;
            read.reading_ns = now.since_ns(self.catalogue_asked);
            let (server, database) = (&self.setup.destination, &self.claims.database);
            let read = governance.discovery.follow_names(server, database, read, &labels, now);
            let read = std::sync::Arc::new(read);
            self.catalogue_outdated = false;
            self.views_made = false;
            let (destination, database) = (self.setup.destination.clone(), self.claims.database.clone());
            governance.learn_catalogue(destination.clone(), database.clone(), read.clone());
            out.requests.push(Request::Catalogue { destination, database, catalogue: read.clone() });
            self.adopt_catalogue(read, governance);
        } else {
            // What it said before may no longer be true.
            self.catalogue = None;
        }
        if let Phase::ReadingCatalogue { .. } = self.phase
            && let Phase::ReadingCatalogue { ready } = std::mem::replace(&mut self.phase, Phase::Ready)
        {
            self.released = ready;
        }
    }
}
