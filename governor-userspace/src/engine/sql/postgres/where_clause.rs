//! Does a WHERE choose rows, or only look as if it did?
//!
//! Folds what is constant: literals, AND, OR, NOT, CASE, coalesce, comparisons of an operand with itself
//! (`id = id`), patterns that match everything. What draws from no column decides for all rows at once, so it counts as
//! what lets most rows through, unless it is plainly something else. A parameter is no column: whoever binds it may bind
//! what opens the condition.
//!
//! A MERGE has no WHERE: what its WHENs are about counts instead. A sub-select that has no condition of its own does
//! not choose either where it holds what the row itself is of: `id IN (SELECT id FROM the_same)`, `EXISTS (SELECT …)`.
//!
//! Errs towards "does not restrict": so does a condition that is nested beyond [`DEPTH_MAX`].

use super::children::{children, untyped};
use super::same::same;
use super::setting::constant;
use pg_raw_parse::nodes::{A_Expr, MergeStmt, RangeVar, SelectStmt, SubLink};
use pg_raw_parse::raw::{
    A_Expr_Kind as E, BoolExprType as B, BoolTestType as T, CmdType, MergeMatchKind, NullTestType,
    SetOperation, SubLinkType,
};
use pg_raw_parse::{ConstValue, Node};
use std::cell::Cell;

/// `true`: the condition can leave rows of `target` out, or leaves out all.
pub(super) fn restricts(condition: Node<'_>, target: Option<&RangeVar>) -> bool {
    let folding = Folding { target, too_deep: Cell::new(false) };
    let truth = fold(condition, true, 0, &folding);
    !matches!(condition, Node::None) && truth != Truth::True && !folding.too_deep.get()
}

struct Folding<'a> {
    target: Option<&'a RangeVar>,
    too_deep: Cell<bool>,
}

/// `true`: every WHEN that updates or deletes can leave rows of the target out: by the join's condition, where it is
/// about matched rows, or by its own.
pub(super) fn merge_restricts(merge: &MergeStmt) -> bool {
    let target = merge.relation();
    let joined = restricts(merge.join_condition(), target);
    untyped(merge.merge_when_clauses()).iter().all(|when| {
        let Node::MergeWhenClause(when) = when else { return false };
        let changes = matches!(when.command_type, CmdType::CMD_UPDATE | CmdType::CMD_DELETE);
        let about_matched = when.match_kind == MergeMatchKind::MERGE_WHEN_MATCHED;
        !changes || (about_matched && joined) || restricts(when.condition(), target)
    })
}

/// Three-valued logic, and what cannot be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Truth {
    True,
    False,
    Null,
    Varies,
}

impl Truth {
    fn of(value: bool) -> Self {
        if value { Self::True } else { Self::False }
    }
}

/// `open`: what lets more rows through here; below a NOT it is false.
fn fold(node: Node<'_>, open: bool, depth: u32, folding: &Folding<'_>) -> Truth {
    if depth > DEPTH_MAX {
        folding.too_deep.set(true);
        return Truth::Varies;
    }
    let below = |node| fold(node, open, depth + 1, folding);
    let opposite = |node| fold(node, !open, depth + 1, folding);
    match node {
        Node::A_Const(literal) => match literal.val() {
            None => Truth::Null,
            Some(ConstValue::Boolean(value)) => Truth::of(value),
            Some(ConstValue::Integer(number)) => Truth::of(number != 0),
            Some(ConstValue::String(word)) => word_truth(word),
            Some(_) => Truth::True,
        },
        Node::TypeCast(cast) => below(cast.arg()),
        Node::CollateClause(collate) => below(collate.arg()),
        Node::BoolExpr(logic) => match logic.boolop {
            B::NOT_EXPR => not(logic.args().first().map_or(Truth::Varies, opposite)),
            B::AND_EXPR => logic.args().iter().map(below).fold(Truth::True, and),
            B::OR_EXPR if has_opposites(&logic.args().iter().collect::<Vec<_>>()) => Truth::True,
            B::OR_EXPR => logic.args().iter().map(below).fold(Truth::False, or),
            _ => Truth::Varies,
        },
        Node::NullTest(test) => match (below_value(test.arg(), depth), test.nulltesttype) {
            (Value::Null, NullTestType::IS_NULL) | (Value::Constant, NullTestType::IS_NOT_NULL) => {
                Truth::True
            }
            (Value::Null, _) | (Value::Constant, _) => Truth::False,
            (Value::Given, _) => Truth::of(open),
            (Value::Varies, _) => Truth::Varies,
        },
        Node::BooleanTest(test) if draws_nothing(test.arg()) && holds_parameter(test.arg()) => {
            Truth::of(open)
        }
        Node::BooleanTest(test) => match match test.booltesttype {
            T::IS_NOT_TRUE | T::IS_FALSE => opposite(test.arg()),
            _ => below(test.arg()),
        } {
            Truth::Varies => Truth::Varies,
            value => Truth::of(match test.booltesttype {
                T::IS_TRUE => value == Truth::True,
                T::IS_NOT_TRUE => value != Truth::True,
                T::IS_FALSE => value == Truth::False,
                T::IS_NOT_FALSE => value != Truth::False,
                T::IS_UNKNOWN => value == Truth::Null,
                _ => value != Truth::Null,
            }),
        },
        Node::CoalesceExpr(choice) => {
            choice.args().iter().map(below).find(|value| *value != Truth::Null).unwrap_or(Truth::Null)
        }
        Node::CaseExpr(case) if matches!(case.arg(), Node::None) => {
            let mut results = Vec::new();
            // Who binds a parameter takes the branch that opens.
            let mut given = false;
            for when in case.args() {
                let Node::CaseWhen(when) = when else { return Truth::Varies };
                if draws_nothing(when.expr()) && holds_parameter(when.expr()) {
                    given = true;
                    results.push(below(when.result()));
                    continue;
                }
                match below(when.expr()) {
                    Truth::True => {
                        results.push(below(when.result()));
                        return if given { widest(&results, open) } else { agreed(&results) };
                    }
                    Truth::False | Truth::Null => {}
                    Truth::Varies => results.push(below(when.result())),
                }
            }
            results.push(match case.defresult() {
                Node::None => Truth::Null,
                other => below(other),
            });
            if given { widest(&results, open) } else { agreed(&results) }
        }
        Node::SubLink(sub) if holds_every_row(sub, folding.target) => Truth::True,
        Node::A_Expr(any)
            if any.kind == E::AEXPR_OP_ANY
                && is_equals(any.name().iter())
                && matches!(any.rexpr(), Node::SubLink(sub) if array_of_every_row(any.lexpr(), sub, folding.target)) =>
        {
            Truth::True
        }
        Node::A_Expr(expression) => compare(expression).unwrap_or_else(|| if_constant(node, open)),
        Node::CurrentOfExpr(_) => Truth::Varies,
        other => if_constant(other, open),
    }
}

/// `EXISTS (SELECT …)` and `id IN (SELECT id FROM target)` without a condition inside: true for every row, or for none.
fn holds_every_row(sub: &SubLink, target: Option<&RangeVar>) -> bool {
    let Node::SelectStmt(query) = sub.subselect() else { return false };
    match sub.sub_link_type {
        SubLinkType::EXISTS_SUBLINK => takes_every_row(query),
        SubLinkType::ANY_SUBLINK => {
            is_equals(sub.oper_name().iter()) && lists_target(sub.testexpr(), query, target)
        }
        _ => false,
    }
}

/// `id = ANY (ARRAY(SELECT id FROM target))`.
fn array_of_every_row(left: Node<'_>, sub: &SubLink, target: Option<&RangeVar>) -> bool {
    let Node::SelectStmt(query) = sub.subselect() else { return false };
    sub.sub_link_type == SubLinkType::ARRAY_SUBLINK && lists_target(left, query, target)
}

/// IN is written without an operator.
fn is_equals<'a>(mut name: impl DoubleEndedIterator<Item = Node<'a>>) -> bool {
    name.next_back().is_none_or(|operator| operator.as_str() == Some("="))
}

/// The query's one column is what stands before IN, of every row of the target.
fn lists_target(tested: Node<'_>, query: &SelectStmt, target: Option<&RangeVar>) -> bool {
    let mut columns = untyped(query.target_list()).iter();
    let (Some(target), Some(Node::ResTarget(column)), None) = (target, columns.next(), columns.next()) else {
        return false;
    };
    let mut from = query.from_clause().iter();
    let (Some(Node::RangeVar(range)), None) = (from.next(), from.next()) else { return false };
    // Where only one of the two names a schema, they may be the same.
    let same_schema = match (range.schemaname(), target.schemaname()) {
        (Some(one), Some(other)) => one == other,
        _ => true,
    };
    same_schema
        && range.relname() == target.relname()
        && takes_every_row(query)
        && same_column(tested, column.val())
}

/// By its own name: within the query the relation may have another.
fn same_column(tested: Node<'_>, listed: Node<'_>) -> bool {
    let name = |node| match node {
        Node::ColumnRef(column) => column.fields().iter().next_back().and_then(Node::as_str),
        _ => None,
    };
    match (name(tested), name(listed)) {
        (Some(tested), Some(listed)) => tested == listed,
        _ => same(tested, listed),
    }
}

/// A plain query of relations that leaves nothing out.
fn takes_every_row(query: &SelectStmt) -> bool {
    query.op == SetOperation::SETOP_NONE
        && query.with_clause().is_none()
        && matches!(query.where_clause(), Node::None)
        && matches!(query.having_clause(), Node::None)
        && matches!(query.limit_count(), Node::None)
        && matches!(query.limit_offset(), Node::None)
        && query.from_clause().iter().all(|from| matches!(from, Node::RangeVar(_)))
        && !query.from_clause().is_empty()
}

/// All branches agree, or it varies.
fn agreed(results: &[Truth]) -> Truth {
    match results.first() {
        Some(first) if results.iter().all(|result| result == first) => *first,
        _ => Truth::Varies,
    }
}

/// What lets most rows through is among them, or it varies.
fn widest(results: &[Truth], open: bool) -> Truth {
    if results.contains(&Truth::of(open)) { Truth::of(open) } else { agreed(results) }
}

fn not(value: Truth) -> Truth {
    match value {
        Truth::True => Truth::False,
        Truth::False => Truth::True,
        other => other,
    }
}

fn and(left: Truth, right: Truth) -> Truth {
    match (left, right) {
        (Truth::False, _) | (_, Truth::False) => Truth::False,
        (Truth::True, other) | (other, Truth::True) => other,
        (Truth::Null, Truth::Null) => Truth::Null,
        _ => Truth::Varies,
    }
}

fn or(left: Truth, right: Truth) -> Truth {
    not(and(not(left), not(right)))
}

/// What the server's boolean input makes of a word; other words are an error there.
fn word_truth(word: &str) -> Truth {
    match word.trim().to_ascii_lowercase().as_str() {
        "f" | "fa" | "fal" | "fals" | "false" | "n" | "no" | "of" | "off" | "0" => Truth::False,
        _ => Truth::True,
    }
}

/// `None` where the operator says nothing by itself.
fn compare(expression: &A_Expr) -> Option<Truth> {
    let (left, right) = (expression.lexpr(), expression.rexpr());
    let operator = expression.name().iter().next_back().and_then(Node::as_str)?;
    match expression.kind {
        E::AEXPR_OP if same(left, right) => match operator {
            "=" | "<=" | ">=" | "~~" | "~~*" | "@>" | "<@" | "&&" => Some(Truth::True),
            "<>" | "<" | ">" => Some(Truth::False),
            _ => None,
        },
        E::AEXPR_OP if matches!(operator, "~" | "~*") => {
            MATCH_ALL.contains(&text(right)?.as_str()).then_some(Truth::True)
        }
        E::AEXPR_OP => literals(operator, left, right),
        E::AEXPR_NOT_DISTINCT if same(left, right) => Some(Truth::True),
        E::AEXPR_DISTINCT if same(left, right) => Some(Truth::False),
        E::AEXPR_LIKE | E::AEXPR_ILIKE if matches!(operator, "~~" | "~~*") => {
            let pattern = text(right);
            let all = pattern.is_some_and(|p| !p.is_empty() && p.bytes().all(|byte| byte == b'%'));
            (all || same(left, right)).then_some(Truth::True)
        }
        E::AEXPR_IN => {
            let member = right
                .as_node_list()?
                .iter()
                .any(|item| same(left, item) || literals("=", left, item) == Some(Truth::True));
            match (member, operator) {
                (true, "=") => Some(Truth::True),
                (true, _) => Some(Truth::False),
                (false, _) => None,
            }
        }
        E::AEXPR_BETWEEN | E::AEXPR_BETWEEN_SYM => {
            let bounds = right.as_node_list()?;
            let (low, high) = (bounds.first()?, bounds.get(1)?);
            (same(left, low) && same(left, high)).then_some(Truth::True)
        }
        _ => None,
    }
}

/// Compares two literals of one type; `None` where the outcome depends on a type or collation.
fn literals(operator: &str, left: Node<'_>, right: Node<'_>) -> Option<Truth> {
    let order = match (number(left), number(right)) {
        (Some(left), Some(right)) => left.partial_cmp(&right)?,
        _ => match (text(left)?, text(right)?) {
            (left, right) if left == right => std::cmp::Ordering::Equal,
            _ if operator == "=" => return Some(Truth::False),
            _ if operator == "<>" => return Some(Truth::True),
            _ => return None,
        },
    };
    Some(Truth::of(match operator {
        "=" => order.is_eq(),
        "<>" => order.is_ne(),
        "<" => order.is_lt(),
        "<=" => order.is_le(),
        ">" => order.is_gt(),
        ">=" => order.is_ge(),
        _ => return None,
    }))
}

fn number(node: Node<'_>) -> Option<f64> {
    match node {
        Node::A_Const(literal) => match literal.val()? {
            ConstValue::Integer(number) => Some(f64::from(number)),
            ConstValue::Float(digits) => digits.parse().ok(),
            _ => None,
        },
        _ => None,
    }
}

fn text(node: Node<'_>) -> Option<String> {
    constant(node)
}

enum Value {
    Null,
    Constant,
    /// It is bound to something, or to NULL.
    Given,
    Varies,
}

fn below_value(node: Node<'_>, depth: u32) -> Value {
    match node {
        Node::A_Const(literal) if literal.isnull => Value::Null,
        Node::TypeCast(cast) if depth < DEPTH_MAX => below_value(cast.arg(), depth + 1),
        other if draws_nothing(other) && holds_parameter(other) => Value::Given,
        other if draws_nothing(other) => Value::Constant,
        _ => Value::Varies,
    }
}

/// `a OR NOT a`, `a IS NULL OR a IS NOT NULL`.
fn has_opposites(arms: &[Node<'_>]) -> bool {
    arms.iter().take(OPPOSITES_MAX).enumerate().any(|(at, left)| {
        arms.iter().take(OPPOSITES_MAX).skip(at + 1).any(|right| match (left, right) {
            (Node::NullTest(left), Node::NullTest(right)) => {
                left.nulltesttype != right.nulltesttype && same(left.arg(), right.arg())
            }
            (Node::BoolExpr(negation), other) | (other, Node::BoolExpr(negation))
                if negation.boolop == B::NOT_EXPR =>
            {
                negation.args().first().is_some_and(|inner| same(inner, *other))
            }
            _ => false,
        })
    })
}

fn if_constant(node: Node<'_>, open: bool) -> Truth {
    if draws_nothing(node) { Truth::of(open) } else { Truth::Varies }
}

/// No column anywhere below.
fn draws_nothing(node: Node<'_>) -> bool {
    let mut work = vec![node];
    let mut nothing = true;
    while nothing && let Some(node) = work.pop() {
        match node {
            Node::ColumnRef(_) | Node::A_Star(_) | Node::CurrentOfExpr(_) => nothing = false,
            // A sub-select of relations can answer differently for each row only through a column, but
            // whether it answers at all depends on rows.
            Node::RangeVar(_) => nothing = false,
            other => nothing &= children(other, &mut |child| work.push(child)),
        }
    }
    nothing
}

fn holds_parameter(node: Node<'_>) -> bool {
    let mut work = vec![node];
    while let Some(node) = work.pop() {
        if matches!(node, Node::ParamRef(_)) {
            return true;
        }
        children(node, &mut |child| work.push(child));
    }
    false
}

const DEPTH_MAX: u32 = 64;
/// Keeps the comparison of arms with each other cheap.
const OPPOSITES_MAX: usize = 16;
/// Regular expressions that every text matches.
const MATCH_ALL: &[&str] = &["", ".*", "^", "$", "^.*", ".*$", "^.*$"];
