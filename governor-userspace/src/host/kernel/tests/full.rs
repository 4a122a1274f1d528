//! Every map when it is full: what happens then, and which counter tells. A connection never goes direct for want of room
//! where its rule says refuse.
//!
//! `PENDING` is in `pressure`, `RULES` in `remains`, the ring buffer of events in `tests/lifecycle/faults.rs`.

use super::inbound::{PORT, REFUSED as NO_SERVER, Server, alone, options};
use super::stage::{Seen, Service, Stage, client, direct_servers, python, wait_for};
use crate::host::kernel::{EventCause, InboundRule, Kernel, KernelError, KernelOptions};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::os::fd::AsFd as _;
use std::path::Path;

const REFUSED: &str = "error|1"; // EPERM

fn with(options: KernelOptions, map: &'static str, capacity: u32) -> KernelOptions {
    KernelOptions { map_capacities: vec![(map, capacity)], ..options }
}

/// The error of a map that has no room.
fn is_full(result: Result<(), KernelError>, map: &str) {
    let error = result.expect_err(map).to_string();
    assert!(error.contains(map), "{map}: {error}");
}

fn listener(address: impl Into<std::net::IpAddr>) -> TcpListener {
    TcpListener::bind((address.into(), 0)).unwrap()
}

/// Fills the memory that the kernel grants to one socket with its own filter, so that no program finds room to store on
/// it, and connects. Takes no rights. `pid`, then `1 outcome`.
const FILLED: &str = r"
import array, os, socket, struct, sys
address, port = sys.argv[1], int(sys.argv[2])
s = socket.socket(socket.AF_INET6 if ':' in address else socket.AF_INET)
def attach(count):
    # MSH becomes several instructions of the kernel's own; the last accepts the whole packet.
    load, accept = struct.pack('HBBI', 0xb1, 0, 0, 0), struct.pack('HBBI', 6, 0, 0, 0xffffffff)
    code = array.array('B', load * (count - 1) + accept)
    program = struct.pack('HxxxxxxP', count, code.buffer_info()[0])
    try: s.setsockopt(socket.SOL_SOCKET, 26, program); return True
    except OSError: return False
low, high = 1, 4096
while low < high:
    middle = (low + high + 1) // 2
    # The one before is let go only when the new one is in: each try begins without.
    try: s.setsockopt(socket.SOL_SOCKET, 27, 0)
    except OSError: pass
    if attach(middle): low = middle
    else: high = middle - 1
try: s.setsockopt(socket.SOL_SOCKET, 27, 0)
except OSError: pass
assert attach(low) and low < 4096, low
s.settimeout(5)
print('pid', os.getpid())
try:
    s.connect((address, port)); print(1, s.recv(1).decode() or 'closed')
except OSError as error: print(1, f'error|{error.errno}')
";

fn filled(cgroup: &Path, address: &str, port: u16) -> Seen {
    python(cgroup, FILLED, &[address.to_owned(), port.to_string()])
}

/// Whoever has a socket can use its memory up. That must be no way around, whatever the rule says.
#[test]
fn a_socket_without_room_for_its_flow_is_refused_even_where_the_rule_passes() {
    for fail_open in [false, true] {
        let Some(stage) = Stage::set() else { return };
        let (port, _v4, _v6) = direct_servers();
        let mut kernel = Kernel::load(&stage.options(port, fail_open)).unwrap();
        let own = listener(Ipv4Addr::LOCALHOST);
        kernel.serve_listener(own.as_fd()).unwrap();
        let service = Service::agent(own, kernel.flows().unwrap());
        kernel.attach().unwrap();
        client(&stage.clients, "127.0.0.1", port, 1).only(&format!("g|127.0.0.1|{port}"), 1);
        let seen = filled(&stage.clients, "127.0.0.1", port);
        seen.only(REFUSED, 1);
        let counters = kernel.counters().unwrap();
        assert_eq!((counters.refused_storage_failed, counters.refused(), counters.passed()), (1, 1, 0));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let event = runtime.block_on(async { kernel.take_events().unwrap().next().await.unwrap() });
        assert_eq!((event.cause, event.passed, event.tgid), (EventCause::StorageFailed, false, seen.pid));
        assert_eq!(service.flows.lock().len(), 1);
    }
}

/// Its process is then not known, so the agent refuses it, as it does with whatever comes from its own host unnoted.
#[test]
fn a_socket_without_room_arrives_without_an_identity() {
    alone(|stage| {
        let mut kernel = Kernel::load(&options(stage, false)).unwrap();
        let own = listener(Ipv4Addr::LOCALHOST);
        kernel.serve_inbound(own.as_fd()).unwrap();
        let service = Service::agent(own, kernel.flows().unwrap());
        kernel.attach().unwrap();
        let _server = Server::start(&stage.elsewhere, "127.0.0.1");
        filled(&stage.clients, "127.0.0.1", PORT).only("g", 1);
        let flows = service.flows.lock().clone();
        assert_eq!(flows, [None], "it was steered, and has no process");
        assert_eq!(kernel.counters().unwrap().passed(), 0);
    });
}

/// governor's own socket cannot be marked: it must not be dialled, as it would be captured itself.
#[test]
fn a_socket_that_cannot_be_marked_is_an_error() {
    let Some(stage) = Stage::set() else { return };
    let kernel = Kernel::load(&stage.options(5432, false)).unwrap();
    let exemption = kernel.exemption().unwrap();
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    exemption.mark(socket.as_fd()).unwrap();
    assert!(exemption.is_marked(socket.as_fd()));
    let pipe = std::fs::File::open("/dev/null").unwrap();
    assert!(exemption.mark(pipe.as_fd()).is_err());
}

#[test]
fn a_namespace_or_family_for_which_there_is_no_room_is_refused() {
    for map in ["LISTENERS", "LISTENER_COUNTS", "GUARDED_PORTS"] {
        let Some(stage) = Stage::set() else { return };
        let (port, _v4, _v6) = direct_servers();
        let mut kernel = Kernel::load(&with(stage.options(port, false), map, 1)).unwrap();
        let (v4, v6) = (listener(Ipv4Addr::LOCALHOST), listener(Ipv6Addr::LOCALHOST));
        kernel.serve_listener(v4.as_fd()).unwrap();
        is_full(kernel.serve_listener(v6.as_fd()), map);
        let _service = Service::agent(v4, kernel.flows().unwrap());
        kernel.attach().unwrap();
        client(&stage.clients, "127.0.0.1", port, 3).only(&format!("g|127.0.0.1|{port}"), 3);
        client(&stage.clients, "::1", port, 3).only(REFUSED, 3);
        let counters = kernel.counters().unwrap();
        assert_eq!((counters.refused_namespace_unknown, counters.passed()), (3, 0), "{map}");
    }
}

#[test]
fn sockets_that_find_no_room_in_the_sums_are_counted_and_governed() {
    let Some(stage) = Stage::set() else { return };
    let (port, _v4, _v6) = direct_servers();
    let mut kernel = Kernel::load(&with(stage.options(port, false), "TOTALS", 1)).unwrap();
    let services = [listener(Ipv4Addr::LOCALHOST), listener(Ipv6Addr::LOCALHOST)].map(|own| {
        kernel.serve_listener(own.as_fd()).unwrap();
        Service::agent(own, kernel.flows().unwrap())
    });
    kernel.attach().unwrap();
    for address in ["127.0.0.1", "::1"] {
        client(&stage.clients, address, port, 3).only(&format!("g|{address}|{port}"), 3);
    }
    assert!(services.iter().all(|service| service.flows.lock().iter().flatten().count() == 3));
    // At their opening, and again at their end.
    assert!(wait_for(|| kernel.counters().unwrap().totals_failed == 6), "{:?}", kernel.counters());
    assert_eq!(kernel.totals().unwrap().len(), 1);
}

#[test]
fn counts_that_nobody_reads_are_dropped_and_told() {
    let Some(stage) = Stage::set() else { return };
    let (port, _v4, _v6) = direct_servers();
    // A page: some 50 records.
    let mut kernel = Kernel::load(&with(stage.options(port, false), "FLOW_TOTALS", 4096)).unwrap();
    let own = listener(Ipv4Addr::LOCALHOST);
    kernel.serve_listener(own.as_fd()).unwrap();
    let _service = Service::agent(own, kernel.flows().unwrap());
    kernel.attach().unwrap();
    client(&stage.clients, "127.0.0.1", port, 100).only(&format!("g|127.0.0.1|{port}"), 100);
    let all_closed = || kernel.totals().unwrap().iter().map(|sums| sums.closed).sum::<u64>() == 100;
    assert!(wait_for(all_closed), "the sums miss none: {:?}", kernel.totals());
    assert!(kernel.counters().unwrap().totals_dropped > 0);
}

#[test]
fn a_port_for_which_there_is_no_room_refuses_the_start() {
    alone(|stage| {
        let mut two = with(options(stage, false), "INBOUND_PORTS", 1);
        two.inbound.as_mut().unwrap().rules.push(InboundRule { port: PORT + 1, fail_open: false });
        is_full(Kernel::load(&two).map(drop), "INBOUND_PORTS");
        let mut kernel = Kernel::load(&with(options(stage, false), "INBOUND_PORTS", 1)).unwrap();
        is_full(kernel.capture_port(None, InboundRule { port: PORT + 1, fail_open: false }), "INBOUND_PORTS");
    });
}

#[test]
fn a_family_that_has_no_room_for_its_listener_is_refused_where_it_arrives() {
    alone(|stage| {
        let mut kernel = Kernel::load(&with(options(stage, false), "INBOUND_LISTENERS", 1)).unwrap();
        let (v4, v6) = (listener(Ipv4Addr::LOCALHOST), listener(Ipv6Addr::LOCALHOST));
        kernel.serve_inbound(v4.as_fd()).unwrap();
        is_full(kernel.serve_inbound(v6.as_fd()), "INBOUND_LISTENERS");
        let _service = Service::agent(v4, kernel.flows().unwrap());
        kernel.attach().unwrap();
        let _server = Server::start(&stage.elsewhere, "::");
        client(&stage.clients, "127.0.0.1", PORT, 2).only(&format!("g|127.0.0.1|{PORT}"), 2);
        client(&stage.clients, "::1", PORT, 2).only(NO_SERVER, 2);
        let counters = kernel.counters().unwrap();
        assert_eq!((counters.inbound_refused_listener_gone, counters.passed()), (2, 0));
    });
}

/// A connection of the agent's own that cannot be noted, or for which no client can be announced.
#[test]
fn a_connection_to_a_server_for_which_there_is_no_room_never_reaches_it() {
    alone(|stage| {
        let mut kernel = Kernel::load(&with(options(stage, false), "UPSTREAMS", 1)).unwrap();
        let own = listener(Ipv4Addr::LOCALHOST);
        kernel.serve_inbound(own.as_fd()).unwrap();
        kernel.attach().unwrap();
        let server = TcpListener::bind((Ipv4Addr::LOCALHOST, PORT)).unwrap();
        let (clients, exemption) = (kernel.clients(), kernel.exemption().unwrap());
        let someone = SocketAddr::from((Ipv4Addr::new(10, 9, 8, 7), 40_000));
        let dial = || {
            let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
            exemption.mark(socket.as_fd()).unwrap();
            socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
            let announced = clients.announce(socket.as_fd(), someone).unwrap();
            socket.connect(&SocketAddr::from((Ipv4Addr::LOCALHOST, PORT)).into()).unwrap();
            (socket, announced)
        };
        let (first, announced) = dial();
        let at_server = server.accept().unwrap();
        let levels = kernel.map_levels().unwrap();
        let level = |map: &str| levels.iter().find(|level| level.map == map).unwrap().entries;
        assert_eq!((level("UPSTREAMS"), level("CLIENTS"), level("INBOUND_PORTS")), (1, 1, 1));

        // The second comes back to the agent, which knows it for its own and closes it.
        let (_second, _announced) = dial();
        let (returned, peer) = own.accept().unwrap();
        assert!(clients.is_own(returned.as_fd(), peer).unwrap());
        server.set_nonblocking(true).unwrap();
        assert_eq!(server.accept().unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
        assert_eq!(kernel.counters().unwrap().inbound_own_failed, 1);

        // With room again it goes where it should.
        drop((first, announced, at_server, returned));
        assert!(wait_for(|| kernel.upstreams_count().unwrap().0 == 0));
        let (_third, _announced) = dial();
        assert!(wait_for(|| server.accept().is_ok()));
    });
}

#[test]
fn a_client_that_cannot_be_announced_is_an_error_before_anything_is_dialled() {
    alone(|stage| {
        let mut kernel = Kernel::load(&with(options(stage, false), "CLIENTS", 1)).unwrap();
        kernel.attach().unwrap();
        let clients = kernel.clients();
        let someone = SocketAddr::from((Ipv4Addr::new(10, 9, 8, 7), 40_000));
        let bound = || {
            let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
            socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
            socket
        };
        let (one, other) = (bound(), bound());
        let announced = clients.announce(one.as_fd(), someone).unwrap();
        is_full(clients.announce(other.as_fd(), someone).map(drop), "CLIENTS");
        drop(announced);
        clients.announce(other.as_fd(), someone).unwrap();
        assert_eq!(
            kernel.map_levels().unwrap().iter().find(|level| level.map == "CLIENTS").unwrap().entries,
            0
        );
    });
}
