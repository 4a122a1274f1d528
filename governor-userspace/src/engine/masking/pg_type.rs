//! PostgreSQL's built-in types, grouped by how a value of theirs can be replaced.
//!
//! Built-in types have fixed OIDs; everything above 16383 is made by users (domains are reported as
//! their base type, enums, composites and extension types are not).
//! Source: `src/include/catalog/pg_type.dat`.

/// Groups of types whose values are written alike in text and binary format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TypeClass {
    /// text, varchar, bpchar, name, unknown, cstring, xml, pg_node_tree: the same bytes in both formats.
    Text,
    /// `"char"`: one byte.
    SingleByte,
    /// Arrays of the types above: a list of texts in text format.
    TextArray,
    Json,
    Jsonb,
    Bytea,
    Bool,
    Int2,
    Int4,
    Int8,
    /// oid, xid, cid: unsigned, four bytes.
    Unsigned4,
    Unsigned8,
    Float4,
    Float8,
    Numeric,
    Money,
    Date,
    Time,
    TimeTz,
    Timestamp,
    TimestampTz,
    Interval,
    Uuid,
    Inet,
    Cidr,
    MacAddr,
    MacAddr8,
    /// Arrays, composites, ranges, geometric, bit strings, enums, extension types: anything at all.
    Other,
}

impl TypeClass {
    #[inline]
    pub(super) fn of(type_oid: u32) -> Self {
        match type_oid {
            16 => Self::Bool,
            17 => Self::Bytea,
            18 => Self::SingleByte,
            19 | 25 | 142 | 194 | 705 | BPCHAR | VARCHAR | 2275 => Self::Text,
            20 => Self::Int8,
            21 => Self::Int2,
            23 => Self::Int4,
            26 | 28 | 29 => Self::Unsigned4,
            114 => Self::Json,
            143 | 1002 | 1003 | 1009 | 1014 | 1015 => Self::TextArray,
            650 => Self::Cidr,
            700 => Self::Float4,
            701 => Self::Float8,
            774 => Self::MacAddr8,
            790 => Self::Money,
            829 => Self::MacAddr,
            869 => Self::Inet,
            1082 => Self::Date,
            1083 => Self::Time,
            1114 => Self::Timestamp,
            1184 => Self::TimestampTz,
            1186 => Self::Interval,
            1266 => Self::TimeTz,
            1700 => Self::Numeric,
            2950 => Self::Uuid,
            3802 => Self::Jsonb,
            5069 => Self::Unsigned8,
            _ => Self::Other,
        }
    }

    /// Text may stand in its values in a form that can be searched.
    pub(super) fn could_show_text(self) -> bool {
        matches!(
            self,
            Self::Text | Self::SingleByte | Self::TextArray | Self::Json | Self::Jsonb | Self::Other
        )
    }

    pub(super) fn is_number(self) -> bool {
        matches!(
            self,
            Self::Int2 | Self::Int4 | Self::Int8 | Self::Float4 | Self::Float8 | Self::Numeric | Self::Money
        )
    }

    /// A calendar day can be read from it.
    pub(super) fn is_day(self) -> bool {
        matches!(self, Self::Date | Self::Timestamp | Self::TimestampTz)
    }

    pub(super) fn is_network(self) -> bool {
        matches!(self, Self::Inet | Self::Cidr | Self::MacAddr | Self::MacAddr8)
    }
}

pub(super) const BPCHAR: u32 = 1042;
pub(super) const VARCHAR: u32 = 1043;
pub(super) const TEXT: u32 = 25;
pub(super) const NUMERIC: u32 = 1700;
pub(super) const XML: u32 = 142;

/// The most characters a text value of this type may have; `None` where there is no limit.
pub(super) fn characters_max(type_oid: u32, type_modifier: i32) -> Option<usize> {
    match type_oid {
        // The modifier counts four bytes of header that no longer exist.
        BPCHAR | VARCHAR => usize::try_from(type_modifier.checked_sub(4)?).ok().filter(|&n| n > 0),
        19 => Some(63),
        18 => Some(1),
        _ => None,
    }
}
