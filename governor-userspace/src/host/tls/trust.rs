//! Roots and revocation lists as their files are now: looked at with each handshake, read again when one changed.
//!
//! Invariant: what cannot be read, as while a file is being replaced, leaves the roots before in use, and is told once.

use super::files::{Stamp, TlsError};
use super::roots::Roots;
use parking_lot::Mutex;
use rustls::crypto::CryptoProvider;
use std::path::PathBuf;
use std::sync::Arc;

/// Files of one kind of peer.
#[derive(Clone, Debug, Default)]
pub(super) struct TrustFiles {
    pub roots: Vec<PathBuf>,
    pub revocation_lists: Vec<PathBuf>,
    /// The operating system's roots too.
    pub system: bool,
}

#[derive(Debug)]
pub(super) struct Trust {
    files: TrustFiles,
    provider: Arc<CryptoProvider>,
    read: Mutex<(Stamps, Arc<Roots>)>,
}

type Stamps = Vec<Option<Stamp>>;

impl TrustFiles {
    fn stamps(&self) -> Stamps {
        self.roots.iter().chain(&self.revocation_lists).map(|path| Stamp::of(path)).collect()
    }
}

impl Trust {
    pub fn open(files: TrustFiles, provider: Arc<CryptoProvider>) -> Result<Self, TlsError> {
        // Before the files: one that changes while it is read is read again.
        let stamps = files.stamps();
        let roots = Arc::new(Roots::load(&files, provider.clone())?);
        Ok(Self { files, provider, read: Mutex::new((stamps, roots)) })
    }

    /// What counts for a handshake that begins now. Reads files, so it may block for a moment.
    pub fn now(&self) -> Arc<Roots> {
        let stamps = self.files.stamps();
        let mut read = self.read.lock();
        if read.0 != stamps {
            match Roots::load(&self.files, self.provider.clone()) {
                Ok(roots) => {
                    tracing::info!(files = ?self.files.roots, "roots and revocation lists were read again");
                    read.1 = Arc::new(roots);
                }
                Err(error) => tracing::warn!(%error, "the roots before stay in use"),
            }
            read.0 = stamps;
        }
        read.1.clone()
    }
}
