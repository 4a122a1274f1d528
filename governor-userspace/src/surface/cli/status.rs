//! `governor status`.

use super::client::{Client, ClientError};
use super::globals::Globals;
use super::text::{Paint, safe, span};
use crate::app::handle::{KernelSide, Phase, Status, StatusMap};
use crate::engine::audit::SideCount;
use std::collections::BTreeSet;
use std::fmt::Write;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Show what is governed now
///
/// Succeeds only while the agent is ready: attached and accepting connections.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    governor status\n  \
    governor status --wait            until the agent is ready, at most 30 seconds\n  \
    governor status --wait=5 --json")]
pub struct StatusArgs {
    /// Wait until the agent is ready, at most this long
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, require_equals = true, default_missing_value = "30")]
    pub wait: Option<u64>,
}

pub fn run(args: StatusArgs, globals: &Globals) -> anyhow::Result<ExitCode> {
    let client = Client::new(globals.control_socket());
    let deadline = Instant::now() + Duration::from_secs(args.wait.unwrap_or(0).min(WAIT_S_MAX));
    let status: Status = loop {
        let answer = client.get::<Status>("/v1/status");
        let settled = match &answer {
            Ok(status) => status.phase == Phase::Ready,
            Err(ClientError::NotRunning { .. } | ClientError::Timeout { .. }) => false,
            Err(_) => true,
        };
        if settled || Instant::now() >= deadline {
            break answer?;
        }
        std::thread::sleep(POLL);
    };
    if globals.json {
        println!("{}", serde_json::to_string_pretty(&status)?);
    } else {
        print!("{}", page(&status, Paint { on: globals.color() }));
    }
    Ok(if status.phase == Phase::Ready { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The status on one screen.
fn page(status: &Status, paint: Paint) -> String {
    let mut out = String::new();
    let phase = match status.phase {
        Phase::Ready => paint.green("ready"),
        other => paint.yellow(other.as_str()),
    };
    let uptime = span(status.uptime_s.saturating_mul(1_000_000_000));
    let mut line = |name: &str, text: String| {
        let _ = writeln!(out, "{}{text}", paint.bold(&format!("{name:<12}")));
    };
    line(
        "governor",
        format!("{} {phase}, pid {}, up {uptime}, profile {}", status.version, status.pid, status.profile),
    );
    for (index, rule) in status.capture.iter().enumerate() {
        line(if index == 0 { "captures" } else { "" }, safe(rule));
    }
    if status.capture.is_empty() {
        line("captures", paint.yellow("nothing: no rule in the configuration"));
    }
    for (index, peer) in status.peers.iter().enumerate() {
        line(if index == 0 { "peers" } else { "" }, safe(peer));
    }
    line("policy", safe(&status.policy_version));
    line("sessions", counts(&status.sessions_active));
    line("statements", counts(&status.statements));
    let holds = match status.holds_pending {
        0 => "none pending".to_owned(),
        n => paint.yellow(&format!("{n} pending (governor approvals list)")),
    };
    line("holds", holds);
    let ledger = match &status.ledger.error {
        None => format!("record {}", status.ledger.sequence),
        Some(error) => paint.red(&safe(error)),
    };
    line("audit", ledger);
    if let Some(kernel) = status.kernel {
        let lost = kernel.identity_missing + kernel.events_dropped;
        let text = format!(
            "{} redirected, {} refused, {} without identity, {} events dropped",
            kernel.redirected, kernel.refused, kernel.identity_missing, kernel.events_dropped
        );
        line("kernel", if lost > 0 { paint.yellow(&text) } else { text });
    } else {
        line("kernel", paint.yellow("not attached"));
    }
    for (name, text) in kernel_side(&status.kernel_side, paint) {
        line(name, text);
    }
    if let Some(sums) = &status.completeness {
        let bytes = |side: &SideCount| side.counted.bytes_in + side.counted.bytes_out;
        let text = format!(
            "{} connections closed, {} bytes with clients, {} with databases",
            sums.clients.counted.connections,
            bytes(&sums.clients),
            bytes(&sums.databases)
        );
        let unix = &sums.unix.clients;
        let unix = match unix.audited.connections + unix.open {
            0 => String::new(),
            count => format!("; {count} over unix sockets, which the kernel does not count"),
        };
        let text = format!("{text}{unix}");
        line(
            "complete",
            match sums.is_whole() {
                true => format!("{text}: all accounted for"),
                false => paint
                    .red(&format!("{text}: {} MISMATCHES (governor audit completeness)", sums.mismatches)),
            },
        );
    }
    if status.open_connections > 0 {
        let text =
            format!("{} open, from before the start or on sockets from elsewhere", status.open_connections);
        line("ungoverned", paint.yellow(&text));
    }
    let gaps = match &status.gaps.last {
        None => "none".to_owned(),
        Some(last) => {
            let more = if status.gaps.count > 1 {
                format!(" ({} in all)", status.gaps.count)
            } else {
                String::new()
            };
            let until = last.until.get(..19).unwrap_or(&last.until);
            paint.yellow(&format!("{}, until {}Z{more}", safe(&last.reason), safe(until)))
        }
    };
    line("gaps", gaps);
    if let Some(failure) = &status.upgrade_failure {
        line("upgrade", paint.red(&safe(failure)));
    }
    if let Some(address) = &status.metrics_address {
        line("metrics", format!("http://{address}/metrics"));
    }
    out
}

/// What is attached, how full the fullest map is, and who else is there.
fn kernel_side(side: &KernelSide, paint: Paint) -> Vec<(&'static str, String)> {
    let mut lines = Vec::new();
    if !side.hooks.is_empty() {
        let places: BTreeSet<&str> = side.hooks.iter().map(|hook| hook.cgroup.as_str()).collect();
        let pinned = side.hooks.iter().filter(|hook| hook.pinned).count();
        let text = format!(
            "{} attached on {} cgroups, {pinned} of them pinned (--json has all)",
            side.hooks.len(),
            places.len()
        );
        lines.push(("hooks", if pinned == side.hooks.len() { text } else { paint.yellow(&text) }));
    }
    let percent = |map: &StatusMap| map.entries * 100 / map.capacity.max(1);
    if let Some(fullest) = side.maps.iter().max_by_key(|map| percent(map)) {
        let text = format!("fullest: {} with {} of {}", fullest.map, fullest.entries, fullest.capacity);
        lines.push(("maps", if percent(fullest) >= 80 { paint.yellow(&text) } else { text }));
    }
    for foreign in &side.foreign {
        let text = format!(
            "program {} of somebody else on {} for {}: {}",
            foreign.program_id,
            safe(&foreign.hook),
            safe(&foreign.cgroup),
            safe(&foreign.consequence)
        );
        lines.push(("others", paint.yellow(&text)));
    }
    lines
}

fn counts(counts: &std::collections::BTreeMap<String, u64>) -> String {
    counts.iter().map(|(name, count)| format!("{count} {name}")).collect::<Vec<_>>().join(", ")
}

const POLL: Duration = Duration::from_millis(50);
const WAIT_S_MAX: u64 = 24 * 3600;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::handle::{Gaps, LedgerStatus, StatusForeign, StatusHook, StatusNamespaces};

    #[test]
    fn a_page_says_what_is_wrong() {
        let status = Status {
            version: "0.1.0".into(),
            pid: 7,
            phase: Phase::Starting,
            uptime_s: 61,
            profile: "observe".into(),
            policy_version: "abc".into(),
            capture: vec![],
            peers: vec!["app1 at 10.1.0.1".into(), "app2\x07".into()],
            sessions_active: [("agent".to_owned(), 2)].into(),
            statements: [("allow".to_owned(), 5), ("deny".to_owned(), 1)].into(),
            holds_pending: 1,
            ledger: LedgerStatus { sequence: 9, error: Some("disk full\x1b[2J".into()) },
            kernel: None,
            completeness: None,
            kernel_side: KernelSide {
                hooks: vec![StatusHook { program: "connect4".into(), cgroup: "/c".into(), pinned: false }],
                maps: vec![
                    StatusMap { map: "RULES".into(), entries: 1, capacity: 4096 },
                    StatusMap { map: "PENDING".into(), entries: 60, capacity: 64 },
                ],
                listeners: vec![],
                foreign: vec![StatusForeign {
                    hook: "cgroup/connect4".into(),
                    program_id: 9,
                    cgroup: "/c".into(),
                    consequence: "it may".into(),
                }],
            },
            namespaces: StatusNamespaces::default(),
            open_connections: 2,
            gaps: Gaps::default(),
            upgrade_failure: None,
            metrics_address: Some("127.0.0.1:9187".into()),
        };
        let page = page(&status, Paint { on: false });
        for line in [
            "governor    0.1.0 starting, pid 7, up 61s, profile observe",
            "captures    nothing: no rule in the configuration",
            "peers       app1 at 10.1.0.1",
            "            app2\\u{7}",
            "sessions    2 agent",
            "statements  5 allow, 1 deny",
            "holds       1 pending (governor approvals list)",
            "audit       disk full\\u{1b}[2J",
            "kernel      not attached",
            "gaps        none",
            "hooks       1 attached on 1 cgroups, 0 of them pinned (--json has all)",
            "maps        fullest: PENDING with 60 of 64",
            "others      program 9 of somebody else on cgroup/connect4 for /c: it may",
            "metrics     http://127.0.0.1:9187/metrics",
        ] {
            assert!(page.lines().any(|found| found == line), "{line:?} not in\n{page}");
        }
    }
}
