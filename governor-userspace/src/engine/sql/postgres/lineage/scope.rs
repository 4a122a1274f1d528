//! What is in scope at a place of a statement: FROM items with their columns, query by query.
//!
//! The rules are the server's (`parse_relation.c`): the innermost query that knows a name wins; a join hides the
//! columns of what it joins from unqualified names, and with an alias also their names; what may be either counts as both.

use super::value::{Rows, Set, UNNAMED, Value};
use super::{Analysis, Doubt};
use crate::engine::model::{FunctionName, Oid};
use std::sync::Arc;

/// One query's FROM.
#[derive(Debug, Default)]
pub(super) struct Level {
    /// Values of columns. Items share them, so that what a predicate adds shows everywhere.
    pub slots: Vec<Value>,
    pub items: Vec<Item>,
    pub chosen_by: Set,
    pub counted_by: Set,
    /// What the windows that WINDOW names are made of.
    pub windows: Value,
}

/// What one name in FROM stands for.
#[derive(Debug, Default)]
pub(super) struct Item {
    pub name: Option<Arc<str>>,
    /// Set where the item can be named with its schema in front.
    pub schema: Option<Arc<str>>,
    pub columns: Vec<(Arc<str>, usize)>,
    /// What any other column of it would draw from; `None` where there are no others.
    pub open: Option<Value>,
    /// A name may mean any of its columns, or none of them.
    pub is_guess: bool,
    /// Columns that are not known may stand between those that are.
    pub is_unordered: bool,
    /// A table or view that users made: it may have got columns since the catalogue was read.
    pub is_user_relation: bool,
    /// Its rows are in partitions: in which one tells what they hold.
    pub has_parts: bool,
    /// Its columns are those of this table or view, in their order, as they are stored.
    pub stored: Option<Oid>,
    /// It is a list of settings of the server.
    pub lists_settings: bool,
    /// It can be named, as in `p.id`.
    pub is_named: bool,
    /// Its columns can be named without it.
    pub shows_columns: bool,
}

impl Item {
    /// Where the stored column is that `item.column` means: relation and place.
    pub(super) fn stored(&self, column: &str) -> Option<(Oid, usize)> {
        let mut places = self.columns.iter().enumerate().filter(|(_, (name, _))| **name == *column);
        match (places.next(), places.next()) {
            (Some((place, _)), None) if !self.is_guess => Some((self.stored?, place)),
            _ => None,
        }
    }

    fn slots_of(&self, column: &str) -> impl Iterator<Item = usize> {
        self.columns.iter().filter(move |(name, _)| **name == *column).map(|(_, slot)| *slot)
    }
}

impl Level {
    pub(super) fn slot(&mut self, value: Value) -> usize {
        self.slots.push(value);
        self.slots.len() - 1
    }

    pub(super) fn value(&self, slot: usize) -> Value {
        self.slots.get(slot).cloned().unwrap_or_else(|| Value::unknown(Doubt::UnknownColumn))
    }

    /// Puts rows into scope under a name; the item's place.
    pub(super) fn push_rows(&mut self, rows: Rows, name: Option<Arc<str>>) -> usize {
        let columns = rows.columns.into_iter().map(|(name, value)| (name, self.slot(value))).collect();
        self.chosen_by.extend(rows.chosen_by);
        self.counted_by.extend(rows.counted_by);
        self.push(Item {
            is_named: name.is_some(),
            name,
            columns,
            open: rows.open,
            shows_columns: true,
            ..Item::default()
        })
    }

    pub(super) fn push(&mut self, item: Item) -> usize {
        self.items.push(item);
        self.items.len() - 1
    }

    /// The whole row of an item.
    pub(super) fn row(&self, item: &Item) -> Value {
        let mut row = item.open.clone().unwrap_or_default();
        for (_, slot) in &item.columns {
            if let Some(value) = self.slots.get(*slot) {
                row.add(value);
            }
        }
        row.exact = false;
        row.alike = false;
        row
    }
}

/// What a name was found to be at one level.
enum Found {
    Columns(Vec<usize>),
    /// Maybe a column of items whose columns are not all known; the slots that it may mean.
    Open(Value, Vec<usize>),
    Nothing,
}

impl Level {
    fn find(&self, column: &str) -> Found {
        let shown = || self.items.iter().filter(|item| item.shows_columns);
        let slots: Vec<usize> =
            shown().filter(|item| !item.is_guess).flat_map(|item| item.slots_of(column)).collect();
        if !slots.is_empty() {
            return Found::Columns(slots);
        }
        let mut open = shown().filter(|item| item.open.is_some()).peekable();
        if open.peek().is_none() {
            return Found::Nothing;
        }
        let mut value = Value::default();
        let mut perhaps = Vec::new();
        let mut is_there = false;
        for item in open {
            if item.is_guess {
                value.add(&self.row(item));
                perhaps.extend(item.columns.iter().map(|(_, slot)| *slot));
                is_there |= item.slots_of(column).next().is_some();
            } else if let Some(more) = &item.open {
                value.add(more);
            }
        }
        if !is_there && shown().any(|item| item.is_user_relation && item.open.is_none()) {
            value.doubt(Some(Doubt::UnknownColumn));
        }
        Found::Open(value, perhaps)
    }

    /// Where the stored column is that a bare name means here: relation and place. `None`: it means nothing at this level,
    /// `Some(None)`: something else.
    pub(super) fn only_stored(&self, column: &str) -> Option<Option<(Oid, usize)>> {
        match self.find(column) {
            Found::Columns(slots) => Some(match *slots {
                [slot] => self.items.iter().find_map(|item| {
                    let place = item.columns.iter().position(|(_, s)| *s == slot);
                    item.stored.zip(place)
                }),
                _ => None,
            }),
            Found::Open(..) => Some(None),
            Found::Nothing => None,
        }
    }

    /// What it costs to look for a name.
    fn search_cost(&self) -> usize {
        self.items.len()
            + self.items.iter().map(|item| item.columns.len()).sum::<usize>() / 16
            + self.guess_cost()
    }

    /// What it costs to merge all that a name may mean.
    fn guess_cost(&self) -> usize {
        self.items
            .iter()
            .filter(|item| item.is_guess && item.shows_columns)
            .map(|item| self.row_cost(item))
            .sum()
    }

    fn row_cost(&self, item: &Item) -> usize {
        item.columns.iter().filter_map(|(_, slot)| self.slots.get(*slot)).map(Value::size).sum()
    }

    fn named(&self, schema: Option<&str>, name: &str) -> Option<&Item> {
        self.items.iter().find(|item| {
            item.is_named
                && item.name.as_deref() == Some(name)
                && schema.is_none_or(|schema| item.schema.as_deref() == Some(schema))
        })
    }
}

impl Analysis<'_, '_> {
    pub(super) fn level(&mut self) -> &mut Level {
        if self.levels.is_empty() {
            self.levels.push(Level::default());
        }
        let last = self.levels.len() - 1;
        // Just made sure that it is there.
        #[allow(clippy::indexing_slicing)]
        &mut self.levels[last]
    }

    /// A name without dots: a column, or else an argument, or else the row of a FROM item.
    pub(super) fn bare_name(&mut self, name: &str) -> Result<Value, Doubt> {
        let mut perhaps: Option<Value> = None;
        for at in (0..self.levels.len()).rev() {
            let Some(level) = self.levels.get(at) else { continue };
            self.shared.spend(1 + level.search_cost())?;
            match level.find(name) {
                Found::Columns(slots) => {
                    let value = self.slots(at, &slots);
                    return Ok(match perhaps {
                        None => value,
                        Some(mut open) => {
                            open.add(&value);
                            open
                        }
                    });
                }
                Found::Open(value, slots) => {
                    perhaps.get_or_insert_default().add(&value);
                    if let Some(references) = &mut self.references {
                        references.extend(slots.into_iter().map(|slot| (at, slot)));
                    }
                }
                // Maybe a system column; but only tables have those, so a query further out may have the name.
                Found::Nothing => {}
            }
        }
        let row = self.item(None, name).map(|(at, item)| self.row_of(at, item));
        match (perhaps, row) {
            (Some(mut open), Some(row)) => {
                open.add(&row);
                Ok(open)
            }
            (Some(value), None) => Ok(value),
            (None, _) if self.is_parameter(name) => Ok(Value::default()),
            (None, Some(row)) => Ok(row),
            (None, None) if is_system_column(name) && self.levels.iter().any(|l| !l.items.is_empty()) => {
                let all =
                    self.levels.iter().flat_map(|level| level.items.iter().map(move |item| (level, item)));
                Ok(system_value(name, all))
            }
            (None, None) => Ok(Value::unknown(Doubt::UnknownColumn)),
        }
    }

    /// `item.column`, `schema.item.column`, `f.argument`; `None` where it must be a function of the item's row.
    pub(super) fn qualified_name(
        &mut self,
        schema: Option<&str>,
        item: &str,
        column: &str,
    ) -> Result<Option<Value>, Doubt> {
        self.shared.spend(1 + self.levels.iter().map(|level| level.items.len()).sum::<usize>() / 16)?;
        let Some((at, index)) = self.item(schema, item) else {
            return self.of_parameter(schema.unwrap_or(item), item, column).map(Some);
        };
        let Some(found) = self.levels.get(at).and_then(|level| level.items.get(index)) else {
            return Ok(None);
        };
        self.shared.spend(1 + found.columns.len() / 16)?;
        let slots: Vec<usize> = found.slots_of(column).collect();
        if !slots.is_empty() && !found.is_guess {
            return Ok(Some(self.slots(at, &slots)));
        }
        let is_open = found.open.is_some();
        let cost = self.levels.get(at).map_or(0, |level| level.row_cost(found));
        self.shared.spend(if is_open { cost } else { 0 })?;
        let function = FunctionName { schema: None, name: column.into() };
        let by_users = !self.shared.names.catalogue.user_functions(&function, self.path).is_empty();
        if is_open {
            // A column that is not known, or a function of that name, which would get the row.
            let mut row = self.row_of(at, index);
            row.doubt(by_users.then_some(Doubt::Function));
            return Ok(Some(row));
        }
        let found = self.levels.get(at).and_then(|level| level.items.get(index).map(|item| (level, item)));
        Ok((is_system_column(column) && !by_users).then(|| system_value(column, found)))
    }

    /// `function.parameter`, or `parameter.name`: a field of it, or a function that gets it. `first` stands before all.
    fn of_parameter(&mut self, first: &str, item: &str, column: &str) -> Result<Value, Doubt> {
        if !self.is_parameter(item) {
            let is_own = first == item && self.is_parameter(column);
            return Ok(if is_own { Value::default() } else { Value::unknown(Doubt::UnknownColumn) });
        }
        // What is given to a parameter counts where the function is called.
        let mut total = Value::unknown(Doubt::UnknownColumn);
        let function = FunctionName { schema: None, name: column.into() };
        let catalogue = self.shared.names.catalogue;
        let is_called = !catalogue.user_functions(&function, self.path).is_empty();
        if is_called || catalogue.system_function(&function).is_some() {
            self.named_call(&function, &Value::default(), &mut total)?;
        }
        Ok(total)
    }

    /// What it costs to look for a name at every level.
    pub(super) fn search_cost(&self) -> usize {
        self.levels.iter().map(|level| level.search_cost()).sum::<usize>() / 16
    }

    /// Where an item of this name is: the level and its place there.
    pub(super) fn item(&self, schema: Option<&str>, name: &str) -> Option<(usize, usize)> {
        self.levels.iter().enumerate().rev().find_map(|(at, level)| {
            let found = level.named(schema, name)?;
            level.items.iter().position(|item| std::ptr::eq(item, found)).map(|index| (at, index))
        })
    }

    /// The whole row of an item, every column of it noted as referred to.
    pub(super) fn row_of(&mut self, at: usize, index: usize) -> Value {
        let Some(level) = self.levels.get(at) else { return Value::unknown(Doubt::UnknownColumn) };
        let Some(item) = level.items.get(index) else { return Value::unknown(Doubt::UnknownColumn) };
        let row = level.row(item);
        if let Some(references) = &mut self.references {
            references.extend(item.columns.iter().map(|(_, slot)| (at, *slot)));
        }
        row
    }

    /// The rows that `*` or `item.*` stands for: columns in order, and whether that is all.
    pub(super) fn star(&mut self, of: Option<(usize, usize)>, into: &mut Rows) -> Result<(), Doubt> {
        let (at, chosen) = match of {
            Some((at, index)) => (at, Some(index)),
            None => (self.levels.len().saturating_sub(1), None),
        };
        let Some(level) = self.levels.get(at) else {
            into.open = Some(Value::unknown(Doubt::UnknownRelation));
            return Ok(());
        };
        for (index, item) in level.items.iter().enumerate() {
            if chosen.map_or(!item.shows_columns, |chosen| chosen != index) {
                continue;
            }
            for (name, slot) in &item.columns {
                let value = level.value(*slot);
                self.shared.spend(value.size())?;
                if into.open.is_none() && !item.is_guess && !item.is_unordered {
                    into.columns.push((name.clone(), value));
                } else {
                    into.open.get_or_insert_default().add(&value);
                }
            }
            if let Some(more) = &item.open {
                into.open.get_or_insert_default().add(more);
            }
        }
        Ok(())
    }

    /// Columns that a name may mean at one level: the union where there are several.
    fn slots(&mut self, at: usize, slots: &[usize]) -> Value {
        let Some(level) = self.levels.get(at) else { return Value::unknown(Doubt::UnknownColumn) };
        let mut values = slots.iter().map(|slot| level.value(*slot));
        let mut value = values.next().unwrap_or_else(|| Value::unknown(Doubt::UnknownColumn));
        values.for_each(|more| value.or(&more));
        if let Some(references) = &mut self.references {
            references.extend(slots.iter().map(|slot| (at, *slot)));
        }
        value
    }

    fn is_parameter(&self, name: &str) -> bool {
        name != UNNAMED && self.parameters.iter().any(|parameter| **parameter == *name)
    }
}

/// A column that every table has, of one of these items. In which partition a row is depends on what is in it.
fn system_value<'l>(name: &str, items: impl IntoIterator<Item = (&'l Level, &'l Item)>) -> Value {
    let mut value = Value::constant();
    for (level, item) in items.into_iter().filter(|(_, item)| item.has_parts && name == "tableoid") {
        value.add_implicit(&level.row(item));
        value.exact = false;
    }
    value
}

/// Columns that every table has: numbers of places and transactions.
fn is_system_column(name: &str) -> bool {
    matches!(name, "ctid" | "xmin" | "xmax" | "cmin" | "cmax" | "tableoid")
}
