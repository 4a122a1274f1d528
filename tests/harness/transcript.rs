//! Recorded sessions as text that a person can review: one line a message.
//!
//! ```text
//! # connection
//! > - \0\x03\0\0user\0app\0\0       what the client sent before messages have types: the start-up packet
//! < R \0\0\0\0                      type and body of a message, here the server's
//! > Q SELECT 1\0
//! ```
//!
//! Lengths are left out: they follow from the bodies. Bytes outside of printable ASCII are escaped.
//!
//! Invariant: what a side sent is in its order, and no reply stands before the request that it answers.

use anyhow::{Context, Result, bail};
use std::fmt::Write as _;

/// One message of one side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub from_client: bool,
    /// With type and length.
    pub bytes: Vec<u8>,
    typed: bool,
}

/// What went over one connection.
pub type Connection = Vec<Entry>;

/// Bytes as they were read from one side.
#[derive(Clone, Debug)]
pub struct Chunk {
    pub from_client: bool,
    pub bytes: Vec<u8>,
}

/// Finds the messages in what was read. A message stands where its last byte was read.
pub fn messages(chunks: &[Chunk]) -> Result<Connection> {
    let (mut client, mut server) = (Vec::new(), Vec::new());
    let mut typed = false;
    let mut found = Vec::new();
    for chunk in chunks {
        let buffer = if chunk.from_client { &mut client } else { &mut server };
        buffer.extend_from_slice(&chunk.bytes);
        loop {
            let typed_now = typed || !chunk.from_client;
            let head = usize::from(typed_now);
            let Some(length) = buffer.get(head..).and_then(|rest| rest.first_chunk::<4>()) else { break };
            let total = head + u32::from_be_bytes(*length) as usize;
            if buffer.len() < total {
                break;
            }
            let bytes: Vec<u8> = buffer.drain(..total).collect();
            typed |= chunk.from_client;
            found.push(Entry { from_client: chunk.from_client, bytes, typed: typed_now });
        }
    }
    if !client.is_empty() || !server.is_empty() {
        bail!("half a message at the end");
    }
    Ok(found)
}

pub fn to_text(connections: &[Connection]) -> String {
    let mut text = String::new();
    for connection in connections {
        text.push_str("# connection\n");
        for entry in connection {
            let side = if entry.from_client { '>' } else { '<' };
            let (kind, body) = match entry.bytes.split_first() {
                Some((kind, rest)) if entry.typed => (char::from(*kind), rest.get(4..)),
                _ => ('-', entry.bytes.get(4..)),
            };
            let _ = writeln!(text, "{side} {kind} {}", escape(body.unwrap_or_default()));
        }
    }
    text
}

pub fn from_text(text: &str) -> Result<Vec<Connection>> {
    let mut connections: Vec<Connection> = Vec::new();
    for (number, line) in text.lines().enumerate() {
        if line.starts_with("# connection") {
            connections.push(vec![]);
            continue;
        }
        if line.starts_with('#') || line.is_empty() {
            continue;
        }
        let entry = entry(line).with_context(|| format!("line {}: {line}", number + 1))?;
        connections.last_mut().context("a message before the first connection")?.push(entry);
    }
    Ok(connections)
}

fn entry(line: &str) -> Result<Entry> {
    let mut parts = line.splitn(3, ' ');
    let from_client = match parts.next() {
        Some(">") => true,
        Some("<") => false,
        _ => bail!("neither > nor <"),
    };
    let kind = match parts.next().map(str::as_bytes) {
        Some([kind]) => *kind,
        _ => bail!("no type of one character"),
    };
    let body = unescape(parts.next().unwrap_or_default())?;
    let typed = kind != b'-';
    let mut bytes = if typed { vec![kind] } else { vec![] };
    bytes.extend((body.len() as u32 + 4).to_be_bytes());
    bytes.extend(body);
    Ok(Entry { from_client, bytes, typed })
}

fn escape(bytes: &[u8]) -> String {
    let mut text = String::new();
    for byte in bytes {
        match byte {
            b'\\' => text.push_str("\\\\"),
            0 => text.push_str("\\0"),
            b'\n' => text.push_str("\\n"),
            b' '..=b'~' => text.push(char::from(*byte)),
            _ => {
                let _ = write!(text, "\\x{byte:02x}");
            }
        }
    }
    text
}

fn unescape(text: &str) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'\\' {
            bytes.push(byte);
            continue;
        }
        bytes.push(match rest.next() {
            Some(b'\\') => b'\\',
            Some(b'0') => 0,
            Some(b'n') => b'\n',
            Some(b'x') => {
                let digits = [rest.next().unwrap_or_default(), rest.next().unwrap_or_default()];
                u8::from_str_radix(std::str::from_utf8(&digits)?, 16)?
            }
            _ => bail!("a backslash before nothing known"),
        });
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_keeps_every_byte_and_the_order() {
        let all: Vec<u8> = (0..=255).collect();
        let startup = crate::wire::startup("app", "shop");
        let query = crate::wire::message(b'Q', &all);
        let reply = crate::wire::message(b'Z', b"I");
        // Cut inside of messages: each stands where it was complete.
        let (first, second) = query.split_at(7);
        let chunk = |from_client, bytes: &[u8]| Chunk { from_client, bytes: bytes.to_vec() };
        let chunks = [
            chunk(true, &[&startup, first].concat()),
            chunk(false, &reply),
            chunk(true, &[second, &query].concat()),
        ];
        let connection = messages(&chunks).unwrap();
        let kinds: Vec<_> = connection.iter().map(|e| (e.from_client, e.bytes[0])).collect();
        assert_eq!(kinds, [(true, 0), (false, b'Z'), (true, b'Q'), (true, b'Q')]);
        let text = to_text(&[connection.clone(), connection.clone()]);
        assert!(text.is_ascii());
        assert_eq!(from_text(&text).unwrap(), [connection.clone(), connection]);
    }

    #[test]
    fn a_broken_line_is_named() {
        let error = from_text("# connection\n> Q a\\0\n? Q\n").unwrap_err();
        assert!(format!("{error:#}").contains("line 3"), "{error:#}");
    }
}
