//! Which numbers each country's plan gives out to subscribers: by their length and their first four digits.
//!
//! `plans.txt` is made from the crate `phonenumber` (Google's libphonenumber), whose patterns a test of `xtask` compares with it;
//! fixed lines and mobiles count, what nobody has at home (short, premium and free numbers) does not. Countries that share a calling
//! code are one plan.
//!
//! Four digits are all that is looked at, so a look-up costs the same for every value and never depends on what was looked up
//! before. Read once, when the first column of numbers is looked at: some hundred kilobytes.

use std::collections::HashMap;
use std::sync::LazyLock;

/// One calling code.
#[derive(Debug)]
pub(super) struct Plan {
    /// The countries that have it, the largest first: `DE`, `US/CA`.
    pub(super) countries: &'static str,
}

/// How a number is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Bare,
    WithTrunk,
    WithCode,
}

/// A number may be one of this plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reading {
    pub(super) plan: u8,
    pub(super) form: Form,
    /// Digits without trunk prefix and calling code.
    pub(super) length: u8,
    /// The first four of them.
    pub(super) prefix: u16,
}

/// One bit for each plan.
type Set = [u64; 4];

#[derive(Debug)]
pub(super) struct Table {
    plans: Vec<Plan>,
    /// By length, then by prefix: a number in `sets`.
    cells: Vec<Vec<u16>>,
    sets: Vec<Set>,
    by_code: HashMap<&'static str, u8>,
    /// Trunk prefixes, each with the plans that have it.
    trunks: Vec<(&'static str, Set)>,
}

pub(super) static TABLE: LazyLock<Table> = LazyLock::new(|| Table::read(include_str!("plans.txt")));

impl Table {
    /// Lines of `countries code trunk length:prefixes length:prefixes …`. A line of another form is none: the table is
    /// governor's own, and a test reads all of it.
    fn read(text: &'static str) -> Self {
        let mut table = Self {
            plans: Vec::new(),
            cells: Vec::new(),
            sets: vec![Set::default()],
            by_code: HashMap::new(),
            trunks: Vec::new(),
        };
        let mut grid = vec![vec![Set::default(); PREFIXES]; LENGTHS];
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        for (line, plan) in lines.zip(0..=u8::MAX) {
            let mut words = line.split(' ');
            let (Some(countries), Some(code), Some(trunk)) = (words.next(), words.next(), words.next())
            else {
                continue;
            };
            table.plans.push(Plan { countries });
            table.by_code.insert(code, plan);
            if trunk != "-" {
                match table.trunks.iter_mut().find(|(known, _)| *known == trunk) {
                    Some((_, plans)) => put(plans, plan),
                    None => {
                        let mut plans = Set::default();
                        put(&mut plans, plan);
                        table.trunks.push((trunk, plans));
                    }
                }
            }
            for word in words {
                let Some((length, prefixes)) = word.split_once(':') else { continue };
                let row = length.parse().ok().and_then(row_of).and_then(|row| grid.get_mut(row));
                let Some(row) = row else { continue };
                for cell in prefixes.split(',').filter_map(range_of).flatten() {
                    if let Some(set) = row.get_mut(cell) {
                        put(set, plan);
                    }
                }
            }
        }
        let mut known: HashMap<Set, u16> = HashMap::from([(Set::default(), 0)]);
        for row in grid {
            let cells = row.into_iter().map(|set| {
                *known.entry(set).or_insert_with(|| {
                    table.sets.push(set);
                    u16::try_from(table.sets.len() - 1).unwrap_or(0)
                })
            });
            table.cells.push(cells.collect());
        }
        table
    }

    pub(super) fn plan(&self, plan: u8) -> Option<&Plan> {
        self.plans.get(usize::from(plan))
    }

    #[cfg(test)]
    pub(super) fn plans_count(&self) -> usize {
        self.plans.len()
    }

    /// Everything that a number of digits and nothing else may be.
    pub(super) fn readings(&self, digits: &str, put: &mut impl FnMut(Reading)) {
        self.with_form(Form::Bare, digits, None, put);
        for (trunk, plans) in &self.trunks {
            if let Some(rest) = digits.strip_prefix(trunk) {
                self.with_form(Form::WithTrunk, rest, Some(plans), put);
            }
        }
        // No code begins with another.
        for end in 1..=3 {
            if let Some((code, rest)) = digits.split_at_checked(end)
                && let Some(plan) = self.by_code.get(code)
            {
                let mut only = Set::default();
                self::put(&mut only, *plan);
                self.with_form(Form::WithCode, rest, Some(&only), put);
            }
        }
    }

    fn with_form(&self, form: Form, digits: &str, among: Option<&Set>, put: &mut impl FnMut(Reading)) {
        let Some(prefix) = digits.get(..4).and_then(|prefix| prefix.parse::<u16>().ok()) else { return };
        let cells = row_of(digits.len()).and_then(|row| self.cells.get(row));
        let Some(set) = cells.and_then(|row| row.get(usize::from(prefix))).and_then(|at| self.set(*at))
        else {
            return;
        };
        let length = u8::try_from(digits.len()).unwrap_or(u8::MAX);
        for (at, word) in set.iter().enumerate() {
            let mut left = *word & among.map_or(u64::MAX, |among| among.get(at).copied().unwrap_or(0));
            while left != 0 {
                let plan = u8::try_from(at * 64).unwrap_or(u8::MAX) + left.trailing_zeros() as u8;
                left &= left - 1;
                put(Reading { plan, form, length, prefix });
            }
        }
    }

    /// Which part of the numbers of a length from one prefix to another the plan gives out, 0 to 1.
    pub(super) fn density(&self, plan: u8, length: u8, prefixes: std::ops::RangeInclusive<u16>) -> f64 {
        let row = row_of(usize::from(length)).and_then(|row| self.cells.get(row));
        let (low, high) = (usize::from(*prefixes.start()), usize::from(*prefixes.end()));
        let cells = row.and_then(|row| row.get(low..=high)).unwrap_or_default();
        let given = cells.iter().filter(|at| self.set(**at).is_some_and(|set| has(set, plan))).count();
        given as f64 / cells.len().max(1) as f64
    }

    fn set(&self, at: u16) -> Option<&Set> {
        self.sets.get(usize::from(at))
    }
}

fn put(set: &mut Set, plan: u8) {
    if let Some(word) = set.get_mut(usize::from(plan / 64)) {
        *word |= 1 << (plan % 64);
    }
}

fn has(set: &Set, plan: u8) -> bool {
    set.get(usize::from(plan / 64)).is_some_and(|word| word >> (plan % 64) & 1 == 1)
}

fn row_of(length: usize) -> Option<usize> {
    length.checked_sub(LENGTH_MIN).filter(|row| *row < LENGTHS)
}

/// `612` is 6120 to 6129, `61-4` is 6100 to 6499.
fn range_of(word: &str) -> Option<std::ops::Range<usize>> {
    let (first, last) = word.split_once('-').unwrap_or((word, ""));
    let mut end = first.to_owned();
    if let Some(digit) = last.chars().next() {
        end.pop();
        end.push(digit);
    }
    let room = 10_usize.pow(4_u32.checked_sub(u32::try_from(first.len()).ok()?)?);
    Some(first.parse::<usize>().ok()? * room..(end.parse::<usize>().ok()? + 1) * room)
}

/// Shorter numbers are as likely anything else; longer ones are in no plan but a few.
const LENGTH_MIN: usize = 7;
/// 7 to 12 digits.
const LENGTHS: usize = 6;
const PREFIXES: usize = 10_000;
