//! What may be made of a sensitive value without telling it: operations that answer for every value, and give NULL for NULL
//! only.
//!
//! The result itself is masked. An error is not, nor is a NULL: `ssn::int` fails for some numbers, `nullif(ssn, 'x')` is NULL
//! for one. What is not listed here counts as such.

use super::condition::compares;
use super::{Analysis, Doubt, SearchPath};
use crate::engine::model::{FunctionName, Oid};
use pg_raw_parse::nodes::{FuncCall, TypeCast};
use pg_raw_parse::raw::A_Expr_Kind as E;
use pg_raw_parse::{ConstValue, Node};

impl<'t> Analysis<'_, 't> {
    /// The call answers for every value of its arguments.
    pub(super) fn is_total(&self, name: &FunctionName, call: &'t FuncCall) -> bool {
        let catalogue = self.shared.names.catalogue;
        if !catalogue.user_functions(name, self.path).is_empty()
            || catalogue.system_function(name).is_none()
            || call.func_variadic
        {
            return false;
        }
        let name = name.name.as_str();
        if ALWAYS.binary_search(&name).is_ok() {
            return true;
        }
        let arguments = || call.args().iter();
        if REST_GIVEN.binary_search(&name).is_ok() {
            return arguments().skip(1).all(is_given);
        }
        if FIRST_GIVEN.binary_search(&name).is_ok() {
            return arguments().next().is_some_and(is_given);
        }
        // With a pattern in place of a number it is a regular expression, which may find nothing.
        name == "substring"
            && arguments().skip(1).all(|node| match node {
                Node::A_Const(literal) => matches!(literal.val(), Some(ConstValue::Integer(_))),
                _ => false,
            })
    }

    /// The cast answers for every value.
    pub(super) fn is_total_cast(&mut self, cast: &'t TypeCast) -> Result<bool, Doubt> {
        let Some(to) = cast.type_name() else { return Ok(false) };
        let mut words = to.names().iter().filter_map(|word| word.sval());
        let name = match (words.next(), words.next(), words.next()) {
            (Some("pg_catalog"), Some(name), None) => name,
            (Some(name), None, None) if self.is_servers_type() => name,
            _ => return Ok(false),
        };
        if matches!(name, "text" | "varchar" | "bpchar" | "name") {
            return Ok(true);
        }
        if !to.array_bounds().is_empty() || !to.typmods().is_empty() {
            return Ok(false);
        }
        let Node::ColumnRef(_) = cast.arg() else { return Ok(false) };
        let value = self.value(cast.arg())?;
        let from = match value.sources.first() {
            Some((relation, attribute)) if value.exact && value.sources.len() == 1 => {
                let relation = self.shared.names.catalogue.relation(*relation);
                relation.and_then(|relation| relation.attribute(*attribute)).map(|column| column.type_oid)
            }
            _ => None,
        };
        Ok(from.is_some_and(|from| widens(from, name)))
    }

    /// A bare type name is the server's: nothing stands before its schema.
    fn is_servers_type(&self) -> bool {
        match self.path {
            SearchPath::Known(schemas) => schemas.iter().skip(1).all(|schema| &**schema != "pg_catalog"),
            _ => true,
        }
    }
}

/// No value of the one type is missing in the other.
fn widens(from: Oid, to: &str) -> bool {
    const INT2: Oid = 21;
    const INT4: Oid = 23;
    const INT8: Oid = 20;
    const FLOAT4: Oid = 700;
    const TIMESTAMP: Oid = 1_114;
    const TIMESTAMPTZ: Oid = 1_184;
    match to {
        "int4" => from == INT2,
        "int8" => [INT2, INT4].contains(&from),
        "numeric" | "float8" => [INT2, INT4, INT8, FLOAT4].contains(&from),
        "date" => [TIMESTAMP, TIMESTAMPTZ].contains(&from),
        _ => false,
    }
}

/// The operator of two operands answers for every value.
pub(super) fn operator(name: &str, left: Node<'_>, right: Node<'_>) -> bool {
    match name {
        // Of a bare column only: an object whose keys are values would tell them by what is there.
        "->" | "->>" | "#>" | "#>>" => is_path(left) && is_given(right),
        "||" => true,
        other => compares(other) && matches!(left, Node::None),
    }
}

/// A bare column, or what stands in it under keys that the statement names.
fn is_path(node: Node<'_>) -> bool {
    let mut node = node;
    loop {
        match node {
            Node::ColumnRef(_) => return true,
            Node::A_Expr(e)
                if e.kind == E::AEXPR_OP
                    && is_given(e.rexpr())
                    && e.name()
                        .iter()
                        .next_back()
                        .and_then(Node::as_str)
                        .is_some_and(|name| matches!(name, "->" | "#>")) =>
            {
                node = e.lexpr();
            }
            _ => return false,
        }
    }
}

/// A literal or parameter: whoever asks knows it.
pub(super) fn is_given(node: Node<'_>) -> bool {
    let mut node = node;
    loop {
        match node {
            Node::A_Const(_) | Node::ParamRef(_) | Node::SQLValueFunction(_) => return true,
            Node::TypeCast(cast) => node = cast.arg(),
            Node::CollateClause(collate) => node = collate.arg(),
            Node::A_Expr(e) if e.kind == E::AEXPR_OP && matches!(e.lexpr(), Node::None) => node = e.rexpr(),
            _ => return false,
        }
    }
}

/// Whatever the arguments are. Aggregates and windows give NULL where there are no rows, which their conditions say.
const ALWAYS: [&str; 60] = [
    "any_value",
    "array_agg",
    "array_to_json",
    "array_to_string",
    "ascii",
    "avg",
    "bit_length",
    "bool_and",
    "bool_or",
    "btrim",
    "cardinality",
    "casefold",
    "ceil",
    "ceiling",
    "char_length",
    "character_length",
    "coalesce",
    "concat",
    "concat_ws",
    "every",
    "first_value",
    "floor",
    "initcap",
    "isfinite",
    "json_agg",
    "json_build_array",
    "json_typeof",
    "jsonb_agg",
    "jsonb_build_array",
    "jsonb_pretty",
    "jsonb_typeof",
    "last_value",
    "length",
    "lower",
    "ltrim",
    "max",
    "md5",
    "min",
    "octet_length",
    "position",
    "quote_ident",
    "quote_literal",
    "quote_nullable",
    "replace",
    "reverse",
    "row_to_json",
    "rtrim",
    "sha224",
    "sha256",
    "sha384",
    "sha512",
    "starts_with",
    "string_agg",
    "strpos",
    "sum",
    "to_json",
    "to_jsonb",
    "translate",
    "upper",
    "xmlagg",
];
/// Where everything behind the first argument is given.
const REST_GIVEN: [&str; 12] = [
    "encode",
    "lag",
    "lead",
    "left",
    "lpad",
    "overlay",
    "right",
    "round",
    "rpad",
    "split_part",
    "substr",
    "to_char",
];
/// Where the first argument is given.
const FIRST_GIVEN: [&str; 7] =
    ["date_part", "date_trunc", "extract", "format", "json_build_object", "jsonb_build_object", "timezone"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_sorted() {
        assert!(ALWAYS.is_sorted() && REST_GIVEN.is_sorted() && FIRST_GIVEN.is_sorted());
    }
}
