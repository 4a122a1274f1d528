//! Any text at all: no panic, statements lie in the text in order, the facts keep their shape.

use super::*;
use proptest::prelude::*;

fn check(text: &str) {
    for standard_conforming_strings in [true, false] {
        let script = PostgresDialect { standard_conforming_strings }.script(text);
        assert!(!script.statements.is_empty());
        let mut rest = text;
        for statement in &script.statements {
            let at = rest.find(&*statement.text).expect("statements lie in the text, in order");
            rest = &rest[at + statement.text.len()..];
            assert!(statement.kinds.contains(&statement.kind));
            assert!(statement.reads.is_sorted() && statement.writes.is_sorted());
            assert_eq!(statement.fingerprint.len(), 16);
            assert!(lexer::Lexer::new(&statement.text).count() <= statement.text.len());
        }
    }
}

/// Pieces of SQL, valid and not, in any order.
fn garbled() -> impl Strategy<Value = String> {
    let words: Vec<&'static str> = vec![
        "SELECT",
        "DELETE FROM",
        "UPDATE",
        "SET",
        "INSERT INTO",
        "people",
        "p",
        "WHERE",
        "FROM",
        "WITH",
        "AS",
        "(",
        ")",
        "(",
        ")",
        ",",
        ";",
        "*",
        "=",
        "1",
        "'a'",
        "E'\\''",
        "$$x$$",
        "$1",
        "\"Q\"",
        "--",
        "\n",
        "\r",
        "/*",
        "*/",
        "id",
        "ssn",
        ".",
        "::",
        "text",
        "RETURNING",
        "UNION",
        "VALUES",
        "true",
        "NOT",
        "OR",
        "AND",
        "COPY",
        "TO STDOUT",
        "FROM STDIN",
        "EXPLAIN",
        "ANALYZE",
        "CREATE TABLE",
        "DROP TABLE",
        "GRANT",
        "ON",
        "U&\"\\0061\"",
        "é",
        "\\",
        "'",
        "\"",
        "$",
        "JOIN",
        "USING",
        "GROUP BY",
        "count(*)",
        "PREPARE",
        "EXECUTE",
    ];
    prop::collection::vec(prop::sample::select(words), 0..24).prop_map(|words| words.join(" "))
}

/// A command that parses, with one piece replaced.
fn mutated() -> impl Strategy<Value = String> {
    let corpus: Vec<&'static str> = facts::RELATIONS.iter().map(|(sql, ..)| *sql).collect();
    (prop::sample::select(corpus), any::<prop::sample::Index>(), any::<prop::sample::Index>(), ".{0,4}")
        .prop_map(|(sql, from, to, piece)| {
            let boundaries: Vec<usize> = sql.char_indices().map(|(at, _)| at).chain([sql.len()]).collect();
            let (a, b) = (boundaries[from.index(boundaries.len())], boundaries[to.index(boundaries.len())]);
            format!("{}{piece}{}", &sql[..a.min(b)], &sql[a.max(b).min(a.min(b) + 3).max(a.min(b))..])
        })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text(text in "\\PC{0,200}|[\\x00-\\x7f]{0,200}") {
        check(&text);
    }

    #[test]
    fn garbled_sql(text in garbled()) {
        check(&text);
    }

    #[test]
    fn mutated_sql(text in mutated()) {
        check(&text);
    }
}
