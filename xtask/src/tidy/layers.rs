//! Who may name whom: `surface → app → host → engine`; in `engine`, siblings meet in `session` only.

use super::{Finding, Source, is_rust};
use std::path::Path;

/// Findings of one file of the user-space crate or of the kernel programs.
pub fn check(file: &Source) -> Vec<Finding> {
    let Ok(inside) = file.path.strip_prefix("governor-userspace/src") else { return vec![] };
    if !is_rust(file) {
        return vec![];
    }
    let mut findings = Vec::new();
    for (number, line) in file.text.lines().enumerate() {
        let code = code_of(line);
        let mut found = |what: String| findings.push(Finding::new(&file.path, number + 1, what));
        if layer(inside) == "engine" {
            for word in IMPURE.iter().filter(|word| names(code, word)) {
                found(format!("engine is pure and may not name `{word}`"));
            }
            if let Some(socket) = net_type(code) {
                found(format!("engine may use addresses as data, not `std::net::{socket}`"));
            }
            if let Some(sibling) = sibling(inside, code) {
                found(format!("engine siblings meet in session only: `{sibling}` does not belong here"));
            }
        }
        for above in above(layer(inside)).iter().filter(|above| names(code, &format!("crate::{above}"))) {
            found(format!("`{}` may not name `{above}`, which is above it", layer(inside)));
        }
        if names(code, "governor_common") && !inside.starts_with("host/kernel") {
            found("only host/kernel speaks the kernel's bytes (`governor_common`)".into());
        }
    }
    findings
}

/// `engine`, `host`, `app`, `surface`; the crate's own top files have no layer.
fn layer(inside: &Path) -> &str {
    let first = inside.iter().next().and_then(|part| part.to_str()).unwrap_or_default();
    first.strip_suffix(".rs").unwrap_or(first)
}

fn above(layer: &str) -> &'static [&'static str] {
    match layer {
        "engine" => &["host", "app", "surface"],
        "host" => &["app", "surface"],
        "app" => &["surface"],
        _ => &[],
    }
}

/// The sibling that a line of `engine/HERE/…` names without being allowed to.
fn sibling(inside: &Path, code: &str) -> Option<String> {
    let here = inside.iter().nth(1)?.to_str()?;
    if here == "session" || here.ends_with(".rs") {
        return None;
    }
    let after = code.split("crate::engine::").nth(1)?;
    let there: String = after.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
    let allowed = there == here || there == "model" || !SIBLINGS.contains(&there.as_str());
    (!allowed).then(|| format!("{there} in {here}"))
}

/// A type of `std::net` that is more than data.
fn net_type(code: &str) -> Option<&str> {
    let after = code.split("std::net::").nth(1)?;
    let word = after.split(|c: char| !c.is_ascii_alphanumeric()).next()?;
    // A list in braces is judged by the words in it.
    let words: Vec<&str> = if word.is_empty() {
        after.split(|c: char| !c.is_ascii_alphanumeric()).collect()
    } else {
        vec![word]
    };
    words.into_iter().find(|word| ["TcpStream", "TcpListener", "UdpSocket", "ToSocketAddrs"].contains(word))
}

/// The line without its comment.
fn code_of(line: &str) -> &str {
    line.split("//").next().unwrap_or_default()
}

/// Whether `code` has `word` with nothing of a longer name around it.
fn names(code: &str, word: &str) -> bool {
    let part_of_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    code.match_indices(word).any(|(at, _)| {
        let before = code.get(..at).and_then(|text| text.chars().next_back());
        let after = code.get(at + word.len()..).and_then(|text| text.chars().next());
        !before.is_some_and(part_of_name) && !after.is_some_and(part_of_name)
    })
}

const IMPURE: [&str; 12] = [
    "tokio",
    "aya",
    "axum",
    "hyper",
    "nix",
    "libc",
    "getrandom",
    "std::fs",
    "std::process",
    "std::env",
    "Instant::now",
    "SystemTime::now",
];

const SIBLINGS: [&str; 7] = ["wire", "sql", "policy", "masking", "approval", "audit", "session"];

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(path: &str, text: &str) -> usize {
        check(&Source { path: Path::new("governor-userspace/src").join(path), text: text.into() }).len()
    }

    #[test]
    fn each_crossing_is_found_and_each_permitted_use_is_not() {
        for (path, text, expected) in [
            ("engine/wire/a.rs", "use tokio::net::TcpStream;", 1),
            ("engine/wire/a.rs", "let now = std::time::Instant::now();", 1),
            ("engine/wire/a.rs", "// tokio would be wrong here", 0),
            ("engine/wire/a.rs", "let tokionic = 1;", 0),
            ("engine/wire/a.rs", "use std::net::{IpAddr, TcpListener};", 1),
            ("engine/wire/a.rs", "use std::net::{IpAddr, SocketAddr};", 0),
            ("engine/wire/a.rs", "use crate::engine::sql::Script;", 1),
            ("engine/wire/a.rs", "use crate::engine::model::Statement;", 0),
            ("engine/wire/a.rs", "use crate::engine::wire::reader::Reader;", 0),
            ("engine/session/a.rs", "use crate::engine::sql::Script;", 0),
            ("engine/policy/a.rs", "use crate::engine::model::Category;", 0),
            ("engine/policy/a.rs", "use crate::engine::masking::Detector;", 1),
            ("engine/mod.rs", "use crate::host::ledger;", 1),
            ("host/ledger/a.rs", "use crate::app::Handle;", 1),
            ("host/ledger/a.rs", "use crate::engine::audit::Chain;", 0),
            ("host/ledger/a.rs", "use governor_common::Flow;", 1),
            ("host/kernel/a.rs", "use governor_common::Flow;", 0),
            ("app.rs", "use crate::surface::api;", 1),
            ("app/mod.rs", "use crate::host::ledger;", 0),
            ("surface/cli/a.rs", "use crate::app::Handle;", 0),
            ("main.rs", "use governor::surface::cli;", 0),
        ] {
            assert_eq!(findings(path, text), expected, "{path}: {text}");
        }
    }
}
