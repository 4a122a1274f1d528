//! What must be in a text before credentials, or anything without digits, can stand in it: told from its pieces, without
//! the patterns' automaton.
//!
//! An automaton of fifty patterns reads a cold cache line for nearly every byte; this reads one small table.
//! Most texts end here. It may say yes to anything, but it never says no where a pattern of
//! `TextSearch` matches; a test makes matches of every pattern and asks.

use super::chunks::Chunk;
use memchr::memmem::Finder;
use std::sync::LazyLock;

/// What of the signs of a credential the pieces of a text have.
#[derive(Default)]
pub(super) struct SecretSigns {
    has_colon: bool,
    has_hyphen: bool,
}

impl SecretSigns {
    pub(super) fn note(&mut self, chunk: &Chunk) {
        self.has_colon |= chunk.has_colon();
        self.has_hyphen |= chunk.has_hyphen();
    }

    /// A credential may stand in the text, though none of its pieces is as long as a token: a maker's sign, or a word for a secret.
    pub(super) fn may_hold(&self, text: &[u8]) -> bool {
        let [slack, pem, url] = &*SEARCHES;
        self.has_hyphen && (slack.find(text).is_some() || pem.find(text).is_some())
            || self.has_colon && (has_secret_word(text) || url.find(text).is_some())
    }
}

/// The piece has something as long as a token.
pub(super) fn may_be_token(text: &[u8], chunk: &Chunk) -> bool {
    chunk.len() >= TOKEN_BYTES_MIN && has_token(text.get(chunk.range.clone()).unwrap_or_default())
}

/// Bytes of tokens, as many as the shortest has, stand together. Most places are passed over: the search goes on behind the last byte of another
/// kind in what may be the run.
fn has_token(text: &[u8]) -> bool {
    let mut from = 0;
    while let Some(window) = text.get(from..from + TOKEN_BYTES_MIN) {
        match window.iter().rposition(|&byte| !is_token(byte)) {
            // A moment is as long as a token; a token that stands behind one is long enough by itself.
            None if is_moment(window) => from += TOKEN_BYTES_MIN,
            None => return true,
            Some(at) => from += at + 1,
        }
    }
    false
}

/// `2024-10-27T06:14:12`
fn is_moment(window: &[u8]) -> bool {
    window.len() == MOMENT.len()
        && window.iter().zip(MOMENT).all(|(byte, form)| match form {
            b'0' => byte.is_ascii_digit(),
            mark => byte == mark,
        })
}

/// What tokens are made of.
fn is_token(byte: u8) -> bool {
    matches!(
        byte,
        b'A'..=b'Z' | b'0'..=b'9' | b'a'..=b'z' | b'_' | b'-' | b'+' | b'/' | b'=' | b'.' | b'$' | b',' | b':' | b'%' | b'~'
    )
}

/// Anything that may name a passport, whose number may be letters; whatever else stands in text has digits, or a scanner of its own.
pub(super) fn names_passport(text: &[u8]) -> bool {
    memchr::memchr2_iter(b'p', b'P', text)
        .any(|at| text.get(at..at + 3).is_some_and(|word| word.eq_ignore_ascii_case(b"pas")))
}

/// A word for a secret right before `:` or `=`.
fn has_secret_word(text: &[u8]) -> bool {
    memchr::memchr2_iter(b':', b'=', text).any(|at| {
        let before = text.get(..at).unwrap_or_default();
        let before = before.strip_suffix(b" ").unwrap_or(before);
        let before = before.strip_suffix(b"\"").or_else(|| before.strip_suffix(b"'")).unwrap_or(before);
        SECRETS.iter().any(|word| {
            before
                .len()
                .checked_sub(word.len())
                .and_then(|start| before.get(start..))
                .is_some_and(|end| end.eq_ignore_ascii_case(word))
        })
    })
}

/// Shortest token of a known maker, Slack's aside: `$1$` and sixteen characters.
const TOKEN_BYTES_MIN: usize = 19;

const MOMENT: &[u8] = b"0000-00-00T00:00:00";

/// Making one costs as much as a search of a short text.
static SEARCHES: LazyLock<[Finder<'static>; 3]> =
    LazyLock::new(|| [Finder::new("xox"), Finder::new("-----"), Finder::new("://")]);

const SECRETS: [&[u8]; 8] =
    [b"password", b"passwd", b"passwort", b"passphrase", b"pwd", b"secret", b"key", b"token"];
