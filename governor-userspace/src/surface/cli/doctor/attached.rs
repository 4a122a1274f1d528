//! Which kernel programs are on the hooks that governor uses: its own, and those of others.

use super::super::globals::Globals;
use super::super::text::{Paint, safe};
use crate::host::config::{self, Overrides};
use crate::host::kernel::cgroup2_mount;
use crate::host::kernel::inspect::{Hook, consequence, hooks};
use crate::host::kernel::probe::{Check, Outcome};
use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::{Path, PathBuf};

/// Whose program it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whose {
    /// Of the instance that was asked about.
    Ours,
    /// Of another instance of governor, alive or dead.
    AnotherGovernor,
    Foreign,
}

impl Whose {
    fn as_str(self) -> &'static str {
        match self {
            Self::Ours => "governor",
            Self::AnotherGovernor => "another governor",
            Self::Foreign => "somebody else",
        }
    }
}

/// A program, whose it is, and whether it runs for sockets that this instance governs.
#[derive(Debug)]
pub(super) struct Row {
    pub hook: Hook,
    pub whose: Whose,
    pub matters: bool,
}

/// One check for all of governor's, and one for each program of somebody else that matters.
pub(super) fn look(globals: &Globals, agent: Option<u32>) -> (Vec<Check>, Vec<Row>) {
    let all = match hooks() {
        Ok(all) => all,
        Err(error) => {
            let check = Check {
                name: "hooks",
                ok: Outcome::Warn,
                found: format!("cannot be listed: {error}"),
                fix: "run this as root (CAP_SYS_ADMIN)".into(),
                consequence: "programs of others on the same hooks are not seen".into(),
            };
            return (vec![check], Vec::new());
        }
    };
    let captured = captured(globals);
    let pins = globals.state_dir.join("pins");
    let pins = std::fs::canonicalize(&pins).unwrap_or(pins);
    let mut rows: Vec<Row> =
        all.into_iter().map(|hook| Row { whose: whose(&hook, &pins, agent), matters: false, hook }).collect();
    // Those of a captured server are where governor found it, whatever the configuration says.
    let own: BTreeSet<PathBuf> = rows
        .iter()
        .filter(|row| row.whose == Whose::Ours)
        .map(|row| PathBuf::from(&row.hook.place))
        .chain(captured)
        .filter(|place| place.is_absolute())
        .collect();
    for row in &mut rows {
        row.matters = own.iter().any(|cgroup| is_related(Path::new(&row.hook.place), cgroup));
    }
    let ours = rows.iter().filter(|row| row.whose == Whose::Ours);
    let (count, pinned) = ours
        .fold((0, 0), |(count, pinned), row| (count + 1, pinned + usize::from(!row.hook.pins.is_empty())));
    let mut checks = vec![Check {
        name: "hooks",
        ok: Outcome::Ok,
        found: match count {
            0 => "none of this instance".into(),
            _ => format!("{count} of this instance, {pinned} of them pinned"),
        },
        fix: String::new(),
        consequence: String::new(),
    }];
    checks.extend(rows.iter().filter(|row| row.whose != Whose::Ours && row.matters).map(stranger));
    (checks, rows)
}

/// cgroups that the configuration captures; all of them where it cannot be read.
fn captured(globals: &Globals) -> Vec<PathBuf> {
    let Ok(mount) = cgroup2_mount() else { return vec![PathBuf::from("/")] };
    match config::load(globals.config.as_deref(), Overrides::default()) {
        Ok(config) => {
            let inbound = config.capture.inbound.iter().map(|server| server.clients.directory(&mount));
            config.capture.rules.iter().map(|rule| rule.cgroup.directory(&mount)).chain(inbound).collect()
        }
        Err(_) => vec![mount],
    }
}

/// Programs above and below both run for some of a captured cgroup's sockets. Network namespaces hold sockets of any.
fn is_related(place: &Path, captured: &Path) -> bool {
    !place.is_absolute() || place.starts_with(captured) || captured.starts_with(place)
}

fn whose(hook: &Hook, pins: &Path, agent: Option<u32>) -> Whose {
    let held =
        |pid: u32| hook.holders.iter().any(|holder| holder.split(' ').next() == Some(&pid.to_string()));
    if hook.pins.iter().any(|pin| pin.starts_with(pins)) || agent.is_some_and(held) {
        return Whose::Ours;
    }
    // Its names, and a process or a pin directory of its kind: a name alone is anybody's.
    let is_governor = hook.holders.iter().any(|holder| holder.ends_with(" governor"))
        || hook.pins.iter().any(|pin| pin.components().any(|part| part.as_os_str() == "pins"));
    if is_governor && PROGRAMS.contains(&hook.program.as_str()) {
        return Whose::AnotherGovernor;
    }
    Whose::Foreign
}

fn stranger(row: &Row) -> Check {
    let Hook { hook, place, program, program_id, holders, pins, .. } = &row.hook;
    let mut found = format!("{hook} on {place}: program {program_id} {program:?} of {}", row.whose.as_str());
    if let Some(holder) = holders.first() {
        let _ = write!(found, ", held by {holder}");
    }
    if let Some(pin) = pins.first() {
        let _ = write!(found, ", pinned at {}", pin.display());
    }
    Check {
        name: "other program",
        ok: Outcome::Warn,
        found,
        fix:
            "find out what it does to captured ports (docs/kernel.md, \"Other programs on the same hooks\"); \
              for a dead governor: governor detach"
                .into(),
        consequence: consequence(hook).into(),
    }
}

/// Everything that is attached, one line each.
pub(super) fn table(rows: &[Row], paint: Paint) -> String {
    let mut out = String::new();
    if rows.is_empty() {
        return out;
    }
    // Writing to a String cannot fail.
    let _ =
        writeln!(out, "{}", paint.bold("hook                  program            of                place"));
    for row in rows {
        let Hook { hook, place, program, program_id, holders, pins, .. } = &row.hook;
        let kept = match (pins.first(), holders.first()) {
            (Some(pin), _) => format!("  pinned at {}", pin.display()),
            (None, Some(holder)) => format!("  held by {holder}"),
            (None, None) => String::new(),
        };
        let named = format!("{program_id} {program}");
        let line = format!(
            "{hook:<21} {:<18} {:<17} {}{}",
            safe(&named),
            row.whose.as_str(),
            safe(place),
            safe(&kept)
        );
        let is_odd = row.whose != Whose::Ours && row.matters;
        let _ = writeln!(out, "{}", if is_odd { paint.yellow(&line) } else { line });
    }
    out.push('\n');
    out
}

pub(super) fn as_json(rows: &[Row]) -> serde_json::Value {
    let rows: Vec<serde_json::Value> = rows
        .iter()
        .map(|row| serde_json::json!({ "of": row.whose.as_str(), "matters": row.matters, "hook": row.hook }))
        .collect();
    serde_json::json!({ "name": "attached programs", "outcome": "ok", "found": rows.len(), "fix": "", "consequence": "", "rows": rows })
}

/// As the kernel has their names: at most 15 characters.
const PROGRAMS: [&str; 11] = [
    "connect4",
    "connect6",
    "getpeername4",
    "getpeername6",
    "bind4",
    "bind6",
    "hand_over",
    "create_socket",
    "announce_namesp",
    "show_client",
    "steer",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn hook(program: &str, holder: &str, pin: &str) -> Hook {
        Hook {
            program: program.into(),
            holders: (!holder.is_empty()).then(|| holder.to_owned()).into_iter().collect(),
            pins: (!pin.is_empty()).then(|| pin.into()).into_iter().collect(),
            hook: "cgroup/connect4",
            place: "/c/apps".into(),
            ..Hook::default()
        }
    }

    #[test]
    fn a_name_alone_makes_no_program_ours() {
        let pins = Path::new("/var/lib/governor/pins");
        let of = |program, holder, pin| whose(&hook(program, holder, pin), pins, Some(7));
        assert_eq!(of("connect4", "7 governor", ""), Whose::Ours);
        assert_eq!(of("connect4", "", "/var/lib/governor/pins/1_2/link_connect4_3"), Whose::Ours);
        assert_eq!(of("connect4", "70 governor", ""), Whose::AnotherGovernor);
        assert_eq!(of("connect4", "", "/srv/two/pins/1_2/link_connect4_3"), Whose::AnotherGovernor);
        assert_eq!(of("connect4", "8 cilium-agent", ""), Whose::Foreign);
        assert_eq!(of("cil_sock4_conn", "9 governor", ""), Whose::Foreign);
    }

    #[test]
    fn programs_above_below_and_in_namespaces_matter() {
        let related = |place: &str| is_related(Path::new(place), Path::new("/c/apps"));
        assert!(related("/c") && related("/c/apps") && related("/c/apps/one") && related("net:[4026531840]"));
        assert!(!related("/c/app") && !related("/d"));
    }

    #[test]
    fn a_stranger_comes_with_what_it_can_do() {
        let row = Row { hook: hook("cil", "8 cilium-agent", ""), whose: Whose::Foreign, matters: true };
        let check = stranger(&row);
        assert_eq!(check.ok, Outcome::Warn);
        assert!(
            check.found.contains("held by 8 cilium-agent") && check.consequence.contains("destination"),
            "{check:?}"
        );
        assert!(table(&[row], Paint { on: false }).contains("somebody else"));
    }
}
