//! Sensitive data: where it is, how to recognise it, how to hide it.

mod category;

pub use category::Category;
