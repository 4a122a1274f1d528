//! What the operator's labels, and names, say of a column.

use crate::engine::masking::{Category, JsonPath, classify_column, could_carry};
use crate::engine::model::{ColumnName, MaskStyle, Relation, wildcard};
use crate::engine::policy::{Concerns, Labelling};
use std::sync::Arc;

/// The operator's word on columns, from the configuration; it comes before everything else.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Labels {
    /// First match counts.
    pub sensitive: Vec<(ColumnPattern, Category)>,
    /// Never sensitive, whatever their name.
    pub clear: Vec<ColumnPattern>,
    /// How columns are masked, by the configuration. First match counts.
    pub styles: Vec<(ColumnPattern, MaskStyle)>,
    /// Columns that label files name: sensitive, as what their name tells where the file does not say.
    pub labelled: Vec<(ColumnPattern, Option<Category>)>,
    /// Places in documents: shown as it is, such a column loses these; in an expression, everything.
    pub places: Vec<(ColumnPattern, LabelledPlace)>,
    /// Columns that rules about seeing may hide, whatever they hold: policy is asked about them.
    pub asked: Asked,
    /// A column that could carry text, and of which nothing is known, is sensitive.
    pub hide_unknown: bool,
}

/// What policy has to be asked about although nothing calls it sensitive.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asked(pub Option<Arc<(Concerns, Labelling)>>);

impl Asked {
    pub(super) fn any(&self) -> bool {
        self.0.as_ref().is_some_and(|asked| asked.0.any())
    }

    pub(super) fn tells_apart(&self) -> bool {
        self.0.as_ref().is_some_and(|asked| asked.0.tell_apart())
    }

    /// A rule that tells columns apart may hide this one.
    pub(super) fn names(&self, name: &ColumnName) -> bool {
        self.0.as_ref().is_some_and(|asked| asked.0.names(name, &asked.1.of_column(name)))
    }
}

/// A place in the documents of a column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LabelledPlace {
    pub path: JsonPath,
    pub category: Category,
    /// How it is masked, where policy asks for nothing stricter.
    pub style: MaskStyle,
}

/// `schema.relation.column`; each part a name, or a pattern with `*` for any run of characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ColumnPattern {
    pub schema: String,
    pub relation: String,
    pub column: String,
}

impl ColumnPattern {
    pub(super) fn matches(&self, schema: &str, relation: &str, column: &str) -> bool {
        let parts = [(&self.schema, schema), (&self.relation, relation), (&self.column, column)];
        parts.iter().all(|(pattern, name)| wildcard(pattern, name))
    }
}

impl ColumnPattern {
    /// The same of a name that may lack its schema: then any is meant.
    pub fn may_match(&self, name: &ColumnName) -> bool {
        let schema = if name.schema.is_empty() { &self.schema } else { &name.schema };
        self.matches(schema, &name.relation, &name.column)
    }
}

impl Labels {
    /// How the operator wants this column masked, where policy masks it.
    pub(super) fn style_of(&self, schema: &str, relation: &str, column: &str) -> Option<MaskStyle> {
        self.styles.iter().find(|(p, _)| p.matches(schema, relation, column)).map(|(_, style)| *style)
    }

    /// The operator's files say what this column is, whatever else may be said of it.
    pub(in super::super) fn decide(&self, schema: &str, relation: &str, column: &str) -> bool {
        let sensitive = self.sensitive.iter().map(|(pattern, _)| pattern);
        let labelled = self.labelled.iter().map(|(pattern, _)| pattern);
        let places = self.places.iter().map(|(pattern, _)| pattern);
        let all = self.clear.iter().chain(sensitive).chain(labelled).chain(places);
        all.into_iter().any(|p| p.matches(schema, relation, column))
    }

    /// The places that are masked in documents of a column: none, or those that its labels name.
    pub(super) fn places(&self, relation: &Relation, column: &str) -> Vec<LabelledPlace> {
        if self.is_clear(relation, column) {
            return Vec::new();
        }
        let fits = |p: &ColumnPattern| p.matches(&relation.schema, &relation.name, column);
        self.places.iter().filter(|(p, _)| fits(p)).map(|(_, place)| place.clone()).collect()
    }

    /// The operator says that it is never sensitive.
    pub(super) fn is_clear(&self, relation: &Relation, column: &str) -> bool {
        self.clear.iter().any(|p| p.matches(&relation.schema, &relation.name, column))
    }

    pub(super) fn category(
        &self,
        schema: &str,
        relation: &str,
        column: &str,
        type_oid: u32,
    ) -> Option<Category> {
        if self.clear.iter().any(|p| p.matches(schema, relation, column)) {
            return None;
        }
        let labelled = self.sensitive.iter().find(|(p, _)| p.matches(schema, relation, column));
        let named = self.labelled.iter().find(|(p, _)| p.matches(schema, relation, column));
        let by_name = || match schema {
            "pg_catalog" | "information_schema" => system_category(relation, column),
            _ => classify_column(relation, column, type_oid),
        };
        let by_label = labelled.map(|(_, category)| *category).or(named.and_then(|(_, category)| *category));
        let unknown = || {
            let is_hidden = self.hide_unknown && !is_system_schema(schema) && could_carry(type_oid);
            // Its places are known.
            let has_places = self.places.iter().any(|(p, _)| p.matches(schema, relation, column));
            (is_hidden && !has_places).then_some(Category::Other)
        };
        by_label.or_else(by_name).or(named.map(|_| Category::Other)).or_else(unknown)
    }
}

fn is_system_schema(schema: &str) -> bool {
    matches!(schema, "pg_catalog" | "information_schema" | "pg_toast")
}

/// Columns of the server's own that show values of other relations, other sessions' statements or secrets.
fn system_category(relation: &str, column: &str) -> Option<Category> {
    const RELATIONS: [&str; 18] = [
        "_pg_user_mappings",
        "pg_attribute",
        "pg_file_settings",
        "pg_hba_file_rules",
        "pg_stats",
        "pg_stats_ext",
        "pg_stats_ext_exprs",
        "pg_statistic",
        "pg_statistic_ext_data",
        "pg_authid",
        "pg_shadow",
        "pg_subscription",
        "pg_stat_activity",
        "pg_largeobject",
        "pg_trigger",
        "pg_user_mapping",
        "pg_user_mappings",
        "user_mapping_options",
    ];
    if !RELATIONS.contains(&relation) {
        return None;
    }
    const SHOWS_VALUES: [&str; 17] = [
        // Arguments of triggers, as bytes.
        "tgargs",
        // What rows have that are older than their column.
        "attmissingval",
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
        "range_length_histogram",
    ];
    const SECRETS: [&str; 4] = ["rolpassword", "passwd", "umoptions", "subconninfo"];
    // Of the server's files, and of users on other servers.
    const OPTIONS: [(&str, &str); 3] = [
        ("pg_file_settings", "setting"),
        ("pg_hba_file_rules", "options"),
        ("user_mapping_options", "option_value"),
    ];
    if OPTIONS.contains(&(relation, column)) {
        return Some(Category::Credential);
    }
    if SECRETS.contains(&column) {
        return Some(Category::Credential);
    }
    SHOWS_VALUES.contains(&column).then_some(Category::Other)
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
}
