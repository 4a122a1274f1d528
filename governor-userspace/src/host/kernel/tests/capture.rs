//! Who is captured, what the agent learns, and what the client sees.

use super::stage::{Service, Stage, cgroup_id, client, direct_servers, python, wait_for};
use crate::host::kernel::{CaptureRule, Kernel, KernelError, KernelOptions};
use std::collections::HashSet;
use std::io::Read as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd as _;

/// An agent that listens on 127.0.0.1 and ::1, attached.
pub fn agent(options: &KernelOptions) -> (Kernel, [Service; 2]) {
    let mut kernel = Kernel::load(options).unwrap();
    let services = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)].map(|address| {
        let listener = TcpListener::bind((address, 0)).unwrap();
        kernel.serve_listener(listener.as_fd()).unwrap();
        Service::agent(listener, kernel.flows().unwrap())
    });
    kernel.attach().unwrap();
    (kernel, services)
}

#[test]
fn two_thousand_quick_connections_keep_their_identity() {
    let Some(stage) = Stage::set() else { return };
    let (port, _v4, _v6) = direct_servers();
    let (kernel, [agent_v4, agent_v6]) = agent(&stage.options(port, false));

    let forms = [
        ("127.0.0.1", 800, IpAddr::V4(Ipv4Addr::LOCALHOST), &agent_v4),
        ("::1", 600, IpAddr::V6(Ipv6Addr::LOCALHOST), &agent_v6),
        ("::ffff:127.0.0.1", 600, IpAddr::V4(Ipv4Addr::LOCALHOST), &agent_v4),
    ];
    let mut cookies = HashSet::new();
    for (address, count, original, service) in forms {
        let seen = client(&stage.clients, address, port, count);
        seen.only(&format!("g|{address}|{port}"), count);
        let flows = std::mem::take(&mut *service.flows.lock());
        assert_eq!(flows.len(), count, "{address}");
        for flow in flows {
            let flow = flow.expect("an accepted connection without identity");
            assert_eq!(flow.original, SocketAddr::new(original, port));
            assert_eq!((flow.tgid, flow.uid, flow.gid), (seen.pid, 0, 0));
            assert!(flow.command.starts_with("python") || flow.command.starts_with("Thread"), "{flow:?}");
            assert_eq!(flow.cgroup_id, cgroup_id(&stage.clients));
            assert!(flow.connected_ns > 0 && flow.netns_cookie > 0);
            assert!(cookies.insert(flow.socket_cookie), "two connections with one cookie");
        }
    }

    assert!(wait_for(|| kernel.counters().unwrap().closed == 2000), "{:?}", kernel.counters());
    let counters = kernel.counters().unwrap();
    assert_eq!((counters.redirected, counters.pending, counters.handed_over), (2000, 2000, 2000));
    assert_eq!((counters.peer_shown, counters.refused(), counters.events_dropped), (2000, 0, 0));
    assert_eq!(kernel.pending_count().unwrap(), 0);
    kernel.detach().unwrap();
    client(&stage.clients, "127.0.0.1", port, 1).only(&format!("d|127.0.0.1|{port}"), 1);
}

#[test]
fn connections_that_never_arrive_leave_nothing_behind() {
    let Some(stage) = Stage::set() else { return };
    let (port, _v4, _v6) = direct_servers();
    let mut kernel = Kernel::load(&stage.options(port, false)).unwrap();
    // Nobody accepts, and the queue holds two: most SYNs wait until their client gives up.
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
    socket.listen(1).unwrap();
    kernel.serve_listener(socket.as_fd()).unwrap();
    kernel.attach().unwrap();

    let program = "import socket, sys, time, os\n\
        held = [socket.socket() for _ in range(40)]\n\
        for s in held:\n    s.setblocking(False); s.connect_ex(('127.0.0.1', int(sys.argv[1])))\n\
        time.sleep(0.1)\n\
        [s.close() for s in held]\nprint('pid', os.getpid())";
    python(&stage.clients, program, &[port.to_string()]);
    let counters = kernel.counters().unwrap();
    assert_eq!((counters.redirected, counters.pending), (40, 40));
    assert!(counters.handed_over < 40, "the queue was meant to overflow: {counters:?}");
    assert!(wait_for(|| kernel.pending_count().unwrap() == 0), "{} left", kernel.pending_count().unwrap());
}

#[test]
fn a_port_is_captured_where_its_rule_says_and_nowhere_else() {
    let Some(stage) = Stage::set() else { return };
    let (one, _one_v4, _one_v6) = direct_servers();
    let (other, _other_v4, _other_v6) = direct_servers();
    let mut options = stage.options(one, false);
    options.rules.push(CaptureRule { port: other, cgroup: stage.elsewhere.clone(), fail_open: false });
    let (_kernel, services) = agent(&options);

    let cases = [
        (&stage.clients, one, 'g'),
        (&stage.clients, other, 'd'),
        (&stage.elsewhere, other, 'g'),
        (&stage.elsewhere, one, 'd'),
        (&stage.parent, one, 'd'),
        (&stage.agent, one, 'd'),
    ];
    for (cgroup, port, answer) in cases {
        for address in ["127.0.0.1", "::1", "::ffff:127.0.0.1"] {
            let seen = client(cgroup, address, port, 2);
            seen.only(&format!("{answer}|{address}|{port}"), 2);
        }
    }
    let flows: usize = services.iter().map(|service| service.flows.lock().len()).sum();
    assert_eq!(flows, 2 * 2 * 3);
}

#[test]
fn a_rule_on_an_ancestor_covers_children_and_nested_rules_redirect_once() {
    let Some(stage) = Stage::set() else { return };
    let (port, _v4, _v6) = direct_servers();
    let mut options = stage.options(port, false);
    options.rules.push(CaptureRule { port, cgroup: stage.parent.clone(), fail_open: false });
    let (kernel, [agent_v4, _agent_v6]) = agent(&options);

    for cgroup in [&stage.clients, &stage.elsewhere] {
        client(cgroup, "127.0.0.1", port, 5).only(&format!("g|127.0.0.1|{port}"), 5);
    }
    assert_eq!(kernel.counters().unwrap().redirected, 10);
    let flows = agent_v4.flows.lock();
    assert!(flows.iter().all(|flow| flow.as_ref().is_some_and(|flow| flow.original.port() == port)));
}

#[test]
fn the_marker_alone_keeps_governors_own_sockets_out() {
    let Some(stage) = Stage::set() else { return };
    let (port, v4, _v6) = direct_servers();
    // The rule covers this process too, as a rule on the root would.
    let options = KernelOptions {
        rules: vec![CaptureRule { port, cgroup: stage.parent.clone(), fail_open: false }],
        ..KernelOptions::default()
    };
    let (kernel, [agent_v4, _agent_v6]) = agent(&options);
    let exemption = kernel.exemption().unwrap();

    for (is_marked, answer) in [(true, b'd'), (false, b'g'), (true, b'd')] {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        if is_marked {
            exemption.mark(socket.as_fd()).unwrap();
        }
        socket.connect(&v4.address.into()).unwrap();
        let mut stream = TcpStream::from(socket);
        let mut received = [0];
        stream.read_exact(&mut received).unwrap();
        assert_eq!(received[0], answer);
    }
    let counters = kernel.counters().unwrap();
    assert_eq!((counters.exempt, counters.redirected), (2, 1));
    let flows = agent_v4.flows.lock();
    assert_eq!(flows.first().and_then(Option::as_ref).map(|flow| flow.tgid), Some(std::process::id()));
}

#[test]
fn an_accepted_connection_that_was_not_redirected_has_no_flow() {
    let Some(stage) = Stage::set() else { return };
    let (port, _v4, _v6) = direct_servers();
    let (_kernel, [agent_v4, _agent_v6]) = agent(&stage.options(port, false));
    let seen = client(&stage.clients, "127.0.0.1", agent_v4.address.port(), 3);
    seen.only(&format!("g|127.0.0.1|{}", agent_v4.address.port()), 3);
    assert_eq!(*agent_v4.flows.lock(), [None, None, None]);
}

/// Other ways to start a TCP connection; each prints its answer, or why this host lacks it.
const OTHER_WAYS: &str = r"
import os, socket, sys
port = int(sys.argv[1])
to = ('127.0.0.1', port)
def plain(): return socket.socket()
def bound():
    s = socket.socket(); s.bind(('127.0.0.1', 0)); return s
def any_address(): return socket.socket()
def multipath(): return socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262)
def device():
    s = socket.socket()
    name = next(n for _, n in socket.if_nameindex() if n != 'lo')
    s.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, name.encode()); return s
def nonblocking():
    s = socket.socket(); s.setblocking(False); s.connect_ex(to)
    import select; select.select([], [s], [], 5); s.setblocking(True); return s
def fastopen():
    s = socket.socket(); s.sendto(b'x', 0x20000000, to); return s
def again():
    s = socket.socket()
    try: s.connect(('127.0.0.1', int(sys.argv[2])))
    except ConnectionRefusedError: pass
    return s
def forked():
    s = socket.socket()
    if os.fork() == 0:
        s.connect(to); os._exit(0)
    os.wait(); return s
print('pid', os.getpid())
sys.stdout.flush()
for way in (plain, bound, any_address, multipath, device, nonblocking, fastopen, again, forked):
    try: s = way()
    except (OSError, StopIteration) as error: print(1, way.__name__, 'absent', error.__class__.__name__); continue
    s.settimeout(5)
    try:
        if way not in (nonblocking, fastopen, forked): s.connect(('0.0.0.0', port) if way is any_address else to)
    except PermissionError:
        if way is not device: raise
        print(1, 'device', 'absent without CAP_NET_RAW'); continue
    print(1, way.__name__, s.recv(1).decode())
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.connect(to)
print(1, 'datagram', s.getpeername()[1] == port)
";

#[test]
fn no_other_way_to_connect_goes_around() {
    let Some(stage) = Stage::set() else { return };
    let (port, _v4, _v6) = direct_servers();
    let (kernel, [agent_v4, _agent_v6]) = agent(&stage.options(port, false));
    // A port on which nobody listens: a refused first attempt, then a captured one on the same socket.
    let closed = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
    let seen = python(&stage.clients, OTHER_WAYS, &[port.to_string(), closed.to_string()]);
    let mut captured = 0;
    for outcome in seen.outcomes.keys() {
        match outcome.split_once(' ').unwrap() {
            ("datagram", untouched) => assert_eq!(untouched, "True"),
            (way, answer) if answer.starts_with("absent") => eprintln!("not on this host: {way} ({answer})"),
            (way, answer) => {
                assert_eq!(answer, "g", "{way}");
                captured += 1;
            }
        }
    }
    assert!(captured >= 6, "{seen:?}");
    let flows = agent_v4.flows.lock();
    assert_eq!(flows.len(), captured);
    let others = flows.iter().filter(|flow| flow.as_ref().unwrap().tgid != seen.pid).count();
    assert_eq!(others, 1, "only the forked child is another process: {flows:?}");
    let counters = kernel.counters().unwrap();
    let kept = seen.outcomes.contains_key("device absent without CAP_NET_RAW");
    assert_eq!((counters.refused(), counters.refused_device_bound), (kept.into(), kept.into()));
}

#[test]
fn a_device_binding_that_cannot_be_undone_is_refused_even_where_the_rule_fails_open() {
    let Some(stage) = Stage::set() else { return };
    let (port, _v4, _v6) = direct_servers();
    let (kernel, _services) = agent(&stage.options(port, true));
    let program = "import os, socket, sys\nos.setgid(65534); os.setuid(65534)\nprint('pid', os.getpid())\n\
        s = socket.socket()\ns.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b'lo')\n\
        try: s.connect(('127.0.0.1', int(sys.argv[1]))); print(1, 'connected')\n\
        except OSError as error: print(1, 'error', error.errno)\n";
    python(&stage.clients, program, &[port.to_string()]).only("error 1", 1);
    let counters = kernel.counters().unwrap();
    assert_eq!((counters.refused_device_bound, counters.passed_open, counters.redirected), (1, 0, 0));
}

#[test]
fn several_listeners_share_the_load() {
    let Some(stage) = Stage::set() else { return };
    let (port, _v4, _v6) = direct_servers();
    let mut kernel = Kernel::load(&stage.options(port, false)).unwrap();
    let mut services: Vec<Service> = (1..=4)
        .map(|last| {
            let listener = TcpListener::bind((Ipv4Addr::new(127, 0, 0, last), 0)).unwrap();
            kernel.serve_listener(listener.as_fd()).unwrap();
            Service::agent(listener, kernel.flows().unwrap())
        })
        .collect();
    kernel.attach().unwrap();
    client(&stage.clients, "127.0.0.1", port, 200).only(&format!("g|127.0.0.1|{port}"), 200);
    let counts: Vec<usize> = services.iter().map(|service| service.flows.lock().len()).collect();
    assert_eq!(counts.iter().sum::<usize>(), 200);
    assert!(counts.iter().all(|&count| count > 10), "{counts:?}");
    assert!(services.iter().all(|service| service.flows.lock().iter().all(Option::is_some)));

    // The others take over for those that close.
    for _ in 0..3 {
        services.remove(0);
        client(&stage.clients, "127.0.0.1", port, 40).only(&format!("g|127.0.0.1|{port}"), 40);
    }
    services.remove(0);
    client(&stage.clients, "127.0.0.1", port, 2).only("error|1", 2);
}

#[test]
fn unsuitable_listeners_rules_and_cgroups_are_refused() {
    let Some(stage) = Stage::set() else { return };
    let (port, v4, _v6) = direct_servers();
    let mut kernel = Kernel::load(&stage.options(port, false)).unwrap();

    let captured = kernel.serve_listener(v4.listener.as_fd());
    assert!(matches!(captured, Err(KernelError::ListenerPortCaptured { port: refused }) if refused == port));
    let everywhere = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
    assert!(matches!(kernel.serve_listener(everywhere.as_fd()), Err(KernelError::Listener { .. })));
    let silent = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    silent.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
    assert!(matches!(kernel.serve_listener(silent.as_fd()), Err(KernelError::Listener { .. })));

    let mut options = stage.options(port, false);
    options.rules.extend(stage.options(port, true).rules);
    assert!(matches!(Kernel::load(&options), Err(KernelError::DuplicateRule { .. })));
    options.rules.truncate(1);
    options.rules[0].cgroup = "/proc".into();
    assert!(matches!(Kernel::load(&options), Err(KernelError::NotACgroup { .. })));
}

/// `cargo test -p governor-userspace --lib host::kernel -- --ignored --nocapture measure`
#[test]
#[ignore = "a measurement: prints the cost of each program over 20,000 connections"]
fn measure_the_programs() {
    let Some(stage) = Stage::set() else { return };
    let (port, _v4, _v6) = direct_servers();
    let (kernel, [agent_v4, agent_v6]) = agent(&stage.options(port, false));
    let _statistics = aya::sys::enable_stats(aya::sys::Stats::RunTime).unwrap();
    let start = std::time::Instant::now();
    for (address, service) in [("127.0.0.1", &agent_v4), ("::1", &agent_v6)] {
        let seen = client(&stage.clients, address, port, 10_000);
        seen.only(&format!("g|{address}|{port}"), 10_000);
        let flows = std::mem::take(&mut *service.flows.lock());
        let right = |flow: &crate::host::kernel::Flow| flow.tgid == seen.pid && flow.original.port() == port;
        assert_eq!(flows.iter().filter(|flow| flow.as_ref().is_some_and(right)).count(), 10_000);
    }
    println!("20,000 connections in {:?}, none lost, none wrong", start.elapsed());
    for (name, program) in kernel.ebpf.programs() {
        let info = program.info().unwrap();
        let (runs, spent) = (info.run_count(), info.run_time());
        if runs > 0 {
            println!("{name:14} {runs:>7} runs {:>6} ns each", spent.as_nanos() / u128::from(runs));
        }
    }
    println!("{:#?}", kernel.counters().unwrap());
}
