//! Texts that differ in whole numbers only have the same facts: found without parsing each.
//!
//! An application that writes its keys into the text sends every statement once, so that facts kept by exact text
//! never serve it. For sessions of which policy can deny, hold and mask nothing, facts serve the record alone, and
//! none that a record shows depends on such a number. Nobody else's facts come from here.
//!
//! Invariant: the key has every byte of the text but the digits of numbers that the server's scanner reads as one
//! integer each. It keeps which of them are zero, which are equal and which is greater, so that even a condition that
//! is always true (`1 = 1`) has a key that no other has. Any byte that could begin a string, a comment, a quoted
//! name or a parameter means that there is no key.

/// Writes the key of `text` into `key`; `false` where it has none.
pub(super) fn key_of(text: &str, key: &mut Vec<u8>) -> bool {
    key.clear();
    let text = text.as_bytes();
    if text.len() > TEXT_BYTES_MAX {
        return false;
    }
    let mut numbers = [(0_u32, 0_usize); NUMBERS_MAX];
    let mut count = 0;
    let mut at = 0;
    let mut before = b' ';
    while let Some(&byte) = text.get(at) {
        match byte {
            b'0'..=b'9' if !is_word(before) => {
                let digits = text.get(at..).unwrap_or_default();
                let length = digits.iter().position(|b| !b.is_ascii_digit()).unwrap_or(digits.len());
                let after = text.get(at + length).copied().unwrap_or(b' ');
                let Some(slot) = numbers.get_mut(count) else { return false };
                // Longer ones are no integer to the grammar; `1e5`, `1.5` and `1a` are something else.
                if length > DIGITS_MAX || is_word(after) {
                    return false;
                }
                let value = digits.iter().take(length).fold(0, |n, digit| n * 10 + u32::from(digit - b'0'));
                key.push(NUMBER);
                *slot = (value, key.len());
                key.push(0);
                count += 1;
                at += length;
                before = b'0';
                continue;
            }
            b'-' if before == b'-' => return false,
            b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' | b'_' | b'.' => key.push(byte),
            b' ' | b'\n' | b'\t' | b',' | b'(' | b')' | b'=' | b'<' | b'>' | b'+' | b'-' | b'*' => {
                key.push(byte)
            }
            _ => return false,
        }
        before = byte;
        at += 1;
    }
    rank(numbers.get(..count).unwrap_or_default(), key);
    count > 0
}

/// Behind each number's mark: 0 for zero, otherwise its place among the others.
fn rank(numbers: &[(u32, usize)], key: &mut [u8]) {
    for (value, place) in numbers {
        let smaller = numbers.iter().filter(|(other, _)| other < value).count() as u8;
        if let Some(slot) = key.get_mut(*place) {
            *slot = if *value == 0 { 0 } else { 1 + smaller };
        }
    }
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'.'
}

/// Longer texts are parsed.
const TEXT_BYTES_MAX: usize = 1024;
const NUMBERS_MAX: usize = 16;
/// Always within the grammar's 32 bits.
const DIGITS_MAX: usize = 9;
/// In no text that has a key.
const NUMBER: u8 = b'#';

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::model::Statement;
    use crate::engine::sql::{PostgresDialect, SqlDialect};
    use proptest::prelude::*;

    fn key(text: &str) -> Option<Vec<u8>> {
        let mut key = Vec::new();
        key_of(text, &mut key).then_some(key)
    }

    #[test]
    fn only_whole_numbers_are_left_out() {
        let same = |a: &str, b: &str| key(a).is_some() && key(a) == key(b);
        assert!(same("SELECT a FROM t WHERE id = 17", "SELECT a FROM t WHERE id = 123456789"));
        assert!(same("UPDATE t SET a = a + -5 WHERE id = 9", "UPDATE t SET a = a + -812 WHERE id = 4711"));
        assert!(!same("UPDATE t SET a = a + 12 WHERE id = 9", "UPDATE t SET a = a + 8 WHERE id = 9"));
        assert!(!same("SELECT 1 FROM t WHERE 1 = 1", "SELECT 1 FROM t WHERE 1 = 2"));
        assert!(!same("DELETE FROM t WHERE id = 5 AND 0", "DELETE FROM t WHERE id = 5 AND 1"));
        assert!(!same("SELECT a1 FROM t WHERE id = 1", "SELECT a2 FROM t WHERE id = 1"));
        for none in [
            "SELECT a FROM t",
            "SELECT a FROM t WHERE id = $1",
            "SELECT a FROM t WHERE id = 1.5",
            "SELECT a FROM t WHERE id = 1e5",
            "SELECT a FROM t WHERE id = 1a",
            "SELECT a FROM t WHERE id = 1234567890",
            "SELECT 'a' FROM t WHERE id = 1",
            "SELECT \"a\" FROM t WHERE id = 1",
            "SELECT a FROM t -- WHERE id = 1",
            "SELECT a FROM t /* 1 */",
            "SELECT 1; SELECT 1",
            "SELECT ä FROM t WHERE id = 1",
        ] {
            assert_eq!(key(none), None, "{none}");
        }
    }

    /// What a record shows, and what policy could ask, is equal wherever keys are.
    fn facts(text: &str) -> Vec<Statement> {
        let mut statements = PostgresDialect::default().script(text).statements;
        for statement in &mut statements {
            statement.text = "".into();
            // The messages of the grammar quote the text.
            statement.unknown = statement
                .unknown
                .take()
                .map(|why| crate::engine::model::Unknown::NotUnderstood { what: why.cause().into() });
            if let Some(inner) = &mut statement.inner {
                inner.text = "".into();
            }
        }
        statements
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4_000))]
        #[test]
        fn equal_keys_mean_equal_facts(
            pieces in prop::collection::vec(0..PIECES.len(), 1..14),
            a in prop::collection::vec(prop_oneof![0..4_u32, 0..1_000_000_000_u32], 14),
            b in prop::collection::vec(prop_oneof![0..4_u32, 0..1_000_000_000_u32], 14),
        ) {
            let write = |numbers: &[u32]| {
                let mut text = String::from("SELECT ");
                for (piece, number) in pieces.iter().zip(numbers) {
                    text.push_str(&PIECES[*piece].replace('N', &number.to_string()));
                    text.push(' ');
                }
                text
            };
            let (a, b) = (write(&a), write(&b));
            if key(&a).is_some() && key(&a) == key(&b) {
                prop_assert_eq!(facts(&a), facts(&b), "{} | {}", a, b);
            }
        }
    }

    const PIECES: &[&str] = &[
        "a",
        "N",
        "FROM t",
        "FROM t WHERE id = N",
        "WHERE N = N",
        "AND N < N",
        "OR id = N",
        "OR NOT id = N",
        "WHERE N",
        "AND N",
        "LIMIT N",
        "ORDER BY N",
        ", f(N)",
        "FROM t, u WHERE (N)",
        "IN (N, N)",
        "* N",
        "+ -N",
        "UNION SELECT N FROM v",
        "BETWEEN N AND N",
        "WHERE id = id",
        ", N",
    ];
}
