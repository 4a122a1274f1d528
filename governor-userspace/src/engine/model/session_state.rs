//! What a session has set and made for itself, as far as it changes what a statement means.
//!
//! Followed from the statements that pass and confirmed by asking the server on the client's own connection. What
//! was not confirmed and cannot be followed is unknown, with the reason.

use super::{SearchPath, Statement};
use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

/// One session's own state when a statement is read. Cheap to clone: portals keep the one they were bound under.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionState {
    /// Changed by [`Self::set_search_path`] only.
    pub search_path: SearchPath,
    /// From `search_path`, see [`Self::bare_schemas`].
    bare: Option<Bare>,
    /// The role whose rights count (`current_user`), after SET ROLE.
    pub role: Setting,
    /// The role that the session runs for (`session_user`), after SET SESSION AUTHORIZATION.
    pub session_user: Setting,
    /// `on` or `off`: whether row-level security applies.
    pub row_security: Setting,
    pub temporary: TempObjects,
}

impl SessionState {
    /// The state of a session that is not followed: nobody asks what its names mean.
    pub fn not_followed() -> Arc<Self> {
        static STATE: LazyLock<Arc<SessionState>> =
            LazyLock::new(|| Arc::new(SessionState::unknown("the session is not followed")));
        STATE.clone()
    }

    pub fn set_search_path(&mut self, path: SearchPath) {
        let all = |path: &SearchPath| -> Option<Arc<[String]>> {
            Some(path.searched(false)?.into_iter().map(str::to_owned).collect())
        };
        self.bare = match &path {
            SearchPath::Unknown(_) => None,
            SearchPath::Known(named) => all(&path).map(|all| {
                let without_system = all.iter().filter(|s| *s != SYSTEM || named.contains(s)).cloned();
                Bare { named: named.as_slice().into(), with_temporary: without_system.collect(), all }
            }),
        };
        self.search_path = path;
    }

    /// Every schema that the relations can be in that `statement` names without one; `None`: any.
    ///
    /// The system schema counts only for names that are in it (they begin with `pg_`), the temporary one only while
    /// there may be temporary relations.
    pub fn bare_schemas(&self, statement: &Statement) -> Option<Arc<[String]>> {
        let bare = self.bare.as_ref()?;
        let mut names = statement.reads.iter().chain(&statement.writes).filter(|r| r.schema.is_none());
        Some(if names.any(|relation| relation.name.starts_with("pg_")) {
            bare.all.clone()
        } else if self.temporary.is_empty() && self.temporary.unseen.is_none() {
            bare.named.clone()
        } else {
            bare.with_temporary.clone()
        })
    }

    pub fn unknown(why: &str) -> Self {
        Self {
            search_path: SearchPath::Unknown(why.into()),
            bare: None,
            role: Setting::Unknown(why.into()),
            session_user: Setting::Unknown(why.into()),
            row_security: Setting::Unknown(why.into()),
            temporary: TempObjects { objects: Arc::default(), unseen: Some(why.into()) },
        }
    }
}

/// Schemas that are searched, by what a name may be.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Bare {
    /// A relation that users made.
    named: Arc<[String]>,
    /// That, or a temporary one.
    with_temporary: Arc<[String]>,
    /// Or one of the system's.
    all: Arc<[String]>,
}

/// The value of one setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Setting {
    Known(String),
    /// Why it cannot be told.
    Unknown(String),
}

impl Setting {
    pub fn known(&self) -> Option<&str> {
        match self {
            Self::Known(value) => Some(value),
            Self::Unknown(_) => None,
        }
    }
}

/// Tables and views that live in the session's own `pg_temp`, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TempObjects {
    objects: Arc<BTreeMap<String, TempObject>>,
    /// Why there may be temporary objects that are not in the list; `None` where it is complete. While it is set, a
    /// name without a schema may mean one of those.
    pub unseen: Option<String>,
}

/// A temporary table or view.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TempObject {
    pub rows: TempRows,
    /// Made, dropped or changed since the transaction began: its end may undo that.
    pub in_transaction: bool,
}

/// Where the rows of a temporary object come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TempRows {
    /// From these statements and no others: first the one that made it, then those that wrote to it. Values that a
    /// client sends itself (INSERT … VALUES, COPY FROM STDIN) are not among them.
    Statements(Vec<TempSource>),
    /// Why it cannot be told: anything may be in it.
    Unknown(String),
}

/// One statement behind a temporary object, with the path that its names were read under.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TempSource {
    pub text: Arc<str>,
    pub search_path: SearchPath,
}

impl TempObjects {
    /// The temporary object of this name, if one is known.
    pub fn get(&self, name: &str) -> Option<&TempObject> {
        self.objects.get(name)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &TempObject)> {
        self.objects.iter().map(|(name, object)| (name.as_str(), object))
    }

    pub fn is_empty(&self) -> bool {
        self.objects.is_empty()
    }

    /// A statement makes `name`. What had that name before may still be there, so both count.
    pub fn make(&mut self, name: &str, source: TempSource) {
        if self.objects.contains_key(name) {
            return self.doubt(name, "it was made twice");
        }
        if self.objects.len() >= OBJECTS_COUNT_MAX {
            self.unseen = Some("more temporary objects than are followed".into());
            return;
        }
        let object = TempObject { rows: TempRows::Statements(vec![source]), in_transaction: true };
        Arc::make_mut(&mut self.objects).insert(name.into(), object);
    }

    /// A statement writes rows to `name`.
    pub fn feed(&mut self, name: &str, source: TempSource) {
        let Some(object) = Arc::make_mut(&mut self.objects).get_mut(name) else { return };
        object.in_transaction = true;
        if let TempRows::Statements(sources) = &mut object.rows {
            if sources.contains(&source) {
                return;
            }
            sources.push(source);
            let bytes: usize = sources.iter().map(|source| source.text.len()).sum();
            if sources.len() > SOURCES_COUNT_MAX || bytes > SOURCES_BYTES_MAX {
                object.rows = TempRows::Unknown("more statements wrote to it than are followed".into());
            }
        }
    }

    /// Something that is not followed happened to `name`, or may have: from now on it is there and may hold anything.
    pub fn doubt(&mut self, name: &str, why: &str) {
        if self.objects.len() >= OBJECTS_COUNT_MAX && !self.objects.contains_key(name) {
            self.unseen = Some("more temporary objects than are followed".into());
            return;
        }
        let object = TempObject { rows: TempRows::Unknown(why.into()), in_transaction: true };
        Arc::make_mut(&mut self.objects).insert(name.into(), object);
    }

    /// As [`Self::doubt`], for every one.
    pub fn doubt_all(&mut self, why: &str) {
        if self.objects.is_empty() {
            return;
        }
        for object in Arc::make_mut(&mut self.objects).values_mut() {
            *object = TempObject { rows: TempRows::Unknown(why.into()), in_transaction: true };
        }
    }

    /// A transaction was rolled back, all of it or a part: what happened in it to temporary objects is in doubt.
    pub fn roll_back(&mut self, why: &str) {
        if !self.objects.values().any(|object| object.in_transaction) {
            return;
        }
        for object in Arc::make_mut(&mut self.objects).values_mut().filter(|object| object.in_transaction) {
            object.rows = TempRows::Unknown(why.into());
        }
        self.unseen = Some(why.into());
    }

    /// No transaction is open any more.
    pub fn settle(&mut self) {
        if self.objects.values().any(|object| object.in_transaction) {
            Arc::make_mut(&mut self.objects).values_mut().for_each(|object| object.in_transaction = false);
        }
    }

    /// All are gone (DISCARD).
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// The server told the names of all that there are.
    pub fn confirm(&mut self, names: &[String]) {
        self.unseen = None;
        if names.is_empty() && self.objects.is_empty() {
            return;
        }
        Arc::make_mut(&mut self.objects).retain(|name, _| names.contains(name));
        for name in names {
            if !self.objects.contains_key(name) {
                self.doubt(name, "it was made unseen");
            }
        }
    }
}

/// All of its relations have names that begin with `pg_`.
const SYSTEM: &str = "pg_catalog";
/// Temporary objects of one session that are followed.
const OBJECTS_COUNT_MAX: usize = 256;
/// Statements that are kept for each of them.
const SOURCES_COUNT_MAX: usize = 16;
const SOURCES_BYTES_MAX: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> TempSource {
        TempSource { text: text.into(), search_path: SearchPath::Known(vec!["public".into()]) }
    }

    fn made(name: &str) -> TempObjects {
        let mut objects = TempObjects::default();
        objects.make(name, source("create temp table t as select 1"));
        objects
    }

    #[test]
    fn a_bare_name_is_looked_for_where_it_can_be() {
        let mut state = SessionState::unknown("");
        let reads = |name: &str| Statement {
            reads: vec![crate::engine::model::RelationName { schema: None, name: name.into() }],
            ..Statement::setting("x", "y")
        };
        assert_eq!(state.bare_schemas(&reads("t")), None);
        state.set_search_path(SearchPath::Known(vec!["app".into()]));
        let schemas = |state: &SessionState, name| state.bare_schemas(&reads(name)).unwrap().to_vec();
        assert_eq!(schemas(&state, "t"), ["pg_temp", "app"], "there may be temporary ones");
        state.temporary = TempObjects::default();
        assert_eq!(schemas(&state, "t"), ["app"]);
        assert_eq!(schemas(&state, "pg_class"), ["pg_temp", "pg_catalog", "app"]);
        state.temporary = made("u");
        assert_eq!(schemas(&state, "t"), ["pg_temp", "app"]);
    }

    #[test]
    fn a_temporary_table_is_known_by_every_statement_behind_it() {
        let mut objects = made("t");
        objects.feed("t", source("insert into t select email from people"));
        objects.feed("t", source("insert into t select email from people"));
        let TempRows::Statements(sources) = &objects.get("t").unwrap().rows else { panic!() };
        assert_eq!(sources.len(), 2, "the same statement counts once");
        objects.feed("other", source("insert into other select 1"));
        assert!(objects.get("other").is_none());
    }

    #[test]
    fn what_a_rollback_may_have_undone_is_in_doubt() {
        let mut objects = made("t");
        objects.settle();
        objects.make("u", source("create temp table u as select 2"));
        objects.roll_back("rolled back");
        assert!(matches!(objects.get("t").unwrap().rows, TempRows::Statements(_)), "made before it");
        assert!(matches!(objects.get("u").unwrap().rows, TempRows::Unknown(_)));
        assert!(objects.unseen.is_some());
        objects.confirm(&["t".into()]);
        assert!(objects.get("u").is_none() && objects.unseen.is_none());
    }

    #[test]
    fn a_name_that_the_server_tells_and_nobody_saw_made_may_hold_anything() {
        let mut objects = TempObjects::default();
        objects.confirm(&["hidden".into()]);
        assert!(matches!(objects.get("hidden").unwrap().rows, TempRows::Unknown(_)));
    }

    #[test]
    fn memory_is_bounded() {
        let mut objects = TempObjects::default();
        for number in 0..1_000 {
            objects.make(&format!("t{number}"), source("create temp table"));
        }
        assert_eq!((objects.iter().count(), objects.unseen.is_some()), (OBJECTS_COUNT_MAX, true));
        for number in 0..100 {
            objects.feed("t0", source(&format!("insert {number}")));
        }
        assert!(matches!(objects.get("t0").unwrap().rows, TempRows::Unknown(_)));
    }
}
