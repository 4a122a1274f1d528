//! Which columns a statement, or one of its result columns, can draw from: by name, from above.
//!
//! Names are not resolved to relations (that needs the catalogue). What hides a name makes
//! `every_column`: a star, a whole row (`p`, `row_to_json(p)`, `p.row_to_json`), a NATURAL JOIN, and
//! column names given anew to a relation (`people AS p(a, b, c)`).

use super::functions::reads_a_row;
use crate::engine::model::Mentions;
use pg_raw_parse::Node;
use pg_raw_parse::list::NodeList;
use pg_raw_parse::nodes::ColumnRef;

/// The result column that a node is part of; `None` outside the list.
pub(super) type ResultColumn = Option<u32>;

/// Collects while the tree is walked; answers when it has been.
#[derive(Debug, Default)]
pub(super) struct Columns<'a> {
    seen: Vec<(ResultColumn, Part<'a>)>,
    /// Names that stand for a row: relations, aliases, CTEs. A reference may come before its alias in
    /// the walk, so it is compared in the end.
    rows: Vec<&'a str>,
}

#[derive(Clone, Copy, Debug)]
enum Part<'a> {
    Column(&'a str),
    /// Behind a dot: may also be a function over the row in front.
    Field(&'a str),
    Every,
}

impl<'a> Columns<'a> {
    pub(super) fn reference(&mut self, at: ResultColumn, reference: &'a ColumnRef) {
        let fields = reference.fields();
        match fields.iter().next_back() {
            Some(Node::String(name)) => {
                let Some(name) = name.sval() else { return };
                let part = if fields.len() == 1 { Part::Column(name) } else { Part::Field(name) };
                self.seen.push((at, part));
            }
            _ => self.every(at),
        }
    }

    /// `(expression).name.name`: every name may be a field.
    pub(super) fn indirection(&mut self, at: ResultColumn, path: &'a NodeList) {
        self.seen.extend(path.iter().filter_map(Node::as_str).map(|name| (at, Part::Field(name))));
    }

    pub(super) fn column(&mut self, at: ResultColumn, name: &'a str) {
        self.seen.push((at, Part::Column(name)));
    }

    pub(super) fn every(&mut self, at: ResultColumn) {
        self.seen.push((at, Part::Every));
    }

    pub(super) fn row(&mut self, name: Option<&'a str>) {
        self.rows.extend(name);
    }

    /// Mentions of the whole statement, and of each of its `count` result columns.
    pub(super) fn finish(mut self, count: usize) -> (Mentions, Vec<Mentions>) {
        self.rows.sort_unstable();
        let mut whole = Bound::default();
        let mut each = vec![Bound::default(); count];
        for (at, part) in self.seen {
            let (name, every) = match part {
                Part::Column(name) => (Some(name), self.rows.binary_search(&name).is_ok()),
                Part::Field(name) => {
                    (Some(name), reads_a_row(name) || self.rows.binary_search(&name).is_ok())
                }
                Part::Every => (None, true),
            };
            whole.add(name, every);
            if let Some(column) = at.and_then(|at| each.get_mut(at as usize)) {
                column.add(name, every);
            }
        }
        (whole.mentions(), each.into_iter().map(Bound::mentions).collect())
    }
}

#[derive(Clone, Default)]
struct Bound<'a> {
    columns: Vec<&'a str>,
    every: bool,
}

impl<'a> Bound<'a> {
    fn add(&mut self, name: Option<&'a str>, every: bool) {
        self.columns.extend(name);
        self.every |= every;
    }

    fn mentions(mut self) -> Mentions {
        self.columns.sort_unstable();
        self.columns.dedup();
        Mentions { columns: self.columns.into_iter().map(Into::into).collect(), every_column: self.every }
    }
}
