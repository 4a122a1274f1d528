//! Any bytes where a hello is read: refused or understood, never a panic, and never believed without a signature.
#![no_main]

use ed25519_dalek::SigningKey;
use governor::engine::wire::hello::{ATTESTATION_BYTES_MAX, Attestation, Binding, Challenge, Hello, IDENTITY_BYTES_MAX, Identity, Proof, VERSION};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(identity) = Identity::decode(bytes) {
        assert!(bytes.len() <= IDENTITY_BYTES_MAX && identity.principal.remote.is_none());
        // Numbers and escapes may take more room than they came in.
        if let Ok(again) = identity.encode() {
            assert_eq!(Identity::decode(&again), Ok(identity), "what is read can be written");
        }
    }
    let receiver = SigningKey::from_bytes(&[7; 32]);
    let sender = SigningKey::from_bytes(&[8; 32]).verifying_key().to_bytes();
    if let Ok(hello) = Hello::parse(bytes) {
        assert_eq!(Hello::parse(&hello.encode()), Ok(hello.clone()), "what is read can be written");
        let _ = hello.version();
    }
    if let Ok(challenge) = Challenge::parse(bytes) {
        assert_eq!(Challenge::parse(&challenge.encode()), Ok(challenge.clone()), "what is read can be written");
        let by_receiver = challenge.key == receiver.verifying_key().to_bytes();
        assert!(!by_receiver || Proof::new(Binding::None, b"hello").check_challenge(&challenge).is_err());
    }
    if let Ok(Some(length)) = Attestation::bytes(bytes) {
        assert!(length <= ATTESTATION_BYTES_MAX);
    }
    if let Ok(attestation) = Attestation::parse(bytes) {
        let ends = std::net::SocketAddr::from(([10, 0, 0, 1], 5432));
        let hello = Hello::new(sender, [1; 32]).encode();
        let proof = Proof::new(Binding::None, &hello);
        let challenge = proof.challenge(
            &receiver,
            Challenge {
                version: VERSION,
                key: [0; 32],
                nonce: [2; 32],
                client: ends,
                server: ends,
                signature: [0; 64],
            },
        );
        assert!(proof.identity(&sender, &challenge, &attestation).is_err(), "nobody here could sign");
    }
});
