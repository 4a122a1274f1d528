//! Names of objects: from lists of words in the tree to relations, and the server's word for each kind.

use crate::engine::model::{FunctionName, RelationName};
use pg_raw_parse::list::NodeList;
use pg_raw_parse::nodes::RangeVar;
use pg_raw_parse::raw::ObjectType as O;
use pg_raw_parse::{Node, raw};

/// The relation that a FROM item or a command names. A database part in front is left out: the server
/// accepts only its own.
pub(super) fn relation(range: &RangeVar) -> Option<RelationName> {
    Some(RelationName { schema: range.schemaname().map(Into::into), name: range.relname()?.into() })
}

/// `schema.name`, `name` or `database.schema.name` as a list of words.
fn relation_of_words<'a>(words: impl IntoIterator<Item = &'a str>) -> Option<RelationName> {
    let words: Vec<&str> = words.into_iter().collect();
    match words.as_slice() {
        [] => None,
        [name] => Some(RelationName { schema: None, name: (*name).into() }),
        [.., schema, name] => Some(RelationName { schema: Some((*schema).into()), name: (*name).into() }),
    }
}

/// A function name as a list of words.
pub(super) fn function(words: &NodeList) -> Option<FunctionName> {
    let name = relation_of_words(words.iter().filter_map(Node::as_str))?;
    Some(FunctionName { schema: name.schema, name: name.name })
}

/// The relation that an object of kind `object` is or belongs to, where DROP, COMMENT and the like name
/// it by a list of words.
pub(super) fn relation_of_object(object: raw::ObjectType::Type, name: Node<'_>) -> Option<RelationName> {
    let Node::NodeList(words) = name else { return None };
    let belongs = match object {
        O::OBJECT_TABLE
        | O::OBJECT_VIEW
        | O::OBJECT_MATVIEW
        | O::OBJECT_FOREIGN_TABLE
        | O::OBJECT_SEQUENCE
        | O::OBJECT_INDEX => 0,
        O::OBJECT_COLUMN
        | O::OBJECT_TRIGGER
        | O::OBJECT_RULE
        | O::OBJECT_POLICY
        | O::OBJECT_TABCONSTRAINT => 1,
        _ => return None,
    };
    relation_of_words(words.iter().take(words.len().saturating_sub(belongs)).filter_map(Node::as_str))
}

/// The server's words for a kind of object, as in `DROP …`.
pub(super) fn object_words(object: raw::ObjectType::Type) -> &'static str {
    match object {
        O::OBJECT_ACCESS_METHOD => "ACCESS METHOD",
        O::OBJECT_AGGREGATE => "AGGREGATE",
        O::OBJECT_CAST => "CAST",
        O::OBJECT_COLLATION => "COLLATION",
        O::OBJECT_CONVERSION => "CONVERSION",
        O::OBJECT_DATABASE => "DATABASE",
        O::OBJECT_DOMAIN | O::OBJECT_DOMCONSTRAINT => "DOMAIN",
        O::OBJECT_EVENT_TRIGGER => "EVENT TRIGGER",
        O::OBJECT_EXTENSION => "EXTENSION",
        O::OBJECT_FDW => "FOREIGN DATA WRAPPER",
        O::OBJECT_FOREIGN_SERVER => "SERVER",
        O::OBJECT_FOREIGN_TABLE => "FOREIGN TABLE",
        O::OBJECT_FUNCTION => "FUNCTION",
        O::OBJECT_INDEX => "INDEX",
        O::OBJECT_LANGUAGE => "LANGUAGE",
        O::OBJECT_LARGEOBJECT => "LARGE OBJECT",
        O::OBJECT_MATVIEW => "MATERIALIZED VIEW",
        O::OBJECT_OPCLASS => "OPERATOR CLASS",
        O::OBJECT_OPERATOR => "OPERATOR",
        O::OBJECT_OPFAMILY => "OPERATOR FAMILY",
        O::OBJECT_POLICY => "POLICY",
        O::OBJECT_PROCEDURE => "PROCEDURE",
        O::OBJECT_PUBLICATION => "PUBLICATION",
        O::OBJECT_ROLE => "ROLE",
        O::OBJECT_ROUTINE => "ROUTINE",
        O::OBJECT_RULE => "RULE",
        O::OBJECT_SCHEMA => "SCHEMA",
        O::OBJECT_SEQUENCE => "SEQUENCE",
        O::OBJECT_SUBSCRIPTION => "SUBSCRIPTION",
        O::OBJECT_STATISTIC_EXT => "STATISTICS",
        O::OBJECT_TABLE | O::OBJECT_TABCONSTRAINT | O::OBJECT_COLUMN => "TABLE",
        O::OBJECT_TABLESPACE => "TABLESPACE",
        O::OBJECT_TRANSFORM => "TRANSFORM",
        O::OBJECT_TRIGGER => "TRIGGER",
        O::OBJECT_TSCONFIGURATION => "TEXT SEARCH CONFIGURATION",
        O::OBJECT_TSDICTIONARY => "TEXT SEARCH DICTIONARY",
        O::OBJECT_TSPARSER => "TEXT SEARCH PARSER",
        O::OBJECT_TSTEMPLATE => "TEXT SEARCH TEMPLATE",
        O::OBJECT_TYPE | O::OBJECT_ATTRIBUTE => "TYPE",
        O::OBJECT_USER_MAPPING => "USER MAPPING",
        O::OBJECT_VIEW => "VIEW",
        _ => "OBJECT",
    }
}
