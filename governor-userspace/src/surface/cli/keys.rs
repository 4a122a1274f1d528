//! `governor keys`: which masking keys there are, and a new one; and this host's key for hellos.

use super::client::{Client, ClientError};
use super::globals::Globals;
use super::reload::peers_line;
use super::text::safe;
use crate::app::handle::PeersReload;
use crate::host::masking::KeyInfo;
use crate::host::peers::{make_next_key, next_public_key, public_key, use_next_key};
use crate::surface::api::KeyList;
use anyhow::{Context as _, bail};
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
    governor keys hello --json\n  \
    sudo governor keys hello --next        a key that is to follow: peers name both, and read that again\n  \
    sudo governor keys hello --use-next    use it from now on")]
struct HelloArgs {
    /// Make the key that is to follow this one, if there is none yet, and show both: nothing uses it yet
    ///
    /// Peers name it beside the present one (other_keys in their identity.peers) before it is used.
    #[arg(long, conflicts_with = "use_next")]
    next: bool,

    /// Put the next key in the place of the present one, which is gone then, and have the running agent use it
    #[arg(long)]
    use_next: bool,
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
        KeysVerb::Hello(ref args) => return hello(args, globals),
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

/// Reads and writes files: it needs no running agent.
fn hello(args: &HelloArgs, globals: &Globals) -> anyhow::Result<ExitCode> {
    let keys = globals.keys_dir();
    let present = || {
        public_key(&keys)
            .context("there is no key yet: the agent makes it at its first start (or name its --state-dir)")
    };
    if args.next {
        present()?;
        make_next_key(&keys)?;
    }
    let told = if args.use_next { Some(use_next(globals)?) } else { None };
    let (key, fingerprint) = present()?;
    let next = next_public_key(&keys)?;
    if globals.json {
        let of_next =
            |(key, fingerprint): &(String, String)| serde_json::json!({ "key": key, "sha256": fingerprint });
        let shown =
            serde_json::json!({ "key": key, "sha256": fingerprint, "next": next.as_ref().map(of_next) });
        println!("{}", serde_json::to_string_pretty(&shown)?);
    } else {
        print!("{}", hello_page(&key, &fingerprint, next.as_ref()));
    }
    if let Some(told) = told {
        eprintln!("{told}");
    }
    Ok(ExitCode::SUCCESS)
}

/// Changes the files, then tells the agent, if one runs. Answers what became of that.
fn use_next(globals: &Globals) -> anyhow::Result<String> {
    let keys = globals.keys_dir();
    if next_public_key(&keys)?.is_none() {
        bail!("there is no next key to use: `governor keys hello --next` makes one");
    }
    use_next_key(&keys)?;
    match Client::new(globals.control_socket()).post::<PeersReload>("/v1/peers/reload", &()) {
        Ok(read) => Ok(format!("the agent has read it: {}", peers_line(&read))),
        Err(ClientError::NotRunning { .. }) => Ok("no agent runs: the next start uses it".into()),
        Err(error) => Err(error)
            .context("the key's files are in place, and the running agent goes on with the one before"),
    }
}

fn hello_page(key: &str, fingerprint: &str, next: Option<&(String, String)>) -> String {
    let (shown, other) = next.map_or_else(Default::default, |(key, fingerprint)| {
        (format!("next     {key}\nSHA-256  {fingerprint}\n"), format!("other_keys = [\"{key}\"]\n"))
    });
    format!(
        "key      {key}\nSHA-256  {fingerprint}\n{shown}\n\
         For the configuration of the other host, which names this one; and the other way round:\n\n\
         [[identity.peers]]\nname = \"NAME\"              # ends the names of this host's users: alice@NAME\n\
         addresses = [\"ADDRESS\"]    # of this host\nkey = \"{key}\"\n{other}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_block_that_is_printed_is_one_that_a_configuration_takes() {
        let key = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
        let next =
            ("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c".to_owned(), "11".into());
        for next in [None, Some(&next)] {
            let page = hello_page(key, "00ff", next);
            let block = page.split_once("[[").map(|(_, rest)| format!("[[{rest}")).unwrap();
            let block = block.replace("ADDRESS", "10.1.0.1").replace("NAME", "app1");
            let path = std::path::Path::new("/etc/governor.toml");
            let config = crate::host::config::parse(&block, path, crate::host::config::Overrides::default());
            let peer = config.unwrap().identity.peers.remove(0);
            let keys: Vec<_> = peer.keys.iter().map(hex::encode).collect();
            let expected: Vec<_> = [key].into_iter().chain(next.map(|(key, _)| key.as_str())).collect();
            assert_eq!(
                (peer.name.as_str(), keys),
                ("app1", expected.iter().map(ToString::to_string).collect())
            );
        }
    }
}
