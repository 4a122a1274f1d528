//! What a change to a relation leads to: triggers and rules, what is below a view, children and partitions, cascades.

use super::{Path, QUALIFIED, Search, Through, Work, full_name};
use crate::engine::model::{Changing, FIRST_USER_OID, Oid, Relation, RelationKind, StatementKind as Kind};
use crate::engine::sql::view_source;
use std::collections::BTreeSet;
use std::sync::Arc;

impl Search<'_> {
    pub(super) fn write(
        &mut self,
        oid: Oid,
        on: Changing,
        only: bool,
        sets: &Arc<[String]>,
        run: Path,
        through: &Through,
    ) {
        let columns: BTreeSet<String> = sets.iter().cloned().collect();
        let before = self.written.get(&(oid, run, only)).cloned();
        let now = match &before {
            None => (on, columns),
            Some((done, to)) if to.is_empty() || columns.is_empty() => (done.and(on), BTreeSet::new()),
            Some((done, to)) => (done.and(on), to | &columns),
        };
        if before.as_ref() == Some(&now) {
            return;
        }
        let sets = &now.1.iter().cloned().collect::<Arc<[String]>>();
        self.written.insert((oid, run, only), now);
        let Some(relation) = self.catalogue.data.relation(oid) else { return };
        let name = full_name(relation);
        self.note(&name, through);
        self.writes.insert(name.clone());
        self.partitioned_parents(relation, true);
        let effects = self.catalogue.data.effects();
        let mut stands_in = false;
        for trigger in effects.triggers(oid).iter().filter(|trigger| trigger.on.meets(on)) {
            stands_in |= trigger.instead;
            let through = format!("trigger {} on {name}", trigger.name).into();
            self.work.push((Work::Function { oid: trigger.function, run }, through));
        }
        for rule in effects.rules(oid).iter().filter(|rule| rule.on.meets(on)) {
            let through: Through = format!("a rule on {name}").into();
            let code = self.catalogue.codes.rule(rule);
            stands_in |= rule.instead && !code.is_conditional;
            self.work.push((Work::Code { code, names: QUALIFIED, run }, through));
        }
        if relation.kind == RelationKind::View {
            if on.insert || on.update {
                let through: Through = format!("{name}'s defaults").into();
                self.functions_of(effects.on_write(oid), run, &through);
            }
            if oid >= FIRST_USER_OID && (on.update || on.delete) {
                self.work.push((Work::Read { relation: oid, only: false, run }, through.clone()));
            }
            let source = relation.definition.as_deref().filter(|_| !stands_in).and_then(view_source);
            let bases = source.map_or(vec![], |source| self.relations(&source, QUALIFIED));
            for base in bases {
                let through = format!("view {name}").into();
                // Its columns may have other names below: then every one may change.
                let sets = Arc::default();
                self.work.push((Work::Write { relation: base.oid, on, only: false, sets, run }, through));
            }
            if relation.definition.is_none() && oid >= FIRST_USER_OID && !stands_in {
                self.hide(format!("view {name}: its definition could not be read"));
            }
            return;
        }
        let calls = if on.insert || on.update { effects.on_write(oid) } else { &[] };
        let through: Through = format!("{name}'s defaults, checks, indexes or row policies").into();
        self.functions_of(calls.iter().chain(effects.on_read(oid)), run, &through);
        if !only {
            let through: Through = format!("table {name}").into();
            // Rows that are inserted into a table stay in it, unless it has none of its own.
            let goes_down =
                relation.kind == RelationKind::Partitioned || on.update || on.delete || on.truncate;
            // An update may move a row to another partition, whose triggers see it leave and come.
            let moves = relation.kind == RelationKind::Partitioned && on.update;
            let on = if moves { Changing { insert: true, delete: true, ..on } } else { on };
            for child in self.catalogue.data.children(oid).iter().filter(|_| goes_down) {
                let work = Work::Write { relation: *child, on, only: false, sets: sets.clone(), run };
                self.work.push((work, through.clone()));
            }
        }
        self.cascades(relation, on, sets, run);
    }

    fn cascades(&mut self, relation: &Relation, on: Changing, sets: &Arc<[String]>, run: Path) {
        let through: Through = format!("a foreign key to {}", full_name(relation)).into();
        let none = Changing::default();
        for key in self.catalogue.data.effects().cascades(relation.oid) {
            let changes_key = on.update
                && (sets.is_empty()
                    || key.columns.iter().any(|column| {
                        relation.attribute(*column).is_none_or(|c| sets.iter().any(|set| **set == *c.name))
                    }));
            let deletes = on.delete && key.deletes;
            let updates = (on.delete && key.updates_on_delete) || (changes_key && key.updates_on_update);
            let then = Changing { delete: deletes, update: updates, truncate: on.truncate, ..none };
            if then == none {
                continue;
            }
            if deletes {
                self.kinds.insert(Kind::Delete);
            }
            if updates {
                self.kinds.insert(Kind::Update);
            }
            let work = Work::Write { relation: key.table, on: then, only: false, sets: Arc::default(), run };
            self.work.push((work, through.clone()));
        }
    }
}
