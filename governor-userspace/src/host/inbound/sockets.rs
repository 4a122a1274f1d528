//! Listening TCP sockets of this network namespace, and the processes that hold them.
//!
//! Source: proc_pid_net(5), proc_pid_fd(5), cgroups(7). The kernel lists listening sockets before all others, so the
//! rest of a long table is not read.

use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

/// Inode and port of every listening socket.
pub(super) type Listening = BTreeSet<(u64, u16)>;

/// A process that holds a listening socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Holder {
    pub pid: u32,
    pub port: u16,
    /// Path below the cgroup v2 mount, beginning with `/`.
    pub cgroup: String,
}

pub(super) fn listening() -> Listening {
    let tables = ["/proc/thread-self/net/tcp", "/proc/thread-self/net/tcp6"];
    tables
        .iter()
        .filter_map(|path| File::open(path).ok())
        .flat_map(|file| of_table(BufReader::new(file)))
        .collect()
}

fn of_table(table: impl BufRead) -> Vec<(u64, u16)> {
    let mut found = Vec::new();
    for line in table.lines().skip(1).map_while(Result::ok) {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let (Some(local), Some(&state), Some(inode)) = (fields.get(1), fields.get(3), fields.get(9)) else {
            continue;
        };
        if state != LISTEN {
            break;
        }
        let port = local.rsplit_once(':').and_then(|(_, port)| u16::from_str_radix(port, 16).ok());
        if let (Some(port), Ok(inode)) = (port, inode.parse()) {
            found.push((inode, port));
        }
    }
    found
}

/// Every process that holds one of these sockets, in order. Looks at the descriptors of all processes: tens of
/// milliseconds on a large host.
pub(super) fn holders(listening: &Listening) -> Vec<Holder> {
    let ports: HashMap<u64, u16> = listening.iter().copied().collect();
    let mut found = Vec::new();
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    for process in processes {
        let Some(pid) = process.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        let descriptors = std::fs::read_dir(process.path().join("fd")).into_iter().flatten().flatten();
        let held: BTreeSet<u16> = descriptors
            .filter_map(|descriptor| std::fs::read_link(descriptor.path()).ok())
            .filter_map(|target| ports.get(&socket_inode(&target)?).copied())
            .collect();
        if held.is_empty() {
            continue;
        }
        if let Some(cgroup) = cgroup_of(&process.path()) {
            found.extend(held.into_iter().map(|port| Holder { pid, port, cgroup: cgroup.clone() }));
        }
    }
    found.sort_by_key(|holder: &Holder| (holder.port, holder.pid));
    found
}

/// `socket:[77]`
fn socket_inode(target: &Path) -> Option<u64> {
    target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

fn cgroup_of(process: &Path) -> Option<String> {
    let text = std::fs::read_to_string(process.join("cgroup")).ok()?;
    text.lines().find_map(|line| line.strip_prefix("0::")).map(str::to_owned)
}

/// State field of a listening socket.
const LISTEN: &str = "0A";

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn a_table_is_read_to_the_end_of_its_listening_sockets() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
            broken line\n\
            0: 0100007F:1538 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 77 1 0\n\
            1: 00000000000000000000000000000000:1539 00000000000000000000000000000000:0000 0A 0:0 00:0 0 0 0 78 1\n\
            2: 0100007F:1538 0100007F:9C40 01 00000000:00000000 00:00000000 00000000     0        0 79 1 0\n\
            3: 0100007F:1540 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 80 1 0\n";
        assert_eq!(of_table(table.as_bytes()), [(77, 0x1538), (78, 0x1539)]);
    }

    #[test]
    fn this_process_is_found_by_its_listener() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let all: Listening = listening().into_iter().filter(|(_, at)| *at == port).collect();
        assert_eq!(all.len(), 1);
        let holders = holders(&all);
        assert_eq!(
            holders.iter().map(|holder| (holder.pid, holder.port)).collect::<Vec<_>>(),
            [(std::process::id(), port)]
        );
        assert!(holders[0].cgroup.starts_with('/'));
    }
}
