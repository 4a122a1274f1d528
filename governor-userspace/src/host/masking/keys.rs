//! The file with the roots of masking keys: made at the first start, or handed over by systemd.
//!
//! One key a line, the newest last: 64 hexadecimal digits, then when it was made and its name, which are for people.
//! Lines that begin with `#` are comments. Old keys stay: their tokens can still be revealed.
//!
//! Invariant: a file that anybody but its owner may read or write is not used. Nothing of a key is logged, printed or
//! shown; the name of a key tells nothing of it.

use crate::engine::masking::{KeyId, KeyRing, MaskingKey, ROOT_BYTES};
use crate::engine::model::Timestamp;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use zeroize::Zeroizing;

pub const KEY_FILE: &str = "masking.keys";

/// Where keys come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeySource {
    /// A directory of the host: the file is made there if there is none.
    Directory(PathBuf),
    /// A credential of systemd by its name; governor only reads it.
    Credential { name: String, directory: Option<OsString> },
}

/// Why there are no keys.
#[derive(Debug, thiserror::Error)]
pub enum MaskingKeyError {
    #[error("the masking keys {}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error(
        "the masking keys {} can be read or written by others (mode {mode:03o}): make it 600, and take the keys in it \
         for known", path.display()
    )]
    Exposed { path: PathBuf, mode: u32 },
    #[error("the masking keys {} belong to another user (uid {uid})", path.display())]
    Owner { path: PathBuf, uid: u32 },
    #[error("the masking keys {}:{line}: {reason}", path.display())]
    Malformed { path: PathBuf, line: usize, reason: &'static str },
    #[error(
        "the masking keys {} are more than {} KiB, so no key can be added: take out keys whose tokens nobody needs any \
         more, the oldest first", path.display(), FILE_BYTES_MAX >> 10
    )]
    TooLarge { path: PathBuf },
    #[error("the masking keys {} hold no key", path.display())]
    Empty { path: PathBuf },
    #[error("the masking keys come from a credential, and governor was not started by systemd with one")]
    NoCredentials,
    #[error(
        "the masking keys come from the credential {name:?}, which governor does not write: add a line to it and \
         restart"
    )]
    ReadOnly { name: String },
}

/// A key as people see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyInfo {
    pub id: String,
    /// Empty where the file does not say.
    pub created: String,
    /// It masks; the others only reveal.
    pub current: bool,
}

/// The keys of this instance.
#[derive(Debug)]
pub struct MaskingKeys {
    source: KeySource,
    ring: Arc<KeyRing>,
    listed: Mutex<Vec<KeyInfo>>,
    created: Option<KeyId>,
}

impl MaskingKeys {
    /// Reads the keys; where there is no file, makes one with a first key.
    pub fn open(source: KeySource, now: Timestamp) -> Result<Self, MaskingKeyError> {
        let mut created = None;
        if let KeySource::Directory(directory) = &source {
            let path = directory.join(KEY_FILE);
            let failed = |source| MaskingKeyError::Io { path: path.clone(), source };
            fs::DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(failed)?;
            if !path.try_exists().map_err(failed)? {
                created = Some(add(&path, "", now)?);
            }
        }
        let (keys, listed) = read(&source)?;
        let ring = Arc::new(KeyRing::new(keys));
        Ok(Self { source, ring, listed: Mutex::new(listed), created })
    }

    /// What masking uses; shared with every worker.
    pub fn ring(&self) -> Arc<KeyRing> {
        self.ring.clone()
    }

    /// The key that [`Self::open`] made; `None`: there were some.
    pub fn created(&self) -> Option<KeyId> {
        self.created
    }

    /// Oldest first.
    pub fn list(&self) -> Vec<KeyInfo> {
        self.listed.lock().clone()
    }

    /// Makes a new key, on disk first: from the next value on it masks.
    pub fn rotate(&self, now: Timestamp) -> Result<KeyInfo, MaskingKeyError> {
        let path = match &self.source {
            KeySource::Directory(directory) => directory.join(KEY_FILE),
            KeySource::Credential { name, .. } => {
                return Err(MaskingKeyError::ReadOnly { name: name.clone() });
            }
        };
        let mut listed = self.listed.lock();
        let before = text(&path, 0o077)?;
        parse(&path, &before)?;
        add(&path, &before, now)?;
        let (keys, fresh) = read(&self.source)?;
        self.ring.replace(keys);
        *listed = fresh;
        listed.last().cloned().ok_or(MaskingKeyError::Empty { path })
    }
}

type Parsed = (Vec<MaskingKey>, Vec<KeyInfo>);

fn read(source: &KeySource) -> Result<Parsed, MaskingKeyError> {
    let (path, forbidden) = match source {
        KeySource::Directory(directory) => (directory.join(KEY_FILE), 0o077),
        KeySource::Credential { name, directory } => {
            let directory = directory.as_ref().ok_or(MaskingKeyError::NoCredentials)?;
            // The group's bits are the mask of an access list that systemd writes.
            (Path::new(directory).join(name), 0o027)
        }
    };
    let text = text(&path, forbidden)?;
    parse(&path, &text)
}

/// The file's text, where nobody else can have read or written it.
fn text(path: &Path, forbidden: u32) -> Result<Zeroizing<String>, MaskingKeyError> {
    let failed = |source| MaskingKeyError::Io { path: path.into(), source };
    let file = File::open(path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    let mode = metadata.mode() & 0o777;
    if mode & forbidden != 0 {
        return Err(MaskingKeyError::Exposed { path: path.into(), mode });
    }
    let uid = metadata.uid();
    if uid != 0 && uid != nix::unistd::geteuid().as_raw() {
        return Err(MaskingKeyError::Owner { path: path.into(), uid });
    }
    // Room for all of it at once: what a vector grows out of is not wiped.
    let mut text = Zeroizing::new(String::with_capacity(FILE_BYTES_MAX + 1));
    file.take(FILE_BYTES_MAX as u64 + 1).read_to_string(&mut text).map_err(failed)?;
    if text.len() > FILE_BYTES_MAX {
        return Err(MaskingKeyError::TooLarge { path: path.into() });
    }
    Ok(text)
}

fn parse(path: &Path, text: &str) -> Result<Parsed, MaskingKeyError> {
    let (mut keys, mut listed): Parsed = (Vec::new(), Vec::new());
    for (number, line) in text.lines().enumerate() {
        let malformed = |reason| MaskingKeyError::Malformed { path: path.into(), line: number + 1, reason };
        let mut words = line.split_whitespace();
        let Some(root) = words.next().filter(|word| !word.starts_with('#')) else { continue };
        let mut bytes = Zeroizing::new([0; ROOT_BYTES]);
        hex::decode_to_slice(root, &mut *bytes).map_err(|_| malformed("a key is 64 hexadecimal digits"))?;
        let key = MaskingKey::derive(&bytes).map_err(|_| malformed("this key cannot be used"))?;
        let created = words.next().unwrap_or_default().to_owned();
        let id = key.id().to_string();
        if words.next().is_some_and(|named| named != id) {
            return Err(malformed("the key is not the one that the line names"));
        }
        if listed.iter().any(|known: &KeyInfo| known.id == id) {
            return Err(malformed("this key is there twice"));
        }
        listed.push(KeyInfo { id, created, current: false });
        keys.push(key);
    }
    match listed.last_mut() {
        Some(last) => last.current = true,
        None => return Err(MaskingKeyError::Empty { path: path.into() }),
    }
    Ok((keys, listed))
}

/// Writes the file anew with one key more; whole or not at all.
fn add(path: &Path, before: &str, now: Timestamp) -> Result<KeyId, MaskingKeyError> {
    let failed = |source| MaskingKeyError::Io { path: path.into(), source };
    if before.len() + LINE_BYTES_MAX > FILE_BYTES_MAX {
        return Err(MaskingKeyError::TooLarge { path: path.into() });
    }
    let mut root = Zeroizing::new([0; ROOT_BYTES]);
    getrandom::fill(&mut *root).map_err(|error| failed(io::Error::other(error.to_string())))?;
    let key = MaskingKey::derive(&root).map_err(|error| failed(io::Error::other(error)))?;
    let digits = Zeroizing::new(hex::encode(*root));
    let temporary = path.with_extension("keys.new");
    let _ = fs::remove_file(&temporary);
    let write = || -> io::Result<()> {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
        file.write_all(if before.is_empty() { FIRST_LINES } else { before }.as_bytes())?;
        if !before.is_empty() && !before.ends_with('\n') {
            file.write_all(b"\n")?;
        }
        file.write_all(digits.as_bytes())?;
        writeln!(file, " {} {}", now.rfc3339(), key.id())?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        path.parent().map_or(Ok(()), |directory| File::open(directory)?.sync_all())
    };
    write().map_err(failed)?;
    Ok(key.id())
}

const FIRST_LINES: &str = "\
# Secret keys of governor's masking, the newest last: key, when it was made, its name.
# Keep a copy in a safe place: without it no token can be revealed, and hashes change.
";
/// Some hundred keys.
const FILE_BYTES_MAX: usize = 64 << 10;
/// Key, time, name and what is between them.
const LINE_BYTES_MAX: usize = 160;
