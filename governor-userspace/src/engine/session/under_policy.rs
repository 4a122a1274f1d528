//! What policy could do to this principal at all: asked at the start, and again when policy or what is said of columns changes.
//!
//! Most sessions can be told from that alone that nothing of theirs is masked, held or bounded; they then pass unlooked at.

use super::parts::Phase;
use super::{Governance, Session, governance};
use crate::engine::policy::SessionContext;

impl Session {
    /// A new policy set came into force: ask again whether anything may be masked.
    pub(super) fn follow_policy(&mut self, governance: &mut Governance) {
        if *self.policy_version != *governance.policy.version() {
            self.policy_version = governance.policy.version().into();
            if matches!(
                self.phase,
                Phase::Ready | Phase::AskingState | Phase::ReadingCatalogue { .. } | Phase::Authenticating
            ) {
                // A result that is under way keeps the plan that it began with.
                self.ask_reach(governance);
            }
        }
    }

    /// What is said of columns changed: the catalogue that was read stays, and says otherwise what is sensitive.
    pub(super) fn follow_rulings(&mut self, governance: &mut Governance) {
        let version = governance.follow_rulings();
        if self.rulings_version == version {
            return;
        }
        self.rulings_version = version;
        if let Some(mine) = self.catalogue.clone() {
            self.catalogue =
                Some(governance.ruled_for(self.setup.destination.clone(), &self.claims.database, mine));
        }
    }

    /// Asks what policy could do to this principal at all.
    pub(super) fn ask_reach(&mut self, governance: &mut Governance) {
        let was_masked = self.may_be_masked;
        let mut asker = self.asker(governance);
        let may_be_masked = asker.may_be_masked();
        self.restricted = may_be_masked || asker.may_be_restricted();
        self.may_pace = governance.policy.may_pace(self.setup.principal.class);
        self.may_be_masked = may_be_masked;
        if self.may_be_masked || was_masked {
            // Columns were not looked at before, or under other rules.
            self.statements.each_mut().for_each(|prepared| prepared.fields = None);
            self.portals.each_mut().for_each(|portal| {
                (portal.fields, portal.plan, portal.described) = (None, None, false);
            });
            self.cursor_plan = None;
        }
    }

    pub(super) fn asker<'a>(&'a self, governance: &'a mut Governance) -> governance::Asker<'a> {
        let break_glass = self.broken.as_ref().map(|broken| broken.reason.clone());
        let around = SessionContext { at: self.now, break_glass };
        governance.asker(&self.policy_principal, &self.claims, self.setup.destination.clone(), around)
    }
}
