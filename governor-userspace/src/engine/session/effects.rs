//! What a statement changes in what the session knows: when it goes to the server, and when it is complete.

use super::client::{is_plain, weight};
use super::facts::StatementRef;
use super::following::Reach;
use super::governance::Governance;
use super::hold::Approval;
use super::judge::{Judged, is_plain_name};
use super::meaning::{Basis, declared_name};
use super::pipeline::Run;
use super::slots::Ticket;
use super::{Parameters, Portal, Session};
use crate::engine::model::{CursorUse, StatementKind};
use std::sync::Arc;

impl Session {
    /// What a statement that goes to the server changes in the session's own state and in what cursors mean.
    pub(super) fn follow(
        &mut self,
        judged: &Judged,
        approval: Option<&Approval>,
        run: &mut Run,
        governance: &Governance,
    ) {
        let statement = &judged.statement;
        if !self.restricted {
            if !is_plain(statement) {
                // SQL cursors are portals too: whatever a name meant, it may mean something else now.
                self.portals.forget_named();
            }
            return;
        }
        for (through, state) in judged.with_states() {
            let reach = self.reach(through, &state.search_path, governance);
            self.following.follow(through, reach);
            if reach == Reach::Code {
                // A function may open and close cursors.
                self.portals.forget_named();
            }
        }
        if statement.kind == StatementKind::Transaction
            && !matches!(statement.tag.as_str(), "BEGIN" | "START TRANSACTION" | "SAVEPOINT" | "RELEASE")
        {
            self.portals.close_named_unless(|portal| portal.holds);
        }
        run.declares = self.declare(judged, approval, run.source.basis.clone(), governance);
    }

    /// DECLARE defines a portal.
    fn declare(
        &mut self,
        judged: &Judged,
        approval: Option<&Approval>,
        basis: Basis,
        governance: &Governance,
    ) -> Option<(Box<[u8]>, Ticket)> {
        let statement = &judged.statement;
        let name = declared_name(statement)?.as_bytes();
        let inner = statement.inner.as_ref()?;
        if !is_plain_name(name) {
            return None;
        }
        let holds = statement.session.as_ref().and_then(|effect| effect.cursor.as_ref());
        let holds = holds.is_some_and(|cursor| cursor.does == CursorUse::Declare { holds: true });
        let statements: Arc<[_]> = StatementRef::all(&governance.facts.known((**inner).clone())).collect();
        let bytes = name.len() + weight(&statements);
        let portal = Portal {
            statements,
            parameters: Parameters::default(),
            tokens: Arc::default(),
            approval: approval.cloned(),
            fields: None,
            formats: None,
            state: judged.state.clone(),
            means: None,
            basis,
            rows: 0,
            charged: false,
            holds,
            described: false,
            plan: None,
        };
        let ticket = self.next_ticket();
        self.portals.define(name, ticket, portal, bytes).then(|| (name.into(), ticket))
    }

    /// Whether the catalogue may say something else after this statement.
    pub(super) fn changes_definitions(&self, statement: &StatementRef) -> bool {
        use StatementKind as K;
        let kinds = || statement.kinds.iter();
        if self.restricted {
            return statement.unknown.is_some()
                || kinds().any(|k| matches!(k, K::Ddl | K::Drop | K::Administration | K::Do | K::Call));
        }
        // Services make and drop (temporary) tables all the time: a relation that the catalogue does not
        // know is in doubt anyway. What counts is an old name with a new meaning.
        let tables = [
            "CREATE TABLE",
            "CREATE TABLE AS",
            "SELECT INTO",
            "CREATE INDEX",
            "CREATE SEQUENCE",
            "DROP TABLE",
        ];
        kinds().any(|k| matches!(k, K::Ddl | K::Administration)) && !tables.contains(&statement.tag.as_str())
    }

    /// What a completed statement changed in what the session knows.
    pub(super) fn follow_effects(&mut self, statement: &StatementRef, tag: Option<&str>) {
        match tag {
            // The unnamed ones stay.
            Some("DEALLOCATE ALL") => self.statements.close_named(),
            Some("DISCARD ALL") => {
                self.statements.close_named();
                self.portals.close_named();
            }
            Some("CLOSE CURSOR ALL") => self.portals.close_named(),
            Some("CLOSE CURSOR") => {
                let cursor = statement.session.as_ref().and_then(|effect| effect.cursor.as_ref());
                if let Some(name) = cursor.and_then(|cursor| cursor.name.as_ref()) {
                    self.portals.close(name.as_bytes());
                }
            }
            Some("DEALLOCATE") => {
                if let Some(name) =
                    statement.prepared_name.as_ref().filter(|name| is_plain_name(name.as_bytes()))
                {
                    self.statements.close(name.as_bytes());
                }
            }
            _ => {}
        }
    }
}
