//! Remembers principals as sessions need them: their command line masked, and as policy sees them.
//!
//! A process that connects again and again is the same principal each time, and the host gives the same one. To look through
//! its arguments for personal data costs more than all else that a session begins with.
//!
//! Invariant: an entry keeps the principal that it was made of, so none other can be at the same place.

use super::records::mask_command_line;
use crate::engine::masking::Masker;
use crate::engine::model::Principal;
use crate::engine::policy::PolicyPrincipal;
use lru::LruCache;
use std::num::NonZeroUsize;
use std::sync::Arc;

/// Who a session is for.
#[derive(Clone, Debug)]
pub(super) struct Subject {
    pub principal: Arc<Principal>,
    pub policy: PolicyPrincipal,
}

impl Subject {
    pub fn new(mut principal: Arc<Principal>, masker: &Masker) -> Self {
        mask_command_line(&mut principal, masker);
        Self { policy: PolicyPrincipal::new(principal.clone()), principal }
    }
}

/// Bounded memory of subjects, by the place of the principal that the host gave.
#[derive(Debug)]
pub(super) struct Subjects(LruCache<usize, (Arc<Principal>, Subject)>);

impl Default for Subjects {
    fn default() -> Self {
        Self(LruCache::new(SUBJECTS_COUNT_MAX))
    }
}

impl Subjects {
    /// Always with the same `masker`.
    pub fn of(&mut self, given: Arc<Principal>, masker: &Masker) -> Subject {
        let place = Arc::as_ptr(&given).addr();
        if let Some((_, subject)) = self.0.get(&place) {
            return subject.clone();
        }
        // What the host does not keep does not come again.
        if Arc::strong_count(&given) == 1 {
            return Subject::new(given, masker);
        }
        let subject = Subject::new(given.clone(), masker);
        self.0.put(place, (given, subject.clone()));
        subject
    }
}

/// Some kilobytes each.
const SUBJECTS_COUNT_MAX: NonZeroUsize = NonZeroUsize::new(256).unwrap();

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::masking::Detectors;
    use crate::engine::model::Class;
    use crate::engine::session::cases::Actor;

    fn masker() -> Masker {
        Arc::new(Detectors::new().unwrap()).into()
    }

    fn principal(argument: &str) -> Arc<Principal> {
        let actor = Actor { class: Some(Class::Service), ..Actor::default() };
        Arc::new(Principal { command_line: vec![argument.into()], ..actor.principal() })
    }

    #[test]
    fn the_same_principal_is_masked_once_and_another_is_another() {
        let (mut subjects, masker) = (Subjects::default(), masker());
        let given = principal("jane.roe@example.com");
        let first = subjects.of(given.clone(), &masker);
        assert!(!first.principal.command_line[0].contains("jane"), "{:?}", first.principal.command_line);
        let again = subjects.of(given.clone(), &masker);
        assert!(Arc::ptr_eq(&first.principal, &again.principal));
        assert_eq!(first.policy.cache_key(), again.policy.cache_key());
        let other = subjects.of(principal("-c"), &masker);
        assert_eq!(other.principal.command_line, ["-c"]);
        assert_eq!(given.command_line, ["jane.roe@example.com"], "the host's own is as it was");
    }

    #[test]
    fn a_place_that_is_free_again_is_not_taken_for_who_was_there() {
        let (mut subjects, masker) = (Subjects::default(), masker());
        for n in 0..4 * SUBJECTS_COUNT_MAX.get() {
            let given = principal(&format!("--number={n}"));
            // Kept by the host for this moment only.
            let subject = subjects.of(given.clone(), &masker);
            assert_eq!(subject.principal.command_line, given.command_line);
        }
        assert_eq!(subjects.0.len(), SUBJECTS_COUNT_MAX.get());
        let alone = principal("--alone");
        subjects.of(alone, &masker);
        assert_eq!(subjects.0.len(), SUBJECTS_COUNT_MAX.get());
        assert!(
            subjects.0.iter().all(|(_, (given, _))| given.command_line != ["--alone"]),
            "nobody keeps it"
        );
    }
}
