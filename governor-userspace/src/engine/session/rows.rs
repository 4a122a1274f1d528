//! How the rows of a result are treated, and what is learned from them.

use super::Session;
use super::discovery::{Collector, Source, Watched};
use super::governance::Governance;
use crate::engine::masking::{CopyMask, RowPlan};
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
}

impl ResultPlan {
    /// No row can change: forward them unread.
    pub fn is_passive(&self) -> bool {
        self.rows.is_passive()
    }
}

impl Session {
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
