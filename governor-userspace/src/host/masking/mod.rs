//! The keys of masking on disk, and what needs them beside masking: rotation and revealing.

mod keeper;
mod keys;

pub use keeper::{RevealAnswer, RevealError, RevealKeeper, RevealRequest, RevealedValue, RotateError};
pub use keys::{KEY_FILE, KeyInfo, KeySource, MaskingKeyError, MaskingKeys};

#[cfg(test)]
mod tests;
