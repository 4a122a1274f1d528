//! Keys of hellos change while both governors run: with both named for a while, and without; what is broken changes nothing.

use super::{ASK, PORT, hello};
use anyhow::Result;
use governor_tests::database_host::SERVER_V4;
use governor_tests::governor::{Governor, field, text};
use governor_tests::remote_socket::RemoteSocket;
use governor_tests::two_hosts::{APP1, DB1, STRANGER, TwoHosts};
use governor_tests::wire::Wire;
use governor_tests::{Class, wait};
use serde_json::Value;
use std::os::unix::fs::PermissionsExt;

/// Writes something else in place of `from` into a governor's configuration. It has to be there.
pub(super) fn edit(governor: &Governor, from: &str, to: &str) {
    let path = governor.config_path();
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.contains(from), "{from}: {text}");
    std::fs::write(path, text.replace(from, to)).unwrap();
}

fn key_line(key: &str) -> String {
    format!("key = {key:?}\n")
}

pub(super) fn reload(governor: &Governor) -> Value {
    governor.json(&["reload"]).unwrap().remove(0)["peers"].clone()
}

/// A session that lasts, of a service on the client's host.
fn session(hosts: &TwoHosts) -> Wire {
    let connected = hosts.db1.remote.inside(|| -> Result<Wire> {
        let address = format!("{SERVER_V4}:{PORT}").parse()?;
        Wire::new(RemoteSocket::connect(&hosts.group.client(Class::Service), address)?)
    });
    let mut client = connected.unwrap().unwrap();
    client.start("app", "shop").unwrap();
    client
}

/// Asks once more in a lasting session, and in one of its own; both go through as the service's.
fn both_serve(hosts: &TwoHosts, lasting: &mut Wire, secret: &str) {
    let answer = lasting.query(ASK).unwrap();
    assert!(answer.iter().any(|message| message.text().contains(secret)), "{answer:?}");
    let new = hosts.psql(Class::Service, SERVER_V4, ASK).unwrap().ok().unwrap();
    assert_eq!(new.out().trim(), secret);
}

/// The key of the last hello that was accepted here, SHA-256.
fn last_key(governor: &Governor) -> String {
    let records = governor.events("hello").unwrap();
    let accepted = records.iter().rev().find(|record| text(record, "outcome") == "accepted");
    text(accepted.unwrap(), "key")
}

#[test]
fn both_hosts_change_their_keys_and_no_connection_is_refused() {
    let hosts = TwoHosts::trusting("required").unwrap();
    let (app1, db1) = (&hosts.app1, &hosts.db1.governor);
    let secret = hosts.db1.truth(ASK).unwrap();
    let mut lasting = session(&hosts);
    both_serve(&hosts, &mut lasting, &secret);
    assert_eq!(reload(db1)["changed"], false, "nothing has changed");
    let (before_app1, before_db1) = (last_key(db1), last_key(app1));
    for (host, other, old) in [(app1, db1, APP1.1), (db1, app1, DB1.1)] {
        let shown = host.json(&["keys", "hello", "--next"]).unwrap().remove(0);
        let next = text(field(&shown, "next"), "key");
        assert_eq!((text(&shown, "key").as_str(), next.len()), (old, 64));
        // The other one names both; nothing else has changed yet.
        edit(other, &key_line(old), &format!("{}other_keys = [{next:?}]\n", key_line(old)));
        assert_eq!(reload(other)["changed"], true);
        assert_eq!(reload(host)["changed"], false, "it waits");
        both_serve(&hosts, &mut lasting, &secret);
        let told = host.cli(&["keys", "hello", "--use-next"]).unwrap().ok().unwrap();
        assert!(told.out().contains(&next) && told.err().contains("in force now"), "{}", told.all());
        both_serve(&hosts, &mut lasting, &secret);
        // The old one is named no more. A signal is heard as the command is.
        edit(other, &format!("{}other_keys = [{next:?}]\n", key_line(old)), &key_line(&next));
        let before = other.events("peers_loaded").unwrap().len();
        other.signal(libc::SIGHUP).unwrap();
        wait::until("the change", wait::PATIENCE, || {
            Ok((other.events("peers_loaded")?.len() > before).then_some(()))
        })
        .unwrap();
        both_serve(&hosts, &mut lasting, &secret);
    }
    assert_ne!((last_key(db1), last_key(app1)), (before_app1.clone(), before_db1));
    // Whoever still has the old one is a stranger.
    for governor in [app1, db1] {
        let records = governor.events("hello").unwrap();
        assert!(records.iter().all(|record| text(record, "outcome") == "accepted"), "{records:?}");
        let loaded = governor.events("peers_loaded").unwrap();
        assert_eq!(loaded.len(), 3, "the peer's twice, the own once: {loaded:?}");
        assert!(governor.log().contains("the keys of hellos are others now"));
        assert_eq!(governor.json(&["status"]).unwrap()[0]["completeness"]["mismatches"], 0);
    }
    let named: Vec<_> = db1.events("peers_loaded").unwrap();
    let keys = |record: &Value| field(record, "peers")[0]["keys"].as_array().unwrap().len();
    assert_eq!(named.iter().map(keys).collect::<Vec<_>>(), [2, 1, 1]);
    assert_eq!(field(&named[0], "peers")[0]["keys"][0], before_app1);
    let status = db1.cli(&["status"]).unwrap().ok().unwrap().out();
    assert!(status.contains(&format!("key {:.16}", last_key(db1))), "{status}");
    assert_eq!(hosts.db1.metric("governor_peers_reloads_total{result=\"ok\"}").unwrap(), 5.0);
    let forged = super::spoof::say_hello(&hosts, APP1.1);
    assert!(super::spoof::is_error(&forged), "{forged:?}");
    hello(db1, "unknown_key");
}

#[test]
fn a_key_that_was_changed_alone_is_refused_until_it_is_named() {
    let hosts = TwoHosts::trusting("required").unwrap();
    let secret = hosts.db1.truth(ASK).unwrap();
    let mut lasting = session(&hosts);
    // Restored from elsewhere, say: the files are what counts.
    let keys = hosts.app1.state_dir().join("keys");
    std::fs::write(keys.join("hello.key"), STRANGER.0).unwrap();
    std::fs::remove_file(keys.join("hello.pub")).unwrap();
    assert_eq!(reload(&hosts.app1)["changed"], true);
    let refused = hosts.psql(Class::Service, SERVER_V4, ASK).unwrap();
    assert!(!refused.status.success(), "{}", refused.all());
    hello(&hosts.db1.governor, "unknown_key");
    let answer = lasting.query(ASK).unwrap();
    assert!(answer.iter().any(|message| message.text().contains(&secret)), "what was open goes on");
    edit(&hosts.db1.governor, &key_line(APP1.1), &key_line(STRANGER.1));
    reload(&hosts.db1.governor);
    both_serve(&hosts, &mut lasting, &secret);
    // A peer that is not named any more is nobody.
    edit(&hosts.db1.governor, "10.77.0.2", "10.77.0.3");
    reload(&hosts.db1.governor);
    let refused = hosts.psql(Class::Service, SERVER_V4, ASK).unwrap();
    assert!(!refused.status.success(), "{}", refused.all());
    let record = hello(&hosts.db1.governor, "wrong_address");
    assert_eq!(text(&record, "peer"), "app1");
}

#[test]
fn what_cannot_be_read_leaves_the_keys_before_in_force_and_is_told() {
    let hosts = TwoHosts::trusting("required").unwrap();
    let (app1, db1) = (&hosts.app1, &hosts.db1.governor);
    let secret = hosts.db1.truth(ASK).unwrap();
    let mut lasting = session(&hosts);
    let refused = |governor: &Governor, why: &str| {
        let done = governor.cli(&["reload"]).unwrap();
        assert!(!done.status.success() && done.err().contains(why), "{why}: {}", done.all());
        assert!(done.out().contains("policy   "), "policy is read all the same: {}", done.all());
        let status = governor.cli(&["status"]).unwrap().ok().unwrap().out();
        assert!(status.contains("not read again") && status.contains(why), "{why}: {status}");
        let record = governor.events("peers_refused").unwrap().pop().unwrap();
        assert!(text(&record, "reason").contains(why), "{record}");
        assert!(governor.log().contains("the ones before stay in force"), "{}", governor.log());
    };
    // The configuration: a key that is none, then what is no configuration.
    edit(db1, &key_line(APP1.1), &key_line("77"));
    refused(db1, "identity.peers.key");
    both_serve(&hosts, &mut lasting, &secret);
    edit(db1, &key_line("77"), "key = \"");
    refused(db1, "governor.toml");
    edit(db1, "key = \"", &key_line(STRANGER.1));
    // The own key: half a file, one for everybody to read, none.
    let key = app1.state_dir().join("keys/hello.key");
    let seed = std::fs::read_to_string(&key).unwrap();
    std::fs::write(&key, &seed[..40]).unwrap();
    refused(app1, "hello.key");
    std::fs::write(&key, &seed).unwrap();
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
    refused(app1, "chmod 600");
    std::fs::remove_file(&key).unwrap();
    refused(app1, "hello.key");
    assert!(!key.exists(), "nobody would know another one");
    both_serve(&hosts, &mut lasting, &secret);
    assert_eq!(hosts.db1.metric("governor_peers_reloads_total{result=\"refused\"}").unwrap(), 2.0);
    assert!(
        db1.events("peers_loaded").unwrap().is_empty() && app1.events("peers_loaded").unwrap().is_empty()
    );
    assert!(
        !app1.log().contains(seed.trim())
            && !std::fs::read_to_string(app1.config_path()).unwrap().contains(seed.trim())
    );
    // Mended.
    std::fs::write(&key, &seed).unwrap();
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
    edit(db1, &key_line(STRANGER.1), &key_line(APP1.1));
    for governor in [app1, db1] {
        assert_eq!(reload(governor)["changed"], false);
        let status = governor.cli(&["status"]).unwrap().ok().unwrap().out();
        assert!(!status.contains("not read again"), "{status}");
    }
    both_serve(&hosts, &mut lasting, &secret);
}
