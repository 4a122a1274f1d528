//! Who called `connect()`, as the kernel sees it at that moment.

use crate::assert_layout;
use crate::limits::COMMAND_BYTES;

/// Numbers are those of the initial namespaces.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProcessIdentity {
    /// cgroup v2 id of the process (not of the socket).
    pub cgroup_id: u64,
    /// What user space calls the process id.
    pub tgid: u32,
    /// What user space calls the thread id.
    pub pid: u32,
    pub uid: u32,
    pub gid: u32,
    /// Short name of the thread, padded with zeros.
    pub command: [u8; COMMAND_BYTES],
}
assert_layout!(ProcessIdentity, 40, align 8);
