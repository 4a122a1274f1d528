//! A worker's memory of lineage and conditions: computed for results that the server gives no full origin of, and for
//! statements that read sensitive relations; kept by text.
//!
//! Valid under the catalogue and the search path that it was computed with; sessions with temporary relations
//! compute their own. Bounded in entries and in the length of texts and of what is kept.

use super::catalogue::Catalogue;
use crate::engine::model::{
    Conditions, Doubt, Lineage, SearchPath, SessionState, TempObjects, TempRows, Temporary,
};
use crate::engine::sql::{Names, flows_given};
use quick_cache::unsync::Cache;
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::{Arc, Weak};

/// One worker's lineages.
pub struct FlowsCache {
    texts: Cache<Box<str>, Entry>,
    /// Results whose description did not agree with what was expected.
    disagreements_count: u64,
}

impl std::fmt::Debug for FlowsCache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FlowsCache").field("texts", &self.texts.len()).finish_non_exhaustive()
    }
}

#[derive(Clone)]
struct Entry {
    catalogue: Weak<Catalogue>,
    search_path: SearchPath,
    flows: Flows,
}

/// What flows where in one command, and what has a say in its answer.
#[derive(Clone, Debug)]
pub(super) struct Flows {
    pub lineage: Arc<Lineage>,
    pub conditions: Arc<Conditions>,
}

impl Default for FlowsCache {
    fn default() -> Self {
        Self { texts: Cache::new(TEXTS_COUNT_MAX), disagreements_count: 0 }
    }
}

impl FlowsCache {
    /// The flows of one command's text in a session's state.
    pub(super) fn of(&mut self, text: &str, catalogue: &Arc<Catalogue>, state: &SessionState) -> Flows {
        self.given(text, catalogue, state, &BTreeSet::new())
    }

    /// The same where these parameters are tokens.
    pub(super) fn given(
        &mut self,
        text: &str,
        catalogue: &Arc<Catalogue>,
        state: &SessionState,
        tokens: &BTreeSet<u16>,
    ) -> Flows {
        let search_path = &state.search_path;
        let compute = |temporary: &dyn Fn(&str) -> Temporary| {
            let names = Names { catalogue: &catalogue.data, codes: &catalogue.codes, search_path, temporary };
            let (lineage, conditions) = flows_given(text, &names, tokens);
            Flows { lineage: lineage.into(), conditions: conditions.into() }
        };
        if !state.temporary.is_empty() || state.temporary.unseen.is_some() {
            return compute(&|name| temporary(&state.temporary, name));
        }
        // No text has a zero in it.
        let key: Cow<'_, str> = match tokens.is_empty() {
            true => text.into(),
            false => format!("{text}\0{tokens:?}").into(),
        };
        if let Some(found) = self.texts.get(&*key)
            && std::ptr::eq(found.catalogue.as_ptr(), Arc::as_ptr(catalogue))
            && found.search_path == *search_path
        {
            return found.flows.clone();
        }
        let flows = compute(&|_| Temporary::None);
        let kept = sources_count(&flows.lineage) + flows.conditions.size();
        if text.len() <= TEXT_BYTES_MAX && kept <= SOURCES_COUNT_MAX {
            let entry = Entry {
                catalogue: Arc::downgrade(catalogue),
                search_path: search_path.clone(),
                flows: flows.clone(),
            };
            self.texts.insert(key.into(), entry);
        }
        flows
    }

    /// The server describes other columns than expected: whatever is known counts for nothing.
    pub(super) fn disagreement(&mut self) -> Arc<Lineage> {
        self.disagreements_count += 1;
        Arc::new(Lineage::Unknown(Doubt::Disagreement))
    }

    /// Disagreements since the start.
    pub fn disagreements_count(&self) -> u64 {
        self.disagreements_count
    }
}

/// What a name means among a session's temporary relations.
fn temporary(objects: &TempObjects, name: &str) -> Temporary {
    match objects.get(name).map(|object| &object.rows) {
        Some(TempRows::Statements(sources)) => Temporary::Statements(
            sources.iter().map(|source| (source.text.clone(), source.search_path.clone())).collect(),
        ),
        Some(TempRows::Unknown(_)) => Temporary::Unknown,
        None if objects.unseen.is_some() => Temporary::Unknown,
        None => Temporary::None,
    }
}

fn sources_count(lineage: &Lineage) -> usize {
    match lineage {
        Lineage::Columns(flows) => {
            flows.iter().map(|flow| 1 + flow.sources.len() + flow.implicit.len()).sum()
        }
        Lineage::NoRows | Lineage::Unknown(_) => 1,
    }
}

/// Texts with lineage, per worker.
const TEXTS_COUNT_MAX: usize = 2_048;
/// Longer texts are read each time.
const TEXT_BYTES_MAX: usize = 16 << 10;
/// Of one text, all columns together; about 50 bytes each.
const SOURCES_COUNT_MAX: usize = 1_024;
