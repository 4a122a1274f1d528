//! Which columns of a result are looked at: those that are one column of a relation as it is, and that nothing says
//! are sensitive.

use super::super::catalogue::Catalogue;
use crate::engine::masking::{ColumnAction, RowPlan, could_carry};
use crate::engine::model::{ColumnId, Lineage};
use crate::engine::wire::postgres::backend::Field;

/// A column of a result that is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) struct Watched {
    /// Its place in the row.
    pub index: usize,
    /// The base column that it shows as it is.
    pub column: ColumnId,
    pub type_oid: u32,
}

/// Of a result whose plan is made. Empty where nothing can be learned.
pub(in super::super) fn watched(
    fields: &[Field],
    plan: &RowPlan,
    catalogue: &Catalogue,
    lineage: Option<&Lineage>,
) -> Box<[Watched]> {
    let columns = fields.iter().zip(&plan.columns).enumerate().filter_map(|(index, (field, plan))| {
        if plan.action != ColumnAction::Detect || !could_carry(field.type_oid) {
            return None;
        }
        let column = if field.table_oid != 0 && field.attribute > 0 {
            (field.table_oid, field.attribute)
        } else {
            let Some(Lineage::Columns(flows)) = lineage else { return None };
            let flow = flows.get(index)?;
            let as_it_is = flow.exact && flow.unknown.is_none() && flow.implicit.is_empty();
            match flow.sources.first() {
                Some(only) if as_it_is && flow.sources.len() == 1 => *only,
                _ => return None,
            }
        };
        let column = catalogue.base_of(column);
        let known = !Catalogue::is_system(column.0) && !catalogue.is_sensitive_itself(column);
        known.then_some(Watched { index, column, type_oid: field.type_oid })
    });
    columns.take(COLUMNS_COUNT_MAX).collect()
}

/// Of one result. What is behind them is looked at when it is asked for with fewer.
const COLUMNS_COUNT_MAX: usize = 64;
