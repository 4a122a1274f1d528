//! The system calls that a thread which reads what peers send must never make.
//!
//! A list of what is refused, not of what is allowed: the service manager's filter (`SystemCallFilter=` in the unit)
//! is the list of what the process may do at all, and this one takes from it, for these threads, whatever turns bytes
//! into power: running programs, looking into other processes, changing the kernel, its mounts and its namespaces.
//! A refused call answers EPERM.

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen as Length, SeccompCmpOp as Compare, SeccompCondition,
    SeccompFilter, SeccompRule, TargetArch,
};
use std::collections::BTreeMap;

/// The filter cannot be made or installed.
#[derive(Debug, thiserror::Error)]
pub enum FilterError {
    #[error("a seccomp filter cannot be made: {0}")]
    Make(#[from] seccompiler::BackendError),
    #[error("a seccomp filter cannot be installed (CONFIG_SECCOMP_FILTER): {0}")]
    Install(#[from] seccompiler::Error),
}

/// For the calling thread and those that it starts.
pub(super) fn install() -> Result<(), FilterError> {
    for program in programs()? {
        seccompiler::apply_filter(&program)?;
    }
    Ok(())
}

fn programs() -> Result<[BpfProgram; 2], FilterError> {
    let mut refused: BTreeMap<i64, Vec<SeccompRule>> = NEVER.iter().map(|call| (*call, Vec::new())).collect();
    #[cfg(target_arch = "x86_64")]
    refused.extend(NEVER_X86.iter().map(|call| (*call, Vec::new())));
    // Maps that are there may be read and written; nothing may be made, loaded or attached.
    refused.insert(libc::SYS_bpf, vec![unless_one_of(0, BPF_ALLOWED)?]);
    refused.insert(libc::SYS_socket, vec![unless_one_of(0, FAMILIES_ALLOWED)?]);
    // Threads, but no namespaces.
    let namespaces = NAMESPACES.iter().map(|flag| when_all_set(0, u64::from(flag.cast_unsigned())));
    refused.insert(libc::SYS_clone, namespaces.collect::<Result<_, _>>()?);
    // Memory is written or run, never both; and what is written does not become what is run.
    let writable_code = (libc::PROT_WRITE | libc::PROT_EXEC).cast_unsigned();
    refused.insert(libc::SYS_mmap, vec![when_all_set(2, writable_code.into())?]);
    for call in [libc::SYS_mprotect, libc::SYS_pkey_mprotect] {
        refused.insert(call, vec![when_all_set(2, libc::PROT_EXEC.cast_unsigned().into())?]);
    }
    let eperm = SeccompAction::Errno(libc::EPERM.cast_unsigned());
    // Its arguments lie in memory, where a filter cannot look. libc goes back to clone.
    let clone3 = BTreeMap::from([(libc::SYS_clone3, Vec::new())]);
    let enosys = SeccompAction::Errno(libc::ENOSYS.cast_unsigned());
    Ok([compiled(refused, eperm)?, compiled(clone3, enosys)?])
}

fn compiled(
    rules: BTreeMap<i64, Vec<SeccompRule>>,
    action: SeccompAction,
) -> Result<BpfProgram, seccompiler::BackendError> {
    let arch: TargetArch = std::env::consts::ARCH.try_into()?;
    let program: BpfProgram = SeccompFilter::new(rules, SeccompAction::Allow, action, arch)?.try_into()?;
    Ok(without_x32(program))
}

/// On x86-64 the same calls have a second set of numbers (x32), which a list of numbers would miss.
#[cfg(target_arch = "x86_64")]
fn without_x32(program: BpfProgram) -> BpfProgram {
    use seccompiler::sock_filter;
    let load_number = sock_filter { code: 0x20, jt: 0, jf: 0, k: 0 };
    let is_x32 = sock_filter { code: 0x35, jt: 0, jf: 1, k: 0x4000_0000 };
    let refuse = sock_filter { code: 0x06, jt: 0, jf: 0, k: 0x0005_0000 | libc::EPERM.cast_unsigned() };
    [load_number, is_x32, refuse].into_iter().chain(program).collect()
}

#[cfg(not(target_arch = "x86_64"))]
fn without_x32(program: BpfProgram) -> BpfProgram {
    program
}

fn unless_one_of(argument: u8, allowed: &[u64]) -> Result<SeccompRule, seccompiler::BackendError> {
    let conditions =
        allowed.iter().map(|value| SeccompCondition::new(argument, Length::Dword, Compare::Ne, *value));
    SeccompRule::new(conditions.collect::<Result<_, _>>()?)
}

fn when_all_set(argument: u8, bits: u64) -> Result<SeccompRule, seccompiler::BackendError> {
    SeccompRule::new(vec![SeccompCondition::new(argument, Length::Dword, Compare::MaskedEq(bits), bits)?])
}

/// Whatever their arguments.
const NEVER: &[i64] = &[
    // Running programs.
    libc::SYS_execve,
    libc::SYS_execveat,
    // Other processes.
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_process_madvise,
    libc::SYS_pidfd_getfd,
    libc::SYS_kcmp,
    libc::SYS_perf_event_open,
    // The kernel.
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_reboot,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_acct,
    libc::SYS_quotactl,
    libc::SYS_syslog,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_clock_adjtime,
    libc::SYS_adjtimex,
    // Mounts and namespaces.
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_open_tree,
    libc::SYS_move_mount,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_mount_setattr,
    libc::SYS_unshare,
    libc::SYS_setns,
    // Ways past this filter, and parts of the kernel with a history.
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_userfaultfd,
    libc::SYS_personality,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_keyctl,
    libc::SYS_fanotify_init,
    libc::SYS_mknodat,
    libc::SYS_vhangup,
];

#[cfg(target_arch = "x86_64")]
const NEVER_X86: &[i64] = &[
    libc::SYS_iopl,
    libc::SYS_ioperm,
    libc::SYS_modify_ldt,
    libc::SYS_mknod,
    libc::SYS_kexec_file_load,
    libc::SYS_uselib,
];

/// `enum bpf_cmd` of linux/bpf.h: look up, update, delete, next key, and a descriptor's own information.
const BPF_ALLOWED: &[u64] = &[1, 2, 3, 4, 15];
const FAMILIES_ALLOWED: &[u64] =
    &[libc::AF_UNIX as u64, libc::AF_INET as u64, libc::AF_INET6 as u64, libc::AF_NETLINK as u64];
const NAMESPACES: &[libc::c_int] = &[
    libc::CLONE_NEWUSER,
    libc::CLONE_NEWNS,
    libc::CLONE_NEWPID,
    libc::CLONE_NEWNET,
    libc::CLONE_NEWUTS,
    libc::CLONE_NEWIPC,
    libc::CLONE_NEWCGROUP,
];

#[cfg(test)]
mod tests {
    use super::*;
    use nix::errno::Errno;

    /// Runs on a thread of its own that is confined first.
    fn confined<T: Send + 'static>(what: impl FnOnce() -> T + Send + 'static) -> T {
        std::thread::spawn(|| {
            install().unwrap();
            what()
        })
        .join()
        .unwrap()
    }

    fn call(number: i64, arguments: [usize; 4]) -> Result<i64, Errno> {
        let [a, b, c, d] = arguments;
        // SAFETY: every call of these tests is refused by the filter, or takes no pointer.
        Errno::result(unsafe { libc::syscall(number, a, b, c, d) })
    }

    #[test]
    fn a_confined_thread_runs_no_program() {
        let outcome = confined(|| std::process::Command::new("/bin/true").status());
        assert_eq!(outcome.unwrap_err().raw_os_error(), Some(libc::EPERM));
        assert!(std::process::Command::new("/bin/true").status().unwrap().success(), "others still do");
    }

    #[test]
    fn what_is_on_the_list_is_refused_before_the_kernel_looks_at_it() {
        let refused: Vec<(i64, Result<i64, Errno>)> = confined(|| {
            let x86: &[i64] = if cfg!(target_arch = "x86_64") { NEVER_X86 } else { &[] };
            NEVER.iter().chain(x86).map(|number| (*number, call(*number, [0; 4]))).collect()
        });
        for (number, outcome) in refused {
            assert_eq!(outcome, Err(Errno::EPERM), "system call {number}");
        }
    }

    #[test]
    fn arguments_decide_where_the_call_itself_is_needed() {
        confined(|| {
            // BPF_PROG_LOAD and BPF_MAP_CREATE; a look-up goes through to the kernel, which misses the map.
            assert_eq!(call(libc::SYS_bpf, [5, 0, 0, 0]), Err(Errno::EPERM));
            assert_eq!(call(libc::SYS_bpf, [0, 0, 0, 0]), Err(Errno::EPERM));
            let mut attributes = [0_u8; 128];
            attributes[0] = 255;
            let look_up = call(libc::SYS_bpf, [1, attributes.as_ptr() as usize, attributes.len(), 0]);
            assert!(matches!(look_up, Err(Errno::EBADF | Errno::EINVAL)), "{look_up:?}");
            let kinds = |family: libc::c_int| {
                call(libc::SYS_socket, [family as usize, libc::SOCK_STREAM as usize, 0, 0])
            };
            assert_eq!(kinds(libc::AF_PACKET), Err(Errno::EPERM));
            assert!(kinds(libc::AF_INET).is_ok());
            let both = (libc::PROT_WRITE | libc::PROT_EXEC) as usize;
            assert_eq!(call(libc::SYS_mmap, [0, 4096, both, libc::MAP_PRIVATE as usize]), Err(Errno::EPERM));
            assert_eq!(call(libc::SYS_clone3, [0; 4]), Err(Errno::ENOSYS));
            assert_eq!(call(libc::SYS_clone, [libc::CLONE_NEWUSER as usize, 0, 0, 0]), Err(Errno::EPERM));
            #[cfg(target_arch = "x86_64")]
            assert_eq!(call(0x4000_0000 | libc::SYS_getpid, [0; 4]), Err(Errno::EPERM), "x32");
            // Threads, memory, files, names: all that work needs.
            assert_eq!(std::thread::spawn(|| 7).join().unwrap(), 7);
            assert!(!vec![1_u8; 64 << 20].is_empty());
            assert!(std::fs::read_to_string("/proc/thread-self/status").unwrap().contains("Seccomp:\t2"));
            assert!(nix::unistd::User::from_uid(nix::unistd::Uid::from_raw(0)).unwrap().is_some());
        });
    }
}
