//! The same bytes to PostgreSQL directly and through governor: the replies are equal byte by byte, and governor's audit
//! names the statements that the server's own log names.
//!
//! Conversations come from the model's client; its server is held against the real one on the way. The seed of each is
//! printed when something differs. BackendKeyData is the only message that may differ: it names the backend process.

// Helpers beside the tests fail the test that called them.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use governor_tests::governor::{field, text};
use governor_tests::model::{Choices, Server, Sql, choices, client, kinds, messages, server, sql};
use governor_tests::remote_socket::RemoteSocket;
use governor_tests::wire::{self, Wire};
use governor_tests::{Auth, Class, Options, Site, wait};
use serde_json::Value;
use std::collections::HashMap;

const CONVERSATIONS: u64 = 120;
const CHOICES_BYTES: usize = 160;
const MESSAGES_MAX: usize = 50;

#[test]
fn a_service_gets_the_same_bytes_and_the_audit_agrees_with_the_servers_log() {
    compare(None, Class::Service, 1_000);
}

#[test]
fn an_observed_agent_gets_the_same_bytes_and_the_audit_agrees_with_the_servers_log() {
    compare(Some("observe"), Class::Agent, 2_000);
}

fn compare(profile: Option<&'static str>, class: Class, first_seed: u64) {
    let site = site(profile);
    let mut talks = Vec::new();
    for seed in first_seed..first_seed + CONVERSATIONS {
        let (messages, bytes) = conversation(seed);
        let shown: String = messages.iter().map(|m| format!("  {}\n", m.escape_ascii())).collect();
        let direct = converse(
            RemoteSocket::connect(&site.group.agent_host(), site.server_address()).unwrap(),
            std::slice::from_ref(&bytes),
        );
        let modelled = modelled(&bytes);
        assert_eq!(
            (answers(&direct), "model and PostgreSQL"),
            (answers(&modelled), "model and PostgreSQL"),
            "seed {seed}\n{shown}"
        );
        // Every other client waits for each ReadyForQuery: only then is the text of each record certain.
        let waits = seed % 2 == 0;
        let turns = if waits { turns(&bytes, &messages) } else { vec![bytes.clone()] };
        let through = converse(site.socket(class).unwrap(), &turns);
        assert!(
            without_key(&direct) == without_key(&through),
            "seed {seed}: direct {} through governor {}\n{shown}",
            kinds(&direct),
            kinds(&through)
        );
        talks.push((seed, waits, backend_pid(&through), shown));
    }
    let sessions = recorded(&site, talks.len());
    let logged = logged(&site.postgres.log());
    let mut compared_count = 0;
    for ((seed, _, pid, shown), records) in talks.iter().zip(&sessions).filter(|((_, waits, ..), _)| *waits) {
        let logged = logged.get(pid).map(Vec::as_slice).unwrap_or_default();
        compared_count += logged.len();
        if let Err(why) = agree(logged, records) {
            panic!("seed {seed}: {why}\nlogged {logged:#?}\nrecorded {records:#?}\n{shown}");
        }
    }
    println!("{} conversations, {compared_count} statements in the server's log", talks.len());
    assert!(compared_count > talks.len() / 2, "the server's log was read: {compared_count}");
}

fn site(profile: Option<&'static str>) -> Site {
    let server_settings = vec!["log_statement=all", "log_line_prefix=@%p "];
    let site = Site::with(Auth::Trust, &Options { profile, server_settings, ..Options::default() }).unwrap();
    site.truth("CREATE DATABASE model OWNER app").unwrap();
    site.postgres.admin("model", sql::SCHEMA).unwrap();
    site
}

/// Messages of the conversation, and all bytes with the start-up packet.
fn conversation(seed: u64) -> (Vec<Vec<u8>>, Vec<u8>) {
    let decide = choices::from_seed(seed, CHOICES_BYTES);
    let talk = client::conversation(&mut Choices::new(&decide), MESSAGES_MAX);
    let bytes = [wire::startup("app", "model"), talk.bytes()].concat();
    (talk.messages, bytes)
}

/// Sends each turn and reads up to as many ReadyForQuery as the model's server gives to it; at last up to the end.
fn converse(socket: RemoteSocket, turns: &[Vec<u8>]) -> Vec<u8> {
    let mut wire = Wire::new(socket).unwrap();
    let mut model = Server::new(Choices::new(&[]));
    let mut reply = Vec::new();
    for (number, turn) in turns.iter().enumerate() {
        wire.send(turn).unwrap();
        if number + 1 == turns.len() {
            break;
        }
        model.receive(turn);
        let mut ready_count = kinds(&model.take_output()).matches('Z').count();
        while ready_count > 0 {
            let message = wire.read().unwrap();
            ready_count -= usize::from(message.tag == b'Z');
            reply.extend(wire::message(message.tag, &message.body));
        }
    }
    reply.extend(wire.until_closed().unwrap());
    reply
}

/// The bytes cut behind each message that the server answers with ReadyForQuery.
fn turns(bytes: &[u8], messages: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let startup_bytes = bytes.len() - messages.iter().map(Vec::len).sum::<usize>();
    let mut model = Server::new(Choices::new(&[]));
    model.receive(&bytes[..startup_bytes]);
    let mut turns = vec![bytes[..startup_bytes].to_vec(), vec![]];
    model.take_output();
    for message in messages {
        turns.last_mut().unwrap().extend(message);
        model.receive(message);
        if kinds(&model.take_output()).contains('Z') {
            turns.push(vec![]);
        }
    }
    turns
}

fn modelled(bytes: &[u8]) -> Vec<u8> {
    let mut server = Server::new(Choices::new(&[]));
    server.receive(bytes);
    server.take_output()
}

/// Types of the answers behind start-up.
fn answers(reply: &[u8]) -> String {
    let all = server::answer_kinds(reply);
    all.split_once('Z').map(|(_, after)| after.to_owned()).unwrap_or_default()
}

fn without_key(reply: &[u8]) -> Vec<(u8, &[u8])> {
    let (messages, rest) = messages(reply);
    assert!(rest.is_empty(), "half a message at the end");
    messages.into_iter().filter(|(kind, _)| *kind != b'K').collect()
}

fn backend_pid(reply: &[u8]) -> u32 {
    let (messages, _) = messages(reply);
    let key = messages.iter().find(|(kind, _)| *kind == b'K').unwrap().1;
    u32::from_be_bytes(key[..4].try_into().unwrap())
}

/// A statement in the server's log.
#[derive(Clone, Debug)]
enum Logged {
    /// The text of a Query.
    Query(String),
    /// What an Execute ran.
    Execute(String),
}

/// Statements of each backend, in order.
fn logged(log: &str) -> HashMap<u32, Vec<Logged>> {
    let mut found: HashMap<u32, Vec<Logged>> = HashMap::new();
    for line in log.lines() {
        let Some((pid, said)) = line.strip_prefix('@').and_then(|line| line.split_once(' ')) else {
            continue;
        };
        let Some(said) = said.strip_prefix("LOG:  ") else { continue };
        let entry = if let Some(text) = said.strip_prefix("statement: ") {
            Logged::Query(text.into())
        } else if let Some((portal, text)) = said.strip_prefix("execute ").and_then(|s| s.split_once(": ")) {
            // A portal that SQL's DECLARE made has no text of its own in the audit.
            if portal.ends_with("/c") && text.contains("DECLARE c") {
                continue;
            }
            Logged::Execute(text.into())
        } else if said.starts_with("fastpath function call") {
            Logged::Execute("FunctionCall".into())
        } else {
            continue;
        };
        found.entry(pid.parse().unwrap()).or_default().push(entry);
    }
    found
}

/// A statement in governor's audit.
#[derive(Clone, Debug)]
struct Recorded {
    text: String,
    outcome: String,
}

/// Statements of each session, sessions in the order in which they began.
fn recorded(site: &Site, sessions_count: usize) -> Vec<Vec<Recorded>> {
    let all = wait::until("the records of every session's end", wait::PATIENCE, || {
        let records = site.governor.records()?;
        let ended = records.iter().filter(|record| text(record, "event") == "session_end").count();
        Ok((ended >= sessions_count).then_some(records))
    })
    .unwrap();
    let of =
        |event: &str| -> Vec<&Value> { all.iter().filter(|record| text(record, "event") == event).collect() };
    let outcomes: HashMap<String, String> =
        of("completion").iter().map(|record| (text(record, "decision"), text(record, "outcome"))).collect();
    let statements = of("statement");
    of("session_start")
        .iter()
        .map(|start| {
            let session = field(start, "session");
            let own = statements.iter().filter(|record| field(record, "session") == session);
            own.map(|record| Recorded {
                text: text(record, "text"),
                outcome: outcomes.get(&text(record, "decision")).cloned().unwrap_or_default(),
            })
            .collect()
        })
        .collect()
}

/// Every statement that the server logged has its record, in order; every other record says that it did not run.
fn agree(logged: &[Logged], recorded: &[Recorded]) -> Result<(), String> {
    let mut rest = recorded;
    for entry in logged {
        let texts: Vec<&str> = match entry {
            Logged::Execute(text) => vec![text],
            Logged::Query(text) => Sql::parse(text)
                .ok_or_else(|| format!("not of the model: {text:?}"))?
                .into_iter()
                .map(Sql::text)
                .collect(),
        };
        let Some(first) = texts.first().filter(|text| !text.is_empty()) else { continue };
        // What was skipped was not logged, unless it stands behind what failed in the same text.
        let found = rest.iter().position(|record| record.outcome != "skipped" && record.is(first));
        let start = found.ok_or_else(|| format!("no record of {first:?}"))?;
        if let Some(stray) = rest[..start].iter().find(|record| !record.did_not_run()) {
            return Err(format!("{stray:?} is not in the log before {first:?}"));
        }
        for (text, record) in texts.iter().zip(&rest[start..]) {
            if !record.is(text) {
                return Err(format!("{record:?} is not the record of {text:?}"));
            }
        }
        rest = rest.get(start + texts.len()..).ok_or_else(|| format!("records are missing of {texts:?}"))?;
    }
    match rest.iter().find(|record| !record.did_not_run()) {
        None => Ok(()),
        Some(record) => Err(format!("{record:?} is not in the log")),
    }
}

impl Recorded {
    fn is(&self, text: &str) -> bool {
        match text {
            "FunctionCall" => self.text.starts_with(text),
            // A statement that SQL prepared: the log has the whole text that its PREPARE was in.
            _ => {
                let own = self.text.trim_matches([';', ' ']);
                !own.is_empty() && text.contains(own)
            }
        }
    }

    /// Skipped, failed before it could be logged, or nothing to run.
    fn did_not_run(&self) -> bool {
        matches!(self.outcome.as_str(), "skipped" | "error") || self.text.trim_matches([';', ' ']).is_empty()
    }
}
