//! Encryption as a session sees it: what is answered to a client that asks for it, and what SCRAM's
//! channel binding means where governor ends TLS.
//!
//! The handshakes themselves are the host's. The session asks for them, and is told what came of it.
//!
//! Invariants: a client is never told that TLS is there when the server has none, and never goes on in
//! clear after it was told so. Bytes that came before TLS never count as bytes within it.
//! Protocol: <https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-SSL>

use super::action::{Actions, CloseReason, Request};
use super::server::Step;
use super::{Names, Phase, Session, TlsMode};
use crate::engine::audit::{Side, TlsOutcome, TlsRecord};
use crate::engine::model::{Principal, Timestamp, TlsSession, UpstreamTls};
use crate::engine::policy::PolicyPrincipal;
use crate::engine::wire::postgres::encode::{self, Report, Severity};
use crate::engine::wire::postgres::sasl::{self, ChannelBinding};
use crate::engine::wire::postgres::{Header, ProtocolViolation, backend, frontend};
use bytes::{Buf, Bytes, BytesMut};
use std::sync::Arc;

/// What holds for this session's client connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Encryption {
    /// In clear, or with the server's own certificate: what client and server prove to each other holds.
    #[default]
    EndToEnd,
    /// With another certificate than the server's: channel binding would fail.
    Rebound,
    /// As before, and the server's offer to bind was taken out: the client's answer is looked at.
    OfferCut,
}

impl Session {
    /// SSLRequest (`ssl`) or GSSENCRequest, `bytes` long, at the front of `buffer`.
    pub(super) fn encryption_request(
        &mut self,
        now: Timestamp,
        ssl: bool,
        requests_before: u32,
        bytes: usize,
        buffer: &mut BytesMut,
        out: &mut Actions,
    ) -> Result<(), ProtocolViolation> {
        if ssl && self.setup.tls == TlsMode::PassUnread {
            self.pass_tls_unread(now, out);
            return Ok(());
        }
        if buffer.len() > bytes {
            // Bytes that a man in the middle put there would be taken as the client's
            // own once encryption is on (CVE-2021-23214 and its kind).
            return Err(ProtocolViolation::Other("bytes were sent behind an encryption request"));
        }
        if requests_before >= ENCRYPTION_REQUESTS_MAX {
            return Err(ProtocolViolation::Other("too many encryption requests"));
        }
        buffer.advance(bytes);
        self.phase = Phase::Opening { encryption_requests: requests_before + 1 };
        match self.setup.tls {
            _ if !ssl => out.to_client.push(Bytes::from_static(NO)),
            TlsMode::Refuse => self.refuse_tls(now, out),
            TlsMode::Terminate => {
                self.phase =
                    Phase::NegotiatingTls { direct: false, encryption_requests: requests_before + 1 };
                out.requests.push(Request::NegotiateTls { direct: false });
            }
            TlsMode::Decline | TlsMode::PassUnread => {
                self.record(out, now, TlsOutcome::Declined.into());
                out.to_client.push(Bytes::from_static(NO));
            }
        }
        Ok(())
    }

    /// A TLS hello without an SSLRequest before it.
    pub(super) fn direct_tls(
        &mut self,
        now: Timestamp,
        requests_before: u32,
        out: &mut Actions,
    ) -> Result<(), ProtocolViolation> {
        if requests_before > 0 {
            return Err(ProtocolViolation::Other("TLS began after it was declined"));
        }
        match self.setup.tls {
            TlsMode::PassUnread => self.pass_tls_unread(now, out),
            TlsMode::Terminate => {
                self.phase = Phase::NegotiatingTls { direct: true, encryption_requests: 1 };
                out.requests.push(Request::NegotiateTls { direct: true });
            }
            TlsMode::Refuse | TlsMode::Decline => {
                out.to_client.push(Bytes::from_static(TLS_HANDSHAKE_FAILURE));
                self.record(out, now, TlsOutcome::Refused.into());
                self.end(now, CloseReason::TlsRefused, out);
            }
        }
        Ok(())
    }

    /// Nothing was asked of policy before: the client has not said what it wants. Whom an accepted hello named is not
    /// made somebody by address again.
    pub(super) fn identified(&mut self, principal: Arc<Principal>) {
        let is_attested = principal.remote.as_ref().is_some_and(|remote| remote.attested.is_some());
        if self.greeted && !is_attested {
            return;
        }
        if matches!(self.phase, Phase::NegotiatingTls { .. }) {
            self.policy_principal = PolicyPrincipal::new(principal.clone());
            self.names = Names::new(&principal, &self.claims);
            self.setup.principal = principal;
        }
    }

    pub(super) fn tls_established(&mut self, now: Timestamp, tls: TlsSession, out: &mut Actions) {
        if !matches!(self.phase, Phase::NegotiatingTls { .. }) {
            return;
        }
        if !tls.keeps_channel_binding() {
            self.encryption = Encryption::Rebound;
        }
        let remote = self.setup.principal.remote.as_ref().filter(|remote| remote.certificate.is_some());
        let principal = remote.map(|_| Box::new((*self.setup.principal).clone()));
        let record = TlsRecord { tls: Some(tls), principal, ..TlsOutcome::Terminated.into() };
        self.record(out, now, record.into());
        // Within TLS nobody asks for encryption again.
        self.phase = Phase::Opening { encryption_requests: ENCRYPTION_REQUESTS_MAX };
    }

    /// The server has no TLS: the client is told the same and decides whether it goes on.
    pub(super) fn tls_declined(&mut self, now: Timestamp, out: &mut Actions) {
        let Phase::NegotiatingTls { direct, encryption_requests } = self.phase else { return };
        if direct {
            return self.tls_failed(now, Side::Database, "the server does not speak TLS".into(), out);
        }
        self.record(out, now, TlsOutcome::ServerDeclined.into());
        self.phase = Phase::Opening { encryption_requests };
        out.to_client.push(Bytes::from_static(NO));
    }

    pub(super) fn tls_failed(&mut self, now: Timestamp, side: Side, reason: String, out: &mut Actions) {
        if !matches!(self.phase, Phase::NegotiatingTls { .. }) {
            return;
        }
        let whose = match side {
            Side::Client => "client",
            Side::Database => "server",
            Side::Governor => "governor",
        };
        let record = TlsRecord { reason: format!("{whose}: {reason}"), ..TlsOutcome::Failed.into() };
        self.record(out, now, record.into());
        self.end(now, CloseReason::TlsFailed, out);
    }

    /// The client goes on in clear; the database is reached through TLS.
    pub(super) fn upstream_secured(&mut self, now: Timestamp, upstream: UpstreamTls, out: &mut Actions) {
        // The server may offer what only a client with TLS can take.
        self.encryption = Encryption::Rebound;
        let record = TlsRecord { upstream: Some(upstream), ..TlsOutcome::UpstreamOnly.into() };
        self.record(out, now, record.into());
    }

    /// The session ends while TLS is being set up.
    pub(super) fn note_tls_unfinished(&mut self, now: Timestamp, reason: &str, out: &mut Actions) {
        if matches!(self.phase, Phase::NegotiatingTls { .. }) {
            let record = TlsRecord { reason: reason.into(), ..TlsOutcome::Failed.into() };
            self.record(out, now, record.into());
        }
    }

    /// The server could not be reached while the client waits for the answer to its SSLRequest: it may
    /// still be told in clear. After a direct hello only an alert is understood.
    pub(super) fn connect_failed_before_tls(&mut self, report: &Report, out: &mut Actions) -> bool {
        let Phase::NegotiatingTls { direct, .. } = self.phase else { return false };
        out.to_client.push(if direct {
            Bytes::from_static(TLS_HANDSHAKE_FAILURE)
        } else {
            encode::report(Severity::Fatal, report)
        });
        true
    }

    /// A request of the server for authentication. An offer of channel binding is taken out where governor's
    /// certificate stands between the two: it could only fail, without a word of why.
    pub(super) fn authentication_request(&mut self, body: &[u8]) -> Result<Step, ProtocolViolation> {
        if self.encryption == Encryption::EndToEnd || backend::authentication(body)? != sasl::REQUEST {
            return Ok(Step::Pass);
        }
        let offered = sasl::mechanisms(body)?;
        let left: Vec<_> =
            offered.iter().copied().filter(|name| !name.ends_with(sasl::BINDING_SUFFIX)).collect();
        if left.len() == offered.len() {
            return Ok(Step::Pass);
        }
        self.encryption = Encryption::OfferCut;
        Ok(Step::Replace(encode::sasl_offer(&left)))
    }

    /// The client's answer to a cut offer: one that would bind is refused by the server without a reason
    /// that helps, so governor refuses it and says why. True where nothing of `buffer` may
    /// pass now: the session has ended, or the answer is not whole yet.
    pub(super) fn refuses_channel_binding(
        &mut self,
        now: Timestamp,
        buffer: &[u8],
        out: &mut Actions,
    ) -> Result<bool, ProtocolViolation> {
        if self.encryption != Encryption::OfferCut {
            return Ok(false);
        }
        let Some(header) = Header::peek(buffer)?.filter(|h| h.kind == frontend::kind::PASSWORD) else {
            return Ok(false);
        };
        header.at_most(frontend::AUTH_MESSAGE_BYTES_MAX)?;
        let Some(body) = buffer.get(Header::BYTES..header.total_bytes()) else {
            // Nothing of it passes before it was read whole.
            return Ok(true);
        };
        self.encryption = Encryption::Rebound;
        if !matches!(
            sasl::initial_response(body)?,
            Some(ChannelBinding::ThinksServerCannot | ChannelBinding::Bound)
        ) {
            return Ok(false);
        }
        let reason = "SCRAM channel binding does not hold where governor shows a certificate of its own";
        let record = TlsRecord { reason: reason.into(), ..TlsOutcome::Refused.into() };
        self.record(out, now, record.into());
        let report = Report {
            sqlstate: "28000",
            message:
                "governor cannot carry SCRAM channel binding over this connection: it ends TLS with another \
                      certificate than the server's"
                    .into(),
            detail: String::new(),
            hint:
                "Connect with channel_binding=disable, or ask the operator to give governor the server's key \
                   (tls.server_keys) or to set tls = \"pass-unread\" for this port."
                    .into(),
        };
        self.fatal(&report, out);
        self.end(now, CloseReason::ChannelBinding, out);
        Ok(true)
    }

    fn pass_tls_unread(&mut self, now: Timestamp, out: &mut Actions) {
        if self.lacks_hello() {
            return self.refuse_without_hello(now, out);
        }
        self.record(out, now, TlsOutcome::PassedUnread.into());
        self.phase = Phase::ConnectingUnread;
        out.requests.push(Request::Dial);
    }

    fn refuse_tls(&mut self, now: Timestamp, out: &mut Actions) {
        self.record(out, now, TlsOutcome::Refused.into());
        let report = Report {
            sqlstate: "08004",
            message: "governor is configured to refuse TLS on this port".into(),
            detail: String::new(),
            hint:
                "Connect with sslmode=disable, or ask the operator to set tls = \"terminate\" for this port."
                    .into(),
        };
        self.fatal(&report, out);
        self.end(now, CloseReason::TlsRefused, out);
    }

    /// A client that left right after its SSLRequest was declined would not go on without TLS.
    pub(super) fn note_tls_given_up(&mut self, now: Timestamp, out: &mut Actions) {
        if matches!(self.phase, Phase::Opening { encryption_requests: 1.. })
            && self.setup.tls == TlsMode::Decline
        {
            self.record(out, now, TlsOutcome::Refused.into());
        }
    }
}

/// The server's own answer to an encryption request that it declines.
const NO: &[u8] = b"N";
/// SSLRequest and GSSENCRequest, each once, as libpq sends them.
const ENCRYPTION_REQUESTS_MAX: u32 = 2;
/// TLS 1.0 record: fatal alert `handshake_failure` (RFC 8446, section 6).
const TLS_HANDSHAKE_FAILURE: &[u8] = &[0x15, 3, 1, 0, 2, 2, 40];
