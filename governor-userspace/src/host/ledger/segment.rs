//! Names of files in the audit directory, and the head file.
//!
//! `segment-0000000001.jsonl` and on, `head`, `lock`, and what recovery cut: `segment-….cut-OFFSET`.

use crate::engine::audit::Head;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

pub(super) const HEAD_FILE: &str = "head";
pub(super) const LOCK_FILE: &str = "lock";

pub(super) fn path_of(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("segment-{number:010}.jsonl"))
}

/// Numbers of the segments that are there, ascending.
pub(super) fn list(dir: &Path) -> io::Result<Vec<u64>> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(dir)? {
        let name = entry?.file_name();
        let digits = name.to_str().and_then(|n| n.strip_prefix("segment-")?.strip_suffix(".jsonl"));
        // Other spellings of a number are not ours, and must not hide behind one.
        if let Some(number) =
            digits.and_then(|d| d.parse().ok()).filter(|&n| path_of(dir, n).ends_with(&name))
        {
            numbers.push(number);
        }
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// Every write goes to the end, wherever recovery or a retry has cut the file.
pub(super) fn open(dir: &Path, number: u64, create: bool) -> io::Result<File> {
    OpenOptions::new().append(true).create_new(create).mode(0o600).open(path_of(dir, number))
}

/// `None` where there is no head file.
pub(super) fn read_head(dir: &Path) -> io::Result<Option<Vec<u8>>> {
    match fs::read(dir.join(HEAD_FILE)) {
        Ok(content) => Ok(Some(content)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Replaces the head file; after a power cut either the old or the new one is there.
pub(super) fn write_head(dir: &Path, head: &Head) -> io::Result<()> {
    let temporary = dir.join("head.new");
    let mut content = serde_json::to_vec(head)?;
    content.push(b'\n');
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
    file.write_all(&content)?;
    file.sync_data()?;
    fs::rename(&temporary, dir.join(HEAD_FILE))
}

/// Makes the names in a directory survive a power cut.
pub(super) fn sync_directory(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}
