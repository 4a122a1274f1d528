//! The words of one policy's text, for what can be told without a tree.
//!
//! Cedar's own tree is as deep as a chain of operators is long, and walking it takes that much stack; a list
//! of words takes none. Only text that Cedar has accepted comes here.

use std::borrow::Cow;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Token<'a> {
    Word(&'a str),
    /// A string's value, or what could be made of it.
    Text(Cow<'a, str>),
    Sign(&'a str),
}

/// White space and comments are left out.
pub(super) fn tokens(text: &str) -> Vec<Token<'_>> {
    let mut out = vec![];
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '"' => {
                let (value, length) = string(rest);
                out.push(Token::Text(value));
                length
            }
            '/' if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            c if c.is_whitespace() => c.len_utf8(),
            c if c == '_' || c.is_ascii_alphanumeric() => {
                let end = rest.find(|c: char| c != '_' && !c.is_ascii_alphanumeric()).unwrap_or(rest.len());
                out.push(Token::Word(rest.get(..end).unwrap_or_default()));
                end
            }
            c => {
                let pair = ["==", "!=", "&&", "||", "::", "<=", ">="].iter().find(|p| rest.starts_with(**p));
                let length = pair.map_or(c.len_utf8(), |pair| pair.len());
                out.push(Token::Sign(rest.get(..length).unwrap_or_default()));
                length
            }
        };
        rest = rest.get(length..).unwrap_or_default();
    }
    out
}

/// The value of the string that `text` begins with, and how long it is written.
fn string(text: &str) -> (Cow<'_, str>, usize) {
    let mut escaped = false;
    let mut end = None;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => {
                end = Some(at);
                break;
            }
            _ => {}
        }
    }
    let end = end.unwrap_or(text.len());
    let written = text.get(1..end).unwrap_or_default();
    let value = if written.contains('\\') { Cow::Owned(unescaped(written)) } else { Cow::Borrowed(written) };
    (value, (end + 1).min(text.len()))
}

/// Cedar's escapes are Rust's.
fn unescaped(written: &str) -> String {
    let mut out = String::with_capacity(written.len());
    let mut rest = written.chars();
    while let Some(c) = rest.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        let number = |digits: String| u32::from_str_radix(&digits, 16).ok().and_then(char::from_u32);
        match rest.next() {
            Some('n') => out.push('\n'),
            Some('r') => out.push('\r'),
            Some('t') => out.push('\t'),
            Some('0') => out.push('\0'),
            Some('x') => out.extend(number(rest.by_ref().take(2).collect())),
            Some('u') => {
                let digits = rest.by_ref().skip(1).take_while(|c| *c != '}').filter(|c| *c != '_').collect();
                out.extend(number(digits));
            }
            other => out.extend(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_strings_and_signs() {
        let found =
            tokens("@id(\"a b\") // \"not\" this\nforbid(principal,action)when{context[\"ti\\u{6d}e\"]>=1};");
        let (w, s) = (Token::Word, Token::Sign);
        let t = |text: &str| Token::Text(Cow::Owned(text.to_owned()));
        assert_eq!(
            found,
            [
                s("@"),
                w("id"),
                s("("),
                t("a b"),
                s(")"),
                w("forbid"),
                s("("),
                w("principal"),
                s(","),
                w("action"),
                s(")"),
                w("when"),
                s("{"),
                w("context"),
                s("["),
                t("time"),
                s("]"),
                s(">="),
                w("1"),
                s("}"),
                s(";")
            ]
        );
    }

    #[test]
    fn escapes_have_their_values() {
        for (written, value) in [
            (r#""a\"b""#, "a\"b"),
            (r#""\\""#, "\\"),
            (r#""\x41\u{1F600}\u{0_041}\n\t\r\0\'\*""#, "A😀A\n\t\r\0'*"),
            (r#""open"#, "open"),
            (r#""é""#, "é"),
        ] {
            assert_eq!(tokens(written), [Token::Text(Cow::Borrowed(value))], "{written}");
        }
    }
}
