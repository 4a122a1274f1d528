//! The hash chain: how one line of a segment depends on every line before it.
//!
//! A line is `<64 lower-case hex digits> <json>\n`. The digits are SHA-256 over the 32 bytes of the
//! hash of the line before, followed by the bytes of `<json>`. Changing, removing, inserting or moving
//! a line therefore changes every hash that follows, and those are signed (see [`super::Checkpoint`]).
//!
//! Invariant: only lower-case digits and exactly one space are accepted, so that no byte of a line can
//! be changed without being found.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha256};
use std::fmt;

/// SHA-256 that stands for a line and everything before it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ChainHash(pub [u8; 32]);

impl ChainHash {
    /// What stands before the first line of the first segment.
    pub const GENESIS: Self = Self([0; 32]);

    /// The hash of the line that carries `json` and follows the line of `self`.
    pub fn next(&self, json: &[u8]) -> Self {
        Self(Sha256::new().chain_update(self.0).chain_update(json).finalize().into())
    }

    /// Reads exactly 64 lower-case hexadecimal digits.
    pub fn parse(digits: &[u8]) -> Option<Self> {
        if digits.iter().any(u8::is_ascii_uppercase) {
            return None;
        }
        let mut bytes = [0; 32];
        hex::decode_to_slice(digits, &mut bytes).ok()?;
        Some(Self(bytes))
    }

    /// 64 lower-case hexadecimal digits.
    pub fn to_hex(&self) -> String {
        hex::encode(self.0)
    }
}

impl fmt::Display for ChainHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_hex())
    }
}

impl fmt::Debug for ChainHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ChainHash({self})")
    }
}

impl Serialize for ChainHash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.to_hex())
    }
}

impl<'de> Deserialize<'de> for ChainHash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(text.as_bytes())
            .ok_or_else(|| serde::de::Error::custom("not 64 lower-case hexadecimal digits"))
    }
}

/// Appends one whole line to `out` and answers its hash. `write_json` appends the JSON, without a newline.
pub fn push_line(
    out: &mut Vec<u8>,
    previous: &ChainHash,
    write_json: impl FnOnce(&mut Vec<u8>),
) -> ChainHash {
    let start = out.len();
    out.extend_from_slice(&[b'0'; LINE_JSON_OFFSET - 1]);
    out.push(b' ');
    write_json(out);
    let hash = previous.next(out.get(start + LINE_JSON_OFFSET..).unwrap_or_default());
    if let Some(digits) = out.get_mut(start..start + LINE_JSON_OFFSET - 1) {
        // The slice has twice the hash's length, the only thing that this can refuse.
        let _ = hex::encode_to_slice(hash.0, digits);
    }
    out.push(b'\n');
    hash
}

/// Splits a line without its newline into hash and JSON; `None` where it is not shaped like one.
pub fn split_line(line: &[u8]) -> Option<(ChainHash, &[u8])> {
    let (digits, rest) = line.split_at_checked(LINE_JSON_OFFSET - 1)?;
    let json = rest.strip_prefix(b" ")?;
    Some((ChainHash::parse(digits)?, json))
}

/// Where the JSON starts in a line, bytes.
pub const LINE_JSON_OFFSET: usize = 65;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_hash_space_json_newline() {
        let mut out = b"before\n".to_vec();
        let hash = push_line(&mut out, &ChainHash::GENESIS, |out| out.extend_from_slice(b"{}"));
        let expected = Sha256::digest([&[0u8; 32][..], b"{}"].concat());
        assert_eq!(hash.0, <[u8; 32]>::from(expected));
        let line = &out[7..out.len() - 1];
        assert_eq!(split_line(line), Some((hash, &b"{}"[..])));
    }

    #[test]
    fn misshapen_lines_are_refused() {
        let mut good = Vec::new();
        push_line(&mut good, &ChainHash::GENESIS, |out| out.extend_from_slice(b"{}"));
        good.pop();
        let upper = good.to_ascii_uppercase();
        let mut tab = good.clone();
        tab[64] = b'\t';
        for bad in [&b""[..], b"abc", &good[..64], &upper, &tab, &good[1..]] {
            assert_eq!(split_line(bad), None, "{}", String::from_utf8_lossy(bad));
        }
    }
}
