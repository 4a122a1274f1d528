//! Finds the cgroup v2 mount and turns directories into what the kernel side needs.

use super::KernelError;
use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Where cgroup v2 is mounted, whatever the distribution's layout (`/sys/fs/cgroup`, or
/// `/sys/fs/cgroup/unified` beside version 1).
pub fn cgroup2_mount() -> Result<PathBuf, KernelError> {
    let mountinfo = fs::read_to_string("/proc/self/mountinfo")
        .map_err(|source| KernelError::System { action: "reading /proc/self/mountinfo", source })?;
    let mut found: Option<PathBuf> = None;
    for mount in mounts(&mountinfo).filter(|mount| mount.kind == "cgroup2") {
        // A bind mount of a part of the tree is of use only where the whole is not mounted.
        if mount.root == "/" {
            return Ok(mount.point);
        }
        found.get_or_insert(mount.point);
    }
    found.ok_or(KernelError::NoCgroupMount)
}

/// An opened cgroup directory.
#[derive(Debug)]
pub(super) struct Cgroup {
    pub path: PathBuf,
    /// What `bpf_get_current_cgroup_id()` says: the inode number of the directory.
    pub id: u64,
    pub directory: File,
}

impl Cgroup {
    pub fn open(path: &Path) -> Result<Self, KernelError> {
        let refuse = |reason: String| KernelError::NotACgroup { path: path.to_path_buf(), reason };
        let failed = |error: io::Error| refuse(error.to_string());
        // Ancestors are found by path, so two spellings of one directory must become one.
        let path = fs::canonicalize(path).map_err(failed)?;
        let directory = File::open(&path).map_err(failed)?;
        let filesystem =
            nix::sys::statfs::fstatfs(&directory).map_err(|errno| failed(io::Error::from(errno)))?;
        if filesystem.filesystem_type() != nix::sys::statfs::CGROUP2_SUPER_MAGIC {
            return Err(refuse("another file system".to_owned()));
        }
        let id = directory.metadata().map_err(failed)?.ino();
        Ok(Self { path, id, directory })
    }
}

/// The directories that cover all others: whatever lies below another one is dropped, because a hook
/// there would run twice for the same socket.
pub(super) fn topmost<'a>(paths: impl IntoIterator<Item = &'a Path>) -> Vec<&'a Path> {
    let mut sorted: Vec<&Path> = paths.into_iter().collect();
    sorted.sort();
    let mut kept: Vec<&Path> = Vec::new();
    for path in sorted {
        if !kept.iter().any(|ancestor| path.starts_with(ancestor)) {
            kept.push(path);
        }
    }
    kept
}

/// One line of mountinfo, as far as we need it.
pub(super) struct Mount<'a> {
    pub root: &'a str,
    pub point: PathBuf,
    pub kind: &'a str,
    pub source: &'a str,
}

/// Parses `/proc/PID/mountinfo` (proc_pid_mountinfo(5)); lines that do not fit are skipped.
pub(super) fn mounts(mountinfo: &str) -> impl Iterator<Item = Mount<'_>> {
    mountinfo.lines().filter_map(|line| {
        let (before, after) = line.split_once(" - ")?;
        let mut before = before.split(' ').skip(3);
        let mut after = after.split(' ');
        Some(Mount {
            root: before.next()?,
            point: unescape(before.next()?),
            kind: after.next()?,
            source: after.next()?,
        })
    })
}

/// The kernel writes space, tab, newline and backslash as three octal digits.
fn unescape(text: &str) -> PathBuf {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let octal = tail.get(..3).and_then(|digits| std::str::from_utf8(digits).ok());
        match octal.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) if first == b'\\' => {
                bytes.push(byte);
                rest = tail.get(3..).unwrap_or_default();
            }
            _ => {
                bytes.push(first);
                rest = tail;
            }
        }
    }
    PathBuf::from(std::ffi::OsStr::from_bytes(&bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mountinfo_is_parsed_with_escapes_and_optional_fields() {
        let text = "25 30 0:23 / /sys/fs/cgroup/unified rw,relatime shared:9 master:1 - cgroup2 cgroup2 rw\n\
                    26 30 0:24 /part /mnt/a\\040b\\134c rw - bpf governor rw,mode=700\n\
                    broken line\n";
        let found: Vec<Mount<'_>> = mounts(text).collect();
        assert_eq!(found.len(), 2);
        assert_eq!((found[0].root, found[0].kind), ("/", "cgroup2"));
        assert_eq!(found[0].point, Path::new("/sys/fs/cgroup/unified"));
        assert_eq!(found[1].point, Path::new("/mnt/a b\\c"));
        assert_eq!((found[1].root, found[1].source), ("/part", "governor"));
    }

    #[test]
    fn only_topmost_directories_stay() {
        let paths = ["/c/a/b", "/c/ab", "/c/a", "/c/a", "/c/b/x"].map(Path::new);
        let kept: Vec<&str> = topmost(paths).into_iter().map(|path| path.to_str().unwrap()).collect();
        assert_eq!(kept, ["/c/a", "/c/ab", "/c/b/x"]);
    }

    #[test]
    fn a_directory_elsewhere_is_not_a_cgroup() {
        assert!(matches!(Cgroup::open(Path::new("/proc")), Err(KernelError::NotACgroup { .. })));
        assert!(matches!(Cgroup::open(Path::new("/nonexistent")), Err(KernelError::NotACgroup { .. })));
    }
}
