//! Depth and work, on a thread with no more stack than promised.

use super::super::super::PARSER_STACK_BYTES_MIN;
use super::*;

fn on_small_stack(sql: String) -> Lineage {
    let worker = std::thread::Builder::new().stack_size(PARSER_STACK_BYTES_MIN);
    worker.spawn(move || of(&sql)).expect("spawn").join().expect("no panic")
}

fn nest(open: &str, inside: &str, close: &str, times: usize) -> String {
    format!("{}{inside}{}", open.repeat(times), close.repeat(times))
}

/// Answers with the right source or says that it does not know; never overflows the stack.
#[test]
fn deep_and_wide_texts_are_followed_or_unknown() {
    for sql in [
        format!("SELECT {} FROM people", nest("(", "ssn", ")", 9_000)),
        nest("SELECT (", "SELECT ssn FROM people", ")", 3_000),
        nest("SELECT * FROM (", "SELECT ssn FROM people", ") a", 3_000),
        nest("SELECT x FROM (SELECT (", "SELECT ssn FROM people", ") x) a", 1_000),
        format!("SELECT {} FROM people", nest("upper(", "ssn", ")", 4_000)),
        format!("SELECT {} FROM people", nest("unnest(", "ARRAY[ssn]", ")", 2_000)),
        format!("SELECT {} FROM people", nest("CASE WHEN true THEN ", "ssn", " END", 2_000)),
        format!("SELECT ssn {} FROM people", "::text".repeat(50_000)),
        format!("SELECT ssn {} FROM people", "COLLATE \"C\"".repeat(5_000)),
        format!("SELECT ssn {} FROM people", "|| ssn".repeat(50_000)),
        format!("SELECT ssn FROM people {}", "JOIN letters USING (id) ".repeat(20_000)),
        format!("SELECT ssn FROM {}", nest("(people JOIN ", "letters", " ON true)", 2_000)),
        format!("SELECT '' {}", "UNION ALL SELECT ssn FROM people ".repeat(20_000)),
        nest("SELECT ssn FROM people UNION ALL (", "SELECT ssn FROM people", ")", 2_000),
        format!(
            "WITH c0 AS (SELECT ssn AS x FROM people){} SELECT x FROM c400",
            (1..=400).map(|n| format!(", c{n} AS (SELECT x FROM c{})", n - 1)).collect::<String>()
        ),
        format!("SELECT ssn FROM people WHERE {} true", "NOT ".repeat(9_000)),
        format!("SELECT ssn FROM people WHERE {}", nest("(id = 1 AND NOT ", "id = 1", ")", 3_000)),
        format!("SELECT ssn FROM {} people", "letters, ".repeat(50_000)),
        format!("SELECT ssn FROM people, {} people q", "people, ".repeat(200)),
    ] {
        let head: String = sql.chars().take(50).collect();
        let lineage = on_small_stack(sql);
        match &lineage {
            Lineage::Unknown(Doubt::TooDeep | Doubt::TooMuch | Doubt::Unparsed) => {}
            Lineage::Columns(flows) => {
                assert!(
                    text(&lineage).contains("people.ssn") || flows[0].unknown.is_some(),
                    "{head}: {flows:?}"
                );
            }
            other => panic!("{head}: {other:?}"),
        }
    }
}

#[test]
fn what_people_write_is_within_the_bounds() {
    let joins: String = (0..40).map(|n| format!(" JOIN orders o{n} ON o{n}.person_id = p.id")).collect();
    let columns: String = (0..40).map(|n| format!(", upper(o{n}.item)")).collect();
    let sql = format!("SELECT p.ssn{columns} FROM people p{joins}");
    assert!(text(&of(&sql)).starts_with("=people.ssn"), "{}", text(&of(&sql)));
    assert_eq!(text(&of(&nest("SELECT * FROM (", "SELECT ssn FROM people", ") a", 20))), "=people.ssn");
    let ctes: String = (1..=20).map(|n| format!(", c{n} AS (SELECT x FROM c{})", n - 1)).collect();
    let sql = format!("WITH c0 AS (SELECT ssn AS x FROM people){ctes} SELECT x FROM c20");
    assert_eq!(text(&of(&sql)), "=people.ssn");
}

/// Work that doubles with each step of the text ends at the bound.
#[test]
fn work_is_bounded() {
    let doubling: String =
        (1..=30).map(|n| format!(", c{n} AS (SELECT a.x FROM c{0} a, c{0} b)", n - 1)).collect();
    let sql = format!("WITH c0 AS (SELECT ssn AS x FROM people){doubling} SELECT x FROM c30");
    // Each WITH query is read once.
    assert!(matches!(on_small_stack(sql), Lineage::Columns(_) | Lineage::Unknown(Doubt::TooDeep)));
    let recursive: String = (0..12)
        .map(|n| format!("WITH RECURSIVE r{n}(x) AS (SELECT ssn FROM people UNION ALL SELECT x FROM r{n}, ("))
        .collect();
    let sql = format!(
        "{recursive} SELECT 1 {}",
        (0..12).map(|n| format!(") q) SELECT x FROM r{n} ")).collect::<String>()
    );
    let found = on_small_stack(sql);
    assert!(!matches!(found, Lineage::NoRows), "{found:?}");
}
