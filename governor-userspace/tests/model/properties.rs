//! What must hold for every conversation that the model can make. The fuzz target `postgres_model` tries the same.

use super::play::{Cuts, Play};
use governor::engine::audit::Outcome;
use governor::engine::model::Class;
use governor::engine::policy::Profile;
use governor::engine::session::EngineLimits;
use governor::engine::wire::postgres::backend::error_field;
use governor_tests::model::server::{self, CLEAR_VALUE};
use governor_tests::model::{Choices, Conversation, Server, Sql, check, client, messages};

/// Bytes that decide: what the client says, what comes unasked, where reads are cut, how holds are answered.
#[derive(Clone, Debug)]
pub struct Dice {
    pub conversation: Vec<u8>,
    pub noise: Vec<u8>,
    pub cuts: Vec<u8>,
    pub answers: Vec<u8>,
}

const MESSAGES_MAX: usize = 60;

pub fn conversation(dice: &Dice) -> Conversation {
    client::conversation(&mut Choices::new(&dice.conversation), MESSAGES_MAX)
}

/// Nothing between client and server.
pub fn direct<'a>(dice: &'a Dice, client: &[u8]) -> (Server<'a>, Vec<u8>) {
    let mut server = Server::new(Choices::new(&dice.noise));
    server.receive(client);
    let reply = server.take_output();
    (server, reply)
}

/// The model agrees with itself: its server's replies are such as its client's side accepts.
pub fn the_model_is_consistent(dice: &Dice) {
    let talk = conversation(dice);
    let (server, reply) = direct(dice, &[client::startup(), talk.bytes()].concat());
    assert!(server.ended, "every conversation ends");
    if let Err(why) = check::replies(&talk.messages, after_startup(&reply)) {
        panic!("{why}\n{}", told(&talk));
    }
}

/// A session that policy cannot restrict changes no byte, and its records are what the server ran.
pub fn an_unrestricted_session_changes_nothing(dice: &Dice, class: Class, profile: Profile) {
    let talk = conversation(dice);
    let bytes = [client::startup(), talk.bytes()].concat();
    let (plain, reply) = direct(dice, &bytes);
    let mut server = Server::new(Choices::new(&dice.noise));
    let mut play = Play::new(class, profile, EngineLimits::default(), Choices::new(&[]));
    play.converse(&bytes, &mut server, &mut Cuts::new(&dice.cuts));
    assert!(play.closed.is_none(), "closed: {:?}\n{}", play.closed, told(&talk));
    assert!(
        play.to_client == reply,
        "to the client: {} not {}\n{}",
        kinds(&play.to_client),
        kinds(&reply),
        told(&talk)
    );
    // What the server would skip may be left out.
    assert!(server.effective == plain.effective, "to the server\n{}", told(&talk));
    assert!(plain.has_skipped || play.to_server == bytes, "byte for byte to the server\n{}", told(&talk));
    compare_runs(&play, &server, &talk, true);
}

/// A restricted session never sends what it denied, and gives the client a conversation that makes sense.
pub fn a_restricted_session_makes_sense(dice: &Dice, class: Class) {
    let talk = conversation(dice);
    let bytes = [client::startup(), talk.bytes()].concat();
    let played = |cuts: &[u8]| {
        let mut server = Server::new(Choices::new(&dice.noise));
        let mut play =
            Play::new(class, Profile::Protect, EngineLimits::default(), Choices::new(&dice.answers));
        play.converse(&bytes, &mut server, &mut Cuts::new(cuts));
        if server.lost_its_place {
            // A denial changed what the client, who does not wait, took for granted.
            return None;
        }
        assert!(play.closed.is_none(), "closed: {:?}\n{}", play.closed, told(&talk));
        assert!(
            server.ended,
            "the client's Terminate arrives: {} {} {}\n{}",
            kinds(&play.to_client),
            kinds(&server.effective),
            play.to_server.len(),
            told(&talk)
        );
        if let Err(why) = check::replies(&talk.messages, after_startup(&play.to_client)) {
            panic!("{why}\n{}\n{}", kinds(&play.to_client), told(&talk));
        }
        let to_client = String::from_utf8_lossy(&play.to_client);
        assert!(!to_client.contains(CLEAR_VALUE), "a clear value\n{}", told(&talk));
        if class == Class::Agent {
            let sent = String::from_utf8_lossy(&play.to_server);
            assert!(!sent.contains(Sql::Drop.text()), "denied and sent\n{}", told(&talk));
        }
        compare_runs(&play, &server, &talk, false);
        Some((play, server))
    };
    let (Some((whole, server_whole)), Some((cut, server_cut))) = (played(&[]), played(&dice.cuts)) else {
        return;
    };
    assert!(
        settled(&whole.to_client) == settled(&cut.to_client),
        "cuts change what the client reads: {} not {}\n{}",
        kinds(&cut.to_client),
        kinds(&whole.to_client),
        told(&talk)
    );
    // Not byte by byte: whether governor has to ask for columns itself depends on what it knows by then.
    let ran =
        |server: &Server<'_>| server.log.iter().filter(|ran| ran.text != DENIED).cloned().collect::<Vec<_>>();
    let (in_one, in_parts) = (ran(&server_whole), ran(&server_cut));
    assert!(
        in_one == in_parts,
        "cuts change what runs\n{in_one:?}\n{in_parts:?}\n{}\n{}\n{}",
        kinds(&whole.to_client),
        kinds(&cut.to_client),
        told(&talk)
    );
}

/// Bytes that are changed on the way harm nothing but their session.
pub fn a_hostile_peer_gets_a_clean_end(dice: &Dice, class: Class, profile: Profile) {
    let mut changes = Choices::new(&dice.answers);
    let talk = conversation(dice);
    let client_is_hostile = changes.once_in(2);
    let mut client = [client::startup(), talk.bytes()].concat();
    if client_is_hostile {
        spoil(&mut client, &mut changes);
    }
    let limits = EngineLimits { statement_bytes_max: 4096, row_bytes_max: 4096, ..EngineLimits::default() };
    let mut server = Server::new(Choices::new(&dice.noise));
    let mut play = Play::new(class, profile, limits, Choices::new(&dice.answers));
    if client_is_hostile {
        play.converse(&client, &mut server, &mut Cuts::new(&dice.cuts));
    } else {
        let (_, mut reply) = direct(dice, &client);
        spoil(&mut reply, &mut changes);
        play.recorded(&client, &reply, &mut Cuts::new(&dice.cuts));
    }
    assert!(play.waiting_bytes_max <= WAITING_BYTES_MAX, "{} bytes kept", play.waiting_bytes_max);
    play.input(governor::engine::session::Input::ClientClosed);
    assert!(play.closed.is_some(), "a session ends with its client");
}

/// Governor's stand-in for what it denied.
const DENIED: &str = "denied by governor";
/// One long message of the server may have to be whole: RowDescription up to a MiB. What came in one read is on top.
const WAITING_BYTES_MAX: usize = (1 << 20) + (64 << 10);

/// Some bytes changed, left out, put in or doubled.
fn spoil(bytes: &mut Vec<u8>, changes: &mut Choices<'_>) {
    for _ in 0..=changes.below(4) {
        let at = (changes.below(256) << 8 | changes.below(256)) % bytes.len().max(1);
        match changes.below(5) {
            0 => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= 1 << changes.below(8);
                }
            }
            1 => {
                let end = (at + changes.below(16)).min(bytes.len());
                bytes.drain(at.min(end)..end);
            }
            2 => {
                let more: Vec<u8> = (0..changes.below(16)).map(|_| changes.byte()).collect();
                bytes.splice(at..at, more);
            }
            3 => {
                let end = (at + changes.below(200)).min(bytes.len());
                let again = bytes.get(at..end).unwrap_or_default().to_vec();
                bytes.splice(at..at, again);
            }
            _ => bytes.truncate(at),
        }
    }
}

/// One record for each statement that the server ran, with how it ended and how many rows it gave.
fn compare_runs(play: &Play, server: &Server<'_>, talk: &Conversation, overlapping: bool) {
    let mut recorded: Vec<_> =
        play.runs().into_iter().filter(|(_, outcome, _)| *outcome != Outcome::Skipped).collect();
    let ran: Vec<_> = server
        .log
        .iter()
        .filter(|ran| ran.text != DENIED)
        .filter_map(|ran| {
            let outcome = match ran.outcome {
                server::Outcome::Complete => Outcome::Complete,
                server::Outcome::Suspended => Outcome::Suspended,
                server::Outcome::Error => Outcome::Error,
                server::Outcome::Skipped => return None,
            };
            Some((ran.text.clone(), outcome, ran.rows))
        })
        .collect();
    for (recorded, ran) in recorded.iter_mut().zip(&ran) {
        // What could not run has the text that its name would have had. Where batches overlap, a refused redefinition
        // leaves the name's earlier text running: sessions that policy may restrict never let them overlap.
        if ran.1 == Outcome::Error && ran.2 == 0
            || overlapping && server.log.iter().any(|r| r.outcome == server::Outcome::Error)
        {
            recorded.0.clone_from(&ran.0);
        }
    }
    assert!(recorded == ran, "recorded {recorded:?}\nran {ran:?}\n{}", told(talk));
}

/// A reply without what may come anywhere; of an error the SQLSTATE, since its text names a numbered decision.
fn settled(reply: &[u8]) -> Vec<(u8, &[u8])> {
    let answers = messages(reply).0.into_iter().filter(|(kind, _)| !matches!(kind, b'N' | b'A' | b'S'));
    let sqlstate = |body| error_field(body, b'C').ok().flatten().unwrap_or_default();
    answers.map(|(kind, body)| (kind, if kind == b'E' { sqlstate(body) } else { body })).collect()
}

/// What follows the first ReadyForQuery.
fn after_startup(reply: &[u8]) -> &[u8] {
    let first = [b'Z', 0, 0, 0, 5, b'I'];
    let at = reply.windows(first.len()).position(|window| window == first);
    at.and_then(|at| reply.get(at + first.len()..)).unwrap_or_default()
}

fn kinds(reply: &[u8]) -> String {
    governor_tests::model::kinds(reply)
}

/// The client's messages, readable.
pub fn told(talk: &Conversation) -> String {
    talk.messages.iter().map(|m| format!("{}\n", m.escape_ascii())).collect()
}
