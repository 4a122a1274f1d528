//! Collects the replies to [`QUERY`](super::query::QUERY) into a catalogue.
//!
//! Bounded in bytes and in objects: a server that never stops telling is no reason to keep more and more. Beyond the
//! bound there is no catalogue, and everything is in doubt. Definitions that could not be read are left out: what needs
//! them is opaque.

use super::query::{BASE_RESULTS, DEFINED_RESULTS};
use crate::engine::model::{
    Body, Cascade, CatalogueBuilder, Changing, Column, ColumnId, DatabaseIdentity, FIRST_USER_OID, Function,
    FunctionStamp, Oid, Relation, RelationKind, Rule, SystemFunction, Trigger, TypeShape, Volatility,
};
use crate::engine::sql::standard_body;
use crate::engine::wire::postgres::{ProtocolViolation, backend};
use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// What the server may tell in answer: names, types, definitions.
const CATALOGUE_BYTES_MAX: usize = 256 << 20;
/// About 30 bytes each where names repeat.
const COLUMNS_MAX: usize = 4_000_000;

#[derive(Debug, Default)]
pub(in super::super) struct CatalogueReader {
    /// Result sets that are complete.
    results: usize,
    builder: CatalogueBuilder,
    relations: HashMap<Oid, (Relation, Oid)>,
    columns: HashMap<Oid, Vec<Column>>,
    columns_count: usize,
    parents: HashMap<Oid, Vec<Oid>>,
    rules: Vec<(Oid, Rule)>,
    rule_texts: HashMap<Oid, Arc<str>>,
    functions: Vec<Function>,
    function_types: HashMap<Oid, Vec<Oid>>,
    bodies: HashMap<Oid, Arc<str>>,
    /// Views, rules and functions by their id, and columns that they draw from.
    drawn_from: HashMap<Oid, Vec<ColumnId>>,
    schemas: HashSet<Arc<str>>,
    bytes: usize,
    failed: bool,
}

impl CatalogueReader {
    pub fn next_result(&mut self) {
        self.results += 1;
    }

    /// The server answers no further.
    pub fn fail(&mut self) {
        if self.results < BASE_RESULTS {
            // There will be no catalogue; what was read is given back.
            *self = Self { failed: true, ..Self::default() };
        }
    }

    pub fn row(&mut self, body: &[u8]) -> Result<(), ProtocolViolation> {
        self.bytes = self.bytes.saturating_add(body.len());
        if self.bytes > CATALOGUE_BYTES_MAX || self.columns_count >= COLUMNS_MAX {
            *self = Self { failed: true, ..Self::default() };
        }
        if self.failed {
            return Ok(());
        }
        let row = Row(backend::data_row(body)?);
        // A row that is not as asked for is none that this query makes.
        let _ = self.take(&row);
        Ok(())
    }

    fn take(&mut self, row: &Row<'_>) -> Option<()> {
        match row.bytes(0)? {
            b"a" => {
                let (oid, written) = (row.parse(2)?, row.parse(3)?);
                match row.bytes(1)? {
                    b"r" => self.builder.stamps.add_read(oid, written),
                    b"w" => self.builder.stamps.add_write(oid, written),
                    _ => self.builder.stamps.code += u64::from(written),
                }
            }
            b"c" => {
                let column = Column {
                    attribute: row.parse(2)?,
                    name: self.builder.intern(&row.text(3)?),
                    type_oid: row.parse(4)?,
                    characters_max: characters_max(row.parse(6)),
                };
                self.columns_count += 1;
                let columns = self.columns.entry(row.parse(1)?).or_default();
                if columns.len() >= RELATION_COLUMNS_MAX {
                    return None;
                }
                columns.push(column);
                self.builder.stamps.add_read(row.parse(1)?, row.parse(5)?);
            }
            b"r" => {
                let relation = Relation {
                    oid: row.parse(1)?,
                    schema: self.schema(&row.text(2)?),
                    name: row.text(3)?.as_ref().into(),
                    kind: relation_kind(row.bytes(4)?)?,
                    columns: Box::default(),
                    parents: Box::default(),
                    definition: None,
                    rows_estimate: row.parse(6),
                };
                let (oid, row_type) = (relation.oid, row.parse(5)?);
                self.relations.insert(oid, (relation, row_type));
                self.builder.stamps.in_schema(oid, row.parse(7)?, row.parse(8)?);
            }
            b"p" => self.parents.entry(row.parse(1)?).or_default().push(row.parse(2)?),
            b"t" => {
                let (on, instead, before) = trigger_events(row.parse(4)?);
                let trigger = Trigger {
                    name: row.text(2)?.as_ref().into(),
                    function: row.parse(3)?,
                    on,
                    instead,
                    before,
                };
                self.builder.effects.trigger(row.parse(1)?, trigger);
            }
            b"u" => {
                let rule = Rule {
                    oid: row.parse(2)?,
                    on: rule_event(row.bytes(3)?),
                    instead: row.is(4),
                    definition: None,
                };
                self.rules.push((row.parse(1)?, rule));
            }
            b"f" => self.function(row)?,
            b"s" => {
                let volatility = match (row.is(3), row.is(2)) {
                    (true, _) => Volatility::Volatile,
                    (false, true) => Volatility::Stable,
                    (false, false) => Volatility::Immutable,
                };
                let function = SystemFunction { volatility, is_aggregate: row.is(4) };
                self.builder.system_function(&row.text(1)?, function);
            }
            b"C" => self.builder.identity(DatabaseIdentity { cluster: row.parse(1)?, oid: row.parse(2)? }),
            b"o" => {
                let name = row.text(1)?;
                let of_users = |at| row.parse::<Oid>(at).is_some_and(|oid| oid >= FIRST_USER_OID);
                if name == "=" && !(of_users(3) && of_users(4)) {
                    self.builder.text_equality_of_users();
                }
                self.builder.user_operator(&name, row.parse(2)?);
            }
            b"l" => {
                let function = row.parse(1)?;
                self.builder.effects.calls_anywhere(function);
                // Casts that the server puts in by itself; a domain's check has no context.
                if matches!(row.bytes(2), Some(b"i" | b"a")) {
                    self.builder.effects.casts_unasked(function);
                }
            }
            b"L" => self.builder.effects.orders_by(row.parse(1)?),
            b"k" => {
                let (on_delete, on_update) = (row.bytes(3)?, row.bytes(4)?);
                let cascade = Cascade {
                    table: row.parse(2)?,
                    deletes: on_delete == b"c",
                    updates_on_delete: matches!(on_delete, b"n" | b"d"),
                    updates_on_update: matches!(on_update, b"c" | b"n" | b"d"),
                    columns: row.text(5)?.split(' ').filter_map(|n| n.parse().ok()).collect(),
                };
                let (parent, child) = (row.parse(1)?, cascade.table);
                let referencing = row.text(6)?;
                let referencing = referencing.split(' ').filter_map(|n| n.parse().ok());
                for (from, to) in cascade.columns.iter().zip(referencing) {
                    self.builder.same_values((parent, *from), (child, to));
                }
                self.builder.effects.cascade(parent, cascade);
            }
            b"g" => {
                let table = row.parse(1)?;
                self.builder.generated((table, row.parse(2)?), (table, row.parse(3)?));
            }
            b"q" => {
                let keys: usize = row.parse(2)?;
                let columns = row.text(3)?;
                let columns = columns.split(' ').take(keys).map(|n| n.parse().ok().filter(|n| *n != 0));
                let columns: Vec<i16> = columns.collect::<Option<_>>()?;
                self.builder.effects.unique_key(row.parse(1)?, &columns);
            }
            b"P" => {
                let column = (row.parse(2)?, row.parse(3)?);
                self.builder.effects.chosen_by_policy(row.parse(1)?, column);
            }
            b"Q" | b"K" | b"X" => {
                let table = row.parse(1)?;
                let columns = row.text(2)?.split(' ').filter_map(|n| n.parse().ok()).collect::<Vec<i16>>();
                for column in columns {
                    match row.bytes(0)? {
                        b"Q" => self.builder.effects.guarded(table, column),
                        b"X" => {
                            self.builder.effects.guarded(table, column);
                            self.builder.effects.excluded(table, column);
                        }
                        _ => self.builder.effects.parted(table, column),
                    }
                }
            }
            b"E" => self.builder.equal_loosely((row.parse(1)?, row.parse(2)?)),
            b"n" => self.builder.remote_column((row.parse(1)?, row.parse(2)?), &row.text(3)?),
            b"y" => self.builder.remote_table(row.parse(1)?, &row.text(2)?),
            b"h" => self.builder.reads_files(row.parse(1)?),
            b"H" => {
                self.builder.reads_files(row.parse(1)?);
                self.builder.effects.runs_program(row.parse(1)?);
            }
            b"w" => {
                let (relation, function) = (row.parse(1)?, row.parse(2)?);
                self.builder.effects.calls_on_write(relation, function);
                // A default is made before there is a row.
                if !row.is(3) {
                    self.builder.effects.calls_on_row(relation, function);
                }
            }
            b"d" => self.builder.effects.calls_on_read(row.parse(1)?, row.parse(2)?),
            b"i" => self.builder.effects.calls_in_function(row.parse(1)?, row.parse(2)?),
            b"e" => self.builder.effects.calls_on_definition(row.parse(1)?),
            b"z" => {
                if let Some(shape) = type_shape(row) {
                    self.builder.types.add(row.parse(1)?, shape);
                }
            }
            b"m" => self.builder.types.add(row.parse(1)?, TypeShape::Multirange { subtype: row.parse(2)? }),
            b"v" => {
                let definition: Arc<str> = row.text(2)?.as_ref().into();
                self.relations.get_mut(&row.parse(1)?)?.0.definition = Some(definition);
            }
            b"b" => {
                self.bodies.insert(row.parse(1)?, row.text(2)?.as_ref().into());
            }
            b"j" => {
                let (relation, definition) = (row.parse(1)?, row.text(3)?);
                let attributes = row.text(2)?;
                let numbers = attributes.split(' ').filter_map(|number| number.parse().ok());
                let columns: Arc<[ColumnId]> = numbers.map(|attribute| (relation, attribute)).collect();
                for constant in constants_in(&definition) {
                    self.builder.constant(&columns, &constant);
                }
            }
            b"A" => {
                let (argument, default) = (row.text(1)?, row.text(2)?);
                for constant in constants_in(&default) {
                    self.builder.constant_of_argument(&argument, &constant);
                }
            }
            b"J" => {
                let (definition, relation, attributes) = (row.parse(1)?, row.parse(2)?, row.text(3)?);
                let numbers = attributes.split(' ').filter_map(|number| number.parse().ok());
                let columns = numbers.map(|attribute| (relation, attribute));
                self.drawn_from.entry(definition).or_default().extend(columns);
            }
            b"x" => {
                self.rule_texts.insert(row.parse(1)?, row.text(2)?.as_ref().into());
            }
            _ => {}
        }
        Some(())
    }

    fn schema(&mut self, name: &str) -> Arc<str> {
        if let Some(known) = self.schemas.get(name) {
            return known.clone();
        }
        let name: Arc<str> = name.into();
        self.schemas.insert(name.clone());
        name
    }

    fn function(&mut self, row: &Row<'_>) -> Option<()> {
        let oid = row.parse(1)?;
        let list = |at| row.text(at).and_then(|json| serde_json::from_str::<Vec<String>>(&json).ok());
        let modes = list(11);
        let names: Vec<String> = list(10).unwrap_or_default();
        let inputs = names.iter().enumerate().filter(|(at, _)| {
            modes.as_ref().is_none_or(|modes| {
                modes.get(*at).is_some_and(|mode| matches!(mode.as_str(), "i" | "b" | "v"))
            })
        });
        let argument_names: Box<[Arc<str>]> = inputs.map(|(_, name)| name.as_str().into()).collect();
        let language = row.text(14)?;
        let source = row.text(18);
        let body = match (language.as_ref(), source) {
            ("sql", Some(text)) => Body::Sql(text.as_ref().into()),
            ("plpgsql", Some(text)) => Body::PlPgSql(text.as_ref().into()),
            (other, _) => Body::Opaque(other.into()),
        };
        if let (Some(schema), Some(schema_written), Some(written)) =
            (row.parse(19), row.parse(20), row.parse(21))
        {
            self.builder.stamps.add_function(oid, FunctionStamp { schema, schema_written, written });
        }
        let types = row.text(16)?.split(' ').filter_map(|oid| oid.parse().ok()).collect();
        self.function_types.insert(oid, types);
        if row.is(15) {
            self.builder.effects.security_definer(oid);
        }
        if let Some(extension) = row.text(17) {
            let extension = self.schema(&extension);
            self.builder.effects.of_extension(oid, extension);
        }
        let schema = self.schema(&row.text(2)?);
        self.functions.push(Function {
            oid,
            schema,
            name: row.text(3)?.as_ref().into(),
            volatility: match row.bytes(4)? {
                b"i" => Volatility::Immutable,
                b"s" => Volatility::Stable,
                _ => Volatility::Volatile,
            },
            is_aggregate: row.bytes(5)? == b"a",
            returns_set: row.is(6),
            arguments: row.parse(7)?,
            defaults: row.parse(8)?,
            is_variadic: row.is(9),
            argument_names: if argument_names.iter().any(|name| !name.is_empty()) {
                argument_names
            } else {
                Box::default()
            },
            return_type: row.parse(12)?,
            settings: list(13).unwrap_or_default().iter().map(|setting| setting.as_str().into()).collect(),
            body,
        });
        Some(())
    }

    /// Constants that views, rules and functions name beside columns.
    fn constants_of_code(&mut self) {
        for (definition, columns) in std::mem::take(&mut self.drawn_from) {
            let view = self.relations.get(&definition).and_then(|(view, _)| view.definition.as_deref());
            let rule = || self.rule_texts.get(&definition).map(AsRef::as_ref);
            let body = || self.bodies.get(&definition).map(AsRef::as_ref);
            let Some(text) = view.or_else(rule).or_else(body) else { continue };
            let columns: Arc<[ColumnId]> = columns.into();
            for constant in constants_in(text) {
                self.builder.constant(&columns, &constant);
            }
        }
    }

    /// `None` where the database would not answer.
    pub fn finish(mut self) -> Option<crate::engine::model::Catalogue> {
        if self.failed || self.results < BASE_RESULTS {
            return None;
        }
        self.constants_of_code();
        if self.results < DEFINED_RESULTS {
            self.builder.misses_constants();
        }
        let mut row_types = HashSet::new();
        for (oid, (mut relation, row_type)) in self.relations {
            relation.columns = self.columns.remove(&oid).unwrap_or_default().into();
            relation.parents = self.parents.remove(&oid).unwrap_or_default().into();
            row_types.insert(row_type);
            self.builder.relation(relation, row_type);
        }
        for mut function in self.functions {
            if let Body::Sql(text) = &function.body
                && text.is_empty()
            {
                // Written as the SQL standard has it: the server keeps a tree of it.
                let body = self.bodies.get(&function.oid).and_then(|text| standard_body(text));
                function.body =
                    body.map_or_else(|| Body::Opaque("sql".into()), |text| Body::Sql(text.into()));
            }
            let types = self.function_types.get(&function.oid).map_or(&[][..], Vec::as_slice);
            let required = usize::from(function.arguments.saturating_sub(function.defaults));
            let row = types.first().is_some_and(|oid| ANYTHING.contains(oid) || row_types.contains(oid));
            if row && required <= 1 {
                self.builder.effects.row_function(function.oid);
            }
            self.builder.function(function);
        }
        for (table, mut rule) in self.rules {
            rule.definition = self.rule_texts.remove(&rule.oid);
            self.builder.effects.rule(table, rule);
        }
        Some(self.builder.finish())
    }
}

/// Words between quotes, in code that the server wrote: `'it''s'`. Names of objects (`'t'::regclass`) are none. Long
/// numbers are what they are.
fn constants_in(definition: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = definition;
    while let Some((code, quoted)) = rest.split_once('\'') {
        found.extend(numbers_in(code));
        let (mut constant, mut behind) = (String::new(), quoted);
        loop {
            let Some((part, more)) = behind.split_once('\'') else { return found };
            constant.push_str(part);
            match more.strip_prefix('\'') {
                Some(more) => {
                    constant.push('\'');
                    behind = more;
                }
                None => {
                    behind = more;
                    break;
                }
            }
        }
        let letters = constant.chars().filter(|c| c.is_alphanumeric()).count();
        if letters >= CONSTANT_LETTERS_MIN && !behind.starts_with("::reg") {
            found.push(constant);
        }
        rest = behind;
    }
    found.extend(numbers_in(rest));
    found
}

/// Numbers of code, which are no part of a name.
fn numbers_in(code: &str) -> impl Iterator<Item = String> {
    let words = code.split(|c: char| !(c.is_alphanumeric() || matches!(c, '_' | '.' | '$' | '"')));
    let is_number = |word: &&str| {
        word.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
            && word.bytes().filter(u8::is_ascii_digit).count() >= NUMBER_DIGITS_MIN
    };
    words.filter(is_number).map(str::to_owned)
}

/// Shorter ones say what a column is for.
const CONSTANT_LETTERS_MIN: usize = 6;
const NUMBER_DIGITS_MIN: usize = 5;

/// One row's values.
struct Row<'a>(Vec<Option<&'a [u8]>>);

impl<'a> Row<'a> {
    fn bytes(&self, at: usize) -> Option<&'a [u8]> {
        self.0.get(at).copied().flatten()
    }

    /// What is no UTF-8 comes from a database without an encoding: such a name fits no text that is understood.
    fn text(&self, at: usize) -> Option<Cow<'a, str>> {
        self.bytes(at).map(String::from_utf8_lossy)
    }

    fn parse<T: std::str::FromStr>(&self, at: usize) -> Option<T> {
        std::str::from_utf8(self.bytes(at)?).ok()?.parse().ok()
    }

    fn is(&self, at: usize) -> bool {
        self.bytes(at) == Some(b"t")
    }
}

/// Of a type modifier: n + 4.
fn characters_max(modifier: Option<i32>) -> u16 {
    let characters = modifier.filter(|modifier| *modifier > 4).map_or(0, |modifier| modifier - 4);
    u16::try_from(characters).unwrap_or(u16::MAX)
}

fn relation_kind(code: &[u8]) -> Option<RelationKind> {
    Some(match code {
        b"r" => RelationKind::Table,
        b"p" => RelationKind::Partitioned,
        b"v" => RelationKind::View,
        b"m" => RelationKind::MaterializedView,
        b"f" => RelationKind::Foreign,
        b"S" => RelationKind::Sequence,
        b"c" => RelationKind::Composite,
        _ => return None,
    })
}

/// The server's own bound for a view; tables have fewer.
const RELATION_COLUMNS_MAX: usize = 1664;

/// What values of a user's type are made of; `None` where they are not, as far as is known.
fn type_shape(row: &Row<'_>) -> Option<TypeShape> {
    Some(match row.bytes(2)? {
        b"d" => TypeShape::Domain { base: row.parse(5)? },
        b"e" => TypeShape::Enum,
        b"r" => TypeShape::Range { subtype: row.parse(6)? },
        _ if row.is(9) => TypeShape::Array { element: row.parse(3)?, delimiter: *row.bytes(4)?.first()? },
        _ => match (&*row.text(7)?, &*row.text(8)?) {
            ("hstore", "hstore") => TypeShape::Hstore,
            ("citext", "citext") => TypeShape::Text,
            _ => return None,
        },
    })
}

/// Bits of `pg_trigger.tgtype`, as the server's `catalog/pg_trigger.h` has them.
fn trigger_events(bits: u16) -> (Changing, bool, bool) {
    let has = |bit: u16| bits & bit != 0;
    (
        Changing { insert: has(4), delete: has(8), update: has(16), truncate: has(32) },
        has(64),
        has(1) && has(2),
    )
}

fn rule_event(code: &[u8]) -> Changing {
    let none = Changing::default();
    match code {
        b"2" => Changing { update: true, ..none },
        b"3" => Changing { insert: true, ..none },
        b"4" => Changing { delete: true, ..none },
        // ON SELECT is a view's own; a code that is not known may be any.
        _ => Changing::ANY,
    }
}

/// anyelement, anynonarray, record, "any", anycompatible, anycompatiblenonarray: a whole row fits them.
const ANYTHING: [Oid; 6] = [2283, 2776, 2249, 2276, 5077, 5079];

#[cfg(test)]
mod tests {
    use super::*;

    fn body(values: &[&str]) -> Vec<u8> {
        let mut body = (values.len() as u16).to_be_bytes().to_vec();
        for value in values {
            body.extend((value.len() as u32).to_be_bytes());
            body.extend(value.bytes());
        }
        body
    }

    #[test]
    fn constants_are_words_in_quotes_and_long_numbers() {
        let code = "a_12345 > 184199.77 AND b = 'it''s a word' AND t2.c = 90417 OR d < 4711 OR e = 'public.t99999'::regclass";
        assert_eq!(constants_in(code), ["184199.77", "it's a word", "90417"]);
        assert_eq!(constants_in("x = 'without end"), Vec::<String>::new());
    }

    /// Of a view, by what the server says it depends on.
    #[test]
    fn constants_of_code_belong_to_the_columns_that_it_draws_from() {
        let mut reader = CatalogueReader::default();
        reader.row(&body(&["r", "20000", "public", "v", "v", "20001"])).unwrap();
        (0..BASE_RESULTS).for_each(|_| reader.next_result());
        reader.row(&body(&["v", "20000", "SELECT id FROM t WHERE word = 'sarcoidosis'"])).unwrap();
        reader.row(&body(&["J", "20000", "20010", "1 3"])).unwrap();
        let read = reader.finish().unwrap();
        assert_eq!(read.constants(), [(Arc::from([(20_010, 1), (20_010, 3)]), Arc::from("sarcoidosis"))]);
    }

    #[test]
    fn constants_that_are_not_kept_are_remembered_as_missing() {
        let mut reader = CatalogueReader::default();
        (0..DEFINED_RESULTS).for_each(|_| reader.next_result());
        for check in 0..16 {
            let many: String = (0..4_096).map(|n| format!("'constant {check} {n}', ")).collect();
            reader.row(&body(&["j", "20000", "1", &many])).unwrap();
        }
        reader.row(&body(&["j", "20000", "1", "'one constant more'"])).unwrap();
        let read = reader.finish().unwrap();
        assert!(!read.has_more_constants(false));
        assert!(read.has_more_constants(true) && read.constants().len() == 65_536);
    }

    /// A server that never stops telling is no reason to keep more and more.
    #[test]
    fn a_reader_keeps_no_more_than_its_bound() {
        let mut reader = CatalogueReader::default();
        let definition = "x".repeat(1 << 20);
        for number in 0..CATALOGUE_BYTES_MAX / definition.len() - 1 {
            reader.row(&body(&["b", &number.to_string(), &definition])).unwrap();
        }
        assert!(!reader.failed && reader.bodies.len() == CATALOGUE_BYTES_MAX / definition.len() - 1);
        reader.row(&body(&["b", "1", &definition])).unwrap();
        reader.row(&body(&["b", "1", &definition])).unwrap();
        assert!(reader.failed && reader.bodies.is_empty());
    }

    #[test]
    fn definitions_may_be_missing_and_nothing_else() {
        for (results, known) in [(BASE_RESULTS - 1, false), (BASE_RESULTS, true), (BASE_RESULTS + 1, true)] {
            let mut reader = CatalogueReader::default();
            reader.row(&body(&["r", "20000", "public", "v", "v", "20001"])).unwrap();
            (0..results).for_each(|_| reader.next_result());
            reader.fail();
            let read = reader.finish();
            assert_eq!(read.is_some(), known, "{results}");
            assert!(read.is_none_or(|read| read.has_more_constants(true)), "{results}");
        }
    }
}
