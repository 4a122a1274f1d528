//! More connections at once than one address has ports, through one agent: each is known, none is mixed up, and nothing is
//! left when they are gone.

use crate::machine::{governor, main_pid, metric, property, ready, rule, until};
use crate::raw;
use governor_tests::process;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::Instant;

#[test]
fn thirty_thousand_sessions_at_once_are_each_known_and_leave_nothing() {
    ready(&format!(
        "{}[limits]\nconnections_max = {}\nconnections_per_source_max = {}\nauthentication_timeout = \"10m\"\n\n",
        rule("refuse").replace("5432", "6000, 6001"),
        CONNECTIONS + 1_000,
        CONNECTIONS + 1_000
    ));
    let servers: Vec<SocketAddr> = (1..=ADDRESSES)
        .flat_map(|last| [6000, 6001].map(|port| SocketAddr::from((Ipv4Addr::new(127, 0, 1, last), port))))
        .collect();
    serve(&servers);
    let pid = main_pid();
    let idle_kib = process::rss_kib(pid).unwrap();

    let begun = Instant::now();
    let mut sessions: Vec<(TcpStream, SocketAddr)> = Vec::with_capacity(CONNECTIONS);
    for number in 0..CONNECTIONS {
        let server = servers[number % servers.len()];
        let mut stream = raw::connect(server).unwrap();
        assert_eq!(stream.peer_addr().unwrap(), server, "what the client sees");
        assert!(raw::start(&mut stream), "session {number}");
        sessions.push((stream, server));
        if number % 5_000 == 4_999 {
            println!("{} open after {:.0} s", number + 1, begun.elapsed().as_secs_f32());
        }
    }
    let kib = process::rss_kib(pid).unwrap();
    println!(
        "{CONNECTIONS} sessions in {:.0} s; the agent has {} MiB resident, {:.1} KiB a session more than idle, {} files",
        begun.elapsed().as_secs_f32(),
        kib / 1024,
        (kib - idle_kib) as f32 / CONNECTIONS as f32,
        process::open_files(pid).unwrap(),
    );
    println!("memory of the unit with its sockets: {} bytes", property("MemoryCurrent"));
    assert_eq!(metric("governor_connections_active") as usize, CONNECTIONS);
    assert_eq!(metric("governor_kernel_identity_missing_total"), 0.0);
    assert_eq!(metric("governor_connections_refused_total"), 0.0);

    // Each still has its own server at the other end, in any order.
    for (number, (stream, server)) in sessions.iter_mut().enumerate().step_by(97) {
        stream.write_all(&governor_tests::wire::query(&format!("SELECT {number}"))).unwrap();
        assert_eq!(echoed(stream), format!("{server}"), "session {number}");
    }

    // One record for each, with the process and the server that it dialled.
    let told = destinations();
    assert_eq!(told.values().sum::<usize>(), CONNECTIONS);
    for server in &servers {
        let expected = (0..CONNECTIONS).filter(|number| servers[number % servers.len()] == *server).count();
        assert_eq!(told.get(&server.to_string()), Some(&expected), "{told:?}");
    }

    let begun = Instant::now();
    drop(sessions);
    until("every session to end", || (metric("governor_connections_active") == 0.0).then_some(()));
    until("the sums", || (metric("governor_completeness_pending") == 0.0).then_some(()));
    println!("closed after {:.0} s", begun.elapsed().as_secs_f32());
    assert_eq!(metric("governor_completeness_mismatches_total"), 0.0);
    assert_eq!(metric("governor_completeness_difference_bytes"), 0.0);
    for map in ["PENDING", "UPSTREAMS", "CLIENTS"] {
        assert_eq!(level(map), 0.0, "{map} has nothing left");
    }
    until("the agent's files to be closed", || (process::open_files(pid).unwrap() < 200).then_some(()));
    println!("{}", governor(&["status"]).out());
    assert_eq!(main_pid(), pid);
}

/// Sessions on record by the server that they dialled; every one by this process, none twice. Lines are searched, not
/// parsed: there are many, and they are long.
fn destinations() -> BTreeMap<String, usize> {
    let found = governor(&["audit", "search", "--event", "session_start", "--limit", "0", "--json"]).out();
    let (mut told, mut seen) = (BTreeMap::new(), BTreeSet::new());
    let me = format!("\"pid\":{},", std::process::id());
    for line in found.lines() {
        let after = |mark: &str| line.split_once(mark).map(|(_, rest)| rest);
        let until = |rest: &str, end: char| rest.split(end).next().unwrap().to_owned();
        let Some(server) = after("\"destination\":{\"address\":\"127.0.1.") else { continue };
        assert!(line.contains(&me), "{line}");
        let session = until(after("\"session\":\"").unwrap(), '"');
        assert!(seen.insert(session), "twice: {line}");
        let port = until(server.split_once("\"port\":").unwrap().1, ',').trim_end_matches('}').to_owned();
        *told.entry(format!("127.0.1.{}:{port}", until(server, '"'))).or_insert(0) += 1;
    }
    told
}

fn level(map: &str) -> f64 {
    let (_, page) = governor_tests::http::get("127.0.0.1:9847", "/metrics").unwrap();
    let line = format!("governor_kernel_map_entries{{map=\"{map}\"}} ");
    page.lines().find_map(|found| found.strip_prefix(&line)?.parse().ok()).unwrap_or_else(|| panic!("{page}"))
}

/// The text of the one row that the acceptor answers with.
fn echoed(stream: &mut TcpStream) -> String {
    let mut text = String::new();
    loop {
        let mut head = [0; 5];
        stream.read_exact(&mut head).unwrap();
        let mut body = vec![0; u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize - 4];
        stream.read_exact(&mut body).unwrap();
        match head[0] {
            b'D' => text = String::from_utf8(body.split_off(6)).unwrap(),
            b'Z' => return text,
            _ => {}
        }
    }
}

/// Servers of PostgreSQL's protocol that let everybody in, and answer each query with their own address.
fn serve(addresses: &[SocketAddr]) {
    let listeners: Vec<_> =
        addresses.iter().map(|address| (*address, TcpListener::bind(address).unwrap())).collect();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
        runtime.block_on(async {
            for (address, listener) in listeners {
                listener.set_nonblocking(true).unwrap();
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                tokio::spawn(async move {
                    loop {
                        let (stream, _) = listener.accept().await.unwrap();
                        tokio::spawn(answer(stream, address));
                    }
                });
            }
            std::future::pending::<()>().await;
        });
    });
}

/// Start-ups and queries of these tests come in one piece each.
async fn answer(mut stream: tokio::net::TcpStream, address: SocketAddr) {
    use governor_tests::wire::message;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    // Small: there is one for each session.
    let mut bytes = [0; 200];
    while let Ok(1..) = stream.read(&mut bytes).await {
        let ready = message(b'Z', b"I");
        let reply = match bytes[0] {
            0 => [message(b'R', &[0; 4]), message(b'S', b"server_version\x0015.0\0"), ready].concat(),
            b'Q' => {
                let column =
                    [&[0, 1][..], b"at\0", &[0; 6], &25_u32.to_be_bytes(), &[255; 6], &[0, 0]].concat();
                let text = address.to_string();
                let row = [&[0, 1][..], &(text.len() as u32).to_be_bytes(), text.as_bytes()].concat();
                [message(b'T', &column), message(b'D', &row), message(b'C', b"SELECT 1\0"), ready].concat()
            }
            _ => return,
        };
        if stream.write_all(&reply).await.is_err() {
            return;
        }
    }
}

/// More than the ephemeral ports of one pair of addresses (28,232).
const CONNECTIONS: usize = 30_000;
/// 127.0.1.1 and on, two ports each.
const ADDRESSES: u8 = 3;
