//! What may be made of a sensitive value without telling it: operations that answer for every value, and give NULL for NULL
//! only.
//!
//! The result itself is masked. An error is not, nor is a NULL: `ssn::int` fails for some numbers, `nullif(ssn, 'x')` is NULL
//! for one. What is not listed here counts as such.

use super::condition::compares;
use super::value::{UNNAMED, Value};
use super::{Analysis, Doubt, SearchPath};
use crate::engine::model::{FunctionName, Oid, TypeShape};
use crate::engine::sql::postgres::objects;
use crate::engine::sql::postgres::setting::constant;
use pg_raw_parse::nodes::{A_ArrayExpr, A_Expr, FuncCall, TypeCast, TypeName};
use pg_raw_parse::raw::A_Expr_Kind as E;
use pg_raw_parse::{ConstValue, Node};

impl<'t> Analysis<'_, 't> {
    /// The call answers for every value of its arguments.
    pub(super) fn is_total(&mut self, name: &FunctionName, call: &'t FuncCall) -> Result<bool, Doubt> {
        if !self.is_servers_function(name) || call.func_variadic {
            return Ok(false);
        }
        let name = name.name.as_str();
        if ALWAYS.binary_search(&name).is_ok() {
            return Ok(true);
        }
        let arguments = || call.args().iter();
        if REST_GIVEN.binary_search(&name).is_ok() {
            return Ok(arguments().skip(1).all(is_given));
        }
        if FIRST_GIVEN.binary_search(&name).is_ok() {
            // A zone may stand behind the value.
            return Ok(arguments().next().is_some_and(is_given) && arguments().skip(2).all(is_given));
        }
        if ALL_SHORT.binary_search(&name).is_ok() {
            return self.are_short(arguments().collect());
        }
        match name {
            "array_agg" => self.are_single(arguments()),
            "to_char" => Ok(arguments().nth(1).is_some_and(shifts_nothing)),
            "format" => {
                let is_plain = arguments().next().is_some_and(is_plain_template);
                Ok(is_plain && self.are_short(arguments().skip(1).collect())?)
            }
            // A range with an open end cannot end before it begins.
            "int4range" | "int8range" | "numrange" | "daterange" | "tsrange" | "tstzrange" => {
                let open = |node| matches!(node, Node::A_Const(literal) if literal.isnull);
                Ok(call.args().len() == 2 && arguments().any(open))
            }
            "json_build_object" | "jsonb_build_object" => Ok(arguments().step_by(2).all(is_given)),
            // With a pattern in place of a number it is a regular expression, which may find nothing.
            "substring" => Ok(arguments().skip(1).all(|node| match node {
                Node::A_Const(literal) => matches!(literal.val(), Some(ConstValue::Integer(_))),
                _ => false,
            })),
            _ => Ok(false),
        }
    }

    /// The server's own, and no function of users may be meant.
    pub(super) fn is_servers_function(&self, name: &FunctionName) -> bool {
        let catalogue = self.shared.names.catalogue;
        catalogue.user_functions(name, self.path).is_empty() && catalogue.system_function(name).is_some()
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
        // Not every text is one of an array.
        if !to.array_bounds().is_empty() {
            return Ok(false);
        }
        if matches!(name, "text" | "varchar" | "bpchar" | "name") {
            return Ok(true);
        }
        if !to.typmods().is_empty() {
            return Ok(false);
        }
        Ok(self.stored_type(cast.arg())?.is_some_and(|from| widens(from, name)))
    }

    /// The type of a bare column that is one of a relation as it is.
    pub(super) fn stored_type(&mut self, node: Node<'t>) -> Result<Option<Oid>, Doubt> {
        let Node::ColumnRef(_) = node else { return Ok(None) };
        let value = self.value(node)?;
        Ok(match value.sources.first() {
            Some((relation, attribute)) if value.exact && value.sources.len() == 1 => {
                let relation = self.shared.names.catalogue.relation(*relation);
                relation.and_then(|relation| relation.attribute(*attribute)).map(|column| column.type_oid)
            }
            _ => None,
        })
    }

    /// A bare column that holds what one of a relation holds, or a constant: nothing was made of it further in.
    pub(super) fn is_stored(&mut self, node: Node<'t>) -> Result<bool, Doubt> {
        let Node::ColumnRef(_) = node else { return Ok(false) };
        Ok(is_stored(&self.value(node)?))
    }

    /// The operator of two operands answers for every value.
    pub(super) fn is_total_operator(
        &mut self,
        name: &str,
        left: Node<'t>,
        right: Node<'t>,
    ) -> Result<bool, Doubt> {
        match name {
            "->" | "->>" | "#>" | "#>>" => Ok(is_given(right) && self.is_path(left)?),
            other => Ok(compares(other) && matches!(left, Node::None)),
        }
    }

    /// A stored column, or what stands in it under keys that the statement names. An object whose keys are values would
    /// tell them by what is there.
    fn is_path(&mut self, node: Node<'t>) -> Result<bool, Doubt> {
        let mut node = node;
        loop {
            self.shared.spend(1)?;
            match node {
                Node::A_Expr(e)
                    if e.kind == E::AEXPR_OP
                        && is_given(e.rexpr())
                        && matches!(operator_name(e), "->" | "#>")
                        && !self.is_made_by_users(operator_name(e)) =>
                {
                    node = e.lexpr();
                }
                _ => return self.is_stored(node),
            }
        }
    }

    /// No array: those of different sizes do not fit into one.
    fn are_single(&mut self, nodes: impl Iterator<Item = Node<'t>>) -> Result<bool, Doubt> {
        for node in nodes {
            self.shared.spend(1)?;
            let is_single = match node {
                Node::ColumnRef(_) => self.stored_type(node)?.is_some_and(|of| SINGLE.contains(&of)),
                Node::FuncCall(call) => objects::function(call.funcname())
                    .is_some_and(|name| makes_text(&name.name) && self.is_servers_function(&name)),
                Node::TypeCast(cast) => self.is_total_cast(cast)?,
                node => is_given(node),
            };
            if !is_single {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// An element is made of a column that holds lists.
    pub(super) fn holds_lists(&mut self, array: &'t A_ArrayExpr) -> Result<bool, Doubt> {
        for node in array.elements().iter().filter(|node| !is_given(*node)) {
            // A list within a list asks for itself.
            if matches!(node, Node::A_ArrayExpr(_)) {
                continue;
            }
            let outer = self.shared.is_past.replace(true);
            let value = self.value(node);
            self.shared.is_past.set(outer);
            let catalogue = self.shared.names.catalogue;
            let types = catalogue.types();
            let is_list = |(relation, attribute): &(Oid, i16)| {
                let column =
                    catalogue.relation(*relation).and_then(|relation| relation.attribute(*attribute));
                let shape = column.and_then(|column| types.shape(types.base(column.type_oid)));
                matches!(shape, Some(TypeShape::Array { .. }))
            };
            if value?.sources.iter().any(is_list) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Not longer than what is stored and what the statement itself spells out: nothing in it repeats or fills up. Put
    /// together, longer ones pass the largest size of a value, or not, by a single letter.
    pub(super) fn are_short(&mut self, nodes: Vec<Node<'t>>) -> Result<bool, Doubt> {
        let mut work = nodes;
        while let Some(node) = work.pop() {
            self.shared.spend(1)?;
            match node {
                Node::None | Node::A_Const(_) | Node::ParamRef(_) | Node::SQLValueFunction(_) => {}
                Node::ColumnRef(_) if self.is_stored(node)? => {}
                Node::TypeCast(cast) if cast.type_name().is_some_and(|to| !fills_up(to)) => {
                    work.push(cast.arg());
                }
                Node::CollateClause(collate) => work.push(collate.arg()),
                Node::CoalesceExpr(coalesce) => work.extend(coalesce.args().iter()),
                Node::MinMaxExpr(extreme) => work.extend(extreme.args().iter()),
                Node::CaseExpr(case) => {
                    work.push(case.defresult());
                    for when in case.args() {
                        let Node::CaseWhen(when) = when else { return Err(Doubt::Syntax) };
                        work.push(when.result());
                    }
                }
                Node::A_Expr(e)
                    if e.kind == E::AEXPR_OP
                        && matches!(operator_name(e), "||" | "+" | "-" | "*" | "/" | "%")
                        && !self.is_made_by_users(operator_name(e)) =>
                {
                    work.extend([e.lexpr(), e.rexpr()]);
                }
                Node::FuncCall(call)
                    if !call.func_variadic
                        && objects::function(call.funcname()).is_some_and(|name| {
                            (makes_text(&name.name) || KEEPS_SHORT.contains(&name.name.as_str()))
                                && self.is_servers_function(&name)
                        }) =>
                {
                    work.extend(call.args().iter());
                }
                _ => return Ok(false),
            }
        }
        Ok(true)
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

/// The operands of `||`, through brackets and chains.
pub(super) fn joined(e: &A_Expr) -> Vec<Node<'_>> {
    let mut operands = Vec::new();
    let mut work = vec![e.rexpr(), e.lexpr()];
    while let Some(node) = work.pop() {
        match node {
            Node::A_Expr(e) if e.kind == E::AEXPR_OP && operator_name(e) == "||" => {
                work.extend([e.rexpr(), e.lexpr()]);
            }
            node => operands.push(node),
        }
    }
    operands
}

fn operator_name(e: &A_Expr) -> &str {
    e.name().iter().next_back().and_then(Node::as_str).unwrap_or(UNNAMED)
}

fn is_stored(value: &Value) -> bool {
    value.exact && value.sources.len() <= 1 && value.unknown.is_none()
}

/// `char(n)`, `bit(n)`.
fn fills_up(to: &TypeName) -> bool {
    let name = to.names().iter().filter_map(|word| word.sval()).next_back();
    !to.typmods().is_empty()
        && !name.is_some_and(|name| matches!(name, "varchar" | "numeric" | "timestamp" | "timestamptz"))
}

/// A template of `format` that takes values as they are: `%*s` reads a width from one.
fn is_plain_template(node: Node<'_>) -> bool {
    let Node::A_Const(literal) = node else { return false };
    let Some(ConstValue::String(text)) = literal.val() else { return false };
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        if letter == '%' && !matches!(letters.next(), Some('s' | 'I' | 'L' | '%')) {
            return false;
        }
    }
    true
}

/// A template of `to_char` without the places by which it multiplies: the product may be too large.
fn shifts_nothing(node: Node<'_>) -> bool {
    constant(node).is_some_and(|template| !template.contains(['V', 'v']))
}

/// The function gives one text or number, which is not longer than its arguments together.
fn makes_text(name: &str) -> bool {
    MAKES_TEXT.binary_search(&name).is_ok()
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
const ALWAYS: [&str; 51] = [
    "any_value",
    "array_to_json",
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
    "reverse",
    "row_to_json",
    "rtrim",
    "sha224",
    "sha256",
    "sha384",
    "sha512",
    "starts_with",
    "strpos",
    "sum",
    "to_json",
    "to_jsonb",
    "translate",
    "upper",
    "xmlagg",
];
/// Where everything behind the first argument is given.
const REST_GIVEN: [&str; 11] =
    ["encode", "lag", "lead", "left", "lpad", "overlay", "right", "round", "rpad", "split_part", "substr"];
/// Where the first argument is given.
const FIRST_GIVEN: [&str; 4] = ["date_part", "date_trunc", "extract", "timezone"];
/// What puts texts together, or doubles letters: where no argument is long.
const ALL_SHORT: [&str; 7] = [
    "array_to_string",
    "concat",
    "concat_ws",
    "quote_ident",
    "quote_literal",
    "quote_nullable",
    "string_agg",
];
const MAKES_TEXT: [&str; 24] = [
    "ascii",
    "avg",
    "btrim",
    "char_length",
    "concat",
    "concat_ws",
    "date_part",
    "date_trunc",
    "initcap",
    "left",
    "length",
    "lower",
    "ltrim",
    "md5",
    "reverse",
    "right",
    "round",
    "rtrim",
    "split_part",
    "substr",
    "substring",
    "to_char",
    "translate",
    "upper",
];
/// The same, of whichever type their arguments are.
const KEEPS_SHORT: [&str; 6] = ["any_value", "coalesce", "max", "min", "now", "sum"];
/// Types of one value: bool, bytea, name, int8, int2, int4, text, oid, json, cidr, float4, float8, money, inet, bpchar, varchar,
/// date, time, timestamp, timestamptz, interval, timetz, numeric, uuid, jsonb.
const SINGLE: [Oid; 25] = [
    16, 17, 19, 20, 21, 23, 25, 26, 114, 650, 700, 701, 790, 869, 1_042, 1_043, 1_082, 1_083, 1_114, 1_184,
    1_186, 1_266, 1_700, 2_950, 3_802,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_sorted() {
        assert!(ALWAYS.is_sorted() && REST_GIVEN.is_sorted() && FIRST_GIVEN.is_sorted());
        assert!(ALL_SHORT.is_sorted() && MAKES_TEXT.is_sorted());
    }
}
