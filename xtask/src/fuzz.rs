//! Builds every fuzz target and runs each for a short time.

use crate::tally::Tally;
use crate::{setup, shell, workspace};
use std::process::Command;

/// Whether cargo-fuzz answers.
pub fn available() -> bool {
    shell::capture(shell::cargo().args(["fuzz", "--version"])).is_ok_and(|output| output.status.success())
}

/// Builds the targets with what the processors have left beside other steps; [`run`] says how that went.
pub fn prepare() {
    if setup::nightly_present() && available() {
        let mut build = Command::new("nice");
        build.args(["-n", "19", "cargo", "+nightly", "fuzz", "build"]);
        for variable in TOOLCHAIN {
            build.env_remove(variable);
        }
        // A failure is found again, and told, by the step itself.
        let _ = shell::capture(&mut build);
    }
}

/// `seconds` are shared by all targets.
pub fn run(tally: &mut Tally, seconds: u64) {
    if !setup::nightly_present() {
        return tally.skip("fuzz", "needs a rustup nightly");
    }
    if !available() {
        return tally.skip("fuzz", "needs cargo-fuzz (cargo install cargo-fuzz)");
    }
    let targets = targets();
    if targets.is_empty() {
        return tally.check("fuzz", Err(anyhow::anyhow!("fuzz/Cargo.toml names no target")));
    }
    tally.command("fuzz targets build", nightly().args(["fuzz", "build"]));
    let each = (seconds / targets.len() as u64).max(5);
    for target in targets {
        let limit = format!("-max_total_time={each}");
        tally.command(
            &format!("fuzz {target} for {each} s"),
            nightly().args([
                "fuzz",
                "run",
                &target,
                "--",
                &limit,
                "-rss_limit_mb=2048",
                "-timeout=20",
                "-verbosity=0",
            ]),
        );
    }
}

/// The `[[bin]]` names of the fuzz workspace.
pub fn targets() -> Vec<String> {
    let manifest = std::fs::read_to_string(workspace::root().join("fuzz/Cargo.toml")).unwrap_or_default();
    manifest
        .split("[[bin]]")
        .skip(1)
        .filter_map(|section| section.split("name = \"").nth(1)?.split('"').next())
        .map(str::to_owned)
        .collect()
}

/// `cargo +nightly`: through rustup's proxy, since `$CARGO` is one toolchain's own cargo.
fn nightly() -> Command {
    let mut command = Command::new("cargo");
    command.arg("+nightly");
    for variable in TOOLCHAIN {
        command.env_remove(variable);
    }
    command
}

/// Set by the cargo that started us, for another toolchain.
const TOOLCHAIN: [&str; 3] = ["CARGO", "RUSTC", "RUSTUP_TOOLCHAIN"];
