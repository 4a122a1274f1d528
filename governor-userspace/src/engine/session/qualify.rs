//! Which schema a name without one means, for policies that look at schemas and labels.
//!
//! Invariant: a schema is filled in only where nothing else can be meant: the session's path is known, the catalogue is
//! trusted, and no temporary object can stand before it. What is left bare is in doubt, and policy is told what it
//! can mean.

use super::Catalogue;
use crate::engine::model::{RelationName, Resolved, SessionState, Statement};
use std::borrow::Cow;
use std::sync::Arc;

/// `statement` with the schemas that are certain, and the schemas that its other bare names can mean (`None`: any).
pub(super) fn qualified<'a>(
    statement: &'a Statement,
    state: &SessionState,
    catalogue: Option<&Catalogue>,
) -> (Cow<'a, Statement>, Option<Arc<[String]>>) {
    let is_bare = |relation: &RelationName| relation.schema.is_none();
    if !statement.reads.iter().chain(&statement.writes).any(is_bare) {
        return (Cow::Borrowed(statement), None);
    }
    let searched = state.search_path.searched(false);
    // Where there may be temporary objects that nobody saw, a name may mean one of those.
    let may_be_temporary =
        |name: &str| state.temporary.unseen.is_some() || state.temporary.get(name).is_some();
    let mut found = Cow::Borrowed(statement);
    if let Some(catalogue) = catalogue.filter(|_| searched.is_some()) {
        let fill = |relations: &[RelationName]| -> Vec<RelationName> {
            let mut filled: Vec<RelationName> = relations
                .iter()
                .map(|relation| match catalogue.data.resolve(relation, &state.search_path) {
                    Resolved::One(known) if is_bare(relation) && !may_be_temporary(&relation.name) => {
                        RelationName { schema: Some(known.schema.to_string()), name: relation.name.clone() }
                    }
                    _ => relation.clone(),
                })
                .collect();
            filled.sort_unstable();
            filled.dedup();
            filled
        };
        let (reads, writes) = (fill(&statement.reads), fill(&statement.writes));
        let into = found.to_mut();
        (into.reads, into.writes) = (reads, writes);
    }
    let possible = searched.map(|schemas| {
        let seen = state.temporary.unseen.is_none() && state.temporary.is_empty();
        let named = schemas.into_iter().filter(|schema| !(seen && *schema == "pg_temp"));
        named.map(str::to_owned).collect()
    });
    (found, possible)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::model::{CatalogueBuilder as Builder, Relation, RelationKind};
    use crate::engine::model::{SearchPath, Timestamp};
    use crate::engine::sql::{PostgresDialect, SqlDialect};

    fn catalogue(relations: &[(&str, &str)]) -> Catalogue {
        let mut builder = Builder::default();
        for (n, (schema, name)) in relations.iter().enumerate() {
            let relation = Relation {
                oid: 20_000 + n as u32,
                schema: (*schema).into(),
                name: (*name).into(),
                kind: RelationKind::Table,
                columns: Box::new([]),
                parents: Box::new([]),
                definition: None,
                rows_estimate: None,
            };
            builder.relation(relation, 0);
        }
        let dialect = PostgresDialect::default();
        Catalogue::new(builder.finish(), &super::super::Labels::default(), &dialect, Timestamp::default())
    }

    fn state(path: Option<&[&str]>, temporary_unseen: bool) -> SessionState {
        let mut state = SessionState::unknown("test");
        if let Some(path) = path {
            state.search_path = SearchPath::Known(path.iter().map(|&name| name.to_owned()).collect());
        }
        state.temporary.unseen = temporary_unseen.then(|| "test".into());
        state
    }

    fn told(
        text: &str,
        state: &SessionState,
        catalogue: Option<&Catalogue>,
    ) -> (Vec<String>, Option<Vec<String>>) {
        let statement = PostgresDialect::default().script(text).statements.remove(0);
        let (found, possible) = qualified(&statement, state, catalogue);
        (found.reads.iter().map(ToString::to_string).collect(), possible.map(|list| list.to_vec()))
    }

    fn some(list: &[&str]) -> Option<Vec<String>> {
        Some(list.iter().map(|&name| name.to_owned()).collect())
    }

    #[test]
    fn a_name_gets_the_schema_that_is_searched_first() {
        let catalogue = catalogue(&[("public", "t"), ("app", "t"), ("public", "u")]);
        let path = state(Some(&["app", "public"]), false);
        let (reads, possible) = told("SELECT * FROM t, u, v, other.w", &path, Some(&catalogue));
        assert_eq!(reads, ["v", "app.t", "other.w", "public.u"]);
        assert_eq!(possible, some(&["pg_catalog", "app", "public"]));
    }

    #[test]
    fn in_doubt_it_stays_bare() {
        let catalogue = catalogue(&[("public", "t")]);
        let text = "SELECT * FROM t";
        // No catalogue, no path, and temporary objects that nobody saw.
        let known = state(Some(&["public"]), false);
        assert_eq!(told(text, &known, None), (vec!["t".into()], some(&["pg_catalog", "public"])));
        assert_eq!(told(text, &state(None, false), Some(&catalogue)), (vec!["t".into()], None));
        let unseen = state(Some(&["public"]), true);
        assert_eq!(
            told(text, &unseen, Some(&catalogue)),
            (vec!["t".into()], some(&["pg_temp", "pg_catalog", "public"]))
        );
        let mut made = known.clone();
        made.temporary.doubt("t", "test");
        assert_eq!(told(text, &made, Some(&catalogue)).0, ["t"]);
        assert_eq!(told(text, &known, Some(&catalogue)).0, ["public.t"]);
    }
}
