//! Masked results stream: a row leaves before the next one comes in, in its place, and whatever stands between rows keeps its own.

use super::stage::*;
use crate::engine::model::Class;

const SECRET: &str = "louis@example.com";
const PEOPLE: [(&str, u32, i16); 3] = [("id", 20000, 1), ("email", 20000, 2), ("note", 20000, 3)];

fn asked() -> Stage {
    let mut s = Stage::ready(Class::Agent);
    s.client(&query("SELECT * FROM people"));
    s.server(&row_description(&PEOPLE));
    s.clear();
    s
}

/// Row for row, whatever its place in a long result, and however it is cut.
#[test]
fn a_masked_row_leaves_before_the_next_one_comes_in() {
    let mut s = asked();
    for number in 0..500_usize {
        let row = data_row(&[&number.to_string(), SECRET, "hello"]);
        let (head, tail) = row.split_at(number % row.len());
        s.server(head);
        assert!(s.to_client.is_empty(), "half of row {number} says nothing yet");
        s.server(tail);
        assert_eq!(s.client_kinds(), "D", "row {number}");
        let shown = String::from_utf8_lossy(&s.to_client).into_owned();
        assert!(shown.contains(&number.to_string()) && shown.contains("hello") && !shown.contains(SECRET));
        s.clear();
    }
}

/// All rows that came together leave together, with the beginning of the next one kept back.
#[test]
fn nothing_but_the_row_that_is_not_whole_yet_is_held() {
    let mut s = asked();
    let row = data_row(&["1", SECRET, "hello"]);
    let mut many = row.repeat(1000);
    many.extend_from_slice(&row[..row.len() - 1]);
    s.server(&many);
    assert_eq!(s.client_kinds(), "D".repeat(1000));
    s.clear();
    s.server(&row[row.len() - 1..]);
    assert_eq!(s.client_kinds(), "D");
}

/// Rows that change, rows that do not, long ones, and a notice between them: each keeps its place.
#[test]
fn rewritten_and_passed_messages_keep_their_order() {
    let mut s = asked();
    let long = "x".repeat(40_000);
    let mut sent = Vec::new();
    let mut wanted = String::new();
    for number in 0..200 {
        let mail = if number % 3 == 0 { "" } else { SECRET };
        let note = if number % 7 == 0 { long.as_str() } else { "short" };
        sent.extend(match mail {
            "" => plain_row(number, note),
            mail => data_row(&[&number.to_string(), mail, note]),
        });
        wanted.push('D');
        if number % 11 == 0 {
            sent.extend(message(b'S', b"x\0y\0"));
            wanted.push('S');
        }
    }
    s.server(&sent);
    assert_eq!(s.client_kinds(), wanted);
    let mut rest = s.to_client.as_slice();
    let mut numbers = Vec::new();
    while let [tag, a, b, c, d, body @ ..] = rest {
        let length = u32::from_be_bytes([*a, *b, *c, *d]) as usize - 4;
        if *tag == b'D' {
            let first = u32::from_be_bytes(body[2..6].try_into().unwrap()) as usize;
            numbers.push(String::from_utf8(body[6..6 + first].to_vec()).unwrap());
        }
        rest = &body[length..];
    }
    assert_eq!(numbers, (0..200).map(|number| number.to_string()).collect::<Vec<_>>());
    assert!(!String::from_utf8_lossy(&s.to_client).contains(SECRET));
}

/// A row whose masked column is NULL: nothing in it changes.
fn plain_row(number: usize, note: &str) -> Vec<u8> {
    let mut body = 3_i16.to_be_bytes().to_vec();
    for value in [Some(number.to_string()), None, Some(note.to_owned())] {
        match value {
            Some(value) => {
                body.extend(u32::try_from(value.len()).unwrap().to_be_bytes());
                body.extend_from_slice(value.as_bytes());
            }
            None => body.extend((-1_i32).to_be_bytes()),
        }
    }
    message(b'D', &body)
}
