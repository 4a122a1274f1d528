//! COPY TO STDOUT: its rows are masked like those of a SELECT, whatever pieces they come in.

use super::stage::*;
use crate::engine::audit::AuditEvent;
use crate::engine::model::{Class, Verdict};

const SECRET: &str = "louis@example.com";

fn copy_out(binary: bool, columns: i16) -> Vec<u8> {
    let mut body = vec![u8::from(binary)];
    body.extend(columns.to_be_bytes());
    body.extend(std::iter::repeat_n(i16::from(binary).to_be_bytes(), columns as usize).flatten());
    message(b'H', &body)
}

fn data(bytes: &[u8]) -> Vec<u8> {
    message(b'd', bytes)
}

fn end(rows: u32) -> Vec<u8> {
    [message(b'c', b""), complete(&format!("COPY {rows}")), ready(b'I')].concat()
}

/// What the client gets of the data, message by message.
fn shown(s: &Stage) -> Vec<String> {
    let data = messages(&s.to_client).into_iter().filter(|(kind, _)| *kind == b'd');
    data.map(|(_, body)| String::from_utf8_lossy(&body).into_owned()).collect()
}

fn row(note: &str) -> Vec<u8> {
    data(format!("1\t{SECRET}\t{note}\n").as_bytes())
}

#[test]
fn rows_are_masked_by_column_and_by_value() {
    for text in [
        "COPY people TO STDOUT",
        "COPY people (id, email, note) TO STDOUT",
        "COPY (SELECT * FROM people) TO STDOUT",
    ] {
        for class in [Class::Agent, Class::Person] {
            let mut s = Stage::ready(class);
            s.client(&query(text));
            assert_eq!(s.verdicts(), [Verdict::Allow], "{text}");
            s.server(&[copy_out(false, 3), row("hello"), row("ask anna@example.org"), end(2)].concat());
            assert_eq!(
                shown(&s),
                ["1\tl***@example.com\thello\n", "1\tl***@example.com\task ***\n"],
                "{text}"
            );
            assert_eq!(s.client_kinds(), "HddcCZ");
            let AuditEvent::Completion(done) = &s.completions[0].event else { panic!() };
            assert_eq!(done.masked, 3);
        }
    }
}

#[test]
fn a_service_gets_the_bytes_of_the_server() {
    let mut s = Stage::ready(Class::Service);
    s.client(&query("COPY people TO STDOUT (FORMAT csv, SOMETHING 'new')"));
    let reply = [copy_out(false, 3), row("hello"), end(1)].concat();
    s.server(&reply);
    assert_eq!(s.to_client, reply);
}

#[test]
fn clean_columns_pass_as_they_are() {
    for text in ["COPY people (id) TO STDOUT", "COPY (SELECT id FROM people) TO STDOUT (FORMAT csv)"] {
        let mut s = Stage::ready(Class::Agent);
        s.client(&query(text));
        let reply = [copy_out(false, 1), data(b"1\n"), data(b"2\n"), end(2)].concat();
        s.server(&reply);
        assert_eq!(s.to_client, reply, "{text}");
    }
}

#[test]
fn what_an_expression_is_made_of_counts() {
    for text in [
        "COPY (SELECT upper(email) AS note FROM people) TO STDOUT",
        "COPY (SELECT note FROM people UNION ALL SELECT email FROM people) TO STDOUT",
        "COPY (SELECT p FROM people p) TO STDOUT",
        "COPY (SELECT string_agg(email, ',') FROM people) TO STDOUT",
    ] {
        let mut s = Stage::ready(Class::Agent);
        s.client(&query(text));
        s.server(&[copy_out(false, 1), data(b"not recognisable\n"), end(1)].concat());
        assert_eq!(s.verdicts(), [Verdict::Allow]);
        assert!(!shown(&s).concat().contains("not recognisable"), "{text}");
        assert_eq!(s.client_kinds(), "HdcCZ");
    }
}

#[test]
fn what_cannot_be_masked_is_refused() {
    for text in [
        "COPY people TO STDOUT (FORMAT csv, SOMETHING 'new')",
        "COPY people TO STDOUT (ENCODING 'SJIS')",
        "COPY people TO STDOUT (DELIMITER 'ab')",
        // Nobody knows what it reads.
        "COPY (SELECT made_since.x, email FROM made_since, people) TO STDOUT",
    ] {
        let mut s = Stage::ready(Class::Agent);
        s.client(&query(text));
        let known = s.verdicts();
        if known == [Verdict::Deny] {
            continue;
        }
        s.server(&[copy_out(false, 2), data(b"one\ttwo\n"), end(1)].concat());
        assert!(!s.to_client.windows(3).any(|w| w == b"one" || w == b"two"), "{text}");
    }
}

#[test]
fn an_encoding_that_changes_behind_the_decision_ends_the_session() {
    let mut s = Stage::ready(Class::Agent);
    s.client(&query("COPY people TO STDOUT"));
    s.server(&[message(b'S', b"client_encoding\0SJIS\0"), copy_out(false, 3), row("hello")].concat());
    assert!(s.closed.is_some() && !String::from_utf8_lossy(&s.to_client).contains(SECRET));
}

#[test]
fn columns_that_were_not_expected_are_hidden() {
    let mut s = Stage::ready(Class::Agent);
    s.client(&query("COPY people (id) TO STDOUT"));
    s.server(&[copy_out(false, 2), data(format!("1\t{SECRET}\n").as_bytes()), end(1)].concat());
    assert_eq!(shown(&s), ["\\N\t\\N\n"]);
}

#[test]
fn data_that_are_not_as_the_options_say_end_the_session() {
    for data_bytes in [&b"1\n"[..], b"1\ta\tb\tc\n"] {
        let mut s = Stage::ready(Class::Agent);
        s.client(&query("COPY people TO STDOUT"));
        s.server(&[copy_out(false, 3), row("hello"), data(data_bytes), end(2)].concat());
        assert!(s.closed.is_some());
        assert_eq!(shown(&s).len(), 1);
    }
    let mut s = Stage::ready(Class::Agent);
    s.client(&query("COPY people TO STDOUT"));
    s.server(&copy_out(true, 3));
    assert!(s.closed.is_some(), "binary where text was asked for");
    let mut s = Stage::ready(Class::Agent);
    s.client(&query("COPY people TO STDOUT"));
    s.server(&[copy_out(false, 3), data(b"1\thalf"), end(1)].concat());
    assert!(s.closed.is_some() && shown(&s).is_empty(), "half a row");
}

#[test]
fn a_row_may_come_in_pieces_and_several_at_once() {
    let mut s = Stage::ready(Class::Agent);
    s.client(&query("COPY people TO STDOUT"));
    let two = format!("1\t{SECRET}\thello\n2\t{SECRET}\tbye\n3\t{}", &SECRET[..4]);
    let rest = format!("{}\tlast\n", &SECRET[4..]);
    s.server(&[copy_out(false, 3), data(two.as_bytes()), data(rest.as_bytes()), end(3)].concat());
    let wanted = ["1\tl***@example.com\thello\n2\tl***@example.com\tbye\n", "3\tl***@example.com\tlast\n"];
    assert_eq!(shown(&s), wanted);
}

#[test]
fn every_copy_of_a_text_has_its_own_columns() {
    let mut s = Stage::ready(Class::Agent);
    s.client(&query("COPY people (id, note) TO STDOUT; COPY people (email, id) TO STDOUT (FORMAT csv)"));
    s.server(&[copy_out(false, 2), data(b"1\thello\n"), message(b'c', b""), complete("COPY 1")].concat());
    s.server(&[copy_out(false, 2), data(format!("{SECRET},1\n").as_bytes()), end(1)].concat());
    assert_eq!(shown(&s), ["1\thello\n", "\"l***@example.com\",1\n"]);
}

#[test]
fn an_extended_copy_is_masked_too_and_a_failed_one_leaves_nothing_behind() {
    let mut s = Stage::ready(Class::Agent);
    s.client(
        &[parse("", "COPY people TO STDOUT (FORMAT binary)"), bind("", ""), execute(""), sync()].concat(),
    );
    s.server(&message(b'1', b""));
    let sent = s.server_kinds();
    assert!(sent.contains('E'), "{sent}");
    let header = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
    let mut tuple = vec![0, 3];
    for value in ["\0\0\0\x01", SECRET, "hello"] {
        tuple.extend((value.len() as u32).to_be_bytes());
        tuple.extend(value.bytes());
    }
    let mut replies = message(b'2', b"");
    if sent.contains('D') {
        replies.extend(message(b'n', b""));
    }
    replies.extend([copy_out(true, 3), data(header), data(&tuple), data(b"\0\x03\0\0")].concat());
    replies.extend([error("57014"), ready(b'I')].concat());
    s.server(&replies);
    let told = String::from_utf8_lossy(&s.to_client).into_owned();
    assert!(told.contains("l***@example.com") && !told.contains(SECRET), "{told:?}");
    s.clear();
    s.client(&query("COPY people (id) TO STDOUT"));
    s.server(&[copy_out(false, 1), data(b"1\n"), end(1)].concat());
    assert_eq!(shown(&s), ["1\n"]);
}

/// The same data at every cut of the connection's bytes.
#[test]
fn cuts_of_the_connection_change_nothing() {
    let reply = [copy_out(false, 3), row("hello"), row("a\\tb"), row("to anna@example.org"), end(3)].concat();
    let run = |cut: usize| {
        let mut s = Stage::ready(Class::Agent);
        s.client(&query("COPY people TO STDOUT"));
        s.server(&reply[..cut]);
        s.server(&reply[cut..]);
        s.to_client
    };
    let whole = run(reply.len());
    (0..reply.len()).for_each(|cut| assert_eq!(run(cut), whole, "cut at {cut}"));
}

/// Announced, and not collected: the client is told why, in words that are not about a protocol.
#[test]
fn a_row_that_is_too_long_to_be_masked_ends_the_session_and_says_so() {
    for (text, head) in [
        ("SELECT email FROM people", row_description(&[("email", 20000, 2)])),
        ("COPY people TO STDOUT", copy_out(false, 3)),
    ] {
        let mut s = Stage::ready(Class::Agent);
        let limit = s.governance.limits.row_bytes_max as u32;
        s.client(&query(text));
        let kind = if text.starts_with("COPY") { b'd' } else { b'D' };
        s.server(&[head, vec![kind], (limit + 5).to_be_bytes().to_vec(), b"louis@".to_vec()].concat());
        assert!(s.client_kinds().ends_with('E'), "{text}");
        let told = String::from_utf8_lossy(&s.to_client).into_owned();
        assert!(told.contains("C54000") && told.contains("limits.row_bytes_max"), "{text}: {told}");
        assert!(!told.contains("louis"), "{text}");
        assert!(s.closed.is_some());
    }
    // Rows that nothing is masked in pass, however long.
    let mut s = Stage::ready(Class::Service);
    s.client(&query("SELECT email FROM people"));
    s.server(&[row_description(&[("email", 20000, 2)]), vec![b'D', 0x3f, 0xff, 0xff, 0xff, 0, 1]].concat());
    assert!(s.closed.is_none() && s.to_client.ends_with(&[0x3f, 0xff, 0xff, 0xff, 0, 1]));
}
