//! Facts of texts and decisions about them, new and remembered.

use governor::engine::masking::Detectors;
use governor::engine::model::{Claims, Class, Endpoint, Statement};
use governor::engine::policy::{DecisionCache, PolicyPrincipal, PolicySet, Profile, RunContext};
use governor::engine::session::FactsCache;
use governor::engine::sql::{PostgresDialect, SqlDialect};
use std::hint::black_box;
use std::num::NonZeroUsize;
use std::sync::Arc;

pub fn work(detectors: &Arc<Detectors>) {
    let mut facts = FactsCache::new(detectors.clone(), 4096);
    let dialect = PostgresDialect::default();
    let set = PolicySet::compile(&PolicySet::builtin(Profile::Protect)).unwrap();
    let mut cache = DecisionCache::new(NonZeroUsize::new(16_384).unwrap());
    let claims = Claims { user: "app".into(), database: "shop".into(), application_name: "app".into() };
    let to = Endpoint::tcp([127, 0, 0, 1].into(), 5432);
    let around = RunContext { bare_schemas: Some(Arc::from(["public".to_owned()])), ..RunContext::default() };
    let principals = [Class::Service, Class::Person, Class::Agent]
        .map(|class| PolicyPrincipal::new(Arc::new(crate::sessions::principal(class))));
    for number in 0..TEXTS_COUNT {
        for text in texts(number) {
            black_box(facts.understand(&text, true));
            black_box(facts.understand_for_record(&text));
            let statements: Vec<Statement> = dialect.script(&text).statements;
            for statement in &statements {
                for who in &principals {
                    for _ in 0..ASKED_AGAIN {
                        black_box(cache.run(&set, who, &claims, &to, statement, &around));
                    }
                }
            }
        }
        // What prepared statements are: texts that come again.
        for text in texts(0) {
            black_box(facts.understand(&text, true));
        }
    }
}

/// As object mappers, reports and people write them; another number in each.
pub fn texts(number: usize) -> [String; 8] {
    [
        format!("SELECT balance FROM accounts WHERE id = {number}"),
        format!(
            "SELECT o.id, o.total, c.name FROM orders o JOIN customers c ON c.id = o.customer_id WHERE o.id = $1 AND o.shop = {number} ORDER BY o.placed DESC LIMIT 20"
        ),
        format!("UPDATE orders SET status = 'shipped', changed = now() WHERE id = {number} RETURNING id"),
        format!(
            "INSERT INTO events (kind, body, at) VALUES ('seen', '{{\"n\": {number}}}', now()), ('left', NULL, now())"
        ),
        format!("DELETE FROM sessions WHERE expires < now() - interval '{number} minutes'"),
        format!(
            "WITH recent AS (SELECT customer_id, sum(total) AS spent FROM orders WHERE placed > now() - interval '{number} days' GROUP BY 1) SELECT c.email, r.spent, rank() OVER (ORDER BY r.spent DESC) FROM recent r JOIN customers c ON c.id = r.customer_id WHERE r.spent > (SELECT avg(spent) FROM recent)"
        ),
        "BEGIN".into(),
        format!("SET statement_timeout = {number}"),
    ]
}

const TEXTS_COUNT: usize = 200;
/// Most decisions are remembered ones.
const ASKED_AGAIN: usize = 4;
