//! Runs the corpus and says how each attack ended, in a table by section.

use super::arena::{Arena, Run, Way, directory};
use super::attack::{Aim, Attack, Guess, read_all};
use super::play::Reply;
use super::reveal::told;
use crate::wire::Message;
use anyhow::{Result, bail};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Only files whose `section/name` contains this.
    pub only: Option<String>,
    /// A line for each file as it ends, with what the client was told.
    pub verbose: bool,
    /// Major version of the server; the distribution's own where none is given.
    pub server_version: Option<u32>,
}

/// How one file ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It works unguarded, and does not through governor.
    Held,
    /// Ordinary work gave the same.
    Worked,
    /// As its file says, it works in spite of governor: counted, never as held.
    KnownGap(Vec<String>),
    /// As its file says, the server itself is not impressed.
    Ineffective,
    Leaked(Vec<String>),
    Changed(Vec<String>),
    /// An oracle answered.
    Answered,
    /// Ordinary work gave something else.
    Spoilt(Vec<String>),
    /// The file is wrong about the attack, or could not be run.
    Wrong(String),
}

impl Outcome {
    pub fn is_failure(&self) -> bool {
        !matches!(self, Self::Held | Self::Worked | Self::KnownGap(_) | Self::Ineffective)
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |f: &mut fmt::Formatter<'_>, word: &str, what: &[String]| {
            write!(f, "{word}: {}", what.iter().take(4).cloned().collect::<Vec<_>>().join("; "))
        };
        match self {
            Self::Held => write!(f, "held"),
            Self::Worked => write!(f, "worked"),
            Self::KnownGap(how) => list(f, "known gap", how),
            Self::Ineffective => write!(f, "ineffective unguarded"),
            Self::Leaked(what) => list(f, "LEAKED", what),
            Self::Changed(what) => list(f, "CHANGED", what),
            Self::Answered => write!(f, "ANSWERED"),
            Self::Spoilt(how) => list(f, "SPOILT", how),
            Self::Wrong(why) => write!(f, "WRONG FILE: {why}"),
        }
    }
}

/// Every file with its outcome.
#[derive(Clone, Debug, Default)]
pub struct Score {
    pub outcomes: Vec<(String, Outcome)>,
}

impl Score {
    pub fn failures(&self) -> Vec<&(String, Outcome)> {
        self.outcomes.iter().filter(|(_, outcome)| outcome.is_failure()).collect()
    }

    /// Attacks that work in spite of governor, as their files say.
    pub fn known_gaps(&self) -> Vec<&(String, Outcome)> {
        self.outcomes.iter().filter(|(_, outcome)| matches!(outcome, Outcome::KnownGap(_))).collect()
    }
}

/// Runs every file that `options` asks for.
pub fn run(options: &Options) -> Result<Score> {
    let mut attacks = read_all(&directory())?;
    if let Some(only) = &options.only {
        attacks.retain(|attack| attack.name.contains(only));
    }
    if attacks.is_empty() {
        bail!("no file of the corpus is asked for");
    }
    let arena = Arena::start(options.server_version, "")?;
    let version = arena.server_major()?;
    attacks.retain(|attack| {
        attack.since.is_none_or(|since| since <= version) && attack.until.is_none_or(|last| version <= last)
    });
    // Each of those has to wait until all others are through: together, that is once.
    attacks.sort_by_key(Attack::is_alone);
    let next = AtomicUsize::new(0);
    let outcomes: Mutex<BTreeMap<usize, Outcome>> = Mutex::default();
    let quiet = RwLock::new(());
    // What is held waits until its time is over: others run meanwhile.
    std::thread::scope(|scope| {
        for _ in 0..LANES {
            scope.spawn(|| {
                while let Some((at, attack)) = {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    attacks.get(at).map(|attack| (at, attack))
                } {
                    let outcome = run_one(&arena, attack, options, &quiet);
                    outcomes.lock().unwrap_or_else(PoisonError::into_inner).insert(at, outcome);
                }
            });
        }
    });
    let outcomes = outcomes.into_inner().unwrap_or_else(PoisonError::into_inner);
    let names = attacks.into_iter().map(|attack| attack.name);
    let mut arena = arena;
    if !arena.governor.alive()? {
        bail!("governor is no longer there:\n{}", arena.governor.log());
    }
    let mut outcomes: Vec<(String, Outcome)> = names.zip(outcomes.into_values()).collect();
    outcomes.sort_by(|one, other| one.0.cmp(&other.0));
    Ok(Score { outcomes })
}

/// Files that touch more than their own database run while no other does.
fn run_one(arena: &Arena, attack: &Attack, options: &Options, quiet: &RwLock<()>) -> Outcome {
    let (_alone, _beside) = if attack.is_alone() {
        (Some(quiet.write().unwrap_or_else(PoisonError::into_inner)), None)
    } else {
        (None, Some(quiet.read().unwrap_or_else(PoisonError::into_inner)))
    };
    let begun = Instant::now();
    let judged = judge(arena, attack)
        .and_then(|(outcome, said)| Ok((closed(attack, options.server_version, outcome)?, said)));
    let (outcome, said) =
        judged.unwrap_or_else(|error| (Outcome::Wrong(format!("{error:#}")), String::new()));
    if options.verbose || outcome.is_failure() {
        println!("{} ({} ms): {outcome} [{said}]", attack.name, begun.elapsed().as_millis());
    }
    outcome
}

/// The outcome, and what the client was told through governor.
fn judge(arena: &Arena, attack: &Attack) -> Result<(Outcome, String)> {
    let direct = arena.run(attack, Way::Direct)?;
    let reached = |run: &Run| match attack.aim {
        Aim::Secret => told(&run.secrets, &run.played.replies),
        Aim::Change => run.changed.clone(),
        Aim::Oracle => answers(attack, run),
        Aim::Work => vec![],
    };
    let effective = !reached(&direct).is_empty();
    match (&attack.ineffective, attack.aim) {
        (_, Aim::Work) => {
            if let Some(error) = errors(&direct.played.replies).first() {
                bail!("does not work without governor: {error}");
            }
        }
        (None, _) if !effective => {
            let why = errors(&direct.played.replies).join("; ");
            bail!("reaches nothing even without governor ({why})");
        }
        (Some(_), _) if effective => bail!("works without governor, though it is said not to"),
        _ => {}
    }
    let governed = arena.run(attack, Way::Governed)?;
    let said = said(&governed.played.replies);
    // Whatever an attack is after, nothing else may come of it either.
    let leaked = told(&governed.secrets, &governed.played.replies);
    let outcome = if !leaked.is_empty() {
        Outcome::Leaked(leaked)
    } else if !attack.may_change && !governed.changed.is_empty() {
        Outcome::Changed(governed.changed)
    } else if attack.aim == Aim::Oracle && !answers(attack, &governed).is_empty() {
        Outcome::Answered
    } else if attack.aim == Aim::Work {
        match differences(attack, &direct.played.replies, &governed.played.replies) {
            none if none.is_empty() => Outcome::Worked,
            some => Outcome::Spoilt(some),
        }
    } else if attack.ineffective.is_some() {
        Outcome::Ineffective
    } else {
        Outcome::Held
    };
    let outcome = match (&attack.known_gap, outcome) {
        (None, outcome) => outcome,
        (Some(_), Outcome::Leaked(how) | Outcome::Changed(how) | Outcome::Spoilt(how)) => {
            Outcome::KnownGap(how)
        }
        (Some(_), Outcome::Answered) => Outcome::KnownGap(vec!["answers".into()]),
        (Some(_), Outcome::Wrong(why)) => Outcome::Wrong(why),
        (Some(_), _) => Outcome::Wrong("is said to be a gap, and is none any more".into()),
    };
    Ok((outcome, said))
}

/// A known gap that a setting closes is played again under that setting.
fn closed(attack: &Attack, server_version: Option<u32>, outcome: Outcome) -> Result<Outcome> {
    let (settings, mut how) = match (&attack.closed_by, outcome) {
        (Some(settings), Outcome::KnownGap(how)) => (settings, how),
        (_, outcome) => return Ok(outcome),
    };
    let closed = Attack { known_gap: None, ..attack.clone() };
    Ok(match judge(&Arena::start(server_version, settings)?, &closed)?.0 {
        Outcome::Held => {
            how.insert(0, format!("held with {}", settings.split_whitespace().collect::<Vec<_>>().join(" ")));
            Outcome::KnownGap(how)
        }
        other => other,
    })
}

/// Whether replies to a right guess can be told from those to a wrong one.
fn answers(attack: &Attack, run: &Run) -> Vec<String> {
    let of = |guess| run.played.replies.iter().filter(move |reply| reply.guess == Some(guess));
    let apart = if attack.by_time {
        let longest = |guess| of(guess).map(|reply| reply.took).max().unwrap_or_default();
        let (right, wrong) = (longest(Guess::Right), longest(Guess::Wrong));
        right > wrong + TOLD_BY_TIME
    } else {
        let seen = |guess| of(guess).map(|reply| essence(&reply.messages)).collect::<Vec<_>>();
        seen(Guess::Right) != seen(Guess::Wrong)
    };
    if apart { vec!["answers".into()] } else { vec![] }
}

/// What a client sees of messages, without what differs each time (governor's decision, where in the text).
fn essence(messages: &[Message]) -> Vec<(u8, Vec<u8>)> {
    let essence = |message: &Message| match message.tag {
        b'E' | b'N' => (message.tag, message.field(b'C').unwrap_or_default().into_bytes()),
        tag => (tag, message.body.clone()),
    };
    messages.iter().map(essence).collect()
}

/// Where ordinary work gave something else.
fn differences(attack: &Attack, direct: &[Reply], governed: &[Reply]) -> Vec<String> {
    let messages = |replies: &[Reply]| -> Vec<Message> {
        let replies = replies.iter().filter(|reply| !reply.opening);
        replies.flat_map(|reply| reply.messages.clone()).collect()
    };
    let (direct, governed) = (messages(direct), messages(governed));
    let mut hidden: Vec<usize> = Vec::new();
    for (one, other) in direct.iter().zip(&governed) {
        if one.tag == b'T' {
            let names = column_names(one);
            hidden = (0..names.len())
                .filter(|at| names.get(*at).is_some_and(|name| attack.masked.contains(name)))
                .collect();
        }
        let same = match (one.tag, other.tag) {
            (b'D', b'D') => shown(one, &hidden) == shown(other, &hidden),
            // Numbers of relations that the work itself makes differ.
            (b'T', b'T') => column_names(one) == column_names(other) && one.body.len() == other.body.len(),
            _ => one == other,
        };
        if !same {
            return vec![format!("{} became {}", brief(one), brief(other))];
        }
    }
    if direct.len() == governed.len() { vec![] } else { vec!["the number of messages differs".into()] }
}

/// Values of a row but for those at `hidden`.
fn shown(row: &Message, hidden: &[usize]) -> Vec<Option<Vec<u8>>> {
    let values = row.row().unwrap_or_default().into_iter().enumerate();
    values.filter(|(at, _)| !hidden.contains(at)).map(|(_, value)| value).collect()
}

/// Names in a RowDescription: each is followed by 18 bytes that say more.
fn column_names(description: &Message) -> Vec<String> {
    let mut names = Vec::new();
    let mut rest = description.body.get(2..).unwrap_or_default();
    while let Some(end) = rest.iter().position(|byte| *byte == 0) {
        names.push(String::from_utf8_lossy(rest.get(..end).unwrap_or_default()).into_owned());
        rest = rest.get(end + 1 + 18..).unwrap_or_default();
    }
    names
}

fn brief(message: &Message) -> String {
    let body: String =
        String::from_utf8_lossy(&message.body).chars().filter(|c| !c.is_control()).take(120).collect();
    format!("{} {body:?}", char::from(message.tag))
}

/// Errors of the server or governor, in short.
fn errors(replies: &[Reply]) -> Vec<String> {
    let messages = replies.iter().flat_map(|reply| &reply.messages).filter(|message| message.tag == b'E');
    let told = messages
        .map(|m| format!("{} {}", m.field(b'C').unwrap_or_default(), m.field(b'M').unwrap_or_default()));
    told.chain(replies.iter().filter_map(|reply| reply.ended.clone())).collect()
}

/// The policies that decided, or what came instead.
fn said(replies: &[Reply]) -> String {
    let messages = replies.iter().filter(|reply| !reply.opening).flat_map(|reply| &reply.messages);
    let mut said: Vec<String> = Vec::new();
    for message in messages {
        let word = match message.tag {
            b'E' => {
                let detail = message.field(b'D').unwrap_or_default();
                let policy = detail.split("policy=").nth(1).and_then(|rest| rest.split(' ').next());
                let other = || {
                    format!(
                        "{} {}",
                        message.field(b'C').unwrap_or_default(),
                        message.field(b'M').unwrap_or_default()
                    )
                };
                policy.map_or_else(other, str::to_owned)
            }
            b'D' | b'd' | b'N' | b'V' => brief(message),
            _ => continue,
        };
        if said.len() < SAID_MAX && !said.contains(&word) {
            said.push(word);
        }
    }
    said.extend(replies.iter().filter_map(|reply| reply.ended.clone()));
    said.join(", ")
}

impl fmt::Display for Score {
    /// The table by section, then the sum.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut sections: BTreeMap<&str, Counts> = BTreeMap::new();
        for (name, outcome) in &self.outcomes {
            let section = name.split('/').next().unwrap_or_default();
            sections.entry(section).or_default().add(outcome);
        }
        writeln!(f, "{:<24}{HEAD}", "section")?;
        let mut sum = Counts::default();
        for (section, counts) in &sections {
            writeln!(f, "{section:<24}{counts}")?;
            sum.merge(counts);
        }
        write!(f, "{:<24}{sum}", "all")
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    files: usize,
    held: usize,
    leaked: usize,
    changed: usize,
    answered: usize,
    gaps: usize,
    ineffective: usize,
    worked: usize,
    spoilt: usize,
    wrong: usize,
}

impl Counts {
    fn add(&mut self, outcome: &Outcome) {
        self.files += 1;
        *match outcome {
            Outcome::Held => &mut self.held,
            Outcome::Worked => &mut self.worked,
            Outcome::KnownGap(_) => &mut self.gaps,
            Outcome::Ineffective => &mut self.ineffective,
            Outcome::Leaked(_) => &mut self.leaked,
            Outcome::Changed(_) => &mut self.changed,
            Outcome::Answered => &mut self.answered,
            Outcome::Spoilt(_) => &mut self.spoilt,
            Outcome::Wrong(_) => &mut self.wrong,
        } += 1;
    }

    fn merge(&mut self, other: &Self) {
        self.files += other.files;
        self.held += other.held;
        self.leaked += other.leaked;
        self.changed += other.changed;
        self.answered += other.answered;
        self.gaps += other.gaps;
        self.ineffective += other.ineffective;
        self.worked += other.worked;
        self.spoilt += other.spoilt;
        self.wrong += other.wrong;
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { files, held, leaked, changed, answered, gaps, ineffective, worked, spoilt, wrong } = self;
        write!(
            f,
            "{files:>6}{held:>6}{leaked:>8}{changed:>9}{answered:>10}{gaps:>12}{ineffective:>13}{worked:>8}{spoilt:>8}{wrong:>7}"
        )
    }
}

const HEAD: &str = " files  held  leaked  changed  answered  known gaps  ineffective  worked  spoilt  wrong";
/// Files that run beside each other.
const LANES: usize = 8;
const SAID_MAX: usize = 6;
/// Attacks that tell by time make the server sleep longer than this.
const TOLD_BY_TIME: Duration = Duration::from_millis(700);
