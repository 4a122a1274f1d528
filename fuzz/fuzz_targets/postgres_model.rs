//! Conversations of the protocol model through a session, both directions: the properties of
//! `governor-userspace/tests/model/properties.rs`, with choices made by the fuzzer.
#![no_main]

use arbitrary::Arbitrary;
use governor::engine::model::Class;
use governor::engine::policy::Profile;
use libfuzzer_sys::fuzz_target;

#[path = "../../governor-userspace/tests/model/play.rs"]
mod play;
#[path = "../../governor-userspace/tests/model/properties.rs"]
mod properties;

#[derive(Arbitrary, Debug)]
struct Choice<'a> {
    property: u8,
    noise: [u8; 32],
    cuts: [u8; 64],
    answers: [u8; 16],
    conversation: &'a [u8],
}

fuzz_target!(|choice: Choice<'_>| {
    let dice = properties::Dice {
        conversation: choice.conversation.to_vec(),
        noise: choice.noise.to_vec(),
        cuts: choice.cuts.to_vec(),
        answers: choice.answers.to_vec(),
    };
    let (service, agent, person) = (Class::Service, Class::Agent, Class::Person);
    match choice.property % 8 {
        0 => properties::the_model_is_consistent(&dice),
        1 => properties::an_unrestricted_session_changes_nothing(&dice, service, Profile::Protect),
        2 => properties::an_unrestricted_session_changes_nothing(&dice, agent, Profile::Observe),
        3 | 4 => properties::a_restricted_session_makes_sense(&dice, agent),
        5 => properties::a_restricted_session_makes_sense(&dice, person),
        6 => properties::a_hostile_peer_gets_a_clean_end(&dice, service, Profile::Protect),
        _ => properties::a_hostile_peer_gets_a_clean_end(&dice, agent, Profile::Protect),
    }
});
