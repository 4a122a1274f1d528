//! `governor status`.

use super::client::{Client, ClientError};
use super::globals::Globals;
use super::text::{Paint, safe, span};
use crate::app::handle::{Phase, Status};
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
    if let Some(address) = &status.metrics_address {
        line("metrics", format!("http://{address}/metrics"));
    }
    out
}

fn counts(counts: &std::collections::BTreeMap<String, u64>) -> String {
    counts.iter().map(|(name, count)| format!("{count} {name}")).collect::<Vec<_>>().join(", ")
}

const POLL: Duration = Duration::from_millis(50);
const WAIT_S_MAX: u64 = 24 * 3600;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::handle::{Gaps, LedgerStatus};

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
            sessions_active: [("agent".to_owned(), 2)].into(),
            statements: [("allow".to_owned(), 5), ("deny".to_owned(), 1)].into(),
            holds_pending: 1,
            ledger: LedgerStatus { sequence: 9, error: Some("disk full\x1b[2J".into()) },
            kernel: None,
            open_connections: 2,
            gaps: Gaps::default(),
            metrics_address: Some("127.0.0.1:9187".into()),
        };
        let page = page(&status, Paint { on: false });
        for line in [
            "governor    0.1.0 starting, pid 7, up 61s, profile observe",
            "captures    nothing: no rule in the configuration",
            "sessions    2 agent",
            "statements  5 allow, 1 deny",
            "holds       1 pending (governor approvals list)",
            "audit       disk full\\u{1b}[2J",
            "kernel      not attached",
            "gaps        none",
            "metrics     http://127.0.0.1:9187/metrics",
        ] {
            assert!(page.lines().any(|found| found == line), "{line:?} not in\n{page}");
        }
    }
}
