//! How the rows of a result are treated, and what is learned from them.

use super::discovery::{Collector, Source, Watched};
use super::governance::Governance;
use super::meaning::Basis;
use super::{Session, visibility};
use crate::engine::masking::{CopyMask, RowPlan};
use crate::engine::model::MaskStyle;
use crate::engine::policy::SeeColumn;
use std::sync::Arc;

/// How the rows that come next are treated.
#[derive(Debug, Default)]
pub(super) enum Rows {
    /// Not decided yet.
    #[default]
    Undecided,
    /// Nothing can change: they pass as read.
    Pass,
    Mask(Arc<ResultPlan>),
    /// Those of a COPY TO. Boxed: few sessions have one.
    Copy(Box<CopyMask>),
}

/// What happens to the rows of one result.
#[derive(Clone, Debug, Default)]
pub(super) struct ResultPlan {
    pub rows: RowPlan,
    /// Columns whose values are looked at for what they hold. Rows that cannot change have none.
    pub watched: Box<[Watched]>,
    /// Of the catalogue that it was made by; 0 where there was none.
    pub reading: u64,
}

impl ResultPlan {
    /// No row can change: forward them unread.
    pub fn is_passive(&self) -> bool {
        self.rows.is_passive()
    }

    /// The same with every value hidden.
    pub fn hidden(&self) -> Self {
        let mut rows = self.rows.clone();
        for column in &mut rows.columns {
            column.action =
                visibility::masked(MaskStyle::Redact, &SeeColumn { column: None, category: None });
        }
        rows.places.clear();
        Self { rows, watched: Box::default(), reading: self.reading }
    }
}

impl Session {
    /// A plan says nothing of what comes: what the statement relies on changed, or was another when the plan was made.
    pub(super) fn plan_is_in_doubt(
        &self,
        plan: &ResultPlan,
        basis: &Basis,
        governance: &mut Governance,
    ) -> bool {
        let in_doubt = match basis {
            Basis::Newest => false,
            Basis::Doubt => true,
            Basis::Checked(catalogue) => plan.reading != catalogue.reading,
        };
        in_doubt && self.hides_unknown(governance)
    }

    /// Looks at one row for what its columns hold. `number`: of the row in its result, from 0.
    pub(super) fn learn(&self, plan: &ResultPlan, body: &[u8], number: u64, governance: &mut Governance) {
        if plan.watched.is_empty() || !Collector::takes(number, self.counts.statements) {
            return;
        }
        let Some(catalogue) = &self.catalogue else { return };
        let source = Source { server: &self.setup.destination, database: &self.claims.database, catalogue };
        let Governance { collector, masker, .. } = governance;
        collector.row(&plan.watched, body, source, &masker.detectors);
    }
}
