//! The process at the other end of a hand-over: told from whoever may get its number later, and ended where it hangs.

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, FromRawFd as _, OwnedFd};
use std::time::{Duration, Instant};

/// Stays with the process and not with its number.
#[derive(Debug)]
pub struct Process(OwnedFd);

impl Process {
    /// Whoever has this number now. What is heard from the process afterwards shows that it is the one that was meant.
    pub(super) fn open(pid: i32) -> io::Result<Self> {
        // SAFETY: plain integers in, a descriptor or an error out.
        let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
        let fd = i32::try_from(fd).ok().filter(|fd| *fd >= 0).ok_or_else(io::Error::last_os_error)?;
        // SAFETY: the kernel has just made this descriptor for us.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// Waits until it has ended, at most so long. Answers whether it has.
    pub fn ends_within(&self, limit: Duration) -> bool {
        let mut asked = [PollFd::new(self.0.as_fd(), PollFlags::POLLIN)];
        let started = Instant::now();
        loop {
            let left = limit.saturating_sub(started.elapsed());
            match poll(&mut asked, PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)) {
                Err(Errno::EINTR) => {}
                ended => return ended.is_ok_and(|ready| ready > 0),
            }
        }
    }

    /// SIGKILL: one that is stopped hears no other.
    pub fn kill(&self) -> io::Result<()> {
        let nothing = std::ptr::null::<libc::siginfo_t>();
        // SAFETY: the descriptor is alive for the call; without further information the kernel reads none.
        let result = unsafe {
            libc::syscall(libc::SYS_pidfd_send_signal, self.0.as_raw_fd(), libc::SIGKILL, nothing, 0)
        };
        if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_is_stopped_is_ended_all_the_same() {
        let mut child = std::process::Command::new("sleep").arg("600").spawn().unwrap();
        let process = Process::open(i32::try_from(child.id()).unwrap()).unwrap();
        nix::sys::signal::kill(
            nix::unistd::Pid::from_raw(i32::try_from(child.id()).unwrap()),
            nix::sys::signal::Signal::SIGSTOP,
        )
        .unwrap();
        assert!(!process.ends_within(Duration::from_millis(50)));
        process.kill().unwrap();
        assert!(process.ends_within(Duration::from_secs(20)));
        child.wait().unwrap();
        assert!(Process::open(-1).is_err());
    }
}
