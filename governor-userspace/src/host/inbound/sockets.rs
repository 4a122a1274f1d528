//! Listening TCP sockets of network namespaces, and the processes that hold them.
//!
//! Source: proc_pid_net(5), proc_pid_fd(5), cgroups(7). The kernel lists listening sockets before all others, so the
//! rest of a long table is not read.

use crate::host::namespaces::namespace_of;
use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

/// A network namespace by its inode number; `None` is governor's own.
pub(super) type Where = Option<u64>;

/// Namespace, inode and port of every listening socket.
pub(super) type Listening = BTreeSet<(Where, u64, u16)>;

/// A process that holds a listening socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Holder {
    pub pid: u32,
    /// Of the socket: its holder may have come from elsewhere.
    pub namespace: Where,
    pub port: u16,
    /// Path below the cgroup v2 mount, beginning with `/`.
    pub cgroup: String,
}

/// Of governor's own namespace, and of these others, each with a process in it.
pub(super) fn listening(others: &[(u64, u32)]) -> Listening {
    let mut found = Listening::new();
    let mut read = |namespace: Where, process: &str| {
        for table in ["tcp", "tcp6"] {
            if let Ok(file) = File::open(format!("/proc/{process}/net/{table}")) {
                let sockets = of_table(BufReader::new(file)).into_iter();
                found.extend(sockets.map(|(inode, port)| (namespace, inode, port)));
            }
        }
    };
    read(None, "thread-self");
    for (inode, pid) in others {
        // It may have ended, and its number be another's.
        if namespace_of(*pid) == Some(*inode) {
            read(Some(*inode), &pid.to_string());
        }
    }
    found
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
    // An inode number is that of one socket, whatever namespace it is in.
    let sockets: HashMap<u64, (Where, u16)> =
        listening.iter().map(|(namespace, inode, port)| (*inode, (*namespace, *port))).collect();
    let mut found = Vec::new();
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    for process in processes {
        let Some(pid) = process.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        let descriptors = std::fs::read_dir(process.path().join("fd")).into_iter().flatten().flatten();
        let held: BTreeSet<(Where, u16)> = descriptors
            .filter_map(|descriptor| std::fs::read_link(descriptor.path()).ok())
            .filter_map(|target| sockets.get(&socket_inode(&target)?).copied())
            .collect();
        if held.is_empty() {
            continue;
        }
        if let Some(cgroup) = cgroup_of(pid) {
            let holder = |(namespace, port)| Holder { pid, namespace, port, cgroup: cgroup.clone() };
            found.extend(held.into_iter().map(holder));
        }
    }
    found.sort_by_key(|holder: &Holder| (holder.namespace, holder.port, holder.pid));
    found
}

/// `socket:[77]`
fn socket_inode(target: &Path) -> Option<u64> {
    target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

/// Path of a process below the cgroup v2 mount.
pub(super) fn cgroup_of(pid: u32) -> Option<String> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
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
        let own = crate::host::namespaces::own_namespace().unwrap();
        // Under its own number it would be another one's: so a table of another namespace is read.
        let all = listening(&[(own, std::process::id()), (own + 1, std::process::id())]);
        let all: Listening = all.into_iter().filter(|(_, _, at)| *at == port).collect();
        assert_eq!(all.len(), 2, "once as one's own, once as another namespace's: {all:?}");
        let all: Listening = all.into_iter().filter(|(namespace, ..)| namespace.is_none()).collect();
        assert_eq!(all.len(), 1);
        let holders = holders(&all);
        assert_eq!(
            holders.iter().map(|holder| (holder.pid, holder.port)).collect::<Vec<_>>(),
            [(std::process::id(), port)]
        );
        assert!(holders[0].cgroup.starts_with('/'));
    }
}
