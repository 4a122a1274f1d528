//! Which names of FROM items are CTEs and not relations.
//!
//! A chain of names from the innermost WITH outwards. A name that is not found within
//! [`STEPS_MAX`] counts as a relation: reporting a relation too much is safe, one too few is not.

/// A place in the statement, as far as CTE names go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Scope(u32);

impl Scope {
    pub(super) const OUTERMOST: Scope = Scope(u32::MAX);
}

#[derive(Debug, Default)]
pub(super) struct Scopes<'a> {
    names: Vec<(&'a str, Scope)>,
}

impl<'a> Scopes<'a> {
    /// The scope in which `name` is visible on top of `outer`.
    pub(super) fn with(&mut self, outer: Scope, name: &'a str) -> Scope {
        match u32::try_from(self.names.len()) {
            Ok(at) if at != u32::MAX => {
                self.names.push((name, outer));
                Scope(at)
            }
            _ => outer,
        }
    }

    pub(super) fn is_cte(&self, scope: Scope, name: &str) -> bool {
        let mut at = scope;
        for _ in 0..STEPS_MAX {
            match self.names.get(at.0 as usize) {
                Some((known, _)) if *known == name => return true,
                Some((_, outer)) => at = *outer,
                None => return false,
            }
        }
        false
    }
}

/// Keeps the walk linear where a text has thousands of CTEs.
const STEPS_MAX: usize = 256;
