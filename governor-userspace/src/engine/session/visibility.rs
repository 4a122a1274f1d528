//! Which columns of a result the principal may see in clear: RowDescription → [`RowPlan`].
//!
//! The server's own origin decides where it gives one, together with what the command itself puts into the column
//! (`UPDATE … SET name = ssn RETURNING name`). Where it gives none, lineage decides; where that does not know, what the
//! statement mentions bounds what can flow. Doubt means masked.

use super::catalogue::Catalogue;
use super::flows::FlowsCache;
use super::governance::Asker;
use super::meaning::Meaning;
use crate::engine::masking::{
    Category, ColumnAction, ColumnContext, ColumnPlan, Definitions, Format, JsonPlace, PEOPLE_COLUMNS_MIN,
    RowPlan, classify_column, could_carry, tells_of_people,
};
use crate::engine::model::{
    ColumnId, ColumnName, Doubt, Flow, Lineage, MaskStyle, Statement, StatementKind, Types,
};
use crate::engine::policy::SeeColumn;
use crate::engine::wire::postgres::backend::Field;
use sha2::{Digest as _, Sha256};
use std::sync::Arc;

const INT8: u32 = 20;
/// text, json, jsonb.
const DOCUMENTS: [u32; 3] = [25, 114, 3802];

/// What is known of the rows that a result has.
#[derive(Clone, Copy, Debug)]
pub(super) struct Origin<'a> {
    /// `None`: rows of an unknown statement.
    pub statement: Option<&'a Statement>,
    pub catalogue: Option<&'a Catalogue>,
    /// `false`: definitions changed since it was read, so it only says what to mask, never what not to.
    pub is_trusted: bool,
    pub lineage: Option<&'a Lineage>,
}

/// The plan for rows that `fields` describe. `formats` overrides the fields' own format codes, as Bind does.
pub(super) fn row_plan(
    fields: &[Field],
    formats: Option<&[i16]>,
    origin: Origin<'_>,
    asker: &mut Asker<'_>,
) -> RowPlan {
    let types = origin.catalogue.map(|catalogue| catalogue.types.clone()).unwrap_or_default();
    let mut plan = planned(fields, formats, types, |index, field| {
        column_action(index, fields.len(), field, origin, asker)
    });
    for (index, field) in fields.iter().enumerate() {
        let searched = plan.columns.get(index).is_some_and(|column| column.action == ColumnAction::Detect);
        let id = (field.table_oid, field.attribute);
        let places = origin.catalogue.filter(|_| searched).and_then(|known| places_of(id, known, asker));
        plan.places.extend(places.map(|places| (index, places)));
        if let (true, Some(catalogue), Some(column)) =
            (searched, origin.catalogue, plan.columns.get_mut(index))
        {
            let definitions = catalogue.definitions_in(field.table_oid, field.attribute, origin.statement);
            column.context = column.context.showing(definitions);
        }
    }
    plan
}

/// Every column is masked: nothing is known of any.
pub(super) fn hide_all(fields: &[Field], formats: Option<&[i16]>) -> RowPlan {
    let unknown = SeeColumn { column: None, category: None };
    planned(fields, formats, Arc::default(), |_, _| masked(MaskStyle::Redact, &unknown))
}

/// No column is masked. It knows them all the same: what is in doubt later is hidden by it.
pub(super) fn show_all(fields: &[Field]) -> RowPlan {
    planned(fields, None, Arc::default(), |_, _| ColumnAction::Clear)
}

/// The plan for the rows of a COPY TO. `flows`: of each of its `count` columns, where lineage knows them.
/// `in_doubt`: what is not known may be sensitive.
pub(super) fn copy_plan(
    flows: Option<&[Flow]>,
    count: usize,
    format: Format,
    in_doubt: bool,
    definitions: Definitions,
    catalogue: &Catalogue,
    asker: &mut Asker<'_>,
) -> RowPlan {
    let mut columns = Vec::new();
    let mut places = Vec::new();
    for index in 0..count {
        let flow = flows.and_then(|flows| flows.get(index));
        let type_oid = flow.map_or(0, |flow| copied_type(flow, catalogue));
        let sight = flow.map_or(Sight::Nothing, |flow| of_flow(flow, catalogue, asker));
        let piece = flow.and_then(|flow| catalogue.of_documents(flow, type_oid));
        let known = flow.is_some_and(|flow| flow.unknown.is_none());
        let action = match sight {
            Sight::Masked(action) => match flow.and_then(|flow| own_places(flow, catalogue, asker)) {
                Some(own) => {
                    places.push((index, own));
                    in_parts(action, type_oid)
                }
                None => action,
            },
            _ if flow.is_some_and(|flow| catalogue.is_cut(flow)) => {
                asker.see(SeeColumn { column: None, category: None })
            }
            Sight::Nothing if let Some(category) = piece => {
                asker.see(SeeColumn { column: None, category: Some(category) })
            }
            _ if !known && in_doubt => asker.see(SeeColumn { column: None, category: None }),
            Sight::Clear => ColumnAction::Clear,
            Sight::Nothing if asker.detect_values() && could_carry(type_oid) => ColumnAction::Detect,
            Sight::Nothing => ColumnAction::Clear,
        };
        columns.push(ColumnPlan {
            action,
            type_oid,
            type_modifier: -1,
            format,
            context: ColumnContext::UNKNOWN.showing(definitions),
        });
    }
    RowPlan { columns, types: catalogue.types.clone(), places }
}

/// The places that are masked in a column's own values.
fn own_places(flow: &Flow, catalogue: &Catalogue, asker: &mut Asker<'_>) -> Option<Arc<[JsonPlace]>> {
    let is_own = flow.exact && flow.sources.len() == 1 && flow.implicit.is_empty();
    let id = flow.sources.first().filter(|_| is_own)?;
    places_of(*id, catalogue, asker)
}

/// How the places in a column's documents are masked; `None` where nobody named any.
fn places_of(id: ColumnId, catalogue: &Catalogue, asker: &mut Asker<'_>) -> Option<Arc<[JsonPlace]>> {
    let places = catalogue.places(id.0, id.1)?;
    Some(asker.see_places(&catalogue.column(id.0, id.1)?, places))
}

/// The type of a column's own values, as they come; 0 where they are made of several.
fn copied_type(flow: &Flow, catalogue: &Catalogue) -> u32 {
    let mut sources = flow.sources.iter();
    let (Some((oid, attribute)), None, true) = (sources.next(), sources.next(), flow.exact) else { return 0 };
    let column = catalogue.data.relation(*oid).and_then(|relation| relation.attribute(*attribute));
    column.map_or(0, |column| catalogue.data.types().base(column.type_oid))
}

/// The same where nothing is known of any column.
pub(super) fn hide_copy(count: usize, format: Format) -> RowPlan {
    let unknown = SeeColumn { column: None, category: None };
    let action = masked(MaskStyle::Null, &unknown);
    let column =
        ColumnPlan { action, type_oid: 0, type_modifier: -1, format, context: ColumnContext::UNKNOWN };
    RowPlan { columns: vec![column; count], ..RowPlan::default() }
}

fn planned(
    fields: &[Field],
    formats: Option<&[i16]>,
    types: Arc<Types>,
    mut action: impl FnMut(usize, &Field) -> ColumnAction,
) -> RowPlan {
    let mut columns: Vec<ColumnPlan> = fields
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
                action: action(index, field),
                type_oid: field.type_oid,
                type_modifier: field.type_modifier,
                format: if format == 1 { Format::Binary } else { Format::Text },
                context: ColumnContext::UNKNOWN,
            }
        })
        .collect();
    add_context(fields, &mut columns);
    RowPlan { columns, types, places: Vec::new() }
}

/// What the names in a result say of the columns whose values are looked at.
fn add_context(fields: &[Field], columns: &mut [ColumnPlan]) {
    if !columns.iter().any(|column| column.action == ColumnAction::Detect) {
        return;
    }
    let of_people = |column: &ColumnPlan| matches!(column.action, ColumnAction::Mask { category: Some(category), .. } if tells_of_people(category));
    let is_among_people = columns.iter().filter(|column| of_people(column)).count() >= PEOPLE_COLUMNS_MIN;
    for (column, field) in columns.iter_mut().zip(fields) {
        if column.action == ColumnAction::Detect {
            column.context = ColumnContext::by_name(&field.name, is_among_people);
        }
    }
}

/// The lineage of a result, where its plan needs one and it is agreed with the server about the columns.
pub(super) fn lineage_for(
    fields: &[Field],
    source: Option<&Meaning>,
    catalogue: Option<&Arc<Catalogue>>,
    flows: &mut FlowsCache,
) -> Option<Arc<Lineage>> {
    use StatementKind as K;
    let (source, catalogue) = (source?, catalogue?);
    let statement = &*source.statement;
    let without_origin = fields.iter().any(|field| field.table_oid == 0 || field.attribute <= 0);
    if !(without_origin || writes(statement)) || statement.unknown.is_some() {
        return None;
    }
    // Keys of documents may be all that is sensitive.
    if !catalogue.any_sensitive() && !catalogue.reads_documents(statement) {
        return None;
    }
    if matches!(statement.kind, K::Show | K::Explain | K::Cursor | K::Execute | K::Call | K::Do) {
        return None;
    }
    let lineage = flows.of(&statement.text, catalogue, &source.state).lineage;
    match &*lineage {
        // Rules of the target add rows that the text does not speak of.
        Lineage::NoRows if !fields.is_empty() => Some(flows.disagreement()),
        Lineage::Columns(expected) if !agree(expected, fields) => Some(flows.disagreement()),
        _ => Some(lineage),
    }
}

/// The command puts values into columns that it may show.
fn writes(statement: &Statement) -> bool {
    use StatementKind as K;
    statement.kinds.iter().any(|kind| matches!(kind, K::Insert | K::Update | K::Merge))
}

fn agree(expected: &[Flow], fields: &[Field]) -> bool {
    expected.len() == fields.len()
        && expected.iter().zip(fields).all(|(flow, field)| match &flow.name {
            None => true,
            // In another encoding of the client's the same name has other bytes.
            Some(name) if !name.is_ascii() || !field.name.is_ascii() => true,
            // Renamed in version 14.
            Some(name) if **name == *"extract" && field.name == "date_part" => true,
            Some(name) => **name == *field.name,
        })
}

fn column_action(
    index: usize,
    count: usize,
    field: &Field,
    origin: Origin<'_>,
    asker: &mut Asker<'_>,
) -> ColumnAction {
    if !origin.is_trusted {
        // A name that tells is believed, and everything that can carry text is in doubt.
        let category = classify_column("", &field.name, field.type_oid);
        if category.is_some() || could_carry(field.type_oid) {
            return asker.see(SeeColumn { column: None, category });
        }
    }
    let Some(catalogue) = origin.catalogue else { return ColumnAction::Clear };
    let detects = asker.detect_values();
    let unmasked =
        || if detects && could_carry(field.type_oid) { ColumnAction::Detect } else { ColumnAction::Clear };
    let flow = match origin.lineage {
        Some(Lineage::Columns(flows)) => flows.get(index),
        _ => None,
    };
    if field.table_oid != 0 && field.attribute > 0 {
        if catalogue.is_cut_column((field.table_oid, field.attribute)) {
            return asker.see(SeeColumn { column: None, category: None });
        }
        let own =
            match catalogue.column(field.table_oid, field.attribute) {
                // Where policy shows it, a detector would only undo that.
                Some(column) if column.category.is_some() => {
                    let id = (field.table_oid, field.attribute);
                    let is_only_asked = column.category == Some(Category::Asked);
                    let seen = asker.see_whole(column, catalogue, id);
                    let partly = catalogue.places(id.0, id.1).is_some();
                    let seen = if partly { in_parts(seen, field.type_oid) } else { seen };
                    // For whom no rule hides it, it is as any other.
                    Some(seen).filter(|seen| !(is_only_asked && *seen == ColumnAction::Clear))
                }
                Some(_) => None,
                // Made since the catalogue was read, a temporary relation, or pages of large values: the server's own
                // are those of its statistics and of code.
                None => Some(asker.see(SeeColumn {
                    column: None,
                    category: classify_column("", &field.name, field.type_oid),
                })),
            };
        let put = match (flow, origin.statement) {
            (Some(flow), Some(statement)) if writes(statement) => match of_flow(flow, catalogue, asker) {
                Sight::Masked(action) => Sight::Masked(action),
                // Something that nobody follows was put there.
                _ if flow.unknown.is_some() && catalogue.any_sensitive() => {
                    masked_or_clear(asker.see(SeeColumn { column: None, category: None }))
                }
                sight => sight,
            },
            (None, Some(statement))
                if writes(statement) && catalogue.may_carry_sensitive(statement, &statement.mentions) =>
            {
                masked_or_clear(asker.see(SeeColumn { column: None, category: None }))
            }
            _ => Sight::Nothing,
        };
        return match (own, put) {
            // What was put there is more than a column as it is: no part of it is harmless.
            (
                Some(ColumnAction::Mask { .. }),
                Sight::Masked(put @ ColumnAction::Mask { style: MaskStyle::Redact | MaskStyle::Null, .. }),
            ) => put,
            (Some(own @ ColumnAction::Mask { .. }), _) => own,
            (_, Sight::Masked(action)) => action,
            (Some(own), _) => own,
            (None, Sight::Clear) => ColumnAction::Clear,
            (None, Sight::Nothing) if catalogue.is_shown(field.table_oid, field.attribute) => {
                ColumnAction::Clear
            }
            (None, Sight::Nothing) => unmasked(),
        };
    }
    let sight = flow.map_or(Sight::Nothing, |flow| of_flow(flow, catalogue, asker));
    if let Sight::Masked(action) = sight {
        return action;
    }
    if flow.is_some_and(|flow| catalogue.is_cut(flow)) {
        return asker.see(SeeColumn { column: None, category: None });
    }
    if let (Sight::Nothing, Some(flow)) = (sight, flow)
        && let Some(category) = catalogue.of_documents(flow, field.type_oid)
    {
        return asker.see(SeeColumn { column: None, category: Some(category) });
    }
    // Nobody knows whether a definition is there as it was written.
    if matches!(origin.lineage, Some(Lineage::Unknown(_)))
        && catalogue.definitions_in(0, 0, origin.statement) != Definitions::No
    {
        return asker.see(SeeColumn { column: None, category: None });
    }
    let known = flow.is_some_and(|flow| flow.unknown.is_none());
    let in_doubt = !known
        && match origin.statement {
            // How many rows a temporary relation has may tell a value, too.
            _ if flow.is_some_and(|flow| flow.unknown == Some(Doubt::Temporary)) => catalogue.any_sensitive(),
            _ if matches!(origin.lineage, Some(Lineage::Unknown(Doubt::Disagreement))) => true,
            None => catalogue.any_sensitive(),
            Some(s) => origin_in_doubt(index, count, field, s, catalogue),
        };
    match sight {
        _ if in_doubt => asker.see(SeeColumn { column: None, category: None }),
        Sight::Clear => ColumnAction::Clear,
        _ => unmasked(),
    }
}

/// A document of which only some places are sensitive is searched for them.
fn in_parts(action: ColumnAction, type_oid: u32) -> ColumnAction {
    match action {
        ColumnAction::Mask { .. } if DOCUMENTS.contains(&type_oid) => ColumnAction::Detect,
        other => other,
    }
}

/// What the sensitive columns behind a value make of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sight {
    /// There are none.
    Nothing,
    /// Policy shows all of them.
    Clear,
    Masked(ColumnAction),
}

/// Asks policy about every sensitive column behind a value; the strictest answer counts.
///
/// A value that is not one of theirs as it is keeps nothing of it: a part of a part could be any part.
fn of_flow(flow: &Flow, catalogue: &Catalogue, asker: &mut Asker<'_>) -> Sight {
    let sensitive = |(oid, attribute): &(u32, i16)| catalogue.category(*oid, *attribute).is_some();
    let sources: Vec<_> = flow.sources.iter().filter(|id| sensitive(id)).collect();
    let implicit = flow.implicit.iter().filter(|id| sensitive(id) && !flow.sources.contains(id));
    let mut all = sources.clone();
    all.extend(implicit);
    if all.is_empty() {
        return Sight::Nothing;
    }
    if all.len() > COLUMNS_ASKED_MAX {
        return masked_or_clear(asker.see(SeeColumn { column: None, category: None }));
    }
    let as_it_is = flow.exact && flow.sources.len() == 1 && all.len() == 1;
    // Shown or not by rules about seeing alone, it is as any other where they show it.
    let is_sensitive = all.iter().any(|id| catalogue.is_sensitive_itself(**id));
    let mut sight = if is_sensitive { Sight::Clear } else { Sight::Nothing };
    for (oid, attribute) in all {
        let Some(column) = catalogue.column(*oid, *attribute) else { continue };
        let action = asker.see_whole(column, catalogue, (*oid, *attribute));
        let ColumnAction::Mask { style, category, tweak } = action else { continue };
        let style = if as_it_is || style == MaskStyle::Null { style } else { MaskStyle::Redact };
        sight = match sight {
            Sight::Masked(ColumnAction::Mask { style: other, category: of_other, .. }) => {
                let style = if other == MaskStyle::Null { other } else { style };
                let category = if of_other == category { category } else { None };
                Sight::Masked(ColumnAction::Mask { style, category, tweak })
            }
            _ => Sight::Masked(ColumnAction::Mask { style, category, tweak }),
        };
    }
    sight
}

fn masked_or_clear(action: ColumnAction) -> Sight {
    match action {
        ColumnAction::Mask { .. } => Sight::Masked(action),
        ColumnAction::Clear | ColumnAction::Detect => Sight::Clear,
    }
}

/// Neither the server nor lineage knows the origin: can a sensitive column flow into this one?
fn origin_in_doubt(
    index: usize,
    count: usize,
    field: &Field,
    statement: &Statement,
    catalogue: &Catalogue,
) -> bool {
    use StatementKind as K;
    match statement.kind {
        K::Show | K::Empty | K::Transaction => false,
        K::Session if !statement.asks_or_changes_rows() => false,
        // A plan shows what functions of users answered while it was made.
        K::Explain => catalogue.any_sensitive() && statement.calls().any(|f| catalogue.is_opaque_function(f)),
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

/// What keeps the keyed masks of one column apart from those of every other; never 0.
pub(super) fn tweak_of(column: &ColumnName) -> u64 {
    let mut digest = Sha256::new();
    for part in [&column.schema, &column.relation, &column.column] {
        digest.update((part.len() as u64).to_be_bytes());
        digest.update(part.as_bytes());
    }
    digest.finalize().first_chunk::<8>().map_or(1, |first| u64::from_be_bytes(*first)).max(1)
}

/// The action for a column that policy masks.
pub(super) fn masked(style: MaskStyle, column: &SeeColumn) -> ColumnAction {
    let category = column.category.map(|category| match category {
        Category::Asked => Category::Other,
        other => other,
    });
    ColumnAction::Mask { style, category, tweak: 0 }
}

/// Sensitive columns behind one value that policy is asked about by name.
const COLUMNS_ASKED_MAX: usize = 64;
