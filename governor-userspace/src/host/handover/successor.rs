//! The old agent's side.

use super::frame::{self, Kind};
use super::predecessor::{Hello, Welcome};
use super::{HandoverError, PROTOCOL, Process, Records, SOCKET_FILE, beside};
use crate::host::clock;
use crate::host::proxy::CancelRegistry;
use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use parking_lot::Mutex;
use socket2::{Domain, SockAddr, Socket, Type};
use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::Duration;
use tokio::sync::watch;

/// Where a new agent knocks.
#[derive(Debug)]
pub struct Doorway {
    listener: UnixListener,
    path: PathBuf,
    /// Device and inode of our own file, so that only that is removed.
    file: (u64, u64),
    closed: AtomicBool,
}

impl Doorway {
    /// Replaces a file that an agent before left, the one that is taken over from included.
    pub fn open(state_dir: &Path) -> Result<Self, HandoverError> {
        let path = state_dir.join(SOCKET_FILE);
        let temporary = path.with_extension("new");
        let listen = || -> io::Result<(UnixListener, (u64, u64))> {
            match fs::remove_file(&temporary) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
            socket.bind(&SockAddr::unix(&temporary)?)?;
            fs::set_permissions(&temporary, fs::Permissions::from_mode(0o600))?;
            socket.listen(1)?;
            let found = fs::symlink_metadata(&temporary)?;
            fs::rename(&temporary, &path)?;
            Ok((socket.into(), (found.dev(), found.ino())))
        };
        match listen() {
            Ok((listener, file)) => Ok(Self { listener, path, file, closed: AtomicBool::new(false) }),
            Err(source) => Err(HandoverError::Socket { path, source }),
        }
    }

    /// Waits for a new agent and tells it where this one's pins are. Blocks, at most `STEP_MAX` once somebody knocked.
    pub fn admit(&self, generation: &Path) -> Result<Heir, HandoverError> {
        let accepted = self.listener.accept();
        if self.closed.load(Ordering::Acquire) {
            return Err(HandoverError::Closed);
        }
        let (mut stream, _) = accepted?;
        stream.set_read_timeout(Some(STEP_MAX))?;
        stream.set_write_timeout(Some(STEP_MAX))?;
        let peer = getsockopt(&stream, PeerCredentials).map_err(io::Error::from)?;
        let me = nix::unistd::getuid().as_raw();
        if peer.uid() != 0 && peer.uid() != me {
            // The file's rights forbid it already; this is the second lock.
            return Err(HandoverError::Refused(format!("user {} may not take over", peer.uid())));
        }
        // The number that the kernel gives, not one that is said. Opened before this side speaks: who answers is still there,
        // so it is the process that knocked, and nobody else's number.
        let process = Arc::new(Process::open(peer.pid())?);
        let hello: Hello = frame::expect_json(&mut stream, Kind::Hello)?;
        let welcome = Welcome {
            protocol: PROTOCOL,
            version: env!("CARGO_PKG_VERSION").into(),
            pid: std::process::id(),
            run: clock::run_id().into(),
            generation: generation.to_path_buf(),
        };
        frame::send_json(&mut stream, Kind::Welcome, &welcome)?;
        if hello.protocol != PROTOCOL {
            return Err(HandoverError::Version { ours: PROTOCOL, theirs: hello.protocol });
        }
        // It loads its kernel programs meanwhile.
        stream.set_read_timeout(Some(LOAD_MAX))?;
        frame::expect(&mut stream, Kind::Prepare)?;
        let questions = beside::take_passed(&stream)?;
        stream.set_read_timeout(Some(GIVE_MAX))?;
        // Everything that a shortage may deny is got here, where nothing has changed yet.
        let line = Arc::new(stream.try_clone()?);
        let asking = start_asking(questions, line.clone())?;
        let step = Arc::new(Mutex::new(Step::Waiting));
        let breaker = Breaker { line, step };
        Ok(Heir { stream, breaker, asking, pid: peer.pid(), version: hello.version, process })
    }
}

impl Doorway {
    /// Nobody is admitted any more, and who waits in [`Doorway::admit`] returns.
    pub fn close(&self) {
        self.closed.store(true, Ordering::Release);
        // Ends an accept that waits; the error that this may give says that none does.
        let _ = nix::sys::socket::shutdown(
            std::os::fd::AsRawFd::as_raw_fd(&self.listener),
            nix::sys::socket::Shutdown::Both,
        );
        if fs::symlink_metadata(&self.path).is_ok_and(|found| (found.dev(), found.ino()) == self.file) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// A new agent that is ready to take what only one may have.
#[derive(Debug)]
pub struct Heir {
    stream: UnixStream,
    breaker: Breaker,
    asking: mpsc::Sender<Asked>,
    pub pid: i32,
    pub version: String,
    pub process: Arc<Process>,
}

/// What is known of the new agent after it took over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SuccessorState {
    Governs,
    /// It stops, and still takes records for a while.
    Stopping,
    /// Nothing can be recorded any more.
    Gone,
}

/// What the thread needs that answers questions, and whom it tells how they end.
type Asked = (CancelRegistry, watch::Sender<SuccessorState>);

/// Where the wait for the new agent's word is.
#[derive(Debug)]
enum Step {
    Waiting,
    /// Whatever comes now is too late.
    Broken,
    /// It governs, and the line is for records.
    Heard,
}

/// Ends the wait for the new agent's word, from another thread.
#[derive(Clone, Debug)]
pub struct Breaker {
    line: Arc<UnixStream>,
    step: Arc<Mutex<Step>>,
}

impl Breaker {
    /// Does nothing once the word was heard.
    pub fn break_off(&self) {
        let mut step = self.step.lock();
        if matches!(*step, Step::Waiting) {
            *step = Step::Broken;
            let _ = self.line.shutdown(std::net::Shutdown::Read);
        }
    }

    /// The word has come. Fails where the wait was broken off.
    fn heard(&self) -> Result<(), HandoverError> {
        let mut step = self.step.lock();
        if matches!(*step, Step::Broken) {
            return Err(HandoverError::Closed);
        }
        *step = Step::Heard;
        Ok(())
    }
}

/// Starts the thread that answers questions. It waits for what it needs, and ends where that does not come.
fn start_asking(questions: UnixStream, records: Arc<UnixStream>) -> io::Result<mpsc::Sender<Asked>> {
    let (asking, asked) = mpsc::channel::<Asked>();
    std::thread::Builder::new().name("governor-asked".into()).spawn(move || {
        let Ok((cancels, state)) = asked.recv() else { return };
        // The other end closes when the new agent stops or ends.
        let _ = beside::answer_questions(questions, &cancels);
        state.send_replace(SuccessorState::Stopping);
        beside::wait_for_end(&records);
        state.send_replace(SuccessorState::Gone);
    })?;
    Ok(asking)
}

impl Heir {
    pub fn breaker(&self) -> Breaker {
        self.breaker.clone()
    }

    /// Everything that only one agent may have can be taken. Returns when the new agent's hooks are on.
    pub fn prepared(&mut self) -> Result<(), HandoverError> {
        frame::send(&mut self.stream, Kind::Prepared, &[])?;
        frame::expect(&mut self.stream, Kind::Attached)?;
        self.breaker.heard()
    }

    /// It did not come to that.
    pub fn refuse(mut self, reason: &str) {
        let _ = frame::send(&mut self.stream, Kind::Refuse, reason.as_bytes());
    }

    /// New connections are the new agent's. What this one still records goes to it by what is returned.
    /// Questions about this one's sessions are answered by a thread, which keeps `state`.
    pub fn yours(
        mut self,
        cancels: CancelRegistry,
        state: watch::Sender<SuccessorState>,
    ) -> Result<Records, HandoverError> {
        frame::send(&mut self.stream, Kind::Yours, &[])?;
        let sink = Records::new(self.stream)?;
        // Were the thread gone, `state` would be dropped, which says "gone" as well.
        let _ = self.asking.send((cancels, state));
        Ok(sink)
    }
}

const STEP_MAX: Duration = Duration::from_secs(30);
/// From the moment at which it may take everything until its hooks are on. Records wait meanwhile.
const GIVE_MAX: Duration = Duration::from_secs(20);
const LOAD_MAX: Duration = Duration::from_secs(90);

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read as _, Write as _};

    fn breaker() -> (Breaker, UnixStream) {
        let (line, other) = UnixStream::pair().unwrap();
        (Breaker { line: Arc::new(line), step: Arc::new(Mutex::new(Step::Waiting)) }, other)
    }

    #[test]
    fn a_wait_that_is_over_is_not_broken_off() {
        let (breaker, mut other) = breaker();
        breaker.heard().unwrap();
        breaker.break_off();
        other.write_all(b"w").unwrap();
        let mut byte = [0];
        (&*breaker.line).read_exact(&mut byte).unwrap();
        assert_eq!(byte, *b"w");
    }

    #[test]
    fn a_word_that_comes_after_the_wait_was_broken_off_is_not_heard() {
        let (breaker, mut other) = breaker();
        other.write_all(b"w").unwrap();
        breaker.break_off();
        assert!(matches!(breaker.heard(), Err(HandoverError::Closed)));
        assert!(other.write_all(b"w").is_err(), "nothing more is taken");
    }
}
