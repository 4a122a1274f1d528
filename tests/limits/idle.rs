//! What a connection keeps when it has nothing to do: little, whatever it did before; and of a server that does not read.

use super::{GROWTH_KIB_MAX, MIB, growth_kib};
use governor_tests::remote_socket::RemoteSocket;
use governor_tests::wire::{self, Wire};
use governor_tests::{Auth, Cgroup, Class, Governor, Options, Site, process, wait};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::time::Duration;

/// Several times what was ever seen, most of which is what the allocator keeps for all of them: with lists that stay as long as
/// the longest pipeline was, it was four times this.
const IDLE_KIB_MAX: f64 = 1024.0;
const CONNECTIONS: usize = 40;

#[test]
fn a_connection_gives_back_what_it_took_for_its_work() {
    let options = Options { server_settings: vec!["max_connections=200"], ..Options::default() };
    let site = Site::with(Auth::Trust, &options).unwrap();
    let pid = site.governor.pid().unwrap();
    let text = format!("SELECT length('{}')", "x".repeat(MIB / 2));
    let many: Vec<u8> =
        (0..2_000).flat_map(|n| wire::extended("SELECT $1::text", &[&n.to_string()])).collect();
    let many = [many, wire::sync()].concat();
    for class in [Class::Service, Class::Person] {
        // What is kept once, whatever comes later: caches, the allocator's own.
        let mut first = site.wire(class).unwrap();
        work(&mut first, &text, &many);
        let before = process::rss_kib(pid).unwrap();
        let mut all: Vec<Wire> = (0..CONNECTIONS).map(|_| site.wire(class).unwrap()).collect();
        let fresh = process::rss_kib(pid).unwrap();
        all.iter_mut().for_each(|wire| work(wire, &text, &many));
        let after = process::rss_kib(pid).unwrap();
        let each = |kib: u64| kib.saturating_sub(before) as f64 / CONNECTIONS as f64;
        println!(
            "{}: {:.1} KiB for an idle connection, {:.1} after work",
            class.as_str(),
            each(fresh),
            each(after)
        );
        assert!(each(after) < IDLE_KIB_MAX, "{class:?}: {} KiB", each(after));
    }
}

/// A long text, a long answer, and thousands of short ones.
fn work(wire: &mut Wire, text: &str, many: &[u8]) {
    assert_eq!(wire::tags(&wire.query(text).unwrap()), "TDCZ");
    assert_eq!(wire::tags(&wire.query("SELECT repeat('x', 2000000)").unwrap()), "TDCZ");
    let mut sender = wire.sender().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| sender.write_all(many).unwrap());
        assert_eq!(wire.until_ready().unwrap().len(), 4 * 2_000 + 1);
    });
}

/// It logs the client in and then reads nothing more: the client is stopped, and nothing is kept of what it would send.
#[test]
fn a_server_that_does_not_read_stops_its_own_client_only() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = std::thread::spawn(move || {
        let mut logged_in = Vec::new();
        for _ in 0..2 {
            let (mut stream, _) = listener.accept().unwrap();
            assert!(stream.read(&mut [0; 4096]).unwrap() > 0);
            stream.write_all(&[wire::message(b'R', &[0; 4]), wire::message(b'Z', b"I")].concat()).unwrap();
            logged_in.push(stream);
        }
        // The second one is served.
        let mut second = logged_in.pop().unwrap();
        assert!(second.read(&mut [0; 4096]).unwrap() > 0);
        second.write_all(&[wire::message(b'I', b""), wire::message(b'Z', b"I")].concat()).unwrap();
        second.read_to_end(&mut Vec::new()).ok();
    });
    let group = Cgroup::create("governor-test").unwrap();
    // One thread for both: a stop of it would stop the other one too.
    let options = Options { more: "[limits]\nworkers = 1\n".into(), ..Options::default() };
    let governor = Governor::start(&group, address.port(), &options).unwrap();
    let client = || {
        let socket = RemoteSocket::connect(&group.client(Class::Service), address).unwrap();
        let mut client = Wire::new(socket).unwrap();
        client.start("app", "shop").unwrap();
        client
    };
    let stalled = client();
    let mut other = client();
    let mut sender = stalled.sender().unwrap();
    sender.set_write_timeout(Some(Duration::from_secs(2))).unwrap();
    let growth = growth_kib("a client whose server does not read", governor.pid().unwrap(), || {
        let mut sent = 0;
        let piece = wire::query(&format!("SELECT '{}'", "x".repeat(MIB)));
        let stopped = wait::until("the client to be stopped", wait::PATIENCE, || {
            assert!(sent < 1_000, "{sent} MiB are somewhere");
            sent += 1;
            Ok(sender.write_all(&piece).is_err().then_some(()))
        });
        stopped.unwrap();
        println!("stopped within {sent} MiB");
        assert_eq!(wire::tags(&other.query("").unwrap()), "IZ", "others go on");
    });
    assert!(growth < GROWTH_KIB_MAX);
    drop((stalled, sender, other));
    server.join().unwrap();
    drop(governor);
}
