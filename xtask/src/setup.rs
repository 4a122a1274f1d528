//! `cargo xtask setup`: looks what is missing and installs only that.
//!
//! Packages come from the distribution by apt-get, without questions. On a host without apt-get, or
//! without root and sudo, it lists what to install and stops.
//!
//! Kernel programs need a compiler for the BPF target. Two ways, the first that is possible is taken:
//! Debian's `rustc-web` with the ready-made `core` of `libstd-rust-web-dev-bpf`, or a rustup nightly with `rust-src`.

mod drivers;

pub use drivers::presidio;

use crate::{root, shell};
use anyhow::{Context, Result, bail};
use std::path::Path;
use std::process::Command;

#[derive(Clone, Debug, Default, clap::Args)]
pub struct Options {
    /// Say what is missing and change nothing
    #[arg(long)]
    pub check: bool,
    /// Also install what only `cargo xtask bench` needs
    #[arg(long)]
    pub bench: bool,
    #[arg(skip)]
    build_only: bool,
    #[arg(skip)]
    packages_only: bool,
}

impl Options {
    /// What compiling needs, without servers.
    pub fn for_building() -> Self {
        Self { build_only: true, ..Self::default() }
    }

    /// A server to show something with: neither drivers nor servers of other versions.
    pub fn for_demo() -> Self {
        Self { packages_only: true, ..Self::default() }
    }

    pub fn for_bench() -> Self {
        Self { bench: true, ..Self::default() }
    }
}

/// One thing that must be there.
struct Need {
    what: &'static str,
    /// Packages that bring it, tried together.
    packages: &'static [&'static str],
    present: fn() -> bool,
    when: When,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum When {
    Build,
    Test,
    Bench,
}

pub fn run(options: &Options) -> Result<()> {
    let mut needs: Vec<&Need> = NEEDS.iter().collect();
    needs.retain(|need| match need.when {
        When::Build => true,
        When::Test => !options.build_only,
        When::Bench => options.bench,
    });
    let mut packages: Vec<&str> = Vec::new();
    for need in needs {
        if !(need.present)() {
            println!("missing: {} ({})", need.what, need.packages.join(", "));
            packages.extend(need.packages);
        }
    }
    if !bpf_compiler_present() {
        if nightly_with_source() {
            println!("no rustc-web here: kernel programs are built with rustup's nightly");
        } else {
            println!("missing: a Rust compiler for BPF ({})", BPF_PACKAGES.join(", "));
            packages.extend(BPF_PACKAGES);
        }
    }
    packages.sort_unstable();
    packages.dedup();
    if packages.is_empty() {
        println!("every package is there");
    } else if options.check {
        bail!("packages are missing: {}", packages.join(" "));
    } else {
        install(&packages)?;
    }
    if !(options.build_only || options.packages_only) {
        fuzzing(options.check);
        drivers::run(options.check)?;
    }
    Ok(())
}

fn install(packages: &[&str]) -> Result<()> {
    let list = packages.join(" ");
    if !shell::has("apt-get") {
        bail!("this host has no apt-get; install the counterparts of: {list}");
    }
    let by_hand = format!("apt-get update && apt-get install --no-install-recommends {list}");
    let mut update =
        root::command("apt-get").with_context(|| format!("neither root nor sudo; run: {by_hand}"))?;
    // An unreachable mirror of something else must not stop us; the install says what is really missing.
    if let Err(error) = shell::run(update.env("DEBIAN_FRONTEND", "noninteractive").args(["-q", "update"])) {
        println!("{}", shell::yellow(&format!("{error:#}; going on with the lists as they are")));
    }
    let Some(mut install) = root::command("env") else { bail!("run: {by_hand}") };
    install.args([
        "DEBIAN_FRONTEND=noninteractive",
        "apt-get",
        "-q",
        "-y",
        "--no-install-recommends",
        "install",
    ]);
    shell::run(install.args(packages)).with_context(|| {
        format!(
            "could not install {list}. Where this release has no rustc-web, use rustup instead:\n  \
             rustup toolchain install nightly --component rust-src"
        )
    })
}

/// cargo-fuzz is wanted, never required: without it the fuzz step says that it was skipped.
fn fuzzing(check: bool) {
    if !nightly_present() {
        println!("no rustup nightly: fuzz targets will be skipped");
    } else if !crate::fuzz::available() && check {
        println!("no cargo-fuzz: fuzz targets will be skipped");
    } else if !crate::fuzz::available() {
        let mut install = shell::cargo();
        install.args(["install", "--quiet", "--locked", "cargo-fuzz"]);
        if let Err(error) = shell::run(&mut install) {
            println!("{}", shell::yellow(&format!("{error:#}; fuzz targets will be skipped")));
        }
    }
}

fn bpf_compiler_present() -> bool {
    let rustc_web = Path::new("/usr/bin/rustc").exists()
        && std::fs::read_dir("/usr/lib/rustlib").is_ok_and(|mut targets| {
            targets.any(|target| target.is_ok_and(|target| target.file_name() == "bpfel-unknown-none"))
        });
    rustc_web && package_installed("llvm-22-dev") && package_installed("libpolly-22-dev")
}

pub fn nightly_present() -> bool {
    Command::new("rustc").args(["+nightly", "--version"]).output().is_ok_and(|output| output.status.success())
}

fn nightly_with_source() -> bool {
    let Ok(output) = Command::new("rustc").args(["+nightly", "--print", "sysroot"]).output() else {
        return false;
    };
    let sysroot = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    output.status.success() && Path::new(&sysroot).join("lib/rustlib/src/rust/library/core").is_dir()
}

fn package_installed(package: &str) -> bool {
    Command::new("dpkg-query")
        .args(["-W", "-f=${Status}", package])
        .output()
        .is_ok_and(|output| String::from_utf8_lossy(&output.stdout).ends_with(" installed"))
}

fn any_header(versions: std::ops::Range<u32>) -> bool {
    versions.into_iter().any(|version| {
        Path::new(&format!("/usr/lib/llvm-{version}/lib/libclang.so")).exists()
            || Path::new(&format!("/usr/lib/llvm-{version}/lib/libclang.so.1")).exists()
    })
}

const BPF_PACKAGES: [&str; 4] = ["rustc-web", "libstd-rust-web-dev-bpf", "llvm-22-dev", "libpolly-22-dev"];

const NEEDS: [Need; 18] = [
    Need {
        what: "a C compiler",
        packages: &["gcc", "g++", "libc6-dev"],
        present: || shell::has("cc") && shell::has("c++"),
        when: When::Build,
    },
    Need {
        what: "clang, which reads the headers of the SQL parser",
        packages: &["clang"],
        present: || shell::has("clang"),
        when: When::Build,
    },
    Need { what: "libclang", packages: &["libclang-dev"], present: || any_header(11..40), when: When::Build },
    Need {
        what: "pkg-config",
        packages: &["pkg-config"],
        present: || shell::has("pkg-config"),
        when: When::Build,
    },
    Need {
        what: "a PostgreSQL server with pg_stat_statements",
        packages: &["postgresql", "postgresql-contrib"],
        present: || governor_tests::programs::default_server().is_ok_and(|dir| dir.join("pgbench").exists()),
        when: When::Test,
    },
    Need {
        what: "Python, for clients of the kernel tests and the documented audit verifier",
        packages: &["python3", "python3-cryptography"],
        present: || Path::new("/usr/bin/python3").exists() && package_installed("python3-cryptography"),
        when: When::Test,
    },
    Need {
        what: "ip, for tests in network namespaces",
        packages: &["iproute2"],
        present: || shell::has("ip"),
        when: When::Test,
    },
    Need {
        what: "nft, for attacks that rewrite destinations",
        packages: &["nftables"],
        present: || shell::has("nft"),
        when: When::Test,
    },
    Need {
        what: "QEMU, for the kernels that are not this one",
        packages: &["qemu-system-x86", "xz-utils"],
        present: || shell::has("qemu-system-x86_64") && shell::has("xz"),
        when: When::Test,
    },
    Need {
        what: "mke2fs, for the disk of a machine that has an init",
        packages: &["e2fsprogs"],
        present: || shell::has("mke2fs"),
        when: When::Test,
    },
    Need { what: "psql", packages: &["postgresql-client"], present: || shell::has("psql"), when: When::Test },
    Need {
        what: "virtual environments for Python, for drivers",
        packages: &["python3-venv"],
        present: || package_installed("python3-venv"),
        when: When::Test,
    },
    Need {
        what: "Node.js and npm, for drivers and servers of other versions",
        packages: &["nodejs", "npm"],
        present: || shell::has("node") && shell::has("npm"),
        when: When::Test,
    },
    Need {
        what: "a Java that runs programs from source",
        packages: &["default-jdk-headless"],
        present: || shell::has("java") && shell::has("javac"),
        when: When::Test,
    },
    Need {
        what: "the JDBC driver",
        packages: &["libpostgresql-jdbc-java"],
        present: || governor_tests::programs::jdbc().exists(),
        when: When::Test,
    },
    Need {
        what: "Perl's driver",
        packages: &["libdbd-pg-perl"],
        present: || package_installed("libdbd-pg-perl"),
        when: When::Test,
    },
    Need { what: "HAProxy", packages: &["haproxy"], present: || shell::has("haproxy"), when: When::Bench },
    Need {
        what: "pgbouncer",
        packages: &["pgbouncer"],
        present: || shell::has("pgbouncer"),
        when: When::Bench,
    },
];
