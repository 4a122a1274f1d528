//! Denials, holds and errors at every place of the protocol: the server itself is the model.
//!
//! Each script runs twice: by a restricted client through governor with a statement that governor denies,
//! holds or lets fail, and by the same client straight to the server with one that the server refuses at the
//! same place (or runs, where the hold is approved). What the client sees must be the same: messages,
//! command tags, rows, transaction states, and what is in the database afterwards.

// Helpers beside the tests fail the test that called them.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

#[path = "positions/places.rs"]
mod places;

use governor_tests::governor::text;
use governor_tests::wire::{self, Message, Wire};
use governor_tests::{Auth, Class, Options, Site, wait};
use places::Step::{Ready, Send, Until};
use places::{PLACES, Step, all, sync};
use std::sync::atomic::{AtomicBool, Ordering};

/// A statement as it is put into a script.
#[derive(Clone, Copy, Debug)]
pub struct Form {
    sql: &'static str,
    /// For Bind. One too many is an error of the server at Bind.
    values: &'static [&'static str],
}

impl Form {
    const fn of(sql: &'static str) -> Self {
        Self { sql, values: &[] }
    }

    fn query(self) -> Vec<u8> {
        wire::query(self.sql)
    }

    fn extended(self) -> Vec<u8> {
        [wire::parse("", self.sql), wire::bind("", "", self.values), wire::execute("")].concat()
    }
}

/// What is put in, on either side.
struct Insert {
    name: &'static str,
    governed: Form,
    /// In a simple query, and in the extended protocol.
    direct: (Form, Form),
    answer: Answer,
    /// SQLSTATE of the error that governor makes, and of those that the server makes in its place.
    errors: (&'static str, &'static [&'static str]),
}

/// How a hold ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    /// There is none to end.
    None,
    /// `governor approvals …`.
    Command(&'static str),
    /// Nobody says anything until `approvals.timeout`.
    Expires,
}

const HELD: &str = "DELETE FROM marks";
/// No SQL: the server refuses it at Parse.
const BROKEN: Form = Form::of("SELEC 1");

const INSERTS: [Insert; 6] = [
    Insert {
        name: "denied",
        governed: Form::of("SET ROLE app"),
        direct: (BROKEN, BROKEN),
        answer: Answer::None,
        errors: ("42501", &["42601"]),
    },
    Insert {
        name: "held and refused",
        governed: Form::of(HELD),
        direct: (BROKEN, Form { sql: HELD, values: &["one too many"] }),
        answer: Answer::Command("deny"),
        errors: ("42501", &["42601", "08P01"]),
    },
    Insert {
        name: "held and approved",
        governed: Form::of(HELD),
        direct: (Form::of(HELD), Form::of(HELD)),
        answer: Answer::Command("approve"),
        errors: ("none", &[]),
    },
    Insert {
        name: "failing when it runs",
        governed: Form::of("SELECT 1/(n - n) FROM marks"),
        direct: (Form::of("SELECT 1/(n - n) FROM marks"), Form::of("SELECT 1/(n - n) FROM marks")),
        answer: Answer::None,
        errors: ("none", &[]),
    },
    Insert {
        name: "failing when it is parsed",
        governed: Form::of("SELECT 1 FROM nowhere"),
        direct: (Form::of("SELECT 1 FROM nowhere"), Form::of("SELECT 1 FROM nowhere")),
        answer: Answer::None,
        errors: ("none", &[]),
    },
    Insert {
        name: "held and expired",
        governed: Form::of(HELD),
        direct: (BROKEN, Form { sql: HELD, values: &["one too many"] }),
        answer: Answer::Expires,
        errors: ("42501", &["42601", "08P01"]),
    },
];

/// What a client sees, without what may differ: `!` stands for the error in the place of the insertion.
fn seen(messages: &[Message], own: &[&str]) -> Vec<String> {
    let line = |message: &Message| match message.tag {
        b'E' => {
            let code = message.field(b'C').unwrap();
            let severity = message.field(b'V').unwrap();
            if own.contains(&code.as_str()) {
                format!("E {severity} !")
            } else {
                format!("E {severity} {code}")
            }
        }
        tag => format!("{} {:?}", char::from(tag), String::from_utf8_lossy(&message.body)),
    };
    let of_governor =
        |m: &&Message| m.tag == b'N' && m.field(b'M').is_some_and(|text| text.contains("governor"));
    messages.iter().filter(|message| !of_governor(message)).map(line).collect()
}

fn play(wire: &mut Wire, steps: Vec<Step>) -> anyhow::Result<Vec<Message>> {
    let mut messages = Vec::new();
    for step in steps {
        match step {
            Send(bytes) => wire.send(&bytes)?,
            Ready(count) => {
                for _ in 0..count {
                    messages.extend(wire.until_ready()?);
                }
            }
            Until(tags) => loop {
                let message = wire.read()?;
                let last = tags.contains(&message.tag);
                messages.push(message);
                if last {
                    break;
                }
            },
        }
    }
    // What the session is afterwards.
    messages.extend(wire.query("SELECT 'still here'")?);
    messages.extend(wire.query("ROLLBACK")?);
    messages.extend(wire.query("SELECT n FROM marks ORDER BY n")?);
    Ok(messages)
}

/// Answers every hold with `word` until `done`.
fn answer_holds(site: &Site, word: &str, done: &AtomicBool) {
    while !done.load(Ordering::Relaxed) {
        let pending = site.governor.json(&["approvals", "list"]).unwrap();
        for request in pending {
            // It may have ended in the meantime: its batch failed earlier.
            site.governor.cli(&["approvals", word, &text(&request, "id")]).unwrap();
        }
    }
}

fn reset(site: &Site) {
    site.truth("TRUNCATE marks; INSERT INTO marks VALUES (100), (200)").unwrap();
}

fn compare(insert: &Insert) {
    let approval_timeout = if insert.answer == Answer::Expires { "1s" } else { "30s" };
    let site = Site::with(Auth::Trust, &Options { approval_timeout, ..Options::default() }).unwrap();
    site.truth("CREATE TABLE marks (n int); GRANT ALL ON marks TO app").unwrap();
    let mut different = Vec::new();
    for (place, steps) in PLACES {
        let run = |wire: &mut Wire, simple, extended, own: &[&str]| {
            let messages = play(wire, steps(simple, extended));
            match messages {
                Ok(messages) => seen(&messages, own),
                Err(error) => vec![format!("failed: {error:#}")],
            }
        };
        let (simple, extended) = insert.direct;
        reset(&site);
        let direct = run(&mut site.wire_direct().unwrap(), simple, extended, insert.errors.1);
        reset(&site);
        let done = AtomicBool::new(false);
        let mut client = site.wire(Class::Person).unwrap();
        let through = std::thread::scope(|scope| {
            if let Answer::Command(word) = insert.answer {
                let (site, done) = (&site, &done);
                scope.spawn(move || answer_holds(site, word, done));
            }
            let through = run(&mut client, insert.governed, insert.governed, &[insert.errors.0]);
            done.store(true, Ordering::Relaxed);
            through
        });
        if through != direct {
            different.push(format!("{place}:\n  server:   {direct:#?}\n  governor: {through:#?}"));
        }
    }
    let name = insert.name;
    assert!(different.is_empty(), "{name}, {} places differ:\n{}", different.len(), different.join("\n"));
    println!("{name}: {} places as the server does", PLACES.len());
}

#[test]
fn a_denied_statement_is_a_syntax_error_at_its_place() {
    compare(&INSERTS[0]);
}

#[test]
fn a_refused_statement_is_an_error_at_its_place() {
    compare(&INSERTS[1]);
}

#[test]
fn an_approved_statement_is_as_if_it_had_never_waited() {
    compare(&INSERTS[2]);
}

#[test]
fn an_error_of_the_server_stays_at_its_place() {
    compare(&INSERTS[3]);
    compare(&INSERTS[4]);
}

#[test]
fn a_statement_whose_hold_expires_is_an_error_at_its_place() {
    compare(&INSERTS[5]);
}

/// Messages that have no place in a COPY FROM, sent in its middle.
#[test]
fn a_foreign_message_during_copy_ends_as_the_server_ends_it() {
    const COPY: &str = "COPY marks FROM STDIN";
    let site = Site::start().unwrap();
    site.truth("CREATE TABLE marks (n int); GRANT ALL ON marks TO app").unwrap();
    for (what, foreign) in [
        ("Query", wire::query("INSERT INTO marks VALUES (1)")),
        ("a held Query", wire::query(HELD)),
        ("Parse", wire::parse("", "SELECT 1")),
        ("Execute", wire::execute("")),
        ("FunctionCall", wire::function_call(1, &[])),
    ] {
        for copy in [wire::query(COPY), [wire::extended(COPY, &[]), wire::flush()].concat()] {
            let run = |mut wire: Wire| {
                wire.send(&copy).unwrap();
                let mut seen = Vec::new();
                while wire.read().unwrap().tag != b'G' {}
                wire.send(&[wire::copy_data("7\n"), foreign.clone()].concat()).unwrap();
                while let Ok(message) = wire.read() {
                    seen.push((char::from(message.tag), message.field(b'C'), message.field(b'M')));
                }
                seen
            };
            let direct = run(site.wire_direct().unwrap());
            println!("{what}: {direct:?}");
            for class in [Class::Service, Class::Person] {
                assert_eq!(run(site.wire(class).unwrap()), direct, "{what} by a {}", class.as_str());
            }
            assert_eq!(site.truth("SELECT count(*) FROM marks").unwrap(), "0", "{what}");
        }
    }
}

/// What was prepared while it was allowed is denied when it would run, as an error of the server at Bind.
#[test]
fn a_statement_that_was_prepared_before_policy_forbade_it_is_denied_at_bind() {
    let open = "// Nothing beyond what is built in.\n";
    let closed = "@id(\"closed\")\n@reason(\"marks are closed\")\nforbid (principal, action in Governor::Action::\"insert\", resource);\n";
    let options = Options { policies: vec![("site.cedar".into(), open.into())], ..Options::default() };
    let site = Site::with(Auth::Trust, &options).unwrap();
    site.truth("CREATE TABLE marks (n int); GRANT ALL ON marks TO app").unwrap();
    // The server refuses this at Bind where the value is no number; governor where policy forbids it.
    let prepare = [wire::parse("named", "INSERT INTO marks VALUES ($1::int)"), wire::sync()].concat();
    let batch = |value: &str| {
        let run = [wire::bind("", "named", &[value]), wire::execute("")].concat();
        vec![
            all(&[wire::extended("SELECT 1", &[]), run.clone(), wire::extended("SELECT 2", &[]), sync()]),
            Ready(1),
            Send(wire::query("BEGIN")),
            Ready(1),
            all(&[run.clone(), sync()]),
            Ready(1),
            all(&[run, sync(), wire::close(b'S', "named"), sync()]),
            Ready(2),
        ]
    };
    let mut direct = site.wire_direct().unwrap();
    let mut clients: Vec<Wire> =
        [Class::Service, Class::Person].map(|class| site.wire(class).unwrap()).into();
    for wire in clients.iter_mut().chain([&mut direct]) {
        wire.send(&prepare).unwrap();
        assert_eq!(wire::tags(&wire.until_ready().unwrap()), "1Z");
    }
    std::fs::write(site.governor.policy_dir().join("site.cedar"), closed).unwrap();
    wait::until("the new policy", wait::PATIENCE, || {
        let refused = site
            .psql(Class::Service, "INSERT INTO marks SELECT 1 WHERE false;")?
            .err()
            .contains("marks are closed");
        Ok(refused.then_some(()))
    })
    .unwrap();
    let expected = seen(&play(&mut direct, batch("no number")).unwrap(), &["22P02"]);
    for mut wire in clients {
        // In the failed transaction the server does not look at the value any more, and governor still denies.
        let seen = seen(&play(&mut wire, batch("1")).unwrap(), &["42501"]);
        let as_the_server = |line: &String| line.replace("25P02", "!");
        assert_eq!(
            seen.iter().map(as_the_server).collect::<Vec<_>>(),
            expected.iter().map(as_the_server).collect::<Vec<_>>()
        );
    }
    assert_eq!(site.truth("SELECT count(*) FROM marks").unwrap(), "0");
}
