//! The byte contract between governor's kernel programs and its agent.
//!
//! `no_std`, no dependencies of its own: both sides compile the same definitions. Every type that
//! crosses is `#[repr(C)]`, has no implicit padding (checked by [`assert_layout!`] at compile time,
//! because padding would carry uninitialised kernel stack into a map, which the verifier refuses),
//! and becomes an `aya::Pod` with the feature `user`.
#![no_std]

pub mod capture;
pub mod counter;
pub mod event;
pub mod flow;
pub mod limits;
pub mod process;
pub mod totals;

/// Checks at compile time that a shared type has the size that its fields add up to, then declares
/// it plain old data for user space.
#[macro_export]
macro_rules! assert_layout {
    ($type:ty, $size_bytes:expr, align $align_bytes:expr) => {
        const _: () = assert!(core::mem::size_of::<$type>() == $size_bytes, "unexpected size or padding");
        const _: () = assert!(core::mem::align_of::<$type>() == $align_bytes, "unexpected alignment");
        #[cfg(feature = "user")]
        // SAFETY: `repr(C)`, made of integers only, without padding (asserted above): any bytes are a value.
        unsafe impl aya::Pod for $type {}
    };
}
