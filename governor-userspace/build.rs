//! Embeds the kernel programs.
//!
//! With the feature `host` the object built by `cargo xtask build` (or named by
//! `GOVERNOR_EBPF_OBJECT`) is copied to `OUT_DIR`, where `host/kernel/load.rs` includes it. Without
//! the feature nothing is needed: `engine` builds anywhere.

use std::path::PathBuf;
use std::{env, fs, process};

const OBJECT_VARIABLE: &str = "GOVERNOR_EBPF_OBJECT";

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed={OBJECT_VARIABLE}");
    if env::var_os("CARGO_FEATURE_HOST").is_none() {
        return;
    }
    let crate_directory = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default());
    let object = match env::var_os(OBJECT_VARIABLE) {
        Some(path) => PathBuf::from(path),
        None => crate_directory.join("../governor-ebpf/target/governor.bpf.o"),
    };
    println!("cargo::rerun-if-changed={}", object.display());
    let destination = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default()).join("governor.bpf.o");
    if let Err(error) = fs::copy(&object, &destination) {
        println!(
            "cargo::error=the kernel programs are not built: {}: {error}. Run `cargo xtask build`, or name an \
             object in {OBJECT_VARIABLE}.",
            object.display()
        );
        process::exit(1);
    }
}
