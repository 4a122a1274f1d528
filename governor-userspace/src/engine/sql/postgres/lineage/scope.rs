//! What is in scope at a place of a statement: FROM items with their columns, query by query.
//!
//! The rules are the server's (`parse_relation.c`): the innermost query that knows a name wins; a join hides the
//! columns of what it joins from unqualified names, and with an alias also their names; what may be either counts as both.

use super::value::{Rows, Set, UNNAMED, Value};
use super::{Analysis, Doubt};
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
    /// A table or view that users made: it may have got columns since the catalogue was read.
    pub is_user_relation: bool,
    /// It can be named, as in `p.id`.
    pub is_named: bool,
    /// Its columns can be named without it.
    pub shows_columns: bool,
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
    fn row(&self, item: &Item) -> Value {
        let mut row = item.open.clone().unwrap_or_default();
        for (_, slot) in &item.columns {
            if let Some(value) = self.slots.get(*slot) {
                row.add(value);
            }
        }
        row.exact = false;
        row
    }
}

/// What a name was found to be at one level.
enum Found {
    Columns(Vec<usize>),
    /// Maybe a column of items whose columns are not all known.
    Open(Value),
    Nothing,
}

impl Level {
    fn find(&self, column: &str) -> Found {
        let shown = || self.items.iter().filter(|item| item.shows_columns);
        let slots: Vec<usize> =
            shown().flat_map(|item| &item.columns).filter(|(n, _)| **n == *column).map(|(_, s)| *s).collect();
        if !slots.is_empty() {
            return Found::Columns(slots);
        }
        let mut open = shown().filter_map(|item| item.open.as_ref()).peekable();
        if open.peek().is_none() {
            return Found::Nothing;
        }
        let mut value = Value::default();
        open.for_each(|more| value.add(more));
        if shown().any(|item| item.is_user_relation && item.open.is_none()) {
            value.doubt(Some(Doubt::UnknownColumn));
        }
        Found::Open(value)
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
            self.shared.spend(1 + level.items.len())?;
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
                Found::Open(value) => match &mut perhaps {
                    Some(open) => open.add(&value),
                    None => perhaps = Some(value),
                },
                Found::Nothing if is_system_column(name) && !level.items.is_empty() => {
                    return Ok(perhaps.unwrap_or_else(Value::constant));
                }
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
        let Some((at, index)) = self.item(schema, item) else {
            let value = if self.is_parameter(column) {
                Value::default()
            } else {
                Value::unknown(Doubt::UnknownColumn)
            };
            return Ok(Some(value));
        };
        self.shared.spend(1)?;
        let Some(found) = self.levels.get(at).and_then(|level| level.items.get(index)) else {
            return Ok(None);
        };
        let slots: Vec<usize> =
            found.columns.iter().filter(|(n, _)| **n == *column).map(|(_, slot)| *slot).collect();
        if !slots.is_empty() {
            return Ok(Some(self.slots(at, &slots)));
        }
        if is_system_column(column) {
            return Ok(Some(Value::constant()));
        }
        // A function of that name could also be meant; it would get the row.
        Ok(found.open.clone())
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
                if into.open.is_none() {
                    into.columns.push((name.clone(), value));
                } else if let Some(open) = &mut into.open {
                    open.add(&value);
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

/// Columns that every table has: numbers of places and transactions.
fn is_system_column(name: &str) -> bool {
    matches!(name, "ctid" | "xmin" | "xmax" | "cmin" | "cmax" | "tableoid")
}
