//! Bound parameters that are tokens of governor's own: the server gets the values that they stand for.
//!
//! A token is deterministic, so whoever is shown tokens sees already which values are equal. A comparison `column = $1` with
//! a token tells no more than that where the session is shown **exactly this token for exactly this value in exactly this
//! column**; so that is what is asked for. Then it is no condition that tells a secret (`conditions.rs`), and the record keeps
//! the token.
//!
//! Invariant: a value goes to the server only in a Bind, for a parameter of which lineage knows every use
//! (`sql/postgres/lineage/parameters.rs`), and only where nothing about the statement is in doubt.

use super::catalogue::Catalogue;
use super::facts::StatementRef;
use super::governance::Governance;
use super::{Encoding, Session};
use crate::engine::masking::{ColumnAction, Format, Masked, ValueMask, mask_value, may_be_token, reveal};
use crate::engine::model::{Category, ColumnId, MaskStyle, RelationKind, RelationName, SessionState};
use crate::engine::wire::postgres::{encode, frontend};
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A bound parameter that is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Token {
    /// 1 and up.
    parameter: u16,
    /// Of the columns that it was made for: a column that is masked otherwise by now is another.
    category: Option<Category>,
    tweak: u64,
}

/// What is known of a statement's parameters when it is judged.
#[derive(Clone, Copy, Debug, Default)]
pub(super) enum Tokens<'a> {
    /// None of them is a token.
    #[default]
    None,
    /// They are not bound yet, so each may be one. The types that Parse declares.
    Unbound(&'a [u32]),
    Bound(&'a [Token]),
}

impl Tokens<'_> {
    /// How many were bound.
    pub fn bound_count(self) -> u32 {
        match self {
            Self::Bound(tokens) => u32::try_from(tokens.len()).unwrap_or(u32::MAX),
            Self::None | Self::Unbound(_) => 0,
        }
    }
}

/// A Bind with values in place of tokens.
#[derive(Debug)]
pub(super) struct Replaced {
    pub tokens: Arc<[Token]>,
    pub message: Bytes,
}

impl Session {
    /// The parameters that tell nothing, being compared with what this session is shown as tokens.
    pub(super) fn parameters_that_tell_nothing(
        &self,
        statement: &StatementRef,
        tokens: Tokens<'_>,
        state: &SessionState,
        governance: &mut Governance,
    ) -> BTreeSet<u16> {
        if matches!(tokens, Tokens::None | Tokens::Bound([])) {
            return BTreeSet::new();
        }
        let masks = self.token_masks(statement, state, governance);
        match tokens {
            Tokens::None => BTreeSet::new(),
            Tokens::Unbound(types) => {
                masks.into_keys().filter(|number| is_text(declared(types, *number))).collect()
            }
            Tokens::Bound(tokens) => {
                let holds = |token: &&Token| {
                    masks.get(&token.parameter).is_some_and(|masks| {
                        masks.iter().all(|mask| (mask.category, mask.tweak) == (token.category, token.tweak))
                    })
                };
                tokens.iter().filter(holds).map(|token| token.parameter).collect()
            }
        }
    }

    /// Whoever compares this column with a value could do so with a token.
    pub(super) fn takes_tokens(
        &self,
        id: ColumnId,
        catalogue: &Catalogue,
        governance: &mut Governance,
    ) -> bool {
        governance.limits.compare_tokens && self.token_mask(id, catalogue, governance).is_some()
    }

    /// A Bind of one of `statements` with values in place of tokens; `None` where nothing is replaced. `types` as Parse
    /// declared them.
    pub(super) fn replace_tokens(
        &self,
        statements: &[StatementRef],
        types: &[u32],
        body: &[u8],
        governance: &mut Governance,
    ) -> Option<Replaced> {
        if !governance.limits.compare_tokens || self.settings.encoding != Encoding::Utf8 {
            return None;
        }
        let [statement] = statements else { return None };
        let values = frontend::bind(body, usize::from(u16::MAX)).ok()?.values;
        let numbered = (1u16..).zip(values.iter().map(|(value, _)| *value));
        // Of these types both formats are the text itself.
        let mut perhaps = numbered.filter_map(|(number, value)| Some((number, may_be_token(value?)?)));
        let first = perhaps.next()?;
        let masks = self.token_masks(statement, self.following.state(), governance);
        let mut tokens = Vec::new();
        let mut instead = BTreeMap::new();
        for (number, token) in std::iter::once(first).chain(perhaps) {
            let Some(masks) = masks.get(&number).filter(|_| is_text(declared(types, number))) else {
                continue;
            };
            let Ok(revealed) = reveal(&governance.masker.keys, token) else { continue };
            let mut shown = Vec::new();
            let is_shown = masks.iter().all(|mask| {
                shown.clear();
                let masked = mask_value(&governance.masker, mask, &revealed.value, &mut shown);
                masked == Masked::Value && shown == token.as_bytes()
            });
            // What is no text of this encoding would be an error of the server's.
            let is_text = std::str::from_utf8(&revealed.value).is_ok_and(|text| !text.contains('\0'));
            if let (true, true, Some(mask)) = (is_shown, is_text, masks.first()) {
                tokens.push(Token { parameter: number, category: mask.category, tweak: mask.tweak });
                instead.insert(number, revealed.value);
            }
        }
        if tokens.is_empty() {
            return None;
        }
        let message = encode::rebind(body, |number| instead.get(&number).map(|value| value.as_slice()))?;
        Some(Replaced { tokens: tokens.into(), message })
    }

    /// How the columns are shown that each parameter is compared with, of parameters of which all columns are shown as tokens.
    fn token_masks(
        &self,
        statement: &StatementRef,
        state: &SessionState,
        governance: &mut Governance,
    ) -> BTreeMap<u16, Vec<ValueMask>> {
        let is_on = governance.limits.compare_tokens && self.restricted && self.may_be_masked;
        if !is_on || statement.unknown.is_some() {
            return BTreeMap::new();
        }
        let Some(catalogue) = self.trusted_catalogue(governance).cloned() else { return BTreeMap::new() };
        let flows = governance.flows.of(&statement.text, &catalogue, state);
        if flows.conditions.doubt.is_some() || flows.lineage.doubt().is_some() {
            return BTreeMap::new();
        }
        // postgres_fdw would send the value to another server, and its log.
        let reached = governance.reach(statement, Some(&catalogue), &state.search_path);
        let is_foreign = |name: &RelationName| {
            let found = catalogue.data.resolve(name, &state.search_path);
            found.candidates().iter().any(|relation| relation.kind == RelationKind::Foreign)
        };
        if reached.statement.reads.iter().any(is_foreign) {
            return BTreeMap::new();
        }
        let compared = &flows.conditions.compared;
        let masks = compared.iter().map(|(number, columns)| {
            let masks = columns.iter().map(|id| self.token_mask(*id, &catalogue, governance));
            Some((*number, masks.collect::<Option<Vec<_>>>()?))
        });
        masks.flatten().collect()
    }

    /// How a column is shown, where that is as tokens.
    fn token_mask(
        &self,
        id: ColumnId,
        catalogue: &Catalogue,
        governance: &mut Governance,
    ) -> Option<ValueMask> {
        let column = catalogue.data.relation(id.0)?.attribute(id.1)?;
        let (type_oid, characters_max) = (column.type_oid, i32::from(column.characters_max));
        let known = catalogue.column(id.0, id.1)?;
        // Places in documents have styles of their own.
        known.category.filter(|_| catalogue.places(id.0, id.1).is_none())?;
        match self.asker(governance).see_whole(known, catalogue, id) {
            ColumnAction::Mask { style: style @ MaskStyle::Token, category, tweak } => Some(ValueMask {
                style,
                category,
                tweak,
                type_oid,
                type_modifier: if characters_max == 0 { -1 } else { characters_max + VARHDRSZ },
                format: Format::Text,
            }),
            _ => None,
        }
    }
}

/// As Parse declares it; 0: as the server finds.
fn declared(types: &[u32], parameter: u16) -> u32 {
    let at = usize::from(parameter).checked_sub(1);
    at.and_then(|at| types.get(at)).copied().unwrap_or(0)
}

/// As any other type the server may read another value, or find another operator.
fn is_text(type_oid: u32) -> bool {
    matches!(type_oid, 0 | 25 | 1043)
}

/// The length of a value's own header, which a modifier of `varchar` counts.
const VARHDRSZ: i32 = 4;
