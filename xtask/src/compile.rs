//! Builds governor: kernel programs first, then the agent that carries them.

use crate::build_ebpf::build_ebpf;
use crate::{profile_guided, shell, workspace};
use anyhow::{Result, bail};
use std::io::IsTerminal;
use std::path::PathBuf;

#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Optimised, as it is installed
    #[arg(long)]
    release: bool,
    /// Lay the agent out by what a workload of its own finds hot: two builds and a run between them, without root or a server. Needs
    /// the `llvm-profdata` of rustc's LLVM
    #[arg(long, requires = "release")]
    profile_guided: bool,
}

/// Builds what the options ask for and answers the path of the binary.
pub fn run(options: &Options) -> Result<PathBuf> {
    if options.profile_guided { profile_guided::governor() } else { governor(options.release) }
}

/// Builds everything and answers the path of the binary.
pub fn governor(release: bool) -> Result<PathBuf> {
    let object = kernel_programs()?;
    let mut build = shell::cargo();
    build.args(["build", "--package", "governor-userspace", "--bin", "governor"]);
    // A person sees how far it is; a log needs no line for each of some hundred crates.
    if !std::io::stderr().is_terminal() {
        build.arg("--quiet");
    }
    if release {
        println!(
            "the agent, optimised: some minutes on many cores, ten on two, where nothing of it is built yet"
        );
        build.arg("--release");
    }
    shell::run(build.env(OBJECT_VARIABLE, &object))?;
    let binary = workspace::target().join(if release { "release" } else { "debug" }).join("governor");
    if !binary.is_file() {
        bail!("cargo built no {}", binary.display());
    }
    Ok(binary)
}

/// The compiled kernel programs: the object that the environment names, else built from this repository.
pub fn kernel_programs() -> Result<PathBuf> {
    match std::env::var_os(OBJECT_VARIABLE) {
        Some(path) => Ok(path.into()),
        None => build_ebpf(&workspace::root()),
    }
}

/// Read by the agent's build script.
pub const OBJECT_VARIABLE: &str = "GOVERNOR_EBPF_OBJECT";
