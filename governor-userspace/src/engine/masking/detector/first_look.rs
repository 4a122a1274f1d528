//! What must be in a text before credentials, or anything without digits, can stand in it: told from its pieces, without
//! the patterns' automaton.
//!
//! An automaton of fifty patterns reads a cold cache line for nearly every byte; this reads one small table.
//! Most texts end here. It may say yes to anything, but it never says no where a pattern of
//! `TextSearch` matches; a test makes matches of every pattern and asks.

use super::chunks::Chunk;

/// What of the signs of a credential the pieces of a text have.
#[derive(Default)]
pub(super) struct SecretSigns {
    has_colon: bool,
    has_hyphen: bool,
}

impl SecretSigns {
    /// Whether [`Self::may_hold`] knows each match of the pattern of a credential.
    pub(super) fn tell(pattern: &str) -> bool {
        ["xox", "-----", "://", "[:=]"].iter().any(|sign| pattern.contains(sign))
    }

    pub(super) fn note(&mut self, chunk: &Chunk) {
        self.has_colon |= chunk.has_colon();
        self.has_hyphen |= chunk.has_hyphen();
    }

    /// A credential may stand in the text, though none of its pieces is as long as a token: a maker's sign, or a word for a secret.
    pub(super) fn may_hold(&self, text: &[u8]) -> bool {
        self.has_hyphen && memchr::memchr_iter(b'-', text).any(|at| ends_slack(text, at) || is_pem(text, at))
            || self.has_colon
                && (memchr::memchr2_iter(b':', b'=', text).any(|at| is_behind_secret_word(text, at))
                    || memchr::memchr_iter(b':', text).any(|at| is_url(text, at)) && may_be_secret_url(text))
    }
}

/// The hyphen ends `xoxb-`.
fn ends_slack(text: &[u8], at: usize) -> bool {
    at.checked_sub(4).and_then(|start| text.get(start..start + 3)) == Some(b"xox")
}

/// The hyphen begins `-----BEGIN`.
fn is_pem(text: &[u8], at: usize) -> bool {
    text.get(at..at + 5) == Some(b"-----")
}

fn is_url(text: &[u8], at: usize) -> bool {
    text.get(at..at + 3) == Some(b"://")
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

/// A word for a secret right before the `:` or `=` that stands here.
fn is_behind_secret_word(text: &[u8], at: usize) -> bool {
    let before = text.get(..at).unwrap_or_default();
    let before = before.strip_suffix(b" ").unwrap_or(before);
    let before = before.strip_suffix(b"\"").or_else(|| before.strip_suffix(b"'")).unwrap_or(before);
    before.last().is_some_and(|last| SECRETS_LAST.contains(&last.to_ascii_lowercase()))
        && SECRETS.iter().any(|word| {
            before
                .len()
                .checked_sub(word.len())
                .and_then(|start| before.get(start..))
                .is_some_and(|end| end.eq_ignore_ascii_case(word))
        })
}

/// Shortest token of a known maker, Slack's aside: `$1$` and sixteen characters.
pub(super) const TOKEN_BYTES_MIN: usize = 19;

const MOMENT: &[u8] = b"0000-00-00T00:00:00";

/// A user's name and password stand before `@`; services that are secret addresses say so.
fn may_be_secret_url(text: &[u8]) -> bool {
    memchr::memchr(b'@', text).is_some() || memchr::memmem::find(text, b"hook").is_some()
}

const SECRETS: [&[u8]; 8] =
    [b"password", b"passwd", b"passwort", b"passphrase", b"pwd", b"secret", b"key", b"token"];
/// Their last letters.
const SECRETS_LAST: &[u8] = b"dteyn";
