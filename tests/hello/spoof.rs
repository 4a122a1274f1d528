//! Who else tries to say who a client is: a client itself, a recording, another address, a relay in between.

use super::{PORT, hello, session_starts};
use anyhow::{Context, Result};
use governor_tests::database_host::{REMOTE_V4, SERVER_V4};
use governor_tests::governor::{field, text};
use governor_tests::relay::relay;
use governor_tests::remote_socket::RemoteSocket;
use governor_tests::two_hosts::{APP1, STRANGER, TwoHosts, names_app1, peer};
use governor_tests::{Auth, Class, Options, process, wait};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::Stdio;
use std::time::Duration;

/// A Hello with this public key, as governor sends it.
fn hello_of(key: &str) -> Vec<u8> {
    let mut body = vec![0x47, 0x4f, 0x56, 0x48, 1, 1];
    body.extend((0..32).map(|at| u8::from_str_radix(&key[2 * at..2 * at + 2], 16).unwrap()));
    body.extend([5; 32]);
    governor_tests::wire::untagged(&body)
}

fn attestation_of(body: &[u8]) -> Vec<u8> {
    governor_tests::wire::untagged(&[&[0x47, 0x4f, 0x56, 0x41], body].concat())
}

/// Sends `first` from the client's host, past its governor; after a challenge `second`. Answers what came back in the end.
fn say(hosts: &TwoHosts, from: &str, first: &[u8], second: Option<&[u8]>) -> Vec<u8> {
    let said = || -> Result<Vec<u8>> {
        let mut socket = connect_from(from)?;
        socket.write_all(first)?;
        if let Some(second) = second {
            let mut challenge = [0; 170];
            socket.read_exact(&mut challenge).context("a challenge")?;
            assert_eq!(challenge[0], 7, "a challenge");
            socket.write_all(second)?;
        }
        let mut rest = Vec::new();
        // A reset after the last byte is an end too.
        let _ = socket.read_to_end(&mut rest);
        Ok(rest)
    };
    hosts.db1.remote.inside(said).unwrap().unwrap()
}

fn connect_from(from: &str) -> Result<TcpStream> {
    use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn, bind, connect, socket};
    use std::os::fd::AsRawFd;
    let fd = socket(AddressFamily::Inet, SockType::Stream, SockFlag::empty(), None)?;
    let at = |address: &str, port: u16| -> Result<SockaddrIn> {
        Ok(SockaddrIn::from(std::net::SocketAddrV4::new(address.parse()?, port)))
    };
    bind(fd.as_raw_fd(), &at(from, 0)?)?;
    connect(fd.as_raw_fd(), &at(SERVER_V4, PORT)?)?;
    let stream = TcpStream::from(fd);
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    Ok(stream)
}

/// The same with a Hello of this public key and nothing behind it, from the client's host.
pub(super) fn say_hello(hosts: &TwoHosts, key: &str) -> Vec<u8> {
    say(hosts, REMOTE_V4, &hello_of(key), None)
}

pub(super) fn is_error(reply: &[u8]) -> bool {
    reply.first() == Some(&b'E')
}

#[test]
fn a_captured_client_cannot_speak_for_itself() {
    let hosts = TwoHosts::trusting("optional").unwrap();
    // An unprivileged program on the client's host that knows the public key, of course, and all about the protocol.
    let reply = hosts
        .db1
        .remote
        .inside(|| -> Result<Vec<u8>> {
            let address = format!("{SERVER_V4}:{PORT}").parse()?;
            let mut socket = RemoteSocket::connect(&hosts.group.client(Class::Agent), address)?;
            socket.stream.write_all(&hello_of(APP1.1))?;
            let mut reply = Vec::new();
            let _ = socket.stream.read_to_end(&mut reply);
            Ok(reply)
        })
        .unwrap()
        .unwrap();
    assert!(is_error(&reply), "{reply:?}");
    let record = hello(&hosts.app1, "unexpected");
    assert!(text(&record, "reason").contains("a client of this host"), "{record}");
    assert_eq!(session_starts(&hosts.db1.governor), 0, "nothing of it reached the server's host");
}

#[test]
fn without_the_key_nobody_speaks_for_a_host() {
    let hosts = TwoHosts::trusting("optional").unwrap();
    let forged = attestation_of(&[&br#"{"host":"app1"}"#[..], &[0; 64]].concat());
    assert!(is_error(&say(&hosts, REMOTE_V4, &hello_of(APP1.1), Some(&forged))));
    let record = hello(&hosts.db1.governor, "bad_signature");
    assert_eq!((text(&record, "peer"), field(&record, "principal").is_null()), ("app1".into(), true));
    // In place of an attestation: the StartupMessage, nothing, too much, garbage.
    let startup = governor_tests::wire::startup("app", "shop");
    let long = [&(1_u32 << 20).to_be_bytes()[..], &forged[4..8]].concat();
    for second in [&startup[..], &long, &[0xff; 64]] {
        let reply = say(&hosts, REMOTE_V4, &hello_of(APP1.1), Some(second));
        assert!(is_error(&reply), "{reply:?}");
    }
    assert!(is_error(&say(&hosts, REMOTE_V4, &hello_of(STRANGER.1), None)));
    hello(&hosts.db1.governor, "unknown_key");
    // Bytes that are no Hello; and what comes behind one before it was answered.
    let version_9 = [&hello_of(APP1.1)[..8], &[9, 9], &hello_of(APP1.1)[10..]].concat();
    assert!(is_error(&say(&hosts, REMOTE_V4, &version_9, None)));
    hello(&hosts.db1.governor, "version");
    let behind = [hello_of(APP1.1), startup.clone()].concat();
    assert!(is_error(&say(&hosts, REMOTE_V4, &behind, None)));
    let short = governor_tests::wire::untagged(&[0x47, 0x4f, 0x56, 0x48, 1, 1, 0]);
    assert!(is_error(&say(&hosts, REMOTE_V4, &short, None)));
    let oversize = [&9_000_u32.to_be_bytes()[..], &hello_of(APP1.1)[4..8], &[0; 8_992]].concat();
    assert!(is_error(&say(&hosts, REMOTE_V4, &oversize, None)));
    // Not one of them was believed, or came to ask anything.
    let records = hosts.db1.governor.events("hello").unwrap();
    assert!(records.iter().all(|record| text(record, "outcome") != "accepted"), "{records:?}");
    assert_eq!(hosts.db1.governor.events("session_decision").unwrap().len(), 0);
    assert_eq!(
        hosts.db1.truth("SELECT count(*) FROM pg_stat_activity WHERE client_addr IS NOT NULL").unwrap(),
        "0"
    );
}

/// Prints what is sent to the server's port, as hexadecimal, each packet with its source port.
const LISTEN: &str = r"
import socket
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3)); s.bind(('to-host', 0)); print('up', flush=True)
while True:
    p = s.recv(1 << 17)
    if p[12:14] != b'\x08\x00' or p[23] != 6: continue
    ip = 14 + (p[14] & 15) * 4; data = ip + (p[ip + 12] >> 4) * 4
    end = 14 + int.from_bytes(p[16:18], 'big')
    if int.from_bytes(p[ip + 2:ip + 4], 'big') == 5432 and end > data: print(p[data:end].hex(), flush=True)
";

#[test]
fn a_recording_from_the_wire_is_worth_nothing() {
    let hosts = TwoHosts::trusting("required").unwrap();
    let mut listener = std::process::Command::new("python3");
    listener.args(["-ISc", LISTEN]).stdout(Stdio::piped());
    hosts.db1.remote.enter(&mut listener).unwrap();
    let mut listener = process::spawn(listener, libc::SIGKILL).unwrap();
    let mut lines = BufReader::new(listener.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "up");
    let mut psql = hosts.client("psql", Class::Service, SERVER_V4).unwrap();
    psql.env("PGSSLMODE", "disable");
    governor_tests::database_host::psql(psql, "SELECT 1").unwrap().ok().unwrap();
    let mut sent: Vec<u8> = Vec::new();
    let mut recorded = None;
    while recorded.is_none() {
        let line = lines.next().unwrap().unwrap();
        sent.extend((0..line.len() / 2).map(|at| u8::from_str_radix(&line[2 * at..2 * at + 2], 16).unwrap()));
        recorded = split(&sent);
    }
    listener.kill().unwrap();
    listener.wait().unwrap();
    let (first, second) = recorded.unwrap();
    assert!(is_error(&say(&hosts, REMOTE_V4, &first, Some(&second))));
    let record = hello(&hosts.db1.governor, "bad_signature");
    assert_eq!(text(&record, "peer"), "app1");
    let accepted = hosts.db1.governor.events("hello").unwrap();
    assert_eq!(accepted.iter().filter(|record| text(record, "outcome") == "accepted").count(), 1);
}

/// Hello and Attestation at the start of what one connection sent.
fn split(sent: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    let packet = |from: usize| {
        let length = u32::from_be_bytes(sent.get(from..from + 4)?.try_into().ok()?) as usize;
        sent.get(from..from + length)
    };
    let first = packet(0)?;
    let second = packet(first.len())?;
    assert_eq!((&first[4..8], &second[4..8]), (&b"GOVH"[..], &b"GOVA"[..]));
    Some((first.to_vec(), second.to_vec()))
}

#[test]
fn a_peers_key_counts_at_its_own_address_only() {
    let hosts = TwoHosts::trusting("required").unwrap();
    hosts.db1.remote.ip(&["address", "add", "10.77.0.3/24", "dev", "to-host"]).unwrap();
    assert!(is_error(&say(&hosts, "10.77.0.3", &hello_of(APP1.1), None)));
    let record = hello(&hosts.db1.governor, "wrong_address");
    assert_eq!(text(&record, "peer"), "app1");
    assert!(text(&record, "reason").contains("app1 is not at 10.77.0.3"), "{record}");
    assert!(hosts.db1.governor.log().contains("refused a hello"), "{}", hosts.db1.governor.log());
    assert_eq!(
        hosts.db1.metric("governor_hellos_total{outcome=\"wrong_address\",way=\"received\"}").unwrap(),
        1.0
    );
    assert_eq!(hosts.db1.metric("governor_connections_refused_total{reason=\"hello\"}").unwrap(), 1.0);
}

#[test]
fn a_relay_in_between_gets_no_attestation() {
    // An address that configuration takes for the database host's, and that somebody else has.
    let names = peer("db1", &[SERVER_V4, "10.77.0.9"], governor_tests::two_hosts::DB1.1, "optional");
    let app1 = Options { more: names, ..Options::default() };
    let db1 = Options { more: names_app1("optional"), ..Options::default() };
    let hosts = TwoHosts::start(Auth::Trust, &app1, &db1).unwrap();
    hosts.db1.remote.ip(&["address", "add", "10.77.0.9/24", "dev", "to-host"]).unwrap();
    let mut relay = relay(("10.77.0.9", 5432), ("10.77.0.1", 5432));
    relay.stdout(Stdio::piped());
    hosts.db1.remote.enter(&mut relay).unwrap();
    let mut relay = process::spawn(relay, libc::SIGKILL).unwrap();
    let mut lines = BufReader::new(relay.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "up");
    let refused = hosts.psql(Class::Service, "10.77.0.9", "SELECT 1").unwrap();
    assert!(!refused.status.success(), "{}", refused.all());
    let record = hello(&hosts.app1, "wrong_destination");
    assert!(text(&record, "reason").contains("10.77.0.9:5432 was dialled"), "{record}");
    let heard = hosts.db1.governor.wait_for_record("session_end", |_| true).unwrap();
    assert!(!heard.is_null());
    assert!(hosts.db1.governor.events("hello").unwrap().iter().all(|r| text(r, "outcome") != "accepted"));
    relay.kill().unwrap();
    wait::until("the relay to end", wait::PATIENCE, || Ok(relay.try_wait()?)).unwrap();
}
