//! Which expressions show through a mask what their columns show: the same first letter, last digits, domain.
//!
//! A mask that keeps a part of a value keeps another part of one that was cut or turned: letter by letter such values tell
//! the whole. Of what is not listed here that is assumed.

use super::{Analysis, Doubt};
use crate::engine::sql::postgres::objects;
use pg_raw_parse::Node;
use pg_raw_parse::nodes::TypeCast;
use pg_raw_parse::raw::A_Expr_Kind as E;

impl<'t> Analysis<'_, 't> {
    /// Columns and constants, in other letters, one behind the other, or the first that is there.
    pub(super) fn is_alike(&mut self, node: Node<'t>) -> Result<bool, Doubt> {
        let mut work = vec![node];
        while let Some(node) = work.pop() {
            self.shared.spend(1)?;
            match node {
                Node::None
                | Node::A_Const(_)
                | Node::ParamRef(_)
                | Node::SQLValueFunction(_)
                | Node::SetToDefault(_) => {}
                Node::ColumnRef(_) if self.value(node)?.alike => {}
                Node::CollateClause(collate) => work.push(collate.arg()),
                Node::CoalesceExpr(coalesce) => work.extend(coalesce.args().iter()),
                Node::TypeCast(cast) if is_text(cast) => work.push(cast.arg()),
                Node::A_Expr(e)
                    if e.kind == E::AEXPR_OP
                        && e.name().iter().next_back().and_then(Node::as_str) == Some("||")
                        && !self.is_made_by_users("||") =>
                {
                    work.extend([e.lexpr(), e.rexpr()]);
                }
                Node::FuncCall(call)
                    if objects::function(call.funcname()).is_some_and(|name| {
                        let keeps = match name.name.as_str() {
                            "concat" | "concat_ws" => !call.func_variadic,
                            other => call.args().len() == 1 && FOLDS.contains(&other),
                        };
                        keeps && self.is_servers_function(&name)
                    }) =>
                {
                    work.extend(call.args().iter());
                }
                _ => return Ok(false),
            }
        }
        Ok(true)
    }
}

fn is_text(cast: &TypeCast) -> bool {
    let Some(to) = cast.type_name() else { return false };
    let name = to.names().iter().filter_map(|word| word.sval()).next_back();
    to.typmods().is_empty() && to.array_bounds().is_empty() && matches!(name, Some("text" | "varchar"))
}

/// Functions of one argument that change how letters look, or take away blanks around.
const FOLDS: [&str; 6] = ["btrim", "initcap", "lower", "ltrim", "rtrim", "upper"];
