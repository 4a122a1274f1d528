//! `governor doctor`.

use super::globals::Globals;
use super::text::{Paint, safe};
use crate::host::kernel::probe::{Check, Outcome, probe};
use crate::host::unix::abstract_servers;
use std::fmt::Write;
use std::path::Path;
use std::process::ExitCode;

mod agent;
mod attached;
mod peers;

/// Say what this host can and cannot do for governor, and how to mend it
///
/// Changes nothing. Fails where something is missing that capture needs.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    sudo governor doctor        as root, because that is what the agent runs as\n  \
    governor doctor --json")]
pub struct DoctorArgs {}

pub fn run(_args: DoctorArgs, globals: &Globals) -> anyhow::Result<ExitCode> {
    let mut checks = probe();
    checks.push(privileges());
    checks.push(state_directory(&globals.state_dir));
    checks.extend(peers::look(globals));
    checks.extend(abstract_sockets());
    let (told, pid) = agent::ask(globals);
    checks.extend(told);
    let (attached, hooks) = attached::look(globals, pid);
    checks.extend(attached);
    let failed = checks.iter().any(|check| check.ok == Outcome::Fail);
    if globals.json {
        let mut list: Vec<_> = checks.iter().map(as_json).collect();
        list.push(attached::as_json(&hooks));
        println!("{}", serde_json::to_string_pretty(&list)?);
    } else {
        let paint = Paint { on: globals.color() };
        print!("{}{}", attached::table(&hooks, paint), page(&checks, paint));
    }
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// A server's socket that has no path: there is nothing that governor could take over.
fn abstract_sockets() -> Option<Check> {
    let names = abstract_servers().ok().filter(|names| !names.is_empty())?;
    Some(Check {
        name: "abstract sockets",
        ok: Outcome::Warn,
        found: format!("a server listens at {}", names.join(", ")),
        fix:
            "let the server have a socket in a directory instead (unix_socket_directories), and name that in \
              [[capture.unix]]"
                .into(),
        consequence:
            "whoever connects to that name reaches the server past governor, and nothing tells of it".into(),
    })
}

fn page(checks: &[Check], paint: Paint) -> String {
    let width = checks.iter().map(|check| check.name.len()).max().unwrap_or(0);
    let mut out = String::new();
    for check in checks {
        let mark = match check.ok {
            Outcome::Ok => paint.green("ok  "),
            Outcome::Warn => paint.yellow("warn"),
            Outcome::Fail => paint.red("FAIL"),
        };
        // Writing to a String cannot fail.
        let _ = writeln!(out, "{mark}  {:<width$}  {}", check.name, safe(&check.found));
        for (label, text) in [("so", &check.consequence), ("fix", &check.fix)] {
            if !text.is_empty() {
                let _ = writeln!(out, "      {:<width$}  {} {text}", "", paint.dim(&format!("{label}:")));
            }
        }
    }
    let failed = checks.iter().filter(|check| check.ok == Outcome::Fail).count();
    let _ = match failed {
        0 => writeln!(out, "{}", paint.green("This host can run governor.")),
        1 => writeln!(out, "{}", paint.red("1 thing keeps governor from running here.")),
        n => writeln!(out, "{}", paint.red(&format!("{n} things keep governor from running here."))),
    };
    out
}

fn as_json(check: &Check) -> serde_json::Value {
    let outcome = match check.ok {
        Outcome::Ok => "ok",
        Outcome::Warn => "warn",
        Outcome::Fail => "fail",
    };
    serde_json::json!({
        "name": check.name, "outcome": outcome, "found": check.found, "fix": check.fix,
        "consequence": check.consequence,
    })
}

fn state_directory(dir: &Path) -> Check {
    use nix::unistd::{AccessFlags, access};
    let shown = dir.display();
    let check = |ok, found: String, fix: String, consequence: &str| Check {
        name: "state directory",
        ok,
        found,
        fix,
        consequence: consequence.into(),
    };
    // The nearest part that exists decides: governor makes the rest.
    let existing = dir.ancestors().find(|part| part.exists()).unwrap_or(Path::new("/"));
    if !existing.is_dir() {
        let found = format!("{} is not a directory", existing.display());
        return check(
            Outcome::Fail,
            found,
            "choose another with --state-dir".into(),
            "the agent cannot start",
        );
    }
    if access(existing, AccessFlags::W_OK | AccessFlags::X_OK).is_err() {
        let found = format!("{} may not be written by this user", existing.display());
        return check(
            Outcome::Fail,
            found,
            "run this as root, or choose another with --state-dir".into(),
            "no audit, so the agent refuses to start",
        );
    }
    let found = if existing == dir { shown.to_string() } else { format!("{shown} (will be made)") };
    check(Outcome::Ok, found, String::new(), "")
}

/// What this process may do, which is what the agent may where both are started the same way.
fn privileges() -> Check {
    let (ok, found, consequence) = match crate::host::privileges::check() {
        Ok(()) => (Outcome::Ok, "all that the agent needs".into(), ""),
        Err(missing) => {
            (Outcome::Warn, missing.to_string(), "an agent that is started like this refuses to start")
        }
    };
    let fix = if ok == Outcome::Ok { "" } else { "run this as root to see what the host can do" };
    Check { name: "privileges", ok, found, fix: fix.into(), consequence: consequence.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_thing_comes_with_its_consequence_and_fix() {
        let checks = [
            Check {
                name: "btf",
                ok: Outcome::Ok,
                found: "present".into(),
                fix: String::new(),
                consequence: String::new(),
            },
            Check {
                name: "cgroup v2",
                ok: Outcome::Fail,
                found: "not mounted".into(),
                fix: "mount it".into(),
                consequence: "no capture".into(),
            },
        ];
        assert_eq!(
            page(&checks, Paint { on: false }),
            "ok    btf        present\n\
             FAIL  cgroup v2  not mounted\n\
             \x20                so: no capture\n\
             \x20                fix: mount it\n\
             1 thing keeps governor from running here.\n"
        );
    }

    #[test]
    fn a_state_directory_below_a_file_is_found_out() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(state_directory(dir.path()).ok, Outcome::Ok);
        assert!(state_directory(&dir.path().join("a/b")).found.ends_with("(will be made)"));
        std::fs::write(dir.path().join("file"), "").unwrap();
        assert_eq!(state_directory(&dir.path().join("file/state")).ok, Outcome::Fail);
        assert!(!dir.path().join("a").exists(), "doctor changes nothing");
    }
}
