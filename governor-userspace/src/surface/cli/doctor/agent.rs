//! What a running agent says of itself: network namespaces, flows, and times without governance.

use super::Globals;
use crate::app::handle::{Status, StatusListener};
use crate::host::kernel::probe::{Check, Outcome};
use crate::surface::cli::client::{Client, ClientError};

/// Whether it runs, and as which process; what it governs where it answers.
pub(super) fn ask(globals: &Globals) -> (Vec<Check>, Option<u32>) {
    let answer = Client::new(globals.control_socket()).get::<Status>("/v1/status");
    let (ok, found, fix) = match answer {
        Ok(status) => {
            let found = format!("{}, pid {}", status.phase.as_str(), status.pid);
            let agent = check("agent", Outcome::Ok, found, "", "");
            return (vec![agent, namespaces(&status), flows(&status), gaps(&status)], Some(status.pid));
        }
        Err(ClientError::NotRunning { .. }) => (Outcome::Ok, "not running".into(), ""),
        Err(ClientError::NotAllowed { .. }) => {
            (Outcome::Warn, "runs, but this user may not ask it".into(), "run this as root")
        }
        Err(error) => (Outcome::Warn, error.to_string(), "governor status; then the agent's log"),
    };
    (vec![check("agent", ok, found, "", fix)], None)
}

fn namespaces(status: &Status) -> Check {
    let told = status.namespaces;
    let found = format!(
        "beside its own: {} with captured processes served, {} not; {} with captured servers served, {} not",
        told.served, told.unserved, told.inbound_served, told.inbound_unserved
    );
    let (ok, consequence, fix) = match (told.unserved, told.inbound_unserved) {
        (0, 0) => (Outcome::Ok, "", ""),
        (_, 0) => (
            Outcome::Warn,
            "connections from there are refused, or pass, as capture.rules.when_down says",
            UNSERVED_FIX,
        ),
        _ => (Outcome::Warn, "connections to servers there are not governed", UNSERVED_FIX),
    };
    check("namespaces", ok, found, consequence, fix)
}

/// Of governor's listeners, which both captured and arriving connections come to.
fn flows(status: &Status) -> Check {
    let Some(kernel) = status.kernel else {
        let consequence = "no connection is captured";
        return check("flows", Outcome::Warn, "not attached".into(), consequence, "governor status --wait");
    };
    let sum = |of: fn(&StatusListener) -> u64| {
        status.kernel_side.listeners.iter().filter(|listener| listener.port.is_some()).map(of).sum::<u64>()
    };
    let (opened, closed) = (sum(|listener| listener.opened), sum(|listener| listener.closed));
    let found = format!(
        "{opened} accepted, {} of them open; {} refused and {} passed by the kernel programs; {} open and not governed",
        opened.saturating_sub(closed),
        kernel.refused,
        kernel.passed,
        status.open_connections
    );
    match status.open_connections {
        0 => check("flows", Outcome::Ok, found, "", ""),
        _ => check(
            "flows",
            Outcome::Warn,
            found,
            "what is said over connections that are not governed is neither judged nor recorded",
            "restart their clients, or capture.open_connections = \"end\"",
        ),
    }
}

fn gaps(status: &Status) -> Check {
    let Some(last) = &status.gaps.last else {
        return check("gaps", Outcome::Ok, "none".into(), "", "");
    };
    let found = format!("{}, the last until {}: {}", status.gaps.count, last.until, last.reason);
    let consequence = "connections were refused, passed or went direct then: the reason has their number";
    check("gaps", Outcome::Warn, found, consequence, "governor audit gaps")
}

fn check(name: &'static str, ok: Outcome, found: String, consequence: &str, fix: &str) -> Check {
    Check { name, ok, found, fix: fix.into(), consequence: consequence.into() }
}

const UNSERVED_FIX: &str = "the agent's log has namespace and reason; capture.namespaces_max, CAP_SYS_ADMIN";
