//! `governor break-glass`: in an emergency, with a reason on record.

use super::client::Client;
use super::globals::Globals;
use crate::host::glass::GlassAnswer;
use crate::surface::api::GlassBody;
use std::process::ExitCode;

/// In an emergency: let policies lift for your sessions what they otherwise deny or hold
///
/// Counts for database sessions of your own login, on this host, for a time. What is lifted is up to the policies
/// (`context.break_glass`). The reason and every statement under it are in the audit, a metric tells, and the log warns.
/// Only persons may do it, and only members of approvals.groups.break_glass in the configuration.
#[derive(Debug, clap::Args)]
#[command(
    arg_required_else_help = true,
    after_help = "Examples:\n  \
        governor break-glass --reason 'INC-4711: orders are stuck' --for 15m\n  \
        governor break-glass --end"
)]
pub struct BreakGlassArgs {
    /// Why, in one line; it is kept in the audit
    #[arg(long, short = 'm', value_name = "TEXT", required_unless_present = "end")]
    reason: Option<String>,
    /// For how long: seconds, or with a unit (s, m, h); at most 4h
    #[arg(long = "for", value_name = "TIME", default_value = "15m", value_parser = seconds)]
    seconds: u64,
    /// End it before its time
    #[arg(long, conflicts_with = "reason")]
    end: bool,
}

pub fn run(args: BreakGlassArgs, globals: &Globals) -> anyhow::Result<ExitCode> {
    let client = Client::new(globals.control_socket());
    let answer: GlassAnswer = match args.reason {
        Some(reason) => client.post("/v1/break-glass", &GlassBody { reason, seconds: args.seconds })?,
        None => client.delete("/v1/break-glass")?,
    };
    if globals.json {
        println!("{}", serde_json::to_string_pretty(&answer)?);
    } else if args.end {
        println!("{} ended for sessions of {}", answer.id, answer.login);
    } else {
        println!("{} counts for sessions of {} until {}", answer.id, answer.login, answer.expires);
        println!("what runs under it is in the audit: governor audit search --text {}", answer.id);
    }
    Ok(ExitCode::SUCCESS)
}

fn seconds(text: &str) -> Result<u64, String> {
    let at = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(at);
    let factor = match unit {
        "" | "s" => 1,
        "m" => 60,
        "h" => 3600,
        _ => return Err("write a number with s, m or h, such as 15m".into()),
    };
    number
        .parse::<u64>()
        .ok()
        .and_then(|n| n.checked_mul(factor))
        .ok_or_else(|| "write a number with s, m or h, such as 15m".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_with_their_unit() {
        assert_eq!(["90", "90s", "15m", "2h"].map(|t| seconds(t).unwrap()), [90, 90, 900, 7200]);
        for wrong in ["", "m", "1d", "-5s", "1.5h", "99999999999999999999h"] {
            assert!(seconds(wrong).is_err(), "{wrong}");
        }
    }
}
