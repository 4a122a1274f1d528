//! Code that a catalogue keeps, as statements: bodies of functions, actions of rules, queries of views.

use super::lexer::{Lexer, Token};
use super::objects::relation;
use super::{Place, fingerprint, plpgsql, prescan, read_guarded, statement, walk};
use crate::engine::model::{Body, FunctionName, RelationName, Statement, Unknown};
use crate::engine::sql::fault;
use pg_raw_parse::Node;

/// What a piece of code does, as far as it can be told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Code {
    pub statements: Vec<Statement>,
    /// Why that is not all; `None` where it is.
    pub opaque: Option<String>,
    /// Of a rule: it has a condition.
    pub is_conditional: bool,
}

impl Code {
    pub(super) fn opaque(why: impl Into<String>) -> Self {
        Self { opaque: Some(why.into()), ..Self::default() }
    }

    /// Adds the statements of an SQL text.
    pub(super) fn add(&mut self, text: &str, place: Place) {
        for statement in read_guarded(text, true, place) {
            if let Some(why) = &statement.unknown {
                let why = match why {
                    Unknown::DynamicSql { by } => format!("{by} runs or reaches what the text does not show"),
                    other => other.cause().to_owned(),
                };
                self.opaque.get_or_insert(why);
            }
            self.statements.push(statement);
        }
    }
}

/// What a view's query does.
pub(super) fn view_code(definition: &str) -> Code {
    let mut code = Code::default();
    code.add(definition, Place::Session);
    code
}

/// What a call of a function with this body runs.
pub fn function_code(body: &Body) -> Code {
    match body {
        Body::Sql(text) => {
            let mut code = Code::default();
            code.add(text, Place::Body);
            code
        }
        Body::PlPgSql(text) => plpgsql::code(text),
        Body::Opaque(language) => Code::opaque(format!("it is written in {language}")),
    }
}

/// What a rule does besides the command that it stands beside, from its CREATE RULE.
pub fn rule_code(definition: &str) -> Code {
    let read = std::panic::catch_unwind(|| {
        fault::point("code");
        prescan::check(definition, true).ok()?;
        let tree = pg_raw_parse::parse(definition).ok()?;
        let Some(Node::RuleStmt(rule)) = tree.iter().next().map(|raw| raw.stmt()) else { return None };
        let is_conditional = !matches!(rule.where_clause(), Node::None);
        let mut code = Code { is_conditional, ..Code::default() };
        let actions = rule
            .actions()
            .iter()
            .map(|action| statement(action, definition.into(), String::new(), Place::Session));
        code.statements.extend(actions);
        // Its condition and actions together: what they call.
        let mut whole = walk::Walk::default();
        whole.run(Node::RuleStmt(rule), None);
        let functions: Vec<FunctionName> = whole.functions;
        let mut condition = walk::Walk::default();
        condition.run(rule.where_clause(), None);
        let (mentions, _) = condition.columns.finish(0);
        let mut calls = Statement {
            functions,
            dotted: whole.dotted,
            reads: condition.reads,
            mentions,
            ..code_less(definition)
        };
        calls.fingerprint = fingerprint::fingerprint("");
        code.statements.push(calls);
        code.opaque =
            code.statements.iter().find_map(|s| s.unknown.as_ref().map(|why| why.cause().to_owned()));
        Some(code)
    });
    read.ok().flatten().unwrap_or_else(|| Code::opaque("a rule that cannot be read"))
}

/// A statement that does nothing by itself.
fn code_less(text: &str) -> Statement {
    let empty = super::empty("");
    Statement { text: text.into(), ..empty }
}

/// The one relation that a view's query selects from, which a write to the view would go to.
pub fn view_source(definition: &str) -> Option<RelationName> {
    let read = std::panic::catch_unwind(|| {
        fault::point("code");
        prescan::check(definition, true).ok()?;
        let tree = pg_raw_parse::parse(definition).ok()?;
        let Some(Node::SelectStmt(select)) = tree.iter().next().map(|raw| raw.stmt()) else { return None };
        let mut from = select.from_clause().iter();
        match (from.next(), from.next()) {
            (Some(Node::RangeVar(source)), None) => relation(source),
            _ => None,
        }
    });
    read.ok().flatten()
}

/// The statements of a body in the SQL standard's form, out of the whole CREATE FUNCTION.
pub fn standard_body(create: &str) -> Option<String> {
    let mut lexer = Lexer::new(create);
    let (mut depth, mut begin) = (0_i32, false);
    while let Some(token) = lexer.next() {
        let word =
            |word: &str| matches!(token, Token::Word(found) if found.eq_ignore_ascii_case(word.as_bytes()));
        match token {
            Token::Symbol(b"(") => depth += 1,
            Token::Symbol(b")") => depth -= 1,
            _ if depth == 0 && word("return") => {
                return Some(format!("SELECT {}", create.get(lexer.position()..)?.trim()));
            }
            _ if begin && word("atomic") => {
                let body = create.get(lexer.position()..)?.trim_end();
                let end = body.len().checked_sub(3)?;
                let (body, last) = body.split_at_checked(end)?;
                return last.eq_ignore_ascii_case("end").then(|| body.trim().to_owned());
            }
            _ => {}
        }
        begin = depth == 0 && word("begin");
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::model::StatementKind as K;
    use crate::engine::sql::fault::tests::failing;

    #[test]
    fn a_fault_in_the_reading_of_code_makes_it_opaque() {
        let rule = || rule_code("CREATE RULE r AS ON INSERT TO orders DO ALSO DELETE FROM cards");
        let view = || view_source("SELECT id FROM people");
        let function = || function_code(&Body::Sql("DELETE FROM cards".into()));
        assert_eq!((rule().opaque, view().is_some(), function().opaque), (None, true, None));
        let failed = failing("code", rule);
        assert!(failed.opaque.is_some() && failed.statements.is_empty(), "{failed:?}");
        assert_eq!(failing("code", view), None);
        let failed = failing("facts", function);
        assert!(failed.opaque.is_some(), "{failed:?}");
    }

    #[test]
    fn a_standard_body_is_what_stands_behind_its_header() {
        let atomic = "CREATE OR REPLACE FUNCTION public.\"return\"(a text DEFAULT 'BEGIN ATOMIC'::text)\n RETURNS integer\n \
                      LANGUAGE sql\nBEGIN ATOMIC\n DELETE FROM public.t;\n SELECT 1;\nEND\n";
        assert_eq!(standard_body(atomic).unwrap(), "DELETE FROM public.t;\n SELECT 1;");
        let returns = "CREATE OR REPLACE FUNCTION public.f(x integer)\n RETURNS integer\n LANGUAGE sql\nRETURN (x + 1)\n";
        assert_eq!(standard_body(returns).unwrap(), "SELECT (x + 1)");
        assert_eq!(standard_body("CREATE FUNCTION f() RETURNS int LANGUAGE sql AS $$SELECT 1$$"), None);
    }

    #[test]
    fn a_rule_is_its_actions() {
        let code = rule_code(
            "CREATE RULE r AS ON UPDATE TO public.v WHERE public.allowed(new.x) DO INSTEAD \
             ( DELETE FROM public.a WHERE a.x = new.x; INSERT INTO public.b VALUES (public.f(1)); );",
        );
        assert_eq!((&code.opaque, code.is_conditional), (&None, true));
        let kinds: Vec<K> = code.statements.iter().map(|s| s.kind).collect();
        assert_eq!(kinds, [K::Delete, K::Insert, K::Empty]);
        let called: Vec<String> =
            code.statements.iter().flat_map(|s| &s.functions).map(ToString::to_string).collect();
        assert!(
            called.contains(&"public.allowed".into()) && called.contains(&"public.f".into()),
            "{called:?}"
        );
        assert!(rule_code("CREATE RULE r AS ON UPDATE TO public.v DO INSTEAD NOTHING;").opaque.is_none());
        assert!(rule_code("no rule").opaque.is_some());
    }

    #[test]
    fn a_view_over_one_relation_has_a_source() {
        let source = |text| view_source(text).map(|name| name.to_string());
        assert_eq!(
            source("SELECT p.id FROM public.people p WHERE p.id IN (SELECT 1)").unwrap(),
            "public.people"
        );
        assert_eq!(source("SELECT 1 FROM public.a, public.b"), None);
        assert_eq!(source("SELECT 1 UNION SELECT 2"), None);
    }
}
