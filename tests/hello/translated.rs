//! Addresses that are changed on the way: 10.77.0.9, which app1 dials, arrives at 10.77.0.1. Within TLS that is no matter; in
//! clear the configuration has to say so; and somebody in between stays somebody in between.

use super::rotation::{edit, reload};
use super::{ASK, hello, secure};
use governor_tests::database_host::{SERVER_V4, psql};
use governor_tests::governor::{Governor, field, text};
use governor_tests::relay::RELAY;
use governor_tests::two_hosts::{DB1, TwoHosts, names_app1, peer};
use governor_tests::{Auth, Class, Finished, Options, process};
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

const VIRTUAL: &str = "10.77.0.9";

/// The database's host translates, as it does for a container's published port.
fn translate(hosts: &TwoHosts) {
    let rules = format!(
        "table ip published {{\n chain prerouting {{\n type nat hook prerouting priority -100\n\
         ip daddr {VIRTUAL} tcp dport 5432 dnat to {SERVER_V4}:5432\n }}\n}}\n"
    );
    hosts.db1.host.nft(&rules).unwrap();
    hosts.db1.remote.ip(&["route", "add", VIRTUAL, "via", SERVER_V4]).unwrap();
}

/// Runs a program of Python on the client's host, at the address that is dialled.
fn between(hosts: &TwoHosts, program: &str, arguments: &[&str]) -> Child {
    hosts.db1.remote.ip(&["address", "add", &format!("{VIRTUAL}/24"), "dev", "to-host"]).unwrap();
    let mut python = Command::new("python3");
    python.args(["-ISc", program]).args(arguments).stdout(Stdio::piped());
    hosts.db1.remote.enter(&mut python).unwrap();
    let mut python = process::spawn(python, libc::SIGKILL).unwrap();
    let mut lines = BufReader::new(python.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "up");
    python
}

/// A service of the client's host asks at the virtual address.
fn ask(hosts: &TwoHosts, mode: &str) -> Finished {
    let mut client = hosts.client("psql", Class::Service, VIRTUAL).unwrap();
    client.env("PGSSLMODE", mode).env("PGCHANNELBINDING", "disable");
    psql(client, ASK).unwrap()
}

fn accepted(governor: &Governor) -> Vec<Value> {
    let records = governor.events("hello").unwrap();
    records.into_iter().filter(|record| text(record, "outcome") == "accepted").collect()
}

#[test]
fn in_clear_a_translated_address_is_refused_until_it_is_named() {
    let names = peer("db1", &[SERVER_V4, VIRTUAL], DB1.1, "required");
    let app1 = Options { more: names.clone(), ..Options::default() };
    let db1 = Options { more: names_app1("required"), ..Options::default() };
    let hosts = TwoHosts::start(Auth::Trust, &app1, &db1).unwrap();
    let secret = hosts.db1.truth(ASK).unwrap();
    translate(&hosts);
    let name = |arrives: &str| {
        edit(&hosts.app1, &names, &format!("{names}translated = {{ \"{VIRTUAL}:5432\" = \"{arrives}\" }}\n"));
        reload(&hosts.app1);
    };
    let refused = |count: f64| {
        let done = ask(&hosts, "disable");
        assert!(done.err().contains("another address than the one that was dialled"), "{}", done.all());
        let record = hello(&hosts.app1, "wrong_destination");
        let expected = format!("{VIRTUAL}:5432 was dialled, and db1 answers as {SERVER_V4}:5432");
        assert!(text(&record, "reason").contains(&expected), "{record}");
        assert!(hosts.app1.log().contains("identity.peers.translated"), "{}", hosts.app1.log());
        let page = hosts.db1.remote.inside(|| hosts.app1.metrics()).unwrap().unwrap();
        let series = format!("governor_hellos_total{{outcome=\"wrong_destination\",way=\"sent\"}} {count}");
        assert!(page.contains(&series), "{page}");
        assert!(accepted(&hosts.db1.governor).is_empty(), "nobody was told who asks");
    };
    refused(1.0);
    // What is named is that one address alone.
    name(&format!("{SERVER_V4}:5433"));
    refused(2.0);
    edit(&hosts.app1, &format!("{SERVER_V4}:5433"), &format!("{SERVER_V4}:5432"));
    reload(&hosts.app1);
    let done = ask(&hosts, "disable").ok().unwrap();
    assert_eq!(done.out().trim(), secret, "a service, by its host's word");
    let sent = accepted(&hosts.app1).pop().unwrap();
    assert!(text(&sent, "reason").contains("translated on the way"), "{sent}");
    let heard = accepted(&hosts.db1.governor).pop().unwrap();
    assert_eq!(field(&heard, "principal")["user"], "root@app1");
    let loaded = hosts.app1.events("peers_loaded").unwrap().pop().unwrap();
    let expected = format!("{VIRTUAL}:5432 to {SERVER_V4}:5432");
    assert_eq!(field(&loaded, "peers")[0]["translated"], Value::from(vec![expected]));
    // The server's own address goes on as it was.
    hosts.psql(Class::Service, SERVER_V4, "SELECT 1").unwrap().ok().unwrap();
    assert_eq!(text(&accepted(&hosts.app1).pop().unwrap(), "reason"), "");
}

/// Both hosts with TLS; the client's takes the virtual address for the database's host.
fn secured() -> (TwoHosts, governor_tests::pki::Pki) {
    let (hosts, pki) = secure("required", Options::default());
    hosts.db1.postgres.authenticate("host all all all trust").unwrap();
    edit(&hosts.app1, &format!("[{SERVER_V4:?}"), &format!("[{VIRTUAL:?}, {SERVER_V4:?}"));
    reload(&hosts.app1);
    (hosts, pki)
}

#[test]
fn within_tls_a_translated_address_holds_by_itself() {
    let (hosts, _pki) = secured();
    translate(&hosts);
    let secret = hosts.db1.truth(ASK).unwrap();
    assert_eq!(ask(&hosts, "require").ok().unwrap().out().trim(), secret);
    let sent = accepted(&hosts.app1).pop().unwrap();
    assert_eq!(field(&sent, "bound"), &Value::Bool(true));
    assert!(text(&sent, "reason").contains("translated on the way"), "{sent}");
    assert_eq!(accepted(&hosts.db1.governor).len(), 1);
    // In clear the same address still is not enough.
    assert!(!ask(&hosts, "disable").status.success());
    hello(&hosts.app1, "wrong_destination");
    assert_eq!(accepted(&hosts.db1.governor).len(), 1);
}

/// Speaks TLS with both sides, each by itself, and passes on what it reads.
const IN_THE_MIDDLE: &str = r"
import socket, ssl, sys, threading
l = socket.create_server(('10.77.0.9', 5432)); print('up', flush=True)
SSL = bytes.fromhex('0000000804d2162f')
def pump(a, b):
    try:
        while (d := a.recv(65536)): b.sendall(d)
    except (OSError, ValueError): pass
    finally:
        try: b.shutdown(socket.SHUT_RDWR)
        except OSError: pass
def serve(c):
    try:
        assert c.recv(8, socket.MSG_WAITALL) == SSL
        s = socket.create_connection(('10.77.0.1', 5432)); s.sendall(SSL); assert s.recv(1) == b'S'
        there = ssl._create_unverified_context(); s = there.wrap_socket(s)
        c.sendall(b'S'); here = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER); here.load_cert_chain(sys.argv[1], sys.argv[2])
        c = here.wrap_socket(c, server_side=True)
    except Exception as error: print('failed', error, flush=True); return
    for pair in ((c, s), (s, c)): threading.Thread(target=pump, args=pair, daemon=True).start()
while True: threading.Thread(target=serve, args=(l.accept()[0],), daemon=True).start()
";

#[test]
fn who_ends_tls_in_between_gets_no_attestation_whatever_address_it_has() {
    let (hosts, pki) = secured();
    // With a certificate that the client's host would take for the server's.
    pki.server("between", &["db.test", VIRTUAL]).unwrap();
    let (certificate, key) = (pki.path("between.crt"), pki.path("between.key"));
    let files = [certificate.to_str().unwrap(), key.to_str().unwrap()];
    let mut middle = between(&hosts, IN_THE_MIDDLE, &files);
    let done = ask(&hosts, "require");
    assert!(!done.status.success(), "{}", done.all());
    let record = hello(&hosts.app1, "bad_signature");
    assert_eq!(field(&record, "principal"), &Value::Null);
    assert!(accepted(&hosts.db1.governor).is_empty());
    middle.kill().unwrap();
    middle.wait().unwrap();
}

#[test]
fn who_only_passes_tls_on_is_as_good_as_a_cable() {
    let (hosts, _pki) = secured();
    let secret = hosts.db1.truth(ASK).unwrap();
    let mut relay = between(&hosts, RELAY, &[VIRTUAL, "5432", "10.77.0.1", "5432"]);
    assert_eq!(ask(&hosts, "require").ok().unwrap().out().trim(), secret);
    let heard = accepted(&hosts.db1.governor).pop().unwrap();
    assert_eq!(field(&heard, "bound"), &Value::Bool(true));
    relay.kill().unwrap();
    relay.wait().unwrap();
}
