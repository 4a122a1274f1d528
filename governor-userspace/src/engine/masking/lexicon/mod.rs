//! What the names of columns and relations mean, in English, German, French and Spanish (and in `more.rs` Italian,
//! Portuguese, Dutch and Polish): data only, a file for what the phrases are about.
//!
//! A phrase is one or more words in the order in which they stand in the name; see `classify.rs` for
//! how a name is cut into words (accents are folded: `teléfono` is `telefono`, `straße` is `strasse`).
//! The longest phrase in a name wins, so a harmless long phrase overrules a sensitive short one.

mod around;
mod assets;
mod contact;
mod more;
mod person;
mod relations;

pub(super) use around::{ABOUT, QUESTIONS};
pub(super) use relations::{COPY_MARKS, PEOPLE};

use crate::engine::model::Category;

/// Where a phrase counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Anywhere in the name: `customer_email`, `email_home`.
    Anywhere,
    /// Only as the whole name: too short or too common a word otherwise.
    Whole,
    /// Only as the whole name, in a relation that holds people.
    OfPeople,
}

/// All phrases: (category or `None` for harmless, place, phrases). Words in a phrase are separated by one space.
pub(super) fn phrases() -> impl Iterator<Item = &'static (Option<Category>, Place, &'static [&'static str])> {
    [contact::PHRASES, person::PHRASES, assets::PHRASES, more::PHRASES].into_iter().flatten()
}
