//! Reads policy files: regular ones, of bounded size, that not everybody can write.

use crate::engine::policy::{PolicyError, PolicySource, Problem};
use std::fs::{self, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// One file, or every policy file of a directory.
///
/// # Errors
/// Every path that cannot be read, and why.
pub fn read_path(path: &Path) -> Result<Vec<PolicySource>, PolicyError> {
    let wrong = |error| PolicyError { problems: vec![problem(path, error)] };
    if fs::metadata(path).map_err(wrong)?.is_dir() {
        return Ok(read_dir(path)?.unwrap_or_default());
    }
    Ok(vec![read_file(path).map_err(wrong)?])
}

/// The `*.cedar` files of a directory, sorted by name; `None` where there is no such directory. Names that
/// begin with a dot are editors' and installers' own.
pub(super) fn read_dir(dir: &Path) -> Result<Option<Vec<PolicySource>>, PolicyError> {
    let wrong = |error| PolicyError { problems: vec![problem(dir, error)] };
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        entries => entries.map_err(wrong)?,
    };
    check_mode(&fs::metadata(dir).map_err(wrong)?).map_err(wrong)?;
    let mut paths: Vec<PathBuf> = vec![];
    for entry in entries {
        let path = entry.map_err(wrong)?.path();
        let is_hidden = path.file_name().is_none_or(|name| name.as_encoded_bytes().starts_with(b"."));
        if !is_hidden && path.extension().is_some_and(|extension| extension == "cedar") {
            paths.push(path);
        }
    }
    paths.sort();
    let (mut sources, mut problems) = (vec![], vec![]);
    for path in &paths {
        match read_file(path) {
            Ok(source) => sources.push(source),
            Err(error) => problems.push(problem(path, error)),
        }
    }
    if problems.is_empty() { Ok(Some(sources)) } else { Err(PolicyError { problems }) }
}

fn read_file(path: &Path) -> io::Result<PolicySource> {
    // Non-blocking: opening a pipe that nobody writes must not stop a reload.
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    check_mode(&metadata)?;
    let mut text = String::new();
    file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text)?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(io::Error::other(format!("larger than {FILE_BYTES_MAX} bytes")));
    }
    Ok(PolicySource::new(path.display().to_string(), text))
}

/// A policy that everybody can change protects nobody. A sticky directory (`/tmp`) does not help: anyone
/// may add files there.
fn check_mode(metadata: &fs::Metadata) -> io::Result<()> {
    if metadata.mode() & 0o002 != 0 {
        return Err(io::Error::other("everybody may write to it; remove that right (chmod o-w)"));
    }
    Ok(())
}

fn problem(path: &Path, error: io::Error) -> Problem {
    Problem::of_file(&path.display().to_string(), error.to_string())
}

const FILE_BYTES_MAX: u64 = 1 << 20;
