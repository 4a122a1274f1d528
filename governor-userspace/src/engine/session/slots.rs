//! Names that a client gives to prepared statements and portals, while replies are outstanding.
//!
//! A name may be re-used before the server has answered, and a request to re-use it may fail. So a
//! name has the meaning that the server confirmed, and those that are under way: requests are judged by
//! the newest, which is theirs if the batch succeeds so far; replies belong to the confirmed one.

use std::collections::HashMap;

/// Identifies one request to (re-)define a name.
pub(super) type Ticket = u64;

/// What a name may mean.
#[derive(Debug)]
struct Slot<T> {
    confirmed: Option<T>,
    pending: Vec<(Ticket, T)>,
    /// What the meanings weigh together; counted until the name is free again.
    bytes: usize,
}

impl<T> Slot<T> {
    /// Once nothing is under way, the room that a long pipeline took.
    fn give_back(&mut self) {
        if self.pending.is_empty() {
            self.pending.shrink_to(PENDING_KEPT);
        }
    }
}

/// Names and their possible meanings, bounded in number.
#[derive(Debug)]
pub(super) struct Slots<T> {
    by_name: HashMap<Box<[u8]>, Slot<T>>,
    /// The unnamed one is by far the most used; it does not go through the map.
    unnamed: Slot<T>,
    names_max: usize,
    bytes: usize,
    bytes_max: usize,
}

impl<T> Slots<T> {
    pub fn new(names_max: usize, bytes_max: usize) -> Self {
        let unnamed = Slot { confirmed: None, pending: Vec::new(), bytes: 0 };
        Self { by_name: HashMap::new(), unnamed, names_max, bytes: 0, bytes_max }
    }

    fn slot(&self, name: &[u8]) -> Option<&Slot<T>> {
        if name.is_empty() { Some(&self.unnamed) } else { self.by_name.get(name) }
    }

    fn slot_mut(&mut self, name: &[u8]) -> Option<&mut Slot<T>> {
        if name.is_empty() { Some(&mut self.unnamed) } else { self.by_name.get_mut(name) }
    }

    /// A request to define `name` goes to the server; its meaning weighs `bytes`. False where too much
    /// is kept already: then the name has no known meaning.
    pub fn define(&mut self, name: &[u8], ticket: Ticket, value: T, bytes: usize) -> bool {
        if !name.is_empty() {
            let fits = self.by_name.contains_key(name) || self.by_name.len() < self.names_max;
            if !fits || self.bytes + bytes > self.bytes_max {
                return false;
            }
            self.bytes += bytes;
            let free = || Slot { confirmed: None, pending: Vec::new(), bytes: 0 };
            self.by_name.entry(name.into()).or_insert_with(free);
        }
        if let Some(slot) = self.slot_mut(name) {
            slot.bytes += bytes;
            slot.pending.push((ticket, value));
        }
        true
    }

    /// The server did it: this is now the only meaning, beside later requests under way.
    pub fn confirm(&mut self, name: &[u8], ticket: Ticket) {
        if let Some(slot) = self.slot_mut(name)
            && let Some(index) = slot.pending.iter().position(|(t, _)| *t == ticket)
        {
            slot.confirmed = slot.pending.drain(..=index).next_back().map(|(_, value)| value);
            slot.give_back();
        }
    }

    /// The server refused or skipped it.
    pub fn reject(&mut self, name: &[u8], ticket: Ticket) {
        if let Some(slot) = self.slot_mut(name) {
            slot.pending.retain(|(t, _)| *t != ticket);
            slot.give_back();
        }
        self.free(name);
    }

    /// The server confirmed that the name is gone.
    pub fn close(&mut self, name: &[u8]) {
        if let Some(slot) = self.slot_mut(name) {
            slot.confirmed = None;
        }
        self.free(name);
    }

    /// All names but the unnamed one are gone; requests under way stay.
    pub fn close_named(&mut self) {
        self.close_named_unless(|_| false);
    }

    /// As [`Self::close_named`]; what `stays` keeps its name.
    pub fn close_named_unless(&mut self, stays: impl Fn(&T) -> bool) {
        let mut freed = 0;
        self.by_name.retain(|_, slot| {
            if slot.confirmed.as_ref().is_some_and(&stays) {
                return true;
            }
            slot.confirmed = None;
            if slot.pending.is_empty() {
                freed += slot.bytes;
            }
            !slot.pending.is_empty()
        });
        self.bytes -= freed;
    }

    /// Nothing is known of any name but the unnamed one, not even of requests under way.
    pub fn forget_named(&mut self) {
        self.by_name.clear();
        self.bytes = 0;
    }

    /// Gives a name without meaning back.
    fn free(&mut self, name: &[u8]) {
        let is_free = |slot: &Slot<T>| slot.confirmed.is_none() && slot.pending.is_empty();
        if self.by_name.get(name).is_some_and(is_free)
            && let Some(slot) = self.by_name.remove(name)
        {
            self.bytes -= slot.bytes;
        }
    }

    /// Every meaning of every name.
    pub fn each_mut(&mut self) -> impl Iterator<Item = &mut T> {
        std::iter::once(&mut self.unnamed)
            .chain(self.by_name.values_mut())
            .flat_map(|slot| slot.confirmed.iter_mut().chain(slot.pending.iter_mut().map(|(_, value)| value)))
    }

    /// What a request made now would find under `name`. Exact within one batch: if an earlier request of
    /// it fails, the server skips this one too. Batches do not overlap where that matters.
    pub fn newest(&self, name: &[u8]) -> Option<&T> {
        let slot = self.slot(name)?;
        slot.pending.last().map(|(_, value)| value).or(slot.confirmed.as_ref())
    }

    /// As [`Self::newest`], where the server has confirmed it.
    pub fn settled(&self, name: &[u8]) -> Option<&T> {
        let slot = self.slot(name)?;
        slot.confirmed.as_ref().filter(|_| slot.pending.is_empty())
    }

    /// What the reply that comes now is about.
    pub fn confirmed(&self, name: &[u8]) -> Option<&T> {
        self.slot(name)?.confirmed.as_ref()
    }

    /// The meaning that the server confirmed last.
    pub fn confirmed_mut(&mut self, name: &[u8]) -> Option<&mut T> {
        self.slot_mut(name)?.confirmed.as_mut()
    }

    /// As [`Self::newest`].
    pub fn newest_mut(&mut self, name: &[u8]) -> Option<&mut T> {
        let slot = self.slot_mut(name)?;
        match slot.pending.last_mut() {
            Some((_, value)) => Some(value),
            None => slot.confirmed.as_mut(),
        }
    }
}

/// Room that stays for meanings that are under way.
const PENDING_KEPT: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_redefinition_does_not_hide_the_first_meaning() {
        let mut s = Slots::new(10, 100);
        s.define(b"a", 1, "delete", 10);
        s.confirm(b"a", 1);
        s.define(b"a", 2, "select", 10);
        assert_eq!((s.newest(b"a"), s.confirmed(b"a")), (Some(&"select"), Some(&"delete")));
        s.reject(b"a", 2);
        assert_eq!(s.newest(b"a"), Some(&"delete"));
    }

    #[test]
    fn a_confirmed_redefinition_replaces_the_first_meaning() {
        let mut s = Slots::new(10, 100);
        s.define(b"", 1, "one", 10);
        s.confirm(b"", 1);
        s.define(b"", 2, "two", 10);
        s.confirm(b"", 2);
        assert_eq!((s.newest(b""), s.confirmed(b"")), (Some(&"two"), Some(&"two")));
        s.close(b"");
        assert_eq!(s.newest(b""), None);
    }

    #[test]
    fn weight_is_bounded_and_given_back() {
        let mut s = Slots::new(10, 100);
        assert!(s.define(b"a", 1, "x", 90));
        assert!(!s.define(b"b", 2, "y", 20));
        assert!(s.define(b"", 3, "z", 1000), "the unnamed one is always at most one message");
        s.confirm(b"a", 1);
        s.close(b"a");
        assert!(s.define(b"b", 4, "y", 100));
        s.forget_named();
        assert!(s.define(b"c", 5, "y", 100));
    }

    #[test]
    fn names_are_bounded_and_freed() {
        let mut s = Slots::new(1, 100);
        assert!(s.define(b"a", 1, "x", 10));
        assert!(!s.define(b"b", 2, "y", 10));
        s.reject(b"a", 1);
        assert!(s.define(b"b", 3, "y", 10));
        s.confirm(b"b", 3);
        s.close_named();
        assert!(s.define(b"c", 4, "z", 10));
    }
}
