//! A small blocking PostgreSQL protocol client that may also misbehave: it sends exactly the bytes it is told.
//!
//! Protocol: <https://www.postgresql.org/docs/current/protocol-message-formats.html>

use crate::remote_socket::RemoteSocket;
use anyhow::{Context, Result, bail};
use std::io::{Read, Write};
use std::time::Duration;

/// One message from the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    pub tag: u8,
    pub body: Vec<u8>,
}

impl Message {
    /// A field of ErrorResponse or NoticeResponse: `C` SQLSTATE, `M` message, `D` detail, `H` hint.
    pub fn field(&self, code: u8) -> Option<String> {
        self.body
            .split(|byte| *byte == 0)
            .find(|field| field.first() == Some(&code))
            .map(|field| String::from_utf8_lossy(field.get(1..).unwrap_or_default()).into_owned())
    }

    /// The values of a DataRow; `None` is NULL.
    pub fn row(&self) -> Result<Vec<Option<Vec<u8>>>> {
        let mut rest = self.body.get(2..).context("DataRow is short")?;
        let count = u16::from_be_bytes(self.body.get(..2).context("DataRow is short")?.try_into()?);
        let mut values = Vec::new();
        for _ in 0..count {
            let (length, after) = rest.split_at_checked(4).context("DataRow is short")?;
            let length = i32::from_be_bytes(length.try_into()?);
            rest = after;
            if length < 0 {
                values.push(None);
                continue;
            }
            let (value, after) =
                rest.split_at_checked(usize::try_from(length)?).context("DataRow is short")?;
            values.push(Some(value.to_vec()));
            rest = after;
        }
        Ok(values)
    }

    /// The text of a message that is one C string, such as CommandComplete.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(self.body.strip_suffix(&[0]).unwrap_or(&self.body)).into_owned()
    }
}

/// Tags of a reply in order, as text: `TDDCZ`.
pub fn tags(messages: &[Message]) -> String {
    messages.iter().map(|message| char::from(message.tag)).collect()
}

/// A connection at the level of bytes and messages.
#[derive(Debug)]
pub struct Wire {
    socket: RemoteSocket,
    /// Process id and secret, for cancel requests.
    pub cancel_key: Vec<u8>,
}

impl Wire {
    pub fn new(socket: RemoteSocket) -> Result<Self> {
        socket.stream.set_read_timeout(Some(READ_LIMIT))?;
        socket.stream.set_write_timeout(Some(READ_LIMIT))?;
        Ok(Self { socket, cancel_key: vec![] })
    }

    pub fn pid(&self) -> u32 {
        self.socket.pid()
    }

    /// Start-up without a password, up to the first ReadyForQuery.
    pub fn start(&mut self, user: &str, database: &str) -> Result<Vec<Message>> {
        self.send(&startup(user, database))?;
        let replies = self.until_ready()?;
        if let Some(error) = replies.iter().find(|message| message.tag == b'E') {
            bail!("start-up refused: {:?}", error.field(b'M'));
        }
        if let Some(key) = replies.iter().find(|message| message.tag == b'K') {
            self.cancel_key = key.body.clone();
        }
        Ok(replies)
    }

    pub fn send(&mut self, bytes: &[u8]) -> Result<()> {
        Ok(self.socket.stream.write_all(bytes)?)
    }

    /// A second handle for writing, so that another thread can send while this one reads.
    pub fn sender(&self) -> Result<std::net::TcpStream> {
        Ok(self.socket.stream.try_clone()?)
    }

    /// One write a byte: every border that the other side could depend on is crossed.
    pub fn send_split(&mut self, bytes: &[u8]) -> Result<()> {
        bytes.iter().try_for_each(|byte| self.send(std::slice::from_ref(byte)))
    }

    /// The next message; an error when the connection ends or stays silent.
    pub fn read(&mut self) -> Result<Message> {
        let mut head = [0; 5];
        self.socket.stream.read_exact(&mut head).context("waiting for a message")?;
        let [tag, length @ ..] = head;
        let length = usize::try_from(i32::from_be_bytes(length))?;
        let mut body = vec![0; length.checked_sub(4).context("length below 4")?];
        self.socket.stream.read_exact(&mut body)?;
        Ok(Message { tag, body })
    }

    /// Messages up to and with the next ReadyForQuery, or up to a fatal end.
    pub fn until_ready(&mut self) -> Result<Vec<Message>> {
        let mut messages = Vec::new();
        loop {
            match self.read() {
                Ok(message) => messages.push(message),
                Err(_) if messages.last().is_some_and(|last: &Message| last.tag == b'E') => {
                    return Ok(messages);
                }
                Err(error) => return Err(error.context(format!("after {:?}", tags(&messages)))),
            }
            if messages.last().is_some_and(|last| last.tag == b'Z') {
                return Ok(messages);
            }
        }
    }

    /// A simple query and its whole answer.
    pub fn query(&mut self, sql: &str) -> Result<Vec<Message>> {
        self.send(&query(sql))?;
        self.until_ready()
    }

    /// Everything until the other side closes; an error if it does not within the read limit.
    pub fn until_closed(&mut self) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        match self.socket.stream.read_to_end(&mut bytes) {
            Ok(_) => Ok(bytes),
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => Ok(bytes),
            Err(error) => Err(error).context("the connection was not closed"),
        }
    }
}

/// Version 3.0 start-up packet.
pub fn startup(user: &str, database: &str) -> Vec<u8> {
    startup_with(0, &[("user", user), ("database", database), ("application_name", "wire-test")])
}

/// Start-up packet of protocol 3 with this minor version and these parameters.
pub fn startup_with(minor: u16, parameters: &[(&str, &str)]) -> Vec<u8> {
    let mut body = 3_u16.to_be_bytes().to_vec();
    body.extend_from_slice(&minor.to_be_bytes());
    for (name, value) in parameters {
        body.extend_from_slice(&c_string(name));
        body.extend_from_slice(&c_string(value));
    }
    body.push(0);
    untagged(&body)
}

/// A message before the protocol has tags: length and body.
pub fn untagged(body: &[u8]) -> Vec<u8> {
    let mut bytes = length_of(body).to_vec();
    bytes.extend_from_slice(body);
    bytes
}

pub fn message(tag: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![tag];
    bytes.extend_from_slice(&untagged(body));
    bytes
}

pub fn query(sql: &str) -> Vec<u8> {
    message(b'Q', &c_string(sql))
}

/// Parse without parameter types.
pub fn parse(name: &str, sql: &str) -> Vec<u8> {
    message(b'P', &[c_string(name), c_string(sql), vec![0, 0]].concat())
}

/// Bind with text parameters and text results.
pub fn bind(portal: &str, statement: &str, values: &[&str]) -> Vec<u8> {
    bind_formats(portal, statement, values, &[])
}

/// Bind with text parameters and these format codes of the result columns.
pub fn bind_formats(portal: &str, statement: &str, values: &[&str], formats: &[u16]) -> Vec<u8> {
    let mut body = [c_string(portal), c_string(statement), vec![0, 0]].concat();
    body.extend_from_slice(&(values.len() as u16).to_be_bytes());
    for value in values {
        body.extend_from_slice(&(value.len() as u32).to_be_bytes());
        body.extend_from_slice(value.as_bytes());
    }
    body.extend_from_slice(&(formats.len() as u16).to_be_bytes());
    formats.iter().for_each(|format| body.extend_from_slice(&format.to_be_bytes()));
    message(b'B', &body)
}

pub fn execute(portal: &str) -> Vec<u8> {
    message(b'E', &[c_string(portal), vec![0; 4]].concat())
}

/// Execute of at most `rows` rows.
pub fn execute_rows(portal: &str, rows: u32) -> Vec<u8> {
    message(b'E', &[c_string(portal), rows.to_be_bytes().to_vec()].concat())
}

/// Describe of a prepared statement (`b'S'`) or a portal (`b'P'`).
pub fn describe(what: u8, name: &str) -> Vec<u8> {
    message(b'D', &[vec![what], c_string(name)].concat())
}

/// Close of a prepared statement (`b'S'`) or a portal (`b'P'`).
pub fn close(what: u8, name: &str) -> Vec<u8> {
    message(b'C', &[vec![what], c_string(name)].concat())
}

pub fn flush() -> Vec<u8> {
    message(b'H', &[])
}

pub fn copy_data(text: &str) -> Vec<u8> {
    message(b'd', text.as_bytes())
}

pub fn copy_done() -> Vec<u8> {
    message(b'c', &[])
}

pub fn copy_fail(why: &str) -> Vec<u8> {
    message(b'f', &c_string(why))
}

/// Call of a function by its oid, with text arguments and a text result.
pub fn function_call(oid: u32, arguments: &[&str]) -> Vec<u8> {
    let mut body = oid.to_be_bytes().to_vec();
    body.extend_from_slice(&[0, 0]);
    body.extend_from_slice(&(arguments.len() as u16).to_be_bytes());
    for argument in arguments {
        body.extend_from_slice(&(argument.len() as u32).to_be_bytes());
        body.extend_from_slice(argument.as_bytes());
    }
    body.extend_from_slice(&[0, 0]);
    message(b'F', &body)
}

pub fn sync() -> Vec<u8> {
    message(b'S', &[])
}

/// Parse, Bind and Execute of an unnamed statement.
pub fn extended(sql: &str, values: &[&str]) -> Vec<u8> {
    [parse("", sql), bind("", "", values), execute("")].concat()
}

/// A cancel request for the session with this key (process id and secret, as BackendKeyData has them).
pub fn cancel(key: &[u8]) -> Vec<u8> {
    untagged(&[&80_877_102_u32.to_be_bytes(), key].concat())
}

pub fn ssl_request() -> Vec<u8> {
    untagged(&80_877_103_u32.to_be_bytes())
}

fn c_string(text: &str) -> Vec<u8> {
    let mut bytes = text.as_bytes().to_vec();
    bytes.push(0);
    bytes
}

fn length_of(body: &[u8]) -> [u8; 4] {
    (body.len() as u32 + 4).to_be_bytes()
}

const READ_LIMIT: Duration = Duration::from_secs(20);
