//! Rows of short transactions: pgbench in its own two shapes, and connections that live for one.

use super::Row;
use super::samples::Group;
use super::way::{For, Way};
use anyhow::Result;

/// One row: what pgbench is told.
#[derive(Clone, Debug)]
pub struct Work {
    pub name: String,
    pub group: Group,
    arguments: Vec<&'static str>,
    clients: u32,
}

/// The rows that are wanted.
pub fn works(quick: bool, wants: impl Fn(Row) -> bool) -> Vec<Work> {
    let mut works = Vec::new();
    if wants(Row::Select) {
        let all: &[(&str, u32)] = &[
            ("simple", 1),
            ("simple", 16),
            ("simple", 64),
            ("extended", 16),
            ("prepared", 1),
            ("prepared", 16),
            ("prepared", 64),
        ];
        let some: &[(&str, u32)] = &[("simple", 1), ("simple", 16), ("prepared", 16)];
        for &(protocol, clients) in if quick { some } else { all } {
            works.push(Work {
                name: format!("-S {protocol} {clients:>2} clients"),
                group: Group::Oltp,
                arguments: vec!["-S", "-M", protocol],
                clients,
            });
        }
    }
    if wants(Row::Tpcb) {
        for protocol in ["simple", "prepared"] {
            works.push(Work {
                name: format!("TPC-B {protocol} 16 clients"),
                group: Group::Oltp,
                arguments: vec!["-M", protocol],
                clients: 16,
            });
        }
    }
    if wants(Row::Connect) {
        works.push(Work {
            name: "-C -S  8 clients".into(),
            group: Group::Connect,
            arguments: vec!["-C", "-S"],
            clients: 8,
        });
    }
    works
}

/// Transactions a second, and microseconds of the proxy's CPU for each.
pub fn measure(way: &Way, work: &Work, seconds: u32) -> Result<(f64, Option<f64>)> {
    way.pgbench(&work.arguments, work.clients, For::Seconds(seconds))
}
