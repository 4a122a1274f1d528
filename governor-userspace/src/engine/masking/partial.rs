//! Keeps what people need to recognise a value, per category, and hides the rest.
//!
//! Only ASCII is ever kept and only ASCII is written, so bytes and characters are the same and the
//! result is valid in every server encoding. A value too short to hide anything keeps nothing.

use super::pg_type::TypeClass;
use super::transform::Format;
use crate::engine::model::Category;

/// Appends the partial form of a text value; `false` (and possibly some bytes, for the caller to cut)
/// where the category has none or the value does not look like it: then it is redacted whole.
pub(super) fn text(category: Category, value: &[u8], out: &mut Vec<u8>) -> bool {
    let value = value.trim_ascii();
    match category {
        Category::Email => email(value, out),
        Category::PaymentCard => last_digits(value, 12..=19, 4, out),
        Category::Phone => last_digits(value, 7..=17, 2, out),
        Category::Iban => iban(value, out),
        Category::PersonName => name(value, out),
        Category::BirthDate => birth_date(TypeClass::Date, Format::Text, value, out),
        Category::NationalId
        | Category::Address
        | Category::Passport
        | Category::Credential
        | Category::IpAddress
        | Category::Health
        | Category::Financial
        | Category::Other
        | Category::Asked => false,
    }
}

/// A partial mask keeps a part of values of this category.
pub fn keeps_a_part(category: Category) -> bool {
    matches!(
        category,
        Category::Email
            | Category::PaymentCard
            | Category::Phone
            | Category::Iban
            | Category::PersonName
            | Category::BirthDate
    )
}

/// `l***@example.com`: first letter and domain. One `@`, one word, a domain in ASCII.
fn email(value: &[u8], out: &mut Vec<u8>) -> bool {
    let mut parts = value.split(|&b| b == b'@');
    let (Some(local), Some(domain), None) = (parts.next(), parts.next(), parts.next()) else { return false };
    let plain = |b: &u8| b.is_ascii_alphanumeric() || *b == b'.' || *b == b'-';
    if local.is_empty() || !domain.contains(&b'.') || domain.len() > 253 || !domain.iter().all(plain) {
        return false;
    }
    if let [first, _, ..] = local {
        out.extend(Some(*first).filter(u8::is_ascii_alphanumeric));
    }
    out.extend_from_slice(b"***@");
    out.extend_from_slice(domain);
    true
}

/// A star for every digit but the last `keep`; separators go. Anything but digits and separators, or
/// a count of digits outside `count`, is no number of this kind.
fn last_digits(value: &[u8], count: std::ops::RangeInclusive<usize>, keep: usize, out: &mut Vec<u8>) -> bool {
    let (mut digits, mut kept) = (0, [0; KEPT_MAX]);
    for &byte in value {
        match byte {
            b'0'..=b'9' => digits += 1,
            b' ' | b'+' | b'-' | b'.' | b'/' | b'(' | b')' => {}
            _ => return false,
        }
    }
    let Some(kept) = kept.get_mut(..keep).filter(|_| count.contains(&digits)) else { return false };
    let last = value.iter().rev().filter(|byte| byte.is_ascii_digit());
    kept.iter_mut().rev().zip(last).for_each(|(slot, digit)| *slot = *digit);
    out.resize(out.len() + digits - keep, b'*');
    out.extend_from_slice(kept);
    true
}

/// Country and last four, stars for the rest.
fn iban(value: &[u8], out: &mut Vec<u8>) -> bool {
    let count = value.iter().filter(|&&b| b != b' ').count();
    let plain = value.iter().all(|b| b.is_ascii_alphanumeric() || *b == b' ');
    let Some(country) = value.get(..2).filter(|c| c.iter().all(u8::is_ascii_alphabetic)) else {
        return false;
    };
    if !plain || !(15..=34).contains(&count) {
        return false;
    }
    out.extend_from_slice(country);
    out.resize(out.len() + count - 6, b'*');
    out.extend(value.iter().filter(|&&b| b != b' ').skip(count - 4));
    true
}

/// First letter, where it is ASCII and not the whole name.
fn name(value: &[u8], out: &mut Vec<u8>) -> bool {
    if let [first, _, ..] = value {
        out.extend(Some(*first).filter(u8::is_ascii_alphabetic));
    }
    out.extend_from_slice(b"***");
    true
}

/// The first of January of the same year, for dates and timestamps; `false` and nothing written for
/// other types, for infinity and for what is not an ISO date of the years 1000 to 9999.
pub(super) fn birth_date(class: TypeClass, format: Format, value: &[u8], out: &mut Vec<u8>) -> bool {
    let year = match (class.is_day(), format) {
        (false, _) => None,
        (true, Format::Text) => year_of_text(value),
        (true, Format::Binary) => year_of_binary(class, value),
    };
    let Some(year) = year.filter(|year| (1000..=9999).contains(year)) else { return false };
    match (format, class) {
        (Format::Text, TypeClass::Date) => out.extend_from_slice(format!("{year}-01-01").as_bytes()),
        (Format::Text, TypeClass::Timestamp) => {
            out.extend_from_slice(format!("{year}-01-01 00:00:00").as_bytes())
        }
        (Format::Text, _) => out.extend_from_slice(format!("{year}-01-01 00:00:00+00").as_bytes()),
        (Format::Binary, TypeClass::Date) => {
            out.extend_from_slice(&i32::try_from(days_at_year(year)).unwrap_or(0).to_be_bytes());
        }
        (Format::Binary, _) => out.extend_from_slice(&(days_at_year(year) * DAY_US).to_be_bytes()),
    }
    true
}

/// `YYYY-MM-DD`, possibly with a time behind it, not before Christ.
fn year_of_text(value: &[u8]) -> Option<i64> {
    let (date, rest) = value.split_at_checked(10)?;
    let [y @ .., b'-', m1, m2, b'-', d1, d2] = date else { return None };
    let iso = y.iter().chain([m1, m2, d1, d2]).all(u8::is_ascii_digit);
    let time = matches!(rest.first(), None | Some(b' ' | b'T')) && !rest.ends_with(b"BC");
    (iso && time).then(|| y.iter().fold(0, |year, b| year * 10 + i64::from(b - b'0')))
}

fn year_of_binary(class: TypeClass, value: &[u8]) -> Option<i64> {
    let days = if class == TypeClass::Date {
        let days = i32::from_be_bytes(value.try_into().ok()?);
        (days != i32::MAX && days != i32::MIN).then_some(i64::from(days))?
    } else {
        let us = i64::from_be_bytes(value.try_into().ok()?);
        (us != i64::MAX && us != i64::MIN).then_some(us.div_euclid(DAY_US))?
    };
    // Off by at most one year before the correction: 400 years have 146,097 days.
    let mut year = 2000 + days * 400 / 146_097;
    while days_at_year(year) > days {
        year -= 1;
    }
    while days_at_year(year + 1) <= days {
        year += 1;
    }
    Some(year)
}

/// Days from 2000-01-01 to the first of January of `year` in the proleptic Gregorian calendar.
fn days_at_year(year: i64) -> i64 {
    let leaps = |y: i64| y.div_euclid(4) - y.div_euclid(100) + y.div_euclid(400);
    (year - 2000) * 365 + leaps(year - 1) - leaps(1999)
}

/// Most digits that are kept.
const KEPT_MAX: usize = 4;
const DAY_US: i64 = 86_400_000_000;
