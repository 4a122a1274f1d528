//! A small database as a shop might have it: people, their cards, their orders.
//!
//! All values are made up but well formed: card numbers satisfy Luhn, IBANs their mod-97 check, so that
//! detectors with checksums have something to find. The generator is seeded: every run makes the same rows.

use crate::postgres::Postgres;
use anyhow::Result;
use std::fmt::Write as _;

/// Rows of `people`; `cards` has one for each, `orders` one to three.
pub const PEOPLE: u64 = 80;

/// Creates and fills the tables.
pub fn load(server: &Postgres, database: &str) -> Result<()> {
    server.admin(database, &script()?)?;
    Ok(())
}

/// The SQL that [`load`] runs.
pub fn script() -> Result<String> {
    let mut dice = Dice(20_260_101);
    let mut sql = SCHEMA.to_owned();
    let mut order = 0;
    for id in 1..=PEOPLE {
        let first = dice.pick(&FIRST_NAMES);
        let last = dice.pick(&LAST_NAMES);
        let (lower_first, lower_last) = (first.to_lowercase(), last.to_lowercase());
        let domain = dice.pick(&DOMAINS);
        let phone = format!("+1 {}-555-{:04}", dice.pick(&AREA_CODES), 100 + dice.below(100));
        let ssn =
            format!("{:03}-{:02}-{:04}", 100 + dice.below(500), 1 + dice.below(99), 1 + dice.below(9999));
        writeln!(
            sql,
            "INSERT INTO people VALUES ({id}, '{first} {last}', '{lower_first}.{lower_last}{id}@{domain}', \
             '{phone}', '{ssn}', '{}', '{}-{:02}-{:02}', '{}');",
            iban(&mut dice),
            1950 + dice.below(55),
            1 + dice.below(12),
            1 + dice.below(28),
            dice.pick(&CITIES),
        )?;
        writeln!(
            sql,
            "INSERT INTO cards VALUES ({id}, {id}, '{}', '{:02}/{}');",
            card(&mut dice),
            1 + dice.below(12),
            27 + dice.below(5),
        )?;
        for _ in 0..=dice.below(3) {
            order += 1;
            writeln!(
                sql,
                "INSERT INTO orders VALUES ({order}, {id}, '{}', {}.{:02}, '2026-{:02}-{:02}', '{}');",
                dice.pick(&ITEMS),
                5 + dice.below(400),
                dice.below(100),
                1 + dice.below(9),
                1 + dice.below(28),
                dice.pick(&STATES),
            )?;
        }
    }
    sql.push_str("COMMIT;\nANALYZE people, cards, orders;\n");
    Ok(sql)
}

/// A 16-digit card number whose last digit makes the Luhn sum right.
fn card(dice: &mut Dice) -> String {
    let mut digits: Vec<u64> = vec![4];
    digits.extend((0..14).map(|_| dice.below(10)));
    // Counted from the check digit's place, every second digit is doubled, starting with the one before it.
    let sum: u64 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(place, digit)| match (place % 2 == 0, digit * 2) {
            (true, doubled) if doubled > 9 => doubled - 9,
            (true, doubled) => doubled,
            (false, _) => *digit,
        })
        .sum();
    digits.push((10 - sum % 10) % 10);
    digits.iter().map(u64::to_string).collect()
}

/// A German IBAN: bank code, account, and the check digits that make the whole 1 modulo 97.
fn iban(dice: &mut Dice) -> String {
    let bank = 10_000_000 + dice.below(80_000_000);
    let account = 1_000_000_000 + dice.below(8_999_999_999);
    // D is 13, E is 14, and the two check digits count as 00.
    let rest = format!("{bank}{account}131400")
        .bytes()
        .fold(0, |rest, digit| (rest * 10 + u64::from(digit - b'0')) % 97);
    format!("DE{:02}{bank}{account}", 98 - rest)
}

/// A linear congruential generator (Knuth's MMIX constants): enough for test data, the same everywhere.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit.max(1)
    }

    fn pick(&mut self, from: &[&'static str]) -> &'static str {
        let index = self.below(from.len() as u64);
        usize::try_from(index).ok().and_then(|index| from.get(index)).copied().unwrap_or_default()
    }
}

const SCHEMA: &str = "\
BEGIN;
SET client_min_messages = warning;
CREATE TABLE people (
    id int PRIMARY KEY, name text NOT NULL, email text NOT NULL, phone text NOT NULL,
    ssn text NOT NULL, iban text NOT NULL, birth_date date NOT NULL, city text NOT NULL);
CREATE TABLE cards (
    id int PRIMARY KEY, person_id int NOT NULL REFERENCES people, card_number text NOT NULL,
    expires text NOT NULL);
CREATE TABLE orders (
    id int PRIMARY KEY, person_id int NOT NULL REFERENCES people, item text NOT NULL,
    amount numeric(10,2) NOT NULL, placed date NOT NULL, state text NOT NULL);
";
const FIRST_NAMES: [&str; 16] = [
    "Laura", "Amir", "Chen", "Diego", "Elif", "Fatima", "George", "Hana", "Ivan", "Julia", "Kofi", "Lena",
    "Maria", "Noah", "Olga", "Priya",
];
const LAST_NAMES: [&str; 14] = [
    "Martin", "Okafor", "Silva", "Tanaka", "Novak", "Haddad", "Olsen", "Kaya", "Weber", "Rossi", "Dubois",
    "Patel", "Moreau", "Lindgren",
];
const DOMAINS: [&str; 3] = ["example.com", "example.org", "example.net"];
const AREA_CODES: [&str; 6] = ["212", "312", "415", "617", "720", "206"];
const CITIES: [&str; 8] = ["Lisbon", "Accra", "Osaka", "Denver", "Izmir", "Lyon", "Oslo", "Quito"];
const ITEMS: [&str; 8] = [
    "kettle",
    "desk lamp",
    "notebook",
    "headphones",
    "backpack",
    "coffee grinder",
    "bicycle pump",
    "umbrella",
];
const STATES: [&str; 4] = ["paid", "shipped", "delivered", "cancelled"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_card_satisfies_luhn() {
        let mut dice = Dice(1);
        for _ in 0..200 {
            let number = card(&mut dice);
            let sum: u32 = number
                .bytes()
                .rev()
                .map(|digit| u32::from(digit - b'0'))
                .enumerate()
                .map(|(place, digit)| if place % 2 == 1 { digit * 2 / 10 + digit * 2 % 10 } else { digit })
                .sum();
            assert_eq!((number.len(), sum % 10), (16, 0), "{number}");
        }
    }

    #[test]
    fn every_iban_is_one_modulo_97() {
        let mut dice = Dice(1);
        for _ in 0..200 {
            let text = iban(&mut dice);
            assert_eq!(text.len(), 22);
            let moved = format!("{}1314{}", &text[4..], &text[2..4]);
            let rest = moved.bytes().fold(0_u64, |rest, digit| (rest * 10 + u64::from(digit - b'0')) % 97);
            assert_eq!(rest, 1, "{text}");
        }
    }
}
