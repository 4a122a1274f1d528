//! Which certificates are trusted: a chain to a root that the system or the operator named.
//!
//! Names are not compared here. The client does that, against the same names in what it is shown.

use super::files::{TlsError, certificates};
use super::names;
use rustls::RootCertStore;
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;

#[derive(Debug)]
pub(super) struct Roots {
    pub provider: Arc<CryptoProvider>,
    store: Arc<RootCertStore>,
    /// Those of the operator's files: many databases serve a self-signed certificate that is its own root.
    exact: HashSet<[u8; 32]>,
}

impl Roots {
    /// `system`: those of the operating system too; what of them cannot be read is left out.
    pub fn load(files: &[PathBuf], system: bool, provider: Arc<CryptoProvider>) -> Result<Self, TlsError> {
        let mut store = RootCertStore::empty();
        let mut exact = HashSet::new();
        for path in files {
            for certificate in certificates(path)? {
                exact.insert(names::digest(&certificate));
                // A leaf that is trusted as it is need not be able to sign others.
                let _ = store.add(certificate);
            }
        }
        if system {
            let found = rustls_native_certs::load_native_certs();
            for error in &found.errors {
                tracing::debug!(%error, "a system root certificate cannot be read");
            }
            store.add_parsable_certificates(found.certs);
        }
        Ok(Self { provider, store: Arc::new(store), exact })
    }

    /// Whether a server with this certificate may be believed; why not.
    pub fn judge_server(
        &self,
        leaf: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), String> {
        if self.names(leaf, now) {
            return Ok(());
        }
        let parsed = ParsedCertificate::try_from(leaf).map_err(|error| error.to_string())?;
        let algorithms = self.provider.signature_verification_algorithms.all;
        verify_server_cert_signed_by_trust_anchor(&parsed, &self.store, chain, now, algorithms)
            .map_err(|error| error.to_string())
    }

    /// The same for a client's certificate.
    pub fn judge_client(
        &self,
        leaf: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), String> {
        if self.names(leaf, now) {
            return Ok(());
        }
        if self.store.is_empty() {
            return Err("no roots for clients are configured (tls.client_roots)".into());
        }
        let verifier = WebPkiClientVerifier::builder_with_provider(self.store.clone(), self.provider.clone())
            .build()
            .map_err(|error| error.to_string())?;
        verifier.verify_client_cert(leaf, chain, now).map(drop).map_err(|error| error.to_string())
    }

    /// The operator named this very certificate, and it is in force.
    fn names(&self, leaf: &CertificateDer<'_>, now: UnixTime) -> bool {
        self.exact.contains(&names::digest(leaf)) && names::in_force(leaf, now.as_secs())
    }
}
