//! Does a reply tell a secret? Looked for as it is, and in the disguises that SQL has at hand.
//!
//! A secret is compared by its letters and digits only, so that separators, quotes and borders of values do not
//! hide it. Values are read one by one, along rows, and down columns: a secret cut into characters appears in
//! one of these. Disguises beyond (hashes, sums, pieces) are named by the attack's file as further secrets.

use super::play::Reply;
use crate::wire::Message;
use std::collections::BTreeSet;

/// Something that must not be seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Secret {
    /// Where it is from, for the report.
    pub what: String,
    pub value: String,
}

/// The secrets that `replies` tell, and how.
pub fn told(secrets: &[Secret], replies: &[Reply]) -> Vec<String> {
    let views = Views::of(replies);
    let mut found = BTreeSet::new();
    for secret in secrets {
        if let Some(how) = views.tells(&secret.value) {
            found.insert(format!("{} {how}", secret.what));
        }
    }
    found.into_iter().collect()
}

/// The same replies, laid out in the ways in which a secret may be read.
#[derive(Debug, Default)]
struct Views {
    /// Values and texts one after another, in lower case.
    text: String,
    /// The same without blanks.
    squeezed: String,
    /// Only letters and digits of it.
    bare: String,
    /// Letters and digits of each column from top to bottom.
    columns: String,
    /// Numbers that are codes of characters, as these characters; along rows and down columns.
    codes: String,
    /// Bytes of every value and text.
    raw: Vec<u8>,
    /// Values as they are, for those that are compared as a whole.
    values: BTreeSet<Vec<u8>>,
}

impl Views {
    fn of(replies: &[Reply]) -> Self {
        let mut views = Self::default();
        let mut column_codes = String::new();
        for reply in replies {
            let mut rows: Vec<Vec<String>> = Vec::new();
            for message in &reply.messages {
                match values_of(message) {
                    Some(values) => {
                        let row: Vec<String> = values.iter().map(|value| lossy(value)).collect();
                        for value in values {
                            views.add(&value);
                            views.values.insert(value);
                        }
                        rows.push(row);
                    }
                    None if SHOWN.contains(&message.tag) => views.add(&message.body),
                    None => {}
                }
            }
            let width = rows.iter().map(Vec::len).max().unwrap_or_default();
            for column in 0..width {
                for value in rows.iter().filter_map(|row| row.get(column)) {
                    views.columns.push_str(&bare(value));
                    column_codes.extend(character(value));
                }
                views.columns.push('\n');
                column_codes.push('\n');
            }
            // From the bottom to the top: rows that were ordered the other way.
            for column in 0..width {
                let values = rows.iter().rev().filter_map(|row| row.get(column));
                values.for_each(|value| views.columns.push_str(&bare(value)));
                views.columns.push('\n');
            }
        }
        views.codes.push('\n');
        views.codes.push_str(&column_codes);
        views.codes = bare(&views.codes);
        views.squeezed = views.text.chars().filter(|c| !c.is_whitespace()).collect();
        views
    }

    fn add(&mut self, bytes: &[u8]) {
        let text = lossy(bytes);
        self.bare.push_str(&bare(&text));
        let numbers = text.split(|c: char| !c.is_ascii_digit()).filter(|number| !number.is_empty());
        self.codes.extend(numbers.filter_map(character));
        self.text.push_str(&text.to_lowercase());
        self.text.push('\n');
        self.raw.extend_from_slice(bytes);
        self.raw.push(b'\n');
    }

    /// How the secret is told, if it is.
    fn tells(&self, secret: &str) -> Option<&'static str> {
        let plain = bare(secret);
        if plain.len() < SECRET_BYTES_MIN {
            // Too short to search for: only a value of its own counts.
            return self.values.contains(secret.as_bytes()).then_some("as it is");
        }
        let reversed: String = plain.chars().rev().collect();
        let hex = |text: &str| text.bytes().map(|byte| format!("{byte:02x}")).collect::<String>();
        let has = |text: &str, wanted: &str| contains(text.as_bytes(), wanted.as_bytes());
        let ways: [(&'static str, bool); 9] = [
            ("as it is", has(&self.bare, &plain)),
            ("down a column", has(&self.columns, &plain)),
            ("backwards", has(&self.bare, &reversed) || has(&self.columns, &reversed)),
            (
                "in hexadecimal",
                has(&self.bare, &hex(secret)) || has(&self.bare, &hex(&secret.to_lowercase())),
            ),
            ("in base64", has(&self.squeezed, &base64(secret).to_lowercase())),
            ("in character codes", has(&self.codes, &plain)),
            ("in bytes", contains(&self.raw, secret.as_bytes())),
            ("as a binary number", self.numbers(secret)),
            ("as a binary date", self.date(secret)),
        ];
        ways.into_iter().find(|(_, found)| *found).map(|(how, _)| how)
    }

    /// An amount in one of the server's binary formats.
    fn numbers(&self, secret: &str) -> bool {
        let Ok(number) = secret.parse::<f64>() else { return false };
        let mut forms = vec![number.to_be_bytes().to_vec(), (number as f32).to_be_bytes().to_vec()];
        if number.fract() == 0.0 {
            forms.push((number as i64).to_be_bytes().to_vec());
            forms.push((number as i32).to_be_bytes().to_vec());
        }
        // Money counts in hundredths.
        forms.push(((number * 100.0).round() as i64).to_be_bytes().to_vec());
        let groups: Vec<u8> =
            base_ten_thousand(secret).iter().flat_map(|group| group.to_be_bytes()).collect();
        // Within ranges and rows there are eight bytes beside others.
        let within = |form: &Vec<u8>| number > 1e9 && form.len() == 8 && contains(&self.raw, form);
        forms.iter().any(|form| self.values.contains(form) || within(form))
            || self.values.iter().any(|value| value.len() > 8 && value.get(8..) == Some(&groups))
    }

    /// A date as days since 2000.
    fn date(&self, secret: &str) -> bool {
        let parts: Vec<i64> = secret.split('-').filter_map(|part| part.parse().ok()).collect();
        let [year, month, day] = parts.as_slice() else { return false };
        // Days from civil, counted in eras of 400 years that begin in March.
        let shifted = if *month <= 2 { year - 1 } else { *year };
        let (era, of_era) = (shifted.div_euclid(400), shifted.rem_euclid(400));
        let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
        let days = era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 730_425;
        i32::try_from(days).is_ok_and(|days| self.values.contains(days.to_be_bytes().as_slice()))
    }
}

/// Digits of `numeric` in its binary format: groups of four before and behind the point.
fn base_ten_thousand(number: &str) -> Vec<u16> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let lead = whole.len().next_multiple_of(4);
    let tail = fraction.len().next_multiple_of(4);
    let digits = format!("{whole:0>lead$}{fraction:0<tail$}");
    digits.as_bytes().chunks(4).filter_map(|four| std::str::from_utf8(four).ok()?.parse().ok()).collect()
}

/// Up to the last whole group of three bytes: what follows depends on what comes behind the secret.
fn base64(text: &str) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for three in text.as_bytes().chunks_exact(3) {
        let bits = three.iter().fold(0_usize, |bits, byte| bits << 8 | usize::from(*byte));
        for shift in [18, 12, 6, 0] {
            out.extend(ALPHABET.get(bits >> shift & 63).map(|byte| char::from(*byte)));
        }
    }
    out
}

/// The values of a row, or nothing for other messages.
fn values_of(message: &Message) -> Option<Vec<Vec<u8>>> {
    if message.tag != b'D' {
        return None;
    }
    Some(message.row().ok()?.into_iter().flatten().collect())
}

/// A number that is the code of a letter, digit or sign.
fn character(number: &str) -> Option<char> {
    let code: u8 = number.trim().parse().ok()?;
    (32..127).contains(&code).then(|| char::from(code))
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn bare(text: &str) -> String {
    text.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

fn contains(bytes: &[u8], wanted: &[u8]) -> bool {
    memchr::memmem::find(bytes, wanted).is_some()
}

/// Errors, notices, notifications, parameters, COPY data, command tags, results of function calls.
const SHOWN: &[u8] = b"ENASdCVT";
/// Shorter ones would be found by chance.
const SECRET_BYTES_MIN: usize = 6;

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn row(values: &[&[u8]]) -> Message {
        let mut body = (values.len() as u16).to_be_bytes().to_vec();
        for value in values {
            body.extend((value.len() as u32).to_be_bytes());
            body.extend(*value);
        }
        Message { tag: b'D', body }
    }

    fn found(secret: &str, messages: Vec<Message>) -> Vec<String> {
        let reply = Reply { guess: None, messages, took: Duration::ZERO, opening: false, ended: None };
        told(&[Secret { what: "it".into(), value: secret.into() }], &[reply])
    }

    #[test]
    fn disguises_are_seen_through() {
        let ssn = "512-84-9071";
        for (messages, how) in [
            (vec![row(&[b"512-84-9071"])], "as it is"),
            (vec![row(&[b"512849071"])], "as it is"),
            (vec![row(&[b"512", b"84", b"9071"])], "as it is"),
            (
                vec![Message { tag: b'E', body: b"SERROR\0Minvalid input: \"512-84-9071\"\0\0".to_vec() }],
                "as it is",
            ),
            (vec![row(&[b"1709-48-215"])], "backwards"),
            (vec![row(&[b"\\x3531322d38342d39303731"])], "in hexadecimal"),
            (vec![row(&[b"NTEyLTg0LTkwNzE="])], "in base64"),
            (vec![row(&[b"{53,49,50,45,56,52,45,57,48,55,49}"])], "in character codes"),
            (b"512849071".chunks(1).map(|c| row(&[b"x", c, b"y"])).collect(), "down a column"),
            (b"170948215".chunks(1).map(|c| row(&[b"x", c])).collect(), "down a column"),
        ] {
            assert_eq!(found(ssn, messages), [format!("it {how}")]);
        }
    }

    #[test]
    fn binary_numbers_and_dates_are_read() {
        let numeric = [0, 3, 0, 1, 0, 0, 0, 2, 0, 18, 16, 103, 0x1e, 0x14];
        assert_eq!(base_ten_thousand("184199.77"), [18, 4199, 7700]);
        assert_eq!(found("184199.77", vec![row(&[&numeric])]), ["it as a binary number"]);
        assert_eq!(found("184199", vec![row(&[&184_199_i64.to_be_bytes()])]), ["it as a binary number"]);
        assert_eq!(found("2000-01-02", vec![row(&[&1_i32.to_be_bytes()])]), ["it as a binary date"]);
        assert_eq!(found("1969-07-20", vec![row(&[&(-11_122_i32).to_be_bytes()])]), ["it as a binary date"]);
    }

    #[test]
    fn masked_values_and_other_data_tell_nothing() {
        let rows = vec![row(&[b"[masked]", b"q***@example.com", b"2000-01-01"]), row(&[b"1", b"42", b"512"])];
        assert!(found("512-84-9071", rows).is_empty());
    }
}
