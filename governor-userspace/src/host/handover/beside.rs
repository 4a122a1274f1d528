//! While both agents live: the old one records in the new one's chain, and answers for its own sessions.

use super::frame::{self, Kind};
use crate::engine::audit::Batch;
use crate::host::ledger::{Ledger, LedgerError, Successor};
use parking_lot::Mutex;
use std::io;
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// The old agent's way into the new one's chain.
#[derive(Debug)]
pub struct Records(Mutex<UnixStream>);

impl Records {
    pub(super) fn new(stream: UnixStream) -> io::Result<Self> {
        // A new agent that hangs must not hold sessions of this one for ever: they end instead.
        stream.set_read_timeout(Some(ANSWER_MAX))?;
        stream.set_write_timeout(Some(ANSWER_MAX))?;
        Ok(Self(Mutex::new(stream)))
    }
}

impl Successor for Records {
    fn append(&self, batch: &Batch, durable: bool) -> Result<(), LedgerError> {
        let failed = |reason: String| LedgerError::Successor { reason };
        let payload = frame::put_batch(batch).map_err(|error| failed(error.to_string()))?;
        let kind = if durable { Kind::RecordsDurable } else { Kind::Records };
        let mut stream = self.0.lock();
        let answer = frame::send(&mut *stream, kind, &payload).and_then(|()| frame::receive(&mut *stream));
        match answer {
            Ok((Kind::Written, _)) => Ok(()),
            Ok((Kind::NotWritten, reason)) => Err(failed(String::from_utf8_lossy(&reason).into_owned())),
            Ok(_) => Err(failed("it answered something else".into())),
            Err(error) => {
                // An answer that comes late would be taken for that of the next request.
                let _ = stream.shutdown(std::net::Shutdown::Both);
                Err(failed(error.to_string()))
            }
        }
    }
}

/// Writes down what the old agent records, until it is gone.
pub(super) fn record_for(mut stream: UnixStream, ledger: &Ledger) -> io::Result<()> {
    loop {
        let (kind, payload) = match frame::receive(&mut stream) {
            Ok(frame) => frame,
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            Err(error) => return Err(error),
        };
        let durable = match kind {
            Kind::Records => false,
            Kind::RecordsDurable => true,
            _ => return Err(io::Error::new(io::ErrorKind::InvalidData, "no records")),
        };
        let written = frame::take_batch(&payload)
            .map_err(|error| error.to_string())
            .and_then(|batch| ledger.append_batch(&batch, durable).map_err(|error| error.to_string()));
        match written {
            Ok(()) => frame::send(&mut stream, Kind::Written, &[])?,
            Err(reason) => frame::send(&mut stream, Kind::NotWritten, reason.as_bytes())?,
        }
    }
}

const ANSWER_MAX: Duration = Duration::from_secs(20);
