//! How many connections each source has. A source is a user of the host in one cgroup: a service, a
//! container, a login session; or the address of another host. One that opens too many does not shut out the others.

use super::arrival::Who;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Source {
    /// Uid and cgroup id, as the kernel said at connect time.
    Process(u32, u64),
    Remote(IpAddr),
}

impl Source {
    pub fn of(who: &Who) -> Self {
        match who {
            Who::Process(attested) => Self::Process(attested.uid, attested.cgroup_id),
            Who::Remote(address) => Self::Remote(*address),
        }
    }
}

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
        let (first, second) = (sources.enter(Source::Process(1, 7)), sources.enter(Source::Process(1, 7)));
        assert_eq!((first.count, second.count), (1, 2));
        assert_eq!(sources.enter(Source::Process(2, 7)).count, 1, "another user");
        assert_eq!(sources.enter(Source::Process(1, 8)).count, 1, "another cgroup");
        drop(first);
        assert_eq!(sources.enter(Source::Process(1, 7)).count, 2);
        drop(second);
        assert!(sources.0.lock().is_empty());
    }
}
