//! Which columns of a result show definitions of the database's objects: what the catalogue's own relations hold, and
//! what the server's functions write out of it.

use super::{Catalogue, is_system_name};
use crate::engine::masking::Definitions;
use crate::engine::model::{
    self, FunctionName, Oid, RelationName, SearchPath, Statement, StatementKind as K,
};
use std::collections::HashSet;

impl Catalogue {
    /// What a result column shows of definitions. 0 for `table_oid`: the server names no origin.
    pub fn definitions_in(
        &self,
        table_oid: Oid,
        attribute: i16,
        statement: Option<&Statement>,
    ) -> Definitions {
        if table_oid != 0 && attribute > 0 {
            return match table_oid {
                PG_ENUM | PG_AGGREGATE => Definitions::Labels,
                _ if Self::is_system(table_oid) || self.views.show_definitions(table_oid) => {
                    Definitions::Code
                }
                _ => Definitions::No,
            };
        }
        let Some(statement) = statement else { return Definitions::Code };
        // The text of what was declared or prepared is not at hand.
        if matches!(statement.kind, K::Cursor | K::Execute | K::Call | K::Do | K::Unknown) {
            return Definitions::Code;
        }
        let of_functions = statement.calls().map(of_function);
        let of_relations = statement.reads.iter().map(|name| self.of_relation(name));
        strongest(of_functions.chain(of_relations))
    }

    fn of_relation(&self, name: &RelationName) -> Definitions {
        if is_system_name(name) {
            let labels = matches!(name.name.as_str(), "pg_enum" | "pg_aggregate");
            return if labels { Definitions::Labels } else { Definitions::Code };
        }
        let anywhere = SearchPath::Unknown(String::new());
        let found = self.data.resolve(name, &anywhere);
        let shows = found.candidates().iter().any(|view| self.views.show_definitions(view.oid));
        if shows { Definitions::Code } else { Definitions::No }
    }
}

/// Views of users that show definitions, as far as their texts tell; and views of such views.
pub(super) fn views_of_definitions(data: &model::Catalogue) -> HashSet<Oid> {
    let mut found = HashSet::new();
    let mut names: Vec<&str> = SIGNS.to_vec();
    let mut is_news = true;
    while is_news && names.len() <= NAMES_MAX {
        is_news = false;
        for view in data.relations() {
            let Some(text) = &view.definition else { continue };
            let shows =
                || names.iter().any(|name| memchr::memmem::find(text.as_bytes(), name.as_bytes()).is_some());
            if !found.contains(&view.oid) && shows() {
                found.insert(view.oid);
                names.push(&view.name);
                is_news = true;
            }
        }
    }
    if names.len() > NAMES_MAX {
        found.extend(data.relations().filter(|view| view.definition.is_some()).map(|view| view.oid));
    }
    found
}

fn of_function(function: &FunctionName) -> Definitions {
    match function.name.as_str() {
        "enum_range" | "enum_first" | "enum_last" => Definitions::Labels,
        name if name.starts_with("pg_get_") || name.ends_with("_description") => Definitions::Code,
        _ => Definitions::No,
    }
}

fn strongest(all: impl Iterator<Item = Definitions>) -> Definitions {
    all.fold(Definitions::No, |strongest, one| match (strongest, one) {
        (Definitions::Labels, _) | (_, Definitions::Labels) => Definitions::Labels,
        (Definitions::Code, _) | (_, Definitions::Code) => Definitions::Code,
        _ => Definitions::No,
    })
}

/// `pg_catalog.pg_enum`, on every server.
const PG_ENUM: Oid = 3501;
/// `pg_catalog.pg_aggregate`: what aggregates begin with has no quotes either.
const PG_AGGREGATE: Oid = 2600;
/// In the text of a view that reads the catalogue.
const SIGNS: [&str; 4] = ["pg_", "information_schema", "enum_", "_description"];
/// With more views of this kind, every view counts as one.
const NAMES_MAX: usize = 64;
