//! Messages that governor itself sends, to either side.

use super::{backend, frontend};
use crate::engine::wire::reader::Reader;
use bytes::{BufMut, Bytes, BytesMut};

/// Severity of an error or notice; both forms of the field (`S` and the never-translated `V`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    Fatal,
    Error,
    Notice,
}

impl Severity {
    fn word(self) -> &'static str {
        match self {
            Self::Fatal => "FATAL",
            Self::Error => "ERROR",
            Self::Notice => "NOTICE",
        }
    }
}

/// What an error or notice tells a client. Empty parts are left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    pub sqlstate: &'static str,
    pub message: String,
    pub detail: String,
    pub hint: String,
}

/// ErrorResponse (for `Fatal` and `Error`) or NoticeResponse.
pub fn report(severity: Severity, report: &Report) -> Bytes {
    let kind = if severity == Severity::Notice {
        backend::kind::NOTICE_RESPONSE
    } else {
        backend::kind::ERROR_RESPONSE
    };
    message(kind, |out| {
        let mut field = |code: u8, text: &str| {
            if !text.is_empty() {
                out.put_u8(code);
                cstr(out, text.as_bytes());
            }
        };
        field(b'S', severity.word());
        field(b'V', severity.word());
        field(b'C', report.sqlstate);
        field(b'M', &report.message);
        field(b'D', &report.detail);
        field(b'H', &report.hint);
        out.put_u8(0);
    })
}

/// ErrorResponse or NoticeResponse (`kind`) of these fields.
pub fn hidden(kind: u8, fields: &[(u8, Vec<u8>)]) -> Bytes {
    message(kind, |out| {
        for (code, value) in fields {
            out.put_u8(*code);
            cstr(out, value);
        }
        out.put_u8(0);
    })
}

/// A simple query.
pub fn query(text: &str) -> Bytes {
    self::text(frontend::kind::QUERY, text)
}

/// A message that is one text.
pub fn text(kind: u8, text: &str) -> Bytes {
    message(kind, |out| cstr(out, text.as_bytes()))
}

/// AuthenticationSASL that offers `mechanisms`.
pub fn sasl_offer(mechanisms: &[&[u8]]) -> Bytes {
    message(backend::kind::AUTHENTICATION, |out| {
        out.put_u32(super::sasl::REQUEST);
        mechanisms.iter().for_each(|mechanism| cstr(out, mechanism));
        out.put_u8(0);
    })
}

/// Asks the server to send what it has.
/// Begins a message whose content is appended next.
pub fn begin(kind: u8) -> Vec<u8> {
    vec![kind, 0, 0, 0, 0]
}

/// Writes the length of a message that was begun; `None` where no message is that long.
pub fn finish(mut message: Vec<u8>) -> Option<Bytes> {
    let length = i32::try_from(message.len().checked_sub(1)?).ok()?;
    message.get_mut(1..5)?.copy_from_slice(&length.to_be_bytes());
    Some(message.into())
}

pub fn flush() -> Bytes {
    message(frontend::kind::FLUSH, |_| {})
}

/// Describe of a portal.
pub fn describe_portal(name: &[u8]) -> Bytes {
    message(frontend::kind::DESCRIBE, |out| {
        out.put_u8(b'P');
        cstr(out, name);
    })
}

/// Parse of `text` under the name `statement`, without parameter types.
pub fn parse(statement: &str, text: &str) -> Bytes {
    message(frontend::kind::PARSE, |out| {
        cstr(out, statement.as_bytes());
        cstr(out, text.as_bytes());
        out.put_u16(0);
    })
}

/// Parse of a client's own text, in its own encoding, as the unnamed statement.
pub fn parse_bytes(text: &[u8]) -> Bytes {
    message(frontend::kind::PARSE, |out| {
        out.put_u8(0);
        cstr(out, text);
        out.put_u16(0);
    })
}

/// A Bind with other values, by the number of their parameter (1 and up). `None`: `body` is none, or it becomes too long.
pub fn rebind<'v>(body: &[u8], value: impl Fn(u16) -> Option<&'v [u8]>) -> Option<Bytes> {
    let mut r = Reader::new(body);
    let mut out = begin(frontend::kind::BIND);
    // Names and formats as they are.
    for _ in 0..2 {
        out.extend_from_slice(r.cstr().ok()?);
        out.push(0);
    }
    let formats = r.u16().ok()?;
    out.extend_from_slice(&formats.to_be_bytes());
    out.extend_from_slice(r.take(usize::from(formats) * 2).ok()?);
    let values = r.u16().ok()?;
    out.extend_from_slice(&values.to_be_bytes());
    for number in 1..=values {
        let length = r.i32().ok()?;
        let sent = r.take(usize::try_from(length).unwrap_or(0)).ok()?;
        match value(number) {
            Some(other) => {
                out.extend_from_slice(&i32::try_from(other.len()).ok()?.to_be_bytes());
                out.extend_from_slice(other);
            }
            None => {
                out.extend_from_slice(&length.to_be_bytes());
                out.extend_from_slice(sent);
            }
        }
    }
    out.extend_from_slice(r.rest());
    finish(out)
}

/// Runs `text` once under names of its own, which are given back.
pub fn run_once(name: &str, text: &str) -> Bytes {
    let mut out = BytesMut::with_capacity(256);
    out.put(parse(name, text));
    out.put(message(frontend::kind::BIND, |out| {
        cstr(out, name.as_bytes());
        cstr(out, name.as_bytes());
        // No parameter formats, no parameters, results as text.
        out.put_bytes(0, 6);
    }));
    out.put(message(frontend::kind::EXECUTE, |out| {
        cstr(out, name.as_bytes());
        out.put_u32(0);
    }));
    for what in [b'P', b'S'] {
        out.put(message(frontend::kind::CLOSE, |out| {
            out.put_u8(what);
            cstr(out, name.as_bytes());
        }));
    }
    out.freeze()
}

/// Ends a batch of the extended protocol.
pub fn sync() -> Bytes {
    message(frontend::kind::SYNC, |_| {})
}

/// Appends one message; the length is filled in after `body` has written.
fn message(kind: u8, body: impl FnOnce(&mut BytesMut)) -> Bytes {
    let mut out = BytesMut::with_capacity(128);
    out.put_u8(kind);
    out.put_u32(0);
    body(&mut out);
    let length = (out.len() - 1) as u32;
    if let Some(field) = out.get_mut(1..5) {
        field.copy_from_slice(&length.to_be_bytes());
    }
    out.freeze()
}

/// Zero-terminated; a zero inside would end the text early, so it is dropped.
fn cstr(out: &mut BytesMut, text: &[u8]) {
    out.extend(text.iter().filter(|b| **b != 0));
    out.put_u8(0);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::wire::postgres::Header;
    use proptest::prelude::*;

    #[test]
    fn reports_are_well_formed() {
        let r =
            Report { sqlstate: "42501", message: "no\0pe".into(), detail: String::new(), hint: "ask".into() };
        let bytes = super::report(Severity::Error, &r);
        let header = Header::peek(&bytes).unwrap().unwrap();
        assert_eq!(header.total_bytes(), bytes.len());
        let body = &bytes[5..];
        assert_eq!(backend::error_field(body, b'M'), Ok(Some(&b"nope"[..])));
        assert_eq!(backend::error_field(body, b'D'), Ok(None));
        assert_eq!(backend::error_field(body, b'H'), Ok(Some(&b"ask"[..])));
    }

    #[test]
    fn a_bind_with_other_values_is_the_same_in_everything_else() {
        let body = b"p\0s\0\0\x02\0\0\0\x01\0\x03\0\0\0\x01x\xff\xff\xff\xff\0\0\0\0\0\x01\0\x01";
        let same = rebind(body, |_| None).unwrap();
        assert_eq!(
            (&same[5..], Header::peek(&same).unwrap().unwrap().total_bytes()),
            (&body[..], same.len())
        );
        let other = rebind(body, |number| (number == 3).then_some(&b"longer"[..])).unwrap();
        let read = frontend::bind(&other[5..], 9).unwrap();
        assert_eq!(read.values, [(Some(&b"x"[..]), false), (None, true), (Some(&b"longer"[..]), false)]);
        assert_eq!((read.names.portal, read.names.statement), (&b"p"[..], &b"s"[..]));
        assert_eq!(read.result_formats, [1]);
    }

    proptest! {
        #[test]
        fn what_is_no_bind_becomes_none_or_stays_as_it_is(body in proptest::collection::vec(any::<u8>(), 0..200)) {
            if frontend::bind(&body, 9).is_ok() {
                prop_assert_eq!(&rebind(&body, |_| None).unwrap()[5..], &body[..]);
            } else {
                let _ = rebind(&body, |_| Some(b"x"));
            }
        }
    }

    #[test]
    fn own_requests_parse_as_what_they_are() {
        assert_eq!(frontend::query(&query("select 1")[5..]), Ok(&b"select 1"[..]));
        let p = parse("name", "text");
        assert_eq!(
            frontend::parse(&p[5..]),
            Ok(frontend::Parse { statement: b"name", text: b"text", types: Default::default() })
        );
        let d = describe_portal(b"c");
        assert_eq!(frontend::named(&d[5..], "Describe"), Ok(frontend::Named::Portal(b"c")));
    }
}
