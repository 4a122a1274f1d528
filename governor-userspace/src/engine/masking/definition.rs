//! Secrets inside definitions: bodies of functions, defaults, checks, bounds of partitions, labels of enums, views.
//!
//! Whoever writes a password into a function shows it to everybody who may read the catalogue. Definitions have to be
//! shown all the same: psql, dumps and object mappers cannot work without. So a definition is searched like any other text,
//! and beside it for constants that nothing but a secret looks like: made of letters and digits as no word, name, date or
//! format is. Of the parse trees that the catalogue also holds, the bytes of constants are left out.
//!
//! A constant is what stands between quotes, found without keeping count of quotes: a comment (`don't`) would turn an
//! account of them inside out. In a list of labels there need not be quotes.
//!
//! Invariant: what is written has the structure of what was read: bytes between two quotes, or between the brackets of
//! a constant, are replaced and nothing else. Time is linear in the text.

use super::json::RANGE_MARKER;
use crate::engine::model::HiddenConstants;
use std::borrow::Cow;
use std::ops::Range;

/// What a column shows of definitions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Definitions {
    /// Nothing.
    #[default]
    No,
    /// Text with constants in quotes.
    Code,
    /// Labels too: values without quotes, alone or in a list.
    Labels,
}

/// The text without its secrets; borrowed where there is none.
///
/// `hidden`: constants that are left out whatever they look like; where those are all, what stands between the first quote
/// and the last is left out, every long number, and a label as a whole.
pub(super) fn without_secrets<'t>(
    what: Definitions,
    hidden: &HiddenConstants,
    text: &'t [u8],
) -> Cow<'t, [u8]> {
    if what == Definitions::No {
        return Cow::Borrowed(text);
    }
    if hidden.is_all() {
        return without_constants(what, text);
    }
    let mut shown = without_lookalikes(what, text);
    if let Some(without) = without_places(&shown, hidden.places(&shown)) {
        shown = Cow::Owned(without);
    }
    match without_rest(&shown) {
        Some(without) => Cow::Owned(without),
        None => shown,
    }
}

/// The text with a marker at each of these places; `None` where there is none.
fn without_places(text: &[u8], places: Vec<Range<usize>>) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let mut copied = 0;
    for place in &places {
        out.extend_from_slice(text.get(copied..place.start).unwrap_or_default());
        out.extend_from_slice(RANGE_MARKER);
        copied = place.end;
    }
    out.extend_from_slice(text.get(copied..).unwrap_or_default());
    (!places.is_empty()).then_some(out)
}

/// Nothing that may be a constant: quotes are not counted, since a comment may have one.
fn without_constants(what: Definitions, text: &[u8]) -> Cow<'_, [u8]> {
    if text.is_empty() {
        return Cow::Borrowed(text);
    }
    if what == Definitions::Labels {
        return Cow::Borrowed(RANGE_MARKER);
    }
    let is_quote = |byte: &u8| matches!(byte, b'\'' | b'$');
    let mut places = Vec::new();
    let quotes = text.iter().filter(|byte| is_quote(byte)).count();
    let quoted = match (text.iter().position(is_quote), text.iter().rposition(is_quote)) {
        // One alone may be the end of something that was cut off.
        (Some(first), Some(last)) if first == last => 0..text.len(),
        // The last one may be the beginning of one.
        (Some(first), _) if quotes % 2 == 1 || characters(text) == SHOWN_BY_PSQL => first + 1..text.len(),
        (Some(first), Some(last)) => first + 1..last,
        _ => text.len()..text.len(),
    };
    places.extend(long_numbers(text, 0..quoted.start));
    places.extend((!quoted.is_empty()).then(|| quoted.clone()));
    places.extend(long_numbers(text, quoted.end..text.len()));
    let shown = match without_places(text, places) {
        Some(without) => Cow::Owned(without),
        None => Cow::Borrowed(text),
    };
    // Bytes of parse trees are neither.
    match without_lookalikes(what, &shown) {
        Cow::Owned(without) => Cow::Owned(without),
        Cow::Borrowed(_) => shown,
    }
}

/// Numbers of code, which are no part of a name.
fn long_numbers(text: &[u8], within: Range<usize>) -> Vec<Range<usize>> {
    let is_of_word = |byte: u8| byte.is_ascii_alphanumeric() || byte >= 0x80 || b"_.$\"".contains(&byte);
    let part = text.get(within.clone()).unwrap_or_default();
    let mut at = within.start;
    let mut found = Vec::new();
    for word in part.chunk_by(|one, next| is_of_word(*one) == is_of_word(*next)) {
        let place = at..at + word.len();
        at = place.end;
        let digits = word.iter().filter(|byte| byte.is_ascii_digit()).count();
        if digits >= NUMBER_DIGITS_MIN && word.iter().all(|byte| byte.is_ascii_digit() || *byte == b'.') {
            found.push(place);
        }
    }
    found
}

/// psql shows so many characters of a default: a constant in it may have lost its end, and its look.
fn without_rest(text: &[u8]) -> Option<Vec<u8>> {
    if characters(text) != SHOWN_BY_PSQL {
        return None;
    }
    let quote = text.iter().rposition(|byte| *byte == b'\'')?;
    let kept = text.get(..=quote).filter(|kept| kept.len() < text.len())?;
    Some([kept, RANGE_MARKER].concat())
}

fn characters(text: &[u8]) -> usize {
    text.iter().filter(|byte| **byte & 0xc0 != 0x80).count()
}

/// The text without what nothing but a secret looks like.
fn without_lookalikes(what: Definitions, text: &[u8]) -> Cow<'_, [u8]> {
    if text.len() < SECRET_BYTES_MIN {
        return Cow::Borrowed(text);
    }
    let mut out: Vec<u8> = Vec::new();
    let mut copied = 0;
    let mut replace = |from: usize, to: usize| {
        out.extend_from_slice(text.get(copied..from).unwrap_or_default());
        out.extend_from_slice(RANGE_MARKER);
        copied = to;
    };
    let mut at = 0;
    while at < text.len() {
        if let Some(inside) = constant_of_tree(text, at) {
            // Also without its end, as where an expression cut the text.
            let rest = text.get(inside..).unwrap_or_default();
            let length = rest.iter().take_while(|byte| is_of_constant(**byte)).count();
            if length > 0 {
                replace(inside, inside + length);
            }
            at = inside + length.max(1);
            continue;
        }
        let rest = text.get(at..).unwrap_or_default();
        let length = rest.iter().position(|byte| !is_of_token(*byte)).unwrap_or(rest.len());
        if length == 0 {
            at += 1;
            continue;
        }
        let end = at + length;
        let before = at.checked_sub(1).and_then(|before| text.get(before)).copied();
        let behind = text.get(end).copied();
        let is_alone = match (before, behind) {
            (Some(b'\''), Some(b'\'')) => !text.get(end + 1..).is_some_and(|more| more.starts_with(b"::reg")),
            (Some(b'$'), Some(b'$')) => true,
            _ => what == Definitions::Labels && is_edge(before) && is_edge(behind),
        };
        if is_alone && rest.get(..length).is_some_and(is_secret) {
            replace(at, end);
        }
        at = end;
    }
    if copied == 0 {
        return Cow::Borrowed(text);
    }
    out.extend_from_slice(text.get(copied..).unwrap_or_default());
    Cow::Owned(out)
}

/// Where the bytes of a constant begin that a parse tree has at `at`: `:constvalue 4 [ 1 0 0 0 ]`.
fn constant_of_tree(text: &[u8], at: usize) -> Option<usize> {
    let rest = text.get(at..)?.strip_prefix(b":constvalue ")?;
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let inside = rest.get(digits..)?.strip_prefix(b" [ ")?;
    Some(text.len() - inside.len())
}

/// Bytes of a constant are written as signed numbers.
fn is_of_constant(byte: u8) -> bool {
    byte.is_ascii_digit() || matches!(byte, b' ' | b'-')
}

/// A constant that nothing but a secret looks like.
fn is_secret(token: &[u8]) -> bool {
    if !(SECRET_BYTES_MIN..=SECRET_BYTES_MAX).contains(&token.len()) {
        return false;
    }
    let mut looks = Looks::default();
    // What fills up base64 says nothing.
    for byte in token.strip_suffix(b"==").or(token.strip_suffix(b"=")).unwrap_or(token) {
        looks.see(*byte);
    }
    let Looks { upper, lower, digits, digit_runs, signs, paths, hexadecimal, .. } = looks;
    let letters = upper + lower;
    // A digest or key. UUIDs have hyphens at their places, and are keys of rows as a rule.
    if hexadecimal == token.len() {
        return token.len() >= HEXADECIMAL_BYTES_MIN && digits > 0 && letters > 0;
    }
    if is_uuid(token) || token.starts_with(b"/") || token.windows(3).any(|three| three == b"://") {
        return false;
    }
    // Random letters and digits, as generators make them.
    let is_mixed = upper > 0 && lower > 0 && digits >= 2 && digit_runs >= 2;
    if is_mixed && token.len() >= RANDOM_BYTES_MIN && paths <= token.len() / 8 {
        return true;
    }
    // Words and digits with signs between: `copper-lantern-2904`. Names (`orders_2024`) have no such sign; formats of
    // dates have few digits, dates few letters.
    letters >= 6 && digits >= 3 && signs > 0 && paths == 0 && token.len() >= PHRASE_BYTES_MIN
}

/// What a token is made of.
#[derive(Default)]
struct Looks {
    upper: usize,
    lower: usize,
    digits: usize,
    digit_runs: usize,
    /// What joins words in a passphrase.
    signs: usize,
    /// What stands in paths, and in base64.
    paths: usize,
    hexadecimal: usize,
    was_digit: bool,
}

impl Looks {
    fn see(&mut self, byte: u8) {
        match byte {
            b'A'..=b'Z' => self.upper += 1,
            b'a'..=b'z' => self.lower += 1,
            b'0'..=b'9' => {
                self.digits += 1;
                self.digit_runs += usize::from(!self.was_digit);
            }
            b'/' | b'+' | b'=' | b':' => self.paths += 1,
            b'_' | b'.' => {}
            _ => self.signs += 1,
        }
        self.hexadecimal += usize::from(byte.is_ascii_hexdigit());
        self.was_digit = byte.is_ascii_digit();
    }
}

fn is_uuid(token: &[u8]) -> bool {
    token.len() == 36
        && token.iter().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => *byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

/// Letters, digits and the signs that passwords and keys have.
fn is_of_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._!@#^&+~?/=:*%".contains(&byte)
}

/// A label begins and ends there.
fn is_edge(byte: Option<u8>) -> bool {
    byte.is_none_or(|byte| b"\n\r\t ,{}()[]\"'|;".contains(&byte))
}

/// Characters.
const SHOWN_BY_PSQL: usize = 128;
/// Shorter ones say what a column is for.
const NUMBER_DIGITS_MIN: usize = 5;
/// Nothing shorter is told apart from a name.
const SECRET_BYTES_MIN: usize = 8;
/// Longer ones are data.
const SECRET_BYTES_MAX: usize = 512;
const RANDOM_BYTES_MIN: usize = 10;
const PHRASE_BYTES_MIN: usize = 12;
const HEXADECIMAL_BYTES_MIN: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(what: Definitions, text: &str) -> String {
        String::from_utf8(without_secrets(what, &HiddenConstants::default(), text.as_bytes()).into_owned())
            .unwrap()
    }

    #[test]
    fn constants_that_look_like_secrets_are_left_out() {
        for (code, expected) in [
            (" SELECT 'violet-harbour-6613'::text ", " SELECT '***'::text "),
            ("FOR VALUES IN ('violet-harbour-6613', 'open')", "FOR VALUES IN ('***', 'open')"),
            ("-- don't\nRETURN 'copper-lantern-2904'; -- it's", "-- don't\nRETURN '***'; -- it's"),
            ("key := 'aZ4kQ9xP2mW7';", "key := '***';"),
            ("key := E'aZ4kQ9xP2mW7';", "key := E'***';"),
            ("key := $$aZ4kQ9xP2mW7$$;", "key := $$***$$;"),
            ("h = '5f4dcc3b5aa765d61d8327deb882cf99'", "h = '***'"),
            ("k = 'Zm9vYmFyMTIz+/kL8Q=='", "k = '***'"),
        ] {
            assert_eq!(shown(Definitions::Code, code), expected);
        }
    }

    #[test]
    fn ordinary_definitions_stay_as_they_are() {
        for code in [
            "nextval('order_items_2024_id_seq'::regclass)",
            "nextval('\"Order-Items-2024_id_seq\"'::regclass)",
            "nextval('a-table-of-2024'::regclass)",
            "to_char(now(), 'YYYY-MM-DD\"T\"HH24:MI:SS.MS')",
            "to_char(x, 'YYYYMMDDHH24MISSUS')",
            "FOR VALUES FROM ('2024-01-01 00:00:00+00') TO ('2024-02-01 00:00:00+00')",
            "CHECK (state = ANY (ARRAY['open'::text, 'in-progress'::text, 'closed_2'::text]))",
            "convert_from(x, 'iso-8859-15') || 'UTF8' || 'sha512-256' || 'Europe/Berlin' || 'Etc/GMT+5'",
            "'3fa85f64-5717-4562-b3fc-2c963f66afa6'::uuid",
            "'https://shop.example/v2/items?page=12&size=50'::text",
            "'/var/lib/shop-2024/files'::text",
            "x.amount-y.paid_2024-1000",
            "partition_orders_2024_q1",
            "CREATE VIEW \"Report-2024-figures\" AS SELECT 1",
            "'1.2.3'::text || '12345678901234'::text || 'Iso8601Format'::text",
        ] {
            assert_eq!(shown(Definitions::Code, code), code);
        }
    }

    #[test]
    fn labels_need_no_quotes() {
        for (labels, expected) in [
            ("violet-harbour-6613", "***"),
            ("open\nviolet-harbour-6613\nclosed", "open\n***\nclosed"),
            ("{open,violet-harbour-6613}", "{open,***}"),
            ("open, violet-harbour-6613", "open, ***"),
            ("in-progress", "in-progress"),
            ("orders_2024_state", "orders_2024_state"),
        ] {
            assert_eq!(shown(Definitions::Labels, labels), expected);
            let code = shown(Definitions::Code, labels);
            assert_eq!(code, labels, "no code");
        }
    }

    #[test]
    fn constants_in_parse_trees_have_no_bytes() {
        let tree = "{CONST :consttype 25 :constlen -1 :constvalue 9 [ 36 0 0 0 118 105 111 108 101 ] :x 1}";
        let shown = shown(Definitions::Code, tree);
        assert_eq!(shown, "{CONST :consttype 25 :constlen -1 :constvalue 9 [ ***] :x 1}");
        for broken in [":constvalue ", ":constvalue 4 [ ", ":constvalue x [ 1 ]"] {
            assert_eq!(
                super::without_secrets(Definitions::Code, &HiddenConstants::default(), broken.as_bytes()),
                broken.as_bytes()
            );
        }
        for (cut, expected) in [
            (":constvalue 4 [ 1 2 3", ":constvalue 4 [ ***"),
            (":constvalue 4 [ 1 -2 x 3 ]", ":constvalue 4 [ ***x 3 ]"),
        ] {
            assert_eq!(
                super::without_secrets(Definitions::Code, &HiddenConstants::default(), cut.as_bytes()),
                expected.as_bytes()
            );
        }
    }

    /// Would take hours if it were not: a client chooses the text.
    #[test]
    fn time_is_linear_in_constants_without_an_end() {
        let text = ":constvalue 4 [ ".repeat(4 << 16);
        assert_eq!(
            super::without_secrets(Definitions::Code, &HiddenConstants::default(), text.as_bytes()),
            text.as_bytes()
        );
        let text = ":constvalue 4 [ 1".repeat(4 << 16);
        let shown = super::without_secrets(Definitions::Code, &HiddenConstants::default(), text.as_bytes());
        assert_eq!(shown.len(), text.len() + 2 * (4 << 16));
    }

    #[test]
    fn constants_of_sensitive_columns_are_left_out() {
        let words = std::collections::BTreeSet::from(["sarcoidosis".into(), "it's late".into()]);
        let hidden = HiddenConstants::new(&words);
        for (code, expected) in [
            ("x = 'sarcoidosis'::text", "x = '***'::text"),
            ("x = 'it''s late' OR sarcoidosis", "x = '***' OR ***"),
            ("x = 'sarcoidosis2'", "x = 'sarcoidosis2'"),
        ] {
            let shown = without_secrets(Definitions::Code, &hidden, code.as_bytes());
            assert_eq!(String::from_utf8_lossy(&shown), expected);
        }
    }

    #[test]
    fn where_nobody_knows_which_all_constants_are_left_out() {
        for (what, text, expected) in [
            (Definitions::Code, "x = 'one' OR y = 'it''s two'::text", "x = '***'::text"),
            (Definitions::Code, "-- don't\nRETURN 'one'", "-- don'***"),
            (Definitions::Code, "x = 'one' OR y = 'the mid", "x = '***"),
            (Definitions::Code, "AS $f$ SELECT 'one' $f$", "AS $***$"),
            (Definitions::Code, "cut off in 'the mid", "***"),
            (Definitions::Code, "CHECK (a > 184199.77 AND b < 12)", "CHECK (a > *** AND b < 12)"),
            (Definitions::Code, "'a' || x > 123456", "'***' || x > ***"),
            (Definitions::Code, "orders_20240101", "orders_20240101"),
            (Definitions::Code, "timestamp with time zone", "timestamp with time zone"),
            (Definitions::Code, ":constvalue 4 [ 1 2 ]", ":constvalue 4 [ ***]"),
            (Definitions::Code, "", ""),
            (Definitions::Labels, "open", "***"),
            (Definitions::No, "'one'", "'one'"),
        ] {
            let shown = without_secrets(what, &HiddenConstants::all(), text.as_bytes());
            assert_eq!(String::from_utf8_lossy(&shown), expected, "{text}");
        }
    }

    #[test]
    fn nothing_is_searched_where_there_are_no_definitions() {
        assert_eq!(shown(Definitions::No, "'violet-harbour-6613'"), "'violet-harbour-6613'");
    }

    const PIECES: &[&str] =
        &[":constvalue 4 [ ", ":constvalue ", "1 ", "-", "[", "]", "'", "$", "violet-harbour-6613", "x", " "];

    proptest::proptest! {
        /// Whatever the bytes are: no panic, and nothing is written that was not there but the marker.
        #[test]
        fn any_bytes_are_taken(text in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200)) {
            for what in [Definitions::Code, Definitions::Labels] {
                let shown = without_secrets(what, &HiddenConstants::default(), &text);
                proptest::prop_assert!(shown.len() <= text.len() + 3);
            }
        }

        /// The same of what definitions are made of. A marker is at most two bytes longer than what it stands for.
        #[test]
        fn any_pieces_are_taken(pieces in proptest::collection::vec(proptest::sample::select(PIECES), 0..60)) {
            let text = pieces.concat();
            for what in [Definitions::Code, Definitions::Labels] {
                let shown = without_secrets(what, &HiddenConstants::default(), text.as_bytes());
                proptest::prop_assert!(shown.len() <= text.len() + 2 * pieces.len());
            }
        }
    }
}
