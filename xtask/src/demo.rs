//! `cargo xtask demo`: governor at work, on a throw-away PostgreSQL and a cgroup of its own.
//!
//! Five steps, one screen each. Nothing of the host is touched but that cgroup, and everything is taken
//! away at the end: after the last step, after an error, after Ctrl-C. With `--keep` a process of its own
//! holds everything until `cargo xtask demo --stop`.

mod inbound;
mod keep;
mod steps;

use crate::{compile, interrupt, root, setup};
use anyhow::Result;
use governor_tests::postgres::{Auth, Postgres};
use governor_tests::{Cgroup, Governor, Site, database};

#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// A database host instead: clients on another host and on its own, in network namespaces
    #[arg(long, conflicts_with_all = ["keep", "stop"])]
    inbound: bool,
    /// Leave everything running afterwards
    #[arg(long)]
    keep: bool,
    /// End what --keep left running
    #[arg(long, conflicts_with = "keep")]
    stop: bool,
    /// Show the binary that is named in GOVERNOR_BIN instead of building one
    #[arg(long)]
    no_build: bool,
    /// The process behind --keep
    #[arg(long, hide = true)]
    keeper: bool,
}

pub fn run(options: &Options) -> Result<()> {
    if options.stop {
        root::ensure("stopping the demo")?;
        return keep::stop();
    }
    if !options.no_build {
        setup::run(&setup::Options::for_demo())?;
        let binary = compile::governor(true)?;
        // SAFETY: no other thread runs yet, so nobody reads the environment at the same time.
        unsafe { std::env::set_var("GOVERNOR_BIN", binary) };
    }
    root::ensure("attaching kernel programs to the demo's cgroup")?;
    if options.keep {
        return keep::start();
    }
    interrupt::catch();
    if options.inbound {
        return inbound::show();
    }
    interrupt::told(show(options.keeper))
}

/// Owners are dropped on every way out, and dropping cleans up.
fn show(keeper: bool) -> Result<()> {
    let result = build_site().and_then(|site| {
        interrupt::drop_after(site, |site| {
            steps::all(site).and_then(|()| if keeper { keep::hold(site) } else { Ok(()) })
        })
    });
    if result.is_ok() {
        println!("\nThe demo's server, cgroup and agent are gone again.");
    }
    result
}

fn build_site() -> Result<Site> {
    println!("Starting a throw-away PostgreSQL …");
    let postgres = Postgres::start(Auth::Trust)?;
    database::load(&postgres, "shop")?;
    println!("Database `shop` on port {}: people, cards, orders (made-up data).", postgres.port());
    let group = Cgroup::create("governor-demo")?;
    println!("Made the cgroup {}.", group.path().display());
    let governor = Governor::start(&group, postgres.port(), &steps::governor_options())?;
    println!(
        "governor (pid {}) governs port {} for it. Nothing else on this host changes.",
        governor.pid().unwrap_or_default(),
        postgres.port()
    );
    Ok(Site { governor, group, postgres })
}
