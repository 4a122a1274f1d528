//! Merkle tree hash over a run of lines, computed as they come.
//!
//! With it one record can be shown to a third party together with a short proof, without showing its
//! neighbours. Leaves are the 32-byte chain hashes of the lines.
//!
//! Invariant: memory is one hash per bit of the number of leaves.
//! Source: RFC 6962, section 2.1 (leaf prefix 0x00, node prefix 0x01, left-heavy split).

use super::ChainHash;
use sha2::{Digest, Sha256};

/// The tree so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Merkle {
    leaves_count: u64,
    /// Roots of complete subtrees, largest first: one for each set bit of `leaves_count`.
    peaks: Vec<[u8; 32]>,
}

impl Merkle {
    /// A tree of one leaf.
    pub fn starting_with(leaf: &ChainHash) -> Self {
        let mut tree = Self::default();
        tree.push(leaf);
        tree
    }

    pub fn push(&mut self, leaf: &ChainHash) {
        let mut node: [u8; 32] = Sha256::new().chain_update([0]).chain_update(leaf.0).finalize().into();
        // Like adding one in binary: every trailing one-bit is a peak to merge with.
        for _ in 0..self.leaves_count.trailing_ones() {
            if let Some(left) = self.peaks.pop() {
                node = join(&left, &node);
            }
        }
        self.peaks.push(node);
        self.leaves_count += 1;
    }

    /// Root over all leaves; of no leaves, SHA-256 of nothing.
    pub fn root(&self) -> ChainHash {
        let root = self.peaks.iter().rev().copied().reduce(|right, left| join(&left, &right));
        ChainHash(root.unwrap_or_else(|| Sha256::digest(b"").into()))
    }

    pub fn leaves_count(&self) -> u64 {
        self.leaves_count
    }
}

fn join(left: &[u8; 32], right: &[u8; 32]) -> [u8; 32] {
    Sha256::new().chain_update([1]).chain_update(left).chain_update(right).finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The definition of RFC 6962, word for word.
    fn defined(leaves: &[ChainHash]) -> [u8; 32] {
        match leaves {
            [] => Sha256::digest(b"").into(),
            [leaf] => Sha256::digest([&[0][..], &leaf.0].concat()).into(),
            _ => {
                let mut split = 1;
                while split * 2 < leaves.len() {
                    split *= 2;
                }
                join(&defined(&leaves[..split]), &defined(&leaves[split..]))
            }
        }
    }

    #[test]
    fn equals_the_recursive_definition_for_every_small_size() {
        let leaves: Vec<_> = (0..130u8).map(|n| ChainHash([n; 32])).collect();
        let mut tree = Merkle::default();
        for n in 0..leaves.len() {
            assert_eq!(tree.root().0, defined(&leaves[..n]), "{n} leaves");
            tree.push(&leaves[n]);
        }
    }
}
