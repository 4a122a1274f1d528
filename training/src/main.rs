//! The workload of profile-guided builds: what the agent's threads do all day, without a server, a socket or root.
//!
//! `cargo xtask build --release --profile-guided` runs this in a build that counts. Rows and values are those of the benches' corpus, made
//! with another seed than theirs; statements, decisions and sessions are small and many, as applications send them. What is not here
//! (start-up, the kernel's side, the API) is compiled as always.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "it runs on its own data, where nobody waits for it"
)]

#[allow(dead_code, reason = "each user takes a part of the corpus")]
#[path = "../../governor-userspace/benches/corpus/mod.rs"]
mod corpus;
mod sessions;
mod statements;
mod values;

use governor::engine::masking::Detectors;
use std::sync::Arc;

fn main() {
    let rounds = std::env::args().nth(1).map_or(ROUNDS, |rounds| rounds.parse().expect("a number of rounds"));
    // Once, as the agent does: making their tables would outweigh all that they are asked.
    let detectors = Arc::new(Detectors::new().unwrap());
    for round in 1..=rounds {
        values::work(&detectors);
        statements::work(&detectors);
        sessions::work(&detectors);
        eprintln!("round {round}/{rounds}");
    }
}

const ROUNDS: u32 = 10;
