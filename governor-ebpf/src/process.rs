//! Reads the identity of the calling task.

use aya_ebpf::helpers::{
    bpf_get_current_cgroup_id, bpf_get_current_comm, bpf_get_current_pid_tgid, bpf_get_current_uid_gid,
};
use governor_common::limits::COMMAND_BYTES;
use governor_common::process::ProcessIdentity;

/// Where the caller is on another host, or only a packet is there.
#[inline(always)]
pub fn none() -> ProcessIdentity {
    ProcessIdentity { cgroup_id: 0, tgid: 0, pid: 0, uid: 0, gid: 0, command: [0; COMMAND_BYTES] }
}

#[inline(always)]
pub fn current() -> ProcessIdentity {
    let tgid_pid = bpf_get_current_pid_tgid();
    let gid_uid = bpf_get_current_uid_gid();
    ProcessIdentity {
        // SAFETY: takes no arguments and cannot fail.
        cgroup_id: unsafe { bpf_get_current_cgroup_id() },
        tgid: (tgid_pid >> 32) as u32,
        pid: tgid_pid as u32,
        uid: gid_uid as u32,
        gid: (gid_uid >> 32) as u32,
        command: bpf_get_current_comm().unwrap_or([0; COMMAND_BYTES]),
    }
}
