//! The verbs of `governor policy`, on files in temporary directories.

use super::*;
use clap::Parser;

#[derive(clap::Parser)]
struct Cli {
    #[command(flatten)]
    policy: PolicyArgs,
}

fn answered(json: bool, words: &[&str]) -> (bool, String) {
    answered_with(json, words, &dir(&[("governor.toml", "")]))
}

/// With the configuration, and the audit, of a directory.
fn answered_with(json: bool, words: &[&str], home: &tempfile::TempDir) -> (bool, String) {
    let args = Cli::try_parse_from(std::iter::once(&"policy").chain(words)).unwrap().policy;
    let config = Some(home.path().join("governor.toml"));
    let globals = Globals { state_dir: home.path().to_owned(), config, json };
    let mut out = vec![];
    let is_fine = answer(args, &globals, &mut out).unwrap();
    (is_fine, String::from_utf8(out).unwrap())
}

fn dir(files: &[(&str, &str)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in files {
        std::fs::write(dir.path().join(name), text).unwrap();
    }
    dir
}

#[test]
fn check_counts_what_is_in_force() {
    let dir = dir(&[("a.cedar", "@id(\"mine\") forbid (principal, action, resource);")]);
    let path = dir.path().to_str().unwrap();
    let (is_fine, text) = answered(false, &["check", path]);
    assert!(is_fine, "{text}");
    assert!(text.contains(&format!("{path}/a.cedar: 1 policy\n")), "{text}");
    let (_, alone) = answered(true, &["check", "--no-builtin", path]);
    let alone: serde_json::Value = serde_json::from_str(&alone).unwrap();
    assert_eq!((&alone["ok"], &alone["policies_count"]), (&json!(true), &json!(1)));
    let (_, none) = answered(true, &["check", "--no-builtin", "--disable", "mine", path]);
    assert!(none.contains("\"policies_count\":0"), "{none}");
}

#[test]
fn check_tells_every_problem_with_its_place() {
    let dir = dir(&[("a.cedar", "// x\nforbid (principal, action, resorce);"), ("b.cedar", "@no\npermit")]);
    let path = dir.path().to_str().unwrap();
    let (is_fine, text) = answered(false, &["check", path, "/nonexistent.cedar"]);
    assert!(!is_fine);
    for start in
        [format!("{path}/a.cedar:2:28: "), format!("{path}/b.cedar:2:"), "/nonexistent.cedar: ".into()]
    {
        assert!(text.lines().any(|line| line.starts_with(&start)), "{start}\n{text}");
    }
    let (is_fine, text) = answered(true, &["check", path]);
    let answer: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert!(!is_fine && answer["problems"].as_array().unwrap().iter().any(|p| p["line"] == 2), "{text}");
}

#[test]
fn show_prints_policies_that_check_accepts() {
    let (_, text) = answered(true, &["show"]);
    let shown: serde_json::Value = serde_json::from_str(&text).unwrap();
    let dir = tempfile::tempdir().unwrap();
    for file in shown["files"].as_array().unwrap() {
        let name = file["name"].as_str().unwrap().rsplit('/').next().unwrap();
        std::fs::write(dir.path().join(name), file["text"].as_str().unwrap()).unwrap();
    }
    let (is_fine, text) = answered(false, &["check", "--no-builtin", dir.path().to_str().unwrap()]);
    assert!(is_fine, "{text}");
    // Beside themselves they are duplicates.
    let (is_fine, _) = answered(false, &["check", dir.path().to_str().unwrap()]);
    assert!(!is_fine);
    let (_, schema) = answered(false, &["show", "--schema"]);
    assert_eq!(schema, SCHEMA_TEXT);
}

#[test]
fn profiles_are_words() {
    assert!(Cli::try_parse_from(["policy", "check", "--profile", "observed"]).is_err());
    let (_, text) = answered(false, &["show", "--profile", "observe"]);
    assert!(text.contains("@id(\"observe-permitted\")"));
}
