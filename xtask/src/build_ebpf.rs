//! Builds the kernel programs with whichever toolchain this machine has.
//!
//! Stable Rust has no `core` for the BPF target. Two ways to one are supported and the first that is
//! complete is taken:
//! - a distribution's compiled `core` (Debian and Ubuntu: `rustc-web`, `libstd-rust-web-dev-bpf`);
//! - rustup's nightly with `rust-src`, which compiles `core` on the way. Its LLVM must not be newer
//!   than the linker's (22).
//!
//! `GOVERNOR_EBPF_TOOLCHAIN=distribution` or `=nightly` asks for one of them.
//!
//! Both need `bpf-linker`; where it is missing it is installed below the workspace's `target/tools`.

use anyhow::{Context as _, Result, bail};
use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Builds `governor-ebpf` and returns the path of the object, for `governor-userspace/build.rs` to
/// embed. `workspace` is the repository's root. Quick where nothing changed.
pub fn build_ebpf(workspace: &Path) -> Result<PathBuf> {
    let crate_directory = workspace.join("governor-ebpf");
    let target_directory = crate_directory.join("target");
    let toolchain = Toolchain::find()?;
    let linker = find_linker(workspace)?;
    eprintln!("kernel programs: {toolchain}, linker {}", linker.display());

    let mut build = toolchain.cargo();
    build
        .current_dir(&crate_directory)
        .args(["build", "--release", "--quiet", "--target", TARGET])
        // Explicit: a CARGO_TARGET_DIR of the caller's must not move the object.
        .arg("--target-dir")
        .arg(&target_directory)
        .env("RUSTFLAGS", RUSTFLAGS)
        .env("PATH", with_directory_first(linker.parent())?);
    for variable in INHERITED {
        build.env_remove(variable);
    }
    run(&mut build)?;

    let built = target_directory.join(TARGET).join("release").join("governor");
    let object = target_directory.join("governor.bpf.o");
    let bytes = fs::read(&built).with_context(|| format!("reading {}", built.display()))?;
    // An unchanged file keeps its time stamp, so nothing that embeds it is built again.
    if fs::read(&object).ok().as_deref() != Some(bytes.as_slice()) {
        fs::write(&object, bytes).with_context(|| format!("writing {}", object.display()))?;
    }
    Ok(object)
}

/// A compiler that has `core` for the BPF target, compiled or as source.
enum Toolchain {
    /// `core` is compiled already.
    Distribution { rustc: PathBuf },
    /// `core` is compiled from source.
    Nightly,
}

impl std::fmt::Display for Toolchain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Toolchain::Distribution { rustc } => {
                write!(f, "{} with the distribution's core for {TARGET}", rustc.display())
            }
            Toolchain::Nightly => write!(f, "rustup's nightly, core compiled from source"),
        }
    }
}

impl Toolchain {
    fn find() -> Result<Self> {
        let wanted = env::var("GOVERNOR_EBPF_TOOLCHAIN").unwrap_or_default();
        if !["", "distribution", "nightly"].contains(&wanted.as_str()) {
            bail!("GOVERNOR_EBPF_TOOLCHAIN={wanted}: say `distribution` or `nightly`, or leave it out");
        }
        if wanted != "nightly" {
            // The distribution's compiler is not first in PATH where rustup is installed too.
            for rustc in ["/usr/bin/rustc", "rustc"].map(PathBuf::from) {
                if sysroot_has(Command::new(&rustc), &format!("lib/rustlib/{TARGET}/lib")) {
                    return Ok(Toolchain::Distribution { rustc });
                }
            }
        }
        if wanted != "distribution" {
            let mut nightly = Command::new("rustup");
            nightly.args(["run", "nightly", "rustc"]);
            if sysroot_has(nightly, "lib/rustlib/src/rust/library/core/src") {
                return Ok(Toolchain::Nightly);
            }
        }
        bail!(
            "no Rust compiler with `core` for {TARGET}. Install one of:\n  \
             Debian, Ubuntu:  apt-get install --no-install-recommends {APT_PACKAGES}\n  \
             elsewhere:       rustup toolchain install nightly --profile minimal --component rust-src"
        )
    }

    fn cargo(&self) -> Command {
        match self {
            Toolchain::Distribution { rustc } => {
                let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
                // The compiled `core` was made with this stable compiler; aya-ebpf asks for unstable features.
                cargo.env("RUSTC", rustc).env("RUSTC_BOOTSTRAP", "1");
                cargo
            }
            Toolchain::Nightly => {
                let mut cargo = Command::new("rustup");
                cargo.args(["run", "nightly", "cargo", "-Z", "build-std=core"]);
                // Set by the cargo that started us, for another toolchain.
                cargo.env_remove("RUSTC").env_remove("CARGO").env_remove("RUSTUP_TOOLCHAIN");
                cargo
            }
        }
    }
}

/// Whether the compiler runs and its sysroot has this directory, not empty.
fn sysroot_has(mut rustc: Command, directory: &str) -> bool {
    let Ok(output) = rustc.args(["--print", "sysroot"]).env_remove("RUSTUP_TOOLCHAIN").output() else {
        return false;
    };
    let sysroot = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    output.status.success()
        && fs::read_dir(Path::new(&sysroot).join(directory)).is_ok_and(|mut entries| entries.next().is_some())
}

/// Finds `bpf-linker`, or installs it.
fn find_linker(workspace: &Path) -> Result<PathBuf> {
    let tools = workspace.join("target/tools");
    let path = env::var_os("PATH").unwrap_or_default();
    let cargo_home = env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| env::var_os("HOME").map(|home| PathBuf::from(home).join(".cargo")));
    let directories = env::split_paths(&path)
        .chain(cargo_home.map(|home| home.join("bin")))
        .chain([PathBuf::from("/opt/bpf-linker/bin"), tools.join("bin")]);
    for directory in directories {
        let linker = directory.join(LINKER);
        if linker.is_file() {
            return Ok(linker);
        }
    }
    install_linker(&tools)
}

fn install_linker(tools: &Path) -> Result<PathBuf> {
    let llvm = Path::new(LLVM_DIRECTORY);
    if !llvm.join("libLLVM.so").exists() && !llvm.join("libLLVM-22.so").exists() {
        bail!(
            "{LINKER} is not installed, and LLVM 22 to build it with is missing:\n  \
             apt-get install --no-install-recommends {APT_PACKAGES}\n\
             or install {LINKER} {LINKER_VERSION} yourself and put it in PATH."
        );
    }
    eprintln!("{LINKER}: installing {LINKER_VERSION} into {} (about a minute)", tools.display());
    // What takes its time in it is LLVM, which is there already.
    let mut install = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    install
        .args(["install", LINKER, "--version", LINKER_VERSION, "--locked", "--quiet", "--debug"])
        .args(["--no-default-features", "--features", "llvm-22", "--root"])
        .arg(tools)
        .env("LIBRARY_PATH", LLVM_DIRECTORY);
    for variable in INHERITED {
        install.env_remove(variable);
    }
    run(&mut install)?;
    Ok(tools.join("bin").join(LINKER))
}

fn with_directory_first(directory: Option<&Path>) -> Result<OsString> {
    let path = env::var_os("PATH").unwrap_or_default();
    let directories = directory.map(Path::to_path_buf).into_iter().chain(env::split_paths(&path));
    env::join_paths(directories).context("PATH cannot be extended")
}

fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("starting {command:?}"))?;
    if !status.success() {
        bail!("failed ({status}): {command:?}");
    }
    Ok(())
}

const TARGET: &str = if cfg!(target_endian = "big") { "bpfeb-unknown-none" } else { "bpfel-unknown-none" };

/// `--btf` and full debug information: socket storage is described to the kernel by BTF.
const RUSTFLAGS: &str = "-C linker=bpf-linker -C link-arg=--btf -C debuginfo=2";

const LINKER: &str = "bpf-linker";
const LINKER_VERSION: &str = "0.13.0";
const LLVM_DIRECTORY: &str = "/usr/lib/llvm-22/lib";
const APT_PACKAGES: &str = "rustc-web libstd-rust-web-dev-bpf llvm-22-dev libpolly-22-dev";

/// Settings for the host build that would spoil this one.
const INHERITED: [&str; 6] = [
    "CARGO_ENCODED_RUSTFLAGS",
    "CARGO_BUILD_RUSTFLAGS",
    "CARGO_BUILD_TARGET",
    "CARGO_TARGET_DIR",
    "RUSTC_WRAPPER",
    "RUSTC_WORKSPACE_WRAPPER",
];
