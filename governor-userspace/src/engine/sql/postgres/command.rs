//! What a command is: its kind and its tag in the server's words.
//!
//! Source of the tags: `CreateCommandTag` in PostgreSQL's `tcop/utility.c`.

use super::children::{foreign_table, untyped};
use super::objects::object_words;
use crate::engine::model::StatementKind as Kind;
use pg_raw_parse::nodes::{ExplainStmt, MergeStmt};
use pg_raw_parse::{ConstValue, Node, raw};
use std::borrow::Cow;

/// A node that is a command of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Command {
    pub kind: Kind,
    pub tag: Cow<'static, str>,
}

/// What the branches of a MERGE do, whichever of them a row comes to.
pub(super) fn merge_kinds(merge: &MergeStmt) -> impl Iterator<Item = Kind> {
    untyped(merge.merge_when_clauses()).iter().filter_map(|when| {
        let Node::MergeWhenClause(when) = when else { return None };
        match when.command_type {
            raw::CmdType::CMD_INSERT => Some(Kind::Insert),
            raw::CmdType::CMD_UPDATE => Some(Kind::Update),
            raw::CmdType::CMD_DELETE => Some(Kind::Delete),
            _ => None,
        }
    })
}

/// `None` where `node` is no command (an expression, a clause) or one that governor does not know.
pub(super) fn command(node: Node<'_>) -> Option<Command> {
    let fixed = |kind, tag| Some(Command { kind, tag: Cow::Borrowed(tag) });
    let worded = |kind, verb: &str, object| {
        Some(Command { kind, tag: Cow::Owned(format!("{verb} {}", object_words(object))) })
    };
    match node {
        Node::SelectStmt(select) if select.into_clause().is_some() => fixed(Kind::Ddl, "SELECT INTO"),
        Node::SelectStmt(_) => fixed(Kind::Select, "SELECT"),
        Node::InsertStmt(_) => fixed(Kind::Insert, "INSERT"),
        Node::UpdateStmt(_) => fixed(Kind::Update, "UPDATE"),
        Node::DeleteStmt(_) => fixed(Kind::Delete, "DELETE"),
        Node::MergeStmt(_) => fixed(Kind::Merge, "MERGE"),
        Node::TruncateStmt(_) => fixed(Kind::Truncate, "TRUNCATE TABLE"),
        Node::CopyStmt(copy) if copy.is_program || copy.filename().is_some() => {
            fixed(Kind::Administration, "COPY")
        }
        Node::CopyStmt(copy) => fixed(if copy.is_from { Kind::CopyIn } else { Kind::CopyOut }, "COPY"),
        Node::ExplainStmt(_) => fixed(Kind::Explain, "EXPLAIN"),
        Node::VariableShowStmt(_) => fixed(Kind::Show, "SHOW"),

        Node::DeclareCursorStmt(_) => fixed(Kind::Cursor, "DECLARE CURSOR"),
        Node::FetchStmt(fetch) => fixed(Kind::Cursor, if fetch.ismove { "MOVE" } else { "FETCH" }),
        Node::ClosePortalStmt(close) => fixed(
            Kind::Cursor,
            if close.portalname().is_some() { "CLOSE CURSOR" } else { "CLOSE CURSOR ALL" },
        ),
        Node::PrepareStmt(_) => fixed(Kind::Prepare, "PREPARE"),
        Node::ExecuteStmt(_) => fixed(Kind::Execute, "EXECUTE"),
        Node::DeallocateStmt(free) => {
            fixed(Kind::Deallocate, if free.isall { "DEALLOCATE ALL" } else { "DEALLOCATE" })
        }
        Node::CallStmt(_) => fixed(Kind::Call, "CALL"),
        Node::DoStmt(_) => fixed(Kind::Do, "DO"),

        Node::TransactionStmt(transaction) => fixed(Kind::Transaction, transaction_tag(transaction.kind)),
        Node::VariableSetStmt(set) => fixed(
            Kind::Session,
            match set.kind {
                raw::VariableSetKind::VAR_RESET | raw::VariableSetKind::VAR_RESET_ALL => "RESET",
                _ => "SET",
            },
        ),
        Node::ConstraintsSetStmt(_) => fixed(Kind::Session, "SET CONSTRAINTS"),
        Node::DiscardStmt(discard) => fixed(
            Kind::Session,
            match discard.target {
                raw::DiscardMode::DISCARD_PLANS => "DISCARD PLANS",
                raw::DiscardMode::DISCARD_SEQUENCES => "DISCARD SEQUENCES",
                raw::DiscardMode::DISCARD_TEMP => "DISCARD TEMP",
                _ => "DISCARD ALL",
            },
        ),
        Node::NotifyStmt(_) => fixed(Kind::Notify, "NOTIFY"),
        Node::ListenStmt(_) => fixed(Kind::Notify, "LISTEN"),
        Node::UnlistenStmt(_) => fixed(Kind::Notify, "UNLISTEN"),
        Node::LockStmt(_) => fixed(Kind::Lock, "LOCK TABLE"),

        Node::VacuumStmt(vacuum) => {
            fixed(Kind::Maintenance, if vacuum.is_vacuumcmd { "VACUUM" } else { "ANALYZE" })
        }
        Node::ClusterStmt(_) => fixed(Kind::Maintenance, "CLUSTER"),
        Node::ReindexStmt(_) => fixed(Kind::Maintenance, "REINDEX"),
        Node::CheckPointStmt(_) => fixed(Kind::Maintenance, "CHECKPOINT"),
        Node::RefreshMatViewStmt(_) => fixed(Kind::Maintenance, "REFRESH MATERIALIZED VIEW"),

        // Commands that reach outside the database or change the server itself.
        Node::LoadStmt(_) => fixed(Kind::Administration, "LOAD"),
        Node::AlterSystemStmt(_) => fixed(Kind::Administration, "ALTER SYSTEM"),
        Node::CreateExtensionStmt(_) => fixed(Kind::Administration, "CREATE EXTENSION"),
        Node::AlterExtensionStmt(_) | Node::AlterExtensionContentsStmt(_) => {
            fixed(Kind::Administration, "ALTER EXTENSION")
        }
        Node::CreateFdwStmt(_) => fixed(Kind::Administration, "CREATE FOREIGN DATA WRAPPER"),
        Node::AlterFdwStmt(_) => fixed(Kind::Administration, "ALTER FOREIGN DATA WRAPPER"),
        Node::CreateForeignServerStmt(_) => fixed(Kind::Administration, "CREATE SERVER"),
        Node::AlterForeignServerStmt(_) => fixed(Kind::Administration, "ALTER SERVER"),
        Node::CreateUserMappingStmt(_) => fixed(Kind::Administration, "CREATE USER MAPPING"),
        Node::AlterUserMappingStmt(_) => fixed(Kind::Administration, "ALTER USER MAPPING"),
        Node::ImportForeignSchemaStmt(_) => fixed(Kind::Administration, "IMPORT FOREIGN SCHEMA"),
        Node::CreateSubscriptionStmt(_) => fixed(Kind::Administration, "CREATE SUBSCRIPTION"),
        Node::AlterSubscriptionStmt(_) => fixed(Kind::Administration, "ALTER SUBSCRIPTION"),
        Node::CreateTableSpaceStmt(_) => fixed(Kind::Administration, "CREATE TABLESPACE"),
        Node::CreatePLangStmt(_) => fixed(Kind::Administration, "CREATE LANGUAGE"),

        Node::GrantStmt(grant) => fixed(Kind::Dcl, if grant.is_grant { "GRANT" } else { "REVOKE" }),
        Node::GrantRoleStmt(grant) => {
            fixed(Kind::Dcl, if grant.is_grant { "GRANT ROLE" } else { "REVOKE ROLE" })
        }
        Node::AlterDefaultPrivilegesStmt(_) => fixed(Kind::Dcl, "ALTER DEFAULT PRIVILEGES"),
        Node::CreateRoleStmt(_) => fixed(Kind::Dcl, "CREATE ROLE"),
        Node::AlterRoleStmt(_) | Node::AlterRoleSetStmt(_) => fixed(Kind::Dcl, "ALTER ROLE"),
        Node::DropRoleStmt(_) => fixed(Kind::Dcl, "DROP ROLE"),
        Node::ReassignOwnedStmt(_) => fixed(Kind::Dcl, "REASSIGN OWNED"),
        Node::AlterOwnerStmt(alter) => worded(Kind::Dcl, "ALTER", alter.object_type),

        Node::DropStmt(drop) => worded(Kind::Drop, "DROP", drop.remove_type),
        Node::DropdbStmt(_) => fixed(Kind::Drop, "DROP DATABASE"),
        Node::DropTableSpaceStmt(_) => fixed(Kind::Drop, "DROP TABLESPACE"),
        Node::DropUserMappingStmt(_) => fixed(Kind::Drop, "DROP USER MAPPING"),
        Node::DropSubscriptionStmt(_) => fixed(Kind::Drop, "DROP SUBSCRIPTION"),
        Node::DropOwnedStmt(_) => fixed(Kind::Drop, "DROP OWNED"),

        Node::CreateStmt(_) => fixed(Kind::Ddl, "CREATE TABLE"),
        Node::Invalid(_) if foreign_table(node).is_some() => fixed(Kind::Ddl, "CREATE FOREIGN TABLE"),
        Node::CreateTableAsStmt(create) if create.objtype == raw::ObjectType::OBJECT_MATVIEW => {
            fixed(Kind::Ddl, "CREATE MATERIALIZED VIEW")
        }
        Node::CreateTableAsStmt(_) => fixed(Kind::Ddl, "CREATE TABLE AS"),
        Node::ViewStmt(_) => fixed(Kind::Ddl, "CREATE VIEW"),
        Node::IndexStmt(_) => fixed(Kind::Ddl, "CREATE INDEX"),
        Node::CreateSchemaStmt(_) => fixed(Kind::Ddl, "CREATE SCHEMA"),
        Node::CreateSeqStmt(_) => fixed(Kind::Ddl, "CREATE SEQUENCE"),
        Node::AlterSeqStmt(_) => fixed(Kind::Ddl, "ALTER SEQUENCE"),
        Node::CreateFunctionStmt(create) => {
            fixed(Kind::Ddl, if create.is_procedure { "CREATE PROCEDURE" } else { "CREATE FUNCTION" })
        }
        Node::AlterFunctionStmt(alter) => worded(Kind::Ddl, "ALTER", alter.objtype),
        Node::CreateTrigStmt(_) => fixed(Kind::Ddl, "CREATE TRIGGER"),
        Node::CreateEventTrigStmt(_) => fixed(Kind::Ddl, "CREATE EVENT TRIGGER"),
        Node::AlterEventTrigStmt(_) => fixed(Kind::Ddl, "ALTER EVENT TRIGGER"),
        Node::RuleStmt(_) => fixed(Kind::Ddl, "CREATE RULE"),
        Node::CreatePolicyStmt(_) => fixed(Kind::Ddl, "CREATE POLICY"),
        Node::AlterPolicyStmt(_) => fixed(Kind::Ddl, "ALTER POLICY"),
        Node::CreateStatsStmt(_) => fixed(Kind::Ddl, "CREATE STATISTICS"),
        Node::AlterStatsStmt(_) => fixed(Kind::Ddl, "ALTER STATISTICS"),
        Node::CreateDomainStmt(_) => fixed(Kind::Ddl, "CREATE DOMAIN"),
        Node::AlterDomainStmt(_) => fixed(Kind::Ddl, "ALTER DOMAIN"),
        Node::CompositeTypeStmt(_) | Node::CreateEnumStmt(_) | Node::CreateRangeStmt(_) => {
            fixed(Kind::Ddl, "CREATE TYPE")
        }
        Node::AlterEnumStmt(_) | Node::AlterTypeStmt(_) => fixed(Kind::Ddl, "ALTER TYPE"),
        Node::DefineStmt(define) => worded(Kind::Ddl, "CREATE", define.kind),
        Node::CreateAmStmt(_) => fixed(Kind::Ddl, "CREATE ACCESS METHOD"),
        Node::CreateOpClassStmt(_) => fixed(Kind::Ddl, "CREATE OPERATOR CLASS"),
        Node::CreateOpFamilyStmt(_) => fixed(Kind::Ddl, "CREATE OPERATOR FAMILY"),
        Node::AlterOpFamilyStmt(_) => fixed(Kind::Ddl, "ALTER OPERATOR FAMILY"),
        Node::AlterOperatorStmt(_) => fixed(Kind::Ddl, "ALTER OPERATOR"),
        Node::CreateCastStmt(_) => fixed(Kind::Ddl, "CREATE CAST"),
        Node::CreateTransformStmt(_) => fixed(Kind::Ddl, "CREATE TRANSFORM"),
        Node::CreateConversionStmt(_) => fixed(Kind::Ddl, "CREATE CONVERSION"),
        Node::AlterCollationStmt(_) => fixed(Kind::Ddl, "ALTER COLLATION"),
        Node::AlterTSDictionaryStmt(_) => fixed(Kind::Ddl, "ALTER TEXT SEARCH DICTIONARY"),
        Node::AlterTSConfigurationStmt(_) => fixed(Kind::Ddl, "ALTER TEXT SEARCH CONFIGURATION"),
        Node::CreatePublicationStmt(_) => fixed(Kind::Ddl, "CREATE PUBLICATION"),
        Node::AlterPublicationStmt(_) => fixed(Kind::Ddl, "ALTER PUBLICATION"),
        Node::CreatedbStmt(_) => fixed(Kind::Ddl, "CREATE DATABASE"),
        Node::AlterDatabaseStmt(_)
        | Node::AlterDatabaseSetStmt(_)
        | Node::AlterDatabaseRefreshCollStmt(_) => fixed(Kind::Ddl, "ALTER DATABASE"),
        Node::AlterTableSpaceOptionsStmt(_) => fixed(Kind::Ddl, "ALTER TABLESPACE"),
        Node::AlterTableMoveAllStmt(alter) => worded(Kind::Ddl, "ALTER", alter.objtype),
        Node::AlterTableStmt(alter) => worded(Kind::Ddl, "ALTER", alter.objtype),
        Node::AlterObjectSchemaStmt(alter) => worded(Kind::Ddl, "ALTER", alter.object_type),
        Node::AlterObjectDependsStmt(alter) => worded(Kind::Ddl, "ALTER", alter.object_type),
        Node::RenameStmt(rename) => worded(
            Kind::Ddl,
            "ALTER",
            match rename.rename_type {
                raw::ObjectType::OBJECT_COLUMN
                | raw::ObjectType::OBJECT_ATTRIBUTE
                | raw::ObjectType::OBJECT_TABCONSTRAINT => rename.relation_type,
                other => other,
            },
        ),
        Node::CommentStmt(_) => fixed(Kind::Ddl, "COMMENT"),
        Node::SecLabelStmt(_) => fixed(Kind::Ddl, "SECURITY LABEL"),
        _ => None,
    }
}

/// EXPLAIN with ANALYZE runs its statement. In doubt it does.
pub(super) fn explain_runs(explain: &ExplainStmt) -> bool {
    explain.options().iter().filter(|option| option.defname() == Some("analyze")).any(|option| {
        let word = match option.arg() {
            Node::String(word) => word.sval().map(str::to_ascii_lowercase),
            Node::Integer(number) => Some(number.ival.to_string()),
            Node::A_Const(constant) => match constant.val() {
                Some(ConstValue::Boolean(on)) => Some(on.to_string()),
                Some(other) => Some(other.to_string()),
                None => None,
            },
            Node::Boolean(on) => Some(on.boolval.to_string()),
            _ => None,
        };
        !matches!(word.as_deref(), Some("false" | "off" | "0"))
    })
}

fn transaction_tag(kind: raw::TransactionStmtKind::Type) -> &'static str {
    use raw::TransactionStmtKind as T;
    match kind {
        T::TRANS_STMT_BEGIN => "BEGIN",
        T::TRANS_STMT_START => "START TRANSACTION",
        T::TRANS_STMT_COMMIT => "COMMIT",
        T::TRANS_STMT_SAVEPOINT => "SAVEPOINT",
        T::TRANS_STMT_RELEASE => "RELEASE",
        T::TRANS_STMT_PREPARE => "PREPARE TRANSACTION",
        T::TRANS_STMT_COMMIT_PREPARED => "COMMIT PREPARED",
        T::TRANS_STMT_ROLLBACK_PREPARED => "ROLLBACK PREPARED",
        _ => "ROLLBACK",
    }
}

/// How strong a kind is: a statement that does several things is called by its strongest.
///
/// The order, from weak to strong: what touches no rows, what reads, what changes the session, what
/// changes rows, what runs code that is not in the text, what changes definitions and rights, what
/// leaves the database; and in the end what is not known.
pub fn strength(kind: Kind) -> u8 {
    match kind {
        Kind::Empty => 0,
        Kind::Show => 1,
        Kind::Explain => 2,
        Kind::Transaction => 3,
        Kind::Deallocate => 4,
        Kind::Prepare => 5,
        Kind::Session => 6,
        Kind::Notify => 7,
        Kind::Select => 8,
        Kind::Cursor => 9,
        Kind::CopyOut => 10,
        Kind::Execute => 11,
        Kind::Lock => 12,
        Kind::Maintenance => 13,
        Kind::Insert => 14,
        Kind::CopyIn => 15,
        Kind::Update => 16,
        Kind::Merge => 17,
        Kind::Delete => 18,
        Kind::Truncate => 19,
        Kind::Call => 20,
        Kind::Ddl => 21,
        Kind::Drop => 22,
        Kind::Dcl => 23,
        Kind::Do => 24,
        Kind::Administration => 25,
        Kind::Unknown => 26,
    }
}
