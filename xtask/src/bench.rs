//! `cargo xtask bench`: what governor costs beside the peers that people put in the same place.
//!
//! One run, interleaved: every round measures every way, so that a slow minute of the machine hits all of
//! them. Figures are ratios of the same round's neighbours; absolute numbers of a shared machine mean little.
//! Ways: direct, HAProxy (TCP mode), pgbouncer (session mode), governor (parse, policy and audit on).
//!
//! - `way` runs a client on one of the ways and reads what it says;
//! - `oltp` and `bulk` are the rows that every round measures; `connections` is what connections cost;
//! - `detect` and `masking` are benches of their own: quality and speed of what masking is made of.
//!   `connect` is another: what the kernel programs cost.
//! - `samples` keeps figures and their ratios; `report` prints them, with the aims.

mod bulk;
mod connect;
mod connections;
mod detect;
mod masking;
mod oltp;
mod peers;
mod report;
mod samples;
mod way;

use crate::{compile, root, setup};
use anyhow::Result;
use governor_tests::postgres::{Auth, Postgres};
use governor_tests::{Cgroup, Governor, Options as GovernorOptions, client, process};
use peers::Peer;
use samples::Samples;
use std::time::Duration;
use way::Way;

#[derive(Clone, Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Options {
    #[command(subcommand)]
    what: Option<What>,
    /// One short round: shows that everything runs, measures little
    #[arg(long)]
    quick: bool,
    /// Rounds; the median of all is printed
    #[arg(long, default_value_t = 4)]
    rounds: u32,
    /// Seconds of each pgbench run
    #[arg(long, default_value_t = 2)]
    seconds: u32,
    /// Measure only this; may be given several times
    #[arg(long, value_name = "ROW")]
    only: Vec<Row>,
    /// Measure the binary named in GOVERNOR_BIN instead of building one
    #[arg(long)]
    no_build: bool,
    /// Leave governor out: compare the peers alone
    #[arg(long)]
    peers_only: bool,
}

/// Benches of their own.
#[derive(Clone, Debug, clap::Subcommand)]
enum What {
    /// Precision, recall and speed of the detectors on a labelled corpus, beside Microsoft Presidio
    Detect(detect::Options),
    /// How fast rows are masked: in the engine, and through governor beside the same rows unmasked
    Masking(masking::Options),
    /// What the kernel programs add to a connection, and that they add nothing to its packets
    Connect(connect::Options),
}

/// What can be measured alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Row {
    /// pgbench -S, in three protocols
    Select,
    /// pgbench's own transaction: five statements between BEGIN and END
    Tpcb,
    /// A new connection for every transaction
    Connect,
    /// Large results, and COPY both ways
    Bulk,
    /// Memory and cost by the number of connections
    Connections,
}

impl Options {
    fn wants(&self, row: Row) -> bool {
        self.only.is_empty() || self.only.contains(&row)
    }
}

pub fn run(options: &Options) -> Result<()> {
    match &options.what {
        Some(What::Detect(options)) => return detect::run(options),
        Some(What::Masking(options)) => return masking::run(options),
        Some(What::Connect(options)) => return connect::run(options),
        None => {}
    }
    if !options.no_build && !options.peers_only {
        setup::run(&setup::Options::for_bench())?;
        let binary = compile::governor(true)?;
        // SAFETY: no other thread runs yet, so nobody reads the environment at the same time.
        unsafe { std::env::set_var("GOVERNOR_BIN", binary) };
    }
    root::ensure("attaching kernel programs to the bench's cgroup")?;
    let (rounds, seconds) = if options.quick { (1, 1) } else { (options.rounds, options.seconds) };

    let postgres = Postgres::start_with(Auth::Trust, SERVER_SETTINGS)?;
    prepare(&postgres, options.quick)?;
    let haproxy = Peer::haproxy(postgres.port())?;
    let pgbouncer = Peer::pgbouncer(postgres.port())?;
    let group = Cgroup::create("governor-bench")?;
    let governor = (!options.peers_only)
        .then(|| Governor::start(&group, postgres.port(), &GovernorOptions::default()))
        .transpose()?;
    let mut ways =
        vec![Way::direct(&postgres), Way::peer("haproxy", &haproxy), Way::peer("pgbouncer", &pgbouncer)];
    ways.extend(governor.as_ref().map(|governor| Way::governor(governor, &postgres, &group)));

    let mut samples = Samples::default();
    let copied = bulk::Files::prepare(&postgres)?;
    for round in 1..=rounds {
        for work in oltp::works(options.quick, |row| options.wants(row)) {
            for way in &ways {
                let (rate, cost) = oltp::measure(way, &work, seconds)?;
                samples.rate(&work.name, work.group, "tps", way.name, rate);
                if let Some(cost) = cost {
                    samples.cost(&work.name, way.name, cost);
                }
            }
            eprintln!("round {round}/{rounds}: {}", work.name);
        }
        if options.wants(Row::Bulk) {
            for row in bulk::ROWS {
                for way in &ways {
                    let rate = bulk::measure(way, row, &copied, seconds)?;
                    samples.rate(row.name(), samples::Group::Bulk, "MB/s", way.name, rate);
                }
                eprintln!("round {round}/{rounds}: {}", row.name());
            }
        }
        samples.end_of_round();
    }
    report::rates(&ways, &samples);
    report::costs(&ways, &samples);
    drop(pgbouncer);
    let mut idle = None;
    if options.wants(Row::Connections) {
        let table = connections::measure(&ways, &postgres, options.quick)?;
        table.print();
        idle = table.idle_kib("governor");
    }
    report::aims(&samples, idle);
    Ok(())
}

fn prepare(postgres: &Postgres, quick: bool) -> Result<()> {
    let mut init = client::outside("pgbench", postgres.port());
    init.args(["-i", "-q", "-s", SCALE]);
    process::run(init, Duration::from_secs(180))?.ok()?;
    let rows = if quick { 200_000 } else { 1_000_000 };
    postgres.admin("shop", &bulk::tables(rows))?;
    Ok(())
}

/// Room for 2,000 clients through a relay while some of the way before are still closing.
const SERVER_SETTINGS: &[&str] = &["shared_buffers=512MB", "max_wal_size=4GB", "max_connections=2200"];
/// As many branches as clients that update them.
const SCALE: &str = "16";
