//! Which sockets may be made, and what established connections cost.

use super::capture::agent;
use super::stage::{Stage, direct_servers, python, wait_for};
use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};

const RAW: &str = r"
import socket, os
print('pid', os.getpid())
kinds = {'tcp': (socket.SOCK_RAW, socket.IPPROTO_TCP), 'icmp': (socket.SOCK_RAW, socket.IPPROTO_ICMP),
         'any': (socket.SOCK_RAW, socket.IPPROTO_RAW), 'stream': (socket.SOCK_STREAM, 0)}
for family in (socket.AF_INET, socket.AF_INET6):
    for name, (kind, protocol) in kinds.items():
        try: socket.socket(family, kind, protocol); print(1, family.name, name, 'made')
        except OSError as error: print(1, family.name, name, error.errno)
";

#[test]
fn raw_tcp_sockets_are_refused_where_asked_and_others_are_made() {
    let Some(stage) = Stage::set() else { return };
    let (port, _v4, _v6) = direct_servers();
    let mut options = stage.options(port, false);
    options.raw_refused = vec![stage.clients.clone()];
    let (kernel, _services) = agent(&options);
    let expected = |cgroup: &std::path::Path, tcp: &str| {
        let seen = python(cgroup, RAW, &[]);
        for family in ["AF_INET", "AF_INET6"] {
            for (kind, outcome) in [("tcp", tcp), ("icmp", "made"), ("any", "made"), ("stream", "made")] {
                let line = format!("{family} {kind} {outcome}");
                assert!(seen.outcomes.contains_key(&line), "no {line:?} in {seen:?}");
            }
        }
    };
    expected(&stage.clients, "1");
    expected(&stage.elsewhere, "made");
    assert_eq!(kernel.counters().unwrap().raw_refused, 2);
}

#[test]
fn an_established_connection_runs_no_program() {
    let Some(stage) = Stage::set() else { return };
    let (port, _v4, _v6) = direct_servers();
    let mut kernel = crate::host::kernel::Kernel::load(&stage.options(port, false)).unwrap();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    kernel.serve_listener(std::os::fd::AsFd::as_fd(&listener)).unwrap();
    kernel.attach().unwrap();
    let _counting = aya::sys::enable_stats(aya::sys::Stats::RunTime).unwrap();
    let runs = |kernel: &crate::host::kernel::Kernel| -> BTreeMap<String, u64> {
        let programs = kernel.ebpf.programs();
        programs.map(|(name, program)| (name.to_owned(), program.info().unwrap().run_count())).collect()
    };

    let at_rest = runs(&kernel);
    // The client echoes from inside the captured group; this end is the agent's.
    let clients = stage.clients.clone();
    let client = std::thread::spawn(move || {
        let program = "import os, socket, sys\nprint('pid', os.getpid())\n\
            s = socket.create_connection(('127.0.0.1', int(sys.argv[1])))\n\
            while (data := s.recv(65536)): s.sendall(data)\n";
        python(&clients, program, &[port.to_string()])
    });
    // A client that cannot connect fails its thread; this must not wait for it then.
    listener.set_nonblocking(true).unwrap();
    let mut arrived = None;
    assert!(wait_for(|| {
        arrived = listener.accept().ok();
        arrived.is_some()
    }));
    let (mut accepted, _) = arrived.unwrap();
    accepted.set_nonblocking(false).unwrap();
    let address: SocketAddr = accepted.local_addr().unwrap();
    assert_eq!(address, listener.local_addr().unwrap());
    let mut echo = [0; 4];
    accepted.write_all(b"once").unwrap();
    accepted.read_exact(&mut echo).unwrap();

    let established = runs(&kernel);
    assert_ne!(established, at_rest, "the connection itself ran programs");
    for _ in 0..1000 {
        accepted.write_all(b"ping").unwrap();
        accepted.read_exact(&mut echo).unwrap();
        assert_eq!(&echo, b"ping");
    }
    assert_eq!(runs(&kernel), established, "programs ran for data");
    drop(accepted);
    client.join().unwrap();
}
