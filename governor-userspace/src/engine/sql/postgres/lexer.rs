//! A small tokenizer that cuts SQL text where PostgreSQL's own scanner does.
//!
//! Used for shapes (fingerprints) and for the bound on comment nesting, never for a decision about what
//! a statement does: that is the parser's.
//! Source: <https://www.postgresql.org/docs/current/sql-syntax-lexical.html>

/// One token, borrowed from the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token<'a> {
    /// Unquoted: fold before use. Keywords are words too.
    Word(&'a [u8]),
    /// Between the double quotes, doubled quotes still doubled.
    Quoted(&'a [u8]),
    /// Any literal or parameter.
    Literal,
    Symbol(&'a [u8]),
}

/// Cuts `text` from left to right; never fails (an open string or comment ends with the text).
#[derive(Debug)]
pub(super) struct Lexer<'a> {
    text: &'a [u8],
    at: usize,
    comment_depth_max: usize,
    comments_in_a_row_max: usize,
    run_end: usize,
    run_steps: u64,
}

impl<'a> Lexer<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self {
            text: text.as_bytes(),
            at: 0,
            comment_depth_max: 0,
            comments_in_a_row_max: 0,
            run_end: 0,
            run_steps: 0,
        }
    }

    /// Just behind the last token.
    pub(super) fn position(&self) -> usize {
        self.at
    }

    /// The deepest `/*` nesting seen so far.
    pub(super) fn comment_depth_max(&self) -> usize {
        self.comment_depth_max
    }

    /// The most comments between two tokens so far.
    pub(super) fn comments_in_a_row_max(&self) -> usize {
        self.comments_in_a_row_max
    }

    /// What PostgreSQL's scanner may have read more than once: it takes the whole run of operator
    /// characters at each `/*` and at each operator, then gives most of it back.
    pub(super) fn run_steps(&self) -> u64 {
        self.run_steps
    }

    /// Characters from here to the end of the run of operator characters.
    fn run_ahead(&mut self) -> u64 {
        if self.at >= self.run_end {
            let length = self.rest().iter().position(|byte| !is_operator(*byte)).unwrap_or(self.rest().len());
            self.run_end = self.at + length;
        }
        (self.run_end - self.at) as u64
    }

    fn peek(&self, ahead: usize) -> u8 {
        self.text.get(self.at + ahead).copied().unwrap_or(0)
    }

    fn rest(&self) -> &'a [u8] {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn take(&mut self, length: usize) -> &'a [u8] {
        let end = self.at.saturating_add(length).min(self.text.len());
        let taken = self.text.get(self.at..end).unwrap_or_default();
        self.at = end;
        taken
    }

    fn take_while(&mut self, keep: impl Fn(u8) -> bool) -> &'a [u8] {
        let length = self.rest().iter().position(|byte| !keep(*byte)).unwrap_or(self.rest().len());
        self.take(length)
    }

    fn skip_blank(&mut self) {
        let mut comments = 0;
        loop {
            self.comments_in_a_row_max = self.comments_in_a_row_max.max(comments);
            match (self.peek(0), self.peek(1)) {
                (b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c, _) => self.at += 1,
                (b'-', b'-') => {
                    comments += 1;
                    self.take_while(|byte| byte != b'\n' && byte != b'\r');
                }
                (b'/', b'*') => {
                    comments += 1;
                    self.skip_comment();
                }
                _ => return,
            }
        }
    }

    fn skip_comment(&mut self) {
        let mut depth = 0_usize;
        loop {
            match memchr::memchr2(b'/', b'*', self.rest()) {
                None => {
                    self.at = self.text.len();
                    return;
                }
                Some(skip) => self.at += skip,
            }
            match (self.peek(0), self.peek(1)) {
                (b'/', b'*') => {
                    self.run_steps += self.run_ahead();
                    self.at += 2;
                    depth += 1;
                    self.comment_depth_max = self.comment_depth_max.max(depth);
                }
                (b'*', b'/') => {
                    self.at += 2;
                    depth -= 1;
                    if depth == 0 {
                        return;
                    }
                }
                _ => self.at += 1,
            }
        }
    }

    /// Just behind the opening quote; answers what stands before the closing one.
    fn quoted(&mut self, quote: u8, backslash: bool) -> &'a [u8] {
        let start = self.at;
        while self.at < self.text.len() {
            match self.peek(0) {
                b'\\' if backslash => self.at += 2,
                byte if byte == quote && self.peek(1) == quote => self.at += 2,
                byte if byte == quote => {
                    let inside = self.text.get(start..self.at).unwrap_or_default();
                    self.at += 1;
                    return inside;
                }
                _ => self.at += 1,
            }
        }
        self.at = self.text.len();
        self.text.get(start..).unwrap_or_default()
    }

    /// `$tag$ … $tag$`; `None` where no delimiter stands here.
    fn dollar_quoted(&mut self) -> Option<Token<'a>> {
        let rest = self.rest();
        let tag_length = rest.get(1..)?.iter().position(|byte| !is_tag_part(*byte))?;
        if rest.get(1 + tag_length) != Some(&b'$') || rest.get(1).is_some_and(u8::is_ascii_digit) {
            return None;
        }
        let delimiter = rest.get(..tag_length + 2)?;
        let body = rest.get(delimiter.len()..)?;
        let length = memchr::memmem::find(body, delimiter).unwrap_or(body.len());
        self.take(delimiter.len() * 2 + length);
        Some(Token::Literal)
    }

    fn number(&mut self) -> Token<'a> {
        self.take_while(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        if self.peek(0) == b'.' && self.peek(1) != b'.' {
            self.at += 1;
            self.take_while(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        }
        let ended_in_exponent =
            self.at.checked_sub(1).and_then(|last| self.text.get(last)).is_some_and(|b| *b | 0x20 == b'e');
        if ended_in_exponent && matches!(self.peek(0), b'+' | b'-') && self.peek(1).is_ascii_digit() {
            self.at += 1;
            self.take_while(|byte| byte.is_ascii_digit() || byte == b'_');
        }
        Token::Literal
    }
}

impl<'a> Iterator for Lexer<'a> {
    type Item = Token<'a>;

    fn next(&mut self) -> Option<Token<'a>> {
        self.skip_blank();
        if self.at >= self.text.len() {
            return None;
        }
        Some(match (self.peek(0), self.peek(1), self.peek(2)) {
            (b'\'', ..) => {
                self.at += 1;
                self.quoted(b'\'', false);
                Token::Literal
            }
            (b'e' | b'E', b'\'', _) => {
                self.at += 2;
                self.quoted(b'\'', true);
                Token::Literal
            }
            (b'b' | b'B' | b'x' | b'X' | b'n' | b'N', b'\'', _) => {
                self.at += 2;
                self.quoted(b'\'', false);
                Token::Literal
            }
            (b'u' | b'U', b'&', b'\'') => {
                self.at += 3;
                self.quoted(b'\'', false);
                Token::Literal
            }
            (b'u' | b'U', b'&', b'"') => {
                self.at += 3;
                Token::Quoted(self.quoted(b'"', false))
            }
            (b'"', ..) => {
                self.at += 1;
                Token::Quoted(self.quoted(b'"', false))
            }
            (b'$', digit, _) if digit.is_ascii_digit() => {
                self.at += 1;
                self.take_while(|byte| byte.is_ascii_digit());
                Token::Literal
            }
            (b'$', ..) => match self.dollar_quoted() {
                Some(token) => token,
                None => Token::Symbol(self.take(1)),
            },
            (digit, ..) if digit.is_ascii_digit() => self.number(),
            (b'.', digit, _) if digit.is_ascii_digit() => self.number(),
            (byte, ..) if is_word_start(byte) => {
                Token::Word(self.take_while(|byte| is_tag_part(byte) || byte == b'$'))
            }
            (b':', b':' | b'=', _) | (b'.', b'.', _) => Token::Symbol(self.take(2)),
            (byte, ..) if is_operator(byte) => Token::Symbol(self.operator()),
            _ => Token::Symbol(self.take(1)),
        })
    }
}

impl<'a> Lexer<'a> {
    /// The longest run of operator characters that does not open a comment.
    fn operator(&mut self) -> &'a [u8] {
        let run = self.run_ahead();
        // Each character of it may turn out to be an operator of its own.
        self.run_steps += run * run / 2;
        let rest = self.rest();
        let run = rest.iter().position(|byte| !is_operator(*byte)).unwrap_or(rest.len());
        let run = rest.get(..run).unwrap_or_default();
        let end = run.windows(2).position(|pair| pair == b"--" || pair == b"/*").unwrap_or(run.len());
        self.take(end.max(1))
    }
}

pub(super) fn is_operator(byte: u8) -> bool {
    matches!(
        byte,
        b'~' | b'!'
            | b'@'
            | b'#'
            | b'^'
            | b'&'
            | b'|'
            | b'`'
            | b'?'
            | b'+'
            | b'-'
            | b'*'
            | b'/'
            | b'%'
            | b'<'
            | b'>'
            | b'='
    )
}

fn is_word_start(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte == b'_' || byte >= 0x80
}

fn is_tag_part(byte: u8) -> bool {
    is_word_start(byte) || byte.is_ascii_digit()
}
