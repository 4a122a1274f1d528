//! A remembered decision is the decision.

use super::*;
use StatementKind as K;
use std::num::NonZeroUsize;

fn cache() -> DecisionCache {
    DecisionCache::new(NonZeroUsize::new(64).unwrap())
}

#[test]
fn equal_facts_are_decided_once() {
    let (set, mut cache, who) = (protect(), cache(), who(Class::Agent));
    let around = RunContext::default();
    let first = cache.run(&set, &who, &claims(), &server(), &statement(K::Select), &around);
    let mut again = statement(K::Select);
    again.text = Arc::from("another literal, the same facts");
    again.fingerprint = "other".into();
    let second = cache.run(&set, &who, &claims(), &server(), &again, &around);
    assert!(Arc::ptr_eq(&first, &second));
    assert_eq!(cache.counts(), (1, 1));
}

/// Change one thing that policy can see: it must be decided anew.
#[test]
fn every_fact_is_part_of_the_key() {
    let set = protect();
    let base = statement(K::Session);
    let mut variants: Vec<Statement> = vec![base.clone(); 13];
    variants[0].kind = K::Drop;
    variants[1].kinds = vec![K::Drop];
    variants[2].tag = "X".into();
    variants[3].reads = vec![];
    variants[4].writes = vec![RelationName { schema: None, name: "x".into() }];
    variants[5].functions = vec![FunctionName { schema: None, name: "set_config".into() }];
    variants[6].mentions.columns = vec![];
    variants[7].mentions.every_column = true;
    variants[8].has_where = Some(false);
    variants[9].unknown = Some(Unknown::TooDeep);
    variants[10].unknown = Some(Unknown::TooLong { bytes: 1 });
    variants[11].setting = Some(("role".into(), None));
    variants[12].setting = Some(("role".into(), Some("x".into())));
    let mut cache = cache();
    let around = RunContext::default();
    let who = who(Class::Agent);
    for (n, s) in std::iter::once(&base).chain(&variants).enumerate() {
        let decision = cache.run(&set, &who, &claims(), &server(), s, &around);
        assert_eq!(*decision, set.run(&who, &claims(), &server(), s, &around), "{n}");
        assert_eq!(cache.counts(), (0, n as u64 + 1), "{n}: answered for another statement");
    }
    for around in [
        RunContext { approved: true, ..RunContext::default() },
        RunContext { reads_sensitive: true, ..RunContext::default() },
    ] {
        cache.run(&set, &who, &claims(), &server(), &base, &around);
    }
    assert_eq!(cache.counts().0, 0);
}

#[test]
fn session_and_principal_are_part_of_the_key() {
    let (set, mut cache) = (protect(), cache());
    let (s, around) = (statement(K::Delete), RunContext::default());
    for class in Class::ALL {
        let expected = set.run(&who(class), &claims(), &server(), &s, &around);
        assert_eq!(*cache.run(&set, &who(class), &claims(), &server(), &s, &around), expected);
    }
    let mut other = claims();
    other.database = "else".into();
    cache.run(&set, &who(Class::Agent), &other, &server(), &s, &around);
    let to = Endpoint { port: 5433, ..server() };
    cache.run(&set, &who(Class::Agent), &claims(), &to, &s, &around);
    assert_eq!(cache.counts(), (0, 5));

    for class in Class::ALL {
        for category in [Some(Category::Email), Some(Category::Credential), None] {
            let seen = cache.see(
                &set,
                &who(class),
                &claims(),
                &server(),
                &column(category),
                &SessionContext::default(),
            );
            assert_eq!(*seen, see(&set, class, category));
        }
    }
    assert_eq!(cache.counts(), (0, 14));
}

#[test]
fn another_policy_set_forgets() {
    let (protect, mut cache) = (protect(), cache());
    let observe = PolicySet::compile(&PolicySet::builtin(Profile::Observe)).unwrap();
    let (s, around, who) = (statement(K::Drop), RunContext::default(), who(Class::Agent));
    for (set, verdict) in [(&protect, Verdict::Deny), (&observe, Verdict::Allow), (&protect, Verdict::Deny)] {
        assert_eq!(cache.run(set, &who, &claims(), &server(), &s, &around).verdict, verdict);
    }
    assert_eq!(cache.counts(), (0, 3));
}

#[test]
fn bounded_by_entries() {
    let (set, who, around) = (protect(), who(Class::Agent), RunContext::default());
    let mut cache = DecisionCache::new(NonZeroUsize::MIN);
    for kind in [K::Select, K::Show, K::Select] {
        cache.run(&set, &who, &claims(), &server(), &statement(kind), &around);
    }
    assert_eq!(cache.counts(), (0, 3));
}

/// Distinct statements, many times what there is room for, do not push out what was asked again and again.
#[test]
fn a_flood_of_statements_leaves_what_is_used() {
    let (set, mut cache, who) = (protect(), cache(), who(Class::Agent));
    let around = RunContext::default();
    let mut ask = |column: String| {
        let mut statement = statement(K::Select);
        statement.mentions.columns = vec![column];
        cache.run(&set, &who, &claims(), &server(), &statement, &around);
        cache.counts()
    };
    let used = || (0..20).map(|n| format!("used_{n}"));
    for column in [used(), used(), used()].into_iter().flatten() {
        ask(column);
    }
    assert_eq!(ask("flood".into()), (40, 21));
    for n in 0..640 {
        ask(format!("flood_{n}"));
    }
    let (before, _) = ask("flood_last".into());
    for column in used() {
        ask(column);
    }
    assert_eq!(ask("last".into()).0 - before, 20);
}

#[test]
fn principals_that_differ_only_by_instance_share_a_key() {
    let base = principal(Class::Person);
    let mut same = base.clone();
    (same.pid, same.start_ticks, same.terminal) = (1, 2, Some("pts/9".into()));
    (same.cgroup_id, same.command, same.command_line) = (8, "x".into(), vec![]);
    same.groups.reverse();
    same.groups.push("staff".into());
    same.ancestors.push(Ancestor { pid: 2, start_ticks: 3, executable: "/usr/bin/bash".into() });
    let key = |p: &Principal| PolicyPrincipal::new(p.clone().into()).cache_key();
    assert_eq!(key(&base), key(&same));

    let changes: [fn(&mut Principal); 20] = [
        |p| p.class = Class::Agent,
        |p| p.user = "bob".into(),
        |p| p.uid = 0,
        |p| p.gid = 0,
        |p| p.login_user = None,
        |p| p.login_uid = None,
        |p| p.groups = vec![],
        |p| p.executable = None,
        |p| p.executable = Some(String::new()),
        |p| p.executable_sha256 = None,
        |p| p.executable_sha256 = Some("f".repeat(64)),
        |p| p.unit = None,
        |p| p.container = None,
        |p| p.container_facts.pod = None,
        |p| p.container_facts.pod_name = None,
        |p| p.container_facts.container_name = None,
        |p| p.container_facts.image = None,
        |p| p.cgroup = None,
        |p| p.terminal = None,
        |p| p.ancestors = vec![],
    ];
    let mut keys = std::collections::BTreeSet::from([key(&base)]);
    for (n, change) in changes.iter().enumerate() {
        let mut other = base.clone();
        change(&mut other);
        assert!(keys.insert(key(&other)), "change {n} is invisible");
    }
}
