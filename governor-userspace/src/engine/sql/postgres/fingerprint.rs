//! The shape of a statement: its tokens without literals, blanks, comments and letter case.
//!
//! `IN (1, 2, 3)`, `ARRAY[…]` and the rows of VALUES count once however long they are. The hash is
//! FNV-1a over 64 bits: the same in every build and on every machine, so records may be compared.
//! Not a defence: two texts of one shape may differ in what matters (`LIMIT 1`, `LIMIT 1000000`).

use super::lexer::{Lexer, Token};

/// 16 hexadecimal digits.
pub(super) fn fingerprint(text: &str) -> String {
    let mut shape = Shape::default();
    for token in Lexer::new(text) {
        shape.push(token);
    }
    let hash = shape.tokens.iter().fold(FNV_OFFSET, |hash, token| hash_bytes(hash, &token.to_le_bytes()));
    format!("{hash:016x}")
}

/// Token hashes so far, with the lists that are open.
#[derive(Default)]
struct Shape {
    tokens: Vec<u64>,
    open: Vec<Bracket>,
    /// Where the last row of VALUES stands in `tokens`, while another may follow.
    row: Option<(usize, usize)>,
}

struct Bracket {
    list: List,
    start: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum List {
    /// `IN (…)`, `ARRAY[…]`: literals collapse.
    Members,
    /// A row of VALUES: equal neighbours collapse.
    Row,
    Other,
}

impl Shape {
    fn push(&mut self, token: Token<'_>) {
        let hash = hash_token(token);
        match token {
            Token::Symbol(b"(" | b"[") => {
                let list = match self.tokens.last() {
                    Some(&IN | &ARRAY) => List::Members,
                    Some(&VALUES) => List::Row,
                    Some(&COMMA) if self.row.is_some_and(|(_, end)| end + 1 == self.tokens.len()) => {
                        List::Row
                    }
                    _ => List::Other,
                };
                self.open.push(Bracket { list, start: self.tokens.len() });
                self.tokens.push(hash);
            }
            Token::Symbol(b")" | b"]") => {
                self.tokens.push(hash);
                if let Some(Bracket { list: List::Row, start }) = self.open.pop() {
                    self.close_row(start);
                }
            }
            Token::Literal => {
                let in_members = self.open.last().is_some_and(|bracket| bracket.list == List::Members);
                if in_members && self.tokens.ends_with(&[LITERAL, COMMA]) {
                    self.tokens.pop();
                } else {
                    self.tokens.push(hash);
                }
            }
            Token::Word(_) | Token::Quoted(_) | Token::Symbol(_) => self.tokens.push(hash),
        }
    }

    fn close_row(&mut self, start: usize) {
        let end = self.tokens.len();
        if let Some((before_start, before_end)) = self.row
            && before_end + 1 == start
            && self.tokens.get(before_start..before_end) == self.tokens.get(start..end)
        {
            self.tokens.truncate(before_end);
        } else {
            self.row = Some((start, end));
        }
    }
}

fn hash_token(token: Token<'_>) -> u64 {
    match token {
        Token::Literal => LITERAL,
        Token::Word(bytes) => {
            bytes.iter().fold(FNV_OFFSET, |hash, byte| step(hash, byte.to_ascii_lowercase()))
        }
        Token::Quoted(bytes) | Token::Symbol(bytes) => hash_bytes(FNV_OFFSET, bytes),
    }
}

const fn hash_bytes(mut hash: u64, mut bytes: &[u8]) -> u64 {
    while let [first, rest @ ..] = bytes {
        hash = step(hash, *first);
        bytes = rest;
    }
    hash
}

const fn step(hash: u64, byte: u8) -> u64 {
    (hash ^ byte as u64).wrapping_mul(FNV_PRIME)
}

const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0100_0000_01b3;
const LITERAL: u64 = hash_bytes(FNV_OFFSET, b"\0literal");
const COMMA: u64 = hash_bytes(FNV_OFFSET, b",");
const IN: u64 = hash_bytes(FNV_OFFSET, b"in");
const ARRAY: u64 = hash_bytes(FNV_OFFSET, b"array");
const VALUES: u64 = hash_bytes(FNV_OFFSET, b"values");
