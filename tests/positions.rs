//! Denials, holds and errors at every place of the protocol: the server itself is the model.
//!
//! Each script runs twice: by a restricted client through governor with a statement that governor denies,
//! holds or lets fail, and by the same client straight to the server with one that the server refuses at the
//! same place (or runs, where the hold is approved). What the client sees must be the same: messages,
//! command tags, rows, transaction states, and what is in the database afterwards.

// Helpers beside the tests fail the test that called them.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use governor_tests::governor::text;
use governor_tests::wire::{self, Message, Wire};
use governor_tests::{Class, Options, Site, wait};
use std::sync::atomic::{AtomicBool, Ordering};

/// A statement as it is put into a script.
#[derive(Clone, Copy)]
struct Form {
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
    /// How a hold is answered.
    answer: &'static str,
    /// SQLSTATE of the error that governor makes, and of those that the server makes in its place.
    errors: (&'static str, &'static [&'static str]),
}

const HELD: &str = "DELETE FROM marks";
/// No SQL: the server refuses it at Parse.
const BROKEN: Form = Form::of("SELEC 1");

const INSERTS: [Insert; 5] = [
    Insert {
        name: "denied",
        governed: Form::of("SET ROLE app"),
        direct: (BROKEN, BROKEN),
        answer: "none",
        errors: ("42501", &["42601"]),
    },
    Insert {
        name: "held and refused",
        governed: Form::of(HELD),
        direct: (BROKEN, Form { sql: HELD, values: &["one too many"] }),
        answer: "deny",
        errors: ("42501", &["42601", "08P01"]),
    },
    Insert {
        name: "held and approved",
        governed: Form::of(HELD),
        direct: (Form::of(HELD), Form::of(HELD)),
        answer: "approve",
        errors: ("none", &[]),
    },
    Insert {
        name: "failing when it runs",
        governed: Form::of("SELECT 1/(n - n) FROM marks"),
        direct: (Form::of("SELECT 1/(n - n) FROM marks"), Form::of("SELECT 1/(n - n) FROM marks")),
        answer: "none",
        errors: ("none", &[]),
    },
    Insert {
        name: "failing when it is parsed",
        governed: Form::of("SELECT 1 FROM nowhere"),
        direct: (Form::of("SELECT 1 FROM nowhere"), Form::of("SELECT 1 FROM nowhere")),
        answer: "none",
        errors: ("none", &[]),
    },
];

enum Step {
    Send(Vec<u8>),
    /// Read up to so many ReadyForQuery.
    Ready(usize),
    /// Read up to the first message with one of these tags.
    Until(&'static [u8]),
}
use Step::{Ready, Send, Until};

/// A place in the protocol: the statement for a simple query and for the extended protocol goes in.
type Place = (&'static str, fn(Form, Form) -> Vec<Step>);

fn mark(n: u32) -> Vec<u8> {
    wire::extended("INSERT INTO marks VALUES ($1::int)", &[&n.to_string()])
}

fn sync() -> Vec<u8> {
    wire::sync()
}

fn q(sql: &str) -> Vec<Step> {
    vec![Send(wire::query(sql)), Ready(1)]
}

fn all(parts: &[Vec<u8>]) -> Step {
    Send(parts.concat())
}

const PLACES: &[Place] = &[
    ("alone, simple", |s, _| vec![Send(s.query()), Ready(1)]),
    ("alone, extended", |_, e| vec![all(&[e.extended(), sync()]), Ready(1)]),
    ("first of a pipeline", |_, e| vec![all(&[e.extended(), mark(1), mark(2), sync()]), Ready(1)]),
    ("in the middle of a pipeline", |_, e| vec![all(&[mark(1), e.extended(), mark(2), sync()]), Ready(1)]),
    ("last of a pipeline", |_, e| vec![all(&[mark(1), mark(2), e.extended(), sync()]), Ready(1)]),
    ("between Syncs of a pipeline", |_, e| {
        vec![all(&[mark(1), sync(), e.extended(), sync(), mark(2), sync()]), Ready(3)]
    }),
    ("in two batches of three", |_, e| {
        vec![
            all(&[e.extended(), mark(1), sync(), mark(2), sync(), mark(3), e.extended(), mark(4), sync()]),
            Ready(3),
        ]
    }),
    ("among bare Syncs", |_, e| {
        vec![all(&[sync(), sync(), e.extended(), sync(), sync(), mark(1), sync()]), Ready(5)]
    }),
    ("with Describe, Close and a name", |_, e| {
        vec![
            all(&[
                wire::parse("named", e.sql),
                wire::describe(b'S', "named"),
                wire::bind("portal", "named", e.values),
                wire::describe(b'P', "portal"),
                wire::execute("portal"),
                wire::close(b'P', "portal"),
                wire::close(b'S', "named"),
                sync(),
                wire::close(b'S', "named"),
                sync(),
            ]),
            Ready(2),
        ]
    }),
    ("bound in a later batch than it was parsed", |_, e| {
        vec![
            all(&[wire::parse("named", e.sql), sync()]),
            Ready(1),
            all(&[mark(1), wire::bind("", "named", e.values), wire::execute(""), mark(2), sync()]),
            Ready(1),
            all(&[wire::close(b'S', "named"), mark(3), sync()]),
            Ready(1),
        ]
    }),
    ("under a name that means something already", |_, e| {
        vec![
            all(&[wire::parse("named", "SELECT 'the old one'"), sync()]),
            Ready(1),
            all(&[
                wire::close(b'S', "named"),
                wire::parse("named", e.sql),
                wire::bind("", "named", e.values),
                wire::execute(""),
                sync(),
            ]),
            Ready(1),
            all(&[wire::bind("", "named", e.values), wire::execute(""), sync()]),
            Ready(1),
        ]
    }),
    ("in place of the unnamed statement that was used before", |_, e| {
        vec![
            all(&[wire::parse("", "SELECT 'the old one'"), sync()]),
            Ready(1),
            all(&[e.extended(), sync()]),
            Ready(1),
            all(&[wire::bind("", "", e.values), wire::execute(""), sync()]),
            Ready(1),
        ]
    }),
    ("between Parse and Execute of another", |_, e| {
        vec![
            all(&[
                wire::parse("other", "INSERT INTO marks VALUES (7)"),
                wire::bind("other", "other", &[]),
                e.extended(),
                wire::execute("other"),
                sync(),
            ]),
            Ready(1),
            all(&[wire::bind("", "other", &[]), wire::execute(""), sync()]),
            Ready(1),
        ]
    }),
    ("with Flush, one step at a time", |_, e| {
        vec![
            all(&[mark(1), wire::flush()]),
            Until(b"C"),
            all(&[e.extended(), wire::flush()]),
            Until(b"CE"),
            all(&[mark(2), wire::flush(), sync()]),
            Ready(1),
        ]
    }),
    ("with Flush behind Parse", |_, e| {
        vec![
            all(&[wire::parse("", e.sql), wire::flush()]),
            Until(b"1E"),
            all(&[wire::bind("", "", e.values), wire::flush()]),
            all(&[wire::execute(""), mark(1), sync()]),
            Ready(1),
        ]
    }),
    ("in a transaction, simple", |s, _| {
        let mut steps =
            [q("BEGIN"), q("INSERT INTO marks VALUES (1)")].into_iter().flatten().collect::<Vec<_>>();
        steps.extend([Send(s.query()), Ready(1)]);
        steps.extend(q("INSERT INTO marks VALUES (2)"));
        steps.extend(q("COMMIT"));
        steps
    }),
    ("in a transaction, extended", |_, e| {
        vec![
            Send(wire::query("BEGIN")),
            Ready(1),
            all(&[mark(1), sync(), e.extended(), mark(2), sync(), mark(3), sync()]),
            Ready(3),
            Send(wire::query("COMMIT")),
            Ready(1),
        ]
    }),
    ("in a transaction of one pipeline", |_, e| {
        vec![
            all(&[
                wire::extended("BEGIN", &[]),
                mark(1),
                e.extended(),
                mark(2),
                wire::extended("COMMIT", &[]),
                sync(),
            ]),
            Ready(1),
        ]
    }),
    ("behind a COMMIT in one pipeline", |_, e| {
        vec![
            all(&[
                wire::extended("BEGIN", &[]),
                mark(1),
                wire::extended("COMMIT", &[]),
                e.extended(),
                mark(2),
                sync(),
            ]),
            Ready(1),
        ]
    }),
    ("behind a savepoint", |s, _| {
        let mut steps: Vec<Step> =
            [q("BEGIN"), q("INSERT INTO marks VALUES (1)"), q("SAVEPOINT s")].into_iter().flatten().collect();
        steps.extend([Send(s.query()), Ready(1)]);
        steps.extend(
            [q("ROLLBACK TO s"), q("INSERT INTO marks VALUES (2)"), q("COMMIT")].into_iter().flatten(),
        );
        steps
    }),
    ("in a failed transaction, simple", |s, _| {
        let mut steps: Vec<Step> = [q("BEGIN"), q("SELECT broken")].into_iter().flatten().collect();
        steps.extend([Send(s.query()), Ready(1)]);
        steps.extend(q("INSERT INTO marks VALUES (2)"));
        steps
    }),
    ("in a failed transaction, extended", |_, e| {
        let mut steps: Vec<Step> = [q("BEGIN"), q("SELECT broken")].into_iter().flatten().collect();
        steps.extend([all(&[e.extended(), sync(), mark(1), sync()]), Ready(2)]);
        steps
    }),
    ("first of several statements in one text", |s, _| {
        q(&format!("{}; INSERT INTO marks VALUES (1)", s.sql))
    }),
    ("in the middle of several statements in one text", |s, _| {
        q(&format!("INSERT INTO marks VALUES (1); {}; INSERT INTO marks VALUES (2)", s.sql))
    }),
    ("last of several statements in one text", |s, _| {
        q(&format!("INSERT INTO marks VALUES (1); SELECT n FROM marks; {}", s.sql))
    }),
    ("in one text behind a transaction of its own", |s, _| {
        q(&format!("BEGIN; INSERT INTO marks VALUES (1); COMMIT; {}; INSERT INTO marks VALUES (2)", s.sql))
    }),
    ("in one text inside an open transaction", |s, _| {
        let mut steps = q("BEGIN");
        steps.extend(q(&format!("INSERT INTO marks VALUES (1); {}", s.sql)));
        steps.extend(q("COMMIT"));
        steps
    }),
    ("around empty queries", |s, _| {
        let mut steps = q("");
        steps.extend([Send([s.query(), wire::query(";;"), wire::query("")].concat()), Ready(3)]);
        steps
    }),
    ("simple, behind a batch without Sync", |s, _| {
        vec![all(&[mark(1), s.query(), mark(2), sync()]), Ready(2)]
    }),
    ("extended, before a simple query without Sync", |_, e| {
        vec![
            all(&[e.extended(), wire::query("INSERT INTO marks VALUES (1)"), sync()]),
            Ready(1),
            Send(sync()),
            Ready(1),
        ]
    }),
    ("several simple queries at once", |s, _| {
        vec![
            Send(
                [wire::query("SELECT 1"), s.query(), wire::query("INSERT INTO marks VALUES (3)"), s.query()]
                    .concat(),
            ),
            Ready(4),
        ]
    }),
    ("behind a COPY FROM in the same pipeline", |_, e| {
        vec![
            all(&[
                wire::extended("COPY marks FROM STDIN", &[]),
                wire::copy_data("1\n2\n"),
                wire::copy_done(),
                e.extended(),
                mark(3),
                sync(),
            ]),
            Ready(1),
        ]
    }),
    ("before a COPY FROM in the same pipeline", |_, e| {
        vec![
            all(&[
                e.extended(),
                wire::extended("COPY marks FROM STDIN", &[]),
                wire::copy_data("1\n2\n"),
                wire::copy_done(),
                sync(),
                mark(3),
                sync(),
            ]),
            Ready(2),
        ]
    }),
    ("behind a COPY FROM that the client gives up", |s, _| {
        vec![
            Send(wire::query("COPY marks FROM STDIN")),
            Until(b"G"),
            all(&[wire::copy_data("1\n2\n"), wire::copy_fail("enough"), s.query()]),
            Ready(2),
        ]
    }),
    ("behind a COPY FROM with bad data", |s, _| {
        vec![
            Send(wire::query("COPY marks FROM STDIN")),
            Until(b"G"),
            all(&[wire::copy_data("1\nno number\n"), wire::copy_data("3\n"), wire::copy_done(), s.query()]),
            Ready(2),
        ]
    }),
    ("in one text behind a COPY FROM", |s, _| {
        vec![
            Send(wire::query(&format!("COPY marks FROM STDIN; {}", s.sql))),
            Until(b"GE"),
            all(&[wire::copy_data("1\n2\n"), wire::copy_done()]),
            Ready(1),
        ]
    }),
    ("behind a COPY TO", |s, _| {
        vec![Send([wire::query("COPY marks TO STDOUT"), s.query()].concat()), Ready(2)]
    }),
    ("behind a COPY TO in the same pipeline", |_, e| {
        vec![all(&[wire::extended("COPY marks TO STDOUT", &[]), e.extended(), mark(1), sync()]), Ready(1)]
    }),
    ("behind a suspended portal", |_, e| {
        vec![
            all(&[
                wire::parse("", "SELECT n FROM generate_series(1, 5) n"),
                wire::bind("portal", "", &[]),
                wire::describe(b'P', "portal"),
                wire::execute_rows("portal", 2),
                wire::flush(),
            ]),
            Until(b"s"),
            all(&[e.extended(), wire::execute_rows("portal", 2), sync()]),
            Ready(1),
        ]
    }),
    ("between two parts of a suspended portal in a transaction", |_, e| {
        vec![
            Send(wire::query("BEGIN")),
            Ready(1),
            all(&[
                wire::parse("", "SELECT n FROM generate_series(1, 5) n"),
                wire::bind("portal", "", &[]),
                wire::execute_rows("portal", 2),
                sync(),
            ]),
            Ready(1),
            all(&[
                e.extended(),
                sync(),
                wire::execute_rows("portal", 2),
                wire::execute_rows("portal", 0),
                sync(),
            ]),
            Ready(2),
            Send(wire::query("ROLLBACK")),
            Ready(1),
        ]
    }),
    ("between two MOVE of a cursor", |s, _| {
        let mut steps: Vec<Step> =
            [q("BEGIN"), q("DECLARE c CURSOR FOR SELECT n FROM generate_series(1, 5) n"), q("MOVE 2 IN c")]
                .into_iter()
                .flatten()
                .collect();
        steps.extend([Send(s.query()), Ready(1)]);
        steps.extend([q("MOVE 2 IN c"), q("COMMIT")].into_iter().flatten());
        steps
    }),
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

/// Answers every hold with `answer` until `done`.
fn answer_holds(site: &Site, answer: &str, done: &AtomicBool) {
    while !done.load(Ordering::Relaxed) {
        let pending = site.governor.json(&["approvals", "list"]).unwrap();
        for request in pending {
            // It may have ended in the meantime: its batch failed earlier.
            site.governor.cli(&["approvals", answer, &text(&request, "id")]).unwrap();
        }
    }
}

fn reset(site: &Site) {
    site.truth("TRUNCATE marks; INSERT INTO marks VALUES (100), (200)").unwrap();
}

fn compare(insert: &Insert) {
    let site = Site::start().unwrap();
    site.truth("CREATE TABLE marks (n int); GRANT ALL ON marks TO app").unwrap();
    let mut different = Vec::new();
    for (place, steps) in PLACES {
        let run = |mut wire: Wire, simple, extended, own: &[&str]| {
            reset(&site);
            let messages = play(&mut wire, steps(simple, extended));
            match messages {
                Ok(messages) => seen(&messages, own),
                Err(error) => vec![format!("failed: {error:#}")],
            }
        };
        let (simple, extended) = insert.direct;
        let direct = run(site.wire_direct().unwrap(), simple, extended, insert.errors.1);
        let done = AtomicBool::new(false);
        let through = std::thread::scope(|scope| {
            if insert.answer != "none" {
                scope.spawn(|| answer_holds(&site, insert.answer, &done));
            }
            let person = site.wire(Class::Person).unwrap();
            let through = run(person, insert.governed, insert.governed, &[insert.errors.0]);
            done.store(true, Ordering::Relaxed);
            through
        });
        if through != direct {
            different.push(format!("{place}:\n  server:   {direct:#?}\n  governor: {through:#?}"));
        }
    }
    assert!(
        different.is_empty(),
        "{}, {} places differ:\n{}",
        insert.name,
        different.len(),
        different.join("\n")
    );
    println!("{}: {} places as the server does", insert.name, PLACES.len());
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
    let site = Site::with(governor_tests::Auth::Trust, &options).unwrap();
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
