//! What stays behind beside the result: what calls, rules, triggers and defaults put where a later statement finds it.
//!
//! The server's own functions keep a number in a sequence, a lock, a seed; code of the database writes down what it is
//! given or reads. That is a copy like one by INSERT. What code can write is bounded by what it names (`beside.rs`): a
//! column that it names goes into the column of the same name that it writes, or else into one that nothing is known of.
//!
//! Of its own row a trigger keeps the columns that it names: a row that is kept as a document (`to_jsonb(NEW)`) keeps its
//! keys, by which it is masked.

use super::beside::columns_of;
use super::known_functions::keeps_nothing;
use super::value::{Set, Value};
use super::{Analysis, Doubt, Shared};
use crate::engine::model::{
    Body, Changing, FIRST_USER_OID, Function, FunctionName, Oid, Relation, RelationName, SearchPath,
    Statement, StatementKind, Trigger, Volatility,
};
use crate::engine::sql::postgres::bodies::{Code, function_code, rule_code};
use crate::engine::sql::postgres::objects;
use pg_raw_parse::Node;
use pg_raw_parse::nodes::RangeVar;
use std::collections::BTreeSet;

impl<'t> Analysis<'_, 't> {
    /// `arguments` are given to a function of this name.
    pub(super) fn note_call(
        &mut self,
        name: &FunctionName,
        arguments: impl IntoIterator<Item = Node<'t>>,
    ) -> Result<(), Doubt> {
        if self.shared.name_keeps(name, self.path)? {
            self.note_given(arguments)?;
        }
        Ok(())
    }

    /// The same with their value at hand.
    pub(super) fn note_call_of(&self, name: &FunctionName, arguments: &Value) -> Result<(), Doubt> {
        if self.shared.name_keeps(name, self.path)? {
            self.shared.copies(&Set::new(), arguments);
        }
        Ok(())
    }

    /// One of these functions gets the operands: of an operator or a cast.
    pub(super) fn note_operands(
        &mut self,
        functions: &[Oid],
        operands: impl IntoIterator<Item = Node<'t>>,
    ) -> Result<(), Doubt> {
        for oid in functions {
            let function = self.shared.names.catalogue.function(*oid);
            if function.map_or(Ok(false), |function| self.shared.keeps(function))? {
                return self.note_given(operands);
            }
        }
        Ok(())
    }

    fn note_given(&mut self, arguments: impl IntoIterator<Item = Node<'t>>) -> Result<(), Doubt> {
        let shared = self.shared;
        let mut told = Value::default();
        // Their conditions are noted where they are read as part of the call.
        let outer = shared.is_past.replace(true);
        let read = shared.nested(|| {
            for argument in arguments {
                if !matches!(argument, Node::None) {
                    told.add(&self.value(argument)?);
                }
            }
            Ok(())
        });
        shared.is_past.set(outer);
        read?;
        // How often it is called shows, too.
        if let Some(level) = self.levels.last() {
            told.implicit.extend(&level.counted_by);
        }
        // A value of unknown origin is one of the function's: whoever calls it with that knows no more.
        told.unknown = None;
        shared.spend(told.size())?;
        shared.copies(&Set::new(), &told);
        Ok(())
    }

    /// What a write of `target` makes the database keep: by rules, triggers, defaults.
    pub(super) fn note_kept_beside(&mut self, target: Option<&RangeVar>, on: Changing) -> Result<(), Doubt> {
        let Some(name) = target.and_then(objects::relation) else { return Err(Doubt::Syntax) };
        let shared = self.shared;
        let catalogue = shared.names.catalogue;
        let mut open: Vec<Oid> =
            catalogue.resolve(&name, self.path).candidates().iter().map(|relation| relation.oid).collect();
        let mut seen = BTreeSet::new();
        while let Some(oid) = open.pop() {
            let Some(relation) = catalogue.relation(oid).filter(|_| seen.insert(oid)) else { continue };
            shared.spend(1)?;
            open.extend(catalogue.children(oid));
            for rule in catalogue.effects().rules(oid).iter().filter(|rule| rule.on.meets(on)) {
                let Some(text) = &rule.definition else { continue };
                shared.spend(1 + text.len() / 16)?;
                self.note_code(&rule_code(text))?;
            }
            let meets = |trigger: &&Trigger| trigger.on.meets(on) && trigger.function >= FIRST_USER_OID;
            for trigger in catalogue.effects().triggers(oid).iter().filter(meets) {
                self.note_trigger(relation, trigger)?;
            }
            if on.insert {
                self.note_defaults(oid)?;
            }
        }
        Ok(())
    }

    /// Functions in defaults, which the catalogue does not tell from those in checks; a yes or no says little.
    fn note_defaults(&self, relation: Oid) -> Result<(), Doubt> {
        let catalogue = self.shared.names.catalogue;
        for oid in catalogue.effects().on_write(relation) {
            let Some(function) = catalogue.function(*oid).filter(|function| function.return_type != BOOL)
            else {
                continue;
            };
            let Value { sources, .. } = self.of_body(function, &mut BTreeSet::new())?;
            self.shared.copies(&Set::new(), &Value { sources, ..Value::default() });
        }
        Ok(())
    }

    fn note_trigger(&self, relation: &Relation, trigger: &Trigger) -> Result<(), Doubt> {
        let catalogue = self.shared.names.catalogue;
        let Some(Body::PlPgSql(text)) = catalogue.function(trigger.function).map(|function| &function.body)
        else {
            return Ok(());
        };
        self.shared.spend(1 + text.len() / 16)?;
        let code = function_code(&Body::PlPgSql(text.clone()));
        let keeps = self.shared.code_keeps(&code)?;
        let into_row = trigger.before || trigger.instead;
        if !(keeps || into_row) {
            return Ok(());
        }
        let mut read = self.of_code(&code, &mut BTreeSet::from([trigger.function]))?;
        if into_row {
            // It may put what it reads elsewhere into the row.
            let row =
                RelationName { schema: Some(relation.schema.to_string()), name: relation.name.to_string() };
            self.note_named(&read, &[row])?;
        }
        if keeps {
            let named = |name: &str| {
                code.statements.iter().any(|s| s.mentions.columns.iter().any(|column| column == name))
            };
            read.add(&columns_of(relation, named));
            self.note_named(&read, &written_by(&code))?;
        }
        Ok(())
    }

    fn note_code(&self, code: &Code) -> Result<(), Doubt> {
        if !self.shared.code_keeps(code)? {
            return Ok(());
        }
        let written = written_by(code);
        let read = self.of_code(code, &mut BTreeSet::new())?;
        self.note_named(&read, &written)
    }

    /// Each of these columns goes into that of its name in a relation that is written, or else into any.
    fn note_named(&self, read: &Value, written: &[RelationName]) -> Result<(), Doubt> {
        let shared = self.shared;
        let catalogue = shared.names.catalogue;
        let anywhere = SearchPath::Unknown(String::new());
        let targets: Vec<&Relation> = written
            .iter()
            .flat_map(|name| catalogue.resolve(name, &anywhere).candidates().to_vec())
            .collect();
        for source in &read.sources {
            shared.spend(1 + targets.len())?;
            let Some(name) = catalogue
                .relation(source.0)
                .and_then(|relation| relation.attribute(source.1))
                .map(|column| &column.name)
            else {
                continue;
            };
            let alike = targets.iter().filter_map(|target| {
                let column = target.columns.iter().find(|column| column.name == *name)?;
                Some((target.oid, column.attribute))
            });
            let value = Value { sources: Set::from([*source]), ..Value::default() };
            shared.copies(&alike.collect(), &value);
        }
        Ok(())
    }
}

impl Shared<'_> {
    /// A call by this name may keep what it is given. What it keeps of what it reads is noted.
    fn name_keeps(&self, name: &FunctionName, path: &SearchPath) -> Result<bool, Doubt> {
        let catalogue = self.names.catalogue;
        let users = catalogue.user_functions(name, path);
        self.spend(1 + users.len())?;
        let mut keeps = false;
        for function in &users {
            keeps |= self.keeps(function)?;
        }
        let system = catalogue.system_function(name);
        Ok(keeps
            || system.is_some_and(|system| {
                system.volatility == Volatility::Volatile && !keeps_nothing(&name.name)
            }))
    }

    /// The same of a function that users made.
    fn keeps(&self, function: &Function) -> Result<bool, Doubt> {
        if let Some(known) = self.kept.borrow().get(&function.oid) {
            return Ok(*known);
        }
        self.kept.borrow_mut().insert(function.oid, false);
        let keeps = self.nested(|| self.reads_as_keeping(function))?;
        self.kept.borrow_mut().insert(function.oid, keeps);
        Ok(keeps)
    }

    fn reads_as_keeping(&self, function: &Function) -> Result<bool, Doubt> {
        let effects = self.names.catalogue.effects();
        // What it calls beside its body: arguments' defaults, an aggregate's own.
        let called = effects.in_function(function.oid).iter();
        let called: Vec<&Function> = called.filter_map(|oid| self.names.catalogue.function(*oid)).collect();
        let mut keeps = false;
        for one in &called {
            keeps |= self.keeps(one)?;
        }
        let mut code = Code::default();
        keeps |= match &function.body {
            _ if super::function::is_pure(effects, function.oid) => {
                KEEPING_OF_PURE.contains(&&*function.name)
            }
            // Only a superuser makes those; the promise is about what they change.
            Body::Opaque(language) if matches!(&**language, "c" | "internal") => {
                function.volatility == Volatility::Volatile
            }
            Body::Opaque(_) => true,
            Body::Sql(text) | Body::PlPgSql(text) => {
                self.spend(1 + text.len() / 16)?;
                code = function_code(&function.body);
                self.code_keeps(&code)?
            }
        };
        if keeps {
            let path = SearchPath::Unknown(String::new());
            let analysis = self.analysis(&path);
            let mut seen = BTreeSet::from([function.oid]);
            let mut read = analysis.of_code(&code, &mut seen)?;
            for one in called {
                read.add(&analysis.of_body(one, &mut seen)?);
            }
            analysis.note_named(&read, &written_by(&code))?;
        }
        Ok(keeps)
    }

    fn code_keeps(&self, code: &Code) -> Result<bool, Doubt> {
        if code.opaque.is_some() || code.statements.iter().any(writes) {
            return Ok(true);
        }
        for statement in &code.statements {
            if self.calls_keep(statement)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// It calls a function that keeps, by name or by an operator.
    fn calls_keep(&self, statement: &Statement) -> Result<bool, Doubt> {
        let anywhere = SearchPath::Unknown(String::new());
        let catalogue = self.names.catalogue;
        for name in &statement.functions {
            if self.name_keeps(name, &anywhere)? {
                return Ok(true);
            }
        }
        for operator in &statement.operators {
            for function in catalogue.effects().operators(operator) {
                if let Some(function) = catalogue.function(*function)
                    && self.keeps(function)?
                {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }
}

fn writes(statement: &Statement) -> bool {
    use StatementKind as K;
    !statement.writes.is_empty()
        || !statement.kinds.iter().all(|kind| {
            matches!(
                kind,
                K::Empty
                    | K::Select
                    | K::Explain
                    | K::Show
                    | K::Cursor
                    | K::Transaction
                    | K::Session
                    | K::Lock
            )
        })
}

fn written_by(code: &Code) -> Vec<RelationName> {
    code.statements.iter().flat_map(|statement| statement.writes.iter().cloned()).collect()
}

const BOOL: Oid = 16;
/// Functions of extensions that only compute otherwise: a threshold that stays.
const KEEPING_OF_PURE: [&str; 1] = ["set_limit"];
