//! `cargo xtask build --release --profile-guided`: the agent, laid out by what is hot in it.
//!
//! Two builds of the same crates: one counts what runs while a workload of governor's own (`training`) does what the agent's threads do,
//! one is compiled by these counts. docs/decisions/0061 has what that gives.
//!
//! Both name their target, so that build scripts and macros, which run here, are compiled as always. Each has a directory of its own below
//! `target/profile-guided`; the binary is put where a plain release build puts it.

use crate::{compile, shell, workspace};
use anyhow::{Context as _, Result, bail};
use std::env;
use std::ffi::OsString;
use std::fs;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Builds, runs the workload, builds again, and answers the path of the binary.
pub fn governor() -> Result<PathBuf> {
    let compiler = Compiler::ask()?;
    // First, since all else takes minutes.
    let profdata = find_profdata(&compiler, &candidates(&compiler), version_of)?;
    let object = compile::kernel_programs()?;
    let directory = workspace::target().join("profile-guided");
    let raw = directory.join("counts");
    // Counts of another state of the sources fit nothing.
    if raw.exists() {
        fs::remove_dir_all(&raw).with_context(|| format!("removing {}", raw.display()))?;
    }
    fs::create_dir_all(&raw).with_context(|| format!("making {}", raw.display()))?;

    let build = |name: &str, flags: &[OsString]| {
        let mut build = shell::cargo();
        build.args(["build", "--release", "--target", &compiler.host]);
        build.arg("--target-dir").arg(directory.join(name));
        build.env(compile::OBJECT_VARIABLE, &object).env("CARGO_ENCODED_RUSTFLAGS", encoded(flags));
        build
    };
    let built =
        |name: &str, binary: &str| directory.join(name).join(&compiler.host).join("release").join(binary);

    // The C library may lack what only unused parts of the SQL grammar's library name: they are left out, as they are in plain builds.
    let counting = [flag("-Cprofile-generate=", &raw), "-Clink-arg=-Wl,--gc-sections".into()];
    shell::run(build("counting", &counting).args(["--package", "governor-training"]))?;
    shell::run(
        Command::new(built("counting", "governor-training"))
            .env("LLVM_PROFILE_FILE", raw.join("%m-%p.profraw")),
    )?;
    let merged = raw.join("merged");
    shell::run(Command::new(&profdata).arg("merge").arg("-o").arg(&merged).arg(&raw))?;
    let counts =
        raw.join(name_of(&fs::read(&merged).with_context(|| format!("reading {}", merged.display()))?));
    fs::rename(&merged, &counts).with_context(|| format!("renaming {}", merged.display()))?;
    // rustc warns of counts that belong to other code.
    shell::run(build("guided", &[flag("-Cprofile-use=", &counts)]).args([
        "--package",
        "governor-userspace",
        "--bin",
        "governor",
    ]))?;

    let binary = workspace::target().join("release").join("governor");
    fs::create_dir_all(workspace::target().join("release"))?;
    let guided = built("guided", "governor");
    fs::copy(&guided, &binary)
        .with_context(|| format!("copying {} to {}", guided.display(), binary.display()))?;
    Ok(binary)
}

/// What the two builds have to know of the compiler.
struct Compiler {
    /// Target triple of this machine.
    host: String,
    /// Counts can be read by tools of this version of LLVM.
    llvm: u32,
    sysroot: PathBuf,
}

impl Compiler {
    fn ask() -> Result<Self> {
        let rustc = || Command::new(env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
        let said = shell::capture(rustc().arg("-vV"))?;
        let said = String::from_utf8_lossy(&said.stdout).into_owned();
        let sysroot = shell::capture(rustc().args(["--print", "sysroot"]))?;
        let sysroot = String::from_utf8_lossy(&sysroot.stdout).trim().into();
        let line = |name: &str| said.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        let (Some(host), Some(llvm)) = (line("host:"), line("LLVM version:").and_then(major)) else {
            bail!("rustc says neither its host nor its LLVM: {said}");
        };
        Ok(Self { host: host.to_owned(), llvm, sysroot })
    }
}

/// Where an `llvm-profdata` may be: the one that is named, rustup's, those of distributions.
fn candidates(compiler: &Compiler) -> Vec<PathBuf> {
    let rustup = compiler.sysroot.join("lib/rustlib").join(&compiler.host).join("bin").join(TOOL);
    let names = [format!("{TOOL}-{}", compiler.llvm), TOOL.to_owned()];
    let distribution = PathBuf::from(format!("/usr/lib/llvm-{}/bin/{TOOL}", compiler.llvm));
    match env::var_os(TOOL_VARIABLE) {
        Some(named) => vec![named.into()],
        None => std::iter::once(rustup)
            .chain(names.iter().filter_map(|name| shell::find(name)))
            .chain([distribution])
            .filter(|path| path.is_file())
            .collect(),
    }
}

/// The first candidate of the compiler's own LLVM: another version's reads other forms of counts.
fn find_profdata(
    compiler: &Compiler,
    candidates: &[PathBuf],
    version_of: impl Fn(&Path) -> Option<u32>,
) -> Result<PathBuf> {
    let llvm = compiler.llvm;
    let versions: Vec<_> = candidates.iter().map(|path| (path, version_of(path))).collect();
    if let Some((path, _)) = versions.iter().find(|(_, version)| *version == Some(llvm)) {
        return Ok((*path).clone());
    }
    let mut seen = String::new();
    for (path, version) in versions {
        let what = version.map_or("says no version".into(), |version| format!("is of LLVM {version}"));
        seen.push_str(&format!("\n  {} {what}", path.display()));
    }
    bail!(
        "a profile-guided build needs `{TOOL}` of LLVM {llvm}, which this rustc is made with.{seen}\n\
         Install one of:\n  \
         rustup:          rustup component add llvm-tools\n  \
         Debian, Ubuntu:  apt-get install llvm-{llvm}\n\
         or name one: {TOOL_VARIABLE}=/path/to/{TOOL}. Without it, `cargo xtask build --release` builds the same agent, slower at searching values."
    )
}

/// Other counts have another name: cargo knows by its flags alone that crates of a registry have to be compiled again.
fn name_of(counts: &[u8]) -> String {
    let mut hasher = DefaultHasher::new();
    counts.hash(&mut hasher);
    format!("{:016x}.profdata", hasher.finish())
}

/// Major version of an LLVM tool, by what it says of itself.
fn version_of(tool: &Path) -> Option<u32> {
    let said = Command::new(tool).args(["merge", "--version"]).output().ok()?;
    major(String::from_utf8_lossy(&said.stdout).split("LLVM version").nth(1)?.trim())
}

fn major(version: &str) -> Option<u32> {
    version.split('.').next()?.trim().parse().ok()
}

fn flag(name: &str, path: &Path) -> OsString {
    let mut flag = OsString::from(name);
    flag.push(path);
    flag
}

/// The caller's flags, then these, as cargo takes flags with blanks in them.
fn encoded(flags: &[OsString]) -> OsString {
    let caller = env::var_os("CARGO_ENCODED_RUSTFLAGS").filter(|flags| !flags.is_empty()).or_else(|| {
        let flags = env::var("RUSTFLAGS").ok()?;
        Some(flags.split_whitespace().collect::<Vec<_>>().join("\u{1f}").into())
            .filter(|flags: &OsString| !flags.is_empty())
    });
    let all: Vec<OsString> = caller.into_iter().chain(flags.iter().cloned()).collect();
    all.join(&OsString::from("\u{1f}"))
}

const TOOL: &str = "llvm-profdata";
/// Names the tool where none is found.
const TOOL_VARIABLE: &str = "LLVM_PROFDATA";

#[cfg(test)]
mod tests {
    use super::*;

    fn compiler(llvm: u32) -> Compiler {
        Compiler { host: "x86_64-unknown-linux-gnu".into(), llvm, sysroot: "/usr".into() }
    }

    #[test]
    fn the_tool_of_the_compilers_own_llvm_is_taken() {
        let candidates =
            [PathBuf::from("/usr/bin/llvm-profdata"), PathBuf::from("/usr/bin/llvm-profdata-22")];
        let version = |path: &Path| if path.ends_with("llvm-profdata") { Some(14) } else { Some(22) };
        assert_eq!(find_profdata(&compiler(22), &candidates, version).unwrap(), candidates[1]);
        assert_eq!(find_profdata(&compiler(14), &candidates, version).unwrap(), candidates[0]);
    }

    #[test]
    fn where_none_fits_the_error_says_what_was_seen_and_how_to_get_one() {
        let error = find_profdata(&compiler(23), &["/opt/llvm-profdata".into()], |_| Some(14)).unwrap_err();
        let error = error.to_string();
        for part in [
            "of LLVM 23",
            "/opt/llvm-profdata is of LLVM 14",
            "rustup component add llvm-tools",
            "apt-get install llvm-23",
            "LLVM_PROFDATA=",
        ] {
            assert!(error.contains(part), "{part}: {error}");
        }
        let none = find_profdata(&compiler(23), &[], |_| None).unwrap_err().to_string();
        assert!(none.contains("made with.\nInstall one of"), "{none}");
    }

    #[test]
    fn a_program_that_is_no_tool_of_llvm_has_no_version() {
        assert_eq!(version_of(Path::new("/bin/true")), None);
        assert_eq!(version_of(Path::new("/nonexistent/llvm-profdata")), None);
        assert_eq!(major("22.1.2"), Some(22));
        assert_eq!(major("unknown"), None);
    }

    #[test]
    fn other_counts_have_another_name() {
        assert_eq!(name_of(b"a"), name_of(b"a"));
        assert_ne!(name_of(b"a"), name_of(b"b"));
    }

    #[test]
    fn a_profile_guided_build_is_a_release_build() {
        use clap::{Args as _, Command};
        let command = compile::Options::augment_args(Command::new("build"));
        let parses = |arguments: &[&str]| command.clone().try_get_matches_from(arguments).is_ok();
        assert!(parses(&["build", "--release", "--profile-guided"]));
        assert!(parses(&["build", "--release"]) && parses(&["build"]));
        assert!(!parses(&["build", "--profile-guided"]));
    }
}
