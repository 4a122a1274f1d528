//! Messages that an application sends.
//!
//! Protocol: <https://www.postgresql.org/docs/current/protocol-message-formats.html>

use super::{InMessage, ProtocolViolation};
use crate::engine::wire::reader::Reader;

/// Type bytes.
pub mod kind {
    pub const BIND: u8 = b'B';
    pub const CLOSE: u8 = b'C';
    pub const COPY_DATA: u8 = b'd';
    pub const COPY_DONE: u8 = b'c';
    pub const COPY_FAIL: u8 = b'f';
    pub const DESCRIBE: u8 = b'D';
    pub const EXECUTE: u8 = b'E';
    pub const FLUSH: u8 = b'H';
    pub const FUNCTION_CALL: u8 = b'F';
    pub const PARSE: u8 = b'P';
    /// Password, SASL and GSS responses share it.
    pub const PASSWORD: u8 = b'p';
    pub const QUERY: u8 = b'Q';
    pub const SYNC: u8 = b'S';
    pub const TERMINATE: u8 = b'X';
}

/// Longest message of the kinds that carry only names (the server's PQ_SMALL_MESSAGE_LIMIT).
pub const SMALL_MESSAGE_BYTES_MAX: usize = 10_000;
/// Longest message of the kinds that carry data (the server's PQ_LARGE_MESSAGE_LIMIT).
pub const LARGE_MESSAGE_BYTES_MAX: usize = 0x3fff_ffff - 1;
/// Longest answer to an authentication request (the server's PG_MAX_AUTH_TOKEN_LENGTH).
pub const AUTH_MESSAGE_BYTES_MAX: usize = 65_535;

/// The body limit that the server itself enforces for a kind; `None` for an unknown kind.
pub fn body_bytes_max(kind: u8) -> Option<usize> {
    Some(match kind {
        kind::CLOSE
        | kind::DESCRIBE
        | kind::EXECUTE
        | kind::FLUSH
        | kind::SYNC
        | kind::TERMINATE
        | kind::COPY_DONE => SMALL_MESSAGE_BYTES_MAX,
        kind::BIND | kind::COPY_DATA | kind::COPY_FAIL | kind::FUNCTION_CALL | kind::PARSE | kind::QUERY => {
            LARGE_MESSAGE_BYTES_MAX
        }
        kind::PASSWORD => AUTH_MESSAGE_BYTES_MAX,
        _ => return None,
    })
}

/// Names a prepared statement or a portal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Named<'a> {
    Statement(&'a [u8]),
    Portal(&'a [u8]),
}

/// The SQL text of a Query message.
pub fn query(body: &[u8]) -> Result<&[u8], ProtocolViolation> {
    let mut r = Reader::new(body);
    let text = r.cstr().in_message("Query")?;
    r.finish().in_message("Query")?;
    Ok(text)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parse<'a> {
    pub statement: &'a [u8],
    pub text: &'a [u8],
    /// Declared types of parameters, four bytes each.
    pub types: Types<'a>,
}

/// Numbers of types; 0: as the server finds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Types<'a>(&'a [u8]);

impl Types<'_> {
    pub fn collect(self) -> std::sync::Arc<[u32]> {
        self.0.as_chunks().0.iter().map(|bytes| u32::from_be_bytes(*bytes)).collect()
    }
}

pub fn parse(body: &[u8]) -> Result<Parse<'_>, ProtocolViolation> {
    let mut r = Reader::new(body);
    let statement = r.cstr().in_message("Parse")?;
    let text = r.cstr().in_message("Parse")?;
    let types = r.u16().in_message("Parse")?;
    let types = Types(r.take(usize::from(types) * 4).in_message("Parse")?);
    r.finish().in_message("Parse")?;
    Ok(Parse { statement, text, types })
}

/// The names at the start of a Bind message: enough when the values stream through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BindNames<'a> {
    pub portal: &'a [u8],
    pub statement: &'a [u8],
}

pub fn bind_names(head: &[u8]) -> Result<BindNames<'_>, ProtocolViolation> {
    let mut r = Reader::new(head);
    let portal = r.cstr().in_message("Bind")?;
    let statement = r.cstr().in_message("Bind")?;
    Ok(BindNames { portal, statement })
}

/// A whole Bind message. Values are slices of the message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bind<'a> {
    pub names: BindNames<'a>,
    /// Value and whether it is binary; `None` is SQL NULL. At most `values_max` of them are kept.
    pub values: Vec<(Option<&'a [u8]>, bool)>,
    /// Number of values sent.
    pub values_count: usize,
    /// Result format codes as sent: none, one for all, or one for each column.
    pub result_formats: Vec<i16>,
}

/// Reads a Bind message to its last byte; keeps at most `values_max` values.
pub fn bind(body: &[u8], values_max: usize) -> Result<Bind<'_>, ProtocolViolation> {
    let m = "Bind";
    let mut r = Reader::new(body);
    let names = BindNames { portal: r.cstr().in_message(m)?, statement: r.cstr().in_message(m)? };
    let mut formats = Vec::new();
    for _ in 0..r.u16().in_message(m)? {
        formats.push(r.i16().in_message(m)?);
    }
    let values_count = usize::from(r.u16().in_message(m)?);
    let mut values = Vec::new();
    for index in 0..values_count {
        let length = r.i32().in_message(m)?;
        let value = match usize::try_from(length) {
            Ok(n) => Some(r.take(n).in_message(m)?),
            Err(_) if length == -1 => None,
            Err(_) => return Err(ProtocolViolation::Other("Bind has a value of negative length")),
        };
        if index < values_max {
            let format = if formats.len() == 1 { formats.first() } else { formats.get(index) };
            values.push((value, format == Some(&1)));
        }
    }
    let mut result_formats = Vec::new();
    for _ in 0..r.u16().in_message(m)? {
        result_formats.push(r.i16().in_message(m)?);
    }
    r.finish().in_message(m)?;
    Ok(Bind { names, values, values_count, result_formats })
}

/// Describe and Close have the same body.
pub fn named<'a>(body: &'a [u8], message: &'static str) -> Result<Named<'a>, ProtocolViolation> {
    let mut r = Reader::new(body);
    let what = r.u8().in_message(message)?;
    let name = r.cstr().in_message(message)?;
    r.finish().in_message(message)?;
    match what {
        b'S' => Ok(Named::Statement(name)),
        b'P' => Ok(Named::Portal(name)),
        _ => Err(ProtocolViolation::Other("Describe or Close names neither a statement nor a portal")),
    }
}

/// The portal of an Execute message.
pub fn execute(body: &[u8]) -> Result<&[u8], ProtocolViolation> {
    let mut r = Reader::new(body);
    let portal = r.cstr().in_message("Execute")?;
    r.i32().in_message("Execute")?;
    r.finish().in_message("Execute")?;
    Ok(portal)
}

/// The function's oid in a FunctionCall message.
pub fn function_call(head: &[u8]) -> Result<u32, ProtocolViolation> {
    Reader::new(head).u32().in_message("FunctionCall")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_bind_with_formats_and_nulls() {
        let body = b"p\0s\0\x00\x02\x00\x00\x00\x01\x00\x02\x00\x00\x00\x01x\xff\xff\xff\xff\x00\x01\x00\x01";
        let b = bind(body, 10).unwrap();
        assert_eq!((b.names.portal, b.names.statement), (&b"p"[..], &b"s"[..]));
        assert_eq!(b.values, vec![(Some(&b"x"[..]), false), (None, true)]);
        assert_eq!(b.result_formats, vec![1]);
        for cut in 0..body.len() {
            assert!(bind(&body[..cut], 10).is_err(), "cut at {cut}");
        }
    }

    #[test]
    fn refuses_leftovers_and_inflated_counts() {
        assert!(query(b"select 1\0x").is_err());
        assert!(query(b"select 1").is_err());
        assert!(parse(b"\0select 1\0\xff\xff").is_err());
        assert!(bind(b"\0\0\0\0\xff\xff\0\0\0\x01x\0\0", 10).is_err());
        assert!(bind(b"\0\0\0\0\0\x01\xff\xff\xff\xfe\0\0", 10).is_err());
        assert!(named(b"Xname\0", "Close").is_err());
        assert!(execute(b"p\0\0\0\0").is_err());
    }

    proptest! {
        #[test]
        fn garbage_is_refused_or_read_but_never_panics(body in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = (query(&body), parse(&body), bind(&body, 3), named(&body, "Close"), execute(&body), function_call(&body), bind_names(&body));
        }
    }
}
