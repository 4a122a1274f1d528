//! While both agents live: the old one records in the new one's chain, and answers for its own sessions.

use super::HandoverError;
use super::frame::{self, Kind};
use crate::engine::audit::Batch;
use crate::engine::model::Endpoint;
use crate::engine::session::CancelMatch;
use crate::host::ledger::{Ledger, LedgerError, Successor};
use crate::host::proxy::CancelRegistry;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, recvmsg, sendmsg};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsFd as _, AsRawFd as _, FromRawFd as _, RawFd};
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

/// A cancel request that the new agent got, about a session that may be the old one's.
#[derive(Debug, Serialize, Deserialize)]
struct CancelQuestion {
    destination: Endpoint,
    process: u32,
    secret: Vec<u8>,
}

/// [`CancelMatch`] as it travels.
#[derive(Debug, Serialize, Deserialize)]
enum CancelAnswer {
    Live,
    Held { runs: bool },
    Unknown { unread: bool },
}

/// The new agent's way to ask. A question that cannot be asked is answered with "unknown".
///
/// The line closes when this is dropped and not before: the old agent takes its end for the new one's.
#[derive(Debug)]
pub(super) struct Questions(Mutex<QuestionLine>);

#[derive(Debug)]
struct QuestionLine {
    stream: UnixStream,
    /// An answer did not come, or may come late: it would be taken for that of the next question, so there is none.
    is_mute: bool,
}

impl Questions {
    pub fn new(stream: UnixStream) -> io::Result<Self> {
        // A worker thread waits for it.
        stream.set_read_timeout(Some(QUESTION_MAX))?;
        stream.set_write_timeout(Some(QUESTION_MAX))?;
        Ok(Self(Mutex::new(QuestionLine { stream, is_mute: false })))
    }

    pub fn cancel(&self, destination: &Endpoint, process: u32, secret: &[u8]) -> CancelMatch {
        let question = CancelQuestion { destination: destination.clone(), process, secret: secret.to_vec() };
        let mut line = self.0.lock();
        if line.is_mute {
            return CancelMatch::Unknown { unread: false };
        }
        let answer = frame::send_json(&mut line.stream, Kind::Cancel, &question)
            .map_err(HandoverError::from)
            .and_then(|()| frame::expect_json(&mut line.stream, Kind::CancelAnswer));
        match answer {
            Ok(CancelAnswer::Live) => CancelMatch::Live,
            Ok(CancelAnswer::Held { runs }) => CancelMatch::Held { runs },
            Ok(CancelAnswer::Unknown { unread }) => CancelMatch::Unknown { unread },
            Err(error) => {
                tracing::warn!(%error, "the agent before this one does not answer for its sessions: no longer asked");
                line.is_mute = true;
                CancelMatch::Unknown { unread: false }
            }
        }
    }
}

/// The old agent's side: answers until the new one closes the line, because it stops or is gone.
pub(super) fn answer_questions(
    mut stream: UnixStream,
    cancels: &CancelRegistry,
) -> Result<(), HandoverError> {
    loop {
        let question: CancelQuestion = frame::expect_json(&mut stream, Kind::Cancel)?;
        let answer = match cancels.find(&question.destination, question.process, &question.secret) {
            CancelMatch::Live => CancelAnswer::Live,
            CancelMatch::Held { runs } => CancelAnswer::Held { runs },
            CancelMatch::Unknown { unread } => CancelAnswer::Unknown { unread },
        };
        frame::send_json(&mut stream, Kind::CancelAnswer, &answer)?;
    }
}

/// Returns when the new agent takes no more records: it has ended, or did not answer in time.
pub(super) fn wait_for_end(records: &UnixStream) {
    let mut asked = [PollFd::new(records.as_fd(), PollFlags::empty())];
    // The end of a connection is told without being asked for (POLLHUP), and nothing else.
    while poll(&mut asked, PollTimeout::NONE) == Err(nix::errno::Errno::EINTR) {}
}

/// Passes one end of a connection of its own along `stream`.
pub(super) fn pass(stream: &UnixStream, end: &UnixStream) -> io::Result<()> {
    let fds = [end.as_raw_fd()];
    let message = [IoSlice::new(b"q")];
    sendmsg::<()>(stream.as_raw_fd(), &message, &[ControlMessage::ScmRights(&fds)], MsgFlags::empty(), None)?;
    Ok(())
}

/// The other side of [`pass`].
pub(super) fn take_passed(stream: &UnixStream) -> io::Result<UnixStream> {
    let mut byte = [0u8; 1];
    let mut space = nix::cmsg_space!([RawFd; 1]);
    let mut buffers = [IoSliceMut::new(&mut byte)];
    let message =
        recvmsg::<()>(stream.as_raw_fd(), &mut buffers, Some(&mut space), MsgFlags::MSG_CMSG_CLOEXEC)?;
    for control in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(fds) = control
            && let Some(&fd) = fds.first()
        {
            // SAFETY: the kernel has just made this descriptor for us; the buffer has room for one, so it is the only.
            return Ok(unsafe { UnixStream::from_raw_fd(fd) });
        }
    }
    Err(io::Error::new(io::ErrorKind::InvalidData, "no connection for questions came along"))
}

const QUESTION_MAX: Duration = Duration::from_secs(2);
const ANSWER_MAX: Duration = Duration::from_secs(20);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_answer_ends_the_questions_and_not_their_line() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let same = ours.try_clone().unwrap();
        let questions = Questions::new(ours).unwrap();
        same.set_read_timeout(Some(Duration::from_millis(10))).unwrap();
        drop(same);
        let destination = Endpoint::tcp([127, 0, 0, 1].into(), 5432);
        let unknown = CancelMatch::Unknown { unread: false };
        assert_eq!(questions.cancel(&destination, 7, b"key!"), unknown);
        // The answer comes late, and is not taken for that of the next question, which is not asked.
        frame::send_json(&mut &theirs, Kind::CancelAnswer, &CancelAnswer::Live).unwrap();
        assert_eq!(questions.cancel(&destination, 8, b"key?"), unknown);
        let asked: CancelQuestion = frame::expect_json(&mut &theirs, Kind::Cancel).unwrap();
        assert_eq!(asked.process, 7);
        theirs.set_nonblocking(true).unwrap();
        let open = frame::receive(&mut &theirs).unwrap_err();
        assert_eq!(open.kind(), io::ErrorKind::WouldBlock);
        drop(questions);
        // An answer that nobody read makes it a reset.
        assert_ne!(frame::receive(&mut &theirs).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    }
}
