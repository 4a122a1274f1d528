//! TLS on both connections of a session: asks the server what the client asks governor, and answers the same.
//!
//! ```text
//! client ─ SSLRequest ─▶ governor ─ SSLRequest ─▶ server       direct: no requests, the hello comes first
//!        ◀───── S ──────          ◀───── S ──────              server says N: so does governor
//!        ─── ClientHello ─▶ (its SNI) ── handshake ─▶          which certificate, verified or not?
//!        ◀── handshake, with what `host/tls` shows ──
//! ```
//!
//! The server comes first because what the client may be shown depends on it. Nothing but a TLS handshake
//! reaches the server before the connection was decided.

use super::arrival::Route;
use super::hello::{Said, refusal, say};
use super::socket::Socket;
use super::stream::Stream;
use super::upstream;
use super::worker::Shared;
use crate::engine::audit::{HelloRecord, Side};
use crate::engine::model::{Endpoint, ShownCertificate, TlsSession, UpstreamTls};
use crate::host::tls::{ALPN, ClientWitness, ServerWitness};
use rustls::pki_types::ServerName;
use rustls::server::{Accepted, Acceptor};
use rustls::sign::CertifiedKey;
use std::io::{
    self,
    ErrorKind::{ConnectionReset, UnexpectedEof},
};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::client::TlsStream as ServerSide;
use tokio_rustls::server::TlsStream as ClientSide;
use tokio_rustls::{StartHandshake, TlsConnector, TlsStream};

/// What came of it.
pub(super) enum Negotiated {
    Established {
        client: Stream,
        server: Stream,
        tls: Box<TlsSession>,
    },
    /// The server has no TLS; both connections are in clear, and the client still waits for its answer.
    Declined {
        client: Stream,
        server: Stream,
    },
    /// The server was not reached, or its answer is no answer; the client still waits.
    Unreachable {
        client: Stream,
        error: io::Error,
    },
    /// Of no more use to anybody.
    Failed {
        side: Side,
        reason: String,
    },
}

/// A failed handshake, and on whose side.
struct Failure(Side, String);

impl From<Failure> for Negotiated {
    fn from(Failure(side, reason): Failure) -> Self {
        Self::Failed { side, reason }
    }
}

/// One negotiation. `hello` is what was read from the client already: the beginning of its TLS if `direct`. What became of
/// governor's own hello to a peer is in `said`.
pub(super) async fn negotiate(
    shared: &Shared,
    route: &Route,
    client: Socket,
    hello: &[u8],
    direct: bool,
    said: &mut Option<Box<HelloRecord>>,
) -> Negotiated {
    let server = match open(shared, route, direct).await {
        Ok((server, true)) => server,
        Ok((server, false)) => {
            return Negotiated::Declined { client: Stream::Plain(client), server: Stream::Plain(server) };
        }
        Err(error) => return Negotiated::Unreachable { client: Stream::Plain(client), error },
    };
    match establish(shared, route, client, server, hello, direct, said).await {
        Ok(negotiated) => negotiated,
        Err(failure) => failure.into(),
    }
}

/// A connection to the server, and whether it speaks TLS on it.
async fn open(shared: &Shared, route: &Route, direct: bool) -> io::Result<(Socket, bool)> {
    let mut server = upstream::dial(shared, route).await?;
    if direct {
        return Ok((server, true));
    }
    let ask = async {
        server.write_all(SSL_REQUEST).await?;
        // One byte and no more: what comes behind it in clear must not count as the server's own.
        server.read_u8().await
    };
    match tokio::time::timeout(shared.connect_timeout, ask).await {
        Ok(Ok(b'S')) => Ok((server, true)),
        Ok(Ok(b'N')) => Ok((server, false)),
        Ok(Ok(_)) => Err(io::Error::other("the server answered an SSLRequest with something else")),
        Ok(Err(error)) => Err(error),
        Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "the server did not answer an SSLRequest")),
    }
}

async fn establish(
    shared: &Shared,
    route: &Route,
    mut client: Socket,
    server: Socket,
    hello: &[u8],
    direct: bool,
    said: &mut Option<Box<HelloRecord>>,
) -> Result<Negotiated, Failure> {
    let client_failed = |error: io::Error| Failure(Side::Client, error.to_string());
    if !direct {
        client.write_all(b"S").await.map_err(client_failed)?;
    }
    let accepted = read_hello(&mut client, hello).await?;
    let asked = accepted.client_hello();
    let server_name = asked.server_name().map(str::to_owned);
    let alpn: Vec<Vec<u8>> = asked.alpn().into_iter().flatten().map(<[u8]>::to_vec).collect();
    let name = upstream_name(server_name.as_deref(), &route.destination);
    let asking = Asking { route, direct, name, alpn, closed: AtomicBool::new(false) };
    // Until the client's own handshake has begun, an alert is all that it understands.
    let prepared = async {
        if direct && !asking.alpn.iter().any(|name| name == ALPN) {
            // As the server: without it, other protocols could be tunnelled to it.
            return Err(Failure(Side::Client, "direct TLS without the ALPN name \"postgresql\"".into()));
        }
        let (witness, server) = asking.handshake(shared, server, None).await?;
        let (shown, key) = show(shared, route, &witness).await?;
        let client_witness = witness.asked().map(|hints| shared.tls.client_witness(hints.to_vec()));
        let alpn = server.get_ref().1.alpn_protocol().map(<[u8]>::to_vec);
        let config = shared.tls.server_config(key, alpn, client_witness.clone()).map_err(own)?;
        Ok((witness, server, shown, client_witness, config))
    };
    let (witness, server, shown, client_witness, config) = match prepared.await {
        Ok(prepared) => prepared,
        Err(failure) => {
            // As the server, where it does not speak direct TLS: it closes without a word.
            if !(direct && asking.closed.load(Relaxed)) {
                // A client that is gone needs no alert.
                let _ = client.write_all(HANDSHAKE_FAILURE).await;
            }
            return Err(failure);
        }
    };
    let accepting = StartHandshake::from_parts(accepted, client).into_stream(config);
    let client: ClientSide<Socket> = accepting.await.map_err(|error| explain(&error, shown))?;
    let reissued = reissued(shared, client_witness.as_deref()).map_err(own)?;
    let server = match &reissued {
        None => (witness, server),
        Some(key) => asking.again(shared, &witness, Some(key.clone())).await?,
    };
    let (upstream, server) = asking.greet(shared, server, reissued, said).await?;
    let (version, cipher) = spoken(client.get_ref().1);
    let tls = TlsSession {
        version,
        cipher,
        shown,
        server_name,
        direct,
        client_certificate: client_witness.and_then(|witness| witness.certificate()),
        upstream,
    };
    Ok(Negotiated::Established {
        client: Stream::Tls(Box::new(TlsStream::Server(client))),
        server,
        tls: Box::new(tls),
    })
}

/// A connection to the server with TLS where it speaks that, for a client that goes on in clear because its own TLS
/// could not be carried: what leaves this host stays encrypted. The client asked for no verification, so none is made.
pub(super) async fn secure(
    shared: &Shared,
    route: &Route,
    said: &mut Option<Box<HelloRecord>>,
) -> io::Result<(Stream, Option<Box<UpstreamTls>>)> {
    let (server, speaks_tls) = open(shared, route, false).await?;
    if !speaks_tls {
        let (stream, record) = upstream::greet(shared, route, Stream::Plain(server)).await;
        *said = record;
        return Ok((stream?, None));
    }
    let name = upstream_name(None, &route.destination);
    let asking = Asking { route, direct: false, name, alpn: Vec::new(), closed: AtomicBool::new(false) };
    let failed = |Failure(_, reason): Failure| io::Error::other(reason);
    let server = asking.handshake(shared, server, None).await.map_err(failed)?;
    let (tls, stream) = asking.greet(shared, server, None, said).await.map_err(failed)?;
    Ok((stream, Some(Box::new(tls))))
}

/// What the client asks for, and so governor of the server.
struct Asking<'a> {
    route: &'a Route,
    direct: bool,
    name: ServerName<'static>,
    alpn: Vec<Vec<u8>>,
    /// The server closed in the middle of a handshake, without an alert.
    closed: AtomicBool,
}

type Server = (Arc<ServerWitness>, ServerSide<Socket>);

impl Asking<'_> {
    /// A handshake with the server; `own` is shown where it asks for a certificate.
    async fn handshake(
        &self,
        shared: &Shared,
        server: Socket,
        certificate: Option<Arc<CertifiedKey>>,
    ) -> Result<Server, Failure> {
        let failed = |reason: String| Failure(Side::Database, reason);
        let witness = shared.tls.server_witness(certificate);
        let config = shared.tls.client_config(&witness, self.alpn.clone()).map_err(own)?;
        let connecting = TlsConnector::from(config).connect(self.name.clone(), server);
        let server = tokio::time::timeout(shared.connect_timeout, connecting)
            .await
            .map_err(|_| failed("its handshake took too long".into()))?
            .map_err(|error| {
                let is_closed = matches!(error.kind(), UnexpectedEof | ConnectionReset);
                self.closed.store(is_closed, Relaxed);
                failed(format!("{error}{}", hint(&error)))
            })?;
        if self.direct && server.get_ref().1.alpn_protocol() != Some(ALPN) {
            return Err(failed("it does not speak PostgreSQL in direct TLS (ALPN)".into()));
        }
        Ok((witness, server))
    }

    /// Says hello within the TLS of a connection, where a peer is to know who asks. A server that does not know what that is
    /// closes: then the client gets another connection, made in the same way.
    async fn greet(
        &self,
        shared: &Shared,
        (witness, server): Server,
        certificate: Option<Arc<CertifiedKey>>,
        said: &mut Option<Box<HelloRecord>>,
    ) -> Result<(UpstreamTls, Stream), Failure> {
        let tls = described(&witness, &server)?;
        let mut stream = Stream::Tls(Box::new(TlsStream::Client(server)));
        let (record, again) = match say(shared, self.route, &mut stream).await {
            None => return Ok((tls, stream)),
            Some(Said::Accepted(record) | Said::Omitted(record)) => (record, false),
            Some(Said::Unanswered(record)) => (record, true),
            Some(Said::Refused(record)) => {
                let reason = refusal(&record).to_string();
                *said = Some(record);
                return Err(Failure(Side::Database, reason));
            }
        };
        *said = Some(record);
        if !again {
            return Ok((tls, stream));
        }
        drop(stream);
        let (witness, server) = self.again(shared, &witness, certificate).await?;
        Ok((described(&witness, &server)?, Stream::Tls(Box::new(TlsStream::Client(server)))))
    }

    /// A second connection: the server has to see a certificate in its handshake, or the first was lost. It must be the same
    /// server: what the client was shown vouches for the first.
    async fn again(
        &self,
        shared: &Shared,
        first: &ServerWitness,
        certificate: Option<Arc<CertifiedKey>>,
    ) -> Result<Server, Failure> {
        let failed = |reason: String| Failure(Side::Database, reason);
        let (fresh, speaks_tls) =
            open(shared, self.route, self.direct).await.map_err(|error| failed(error.to_string()))?;
        if !speaks_tls {
            return Err(failed("it declined TLS on a second connection".into()));
        }
        let (witness, server) = self.handshake(shared, fresh, certificate).await?;
        if witness.chain().first() != first.chain().first() {
            return Err(failed("it presented another certificate on a second connection".into()));
        }
        Ok((witness, server))
    }
}

/// What the client is shown. Looks into /proc and at files, so on a thread that may wait for them.
async fn show(
    shared: &Shared,
    route: &Route,
    witness: &ServerWitness,
) -> Result<(ShownCertificate, Arc<CertifiedKey>), Failure> {
    let verified = witness.certificate().is_some_and(|certificate| certificate.verified);
    let (tls, chain, route) = (shared.tls.clone(), witness.chain().to_vec(), route.clone());
    // A captured server of this host is found where it is, from wherever it was dialled.
    let namespace = route.server_namespace();
    let look = move || tls.shown(&route.destination, &chain, verified);
    let shown = match namespace {
        // What listens in a network namespace is seen from there only.
        Some(namespace) => shared.entrance.within(namespace, look).await.map_err(own)?,
        None => tokio::task::spawn_blocking(look).await.map_err(own)?,
    };
    shown.map_err(own)
}

fn described(witness: &ServerWitness, server: &ServerSide<Socket>) -> Result<UpstreamTls, Failure> {
    let (version, cipher) = spoken(server.get_ref().1);
    let certificate = witness
        .certificate()
        .ok_or_else(|| Failure(Side::Database, "no certificate was presented".into()))?;
    Ok(UpstreamTls { version, cipher, certificate, wants_client_certificate: witness.asked().is_some() })
}

/// Something of governor's own went wrong.
fn own(error: impl std::fmt::Display) -> Failure {
    Failure(Side::Governor, error.to_string())
}

/// The client's ClientHello: what it asks for, before it is answered. rustls bounds its length.
async fn read_hello(client: &mut Socket, already: &[u8]) -> Result<Accepted, Failure> {
    let mut acceptor = Acceptor::default();
    let mut bytes = already.to_vec();
    loop {
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            acceptor.read_tls(&mut rest).map_err(|error| Failure(Side::Client, error.to_string()))?;
        }
        match acceptor.accept() {
            Ok(Some(accepted)) => return Ok(accepted),
            Ok(None) => {}
            Err((error, mut alert)) => {
                let mut farewell = Vec::new();
                // Writing to a Vec does not fail; a client that is gone needs no alert.
                let _ = alert.write_all(&mut farewell);
                let _ = client.write_all(&farewell).await;
                return Err(Failure(Side::Client, error.to_string()));
            }
        }
        bytes.resize(HELLO_READ_BYTES, 0);
        match client.read(&mut bytes).await {
            Ok(0) => return Err(Failure(Side::Client, "it closed the connection".into())),
            Ok(n) => bytes.truncate(n),
            Err(error) => return Err(Failure(Side::Client, error.to_string())),
        }
    }
}

/// The certificate that the server is shown instead of the client's: only for one that was verified.
fn reissued(shared: &Shared, client: Option<&ClientWitness>) -> Result<Option<Arc<CertifiedKey>>, String> {
    let Some(client) = client.filter(|c| c.certificate().is_some_and(|c| c.verified)) else {
        return Ok(None);
    };
    let Some(leaf) = client.leaf() else { return Ok(None) };
    shared.tls.reissued(leaf).map_err(|error| error.to_string())
}

/// The name to ask the server for: the client's, or none at all, which an address stands for.
fn upstream_name(asked: Option<&str>, destination: &Endpoint) -> ServerName<'static> {
    asked
        .and_then(|name| ServerName::try_from(name.to_owned()).ok())
        .unwrap_or_else(|| ServerName::from(SocketAddr::new(destination.address, destination.port).ip()))
}

/// What a server's alert may mean, for a person.
fn hint(error: &io::Error) -> &'static str {
    use rustls::AlertDescription::HandshakeFailure;
    let cause = error.get_ref().and_then(|cause| cause.downcast_ref::<rustls::Error>());
    match cause {
        // It has no other word for a certificate that fits none of the signatures which governor offers.
        Some(rustls::Error::AlertReceived(HandshakeFailure)) => {
            "; its certificate may have a kind of key that governor does not speak: limits in docs/tls.md"
        }
        _ => "",
    }
}

/// Says what a client's alert means to a person.
fn explain(error: &io::Error, shown: ShownCertificate) -> Failure {
    use ShownCertificate as S;
    let hint = match shown {
        S::LocalCa => "; a client that verifies has to trust governor's CA: governor tls ca",
        S::Unverified => {
            "; governor could not verify the server's certificate and so vouches for none: tls.upstream_roots"
        }
        S::ServerKey => "",
    };
    Failure(Side::Client, format!("{error}{hint}"))
}

/// Version and cipher suite in the registry's words.
fn spoken(connection: &rustls::CommonState) -> (String, String) {
    let version = connection.protocol_version().map(|version| format!("{version:?}").replace('_', "."));
    let cipher = connection.negotiated_cipher_suite().map(|suite| format!("{:?}", suite.suite()));
    (version.unwrap_or_default(), cipher.unwrap_or_default())
}

/// Length 8, code 80877103.
const SSL_REQUEST: &[u8] = &[0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];
/// TLS record: fatal alert `handshake_failure` (RFC 8446, section 6).
const HANDSHAKE_FAILURE: &[u8] = &[0x15, 3, 3, 0, 2, 2, 40];
const HELLO_READ_BYTES: usize = 4096;
