//! The Cedar schema and the names it gives to governor's questions.

use super::error::Problem;
use crate::engine::model::{Class, StatementKind};
use cedar_policy::{Entity, EntityId, EntityTypeName, EntityUid, Schema};
use std::collections::HashMap;
use std::str::FromStr;
use std::sync::LazyLock;

/// The schema that every policy is validated against, as text with comments for people.
pub const SCHEMA_TEXT: &str = include_str!("schema.cedarschema");

/// What a request asks: the leaves of the action hierarchy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Ask {
    Connect,
    See,
    Run(StatementKind),
}

impl Ask {
    pub fn all() -> impl Iterator<Item = Ask> {
        [Ask::Connect, Ask::See].into_iter().chain(StatementKind::ALL.into_iter().map(Ask::Run))
    }

    /// Its place in [`Ask::all`].
    pub fn index(self) -> usize {
        match self {
            Self::Connect => 0,
            Self::See => 1,
            Self::Run(kind) => 2 + kind as usize,
        }
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::See => "see",
            Self::Run(kind) => kind.as_str(),
        }
    }
}

/// Names of the entity types, made once.
#[derive(Debug)]
pub(super) struct Types {
    pub process: EntityTypeName,
    pub class: EntityTypeName,
    pub user: EntityTypeName,
    pub group: EntityTypeName,
    pub unit: EntityTypeName,
    pub container: EntityTypeName,
    pub executable: EntityTypeName,
    pub executable_hash: EntityTypeName,
    pub environment: EntityTypeName,
    pub schema: EntityTypeName,
    pub server: EntityTypeName,
    pub database: EntityTypeName,
    pub relation: EntityTypeName,
    pub column: EntityTypeName,
}

/// `None` never happens: the names are constants. Callers deny rather than assume it.
pub(super) fn types() -> Option<&'static Types> {
    static TYPES: LazyLock<Option<Types>> = LazyLock::new(|| {
        let named = |name: &str| EntityTypeName::from_str(&format!("Governor::{name}")).ok();
        Some(Types {
            process: named("Process")?,
            class: named("Class")?,
            user: named("User")?,
            group: named("Group")?,
            unit: named("Unit")?,
            container: named("Container")?,
            executable: named("Executable")?,
            executable_hash: named("ExecutableHash")?,
            environment: named("Environment")?,
            schema: named("Schema")?,
            server: named("Server")?,
            database: named("Database")?,
            relation: named("Relation")?,
            column: named("Column")?,
        })
    });
    TYPES.as_ref()
}

pub(super) fn uid(kind: EntityTypeName, id: &str) -> EntityUid {
    EntityUid::from_type_name_and_id(kind, EntityId::new(id))
}

pub(super) fn class_uid(class: Class) -> Option<EntityUid> {
    Some(uid(types()?.class.clone(), class.as_str()))
}

/// Whether this is one of the classes of principals.
pub(super) fn is_class(entity: &EntityUid) -> bool {
    types().is_some_and(|types| *entity.type_name() == types.class)
}

/// The schema, read once, with the entity of every action (which knows its groups).
#[derive(Debug)]
pub(super) struct LoadedSchema {
    pub schema: Schema,
    /// By action id, with all groups above it.
    pub actions: HashMap<String, Entity>,
}

/// # Errors
/// Where the built-in schema is broken: a fault of this build, shown by its tests.
pub(super) fn loaded() -> Result<&'static LoadedSchema, Problem> {
    static LOADED: LazyLock<Result<LoadedSchema, String>> = LazyLock::new(|| {
        let (schema, _warnings) = Schema::from_cedarschema_str(SCHEMA_TEXT).map_err(|e| e.to_string())?;
        let entities = schema.action_entities().map_err(|e| e.to_string())?;
        let actions = entities
            .iter()
            .map(|entity| (entity.uid().id().unescaped().to_string(), entity.clone()))
            .collect();
        Ok(LoadedSchema { schema, actions })
    });
    LOADED.as_ref().map_err(|reason| Problem::of_file("builtin/schema.cedarschema", reason.clone()))
}
