//! What stands in an expression between a document and the operation that tells its values apart: the keys on the way, and
//! whether it gets there whole.
//!
//! `document ->> 'ssn' = '5…'` chooses by what stands under one key, wherever in a statement it stands. A whole document that
//! is compared with what is no constant is asked about any key; with a constant, about those in it (`documents.rs`).
//!
//! Invariant: keys above the operation do not count. In `note::jsonb ->> 'ssn'` the cast tells apart whether the note is a
//! document, not what is in it.

use super::documents;
use super::expression::Part;
use super::value::Value;
use super::wholeness::Reach;
use super::{Analysis, Doubt, Shared};
use crate::engine::model::ANY_KEY;
use pg_raw_parse::Node;
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::Arc;

/// Of one part of an expression.
#[derive(Clone, Debug, Default)]
pub(super) struct Under {
    /// Most parts have none.
    keys: Option<Rc<BTreeSet<Arc<str>>>>,
    /// With what is no constant; so far all of it gets there.
    is_compared: bool,
    /// It is one of those of which the least or greatest is shown.
    is_extreme: bool,
}

impl<'t> Analysis<'_, 't> {
    /// The same for a part that `node` hands down. `own`: what `node` adds; `from` and `to`: what it and the part do.
    pub(super) fn under(
        &mut self,
        node: Node<'t>,
        (from, to): (Part, Part),
        own: &Value,
        under: &Under,
    ) -> Result<Under, Doubt> {
        let begins_extreme = matches!(node, Node::MinMaxExpr(_));
        if to == Part::Flows && !begins_extreme && !under.is_extreme {
            return Ok(Under::default());
        }
        let begins = begins_extreme || std::mem::discriminant(&from) != std::mem::discriminant(&to);
        let tells = !begins || begins_extreme || matches!(to, Part::Chooses(_)) || documents::chooses(node);
        let mut keys = if begins { None } else { under.keys.clone() };
        let on_the_way = if begins { None } else { own.keys.as_ref() };
        let added = own.asked.iter().chain(on_the_way);
        for more in added.filter(|more| tells && !more.is_empty()) {
            let known = keys.get_or_insert_default();
            self.shared.spend(known.len() + more.len())?;
            Rc::make_mut(known).extend(more.iter().cloned());
        }
        let is_compared = match node {
            _ if documents::meets_unknown(node) => true,
            Node::TypeCast(_) => under.is_compared,
            _ => under.is_compared && self.below(node, Reach::Whole)? == Reach::Whole,
        };
        let is_extreme = to == Part::Flows;
        Ok(Under { keys, is_compared, is_extreme })
    }

    /// `value` with the keys that it is asked about where it stands.
    pub(super) fn told<'v>(&self, value: &'v Value) -> Cow<'v, Value> {
        let is_any = self.under.is_compared && self.shared.is_whole_document(value);
        if self.under.keys.is_none() && !is_any {
            return Cow::Borrowed(value);
        }
        let mut told = value.clone();
        for key in self.under.keys.iter().flat_map(|keys| keys.iter()) {
            told.asks(key);
        }
        if is_any {
            told.asks(ANY_KEY);
        }
        Cow::Owned(told)
    }

    /// The least of a document and a guess is one or the other.
    pub(super) fn chosen_by_keys<'v>(&self, value: &'v Value) -> Option<Cow<'v, Value>> {
        let told = self.under.is_extreme.then(|| self.told(value))?;
        matches!(told, Cow::Owned(_)).then_some(told)
    }

    /// One side of a comparison holds a document with all its keys, be it as text.
    pub(super) fn is_whole_side(&mut self, side: Node<'t>, value: &Value) -> Result<bool, Doubt> {
        let mut plain = side;
        while let Node::TypeCast(cast) = plain {
            plain = cast.arg();
        }
        let is_cast_column = matches!((side, plain), (Node::TypeCast(_), Node::ColumnRef(_)));
        if is_cast_column {
            let value = self.value(plain)?;
            return Ok(self.shared.is_whole_document(&value));
        }
        Ok(self.shared.is_whole_document(value))
    }
}

impl Shared<'_> {
    /// A document is in it with all its keys.
    pub(super) fn is_whole_document(&self, value: &Value) -> bool {
        value.bare && !value.reshaped && self.draws_from_documents(value)
    }

    /// The same, and whoever asks may have put a guess among such values.
    pub(super) fn is_mixed_document(&self, value: &Value) -> bool {
        !value.exact && value.keys.is_none() && self.is_whole_document(value)
    }

    fn draws_from_documents(&self, value: &Value) -> bool {
        let catalogue = self.names.catalogue;
        value.sources.iter().any(|(relation, attribute)| {
            let column = catalogue.relation(*relation).and_then(|relation| relation.attribute(*attribute));
            column.is_some_and(|column| catalogue.types().has_names(column.type_oid))
        })
    }
}
