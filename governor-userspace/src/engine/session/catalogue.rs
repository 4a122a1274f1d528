//! What the database's own catalogue says about relations, columns and functions.
//!
//! Read once per database on a client's own connection, before its first ReadyForQuery, with no
//! credentials of governor's own; shared by later sessions until it is old or DDL was seen. Only
//! sessions whose principal may get masked data need one.
//!
//! Every operator and relation in [`QUERY`] is schema-qualified: nothing in a session's `search_path`
//! can stand in for it.

use crate::engine::masking::{Category, classify_column};
use crate::engine::model::{ColumnName, FunctionName, Mentions, RelationName, Statement, Timestamp};
use crate::engine::sql::SqlDialect;
use crate::engine::wire::postgres::{ProtocolViolation, backend};
use std::collections::{BTreeSet, HashMap, HashSet};

/// Three result sets: columns, definitions of views, functions outside the system schemas.
///
/// System relations are left out but for the few that show other people's values.
pub(super) const QUERY: &str = "\
SELECT c.oid, n.nspname, c.relname, c.relkind, a.attnum, a.attname, a.atttypid \
FROM pg_catalog.pg_class c \
JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace \
JOIN pg_catalog.pg_attribute a ON a.attrelid OPERATOR(pg_catalog.=) c.oid \
WHERE a.attnum OPERATOR(pg_catalog.>) 0 AND NOT a.attisdropped \
AND c.relkind OPERATOR(pg_catalog.=) ANY ('{r,p,v,m,f}'::pg_catalog.\"char\"[]) \
AND (c.oid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid OR n.nspname OPERATOR(pg_catalog.=) 'pg_catalog'::pg_catalog.name \
AND c.relname OPERATOR(pg_catalog.=) ANY ('{pg_stats,pg_stats_ext,pg_stats_ext_exprs,pg_statistic,pg_statistic_ext_data,\
pg_authid,pg_shadow,pg_subscription,pg_stat_activity,pg_largeobject,pg_user_mapping,pg_user_mappings}'::pg_catalog.name[])); \
SELECT c.oid, pg_catalog.pg_get_viewdef(c.oid) FROM pg_catalog.pg_class c \
WHERE c.relkind OPERATOR(pg_catalog.=) ANY ('{v,m}'::pg_catalog.\"char\"[]) \
AND c.oid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid; \
SELECT DISTINCT p.proname FROM pg_catalog.pg_proc p \
WHERE p.oid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid";

/// Functions of the server behind views that show statements or secrets.
const SHOWS_VALUES_FUNCTIONS: [&str; 5] = [
    "pg_stat_get_activity",
    "pg_stat_get_backend_activity",
    "pg_stat_statements",
    "pg_show_all_settings",
    "pg_show_replication_origin_status",
];

/// First oid that the server gives to objects that users make (its FirstNormalObjectId).
const FIRST_USER_OID: u32 = 16_384;
/// Bounds memory: about 200 bytes a column.
const COLUMNS_MAX: usize = 500_000;
/// What the server may tell in answer: names, types, definitions of views.
const CATALOGUE_BYTES_MAX: usize = 64 << 20;
const VIEW_PASSES_MAX: usize = 16;

/// What is known of one column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CatalogueColumn {
    pub name: ColumnName,
    /// Why its values are sensitive; `None` where nothing says so.
    pub category: Option<Category>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Relation {
    schema: String,
    name: String,
    /// Columns whose values are sensitive.
    sensitive: BTreeSet<String>,
}

/// One database's relations as governor needs them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Catalogue {
    columns: HashMap<(u32, i16), CatalogueColumn>,
    relations: HashMap<u32, Relation>,
    by_name: HashMap<String, Vec<u32>>,
    functions: HashSet<String>,
    any_sensitive: bool,
    pub loaded: Timestamp,
}

/// The operator's word on columns, from the configuration; it comes before everything else.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Labels {
    /// First match counts.
    pub sensitive: Vec<(ColumnPattern, Category)>,
    /// Never sensitive, whatever their name.
    pub clear: Vec<ColumnPattern>,
}

/// `schema.relation.column`; each part a name, or a pattern with `*` for any run of characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ColumnPattern {
    pub schema: String,
    pub relation: String,
    pub column: String,
}

impl ColumnPattern {
    fn matches(&self, schema: &str, relation: &str, column: &str) -> bool {
        let parts = [(&self.schema, schema), (&self.relation, relation), (&self.column, column)];
        parts.iter().all(|(pattern, name)| wildcard(pattern, name))
    }
}

/// Whether `text` fits `pattern`, where `*` stands for any run of characters.
fn wildcard(pattern: &str, text: &str) -> bool {
    let mut pieces = pattern.split('*');
    let Some(mut rest) = pieces.next().and_then(|first| text.strip_prefix(first)) else { return false };
    let mut last = None;
    for piece in pieces {
        if let Some(between) = last.replace(piece) {
            match rest.split_once(between) {
                Some((_, after)) => rest = after,
                None => return false,
            }
        }
    }
    last.map_or(rest.is_empty(), |end| rest.ends_with(end))
}

impl Labels {
    fn category(&self, schema: &str, relation: &str, column: &str, type_oid: u32) -> Option<Category> {
        if self.clear.iter().any(|p| p.matches(schema, relation, column)) {
            return None;
        }
        let labelled = self.sensitive.iter().find(|(p, _)| p.matches(schema, relation, column));
        labelled.map(|(_, category)| *category).or_else(|| {
            if schema == "pg_catalog" {
                system_category(column)
            } else {
                classify_column(relation, column, type_oid)
            }
        })
    }
}

/// Columns that show values of other relations, other sessions' statements or secrets, in the system
/// relations that [`QUERY`] names.
fn system_category(column: &str) -> Option<Category> {
    const SHOWS_VALUES: [&str; 14] = [
        "most_common_vals",
        "histogram_bounds",
        "most_common_elems",
        "most_common_val_nulls",
        "stavalues1",
        "stavalues2",
        "stavalues3",
        "stavalues4",
        "stavalues5",
        "stxdmcv",
        "stxdexpr",
        "query",
        "data",
        "range_bounds_histogram",
    ];
    const SECRETS: [&str; 4] = ["rolpassword", "passwd", "umoptions", "subconninfo"];
    if SECRETS.contains(&column) {
        return Some(Category::Credential);
    }
    SHOWS_VALUES.contains(&column).then_some(Category::Other)
}

/// Collects the replies to [`QUERY`].
#[derive(Debug, Default)]
pub(super) struct CatalogueReader {
    /// Which of the three result sets the next row belongs to.
    result: usize,
    columns: Vec<(u32, i16, ColumnName, u32)>,
    views: Vec<(u32, String)>,
    functions: HashSet<String>,
    bytes: usize,
    failed: bool,
}

impl CatalogueReader {
    pub fn next_result(&mut self) {
        self.result += 1;
    }

    /// There will be no catalogue; what was read is given back.
    pub fn fail(&mut self) {
        *self = Self { failed: true, ..Self::default() };
    }

    pub fn row(&mut self, body: &[u8]) -> Result<(), ProtocolViolation> {
        self.bytes = self.bytes.saturating_add(body.len());
        if self.bytes > CATALOGUE_BYTES_MAX || self.columns.len() >= COLUMNS_MAX {
            self.fail();
        }
        if self.failed {
            return Ok(());
        }
        let row = backend::data_row(body)?;
        // In an encoding that is not UTF-8 names would come out wrong: better none than those.
        if row.iter().flatten().any(|value| std::str::from_utf8(value).is_err()) {
            self.fail();
            return Ok(());
        }
        let text = |i: usize| row.get(i).copied().flatten().map(|v| String::from_utf8_lossy(v).into_owned());
        let number = |i: usize| text(i).and_then(|t| t.parse::<u32>().ok());
        match self.result {
            0 => {
                if let (
                    Some(oid),
                    Some(schema),
                    Some(relation),
                    Some(attribute),
                    Some(column),
                    Some(type_oid),
                ) = (number(0), text(1), text(2), number(4), text(5), number(6))
                    && let Ok(attribute) = i16::try_from(attribute)
                {
                    self.columns.push((oid, attribute, ColumnName { schema, relation, column }, type_oid));
                }
            }
            1 => {
                if let (Some(oid), Some(definition)) = (number(0), text(1)) {
                    self.views.push((oid, definition));
                }
            }
            _ => self.functions.extend(text(0)),
        }
        Ok(())
    }

    /// `None` where the database would not answer.
    pub fn finish(self, labels: &Labels, dialect: &dyn SqlDialect, now: Timestamp) -> Option<Catalogue> {
        if self.failed || self.result < 3 {
            return None;
        }
        let mut catalogue = Catalogue { functions: self.functions, loaded: now, ..Catalogue::default() };
        let mut view_columns: HashMap<u32, Vec<i16>> = HashMap::new();
        let views: HashSet<u32> = self.views.iter().map(|(oid, _)| *oid).collect();
        for (oid, attribute, name, type_oid) in self.columns {
            let category = labels.category(&name.schema, &name.relation, &name.column, type_oid);
            let relation = catalogue.relations.entry(oid).or_insert_with(|| {
                catalogue.by_name.entry(name.relation.clone()).or_default().push(oid);
                Relation {
                    schema: name.schema.clone(),
                    name: name.relation.clone(),
                    sensitive: BTreeSet::new(),
                }
            });
            if category.is_some() {
                relation.sensitive.insert(name.column.clone());
            }
            if views.contains(&oid) {
                view_columns.entry(oid).or_default().push(attribute);
            }
            catalogue.columns.insert((oid, attribute), CatalogueColumn { name, category });
        }
        catalogue.follow_views(&self.views, view_columns, labels, dialect);
        catalogue.any_sensitive =
            catalogue.columns.values().any(|c| c.category.is_some() && c.name.schema != "pg_catalog");
        Some(catalogue)
    }
}

impl Catalogue {
    pub fn column(&self, table_oid: u32, attribute: i16) -> Option<&CatalogueColumn> {
        self.columns.get(&(table_oid, attribute))
    }

    /// Some user relation has sensitive columns.
    pub fn any_sensitive(&self) -> bool {
        self.any_sensitive
    }

    /// The oid belongs to the system; those that show values are in the catalogue.
    pub fn is_system(table_oid: u32) -> bool {
        table_oid < FIRST_USER_OID
    }

    /// Sensitive columns of everything that `name` may mean; `None` where nothing of that name is known.
    pub fn sensitive_columns(&self, name: &RelationName) -> Option<BTreeSet<&str>> {
        let mut found = None;
        for relation in
            self.by_name.get(&name.name).into_iter().flatten().filter_map(|oid| self.relations.get(oid))
        {
            if name.schema.as_ref().is_none_or(|schema| *schema == relation.schema) {
                found.get_or_insert_with(BTreeSet::new).extend(relation.sensitive.iter().map(String::as_str));
            }
        }
        found.or_else(|| is_system_name(name).then(BTreeSet::new))
    }

    /// Users made functions in this database.
    pub fn has_functions(&self) -> bool {
        !self.functions.is_empty()
    }

    /// A function that users made, which may read anything, or one that shows other sessions' statements.
    pub fn is_opaque_function(&self, function: &FunctionName) -> bool {
        if SHOWS_VALUES_FUNCTIONS.contains(&function.name.as_str()) {
            return true;
        }
        function.schema.as_deref() != Some("pg_catalog") && self.functions.contains(&function.name)
    }

    /// Whether data of sensitive columns may flow through `mentions` of `statement`. Doubt is yes.
    pub fn may_carry_sensitive(&self, statement: &Statement, mentions: &Mentions) -> bool {
        if statement.unknown.is_some() {
            return self.any_sensitive;
        }
        if self.any_sensitive && statement.functions.iter().any(|f| self.is_opaque_function(f)) {
            return true;
        }
        statement.reads.iter().chain(&statement.writes).any(|relation| {
            match self.sensitive_columns(relation) {
                None => true,
                Some(sensitive) if sensitive.is_empty() => false,
                Some(sensitive) => {
                    // `p.f` calls a function f on the whole row of p.
                    let draws = |column: &String| {
                        sensitive.contains(column.as_str()) || self.functions.contains(column)
                    };
                    mentions.every_column || mentions.columns.iter().any(draws)
                }
            }
        })
    }

    /// Whether the statement reads a relation that has, or may have, sensitive columns.
    pub fn reads_sensitive(&self, statement: &Statement) -> bool {
        let all = Mentions { columns: Vec::new(), every_column: true };
        self.may_carry_sensitive(statement, &all)
    }

    /// Marks columns of views that draw from sensitive columns, until nothing changes: views may read views.
    fn follow_views(
        &mut self,
        views: &[(u32, String)],
        view_columns: HashMap<u32, Vec<i16>>,
        labels: &Labels,
        dialect: &dyn SqlDialect,
    ) {
        let definitions: Vec<_> = views
            .iter()
            .filter_map(|(oid, text)| {
                let mut attributes = view_columns.get(oid)?.clone();
                attributes.sort_unstable();
                Some((*oid, attributes, dialect.script(text)))
            })
            .collect();
        for _ in 0..VIEW_PASSES_MAX {
            let mut changed = false;
            for (oid, attributes, script) in &definitions {
                let Some(statement) = script.statements.first() else { continue };
                let targets = statement.targets.as_ref().filter(|targets| targets.len() == attributes.len());
                for (index, attribute) in attributes.iter().enumerate() {
                    let target = targets.and_then(|targets| targets.get(index));
                    let carries = match target {
                        Some(t) if t.is_constant || t.is_count => false,
                        Some(t) => self.may_carry_sensitive(statement, &t.mentions),
                        None => self.may_carry_sensitive(statement, &statement.mentions),
                    };
                    changed |= carries && self.mark(*oid, *attribute, labels);
                }
            }
            if !changed {
                return;
            }
        }
        // Deeper than any honest chain of views: take all of their columns as sensitive.
        for (oid, attributes, _) in &definitions {
            for attribute in attributes {
                self.mark(*oid, *attribute, labels);
            }
        }
    }

    /// Takes a view's column as sensitive; true where that is news.
    fn mark(&mut self, oid: u32, attribute: i16, labels: &Labels) -> bool {
        let Some(column) = self.columns.get_mut(&(oid, attribute)) else { return false };
        let n = &column.name;
        if column.category.is_some()
            || labels.clear.iter().any(|p| p.matches(&n.schema, &n.relation, &n.column))
        {
            return false;
        }
        column.category = Some(Category::Other);
        let name = n.column.clone();
        if let Some(relation) = self.relations.get_mut(&oid) {
            relation.sensitive.insert(name);
        }
        true
    }
}

/// A relation of the system schemas that shows no values (those that do are in the catalogue).
fn is_system_name(name: &RelationName) -> bool {
    match name.schema.as_deref() {
        Some(schema) => schema == "pg_catalog" || schema == "information_schema",
        None => name.name.starts_with("pg_"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_fit_any_run() {
        for (pattern, text, fits) in [
            ("*", "", true),
            ("*", "abc", true),
            ("abc", "abc", true),
            ("abc", "abcd", false),
            ("a*c", "abbc", true),
            ("a*c", "ac", true),
            ("a*c", "acb", false),
            ("*_id", "user_id", true),
            ("a*b*c", "a-b-c", true),
            ("a*b*c", "a-c", false),
            ("aa*aa", "aaa", false),
        ] {
            assert_eq!(wildcard(pattern, text), fits, "{pattern} {text}");
        }
    }

    /// A server that never stops telling is no reason to keep more and more.
    #[test]
    fn a_reader_keeps_no_more_than_its_bound() {
        let mut reader = CatalogueReader::default();
        reader.next_result();
        let definition = "x".repeat(1 << 20);
        let mut body = 2u16.to_be_bytes().to_vec();
        for value in ["16384", definition.as_str()] {
            body.extend((value.len() as u32).to_be_bytes());
            body.extend(value.bytes());
        }
        for _ in 0..CATALOGUE_BYTES_MAX / definition.len() - 1 {
            reader.row(&body).unwrap();
        }
        assert!(!reader.failed && reader.views.len() == CATALOGUE_BYTES_MAX / definition.len() - 1);
        reader.row(&body).unwrap();
        reader.row(&body).unwrap();
        assert!(reader.failed && reader.views.is_empty());
    }
}
