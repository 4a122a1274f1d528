//! Broken glass: for a time, and with a reason on record, policies may lift for one person what they otherwise deny.
//!
//! It is broken outside of the database connection, through the control socket, whose peer the kernel attests: nothing
//! that a client sends (injected SQL least of all) can break it. It counts for sessions of that login and of class
//! person only, never for agents and services.

use crate::engine::model::{Class, Principal, Timestamp};
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// One person's broken glass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    pub id: Arc<str>,
    pub reason: Arc<str>,
    pub expires: Timestamp,
}

/// Everything that is broken now; shared by the workers.
#[derive(Debug, Default)]
pub struct Glass {
    /// Most of the time nothing is: statements look no further.
    count: AtomicUsize,
    by_login: Mutex<HashMap<u32, Broken>>,
}

impl Glass {
    /// Breaks it for this login. What was broken before for it ends and is given back.
    pub fn shatter(&self, login_uid: u32, broken: Broken) -> Option<Broken> {
        self.change(|all| all.insert(login_uid, broken))
    }

    /// Ends it for this login.
    pub fn mend(&self, login_uid: u32) -> Option<Broken> {
        self.change(|all| all.remove(&login_uid))
    }

    /// Ends what is over its time.
    pub fn expire(&self, now: Timestamp) -> Vec<(u32, Broken)> {
        if self.count.load(Ordering::Acquire) == 0 {
            return vec![];
        }
        self.change(|all| all.extract_if(|_, broken| is_over(broken, now)).collect())
    }

    /// How many are broken.
    pub fn count(&self) -> usize {
        self.count.load(Ordering::Acquire)
    }

    /// What is broken for this principal, if anything.
    pub fn of(&self, principal: &Principal, now: Timestamp) -> Option<Broken> {
        if self.count.load(Ordering::Acquire) == 0 || principal.class != Class::Person {
            return None;
        }
        let all = self.by_login.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(&login_of(principal)).filter(|broken| !is_over(broken, now)).cloned()
    }

    fn change<T>(&self, change: impl FnOnce(&mut HashMap<u32, Broken>) -> T) -> T {
        let mut all = self.by_login.lock().unwrap_or_else(PoisonError::into_inner);
        let result = change(&mut all);
        self.count.store(all.len(), Ordering::Release);
        result
    }
}

/// Who a person is, whatever they run as.
pub fn login_of(principal: &Principal) -> u32 {
    principal.login_uid.unwrap_or(principal.uid)
}

fn is_over(broken: &Broken, now: Timestamp) -> bool {
    now.monotonic_ns >= broken.expires.monotonic_ns
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::policy::tests::principal;

    fn at(ns: u64) -> Timestamp {
        Timestamp { unix_ns: ns, monotonic_ns: ns }
    }

    fn broken(expires: u64) -> Broken {
        Broken { id: "b1".into(), reason: "outage".into(), expires: at(expires) }
    }

    #[test]
    fn it_counts_for_one_person_and_for_a_time() {
        let glass = Glass::default();
        let person = Principal { login_uid: Some(1001), ..principal(Class::Person) };
        assert_eq!(glass.of(&person, at(0)), None);
        assert_eq!(glass.shatter(1001, broken(10)), None);
        assert_eq!(glass.of(&person, at(9)), Some(broken(10)));
        assert_eq!(glass.of(&person, at(10)), None, "even before anybody swept it up");
        let as_root = Principal { uid: 0, ..person.clone() };
        assert!(glass.of(&as_root, at(9)).is_some(), "sudo makes nobody another person");
        let other = Principal { login_uid: Some(1002), ..person };
        assert_eq!(glass.of(&other, at(9)), None);
        assert_eq!(glass.expire(at(9)), []);
        assert_eq!(glass.expire(at(10)), [(1001, broken(10))]);
        assert_eq!(glass.count(), 0);
    }

    #[test]
    fn never_for_agents_and_services() {
        let glass = Glass::default();
        glass.shatter(1001, broken(10));
        for class in [Class::Agent, Class::Service] {
            let same_login = Principal { login_uid: Some(1001), ..principal(class) };
            assert_eq!(glass.of(&same_login, at(0)), None, "{class}");
        }
    }

    #[test]
    fn it_can_be_ended_and_begun_anew() {
        let glass = Glass::default();
        glass.shatter(1001, broken(10));
        assert_eq!(glass.shatter(1001, broken(20)), Some(broken(10)));
        assert_eq!(glass.mend(1001), Some(broken(20)));
        assert_eq!(glass.mend(1001), None);
    }
}
