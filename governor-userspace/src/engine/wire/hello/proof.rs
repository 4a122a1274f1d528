//! What is signed, and by whom: the transcript of one hello.
//!
//! Each signature begins with its own label, so none can stand for the other or for anything else that the key signs,
//! and covers all that was said before with its lengths: no two transcripts give the same bytes.

use super::message::{Attestation, Challenge};
use super::{HelloError, Identity};
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use sha2::{Digest as _, Sha256};

/// What ties the hello to its connection. Both ends take it from their own side: it is never sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Binding {
    /// In clear: whoever is between the two can take the connection over afterwards.
    None,
    /// `tls-exporter` of the TLS connection that carries it (RFC 9266).
    Exporter([u8; 32]),
}

impl Binding {
    pub fn is_bound(&self) -> bool {
        matches!(self, Self::Exporter(_))
    }

    fn bytes(&self) -> Vec<u8> {
        match self {
            Self::None => vec![0],
            Self::Exporter(value) => [&[1][..], value].concat(),
        }
    }
}

/// One hello up to its proof. Both ends make it from the bytes that went over the connection.
#[derive(Clone, Debug)]
pub struct Proof<'a> {
    binding: Binding,
    hello: &'a [u8],
}

impl<'a> Proof<'a> {
    /// `hello` is the whole packet as it was sent.
    pub fn new(binding: Binding, hello: &'a [u8]) -> Self {
        Self { binding, hello }
    }

    /// Signs the receiver's answer.
    pub fn challenge(&self, key: &SigningKey, mut challenge: Challenge) -> Challenge {
        challenge.key = key.verifying_key().to_bytes();
        challenge.signature = key.sign(&self.of_challenge(&challenge)).to_bytes();
        challenge
    }

    /// Whether the holder of the key that the challenge names answered this very hello.
    pub fn check_challenge(&self, challenge: &Challenge) -> Result<(), HelloError> {
        check(&challenge.key, &self.of_challenge(challenge), &challenge.signature, "Challenge")
    }

    /// Signs who asks.
    pub fn attest(
        &self,
        key: &SigningKey,
        challenge: &Challenge,
        identity: &Identity,
    ) -> Result<Attestation, HelloError> {
        let identity = identity.encode()?;
        let signature = key.sign(&self.of_attestation(challenge, &identity)).to_bytes();
        Ok(Attestation { identity, signature })
    }

    /// Who asks, by the word of the holder of `key`.
    pub fn identity(
        &self,
        key: &[u8; 32],
        challenge: &Challenge,
        attestation: &Attestation,
    ) -> Result<Identity, HelloError> {
        let signed = self.of_attestation(challenge, &attestation.identity);
        check(key, &signed, &attestation.signature, "Attestation")?;
        Identity::decode(&attestation.identity)
    }

    fn of_challenge(&self, challenge: &Challenge) -> Vec<u8> {
        transcript(CHALLENGE_LABEL, &[&self.binding.bytes(), self.hello, &challenge.unsigned()])
    }

    fn of_attestation(&self, challenge: &Challenge, identity: &[u8]) -> Vec<u8> {
        transcript(ATTESTATION_LABEL, &[&self.binding.bytes(), self.hello, &challenge.encode(), identity])
    }
}

/// A public key as people compare it: SHA-256, in hexadecimal.
pub fn fingerprint(key: &[u8; 32]) -> String {
    hex::encode(Sha256::digest(key))
}

fn transcript(label: &[u8], parts: &[&[u8]]) -> Vec<u8> {
    let mut all = label.to_vec();
    for part in parts {
        all.extend_from_slice(&(part.len() as u64).to_be_bytes());
        all.extend_from_slice(part);
    }
    all
}

fn check(key: &[u8; 32], signed: &[u8], signature: &[u8; 64], of: &'static str) -> Result<(), HelloError> {
    let key = VerifyingKey::from_bytes(key).map_err(|_| HelloError::Key)?;
    // Strict: no key of small order, for which one signature holds for many texts.
    key.verify_strict(signed, &Signature::from_bytes(signature)).map_err(|_| HelloError::Signature(of))
}

const CHALLENGE_LABEL: &[u8] = b"governor hello 1 challenge\0";
const ATTESTATION_LABEL: &[u8] = b"governor hello 1 attestation\0";
