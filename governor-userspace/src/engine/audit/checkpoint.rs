//! Signatures over the chain: checkpoints inside it, and the head beside it.
//!
//! A *checkpoint* is a line of the chain itself. It signs the hash of the line before it and a Merkle
//! root over the lines since the last checkpoint, so that nobody without the key can rewrite what lies
//! before it. Checkpoints alone do not show that lines were cut off the end, for an earlier checkpoint
//! is as good as a later one. The *head* does: a small file beside the segments with a signature, made
//! for another purpose than any that the chain contains, over the newest checkpoint that is on disk. It
//! is overwritten each time. Whoever cuts the chain needs an older head, and can have one only by having
//! copied it at that time.
//!
//! Invariant: the signed texts of checkpoint and head start with different words, so that neither
//! signature can stand for the other.
//! Source: Ed25519, RFC 8032.

use super::ChainHash;
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Signs the chain up to the line before it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// Number of the segment that holds this line.
    pub segment: u64,
    /// Sequence number of the first leaf: the checkpoint before, or 0. The last leaf is the line before this.
    pub from: u64,
    /// Chain hash of the line before this.
    pub previous: ChainHash,
    /// Merkle root of the chain hashes of the leaves.
    pub root: ChainHash,
    /// [`key_id`] of the signing key.
    pub key: String,
    /// 128 hexadecimal digits.
    pub signature: String,
}

impl Checkpoint {
    /// `seq` and `time` are those of the checkpoint's own line.
    pub fn sign(
        key: &SigningKey,
        segment: u64,
        from: u64,
        seq: u64,
        previous: ChainHash,
        root: ChainHash,
        time: &str,
    ) -> Self {
        let mut checkpoint = Self {
            segment,
            from,
            previous,
            root,
            key: key_id(&key.verifying_key()),
            signature: String::new(),
        };
        checkpoint.signature = hex::encode(key.sign(checkpoint.message(seq, time).as_bytes()).to_bytes());
        checkpoint
    }

    pub fn verify(&self, key: &VerifyingKey, seq: u64, time: &str) -> bool {
        verify(key, &self.message(seq, time), &self.signature)
    }

    fn message(&self, seq: u64, time: &str) -> String {
        let Self { segment, from, previous, root, .. } = self;
        format!("governor-checkpoint-v1\n{segment}\n{from}\n{seq}\n{previous}\n{root}\n{time}\n")
    }
}

/// Where the chain had got to when it was last known to be on disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    pub segment: u64,
    /// Sequence number of the checkpoint that it names.
    pub seq: u64,
    /// Chain hash of that checkpoint's line.
    pub hash: ChainHash,
    /// When that checkpoint was made, RFC 3339.
    pub time: String,
    pub key: String,
    pub signature: String,
}

impl Head {
    pub fn sign(key: &SigningKey, segment: u64, seq: u64, hash: ChainHash, time: String) -> Self {
        let key_id = key_id(&key.verifying_key());
        let mut head = Self { segment, seq, hash, time, key: key_id, signature: String::new() };
        head.signature = hex::encode(key.sign(head.message().as_bytes()).to_bytes());
        head
    }

    pub fn verify(&self, key: &VerifyingKey) -> bool {
        verify(key, &self.message(), &self.signature)
    }

    fn message(&self) -> String {
        let Self { segment, seq, hash, time, .. } = self;
        format!("governor-head-v1\n{segment}\n{seq}\n{hash}\n{time}\n")
    }
}

/// Names a public key in a few digits: the first 16 of the SHA-256 of its 32 bytes.
pub fn key_id(key: &VerifyingKey) -> String {
    let mut id = hex::encode(Sha256::digest(key.as_bytes()));
    id.truncate(16);
    id
}

fn verify(key: &VerifyingKey, message: &str, signature: &str) -> bool {
    // One spelling only: a changed letter case is a changed record.
    if signature.bytes().any(|digit| digit.is_ascii_uppercase()) {
        return false;
    }
    let mut bytes = [0; 64];
    hex::decode_to_slice(signature, &mut bytes).is_ok()
        && key.verify_strict(message.as_bytes(), &Signature::from_bytes(&bytes)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neither_signature_stands_for_the_other_nor_for_other_values() {
        let key = SigningKey::from_bytes(&[7; 32]);
        let public = key.verifying_key();
        let other = SigningKey::from_bytes(&[8; 32]).verifying_key();
        let hash = ChainHash([1; 32]);
        let checkpoint = Checkpoint::sign(&key, 1, 0, 5, hash, hash, "t");
        let head = Head::sign(&key, 1, 5, hash, "t".into());
        assert!(checkpoint.verify(&public, 5, "t") && head.verify(&public));
        assert!(!checkpoint.verify(&other, 5, "t") && !head.verify(&other));
        assert!(!checkpoint.verify(&public, 6, "t") && !checkpoint.verify(&public, 5, "u"));
        assert!(!Head { signature: checkpoint.signature.clone(), ..head.clone() }.verify(&public));
        assert!(!Head { seq: 6, ..head.clone() }.verify(&public));
        assert!(!Head { signature: head.signature.to_uppercase(), ..head }.verify(&public));
        assert!(!Checkpoint { signature: String::new(), ..checkpoint }.verify(&public, 5, "t"));
    }
}
