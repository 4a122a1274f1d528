//! `governor keys`: which masking keys there are, and a new one; and this host's key for hellos.

use super::client::Client;
use super::globals::Globals;
use super::text::safe;
use crate::host::masking::KeyInfo;
use crate::host::peers::public_key;
use crate::surface::api::KeyList;
use anyhow::Context as _;
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
    Hello(HelloArgs),
}

/// Show the public key by which other governors know this host
///
/// Another host's configuration names it (identity.peers): then that governor believes what this one says in a signed hello
/// of its clients, and is told. The private half is keys/hello.key in the state directory and never leaves it.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    governor keys hello            the key, and the block for the other host's configuration\n  \
    governor keys hello --json")]
struct HelloArgs {}

/// Make a new key that masks from now on
///
/// Hashes, tokens and other keyed masks of the same value are different from then on, also in running sessions. Old
/// keys stay, so that their tokens can be revealed. Copy the key file to a safe place afterwards.
#[derive(Debug, clap::Args)]
struct RotateArgs {}

pub fn run(args: &KeysArgs, globals: &Globals) -> anyhow::Result<ExitCode> {
    let client = Client::new(globals.control_socket());
    let keys = match args.verb {
        KeysVerb::Hello(_) => return hello(globals),
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

/// Reads the file: it needs no running agent.
fn hello(globals: &Globals) -> anyhow::Result<ExitCode> {
    let (key, fingerprint) = public_key(&globals.keys_dir())
        .context("there is no key yet: the agent makes it at its first start (or name its --state-dir)")?;
    if globals.json {
        println!(
            "{}",
            serde_json::to_string_pretty(&serde_json::json!({ "key": key, "sha256": fingerprint }))?
        );
    } else {
        print!("{}", hello_page(&key, &fingerprint));
    }
    Ok(ExitCode::SUCCESS)
}

fn hello_page(key: &str, fingerprint: &str) -> String {
    format!(
        "key      {key}\nSHA-256  {fingerprint}\n\n\
         For the configuration of the other host, which names this one; and the other way round:\n\n\
         [[identity.peers]]\nname = \"NAME\"              # ends the names of this host's users: alice@NAME\n\
         addresses = [\"ADDRESS\"]    # of this host\nkey = \"{key}\"\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_block_that_is_printed_is_one_that_a_configuration_takes() {
        let key = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
        let page = hello_page(key, "00ff");
        let block = page.split_once("[[").map(|(_, rest)| format!("[[{rest}")).unwrap();
        let block = block.replace("ADDRESS", "10.1.0.1").replace("NAME", "app1");
        let path = std::path::Path::new("/etc/governor.toml");
        let config = crate::host::config::parse(&block, path, crate::host::config::Overrides::default());
        let peer = config.unwrap().identity.peers.remove(0);
        assert_eq!((peer.name.as_str(), hex::encode(peer.key).as_str()), ("app1", key));
    }
}
