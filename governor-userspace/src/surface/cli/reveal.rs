//! `governor reveal`: the values behind tokens, with a reason on record.

use super::client::Client;
use super::globals::Globals;
use super::text::safe;
use crate::host::masking::RevealAnswer;
use crate::surface::api::RevealBody;
use std::process::ExitCode;

/// Turn tokens back into the values that they stand for
///
/// Tokens are what columns with the masking style "token" show. Only persons may reveal them, and only members of
/// approvals.groups.reveal in the configuration; who, why and which tokens is in the audit, and so is every refusal.
/// All tokens of a command are revealed, or none.
#[derive(Debug, clap::Args)]
#[command(
    arg_required_else_help = true,
    after_help = "Examples:\n  \
        governor reveal --reason 'ticket 4711: call the customer back' tok_7f3a9c01_VxQ…\n  \
        governor reveal -m 'fraud case 12' --json tok_… tok_…"
)]
pub struct RevealArgs {
    /// Why, in one line; it is kept in the audit
    #[arg(long, short = 'm', value_name = "TEXT")]
    reason: String,
    /// Tokens, as the database showed them
    #[arg(required = true, value_name = "TOKEN")]
    tokens: Vec<String>,
}

pub fn run(args: RevealArgs, globals: &Globals) -> anyhow::Result<ExitCode> {
    let client = Client::new(globals.control_socket());
    let body = RevealBody { reason: args.reason, tokens: args.tokens };
    let answer: RevealAnswer = client.post("/v1/reveal", &body)?;
    if globals.json {
        println!("{}", serde_json::to_string_pretty(&answer.values)?);
    } else {
        for value in &answer.values {
            println!("{}", safe(&value.value));
        }
    }
    Ok(ExitCode::SUCCESS)
}
