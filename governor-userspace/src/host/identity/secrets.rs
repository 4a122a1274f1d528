//! Command lines that are safe to keep: bounded, printable, secrets removed.
//!
//! People put passwords on command lines. A record lives for years, so whatever looks like a secret is
//! replaced before the text goes anywhere. Hiding too much is acceptable, too little is not.
//!
//! Order matters: secrets are found in the whole text first, then it is made printable, then it is cut;
//! a cut first could hide the part by which a secret is recognised.

use crate::engine::wire::hello::is_hostile;
use regex::{Captures, Regex};
use std::sync::LazyLock;

/// Arguments fit for records, from the raw bytes of `/proc/PID/cmdline`.
///
/// `whole` is false where `raw` is only the beginning of the command line: its last argument is then left
/// out, since half a secret is not recognisable.
pub(super) fn readable_arguments(raw: &[u8], whole: bool) -> Vec<String> {
    let mut arguments = split_arguments(raw);
    if !whole {
        arguments.pop();
    }
    let texts: Vec<String> = arguments.iter().map(|a| String::from_utf8_lossy(a).into_owned()).collect();
    let program = texts.first().map(|t| base_name(t).to_owned()).unwrap_or_default();
    let mut out = Vec::with_capacity(texts.len().min(ARGUMENTS_MAX + 1));
    let mut bytes = 0;
    let mut next_is_secret = false;
    for text in &texts {
        if out.len() == ARGUMENTS_MAX || bytes >= ARGUMENTS_BYTES_MAX {
            out.push(CUT.to_owned());
            return out;
        }
        let hidden = if std::mem::take(&mut next_is_secret) && !text.starts_with("--") {
            HIDDEN.to_owned()
        } else {
            next_is_secret = announces_secret(&program, text);
            hide_secrets(&program, text)
        };
        let mut shown = printable(&hidden);
        if bytes + shown.len() > ARGUMENTS_BYTES_MAX {
            truncate(&mut shown, ARGUMENTS_BYTES_MAX - bytes);
            shown.push_str(CUT);
        }
        bytes += shown.len();
        out.push(shown);
    }
    if !whole {
        out.push(CUT.to_owned());
    }
    out
}

/// The NUL-separated arguments; empty ones at the end are padding of processes that retitle themselves.
pub(super) fn split_arguments(raw: &[u8]) -> Vec<&[u8]> {
    let end = raw.iter().rposition(|&b| b != 0).map_or(0, |last| last + 1);
    match raw.get(..end) {
        None | Some([]) => Vec::new(),
        Some(used) => used.split(|&b| b == 0).collect(),
    }
}

/// Text that cannot steer a terminal or break a line: control, format and bidirectional characters escaped.
pub(super) fn printable(text: &str) -> String {
    if !text.contains(is_hostile) {
        return text.to_owned();
    }
    text.chars().fold(String::with_capacity(text.len() + 8), |mut out, c| {
        if is_hostile(c) {
            out.extend(c.escape_default())
        } else {
            out.push(c)
        }
        out
    })
}

/// The part after the last `/`.
pub(super) fn base_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

fn truncate(text: &mut String, bytes_max: usize) {
    let mut end = bytes_max.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
}

/// An option whose value, a secret, is the next argument: `--password X`, `sshpass -p X`.
fn announces_secret(program: &str, argument: &str) -> bool {
    let short = match program {
        "sshpass" => argument == "-p",
        "redis-cli" | "keydb-cli" => argument == "-a",
        "curl" | "wget" => matches!(argument, "-u" | "--user" | "--proxy-user" | "-U" | "--oauth2-bearer"),
        _ => false,
    };
    short || SECRET_OPTION.is_match(argument) && !argument.starts_with("--no-")
}

fn hide_secrets(program: &str, argument: &str) -> String {
    let mysql = program.starts_with("mysql") || program.starts_with("mariadb") || program == "sshpass";
    if mysql && argument.len() > 2 && argument.starts_with("-p") {
        return format!("-p{HIDDEN}");
    }
    let mut text = argument.to_owned();
    for (pattern, replace) in RULES.iter() {
        if pattern.is_match(&text) {
            text = pattern.replace_all(&text, |c: &Captures<'_>| replace(c)).into_owned();
        }
    }
    text
}

type Rule = (Regex, fn(&Captures<'_>) -> String);

/// Keeps group 1 (what names the secret), hides the rest, keeps group 2 (what follows it) where there is one.
fn keep_name(captures: &Captures<'_>) -> String {
    let group = |n| captures.get(n).map_or("", |m| m.as_str());
    format!("{}{HIDDEN}{}", group(1), group(2))
}

static SECRET_OPTION: LazyLock<Regex> =
    LazyLock::new(|| compiled(&format!(r"(?i)\A--?[\w.-]*(?:{SECRET_WORDS})[\w.-]*\z")));

static RULES: LazyLock<Vec<Rule>> = LazyLock::new(|| {
    let name = format!(r#"[\w.-]*(?:{SECRET_WORDS}|\bpwd)[\w.-]*"#);
    let value = r#"(?:'(?:[^'\\]|\\.|'')*'?|"(?:[^"\\]|\\.)*"?|[^\s&;'"]+)"#;
    [
        // scheme://user:secret@host; a password with an unescaped @ runs to the last one before the path.
        r"([a-zA-Z][a-zA-Z0-9+.-]*://[^\s:/@]*:)[^\s/]*(@)".to_owned(),
        // password=secret, PGPASSWORD=secret, "password": "secret", Pwd=secret;
        format!(r#"(?i)({name}["']?\s*[=:]\s*){value}"#),
        // ALTER USER x PASSWORD 'secret', IDENTIFIED BY 'secret'
        r"(?i)(\bpassword\s+|\bidentified\s+(?:with\s+\S+\s+)?by\s+)(?:E?'(?:[^'\\]|\\.|'')*'?|\$\w*\$.*)".to_owned(),
        // Authorization: Bearer secret
        r"(?i)(\b(?:bearer|basic|token)\s+)[A-Za-z0-9._~+/=-]{8,}".to_owned(),
        // Keys that are known by their shape.
        r"()\b(?:sk-[A-Za-z0-9_-]{16,}|gh[pousr]_[A-Za-z0-9]{16,}|github_pat_\w{16,}|glpat-[\w-]{16,}|xox[abeprs]-[\w-]{8,}|A[KS]IA[A-Z0-9]{16}|AIza[\w-]{30,}|eyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*)".to_owned(),
        r"()(?s:-----BEGIN [A-Z ]*PRIVATE KEY-----.*)".to_owned(),
    ]
    .iter()
    .map(|source| (compiled(source), keep_name as fn(&Captures<'_>) -> String))
    .collect()
});

/// The sources above are constants; the tests compile them all.
#[allow(clippy::expect_used)]
fn compiled(source: &str) -> Regex {
    Regex::new(source).expect("a constant pattern compiles")
}

const SECRET_WORDS: &str = "password|passwd|passphrase|secret|token|api[_-]?key|access[_-]?key|private[_-]?key|credential|auth[_-]?key";

/// Enough to recognise a program and its task; more only fills records.
const ARGUMENTS_MAX: usize = 32;
const ARGUMENTS_BYTES_MAX: usize = 4096;
const HIDDEN: &str = "***";
const CUT: &str = "…";

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(arguments: &[&str]) -> Vec<String> {
        readable_arguments(arguments.join("\0").as_bytes(), true)
    }

    #[test]
    fn secrets_disappear_and_the_rest_stays() {
        for (given, expected) in [
            (
                vec!["psql", "postgres://app:s3cr3t@db:5432/shop"],
                vec!["psql", "postgres://app:***@db:5432/shop"],
            ),
            (vec!["psql", "postgresql://app:p@ss:w@db/shop"], vec!["psql", "postgresql://app:***@db/shop"]),
            (
                vec!["psql", "postgres://db/shop?user=a&password=s3cr3t&sslmode=require"],
                vec!["psql", "postgres://db/shop?user=a&password=***&sslmode=require"],
            ),
            (
                vec!["psql", "host=db password=s3cr3t dbname=shop"],
                vec!["psql", "host=db password=*** dbname=shop"],
            ),
            (
                vec!["psql", "host=db password='a b\\'c' dbname=shop"],
                vec!["psql", "host=db password=*** dbname=shop"],
            ),
            (vec!["psql", "password = s3cr3t host=db"], vec!["psql", "password = *** host=db"]),
            (vec!["env", "PGPASSWORD=s3cr3t", "psql"], vec!["env", "PGPASSWORD=***", "psql"]),
            (
                vec!["app", "--password", "s3cr3t", "--port", "1"],
                vec!["app", "--password", "***", "--port", "1"],
            ),
            (vec!["app", "--password", "-s3cr3t"], vec!["app", "--password", "***"]),
            (vec!["app", "--db-password=s3cr3t"], vec!["app", "--db-password=***"]),
            (vec!["app", "-password", "s3cr3t"], vec!["app", "-password", "***"]),
            (vec!["app", "--no-password", "shop"], vec!["app", "--no-password", "shop"]),
            (vec!["app", "--token", "abcdef"], vec!["app", "--token", "***"]),
            (vec!["app", "--api-key=abcdef"], vec!["app", "--api-key=***"]),
            (vec!["/usr/bin/mysql", "-uroot", "-ps3cr3t"], vec!["/usr/bin/mysql", "-uroot", "-p***"]),
            (vec!["psql", "-p5432"], vec!["psql", "-p5432"]),
            (vec!["sshpass", "-p", "s3cr3t", "ssh", "h"], vec!["sshpass", "-p", "***", "ssh", "h"]),
            (vec!["curl", "-u", "me:s3cr3t", "https://h"], vec!["curl", "-u", "***", "https://h"]),
            (
                vec!["curl", "-H", "Authorization: Bearer abcdefgh12345678"],
                vec!["curl", "-H", "Authorization: Bearer ***"],
            ),
            (
                vec!["psql", "-c", "ALTER USER a PASSWORD 's3''cr3t' VALID UNTIL 'x'"],
                vec!["psql", "-c", "ALTER USER a PASSWORD *** VALID UNTIL 'x'"],
            ),
            (
                vec!["mysql", "-e", "CREATE USER a IDENTIFIED BY 's3cr3t'"],
                vec!["mysql", "-e", "CREATE USER a IDENTIFIED BY ***"],
            ),
            (
                vec!["x", r#"{"user":"a","password":"s3 cr3t","n":1}"#],
                vec!["x", r#"{"user":"a","password":***,"n":1}"#],
            ),
            (vec!["x", "Server=db;Uid=a;Pwd=s3cr3t;"], vec!["x", "Server=db;Uid=a;Pwd=***;"]),
            (vec!["x", "sk-proj-abcdefghijklmnop1234"], vec!["x", "***"]),
            (vec!["x", "ghp_abcdefghijklmnopqrstuvwxyz0123456789"], vec!["x", "***"]),
            (vec!["x", "AKIAABCDEFGHIJKLMNOP"], vec!["x", "***"]),
            (
                vec!["psql", "-U", "app", "-d", "shop", "-c", "select 1"],
                vec!["psql", "-U", "app", "-d", "shop", "-c", "select 1"],
            ),
        ] {
            assert_eq!(shown(&given), expected, "{given:?}");
        }
    }

    #[test]
    fn hostile_bytes_become_printable() {
        assert_eq!(readable_arguments(b"a\xff\0b\nc\0\x1b[2Jd", true), ["a\u{fffd}", "b\\nc", "\\u{1b}[2Jd"]);
        assert_eq!(printable("abc\u{202e}gpj"), "abc\\u{202e}gpj");
        // A line break between the word and the value is no hiding place.
        assert_eq!(
            readable_arguments(b"psql\0-c\0ALTER USER a PASSWORD\n's3cr3t'", true)[2],
            "ALTER USER a PASSWORD\\n***"
        );
    }

    #[test]
    fn length_and_number_are_bounded() {
        let many = vec!["a"; 100];
        let out = shown(&many);
        assert_eq!((out.len(), out.last().unwrap().as_str()), (33, "…"));
        let long = "x".repeat(100_000);
        let out = shown(&["p", &long, "tail"]);
        assert!(out.iter().map(String::len).sum::<usize>() < 4096 + 16, "{out:?}");
        assert!(!out.contains(&"tail".to_owned()));
        // A multi-byte character at the border does not panic.
        let wide = "é".repeat(3000);
        assert!(shown(&["p", &wide])[1].ends_with('…'));
    }

    #[test]
    fn a_secret_cut_by_the_read_limit_is_not_shown() {
        let out = readable_arguments(b"psql\0postgres://app:s3cr", false);
        assert_eq!(out, ["psql", "…"]);
    }

    #[test]
    fn empty_and_padded_command_lines() {
        assert!(readable_arguments(b"", true).is_empty());
        assert!(readable_arguments(b"\0\0\0", true).is_empty());
        assert_eq!(readable_arguments(b"postgres: writer\0\0\0\0", true), ["postgres: writer"]);
        assert_eq!(readable_arguments(b"a\0\0b\0", true), ["a", "", "b"]);
    }
}
