//! Recorded sessions of real drivers with real servers, played at every split.
//!
//! For who is not restricted every byte is the recorded one, and the statements are those of the `.events` file beside
//! the transcript. That file is reviewed; `GOVERNOR_WRITE_EVENTS=1` writes it anew.

use super::play::{self, Cuts, Play};
use governor::engine::audit::{AuditEvent, AuditRecord};
use governor::engine::model::Class;
use governor::engine::policy::Profile;
use governor::engine::session::{EngineLimits, Governance, Input};
use governor_tests::model::server::CLEAR_VALUE;
use governor_tests::model::{Choices, choices};
use governor_tests::transcript::{self, Connection, Entry};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

/// Every transcript: its path and connections.
fn transcripts() -> Vec<(PathBuf, Vec<Connection>)> {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/transcripts");
    let mut found = Vec::new();
    for directory in std::fs::read_dir(top).unwrap().flatten() {
        let Ok(files) = std::fs::read_dir(directory.path()) else { continue };
        for path in files.flatten().map(|file| file.path()) {
            if path.extension().is_some_and(|ending| ending == "transcript") {
                let text = std::fs::read_to_string(&path).unwrap();
                found.push((path, transcript::from_text(&text).unwrap()));
            }
        }
    }
    found.sort_by(|a, b| a.0.cmp(&b.0));
    assert!(found.len() >= 77, "transcripts are missing: {}", found.len());
    found
}

/// How the bytes of a recording arrive.
enum Split<'a> {
    /// Message by message.
    Whole,
    /// Into parts of so many bytes.
    Every(usize),
    /// Anywhere, messages joined as well.
    Choices(&'a [u8]),
    /// Once in each batch, or in one alone, at this byte of it.
    Batches { batches: &'a [Batch], only: Option<usize>, at: usize },
}

struct Played {
    to_server: Vec<u8>,
    to_client: Vec<u8>,
    events: String,
}

/// What sessions of one class are governed by, one after another: texts that were read once need not be read again.
struct Stage {
    class: Class,
    governance: Option<Governance>,
}

impl Stage {
    fn new(class: Class, profile: Profile) -> Self {
        Self { class, governance: Some(play::governance(profile, EngineLimits::default())) }
    }

    fn play(&mut self, connection: &[Entry], split: &Split<'_>) -> Played {
        let governance = self.governance.take().unwrap();
        let mut play = Play::under(governance, self.class, Choices::new(&[]));
        deliver(&mut play, connection, split);
        play.input(Input::ClientClosed);
        let events = events(&play.records, &play.completions);
        self.governance = Some(play.governance);
        Played { to_server: play.to_server, to_client: play.to_client, events }
    }
}

fn deliver(play: &mut Play, connection: &[Entry], split: &Split<'_>) {
    let mut give = |from_client: bool, bytes: &[u8]| {
        if from_client { play.client(bytes) } else { play.server(bytes) }
    };
    match *split {
        Split::Whole => connection.iter().for_each(|entry| give(entry.from_client, &entry.bytes)),
        Split::Every(size) => {
            for entry in connection {
                entry.bytes.chunks(size).for_each(|part| give(entry.from_client, part));
            }
        }
        Split::Choices(bytes) => {
            let mut cuts = Cuts::new(bytes);
            for row in turns(connection) {
                let mut rest = row.bytes.as_slice();
                while let Some((part, after)) =
                    rest.split_at_checked(cuts.size().min(rest.len())).filter(|(p, _)| !p.is_empty())
                {
                    give(row.from_client, part);
                    rest = after;
                }
            }
        }
        Split::Batches { batches, only, at } => {
            for (number, batch) in batches.iter().enumerate() {
                let at = if only.is_none_or(|only| only == number) { at } else { 0 };
                let mut before = 0;
                for row in batch {
                    let cut = at.saturating_sub(before).min(row.bytes.len());
                    let (first, second) = row.bytes.split_at(cut);
                    for part in [first, second].into_iter().filter(|part| !part.is_empty()) {
                        give(row.from_client, part);
                    }
                    before += row.bytes.len();
                }
            }
        }
    }
}

/// Bytes of one direction that arrive at once.
struct Row {
    from_client: bool,
    bytes: Vec<u8>,
}

/// How messages arrive.
type Arrival = fn(&[Entry]) -> Vec<Row>;

/// Everything from one moment in which both sides owe nothing to the next.
type Batch = Vec<Row>;

/// Neighbours of one direction, as one row of bytes.
fn turns(connection: &[Entry]) -> Vec<Row> {
    let turns = connection.chunk_by(|a, b| a.from_client == b.from_client);
    let row = |turn: &[Entry]| Row {
        from_client: turn[0].from_client,
        bytes: turn.iter().flat_map(|entry| entry.bytes.clone()).collect(),
    };
    turns.map(row).collect()
}

fn batches(connection: &[Entry], rows: Arrival) -> Vec<Batch> {
    // The start-up is answered by a ReadyForQuery as well.
    let (mut batches, mut begin, mut owed) = (Vec::new(), 0, 1);
    for (at, entry) in connection.iter().enumerate() {
        match (entry.from_client, entry.bytes[0]) {
            (true, b'Q' | b'S' | b'F') => owed += 1,
            (false, b'Z') => owed -= 1,
            _ => continue,
        }
        if owed == 0 {
            batches.push(rows(&connection[begin..=at]));
            begin = at + 1;
        }
    }
    batches.push(rows(&connection[begin..]));
    batches
}

fn alone(connection: &[Entry]) -> Vec<Row> {
    let row = |entry: &Entry| Row { from_client: entry.from_client, bytes: entry.bytes.clone() };
    connection.iter().map(row).collect()
}

/// What a person reviews: decisions, statements with their parameters, and how each ended.
fn events(records: &[AuditRecord], completions: &[AuditRecord]) -> String {
    let mut text = String::new();
    for record in records {
        match &record.event {
            AuditEvent::Statement(s) => {
                let ended = completions.iter().find_map(|c| match &c.event {
                    AuditEvent::Completion(c) if c.decision == s.decision => Some(c),
                    _ => None,
                });
                let ended = ended.map_or("never ended".into(), |c| {
                    let tag = c.tag.as_deref().or(c.sqlstate.as_deref()).unwrap_or("-");
                    format!("{:?} {tag} rows={} bytes={}", c.outcome, c.rows, c.bytes)
                });
                let text_line = s.text.replace('\n', " ");
                text += &format!("{:?} | {ended} | {text_line} | {:?}\n", s.verdict, s.parameters);
            }
            AuditEvent::SessionStart(_) => text += "session\n",
            AuditEvent::SessionDecision(decision) => {
                let claims = &decision.claims;
                text +=
                    &format!("{:?} | user={} database={}\n", decision.verdict, claims.user, claims.database);
            }
            AuditEvent::ProtocolError { side, message } => {
                text += &format!("{side:?} broke the protocol: {message}\n")
            }
            _ => {}
        }
    }
    text
}

fn sent(connection: &[Entry], from_client: bool) -> Vec<u8> {
    connection.iter().filter(|e| e.from_client == from_client).flat_map(|e| e.bytes.clone()).collect()
}

#[test]
fn recorded_sessions_pass_byte_for_byte_and_leave_the_expected_records() {
    let (mut service, mut agent) =
        (Stage::new(Class::Service, Profile::Protect), Stage::new(Class::Agent, Profile::Observe));
    for (path, connections) in transcripts() {
        let mut all = String::new();
        for connection in &connections {
            let (client, server) = (sent(connection, true), sent(connection, false));
            let whole = service.play(connection, &Split::Whole);
            assert!(whole.to_server == client, "{}: to the server", path.display());
            assert!(whole.to_client == server, "{}: to the client", path.display());
            let observed = agent.play(connection, &Split::Whole);
            assert!(
                observed.to_server == client && observed.to_client == server,
                "{}: observed",
                path.display()
            );
            assert_eq!(observed.events, whole.events, "{}", path.display());
            all += &whole.events;
        }
        let beside = path.with_extension("events");
        if std::env::var_os("GOVERNOR_WRITE_EVENTS").is_some() {
            std::fs::write(&beside, &all).unwrap();
        }
        assert!(
            !all.contains("broke the protocol") && !all.contains("never ended"),
            "{}: {all}",
            path.display()
        );
        assert_eq!(all, std::fs::read_to_string(&beside).unwrap_or_default(), "{}", path.display());
    }
}

/// Every byte of every recording is cut at, with messages that arrive alone and with neighbours that arrive together.
///
/// One play cuts once in each batch: between batches nothing is owed, so what one cut did wrong shows before the next.
/// So a play of all batches stands for as many of one cut each, which `GOVERNOR_SPLITS=single` plays (for minutes).
#[test]
fn recorded_sessions_mean_the_same_at_every_split() {
    let single = std::env::var("GOVERNOR_SPLITS").is_ok_and(|splits| splits == "single");
    let transcripts = transcripts();
    let next = AtomicUsize::new(0);
    let work = || {
        let mut stage = Stage::new(Class::Service, Profile::Protect);
        while let Some((path, connections)) = transcripts.get(next.fetch_add(1, Ordering::Relaxed)) {
            for connection in connections {
                same_at_every_split(&mut stage, path, connection, single);
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(work);
        }
    });
}

fn same_at_every_split(stage: &mut Stage, path: &Path, connection: &[Entry], single: bool) {
    let whole = stage.play(connection, &Split::Whole);
    let mut same = |split: &Split<'_>, what: &dyn Fn() -> String| {
        let cut = stage.play(connection, split);
        assert!(cut.to_server == whole.to_server, "{}: to the server, {}", path.display(), what());
        assert!(cut.to_client == whole.to_client, "{}: to the client, {}", path.display(), what());
        assert_eq!(cut.events, whole.events, "{}: {}", path.display(), what());
    };
    for size in [1, 2, 3, 7] {
        same(&Split::Every(size), &|| format!("parts of {size} bytes"));
    }
    for seed in 0..3 {
        let decide = choices::from_seed(seed, sent(connection, false).len() / 4 + 16);
        same(&Split::Choices(&decide), &|| format!("seed {seed}"));
    }
    let ways: [(&str, Arrival); 2] = [("alone", alone), ("together", turns)];
    for (how, rows) in ways {
        let batches = batches(connection, rows);
        let bytes = |batch: &Batch| batch.iter().map(|row| row.bytes.len()).sum::<usize>();
        let longest = batches.iter().map(bytes).max().unwrap_or_default();
        for at in 1..longest {
            if single {
                for (number, _) in batches.iter().enumerate().filter(|(_, batch)| at < bytes(batch)) {
                    let split = Split::Batches { batches: &batches, only: Some(number), at };
                    same(&split, &|| format!("messages {how}, batch {number} cut at {at}"));
                }
            } else {
                let split = Split::Batches { batches: &batches, only: None, at };
                same(&split, &|| format!("messages {how}, each batch cut at {at}"));
            }
        }
    }
}

/// Governor's own questions are not in the recording, so replies do not fit: to this session the server is hostile.
#[test]
fn recorded_sessions_of_an_agent_end_cleanly_and_show_nothing() {
    let mut agent = Stage::new(Class::Agent, Profile::Protect);
    for (path, connections) in transcripts() {
        for connection in &connections {
            for size in [usize::MAX, 1, 13] {
                let played = agent.play(connection, &Split::Every(size));
                let shown = String::from_utf8_lossy(&played.to_client);
                assert!(!shown.contains(CLEAR_VALUE), "{}: a clear value", path.display());
            }
        }
    }
}
