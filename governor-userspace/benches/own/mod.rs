//! What detectors of an operator's own cost: ordinary patterns in ordinary text, and the worst that are accepted in the text that is worst for them.
//!
//! The worst show what the bound on their work is worth: a value that they cannot finish is masked as a whole.

use crate::corpus::random::Random;
use crate::corpus::{SEED_JUDGE, prose};
use governor::engine::masking::{ColumnContext, Detectors, UserDetector, UserMatch};
use governor::engine::model::Category;
use std::hint::black_box;
use std::time::Instant;

/// Prints nanoseconds a byte of one value.
pub fn report() {
    println!("\ndetectors of one's own, ns a byte of one value of {TEXT_BYTES} bytes");
    let mut random = Random::new(SEED_JUDGE);
    let mut sentences = String::new();
    while sentences.len() < TEXT_BYTES {
        sentences.push_str(&prose::without_finding(&mut random));
        sentences.push(' ');
    }
    let same = "a".repeat(TEXT_BYTES);
    let mixed: String = (0..TEXT_BYTES).map(|_| if random.chance(50) { 'a' } else { 'b' }).collect();
    line("none, sentences", &[], &sentences);
    for pattern in [
        "EMP-[0-9]{4}",
        r"\b[A-Z]{2}-\d{4}\b",
        r"(?i)[a-z0-9]{2,12}(?:-[a-z0-9]{2,12}){1,3}",
        r"\pL{1,12}-\d{3}",
    ] {
        line(&format!("{pattern}, sentences"), &[pattern.into()], &sentences);
    }
    let many: Vec<String> = (0..64).map(|at| format!(r"\b[K-N]{at}-\d{{4,8}}\b")).collect();
    line("64 patterns, sentences", &many, &sentences);
    for (pattern, text) in [
        ("[a-z]{1,1000}x|[a-z]", &same),
        ("(?:a|aa|aaa|aaaa){1,250}x|a", &same),
        ("[ab]{0,400}a[ab]{600}x|[ab]", &mixed),
        ("(?:[a-z]{1,30}|[a-z0-9]{1,30}){1,30}x|[a-z]", &mixed),
    ] {
        line(&format!("{pattern}, at its worst"), &[pattern.into()], text);
    }
    let many = vec!["[ab]{0,400}a[ab]{600}x|[ab]".to_owned(); 64];
    line("64 of the worst", &many, &mixed);
}

fn line(name: &str, patterns: &[String], text: &str) {
    let defined = patterns.iter().enumerate().map(|(at, pattern)| UserDetector {
        name: format!("own_{at}"),
        category: Category::Other,
        matches: UserMatch::Pattern(pattern.clone()),
        checksum: None,
        confidence_percent: 80,
        context: vec![],
    });
    let detectors = Detectors::with_user_defined(defined.collect()).expect("the patterns are accepted");
    let mut out = Vec::new();
    let mut times = Vec::new();
    let mut unfinished = false;
    for _ in 0..PASSES {
        out.clear();
        let start = Instant::now();
        let found = black_box(detectors.search(ColumnContext::UNKNOWN, black_box(text.as_bytes()), &mut out));
        times.push(start.elapsed().as_nanos() as f64 / text.len() as f64);
        unfinished |= found.is_some_and(|finding| finding.is_unfinished());
    }
    let fastest = times.iter().copied().fold(f64::INFINITY, f64::min);
    let first = times.first().copied().unwrap_or(f64::NAN);
    let word = if unfinished { "masked as a whole" } else { "searched to its end" };
    println!("  {name:58} {fastest:>8.1}, the first {first:>8.1}  {word}");
}

const TEXT_BYTES: usize = 100_000;
const PASSES: usize = 7;
