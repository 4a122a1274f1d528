//! Which rows a command changes: target, ONLY, and what its WHERE pins to constants. Operators, by name.

use super::where_clause;
use crate::engine::model::{Change, RelationName, StatementKind as Kind};
use pg_raw_parse::Node;
use pg_raw_parse::nodes::{A_Expr, RangeVar, ResTarget, TypeCast};
use pg_raw_parse::raw::{A_Expr_Kind as E, BoolExprType as B, OnConflictAction};

/// The changes of `command` to the relation that it names as its target.
pub(super) fn changes(command: Node<'_>, relation: RelationName, range: &RangeVar, out: &mut Vec<Change>) {
    let only = !range.inh;
    let mut add = |kind, condition: Option<(Node<'_>, bool)>| {
        let (restricted, pinned) = condition.map_or((false, Vec::new()), |(condition, alone)| {
            let mut pinned = Vec::new();
            if alone {
                pins(condition, &mut pinned);
            }
            (where_clause::restricts(condition, Some(range)), pinned)
        });
        let relation = relation.clone();
        out.push(Change { relation, kind, only, restricted, pinned, sets: Vec::new(), goes_on: false });
    };
    match command {
        Node::InsertStmt(insert) => {
            add(Kind::Insert, None);
            if let Some(conflict) = insert.on_conflict_clause() {
                if conflict.action != OnConflictAction::ONCONFLICT_NOTHING {
                    add(Kind::Update, None);
                    if let Some(change) = out.last_mut() {
                        // As many as are inserted, at most.
                        change.restricted = true;
                        change.sets = assigned(conflict.target_list().iter());
                    }
                }
                if let Some(change) = out.iter_mut().rev().find(|change| change.kind == Kind::Insert) {
                    change.goes_on = true;
                }
            }
        }
        Node::UpdateStmt(update) => {
            add(Kind::Update, Some((update.where_clause(), update.from_clause().is_empty())));
            if let Some(change) = out.last_mut() {
                change.sets = assigned(update.target_list().iter());
            }
        }
        Node::DeleteStmt(delete) => {
            add(Kind::Delete, Some((delete.where_clause(), delete.using_clause().is_empty())));
        }
        Node::MergeStmt(_) => add(Kind::Merge, None),
        Node::CopyStmt(_) => add(Kind::CopyIn, None),
        Node::TruncateStmt(_) => add(Kind::Truncate, None),
        _ => {}
    }
}

fn assigned<'a>(targets: impl Iterator<Item = &'a ResTarget>) -> Vec<String> {
    targets.filter_map(|target| target.name().map(Into::into)).collect()
}

/// `column = constant` and `column IN (constants)`, joined by AND.
fn pins(condition: Node<'_>, out: &mut Vec<(String, u32)>) {
    let mut work = vec![condition];
    while let Some(node) = work.pop() {
        match node {
            Node::BoolExpr(all) if all.boolop == B::AND_EXPR => work.extend(all.args().iter()),
            Node::A_Expr(test) if is_equality(test) && matches!(test.kind, E::AEXPR_OP) => {
                for (column, value) in [(test.lexpr(), test.rexpr()), (test.rexpr(), test.lexpr())] {
                    if let Some(column) = column_name(column)
                        && is_constant(value)
                    {
                        out.push((column, 1));
                    }
                }
            }
            Node::A_Expr(test) if is_equality(test) && matches!(test.kind, E::AEXPR_IN) => {
                if let (Some(column), Some(list)) = (column_name(test.lexpr()), test.rexpr().as_node_list())
                    && list.iter().all(is_constant)
                {
                    out.push((column, u32::try_from(list.len()).unwrap_or(u32::MAX)));
                }
            }
            _ => {}
        }
    }
}

/// The operator is `=`, in no schema of its own.
fn is_equality(test: &A_Expr) -> bool {
    let mut name = test.name().iter().filter_map(Node::as_str);
    name.next() == Some("=") && name.next().is_none()
}

fn column_name(node: Node<'_>) -> Option<String> {
    let Node::ColumnRef(reference) = node else { return None };
    reference.fields().iter().next_back().and_then(Node::as_str).map(Into::into)
}

fn is_constant(mut node: Node<'_>) -> bool {
    for _ in 0..CAST_DEPTH_MAX {
        match node {
            Node::A_Const(_) | Node::ParamRef(_) => return true,
            Node::TypeCast(cast) => node = cast.arg(),
            _ => return false,
        }
    }
    false
}

/// Whether a cast may run somebody's code: all may, but where a constant is read as a type that is a word of the grammar.
pub(super) fn runs_a_cast(cast: &TypeCast) -> bool {
    let is_word = cast
        .type_name()
        .and_then(|name| name.names().iter().next().and_then(|word| word.sval()))
        .is_some_and(|schema| schema == "pg_catalog");
    !(is_word && matches!(cast.arg(), Node::A_Const(_)))
}

/// Names of the operators that an expression stands for.
pub(super) fn operators(expression: &A_Expr, out: &mut Vec<String>) {
    let between = matches!(
        expression.kind,
        E::AEXPR_BETWEEN | E::AEXPR_NOT_BETWEEN | E::AEXPR_BETWEEN_SYM | E::AEXPR_NOT_BETWEEN_SYM
    );
    if between {
        out.extend(["<", "<=", ">", ">="].map(String::from));
    } else {
        out.extend(own_name(expression));
    }
}

fn own_name(expression: &A_Expr) -> Option<String> {
    expression.name().iter().next_back().and_then(Node::as_str).map(Into::into)
}

const CAST_DEPTH_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use super::super::tests::one;

    /// `kind relation(only) restricted pinned sets`, one for each change.
    fn changes(sql: &str) -> String {
        let of = |c: &crate::engine::model::Change| {
            let pinned: Vec<String> =
                c.pinned.iter().map(|(name, values)| format!("{name}={values}")).collect();
            let only = if c.only { " only" } else { "" };
            let free = if c.restricted { "" } else { " all" };
            format!(
                "{} {}{only}{free} [{}] [{}]",
                c.kind.as_str(),
                c.relation,
                pinned.join(" "),
                c.sets.join(" ")
            )
        };
        one(sql).changes.iter().map(of).collect::<Vec<_>>().join("; ")
    }

    #[test]
    fn each_change_tells_its_rows() {
        for (sql, expected) in [
            ("DELETE FROM t", "delete t all [] []"),
            ("DELETE FROM ONLY s.t WHERE id = 1", "delete s.t only [id=1] []"),
            ("DELETE FROM t WHERE id = $1 AND t.k IN (1, 2) AND x > 3", "delete t [id=1 k=2] []"),
            ("DELETE FROM t WHERE id = 1 OR k = 2", "delete t [] []"),
            ("DELETE FROM t WHERE id = id", "delete t all [] []"),
            ("DELETE FROM t WHERE 1 = t.id", "delete t [id=1] []"),
            ("DELETE FROM t USING u WHERE u.id = 1", "delete t [] []"),
            ("DELETE FROM t WHERE id OPERATOR(evil.=) 1", "delete t [] []"),
            ("UPDATE t SET a = 1, b = 2 WHERE id = 5", "update t [id=1] [a b]"),
            ("UPDATE t SET (a, b) = (1, 2)", "update t all [] [a b]"),
            ("UPDATE t SET a = 1 FROM u WHERE u.id = 1", "update t [] [a]"),
            ("INSERT INTO t VALUES (1)", "insert t all [] []"),
            (
                "INSERT INTO t VALUES (1) ON CONFLICT (id) DO UPDATE SET a = 2",
                "insert t all [] []; update t [] [a]",
            ),
            ("INSERT INTO t VALUES (1) ON CONFLICT DO NOTHING", "insert t all [] []"),
            ("TRUNCATE t, u", "truncate t all [] []; truncate u all [] []"),
            ("COPY t FROM STDIN", "copy_in t all [] []"),
            ("WITH d AS (DELETE FROM t RETURNING 1) SELECT 1", "delete t all [] []"),
            ("EXPLAIN DELETE FROM t", ""),
            ("EXPLAIN ANALYZE DELETE FROM t", "delete t all [] []"),
            ("CREATE RULE r AS ON DELETE TO t DO INSTEAD DELETE FROM u", ""),
            ("COPY t TO STDOUT", ""),
        ] {
            let mut found: Vec<String> = changes(sql).split("; ").map(Into::into).collect();
            found.sort_unstable();
            let mut expected: Vec<&str> = expected.split("; ").collect();
            expected.sort_unstable();
            // In what order the WHERE is read does not matter.
            let sorted = |text: &str| text.replace("[k=2 id=1]", "[id=1 k=2]");
            assert_eq!(found.iter().map(|text| sorted(text)).collect::<Vec<_>>(), expected, "{sql}");
        }
    }

    #[test]
    fn only_counts_where_a_relation_is_named_no_other_way() {
        let only = |sql: &str| one(sql).only.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
        assert_eq!(only("SELECT * FROM ONLY t"), "t");
        assert_eq!(only("SELECT * FROM ONLY t, t AS u"), "");
        assert_eq!(only("SELECT * FROM t WHERE a IN (SELECT 1 FROM ONLY u)"), "u");
    }

    #[test]
    fn operators_are_told_by_name() {
        let operators = |sql: &str| one(sql).operators.join(" ");
        assert_eq!(
            operators("SELECT a <!> b, c OPERATOR(s.@@@) d FROM t WHERE e = ANY (f) ORDER BY g USING >>>"),
            "<!> = >>> @@@"
        );
        assert_eq!(operators("SELECT 1 WHERE a BETWEEN b AND c AND d IN (SELECT 1)"), "< <= = > >=");
        assert_eq!(operators("SELECT 1 WHERE a LIKE b"), "~~");
    }
}
