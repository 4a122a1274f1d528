//! Ed25519 key pairs in files: the one that signs the chain, and whatever else this instance signs with.
//!
//! `audit-signing.key` holds the 32-byte seed and `audit-signing.pub` the public key, each as 64
//! hexadecimal digits and a newline. They are made when governor first starts. So is `hello.key` (`host/peers`).
//!
//! Invariant: a signing key that anybody but its owner can read is not used. It is never logged.

use super::LedgerError;
use ed25519_dalek::{SigningKey, VerifyingKey};
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

pub const PUBLIC_KEY_FILE: &str = "audit-signing.pub";
const SIGNING_KEY: &str = "audit-signing";

/// The signing key of this instance's chain, made if there is none.
pub(super) fn load_or_create(dir: &Path) -> Result<SigningKey, LedgerError> {
    signing_key(dir, SIGNING_KEY)
}

/// The key pair `name.key` and `name.pub`, made if there is none.
pub fn signing_key(dir: &Path, name: &str) -> Result<SigningKey, LedgerError> {
    let path = dir.join(name).with_extension("key");
    let failed = |source| LedgerError::Key { path: path.clone(), source };
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(failed)?;
    match existing_signing_key(dir, name) {
        Err(LedgerError::Key { path: at, source })
            if at == path && source.kind() == io::ErrorKind::NotFound =>
        {
            let mut seed = [0; 32];
            getrandom::fill(&mut seed).map_err(|error| failed(io::Error::other(error.to_string())))?;
            create(&path, &seed, 0o600).map_err(failed)?;
            existing_signing_key(dir, name)
        }
        read => read,
    }
}

/// The same; that there is none is an error. A public half that is missing is made.
pub fn existing_signing_key(dir: &Path, name: &str) -> Result<SigningKey, LedgerError> {
    let path = dir.join(name).with_extension("key");
    let failed = |source| LedgerError::Key { path: path.clone(), source };
    let text = fs::read_to_string(&path).map_err(failed)?;
    let mode = fs::metadata(&path).map_err(failed)?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(LedgerError::KeyExposed { path, mode });
    }
    let seed = parse(&text).ok_or_else(|| LedgerError::KeyMalformed { path: path.clone() })?;
    let key = SigningKey::from_bytes(&seed);
    let public_path = path.with_extension("pub");
    match read_public_key(&public_path) {
        Ok(public) if public == key.verifying_key() => {}
        Ok(_) => return Err(LedgerError::KeyMismatch { path: public_path }),
        Err(LedgerError::Key { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            create(&public_path, key.verifying_key().as_bytes(), 0o644)
                .map_err(|source| LedgerError::Key { path: public_path, source })?;
        }
        Err(error) => return Err(error),
    }
    Ok(key)
}

/// Reads a public key file.
pub fn read_public_key(path: &Path) -> Result<VerifyingKey, LedgerError> {
    let text = fs::read_to_string(path).map_err(|source| LedgerError::Key { path: path.into(), source })?;
    parse(&text)
        .and_then(|bytes| VerifyingKey::from_bytes(&bytes).ok())
        .ok_or_else(|| LedgerError::KeyMalformed { path: path.into() })
}

fn parse(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    hex::decode_to_slice(text.trim_end(), &mut bytes).ok()?;
    Some(bytes)
}

/// Whole or not at all: a key that is half on disk after a power cut would be lost for good.
fn create(path: &Path, bytes: &[u8; 32], mode: u32) -> io::Result<()> {
    let temporary = path.with_extension("new");
    let _ = fs::remove_file(&temporary);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&temporary)?;
    writeln!(file, "{}", hex::encode(bytes))?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    path.parent().map_or(Ok(()), super::segment::sync_directory)
}
