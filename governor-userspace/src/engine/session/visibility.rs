//! Which columns of a result the principal may see in clear: RowDescription → [`RowPlan`].
//!
//! The server's own column origin decides where it gives one; where it does not, the statement's
//! mentions bound what can flow into the column. Doubt means masked.

use super::catalogue::Catalogue;
use super::governance::Asker;
use crate::engine::masking::{ColumnAction, ColumnPlan, Format, RowPlan, classify_column, could_carry};
use crate::engine::model::{MaskStyle, Statement, StatementKind};
use crate::engine::policy::SeeColumn;
use crate::engine::wire::postgres::backend::Field;

const INT8: u32 = 20;

/// The plan for rows that `fields` describe, as results of `statement` (`None`: of an unknown one).
/// `formats` overrides the fields' own format codes, as Bind does.
pub(super) fn row_plan(
    fields: &[Field],
    formats: Option<&[i16]>,
    statement: Option<&Statement>,
    catalogue: Option<&Catalogue>,
    asker: &mut Asker<'_>,
) -> RowPlan {
    let columns = fields
        .iter()
        .enumerate()
        .map(|(index, field)| {
            let format = match formats {
                None => field.format,
                Some([]) => 0,
                Some([all]) => *all,
                Some(each) => each.get(index).copied().unwrap_or(0),
            };
            ColumnPlan {
                action: column_action(index, fields.len(), field, statement, catalogue, asker),
                type_oid: field.type_oid,
                type_modifier: field.type_modifier,
                format: if format == 1 { Format::Binary } else { Format::Text },
            }
        })
        .collect();
    RowPlan { columns }
}

fn column_action(
    index: usize,
    count: usize,
    field: &Field,
    statement: Option<&Statement>,
    catalogue: Option<&Catalogue>,
    asker: &mut Asker<'_>,
) -> ColumnAction {
    let detects = asker.detect_values();
    let unmasked =
        || if detects && could_carry(field.type_oid) { ColumnAction::Detect } else { ColumnAction::Clear };
    let Some(catalogue) = catalogue else {
        // No catalogue: a name that tells is believed, and everything that can carry text is in doubt.
        let category = classify_column("", &field.name, field.type_oid);
        if category.is_none() && !could_carry(field.type_oid) {
            return ColumnAction::Clear;
        }
        return asker.see(SeeColumn { column: None, category });
    };
    if field.table_oid != 0 && field.attribute > 0 {
        return match catalogue.column(field.table_oid, field.attribute) {
            Some(column) => match column.category {
                // Where policy shows it, a detector would only undo that.
                Some(category) => {
                    asker.see(SeeColumn { column: Some(column.name.clone()), category: Some(category) })
                }
                None => unmasked(),
            },
            None if Catalogue::is_system(field.table_oid) => unmasked(),
            // Made since the catalogue was read, or a temporary relation.
            None => asker
                .see(SeeColumn { column: None, category: classify_column("", &field.name, field.type_oid) }),
        };
    }
    let in_doubt = match statement {
        None => catalogue.any_sensitive(),
        Some(s) => origin_in_doubt(index, count, field, s, catalogue),
    };
    if in_doubt { asker.see(SeeColumn { column: None, category: None }) } else { unmasked() }
}

/// The server gives no origin: can a sensitive column flow into this one?
fn origin_in_doubt(
    index: usize,
    count: usize,
    field: &Field,
    statement: &Statement,
    catalogue: &Catalogue,
) -> bool {
    use StatementKind as K;
    match statement.kind {
        K::Show | K::Empty | K::Session | K::Transaction => false,
        // A plan shows what functions of users answered while it was made.
        K::Explain => {
            catalogue.any_sensitive() && statement.functions.iter().any(|f| catalogue.is_opaque_function(f))
        }
        // Rows of something that was defined earlier: its text is not at hand.
        K::Cursor | K::Execute | K::Call | K::Do | K::Unknown => catalogue.any_sensitive(),
        _ => {
            let target = statement.targets.as_ref().filter(|t| t.len() == count).and_then(|t| t.get(index));
            match target {
                Some(t) if t.is_constant => statement.unknown.is_some() && catalogue.any_sensitive(),
                Some(t) if t.is_count && field.type_oid == INT8 => false,
                Some(t) => catalogue.may_carry_sensitive(statement, &t.mentions),
                None => catalogue.may_carry_sensitive(statement, &statement.mentions),
            }
        }
    }
}

/// The action for a column that policy masks.
pub(super) fn masked(style: MaskStyle, column: &SeeColumn) -> ColumnAction {
    ColumnAction::Mask { style, category: column.category }
}
