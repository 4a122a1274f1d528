//! Pieces of documents: a document that no label names is judged by its keys and values, and an expression over it may
//! hide both.

use super::Catalogue;
use crate::engine::masking::{Category, classify_column};
use crate::engine::model::{ColumnId, FIRST_USER_OID, Flow, Oid, TypeShape};

impl Catalogue {
    /// What a value may be that an expression makes out of documents; `None` where it shows what it is itself: a document as it
    /// is, another one, or the piece under keys that name nothing sensitive.
    pub fn of_documents(&self, flow: &Flow, type_oid: u32) -> Option<Category> {
        if flow.exact || !flow.sources.iter().any(|id| self.is_document(*id)) {
            return None;
        }
        let named = flow.keys.iter().find_map(|key| classify_column("", key, TEXT));
        let shows_itself =
            !flow.keys.is_empty() || self.has_names(type_oid, 0) || is_number_or_flag(type_oid);
        named.or((!shows_itself).then_some(Category::Other))
    }

    fn is_document(&self, (relation, attribute): ColumnId) -> bool {
        if relation < FIRST_USER_OID {
            return false;
        }
        let column = self.data.relation(relation).and_then(|relation| relation.attribute(attribute));
        column.is_some_and(|column| self.has_names(column.type_oid, 0))
    }

    /// Its values are made of parts that have names: documents, pairs, rows; and lists of such.
    fn has_names(&self, type_oid: Oid, depth: usize) -> bool {
        let types = self.data.types();
        let base = types.base(type_oid);
        match types.shape(base) {
            Some(TypeShape::Hstore | TypeShape::Composite { .. }) => true,
            Some(TypeShape::Array { element, .. }) => depth < DEPTH_MAX && self.has_names(element, depth + 1),
            _ => DOCUMENTS.contains(&base),
        }
    }
}

/// Types that hold no text.
fn is_number_or_flag(type_oid: u32) -> bool {
    type_oid != 0 && !crate::engine::masking::could_carry(type_oid)
}

const TEXT: u32 = 25;
/// json, xml, jsonb.
const DOCUMENTS: [u32; 3] = [114, 142, 3802];
/// Lists of lists.
const DEPTH_MAX: usize = 4;
