//! Bounds on a text before the server's grammar sees it: linear in its length.
//!
//! PostgreSQL's scanner is quadratic in one way: it reads a run of operator characters again from each
//! `/*` or operator that starts inside it (`/*/*/*…`, `/**//**/…`, `++++…`). A long run therefore costs up
//! to its length squared. [`RUN_STEPS_MAX`] bounds the sum.

use super::lexer::{Lexer, is_operator};
use crate::engine::model::Unknown;

/// Longest text that is parsed.
pub const STATEMENT_BYTES_MAX: usize = 1 << 20;
/// Deepest nesting of `/* … */`.
pub const COMMENT_DEPTH_MAX: usize = 32;
/// Most comments between two tokens: libpg_query's scanner calls itself for each, about 100 bytes of
/// stack where the C compiler does not optimise.
pub const COMMENTS_IN_A_ROW_MAX: usize = 2_000;
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
    let long_runs = run_steps(text.as_bytes()) > RUN_STEPS_MAX;
    let many_comments =
        [b"--", b"/*"].iter().map(|start| count(text, *start)).sum::<usize>() > COMMENTS_IN_A_ROW_MAX;
    let comments = memchr::memmem::find_iter(text.as_bytes(), b"/*").nth(COMMENT_DEPTH_MAX).is_some();
    if long_runs || comments || many_comments {
        // Perhaps only inside strings: look closer.
        let mut lexer = Lexer::new(text);
        for _ in lexer.by_ref() {}
        if lexer.comment_depth_max() > COMMENT_DEPTH_MAX {
            return Err(Unknown::TooDeep);
        }
        if lexer.comments_in_a_row_max() > COMMENTS_IN_A_ROW_MAX {
            return Err(Unknown::NotUnderstood {
                what: format!("more than {COMMENTS_IN_A_ROW_MAX} comments in a row"),
            });
        }
        if long_runs && lexer.run_steps() > RUN_STEPS_MAX {
            return Err(Unknown::NotUnderstood { what: "a very long run of operator characters".into() });
        }
    }
    Ok(())
}

fn count(text: &str, start: &[u8]) -> usize {
    memchr::memmem::find_iter(text.as_bytes(), start).take(COMMENTS_IN_A_ROW_MAX + 1).count()
}

/// What the scanner may have to re-read because of long runs, were none inside a string.
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
const RUN_BYTES_FREE: usize = 32;
/// About 30 ms.
const RUN_STEPS_MAX: u64 = 4_000_000;
