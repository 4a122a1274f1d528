//! Names that a client gives to prepared statements and portals, while replies are outstanding.
//!
//! A name may be re-used before the server has answered, and a request to re-use it may fail. So a
//! name stands for everything that it *may* mean: what the server confirmed, and what is under way.
//! Decisions are made for all of them and the strictest counts; a name is never judged by a meaning
//! that the server may have refused.

use std::collections::HashMap;

/// Identifies one request to (re-)define a name.
pub(super) type Ticket = u64;

/// What a name may mean.
#[derive(Debug)]
struct Slot<T> {
    confirmed: Option<T>,
    pending: Vec<(Ticket, T)>,
}

/// Names and their possible meanings, bounded in number.
#[derive(Debug)]
pub(super) struct Slots<T> {
    by_name: HashMap<Box<[u8]>, Slot<T>>,
    /// The unnamed one is by far the most used; it does not go through the map.
    unnamed: Slot<T>,
    names_max: usize,
}

impl<T> Slots<T> {
    pub fn new(names_max: usize) -> Self {
        Self { by_name: HashMap::new(), unnamed: Slot { confirmed: None, pending: Vec::new() }, names_max }
    }

    fn slot(&self, name: &[u8]) -> Option<&Slot<T>> {
        if name.is_empty() { Some(&self.unnamed) } else { self.by_name.get(name) }
    }

    fn slot_mut(&mut self, name: &[u8]) -> Option<&mut Slot<T>> {
        if name.is_empty() { Some(&mut self.unnamed) } else { self.by_name.get_mut(name) }
    }

    /// A request to define `name` goes to the server. False where too many names are in use:
    /// then the name has no known meaning.
    pub fn define(&mut self, name: &[u8], ticket: Ticket, value: T) -> bool {
        if let Some(slot) = self.slot_mut(name) {
            slot.pending.push((ticket, value));
            return true;
        }
        if self.by_name.len() >= self.names_max {
            return false;
        }
        self.by_name.insert(name.into(), Slot { confirmed: None, pending: vec![(ticket, value)] });
        true
    }

    /// The server did it: this is now the only meaning, beside later requests under way.
    pub fn confirm(&mut self, name: &[u8], ticket: Ticket) {
        if let Some(slot) = self.slot_mut(name)
            && let Some(index) = slot.pending.iter().position(|(t, _)| *t == ticket)
        {
            slot.confirmed = slot.pending.drain(..=index).next_back().map(|(_, value)| value);
        }
    }

    /// The server refused or skipped it.
    pub fn reject(&mut self, name: &[u8], ticket: Ticket) {
        if let Some(slot) = self.slot_mut(name) {
            slot.pending.retain(|(t, _)| *t != ticket);
            if slot.confirmed.is_none() && slot.pending.is_empty() && !name.is_empty() {
                self.by_name.remove(name);
            }
        }
    }

    /// The server confirmed that the name is gone.
    pub fn close(&mut self, name: &[u8]) {
        if let Some(slot) = self.slot_mut(name) {
            slot.confirmed = None;
            if slot.pending.is_empty() && !name.is_empty() {
                self.by_name.remove(name);
            }
        }
    }

    /// All names are gone; requests under way stay.
    pub fn close_all(&mut self) {
        self.unnamed.confirmed = None;
        self.by_name.retain(|_, slot| {
            slot.confirmed = None;
            !slot.pending.is_empty()
        });
    }

    /// Everything that `name` may mean, the newest last.
    pub fn meanings(&self, name: &[u8]) -> impl Iterator<Item = &T> {
        self.slot(name)
            .into_iter()
            .flat_map(|slot| slot.confirmed.iter().chain(slot.pending.iter().map(|(_, value)| value)))
    }

    /// The one meaning of a name that has exactly one.
    pub fn only(&self, name: &[u8]) -> Option<&T> {
        let mut all = self.meanings(name);
        let first = all.next()?;
        all.next().is_none().then_some(first)
    }

    /// The meaning that the server confirmed last.
    pub fn confirmed_mut(&mut self, name: &[u8]) -> Option<&mut T> {
        self.slot_mut(name)?.confirmed.as_mut()
    }

    /// The meaning that a request made now would get if everything under way succeeds.
    pub fn newest_mut(&mut self, name: &[u8]) -> Option<&mut T> {
        let slot = self.slot_mut(name)?;
        match slot.pending.last_mut() {
            Some((_, value)) => Some(value),
            None => slot.confirmed.as_mut(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meanings(slots: &Slots<&'static str>, name: &[u8]) -> Vec<&'static str> {
        slots.meanings(name).copied().collect()
    }

    #[test]
    fn a_refused_redefinition_does_not_hide_the_first_meaning() {
        let mut s = Slots::new(10);
        s.define(b"a", 1, "delete");
        s.confirm(b"a", 1);
        s.define(b"a", 2, "select");
        assert_eq!(meanings(&s, b"a"), ["delete", "select"]);
        assert_eq!(s.only(b"a"), None);
        s.reject(b"a", 2);
        assert_eq!(meanings(&s, b"a"), ["delete"]);
    }

    #[test]
    fn a_confirmed_redefinition_replaces_the_first_meaning() {
        let mut s = Slots::new(10);
        s.define(b"", 1, "one");
        s.confirm(b"", 1);
        s.define(b"", 2, "two");
        s.confirm(b"", 2);
        assert_eq!(s.only(b""), Some(&"two"));
        s.close(b"");
        assert_eq!(meanings(&s, b""), [] as [&str; 0]);
    }

    #[test]
    fn names_are_bounded_and_freed() {
        let mut s = Slots::new(1);
        assert!(s.define(b"a", 1, "x"));
        assert!(!s.define(b"b", 2, "y"));
        s.reject(b"a", 1);
        assert!(s.define(b"b", 3, "y"));
        s.confirm(b"b", 3);
        s.close_all();
        assert!(s.define(b"c", 4, "z"));
    }
}
