//! Running other programs, and telling people about it.

use anyhow::{Context, Result, bail};
use std::io::IsTerminal;
use std::process::{Command, Output};

/// Runs in the repository with its output on ours; an error names the command.
pub fn run(command: &mut Command) -> Result<()> {
    println!("{}", dim(&format!("$ {}", words(command))));
    let status = command
        .current_dir(crate::workspace::root())
        .status()
        .with_context(|| format!("cannot start {}", words(command)))?;
    if !status.success() {
        bail!("{} ended with {status}", words(command));
    }
    Ok(())
}

/// One of the engine's benches, which needs neither kernel programs nor a host.
pub fn engine_bench(name: &str) -> Command {
    let mut cargo = cargo();
    cargo.args([
        "bench",
        "--quiet",
        "--package",
        "governor-userspace",
        "--no-default-features",
        "--bench",
        name,
    ]);
    cargo
}

/// Runs in the repository and keeps both streams.
pub fn capture(command: &mut Command) -> Result<Output> {
    command
        .current_dir(crate::workspace::root())
        .output()
        .with_context(|| format!("cannot start {}", words(command)))
}

/// Whether a program is on the PATH, or in the directories of system programs that users' PATHs leave out.
pub fn has(program: &str) -> bool {
    find(program).is_some()
}

/// The full path of a program.
pub fn find(program: &str) -> Option<std::path::PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .map(|dir| dir.join(program))
        .find(|file| file.is_file())
}

/// Cargo, as if nobody had started us by cargo: what it told us of our own package would count as news for build scripts
/// that look at such variables, and all that depends on their crates would be built again.
pub fn cargo() -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    for (name, _) in std::env::vars_os() {
        let is_ours = ["CARGO_PKG_", "CARGO_MANIFEST_"]
            .iter()
            .any(|prefix| name.as_encoded_bytes().starts_with(prefix.as_bytes()));
        if is_ours {
            cargo.env_remove(name);
        }
    }
    cargo
}

/// The command as a person would type it.
pub fn words(command: &Command) -> String {
    std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|word| word.to_string_lossy())
        .map(|word| if word.contains([' ', '"', '*']) { format!("'{word}'") } else { word.into_owned() })
        .collect::<Vec<_>>()
        .join(" ")
}

pub fn bold(text: &str) -> String {
    paint("1", text)
}

pub fn dim(text: &str) -> String {
    paint("2", text)
}

pub fn red(text: &str) -> String {
    paint("31", text)
}

pub fn green(text: &str) -> String {
    paint("32", text)
}

pub fn yellow(text: &str) -> String {
    paint("33", text)
}

pub fn blue(text: &str) -> String {
    paint("1;34", text)
}

/// Colour is for terminals that did not ask for none.
fn paint(code: &str, text: &str) -> String {
    if std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none() {
        format!("\u{1b}[{code}m{text}\u{1b}[0m")
    } else {
        text.to_owned()
    }
}
