//! Values as long as PostgreSQL has them: a message of it has less than 1 GiB. Both ways, as each class.
//!
//! Servers and clients take several GiB for them, and minutes, so nobody runs this by the way:
//! `cargo xtask build && GOVERNOR_BIN=target/debug/governor cargo test -p governor-tests --test limits -- --ignored`.

use super::{GROWTH_KIB_MAX, MIB, growth_kib};
use governor_tests::wire::{self, Wire};
use governor_tests::{Class, Site};
use std::io::{Read, Write};
use std::time::Duration;

/// With the head of its message and what the server adds for itself just below its limit, 2^30 - 1.
const LONGEST: usize = (1 << 30) - 1024;
/// `limits.row_bytes_max` by default.
const MASKED_MAX: usize = 64 * MIB;

/// Kinds of messages up to ReadyForQuery or to the end of the connection, and the longest body. Bodies are not kept.
fn skim(wire: &Wire) -> (String, u64) {
    let mut stream = wire.sender().unwrap();
    let (mut kinds, mut longest) = (String::new(), 0);
    let mut head = [0; 5];
    while !kinds.ends_with('Z') && stream.read_exact(&mut head).is_ok() {
        let body = u64::from(u32::from_be_bytes(head[1..].try_into().unwrap())) - 4;
        let read = std::io::copy(&mut (&mut stream).take(body), &mut std::io::sink()).unwrap();
        assert_eq!(read, body, "half a message");
        kinds.push(char::from(head[0]));
        longest = longest.max(body);
    }
    (kinds, longest)
}

/// A session that waits for as long as a server needs for a GiB.
fn patient(site: &Site, class: Class) -> Wire {
    let wire = site.wire(class).unwrap();
    let stream = wire.sender().unwrap();
    // Both handles are of one socket.
    stream.set_read_timeout(Some(Duration::from_secs(300))).unwrap();
    stream.set_write_timeout(Some(Duration::from_secs(300))).unwrap();
    wire
}

/// Sends `length` bytes, a MiB at a time, while the server may already answer.
fn send_long(wire: &mut Wire, before: &[u8], length: usize, after: &[u8]) {
    wire.send(before).unwrap();
    let piece = vec![b'x'; MIB];
    let mut left = length;
    while left > 0 {
        let now = left.min(MIB);
        wire.send(&piece[..now]).unwrap();
        left -= now;
    }
    wire.send(after).unwrap();
}

/// A Bind of one value, up to the value.
fn bind_head(length: usize) -> Vec<u8> {
    let before = b"\0\0\0\0\0\x01";
    let total = 4 + before.len() + 4 + length + 2;
    [&b"B"[..], &(total as u32).to_be_bytes(), before, &(length as u32).to_be_bytes()].concat()
}

#[test]
#[ignore = "takes minutes and several GiB; run by the command above"]
fn a_value_of_a_gibibyte_passes_both_ways_in_bounded_memory() {
    let site = Site::start().unwrap();
    site.truth("CREATE UNLOGGED TABLE big (t text); GRANT ALL ON big TO app").unwrap();
    let pid = site.governor.pid().unwrap();
    for class in [Class::Service, Class::Person] {
        let mut wire = patient(&site, class);
        let growth = growth_kib(&format!("{class:?}: bound"), pid, || {
            wire.send(&wire::parse("", "SELECT length($1::text)")).unwrap();
            let after = [&[0; 2][..], &wire::execute(""), &wire::sync()].concat();
            send_long(&mut wire, &bind_head(LONGEST), LONGEST, &after);
            let reply = wire.until_ready().unwrap();
            assert_eq!(wire::tags(&reply), "12DCZ");
            let counted = reply[2].row().unwrap()[0].clone().unwrap();
            assert_eq!(String::from_utf8(counted).unwrap(), LONGEST.to_string());
        });
        assert!(growth < GROWTH_KIB_MAX);
        let growth = growth_kib(&format!("{class:?}: copied in"), pid, || {
            site.truth("TRUNCATE big").unwrap();
            wire.send(&wire::query("COPY big FROM STDIN")).unwrap();
            assert_eq!(wire.read().unwrap().tag, b'G');
            let piece = wire::message(b'd', &vec![b'x'; MIB]);
            for _ in 0..LONGEST / MIB {
                wire.send(&piece).unwrap();
            }
            wire.send(&[wire::copy_data("\n"), wire::copy_done()].concat()).unwrap();
            assert_eq!(wire::tags(&wire.until_ready().unwrap()), "CZ");
        });
        assert!(growth < GROWTH_KIB_MAX);
    }
    let service = patient(&site, Class::Service);
    let select = format!("SELECT repeat('x', {LONGEST})");
    let extended = [wire::extended(&select, &[]), wire::sync()].concat();
    let copy = wire::query("COPY (SELECT t FROM big LIMIT 1) TO STDOUT");
    for (what, asked, kinds) in [
        ("simple", wire::query(&select), "TDCZ"),
        ("extended", extended, "12DCZ"),
        ("copied out", copy, "HdcCZ"),
    ] {
        let growth = growth_kib(what, pid, || {
            service.sender().unwrap().write_all(&asked).unwrap();
            let (seen, longest) = skim(&service);
            assert_eq!(seen, kinds, "{what}");
            assert!(longest > (LONGEST - 2 * MIB) as u64, "{what}: {longest}");
        });
        assert!(growth < GROWTH_KIB_MAX, "{what}");
    }
}

#[test]
#[ignore = "takes minutes and several GiB; run by the command above"]
fn a_masked_value_is_masked_whole_or_refused_whatever_its_length() {
    let site = Site::start().unwrap();
    let pid = site.governor.pid().unwrap();
    for (length, shown) in [(MASKED_MAX - 4096, true), (MASKED_MAX + 4096, false), (LONGEST, false)] {
        let end = "@example.com";
        let set =
            format!("UPDATE people SET email = repeat('a', {}) || '{end}' WHERE id = 1", length - end.len());
        site.truth(&set).unwrap();
        for (how, ask) in [
            ("simple", wire::query("SELECT email FROM people WHERE id = 1")),
            (
                "extended",
                [wire::extended("SELECT email FROM people WHERE id = 1", &[]), wire::sync()].concat(),
            ),
            ("copied out", wire::query("COPY (SELECT email FROM people WHERE id = 1) TO STDOUT")),
        ] {
            let mut person = patient(&site, Class::Person);
            let growth = growth_kib(&format!("{length} bytes, {how}"), pid, || {
                person.send(&ask).unwrap();
                let mut messages = Vec::new();
                while let Ok(message) = person.read() {
                    let last = message.tag == b'Z';
                    messages.push(message);
                    if last {
                        break;
                    }
                }
                let value = messages.iter().find(|m| matches!(m.tag, b'D' | b'd')).map(|m| &m.body);
                assert_eq!(value.is_some(), shown, "{length} {how}: {}", wire::tags(&messages));
                assert!(
                    value.is_none_or(|value| !value.windows(4).any(|part| part == b"aaaa")),
                    "{length} {how}"
                );
                if !shown {
                    let error = messages.last().unwrap();
                    assert_eq!(error.field(b'C').as_deref(), Some("54000"), "{length} {how}: {error:?}");
                    assert!(error.field(b'M').unwrap().contains("limits.row_bytes_max"));
                }
            });
            // The row, its masked form, and room for the reading of them.
            assert!(growth < 4 * (MASKED_MAX / 1024) as u64, "{length} {how}");
        }
    }
}
