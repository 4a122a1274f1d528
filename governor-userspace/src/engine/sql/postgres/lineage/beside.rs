//! What a database puts into a row beside the command: triggers, rules, defaults, generated columns.
//!
//! RETURNING shows the row as it ended up. A trigger in PL/pgSQL may have put anything into it that its body reads,
//! so what the body names bounds what can be there: columns of the relations that it reads, columns of the row itself, what the
//! functions bring that it calls. It can only reach columns that its text names, unless it makes the row anew.
//!
//! Invariant: doubt adds. What is not understood may be anything, in any column.

use super::known_functions::is_plain;
use super::relation::is_system;
use super::returning::Written;
use super::row::named;
use super::value::Value;
use super::{Analysis, Doubt};
use crate::engine::model::{
    Body, Changing, FIRST_USER_OID, Function, Oid, Relation, RelationKind, SearchPath, Trigger,
};
use crate::engine::sql::postgres::bodies::{Code, view_source};
use crate::engine::sql::postgres::lexer::Lexer;
use crate::engine::sql::postgres::objects;
use pg_raw_parse::nodes::RangeVar;
use std::collections::BTreeSet;

impl Analysis<'_, '_> {
    /// What else than the command's own values may be in the rows that it returns.
    pub(super) fn put_beside(&mut self, target: Option<&RangeVar>, on: Changing) -> Result<Written, Doubt> {
        let mut found = Written::default();
        let Some(name) = target.and_then(objects::relation) else { return Err(Doubt::Syntax) };
        let catalogue = self.shared.names.catalogue;
        // With whether its columns may have other names above.
        let mut open: Vec<(Oid, bool)> =
            catalogue.resolve(&name, self.path).candidates().iter().map(|r| (r.oid, false)).collect();
        let mut seen = BTreeSet::new();
        while let Some((oid, renamed)) = open.pop() {
            let Some(relation) = catalogue.relation(oid).filter(|_| seen.insert(oid)) else { continue };
            self.shared.spend(1)?;
            let mut here = Written::default();
            self.by_triggers(relation, on, &mut here)?;
            self.by_rules(oid, on, &mut here)?;
            if relation.kind == RelationKind::View {
                let source = relation.definition.as_deref().and_then(view_source);
                let qualified = SearchPath::Known(vec![]);
                let bases = source.map(|source| catalogue.resolve(&source, &qualified).candidates().to_vec());
                open.extend(bases.into_iter().flatten().map(|base| (base.oid, true)));
            } else {
                self.by_defaults(oid, on, &mut here)?;
            }
            // Partitions get new rows too; a table's other children only see their own changed.
            if relation.kind == RelationKind::Partitioned || on.update || on.delete {
                open.extend(catalogue.children(oid).iter().map(|child| (*child, renamed)));
            }
            if renamed {
                here.spread();
            }
            found.merge(here);
        }
        Ok(found)
    }

    fn by_triggers(&self, relation: &Relation, on: Changing, found: &mut Written) -> Result<(), Doubt> {
        let effects = self.shared.names.catalogue.effects();
        let changes_rows = |t: &&Trigger| t.on.meets(on) && (t.before || t.instead);
        for trigger in effects.triggers(relation.oid).iter().filter(changes_rows) {
            if trigger.function < FIRST_USER_OID {
                // tsvector_update_trigger: words of the row's own columns.
                let whole = columns_of(relation, |_| true);
                let vectors = relation.columns.iter().filter(|column| column.type_oid == TSVECTOR);
                vectors.for_each(|column| found.add(&column.name, &whole));
                continue;
            }
            let function = self.shared.names.catalogue.function(trigger.function);
            let Some((function, Body::PlPgSql(text))) = function.map(|function| (function, &function.body))
            else {
                let extension = effects.extension(trigger.function);
                if !extension.is_some_and(|name| HARMLESS_EXTENSIONS.contains(&name)) {
                    found.add_anywhere(&Value::unknown(Doubt::Function));
                }
                continue;
            };
            self.shared.spend(1 + text.len() / 16)?;
            let code = self.shared.names.codes.function(function);
            let mut value = self.of_code(&code, &mut BTreeSet::from([trigger.function]))?;
            let words = Words::of(text);
            let mentions = |name: &str| {
                words.uses_row
                    || code.statements.iter().any(|s| s.mentions.columns.iter().any(|column| column == name))
            };
            value.add(&columns_of(relation, mentions));
            if words.makes_row || code.opaque.is_some() {
                put_anywhere(found, &value);
            } else if tells(&value) {
                let named = relation.columns.iter().filter(|column| words.names.contains(&*column.name));
                named.for_each(|column| found.add(&column.name, &value));
            }
        }
        Ok(())
    }

    /// Rules that stand for a command may say what it returns.
    fn by_rules(&self, relation: Oid, on: Changing, found: &mut Written) -> Result<(), Doubt> {
        let effects = self.shared.names.catalogue.effects();
        for rule in effects.rules(relation).iter().filter(|rule| rule.on.meets(on)) {
            let Some(text) = &rule.definition else {
                found.add_anywhere(&Value::unknown(Doubt::Function));
                continue;
            };
            if !text.to_ascii_uppercase().contains("RETURNING") {
                continue;
            }
            self.shared.spend(1 + text.len() / 16)?;
            put_anywhere(found, &self.of_code(&self.shared.names.codes.rule(rule), &mut BTreeSet::new())?);
        }
        Ok(())
    }

    /// Functions in defaults and generated columns, which the catalogue does not tell from those in checks.
    fn by_defaults(&self, relation: Oid, on: Changing, found: &mut Written) -> Result<(), Doubt> {
        if !(on.insert || on.update) {
            return Ok(());
        }
        let catalogue = self.shared.names.catalogue;
        for oid in catalogue.effects().on_write(relation) {
            let Some(function) = catalogue.function(*oid) else {
                found.add_anywhere(&Value::unknown(Doubt::Function));
                continue;
            };
            put_anywhere(found, &self.of_body(function, &mut BTreeSet::new())?);
        }
        Ok(())
    }

    /// What a function can know beside its arguments.
    pub(super) fn of_body(&self, function: &Function, seen: &mut BTreeSet<Oid>) -> Result<Value, Doubt> {
        if !seen.insert(function.oid) {
            return Ok(Value::default());
        }
        match &function.body {
            Body::PlPgSql(text) => {
                self.shared.spend(1 + text.len() / 16)?;
                let code = self.shared.names.codes.function(function);
                self.shared.nested(|| self.of_code(&code, seen))
            }
            // Only a superuser makes those; they compute keys, as a rule, and know nothing of tables.
            Body::Opaque(language) if matches!(&**language, "c" | "internal") => Ok(Value::default()),
            Body::Sql(_) | Body::Opaque(_) => self.shared.bodies(&[function.oid], Doubt::Function),
        }
    }

    /// All columns that code names, of all relations that it reads.
    pub(super) fn of_code(&self, code: &Code, seen: &mut BTreeSet<Oid>) -> Result<Value, Doubt> {
        let catalogue = self.shared.names.catalogue;
        let anywhere = SearchPath::Unknown(String::new());
        let mut total = Value::default();
        if code.opaque.is_some() {
            total.doubt(Some(Doubt::Function));
        }
        for statement in &code.statements {
            for name in statement.reads.iter().chain(&statement.writes) {
                let found = catalogue.resolve(name, &anywhere);
                if found.candidates().is_empty() && !is_system(name) {
                    total.doubt(Some(Doubt::UnknownRelation));
                }
                for relation in found.candidates() {
                    self.shared.spend(1 + relation.columns.len())?;
                    let mentions = &statement.mentions;
                    let draws =
                        |name: &str| mentions.every_column || mentions.columns.iter().any(|c| c == name);
                    total.add(&columns_of(relation, draws));
                }
            }
            for name in statement.calls() {
                let users = catalogue.user_functions(name, &anywhere);
                self.shared.spend(1 + users.len())?;
                for function in &users {
                    total.add(&self.of_body(function, seen)?);
                }
                let is_read = catalogue.system_function(name).is_some_and(|system| is_plain(name, system));
                let is_field = statement.functions.binary_search(name).is_err()
                    && catalogue.system_function(name).is_none();
                if users.is_empty() && !is_read && !is_field {
                    total.doubt(Some(Doubt::Function));
                }
            }
            for operator in &statement.operators {
                total.add(&self.shared.bodies(catalogue.effects().operators(operator), Doubt::Operator)?);
            }
        }
        Ok(total)
    }
}

pub(super) fn columns_of(relation: &Relation, is_named: impl Fn(&str) -> bool) -> Value {
    let named = relation.columns.iter().filter(|column| is_named(&column.name));
    Value { sources: named.map(|column| (relation.oid, column.attribute)).collect(), ..Value::default() }
}

fn put_anywhere(found: &mut Written, value: &Value) {
    if tells(value) {
        found.add_anywhere(value);
    }
}

/// It may hold something.
fn tells(value: &Value) -> bool {
    value.unknown.is_some() || !value.sources.is_empty()
}

/// What the text of a trigger's function says of its row.
struct Words {
    /// Every word in it, as a name.
    names: BTreeSet<String>,
    /// The row goes somewhere as a whole: `to_jsonb(NEW)`.
    uses_row: bool,
    /// It may be made anew: `NEW := …`, `SELECT … INTO NEW`, `RETURN other`.
    makes_row: bool,
}

impl Words {
    fn of(text: &str) -> Self {
        let mut found = Self { names: BTreeSet::new(), uses_row: false, makes_row: false };
        let mut lexer = Lexer::new(text);
        let mut before = String::new();
        let mut word = lexer.next().map(named);
        while let Some(here) = word {
            let next = lexer.next().map(named);
            let behind = next.as_deref().unwrap_or_default();
            let is_row = matches!(here.as_str(), "new" | "old");
            if is_row && behind != "." {
                // What only looks at it stands so; anything else may give it a value: `INTO STRICT NEW`, `FOR NEW IN`,
                // `r ALIAS FOR NEW`. So may whoever returns OLD.
                let is_read = matches!(
                    before.as_str(),
                    "(" | "return" | "from" | "if" | "and" | "or" | "not" | "when" | "elsif"
                );
                found.makes_row |= !is_read || behind == ":=" || behind.starts_with('=');
                found.uses_row |= !matches!(before.as_str(), "return" | "into");
            }
            if before == "return" && !(is_row && matches!(behind, ";" | "")) && here != "null" {
                found.makes_row = true;
                found.uses_row = true;
            }
            before.clone_from(&here);
            found.names.insert(here);
            word = next;
        }
        // An INOUT argument.
        found.makes_row |= found.uses_row && found.names.contains("call");
        found
    }
}

const TSVECTOR: Oid = 3614;
/// Whose triggers put in the time, the user's name or the next number.
pub(super) const HARMLESS_EXTENSIONS: [&str; 4] = ["autoinc", "insert_username", "moddatetime", "refint"];
