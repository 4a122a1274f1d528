//! Any bytes where the audit is read: refused or understood, never a panic, and never taken for a signed chain.
#![no_main]

use ed25519_dalek::SigningKey;
use governor::engine::audit::{Row, Verifier, decode};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let key = SigningKey::from_bytes(&[7; 32]).verifying_key();
    for line in bytes.split(|byte| *byte == b'\n') {
        decode(line).ok();
        Row::parse(line);
    }
    let mut verifier = Verifier::new(key);
    let accepted = verifier.segment(1).is_ok() && verifier.feed(bytes).is_ok() && verifier.finish().is_ok();
    assert!(!accepted || verifier.summary().checkpoints == 0, "nobody here could sign");
});
