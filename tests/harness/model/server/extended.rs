//! The extended query of the model server: statements and portals by name, and what fails skips up to Sync.

use super::{Copying, Outcome, Portal, Server, Statement, columns};
use crate::model::sql::{Rows, Sql};

impl Server<'_> {
    pub(super) fn parse(&mut self, name: String, text: &str) {
        if name.is_empty() {
            self.statements.remove("");
        }
        let sql = match Sql::parse(text).as_deref() {
            Some([]) => None,
            Some([sql]) => Some(*sql),
            _ => return self.fail_extended("42601"),
        };
        if self.refused_in_failed(sql) {
            return self.fail_extended("25P02");
        }
        if sql == Some(Sql::Missing) {
            return self.fail_extended("42P01");
        }
        if self.statements.contains_key(&name) {
            return self.fail_extended("42P05");
        }
        let has_rows = sql.is_some_and(|sql| self.rows_of(sql).0 != Rows::None);
        let text = sql.map_or("", Sql::text);
        self.statements.insert(name, Statement { sql, has_rows, text });
        self.emit(b'1', b"");
    }

    pub(super) fn bind(&mut self, portal: String, statement: &str) {
        let Some(statement) = self.statements.get(statement).copied() else {
            return self.fail_extended("26000");
        };
        // The empty statement may be parsed in a failed transaction, not bound.
        if self.refused_in_failed(statement.sql) || self.transaction == b'E' && statement.sql.is_none() {
            return self.fail_extended("25P02");
        }
        if !portal.is_empty() && self.portals.contains_key(&portal) {
            return self.fail_extended("42P03");
        }
        let rows = statement.sql.map_or(Rows::None, |sql| self.rows_of(sql).0);
        self.portals.insert(
            portal,
            Portal { sql: statement.sql, rows, position: 0, done: false, text: statement.text },
        );
        self.emit(b'2', b"");
    }

    pub(super) fn describe(&mut self, named: &str) {
        let (sql, has_rows) = match named.split_at_checked(1) {
            Some(("S", name)) => match self.statements.get(name).copied() {
                None => return self.fail_extended("26000"),
                Some(statement) if self.transaction == b'E' && statement.has_rows => {
                    return self.fail_extended("25P02");
                }
                Some(statement) => {
                    self.emit(b't', b"\0\0");
                    (statement.sql, statement.has_rows)
                }
            },
            Some((_, name)) => match self.portals.get(name).copied() {
                None => return self.fail_extended("34000"),
                Some(portal) if self.transaction == b'E' && portal.rows != Rows::None => {
                    return self.fail_extended("25P02");
                }
                Some(portal) => (portal.sql, portal.rows != Rows::None),
            },
            None => return self.fail_extended("08P01"),
        };
        match sql {
            Some(sql) if has_rows => self.emit(b'T', &columns(sql)),
            _ => self.emit(b'n', b""),
        }
    }

    pub(super) fn execute(&mut self, name: &str, limit: u64) {
        let Some(mut portal) = self.portals.get(name).copied() else {
            self.ran("", Outcome::Error, 0);
            return self.fail_extended("34000");
        };
        let Some(sql) = portal.sql else {
            self.ran("", Outcome::Complete, 0);
            return self.emit(b'I', b"");
        };
        if self.refused_in_failed(portal.sql) {
            self.ran(portal.text, Outcome::Error, 0);
            return self.fail_extended("25P02");
        }
        if portal.done {
            self.ran(portal.text, Outcome::Error, 0);
            return self.fail_extended("55000");
        }
        if sql == Sql::CopyIn {
            self.note(name, Portal { done: true, ..portal });
            self.emit(b'G', b"\0\0\x02\0\0\0\0");
            self.copying = Some(Copying::Extended);
            return;
        }
        if self.run(&mut portal, limit) {
            self.note(name, portal);
        } else {
            self.skipping = true;
        }
    }

    /// Remembers how far a portal is, unless its own statement ended it.
    fn note(&mut self, name: &str, portal: Portal) {
        if let Some(kept) = self.portals.get_mut(name) {
            *kept = portal;
        }
    }

    fn refused_in_failed(&self, sql: Option<Sql>) -> bool {
        self.transaction == b'E' && sql.is_some_and(|sql| !sql.ends_transaction())
    }
}
