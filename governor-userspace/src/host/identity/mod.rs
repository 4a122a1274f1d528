//! From a pid that the kernel attests to a [`Principal`](crate::engine::model::Principal).
