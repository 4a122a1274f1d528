//! What happens beside the messages: asynchronous ones amid a COPY, a backend that is killed inside of a row, connections
//! that are closed on one side, urgent data.

use super::{ready, seen, to_the_end, with_also};
use governor_tests::governor::text;
use governor_tests::wire::{self, Message, Wire};
use governor_tests::{Class, Site, wait};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener};
use std::os::fd::AsRawFd;
use std::time::Duration;

/// A trigger and a function that say something, and change what is reported, with every row.
const LOUD: &str = "
    CREATE TABLE heard (n int); GRANT ALL ON heard TO app;
    CREATE FUNCTION public.told() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE NOTICE 'row %', NEW.n;
        PERFORM pg_catalog.set_config('application_name', 'row ' || NEW.n, false);
        NOTIFY news, 'copied'; RETURN NEW; END $$;
    CREATE TRIGGER told BEFORE INSERT ON heard FOR EACH ROW EXECUTE FUNCTION public.told();
    CREATE FUNCTION public.loud(n int) RETURNS int LANGUAGE plpgsql AS $$ BEGIN RAISE NOTICE 'at %', n;
        PERFORM pg_catalog.set_config('application_name', 'at ' || n, false); RETURN n; END $$;";

/// Up to version 13 changes are reported at once, later before the next ReadyForQuery.
#[test]
fn asynchronous_messages_amid_a_copy_keep_their_places() {
    with_also(13).iter().for_each(asynchronous_messages_amid_a_copy);
}

fn asynchronous_messages_amid_a_copy(site: &Site) {
    let version: u32 = site.truth("SHOW server_version_num").unwrap().parse().unwrap();
    site.truth(LOUD).unwrap();
    let script = |class| {
        let mut wire = ready(site, class);
        let mut messages = wire.query("LISTEN news").unwrap();
        for lines in ["1\n2\n3\n", "4\nwrong\n5\n"] {
            wire.send(&wire::query("COPY heard FROM STDIN")).unwrap();
            // One message for each byte: rows end in the middle of messages and the other way round.
            for byte in lines.as_bytes() {
                wire.send(&wire::message(b'd', &[*byte])).unwrap();
            }
            wire.send(&wire::copy_done()).unwrap();
            messages.extend(wire.until_ready().unwrap());
        }
        messages.extend(
            wire.query("COPY (SELECT public.loud(n) FROM generate_series(1, 4) n) TO STDOUT").unwrap(),
        );
        messages.extend(wire.query("SELECT count(*) FROM heard").unwrap());
        for message in messages.iter_mut().filter(|m| m.tag == b'A') {
            // Whose it is differs.
            message.body.drain(..4);
        }
        messages
    };
    let direct = script(None);
    let kinds = wire::tags(&direct);
    let amid = if version < 140_000 { ["GNSN", "NSdN"] } else { ["GNNN", "dNdN"] };
    assert!(amid.iter().all(|part| kinds.contains(part)) && kinds.contains('A'), "{version}: {kinds}");
    site.truth("TRUNCATE heard").unwrap();
    assert_eq!(seen(&script(Some(Class::Service))), seen(&direct));
}

/// The server itself is killed, so that it cannot say anything any more.
#[test]
fn a_backend_that_is_killed_inside_of_a_row_ends_the_connection_inside_of_it() {
    let site = Site::start().unwrap();
    let script = |class| {
        let mut wire = ready(&site, class);
        let pid = i32::from_be_bytes(wire.cancel_key[..4].try_into().unwrap());
        wire.send(&wire::query("SELECT repeat('x', 64 << 20)")).unwrap();
        let mut stream = wire.sender().unwrap();
        let mut begun = vec![0; 1 << 20];
        stream.read_exact(&mut begun).unwrap();
        assert_eq!(begun[0], b'T', "{class:?}");
        // SAFETY: sends a signal to a process of the test's own server and touches no memory.
        assert_eq!(unsafe { libc::kill(pid, libc::SIGKILL) }, 0);
        let mut rest = Vec::new();
        // Closed with bytes unread, or reset.
        stream.read_to_end(&mut rest).ok();
        wait::until("the server to come back", wait::PATIENCE, || {
            Ok(site.truth("SELECT 1").is_ok().then_some(()))
        })
        .unwrap();
        begun.len() + rest.len()
    };
    let whole = (64 << 20) + 7;
    for class in [None, Some(Class::Service)] {
        assert!(script(class) < whole, "{class:?}: the row was cut");
    }
    let end = site.governor.wait_for_record("session_end", |_| true).unwrap();
    assert_eq!(text(&end, "reason"), "database_closed", "{end}");
    let lost = site.governor.wait_for_record("completion", |_| true).unwrap();
    assert_eq!(text(&lost, "outcome"), "lost", "{lost}");
    assert_eq!(wire::tags(&ready(&site, Some(Class::Service)).query("SELECT 1").unwrap()), "TDCZ");
}

#[test]
fn a_client_that_sends_no_more_gets_every_answer() {
    let site = Site::start().unwrap();
    let script = |class| {
        let mut wire = ready(&site, class);
        let rows = wire::query("SELECT n, repeat('y', 1000) FROM generate_series(1, 20000) n");
        wire.send(&[rows, wire::extended("SELECT 2", &[]), wire::sync(), wire::query("SELECT 3")].concat())
            .unwrap();
        wire.sender().unwrap().shutdown(Shutdown::Write).unwrap();
        let messages = to_the_end(&mut wire);
        (messages.len(), seen(&messages[messages.len() - 8..]))
    };
    let direct = script(None);
    assert!(direct.0 > 20_000, "{}", direct.0);
    for class in [Class::Service, Class::Person] {
        assert_eq!(script(Some(class)), direct, "{class:?}");
    }
}

/// It has said what it had to say, and still reads: what the client sends has somewhere to go, and the client sees the end.
#[test]
fn a_server_that_says_no_more_ends_the_session() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut buffer = [0; 4096];
        assert!(stream.read(&mut buffer).unwrap() > 0);
        let login = [wire::message(b'R', &[0; 4]), wire::message(b'Z', b"I")].concat();
        stream.write_all(&login).unwrap();
        assert!(stream.read(&mut buffer).unwrap() > 0);
        let news = [&0u32.to_be_bytes()[..], b"news\0last\0"].concat();
        stream.write_all(&wire::message(b'A', &news)).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        stream.set_read_timeout(Some(wait::PATIENCE)).unwrap();
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).map(|_| rest)
    });
    let group = governor_tests::Cgroup::create("governor-test").unwrap();
    let governor =
        governor_tests::Governor::start(&group, address.port(), &governor_tests::Options::default()).unwrap();
    let socket = governor_tests::remote_socket::RemoteSocket::connect(&group.client(Class::Service), address);
    let mut client = Wire::new(socket.unwrap()).unwrap();
    client.start("app", "shop").unwrap();
    client.send(&wire::query("SELECT 1")).unwrap();
    let messages: Vec<Message> = to_the_end(&mut client);
    assert_eq!(wire::tags(&messages), "A", "what it said comes before the end");
    // Nobody leaves the server with a connection that nobody uses.
    server.join().unwrap().unwrap();
    let end = governor.wait_for_record("session_end", |_| true).unwrap();
    assert_eq!(text(&end, "reason"), "database_closed", "{end}");
}

/// Sends `more` again and again, until the server has something to say. Answers how often.
fn until_heard(wire: &mut Wire, more: &[u8]) -> usize {
    let stream = wire.sender().unwrap();
    let patience = stream.read_timeout().unwrap();
    stream.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    let mut sent = 0;
    while stream.peek(&mut [0]).is_err() {
        assert!(sent < 300, "nothing is heard");
        wire.send(more).unwrap();
        sent += 1;
    }
    stream.set_read_timeout(patience).unwrap();
    sent
}

/// TCP's urgent byte is not part of the stream for a server, which never asks for it: so it is not for governor.
#[test]
fn urgent_data_are_no_part_of_the_stream() {
    let site = Site::start().unwrap();
    let urgent = |wire: &Wire, byte: u8| {
        let stream = wire.sender().unwrap();
        // SAFETY: one byte of this frame is read.
        let sent = unsafe {
            libc::send(stream.as_raw_fd(), (&raw const byte).cast(), 1, libc::MSG_OOB | libc::MSG_NOSIGNAL)
        };
        assert_eq!(sent, 1, "{}", std::io::Error::last_os_error());
    };
    let script = |class| {
        let mut wire = ready(&site, class);
        let query = wire::query("SELECT 'in one piece'");
        let mut messages = Vec::new();
        // Between two messages, and inside of one.
        for cut in [0, 1, 3, 5, 12] {
            wire.send(&query[..cut]).unwrap();
            urgent(&wire, b'!');
            wire.send(&query[cut..]).unwrap();
            // What stands behind it may wait until the client sends more: so it does.
            let behind = until_heard(&mut wire, &wire::query("SELECT 'behind'"));
            messages.extend(wire.until_ready().unwrap());
            for _ in 0..behind {
                assert_eq!(wire::tags(&wire.until_ready().unwrap()), "TDCZ", "{class:?}");
            }
        }
        seen(&messages)
    };
    let direct = script(None);
    assert_eq!(direct.len(), 20);
    for class in [Class::Service, Class::Person] {
        assert_eq!(script(Some(class)), direct, "{class:?}");
    }
    let records = site.governor.events("statement").unwrap();
    assert!(records.len() >= 10, "{records:?}");
    assert!(records.iter().all(|record| text(record, "text").starts_with("SELECT '")), "{records:?}");
}
