//! The places in the protocol where `positions` puts a statement in.

use super::Form;
use governor_tests::wire;

#[derive(Debug)]
pub enum Step {
    Send(Vec<u8>),
    /// Read up to so many ReadyForQuery.
    Ready(usize),
    /// Read up to the first message with one of these tags.
    Until(&'static [u8]),
}
use Step::{Ready, Send, Until};

/// A place in the protocol: the statement for a simple query and for the extended protocol goes in.
pub type Place = (&'static str, fn(Form, Form) -> Vec<Step>);

fn mark(n: u32) -> Vec<u8> {
    wire::extended("INSERT INTO marks VALUES ($1::int)", &[&n.to_string()])
}

pub fn sync() -> Vec<u8> {
    wire::sync()
}

fn q(sql: &str) -> Vec<Step> {
    vec![Send(wire::query(sql)), Ready(1)]
}

pub fn all(parts: &[Vec<u8>]) -> Step {
    Send(parts.concat())
}

pub const PLACES: &[Place] = &[
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
