//! Recorded sessions of real drivers with real servers, played at every split.
//!
//! For who is not restricted every byte is the recorded one, and the statements are those of the `.events` file beside
//! the transcript. That file is reviewed; `GOVERNOR_WRITE_EVENTS=1` writes it anew.

use super::play::{Cuts, Play};
use governor::engine::audit::{AuditEvent, AuditRecord};
use governor::engine::model::Class;
use governor::engine::policy::Profile;
use governor::engine::session::{EngineLimits, Input};
use governor_tests::model::server::CLEAR_VALUE;
use governor_tests::model::{Choices, choices};
use governor_tests::transcript::{self, Connection};
use std::path::{Path, PathBuf};

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
    assert!(found.len() >= 40, "transcripts are missing: {}", found.len());
    found
}

/// Where the bytes of each message are cut.
enum Split<'a> {
    Whole,
    /// Once, at this byte of the whole conversation.
    At(usize),
    /// Into parts of so many bytes.
    Every(usize),
    /// Anywhere, messages joined as well.
    Choices(&'a [u8]),
}

struct Played {
    to_server: Vec<u8>,
    to_client: Vec<u8>,
    events: String,
}

fn play(connection: &Connection, class: Class, profile: Profile, split: &Split<'_>) -> Played {
    let mut play = Play::new(class, profile, EngineLimits::default(), Choices::new(&[]));
    let deliver = |play: &mut Play, from_client: bool, bytes: &[u8]| {
        if from_client { play.client(bytes) } else { play.server(bytes) }
    };
    match split {
        Split::Choices(bytes) => {
            // Neighbours of one direction arrive as one row of bytes, cut anywhere.
            let mut cuts = Cuts::new(bytes);
            for turn in connection.chunk_by(|a, b| a.from_client == b.from_client) {
                let joined: Vec<u8> = turn.iter().flat_map(|entry| entry.bytes.clone()).collect();
                let mut rest = joined.as_slice();
                while let Some((part, after)) =
                    rest.split_at_checked(cuts.size().min(rest.len())).filter(|(p, _)| !p.is_empty())
                {
                    deliver(&mut play, turn[0].from_client, part);
                    rest = after;
                }
            }
        }
        _ => {
            let mut at = 0;
            for entry in connection {
                let bytes = entry.bytes.as_slice();
                match *split {
                    Split::At(cut) if cut > at && cut < at + bytes.len() => {
                        let (first, second) = bytes.split_at(cut - at);
                        deliver(&mut play, entry.from_client, first);
                        deliver(&mut play, entry.from_client, second);
                    }
                    Split::Every(size) => {
                        bytes.chunks(size).for_each(|part| deliver(&mut play, entry.from_client, part));
                    }
                    _ => deliver(&mut play, entry.from_client, bytes),
                }
                at += bytes.len();
            }
        }
    }
    play.input(Input::ClientClosed);
    let events = events(&play.records, &play.completions);
    Played { to_server: play.to_server, to_client: play.to_client, events }
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

fn sent(connection: &Connection, from_client: bool) -> Vec<u8> {
    connection.iter().filter(|e| e.from_client == from_client).flat_map(|e| e.bytes.clone()).collect()
}

#[test]
fn recorded_sessions_pass_byte_for_byte_and_leave_the_expected_records() {
    for (path, connections) in transcripts() {
        let mut all = String::new();
        for connection in &connections {
            let (client, server) = (sent(connection, true), sent(connection, false));
            let whole = play(connection, Class::Service, Profile::Protect, &Split::Whole);
            assert!(whole.to_server == client, "{}: to the server", path.display());
            assert!(whole.to_client == server, "{}: to the client", path.display());
            let observed = play(connection, Class::Agent, Profile::Observe, &Split::Whole);
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

#[test]
fn recorded_sessions_mean_the_same_at_every_split() {
    let every = std::env::var("GOVERNOR_SPLITS").is_ok_and(|splits| splits == "every");
    for (number, (path, connections)) in transcripts().into_iter().enumerate() {
        // Parts of one byte cut everywhere at once. One cut at a time, at each byte, is for a short one, and with
        // GOVERNOR_SPLITS=every for all (minutes); the rest has it here and there.
        let thorough = path.ends_with("15/pg8000.transcript") || every;
        for connection in &connections {
            let whole = play(connection, Class::Service, Profile::Protect, &Split::Whole);
            let total: usize = connection.iter().map(|entry| entry.bytes.len()).sum();
            let same = |split: &Split<'_>, what: &str| {
                let cut = play(connection, Class::Service, Profile::Protect, split);
                assert!(cut.to_server == whole.to_server, "{}: to the server, {what}", path.display());
                assert!(cut.to_client == whole.to_client, "{}: to the client, {what}", path.display());
                assert_eq!(cut.events, whole.events, "{}: {what}", path.display());
            };
            for size in [1, 2, 3, 7] {
                same(&Split::Every(size), &format!("parts of {size} bytes"));
            }
            for seed in 0..3 {
                let decide = choices::from_seed(seed + 100 * number as u64, total / 8 + 16);
                same(&Split::Choices(&decide), &format!("seed {seed}"));
            }
            let step = if thorough { 1 } else { total / 7 + 1 };
            for at in (1..total).step_by(step) {
                same(&Split::At(at), &format!("cut at {at}"));
            }
        }
    }
}

/// Governor's own questions are not in the recording, so replies do not fit: to this session the server is hostile.
#[test]
fn recorded_sessions_of_an_agent_end_cleanly_and_show_nothing() {
    for (path, connections) in transcripts() {
        for connection in &connections {
            for size in [usize::MAX, 1, 13] {
                let played = play(connection, Class::Agent, Profile::Protect, &Split::Every(size));
                let shown = String::from_utf8_lossy(&played.to_client);
                assert!(!shown.contains(CLEAR_VALUE), "{}: a clear value", path.display());
            }
        }
    }
}
