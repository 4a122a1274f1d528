//! One worker's look at values that pass: a sample, counted by column, handed over about once a second.
//!
//! Bounded cost: the first rows of each result and one in so many after them; of each column so many values a second.
//! Nothing is kept of a value but what detectors say of it.

use super::super::catalogue::Catalogue;
use super::column::{ColumnPlace, ColumnSight, Counted};
use super::{Discovery, Watched};
use crate::engine::masking::{Category, Detectors};
use crate::engine::model::{ColumnId, Endpoint};
use std::collections::HashMap;
use std::ops::Range;

/// What was counted since it was handed over last.
#[derive(Debug, Default)]
pub(in super::super) struct Collector {
    /// By the reading of the catalogue that the column's number is from.
    columns: HashMap<(u64, ColumnId), (ColumnSight, Counted)>,
    ranges: Vec<(Range<usize>, Category)>,
}

/// Where the rows come from.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct Source<'a> {
    pub server: &'a Endpoint,
    pub database: &'a str,
    pub catalogue: &'a Catalogue,
}

impl Collector {
    /// Whether a row is one of the sample. `number`: of the row in its result, from 0.
    pub fn takes(number: u64, result: u64) -> bool {
        number < FIRST_ROWS || (number + result).is_multiple_of(ROWS_BETWEEN)
    }

    /// Looks at one row of the sample.
    pub fn row(&mut self, watched: &[Watched], body: &[u8], source: Source<'_>, detectors: &Detectors) {
        let mut values = Values::of(body);
        let mut at = 0;
        for one in watched {
            // In the order of the row.
            let Some(value) = values.nth(one.index.saturating_sub(at)) else { return };
            at = one.index + 1;
            if let Some(value) = value {
                self.value(*one, value, source, detectors);
            }
        }
    }

    fn value(&mut self, watched: Watched, value: &[u8], source: Source<'_>, detectors: &Detectors) {
        let key = (source.catalogue.reading, watched.column);
        if !self.columns.contains_key(&key) {
            if self.columns.len() >= COLUMNS_COUNT_MAX {
                return;
            }
            let Some(sight) = sight(watched, source) else { return };
            self.columns.insert(key, (sight, Counted::default()));
        }
        let Some((_, counted)) = self.columns.get_mut(&key) else { return };
        if counted.values < VALUES_MAX {
            let value = value.get(..VALUE_BYTES_MAX).unwrap_or(value);
            counted.value(value, detectors, &mut self.ranges);
        }
    }

    /// Hands over what was counted. While somebody else is at it, it is kept for the next time.
    pub fn hand_over(&mut self, discovery: &Discovery, detectors: &Detectors, at_unix_s: u64) {
        if !self.columns.is_empty() && discovery.add(self.columns.values(), detectors, at_unix_s) {
            self.columns.clear();
        }
    }
}

fn sight(watched: Watched, source: Source<'_>) -> Option<ColumnSight> {
    let (oid, attribute) = watched.column;
    let known = source.catalogue.column(oid, attribute)?;
    let relation = source.catalogue.data.relation(oid)?;
    let others = relation.columns.iter().filter(|column| column.attribute != attribute);
    Some(ColumnSight {
        neighbours: others.take(NEIGHBOURS_COUNT_MAX).map(|column| column.name.clone()).collect(),
        place: ColumnPlace {
            server: source.server.clone(),
            database: source.database.to_owned(),
            column: known.name,
        },
        type_oid: watched.type_oid,
    })
}

/// The values of a DataRow's body, `None` for NULL. Ends where the row is not whole.
struct Values<'a> {
    rest: &'a [u8],
}

impl<'a> Values<'a> {
    fn of(body: &'a [u8]) -> Self {
        Self { rest: body.get(2..).unwrap_or_default() }
    }
}

impl<'a> Iterator for Values<'a> {
    type Item = Option<&'a [u8]>;

    fn next(&mut self) -> Option<Self::Item> {
        let (length, rest) = self.rest.split_first_chunk::<4>()?;
        let Ok(length) = usize::try_from(i32::from_be_bytes(*length)) else {
            self.rest = rest;
            return Some(None);
        };
        let (value, rest) = rest.split_at_checked(length)?;
        self.rest = rest;
        Some(Some(value))
    }
}

/// Looked at in each result.
const FIRST_ROWS: u64 = 32;
/// Of the rows after them, one in so many; which one goes by the result.
const ROWS_BETWEEN: u64 = 16;
/// Of one column, until it is handed over: about a millisecond of detectors' time.
const VALUES_MAX: u64 = 500;
/// What stands behind that in a longer value is masked all the same, only not counted.
const VALUE_BYTES_MAX: usize = 4_096;
const COLUMNS_COUNT_MAX: usize = 4_096;
const NEIGHBOURS_COUNT_MAX: usize = 64;
