//! Keys of the styles that have one: derived from a root, chosen by age, wiped when dropped.
//!
//! Each use has a key of its own (HKDF-SHA-256 of the root), so that what one style shows tells nothing of
//! another. A key's name is derived from it too: it says which key made a token or a hash without anybody
//! keeping a list, and a key that was restored from a backup has the name that it had.
//!
//! Invariant: no key is ever printed, logged or compared in parts; there is no way to read one back.

use hkdf::Hkdf;
use sha2::Sha256;
use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, PoisonError, RwLock};
use zeroize::Zeroizing;

/// Length of the secret that everything is derived from.
pub const ROOT_BYTES: usize = 32;

/// Which key made a token or hash: eight hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct KeyId([u8; 4]);

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl FromStr for KeyId {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let mut id = [0; 4];
        let is_lower = text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        hex::decode_to_slice(text, &mut id).map_err(|_| KeyError)?;
        if is_lower { Ok(Self(id)) } else { Err(KeyError) }
    }
}

/// Not a key, or not the name of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a masking key")]
pub struct KeyError;

/// The keys of all styles, derived from one root.
pub struct MaskingKey {
    id: KeyId,
    hash: Zeroizing<[u8; 32]>,
    /// AES-SIV takes two keys of 256 bits.
    token: Zeroizing<[u8; 64]>,
    format: Zeroizing<[u8; 32]>,
    choice: Zeroizing<[u8; 32]>,
}

impl MaskingKey {
    /// From the secret that the host keeps.
    ///
    /// # Errors
    /// Never for a root of this length; a key of zeros would be worse than none.
    pub fn derive(root: &[u8; ROOT_BYTES]) -> Result<Self, KeyError> {
        let kdf = Hkdf::<Sha256>::from_prk(root).map_err(|_| KeyError)?;
        let mut id = [0; 4];
        let mut key = Self {
            id: KeyId(id),
            hash: Zeroizing::new([0; 32]),
            token: Zeroizing::new([0; 64]),
            format: Zeroizing::new([0; 32]),
            choice: Zeroizing::new([0; 32]),
        };
        let derived = kdf
            .expand(b"governor masking 1 id", &mut id)
            .and_then(|()| kdf.expand(b"governor masking 1 hash", &mut *key.hash))
            .and_then(|()| kdf.expand(b"governor masking 1 token", &mut *key.token))
            .and_then(|()| kdf.expand(b"governor masking 1 format", &mut *key.format))
            .and_then(|()| kdf.expand(b"governor masking 1 choice", &mut *key.choice));
        derived.map_err(|_| KeyError)?;
        key.id = KeyId(id);
        Ok(key)
    }

    pub fn id(&self) -> KeyId {
        self.id
    }

    pub(super) fn hash(&self) -> &[u8; 32] {
        &self.hash
    }

    pub(super) fn token(&self) -> &[u8; 64] {
        &self.token
    }

    pub(super) fn format(&self) -> &[u8; 32] {
        &self.format
    }

    /// For styles that choose: how far a date is shifted, which name stands for a name.
    pub(super) fn choice(&self) -> &[u8; 32] {
        &self.choice
    }
}

impl fmt::Debug for MaskingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MaskingKey").field("id", &self.id).finish_non_exhaustive()
    }
}

/// Every key of this instance, the newest last: it is the one that masks; the others only reveal.
///
/// Shared by all workers; a rotation puts another list in its place, and the next value is masked with the new key.
#[derive(Debug, Default)]
pub struct KeyRing(RwLock<Arc<[Arc<MaskingKey>]>>);

impl KeyRing {
    pub fn new(keys: Vec<MaskingKey>) -> Self {
        let ring = Self::default();
        ring.replace(keys);
        ring
    }

    pub fn replace(&self, keys: Vec<MaskingKey>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = keys.into_iter().map(Arc::new).collect();
    }

    /// The key that masks now; `None`: this instance has none, and styles that need one redact.
    pub fn current(&self) -> Option<Arc<MaskingKey>> {
        self.all().last().cloned()
    }

    pub fn named(&self, id: KeyId) -> Option<Arc<MaskingKey>> {
        self.all().iter().find(|key| key.id == id).cloned()
    }

    /// Oldest first.
    pub fn ids(&self) -> Vec<KeyId> {
        self.all().iter().map(|key| key.id).collect()
    }

    fn all(&self) -> Arc<[Arc<MaskingKey>]> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_its_name_for_ever_and_shows_nothing_of_itself() {
        let key = MaskingKey::derive(&[7; 32]).unwrap();
        assert_eq!(key.id(), MaskingKey::derive(&[7; 32]).unwrap().id());
        assert_ne!(key.id(), MaskingKey::derive(&[8; 32]).unwrap().id());
        assert_eq!(key.id().to_string().parse(), Ok(key.id()));
        let shown = format!("{key:?}");
        for secret in [&key.hash()[..], key.token(), key.format(), key.choice()] {
            assert!(secret.iter().any(|&b| b != 0));
            assert!(!shown.contains(&format!("{}, {}", secret[0], secret[1])), "{shown}");
            assert!(!shown.contains(&hex::encode(&secret[..4])), "{shown}");
        }
        for wrong in ["", "0", "ABCDEF01", "abcdef0", "abcdef012", "ghijklmn"] {
            assert!(wrong.parse::<KeyId>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_newest_key_masks_and_the_others_are_found_by_name() {
        let ring = KeyRing::default();
        assert!(ring.current().is_none());
        let keys = |roots: &[u8]| roots.iter().map(|r| MaskingKey::derive(&[*r; 32]).unwrap()).collect();
        ring.replace(keys(&[1, 2]));
        let old = ring.current().unwrap().id();
        ring.replace(keys(&[1, 2, 3]));
        assert_ne!(ring.current().unwrap().id(), old);
        assert_eq!(ring.named(old).unwrap().id(), old);
        assert_eq!(ring.ids().len(), 3);
    }
}
