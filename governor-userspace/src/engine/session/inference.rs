//! The inference budget: how much a principal may learn about a masked column by asking about it.
//!
//! A mask hides values, not answers, and people need answers: whose address is this, how many are there. So what answers
//! may tell is counted, in bits, for each principal and column, over all connections and workers. It drains away evenly
//! over the window. Thresholds warn, hold and deny; `conditions.rs` says what an answer is worth.
//!
//! A statement is charged the least that it can tell before it runs, and the rest when it is known how many rows came.
//! Where each row answers a question of its own, there has to be room for all of them before. Statements of one text are
//! weighed together.
//! Bounded: the account that was used longest ago makes room.

use super::action::Actions;
use super::conditions::Stake;
use super::gate::warn_report;
use super::governance::Governance;
use super::judge::{Judged, strictest};
use super::meaning::declared_name;
use super::rates::RateKey;
use super::{Session, hold::Approval};
use crate::engine::model::{Class, Decision, Endpoint, Hold, Reason, StatementKind, Timestamp, Verdict};
use crate::engine::wire::postgres::encode::{self, Severity};
use lru::LruCache;
use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// What the configuration says. A threshold of `None` is never met.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InferenceLimits {
    /// Whose answers are counted.
    pub classes: Vec<Class>,
    pub window_ns: u64,
    pub warn_millibits: Option<u64>,
    pub hold_millibits: Option<u64>,
    pub deny_millibits: Option<u64>,
    /// The group whose members may answer a hold.
    pub approvers: String,
}

impl Default for InferenceLimits {
    fn default() -> Self {
        Self {
            classes: vec![Class::Person],
            window_ns: 24 * 3_600 * 1_000_000_000,
            warn_millibits: Some(16_000),
            hold_millibits: Some(32_000),
            deny_millibits: Some(64_000),
            approvers: "dba".into(),
        }
    }
}

impl InferenceLimits {
    /// A full account: nothing above this counts.
    fn full_millibits(&self) -> u64 {
        let most =
            self.warn_millibits.into_iter().chain(self.hold_millibits).chain(self.deny_millibits).max();
        most.unwrap_or_default().max(1)
    }
}

/// One column to one principal.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct AccountKey {
    who: RateKey,
    destination: Endpoint,
    database: Arc<str>,
    column: Arc<str>,
}

#[derive(Clone, Copy, Debug)]
struct Account {
    millibits: u64,
    at: Timestamp,
}

/// Every account of the agent; shared by the workers.
#[derive(Debug)]
pub struct Inference {
    accounts: Mutex<LruCache<AccountKey, Account>>,
    told_millibits: AtomicU64,
    warned: AtomicU64,
    held: AtomicU64,
    denied: AtomicU64,
}

/// What came of answers about masked columns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InferenceCounts {
    pub told_millibits: u64,
    pub warned: u64,
    pub held: u64,
    pub denied: u64,
}

impl Default for Inference {
    fn default() -> Self {
        Self {
            accounts: Mutex::new(LruCache::new(ACCOUNTS_COUNT_MAX)),
            told_millibits: AtomicU64::new(0),
            warned: AtomicU64::new(0),
            held: AtomicU64::new(0),
            denied: AtomicU64::new(0),
        }
    }
}

impl Inference {
    /// What came of all answers since somebody asked last.
    pub fn take_counts(&self) -> InferenceCounts {
        let take = |count: &AtomicU64| count.swap(0, Ordering::Relaxed);
        InferenceCounts {
            told_millibits: take(&self.told_millibits),
            warned: take(&self.warned),
            held: take(&self.held),
            denied: take(&self.denied),
        }
    }

    /// Adds to an account; what is in it before and after.
    fn add(&self, key: &AccountKey, limits: &InferenceLimits, millibits: u64, now: Timestamp) -> (u64, u64) {
        let full = limits.full_millibits();
        // Nothing in here panics; an account is whole at every moment.
        let mut accounts = self.accounts.lock().unwrap_or_else(PoisonError::into_inner);
        let account = accounts.get_or_insert_mut(key.clone(), || Account { millibits: 0, at: now });
        let passed = u128::from(now.since_ns(account.at));
        let drained = passed * u128::from(full) / u128::from(limits.window_ns.max(1));
        let drained = u64::try_from(drained).unwrap_or(u64::MAX);
        let before = account.millibits.saturating_sub(drained);
        // What is not enough for one thousandth stays.
        if drained > 0 || account.millibits == 0 {
            account.at = account.at.max(now);
        }
        account.millibits = before.saturating_add(millibits).min(full.saturating_mul(2));
        self.told_millibits.fetch_add(millibits, Ordering::Relaxed);
        (before, account.millibits)
    }
}

/// What remains to be charged when it is known how a statement ended.
#[derive(Clone, Debug)]
pub(super) struct Unsettled {
    inference: Arc<Inference>,
    limits: Arc<InferenceLimits>,
    stakes: Vec<(AccountKey, Stake)>,
}

impl Unsettled {
    /// `rows` came. Thousandths of bits told in all.
    pub fn settle(self, rows: u64, now: Timestamp) -> u64 {
        let mut told_in_all = 0_u64;
        for (key, stake) in self.stakes {
            let told = stake.told_millibits(rows);
            told_in_all = told_in_all.saturating_add(told);
            let rest = told.saturating_sub(stake.least_millibits);
            if rest > 0 {
                self.inference.add(&key, &self.limits, rest, now);
            }
        }
        told_in_all
    }
}

impl Session {
    /// What `one` puts at stake now: what it prepares, declares or only plans to run tells nothing yet.
    fn at_stake<'a>(&self, one: &'a Judged, limits: &InferenceLimits) -> &'a [Stake] {
        let later = one.statement.kind == StatementKind::Prepare || declared_name(&one.statement).is_some();
        if later || !limits.classes.contains(&self.setup.principal.class) { &[] } else { &one.stakes }
    }

    fn account(&self, stake: &Stake) -> AccountKey {
        AccountKey {
            who: RateKey::of(&self.setup.principal),
            destination: self.setup.destination.clone(),
            database: self.names.database.clone(),
            column: stake.column.clone(),
        }
    }

    /// Holds or denies what would tell more than the budget has left; with `charges`, takes it out of the budget.
    pub(super) fn weigh(
        &mut self,
        now: Timestamp,
        judged: &mut [Judged],
        approval: Option<&Approval>,
        charges: bool,
        governance: &Governance,
        out: &mut Actions,
    ) {
        let limits = &governance.limits.inference;
        if judged.iter().all(|one| self.at_stake(one, limits).is_empty()) {
            return;
        }
        let inference = &governance.inference;
        // What those before tell of a column, when all of them run.
        let mut before: HashMap<Arc<str>, u64> = HashMap::new();
        for one in judged.iter_mut().filter(|one| one.decision.verdict == Verdict::Allow) {
            let mut strictest: Option<Decision> = None;
            for stake in self.at_stake(one, limits) {
                let (level, _) = inference.add(&self.account(stake), limits, 0, now);
                let told = before.entry(stake.column.clone()).or_default();
                let level = level.saturating_add(*told);
                *told = told.saturating_add(stake.foreseen_millibits());
                let after = level.saturating_add(stake.foreseen_millibits());
                let over = |limit: Option<u64>| limit.filter(|limit| after > *limit);
                if let Some(limit) = over(limits.deny_millibits) {
                    strictest = Some(refusal(stake, level, limit, limits, Verdict::Deny));
                    break;
                }
                if let Some(limit) = over(limits.hold_millibits)
                    && approval.is_none()
                {
                    strictest =
                        strictest.or_else(|| Some(refusal(stake, level, limit, limits, Verdict::Hold)));
                }
            }
            if let Some(decision) = strictest {
                let counter =
                    if decision.verdict == Verdict::Deny { &inference.denied } else { &inference.held };
                counter.fetch_add(1, Ordering::Relaxed);
                one.decision = Arc::new(decision);
            }
        }
        if !charges || strictest(judged) != Verdict::Allow {
            return;
        }
        let mut warnings = Vec::new();
        for one in judged.iter_mut() {
            let mut reasons = Vec::new();
            for stake in self.at_stake(one, limits) {
                let (before, after) = inference.add(&self.account(stake), limits, stake.least_millibits, now);
                if let Some(limit) = limits.warn_millibits.filter(|limit| before <= *limit && after > *limit)
                {
                    inference.warned.fetch_add(1, Ordering::Relaxed);
                    reasons.push(warning(stake, after, limit, limits));
                }
            }
            if !reasons.is_empty() {
                warnings.extend(reasons.iter().map(|reason| warn_report(&reason.text, &reason.hint)));
                let reasons = one.decision.reasons.iter().cloned().chain(reasons).collect();
                one.decision = Arc::new(Decision { reasons, ..(*one.decision).clone() });
            }
        }
        for report in warnings {
            self.notify(encode::report(Severity::Notice, &report), out);
        }
    }

    /// What is still to be charged when the statement ends.
    pub(super) fn unsettled(&self, judged: &Judged, governance: &Governance) -> Option<Box<Unsettled>> {
        let limits = &governance.limits.inference;
        let stakes = self.at_stake(judged, limits);
        if stakes.is_empty() {
            return None;
        }
        Some(Box::new(Unsettled {
            inference: governance.inference.clone(),
            limits: limits.clone(),
            stakes: stakes.iter().map(|stake| (self.account(stake), stake.clone())).collect(),
        }))
    }
}

fn bits(millibits: u64) -> String {
    format!("{}.{}", millibits / 1_000, millibits % 1_000 / 100)
}

fn hours(limits: &InferenceLimits) -> String {
    let minutes = limits.window_ns / 60_000_000_000;
    if minutes >= 60 && minutes.is_multiple_of(60) {
        format!("{} h", minutes / 60)
    } else {
        format!("{minutes} min")
    }
}

fn refusal(stake: &Stake, level: u64, limit: u64, limits: &InferenceLimits, verdict: Verdict) -> Decision {
    let text = format!(
        "conditions on masked column {} have told this principal up to {} bits, and {} in {} are allowed",
        stake.column,
        bits(level),
        bits(limit),
        hours(limits)
    );
    let hint = "choose by columns that are not masked, such as an id; what was told drains away with time";
    let reason = Reason { policy: INFERENCE_POLICY.into(), text, hint: hint.into(), ..Reason::default() };
    let hold = (verdict == Verdict::Hold).then(|| Hold { approvers: limits.approvers.clone() });
    Decision { verdict, hold, obligations: Default::default(), reasons: Arc::from([reason]) }
}

fn warning(stake: &Stake, level: u64, limit: u64, limits: &InferenceLimits) -> Reason {
    let next = match (limits.hold_millibits, limits.deny_millibits) {
        (Some(hold), _) => format!("above {} a person has to approve", bits(hold)),
        (None, Some(deny)) => format!("above {} statements are denied", bits(deny)),
        (None, None) => "this is recorded".into(),
    };
    Reason {
        policy: INFERENCE_POLICY.into(),
        text: format!(
            "conditions on masked column {} have told this principal up to {} bits in {}, more than {}",
            stake.column,
            bits(level),
            hours(limits),
            bits(limit)
        ),
        hint: next,
        ..Reason::default()
    }
}

/// Stands for the budget in records, as the policy that decided.
pub const INFERENCE_POLICY: &str = "governor.inference";

const ACCOUNTS_COUNT_MAX: NonZeroUsize = match NonZeroUsize::new(65_536) {
    Some(count) => count,
    None => NonZeroUsize::MIN,
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::policy::tests::{principal, server};

    const HOUR: u64 = 3_600 * 1_000_000_000;

    fn at(hours: u64) -> Timestamp {
        Timestamp { unix_ns: hours * HOUR, monotonic_ns: hours * HOUR }
    }

    fn key(class: Class, column: &str) -> AccountKey {
        AccountKey {
            who: RateKey::of(&principal(class)),
            destination: server(),
            database: "shop".into(),
            column: column.into(),
        }
    }

    #[test]
    fn an_account_fills_and_drains() {
        let (inference, limits) = (Inference::default(), InferenceLimits::default());
        let key = key(Class::Person, "public.people.ssn");
        assert_eq!(inference.add(&key, &limits, 32_000, at(0)), (0, 32_000));
        assert_eq!(inference.add(&key, &limits, 1_000, at(0)), (32_000, 33_000));
        // 64 bits drain in 24 hours.
        assert_eq!(inference.add(&key, &limits, 0, at(6)), (17_000, 17_000));
        assert_eq!(inference.add(&key, &limits, 0, at(24)), (0, 0));
        assert_eq!(inference.take_counts().told_millibits, 33_000);
    }

    #[test]
    fn accounts_are_by_principal_and_column() {
        let (inference, limits) = (Inference::default(), InferenceLimits::default());
        inference.add(&key(Class::Person, "a.b.c"), &limits, 5_000, at(0));
        assert_eq!(inference.add(&key(Class::Person, "a.b.d"), &limits, 0, at(0)), (0, 0));
        assert_eq!(inference.add(&key(Class::Agent, "a.b.c"), &limits, 0, at(0)), (0, 0));
        assert_eq!(inference.add(&key(Class::Person, "a.b.c"), &limits, 0, at(0)).0, 5_000);
    }

    /// Many small steps drain as much as one.
    #[test]
    fn asking_often_keeps_nothing_from_draining() {
        let (inference, limits) = (Inference::default(), InferenceLimits::default());
        let key = key(Class::Person, "a.b.c");
        inference.add(&key, &limits, 10_000, at(0));
        let mut now = at(0);
        for _ in 0..100_000 {
            now.monotonic_ns += HOUR / 25_000;
            inference.add(&key, &limits, 0, now);
        }
        let (left, _) = inference.add(&key, &limits, 0, now);
        assert!(left < 1_000, "{left}");
    }
}
