//! Finds the end of the chain when the agent starts.
//!
//! Everything from the segment that the head names is verified. Lines that waited in the spool when the
//! agent died are put behind the last segment first. What a crash or a power cut can leave
//! (a line cut short, garbage at the end of the last segment) lies beyond the head, is cut off, kept in a
//! file and told in the chain. Anything else is refused: it is evidence, and not ours to tidy away.

use super::{LedgerError, segment, spool};
use crate::engine::audit::{Finding, LedgerEvent, Problem, Tail, Verifier};
use ed25519_dalek::VerifyingKey;
use nix::fcntl::{Flock, FlockArg};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

pub(super) struct Recovered {
    pub tail: Tail,
    /// What was cut off, to be written as the next record.
    pub cut: Option<LedgerEvent>,
}

/// Makes the directory if need be, checks that it can be written, and keeps others out.
pub(super) fn lock_directory(dir: &Path) -> Result<Flock<File>, LedgerError> {
    let unusable = |source| LedgerError::Directory { path: dir.into(), source };
    DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(unusable)?;
    let path = dir.join(segment::LOCK_FILE);
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map_err(unusable)?;
    let mut holder = String::new();
    file.read_to_string(&mut holder).map_err(unusable)?;
    let mut lock = match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(lock) => lock,
        Err((_, nix::errno::Errno::EWOULDBLOCK)) => {
            let pid = holder.trim().parse().ok();
            return Err(LedgerError::InUse { path: dir.into(), pid });
        }
        Err((_, errno)) => return Err(unusable(errno.into())),
    };
    // The number is a help for people; the lock is what counts, so a full disk is no reason to stop here.
    let _ = lock.set_len(0).and_then(|()| {
        lock.seek(SeekFrom::Start(0))?;
        writeln!(lock, "{}", std::process::id())
    });
    Ok(lock)
}

pub(super) fn recover(dir: &Path, key: &VerifyingKey) -> Result<Recovered, LedgerError> {
    let unreadable = |source| LedgerError::Directory { path: dir.into(), source };
    let broken = |finding| LedgerError::Broken { path: dir.into(), finding: Box::new(finding) };
    let numbers = segment::list(dir).map_err(unreadable)?;
    let head_content = segment::read_head(dir).map_err(unreadable)?;
    let mut start = 1;
    let mut verifier = Verifier::new(*key);
    if head_content.is_some() {
        let head = verifier.head(head_content.as_deref()).map_err(broken)?;
        start = head.segment.max(1);
        verifier = Verifier::from_segment(*key, start);
        verifier.witness(head.seq, head.hash, "the head");
    }
    let last = numbers.last().copied().unwrap_or(0);
    let mut found = None;
    for &number in numbers.iter().filter(|&&number| number >= start) {
        found = feed_file(dir, number, &mut verifier)?;
        if found.is_some() {
            break;
        }
    }
    let good = verifier.tail();
    let goes_on = good.segment == last && good.has_header && good.segment_bytes > 0;
    if goes_on && found.as_ref().is_none_or(|finding| finding.problem.may_be_a_crash()) {
        let path = segment::path_of(dir, last);
        let restored = spool::restore(dir, &path, good.segment_bytes, good.hash)
            .map_err(|source| LedgerError::File { path, source })?;
        if restored {
            // Read again as a whole: what came out of the spool is verified like everything else.
            return recover(dir, key);
        }
    }
    let found = found.or_else(|| match numbers.is_empty() {
        true => None,
        false => verifier.finish().err(),
    });
    let tail = verifier.tail().clone();
    let cut = match found {
        Some(finding)
            if finding.problem.may_be_a_crash() && finding.segment == last && verifier.witnesses_met() =>
        {
            cut_off(dir, &tail, &finding)?
        }
        Some(finding) => return Err(broken(finding)),
        None => None,
    };
    let finding = |problem| Finding { segment: tail.segment, line: 0, seq: None, problem };
    if !verifier.witnesses_met() {
        // No segment at all is left of what the head knows.
        let seq = verifier.finish().err().map_or(Problem::HeadMissing, |finding| finding.problem);
        return Err(broken(finding(seq)));
    }
    // The head is published before the first record of the agent is accepted. Until then there are only
    // the ledger's own lines, each told apart from records by what the summary notes.
    let summary = verifier.summary();
    if head_content.is_none() && summary.records > summary.notes.len() as u64 {
        return Err(broken(finding(Problem::HeadMissing)));
    }
    Ok(Recovered { tail, cut })
}

fn feed_file(dir: &Path, number: u64, verifier: &mut Verifier) -> Result<Option<Finding>, LedgerError> {
    let path = segment::path_of(dir, number);
    let failed = |source| LedgerError::File { path: path.clone(), source };
    if let Err(finding) = verifier.segment(number) {
        return Ok(Some(finding));
    }
    let mut file = File::open(&path).map_err(failed)?;
    let mut buffer = vec![0; READ_BYTES];
    loop {
        let count = file.read(&mut buffer).map_err(failed)?;
        if count == 0 {
            return Ok(None);
        }
        if let Err(finding) = verifier.feed(buffer.get(..count).unwrap_or_default()) {
            return Ok(Some(finding));
        }
    }
}

/// Keeps the bytes beyond the good part beside the segment, then cuts them off.
fn cut_off(dir: &Path, tail: &Tail, finding: &Finding) -> Result<Option<LedgerEvent>, LedgerError> {
    let path = segment::path_of(dir, tail.segment);
    let failed = |source| LedgerError::File { path: path.clone(), source };
    let mut file = OpenOptions::new().read(true).write(true).open(&path).map_err(failed)?;
    let bytes = file.metadata().map_err(failed)?.len().saturating_sub(tail.segment_bytes);
    if bytes == 0 {
        return Ok(None);
    }
    let name = format!("segment-{:010}.cut-{}", tail.segment, tail.segment_bytes);
    let kept = dir.join(&name);
    let keep = |file: &mut File| -> io::Result<()> {
        file.seek(SeekFrom::Start(tail.segment_bytes))?;
        let mut copy = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&kept)?;
        io::copy(file, &mut copy)?;
        copy.sync_all()
    };
    if let Err(source) = keep(&mut file) {
        let _ = fs::remove_file(&kept);
        return Err(LedgerError::File { path: kept, source });
    }
    file.set_len(tail.segment_bytes).map_err(failed)?;
    let reason = finding.problem.to_string();
    Ok(Some(LedgerEvent::TailCut { segment: tail.segment, bytes, reason, kept: name }))
}

const READ_BYTES: usize = 1 << 18;
