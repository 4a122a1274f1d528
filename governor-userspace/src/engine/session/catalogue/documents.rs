//! Pieces of documents: a document that no label names is judged by its keys and values, and an expression over it may
//! hide both.

use super::Catalogue;
use crate::engine::masking::{Category, classify_column};
use crate::engine::model::{ANY_KEY, ColumnId, FIRST_USER_OID, Flow, Oid, SearchPath, Statement};

impl Catalogue {
    /// What a value may be that an expression makes out of documents; `None` where it shows what it is itself: a document as it
    /// is, another one with its keys, or the piece under keys that name nothing sensitive.
    ///
    /// A key that tells counts for every source: text may hold a document too.
    pub fn of_documents(&self, flow: &Flow, type_oid: u32) -> Option<Category> {
        if flow.exact || !flow.sources.iter().any(|(relation, _)| *relation >= FIRST_USER_OID) {
            return None;
        }
        let named = flow.keys.iter().find_map(|key| classify_column("", key, TEXT));
        if named.is_some() || !flow.sources.iter().any(|id| self.is_document(*id)) {
            return named;
        }
        // Within another document it is only a text.
        let is_text_within = type_oid != XML && flow.sources.iter().any(|id| self.type_of(*id) == Some(XML));
        let shows_itself =
            !flow.reshaped && (!flow.bare || self.data.types().has_names(type_oid) && !is_text_within);
        (!shows_itself).then_some(Category::Other)
    }

    /// It reads documents, or makes some of text, as far as is known.
    pub fn reads_documents(&self, statement: &Statement) -> bool {
        let anywhere = SearchPath::Unknown(String::new());
        let makes = || statement.text.as_bytes().windows(4).any(|word| word.eq_ignore_ascii_case(b"json"));
        let has = |name| {
            self.data.resolve(name, &anywhere).candidates().iter().any(|relation| {
                relation.columns.iter().any(|column| self.is_document((relation.oid, column.attribute)))
            })
        };
        statement.reads.iter().chain(&statement.writes).any(has) || makes()
    }

    /// What stands under `key` of the documents in a column of which nothing is known; `None` for a column that is
    /// sensitive itself, or cleared.
    pub fn under_key(&self, id: ColumnId, key: &str) -> Option<Category> {
        let is_judged = !self.is_sensitive_itself(id) && !self.sensitivity.is_cleared(id);
        if id.0 < FIRST_USER_OID || !is_judged {
            return None;
        }
        if key == ANY_KEY {
            return self.is_document(id).then_some(Category::Other);
        }
        classify_column("", key, TEXT)
    }

    fn is_document(&self, id: ColumnId) -> bool {
        id.0 >= FIRST_USER_OID
            && self.type_of(id).is_some_and(|type_oid| self.data.types().has_names(type_oid))
    }

    fn type_of(&self, (relation, attribute): ColumnId) -> Option<Oid> {
        let column = self.data.relation(relation)?.attribute(attribute)?;
        Some(self.data.types().base(column.type_oid))
    }
}

const TEXT: u32 = 25;
const XML: u32 = 142;
