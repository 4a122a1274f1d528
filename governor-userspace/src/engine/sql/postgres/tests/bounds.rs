//! Length, depth and time, on a thread with no more stack than promised.

use super::*;
use crate::engine::model::StatementKind as K;

/// Parses on a thread with [`PARSER_STACK_BYTES_MIN`]; overflow would abort the test run, and a quadratic
/// text would keep it busy for minutes.
fn on_small_stack(sql: String) -> Vec<Statement> {
    let worker = std::thread::Builder::new().stack_size(PARSER_STACK_BYTES_MIN);
    worker.spawn(move || all(&sql)).expect("spawn").join().expect("no panic")
}

fn nest(open: &str, inside: &str, close: &str, times: usize) -> String {
    format!("{}{inside}{}", open.repeat(times), close.repeat(times))
}

#[test]
fn deep_texts_neither_overflow_nor_escape() {
    for sql in [
        format!("SELECT {}", nest("(", "1", ")", 10_000)),
        format!("SELECT {}", nest("(", "1", ")", 200_000)),
        nest("SELECT (", "SELECT ssn FROM people", ")", 3_200),
        nest("SELECT * FROM (", "SELECT ssn FROM people", ") a", 3_000),
        format!("SELECT {}", nest("f(", "ssn", ")", 4_000)),
        format!("SELECT {}", nest("CASE WHEN true THEN ", "ssn", " END", 2_000)),
        format!("SELECT 1 WHERE {} true", "NOT ".repeat(9_000)),
        format!("SELECT ssn {}", "::text".repeat(100_000)),
        format!("SELECT a {}", "+ a".repeat(100_000)),
        format!("SELECT a {}", "|| a".repeat(100_000)),
        format!("SELECT * FROM a0 {}", "JOIN people USING (id) ".repeat(20_000)),
        format!("SELECT 1 {}", "UNION ALL SELECT ssn FROM people ".repeat(20_000)),
        format!("SELECT {} 1", "- ".repeat(9_000)),
        format!("SELECT x{}", ".y".repeat(100_000)),
        format!("SELECT x{}", "[1]".repeat(100_000)),
        format!("DELETE FROM people WHERE {}", nest("(id = 1 AND NOT ", "(id = 1)", ")", 3_000)),
        format!("DELETE FROM people WHERE {}", nest("coalesce(", "id", ")", 4_000)),
    ] {
        let statements = on_small_stack(sql.clone());
        let statement = &statements[0];
        let head = &sql[..60];
        match &statement.unknown {
            None => assert!(
                statement.kind != K::Unknown && (!sql.contains("people") || !statement.reads.is_empty()),
                "{head}"
            ),
            Some(Unknown::TooDeep) => assert_eq!(statement.kind, K::Unknown, "{head}"),
            other => panic!("{head}: {other:?}"),
        }
    }
}

#[test]
fn the_parser_gives_up_as_too_deep() {
    let statements = on_small_stack(format!("SELECT {}", nest("(", "1", ")", 20_000)));
    assert_eq!(statements[0].unknown, Some(Unknown::TooDeep));
}

#[test]
fn wide_texts_are_read_in_full() {
    let arms: Vec<String> = (0..20_000).map(|n| format!("id = {n}")).collect();
    let statement = &on_small_stack(format!("DELETE FROM people WHERE {}", arms.join(" OR ")))[0];
    assert_eq!((statement.unknown.clone(), statement.has_where), (None, Some(true)));

    let statement = &on_small_stack(format!("DELETE FROM people WHERE {} OR true", arms.join(" OR ")))[0];
    assert_eq!(statement.has_where, Some(false));

    let list: Vec<String> = (0..100_000).map(|n| n.to_string()).collect();
    let statement = &on_small_stack(format!("SELECT id FROM people WHERE id IN ({})", list.join(",")))[0];
    assert_eq!((statement.unknown.clone(), joined(&statement.reads)), (None, "people".into()));

    let ctes: Vec<String> = (0..5_000).map(|n| format!("c{n} AS (SELECT * FROM c{})", n / 2)).collect();
    let statement = &on_small_stack(format!("WITH {} SELECT * FROM c1, people", ctes.join(",")))[0];
    assert_eq!(statement.unknown, None);
    assert!(joined(&statement.reads).contains("people"));
}

#[test]
fn length_is_bounded() {
    let fits = format!("SELECT '{}'", "x".repeat(STATEMENT_BYTES_MAX - 9));
    assert_eq!(one(&fits).unknown, None);
    let long = format!("{fits} ");
    assert_eq!(one(&long).unknown, Some(Unknown::TooLong { bytes: STATEMENT_BYTES_MAX as u64 + 1 }));
}

#[test]
fn comment_nesting_is_bounded() {
    let nested = |depth| format!("SELECT {} 1", nest("/* ", "", " */", depth));
    assert_eq!(one(&nested(COMMENT_DEPTH_MAX)).unknown, None);
    assert_eq!(one(&nested(COMMENT_DEPTH_MAX + 1)).unknown, Some(Unknown::TooDeep));
    // Many, but side by side or inside strings.
    assert_eq!(one(&format!("SELECT {} 1", "/* x */ ".repeat(1_000))).unknown, None);
    assert_eq!(one(&format!("SELECT '{}'", "/* ".repeat(1_000))).unknown, None);
    assert_eq!(one(&format!("SELECT 1 --{}", "/* ".repeat(1_000))).unknown, None);
}

#[test]
fn quadratic_scans_are_refused() {
    for sql in [
        format!("SELECT {}", "/*".repeat(20_000)),
        format!("SELECT {} 1", "/**/".repeat(200_000)),
        format!("SELECT /*{}*/ 1", "/**/".repeat(200_000)),
        format!("SELECT {}1", "+".repeat(1_000_000)),
        format!("SELECT {}1", "*-".repeat(400_000)),
    ] {
        assert!(on_small_stack(sql)[0].unknown.is_some());
    }
    // Harmless inside strings and banners.
    for sql in [
        format!("/*{}*/ SELECT '{}'", "=".repeat(200), "-".repeat(900_000)),
        format!("SELECT $x${}$x$ --{}", "/*".repeat(100_000), "*".repeat(100_000)),
        format!(
            "SELECT 1 {}",
            "\n-- ====================================== --".repeat(COMMENTS_IN_A_ROW_MAX)
        ),
        format!("SELECT 1{}", "\n, 2 -- ============================== --".repeat(20_000)),
    ] {
        assert_eq!(on_small_stack(sql)[0].unknown, None);
    }
}

#[test]
fn comments_in_a_row_are_bounded() {
    for comment in ["--\n", "/**/ ", "-- x\r/* y */"] {
        for sql in [format!("SELECT {}1", comment.repeat(70_000)), comment.repeat(70_000)] {
            assert!(
                matches!(on_small_stack(sql)[0].unknown, Some(Unknown::NotUnderstood { .. })),
                "{comment}"
            );
        }
        assert_eq!(on_small_stack(format!("SELECT {}1", comment.repeat(1_000)))[0].unknown, None);
    }
}

#[test]
fn the_count_of_commands_is_bounded() {
    assert_eq!(all(&"SELECT;".repeat(STATEMENTS_MAX)).len(), STATEMENTS_MAX);
    assert!(matches!(
        one(&"SELECT;".repeat(STATEMENTS_MAX + 1)).unknown,
        Some(Unknown::NotUnderstood { .. })
    ));
}

#[test]
fn names_cut_in_the_middle_of_a_character_do_not_stop_us() {
    // The grammar cuts names at 63 bytes; 'ü' has two.
    let name = format!("a{}", "ü".repeat(40));
    let statement = one(&format!("SELECT * FROM {name}"));
    assert!(statement.unknown.is_some() || statement.reads[0].name.len() <= 63);
}
