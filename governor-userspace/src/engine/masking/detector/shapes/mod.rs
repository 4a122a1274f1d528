//! The table of shapes: what each kind of value looks like, and what must also hold.
//!
//! A pattern describes the whole value. It has no anchors of its own: `mod.rs` anchors it for whole
//! values, and `text.rs` looks for those with `in_text` inside longer text. Patterns are plain ASCII
//! byte classes, open-ended where a length does not matter, so that the lazy DFA stays small; what a
//! pattern cannot say is in `check`. A shape with a check that may refuse has a bounded pattern, or is
//! not `in_text`: looking for it in text stays linear.
//!
//! Numbers written without any separator are not here: `numbers.rs` has them, by their length.

mod credentials;
mod money;
mod national;
mod places;

pub(super) use money::{card, card_digits, email_fits, iban, iban_length, us_routing_number};

pub(super) use places::is_ipv4;

use super::kind::Kind;

/// Which first look a shape passes, so that a value meets few patterns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Group {
    /// Has an `@` and stands alone.
    Mail,
    /// Sixteen bytes or more, without blanks: tokens, keys, hashes, addresses of services. Or a key in PEM.
    Token,
    /// Digits, letters and separators, at most `ID_BYTES_MAX` bytes.
    Id,
    /// Several words with a comma.
    Place,
}

/// One kind of value.
#[derive(Clone, Copy)]
pub(super) struct Shape {
    pub(super) kind: Kind,
    pub(super) group: Group,
    pub(super) pattern: &'static str,
    /// What must hold beyond the pattern.
    pub(super) check: fn(&[u8]) -> bool,
    /// Below [`ALONE_PERCENT_MIN`] it counts in context only.
    pub(super) confidence_percent: u8,
    /// Distinct enough to be looked for inside longer text.
    pub(super) in_text: bool,
}

/// A value is masked for what it is, wherever it stands, from this confidence on.
pub(super) const ALONE_PERCENT_MIN: u8 = 50;

const fn shape(
    kind: Kind,
    group: Group,
    confidence_percent: u8,
    in_text: bool,
    pattern: &'static str,
    check: fn(&[u8]) -> bool,
) -> Shape {
    Shape { kind, group, pattern, check, confidence_percent, in_text }
}

impl Shape {
    /// Letters and digits without any separator: inside text it is a run between other bytes, and no pattern has to
    /// be looked for at every place.
    pub(super) fn is_run(&self) -> bool {
        use Kind as K;
        matches!(
            self.kind,
            K::UkDrivingLicence
                | K::IePps
                | K::ItCodiceFiscale
                | K::MxCurp
                | K::MxRfc
                | K::InPan
                | K::CnResidentId
                | K::TwId
                | K::SgNric
                | K::UsDea
                | K::PassportMrz
                | K::Vin
                | K::BitcoinAddress
                | K::LitecoinAddress
                | K::TronAddress
                | K::EthereumAddress
        )
    }
}

/// All shapes, in order of preference among equals.
pub(super) fn all() -> Vec<Shape> {
    [credentials::SHAPES, money::SHAPES, national::SHAPES, places::SHAPES].concat()
}

fn always(_: &[u8]) -> bool {
    true
}
