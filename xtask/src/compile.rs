//! Builds governor: kernel programs first, then the agent that carries them.

use crate::{shell, workspace};
use anyhow::{Context, Result, bail};
use std::path::PathBuf;

/// Builds everything and answers the path of the binary.
pub fn governor(release: bool) -> Result<PathBuf> {
    let object = kernel_programs()?;
    let mut build = shell::cargo();
    build.args(["build", "--quiet", "--package", "governor-userspace", "--bin", "governor"]);
    if release {
        build.arg("--release");
    }
    shell::run(build.env(OBJECT_VARIABLE, &object))?;
    let binary = workspace::target().join(if release { "release" } else { "debug" }).join("governor");
    if !binary.is_file() {
        bail!("cargo built no {}", binary.display());
    }
    Ok(binary)
}

/// The compiled kernel programs: the object that the environment names, else the one of this repository.
pub fn kernel_programs() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os(OBJECT_VARIABLE) {
        return Ok(path.into());
    }
    let object = workspace::root().join("governor-ebpf/target/governor.bpf.o");
    object.canonicalize().with_context(|| format!("no kernel programs at {}", object.display()))
}

/// Read by the agent's build script.
pub const OBJECT_VARIABLE: &str = "GOVERNOR_EBPF_OBJECT";
