//! How many connections each source has. A source is a user of the host in one cgroup: a service, a
//! container, a login session. One that opens too many does not shut out the others.

use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;

/// Uid and cgroup id, as the kernel said at connect time.
pub(super) type Source = (u32, u64);

/// Open connections by source.
#[derive(Clone, Debug, Default)]
pub struct Sources(Arc<Mutex<HashMap<Source, usize>>>);

/// Counts one connection for as long as it lives.
#[derive(Debug)]
pub(super) struct Entered {
    sources: Sources,
    source: Source,
    /// Connections of the source when this one came, this one included.
    pub count: usize,
}

impl Sources {
    pub(super) fn enter(&self, source: Source) -> Entered {
        let mut open = self.0.lock();
        let count = open.entry(source).or_default();
        *count += 1;
        Entered { sources: self.clone(), source, count: *count }
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        let mut open = self.sources.0.lock();
        if let Some(count) = open.get_mut(&self.source) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                open.remove(&self.source);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_counted_apart_and_forgotten() {
        let sources = Sources::default();
        let (first, second) = (sources.enter((1, 7)), sources.enter((1, 7)));
        assert_eq!((first.count, second.count), (1, 2));
        assert_eq!(sources.enter((2, 7)).count, 1, "another user");
        assert_eq!(sources.enter((1, 8)).count, 1, "another cgroup");
        drop(first);
        assert_eq!(sources.enter((1, 7)).count, 2);
        drop(second);
        assert!(sources.0.lock().is_empty());
    }
}
