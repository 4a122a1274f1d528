//! Hellos on a session's connections: another governor's is answered, what became of the own is told to the session.

use super::super::arrival::{Route, Who};
use super::super::hello::{Asker, hear};
use super::super::inbound;
use super::super::observe::Observer;
use super::super::socket::Socket;
use super::super::stream::Stream;
use super::super::worker::{Drain, Shared};
use super::{Dialled, Leg, Relay};
use crate::engine::audit::{HelloOutcome, HelloRecord, HelloWay};
use crate::engine::model::{Principal, RemoteClient};
use crate::engine::session::{HelloRule, Input, Session, StopReason};
use crate::host::peers::HelloMode;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;

/// A connection to the database that negotiating TLS has made.
pub(super) struct Prepared {
    pub stream: Stream,
    /// Whoever has to be told who asks was told.
    pub greeted: bool,
}

/// Who is there as far as this host knows, and whether another governor may say more.
pub(super) fn identify(shared: &Shared, who: Who) -> (Arc<Principal>, HelloRule) {
    match who {
        Who::Process(attested) => (shared.identifier.identify(&attested), HelloRule::Unexpected),
        Who::Remote(address) => {
            let rule = match shared.peers.known().mode_of(address) {
                Some(HelloMode::Required) => HelloRule::Required,
                Some(HelloMode::Optional) | None => HelloRule::Accepted,
            };
            (Arc::new(shared.identifier.identify_remote(RemoteClient::at(address))), rule)
        }
    }
}

/// For whom a peer at the other end of the route is to be told who asks.
pub(super) fn asker(
    shared: &Shared,
    rule: HelloRule,
    route: &Route,
    session: &Session,
) -> Option<Arc<Asker>> {
    let wanted = rule == HelloRule::Unexpected
        && route.may_greet()
        && shared.peers.known().mode_of(route.destination.address).is_some()
        && !is_no_peer(shared.inbound.get().is_some(), route.destination.address);
    // The principal as the session has it: without personal data on its command line.
    wanted.then(|| Arc::new(Asker { principal: session.principal().clone(), session: session.id().clone() }))
}

/// Whatever networks a peer's block names: a database's host is no peer of its own. Elsewhere whoever has the address of a
/// peer is to prove that it is the peer.
fn is_no_peer(captures_arrivals: bool, destination: IpAddr) -> bool {
    captures_arrivals && inbound::is_of_this_host(destination)
}

impl Relay {
    pub(super) fn dialled(&mut self, dialled: io::Result<Dialled>) -> Input<'static> {
        match dialled {
            Ok((stream, secured)) => {
                if let Some(tcp) = stream.socket().and_then(Socket::tcp) {
                    self.local.shared.tend(tcp, "a database");
                }
                self.server = Some(Leg::new(stream));
                if let Some(upstream) = secured {
                    self.handle(Input::UpstreamSecured(upstream));
                }
                Input::Connected
            }
            Err(error) => Input::ConnectFailed { reason: error.to_string() },
        }
    }

    /// Answers another governor's hello, within the time that a start-up may take.
    pub(super) async fn greet(&mut self, packet: &[u8]) {
        let shared = self.local.shared.clone();
        let (Some(ends), Some(remote)) = (self.route.ends.clone(), self.session.principal().remote.clone())
        else {
            let reason = "it came from no other host";
            let record = HelloRecord::new(HelloWay::Received, HelloOutcome::Unexpected, reason);
            return self.handle(Input::Greeted(Box::new(record)));
        };
        let mut drain = self.drain.clone();
        let record = tokio::select! {
            record = hear(&shared, self.client.stream_mut(), &ends, remote, packet) => record,
            () = self.deadline.as_mut() => return self.handle(Input::Stop(StopReason::StartupTimeout)),
            _ = drain.wait_for(|drain| *drain > Drain::No) => return self.handle(Input::Stop(StopReason::Draining)),
        };
        if let Some(principal) = &record.principal {
            self.observer = Observer::new(principal.class);
            self.session_gauge.becomes(principal.class);
        }
        self.handle(Input::Greeted(Box::new(record)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_databases_host_is_spared_its_own_addresses() {
        let (own, other) = (IpAddr::from([127, 0, 0, 1]), IpAddr::from([192, 0, 2, 1]));
        assert!(is_no_peer(true, own));
        assert!(!is_no_peer(true, other));
        assert!(
            !is_no_peer(false, own),
            "on a client's host a relay with the address of a peer has to prove itself"
        );
    }
}
