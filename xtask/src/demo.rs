//! `cargo xtask demo`: governor at work, on a throw-away PostgreSQL and a cgroup of its own.
//!
//! Five steps, one screen each. Nothing of the host is touched but that cgroup, and everything is taken
//! away at the end: after the last step, after an error, after Ctrl-C. With `--keep` a process of its own
//! holds everything until `cargo xtask demo --stop`.

mod inbound;
mod keep;
mod steps;

use crate::{compile, root, setup};
use anyhow::{Result, bail};
use governor_tests::postgres::{Auth, Postgres};
use governor_tests::{Cgroup, Governor, Site, database, wait};

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
        setup::run(&setup::Options::default())?;
        let binary = compile::governor(true)?;
        // SAFETY: no other thread runs yet, so nobody reads the environment at the same time.
        unsafe { std::env::set_var("GOVERNOR_BIN", binary) };
    }
    root::ensure("attaching kernel programs to the demo's cgroup")?;
    if options.keep {
        return keep::start();
    }
    catch_signals();
    if options.inbound {
        return inbound::show();
    }
    let shown = show(options.keeper);
    if wait::aborted() {
        bail!("interrupted; everything was taken away");
    }
    shown
}

/// Owners are dropped on every way out, and dropping cleans up.
fn show(keeper: bool) -> Result<()> {
    let site = build_site();
    // From here on, waiting is for cleaning up, which an interrupt must not cut short.
    let result = site.and_then(|site| {
        let result = steps::all(&site).and_then(|()| if keeper { keep::hold(&site) } else { Ok(()) });
        let interrupted = wait::aborted();
        wait::resume();
        drop(site);
        if interrupted {
            wait::abort();
        }
        result
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

/// Interrupts end every wait with an error; the way out then cleans up as usual.
fn catch_signals() {
    extern "C" fn handler(_: libc::c_int) {
        wait::abort();
    }
    let handler: extern "C" fn(libc::c_int) = handler;
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
        // SAFETY: the handler stores to an atomic and does nothing else.
        unsafe { libc::signal(signal, handler as libc::sighandler_t) };
    }
}
