//! Messages that a server sends.
//!
//! Protocol: <https://www.postgresql.org/docs/current/protocol-message-formats.html>

use super::{InMessage, ProtocolViolation};
use crate::engine::wire::reader::Reader;

/// Type bytes.
pub mod kind {
    pub const AUTHENTICATION: u8 = b'R';
    pub const BACKEND_KEY_DATA: u8 = b'K';
    pub const BIND_COMPLETE: u8 = b'2';
    pub const CLOSE_COMPLETE: u8 = b'3';
    pub const COMMAND_COMPLETE: u8 = b'C';
    pub const COPY_DATA: u8 = b'd';
    pub const COPY_DONE: u8 = b'c';
    pub const COPY_IN_RESPONSE: u8 = b'G';
    pub const COPY_OUT_RESPONSE: u8 = b'H';
    pub const COPY_BOTH_RESPONSE: u8 = b'W';
    pub const DATA_ROW: u8 = b'D';
    pub const EMPTY_QUERY_RESPONSE: u8 = b'I';
    pub const ERROR_RESPONSE: u8 = b'E';
    pub const FUNCTION_CALL_RESPONSE: u8 = b'V';
    pub const NEGOTIATE_PROTOCOL_VERSION: u8 = b'v';
    pub const NO_DATA: u8 = b'n';
    pub const NOTICE_RESPONSE: u8 = b'N';
    pub const NOTIFICATION_RESPONSE: u8 = b'A';
    pub const PARAMETER_DESCRIPTION: u8 = b't';
    pub const PARAMETER_STATUS: u8 = b'S';
    pub const PARSE_COMPLETE: u8 = b'1';
    pub const PORTAL_SUSPENDED: u8 = b's';
    pub const READY_FOR_QUERY: u8 = b'Z';
    pub const ROW_DESCRIPTION: u8 = b'T';
}

/// One column of a RowDescription.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    pub name: String,
    /// Relation that the column comes from; 0 where the server does not say.
    pub table_oid: u32,
    /// Column number in that relation; 0 where there is none.
    pub attribute: i16,
    pub type_oid: u32,
    pub type_modifier: i32,
    /// 0 text, 1 binary; 0 in the answer to a Describe of a statement, whatever is bound later.
    pub format: i16,
}

pub fn row_description(body: &[u8]) -> Result<Vec<Field>, ProtocolViolation> {
    let m = "RowDescription";
    let mut r = Reader::new(body);
    let count = r.u16().in_message(m)?;
    let mut fields = Vec::new();
    for _ in 0..count {
        let name = String::from_utf8_lossy(r.cstr().in_message(m)?).into_owned();
        let table_oid = r.u32().in_message(m)?;
        let attribute = r.i16().in_message(m)?;
        let type_oid = r.u32().in_message(m)?;
        r.i16().in_message(m)?;
        let type_modifier = r.i32().in_message(m)?;
        let format = r.i16().in_message(m)?;
        fields.push(Field { name, table_oid, attribute, type_oid, type_modifier, format });
    }
    r.finish().in_message(m)?;
    Ok(fields)
}

/// The values of a text-format DataRow; `None` is SQL NULL. For governor's own queries.
pub fn data_row(body: &[u8]) -> Result<Vec<Option<&[u8]>>, ProtocolViolation> {
    let m = "DataRow";
    let mut r = Reader::new(body);
    let count = r.u16().in_message(m)?;
    let mut values = Vec::new();
    for _ in 0..count {
        let length = r.i32().in_message(m)?;
        values.push(match usize::try_from(length) {
            Ok(n) => Some(r.take(n).in_message(m)?),
            Err(_) if length == -1 => None,
            Err(_) => return Err(ProtocolViolation::Other("DataRow has a value of negative length")),
        });
    }
    r.finish().in_message(m)?;
    Ok(values)
}

/// Transaction state of a ReadyForQuery.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TransactionState {
    #[default]
    Idle,
    InTransaction,
    Failed,
}

impl TransactionState {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::InTransaction => "transaction",
            Self::Failed => "failed",
        }
    }
}

pub fn ready_for_query(body: &[u8]) -> Result<TransactionState, ProtocolViolation> {
    match body {
        b"I" => Ok(TransactionState::Idle),
        b"T" => Ok(TransactionState::InTransaction),
        b"E" => Ok(TransactionState::Failed),
        _ => Err(ProtocolViolation::Other("ReadyForQuery has an unknown transaction state")),
    }
}

/// Name and value of a ParameterStatus.
pub fn parameter_status(body: &[u8]) -> Result<(&[u8], &[u8]), ProtocolViolation> {
    let mut r = Reader::new(body);
    let name = r.cstr().in_message("ParameterStatus")?;
    let value = r.cstr().in_message("ParameterStatus")?;
    r.finish().in_message("ParameterStatus")?;
    Ok((name, value))
}

/// Process id and cancel key: four bytes in protocol 3.0, up to 256 in 3.2.
pub fn backend_key_data(body: &[u8]) -> Result<(u32, &[u8]), ProtocolViolation> {
    let mut r = Reader::new(body);
    let process = r.u32().in_message("BackendKeyData")?;
    Ok((process, r.rest()))
}

/// The command tag.
pub fn command_complete(body: &[u8]) -> Result<&[u8], ProtocolViolation> {
    let mut r = Reader::new(body);
    let tag = r.cstr().in_message("CommandComplete")?;
    r.finish().in_message("CommandComplete")?;
    Ok(tag)
}

/// Field `code` of an ErrorResponse or NoticeResponse, such as b'C' for the SQLSTATE.
pub fn error_field(body: &[u8], code: u8) -> Result<Option<&[u8]>, ProtocolViolation> {
    let mut r = Reader::new(body);
    loop {
        match r.u8().in_message("ErrorResponse")? {
            0 => return Ok(None),
            c if c == code => return r.cstr().in_message("ErrorResponse").map(Some),
            _ => {
                r.cstr().in_message("ErrorResponse")?;
            }
        }
    }
}

/// Process, channel and payload of a NotificationResponse.
pub fn notification(body: &[u8]) -> Result<(u32, &[u8], &[u8]), ProtocolViolation> {
    let m = "NotificationResponse";
    let mut r = Reader::new(body);
    let process = r.u32().in_message(m)?;
    let channel = r.cstr().in_message(m)?;
    let payload = r.cstr().in_message(m)?;
    r.finish().in_message(m)?;
    Ok((process, channel, payload))
}

/// A CopyOutResponse: whether the data are binary, and how many columns they have.
pub fn copy_response(body: &[u8]) -> Result<(bool, usize), ProtocolViolation> {
    let m = "CopyOutResponse";
    let mut r = Reader::new(body);
    let format = r.u8().in_message(m)?;
    let count = r.u16().in_message(m)?;
    for _ in 0..count {
        r.i16().in_message(m)?;
    }
    r.finish().in_message(m)?;
    match format {
        0 => Ok((false, usize::from(count))),
        1 => Ok((true, usize::from(count))),
        _ => Err(ProtocolViolation::Other("CopyOutResponse has an unknown format")),
    }
}

/// All fields of an ErrorResponse or NoticeResponse; `None` where the body does not end as one does.
pub fn error_fields(body: &[u8]) -> Option<Vec<(u8, &[u8])>> {
    let mut r = Reader::new(body);
    let mut fields = Vec::new();
    loop {
        match r.u8().ok()? {
            0 => return r.finish().ok().map(|()| fields),
            code => fields.push((code, r.cstr().ok()?)),
        }
    }
}

/// The request code of an Authentication message; 0 is success.
pub fn authentication(body: &[u8]) -> Result<u32, ProtocolViolation> {
    Reader::new(body).u32().in_message("Authentication")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_a_row_description_at_every_cut() {
        let mut body = 1u16.to_be_bytes().to_vec();
        body.extend(b"email\0");
        body.extend(77u32.to_be_bytes());
        body.extend(3i16.to_be_bytes());
        body.extend(25u32.to_be_bytes());
        body.extend((-1i16).to_be_bytes());
        body.extend((-1i32).to_be_bytes());
        body.extend(1i16.to_be_bytes());
        let fields = row_description(&body).unwrap();
        assert_eq!(fields.len(), 1);
        assert_eq!((fields[0].table_oid, fields[0].attribute, fields[0].format), (77, 3, 1));
        for cut in 0..body.len() {
            assert!(row_description(&body[..cut]).is_err());
        }
        body.push(0);
        assert!(row_description(&body).is_err());
    }

    #[test]
    fn finds_the_sqlstate() {
        assert_eq!(error_field(b"SERROR\0C42501\0Mno\0\0", b'C'), Ok(Some(&b"42501"[..])));
        assert_eq!(error_field(b"SERROR\0\0", b'C'), Ok(None));
        assert!(error_field(b"SERROR", b'C').is_err());
    }

    proptest! {
        #[test]
        fn garbage_never_panics(body in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = (row_description(&body), data_row(&body), ready_for_query(&body), parameter_status(&body));
            let _ = (copy_response(&body), notification(&body));
            let _ = (backend_key_data(&body), command_complete(&body), error_field(&body, b'C'), authentication(&body));
        }
    }
}
