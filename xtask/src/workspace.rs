//! Where things are in this repository.

use std::path::{Path, PathBuf};

/// The repository's top directory.
pub fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_owned()
}

/// Cargo's target directory, honouring `CARGO_TARGET_DIR`.
pub fn target() -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(dir) => root().join(dir),
        None => root().join("target"),
    }
}

/// Names of the black-box suites that run on this host, in the order of `tests/Cargo.toml`.
pub fn suites() -> anyhow::Result<Vec<String>> {
    let manifest = std::fs::read_to_string(root().join("tests/Cargo.toml"))?;
    Ok(manifest
        .split("[[test]]")
        .skip(1)
        .filter_map(|section| section.split("name = \"").nth(1)?.split('"').next())
        .filter(|name| *name != GUEST)
        .map(str::to_owned)
        .collect())
}

/// The suite of a machine of its own, `xtask/src/guest.rs`.
pub const GUEST: &str = "guest";
