//! Bounds on a text before the server's grammar sees it: linear in its length.
//!
//! PostgreSQL's scanner is quadratic in two ways: it reads a run of operator characters again from each
//! `/*` or operator that starts inside it (`/*/*/*…`, `+ + +` without blanks). A long run therefore costs
//! its length squared, wherever it stands; [`RUN_STEPS_MAX`] bounds the sum without having to know
//! whether the run is inside a string.

use super::lexer::{Lexer, is_operator};
use crate::engine::model::Unknown;

/// Longest text that is parsed.
pub const STATEMENT_BYTES_MAX: usize = 1 << 20;
/// Deepest nesting of `/* … */`.
pub const COMMENT_DEPTH_MAX: usize = 32;
/// Most commands in one text: each costs a set of facts.
pub const STATEMENTS_MAX: usize = 10_000;

/// `Err` says why the text is not given to the parser.
pub(super) fn check(text: &str, standard_conforming_strings: bool) -> Result<(), Unknown> {
    if text.len() > STATEMENT_BYTES_MAX {
        return Err(Unknown::TooLong { bytes: text.len() as u64 });
    }
    if memchr::memchr(0, text.as_bytes()).is_some() {
        return Err(Unknown::Unparsable { message: "the text holds a zero byte".into() });
    }
    if !standard_conforming_strings && memchr::memchr(b'\\', text.as_bytes()).is_some() {
        // Where '…' reads backslashes as escapes, the same bytes can end a string elsewhere.
        return Err(Unknown::NotUnderstood {
            what: "a backslash while standard_conforming_strings is off".into(),
        });
    }
    if run_steps(text.as_bytes()) > RUN_STEPS_MAX {
        return Err(Unknown::NotUnderstood { what: "a very long run of operator characters".into() });
    }
    if memchr::memmem::find_iter(text.as_bytes(), b"/*").nth(COMMENT_DEPTH_MAX).is_some() {
        let mut lexer = Lexer::new(text);
        if lexer.by_ref().any(|_| false) || lexer.comment_depth_max() > COMMENT_DEPTH_MAX {
            return Err(Unknown::TooDeep);
        }
    }
    Ok(())
}

/// What the scanner may have to re-read because of long runs.
fn run_steps(text: &[u8]) -> u64 {
    if text.len() < RUN_BYTES_FREE {
        return 0;
    }
    let mut steps = 0_u64;
    let mut run = 0_usize;
    for byte in text.iter().chain([&b' ']) {
        if is_operator(*byte) {
            run += 1;
        } else {
            if run > RUN_BYTES_FREE {
                steps += (run as u64).saturating_mul(run as u64) / 2;
            }
            run = 0;
        }
    }
    steps
}

/// Runs up to here cost at most this much for each byte of the text.
const RUN_BYTES_FREE: usize = 64;
/// About 50 ms.
const RUN_STEPS_MAX: u64 = 32_000_000;
