//! The few bpf(2) commands that aya has no call for: links by number, and taking one off by force.

use std::io;
use std::mem::size_of_val;
use std::os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd};
use std::path::Path;

/// Numbers of all links in the kernel, whoever made them. Needs CAP_SYS_ADMIN.
pub(super) fn link_ids() -> io::Result<Vec<u32>> {
    let mut ids = Vec::new();
    let mut last = 0;
    loop {
        // start_id, next_id, open_flags
        let mut attr = [last, 0u32, 0];
        match bpf(BPF_LINK_GET_NEXT_ID, &mut attr) {
            Ok(_) => {
                last = attr[1];
                ids.push(last);
            }
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => return Ok(ids),
            Err(error) => return Err(error),
        }
    }
}

/// `None` where it is gone.
pub(super) fn link_by_id(id: u32) -> io::Result<Option<OwnedFd>> {
    match bpf(BPF_LINK_GET_FD_BY_ID, &mut [id, 0u32, 0]) {
        Ok(fd) => Ok(Some(owned(fd))),
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Opens what is pinned at `path`.
pub(super) fn open_pin(path: &Path) -> io::Result<OwnedFd> {
    let path = c_path(path)?;
    // pathname (u64), bpf_fd and file_flags (u32 each)
    let mut attr = [path.as_ptr() as u64, 0];
    bpf(BPF_OBJ_GET, &mut attr).map(owned)
}

/// Pins an object once more, or again.
pub(super) fn pin(object: BorrowedFd<'_>, path: &Path) -> io::Result<()> {
    let path = c_path(path)?;
    let fd = u64::try_from(object.as_raw_fd()).map_err(io::Error::other)?;
    // pathname (u64), then bpf_fd in the first half of the next word, on either byte order
    let fd = if cfg!(target_endian = "little") { fd } else { fd << 32 };
    bpf(BPF_OBJ_PIN, &mut [path.as_ptr() as u64, fd]).map(drop)
}

/// The part of `struct bpf_link_info` that we read.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct LinkInfo {
    pub kind: u32,
    pub id: u32,
    pub program_id: u32,
    _pad: u32,
    /// Cgroup links: its id. Network namespace links: inode (low half) and attach type.
    pub target: u64,
    pub attach_type: u32,
    _pad2: u32,
    _rest: [u64; 8],
}

pub(super) fn link_info(link: BorrowedFd<'_>) -> io::Result<LinkInfo> {
    let mut info = LinkInfo::default();
    let fd = u64::try_from(link.as_raw_fd()).map_err(io::Error::other)?;
    let length = size_of_val(&info) as u64;
    // bpf_fd and info_len (u32 each), then info (u64)
    let first = if cfg!(target_endian = "little") { fd | (length << 32) } else { (fd << 32) | length };
    bpf(BPF_OBJ_GET_INFO_BY_FD, &mut [first, std::ptr::from_mut(&mut info) as u64])?;
    Ok(info)
}

/// The inode number of a network namespace in a link's target: the low half, on either byte order, is the first u32.
pub(super) fn first_half(target: u64) -> u32 {
    let [a, b, c, d, ..] = target.to_ne_bytes();
    u32::from_ne_bytes([a, b, c, d])
}

/// Numbers of the programs that are attached to a cgroup's hook; `effective`: those of cgroups above it too.
/// Needs CAP_NET_ADMIN.
pub(super) fn programs_on(cgroup: BorrowedFd<'_>, attach_type: u32, effective: bool) -> io::Result<Vec<u32>> {
    let mut ids = vec![0_u32; PROGRAMS_ON_A_HOOK_MAX];
    let fd = u32::try_from(cgroup.as_raw_fd()).map_err(io::Error::other)?;
    // target_fd, attach_type, query_flags, attach_flags; prog_ids (u64); prog_cnt; and what we do not ask for
    let pointer = ids.as_mut_ptr() as u64;
    let [low, high] = [pointer as u32, (pointer >> 32) as u32];
    let [first, second] = if cfg!(target_endian = "little") { [low, high] } else { [high, low] };
    let count = u32::try_from(ids.len()).map_err(io::Error::other)?;
    let mut attr =
        [fd, attach_type, u32::from(effective), 0, first, second, count, 0, 0, 0, 0, 0, 0, 0, 0, 0_u32];
    bpf(BPF_PROG_QUERY, &mut attr)?;
    ids.truncate(usize::try_from(attr[6]).map_err(io::Error::other)?);
    Ok(ids)
}

/// Takes a link off its hook, whoever holds or pins it. What holds it keeps an empty shell.
pub(super) fn link_detach(link: BorrowedFd<'_>) -> io::Result<()> {
    let fd = u32::try_from(link.as_raw_fd()).map_err(io::Error::other)?;
    bpf(BPF_LINK_DETACH, &mut [fd]).map(drop)
}

/// `attr` begins like the variant of `union bpf_attr` that `command` reads; the kernel takes what is missing as zeros.
fn bpf<const N: usize, T: Copy>(command: libc::c_long, attr: &mut [T; N]) -> io::Result<i32> {
    // SAFETY: the pointer and the length are those of `attr`, which the kernel may read and write for the call.
    // Pointers inside it are of values that the caller keeps alive until this returns.
    let answer = unsafe { libc::syscall(libc::SYS_bpf, command, attr.as_mut_ptr(), size_of_val(attr)) };
    if answer < 0 {
        return Err(io::Error::last_os_error());
    }
    i32::try_from(answer).map_err(io::Error::other)
}

fn owned(fd: i32) -> OwnedFd {
    // SAFETY: the kernel has just made this descriptor for us; nobody else knows it.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

fn c_path(path: &Path) -> io::Result<std::ffi::CString> {
    use std::os::unix::ffi::OsStrExt as _;
    std::ffi::CString::new(path.as_os_str().as_bytes()).map_err(io::Error::other)
}

/// The kernel allows 64 on one cgroup; those of all above it count too.
const PROGRAMS_ON_A_HOOK_MAX: usize = 1024;

/// `enum bpf_link_type`.
pub(super) const LINK_CGROUP: u32 = 3;
pub(super) const LINK_NETNS: u32 = 5;

/// `enum bpf_cmd`.
const BPF_OBJ_PIN: libc::c_long = 6;
const BPF_OBJ_GET: libc::c_long = 7;
const BPF_OBJ_GET_INFO_BY_FD: libc::c_long = 15;
const BPF_PROG_QUERY: libc::c_long = 16;
const BPF_LINK_GET_FD_BY_ID: libc::c_long = 30;
const BPF_LINK_GET_NEXT_ID: libc::c_long = 31;
const BPF_LINK_DETACH: libc::c_long = 34;
