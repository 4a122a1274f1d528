//! What records and approvals show of constants and bound values that stand beside sensitive columns: nothing.
//!
//! `WHERE password = 'x'` in a record tells what the result of `SELECT password` hides, whatever the value looks like. So a
//! constant goes by the columns that it is compared with or put into (`sql/postgres/constants.rs`), and those are sensitive
//! by the catalogue, as in results: by name, label, finding or ruling, or by what they are drawn from. Where nothing is
//! known of a name, its words count, as for columns of results. What detectors know is hidden in any case.
//!
//! Only what people read goes this way. What is sent, compared with an approval and counted by shape is the text as it came.

use super::catalogue::Catalogue;
use super::facts::StatementRef;
use super::fault;
use super::governance::Governance;
use super::meaning::Meaning;
use super::{Parameters, Session};
use crate::engine::masking::{KeyRing, classify_column, mask_text, mask_unknown, may_be_token, reveal};
use crate::engine::model::{Column, Relation, RelationName, SearchPath, Statement, Unknown};
use crate::engine::sql::{BesideName, Constants, constants};
use quick_cache::unsync::Cache;
use std::sync::Arc;

/// What a record leaves out of one statement.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Hidden {
    /// In place of the text, where something is left out: whole, and as records have it.
    text: Option<(Arc<str>, Arc<str>)>,
    /// Bound values by number, 1 and up.
    parameters: Vec<u16>,
    /// Each of them: nobody knows which.
    every_parameter: bool,
    /// What the grammar stumbled over, where that is left out.
    unknown: Option<Unknown>,
    /// The value of the setting that it sets.
    setting: bool,
}

/// What records leave out of a statement that is judged.
#[derive(Clone, Debug, Default)]
pub(super) struct LeftOut {
    pub own: Option<Arc<Hidden>>,
    /// Of each statement that it stands for.
    pub behind: Vec<Option<Arc<Hidden>>>,
    /// By which tokens are known; `None` where nothing is left out.
    keys: Option<Arc<KeyRing>>,
}

impl LeftOut {
    /// Bound values as the record shows them. A token stays: it tells what a result shows.
    pub fn parameters(&self, parameters: &Parameters) -> Parameters {
        let (Some(hidden), Some(keys)) = (self.own.as_deref(), &self.keys) else {
            return parameters.clone();
        };
        if parameters.is_empty() {
            return parameters.clone();
        }
        let shown = (1u16..).zip(parameters.iter()).map(|(number, value)| {
            let value = value.as_deref()?;
            let is_hidden = hidden.has(number) && !is_token(value, keys);
            Some(if is_hidden { HIDDEN.into() } else { value.to_owned() })
        });
        shown.collect()
    }

    /// In the order of the statements.
    pub fn each(&self) -> impl Iterator<Item = Option<&Hidden>> {
        std::iter::once(&self.own).chain(&self.behind).map(Option::as_deref)
    }
}

/// One worker's memory of constants.
pub struct BesideCache {
    texts: Cache<Box<str>, Entry>,
}

#[derive(Clone)]
struct Entry {
    constants: Arc<Constants>,
    /// Which literals and parameters were hidden last, and what came of it.
    last: Option<(Box<[bool]>, Arc<Hidden>)>,
}

impl Default for BesideCache {
    fn default() -> Self {
        Self { texts: Cache::new(TEXTS_COUNT_MAX) }
    }
}

impl std::fmt::Debug for BesideCache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BesideCache").field("texts", &self.texts.len()).finish_non_exhaustive()
    }
}

impl BesideCache {
    fn entry(&mut self, text: &str) -> Entry {
        if let Some(found) = self.texts.get(text) {
            return found.clone();
        }
        let entry = Entry { constants: constants(text).into(), last: None };
        self.keep(text, entry.clone());
        entry
    }

    fn keep(&mut self, text: &str, entry: Entry) {
        if text.len() <= TEXT_BYTES_MAX {
            self.texts.insert(text.into(), entry);
        }
    }
}

impl Hidden {
    /// The whole text, and whatever was bound: governor failed.
    fn everything() -> Self {
        let text: Arc<str> = "[masked]".into();
        Self {
            text: Some((text.clone(), text)),
            parameters: Vec::new(),
            every_parameter: true,
            unknown: None,
            setting: true,
        }
    }

    fn has(&self, parameter: u16) -> bool {
        self.every_parameter || self.parameters.binary_search(&parameter).is_ok()
    }

    /// The text as records have it.
    pub fn recorded(&self) -> Option<&Arc<str>> {
        self.text.as_ref().map(|(_, recorded)| recorded)
    }

    pub fn unknown(&self) -> Option<&Unknown> {
        self.unknown.as_ref()
    }

    /// The statement without what is hidden; facts stay.
    pub fn leave_out(&self, statement: &mut Statement) {
        if let Some((text, _)) = &self.text {
            statement.text = text.clone();
            if let Some(unknown) = &self.unknown {
                statement.unknown = Some(unknown.clone());
            }
        }
        if self.setting
            && let Some((_, Some(value))) = &mut statement.setting
        {
            *value = HIDDEN.into();
        }
        if let Some(inner) = &mut statement.inner {
            self.leave_out(inner);
        }
    }
}

impl Session {
    /// What records leave out of a statement, and of each that it stands for.
    pub(super) fn hidden_of(
        &self,
        statement: &StatementRef,
        executes: &[Meaning],
        governance: &mut Governance,
    ) -> LeftOut {
        if !self.restricted {
            return LeftOut::default();
        }
        let behind: Vec<_> =
            executes.iter().map(|meaning| self.hidden_in(&meaning.statement, &[], governance)).collect();
        // Of what nobody saw prepared, nobody knows what its arguments are for.
        let in_doubt = executes.iter().any(|meaning| meaning.statement.unknown.is_some());
        let own = match in_doubt {
            true => {
                let doubt = Hidden { every_parameter: true, ..Hidden::default() };
                self.hidden_in(statement, &[Some(doubt.into())], governance)
            }
            false => self.hidden_in(statement, &behind, governance),
        };
        let keys = own.as_ref().map(|_| governance.masker.keys.clone());
        LeftOut { own, behind, keys }
    }

    fn hidden_in(
        &self,
        statement: &StatementRef,
        behind: &[Option<Arc<Hidden>>],
        governance: &mut Governance,
    ) -> Option<Arc<Hidden>> {
        fault::guarded("beside", || self.look_beside(statement, behind, governance))
            .unwrap_or_else(|| Some(Hidden::everything().into()))
    }

    fn look_beside(
        &self,
        statement: &StatementRef,
        behind: &[Option<Arc<Hidden>>],
        governance: &mut Governance,
    ) -> Option<Arc<Hidden>> {
        let entry = governance.beside.entry(&statement.text);
        let setting = statement.setting.as_ref().is_some_and(|(name, _)| says_sensitive(name));
        if entry.constants.is_empty() && !setting {
            return None;
        }
        let literals = entry.constants.literals.iter().map(|(_, beside)| beside);
        let parameters = entry.constants.parameters.iter().map(|(_, beside)| beside);
        let flags: Box<[bool]> = literals
            .chain(parameters)
            .map(|beside| beside.iter().any(|name| self.is_sensitive(name, statement, behind)))
            .collect();
        if !setting && !flags.contains(&true) {
            return None;
        }
        if let Some((last, hidden)) = &entry.last
            && *last == flags
            && hidden.setting == setting
        {
            return Some(hidden.clone());
        }
        let hidden = Arc::new(left_out(statement, &entry.constants, &flags, setting, governance));
        // What does not parse says of itself why, which may be another thing another time.
        if statement.unknown.is_none() {
            let entry = Entry { last: Some((flags, hidden.clone())), ..entry };
            governance.beside.keep(&statement.text, entry);
        }
        Some(hidden)
    }

    fn is_sensitive(&self, name: &BesideName, statement: &Statement, behind: &[Option<Arc<Hidden>>]) -> bool {
        let catalogue = self.catalogue.as_deref();
        match name {
            BesideName::Word(word) => says_sensitive(word),
            BesideName::Parameter(number) => behind.iter().flatten().any(|hidden| hidden.has(*number)),
            BesideName::Argument(function, place) => catalogue.is_some_and(|catalogue| {
                let functions = catalogue.data.user_functions(function, &SearchPath::Unknown(String::new()));
                functions
                    .iter()
                    .any(|f| f.argument_names.get(*place).is_some_and(|name| says_sensitive(name)))
            }),
            BesideName::Place(relation, place) => catalogue.is_some_and(|catalogue| {
                in_relation(relation, catalogue, |relation| relation.columns.get(*place)).unwrap_or(false)
            }),
            BesideName::AnyColumn => catalogue.is_some_and(|catalogue| {
                relations(statement).any(|relation| {
                    in_relation(relation, catalogue, |relation| relation.columns.iter()).unwrap_or(false)
                })
            }),
            BesideName::Column(column) => {
                let Some(catalogue) = catalogue else { return says_sensitive(column) };
                let mut known = false;
                for relation in relations(statement) {
                    match in_relation(relation, catalogue, |relation| relation.column(column)) {
                        Some(true) => return true,
                        Some(false) => known = true,
                        None => {}
                    }
                }
                // Of a function, of a temporary table, or of a statement of which little is known.
                !known && says_sensitive(column)
            }
        }
    }
}

/// Whether one of these columns of a relation is sensitive; `None` where there is none of them.
fn in_relation<'c, C: IntoIterator<Item = &'c Column>>(
    name: &RelationName,
    catalogue: &'c Catalogue,
    columns: impl Fn(&'c Relation) -> C,
) -> Option<bool> {
    let mut answer = None;
    // Whichever of this name it is.
    let anywhere = SearchPath::Unknown(String::new());
    for relation in catalogue.data.resolve(name, &anywhere).candidates() {
        for column in columns(relation) {
            if catalogue.category(relation.oid, column.attribute).is_some() {
                return Some(true);
            }
            answer = Some(false);
        }
    }
    answer
}

/// Of what it names: what it reads and what it changes.
fn relations(statement: &Statement) -> impl Iterator<Item = &RelationName> {
    statement.reads.iter().chain(&statement.writes)
}

/// A name that would make a column sensitive whatever it is in.
fn says_sensitive(name: &str) -> bool {
    let name = name.rsplit('.').next().unwrap_or(name);
    classify_column("", name, TEXT).is_some()
}

/// `flags`: of the literals, then of the parameters.
fn left_out(
    statement: &Statement,
    constants: &Constants,
    flags: &[bool],
    setting: bool,
    governance: &Governance,
) -> Hidden {
    let text = &*statement.text;
    let mut without = String::new();
    let mut unknown = statement.unknown.clone();
    let mut copied = 0;
    for ((place, _), _) in constants.literals.iter().zip(flags).filter(|(_, hidden)| **hidden) {
        let Some(literal) = text.get(place.clone()) else { continue };
        without.push_str(text.get(copied..place.start).unwrap_or_default());
        without.push_str(if literal.contains(['\'', '$']) { HIDDEN_QUOTED } else { HIDDEN });
        copied = place.end;
        if let Some(Unknown::Unparsable { message }) = &mut unknown {
            *message = message.replace(literal, HIDDEN_QUOTED);
        }
    }
    let text = (copied > 0).then(|| {
        without.push_str(text.get(copied..).unwrap_or_default());
        let recorded = mask_text(&governance.masker, &without, governance.limits.record_text_bytes_max);
        (without.into(), recorded.into())
    });
    let changed = unknown.filter(|unknown| statement.unknown.as_ref() != Some(unknown));
    let changed = changed.map(|unknown| mask_unknown(&governance.masker, &unknown));
    let of_parameters = flags.get(constants.literals.len()..).unwrap_or_default();
    let parameters = constants.parameters.iter().zip(of_parameters).filter(|(_, hidden)| **hidden);
    let parameters = parameters.map(|((number, _), _)| *number).collect();
    Hidden { text, parameters, every_parameter: false, unknown: changed, setting }
}

/// One that governor made, not one that looks so.
fn is_token(value: &str, keys: &KeyRing) -> bool {
    may_be_token(value.as_bytes()).is_some_and(|token| reveal(keys, token).is_ok())
}

/// In place of a constant, and of one that was quoted.
const HIDDEN: &str = "***";
const HIDDEN_QUOTED: &str = "'***'";
const TEXT: u32 = 25;
/// Texts with constants, per worker.
const TEXTS_COUNT_MAX: usize = 1_024;
/// Longer texts are read each time.
const TEXT_BYTES_MAX: usize = 16 << 10;
