//! SHA-256 of the file that a process runs.
//!
//! Read through `/proc/PID/exe`, so it is the file that runs, whatever lies at its path by now. A file is read once
//! for as long as nothing about it changes; the time of its last change of any kind is part of what is compared,
//! and only the kernel sets that.
//!
//! Invariant: bounded. Larger files and files that change while they are read have no hash.

use lru::LruCache;
use parking_lot::Mutex;
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::Read;
use std::num::NonZeroUsize;
use std::os::unix::fs::MetadataExt;

/// What tells one content of a file from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Content {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Content {
    fn of(file: &File) -> Option<Self> {
        let metadata = file.metadata().ok().filter(std::fs::Metadata::is_file)?;
        Some(Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        })
    }
}

/// Hashes of files seen before.
pub(super) struct ExecutableHashes {
    known: Mutex<LruCache<Content, String>>,
}

impl ExecutableHashes {
    pub(super) fn new() -> Self {
        Self { known: Mutex::new(LruCache::new(ENTRIES_MAX)) }
    }

    /// 64 hexadecimal digits. `None` where the file is no regular file, is too large, cannot be read, or changed
    /// meanwhile.
    pub(super) fn sha256(&self, mut file: File) -> Option<String> {
        let content = Content::of(&file).filter(|content| content.size <= FILE_BYTES_MAX)?;
        if let Some(known) = self.known.lock().get(&content) {
            return Some(known.clone());
        }
        let mut hash = Sha256::new();
        let mut buffer = vec![0; CHUNK_BYTES];
        let mut left = content.size;
        loop {
            let count = file.read(&mut buffer).ok()?;
            if count == 0 {
                break;
            }
            left = left.checked_sub(count as u64)?;
            hash.update(buffer.get(..count)?);
        }
        if Content::of(&file) != Some(content) {
            return None;
        }
        let digest = hex::encode(hash.finalize());
        self.known.lock().put(content, digest.clone());
        Some(digest)
    }
}

impl std::fmt::Debug for ExecutableHashes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ExecutableHashes").field("files", &self.known.lock().len()).finish_non_exhaustive()
    }
}

const ENTRIES_MAX: NonZeroUsize = NonZeroUsize::new(1024).unwrap();
/// Above the largest programs that connect to databases; reading so much takes part of a second, once.
const FILE_BYTES_MAX: u64 = 256 << 20;
const CHUNK_BYTES: usize = 256 << 10;

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    /// SHA-256 of "abc" (FIPS 180-2, appendix B.1).
    const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[test]
    fn a_file_is_read_again_when_it_changed() {
        let hashes = ExecutableHashes::new();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("program");
        std::fs::write(&path, "abc").unwrap();
        let open = || File::open(&path).unwrap();
        for _ in 0..2 {
            assert_eq!(hashes.sha256(open()).as_deref(), Some(ABC));
        }
        assert_eq!(hashes.known.lock().len(), 1);
        // The same size and the same time of modification: the kernel's own time tells.
        let modified = open().metadata().unwrap().modified().unwrap();
        let mut file = File::options().write(true).open(&path).unwrap();
        file.write_all(b"abd").unwrap();
        file.set_modified(modified).unwrap();
        let again = hashes.sha256(open()).unwrap();
        assert_ne!(again, ABC);
        assert_eq!(hashes.known.lock().len(), 2);
    }

    #[test]
    fn what_is_no_file_or_too_large_has_none() {
        let hashes = ExecutableHashes::new();
        assert_eq!(hashes.sha256(File::open("/dev/zero").unwrap()), None);
        assert_eq!(hashes.sha256(File::open("/").unwrap()), None);
        let file = tempfile::tempfile().unwrap();
        file.set_len(FILE_BYTES_MAX + 1).unwrap();
        assert_eq!(hashes.sha256(file), None);
    }
}
