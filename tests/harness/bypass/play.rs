//! Plays the steps of one attack over real connections and keeps everything that came back.
//!
//! A connection that is refused or ends is part of the answer: later steps on it do nothing.

use super::attack::{Attack, Guess, SessionOptions, Step};
use crate::remote_socket::RemoteSocket;
use crate::wire::{self, Message, Wire};
use anyhow::Result;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

/// What the client got in one step.
#[derive(Clone, Debug)]
pub struct Reply {
    pub guess: Option<Guess>,
    pub messages: Vec<Message>,
    pub took: Duration,
    /// Of the session's start-up; not compared between ways.
    pub opening: bool,
    /// The connection ended or stayed silent.
    pub ended: Option<String>,
}

/// Where and as whom an attack is played.
pub struct Stage<'s> {
    pub group: &'s Path,
    pub server: SocketAddr,
    pub database: &'s str,
    /// Runs SQL as superuser, past governor.
    pub outside: &'s dyn Fn(&str) -> Result<()>,
    /// The number of a function.
    pub oid: &'s dyn Fn(&str) -> Result<u32>,
}

impl std::fmt::Debug for Stage<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Stage").field("database", &self.database).finish_non_exhaustive()
    }
}

/// Everything of one run. The connections stay open until it is dropped.
#[derive(Debug, Default)]
pub struct Played {
    pub replies: Vec<Reply>,
    sessions: BTreeMap<String, Option<Wire>>,
}

impl Played {
    /// Ends all connections.
    pub fn close(&mut self) {
        self.sessions.clear();
    }
}

/// Plays every step.
pub fn play(attack: &Attack, stage: &Stage<'_>) -> Result<Played> {
    let mut played = Played::default();
    for step in &attack.steps {
        if let Some(sql) = &step.outside {
            (stage.outside)(sql)?;
            continue;
        }
        if !played.sessions.contains_key(&step.session) {
            let plain = SessionOptions::default();
            let options = attack.session.get(&step.session).unwrap_or(&plain);
            let (wire, reply) = open(options, stage);
            played.sessions.insert(step.session.clone(), wire);
            played.replies.push(reply);
        }
        for number in 0..step.repeat.unwrap_or(1) {
            let (bytes, ready) = request(&numbered(step, number), stage)?;
            let Some(Some(wire)) = played.sessions.get_mut(&step.session) else { break };
            let reply = exchange(wire, &bytes, ready, step.guess);
            let is_last = number + 1 == step.repeat.unwrap_or(1);
            if reply.ended.is_some() {
                played.sessions.insert(step.session.clone(), None);
                played.replies.push(reply);
            } else if is_last {
                played.replies.push(reply);
            }
        }
    }
    Ok(played)
}

/// The step with its number in place of `{n}`, where it is repeated.
fn numbered(step: &Step, number: u32) -> Step {
    let with = |text: &String| text.replace("{n}", &number.to_string());
    match step.repeat {
        None => step.clone(),
        Some(_) => Step {
            simple: step.simple.as_ref().map(with),
            extended: step.extended.as_ref().map(with),
            copy: step.copy.as_ref().map(with),
            values: step.values.iter().map(with).collect(),
            ..step.clone()
        },
    }
}

fn open(options: &SessionOptions, stage: &Stage<'_>) -> (Option<Wire>, Reply) {
    let begun = Instant::now();
    let refused = |why: String| {
        let reply =
            Reply { guess: None, messages: vec![], took: begun.elapsed(), opening: true, ended: Some(why) };
        (None, reply)
    };
    let wire = RemoteSocket::dial(stage.group, stage.server, options.dial).and_then(Wire::new);
    let mut wire = match wire {
        Ok(wire) => wire,
        Err(error) => return refused(format!("{error:#}")),
    };
    let mut parameters = vec![
        ("user", options.user.as_deref().unwrap_or("app")),
        ("database", stage.database),
        ("application_name", APPLICATION),
    ];
    parameters.extend(options.parameters.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    let mut reply = exchange(&mut wire, &wire::startup_with(options.minor, &parameters), 1, None);
    reply.opening = true;
    (reply.ended.is_none().then_some(wire), reply)
}

/// The bytes of a step, and how many ReadyForQuery they are answered with.
fn request(step: &Step, stage: &Stage<'_>) -> Result<(Vec<u8>, usize)> {
    if let Some(sql) = &step.simple {
        let mut bytes = wire::query(sql);
        if let Some(data) = &step.copy {
            bytes.extend([wire::copy_data(data), wire::copy_done()].concat());
        }
        return Ok((bytes, 1));
    }
    if let Some(sql) = &step.extended {
        let values: Vec<&str> = step.values.iter().map(String::as_str).collect();
        let formats: &[u16] = if step.binary { &[1] } else { &[] };
        let messages = [
            wire::parse("", sql),
            wire::bind_formats("", "", &values, formats),
            wire::describe(b'P', ""),
            wire::execute(""),
            wire::sync(),
        ];
        return Ok((messages.concat(), 1));
    }
    let messages = step.messages.as_deref().unwrap_or_default();
    let mut bytes = Vec::new();
    for message in messages {
        bytes.extend(message.bytes(stage.oid)?);
    }
    Ok((bytes, messages.iter().filter(|message| message.is_answered_by_ready()).count()))
}

/// Sends, then reads up to as many ReadyForQuery as are owed.
fn exchange(wire: &mut Wire, bytes: &[u8], mut ready: usize, guess: Option<Guess>) -> Reply {
    let begun = Instant::now();
    let mut messages = Vec::new();
    let mut ended = wire.send(bytes).err().map(|error| format!("{error:#}"));
    while ready > 0 && ended.is_none() {
        match wire.read() {
            Ok(message) => {
                ready -= usize::from(message.tag == b'Z');
                messages.push(message);
            }
            Err(error) => ended = Some(format!("{error:#}")),
        }
    }
    Reply { guess, messages, took: begun.elapsed(), opening: false, ended }
}

/// How the attacker's sessions are told apart in the server.
pub const APPLICATION: &str = "attacker";
