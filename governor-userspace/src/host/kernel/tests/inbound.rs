//! Capture where connections arrive: who is steered, what the server sees of its client, and what is left behind.
//!
//! Each test has a network namespace of its own; servers and clients are processes in cgroups of their own.

use super::stage::{Stage, cgroup_id, client, interpreter, python, wait_for};
use crate::host::kernel::{
    Clients, EventCause, Exemption, Flow, FlowTable, InboundOptions, InboundRule, Kernel, KernelOptions,
};
use parking_lot::Mutex;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

pub const REFUSED: &str = "error|111"; // ECONNREFUSED
pub const PORT: u16 = 5432;

/// Runs the test in a network namespace of its own, with loopback up.
pub fn alone(test: impl FnOnce(&Stage) + Send) {
    let Some(stage) = Stage::set() else { return };
    std::thread::scope(|scope| {
        let entered = scope.spawn(|| {
            nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
            let up = Command::new("ip").args(["link", "set", "lo", "up"]).status().unwrap();
            assert!(up.success());
            test(&stage);
        });
        if let Err(panic) = entered.join() {
            std::panic::resume_unwind(panic);
        }
    });
}

pub fn options(stage: &Stage, fail_open: bool) -> KernelOptions {
    KernelOptions {
        own_cgroups: vec![stage.agent.clone()],
        inbound: Some(InboundOptions {
            rules: vec![InboundRule { port: PORT, fail_open }],
            clients: vec![stage.clients.clone()],
            ..InboundOptions::default()
        }),
        ..KernelOptions::default()
    }
}

/// A server in a cgroup of its own: tells each client the peer that `accept()` and `getpeername()` show.
pub struct Server(Child);

impl Server {
    pub fn start(cgroup: &Path, address: &str) -> Self {
        let members = std::fs::OpenOptions::new().write(true).open(cgroup.join("cgroup.procs")).unwrap();
        let mut command = Command::new(interpreter());
        command.args(["-ISc", SERVER, address, &PORT.to_string()]).stdout(Stdio::piped());
        // SAFETY: between fork and exec only write(2) is called, on a descriptor that stays open.
        unsafe {
            command.pre_exec(move || {
                use std::os::fd::AsRawFd as _;
                match libc::write(members.as_raw_fd(), b"0".as_ptr().cast(), 1) {
                    1 => Ok(()),
                    _ => Err(io::Error::last_os_error()),
                }
            });
        }
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "listening\n");
        Self(child)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

const SERVER: &str = r"
import socket, sys
address, port = sys.argv[1], int(sys.argv[2])
s = socket.socket(socket.AF_INET6 if ':' in address else socket.AF_INET)
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
if address == '::': s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
s.bind((address, port)); s.listen(128)
print('listening', flush=True)
while True:
    c, peer = s.accept()
    again = c.getpeername()
    assert again == peer, (again, peer)
    try:
        c.sendall(f'{peer[0]}|{peer[1]}'.encode())
        c.shutdown(socket.SHUT_WR)
        while c.recv(4096): pass
    except OSError: pass
    c.close()
";

/// Connects and compares its own address with what the server says of it.
const CLIENT: &str = r"
import collections, os, socket, sys
address, port, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
seen = collections.Counter()
for _ in range(count):
    try:
        with socket.socket(socket.AF_INET6 if ':' in address else socket.AF_INET) as s:
            s.settimeout(5)
            s.connect((address, port))
            own, peer = s.getsockname(), s.getpeername()
            said = b''
            while part := s.recv(4096): said += part
            right = f'{own[0]}|{own[1]}'.encode()
            mapped = b'::ffff:' + right
            word = 'same' if said == right else 'mapped' if said == mapped else f'other {said} {own}'
            seen[f'{word} {peer[0]}|{peer[1]}'] += 1
    except OSError as error:
        seen[f'error|{error.errno}'] += 1
print('pid', os.getpid())
for outcome, times in seen.items(): print(times, outcome)
";

pub fn ask(cgroup: &Path, address: &str, count: usize) -> super::stage::Seen {
    python(cgroup, CLIENT, &[address.to_owned(), PORT.to_string(), count.to_string()])
}

/// governor's stand-in: takes steered connections and relays what the server says.
pub struct Relay {
    listener: Arc<TcpListener>,
    pub flows: Arc<Mutex<Vec<Option<Flow>>>>,
    thread: Option<JoinHandle<()>>,
}

struct Handles {
    flows: FlowTable,
    exemption: Exemption,
    clients: Clients,
    /// Announce the client; without it the server is told nothing.
    announce: bool,
}

impl Relay {
    pub fn start(kernel: &mut Kernel, address: IpAddr, announce: bool) -> Self {
        let listener = TcpListener::bind((address, 0)).unwrap();
        kernel.serve_inbound(listener.as_fd()).unwrap();
        let handles = Handles {
            flows: kernel.flows().unwrap(),
            exemption: kernel.exemption().unwrap(),
            clients: kernel.clients(),
            announce,
        };
        let listener = Arc::new(listener);
        let flows = Arc::new(Mutex::new(Vec::new()));
        let (listening, seen) = (Arc::clone(&listener), Arc::clone(&flows));
        let thread = std::thread::spawn(move || {
            while let Ok((accepted, peer)) = listening.accept() {
                seen.lock().push(handles.flows.flow(accepted.as_fd()).unwrap());
                assert!(!handles.clients.is_own(accepted.as_fd(), peer).unwrap());
                let _ = relay(accepted, peer, &handles);
            }
        });
        Self { listener, flows, thread: Some(thread) }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        let _ = socket2::SockRef::from(&*self.listener).shutdown(Shutdown::Both);
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

fn relay(mut accepted: TcpStream, peer: SocketAddr, handles: &Handles) -> io::Result<()> {
    let destination = accepted.local_addr()?;
    let upstream =
        socket2::Socket::new(socket2::Domain::for_address(destination), socket2::Type::STREAM, None)?;
    handles.exemption.mark(upstream.as_fd()).unwrap();
    upstream.bind(&SocketAddr::new(destination.ip(), 0).into())?;
    let announced = handles.announce.then(|| handles.clients.announce(upstream.as_fd(), peer).unwrap());
    upstream.connect(&destination.into())?;
    if let Some(announced) = announced {
        let end = Instant::now() + Duration::from_millis(500);
        while !announced.is_taken().unwrap() {
            if Instant::now() > end {
                return accepted.write_all(b"not shown");
            }
            std::thread::yield_now();
        }
    }
    let mut said = Vec::new();
    TcpStream::from(upstream).read_to_end(&mut said)?;
    accepted.write_all(&said)
}

#[test]
fn the_server_sees_its_clients_by_whatever_address_they_come() {
    // (the server listens on, clients dial, what the server shows of them)
    let cases = [
        ("127.0.0.1", vec![("127.0.0.1", "same")]),
        ("0.0.0.0", vec![("127.0.0.1", "same"), ("127.0.0.2", "same"), ("10.9.8.7", "same")]),
        ("::1", vec![("::1", "same")]),
        ("::", vec![("::1", "same"), ("127.0.0.1", "mapped"), ("fd00:9::7", "same"), ("10.9.8.7", "mapped")]),
    ];
    alone(|stage| {
        for address in [["addr", "add", "10.9.8.7/32"].as_slice(), &["-6", "addr", "add", "fd00:9::7/128"]] {
            assert!(Command::new("ip").args(address).args(["dev", "lo"]).status().unwrap().success());
        }
        let mut kernel = Kernel::load(&options(stage, false)).unwrap();
        let v4 = Relay::start(&mut kernel, Ipv4Addr::LOCALHOST.into(), true);
        let v6 = Relay::start(&mut kernel, Ipv6Addr::LOCALHOST.into(), true);
        kernel.attach().unwrap();
        assert!(kernel.show_clients_to(&stage.elsewhere).unwrap());
        assert!(!kernel.show_clients_to(&stage.elsewhere).unwrap(), "it was covered already");
        let mut total = 0;
        for (listening, ways) in cases {
            let _server = Server::start(&stage.elsewhere, listening);
            for (address, shown) in ways {
                let seen = ask(&stage.clients, address, 20);
                seen.only(&format!("{shown} {address}|{PORT}"), 20);
                total += 20;
                let service = if address.contains(':') { &v6 } else { &v4 };
                for flow in std::mem::take(&mut *service.flows.lock()) {
                    let flow = flow.expect("the caller of this host is known");
                    assert_eq!(flow.original, SocketAddr::new(address.parse().unwrap(), PORT));
                    assert_eq!((flow.tgid, flow.uid), (seen.pid, 0));
                    assert_eq!(flow.cgroup_id, cgroup_id(&stage.clients));
                }
            }
        }
        let counters = kernel.counters().unwrap();
        assert_eq!((counters.client_shown, counters.redirected, counters.refused()), (total, 0, 0));
        // At the SYN, and at the end of the handshake where the kernel asks again.
        assert!(counters.inbound_steered >= total && counters.inbound_own >= total, "{counters:?}");
        assert_eq!(counters.inbound_own_failed, 0);
        assert!(wait_for(|| kernel.upstreams_count().unwrap() == (0, 0)), "{:?}", kernel.upstreams_count());
        assert!(wait_for(|| kernel.pending_count().unwrap() == 0));
        kernel.detach().unwrap();
        let _server = Server::start(&stage.elsewhere, "127.0.0.1");
        ask(&stage.clients, "127.0.0.1", 1).only(&format!("same 127.0.0.1|{PORT}"), 1);
    });
}

#[test]
fn a_server_that_is_not_covered_does_not_take_the_client_and_the_agent_knows() {
    alone(|stage| {
        let mut kernel = Kernel::load(&options(stage, false)).unwrap();
        let _relay = Relay::start(&mut kernel, Ipv4Addr::LOCALHOST.into(), true);
        kernel.attach().unwrap();
        let _server = Server::start(&stage.elsewhere, "127.0.0.1");
        let seen = ask(&stage.clients, "127.0.0.1", 1);
        assert!(seen.outcomes.keys().all(|outcome| outcome.starts_with("other b'not shown'")), "{seen:?}");
        kernel.show_clients_to(&stage.elsewhere).unwrap();
        ask(&stage.clients, "127.0.0.1", 3).only(&format!("same 127.0.0.1|{PORT}"), 3);
        assert!(wait_for(|| kernel.upstreams_count().unwrap() == (0, 0)), "{:?}", kernel.upstreams_count());
    });
}

#[test]
fn only_marked_sockets_reach_the_server() {
    alone(|stage| {
        let mut kernel = Kernel::load(&options(stage, false)).unwrap();
        let relay = Relay::start(&mut kernel, Ipv4Addr::LOCALHOST.into(), true);
        kernel.attach().unwrap();
        kernel.show_clients_to(&stage.elsewhere).unwrap();
        let _server = Server::start(&stage.elsewhere, "0.0.0.0");
        // From this very process, and from a cgroup that no hook is on.
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, PORT)).unwrap();
        stream.read_to_end(&mut Vec::new()).unwrap();
        ask(&stage.parent, "127.0.0.1", 2).only(&format!("same 127.0.0.1|{PORT}"), 2);
        assert_eq!(*relay.flows.lock(), [None, None, None], "nobody attests these");
        // Other ports are nobody's business.
        let other = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        TcpStream::connect(other.local_addr().unwrap()).unwrap();
        // A marked one goes to the server, and is not announced: it is seen as what it is.
        let own = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        kernel.exemption().unwrap().mark(own.as_fd()).unwrap();
        own.connect(&SocketAddr::from((Ipv4Addr::LOCALHOST, PORT)).into()).unwrap();
        let address = own.local_addr().unwrap().as_socket().unwrap();
        let mut own = TcpStream::from(own);
        assert_eq!(kernel.upstreams_count().unwrap().0, 1);
        let mut said = vec![0; 64];
        let length = own.read(&mut said).unwrap();
        assert_eq!(said[..length], *format!("127.0.0.1|{}", address.port()).as_bytes());
        drop(own);
        assert!(wait_for(|| kernel.upstreams_count().unwrap() == (0, 0)), "{:?}", kernel.upstreams_count());
    });
}

/// Notes of clients that nobody took over so far, as the metrics show them.
fn waiting(kernel: &Kernel) -> u64 {
    kernel.map_levels().unwrap().iter().find(|level| level.map == "PENDING").unwrap().entries
}

#[test]
fn without_an_agent_arriving_connections_are_refused_or_pass_at_once() {
    for fail_open in [false, true] {
        alone(|stage| {
            let direct = format!("same 127.0.0.1|{PORT}");
            let mut kernel = Kernel::load(&options(stage, fail_open)).unwrap();
            let relay = Relay::start(&mut kernel, Ipv4Addr::LOCALHOST.into(), true);
            kernel.attach().unwrap();
            kernel.show_clients_to(&stage.elsewhere).unwrap();
            let _server = Server::start(&stage.elsewhere, "127.0.0.1");
            ask(&stage.clients, "127.0.0.1", 1).only(&direct, 1);
            // A machine that was just started has not been up for as long as the timeout of tests.
            kernel.write_settings(1_000_000_000, false).unwrap();
            kernel.heartbeat().beat_at(1).unwrap();
            ask(&stage.clients, "127.0.0.1", 2).only(if fail_open { &direct } else { REFUSED }, 2);
            kernel.write_settings(600_000_000_000, false).unwrap();
            kernel.beat().unwrap();
            drop(relay);
            ask(&stage.clients, "127.0.0.1", 3).only(if fail_open { &direct } else { REFUSED }, 3);
            let counters = kernel.counters().unwrap();
            let refused = (counters.inbound_refused_heartbeat_stale, counters.inbound_refused_listener_gone);
            if fail_open {
                assert_eq!(refused, (0, 0));
                assert!(counters.inbound_passed_open >= 5, "{counters:?}");
                // They were noted, and went to the server without anybody taking the note.
                assert!(counters.pending >= 5 && counters.pending_gone >= 5, "{counters:?}");
                assert!(wait_for(|| waiting(&kernel) == 0), "{} notes left", waiting(&kernel));
            } else {
                assert_eq!((refused, counters.inbound_passed_open), ((2, 3), 0));
            }
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let mut events = kernel.take_events().unwrap();
                let event =
                    tokio::time::timeout(Duration::from_secs(2), events.next()).await.unwrap().unwrap();
                assert_eq!((event.cause, event.passed), (EventCause::InboundHeartbeatStale, fail_open));
                assert_eq!(event.original, SocketAddr::from((Ipv4Addr::LOCALHOST, PORT)));
                assert_eq!(event.tgid, 0);
            });
        });
    }
}

#[test]
fn pins_refuse_arriving_connections_until_the_next_agent_or_detach() {
    alone(|stage| {
        let directory = tempfile::tempdir().unwrap();
        let pins = directory.path().join("pins");
        let _unmount = super::lifecycle::Unmount(pins.clone());
        let options = KernelOptions { pin_dir: Some(pins.clone()), ..options(stage, false) };
        let direct = format!("same 127.0.0.1|{PORT}");
        let _server = Server::start(&stage.elsewhere, "127.0.0.1");
        let agent = || {
            let mut kernel = Kernel::load(&options).unwrap();
            let relay = Relay::start(&mut kernel, Ipv4Addr::LOCALHOST.into(), true);
            kernel.attach().unwrap();
            kernel.show_clients_to(&stage.elsewhere).unwrap();
            (kernel, relay)
        };
        let first = agent();
        ask(&stage.clients, "127.0.0.1", 1).only(&direct, 1);
        drop(first.1);
        drop(first.0);
        ask(&stage.clients, "127.0.0.1", 3).only(REFUSED, 3);
        let (second, relay) = agent();
        ask(&stage.clients, "127.0.0.1", 2).only(&direct, 2);
        assert_eq!(relay.flows.lock().len(), 2);
        let previous = second.previous().expect("the predecessor's maps");
        assert_eq!(previous.counters.inbound_refused_listener_gone, 3);
        second.detach().unwrap();
        ask(&stage.clients, "127.0.0.1", 1).only(&direct, 1);
        assert_eq!(relay.flows.lock().len(), 2, "it went to the server itself");
    });
}

#[test]
fn outbound_and_inbound_rules_for_one_port_capture_once() {
    alone(|stage| {
        let mut options = options(stage, false);
        options.rules = stage.options(PORT, false).rules;
        let mut kernel = Kernel::load(&options).unwrap();
        let inbound = Relay::start(&mut kernel, Ipv4Addr::LOCALHOST.into(), true);
        let redirected = super::stage::Service::agent(
            {
                let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
                kernel.serve_listener(listener.as_fd()).unwrap();
                listener
            },
            kernel.flows().unwrap(),
        );
        kernel.attach().unwrap();
        client(&stage.clients, "127.0.0.1", PORT, 2).only(&format!("g|127.0.0.1|{PORT}"), 2);
        assert_eq!((redirected.flows.lock().len(), inbound.flows.lock().len()), (2, 0));
        let counters = kernel.counters().unwrap();
        assert_eq!((counters.redirected, counters.inbound_steered), (2, 0));
    });
}

#[test]
fn while_two_agents_overlap_arriving_connections_go_to_the_newer_and_are_counted_there_alone() {
    alone(|stage| {
        let _server = Server::start(&stage.elsewhere, "0.0.0.0");
        let pins = tempfile::tempdir().unwrap();
        let old_options = KernelOptions { pin_dir: Some(pins.path().join("pins")), ..options(stage, false) };
        let start = |options: &KernelOptions| {
            let mut kernel = Kernel::load(options).unwrap();
            let relay = Relay::start(&mut kernel, Ipv4Addr::LOCALHOST.into(), true);
            kernel.attach().unwrap();
            kernel.show_clients_to(&stage.elsewhere).unwrap();
            (kernel, relay)
        };
        let (mut old, old_relay) = start(&old_options);
        ask(&stage.clients, "127.0.0.1", 5).only(&format!("same 127.0.0.1|{PORT}"), 5);
        let beside = old.generation().map(Path::to_path_buf);
        let (new, new_relay) = start(&KernelOptions { beside, ..old_options.clone() });
        // Both steer, and both have noted the client: the newer one's word counts (BPF_SK_LOOKUP_F_REPLACE).
        ask(&stage.clients, "127.0.0.1", 5);
        assert_eq!((old_relay.flows.lock().len(), new_relay.flows.lock().len()), (5, 5));
        assert!(new_relay.flows.lock().iter().all(Option::is_some));
        let counted = |kernel: &Kernel| kernel.counters().unwrap().handed_over;
        assert_eq!((counted(&old), counted(&new)), (5, 5), "each counts its own");
        // Neither takes the other for a stranger.
        assert_eq!((old.foreign().unwrap(), new.foreign().unwrap()), (vec![], vec![]));
        old.yield_connections();
        ask(&stage.clients, "127.0.0.1", 5);
        assert_eq!((old_relay.flows.lock().len(), new_relay.flows.lock().len()), (5, 10));
        // Each notes them all, whoever takes them.
        for kernel in [&old, &new] {
            assert!(wait_for(|| waiting(kernel) == 0), "{} notes left", waiting(kernel));
            assert_eq!(kernel.pending_count().unwrap(), 0);
        }
        drop((old_relay, new_relay));
        old.detach().unwrap();
        new.detach().unwrap();
    });
}

#[test]
fn connections_from_elsewhere_are_counted_too() {
    alone(|stage| {
        let _server = Server::start(&stage.elsewhere, "0.0.0.0");
        let mut kernel = Kernel::load(&options(stage, false)).unwrap();
        let relay = Relay::start(&mut kernel, Ipv4Addr::LOCALHOST.into(), true);
        kernel.attach().unwrap();
        kernel.show_clients_to(&stage.elsewhere).unwrap();
        let mut sockets = kernel.take_closed_sockets().unwrap();
        // The server's group is none of those whose processes are noted when they connect.
        ask(&stage.elsewhere, "127.0.0.1", 3);
        let counters = kernel.counters().unwrap();
        assert_eq!((counters.inbound_arrived, counters.handed_over), (3, 0));
        let mut seen = Vec::new();
        assert!(wait_for(|| {
            seen.extend(std::iter::from_fn(|| sockets.take()).filter(|totals| totals.accepted));
            seen.len() == 3
        }));
        assert!(seen.iter().all(|totals| totals.tgid == 0 && totals.payload_acked > 10), "{seen:?}");
        let totals = kernel.totals().unwrap();
        let port = totals.iter().find(|sums| sums.port == Some(PORT)).unwrap();
        assert_eq!((port.opened, port.closed), (3, 3));
        drop(relay);
        kernel.detach().unwrap();
    });
}
