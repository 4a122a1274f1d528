//! The table of children against the tree's own debug print: every struct that the tree holds must be
//! visited, for every command in the tables of these tests.

use super::*;
use std::collections::BTreeMap;

#[test]
fn every_node_of_every_tree_is_visited() {
    let mut wrong = vec![];
    // The binding's debug print panics on what GRANT names when that is no relation.
    let printable = |sql: &&str| !sql.starts_with("GRANT") && !sql.starts_with("ALTER DEFAULT");
    for sql in facts::RELATIONS.iter().map(|(sql, ..)| *sql).filter(printable) {
        let tree = pg_raw_parse::parse(sql).expect("the table's SQL parses");
        for root in tree.stmts() {
            let (printed, visited) = (printed(root), visited(root));
            if printed != visited {
                wrong.push(format!("{sql}\n  printed {printed:?}\n  visited {visited:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// Names of structs in the debug print, counted.
fn printed(root: Node<'_>) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    let print = format!("{root:?}");
    let bytes = print.as_bytes();
    for (at, _) in print.match_indices(" {") {
        let start = bytes[..at].iter().rposition(|byte| !byte.is_ascii_alphanumeric() && *byte != b'_');
        let name = &print[start.map_or(0, |start| start + 1)..at];
        // Invalid: the one node that prints as the bare header of CREATE FOREIGN TABLE.
        if !name.is_empty() && name != "Node" {
            *counts.entry(name.to_owned()).or_default() += 1;
        }
    }
    counts
}

fn visited(root: Node<'_>) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    let mut work = vec![root];
    while let Some(node) = work.pop() {
        let print = format!("{node:?}");
        let name = print.split('(').next().unwrap_or_default();
        if !print.starts_with('[') && name != "Invalid" && name != "NodeList" {
            *counts.entry(name.to_owned()).or_default() += 1;
        }
        if children::foreign_table(node).is_some() {
            return BTreeMap::new();
        }
        assert!(children::children(node, &mut |child| work.push(child)), "{name}");
    }
    counts
}
