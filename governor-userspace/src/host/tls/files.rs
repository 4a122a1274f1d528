//! Certificates and keys in files: read with a bound, parsed, and watched for changes by their stat.

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use std::io::Read;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use webpki::{CertRevocationList, OwnedCertRevocationList};

/// Something about certificates or keys went wrong.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("{}: {source}", path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error("{}: larger than 4 MiB", path.display())]
    TooLarge { path: PathBuf },
    #[error("{}: no certificate in PEM form is in this file", path.display())]
    NoCertificateIn { path: PathBuf },
    #[error("{}: no revocation list in PEM form is in this file", path.display())]
    NoListIn { path: PathBuf },
    #[error("{}: a revocation list cannot be read: {reason}", path.display())]
    List { path: PathBuf, reason: String },
    #[error("{}: no usable private key is in this file ({reason}); a key with a pass phrase is not supported", path.display())]
    NoKey { path: PathBuf, reason: String },
    #[error("the key in {} is not that of the certificate in {}", key.display(), certificate.display())]
    Mismatch { certificate: PathBuf, key: PathBuf },
    #[error("{}: {reason}", path.display())]
    Authority { path: PathBuf, reason: String },
    #[error("a certificate cannot be issued: {0}")]
    Issue(String),
    #[error("the peer presented no certificate")]
    NoCertificate,
    #[error("{0}")]
    Library(#[from] rustls::Error),
}

/// Tells whether a file is still the one that was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    device: u64,
    inode: u64,
    bytes: u64,
    modified: (i64, i64),
    /// Set by the kernel: what keeps the others cannot keep this one.
    changed: (i64, i64),
}

impl Stamp {
    pub fn of(path: &Path) -> Option<Self> {
        let meta = std::fs::metadata(path).ok()?;
        Some(Self {
            device: meta.dev(),
            inode: meta.ino(),
            bytes: meta.len(),
            modified: (meta.mtime(), meta.mtime_nsec()),
            changed: (meta.ctime(), meta.ctime_nsec()),
        })
    }
}

/// A regular file's content, at most `bytes_max` of it. Never waits, whatever somebody put at the path.
pub(super) fn read(path: &Path, bytes_max: u64) -> std::io::Result<Vec<u8>> {
    // Opening a FIFO would wait for its writer.
    let file = std::fs::File::options().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(std::io::Error::other("not a regular file"));
    }
    let mut bytes = Vec::new();
    file.take(bytes_max).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// What a PEM file holds: all of it, since a part of a bundle would count for the whole.
pub(super) fn read_pem(path: &Path) -> Result<Vec<u8>, TlsError> {
    let bytes =
        read(path, PEM_BYTES_MAX + 1).map_err(|source| TlsError::Read { path: path.into(), source })?;
    if bytes.len() as u64 > PEM_BYTES_MAX {
        return Err(TlsError::TooLarge { path: path.into() });
    }
    Ok(bytes)
}

/// Every certificate of a PEM file, in order; at least one.
pub(super) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let bytes = read_pem(path)?;
    let found: Vec<_> = CertificateDer::pem_slice_iter(&bytes).filter_map(Result::ok).collect();
    if found.is_empty() {
        return Err(TlsError::NoCertificateIn { path: path.into() });
    }
    Ok(found)
}

/// Every revocation list of a PEM file; at least one, and none that cannot be read: it would revoke nothing.
pub(super) fn revocation_lists(path: &Path) -> Result<Vec<CertRevocationList<'static>>, TlsError> {
    let bytes = read_pem(path)?;
    let fail = |reason: String| TlsError::List { path: path.into(), reason };
    let mut lists = Vec::new();
    for list in CertificateRevocationListDer::pem_slice_iter(&bytes) {
        let list = list.map_err(|error| fail(error.to_string()))?;
        let list = OwnedCertRevocationList::from_der(&list).map_err(|error| fail(error.to_string()))?;
        lists.push(list.into());
    }
    if lists.is_empty() {
        return Err(TlsError::NoListIn { path: path.into() });
    }
    Ok(lists)
}

/// The first private key of a PEM file.
pub(super) fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    let bytes = read_pem(path)?;
    PrivateKeyDer::from_pem_slice(&bytes)
        .map_err(|error| TlsError::NoKey { path: path.into(), reason: error.to_string() })
}

/// A system's bundle of roots has some hundred KiB.
const PEM_BYTES_MAX: u64 = 4 << 20;
