//! `cargo xtask test`: every check there is, cheapest first, with one sum at the end.

use crate::guest::{self, Part};
use crate::tally::Tally;
use crate::{compile, fuzz, kernels, root, setup, shell, tidy, workspace};
use anyhow::{Context, Result, bail};
use std::path::PathBuf;
use std::process::Command;
use std::thread::JoinHandle;

#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Only these: fmt, tidy, clippy, engine, unit, doc, kernel, guest, demo, fuzz, or a black-box suite; crowd runs only when
    /// it is named
    #[arg(value_name = "SUITE")]
    suites: Vec<String>,
    /// Go on without installing what is missing
    #[arg(long)]
    no_setup: bool,
}

/// Answers whether everything passed.
pub fn run(options: &Options) -> Result<bool> {
    let black_box = workspace::suites()?;
    let known: Vec<&str> = STEPS.iter().copied().chain(black_box.iter().map(String::as_str)).collect();
    if let Some(stranger) = options.suites.iter().find(|name| !known.contains(&name.as_str())) {
        bail!("no suite `{stranger}`; there are {}", known.join(", "));
    }
    let wanted = |name: &str| options.suites.is_empty() || options.suites.iter().any(|suite| suite == name);
    if !options.no_setup {
        setup::run(&setup::Options::default())?;
    }
    if std::env::var_os("CI").is_some() {
        // Nothing is built twice there: what a second build would need is not written.
        // SAFETY: no other thread runs, so nobody reads the environment at the same time.
        unsafe { std::env::set_var("CARGO_INCREMENTAL", "0") };
    }
    let mut tally = Tally::default();
    // Everything from clippy on compiles the agent, which embeds the kernel programs: they are built once, and, by another
    // compiler into a place of their own, beside what does not need them.
    let crowd = options.suites.iter().any(|suite| suite == Part::Crowd.name());
    let programs = (["clippy", "unit", "doc", "kernel", "guest", "demo"].iter().any(|step| wanted(step))
        || crowd
        || black_box.iter().any(|suite| wanted(suite)))
    .then(|| std::thread::spawn(compile::kernel_programs));
    if wanted("fmt") {
        tally.command("fmt", shell::cargo().args(["fmt", "--all", "--check"]));
    }
    if wanted("tidy") {
        tally.check("tidy", tidy::run());
    }
    if wanted("engine") {
        tally.command(
            "engine builds alone",
            shell::cargo().args([
                "check",
                "--quiet",
                "--package",
                "governor-userspace",
                "--lib",
                "--no-default-features",
            ]),
        );
    }
    if let Some(programs) = programs {
        let ended = |_| Err(anyhow::anyhow!("the thread that built them ended"));
        let object = programs.join().unwrap_or_else(ended);
        if let Ok(object) = &object {
            // SAFETY: that thread has ended and no other one runs, so nobody reads the environment at the same time.
            unsafe { std::env::set_var(compile::OBJECT_VARIABLE, object) };
        }
        tally.check("kernel programs build", object.map(drop));
    }
    let built = if wanted("demo") || wanted("guest") || black_box.iter().any(|suite| wanted(suite)) {
        let built = compile::governor(false);
        tally
            .check("governor builds", built.as_ref().map(drop).map_err(|error| anyhow::anyhow!("{error:#}")));
        built
    } else {
        Err(anyhow::anyhow!("not asked for"))
    };
    // An emulated machine with a clock of its own keeps one processor busy, builds mostly one and a bit: beside each other.
    let guest = wanted("guest").then(|| beside_all(Part::Service, built.as_ref().ok()));
    if wanted("clippy") {
        tally.command(
            "clippy",
            shell::cargo().args([
                "clippy",
                "--quiet",
                "--workspace",
                "--all-targets",
                "--",
                "-D",
                "warnings",
            ]),
        );
    }
    if wanted("unit") {
        // One selection of packages a command, each with the features that its crates were built with before: with others cargo
        // builds all that depends on them once more.
        for (name, selection) in UNIT {
            let mut test = shell::cargo();
            test.args(["test", "--quiet"]).args(selection.split(' '));
            tally.command(name, &mut test);
        }
    }
    if wanted("doc") {
        tally.command(
            "doc tests",
            shell::cargo().args(["test", "--quiet", "--package", "governor-userspace", "--doc"]),
        );
        let mut doc = shell::cargo();
        // With examples, dependencies have the features that clippy checked them with: else they are checked once more.
        doc.env("RUSTDOCFLAGS", "-D warnings").args(["doc", "--quiet", "--workspace", "--no-deps"]);
        doc.args(["--lib", "--examples", "--bin", "xtask", "--bin", "governor-training"]);
        tally.command("doc links", &mut doc);
    }
    if wanted("kernel") {
        kernels::run(&mut tally);
    }
    if let Some(guest) = guest {
        take(&mut tally, Part::Service, guest);
    }
    if crowd {
        // Emulated, a build for debugging takes four times as long.
        match compile::governor(true) {
            Ok(agent) => take(&mut tally, Part::Crowd, beside_all(Part::Crowd, Some(&agent))),
            Err(error) => tally.check(Part::Crowd.name(), Err(error)),
        }
    }
    // In a workspace of its own, by another compiler.
    let fuzz = wanted("fuzz").then(|| std::thread::spawn(fuzz::prepare));
    for suite in black_box.iter().filter(|suite| wanted(suite)) {
        match &built {
            Ok(binary) => run_suite(&mut tally, suite, binary),
            Err(_) => tally.check(suite, Err(anyhow::anyhow!("there is no binary to test"))),
        }
    }
    if wanted("demo") {
        show(&mut tally, built.as_ref().ok())?;
    }
    if let Some(prepared) = fuzz {
        // Whatever became of it: the step builds what is missing.
        let _ = prepared.join();
        fuzz::run(&mut tally, FUZZ_SECONDS);
    }
    Ok(tally.finish())
}

/// What the demonstrations show, with the agent that was built for the suites.
fn show(tally: &mut Tally, binary: Option<&PathBuf>) -> Result<()> {
    match (binary, cannot_capture()) {
        (None, _) => tally.check("demo", Err(anyhow::anyhow!("there is no binary to show"))),
        (Some(_), Some(reason)) => refuse(tally, "demo", &reason),
        (Some(binary), None) => {
            let me = std::env::current_exe()?;
            for (name, more) in [("demo", &[][..]), ("demo --inbound", &["--inbound"])] {
                let mut demo = root::command(&me.to_string_lossy()).context("neither root nor sudo")?;
                demo.env("GOVERNOR_BIN", binary).args(["demo", "--no-build"]).args(more);
                tally.command(name, &mut demo);
            }
        }
    }
    Ok(())
}

/// Builds one suite as ourselves and runs it as root.
fn run_suite(tally: &mut Tally, suite: &str, binary: &std::path::Path) {
    if let Some(reason) = cannot_capture() {
        return refuse(tally, suite, &reason);
    }
    let run = || -> Result<Command> {
        let program = suite_program(suite)?;
        let mut command = root::command(&program.to_string_lossy()).context("neither root nor sudo")?;
        command.env("GOVERNOR_BIN", binary);
        Ok(command)
    };
    match run() {
        Ok(mut command) => tally.command(suite, &mut command),
        Err(error) => tally.check(suite, Err(error)),
    }
}

/// A suite of the guest by a thread of its own, which tells what it said when it ends.
fn beside_all(part: Part, agent: Option<&PathBuf>) -> JoinHandle<Tally> {
    let agent = agent.cloned();
    let tests = suite_program(workspace::GUEST);
    std::thread::spawn(move || {
        let mut tally = Tally::default();
        match (agent, tests) {
            (None, _) => tally.check(part.name(), Err(anyhow::anyhow!("there is no binary to test"))),
            (_, Err(error)) => tally.check(part.name(), Err(error)),
            (Some(agent), Ok(tests)) => guest::run(&mut tally, part, &agent, &tests),
        }
        tally
    })
}

/// Waits for the guest's thread and counts what it told.
fn take(tally: &mut Tally, part: Part, guest: JoinHandle<Tally>) {
    match guest.join() {
        Ok(told) => tally.add(told),
        Err(_) => tally.check(part.name(), Err(anyhow::anyhow!("the thread that watched it ended"))),
    }
}

/// Cargo's answer to where it put the suite's program.
fn suite_program(suite: &str) -> Result<PathBuf> {
    let output = shell::capture(shell::cargo().args([
        "test",
        "--quiet",
        "--no-run",
        "--message-format=json",
        "--package",
        "governor-tests",
        "--test",
        suite,
    ]))?;
    if !output.status.success() {
        bail!("does not build:\n{}", String::from_utf8_lossy(&output.stderr));
    }
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter(|message| message.pointer("/target/name").is_some_and(|name| name == suite))
        .filter_map(|message| message.get("executable")?.as_str().map(PathBuf::from))
        .next_back()
        .context("cargo names no program")
}

/// Without root there is no eBPF. That may be so on a person's machine, never where the answer counts.
fn refuse(tally: &mut Tally, name: &str, reason: &str) {
    if std::env::var_os("CI").is_some() {
        tally.check(name, Err(anyhow::anyhow!("{reason}")));
    } else {
        tally.skip(name, reason);
    }
}

/// Why kernel programs cannot run here; `None` where they can.
fn cannot_capture() -> Option<String> {
    if root::command("true").is_none() {
        return Some("needs root or sudo".into());
    }
    governor_tests::cgroup::mount_point().err().map(|error| format!("{error:#}"))
}

const STEPS: [&str; 11] =
    ["fmt", "tidy", "engine", "clippy", "unit", "doc", "kernel", "guest", "crowd", "demo", "fuzz"];

/// Unit tests and those of the engine's own model, by what they are called here.
const UNIT: [(&str, &str); 7] = [
    ("unit", "--package governor-userspace --lib --bins"),
    ("unit: command line", "--package governor-userspace --test command"),
    ("unit: model", "--package governor-userspace --test model"),
    ("unit: second reading", "--package governor-userspace --test second_reading"),
    ("unit: xtask", "--package xtask --bins"),
    (
        "unit: all else",
        "--workspace --exclude governor-userspace --exclude governor-tests --exclude xtask --lib --bins",
    ),
    ("unit: harness", "--package governor-tests --lib"),
];

/// For all targets together.
const FUZZ_SECONDS: u64 = 60;
