//! Server keys that governor holds: configured, or found where a server of this host keeps its own.
//!
//! A key is used for a session only where the server itself presented that very certificate and so proved that it
//! holds the key too. So a file that names somebody else's key gives nobody anything that they did not have.
//! Files that change are read again at the next handshake; a bad one leaves the one before in use.

use super::files::{Stamp, TlsError, certificates, private_key};
use super::{discover, names};
use crate::engine::model::Endpoint;
use lru::LruCache;
use parking_lot::Mutex;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateDer;
use rustls::sign::CertifiedKey;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use x509_parser::prelude::{FromDer, X509Certificate};

#[derive(Debug)]
pub(super) struct ServerKeys {
    provider: Arc<CryptoProvider>,
    configured: Vec<KeyFiles>,
    /// By digest of the certificate: what was found, or when nothing was.
    found: Option<Mutex<LruCache<[u8; 32], Found>>>,
}

#[derive(Debug, Clone)]
enum Found {
    Key(Arc<KeyFiles>),
    Nothing { since: Instant },
}

/// A certificate chain and its key in two files, which may be one.
#[derive(Debug)]
struct KeyFiles {
    certificate: PathBuf,
    key: PathBuf,
    loaded: Mutex<Loaded>,
}

#[derive(Debug)]
struct Loaded {
    stamps: [Option<Stamp>; 2],
    key: Option<Arc<CertifiedKey>>,
}

impl ServerKeys {
    /// Every file that is named must be readable now.
    pub fn load(
        files: &[(PathBuf, PathBuf)],
        discover: bool,
        provider: Arc<CryptoProvider>,
    ) -> Result<Self, TlsError> {
        let mut configured = Vec::new();
        for (certificate, key) in files {
            configured.push(KeyFiles::load(certificate, key, &provider)?);
        }
        Ok(Self { provider, configured, found: discover.then(|| Mutex::new(LruCache::new(FOUND_COUNT_MAX))) })
    }

    /// The key of the certificate that the server at `destination` presented.
    pub fn find(&self, destination: &Endpoint, leaf: &CertificateDer<'_>) -> Option<Arc<CertifiedKey>> {
        let fits = |key: &Arc<CertifiedKey>| key.cert.first().is_some_and(|own| own == leaf);
        let configured = self.configured.iter().find_map(|files| files.current(&self.provider).filter(fits));
        if configured.is_some() {
            return configured;
        }
        let found = self.found.as_ref()?;
        let digest = names::digest(leaf);
        let known = found.lock().get(&digest).cloned();
        match known {
            Some(Found::Key(files)) => {
                if let Some(key) = files.current(&self.provider).filter(fits) {
                    return Some(key);
                }
            }
            Some(Found::Nothing { since }) if since.elapsed() < NOTHING_HOLDS_FOR => return None,
            _ => {}
        }
        let files = discover::server_key(destination)
            .and_then(|(certificate, key)| KeyFiles::load(&certificate, &key, &self.provider).ok())
            .filter(|files| files.current(&self.provider).as_ref().is_some_and(fits))
            .map(Arc::new);
        let now = match &files {
            Some(files) => {
                tracing::info!(%destination, certificate = %files.certificate.display(), "the server's own certificate and key are used");
                Found::Key(files.clone())
            }
            None => Found::Nothing { since: Instant::now() },
        };
        found.lock().put(digest, now);
        files.and_then(|files| files.current(&self.provider))
    }
}

impl KeyFiles {
    fn load(certificate: &Path, key: &Path, provider: &CryptoProvider) -> Result<Self, TlsError> {
        let stamps = [Stamp::of(certificate), Stamp::of(key)];
        let loaded = Loaded { stamps, key: Some(Arc::new(read_pair(certificate, key, provider)?)) };
        Ok(Self { certificate: certificate.into(), key: key.into(), loaded: Mutex::new(loaded) })
    }

    /// The key as the files have it now; as they had it, where they are not usable.
    fn current(&self, provider: &CryptoProvider) -> Option<Arc<CertifiedKey>> {
        let stamps = [Stamp::of(&self.certificate), Stamp::of(&self.key)];
        let mut loaded = self.loaded.lock();
        if loaded.stamps != stamps {
            match read_pair(&self.certificate, &self.key, provider) {
                Ok(key) => {
                    tracing::info!(certificate = %self.certificate.display(), "certificate and key were read again");
                    loaded.key = Some(Arc::new(key));
                }
                // Often only one of the two was replaced so far: its stamp is kept, so this is said once.
                Err(error) => {
                    tracing::warn!(%error, "a changed certificate or key is not usable; the one before stays in use");
                }
            }
            loaded.stamps = stamps;
        }
        loaded.key.clone()
    }
}

pub(super) fn read_pair(
    certificate: &Path,
    key: &Path,
    provider: &CryptoProvider,
) -> Result<CertifiedKey, TlsError> {
    let chain = certificates(certificate)?;
    let signing = provider
        .key_provider
        .load_private_key(private_key(key)?)
        .map_err(|error| TlsError::NoKey { path: key.into(), reason: error.to_string() })?;
    let certified = CertifiedKey::new(chain, signing);
    if fits(&certified) {
        Ok(certified)
    } else {
        Err(TlsError::Mismatch { certificate: certificate.into(), key: key.into() })
    }
}

/// The key is the certificate's. Compared by hand where the library does not read the certificate (version 1).
fn fits(pair: &CertifiedKey) -> bool {
    let by_hand = || {
        let (_, parsed) = X509Certificate::from_der(pair.cert.first()?).ok()?;
        Some(pair.key.public_key()?.as_ref() == parsed.public_key().raw)
    };
    pair.keys_match().is_ok() || by_hand() == Some(true)
}

/// Servers whose keys were looked for.
const FOUND_COUNT_MAX: NonZeroUsize = NonZeroUsize::MIN.saturating_add(255);
/// So long nobody looks again for a key that was not found.
const NOTHING_HOLDS_FOR: Duration = Duration::from_secs(30);
