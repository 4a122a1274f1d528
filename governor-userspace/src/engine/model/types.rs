//! What the values of a type are made of: arrays, composites, ranges, domains, and a few types of extensions.
//!
//! Types of the server have fixed numbers and stand in a table here; those of users come from the catalogue.
//! Source of the table: `src/include/catalog/pg_type.dat`.

use super::{HiddenConstants, Oid};
use std::collections::HashMap;
use std::sync::Arc;

/// How a value of a type is put together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TypeShape {
    /// `delimiter` stands between elements in text format.
    Array { element: Oid, delimiter: u8 },
    /// A type with conditions: its values are those of `base`.
    Domain { base: Oid },
    /// A row. `fields` are in order; `None`: an anonymous record, whose binary form alone tells its types.
    Composite { fields: Option<Arc<[RowField]>> },
    /// Two bounds of `subtype`.
    Range { subtype: Oid },
    /// A list of ranges over `subtype`.
    Multirange { subtype: Oid },
    /// One word of a list.
    Enum,
    /// Text in both formats: citext.
    Text,
    /// Keys and values of text.
    Hstore,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowField {
    pub name: Arc<str>,
    pub type_oid: Oid,
}

/// The types of one database.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Types {
    of_users: HashMap<Oid, TypeShape>,
    /// Constants that stand in definitions as values of sensitive columns.
    hidden: HiddenConstants,
}

const JSON: Oid = 114;
const JSONB: Oid = 3_802;

impl Types {
    /// `None`: not made of others, or not known.
    pub fn shape(&self, oid: Oid) -> Option<TypeShape> {
        built_in(oid).or_else(|| self.of_users.get(&oid).cloned())
    }

    /// Values of this type are made of parts that have names: documents, pairs, rows; and lists of such.
    pub fn has_names(&self, type_oid: Oid) -> bool {
        let mut base = self.base(type_oid);
        for _ in 0..LISTS_DEEP_MAX {
            match self.shape(base) {
                Some(TypeShape::Hstore | TypeShape::Composite { .. }) => return true,
                Some(TypeShape::Array { element, .. }) => base = self.base(element),
                _ => return DOCUMENTS.contains(&base),
            }
        }
        false
    }

    /// The type that values of `oid` have on the wire: domains are sent as what they are made of.
    pub fn base(&self, oid: Oid) -> Oid {
        let mut oid = oid;
        for _ in 0..DOMAINS_DEEP_MAX {
            match self.of_users.get(&oid) {
                Some(TypeShape::Domain { base }) => oid = *base,
                _ => return oid,
            }
        }
        // Deeper than any honest chain: a type that nothing is known of.
        0
    }

    /// Its values are documents with keys: json, jsonb, hstore.
    pub fn is_document(&self, oid: Oid) -> bool {
        let base = self.base(oid);
        matches!(base, JSON | JSONB) || self.shape(base) == Some(TypeShape::Hstore)
    }

    /// What no definition may show.
    pub fn hidden(&self) -> &HiddenConstants {
        &self.hidden
    }

    /// Takes what no definition may show.
    pub fn hide(&mut self, constants: HiddenConstants) {
        self.hidden = constants;
    }

    /// Takes a type; of more than a bound nothing is known.
    pub fn add(&mut self, oid: Oid, shape: TypeShape) {
        if self.of_users.len() < TYPES_COUNT_MAX {
            self.of_users.insert(oid, shape);
        }
    }
}

/// Types of the server that are made of others.
fn built_in(oid: Oid) -> Option<TypeShape> {
    if oid > LAST_BUILT_IN {
        return None;
    }
    if let Ok(at) = ARRAYS.binary_search_by_key(&oid, |(array, _)| *array)
        && let Some((_, element)) = ARRAYS.get(at)
    {
        // Arrays of boxes are the only ones without a comma.
        let delimiter = if *element == 603 { b';' } else { b',' };
        return Some(TypeShape::Array { element: *element, delimiter });
    }
    let subtype = |oid: Oid| {
        let at = RANGES.binary_search_by_key(&oid, |(range, _)| *range).ok()?;
        RANGES.get(at).map(|(_, subtype)| *subtype)
    };
    match oid {
        2249 => Some(TypeShape::Composite { fields: None }),
        4451 => Some(TypeShape::Multirange { subtype: 23 }),
        4532 => Some(TypeShape::Multirange { subtype: 1700 }),
        4533 => Some(TypeShape::Multirange { subtype: 1114 }),
        4534 => Some(TypeShape::Multirange { subtype: 1184 }),
        4535 => Some(TypeShape::Multirange { subtype: 1082 }),
        4536 => Some(TypeShape::Multirange { subtype: 20 }),
        oid => subtype(oid).map(|subtype| TypeShape::Range { subtype }),
    }
}

/// Sorted.
const RANGES: [(Oid, Oid); 6] =
    [(3904, 23), (3906, 1700), (3908, 1114), (3910, 1184), (3912, 1082), (3926, 20)];

/// Array type and its elements' type, sorted.
const ARRAYS: [(Oid, Oid); 71] = [
    (143, 142),
    (199, 114),
    (271, 5069),
    (629, 628),
    (651, 650),
    (719, 718),
    (775, 774),
    (791, 790),
    (1000, 16),
    (1001, 17),
    (1002, 18),
    (1003, 19),
    (1005, 21),
    (1006, 22),
    (1007, 23),
    (1008, 24),
    (1009, 25),
    (1010, 27),
    (1011, 28),
    (1012, 29),
    (1013, 30),
    (1014, 1042),
    (1015, 1043),
    (1016, 20),
    (1017, 600),
    (1018, 601),
    (1019, 602),
    (1020, 603),
    (1021, 700),
    (1022, 701),
    (1027, 604),
    (1028, 26),
    (1034, 1033),
    (1040, 829),
    (1041, 869),
    (1115, 1114),
    (1182, 1082),
    (1183, 1083),
    (1185, 1184),
    (1187, 1186),
    (1231, 1700),
    (1263, 2275),
    (1270, 1266),
    (1561, 1560),
    (1563, 1562),
    (2287, 2249),
    (2949, 2970),
    (2951, 2950),
    (3221, 3220),
    (3643, 3614),
    (3644, 3642),
    (3645, 3615),
    (3735, 3734),
    (3770, 3769),
    (3807, 3802),
    (3905, 3904),
    (3907, 3906),
    (3909, 3908),
    (3911, 3910),
    (3913, 3912),
    (3927, 3926),
    (4073, 4072),
    (4090, 4089),
    (4097, 4096),
    (5039, 5038),
    (6150, 4451),
    (6151, 4532),
    (6152, 4533),
    (6153, 4534),
    (6155, 4535),
    (6157, 4536),
];

/// Numbers up to here are the same in every database.
const LAST_BUILT_IN: Oid = 9_999;
/// json, xml, jsonb.
const DOCUMENTS: [Oid; 3] = [114, 142, 3_802];
/// Lists of lists.
const LISTS_DEEP_MAX: usize = 5;
const DOMAINS_DEEP_MAX: usize = 16;
/// About a hundred bytes each.
const TYPES_COUNT_MAX: usize = 500_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_are_sorted_for_binary_search() {
        assert!(ARRAYS.is_sorted() && RANGES.is_sorted());
    }

    #[test]
    fn types_of_the_server_are_known_and_those_of_users_are_told() {
        let mut types = Types::default();
        assert_eq!(types.shape(1009), Some(TypeShape::Array { element: 25, delimiter: b',' }));
        assert_eq!(types.shape(1020), Some(TypeShape::Array { element: 603, delimiter: b';' }));
        assert_eq!(types.shape(3912), Some(TypeShape::Range { subtype: 1082 }));
        assert_eq!((types.shape(25), types.shape(20_000)), (None, None));
        types.add(20_000, TypeShape::Domain { base: 20_001 });
        types.add(20_001, TypeShape::Domain { base: 25 });
        types.add(20_002, TypeShape::Domain { base: 20_002 });
        assert_eq!((types.base(20_000), types.base(23), types.base(20_002)), (25, 23, 0));
    }
}
