//! Roots and revocation lists as their files are now: looked at with each handshake, read again when one changed.
//!
//! Invariant: what cannot be read leaves the roots before in use, and is told once. A bundle that is written in place may count
//! with fewer roots until it is whole; one that is renamed into place does not.

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
    known: Mutex<Known>,
}

type Stamps = Vec<Option<Stamp>>;

/// What was read last.
#[derive(Debug)]
struct Known {
    stamps: Stamps,
    roots: Arc<Roots>,
    /// Somebody was told that a file cannot be read since.
    told: bool,
}

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
        Ok(Self { files, provider, known: Mutex::new(Known { stamps, roots, told: false }) })
    }

    /// What counts for a handshake that begins now. Reads files, so it may block for a moment.
    pub fn now(&self) -> Arc<Roots> {
        let stamps = self.files.stamps();
        let mut known = self.known.lock();
        if known.stamps != stamps {
            match Roots::load(&self.files, self.provider.clone()) {
                Ok(roots) => {
                    tracing::info!(files = ?self.files.roots, "roots and revocation lists were read again");
                    known.roots = Arc::new(roots);
                }
                // It may be readable a moment later, with the same stamps: the next handshake tries again.
                Err(error @ TlsError::Read { .. }) => {
                    if !std::mem::replace(&mut known.told, true) {
                        tracing::warn!(%error, "the roots before stay in use");
                    }
                    return known.roots.clone();
                }
                Err(error) => tracing::warn!(%error, "the roots before stay in use"),
            }
            known.stamps = stamps;
        }
        known.told = false;
        known.roots.clone()
    }
}
