//! The second reading of SQL over texts that governor did not write: the server accepts them and the facts are right, so a reading that sees
//! more would deny for nothing.
//!
//! docs/decisions/0063-second-reading.md has the figures.

// Helpers beside the tests fail the test that called them.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use governor::engine::sql::{PostgresDialect, SecondReading, SqlDialect, second_reading};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Every text that is in the tree, and the server's own regression files where `cargo xtask setup` fetched them.
#[test]
fn right_facts_are_not_doubted() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut files = files_of(&root.join("tests/bypass"), "toml");
    assert!(!files.is_empty(), "the corpus of bypasses is in the tree");
    for dir in ["tests/bypass", "target/tools/regress"] {
        files.extend(files_of(&root.join(dir), "sql"));
    }
    let (mut agrees, mut none, mut sees_more) = (0, 0, vec![]);
    let (mut spent, mut grammar) = (Duration::ZERO, Duration::ZERO);
    let mut texts = 0_u32;
    for file in &files {
        let Ok(content) = std::fs::read_to_string(file) else { continue };
        let texts_here = match file.extension().is_some_and(|extension| extension == "toml") {
            true => texts_of_attack(&content),
            false => texts_of(&content),
        };
        for text in texts_here {
            let begin = Instant::now();
            let facts = PostgresDialect::default().script(&text).statements;
            let between = Instant::now();
            let reading = second_reading(&text, &facts);
            spent += between.elapsed();
            grammar += between - begin;
            texts += 1;
            match reading {
                SecondReading::Agrees => agrees += 1,
                SecondReading::NoOpinion => none += 1,
                SecondReading::SeesMore { what } => {
                    sees_more.push(format!("{}: it sees {what}: {text}", file.display()));
                }
            }
        }
    }
    println!(
        "{} files, {texts} texts: {agrees} agree, {none} without an opinion, {} see more; a text took {:?}, after {:?} for its facts, in this build",
        files.len(),
        sees_more.len(),
        spent / texts.max(1),
        grammar / texts.max(1),
    );
    assert!(agrees > texts / 2, "it has an opinion of most texts");
    assert!(sees_more.is_empty(), "{}", sees_more.join("\n"));
}

/// Pieces of a script that end with `;` at the end of a line. What psql would do itself is left out.
fn texts_of(script: &str) -> Vec<String> {
    let mut texts = vec![];
    let mut text = String::new();
    for line in script.lines() {
        text.push_str(line);
        text.push('\n');
        if line.trim_end().ends_with(';') {
            texts.push(std::mem::take(&mut text));
        }
    }
    texts.retain(|text| text.len() < 20_000 && !text.contains('\\') && !text.contains(":'"));
    texts
}

/// What an attack sends as text.
fn texts_of_attack(file: &str) -> Vec<String> {
    let attack: toml::Table = toml::from_str(file).unwrap();
    let steps = attack.get("step").and_then(toml::Value::as_array).into_iter().flatten();
    let texts = steps.flat_map(|step| ["simple", "extended", "prepare", "outside"].map(|key| step.get(key)));
    texts.flatten().filter_map(|text| text.as_str().map(str::to_owned)).collect()
}

/// Every file below with this extension, in order.
fn files_of(dir: &Path, extension: &str) -> Vec<PathBuf> {
    let mut files = vec![];
    let mut dirs = vec![dir.to_owned()];
    while let Some(dir) = dirs.pop() {
        let Ok(entries) = std::fs::read_dir(dir) else { continue };
        for path in entries.flatten().map(|entry| entry.path()) {
            if path.is_dir() {
                dirs.push(path);
            } else if path.extension().is_some_and(|found| found == extension) {
                files.push(path);
            }
        }
    }
    files.sort();
    files
}
