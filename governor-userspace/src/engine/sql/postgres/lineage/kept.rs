//! What stays behind beside the result: what calls put where a later statement finds it.
//!
//! The server's own functions keep a number in a sequence, a lock, a seed; code of the database writes down what it is
//! given or reads. That is a copy like one by INSERT. What code can write is bounded by what it names (`beside.rs`): a
//! column that it names goes into the column of the same name that it writes, or else into one that nothing is known of.
//! What runs without being called, since a row is written or read, is in `passing.rs`.

use super::known_functions::keeps_nothing;
use super::passing::changed_by;
use super::value::{Set, Value};
use super::{Analysis, Doubt, Shared};
use crate::engine::model::{
    Body, Function, FunctionName, Oid, Relation, RelationName, SearchPath, Statement, StatementKind,
    Volatility,
};
use crate::engine::sql::postgres::bodies::Code;
use pg_raw_parse::Node;
use std::collections::BTreeSet;
use std::sync::Arc;

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

    /// Each of these columns goes into that of its name in a relation that is written, or else into any.
    pub(super) fn note_named(&self, read: &Value, written: &[RelationName]) -> Result<(), Doubt> {
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
    pub(super) fn keeps(&self, function: &Function) -> Result<bool, Doubt> {
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
        let mut code = Arc::default();
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
                code = self.names.codes.function(function);
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
            analysis.note_writes(changed_by(&code, self.names.catalogue))?;
        }
        Ok(keeps)
    }

    pub(super) fn code_keeps(&self, code: &Code) -> Result<bool, Doubt> {
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
        for name in statement.calls() {
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

pub(super) fn written_by(code: &Code) -> Vec<RelationName> {
    code.statements.iter().flat_map(|statement| statement.writes.iter().cloned()).collect()
}

/// Functions of extensions that only compute otherwise: a threshold that stays.
const KEEPING_OF_PURE: [&str; 1] = ["set_limit"];
