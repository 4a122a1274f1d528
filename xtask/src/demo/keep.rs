//! `--keep`: a process of its own owns the demo, so that the terminal is free again.

use crate::shell::bold;
use crate::workspace;
use anyhow::{Context, Result, bail};
use governor_tests::{Class, Site, process, wait};
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

/// Starts the keeper, which shows the steps on our terminal, and leaves when it holds everything.
pub fn start() -> Result<()> {
    if let Some((pid, _)) = running()? {
        bail!("a demo is running already (pid {pid}); end it with: cargo xtask demo --stop");
    }
    let mut keeper = Command::new(std::env::current_exe()?);
    keeper.args(["demo", "--no-build", "--keeper"]).stdin(Stdio::null());
    // A process group of its own: Ctrl-C in this terminal must not reach what is to be kept.
    keeper.process_group(0);
    let mut keeper = keeper.spawn()?;
    crate::interrupt::catch();
    loop {
        if let Some(status) = keeper.try_wait()? {
            bail!("the demo ended with {status}");
        }
        if running()?.is_some_and(|(pid, _)| pid == keeper.id()) {
            return Ok(());
        }
        if wait::aborted() {
            process::send_signal(keeper.id(), libc::SIGTERM)?;
            keeper.wait()?;
            bail!("interrupted; everything was taken away");
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// In the keeper: says how to play, then waits to be ended.
pub fn hold(site: &Site) -> Result<()> {
    let port = site.postgres.port();
    let binary = governor_tests::governor::binary()?;
    println!("\n{}", bold("It goes on running. Things to try:"));
    for class in Class::ALL {
        println!(
            "  as {:8} sudo sh -c 'echo $$ > {}/cgroup.procs; exec psql -h 127.0.0.1 -p {port} -U app shop'",
            class.as_str(),
            site.group.client(class).display()
        );
    }
    println!(
        "  answer      sudo {} --state-dir {} approvals list",
        binary.display(),
        site.governor.state_dir().display()
    );
    println!("  metrics     curl http://{}/metrics", site.governor.metrics_address()?);
    println!("  stop        cargo xtask demo --stop");
    std::io::stdout().flush()?;
    let me = std::process::id();
    std::fs::write(marker()?, format!("{me} {}\n", start_ticks(me)?))?;
    while !wait::aborted() {
        std::thread::sleep(Duration::from_millis(200));
    }
    wait::resume();
    std::fs::remove_file(marker()?)?;
    Ok(())
}

pub fn stop() -> Result<()> {
    let Some((pid, _)) = running()? else { bail!("no demo is running") };
    process::send_signal(pid, libc::SIGTERM)?;
    wait::until("the demo to end", Duration::from_secs(60), || Ok(running()?.is_none().then_some(())))?;
    println!("stopped");
    Ok(())
}

/// The keeper's pid and start time, if that very process still lives.
fn running() -> Result<Option<(u32, u64)>> {
    let Ok(text) = std::fs::read_to_string(marker()?) else { return Ok(None) };
    let mut words = text.split_whitespace();
    let (Some(pid), Some(ticks)) = (words.next(), words.next()) else { return Ok(None) };
    let (pid, ticks) = (pid.parse()?, ticks.parse()?);
    Ok((start_ticks(pid).ok() == Some(ticks)).then_some((pid, ticks)))
}

/// With the pid, a process's name: pids come back, start times do not.
fn start_ticks(pid: u32) -> Result<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let after_name = stat.rsplit_once(") ").context("no command in stat")?.1;
    Ok(after_name.split(' ').nth(19).context("stat is short")?.parse()?)
}

fn marker() -> Result<PathBuf> {
    let dir = workspace::target();
    std::fs::create_dir_all(&dir)?;
    Ok(dir.join("demo.pid"))
}
