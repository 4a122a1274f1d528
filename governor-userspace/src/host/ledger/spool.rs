//! Where lines wait for their segment: a small file that is mapped into memory.
//!
//! A store into a shared mapping is in the page cache as soon as it is made, as a write(2) is, and without
//! a system call. Lines go here first and to their segment together, a few hundred with one write. When the
//! process dies in between, the next start finds them here: they continue the chain of the last segment, and
//! nothing else does.
//!
//! Invariant: from the last [`Spool::clear`] on, the file begins with whole lines in the order of the chain.
//! What lies behind them is older, and its hashes do not fit.
//!
//! A store into a mapped page must never fail, since nobody could be told. So every block is written and
//! on disk before the file is used, and only on file systems that overwrite blocks in place; elsewhere there
//! is no spool, and each append is a write of its own.

use crate::engine::audit::{ChainHash, split_line};
use nix::sys::statfs::{EXT4_SUPER_MAGIC, FsType, TMPFS_MAGIC, XFS_SUPER_MAGIC, fstatfs};
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::ptr::NonNull;

pub(super) const SPOOL_FILE: &str = "spool";

/// The mapped file, and how much of it is in use.
#[derive(Debug)]
pub(super) struct Spool {
    start: NonNull<u8>,
    bytes: usize,
    used: usize,
}

// SAFETY: the mapping belongs to this value alone and does not depend on the thread that made it.
unsafe impl Send for Spool {}

impl Spool {
    /// Makes the file anew. `None` where the file system is not known to suit.
    pub fn create(dir: &Path, bytes: usize) -> io::Result<Option<Self>> {
        let path = dir.join(SPOOL_FILE);
        if bytes == 0 {
            return Ok(None);
        }
        let mut options = OpenOptions::new();
        let mut file = options.read(true).write(true).create(true).truncate(true).mode(0o600).open(&path)?;
        if !overwrites_in_place(fstatfs(&file)?.filesystem_type()) {
            return Ok(None);
        }
        if let Err(error) = file.write_all(&vec![0; bytes]).and_then(|()| file.sync_all()) {
            // Half of it would only take space that the segments need.
            let _ = fs::remove_file(&path);
            return Err(error);
        }
        // SAFETY: a new mapping of a file that was just written to this length; nothing is at the address
        // that the kernel chooses.
        let start = unsafe {
            let (access, shared) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED);
            libc::mmap(std::ptr::null_mut(), bytes, access, shared, file.as_raw_fd(), 0)
        };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(start.cast()).ok_or(io::ErrorKind::AddrNotAvailable)?;
        Ok(Some(Self { start, bytes, used: 0 }))
    }

    /// Puts whole lines behind those that wait. False where there is no room: then nothing is changed.
    pub fn push(&mut self, lines: &[u8]) -> bool {
        if lines.len() > self.bytes - self.used {
            return false;
        }
        // SAFETY: `used + lines.len()` is within the mapping, which `lines` cannot overlap: `content` is
        // the only way to borrow from it, and `self` is borrowed for writing.
        unsafe { self.start.as_ptr().add(self.used).copy_from_nonoverlapping(lines.as_ptr(), lines.len()) };
        self.used += lines.len();
        true
    }

    /// The lines that wait.
    pub fn content(&self) -> &[u8] {
        // SAFETY: the first `used` bytes of the mapping were written by `push`; nobody writes to them while
        // `self` is borrowed. Another process that changes the file is not ours to stop: it reads as
        // other bytes, and their hashes do not fit.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.used) }
    }

    /// They are in their segment now.
    pub fn clear(&mut self) {
        self.used = 0;
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        // SAFETY: the mapping was made with this address and length, and nothing borrows from it any more.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.bytes) };
    }
}

/// Blocks that were written once stay: a later store needs no new space.
fn overwrites_in_place(kind: FsType) -> bool {
    [EXT4_SUPER_MAGIC, XFS_SUPER_MAGIC, TMPFS_MAGIC].contains(&kind)
}

/// The file's bytes; empty where there is none.
pub(super) fn read(dir: &Path) -> io::Result<Vec<u8>> {
    match fs::read(dir.join(SPOOL_FILE)) {
        Ok(bytes) => Ok(bytes),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(vec![]),
        Err(error) => Err(error),
    }
}

/// The lines of a spool that continue the chain behind `last`, each with its newline: one slice.
pub(super) fn continuing(spool: &[u8], last: ChainHash) -> &[u8] {
    let (mut start, mut end, mut hash) = (0, 0, last);
    let mut at = 0;
    for newline in memchr::memchr_iter(b'\n', spool) {
        let line = spool.get(at..newline).and_then(split_line);
        match line {
            Some((own, json)) if hash.next(json) == own => {
                start = if hash == last { at } else { start };
                (hash, end) = (own, newline + 1);
            }
            // Those before are in the segment already; those behind are older.
            _ if hash == last => {}
            _ => break,
        }
        at = newline + 1;
    }
    spool.get(start..end).unwrap_or_default()
}

/// Puts what a dead process left in the spool behind the last segment. `tail` is where its good part ends.
/// False where there was nothing to put.
pub(super) fn restore(dir: &Path, segment: &Path, segment_bytes: u64, last: ChainHash) -> io::Result<bool> {
    let spool = read(dir)?;
    let lines = continuing(&spool, last);
    if lines.is_empty() {
        return Ok(false);
    }
    let good = usize::try_from(segment_bytes).unwrap_or(usize::MAX);
    // A write that was cut short left the beginning of the same lines. Anything else is kept as evidence.
    let content = fs::read(segment)?;
    if !lines.starts_with(content.get(good..).unwrap_or_default()) {
        return Ok(false);
    }
    let mut file = OpenOptions::new().append(true).open(segment)?;
    file.set_len(segment_bytes)?;
    file.write_all(lines)?;
    file.sync_all()?;
    Ok(true)
}

#[cfg(test)]
mod tests;
