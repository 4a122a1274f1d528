//! Series of one metric, found by position instead of by hashing label texts.

use super::labels::Closed;
use prometheus::core::{MetricVec, MetricVecBuilder};
use std::fmt;
use std::marker::PhantomData;
use std::sync::OnceLock;

/// The children of a vector whose labels are closed sets `A` × `B` × `C`.
///
/// A child is made at its first use, so the exposition shows only what happened; after that,
/// finding it costs one load. [`Children::fill`] makes them all, where a zero is worth seeing.
pub(super) struct Children<M, A, B = (), C = ()> {
    make: Box<Make<M>>,
    cells: Box<[OnceLock<M>]>,
    labels: PhantomData<fn(A, B, C)>,
}

/// From label words to the child that has them.
type Make<M> = dyn Fn(&[&str]) -> Option<M> + Send + Sync;

impl<M, A, B, C> fmt::Debug for Children<M, A, B, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Children").field("cells", &self.cells.len()).finish_non_exhaustive()
    }
}

/// The label that is not there: one value, no word.
impl Closed for () {
    const ALL: &'static [Self] = &[()];
    fn index(self) -> usize {
        0
    }
    fn word(self) -> &'static str {
        ""
    }
}

impl<M, A: Closed, B: Closed, C: Closed> Children<M, A, B, C> {
    pub(super) fn new<V>(vector: MetricVec<V>) -> Self
    where
        V: MetricVecBuilder<M = M> + 'static,
        M: Send + Sync,
    {
        let cells = (0..A::ALL.len() * B::ALL.len() * C::ALL.len()).map(|_| OnceLock::new()).collect();
        let make = Box::new(move |words: &[&str]| vector.get_metric_with_label_values(words).ok());
        Self { make, cells, labels: PhantomData }
    }

    /// `None` cannot happen for values of the sets; a metric is never worth a panic.
    pub(super) fn at(&self, a: A, b: B, c: C) -> Option<&M> {
        let cell = self.cells.get(Self::position(a, b, c))?;
        if let Some(child) = cell.get() {
            return Some(child);
        }
        let words = [a.word(), b.word(), c.word()];
        let present: Vec<&str> = words.into_iter().filter(|word| !word.is_empty()).collect();
        let child = (self.make)(&present)?;
        Some(cell.get_or_init(|| child))
    }

    /// Makes every child, so that all show from the start with zero.
    pub(super) fn fill(self) -> Self {
        for &a in A::ALL {
            for &b in B::ALL {
                for &c in C::ALL {
                    let _ = self.at(a, b, c);
                }
            }
        }
        self
    }

    /// The child if it was ever used.
    pub(super) fn made(&self, a: A, b: B, c: C) -> Option<&M> {
        self.cells.get(Self::position(a, b, c))?.get()
    }

    fn position(a: A, b: B, c: C) -> usize {
        (a.index() * B::ALL.len() + b.index()) * C::ALL.len() + c.index()
    }
}
