//! `governor reload`.

use super::client::{Client, ClientError};
use super::globals::Globals;
use super::text::safe;
use crate::app::handle::{PeersReload, PolicyReload};
use std::process::ExitCode;

/// Have the running agent read policy, and the keys of hellos, again
///
/// The same as SIGHUP (`systemctl reload governor`), with an answer. Policies come from their directory; this host's key from
/// keys/hello.key; the peers with their keys from the configuration (identity.peers), which has to be right as a whole though
/// nothing else of it is taken before the next start. What is refused leaves what was in force before.
/// Sessions go on as they are.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    sudo governor reload\n  \
    sudo governor reload --json")]
pub struct ReloadArgs {}

pub fn run(_args: &ReloadArgs, globals: &Globals) -> anyhow::Result<ExitCode> {
    let client = Client::new(globals.control_socket());
    let policy = match client.post::<PolicyReload>("/v1/policy/reload", &()) {
        Err(error @ ClientError::NotRunning { .. }) => return Err(error.into()),
        read => read.map_err(|error| error.to_string()),
    };
    let peers = client.post::<PeersReload>("/v1/peers/reload", &()).map_err(|error| error.to_string());
    let all_read = policy.is_ok() && peers.is_ok();
    if globals.json {
        let read = serde_json::json!({ "policy": told(policy), "peers": told(peers) });
        println!("{}", serde_json::to_string_pretty(&read)?);
    } else {
        match policy {
            Ok(read) => println!("policy   {} ({} policies)", safe(&read.version), read.policies),
            Err(error) => eprintln!("policy   {error}"),
        }
        match peers {
            Ok(read) => println!("peers    {}", peers_line(&read)),
            Err(error) => eprintln!("peers    {error}"),
        }
    }
    Ok(if all_read { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What holds now, on one line.
pub(super) fn peers_line(read: &PeersReload) -> String {
    let news = if read.changed { "in force now" } else { "as before" };
    format!("{} named, own key {:.16}: {news}", read.peers, safe(&read.key))
}

fn told(read: Result<impl serde::Serialize, String>) -> serde_json::Value {
    match read {
        Ok(read) => serde_json::json!(read),
        Err(error) => serde_json::json!({ "error": error }),
    }
}
