//! What the engine costs: facts of a text, and a decision, cold and from memory.
//!
//! `cargo bench -p governor-userspace --no-default-features --bench engine [FILTER]`. Aims are in docs/performance.md; a shared
//! machine makes times too long, never too short: read the fastest column.

#![allow(clippy::unwrap_used, missing_docs)]

use divan::{Bencher, black_box};
use governor::engine::masking::Detectors;
use governor::engine::model::{Claims, Class, Endpoint, Statement};
use governor::engine::policy::{
    DecisionCache, PolicyPrincipal, PolicySet, PolicySource, Profile, RunContext,
};
use governor::engine::session::FactsCache;
use governor::engine::session::cases::Actor;
use governor::engine::sql::{PostgresDialect, SecondReading, SqlDialect, second_reading};
use std::num::NonZeroUsize;
use std::sync::Arc;

fn main() {
    divan::main();
}

const OLTP: &str = "SELECT abalance FROM pgbench_accounts WHERE aid = 377461";
const WRITE: &str = "UPDATE orders SET status = 'shipped', changed = now() WHERE id = $1 AND customer_id = $2 RETURNING id, status";
const ANALYTIC: &str = include_str!("analytic.sql");
const TEXTS: [&str; 3] = ["oltp", "write", "analytic"];

fn text(name: &str) -> &'static str {
    match name {
        "oltp" => OLTP,
        "write" => WRITE,
        _ => ANALYTIC,
    }
}

#[divan::bench(args = TEXTS)]
fn facts_cold(bencher: Bencher<'_, '_>, name: &str) {
    let dialect = PostgresDialect::default();
    bencher.bench_local(|| dialect.script(black_box(text(name))));
}

/// What a text of a governed session takes besides, the first times that it comes.
#[divan::bench(args = TEXTS)]
fn second_reading_cold(bencher: Bencher<'_, '_>, name: &str) {
    let facts = PostgresDialect::default().script(text(name)).statements;
    assert_eq!(second_reading(text(name), &facts), SecondReading::Agrees);
    bencher.bench_local(|| second_reading(black_box(text(name)), &facts));
}

#[divan::bench(args = TEXTS)]
fn facts_cached(bencher: Bencher<'_, '_>, name: &str) {
    let mut cache = FactsCache::new(Arc::new(Detectors::new().unwrap()), 4096);
    for _ in 0..3 {
        cache.understand(text(name), true);
    }
    bencher.bench_local(|| cache.understand(black_box(text(name)), true));
}

/// Another number in each text.
#[divan::bench]
fn facts_of_a_known_shape(bencher: Bencher<'_, '_>) {
    let mut cache = FactsCache::new(Arc::new(Detectors::new().unwrap()), 4096);
    let mut key = 0;
    bencher
        .with_inputs(|| {
            key += 1;
            format!("SELECT abalance FROM pgbench_accounts WHERE aid = {key}")
        })
        .bench_local_refs(|text| cache.understand_for_record(black_box(text)));
}

/// Nested as deep as a text of half a megabyte goes, or refused on the way.
#[divan::bench(args = ["parentheses", "subqueries", "operators", "unions", "joins", "comments", "case"], sample_count = 20)]
fn facts_adversarial(bencher: Bencher<'_, '_>, name: &str) {
    let text = match name {
        "parentheses" => format!("SELECT {}1{}", "(".repeat(9_000), ")".repeat(9_000)),
        "subqueries" => format!("{}SELECT 1{}", "SELECT * FROM (".repeat(3_000), ") x".repeat(3_000)),
        "operators" => format!("SELECT a{}", "+a".repeat(9_000)),
        "unions" => format!("SELECT 1{}", " UNION SELECT 1".repeat(3_000)),
        "joins" => format!("SELECT 1 FROM a{}", " JOIN b ON true".repeat(3_000)),
        "comments" => format!("SELECT 1 {}", "/*".repeat(9_000)),
        _ => format!("SELECT {}1{}", "CASE WHEN a THEN ".repeat(3_000), " END".repeat(3_000)),
    };
    let dialect = PostgresDialect::default();
    bencher.bench_local(|| dialect.script(black_box(&text)));
}

/// As deep as the bound on depth lets it go, as long as those on length and tokens do; what is refused costs up to there.
#[divan::bench(args = ["parentheses", "subqueries", "operators", "unions", "joins", "arrays", "branches"], sample_count = 20)]
fn second_reading_adversarial(bencher: Bencher<'_, '_>, name: &str) {
    let text = match name {
        "parentheses" => format!("SELECT {}1{}", "(".repeat(1_900), ")".repeat(1_900)),
        "subqueries" => format!("{}SELECT 1{}", "SELECT * FROM (".repeat(30), ") x".repeat(30)),
        "operators" => format!("SELECT a{}", "+a".repeat(1_900)),
        "unions" => format!("SELECT 1{}", " UNION SELECT 1".repeat(600)),
        "joins" => format!("SELECT 1 FROM a{}", " JOIN b ON true".repeat(450)),
        "arrays" => format!("SELECT {}1{}", "ARRAY[".repeat(38), "]".repeat(38)),
        _ => format!("{}SELECT 1{}", "(SELECT 1 UNION ".repeat(38), ")".repeat(38)),
    };
    let facts = PostgresDialect::default().script("SELECT 1").statements;
    bencher.bench_local(|| second_reading(black_box(&text), &facts));
}

struct Asker {
    set: PolicySet,
    cache: DecisionCache,
    who: PolicyPrincipal,
    claims: Claims,
    to: Endpoint,
    statement: Statement,
    around: RunContext,
}

impl Asker {
    /// An agent under the built-in policies and `more` of an operator's own, each for another group.
    fn new(more: usize) -> Self {
        Self::under(more, |n| {
            let action = ["delete", "update", "insert", "ddl"].get(n % 4).unwrap();
            format!(
                "(principal in Governor::Group::\"g{n}\", action == Governor::Action::\"{action}\", resource) \
                 when {{ context.writes.contains(\"t{n}\") }}"
            )
        })
    }

    /// The same where every one of them concerns everybody, and this very kind of statement.
    fn with_rules_for_all(more: usize) -> Self {
        Self::under(more, |n| {
            format!(
                "(principal, action == Governor::Action::\"update\", resource) \
                 when {{ context.writes.contains(\"public.t{n}\") && context has estimated_rows && \
                 context.estimated_rows > {n} }}"
            )
        })
    }

    fn under(more: usize, rule: impl Fn(usize) -> String) -> Self {
        let mut sources = PolicySet::builtin(Profile::Protect);
        let own = (0..more).map(|n| format!("@id(\"own-{n}\") forbid {};\n", rule(n))).collect();
        sources.push(PolicySource { name: "own.cedar".into(), text: own });
        let agent = Actor {
            class: Some(Class::Agent),
            user: Some("alice".into()),
            groups: Some(vec!["staff".into()]),
            executable: Some("/usr/bin/agent".into()),
            ..Actor::default()
        };
        Self {
            set: PolicySet::compile(&sources).unwrap(),
            cache: DecisionCache::new(NonZeroUsize::new(16_384).unwrap()),
            who: PolicyPrincipal::new(Arc::new(agent.principal())),
            claims: Claims { user: "app".into(), database: "shop".into(), application_name: "agent".into() },
            to: Endpoint::tcp([127, 0, 0, 1].into(), 5432),
            statement: PostgresDialect::default().script(WRITE).statements.remove(0),
            around: RunContext {
                bare_schemas: Some(Arc::from(["public".to_owned()])),
                ..RunContext::default()
            },
        }
    }

    /// As a session asks that has a catalogue: it knows where a bare name is looked up.
    fn ask(&mut self) {
        let around = self.around.clone();
        self.ask_in(&around);
    }

    fn ask_in(&mut self, context: &RunContext) {
        black_box(self.cache.run(&self.set, &self.who, &self.claims, &self.to, &self.statement, context));
    }
}

#[divan::bench(args = [10, 100, 1_000, 10_000])]
fn decision_cached(bencher: Bencher<'_, '_>, policies: usize) {
    let mut asker = Asker::new(policies);
    asker.ask();
    bencher.bench_local(|| asker.ask());
}

#[divan::bench(args = [10, 100, 1_000, 10_000])]
fn decision_cold(bencher: Bencher<'_, '_>, policies: usize) {
    let mut asker = Asker::new(policies);
    let mut n = 0;
    bencher.bench_local(|| {
        // A column that no statement had before: the cache cannot know the answer.
        n += 1;
        asker.statement.mentions.columns = vec![format!("c{n}")];
        asker.ask();
    });
}

/// Each policy is about another table, and for everybody.
#[divan::bench(args = [10, 100, 1_000, 10_000])]
fn decision_cold_among_rules_for_all(bencher: Bencher<'_, '_>, policies: usize) {
    let mut asker = Asker::with_rules_for_all(policies);
    let mut n = 0;
    bencher.bench_local(|| {
        n += 1;
        asker.statement.mentions.columns = vec![format!("c{n}")];
        asker.ask();
    });
}

/// Nobody knows which schema a bare name means: policy is asked about both readings.
#[divan::bench(args = [10, 100, 1_000, 10_000])]
fn decision_cold_in_doubt(bencher: Bencher<'_, '_>, policies: usize) {
    let mut asker = Asker::new(policies);
    let mut n = 0;
    bencher.bench_local(|| {
        n += 1;
        asker.statement.mentions.columns = vec![format!("c{n}")];
        asker.ask_in(&RunContext::default());
    });
}
