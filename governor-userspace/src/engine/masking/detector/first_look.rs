//! What must be in a text before any pattern can match: counted in one pass, without the patterns' automaton.
//!
//! An automaton of fifty patterns reads a cold cache line for nearly every byte; this reads one small table.
//! Most SQL texts end here. It may say yes to anything, but it never says no where a pattern of
//! `TextSearch` matches; a test makes matches of every pattern and asks.

use super::Signs;
use memchr::memmem::Finder;
use std::sync::LazyLock;

/// What may stand in a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FirstLook {
    /// One of the patterns for text may match. Addresses have a scanner of their own; cards and accounts have more
    /// digits than any pattern needs.
    pub(super) may_match: bool,
    /// A credential: something as long as a token, a maker's sign, or a word for a secret.
    pub(super) may_hold_secret: bool,
}

pub(super) fn first_look(text: &[u8], signs: &Signs) -> FirstLook {
    // Every sign of these has a colon or a mark in it: `://`, `-----`, `xoxb-`, `=`.
    let may_hold_secret = has_run(text, TOKEN_BYTES_MIN, is_token)
        || signs.has_mark()
            && (has_secret_word(text) || SEARCHES.iter().any(|search| search.find(text).is_some()));
    let may_match = may_hold_secret
        || signs.digits >= NUMBER_DIGITS_MIN
        // A number of Hong Kong, with its check digit in brackets.
        || signs.digits >= 6 && memchr::memchr(b'(', text).is_some()
        || signs.has_capital() && signs.digits > 0 && has_number(text, signs)
        || signs.digits >= 4 && signs.has_mark() && has_octets(text)
        || names_passport(text);
    FirstLook { may_match, may_hold_secret }
}

/// So many bytes of a kind stand together. Most places are passed over: the search goes on behind the last byte of another
/// kind in what may be the run.
fn has_run(text: &[u8], length: usize, wanted: impl Fn(u8) -> bool) -> bool {
    let mut from = 0;
    while let Some(window) = text.get(from..from + length) {
        match window.iter().rposition(|&byte| !wanted(byte)) {
            // A moment is as long as a token; a token that stands behind one is long enough by itself.
            None if is_moment(window) => from += length,
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

/// Something as long as an identity number in capitals, or how some begin.
fn has_number(text: &[u8], signs: &Signs) -> bool {
    has_run(text, CAPITALS_BYTES_MIN, |byte| byte.is_ascii_uppercase() || byte.is_ascii_digit())
        || (signs.digits >= 5 && has_capitals_then_digit(text))
}

/// As many dots as an IPv4 address has.
fn has_octets(text: &[u8]) -> bool {
    memchr::memchr_iter(b'.', text).take(3).count() == 3
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

/// Anything that may name a passport. The other keywords lead to numbers of `NUMBER_DIGITS_MIN` digits.
fn names_passport(text: &[u8]) -> bool {
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

/// Fewest digits in a number that has no letters around it: an eight-character foreigner's number in Spain, a phone.
const NUMBER_DIGITS_MIN: usize = 7;
/// Shortest token of a known maker, Slack's aside: `$1$` and sixteen characters.
const TOKEN_BYTES_MIN: usize = 19;
/// Shortest number made of capitals and digits alone and of fewer than six digits: India's PAN.
const CAPITALS_BYTES_MIN: usize = 10;

const MOMENT: &[u8] = b"0000-00-00T00:00:00";

/// Making one costs as much as a search of a short text.
static SEARCHES: LazyLock<[Finder<'static>; 3]> =
    LazyLock::new(|| [Finder::new("xox"), Finder::new("-----"), Finder::new("://")]);

const SECRETS: [&[u8]; 8] =
    [b"password", b"passwd", b"passwort", b"passphrase", b"pwd", b"secret", b"key", b"token"];
