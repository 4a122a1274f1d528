//! How credentials begin: makers of tokens chose three letters and more that nothing else begins with.
//!
//! A long piece of text (a path, a browser's name, a digest) looks like a token by its length alone; the automaton of all credentials reads a cold
//! cache line for nearly every byte of it. Here each byte costs one look into a table of 512 bytes, and what that lets pass is looked for in a short list.
//!
//! Invariant: says yes wherever one of the patterns matches, but for those that `SecretSigns::may_hold` tells. Beginnings are taken from the
//! patterns themselves; patterns that begin with anything are known by what stands inside ([`INNER`]), and one that is neither is refused at start.

use memchr::memmem::Finder;
use regex_syntax::ParserBuilder;
use regex_syntax::hir::literal::{ExtractKind, Extractor};
use std::sync::Arc;

#[derive(Clone)]
pub(super) struct Makers {
    /// One bit for each sum of three bytes that some pattern begins with.
    sums: Arc<[u64; SUMS_COUNT / 64]>,
    /// The three bytes themselves, as numbers, sorted.
    heads: Arc<[u32]>,
    inner: Arc<[Finder<'static>]>,
}

impl Makers {
    /// Of patterns that may match anywhere in a text.
    pub(super) fn new<'p>(patterns: impl Iterator<Item = &'p str>) -> Result<Self, regex::Error> {
        let mut heads = Vec::new();
        for pattern in patterns.filter(|pattern| !INNER.iter().any(|inner| pattern.contains(inner))) {
            let fail = |why: String| regex::Error::Syntax(format!("{pattern}: {why}"));
            let parsed = ParserBuilder::new().unicode(false).utf8(false).build().parse(pattern);
            let parsed = parsed.map_err(|error| fail(error.to_string()))?;
            let mut extractor = Extractor::new();
            extractor.kind(ExtractKind::Prefix).limit_class(LITERALS_MAX).limit_total(LITERALS_MAX);
            let begins = extractor.extract(&parsed);
            for literal in begins.literals().unwrap_or_default() {
                let head = literal.as_bytes().first_chunk::<HEAD_BYTES>();
                let [a, b, c] = head.ok_or_else(|| fail("it may begin with anything".into()))?;
                heads.push(head_of(*a, *b, *c));
            }
            if begins.literals().is_none_or(<[_]>::is_empty) {
                return Err(fail("it may begin with anything".into()));
            }
        }
        heads.sort_unstable();
        heads.dedup();
        let mut sums = [0; SUMS_COUNT / 64];
        for &head in &heads {
            let sum = sum_of(head);
            if let Some(bits) = sums.get_mut(sum / 64) {
                *bits |= 1 << (sum % 64);
            }
        }
        let inner = INNER.iter().map(Finder::new).collect();
        Ok(Self { sums: Arc::new(sums), heads: heads.into(), inner })
    }

    /// A credential may begin in this piece of a text.
    pub(super) fn may_begin(&self, piece: &[u8]) -> bool {
        let [a, b, rest @ ..] = piece else { return false };
        let mut head = head_of(0, *a, *b);
        let begins = rest.iter().any(|&byte| {
            head = (head << 8 | u32::from(byte)) & 0xff_ffff;
            let sum = sum_of(head);
            self.sums.get(sum / 64).is_none_or(|bits| bits >> (sum % 64) & 1 != 0)
                && self.heads.binary_search(&head).is_ok()
        });
        begins || self.inner.iter().any(|inner| inner.find(piece).is_some())
    }
}

fn head_of(a: u8, b: u8, c: u8) -> u32 {
    u32::from_be_bytes([0, a, b, c])
}

/// Below [`SUMS_COUNT`].
#[inline]
fn sum_of(head: u32) -> usize {
    (head.wrapping_mul(0x9e37_79b1) >> (u32::BITS - SUMS_BITS)) as usize
}

const HEAD_BYTES: usize = 3;
const SUMS_BITS: u32 = 12;
const SUMS_COUNT: usize = 1 << SUMS_BITS;
/// Beginnings of one pattern.
const LITERALS_MAX: usize = 250;
/// What patterns have in them that begin with anything, as it is written in them: Azure, Telegram, Mailchimp.
const INNER: [&str; 3] = ["Q~", ":AA", "-us"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_known_by_their_beginnings_or_by_what_is_in_them() {
        let patterns = ["gh[po]_[a-z]{30,}", "(?:AKIA|ASIA)[A-Z0-9]{16}", "[0-9]{8,10}:AA[a-z]{33}"];
        let makers = Makers::new(patterns.into_iter()).unwrap();
        for piece in ["ghp_", "x=gho_", "xxAKIA0000", "ASI", "12:AA"] {
            assert!(makers.may_begin(piece.as_bytes()), "{piece}");
        }
        for piece in ["", "gh", "ghx_ghs_", "akia", "12:A", "Q-us ~"] {
            assert_eq!(makers.may_begin(piece.as_bytes()), piece.contains("-us"), "{piece}");
        }
    }

    #[test]
    fn a_pattern_that_may_begin_with_anything_is_refused() {
        for pattern in ["[a-z]{20}", "ab[a-z]?", ".*", "(?:key|[0-9]+)=x", "a?bcd|x"] {
            assert!(Makers::new([pattern].into_iter()).is_err(), "{pattern}");
        }
    }
}
