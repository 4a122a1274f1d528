//! Who listens on a TCP port of this host.
//!
//! "Address already in use" is of no help without a name. The kernel lists listening sockets with
//! their inode (`/proc/net/tcp`, `/proc/net/tcp6`), and every process shows the inodes behind its
//! descriptors (`/proc/PID/fd`). Only the caller's network namespace is seen, and only processes
//! that the caller may inspect.
//!
//! Source: proc_pid_net(5), proc_pid_fd(5).

use std::fmt;
use std::fs;

/// A process that listens on a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortOwner {
    pub pid: u32,
    /// Short command name.
    pub command: String,
}

impl fmt::Display for PortOwner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (pid {})", self.command, self.pid)
    }
}

/// The process that listens on `port`, on any address. `None` where nobody does, or where its owner
/// may not be inspected.
pub fn port_owner(port: u16) -> Option<PortOwner> {
    let inodes: Vec<u64> = ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .filter_map(|path| fs::read_to_string(path).ok())
        .flat_map(|table| listening_inodes(&table, port))
        .collect();
    if inodes.is_empty() { None } else { socket_holder(&inodes) }
}

/// Inodes of the sockets that listen on `port` in a `/proc/net/tcp` table.
fn listening_inodes(table: &str, port: u16) -> Vec<u64> {
    table
        .lines()
        .skip(1)
        .filter_map(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let (_, local_port) = fields.get(1)?.rsplit_once(':')?;
            let listens = *fields.get(3)? == TCP_LISTEN;
            (listens && u16::from_str_radix(local_port, 16).ok()? == port).then_some(())?;
            fields.get(9)?.parse().ok()
        })
        .collect()
}

fn socket_holder(inodes: &[u64]) -> Option<PortOwner> {
    let wanted: Vec<String> = inodes.iter().map(|inode| format!("socket:[{inode}]")).collect();
    let processes = fs::read_dir("/proc").ok()?;
    processes.flatten().find_map(|process| {
        let pid: u32 = process.file_name().to_str()?.parse().ok()?;
        let descriptors = fs::read_dir(process.path().join("fd")).ok()?;
        descriptors
            .flatten()
            .filter_map(|descriptor| fs::read_link(descriptor.path()).ok())
            .any(|target| wanted.iter().any(|name| target.as_os_str() == name.as_str()))
            .then(|| PortOwner { pid, command: command_of(pid) })
    })
}

/// The short name of a process; `?` where it is gone.
pub fn command_of(pid: u32) -> String {
    fs::read_to_string(format!("/proc/{pid}/comm")).map_or_else(|_| "?".into(), |name| name.trim().to_owned())
}

/// State field of a listening socket.
const TCP_LISTEN: &str = "0A";

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn names_this_process_for_its_own_listeners() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let Ok(listener) = TcpListener::bind(address) else { continue };
            let port = listener.local_addr().unwrap().port();
            assert_eq!(port_owner(port).map(|owner| owner.pid), Some(std::process::id()), "{address}");
            drop(listener);
            assert_eq!(port_owner(port), None, "{address}");
        }
    }

    #[test]
    fn a_connected_socket_on_the_port_is_not_its_listener() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
            0: 0100007F:1538 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 77 1 0\n\
            1: 0100007F:1538 0100007F:9C40 01 00000000:00000000 00:00000000 00000000     0        0 78 1 0\n\
            2: 0100007F:1539 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 79 1 0\n\
            broken line\n";
        assert_eq!(listening_inodes(table, 0x1538), [77]);
    }
}
