//! The session machine against a model of the protocol, and against recorded sessions.
//!
//! One program for both, because both drive a session as the host does (`play.rs`). A failure prints the conversation.

// Helpers beside the tests fail the test that called them.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod play;
mod properties;
mod transcripts;

use governor::engine::model::Class;
use governor::engine::policy::Profile;
use properties::Dice;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

fn dice() -> impl Strategy<Value = Dice> {
    (vec(any::<u8>(), 0..200), vec(any::<u8>(), 0..100), vec(any::<u8>(), 0..200), vec(any::<u8>(), 0..24))
        .prop_map(|(conversation, noise, cuts, answers)| Dice { conversation, noise, cuts, answers })
}

/// The same conversations every time, so that a failure is about the change and not about the dice. For others:
/// `GOVERNOR_SEED` with a number, or `random`, and `GOVERNOR_CASES`.
fn config() -> ProptestConfig {
    let rng_seed = match std::env::var("GOVERNOR_SEED").as_deref() {
        Ok("random") => RngSeed::Random,
        Ok(seed) => RngSeed::Fixed(seed.parse().expect("GOVERNOR_SEED is a number, or `random`")),
        Err(_) => RngSeed::Fixed(SEED),
    };
    let cases = std::env::var("GOVERNOR_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(CASES);
    ProptestConfig {
        cases,
        rng_seed,
        max_shrink_iters: 2000,
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

const CASES: u32 = 400;
const SEED: u64 = 3;

proptest! {
    #![proptest_config(config())]

    #[test]
    fn the_model_is_consistent(dice in dice()) {
        properties::the_model_is_consistent(&dice);
    }

    #[test]
    fn a_service_changes_nothing(dice in dice()) {
        properties::an_unrestricted_session_changes_nothing(&dice, Class::Service, Profile::Protect);
    }

    #[test]
    fn observing_changes_nothing(dice in dice()) {
        properties::an_unrestricted_session_changes_nothing(&dice, Class::Agent, Profile::Observe);
    }

    #[test]
    fn an_agents_session_makes_sense(dice in dice()) {
        properties::a_restricted_session_makes_sense(&dice, Class::Agent);
    }

    #[test]
    fn a_persons_session_makes_sense(dice in dice()) {
        properties::a_restricted_session_makes_sense(&dice, Class::Person);
    }

    #[test]
    fn a_hostile_peer_gets_a_clean_end(dice in dice(), agent in any::<bool>()) {
        let class = if agent { Class::Agent } else { Class::Service };
        properties::a_hostile_peer_gets_a_clean_end(&dice, class, Profile::Protect);
    }
}
