//! From what a person typed to one column: exactly, or with what they may have meant.

use super::keeper::DataError;
use crate::engine::model::ColumnName;
use crate::engine::session::{ColumnPlace, Discovery};

/// What a person typed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Typed<'a> {
    pub column: &'a str,
    pub server: Option<&'a str>,
    pub database: Option<&'a str>,
}

/// The one column that is meant.
pub(super) fn find(discovery: &Discovery, typed: &Typed<'_>) -> Result<ColumnPlace, DataError> {
    let wanted = parts(typed.column).ok_or_else(|| DataError::NotAColumn(shorten(typed.column)))?;
    let mut found: Vec<ColumnPlace> = Vec::new();
    let mut near = Near::default();
    let mut look = |place: ColumnPlace| {
        let elsewhere = typed.server.is_some_and(|server| place.server.to_string() != server)
            || typed.database.is_some_and(|database| place.database != database);
        if elsewhere {
            return;
        }
        if fits(&wanted, &place.column) {
            if !found.contains(&place) && found.len() < CANDIDATES_MAX {
                found.push(place);
            }
        } else {
            near.look(typed.column, &place);
        }
    };
    for record in discovery.records() {
        look(record.place);
    }
    for (server, database, catalogue) in discovery.catalogues() {
        for column in catalogue.columns().take(COLUMNS_LOOKED_AT_MAX) {
            look(ColumnPlace { server: server.clone(), database: database.clone(), column });
        }
    }
    match found.len() {
        1 => Ok(found.remove(0)),
        0 => Err(DataError::Unknown { typed: shorten(typed.column), near: near.names() }),
        _ => Err(DataError::Ambiguous {
            typed: shorten(typed.column),
            places: found.iter().map(ToString::to_string).collect(),
        }),
    }
}

/// `schema.relation.column`, `relation.column`; `"quotes"` around a name with a dot.
fn parts(text: &str) -> Option<Vec<String>> {
    let mut parts: Vec<String> = vec![String::new()];
    let mut quoted = false;
    for c in text.chars() {
        match c {
            '"' => quoted = !quoted,
            '.' if !quoted => parts.push(String::new()),
            c if c.is_control() => return None,
            c => parts.last_mut()?.push(c),
        }
    }
    let whole = !quoted && (2..=3).contains(&parts.len()) && parts.iter().all(|part| !part.is_empty());
    whole.then_some(parts)
}

fn fits(wanted: &[String], name: &ColumnName) -> bool {
    match wanted {
        [schema, relation, column] => {
            *schema == name.schema && *relation == name.relation && *column == name.column
        }
        [relation, column] => *relation == name.relation && *column == name.column,
        _ => false,
    }
}

/// The names that are most like what was typed.
#[derive(Debug, Default)]
struct Near(Vec<(f64, String)>);

impl Near {
    fn look(&mut self, typed: &str, place: &ColumnPlace) {
        let name = place.column.to_string();
        let short = format!("{}.{}", place.column.relation, place.column.column);
        let likeness = strsim::jaro_winkler(typed, &name).max(strsim::jaro_winkler(typed, &short));
        if likeness < LIKENESS_MIN || self.0.iter().any(|(_, known)| *known == name) {
            return;
        }
        self.0.push((likeness, name));
        self.0.sort_by(|a, b| b.0.total_cmp(&a.0));
        self.0.truncate(NEAR_MAX);
    }

    fn names(self) -> Vec<String> {
        self.0.into_iter().map(|(_, name)| name).collect()
    }
}

/// Of what people type, as errors show it.
fn shorten(text: &str) -> String {
    text.chars().take(200).collect()
}

const CANDIDATES_MAX: usize = 16;
/// Of one database.
const COLUMNS_LOOKED_AT_MAX: usize = 500_000;
const NEAR_MAX: usize = 3;
const LIKENESS_MIN: f64 = 0.85;
