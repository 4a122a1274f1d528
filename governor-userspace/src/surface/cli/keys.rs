//! `governor keys`: which masking keys there are, and a new one.

use super::client::Client;
use super::globals::Globals;
use super::text::safe;
use crate::host::masking::KeyInfo;
use crate::surface::api::KeyList;
use clap::Subcommand;
use std::process::ExitCode;

#[derive(Debug, clap::Args)]
pub struct KeysArgs {
    #[command(subcommand)]
    verb: KeysVerb,
}

#[derive(Debug, Subcommand)]
enum KeysVerb {
    /// List the keys of masking by name; the newest masks, the others only reveal
    List,
    Rotate(RotateArgs),
}

/// Make a new key that masks from now on
///
/// Hashes, tokens and other keyed masks of the same value are different from then on, also in running sessions. Old
/// keys stay, so that their tokens can be revealed. Copy the key file to a safe place afterwards.
#[derive(Debug, clap::Args)]
struct RotateArgs {}

pub fn run(args: &KeysArgs, globals: &Globals) -> anyhow::Result<ExitCode> {
    let client = Client::new(globals.control_socket());
    let keys = match args.verb {
        KeysVerb::List => client.get::<KeyList>("/v1/keys")?.keys,
        KeysVerb::Rotate(_) => vec![client.post::<KeyInfo>("/v1/keys", &serde_json::json!({}))?],
    };
    if globals.json {
        println!("{}", serde_json::to_string_pretty(&keys)?);
        return Ok(ExitCode::SUCCESS);
    }
    println!("{:<9} {:<31} USE", "KEY", "CREATED");
    for key in &keys {
        let used = if key.current { "masks, reveals" } else { "reveals" };
        println!("{:<9} {:<31} {used}", safe(&key.id), safe(&key.created));
    }
    Ok(ExitCode::SUCCESS)
}
