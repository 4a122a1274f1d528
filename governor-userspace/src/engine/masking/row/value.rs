//! What becomes of one value of a row: looked at first, then written if something of it is hidden.
//!
//! Plain text is judged before anything is written, since most values show nothing; documents, structures and columns that are masked are judged
//! while they are written.
//!
//! Invariant: a value whose judging fails in any way, or does not come to its end, is redacted.

use super::{ColumnAction, ColumnPlan, MaskCounts, RowPlan};
use crate::engine::masking::classify::classify_column;
use crate::engine::masking::definition::{Definitions, without_secrets};
use crate::engine::masking::detector::{ColumnContext, Finding};
use crate::engine::masking::json::{JsonPlace, JsonStop, hide, mask_json, mask_json_at};
use crate::engine::masking::masker::Masker;
use crate::engine::masking::pg_type::{TypeClass, XML, characters_max};
use crate::engine::masking::structure::{self, Leaf, xml};
use crate::engine::masking::transform::{Format, Masked, ValueMask, mask_text_partly, mask_value};
use crate::engine::model::{Category, MaskDoubt, MaskStyle, Types};
use std::borrow::Cow;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};

pub(in crate::engine::masking) enum Replaced {
    No,
    /// With what the value was, or was taken for.
    Yes(Masked, Category),
    /// Nothing certain was known of it, and why.
    InDoubt(Masked, MaskDoubt),
}

impl Replaced {
    /// What became of the value, where something did.
    pub(in crate::engine::masking) fn masked(&self) -> Option<Masked> {
        match self {
            Self::No => None,
            Self::Yes(masked, _) | Self::InDoubt(masked, _) => Some(*masked),
        }
    }

    /// The same reason, with another replacement.
    pub(in crate::engine::masking) fn with(self, masked: Masked) -> Self {
        match self {
            Self::No => Self::No,
            Self::Yes(_, category) => Self::Yes(masked, category),
            Self::InDoubt(_, why) => Self::InDoubt(masked, why),
        }
    }

    /// Counts it.
    pub(in crate::engine::masking) fn note(&self, counts: &mut MaskCounts) {
        match self {
            Self::No => {}
            Self::Yes(_, category) => counts.count(*category),
            Self::InDoubt(_, why) => counts.count_doubt(*why),
        }
    }
}

/// What is known of a value before anything is written: most values show nothing, and end here.
pub(super) enum Seen {
    /// It is shown as it is.
    Nothing,
    /// All of it is hidden. It is plain text.
    Is(Category),
    /// These parts of it are hidden.
    Holds(Vec<(Range<usize>, Category)>),
    /// A detector failed.
    Failed,
    /// The operator's detectors came to their bound before they came to its end.
    Unfinished,
    /// It is judged while it is written: a document, a structure, a column that is masked.
    Open,
}

/// Looks at one value. Plain text is judged at once.
#[inline]
pub(super) fn see(row: &RowPlan, column: usize, plan: &ColumnPlan, masker: &Masker, value: &[u8]) -> Seen {
    let class = TypeClass::of(plan.type_oid);
    match plan.action {
        ColumnAction::Clear => return Seen::Nothing,
        ColumnAction::Detect if !class.could_show_text() => return Seen::Nothing,
        ColumnAction::Mask { .. } => return Seen::Open,
        ColumnAction::Detect => {}
    }
    let is_plain = class == TypeClass::Text
        && plan.type_oid != XML
        && plan.context.definitions == Definitions::No
        && !starts_like_json(value)
        && !row.places.iter().any(|(at, _)| *at == column);
    if !is_plain {
        return Seen::Open;
    }
    let mut found = Vec::new();
    // What was found before a panic is not looked at.
    let whole = catch_unwind(AssertUnwindSafe(|| masker.detectors.search(plan.context, value, &mut found)));
    match whole {
        Err(_) => Seen::Failed,
        Ok(Some(finding)) if finding.is_unfinished() => Seen::Unfinished,
        Ok(Some(Finding { category, .. })) => Seen::Is(category),
        Ok(None) if found.is_empty() => Seen::Nothing,
        Ok(None) => Seen::Holds(found),
    }
}

/// Judges one value and appends its replacement. Whatever goes wrong inside redacts the value.
pub(in crate::engine::masking) fn replace(
    row: &RowPlan,
    column: usize,
    masker: &Masker,
    value: &[u8],
    out: &mut Vec<u8>,
) -> Replaced {
    let Some(plan) = row.columns.get(column) else { return Replaced::Yes(Masked::Null, Category::Other) };
    write(row, column, masker, value, see(row, column, plan, masker, value), out)
}

/// Appends the replacement of a value of which so much is known.
#[inline]
pub(super) fn write(
    row: &RowPlan,
    column: usize,
    masker: &Masker,
    value: &[u8],
    seen: Seen,
    out: &mut Vec<u8>,
) -> Replaced {
    let from = out.len();
    let types = &*row.types;
    let Some(plan) = row.columns.get(column) else { return Replaced::Yes(Masked::Null, Category::Other) };
    // Nothing that the closure touches is used after a panic except `out`, which is cut back.
    let written = catch_unwind(AssertUnwindSafe(|| match (seen, plan.action) {
        (Seen::Failed, _) => None,
        (Seen::Nothing, _) | (_, ColumnAction::Clear) => Some(Replaced::No),
        (_, ColumnAction::Mask { style, category, tweak }) => {
            let how = How { style, category, tweak };
            let masked = mask_whole(types, plan, masker, how, value, out);
            Some(match category {
                Some(category) => Replaced::Yes(masked, category),
                None => Replaced::InDoubt(masked, MaskDoubt::UnknownOrigin),
            })
        }
        (Seen::Unfinished, _) => {
            Some(in_doubt(types, plan, masker, value, from, out, MaskDoubt::SearchBound))
        }
        (Seen::Is(category), _) => {
            mask_text_partly(category, plan.type_oid, plan.type_modifier, value, out);
            Some(Replaced::Yes(Masked::Value, category))
        }
        (Seen::Holds(found), _) => {
            hide(value, &found, out);
            Some(within_limit(types, plan, masker, value, from, out))
        }
        (Seen::Open, _) => Some(match row.places.iter().find(|(at, _)| *at == column) {
            Some((_, places)) => document(types, plan, masker, places, value, out),
            None => detect(types, plan, masker, value, 0, out),
        }),
    }));
    let written = written.ok().flatten();
    written.unwrap_or_else(|| in_doubt(types, plan, masker, value, from, out, MaskDoubt::Failed))
}

/// Hides all of a value of which nothing certain is known. What was written from `from` on is taken back.
fn in_doubt(
    types: &Types,
    plan: &ColumnPlan,
    masker: &Masker,
    value: &[u8],
    from: usize,
    out: &mut Vec<u8>,
    why: MaskDoubt,
) -> Replaced {
    out.truncate(from);
    Replaced::InDoubt(mask_whole(types, plan, masker, How::REDACT, value, out), why)
}

/// What was written from `from` on, unless it is longer than the column may be: a marker may be longer than what it hides.
fn within_limit(
    types: &Types,
    plan: &ColumnPlan,
    masker: &Masker,
    value: &[u8],
    from: usize,
    out: &mut Vec<u8>,
) -> Replaced {
    match characters_max(plan.type_oid, plan.type_modifier) {
        Some(limit) if out.len() - from > limit && characters(out.get(from..)) > limit => {
            out.truncate(from);
            Replaced::Yes(mask_whole(types, plan, masker, How::REDACT, value, out), Category::Other)
        }
        _ => Replaced::Yes(Masked::Value, Category::Other),
    }
}

/// How a value is masked, whatever it is declared as.
#[derive(Clone, Copy, Debug)]
struct How {
    style: MaskStyle,
    category: Option<Category>,
    tweak: u64,
}

impl How {
    const REDACT: Self = Self { style: MaskStyle::Redact, category: None, tweak: 0 };

    fn partial(category: Category) -> Self {
        Self { style: MaskStyle::Partial, category: Some(category), tweak: 0 }
    }
}

fn mask_whole(
    types: &Types,
    plan: &ColumnPlan,
    masker: &Masker,
    how: How,
    value: &[u8],
    out: &mut Vec<u8>,
) -> Masked {
    let format = plan.format;
    let How { style, category, tweak } = how;
    let plain = |leaf: &Leaf<'_>, value: &[u8], out: &mut Vec<u8>| {
        let Leaf { type_oid, type_modifier, .. } = *leaf;
        if type_oid == XML && style != MaskStyle::Null {
            // A document for who parses it, in an array and under a domain too.
            if !xml::stands_for(masker, style, category, tweak, value, out) {
                out.extend_from_slice(structure::XML_MARKER);
            }
            return Masked::Value;
        }
        let mask = ValueMask { style, category, tweak, type_oid, type_modifier, format };
        mask_value(masker, &mask, value, out)
    };
    let leaf = Leaf::of(plan);
    if structure::is_structured(types, plan.type_oid) {
        return structure::mask(types, &leaf, style, format, value, &plain, out);
    }
    plain(&leaf, value, out)
}

/// A document of which some places are masked.
fn document(
    types: &Types,
    plan: &ColumnPlan,
    masker: &Masker,
    places: &[JsonPlace],
    value: &[u8],
    out: &mut Vec<u8>,
) -> Replaced {
    let from = out.len();
    let text = match (TypeClass::of(plan.type_oid), plan.format) {
        (TypeClass::Jsonb, Format::Binary) => value.strip_prefix(&[1]),
        (TypeClass::Json | TypeClass::Jsonb | TypeClass::Text, _) => Some(value),
        _ => None,
    };
    let document = match text {
        Some(text) => {
            out.extend_from_slice(value.get(..value.len() - text.len()).unwrap_or_default());
            match mask_json_at(masker, places, text, out) {
                Ok(0) => Document::Unchanged,
                Ok(_) => Document::Masked,
                Err(JsonStop::Unfinished) => Document::Unfinished,
                Err(_) => Document::Not,
            }
        }
        None => Document::Not,
    };
    json_outcome(types, document, plan, masker, value, from, out)
}

/// `depth`: of arrays and rows around the value.
fn detect(
    types: &Types,
    plan: &ColumnPlan,
    masker: &Masker,
    value: &[u8],
    depth: usize,
    out: &mut Vec<u8>,
) -> Replaced {
    let is_text = match TypeClass::of(plan.type_oid) {
        TypeClass::Text | TypeClass::Json | TypeClass::Jsonb => true,
        // What COPY writes in text is text, whatever it is made of.
        _ => plan.type_oid == 0 && plan.format == Format::Text,
    };
    if !is_text {
        return search(types, plan, masker, value, depth, out);
    }
    let from = out.len();
    let shown = without_secrets(plan.context.definitions, types.hidden(), value);
    match (search(types, plan, masker, &shown, depth, out), shown) {
        (Replaced::No, Cow::Owned(shown)) => {
            out.truncate(from);
            out.extend_from_slice(&shown);
            Replaced::Yes(Masked::Value, Category::Credential)
        }
        (replaced, _) => replaced,
    }
}

/// The same of a value in which no definition hides anything.
fn search(
    types: &Types,
    plan: &ColumnPlan,
    masker: &Masker,
    value: &[u8],
    depth: usize,
    out: &mut Vec<u8>,
) -> Replaced {
    let from = out.len();
    match (TypeClass::of(plan.type_oid), plan.format) {
        (TypeClass::Text, _) if plan.type_oid == XML && value.iter().any(|byte| b"<&".contains(byte)) => {
            xml::mask_xml(masker, value, out)
        }
        (TypeClass::Text, _) => {
            let detectors = &masker.detectors;
            let mut found = Vec::new();
            // A document is none of the built-in kinds, but operators may have defined one.
            let document = match starts_like_json(value) {
                true if detectors.user_defined(plan.context, value).is_some() => Document::Not,
                true => mask_document(masker, value, out),
                false => Document::Not,
            };
            match document {
                Document::Masked => {}
                Document::Unchanged => return Replaced::No,
                Document::Unfinished => {
                    return in_doubt(types, plan, masker, value, from, out, MaskDoubt::SearchBound);
                }
                Document::Not => {
                    out.truncate(from);
                    match detectors.search(plan.context, value, &mut found) {
                        Some(finding) if finding.is_unfinished() => {
                            return in_doubt(types, plan, masker, value, from, out, MaskDoubt::SearchBound);
                        }
                        Some(Finding { category, .. }) => {
                            let masked = mask_whole(types, plan, masker, How::partial(category), value, out);
                            return Replaced::Yes(masked, category);
                        }
                        None if found.is_empty() => return Replaced::No,
                        None => hide(value, &found, out),
                    }
                }
            }
            within_limit(types, plan, masker, value, from, out)
        }
        (TypeClass::Json, _) | (TypeClass::Jsonb, Format::Text) => {
            let document = mask_document(masker, value, out);
            json_outcome(types, document, plan, masker, value, from, out)
        }
        (TypeClass::Jsonb, Format::Binary) => {
            let document = match value.split_first() {
                Some((1, text)) => {
                    out.push(1);
                    mask_document(masker, text, out)
                }
                _ => Document::Not,
            };
            json_outcome(types, document, plan, masker, value, from, out)
        }
        (TypeClass::TextArray | TypeClass::Other | TypeClass::SingleByte, format) => {
            let leaf = |leaf: &Leaf<'_>, value: &[u8], out: &mut Vec<u8>| {
                // A field's name counts like a key in JSON.
                let named = leaf.name.and_then(|name| classify_column("", name, leaf.type_oid));
                let plan = ColumnPlan { format, context: plan.context.of_part(), ..leaf.plan() };
                match named {
                    Some(category) => {
                        let masked = mask_whole(types, &plan, masker, How::REDACT, value, out);
                        Replaced::Yes(masked, category)
                    }
                    None => detect(types, &plan, masker, value, depth + 1, out),
                }
            };
            if structure::is_structured(types, plan.type_oid) && depth < structure::DEPTH_MAX {
                return structure::detect(types, &Leaf::of(plan), format, value, &leaf, out);
            }
            // Text stands in the binary form of most types as it is.
            let mut found = Vec::new();
            let is_definition =
                matches!(without_secrets(plan.context.definitions, types.hidden(), value), Cow::Owned(_));
            if !is_definition {
                match masker.detectors.search(ColumnContext::UNKNOWN, value, &mut found) {
                    None if found.is_empty() => return Replaced::No,
                    Some(finding) if finding.is_unfinished() => {
                        return Replaced::InDoubt(Masked::Null, MaskDoubt::SearchBound);
                    }
                    _ => {}
                }
            }
            Replaced::Yes(Masked::Null, Category::Other)
        }
        _ => Replaced::No,
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Document {
    Masked,
    Unchanged,
    Not,
    /// The operator's detectors came to their bound.
    Unfinished,
}

fn mask_document(masker: &Masker, text: &[u8], out: &mut Vec<u8>) -> Document {
    match mask_json(masker, text, out) {
        Ok(0) => Document::Unchanged,
        Ok(_) => Document::Masked,
        Err(JsonStop::Unfinished) => Document::Unfinished,
        Err(_) => Document::Not,
    }
}

/// The server only sends valid JSON: what cannot be read is not understood, and hidden.
fn json_outcome(
    types: &Types,
    document: Document,
    plan: &ColumnPlan,
    masker: &Masker,
    value: &[u8],
    from: usize,
    out: &mut Vec<u8>,
) -> Replaced {
    match document {
        Document::Masked => Replaced::Yes(Masked::Value, Category::Other),
        Document::Unchanged => Replaced::No,
        Document::Unfinished => in_doubt(types, plan, masker, value, from, out, MaskDoubt::SearchBound),
        Document::Not => in_doubt(types, plan, masker, value, from, out, MaskDoubt::NotUnderstood),
    }
}

#[inline]
fn starts_like_json(value: &[u8]) -> bool {
    match value.first() {
        Some(first) if *first > b' ' => matches!(first, b'{' | b'['),
        _ => matches!(value.trim_ascii_start().first(), Some(b'{' | b'[')),
    }
}

/// Characters of text that may not be UTF-8: continuation bytes do not count.
fn characters(text: Option<&[u8]>) -> usize {
    text.unwrap_or(&[]).iter().filter(|&&b| b & 0xC0 != 0x80).count()
}
