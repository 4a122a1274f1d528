//! Sees what a peer presents in a handshake, and judges it without breaking the handshake off.
//!
//! What follows from a certificate that is not trusted is decided above: the other side of the session sees to it
//! that a client which verifies refuses. That the peer holds the key of what it presents is always checked.

use super::names;
use super::roots::Roots;
use crate::engine::model::PeerCertificate;
use rustls::client::ResolvesClientCert;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::sign::CertifiedKey;
use rustls::{DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};
use std::sync::{Arc, OnceLock};

/// One handshake with a server.
#[derive(Debug)]
pub struct ServerWitness {
    roots: Arc<Roots>,
    /// Shown where the server asks.
    own: Option<Arc<CertifiedKey>>,
    seen: OnceLock<Seen>,
    /// The server asked for a client certificate; names of the CAs that it would trust.
    asked: OnceLock<Vec<Vec<u8>>>,
}

/// One handshake with a client that is asked for a certificate.
#[derive(Debug)]
pub struct ClientWitness {
    roots: Arc<Roots>,
    hints: Vec<DistinguishedName>,
    seen: OnceLock<Seen>,
}

#[derive(Debug)]
struct Seen {
    chain: Vec<CertificateDer<'static>>,
    verdict: Result<(), String>,
}

impl Seen {
    fn new(leaf: &CertificateDer<'_>, rest: &[CertificateDer<'_>], verdict: Result<(), String>) -> Self {
        let chain = std::iter::once(leaf).chain(rest).map(|one| one.clone().into_owned()).collect();
        Self { chain, verdict }
    }

    fn described(&self) -> Option<PeerCertificate> {
        let leaf = self.chain.first()?;
        Some(PeerCertificate {
            subject: names::subject(leaf),
            sha256: hex::encode(names::digest(leaf)),
            verified: self.verdict.is_ok(),
            reason: self.verdict.clone().err().unwrap_or_default(),
        })
    }
}

impl ServerWitness {
    pub(super) fn new(roots: Arc<Roots>, own: Option<Arc<CertifiedKey>>) -> Self {
        Self { roots, own, seen: OnceLock::new(), asked: OnceLock::new() }
    }

    /// The server's chain, its own certificate first; empty before the handshake is over.
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        self.seen.get().map_or(&[], |seen| &seen.chain)
    }

    /// `None` before the handshake is over.
    pub fn certificate(&self) -> Option<PeerCertificate> {
        self.seen.get()?.described()
    }

    /// The CAs that the server names in its request for a client certificate. `None`: it did not ask.
    pub fn asked(&self) -> Option<&[Vec<u8>]> {
        self.asked.get().map(Vec::as_slice)
    }
}

impl ClientWitness {
    pub(super) fn new(roots: Arc<Roots>, hints: Vec<Vec<u8>>) -> Self {
        Self { roots, hints: hints.into_iter().map(DistinguishedName::from).collect(), seen: OnceLock::new() }
    }

    /// The client's own certificate; `None` where it presented none.
    pub fn leaf(&self) -> Option<&CertificateDer<'static>> {
        self.seen.get()?.chain.first()
    }

    pub fn certificate(&self) -> Option<PeerCertificate> {
        self.seen.get()?.described()
    }
}

impl ServerCertVerifier for ServerWitness {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        _ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verdict = self.roots.judge_server(end_entity, intermediates, name, now);
        let _ = self.seen.set(Seen::new(end_entity, intermediates, verdict));
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.roots.holds_key_tls12(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.roots.holds_key_tls13(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.roots.provider.signature_verification_algorithms.supported_schemes()
    }
}

impl ResolvesClientCert for ServerWitness {
    fn resolve(&self, hints: &[&[u8]], schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        // Handed on to the client. A list too long for that is left out, which asks for any certificate.
        let bytes: usize = hints.iter().map(|hint| hint.len() + 2).sum();
        let hints = if bytes > HINTS_BYTES_MAX { &[] } else { hints };
        let _ = self.asked.set(hints.iter().map(|hint| hint.to_vec()).collect());
        self.own.clone().filter(|own| own.key.choose_scheme(schemes).is_some())
    }

    fn has_certs(&self) -> bool {
        // Asked always, so that a request is noticed.
        true
    }
}

impl ClientCertVerifier for ClientWitness {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.hints
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verdict = self.roots.judge_client(end_entity, intermediates, now);
        let _ = self.seen.set(Seen::new(end_entity, intermediates, verdict));
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.roots.holds_key_tls12(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.roots.holds_key_tls13(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.roots.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// Names of CAs in one CertificateRequest, which counts them in 16 bits.
const HINTS_BYTES_MAX: usize = 32 << 10;
