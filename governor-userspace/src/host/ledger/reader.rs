//! Reads the audit directory, also while an agent writes to it.
//!
//! Needs neither the lock nor the signing key. A line that is being written is not seen until it is
//! whole.

use super::{LedgerError, segment, spool};
use crate::engine::audit::{ChainHash, Finding, LINE_JSON_OFFSET, Summary, Verifier, split_line};
use ed25519_dalek::VerifyingKey;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The segments of one directory, ascending.
#[derive(Clone, Debug)]
pub struct AuditFiles {
    dir: PathBuf,
    segments: Vec<u64>,
}

impl AuditFiles {
    /// Answers an error where the directory cannot be read or holds no segment.
    pub fn open(dir: &Path) -> Result<Self, LedgerError> {
        let failed = |source| LedgerError::Directory { path: dir.into(), source };
        let segments = segment::list(dir).map_err(failed)?;
        if segments.is_empty() {
            return Err(failed(io::Error::new(io::ErrorKind::NotFound, "it holds no audit segments")));
        }
        Ok(Self { dir: dir.into(), segments })
    }

    pub fn segments(&self) -> &[u64] {
        &self.segments
    }

    /// Calls `each` with the JSON of every whole line of a segment, in order, until it answers `false`. To
    /// the last segment belongs what waits for it in the spool.
    pub fn each_line(&self, number: u64, mut each: impl FnMut(&[u8]) -> io::Result<bool>) -> io::Result<()> {
        // Before the segment: what leaves the spool from now on is found there.
        let waiting = if self.segments.last() == Some(&number) { spool::read(&self.dir)? } else { vec![] };
        let mut last = None;
        let mut reader =
            BufReader::with_capacity(READ_BYTES, File::open(segment::path_of(&self.dir, number))?);
        let mut line = Vec::new();
        loop {
            line.clear();
            reader.read_until(b'\n', &mut line)?;
            let Some(line) = line.strip_suffix(b"\n") else { break };
            if !each(line.get(LINE_JSON_OFFSET..).unwrap_or_default())? {
                return Ok(());
            }
            last = split_line(line).map(|(hash, _)| hash);
        }
        let waiting = last.map(|last| spool::continuing(&waiting, last)).unwrap_or_default();
        for line in waiting.split_inclusive(|byte| *byte == b'\n') {
            let line = line.strip_suffix(b"\n").unwrap_or(line);
            if !each(line.get(LINE_JSON_OFFSET..).unwrap_or_default())? {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Follows the chain from its present end on.
    pub fn follow(&self) -> io::Result<Follower> {
        let segment = self.segments.last().copied().unwrap_or(1);
        let mut follower = Follower { dir: self.dir.clone(), segment, file: None, partial: Vec::new() };
        if let Some(file) = follower.file()? {
            file.seek(SeekFrom::End(0))?;
        }
        Ok(follower)
    }
}

/// Hands out lines as they are written.
#[derive(Debug)]
pub struct Follower {
    dir: PathBuf,
    segment: u64,
    file: Option<File>,
    partial: Vec<u8>,
}

impl Follower {
    /// Calls `each` with the JSON of every line that is new since the last call. Does not wait.
    pub fn poll(&mut self, mut each: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
        loop {
            // Asked before reading: a segment is finished before the next one is made.
            let has_next = segment::path_of(&self.dir, self.segment + 1).exists();
            let mut new = Vec::new();
            if let Some(file) = self.file()? {
                file.read_to_end(&mut new)?;
            }
            self.partial.append(&mut new);
            let mut start = 0;
            for end in memchr::memchr_iter(b'\n', &self.partial) {
                let line = self.partial.get(start..end).unwrap_or_default();
                each(line.get(LINE_JSON_OFFSET..).unwrap_or_default())?;
                start = end + 1;
            }
            self.partial.drain(..start);
            if !has_next {
                return Ok(());
            }
            self.segment += 1;
            self.file = None;
            self.partial.clear();
        }
    }

    fn file(&mut self) -> io::Result<Option<&mut File>> {
        if self.file.is_none() {
            self.file = match File::open(segment::path_of(&self.dir, self.segment)) {
                Ok(file) => Some(file),
                Err(error) if error.kind() == io::ErrorKind::NotFound => None,
                Err(error) => return Err(error),
            };
        }
        Ok(self.file.as_mut())
    }
}

/// What `governor audit verify` found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verification {
    pub summary: Summary,
    /// The first bad place; `None` where all is well.
    pub finding: Option<Finding>,
}

/// Verifies the whole chain of a directory, which an agent may be writing to. `anchor` is a place that
/// was noted down elsewhere. `progress` is called with bytes read and bytes to read.
pub fn verify_directory(
    dir: &Path,
    key: VerifyingKey,
    anchor: Option<(u64, ChainHash)>,
    mut progress: impl FnMut(u64, u64),
) -> Result<Verification, LedgerError> {
    // The head first: what it names is on disk, and the chain only grows.
    let failed = |source| LedgerError::Directory { path: dir.into(), source };
    let head = segment::read_head(dir).map_err(failed)?;
    let files = AuditFiles::open(dir)?;
    let mut total = 0;
    for &number in files.segments() {
        let path = segment::path_of(dir, number);
        total += path.metadata().map_err(|source| LedgerError::File { path, source })?.len();
    }
    let mut verifier = Verifier::new(key);
    if let Some((seq, hash)) = anchor {
        verifier.witness(seq, hash, "the anchor");
    }
    let mut finding = verifier.head(head.as_deref()).err();
    let mut done = 0;
    for &number in files.segments() {
        if finding.is_some() {
            break;
        }
        let is_last = files.segments().last() == Some(&number);
        let path = segment::path_of(dir, number);
        finding = verify_segment(&path, number, is_last, &mut verifier, |bytes| {
            done += bytes;
            progress(done, total.max(done));
        })
        .map_err(|source| LedgerError::File { path, source })?;
    }
    let finding = finding.or_else(|| verifier.finish().err());
    Ok(Verification { summary: verifier.summary(), finding })
}

fn verify_segment(
    path: &Path,
    number: u64,
    is_last: bool,
    verifier: &mut Verifier,
    mut read: impl FnMut(u64),
) -> io::Result<Option<Finding>> {
    if let Err(finding) = verifier.segment(number) {
        return Ok(Some(finding));
    }
    let mut file = File::open(path)?;
    let mut buffer = vec![0; READ_BYTES];
    let mut ends_whole = true;
    let mut patience = 20;
    loop {
        let count = file.read(&mut buffer)?;
        if count == 0 {
            // The agent may be in the middle of a write just now.
            if is_last && !ends_whole && patience > 0 {
                patience -= 1;
                std::thread::sleep(Duration::from_millis(5));
                continue;
            }
            return Ok(None);
        }
        let bytes = buffer.get(..count).unwrap_or_default();
        ends_whole = bytes.last() == Some(&b'\n');
        if let Err(finding) = verifier.feed(bytes) {
            return Ok(Some(finding));
        }
        read(count as u64);
    }
}

const READ_BYTES: usize = 1 << 18;
