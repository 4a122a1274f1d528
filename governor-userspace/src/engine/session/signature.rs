//! What the meaning of a statement relies on, and the question whether that is still so.
//!
//! A catalogue is a moment's. Somebody past governor may replace a view, rename a column, make a table anew or put one
//! of the same name before it, and what was worked out before no longer holds. So an agent's statement, and one whose
//! result may have to be masked, names what it relies on ([`Relied`]: relations and functions, as far as the catalogue
//! leads), and the server is asked for the stamps of all objects that have these names, in whatever schema
//! ([`Relied::question`]). The answer is compared, letter by letter, with what the catalogue expects
//! ([`Relied::expected`]).
//!
//! The database's own number is among them: one that was dropped and made anew is another, whatever its stamps.
//!
//! By name, because a name that has one more bearer may mean that one: what the search path makes of names is then as it
//! was judged. A schema's own name counts with each of its objects.
//!
//! A transaction with one snapshot for all of its statements (REPEATABLE READ) shows catalogues as they were, and the
//! server goes by what they are. There rows that were written since are told by `currtid2`, which no snapshot holds back,
//! and dropped and new relations by `to_regclass`.

use super::catalogue::{Catalogue, qualify};
use crate::engine::model::{
    FunctionName, Oid, Relation, RelationKind, RelationName, SessionState, Statement,
};
use std::collections::BTreeSet;
use std::fmt::Write as _;

/// Names that a statement's meaning relies on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Relied {
    relations: BTreeSet<String>,
    functions: BTreeSet<String>,
    /// As a statement names them, and what each means; 0 where nothing.
    names: BTreeSet<(RelationName, Oid)>,
    /// Something is written: what triggers and defaults put there counts too.
    writes: bool,
    /// Which operators and casts its names mean is looked up: one more of the same name may mean another.
    looks_up: bool,
    /// More names than are asked about.
    too_many: bool,
}

impl Relied {
    /// Adds what a statement relies on: `own` facts, and those of all that it reaches.
    pub fn add(&mut self, own: &Statement, reached: &Statement, catalogue: &Catalogue, state: &SessionState) {
        let data = &catalogue.data;
        let of_users = |name: &&RelationName| {
            !is_system(name) || data.relations_named(&name.name).any(|r| !Catalogue::is_system(r.oid))
        };
        let all: BTreeSet<&RelationName> = [own, reached]
            .iter()
            .flat_map(|statement| statement.reads.iter().chain(&statement.writes))
            .filter(of_users)
            .collect();
        let oids: BTreeSet<Oid> = all
            .iter()
            .flat_map(|name| data.relations_named(&name.name))
            .map(|relation| relation.oid)
            .collect();
        for name in all {
            // Columns of partitions and children are called as their parent's; that it has others is the parent's stamp.
            // Nor is a relation asked about of which nothing was read: it is in doubt anyway.
            let mut bearers = data.relations_named(&name.name);
            if bearers.all(|relation| relation.parents.iter().any(|parent| oids.contains(parent))) {
                continue;
            }
            self.relations.insert(name.name.clone());
            let is_temporary = name.schema.is_none() && state.temporary.get(&name.name).is_some();
            if let ([one], false) = (data.resolve(name, &state.search_path).candidates(), is_temporary) {
                self.names.insert((name.clone(), one.oid));
            }
        }
        let functions = own.calls().chain(reached.calls());
        self.functions.extend(functions.filter(|f| !is_of_server(f)).map(|f| f.name.clone()));
        self.looks_up |= [own, reached].iter().any(|s| s.casts || !s.operators.is_empty());
        self.writes |= !own.writes.is_empty() || !reached.writes.is_empty();
        self.too_many |= self.relations.len() + self.functions.len() > NAMES_MAX;
    }

    /// Nothing that somebody else could change: constants, and what is the server's own by its full name.
    pub fn is_nothing(&self) -> bool {
        self.relations.is_empty() && self.functions.is_empty() && !self.looks_up
    }

    /// Two readings agree in all of it.
    pub fn is_same(&self, one: &Catalogue, other: &Catalogue) -> bool {
        !self.too_many && self.expected(one) == self.expected(other)
    }

    /// `None` where it cannot be asked.
    pub fn question(&self, catalogue: &Catalogue) -> Option<String> {
        if self.too_many {
            return None;
        }
        let has_foreign = self.candidates(catalogue).any(|(_, kind)| kind == RelationKind::Foreign);
        let mut rows = vec![
            "pg.pg_attribute x WHERE x.attrelid = c.oid AND x.attnum > 0 AND NOT x.attisdropped",
            "pg.pg_rewrite x WHERE x.ev_class = c.oid",
            "pg.pg_inherits x WHERE x.inhparent = c.oid",
        ];
        rows.extend(has_foreign.then_some("pg.pg_foreign_table x WHERE x.ftrelid = c.oid"));
        let written = [
            "pg.pg_trigger x WHERE x.tgrelid = c.oid AND NOT x.tgisinternal",
            "pg.pg_attrdef x WHERE x.adrelid = c.oid",
        ];
        let relations = literal(self.relations.iter().map(String::as_str))?;
        let mut text = format!(
            "SELECT pg.concat_ws(';', COALESCE((SELECT pg.string_agg(pg.concat_ws('.', c.oid, n.oid, {}, {}, {}), ' ' \
             ORDER BY c.oid) FROM pg.pg_class c JOIN pg.pg_namespace n ON n.oid = c.relnamespace \
             WHERE c.relname = ANY ({relations}::pg.name[]) AND c.relpersistence <> 't' \
             AND c.relkind = ANY ('{{r,p,v,m,f,c}}'::pg.\"char\"[]) AND c.oid >= 16384::pg.oid), '')",
            mark("n", "pg_namespace"),
            sum(&rows),
            if self.writes { sum(&written) } else { "0".into() },
        );
        if !self.functions.is_empty() {
            let functions = literal(self.functions.iter().map(String::as_str))?;
            let _ = write!(
                text,
                ", COALESCE((SELECT pg.string_agg(pg.concat_ws('.', p.oid, n.oid, {}, {}), ' ' ORDER BY p.oid) \
                 FROM pg.pg_proc p JOIN pg.pg_namespace n ON n.oid = p.pronamespace \
                 WHERE p.proname = ANY ({functions}::pg.name[]) AND p.oid >= 16384::pg.oid), '')",
                mark("n", "pg_namespace"),
                mark("p", "pg_proc"),
            );
        }
        if catalogue.data.identity().is_some() {
            // Another of the same name, made of the same template, has the same numbers and stamps.
            text.push_str(", (SELECT d.oid FROM pg.pg_database d WHERE d.datname = pg.current_database())");
        }
        let code = [
            "pg.pg_operator x WHERE x.oid >= 16384::pg.oid",
            "pg.pg_cast x WHERE x.oid >= 16384::pg.oid",
            "pg.pg_policy x WHERE x.oid >= 16384::pg.oid",
            "pg.pg_amproc x WHERE x.oid >= 16384::pg.oid",
            "pg.pg_constraint x WHERE x.contypid >= 16384::pg.oid",
        ];
        let names: Vec<String> = self.names.iter().map(|(name, _)| quoted(name)).collect();
        let names = literal(names.iter().map(String::as_str))?;
        let _ = write!(
            text,
            ", {}, CASE WHEN {LATEST} THEN '' ELSE COALESCE((SELECT pg.string_agg(COALESCE(pg.to_regclass(x.x)::pg.oid::pg.text, '0'), ' ' \
             ORDER BY x.n) FROM pg.unnest({names}::pg.text[]) WITH ORDINALITY AS x(x, n)), '') END)",
            sum(&code),
        );
        Some(qualify(&text))
    }

    /// The answers that say that everything is as it was read: of a session that sees the latest catalogues, and of one
    /// with a snapshot.
    pub fn expected(&self, catalogue: &Catalogue) -> [String; 2] {
        let stamps = catalogue.data.stamps();
        let mut relations: Vec<(Oid, RelationKind)> = self.candidates(catalogue).collect();
        relations.sort_unstable_by_key(|(oid, _)| *oid);
        relations.dedup();
        let relations = relations.iter().map(|(oid, _)| {
            let stamp = stamps.relation(*oid);
            let writes = if self.writes { stamp.writes } else { 0 };
            format!("{oid}.{}.{}.{}.{writes}", stamp.schema, stamp.schema_written, stamp.reads)
        });
        let mut expected = join(relations);
        if !self.functions.is_empty() {
            let mut functions: Vec<Oid> = self
                .functions
                .iter()
                .flat_map(|name| catalogue.data.functions_named(name))
                .map(|function| function.oid)
                .collect();
            functions.sort_unstable();
            functions.dedup();
            expected.push(';');
            expected.push_str(&join(functions.iter().map(|oid| {
                let stamp = stamps.function(*oid);
                format!("{oid}.{}.{}.{}", stamp.schema, stamp.schema_written, stamp.written)
            })));
        }
        if let Some(identity) = catalogue.data.identity() {
            let _ = write!(expected, ";{}", identity.oid);
        }
        let _ = write!(expected, ";{};", stamps.code);
        let names = join(self.names.iter().map(|(_, oid)| oid.to_string()));
        let held = format!("{expected}{names}");
        [expected, held]
    }

    fn candidates<'a>(&'a self, catalogue: &'a Catalogue) -> impl Iterator<Item = (Oid, RelationKind)> + 'a {
        let named = |name: &'a String| catalogue.data.relations_named(name);
        let asked = |relation: &&Relation| {
            relation.kind != RelationKind::Sequence && !Catalogue::is_system(relation.oid)
        };
        self.relations.iter().flat_map(named).filter(asked).map(|relation| (relation.oid, relation.kind))
    }
}

fn join(parts: impl Iterator<Item = String>) -> String {
    parts.collect::<Vec<_>>().join(" ")
}

/// Who wrote this row last; 0 where somebody did since the snapshot.
fn mark(row: &str, table: &str) -> String {
    format!(
        "CASE WHEN {LATEST} THEN {row}.xmin::pg.text::pg.int8 \
         WHEN pg.currtid2('pg.{table}', {row}.ctid) = {row}.ctid THEN {row}.xmin::pg.text::pg.int8 ELSE 0 END"
    )
}

/// The marks of all rows of some tables together; each says `table x WHERE …`.
fn sum(tables: &[&str]) -> String {
    let each = tables.iter().map(|rows| {
        let table = rows.trim_start_matches("pg.").split(' ').next().unwrap_or_default();
        format!("SELECT {} AS m FROM {rows}", mark("x", table))
    });
    let each: Vec<String> = each.collect();
    format!("COALESCE((SELECT pg.sum(s.m) FROM ( {} ) s), 0)", each.join(" UNION ALL "))
}

/// An array's literal; `None` where there is a zero byte in a name.
fn literal<'a>(names: impl Iterator<Item = &'a str>) -> Option<String> {
    let mut array = String::from("{");
    for (at, name) in names.enumerate() {
        if name.contains('\0') {
            return None;
        }
        if at > 0 {
            array.push(',');
        }
        array.push('"');
        for c in name.chars() {
            if matches!(c, '"' | '\\') {
                array.push('\\');
            }
            array.push(c);
        }
        array.push('"');
    }
    array.push('}');
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"_{}\",$".contains(&b);
    if array.bytes().all(is_plain) {
        return Some(format!("'{array}'"));
    }
    // In whatever encoding the client talks, and however strings are read.
    let hex = array.bytes().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    });
    Some(format!("pg.convert_from(pg.decode('{hex}', 'hex'), 'UTF8')"))
}

fn quoted(name: &RelationName) -> String {
    let quote = |part: &str| format!("\"{}\"", part.replace('"', "\"\""));
    match &name.schema {
        Some(schema) => format!("{}.{}", quote(schema), quote(&name.name)),
        None => quote(&name.name),
    }
}

fn is_system(name: &RelationName) -> bool {
    match name.schema.as_deref() {
        Some(schema) => schema == "pg_catalog" || schema == "information_schema",
        None => name.name.starts_with("pg_"),
    }
}

fn is_of_server(name: &FunctionName) -> bool {
    name.schema.as_deref() == Some("pg_catalog")
}

/// A question sees the catalogues as they are.
const LATEST: &str =
    "pg.current_setting('transaction_isolation') = ANY ('{read committed,read uncommitted}'::pg.text[])";
/// A longer question would cost more than it is worth; the answer is doubt.
const NAMES_MAX: usize = 1_024;

#[cfg(test)]
mod tests;
