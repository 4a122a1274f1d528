//! Every part of the protocol, both ways: what a client sees through governor is what it sees without.

// Helpers beside the tests fail the test that called them.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

#[path = "protocol/edges.rs"]
mod edges;

use governor_tests::governor::text;
use governor_tests::wire::{self, Message, Wire};
use governor_tests::{Auth, Class, Options, Site, process, programs, wait};

fn with_settings(settings: &[&'static str]) -> Site {
    Site::with(Auth::Trust, &Options { server_settings: settings.to_vec(), ..Options::default() }).unwrap()
}

/// A connection of `class`, or straight to the server, before its first byte.
fn raw(site: &Site, class: Option<Class>) -> Wire {
    let socket = match class {
        Some(class) => site.socket(class),
        None => site.socket_direct(),
    };
    Wire::new(socket.unwrap()).unwrap()
}

fn ready(site: &Site, class: Option<Class>) -> Wire {
    let mut wire = raw(site, class);
    wire.start("app", "shop").unwrap();
    wire
}

/// Everything up to the end of the connection.
fn to_the_end(wire: &mut Wire) -> Vec<Message> {
    std::iter::from_fn(|| wire.read().ok()).collect()
}

/// Messages as text, without what differs from session to session.
fn seen(messages: &[Message]) -> Vec<String> {
    let line = |m: &Message| match m.tag {
        b'K' => format!("K of {} bytes", m.body.len()),
        // Lines of the server's own source differ between nothing, but a pid may stand in the text.
        tag => format!("{} {:?}", char::from(tag), String::from_utf8_lossy(&m.body)),
    };
    messages.iter().map(line).collect()
}

/// The same, of errors their code alone: governor says in its own words what it cannot know or read.
fn seen_by_restricted(messages: &[Message]) -> Vec<String> {
    let code = |m: &Message| match m.field(b'C').unwrap_or_default().as_str() {
        "42601" => "42501".to_owned(),
        other => other.to_owned(),
    };
    let line = |m: &Message| match m.tag {
        b'E' => format!("E {} {}", m.field(b'V').unwrap_or_default(), code(m)),
        _ => seen(std::slice::from_ref(m)).remove(0),
    };
    messages.iter().map(line).collect()
}

/// On the distribution's server, and on another version of it.
fn with_also(other: u32) -> Vec<Site> {
    let site =
        |server_version| Site::with(Auth::Trust, &Options { server_version, ..Options::default() }).unwrap();
    let mut sites = vec![site(None)];
    if !programs::missing(&format!("PostgreSQL {other}"), &programs::server_below_tools(other)) {
        sites.push(site(Some(other)));
    }
    sites
}

/// The first that speaks protocol 3.2.
const OF_PROTOCOL_3_2: u32 = 18;

#[test]
fn start_ups_of_every_version_are_answered_as_the_server_does() {
    with_also(OF_PROTOCOL_3_2).iter().for_each(start_ups_are_answered_as_the_server_does);
}

fn start_ups_are_answered_as_the_server_does(site: &Site) {
    let base = [("user", "app"), ("database", "shop")];
    let with = |name, value| [base.as_slice(), &[(name, value)]].concat();
    let cases = [
        ("3.0", 0, base.to_vec()),
        ("3.1, which was never used", 1, base.to_vec()),
        ("3.2", 2, base.to_vec()),
        ("3.99", 99, base.to_vec()),
        ("an extension that nobody knows", 0, with("_pq_.unheard_of", "1")),
        ("3.2 and an extension that nobody knows", 2, with("_pq_.unheard_of", "1")),
        ("options", 0, with("options", "-c statement_timeout=5min --geqo=off")),
        ("a setting that nobody knows", 0, with("unheard_of", "1")),
        ("a database that is not there", 0, vec![("user", "app"), ("database", "nowhere")]),
        ("no database", 0, vec![("user", "app")]),
        ("another encoding", 0, with("client_encoding", "LATIN1")),
    ];
    for (what, minor, parameters) in cases {
        let run = |class| {
            let mut wire = raw(site, class);
            wire.send(&wire::startup_with(minor, &parameters)).unwrap();
            let messages = wire.until_ready().unwrap();
            if messages.last().is_some_and(|m| m.tag == b'Z') {
                let more = wire.query("SHOW statement_timeout").unwrap();
                return (seen(&messages), seen(&more));
            }
            (seen(&messages), vec![])
        };
        assert_eq!(run(Some(Class::Service)), run(None), "{what}");
    }
}

#[test]
fn the_longest_cancel_key_that_the_server_gives_cancels() {
    with_also(OF_PROTOCOL_3_2).iter().for_each(its_longest_cancel_key_cancels);
}

fn its_longest_cancel_key_cancels(site: &Site) {
    let mut slow = raw(site, Some(Class::Service));
    slow.send(&wire::startup_with(2, &[("user", "app"), ("database", "shop")])).unwrap();
    let replies = slow.until_ready().unwrap();
    let key = replies.iter().find(|m| m.tag == b'K').unwrap().body.clone();
    let version: u32 = site.truth("SHOW server_version_num").unwrap().parse().unwrap();
    // Since version 18 protocol 3.2 is spoken, whose keys have 32 bytes; before, 3.0 is negotiated.
    assert_eq!(key.len(), if version >= 180_000 { 36 } else { 8 });
    println!("server {version}: a key of {} bytes", key.len());
    slow.send(&wire::query("SELECT pg_sleep(600)")).unwrap();
    wait::until("the sleep", wait::PATIENCE, || {
        Ok((site.truth("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'")? == "1")
            .then_some(()))
    })
    .unwrap();
    for wrong in [key[..key.len() - 1].to_vec(), [key.clone(), vec![0]].concat(), vec![0; key.len()]] {
        let mut canceller = raw(site, Some(Class::Service));
        canceller.send(&wire::cancel(&wrong)).unwrap();
        canceller.until_closed().unwrap();
    }
    let mut canceller = raw(site, Some(Class::Service));
    canceller.send(&wire::cancel(&key)).unwrap();
    assert!(canceller.until_closed().unwrap().is_empty());
    let error = slow.until_ready().unwrap().remove(0);
    assert_eq!((error.tag, error.field(b'C').as_deref()), (b'T', None), "the columns come first");
    let forwarded: Vec<String> =
        site.governor.events("cancel").unwrap().iter().map(|r| text(r, "forwarded")).collect();
    assert_eq!(forwarded.last().map(String::as_str), Some("true"));
    assert!(forwarded[..forwarded.len() - 1].iter().all(|f| f == "false"), "{forwarded:?}");
}

#[test]
fn function_calls_pass_for_services_and_are_denied_to_others() {
    let site = Site::start().unwrap();
    let oid: u32 =
        site.truth("SELECT 'pg_catalog.length(text)'::regprocedure::oid").unwrap().parse().unwrap();
    let script = |wire: &mut Wire| {
        let mut messages = Vec::new();
        for request in [
            wire::function_call(oid, &["loud"]),
            wire::function_call(1, &[]),
            wire::query("BEGIN"),
            wire::function_call(oid, &["loud"]),
            wire::function_call(oid, &[]),
            wire::function_call(oid, &["loud"]),
            wire::query("ROLLBACK"),
        ] {
            wire.send(&request).unwrap();
            messages.extend(wire.until_ready().unwrap());
        }
        messages
    };
    let direct = script(&mut ready(&site, None));
    assert_eq!(wire::tags(&direct), "VZEZCZVZEZEZCZ");
    assert_eq!(seen(&script(&mut ready(&site, Some(Class::Service)))), seen(&direct));
    for class in [Class::Person, Class::Agent] {
        let denied = script(&mut ready(&site, Some(class)));
        assert_eq!(wire::tags(&denied), "EZEZCZEZEZEZCZ");
        let states: String = denied.iter().filter(|m| m.tag == b'Z').map(|m| char::from(m.body[0])).collect();
        assert_eq!(states, "IITEEEI");
        assert!(denied.iter().filter_map(|m| m.field(b'C')).any(|code| code == "42501"));
    }
}

#[test]
fn replication_passes_for_services_on_record_and_is_denied_to_others() {
    let site = with_settings(&["wal_level=logical"]);
    let startup =
        |value| wire::startup_with(0, &[("user", "app"), ("database", "shop"), ("replication", value)]);
    let script = |class: Option<Class>, value| {
        let mut wire = raw(&site, class);
        wire.send(&startup(value)).unwrap();
        let mut messages = wire.until_ready().unwrap();
        messages.extend(wire.query("IDENTIFY_SYSTEM").unwrap());
        let position = String::from_utf8(
            messages.iter().find(|m| m.tag == b'D').unwrap().row().unwrap()[2].clone().unwrap(),
        )
        .unwrap();
        // Another word for the position: it moves between two runs.
        messages.retain(|m| m.tag != b'D');
        wire.send(&wire::query(&format!("START_REPLICATION PHYSICAL {position}"))).unwrap();
        let both = wire.read().unwrap();
        assert_eq!(both.tag, b'W', "CopyBothResponse");
        messages.push(both);
        wire.send(&[wire::copy_done(), wire::message(b'X', b"")].concat()).unwrap();
        seen(&messages)
    };
    assert_eq!(script(Some(Class::Service), "database"), script(None, "database"));
    for class in [Class::Person, Class::Agent] {
        let mut wire = raw(&site, Some(class));
        wire.send(&startup("database")).unwrap();
        let refused = wire.until_ready().unwrap();
        assert_eq!(refused[0].field(b'C').as_deref(), Some("28000"));
    }
    let allowed = site.governor.events("session_decision").unwrap();
    assert_eq!(allowed.iter().filter(|r| text(r, "verdict") == "allow").count(), 1);
    let end = site.governor.wait_for_record("session_end", |r| text(r, "reason") == "client_closed").unwrap();
    let relayed: u64 = text(&end, "bytes_from_database").parse().unwrap();
    assert!(relayed > 0, "{end}");
    let mut psql = site.client("psql", Class::Service).unwrap();
    psql.args(["-X", "-A", "-t", "-d", "dbname=shop replication=database", "-c", "IDENTIFY_SYSTEM"]);
    assert!(process::run(psql, wait::PATIENCE).unwrap().ok().unwrap().out().contains("|shop"));
}

#[test]
fn a_backend_that_dies_in_the_middle_of_a_result_looks_the_same() {
    let site = Site::start().unwrap();
    let script = |class| {
        let mut wire = ready(&site, class);
        let pid = u32::from_be_bytes(wire.cancel_key[..4].try_into().unwrap());
        // Rows long enough to be sent one by one; the fourth never comes.
        wire.send(&wire::query(
            "SELECT n, repeat('x', 9000), CASE WHEN n > 3 THEN pg_sleep(600) END FROM generate_series(1, 9) n",
        ))
        .unwrap();
        wait::until("the sleep", wait::PATIENCE, || {
            Ok((site.truth("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'")? == "1")
                .then_some(()))
        })
        .unwrap();
        site.truth(&format!("SELECT pg_terminate_backend({pid})")).unwrap();
        let messages = to_the_end(&mut wire);
        assert_eq!(wire::tags(&messages), "TDDDE", "{class:?}");
        messages
    };
    let direct = script(None);
    assert_eq!(direct[4].field(b'C').as_deref(), Some("57P01"));
    assert_eq!(script(Some(Class::Service)), direct);
    assert_eq!(script(Some(Class::Person))[4], direct[4]);
    let lost = site.governor.wait_for_record("completion", |r| text(r, "sqlstate") == "57P01").unwrap();
    assert_eq!(text(&lost, "outcome"), "error", "{lost}");
}

#[test]
fn errors_that_answer_nothing_pass_and_the_session_ends_as_without_governor() {
    let site = with_settings(&["idle_session_timeout=300ms"]);
    for class in [None, Some(Class::Service), Some(Class::Person)] {
        let mut wire = ready(&site, class);
        let messages = to_the_end(&mut wire);
        let codes: Vec<_> = messages.iter().map(|m| (m.tag, m.field(b'C'))).collect();
        assert_eq!(codes, [(b'E', Some("57P05".to_owned()))], "{class:?}: idle for too long");
    }
    for class in [None, Some(Class::Service), Some(Class::Person)] {
        let mut wire = ready(&site, class);
        let pid = u32::from_be_bytes(wire.cancel_key[..4].try_into().unwrap());
        assert_eq!(wire.query("BEGIN").unwrap().last().unwrap().body, b"T");
        site.truth(&format!("SELECT pg_terminate_backend({pid})")).unwrap();
        let codes: Vec<_> = to_the_end(&mut wire).iter().map(|m| (m.tag, m.field(b'C'))).collect();
        assert_eq!(codes, [(b'E', Some("57P01".to_owned()))], "{class:?}: ended by the operator");
    }
    let ends = site.governor.events("session_end").unwrap();
    assert!(ends.iter().all(|end| text(end, "reason") == "database_closed"), "{ends:?}");
}

/// Notices, parameter changes and notifications come between the messages of a result.
#[test]
fn asynchronous_messages_keep_their_places() {
    let site = Site::start().unwrap();
    site.truth(
        "CREATE FUNCTION public.loud(n int) RETURNS int LANGUAGE plpgsql AS $$ BEGIN RAISE NOTICE 'at %', n; \
         PERFORM pg_catalog.set_config('application_name', 'step ' || n, false); RETURN n; END $$;",
    )
    .unwrap();
    let script = |class| {
        let mut wire = ready(&site, class);
        let mut messages = wire.query("LISTEN news").unwrap();
        messages.extend(wire.query("SELECT public.loud(n) FROM generate_series(1, 5) n").unwrap());
        messages.extend(wire.query("SET DateStyle = 'German'; SELECT 1; SET DateStyle = 'ISO'").unwrap());
        wire.send(
            &[wire::extended("SELECT public.loud(n) FROM generate_series(1, 3) n", &[]), wire::sync()]
                .concat(),
        )
        .unwrap();
        messages.extend(wire.until_ready().unwrap());
        // Its own notification comes before ReadyForQuery; another's while it is idle.
        let mut own = wire.query("BEGIN; NOTIFY news, 'own'; SELECT 2; COMMIT").unwrap();
        own.iter_mut().filter(|m| m.tag == b'A').for_each(|m| m.body.drain(..4).for_each(drop));
        messages.extend(own);
        site.truth("NOTIFY news, 'other'").unwrap();
        let mut other = wire.read().unwrap();
        other.body.drain(..4);
        messages.push(other);
        seen(&messages)
    };
    let direct = script(None);
    assert!(direct.iter().any(|m| m.starts_with('S')) && direct.iter().any(|m| m.starts_with('N')));
    assert_eq!(script(Some(Class::Service)), direct);
}

/// Scripts put together by chance, each the same both ways. The seed is printed and can be given again.
#[test]
fn random_pipelines_are_answered_as_the_server_does() {
    let site = Site::start().unwrap();
    site.truth("CREATE TABLE marks (n int); GRANT ALL ON marks TO app").unwrap();
    let seed =
        std::env::var("GOVERNOR_SEED").ok().map_or(u64::from(std::process::id()), |s| s.parse().unwrap());
    println!("GOVERNOR_SEED={seed}");
    let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    for round in 0..ROUNDS {
        let script: Vec<Vec<u8>> = (0..4 + dice.below(20)).map(|_| step(&mut dice)).collect();
        // In one write, or one for each message.
        let whole = dice.below(2) == 0;
        let run = |class| {
            site.truth("TRUNCATE marks; INSERT INTO marks VALUES (100), (200)").unwrap();
            let mut wire = ready(&site, class);
            if whole {
                wire.send(&script.concat()).ok();
            } else {
                script.iter().for_each(|bytes| drop(wire.send(bytes)));
            }
            wire.send(
                &[
                    wire::copy_fail("the end"),
                    wire::sync(),
                    wire::query("ROLLBACK"),
                    wire::query("SELECT 'the end'"),
                ]
                .concat(),
            )
            .ok();
            let mut messages = Vec::new();
            while !messages.last().is_some_and(|m: &Message| m.tag == b'D' && m.body.ends_with(b"the end")) {
                match wire.read() {
                    Ok(message) => messages.push(message),
                    // A message that has no place in a COPY: the server gives the connection up, and what it
                    // said last may be lost with it.
                    Err(error) if is_end(&error) => return vec![],
                    Err(error) => panic!("round {round} {class:?}: {error:#} after {:#?}", seen(&messages)),
                }
            }
            messages.extend(wire.until_ready().unwrap());
            messages.extend(wire.query("ROLLBACK").unwrap());
            messages.extend(wire.query("SELECT n FROM marks ORDER BY n").unwrap());
            messages
        };
        let direct = run(None);
        for class in [Class::Service, Class::Person] {
            let through = run(Some(class));
            let seen = if class == Class::Service { seen } else { seen_by_restricted };
            let (through, direct) = (seen(&through), seen(&direct));
            if through != direct {
                let kinds: String = script.concat_kinds();
                panic!(
                    "GOVERNOR_SEED={seed} round {round}, {kinds}, by a {}:\nserver:   {direct:#?}\ngovernor: {through:#?}",
                    class.as_str()
                );
            }
        }
    }
}

/// The other side closed, as opposed to being silent.
fn is_end(error: &anyhow::Error) -> bool {
    use std::io::ErrorKind::{ConnectionReset, UnexpectedEof};
    let kind =
        error.chain().find_map(|cause| cause.downcast_ref::<std::io::Error>()).map(std::io::Error::kind);
    matches!(kind, Some(UnexpectedEof | ConnectionReset))
}

trait Kinds {
    /// The types of all messages, in order.
    fn concat_kinds(&self) -> String;
}

impl Kinds for Vec<Vec<u8>> {
    fn concat_kinds(&self) -> String {
        let all = self.concat();
        let (mut kinds, mut at) = (String::new(), 0);
        while at < all.len() {
            kinds.push(char::from(all[at]));
            at += 1 + u32::from_be_bytes(all[at + 1..at + 5].try_into().unwrap()) as usize;
        }
        kinds
    }
}

/// One or a few messages that belong together.
fn step(dice: &mut Dice) -> Vec<u8> {
    let names = ["", "", "a", "b"];
    let name = dice.pick(&names);
    let portal = dice.pick(&names);
    let n = dice.below(50).to_string();
    let simple = [
        "SELECT 1",
        "SELECT 1; SELECT 2",
        "INSERT INTO marks VALUES (1); SELECT n FROM marks",
        "INSERT INTO marks VALUES (2); SELECT 1/0",
        "SELEC",
        "",
        "BEGIN",
        "COMMIT",
        "ROLLBACK",
        "SAVEPOINT s",
        "ROLLBACK TO s",
        "DEALLOCATE ALL",
        "DEALLOCATE a",
    ];
    let prepared = [
        "SELECT n FROM generate_series(1, 4) n",
        "INSERT INTO marks VALUES (3)",
        "SELECT n FROM marks ORDER BY n",
        "UPDATE marks SET n = n + 1 WHERE n < 100 RETURNING n",
        "SELECT 1/(n - n) FROM marks",
        "SELECT broken",
        "",
        "BEGIN",
        "COMMIT",
    ];
    match dice.below(16) {
        0 | 1 => wire::parse(name, dice.pick(&prepared)),
        2 => wire::bind(portal, name, &[]),
        3 => wire::execute(portal),
        4 => wire::execute_rows(portal, 2),
        5 => wire::describe(dice.pick(b"SP"), name),
        6 => wire::close(dice.pick(b"SP"), name),
        7 | 8 => wire::sync(),
        9 => wire::flush(),
        10 => wire::query(dice.pick(&simple)),
        11 | 12 => wire::extended("INSERT INTO marks VALUES ($1::int)", &[&n]),
        13 => [
            wire::parse("", dice.pick(&prepared)),
            wire::bind("", "", &[]),
            wire::describe(b'P', ""),
            wire::execute(""),
        ]
        .concat(),
        kind => {
            let begin = match dice.below(3) {
                0 => wire::query("COPY marks FROM STDIN"),
                1 => [wire::extended("COPY marks FROM STDIN", &[]), wire::sync()].concat(),
                _ => wire::extended("COPY marks FROM STDIN", &[]),
            };
            let data = dice.pick(&["1\n", "1\n2\n", "no number\n", ""]);
            let end = if kind == 14 { wire::copy_done() } else { wire::copy_fail("enough") };
            let behind = if dice.below(2) == 0 { wire::sync() } else { Vec::new() };
            [begin, wire::copy_data(data), end, behind].concat()
        }
    }
}

/// xorshift64*, enough to choose with.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % limit
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[usize::try_from(self.below(from.len() as u64)).unwrap()]
    }
}

const ROUNDS: usize = 150;
