//! Other hosts whose governors say who their clients are: the configuration's peers, and this host's own key.
//!
//! The key is `keys/hello.key` of the instance. Its public half (`governor keys hello`) is what the other host's
//! configuration names. The messages are `engine/wire/hello`, their road is `host/proxy/hello`. Both the key and the peers
//! can be read again while sessions go on: `known.rs` is what holds at one moment.
//!
//! Invariants: the private key leaves this module as signatures only; what cannot be read whole changes nothing.

mod known;
mod silent;

pub use known::{HelloMode, Known, Peer};

use crate::engine::wire::hello::fingerprint;
use crate::host::ledger::{LedgerError, existing_signing_key, read_public_key, signing_key};
use arc_swap::ArcSwap;
use parking_lot::Mutex;
use silent::Silent;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// All peers, and this host itself. Shared by the workers.
pub struct Peers {
    keys: PathBuf,
    host: String,
    known: ArcSwap<Known>,
    /// Why the last reading was refused. Locked while one is under way, so that an older reading never replaces a newer one.
    refused: Mutex<Option<String>>,
    /// Addresses that did not answer as governor.
    pub silent: Silent,
}

impl fmt::Debug for Peers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Peers").field("known", &self.known.load()).finish_non_exhaustive()
    }
}

/// What a reading came to.
#[derive(Debug)]
pub struct PeersRead {
    pub known: Arc<Known>,
    pub changed: bool,
}

impl Peers {
    /// Makes the key on first use. `keys` is the instance's directory of keys.
    pub fn open(keys: &Path, peers: Vec<Peer>) -> Result<Self, LedgerError> {
        let key = signing_key(keys, KEY_NAME)?;
        let host = nix::sys::utsname::uname()
            .map_or_else(|_| String::new(), |names| names.nodename().to_string_lossy().into_owned());
        Ok(Self {
            keys: keys.to_owned(),
            host,
            known: ArcSwap::from_pointee(Known::new(key, peers)),
            refused: Mutex::default(),
            silent: Silent::default(),
        })
    }

    /// What holds now. One exchange of hellos keeps to one answer: its messages are signed with one key.
    pub fn known(&self) -> Arc<Known> {
        self.known.load_full()
    }

    /// What this host calls itself.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Reads the key again, and takes what `read` answers for the peers. Where either fails all stays as it is, and
    /// [`Peers::lines`] say why. A key that is gone is an error here: another one would be nobody that other hosts know.
    pub fn read_again(&self, read: impl FnOnce() -> Result<Vec<Peer>, String>) -> Result<PeersRead, String> {
        let mut refused = self.refused.lock();
        let result = read().and_then(|peers| {
            let key = existing_signing_key(&self.keys, KEY_NAME).map_err(|error| error.to_string())?;
            Ok(self.known.load().followed_by(key, peers))
        });
        *refused = result.as_ref().err().cloned();
        let next = result?;
        let Some(next) = next else {
            return Ok(PeersRead { known: self.known(), changed: false });
        };
        let known = Arc::new(next);
        self.known.store(known.clone());
        // Who is somebody else now may answer.
        self.silent.clear();
        Ok(PeersRead { known, changed: true })
    }

    /// One line for each peer, for people, and how the last reading went.
    pub fn lines(&self) -> Vec<String> {
        let mut lines = self.known.load().lines();
        if let Some(reason) = &*self.refused.lock() {
            lines.push(format!("not read again, the ones before hold: {reason}"));
        }
        lines
    }
}

/// The public key of the instance with this directory of keys, as 64 hexadecimal digits, and its fingerprint.
pub fn public_key(keys: &Path) -> Result<(String, String), LedgerError> {
    public_key_of(keys, KEY_NAME)
}

/// That of the key which is ready to follow; `None` where there is none.
pub fn next_public_key(keys: &Path) -> Result<Option<(String, String)>, LedgerError> {
    if !keys.join(NEXT_KEY_NAME).with_extension("key").exists() {
        return Ok(None);
    }
    public_key_of(keys, NEXT_KEY_NAME).map(Some)
}

/// Makes the key that is to follow, where there is none yet. Nothing uses it until [`use_next_key`].
pub fn make_next_key(keys: &Path) -> Result<(), LedgerError> {
    if !keys.join(NEXT_KEY_NAME).with_extension("key").exists() {
        // What a change that was cut off has left would be the public half of another key.
        remove(&keys.join(NEXT_KEY_NAME).with_extension("pub"))?;
    }
    signing_key(keys, NEXT_KEY_NAME).map(drop)
}

/// Puts the next key in the place of the present one, which is gone then. Cut off anywhere it leaves a whole key: a public
/// half that is missing is written again from its private one.
pub fn use_next_key(keys: &Path) -> Result<(), LedgerError> {
    existing_signing_key(keys, NEXT_KEY_NAME)?;
    let of = |name: &str, extension: &str| keys.join(name).with_extension(extension);
    remove(&of(KEY_NAME, "pub"))?;
    let (from, to) = (of(NEXT_KEY_NAME, "key"), of(KEY_NAME, "key"));
    fs::rename(&from, &to).map_err(|source| LedgerError::Key { path: to, source })?;
    existing_signing_key(keys, KEY_NAME)?;
    remove(&of(NEXT_KEY_NAME, "pub"))
}

fn remove(path: &Path) -> Result<(), LedgerError> {
    match fs::remove_file(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(LedgerError::Key { path: path.into(), source })
        }
        _ => Ok(()),
    }
}

fn public_key_of(keys: &Path, name: &str) -> Result<(String, String), LedgerError> {
    let key = read_public_key(&keys.join(name).with_extension("pub"))?.to_bytes();
    Ok((hex::encode(key), fingerprint(&key)))
}

/// A public key as written: 64 hexadecimal digits. Not every such number is one.
pub fn parse_key(text: &str) -> Option<[u8; 32]> {
    let mut key = [0; 32];
    hex::decode_to_slice(text.trim(), &mut key).ok()?;
    let usable = ed25519_dalek::VerifyingKey::from_bytes(&key).is_ok_and(|key| !key.is_weak());
    usable.then_some(key)
}

/// Of the files `hello.key` and `hello.pub`.
const KEY_NAME: &str = "hello";
/// Of the pair that is to follow.
const NEXT_KEY_NAME: &str = "hello-next";

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    fn peer(name: &str, key: u8) -> Peer {
        let key = ed25519_dalek::SigningKey::from_bytes(&[key; 32]).verifying_key().to_bytes();
        let networks = vec!["10.1.0.1/32".parse().unwrap()];
        Peer { name: name.into(), networks, keys: vec![key], hello: HelloMode::Optional, translated: vec![] }
    }

    #[test]
    fn a_key_is_made_once_and_its_public_half_can_be_read() {
        let dir = tempfile::tempdir().unwrap();
        let first = Peers::open(dir.path(), vec![]).unwrap();
        let again = Peers::open(dir.path(), vec![]).unwrap();
        assert_eq!(first.known().own_key(), again.known().own_key());
        let (key, print) = public_key(dir.path()).unwrap();
        assert_eq!(parse_key(&key), Some(first.known().own_key()));
        assert_eq!(print, fingerprint(&first.known().own_key()));
        let seed = fs::read_to_string(dir.path().join("hello.key")).unwrap();
        assert!(!format!("{first:?}").contains(seed.trim()));
    }

    #[test]
    fn the_next_key_waits_until_it_is_used_and_is_one_whole_pair_wherever_that_was_cut_off() {
        let dir = tempfile::tempdir().unwrap();
        let peers = Peers::open(dir.path(), vec![peer("a", 1)]).unwrap();
        let before = peers.known().own_key();
        assert!(use_next_key(dir.path()).is_err() && next_public_key(dir.path()).unwrap().is_none());
        // What a change that was cut off after its last rename has left.
        fs::write(dir.path().join("hello-next.pub"), hex::encode(before)).unwrap();
        make_next_key(dir.path()).unwrap();
        make_next_key(dir.path()).unwrap();
        let (next, _) = next_public_key(dir.path()).unwrap().unwrap();
        let read = || peers.read_again(|| Ok(vec![peer("a", 1)]));
        assert!(!read().unwrap().changed, "it waits");
        use_next_key(dir.path()).unwrap();
        assert_eq!(public_key(dir.path()).unwrap().0, next);
        assert!(next_public_key(dir.path()).unwrap().is_none());
        assert_eq!(peers.known().own_key(), before, "a running agent is told");
        assert!(read().unwrap().changed);
        assert_eq!(hex::encode(peers.known().own_key()), next);
        let mode = fs::metadata(dir.path().join("hello.key")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn what_cannot_be_read_changes_nothing_and_is_shown_until_it_can() {
        let dir = tempfile::tempdir().unwrap();
        let peers = Peers::open(dir.path(), vec![peer("a", 1)]).unwrap();
        let before = peers.known();
        let key = dir.path().join("hello.key");
        let seed = fs::read_to_string(&key).unwrap();
        let refused = |what: &str, read: Result<Vec<Peer>, String>| {
            let error = peers.read_again(|| read).unwrap_err();
            assert!(error.contains(what), "{error}");
            assert!(Arc::ptr_eq(&before, &peers.known()));
            assert!(peers.lines().iter().any(|line| line.contains(what)), "{:?}", peers.lines());
        };
        refused("line 7", Err("governor.toml, line 7".into()));
        fs::write(&key, "half").unwrap();
        refused("hello.key", Ok(vec![peer("b", 2)]));
        // Another key without its public half beside: half of a restored backup.
        fs::write(&key, hex::encode([9; 32])).unwrap();
        refused("hello.pub", Ok(vec![peer("b", 2)]));
        fs::remove_file(&key).unwrap();
        refused("hello.key", Ok(vec![peer("b", 2)]));
        assert!(!key.exists(), "none is made while sessions go on");
        fs::write(&key, &seed).unwrap();
        fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
        refused("chmod 600", Ok(vec![peer("b", 2)]));
        fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
        assert!(peers.read_again(|| Ok(vec![peer("b", 2)])).unwrap().changed);
        assert!(peers.lines().iter().all(|line| !line.contains("not read")), "{:?}", peers.lines());
    }

    #[test]
    fn weak_and_malformed_keys_are_no_keys() {
        // The identity and a point of order four: signatures under these prove nothing.
        for bad in ["", "00", &"zz".repeat(32), &format!("01{}", "00".repeat(31)), &"00".repeat(32)] {
            assert_eq!(parse_key(bad), None, "{bad}");
        }
    }
}
