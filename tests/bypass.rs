//! The bypass corpus: no attack of `tests/bypass` reaches its aim through governor, and ordinary work goes on.

// Helpers beside the tests fail the test that called them.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use governor_tests::bypass::{self, Aim, Options};

#[test]
fn no_attack_of_the_corpus_reaches_its_aim() {
    let score = bypass::run(&Options::default()).unwrap();
    println!("{score}");
    let failures: Vec<String> =
        score.failures().iter().map(|(name, outcome)| format!("{name}: {outcome}")).collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// Newer servers take a question in front of a statement otherwise: what a client does must end as without governor.
#[test]
fn ordinary_work_goes_on_on_the_newest_server() {
    let only = Some("w-work".into());
    let score = bypass::run(&Options { only, server_version: Some(18), ..Options::default() }).unwrap();
    println!("{score}");
    let failures: Vec<String> =
        score.failures().iter().map(|(name, outcome)| format!("{name}: {outcome}")).collect();
    assert!(failures.is_empty() && score.outcomes.len() >= WORK_MIN, "{}", failures.join("\n"));
}

#[test]
fn the_corpus_is_whole() {
    let attacks = bypass::attack::read_all(&bypass::arena::directory()).unwrap();
    let work = attacks.iter().filter(|attack| attack.aim == Aim::Work).count();
    assert!(attacks.len() - work >= ATTACKS_MIN, "{} attacks", attacks.len() - work);
    assert!(work >= WORK_MIN, "{work} files of ordinary work");
}

/// What the page of promises says.
const ATTACKS_MIN: usize = 250;
const WORK_MIN: usize = 40;
