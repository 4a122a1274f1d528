//! Names of users and groups, from the host's user database.
//!
//! A look-up may go to a directory server, so answers (also "no such user") are kept for a while. The
//! look-up blocks its thread; its result is a label for people and policy, the number stays the identity.

use lru::LruCache;
use nix::unistd::{Gid, Group, Uid, User};
use parking_lot::Mutex;
use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

/// User and group names with a bounded memory.
pub(super) struct Names {
    users: Mutex<Known>,
    groups: Mutex<Known>,
}

type Known = LruCache<u32, (Instant, Option<String>)>;

impl Names {
    pub(super) fn new() -> Self {
        Self { users: Mutex::new(LruCache::new(ENTRIES_MAX)), groups: Mutex::new(LruCache::new(ENTRIES_MAX)) }
    }

    /// The login name; `None` where the host knows no such user or could not ask.
    pub(super) fn user(&self, uid: u32) -> Option<String> {
        remembered(&self.users, uid, || User::from_uid(Uid::from_raw(uid)).ok().flatten().map(|u| u.name))
    }

    pub(super) fn group(&self, gid: u32) -> Option<String> {
        remembered(&self.groups, gid, || Group::from_gid(Gid::from_raw(gid)).ok().flatten().map(|g| g.name))
    }
}

impl std::fmt::Debug for Names {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Names").finish_non_exhaustive()
    }
}

/// The lock is not held while asking, so one slow answer does not stop others.
fn remembered(known: &Mutex<Known>, id: u32, ask: impl FnOnce() -> Option<String>) -> Option<String> {
    if let Some((until, name)) = known.lock().get(&id)
        && Instant::now() < *until
    {
        return name.clone();
    }
    let name = ask();
    let keep = if name.is_some() { FOUND_KEPT } else { MISSING_KEPT };
    known.lock().put(id, (Instant::now() + keep, name.clone()));
    name
}

const ENTRIES_MAX: NonZeroUsize = NonZeroUsize::new(4096).unwrap();
/// Names seldom change; a renamed user is seen after this time.
const FOUND_KEPT: Duration = Duration::from_secs(300);
/// A user just created gets its name soon.
const MISSING_KEPT: Duration = Duration::from_secs(15);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_root_and_admits_what_it_does_not_know() {
        let names = Names::new();
        assert_eq!(names.user(0).as_deref(), Some("root"));
        assert_eq!(names.group(0).as_deref(), Some("root"));
        assert_eq!(names.user(3_999_999_999), None);
        assert_eq!(names.group(3_999_999_999), None);
    }

    #[test]
    fn asks_once_for_present_and_missing_names() {
        let known = Mutex::new(LruCache::new(ENTRIES_MAX));
        for answer in [Some("alice".to_owned()), None] {
            let id = u32::from(answer.is_some());
            let mut asked = 0;
            for _ in 0..3 {
                let got = remembered(&known, id, || {
                    asked += 1;
                    answer.clone()
                });
                assert_eq!(got, answer);
            }
            assert_eq!(asked, 1);
        }
    }

    #[test]
    fn an_answer_does_not_live_forever() {
        let known = Mutex::new(LruCache::new(ENTRIES_MAX));
        known.lock().put(7, (Instant::now(), Some("old".to_owned())));
        assert_eq!(remembered(&known, 7, || Some("new".to_owned())).as_deref(), Some("new"));
    }
}
