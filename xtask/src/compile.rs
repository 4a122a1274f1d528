//! Builds governor: kernel programs first, then the agent that carries them.

use crate::build_ebpf::build_ebpf;
use crate::{shell, workspace};
use anyhow::{Result, bail};
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

/// The compiled kernel programs: the object that the environment names, else built from this repository.
pub fn kernel_programs() -> Result<PathBuf> {
    match std::env::var_os(OBJECT_VARIABLE) {
        Some(path) => Ok(path.into()),
        None => build_ebpf(&workspace::root()),
    }
}

/// Read by the agent's build script.
pub const OBJECT_VARIABLE: &str = "GOVERNOR_EBPF_OBJECT";
