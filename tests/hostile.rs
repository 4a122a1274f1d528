//! Bad input from either side closes that session, is recorded, and harms nobody else.

// Helpers beside the tests fail the test that called them.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use governor_tests::governor::text;
use governor_tests::{Auth, Cgroup, Class, Governor, Options, Site, process, wait, wire};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::time::{Duration, Instant};

/// More than any of these peers may make governor keep.
const GROWTH_KIB_MAX: u64 = 96 * 1024;

#[test]
fn a_malformed_client_message_closes_the_session_with_a_record() {
    let mut site = Site::start().unwrap();
    let cases: [(&str, Vec<u8>); 12] = [
        ("length 0", vec![b'Q', 0, 0, 0, 0]),
        ("length 3", vec![b'Q', 0, 0, 0, 3]),
        ("negative length", vec![b'Q', 0xff, 0xff, 0xff, 0xff]),
        ("unknown tag", wire::message(b'!', b"x")),
        ("query without its end", wire::message(b'Q', b"SELECT 1")),
        ("query with leftovers", wire::message(b'Q', b"SELECT 1\0SELECT 2\0")),
        ("parse cut short", wire::message(b'P', b"name")),
        ("bind with an inflated count", wire::message(b'B', b"\0\0\0\0\xff\xff")),
        ("bind value longer than its message", wire::message(b'B', b"\0\0\0\0\0\x01\x7f\xff\xff\xff\0\0")),
        ("execute cut short", wire::message(b'E', b"\0\0\0")),
        ("describe of nothing", wire::message(b'D', b"Z\0")),
        ("close without a name", wire::message(b'C', b"")),
    ];
    for (number, (what, bytes)) in cases.into_iter().enumerate() {
        let mut client = site.wire(Class::Agent).unwrap();
        client.send(&bytes).unwrap();
        let answer = client.until_closed().unwrap_or_else(|error| panic!("{what}: {error:#}"));
        assert!(answer.is_empty() || answer[0] == b'E', "{what}: {answer:?}");
        wait::until(what, wait::PATIENCE, || {
            let records = site.governor.events("protocol_error")?;
            let blamed = records.iter().filter(|record| text(record, "side") == "client").count();
            Ok((blamed == number + 1).then_some(()))
        })
        .unwrap();
    }
    assert!(site.governor.alive().unwrap());
    assert_eq!(site.psql(Class::Service, "SELECT 1;").unwrap().ok().unwrap().out(), "1\n");
}

#[test]
fn a_malformed_start_up_is_answered_as_postgresql_does() {
    let mut site = Site::start().unwrap();
    let cases: [(&str, Vec<u8>); 7] = [
        ("length below 8", vec![0, 0, 0, 4]),
        ("length of a gigabyte", vec![0x40, 0, 0, 0, 0, 3, 0, 0]),
        ("an HTTP request", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec()),
        ("protocol 2.0", wire::untagged(&[0, 2, 0, 0])),
        ("protocol 9.0", wire::untagged(&[0, 9, 0, 0, b'u', b's', b'e', b'r', 0, b'a', 0, 0])),
        ("no user", wire::untagged(&[0, 3, 0, 0, 0])),
        ("name without a value", wire::untagged(b"\0\x03\0\0user\0")),
    ];
    for (what, bytes) in cases {
        let mut client = wire::Wire::new(site.socket(Class::Service).unwrap()).unwrap();
        client.send(&bytes).unwrap();
        let answer = client.until_closed().unwrap_or_else(|error| panic!("{what}: {error:#}"));
        assert!(answer.is_empty() || answer[0] == b'E', "{what}: {answer:?}");
    }
    assert!(site.governor.alive().unwrap());
}

#[test]
fn a_newer_minor_version_is_negotiated() {
    let site = Site::start().unwrap();
    let mut client = wire::Wire::new(site.socket(Class::Service).unwrap()).unwrap();
    let mut startup = wire::startup("app", "shop");
    startup[7] = 9;
    client.send(&startup).unwrap();
    let reply = client.until_ready().unwrap();
    assert!(wire::tags(&reply).contains('v'), "NegotiateProtocolVersion: {}", wire::tags(&reply));
    assert_eq!(wire::tags(&client.query("SELECT 1").unwrap()), "TDCZ");
}

#[test]
fn announced_bytes_that_never_come_cost_no_memory() {
    let site = Site::start().unwrap();
    let pid = site.governor.pid().unwrap();
    let before = process::rss_kib(pid).unwrap();
    let mut clients = Vec::new();
    for _ in 0..64 {
        let mut client = site.wire(Class::Agent).unwrap();
        client.send(&[b'Q', 0x10, 0, 0, 0]).unwrap();
        clients.push(client);
    }
    site.psql(Class::Service, "SELECT 1;").unwrap().ok().unwrap();
    let growth = process::rss_kib(pid).unwrap().saturating_sub(before);
    assert!(growth < GROWTH_KIB_MAX, "64 × 256 MiB announced, {growth} KiB kept");
}

#[test]
fn a_client_that_does_not_read_stops_its_own_stream_only() {
    // All on one thread: whoever holds that up holds up everybody.
    let options = Options { more: "[limits]\nworkers = 1\n".into(), ..Options::default() };
    let site = Site::with(Auth::Trust, &options).unwrap();
    let pid = site.governor.pid().unwrap();
    let mut other = site.wire(Class::Service).unwrap();
    println!("SELECT 1, with nobody beside it: {:?}", median_of_queries(&mut other));
    let long = "SELECT repeat('x', 1000) FROM generate_series(1, 400000)";
    let masked = "SELECT email, repeat('x', 1000) FROM people, generate_series(1, 400000)";
    for class in [Class::Service, Class::Person] {
        for sql in [long, masked, &format!("COPY ({long}) TO STDOUT"), &format!("COPY ({masked}) TO STDOUT")]
        {
            // What is kept once: the catalogue, what was found in the data.
            let mut lazy = site.wire(class).unwrap();
            lazy.query("SELECT email FROM people").unwrap();
            let before = process::rss_kib(pid).unwrap();
            lazy.send(&wire::query(sql)).unwrap();
            wait_for_stalled(&site, 1);
            println!("{} beside {sql}: {:?}", class.as_str(), median_of_queries(&mut other));
            assert_eq!(site.psql(class, "SELECT 1;").unwrap().ok().unwrap().out(), "1\n", "{sql}");
            let growth = process::rss_kib(pid).unwrap().saturating_sub(before);
            assert!(growth < GROWTH_KIB_MAX, "{sql}: 400 MB waiting, {growth} KiB kept");
            // What has come is what was asked for, and no error.
            let mut tag = lazy.read().unwrap().tag;
            while matches!(tag, b'T' | b'N' | b'H') {
                tag = lazy.read().unwrap().tag;
            }
            assert_eq!(tag, if sql.starts_with("COPY") { b'd' } else { b'D' }, "{sql}");
            drop(lazy);
            wait_for_stalled(&site, 0);
        }
    }
}

/// Until so many backends wait for their clients to read.
fn wait_for_stalled(site: &Site, count: usize) {
    wait::until("the stream to stall, or to end", wait::PATIENCE, || {
        let stalled = site.truth("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'ClientWrite'")?;
        Ok((stalled == count.to_string()).then_some(()))
    })
    .unwrap();
}

/// What a short statement takes: printed, never asserted.
fn median_of_queries(wire: &mut wire::Wire) -> Duration {
    let mut times: Vec<Duration> = (0..200)
        .map(|_| {
            let begun = Instant::now();
            assert_eq!(wire::tags(&wire.query("SELECT 1").unwrap()), "TDCZ");
            begun.elapsed()
        })
        .collect();
    times.sort();
    times[times.len() / 2]
}

#[test]
fn random_bytes_after_start_up_never_stop_the_agent() {
    let mut site = Site::start().unwrap();
    let seed = u64::from(std::process::id());
    println!("seed {seed}");
    let mut state = seed | 1;
    for _ in 0..200 {
        let mut client = site.wire(Class::Agent).unwrap();
        let bytes: Vec<u8> = (0..200)
            .map(|_| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                (state >> 24) as u8
            })
            .collect();
        client.send(&bytes).ok();
    }
    assert!(site.governor.alive().unwrap());
    assert_eq!(site.psql(Class::Service, "SELECT 1;").unwrap().ok().unwrap().out(), "1\n");
}

#[test]
fn a_hostile_server_closes_its_session_only() {
    let login: Vec<u8> = [wire::message(b'R', &[0, 0, 0, 0]), wire::message(b'Z', b"I")].concat();
    let row = |body: &[u8]| [wire::message(b'T', &columns(1)), wire::message(b'D', body)].concat();
    let answers: Vec<(&str, Vec<u8>)> = vec![
        ("length 0", vec![b'D', 0, 0, 0, 0]),
        ("negative length", vec![b'T', 0xff, 0xff, 0xff, 0xf0]),
        ("row with more columns than announced", row(b"\0\x09\xff\xff\xff\xff")),
        ("row value longer than its message", row(b"\0\x01\x7f\0\0\0x")),
        ("columns announced and missing", wire::message(b'T', &[0x7f, 0xff])),
        (
            "a reply that nobody asked for",
            [wire::message(b'C', b"SELECT 1\0"), wire::message(b'Z', b"I")].concat().repeat(4),
        ),
        ("unknown tag", wire::message(b'?', b"x")),
        ("CopyBoth, which is for replication", wire::message(b'W', b"\0\0\0")),
        ("transaction state that does not exist", wire::message(b'Z', b"Q")),
        ("nonsense", b"HTTP/1.1 200 OK\r\n\r\n".to_vec()),
    ];
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let scripts: Vec<Vec<u8>> = answers.iter().map(|(_, bytes)| bytes.clone()).collect();
    let server = std::thread::spawn(move || {
        for script in scripts {
            let (mut stream, _) = listener.accept().unwrap();
            stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
            let mut buffer = [0; 4096];
            // Start-up, answered as any server would; then the first query, answered as none would.
            if stream.read(&mut buffer).unwrap_or(0) == 0 || stream.write_all(&login).is_err() {
                continue;
            }
            // governor itself asks first, for the catalogue; it is told no, and the client is let in.
            let refusal = [wire::message(b'E', b"C42501\0\0"), wire::message(b'Z', b"I")].concat();
            // So it asks for the state of the session before it forwards the first query.
            let asks = 2;
            if (0..asks)
                .any(|_| stream.read(&mut buffer).unwrap_or(0) > 0 && stream.write_all(&refusal).is_err())
            {
                continue;
            }
            if stream.read(&mut buffer).unwrap_or(0) > 0 {
                stream.write_all(&script).ok();
            }
            // Held open: governor has to close it.
            while stream.read(&mut buffer).is_ok_and(|read| read > 0) {}
        }
    });
    let group = Cgroup::create("governor-test").unwrap();
    let mut governor = Governor::start(&group, port, &Options::default()).unwrap();
    let address = std::net::SocketAddr::from(([127, 0, 0, 1], port));
    for (number, (what, _)) in answers.iter().enumerate() {
        let socket =
            governor_tests::remote_socket::RemoteSocket::connect(&group.client(Class::Agent), address)
                .unwrap();
        let mut client = wire::Wire::new(socket).unwrap();
        client.start("app", "shop").unwrap();
        client.send(&wire::query("SELECT 1")).unwrap();
        client.until_closed().unwrap_or_else(|error| panic!("{what}: {error:#}"));
        wait::until(what, wait::PATIENCE, || {
            let records = governor.events("protocol_error")?;
            let blamed = records.iter().filter(|record| text(record, "side") == "database").count();
            Ok((blamed > number).then_some(()))
        })
        .unwrap();
    }
    assert!(governor.alive().unwrap());
    drop(governor);
    server.join().unwrap();
}

/// A RowDescription body of `count` text columns.
fn columns(count: u16) -> Vec<u8> {
    let mut body = count.to_be_bytes().to_vec();
    for _ in 0..count {
        body.extend_from_slice(b"c\0");
        body.extend_from_slice(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 25, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0]);
    }
    body
}
