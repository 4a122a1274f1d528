//! What an expression leaves of documents: whether the keys beside their values are still there.
//!
//! A document that no label names is judged by its keys and values where it is shown. An operation may drop the keys or
//! give other ones, so what is not listed here counts as such.

use super::value::Value;
use super::{Analysis, Doubt};
use crate::engine::model::{FunctionName, Oid, TypeShape, Types};
use crate::engine::sql::postgres::objects;
use crate::engine::sql::postgres::setting::constant;
use pg_raw_parse::Node;
use pg_raw_parse::nodes::{A_Expr, A_Indirection, TypeCast};

/// What stands between a part of an expression and the whole; the innermost counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Reach {
    /// Documents come through with their keys.
    #[default]
    Whole,
    /// A key in the text leads to one value, which is no document.
    Keyed,
    /// Keys may be lost or renamed.
    Reshaped,
}

impl Value {
    /// It is in the result in this manner.
    pub(super) fn reached(mut self, reach: Reach) -> Self {
        self.reshaped |= self.bare && reach == Reach::Reshaped;
        self.bare &= reach != Reach::Keyed;
        self
    }
}

impl<'t> Analysis<'_, 't> {
    /// How what stands below `node` reaches the result, where `node` itself does as `reach`.
    pub(super) fn below(&mut self, node: Node<'t>, reach: Reach) -> Result<Reach, Doubt> {
        Ok(match node {
            Node::NodeList(_)
            | Node::CollateClause(_)
            | Node::NamedArgExpr(_)
            | Node::ResTarget(_)
            | Node::RowExpr(_)
            | Node::CoalesceExpr(_)
            | Node::MinMaxExpr(_)
            | Node::A_ArrayExpr(_)
            | Node::CaseExpr(_)
            | Node::BoolExpr(_)
            | Node::MultiAssignRef(_)
            | Node::SortBy(_)
            | Node::JsonValueExpr(_)
            | Node::JsonArgument(_)
            | Node::JsonBehavior(_)
            | Node::JsonKeyValue(_)
            | Node::JsonObjectConstructor(_)
            | Node::JsonArrayConstructor(_)
            | Node::JsonObjectAgg(_)
            | Node::JsonArrayAgg(_) => reach,
            Node::TypeCast(cast) => of_cast(cast, reach),
            Node::A_Expr(expression) => self.of_operator(expression, reach)?,
            Node::A_Indirection(path) => of_path(path, reach),
            Node::FuncCall(call) => match objects::function(call.funcname()) {
                Some(name) => self.of_function(&name, reach),
                None => Reach::Reshaped,
            },
            _ => Reach::Reshaped,
        })
    }

    /// The same for the arguments of a function.
    pub(super) fn of_function(&self, name: &FunctionName, reach: Reach) -> Reach {
        let catalogue = self.shared.names.catalogue;
        if !catalogue.user_functions(name, self.path).is_empty() {
            return Reach::Reshaped;
        }
        let name = name.name.as_str();
        if KEEP_KEYS.binary_search(&name).is_ok() {
            reach
        } else if TELL_NO_VALUE.contains(&name) {
            Reach::Keyed
        } else {
            Reach::Reshaped
        }
    }

    fn of_operator(&mut self, node: &'t A_Expr, reach: Reach) -> Result<Reach, Doubt> {
        let name = node.name().iter().next_back().and_then(Node::as_str).unwrap_or_default();
        let (left, right) = (node.lexpr(), node.rexpr());
        Ok(match name {
            _ if matches!(left, Node::None) => Reach::Reshaped,
            "->>" | "#>>" => match names_keys(right) {
                Some(true) => Reach::Keyed,
                Some(false) => reach,
                None => Reach::Reshaped,
            },
            "->" | "#>" => match names_keys(right) {
                Some(true) if self.is_pairs(left)? => Reach::Keyed,
                Some(_) => reach,
                None => Reach::Reshaped,
            },
            "||" if !(self.is_document(left)? && self.is_document(right)?) => Reach::Reshaped,
            "||" | "-" | "#-" => reach,
            _ => Reach::Reshaped,
        })
    }

    /// Surely an operand that makes `||` one of documents: with a text it is one of texts.
    fn is_document(&mut self, mut node: Node<'t>) -> Result<bool, Doubt> {
        while let Node::CoalesceExpr(coalesce) = node {
            node = coalesce.args().first().unwrap_or(Node::None);
        }
        Ok(match node {
            Node::A_Const(_) => true,
            Node::TypeCast(cast) => cast.type_name().is_some_and(|to| {
                let name = to.names().iter().filter_map(|word| word.sval()).next_back();
                matches!(name, Some("jsonb" | "hstore"))
            }),
            Node::FuncCall(call) => objects::function(call.funcname()).is_some_and(|name| {
                name.name.contains("jsonb") && self.of_function(&name, Reach::Whole) == Reach::Whole
            }),
            Node::A_Expr(e) => {
                let name = e.name().iter().next_back().and_then(Node::as_str);
                matches!(name, Some("||" | "-" | "#-"))
            }
            Node::ColumnRef(_) => self.is_of_type(node, |base, types| {
                base == JSONB || types.shape(base) == Some(TypeShape::Hstore)
            })?,
            _ => false,
        })
    }

    /// A bare column of pairs, whose values are texts.
    fn is_pairs(&mut self, node: Node<'t>) -> Result<bool, Doubt> {
        self.is_of_type(node, |base, types| types.shape(base) == Some(TypeShape::Hstore))
    }

    fn is_of_type(&mut self, node: Node<'t>, is: impl Fn(Oid, &Types) -> bool) -> Result<bool, Doubt> {
        let Node::ColumnRef(_) = node else { return Ok(false) };
        let value = self.value(node)?;
        let catalogue = self.shared.names.catalogue;
        let types = catalogue.types();
        Ok(value.exact
            && value.sources.iter().all(|(relation, attribute)| {
                let relation = catalogue.relation(*relation);
                let column = relation.and_then(|relation| relation.attribute(*attribute));
                column.is_some_and(|column| is(types.base(column.type_oid), types))
            }))
    }
}

fn of_cast(cast: &TypeCast, reach: Reach) -> Reach {
    let Some(to) = cast.type_name() else { return Reach::Reshaped };
    if !to.array_bounds().is_empty() || !to.typmods().is_empty() {
        return Reach::Reshaped;
    }
    let mut words = to.names().iter().filter_map(|word| word.sval());
    match words.next_back() {
        Some("json" | "jsonb" | "hstore") => reach,
        // Of a document only one that is such a value itself: then it has no keys.
        Some("bool" | "int2" | "int4" | "int8" | "numeric" | "float4" | "float8") => Reach::Keyed,
        _ => Reach::Reshaped,
    }
}

fn of_path(path: &A_Indirection, reach: Reach) -> Reach {
    let is_key = |step| matches!(step, Node::A_Indices(indices) if names_keys(indices.uidx()).is_some());
    if path.indirection().iter().all(is_key) { reach } else { Reach::Reshaped }
}

/// Whether a constant behind an operator names keys, or only places in lists; `None` where it cannot be read.
fn names_keys(key: Node<'_>) -> Option<bool> {
    let text = constant(key)?;
    // What is escaped is another name than the one that is there.
    (!text.contains('\\')).then(|| super::expression::keys_in(&text).next().is_some())
}

const JSONB: Oid = 3_802;
/// Functions of the server that show documents among their arguments with all keys, or parts of lists.
const KEEP_KEYS: [&str; 33] = [
    "any_value",
    "array_agg",
    "array_append",
    "array_cat",
    "array_prepend",
    "array_to_json",
    "first_value",
    "json_agg",
    "json_array_elements",
    "json_array_elements_text",
    "json_build_array",
    "json_build_object",
    "json_object_agg",
    "json_strip_nulls",
    "jsonb_agg",
    "jsonb_array_elements",
    "jsonb_array_elements_text",
    "jsonb_build_array",
    "jsonb_build_object",
    "jsonb_insert",
    "jsonb_object_agg",
    "jsonb_pretty",
    "jsonb_set",
    "jsonb_strip_nulls",
    "lag",
    "last_value",
    "lead",
    "max",
    "min",
    "row_to_json",
    "to_json",
    "to_jsonb",
    "unnest",
];
/// Functions of the server that show of documents only what kind they are and how many parts they have.
const TELL_NO_VALUE: [&str; 4] = ["json_array_length", "json_typeof", "jsonb_array_length", "jsonb_typeof"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn list_is_sorted() {
        assert!(KEEP_KEYS.is_sorted());
    }
}
