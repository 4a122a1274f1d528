//! Data directories of throw-away servers: made once for each server program and way of authentication, then copied,
//! and kept in memory where there is room. Making one takes seconds of a processor, and the suites start hundreds.
//!
//! Servers that were copied have the same system identifier, as a primary and its replicas do.

use crate::programs;
use anyhow::{Context, Result, bail};
use std::ffi::OsStr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, Once, PoisonError};
use tempfile::TempDir;

/// An empty directory for a server's data. It goes with its owner; one that a killed program left goes with the next.
pub fn shelf() -> Result<TempDir> {
    static SWEPT: Once = Once::new();
    let place = if room(MEMORY) >= ROOM_MIN { PathBuf::from(MEMORY) } else { std::env::temp_dir() };
    SWEPT.call_once(|| sweep(&place));
    Ok(tempfile::Builder::new().prefix(&format!("{PREFIX}{}-", std::process::id())).tempdir_in(place)?)
}

/// Fills `to` with what `make` leaves in a directory of its own, or with what it left there the last time.
///
/// `kind`: what tells one content from others, beside the program that makes it.
pub fn copy(program: &Path, kind: &str, to: &Path, make: impl FnOnce() -> Result<TempDir>) -> Result<()> {
    static MAKING: Mutex<()> = Mutex::new(());
    let kept = kept(program, kind)?;
    {
        let _one_at_a_time = MAKING.lock().unwrap_or_else(PoisonError::into_inner);
        if !kept.exists() {
            let made = make()?;
            let partial = kept.with_extension(std::process::id().to_string());
            tar(&[OsStr::new("-cf"), partial.as_os_str()], made.path())?;
            std::fs::rename(&partial, &kept).with_context(|| kept.display().to_string())?;
        }
    }
    tar(&[OsStr::new("-xpf"), kept.as_os_str()], to)
}

/// The part of a shelf that is the server's own.
pub const DATA: &str = "data";

/// A file in a directory of whoever built this, who may remove it, whoever owns what it holds.
fn kept(program: &Path, kind: &str) -> Result<PathBuf> {
    let of = program.metadata().with_context(|| program.display().to_string())?;
    let directory = programs::tools();
    std::fs::create_dir_all(&directory)?;
    // A server that was exchanged, and one that ran as somebody else, have others.
    let user = nix::unistd::geteuid();
    Ok(directory.join(format!("cluster-{kind}-{:x}-{:x}-{user}.tar", of.ino(), of.mtime())))
}

fn tar(what: &[&OsStr], directory: &Path) -> Result<()> {
    let done = Command::new("tar").arg("-C").arg(directory).args(what).arg(".").status().context("tar")?;
    if !done.success() {
        bail!("tar in {}: {done}", directory.display());
    }
    Ok(())
}

/// Bytes that are free; 0 where there is no such file system.
fn room(path: &str) -> u64 {
    let Ok(found) = nix::sys::statvfs::statvfs(path) else { return 0 };
    found.blocks_available().saturating_mul(found.fragment_size())
}

/// Removes what programs left that run no more.
fn sweep(place: &Path) {
    for entry in std::fs::read_dir(place).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let owner =
            name.to_str().and_then(|name| name.strip_prefix(PREFIX)?.split('-').next()?.parse::<u32>().ok());
        if owner.is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists()) {
            // Somebody else may be at it too.
            std::fs::remove_dir_all(entry.path()).ok();
        }
    }
}

const PREFIX: &str = "governor-data-";
const MEMORY: &str = "/dev/shm";
/// For all servers of a suite that run at a time.
const ROOM_MIN: u64 = 4 << 30;
