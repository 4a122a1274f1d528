//! Any policy file compiles or is refused with a reason; beside the built-in ones it never panics.
#![no_main]

use governor::engine::policy::{PolicySet, PolicySource, Profile};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let mut sources = PolicySet::builtin(Profile::Protect);
    let builtin = sources.len();
    sources.push(PolicySource::new("fuzz.cedar", text));
    match PolicySet::compile(&sources) {
        Ok(set) => assert_eq!(set.files().len(), builtin + 1),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});
