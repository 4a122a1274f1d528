//! TLS for both connections of a session: certificates that are shown, certificates that are checked.
//!
//! ```text
//! proxy/handshake ─▶ Tls ┬ roots.rs      is the server's certificate to be trusted?
//!                        │   └ trust.rs  as the operator's files are now
//!                        ├ keys.rs       do we hold its key? (discover.rs: where its server keeps it)
//!                        ├ authority.rs  else: one of our own CA, with the same names
//!                        └ witness.rs    what peers presented in a handshake
//! ```
//!
//! Invariant: a client that verifies is as safe as without governor. It is shown the server's own certificate,
//! or one of governor's CA only where the server's own was verified here and its names could be copied exactly; else one
//! that no CA vouches for, which a client that verifies refuses and one that does not accepts, as both would have done with the server's.

mod authority;
mod discover;
mod files;
mod keys;
mod names;
mod possession;
mod roots;
mod trust;
mod witness;

pub use authority::{Authority, CaInfo};
pub use files::TlsError;
pub use witness::{ClientWitness, ServerWitness};

use crate::engine::model::{Endpoint, ShownCertificate};
use authority::Purpose;
use keys::ServerKeys;
use rustls::client::Resumption;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateDer;
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, ServerConfig};
use std::path::PathBuf;
use std::sync::Arc;
use trust::{Trust, TrustFiles};

/// What an operator decides about TLS; files as configured.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsOptions {
    /// Directory of the CA; made where it is missing.
    pub directory: PathBuf,
    /// Certificate chain and key of each server that clients reach through this host.
    pub server_keys: Vec<(PathBuf, PathBuf)>,
    /// Look for the key of a server on this host where its own configuration says.
    pub discover_server_keys: bool,
    /// Roots for servers' certificates, beside the system's.
    pub upstream_roots: Vec<PathBuf>,
    pub system_roots: bool,
    /// Revocation lists for servers' certificates.
    pub upstream_crls: Vec<PathBuf>,
    /// Roots for clients' certificates.
    pub client_roots: Vec<PathBuf>,
    /// Revocation lists for clients' certificates.
    pub client_crls: Vec<PathBuf>,
    /// Show the server a certificate of governor's CA with the client's subject, where the client's own was
    /// verified.
    pub reissue_client_certificates: bool,
}

/// Everything that a handshake needs. Shared by all workers.
#[derive(Debug)]
pub struct Tls {
    provider: Arc<CryptoProvider>,
    upstream: Trust,
    clients: Trust,
    keys: ServerKeys,
    authority: Authority,
    reissue: bool,
}

impl Tls {
    /// Reads every file that is named, and makes the CA on first use.
    pub fn open(options: &TlsOptions) -> Result<Self, TlsError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        Ok(Self {
            upstream: Trust::open(
                TrustFiles {
                    roots: options.upstream_roots.clone(),
                    revocation_lists: options.upstream_crls.clone(),
                    system: options.system_roots,
                },
                provider.clone(),
            )?,
            clients: Trust::open(
                TrustFiles {
                    roots: options.client_roots.clone(),
                    revocation_lists: options.client_crls.clone(),
                    system: false,
                },
                provider.clone(),
            )?,
            keys: ServerKeys::load(&options.server_keys, options.discover_server_keys, provider.clone())?,
            authority: Authority::open(&options.directory, provider.clone())?,
            reissue: options.reissue_client_certificates,
            provider,
        })
    }

    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// What a client of `destination` is shown, whose server presented `chain` and was `verified` or not.
    /// Reads files, so it may block for a moment.
    pub fn shown(
        &self,
        destination: &Endpoint,
        chain: &[CertificateDer<'static>],
        verified: bool,
    ) -> Result<(ShownCertificate, Arc<CertifiedKey>), TlsError> {
        let leaf = chain.first().ok_or(TlsError::NoCertificate)?;
        if let Some(own) = self.keys.find(destination, leaf) {
            return Ok((ShownCertificate::ServerKey, own));
        }
        if verified {
            match self.authority.issue(leaf, Purpose::Server) {
                Ok(issued) => return Ok((ShownCertificate::LocalCa, issued)),
                Err(error) => tracing::warn!(%destination, %error, "not vouched for"),
            }
        }
        let issued = self.authority.issue(leaf, Purpose::UnverifiedServer)?;
        Ok((ShownCertificate::Unverified, issued))
    }

    /// A certificate for the server with the subject of the client's, which must have been verified.
    /// `None` where the operator does not want that.
    pub fn reissued(&self, client: &CertificateDer<'static>) -> Result<Option<Arc<CertifiedKey>>, TlsError> {
        self.reissue.then(|| self.authority.issue(client, Purpose::Client)).transpose()
    }

    /// Watches one handshake with a server. `own` is shown to it where it asks.
    pub fn server_witness(&self, own: Option<Arc<CertifiedKey>>) -> Arc<ServerWitness> {
        Arc::new(ServerWitness::new(self.upstream.now(), own))
    }

    /// Watches one handshake with a client; `hints` are the names of the CAs that the server asked for.
    pub fn client_witness(&self, hints: Vec<Vec<u8>>) -> Arc<ClientWitness> {
        Arc::new(ClientWitness::new(self.clients.now(), hints))
    }

    /// For a handshake with a server, which is offered these ALPN names.
    pub fn client_config(
        &self,
        witness: &Arc<ServerWitness>,
        alpn: Vec<Vec<u8>>,
    ) -> Result<Arc<ClientConfig>, TlsError> {
        let mut config = ClientConfig::builder_with_provider(self.provider.clone())
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(witness.clone())
            .with_client_cert_resolver(witness.clone());
        config.resumption = Resumption::disabled();
        config.alpn_protocols = alpn;
        Ok(Arc::new(config))
    }

    /// For a handshake with a client; it is asked for a certificate where there is a `witness` for it, and told the
    /// ALPN name that the server chose.
    pub fn server_config(
        &self,
        shown: Arc<CertifiedKey>,
        alpn: Option<Vec<u8>>,
        witness: Option<Arc<ClientWitness>>,
    ) -> Result<Arc<ServerConfig>, TlsError> {
        let builder = ServerConfig::builder_with_provider(self.provider.clone())
            .with_safe_default_protocol_versions()?;
        let builder = match witness {
            Some(witness) => builder.with_client_cert_verifier(witness),
            None => builder.with_no_client_auth(),
        };
        let mut config = builder.with_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(shown)));
        config.alpn_protocols = alpn.into_iter().collect();
        // As PostgreSQL: no session is resumed, so every one shows what it has to show.
        config.send_tls13_tickets = 0;
        config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
        Ok(Arc::new(config))
    }
}

/// Of the CA, below the state directory.
pub const TLS_DIRECTORY: &str = "tls";
/// The protocol's name in TLS (IANA registry of ALPN protocol ids).
pub const ALPN: &[u8] = b"postgresql";

#[cfg(test)]
mod tests;
