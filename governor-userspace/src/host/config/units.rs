//! Sizes and durations as people write them: `"64MiB"`, `"250ms"`.
//!
//! Strict on purpose: one number, one unit, nothing else. `"5"` seconds or minutes is a question that a
//! reader of the file should not have to ask.

use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer};
use std::fmt;
use std::time::Duration;

/// A number of bytes; an integer, or a text with a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Bytes(pub u64);

/// A length of time; a text with a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Span(pub Duration);

/// `"4096B"`, `"64KiB"`, `"1MiB"`, `"2GiB"`.
pub fn parse_bytes(text: &str) -> Result<u64, String> {
    let (number, unit) = split(text).ok_or_else(|| bytes_form(text))?;
    let factor: u64 = match unit {
        "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return Err(bytes_form(text)),
    };
    number.checked_mul(factor).ok_or_else(|| format!("{text:?} is too large"))
}

/// `"250ms"`, `"10s"`, `"5m"`, `"24h"`.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = split(text).ok_or_else(|| duration_form(text))?;
    let ms: u64 = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err(duration_form(text)),
    };
    number.checked_mul(ms).map(Duration::from_millis).ok_or_else(|| format!("{text:?} is too long"))
}

fn split(text: &str) -> Option<(u64, &str)> {
    let at = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at_checked(at)?;
    Some((number.parse().ok()?, unit))
}

fn bytes_form(text: &str) -> String {
    format!("{text:?} is no size; write a whole number and a unit, B, KiB, MiB or GiB, such as \"64MiB\"")
}

fn duration_form(text: &str) -> String {
    format!("{text:?} is no duration; write a whole number and a unit, ms, s, m or h, such as \"10s\"")
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Size;
        impl Visitor<'_> for Size {
            type Value = Bytes;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a size such as \"64MiB\", or a whole number of bytes")
            }

            fn visit_i64<E: Error>(self, value: i64) -> Result<Bytes, E> {
                u64::try_from(value).map(Bytes).map_err(|_| E::custom("a size cannot be negative"))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Bytes, E> {
                parse_bytes(text).map(Bytes).map_err(E::custom)
            }
        }
        deserializer.deserialize_any(Size)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        parse_duration(&text).map(Self).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (text, expected) in
            [("0B", 0), ("4096B", 4096), ("64KiB", 65_536), ("64MiB", 67_108_864), ("2GiB", 2_147_483_648)]
        {
            assert_eq!(parse_bytes(text), Ok(expected), "{text}");
        }
        for text in [
            "",
            "64",
            "64MB",
            "64 MiB",
            " 64MiB",
            "64MiB ",
            "1.5MiB",
            "-1B",
            "+1B",
            "MiB",
            "64mib",
            "64K",
            "99999999999999999999B",
            "18446744073709551615KiB",
        ] {
            assert!(parse_bytes(text).is_err(), "{text}");
        }
    }

    #[test]
    fn durations() {
        for (text, ms) in [("0s", 0), ("250ms", 250), ("10s", 10_000), ("5m", 300_000), ("24h", 86_400_000)] {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(ms)), "{text}");
        }
        for text in ["", "5", "5 m", "5min", "1h30m", "-1s", "1.5s", "1d", "s", "18446744073709551615h"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }
}
