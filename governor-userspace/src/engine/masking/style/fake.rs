//! Made-up values that look like what they stand for and belong to nobody.
//!
//! The key and the value choose, so a value has the same stand-in everywhere; there are fewer stand-ins than values,
//! so two values may share one. Domains, numbers and networks are those that are set aside for examples: RFC 2606,
//! RFC 5737, RFC 3849, RFC 7042; North American numbers 555-0100 to 555-0199; social security numbers of area 666,
//! which is never given out; card numbers that issuers publish for tests, IBANs that appear in examples.

use super::words::{CITIES, FIRST_NAMES, LAST_NAMES, STREETS};
use super::{Choices, Context, hash, number_of};
use crate::engine::masking::value::{Address, Hardware, Value, day_of_text, text_of_day};
use crate::engine::model::Category;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

pub(super) fn of(context: &Context<'_>, value: &Value<'_>) -> Option<Value<'static>> {
    let mut choices = context.choices("fake", value)?;
    Some(match value {
        Value::Text(text) if context.declared.is_text() => {
            let room = context.declared.characters_max().unwrap_or(usize::MAX);
            let made = text_of(context.mask.category?, text, room, &mut choices)?;
            Value::Text(made.into_bytes().into())
        }
        Value::Day(_) => Value::Day(day(&mut choices)?),
        Value::Moment(_) => {
            Value::Moment(i64::from(day(&mut choices)?) * crate::engine::masking::value::DAY_US)
        }
        Value::Uuid(_) => hash::uuid(&context.keyed(context.key.choice(), "fake", value)?)?,
        Value::Address(address) => Value::Address(Address::host(address_like(address.ip, &mut choices))),
        Value::Hardware(address) => {
            let last = u8::try_from(choices.below(256)).ok()?;
            let bytes = match address.bytes().len() {
                6 => vec![0, 0, 0x5E, 0, 0x53, last],
                _ => vec![0, 0, 0x5E, 0xEF, 0x10, 0, 0, last],
            };
            Value::Hardware(Hardware::of_binary(&bytes)?)
        }
        _ => return None,
    })
}

fn text_of(category: Category, text: &[u8], room: usize, choices: &mut Choices) -> Option<String> {
    let text = text.trim_ascii();
    let made = match category {
        Category::PersonName => name(text, choices),
        Category::Email => email(room, choices),
        Category::Phone => phone(text, choices),
        Category::PaymentCard => choices.of(&CARDS).into(),
        Category::Iban => choices.of(&IBANS).into(),
        Category::NationalId => national_id(text, choices),
        Category::Address => address(text, choices)?,
        Category::BirthDate => {
            day_of_text(std::str::from_utf8(text).ok()?)?;
            text_of_day(day(choices)?)?
        }
        Category::IpAddress => {
            address_like(std::str::from_utf8(text).ok()?.parse().ok()?, choices).to_string()
        }
        // No stand-in is as harmless as none.
        _ => return None,
    };
    (made.len() <= room).then_some(made)
}

/// As many words as there were, two at most.
fn name(text: &[u8], choices: &mut Choices) -> String {
    let (first, last) = (choices.of(FIRST_NAMES), choices.of(LAST_NAMES));
    if text.contains(&b' ') { format!("{first} {last}") } else { first.into() }
}

fn email(room: usize, choices: &mut Choices) -> String {
    let (first, last) = (choices.of(FIRST_NAMES), choices.of(LAST_NAMES));
    let number = choices.below(1_000_000);
    let long = format!("{first}.{last}{number:06}@example.com").to_ascii_lowercase();
    if long.len() <= room { long } else { format!("u{number:06}@example.com") }
}

/// With the country where the number had one, with separators where it had some.
fn phone(text: &[u8], choices: &mut Choices) -> String {
    let (area, line) = (choices.of(&AREAS), choices.below(100));
    let digits = text.iter().filter(|b| b.is_ascii_digit()).count();
    match (text.first() == Some(&b'+'), digits == text.len()) {
        (true, _) => format!("+1 {area} 555 01{line:02}"),
        (false, true) => format!("{area}55501{line:02}"),
        (false, false) => format!("{area}-555-01{line:02}"),
    }
}

fn national_id(text: &[u8], choices: &mut Choices) -> String {
    let (group, serial) = (choices.below(99) + 1, choices.below(9999) + 1);
    if text.iter().all(u8::is_ascii_digit) {
        format!("666{group:02}{serial:04}")
    } else {
        format!("666-{group:02}-{serial:04}")
    }
}

/// A street where there was a number, else a town; a bare number may be a post code, and those are places.
fn address(text: &[u8], choices: &mut Choices) -> Option<String> {
    let has_digits = text.iter().any(u8::is_ascii_digit);
    let has_letters = text.iter().any(|b| b.is_ascii_alphabetic() || !b.is_ascii());
    has_letters.then(|| {
        if has_digits {
            format!("{} {}", choices.below(299) + 1, choices.of(STREETS))
        } else {
            choices.of(CITIES).into()
        }
    })
}

/// From 1940 to 2004.
fn day(choices: &mut Choices) -> Option<i32> {
    i32::try_from(choices.below(23_741)).ok().map(|days| days - 21_915)
}

fn address_like(ip: IpAddr, choices: &mut Choices) -> IpAddr {
    match ip {
        IpAddr::V4(_) => {
            let (net, host) = (choices.below(3), choices.below(254) + 1);
            let host = u8::try_from(host).unwrap_or(1);
            IpAddr::V4(match net {
                0 => Ipv4Addr::new(192, 0, 2, host),
                1 => Ipv4Addr::new(198, 51, 100, host),
                _ => Ipv4Addr::new(203, 0, 113, host),
            })
        }
        IpAddr::V6(_) => {
            let low = u128::from(number_of(&choices.bytes));
            IpAddr::V6(Ipv6Addr::from_bits((0x2001_0db8 << 96) | low))
        }
    }
}

/// Area codes of North America that are in use for places.
const AREAS: [&str; 16] = [
    "201", "206", "212", "303", "312", "404", "415", "503", "512", "602", "617", "702", "713", "801", "901",
    "907",
];
const CARDS: [&str; 10] = [
    "4111111111111111",
    "4012888888881881",
    "4242424242424242",
    "5555555555554444",
    "5105105105105100",
    "2223003122003222",
    "6011111111111117",
    "6011000990139424",
    "3566002020360505",
    "3530111333300000",
];
const IBANS: [&str; 8] = [
    "DE89370400440532013000",
    "GB82WEST12345698765432",
    "FR1420041010050500013M02606",
    "NL91ABNA0417164300",
    "ES9121000418450200051332",
    "BE68539007547034",
    "AT611904300234573201",
    "CH9300762011623852957",
];
