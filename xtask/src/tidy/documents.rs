//! Documents that stay true: links lead somewhere, promised tests exist, commands and metrics are real.

use super::{Finding, Source, is_markdown, is_rust};
use crate::workspace;
use std::collections::BTreeSet;
use std::path::Path;

/// Relative links of a document must lead to a file of the repository.
pub fn links(file: &Source) -> Vec<Finding> {
    if !is_markdown(file) {
        return vec![];
    }
    let here = file.path.parent().unwrap_or(Path::new(""));
    let mut findings = Vec::new();
    for (number, line) in prose(&file.text) {
        for target in line.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let path = target.split('#').next().unwrap_or_default();
            if path.is_empty() || target.contains("://") || target.starts_with("mailto:") {
                continue;
            }
            if !workspace::root().join(here).join(path).exists() {
                findings.push(Finding::new(
                    &file.path,
                    number,
                    format!("link to {path}, which does not exist"),
                ));
            }
        }
    }
    findings
}

/// Every test that `docs/promises.md` names as `suite::name` must be one.
pub fn promises(files: &[Source]) -> Vec<Finding> {
    let Some(page) = files.iter().find(|file| file.path == Path::new("docs/promises.md")) else {
        return vec![Finding::new(Path::new("docs/promises.md"), 0, "is missing")];
    };
    let mut findings = Vec::new();
    for (number, line) in prose(&page.text) {
        for name in code_spans(line).filter(|name| name.contains("::") && !name.contains(' ')) {
            if !test_exists(files, name) {
                findings.push(Finding::new(
                    &page.path,
                    number,
                    format!("promises the test {name}, which does not exist"),
                ));
            }
        }
    }
    findings
}

/// Metrics in code and in `docs/metrics.md` must be the same set.
pub fn metric_table(files: &[Source]) -> Vec<Finding> {
    let Some(page) = files.iter().find(|file| file.path == Path::new("docs/metrics.md")) else {
        return vec![];
    };
    let documented: BTreeSet<&str> = page
        .text
        .lines()
        .filter(|line| line.starts_with('|'))
        .flat_map(code_spans)
        .filter(|word| is_metric(word))
        .collect();
    let in_code: BTreeSet<&str> = files
        .iter()
        .filter(|file| is_rust(file) && file.path.starts_with("governor-userspace/src/host/telemetry"))
        .flat_map(|file| file.text.split('"').skip(1).step_by(2))
        .filter(|word| is_metric(word))
        .collect();
    let only = |a: &BTreeSet<&str>, b: &BTreeSet<&str>, what: &str| -> Vec<Finding> {
        a.difference(b).map(|name| Finding::new(&page.path, 0, format!("{name}: {what}"))).collect()
    };
    [
        only(&documented, &in_code, "documented, not in code"),
        only(&in_code, &documented, "in code, not documented"),
    ]
    .concat()
}

/// `cargo xtask VERB` in a document must be a verb of this program.
pub fn commands(files: &[Source]) -> Vec<Finding> {
    use clap::CommandFactory;
    let program = crate::Arguments::command();
    let verbs: BTreeSet<&str> = program.get_subcommands().map(clap::Command::get_name).collect();
    let mut findings = Vec::new();
    for file in files.iter().filter(|file| is_markdown(file)) {
        for (number, line) in file.text.lines().enumerate() {
            for rest in line.split("cargo xtask ").skip(1) {
                let verb = rest.split(|c: char| !c.is_ascii_alphanumeric()).next().unwrap_or_default();
                if !verbs.contains(verb) {
                    findings.push(Finding::new(
                        &file.path,
                        number + 1,
                        format!("there is no `cargo xtask {verb}`"),
                    ));
                }
            }
        }
    }
    findings
}

/// `suite::test` of a black-box suite, or a path that ends in the name of a unit test.
fn test_exists(files: &[Source], name: &str) -> bool {
    let Some((place, function)) = name.rsplit_once("::") else { return false };
    let definition = format!("fn {function}(");
    let suite = Path::new("tests").join(format!("{}.rs", place.replace("::", "/")));
    files.iter().filter(|file| is_rust(file)).any(|file| {
        let here = file.path == suite
            || (file.path.starts_with("governor-userspace") || file.path.starts_with("governor-common"))
                && file.path.to_string_lossy().contains(&place.replace("::", "/"));
        here && file.text.contains(&definition)
    })
}

fn is_metric(word: &str) -> bool {
    word.starts_with("governor_")
        && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
}

/// Lines outside of code blocks, with their numbers.
fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut inside = false;
    text.lines().enumerate().filter_map(move |(number, line)| {
        let fence = line.trim_start().starts_with("```");
        inside ^= fence;
        (!inside && !fence).then_some((number + 1, line))
    })
}

fn code_spans(line: &str) -> impl Iterator<Item = &str> {
    line.split('`').skip(1).step_by(2)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(path: &str, text: &str) -> Source {
        Source { path: path.into(), text: text.into() }
    }

    #[test]
    fn a_link_must_lead_somewhere_but_not_in_code() {
        let page = source(
            "docs/a.md",
            "[ok](../Cargo.toml) [gone](nowhere.md)\n```\n[x](no.md)\n```\n[web](https://e.org)\n",
        );
        let found: Vec<_> = links(&page).into_iter().map(|finding| finding.line).collect();
        assert_eq!(found, [1]);
    }

    #[test]
    fn a_promised_test_must_exist_in_its_suite() {
        let files = [
            source("tests/basic.rs", "#[test]\nfn works() {}\n"),
            source("governor-userspace/src/engine/sql/tests.rs", "fn parses() {}\n"),
            source(
                "docs/promises.md",
                "| a | `basic::works` `engine::sql::parses` |\n| b | `basic::parses` |\n",
            ),
        ];
        let found: Vec<_> = promises(&files).into_iter().map(|finding| finding.line).collect();
        assert_eq!(found, [2]);
    }

    #[test]
    fn metrics_of_code_and_document_must_be_the_same() {
        let code = source(
            "governor-userspace/src/host/telemetry/metrics.rs",
            r#"n("governor_a_total"); n("governor_b")"#,
        );
        let page = source("docs/metrics.md", "| `governor_a_total` | x |\n| `governor_c` | y |\n");
        assert_eq!(metric_table(&[code, page]).len(), 2);
    }

    #[test]
    fn a_command_in_a_document_must_be_one() {
        let page = source("README.md", "run `cargo xtask test` or cargo xtask frobnicate\n");
        assert_eq!(commands(&[page]).len(), 1);
    }
}
