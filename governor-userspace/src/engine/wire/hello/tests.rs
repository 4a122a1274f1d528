//! One exchange, and everything that somebody else could make of it.

use super::*;
use crate::engine::model::{Ancestor, Class, ContainerFacts, Principal, SessionId};
use ed25519_dalek::SigningKey;
use proptest::prelude::*;

fn key(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[seed; 32])
}

fn public(seed: u8) -> [u8; 32] {
    key(seed).verifying_key().to_bytes()
}

fn identity() -> Identity {
    Identity {
        host: "app1.example.org".into(),
        session: SessionId("s1".into()),
        at_unix_ns: 7,
        principal: Principal {
            class: Class::Agent,
            class_evidence: vec!["known agent".into()],
            pid: 7,
            start_ticks: 70,
            uid: 1001,
            user: "alice".into(),
            gid: 1001,
            groups: vec!["dbas".into()],
            login_uid: Some(1001),
            login_user: Some("alice".into()),
            command: "psql".into(),
            executable: Some("/usr/bin/psql".into()),
            executable_sha256: None,
            command_line: vec!["psql".into(), "-c".into(), "SELECT 'ä'".into()],
            cgroup_id: 5,
            cgroup: Some("/user.slice".into()),
            unit: None,
            container: Some("c1".into()),
            container_facts: ContainerFacts { image: Some("app:1".into()), ..ContainerFacts::default() },
            terminal: Some("pts/3".into()),
            ancestors: vec![Ancestor { pid: 1, start_ticks: 1, executable: "/sbin/init".into() }],
            remote: None,
        },
    }
}

fn blank(nonce: u8) -> Challenge {
    Challenge {
        version: VERSION,
        key: [0; 32],
        nonce: [nonce; 32],
        client: "10.1.0.1:40000".parse().unwrap(),
        server: "[fd00::1]:5432".parse().unwrap(),
        signature: [0; 64],
    }
}

const SENDER: u8 = 1;
const RECEIVER: u8 = 2;
const EXPORTED: Binding = Binding::Exporter([9; 32]);

/// A whole exchange, as bytes.
struct Exchange {
    hello: Vec<u8>,
    challenge: Vec<u8>,
    attestation: Vec<u8>,
}

fn exchange(binding: Binding, nonce: u8) -> Exchange {
    let hello = Hello::new(public(SENDER), [3; 32]).encode().to_vec();
    let proof = Proof::new(binding, &hello);
    let challenge = proof.challenge(&key(RECEIVER), blank(nonce));
    proof.check_challenge(&challenge).unwrap();
    let attestation = proof.attest(&key(SENDER), &challenge, &identity()).unwrap().encode().to_vec();
    Exchange { challenge: challenge.encode().to_vec(), hello, attestation }
}

/// As the receiver, who expects the key of `sender`.
fn receive(
    binding: Binding,
    sender: u8,
    hello: &[u8],
    challenge: &[u8],
    attestation: &[u8],
) -> Result<Identity, HelloError> {
    Hello::parse(hello)?.version()?;
    let (challenge, attestation) = (Challenge::parse(challenge)?, Attestation::parse(attestation)?);
    Proof::new(binding, hello).identity(&public(sender), &challenge, &attestation)
}

fn heard(binding: Binding, e: &Exchange) -> Result<Identity, HelloError> {
    receive(binding, SENDER, &e.hello, &e.challenge, &e.attestation)
}

#[test]
fn what_is_said_is_heard() {
    for binding in [Binding::None, EXPORTED] {
        assert_eq!(heard(binding, &exchange(binding, 4)), Ok(identity()));
    }
    let e = exchange(EXPORTED, 4);
    assert_eq!(e.challenge.len(), CHALLENGE_BYTES);
    let challenge = Challenge::parse(&e.challenge).unwrap();
    assert_eq!((challenge.key, challenge.client), (public(RECEIVER), "10.1.0.1:40000".parse().unwrap()));
    assert_eq!(challenge.server, "[fd00::1]:5432".parse().unwrap());
}

#[test]
fn every_message_is_read_whole_or_not_at_all() {
    let e = exchange(EXPORTED, 4);
    for cut in 0..e.hello.len() {
        assert!(Hello::parse(&e.hello[..cut]).is_err(), "{cut}");
    }
    for cut in 0..e.challenge.len() {
        assert!(Challenge::parse(&e.challenge[..cut]).is_err(), "{cut}");
    }
    for cut in 0..e.attestation.len() {
        let needed = Attestation::bytes(&e.attestation[..cut]).unwrap();
        assert_eq!(needed, (cut >= 8).then_some(e.attestation.len()), "{cut}");
        assert!(Attestation::parse(&e.attestation[..cut]).is_err(), "{cut}");
    }
    for message in [&e.challenge, &e.attestation] {
        let longer = [&message[..], &[0]].concat();
        assert!(Challenge::parse(&longer).is_err() && Attestation::parse(&longer).is_err());
    }
}

#[test]
fn lengths_that_are_claimed_are_bounded() {
    let mut head = exchange(EXPORTED, 4).attestation[..8].to_vec();
    for length in [0, 7, 71, ATTESTATION_BYTES_MAX as u32 + 1, u32::MAX] {
        head[..4].copy_from_slice(&length.to_be_bytes());
        assert!(matches!(Attestation::bytes(&head), Err(HelloError::Length { .. })), "{length}");
    }
    let long = vec![0; HELLO_BYTES_MAX + 1];
    assert!(matches!(Hello::parse(&long), Err(HelloError::Length { .. })));
    let long = Identity { host: "x".repeat(IDENTITY_BYTES_MAX), ..identity() };
    let hello = Hello::new(public(SENDER), [3; 32]).encode();
    let proof = Proof::new(EXPORTED, &hello);
    let challenge = proof.challenge(&key(RECEIVER), blank(4));
    assert!(matches!(proof.attest(&key(SENDER), &challenge, &long), Err(HelloError::Identity(_))));
}

#[test]
fn a_change_of_any_bit_is_noticed() {
    let e = exchange(EXPORTED, 4);
    let flipped = |message: &[u8], bit: usize| {
        let mut message = message.to_vec();
        message[bit / 8] ^= 1 << (bit % 8);
        message
    };
    for bit in 0..e.hello.len() * 8 {
        let hello = flipped(&e.hello, bit);
        assert!(receive(EXPORTED, SENDER, &hello, &e.challenge, &e.attestation).is_err(), "hello {bit}");
        let challenge = Challenge::parse(&e.challenge).unwrap();
        assert!(Proof::new(EXPORTED, &hello).check_challenge(&challenge).is_err(), "hello {bit}");
    }
    for bit in (0..e.challenge.len() * 8).step_by(3) {
        let challenge = flipped(&e.challenge, bit);
        assert!(receive(EXPORTED, SENDER, &e.hello, &challenge, &e.attestation).is_err(), "challenge {bit}");
        if let Ok(challenge) = Challenge::parse(&challenge) {
            let proof = Proof::new(EXPORTED, &e.hello);
            assert!(proof.check_challenge(&challenge).is_err(), "challenge {bit}");
        }
    }
    for bit in (0..e.attestation.len() * 8).step_by(7) {
        let attestation = flipped(&e.attestation, bit);
        assert!(
            receive(EXPORTED, SENDER, &e.hello, &e.challenge, &attestation).is_err(),
            "attestation {bit}"
        );
    }
}

#[test]
fn a_replay_meets_another_nonce() {
    let (recorded, now) = (exchange(EXPORTED, 4), exchange(EXPORTED, 5));
    let replayed = receive(EXPORTED, SENDER, &recorded.hello, &now.challenge, &recorded.attestation);
    assert_eq!(replayed, Err(HelloError::Signature("Attestation")));
}

#[test]
fn it_holds_on_its_own_channel_only() {
    let e = exchange(EXPORTED, 4);
    for other in [Binding::None, Binding::Exporter([8; 32])] {
        assert_eq!(heard(other, &e), Err(HelloError::Signature("Attestation")));
        let challenge = Challenge::parse(&e.challenge).unwrap();
        // So the dialling side notices first, and says nothing of its client.
        assert!(Proof::new(other, &e.hello).check_challenge(&challenge).is_err());
    }
    assert!(heard(EXPORTED, &exchange(Binding::None, 4)).is_err());
}

#[test]
fn it_is_for_one_receiver_and_one_server() {
    let e = exchange(EXPORTED, 4);
    let proof = Proof::new(EXPORTED, &e.hello);
    let elsewhere = proof.challenge(&key(7), blank(4)).encode();
    assert!(receive(EXPORTED, SENDER, &e.hello, &elsewhere, &e.attestation).is_err());
    let other_port = Challenge { server: "[fd00::1]:5433".parse().unwrap(), ..blank(4) };
    let other_port = proof.challenge(&key(RECEIVER), other_port).encode();
    assert!(receive(EXPORTED, SENDER, &e.hello, &other_port, &e.attestation).is_err());
}

#[test]
fn neither_signature_stands_for_the_other_or_comes_from_another_key() {
    let e = exchange(EXPORTED, 4);
    let proof = Proof::new(EXPORTED, &e.hello);
    let challenge = Challenge::parse(&e.challenge).unwrap();
    let attestation = Attestation::parse(&e.attestation).unwrap();
    assert_eq!(
        receive(EXPORTED, RECEIVER, &e.hello, &e.challenge, &e.attestation),
        Err(HelloError::Signature("Attestation")),
        "another peer's key"
    );
    // Reflected: what one side signed comes back as the other's, even where both hosts had one key.
    let reflected = Challenge { key: public(SENDER), signature: attestation.signature, ..challenge.clone() };
    assert!(proof.check_challenge(&reflected).is_err());
    let reflected = Attestation { signature: challenge.signature, ..attestation };
    assert!(proof.identity(&public(RECEIVER), &challenge, &reflected).is_err());
    let forged = proof.attest(&key(7), &challenge, &identity()).unwrap();
    assert!(proof.identity(&public(SENDER), &challenge, &forged).is_err());
}

#[test]
fn only_processes_of_the_senders_own_host_are_attested() {
    let e = exchange(EXPORTED, 4);
    let proof = Proof::new(EXPORTED, &e.hello);
    let challenge = Challenge::parse(&e.challenge).unwrap();
    let mut said = identity();
    said.principal.remote = Some(crate::engine::model::RemoteClient::at([10, 0, 0, 9].into()));
    let attestation = proof.attest(&key(SENDER), &challenge, &said).unwrap();
    let heard = proof.identity(&public(SENDER), &challenge, &attestation);
    assert!(matches!(heard, Err(HelloError::Identity(_))), "{heard:?}");
}

#[test]
fn what_shows_something_else_than_it_says_is_refused() {
    let e = exchange(EXPORTED, 4);
    let proof = Proof::new(EXPORTED, &e.hello);
    let challenge = Challenge::parse(&e.challenge).unwrap();
    for command in ["psql\u{1b}[2J", "psql\u{202e}gpj", "ps\u{200b}ql"] {
        let mut said = identity();
        said.principal.command = command.into();
        let attestation = proof.attest(&key(SENDER), &challenge, &said).unwrap();
        let heard = proof.identity(&public(SENDER), &challenge, &attestation);
        assert_eq!(heard, Err(HelloError::Identity("it has control or invisible characters".into())));
    }
}

#[test]
fn versions_are_agreed_on_or_refused_and_later_fields_are_signed() {
    let mut hello = Hello::new(public(SENDER), [3; 32]);
    hello.versions = (1, 9);
    assert_eq!(hello.version(), Ok(1));
    hello.versions = (2, 9);
    assert_eq!(hello.version(), Err(HelloError::Version { least: 2, most: 9 }));
    hello.versions = (9, 2);
    assert!(hello.version().is_err());
    // A later version's Hello is longer: read by this one, and not to be cut off on its way.
    hello.versions = (1, 2);
    let mut packet = hello.encode().to_vec();
    packet.extend([1, 2, 3]);
    let length = packet.len() as u32;
    packet[..4].copy_from_slice(&length.to_be_bytes());
    assert_eq!(Hello::parse(&packet), Ok(hello.clone()));
    let challenge = Proof::new(EXPORTED, &packet).challenge(&key(RECEIVER), blank(4));
    assert!(Proof::new(EXPORTED, &packet).check_challenge(&challenge).is_ok());
    assert!(Proof::new(EXPORTED, &hello.encode()).check_challenge(&challenge).is_err());
}

#[test]
fn a_key_of_small_order_proves_nothing() {
    let e = exchange(EXPORTED, 4);
    let mut challenge = Challenge::parse(&e.challenge).unwrap();
    // The identity element: with it, R = identity and s = 0 verify every text without strictness.
    challenge.key = [0; 32];
    challenge.key[0] = 1;
    challenge.signature = [0; 64];
    challenge.signature[0] = 1;
    assert!(Proof::new(EXPORTED, &e.hello).check_challenge(&challenge).is_err());
}

/// Every text in it, names of fields included.
fn texts(value: &serde_json::Value) -> Vec<String> {
    use serde_json::Value;
    match value {
        Value::String(text) => vec![text.clone()],
        Value::Array(items) => items.iter().flat_map(texts).collect(),
        Value::Object(fields) => {
            fields.iter().flat_map(|(name, value)| [vec![name.clone()], texts(value)].concat()).collect()
        }
        _ => vec![],
    }
}

proptest! {
    /// An honest identity with some bytes changed, left out or put in: refused, or what every identity is.
    #[test]
    fn a_changed_identity_is_refused_or_harmless(
        changes in proptest::collection::vec((any::<proptest::sample::Index>(), 0..3u8, any::<u8>()), 1..6),
    ) {
        let mut bytes = identity().encode().unwrap();
        for (at, how, byte) in changes {
            let at = at.index(bytes.len());
            match how {
                0 => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                _ => drop(bytes.remove(at)),
            }
        }
        if let Ok(read) = Identity::decode(&bytes) {
            prop_assert!(read.principal.remote.is_none());
            let texts = texts(&serde_json::to_value(&read).unwrap()).concat();
            prop_assert!(!texts.chars().any(is_hostile), "{:?}", read);
            prop_assert_eq!(Identity::decode(&read.encode().unwrap()), Ok(read));
        }
    }

    #[test]
    fn any_bytes_are_refused_or_read(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let e = exchange(Binding::None, 4);
        if let Ok(hello) = Hello::parse(&bytes) {
            prop_assert_eq!(&Hello::parse(&hello.encode()), &Ok(hello));
        }
        if let Ok(challenge) = Challenge::parse(&bytes) {
            prop_assert_eq!(&challenge.encode()[..], &bytes[..]);
            prop_assert!(Proof::new(Binding::None, &e.hello).check_challenge(&challenge).is_err());
        }
        prop_assert!(receive(Binding::None, SENDER, &e.hello, &e.challenge, &bytes).is_err());
    }

    #[test]
    fn garbage_behind_the_right_head_is_not_believed(body in proptest::collection::vec(any::<u8>(), 64..300)) {
        let e = exchange(Binding::None, 4);
        let mut packet = ((8 + body.len()) as u32).to_be_bytes().to_vec();
        packet.extend(&e.attestation[4..8]);
        packet.extend(body);
        let heard = receive(Binding::None, SENDER, &e.hello, &e.challenge, &packet);
        prop_assert_eq!(heard, Err(HelloError::Signature("Attestation")));
    }
}
