//! `governor approvals`: answer statements that wait.

mod page;

use super::client::Client;
use super::globals::Globals;
use super::text::Paint;
use crate::host::approvals::{Approval, StateFilter};
use crate::host::clock;
use crate::surface::api::{ApprovalList, NoteBody};
use clap::Subcommand;
use std::process::ExitCode;

/// List, show and answer statements that wait for a person
///
/// A held statement waits on its own connection, inside its own transaction. Approved, it runs there;
/// denied or too late, its client gets an error. Members of the approver group that the policy names
/// may answer, and root; nobody answers for a statement of their own. Ids may be shortened.
#[derive(Debug, clap::Args)]
#[command(
    arg_required_else_help = true,
    after_help = "Examples:\n  \
        governor approvals list\n  \
        governor approvals show k7q\n  \
        governor approvals approve k7q2mx --note 'ticket 4711'\n  \
        governor approvals deny k7q2mx --note 'use the archive job'"
)]
pub struct ApprovalsArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// List requests, newest first: those that wait, or also those that ended
    List {
        /// Also those that ended
        #[arg(long, short)]
        all: bool,
        /// Show at most this many
        #[arg(long, short = 'n', default_value_t = 100, value_name = "N")]
        limit: usize,
    },
    /// Show one request: who, what, why, in which transaction, for how long
    Show {
        id: String,
        /// The whole text of every statement, however long
        #[arg(long)]
        full: bool,
    },
    /// Let it run
    Approve(Answer),
    /// Refuse it; its client gets an error with your note
    #[command(visible_alias = "refuse")]
    Deny(Answer),
}

#[derive(Debug, clap::Args)]
struct Answer {
    id: String,
    /// Why, in your words; kept in the audit, shown to the client that is refused
    #[arg(long, short = 'm', default_value = "", value_name = "TEXT")]
    note: String,
}

pub fn run(args: ApprovalsArgs, globals: &Globals) -> anyhow::Result<ExitCode> {
    let client = Client::new(globals.control_socket());
    let paint = Paint { on: globals.color() };
    match args.verb {
        Verb::List { all, limit } => {
            let state = if all { StateFilter::All } else { StateFilter::Pending };
            let state = serde_json::to_value(state)?;
            let path = format!("/v1/approvals?state={}&limit={limit}", state.as_str().unwrap_or_default());
            let list: ApprovalList = client.get(&path)?;
            if globals.json {
                for approval in &list.approvals {
                    println!("{}", serde_json::to_string(approval)?);
                }
            } else {
                print!("{}", page::list(&list.approvals, clock::now(), paint));
            }
        }
        Verb::Show { id, full } => {
            let approval = find(&client, &id)?;
            if globals.json {
                println!("{}", serde_json::to_string_pretty(&approval)?);
            } else {
                print!("{}", page::show(&approval, clock::now(), full, paint));
            }
        }
        Verb::Approve(answer) => decide(&client, globals, "approve", answer)?,
        Verb::Deny(answer) => decide(&client, globals, "refuse", answer)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn decide(client: &Client, globals: &Globals, verb: &str, answer: Answer) -> anyhow::Result<()> {
    let id = find(client, &answer.id)?.request.id;
    let approval: Approval =
        client.post(&format!("/v1/approvals/{id}/{verb}"), &NoteBody { note: answer.note })?;
    if globals.json {
        println!("{}", serde_json::to_string_pretty(&approval)?);
    } else {
        println!("{}", page::answered(&approval, Paint { on: globals.color() }));
    }
    Ok(())
}

fn find(client: &Client, typed: &str) -> anyhow::Result<Approval> {
    // Only what can be in an id goes into the request line; the agent says what it does not know.
    let typed: String = typed.chars().filter(char::is_ascii_alphanumeric).take(64).collect();
    anyhow::ensure!(
        !typed.is_empty(),
        "that is not an id of an approval request; governor approvals list shows them"
    );
    Ok(client.get(&format!("/v1/approvals/{typed}"))?)
}
