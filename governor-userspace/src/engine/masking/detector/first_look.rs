//! What must be in a text before any pattern can match: counted in one pass, without the patterns' automaton.
//!
//! An automaton of fifty patterns reads a cold cache line for nearly every byte; this reads one small table.
//! Most SQL texts end here. It may say yes to anything, but it never says no where a pattern of
//! `TextSearch` matches; a test makes matches of every pattern and asks.

use super::Signs;
use memchr::memmem::Finder;
use std::sync::LazyLock;

/// Whether one of the patterns for text may match. Addresses, cards and IBANs have scanners of their own.
pub(super) fn may_match(text: &[u8], signs: &Signs) -> bool {
    signs.digits >= NUMBER_DIGITS_MIN
        // A number of Hong Kong, with its check digit in brackets.
        || signs.digits >= 6 && memchr::memchr(b'(', text).is_some()
        || has_run_or_number(text, signs)
        || has_keyword(text)
        // Slack tokens are the one kind shorter than `TOKEN_BYTES_MIN`; keys and URLs hold anything.
        || SEARCHES.iter().any(|search| search.find(text).is_some())
}

/// Whether a credential may stand in it: something as long as a token, a maker's sign, or a word for a secret.
pub(super) fn may_hold_secret(text: &[u8]) -> bool {
    has_token(text) || has_secret_word(text) || SEARCHES.iter().any(|search| search.find(text).is_some())
}

fn has_token(text: &[u8]) -> bool {
    let mut run = 0;
    text.iter().any(|&byte| {
        run = if is_token(byte) { run + 1 } else { 0 };
        run >= TOKEN_BYTES_MIN
    })
}

/// What tokens are made of.
fn is_token(byte: u8) -> bool {
    matches!(
        byte,
        b'A'..=b'Z' | b'0'..=b'9' | b'a'..=b'z' | b'_' | b'-' | b'+' | b'/' | b'=' | b'.' | b'$' | b',' | b':' | b'%' | b'~'
    )
}

/// Something as long as a token, as an identity number in capitals, or with an IPv4 address's dots.
fn has_run_or_number(text: &[u8], signs: &Signs) -> bool {
    let (mut token, mut capitals, mut dots) = (0, 0, 0);
    for &byte in text {
        token = if is_token(byte) { token + 1 } else { 0 };
        capitals = if byte.is_ascii_uppercase() || byte.is_ascii_digit() { capitals + 1 } else { 0 };
        dots += usize::from(byte == b'.');
        if token >= TOKEN_BYTES_MIN || capitals >= CAPITALS_BYTES_MIN {
            return true;
        }
    }
    (dots >= 3 && signs.digits >= 4) || (signs.digits >= 5 && has_capitals_then_digit(text))
}

/// Two capitals, perhaps a blank, a digit: how a National Insurance number begins.
fn has_capitals_then_digit(text: &[u8]) -> bool {
    text.windows(3).enumerate().any(|(at, window)| match window {
        [a, b, next] if a.is_ascii_uppercase() && b.is_ascii_uppercase() => {
            next.is_ascii_digit() || (*next == b' ' && text.get(at + 3).is_some_and(u8::is_ascii_digit))
        }
        _ => false,
    })
}

/// A word for a secret right before `:` or `=`, or anything that may name a passport. The other keywords
/// lead to numbers of `NUMBER_DIGITS_MIN` digits.
fn has_keyword(text: &[u8]) -> bool {
    has_secret_word(text)
        || memchr::memchr2_iter(b'p', b'P', text)
            .any(|at| text.get(at..at + 3).is_some_and(|word| word.eq_ignore_ascii_case(b"pas")))
}

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

/// Fewest digits in a number that has no letters around it: an eight-character foreigner's number in Spain, a phone.
const NUMBER_DIGITS_MIN: usize = 7;
/// Shortest token of a known maker, Slack's aside: `$1$` and sixteen characters.
const TOKEN_BYTES_MIN: usize = 19;
/// Shortest number made of capitals and digits alone and of fewer than six digits: India's PAN.
const CAPITALS_BYTES_MIN: usize = 10;

/// Making one costs as much as a search of a short text.
static SEARCHES: LazyLock<[Finder<'static>; 3]> =
    LazyLock::new(|| [Finder::new("xox"), Finder::new("-----"), Finder::new("://")]);

const SECRETS: [&[u8]; 8] =
    [b"password", b"passwd", b"passwort", b"passphrase", b"pwd", b"secret", b"key", b"token"];
