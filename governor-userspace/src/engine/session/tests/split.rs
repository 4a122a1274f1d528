//! The same conversation, cut at every byte, gives the same bytes and the same records.

use super::stage::*;
use crate::engine::model::Class;

/// What each side sends, in turn.
fn conversation() -> Vec<(bool, Vec<u8>)> {
    let client = |parts: &[Vec<u8>]| (true, parts.concat());
    let server = |parts: &[Vec<u8>]| (false, parts.concat());
    let people = row_description(&[("id", 20000, 1), ("email", 20000, 2), ("note", 20000, 3)]);
    vec![
        client(&[query("SELECT * FROM people"), query("DROP TABLE people")]),
        server(&[
            people.clone(),
            data_row(&["1", "louis@example.com", "hello"]),
            data_row(&["2", "anna@example.org", "call +49 30 901820"]),
            complete("SELECT 2"),
            ready(b'I'),
        ]),
        // The second query was denied: the server refuses the stand-in.
        server(&[error("42601"), ready(b'I')]),
        client(&[
            parse("s", "SELECT email FROM people WHERE id = $1"),
            bind("p", "s"),
            execute("p"),
            parse("x", "TRUNCATE people"),
            bind("", "x"),
            execute(""),
            sync(),
        ]),
        server(&[
            message(b'1', b""),
            message(b'2', b""),
            row_description(&[("email", 20000, 2)]),
            data_row(&["louis@example.com"]),
            message(b'N', b"SNOTICE\0Mhi\0\0"),
            complete("SELECT 1"),
            error("42601"),
            ready(b'I'),
        ]),
        client(&[query("COPY t FROM STDIN; SELECT 1"), query("SELECT 2")]),
    ]
}

fn run(cut: Option<usize>) -> (Vec<u8>, Vec<u8>, Vec<String>, usize) {
    let mut s = Stage::ready(Class::Agent);
    let mut at = 0;
    for (from_client, bytes) in conversation() {
        let split = cut.filter(|cut| (at..at + bytes.len()).contains(cut)).map_or(0, |cut| cut - at);
        at += bytes.len();
        for part in [&bytes[..split], &bytes[split..]] {
            if from_client { s.client(part) } else { s.server(part) }
        }
    }
    let records =
        s.records.iter().chain(&s.completions).map(|r| serde_json::to_string(&r.event).unwrap()).collect();
    (s.to_client, s.to_server, records, at)
}

#[test]
fn split_at_every_byte() {
    let whole = run(None);
    assert!(!String::from_utf8_lossy(&whole.0).contains("louis@"));
    assert!(whole.2.len() >= 8, "{:#?}", whole.2);
    for cut in 0..whole.3 {
        let cut_run = run(Some(cut));
        assert!(cut_run.0 == whole.0, "to the client, cut at {cut}");
        assert!(cut_run.1 == whole.1, "to the server, cut at {cut}");
        assert!(cut_run.2 == whole.2, "records, cut at {cut}");
    }
}

/// A restricted session waits for replies; the server waits for the whole of what it was sent the beginning of.
#[test]
fn the_rest_of_a_message_is_always_taken() {
    let last = message(b'f', b"changed my mind\0");
    for cut in 0..last.len() {
        let mut s = Stage::ready(Class::Person);
        s.client(&query("COPY people FROM STDIN"));
        s.server(&message(b'G', b"\0\0\0"));
        s.clear();
        s.client(&last[..cut]);
        s.client(&[&last[cut..], &query("SELECT 1")].concat());
        assert_eq!(s.to_server, last, "cut at {cut}: all of it, and what is behind waits");
    }
}
