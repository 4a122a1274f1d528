//! TLS on a session's connections: set up, and who a client's certificate makes it.

use super::super::handshake::{Negotiated, negotiate};
use super::super::observe::Observer;
use super::super::worker::Drain;
use super::greeting::Prepared;
use super::{Leg, Relay};
use crate::engine::model::{Class, PeerCertificate, Principal, RemoteClient, TlsSession};
use crate::engine::session::{Input, StopReason};
use std::sync::Arc;

impl Relay {
    /// Sets TLS up on both connections, within the time that a start-up may take.
    pub(super) async fn negotiate(&mut self, direct: bool) {
        let Some(client) = self.client.stream_mut().take_plain() else { return };
        // Behind an SSLRequest nothing may be waiting: the session has seen to that.
        let hello = std::mem::take(&mut self.client.unread);
        let shared = self.local.shared.clone();
        let mut drain = self.drain.clone();
        let mut said = None;
        let negotiated = tokio::select! {
            negotiated = negotiate(&shared, &self.route, client, &hello, direct, &mut said) => negotiated,
            () = self.deadline.as_mut() => return self.handle(Input::Stop(StopReason::StartupTimeout)),
            _ = drain.wait_for(|drain| *drain > Drain::No) => return self.handle(Input::Stop(StopReason::Draining)),
        };
        if let Some(record) = said {
            self.handle(Input::SaidHello(record));
        }
        let input = match negotiated {
            Negotiated::Established { client, server, tls } => {
                self.identify_again(&tls);
                self.client = Leg::new(client);
                self.prepared = Some(Prepared { stream: server, greeted: true });
                Input::TlsEstablished(tls)
            }
            Negotiated::Declined { client, server } => {
                self.client = Leg::new(client);
                self.prepared = Some(Prepared { stream: server, greeted: false });
                Input::TlsDeclined
            }
            Negotiated::Unreachable { client, error } => {
                self.client = Leg::new(client);
                Input::ConnectFailed { reason: error.to_string() }
            }
            Negotiated::Failed { side, reason } => {
                tracing::warn!(session = %self.session.id(), ?side, reason, "TLS was not set up");
                Input::TlsFailed { side, reason }
            }
        };
        self.handle(input);
    }

    /// A client on another host that presented a certificate: that has a say in who it is.
    fn identify_again(&mut self, tls: &TlsSession) {
        let (Some(remote), Some(shown)) = (&self.session.principal().remote, &tls.client_certificate) else {
            return;
        };
        let client = RemoteClient { certificate: Some(shown.clone()), ..RemoteClient::at(remote.address) };
        let shared = &self.local.shared;
        let by_address = shared.identifier.identify_remote(client);
        let principal = if remote.attested.is_some() {
            beside_hello(self.session.principal(), shown.clone(), by_address)
        } else {
            by_address
        };
        self.observer = Observer::new(principal.class);
        self.session_gauge.becomes(principal.class);
        self.handle(Input::Identified(Arc::new(principal)));
    }
}

/// Whom a hello named before TLS stays that process: the certificate is on record beside it, and makes it stricter at most.
fn beside_hello(attested: &Principal, shown: PeerCertificate, by_address: Principal) -> Principal {
    let mut principal = attested.clone();
    if let Some(remote) = &mut principal.remote {
        remote.certificate = Some(shown);
    }
    if by_address.class == Class::Agent && principal.class != Class::Agent {
        principal.class = Class::Agent;
        principal.class_evidence.splice(0..0, by_address.class_evidence.into_iter().take(1));
    }
    principal
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::session::cases::Actor;

    /// Of another host: as its governor said, or as its address says.
    fn remote(class: Class, user: &str) -> Principal {
        let actor = Actor { class: Some(class), ..Actor::default() };
        let remote = Some(RemoteClient::at([10, 0, 0, 9].into()));
        Principal { user: user.into(), class_evidence: vec![user.into()], remote, ..actor.principal() }
    }

    #[test]
    fn a_certificate_beside_a_hello_is_on_record_and_never_makes_a_client_less_than_it_was() {
        let shown = PeerCertificate {
            subject: "CN=billing".into(),
            sha256: "00".into(),
            verified: true,
            reason: String::new(),
        };
        for (said, by_address, class) in [
            (Class::Service, Class::Service, Class::Service),
            (Class::Service, Class::Agent, Class::Agent),
            (Class::Person, Class::Agent, Class::Agent),
            (Class::Agent, Class::Service, Class::Agent),
            (Class::Person, Class::Service, Class::Person),
            (Class::Service, Class::Person, Class::Service),
        ] {
            let attested = remote(said, "alice@app1");
            let both = beside_hello(&attested, shown.clone(), remote(by_address, "10.0.0.9"));
            assert_eq!(both.class, class, "{said:?} beside {by_address:?}");
            let evidence: &[&str] = if class == said { &["alice@app1"] } else { &["10.0.0.9", "alice@app1"] };
            assert_eq!(both.class_evidence, evidence);
            assert_eq!(both.user, "alice@app1", "who it is stays the hello's word");
            assert_eq!(both.remote.unwrap().certificate.as_ref(), Some(&shown));
        }
    }
}
