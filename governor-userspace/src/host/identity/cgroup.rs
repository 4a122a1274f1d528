//! From the cgroup id that the kernel hook saw to the group's path.
//!
//! The id names the group at connect time, while `/proc/PID/cgroup` names the group now: a process that
//! moved, or is gone, is still known by the id. Ids are never used again while the host is up, so what was
//! once found stays right.
//!
//! The kernel opens a group by its id directly (`open_by_handle_at`, needs CAP_DAC_READ_SEARCH); without
//! that capability the mount is searched, bounded in groups and in how often.

use lru::LruCache;
use nix::sys::statfs::FsType;
use parking_lot::Mutex;
use std::ffi::CString;
use std::num::NonZeroUsize;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Finds cgroups of one cgroup v2 mount.
#[derive(Debug)]
pub(super) struct CgroupIndex {
    mount: PathBuf,
    mount_fd: OwnedFd,
    paths: Mutex<LruCache<u64, Arc<str>>>,
    searched: Mutex<Option<Instant>>,
}

impl CgroupIndex {
    pub(super) fn new(mount: &Path) -> std::io::Result<Self> {
        let mount = mount.canonicalize()?;
        let mount_fd = OwnedFd::from(std::fs::File::open(&mount)?);
        let paths = Mutex::new(LruCache::new(PATHS_MAX));
        Ok(Self { mount, mount_fd, paths, searched: Mutex::new(None) })
    }

    /// The path of group `id` below the mount, `/` for the root. `current`, the process's group now, is
    /// tried first: it nearly always is the one.
    pub(super) fn path(&self, id: u64, current: Option<&str>) -> Option<String> {
        if let Some(path) = self.paths.lock().get(&id) {
            return Some(path.to_string());
        }
        let path = current
            .filter(|path| self.id_of(path) == Some(id))
            .map(str::to_owned)
            .or_else(|| self.open_by_id(id))
            .or_else(|| self.search(id))?;
        self.paths.lock().put(id, path.as_str().into());
        Some(path)
    }

    pub(super) fn id_of(&self, path: &str) -> Option<u64> {
        // Groups outside governor's cgroup namespace are shown as /../x.
        if path.split('/').any(|component| component == "..") {
            return None;
        }
        std::fs::symlink_metadata(self.mount.join(path.trim_start_matches('/'))).ok().map(|m| m.ino())
    }

    fn open_by_id(&self, id: u64) -> Option<String> {
        let fd = open_kernfs_handle(&self.mount_fd, id)?;
        let path = std::fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd())).ok()?;
        let path = path.to_str()?.strip_prefix(self.mount.to_str()?)?;
        let path = path.strip_suffix(" (deleted)").unwrap_or(path);
        Some(if path.is_empty() { "/".to_owned() } else { path.to_owned() })
    }

    /// Looks through the whole mount, remembering what it passes. At most once a while: a stranger who
    /// makes and removes groups must not keep governor busy.
    fn search(&self, id: u64) -> Option<String> {
        {
            let mut searched = self.searched.lock();
            if searched.is_some_and(|at| at.elapsed() < SEARCH_INTERVAL) {
                return None;
            }
            *searched = Some(Instant::now());
        }
        let mut left = SEARCH_GROUPS_MAX;
        let mut pending = vec![self.mount.clone()];
        while let Some(directory) = pending.pop() {
            left -= 1;
            if left == 0 {
                return None;
            }
            if let Ok(metadata) = std::fs::symlink_metadata(&directory)
                && let Ok(below) = directory.strip_prefix(&self.mount)
            {
                let path = format!("/{}", below.to_string_lossy());
                if metadata.ino() == id {
                    return Some(path);
                }
                self.paths.lock().put(metadata.ino(), path.into());
            }
            let Ok(entries) = std::fs::read_dir(&directory) else { continue };
            let groups = entries.flatten().filter(|e| e.file_type().is_ok_and(|t| t.is_dir()));
            pending.extend(groups.map(|e| e.path()).take(SEARCH_GROUPS_MAX));
        }
        None
    }
}

/// Opens a cgroup by id; `None` where it is gone, or the capability is missing.
fn open_kernfs_handle(mount: &OwnedFd, id: u64) -> Option<OwnedFd> {
    /// `struct file_handle` with the eight bytes that kernfs uses behind it.
    #[repr(C)]
    struct Handle {
        bytes: u32,
        kind: i32,
        id: u64,
    }
    let mut handle = Handle { bytes: 8, kind: FILEID_KERNFS, id };
    // SAFETY: `handle` is a `file_handle` header (two 32-bit fields) with `bytes` = 8 bytes behind it, alive
    // and writable for the call; the kernel reads no more than that. The mount descriptor is open.
    let fd = unsafe {
        libc::open_by_handle_at(
            mount.as_raw_fd(),
            (&raw mut handle).cast::<libc::file_handle>(),
            libc::O_RDONLY | libc::O_DIRECTORY | libc::O_CLOEXEC,
        )
    };
    // SAFETY: a non-negative result is a new descriptor that nobody else owns.
    (fd >= 0).then(|| unsafe { OwnedFd::from_raw_fd(fd) })
}

/// `FILEID_KERNFS` of the kernel's `exportfs.h`: a handle that is the 64-bit node id.
const FILEID_KERNFS: i32 = 0xfe;
const PATHS_MAX: NonZeroUsize = NonZeroUsize::new(8192).unwrap();
const SEARCH_GROUPS_MAX: usize = 50_000;
const SEARCH_INTERVAL: Duration = Duration::from_secs(1);

/// Whether `path` is on a cgroup v2 file system.
pub(super) fn is_cgroup2(path: &Path) -> bool {
    const CGROUP2_SUPER_MAGIC: libc::c_long = 0x6367_7270;
    let Ok(name) = CString::new(path.as_os_str().as_encoded_bytes()) else { return false };
    nix::sys::statfs::statfs(name.as_c_str())
        .is_ok_and(|s| s.filesystem_type() == FsType(CGROUP2_SUPER_MAGIC))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree() -> (tempfile::TempDir, CgroupIndex) {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(root.path().join("system.slice/app.service")).unwrap();
        std::fs::create_dir_all(root.path().join("user.slice")).unwrap();
        let index = CgroupIndex::new(root.path()).unwrap();
        (root, index)
    }

    fn inode(root: &Path, path: &str) -> u64 {
        std::fs::metadata(root.join(path)).unwrap().ino()
    }

    #[test]
    fn believes_the_current_path_only_if_its_id_is_right() {
        let (root, index) = tree();
        let id = inode(root.path(), "system.slice/app.service");
        assert_eq!(index.path(id, Some("/user.slice")).as_deref(), Some("/system.slice/app.service"));
        let user = inode(root.path(), "user.slice");
        assert_eq!(index.path(user, Some("/user.slice")).as_deref(), Some("/user.slice"));
        assert_eq!(index.path(inode(root.path(), ""), None).as_deref(), Some("/"));
    }

    #[test]
    fn remembers_groups_that_are_gone() {
        let (root, index) = tree();
        let id = inode(root.path(), "system.slice/app.service");
        assert!(index.path(id, None).is_some());
        std::fs::remove_dir_all(root.path().join("system.slice")).unwrap();
        assert_eq!(index.path(id, None).as_deref(), Some("/system.slice/app.service"));
    }

    #[test]
    fn searches_once_in_a_while_only() {
        let (root, index) = tree();
        assert_eq!(index.path(u64::MAX, None), None);
        std::fs::create_dir(root.path().join("late")).unwrap();
        let late = inode(root.path(), "late");
        assert_eq!(index.path(late, None), None, "searched a moment ago");
        assert_eq!(index.path(late, Some("/late")).as_deref(), Some("/late"));
    }

    #[test]
    fn paths_do_not_lead_out_of_the_mount() {
        let (root, index) = tree();
        let outside = std::fs::metadata(root.path().parent().unwrap()).unwrap().ino();
        assert_eq!(index.path(outside, Some("/..")), None);
    }
}
