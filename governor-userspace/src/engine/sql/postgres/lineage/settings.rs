//! Settings of the server that may hold a secret: a password for the primary, commands that are run for archives and keys.
//!
//! Shown whole they are searched like definitions. What an expression cuts out of one cannot be, so it counts as a definition
//! taken apart. A setting that names itself in the text as another one does not, nor does one that an application made: its
//! name has a dot. Which setting a row of `pg_settings` shows is told by the WHERE beside it.
//!
//! Source: PostgreSQL's documentation, "Server Configuration": settings that are free text and used to log in or to run
//! a command.

use super::{Analysis, Doubt};
use crate::engine::model::{FIRST_USER_OID, Relation};
use crate::engine::sql::postgres::setting::constant;
use pg_raw_parse::Node;
use pg_raw_parse::nodes::{A_Expr, FuncCall};
use pg_raw_parse::raw::{A_Expr_Kind as E, BoolExprType};

/// `current_setting('primary_conninfo')`, or of a name that is no constant.
pub(super) fn reads_secret(name: &str, call: &FuncCall) -> bool {
    name == "current_setting"
        && call.args().first().and_then(constant).is_none_or(|setting| may_hold_secret(&setting))
}

/// One of the server's relations that list settings.
pub(super) fn lists_settings(relation: &Relation) -> bool {
    relation.oid < FIRST_USER_OID && LISTS.contains(&&*relation.name)
}

fn may_hold_secret(setting: &str) -> bool {
    SECRET.iter().any(|secret| secret.eq_ignore_ascii_case(setting))
}

impl<'t> Analysis<'_, 't> {
    /// `WHERE name = 'port'`: values of such rows are no secrets.
    pub(super) fn choose_settings(&mut self, condition: Node<'t>) -> Result<(), Doubt> {
        if !self.levels.last().is_some_and(|level| level.items.iter().any(|item| item.lists_settings)) {
            return Ok(());
        }
        let mut work = vec![condition];
        while let Some(node) = work.pop() {
            self.shared.spend(1)?;
            match node {
                Node::BoolExpr(logic) if logic.boolop == BoolExprType::AND_EXPR => {
                    work.extend(logic.args().iter());
                }
                Node::A_Expr(e) => {
                    if let Some((item, column)) = harmless(e) {
                        self.clear_settings(item, column);
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// `item`: as it is called, where the text says so.
    fn clear_settings(&mut self, item: Option<&str>, column: &str) {
        let Some(level) = self.levels.last_mut() else { return };
        let means = |named: &super::scope::Item| match item {
            Some(name) => named.name.as_deref() == Some(name),
            None => named.columns.iter().any(|(name, _)| **name == *column),
        };
        let mut found = level.items.iter().filter(|named| means(named));
        // A name that may mean several is left alone.
        let (Some(only), None) = (found.next(), found.next()) else { return };
        // An alias may give its columns other names.
        let catalogue = self.shared.names.catalogue;
        let is_its_own = |slot: usize| {
            let source = level.slots.get(slot).and_then(|value| value.sources.first());
            source.is_some_and(|(relation, attribute)| {
                let relation = catalogue.relation(*relation);
                relation.and_then(|r| r.attribute(*attribute)).is_some_and(|own| *own.name == *column)
            })
        };
        let named = only.columns.iter().filter(|(name, _)| **name == *column);
        if !only.lists_settings || !named.map(|(_, slot)| *slot).all(is_its_own) {
            return;
        }
        for (_, slot) in &only.columns {
            if let Some(value) = level.slots.get_mut(*slot) {
                value.code = false;
            }
        }
    }
}

/// The column, and the item before its dot, of a condition under which a row shows no secret.
fn harmless(e: &A_Expr) -> Option<(Option<&str>, &str)> {
    let is_equals = e.name().iter().next_back().and_then(Node::as_str) == Some("=");
    if !is_equals || !matches!(e.kind, E::AEXPR_OP | E::AEXPR_IN) {
        return None;
    }
    let Node::ColumnRef(reference) = e.lexpr() else { return None };
    let names: Vec<&str> = reference.fields().iter().map(Node::as_str).collect::<Option<_>>()?;
    let (item, column) = match names.as_slice() {
        [column] => (None, *column),
        [item, column] => (Some(*item), *column),
        _ => return None,
    };
    let values: Vec<String> = match e.rexpr() {
        Node::NodeList(list) => list.iter().map(constant).collect::<Option<_>>()?,
        node => vec![constant(node)?],
    };
    let is_harmless = match column {
        "name" => values.iter().all(|name| !may_hold_secret(name)),
        // They are texts.
        "vartype" => values.iter().all(|of| of != "string"),
        _ => false,
    };
    is_harmless.then_some((item, column))
}

/// Columns of those lists that show values.
pub(super) const VALUES: [&str; 3] = ["boot_val", "reset_val", "setting"];
const LISTS: [&str; 2] = ["pg_file_settings", "pg_settings"];
const SECRET: [&str; 6] = [
    "archive_cleanup_command",
    "archive_command",
    "primary_conninfo",
    "recovery_end_command",
    "restore_command",
    "ssl_passphrase_command",
];
