//! A file of what is known of columns: JSON Lines, one line a column (or a relation) behind a line that names the format.
//!
//! Invariants: the file is replaced whole (a temporary one, then a rename), so a death at any moment leaves the old or
//! the new content; it holds counts and words, never a value. A line that cannot be read costs that line: the file as
//! it was is set aside under another name, and everything else counts.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::borrow::Borrow;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Read, Write};
use std::marker::PhantomData;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Where the columns of one agent are kept: `T` is what a line says.
#[derive(Clone, Debug)]
pub struct DiscoveryFile<T> {
    path: PathBuf,
    lines: PhantomData<fn() -> T>,
}

/// The file cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[error("discovery catalogue {}: {source}", path.display())]
pub struct DiscoveryFileError {
    path: PathBuf,
    source: io::Error,
}

/// What a file held.
#[derive(Debug)]
pub struct Loaded<T> {
    pub records: Vec<T>,
    /// Lines that could not be read, and where the file as it was is kept.
    pub damage: Option<(usize, PathBuf)>,
}

#[derive(Serialize, Deserialize)]
struct Head {
    format: u32,
}

impl<T> Default for Loaded<T> {
    fn default() -> Self {
        Self { records: Vec::new(), damage: None }
    }
}

impl<T: Serialize + DeserializeOwned> DiscoveryFile<T> {
    pub fn new(path: PathBuf) -> Self {
        Self { path, lines: PhantomData }
    }

    /// Reads the file, where there is one. `now_unix_s` names a file that is set aside.
    pub fn load(&self, now_unix_s: u64) -> Result<Loaded<T>, DiscoveryFileError> {
        let mut text = Vec::new();
        match File::open(&self.path) {
            Ok(file) => {
                file.take(FILE_BYTES_MAX).read_to_end(&mut text).map_err(|source| self.failed(source))?;
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Loaded::default()),
            Err(error) => return Err(self.failed(error)),
        }
        let mut lines = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        let head = lines.next().and_then(|line| serde_json::from_slice::<Head>(line).ok());
        if let Some(Head { format }) = &head
            && *format > FORMAT_VERSION
        {
            let reason = format!("format {format} is of a newer governor; this one reads {FORMAT_VERSION}");
            return Err(self.failed(io::Error::new(io::ErrorKind::InvalidData, reason)));
        }
        let mut loaded = Loaded::default();
        let mut damaged = usize::from(head.is_none());
        for line in lines {
            match serde_json::from_slice(line) {
                Ok(record) if loaded.records.len() < RECORDS_COUNT_MAX => loaded.records.push(record),
                _ => damaged += 1,
            }
        }
        if damaged > 0 {
            let aside = self.path.with_extension(format!("damaged-{now_unix_s}"));
            fs::copy(&self.path, &aside).map_err(|source| self.failed(source))?;
            loaded.damage = Some((damaged, aside));
        }
        Ok(loaded)
    }

    /// Replaces the file. On disk when this returns.
    pub fn save(&self, records: impl Iterator<Item = impl Borrow<T>>) -> Result<(), DiscoveryFileError> {
        self.write(records).map_err(|source| self.failed(source))
    }

    fn write(&self, records: impl Iterator<Item = impl Borrow<T>>) -> io::Result<()> {
        let temporary = self.path.with_extension("new");
        let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
        let mut text = BufWriter::new(file);
        let written = lines(&mut text, records).and_then(|()| text.into_inner()?.sync_all());
        if let Err(error) = written.and_then(|()| fs::rename(&temporary, &self.path)) {
            let _ = fs::remove_file(&temporary);
            return Err(error);
        }
        File::open(self.path.parent().unwrap_or(Path::new(".")))?.sync_all()
    }

    fn failed(&self, source: io::Error) -> DiscoveryFileError {
        DiscoveryFileError { path: self.path.clone(), source }
    }
}

/// The format's line, and one for each record.
fn lines<T: Serialize>(
    text: &mut impl Write,
    records: impl Iterator<Item = impl Borrow<T>>,
) -> io::Result<()> {
    serde_json::to_writer(&mut *text, &Head { format: FORMAT_VERSION })?;
    text.write_all(b"\n")?;
    for record in records {
        serde_json::to_writer(&mut *text, record.borrow())?;
        text.write_all(b"\n")?;
    }
    Ok(())
}

const FORMAT_VERSION: u32 = 1;
/// Twice what the most columns take.
const FILE_BYTES_MAX: u64 = 256 << 20;
/// More than is kept of either.
const RECORDS_COUNT_MAX: usize = 500_000;
