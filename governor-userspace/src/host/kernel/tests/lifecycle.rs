//! What happens to connections when the agent is gone, wedged, elsewhere, or comes back.

use super::stage::{Service, Stage, cgroup_id, client, client_in_new_namespace, direct_servers, python};
use crate::host::kernel::pins::link_pins;
use crate::host::kernel::{EventCause, Kernel, KernelOptions, sys};
use governor_common::limits::HEARTBEAT_TIMEOUT_NS_DEFAULT;
use parking_lot::Mutex;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::fd::AsFd as _;
use std::time::Duration;

const REFUSED: &str = "error|1"; // EPERM

fn agent(options: &KernelOptions) -> (Kernel, Service) {
    let mut kernel = Kernel::load(options).unwrap();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    kernel.serve_listener(listener.as_fd()).unwrap();
    let service = Service::agent(listener, kernel.flows().unwrap());
    kernel.attach().unwrap();
    (kernel, service)
}

#[test]
fn a_closed_listener_refuses_or_opens_at_once_and_is_reported() {
    for fail_open in [false, true] {
        let Some(stage) = Stage::set() else { return };
        let (port, _v4, _v6) = direct_servers();
        let (mut kernel, service) = agent(&stage.options(port, fail_open));
        client(&stage.clients, "127.0.0.1", port, 3).only(&format!("g|127.0.0.1|{port}"), 3);

        drop(service);
        let seen = client(&stage.clients, "127.0.0.1", port, 3);
        let expected = if fail_open { format!("d|127.0.0.1|{port}") } else { REFUSED.to_owned() };
        seen.only(&expected, 3);
        let counters = kernel.counters().unwrap();
        let expected = if fail_open { (0, 3) } else { (3, 0) };
        assert_eq!((counters.refused_listener_gone, counters.passed_open), expected);

        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut events = kernel.take_events().unwrap();
            for _ in 0..3 {
                let event =
                    tokio::time::timeout(Duration::from_secs(2), events.next()).await.unwrap().unwrap();
                assert_eq!((event.cause, event.passed), (EventCause::ListenerGone, fail_open));
                assert_eq!(event.original, SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
                assert_eq!((event.tgid, event.uid), (seen.pid, 0));
                assert_eq!(event.cgroup_id, cgroup_id(&stage.clients));
            }
            // One that comes while we wait wakes us.
            let clients = stage.clients.clone();
            let late = tokio::task::spawn_blocking(move || client(&clients, "127.0.0.1", port, 1));
            let event = tokio::time::timeout(Duration::from_secs(5), events.next()).await.unwrap().unwrap();
            assert_eq!(event.tgid, late.await.unwrap().pid);
        });

        // A new listener takes over without a new attachment.
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        kernel.serve_listener(listener.as_fd()).unwrap();
        let _service = Service::agent(listener, kernel.flows().unwrap());
        client(&stage.clients, "127.0.0.1", port, 3).only(&format!("g|127.0.0.1|{port}"), 3);
    }
}

#[test]
fn a_family_without_listener_is_refused() {
    let Some(stage) = Stage::set() else { return };
    let (port, _v4, _v6) = direct_servers();
    let (kernel, _service) = agent(&stage.options(port, false));
    client(&stage.clients, "::1", port, 2).only(REFUSED, 2);
    client(&stage.clients, "::ffff:127.0.0.1", port, 2).only(&format!("g|::ffff:127.0.0.1|{port}"), 2);
    assert_eq!(kernel.counters().unwrap().refused_namespace_unknown, 2);
}

#[test]
fn an_unknown_network_namespace_is_refused_or_left_alone() {
    for fail_open in [false, true] {
        let Some(stage) = Stage::set() else { return };
        let (port, _v4, _v6) = direct_servers();
        let (kernel, _service) = agent(&stage.options(port, fail_open));
        let seen = client_in_new_namespace(&stage.clients, "127.0.0.1", port);
        // Direct means: into a namespace whose loopback is down (ENETUNREACH).
        seen.only(if fail_open { "error|101" } else { REFUSED }, 1);
        let counters = kernel.counters().unwrap();
        let expected = if fail_open { (0, 1, 0) } else { (1, 0, 0) };
        let found = (counters.refused_namespace_unknown, counters.passed_open, counters.redirected);
        assert_eq!(found, expected);
    }
}

#[test]
fn a_namespace_with_its_own_listener_is_served_by_it() {
    let Some(stage) = Stage::set() else { return };
    let (port, _v4, _v6) = direct_servers();
    let (mut kernel, host) = agent(&stage.options(port, false));
    let clients = stage.clients.clone();
    // A thread of its own: it stays in the namespace that it enters.
    let inner = std::thread::scope(|scope| {
        let entered = scope.spawn(|| {
            nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
            let up = std::process::Command::new("ip").args(["link", "set", "lo", "up"]).status().unwrap();
            assert!(up.success());
            client(&clients, "127.0.0.1", port, 1).only(REFUSED, 1);
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            kernel.serve_listener(listener.as_fd()).unwrap();
            let service = Service::agent(listener, kernel.flows().unwrap());
            client(&clients, "127.0.0.1", port, 7).only(&format!("g|127.0.0.1|{port}"), 7);
            service
        });
        entered.join().unwrap()
    });
    client(&stage.clients, "127.0.0.1", port, 3).only(&format!("g|127.0.0.1|{port}"), 3);
    let cookies = |service: &Service| -> Vec<u64> {
        service.flows.lock().iter().map(|flow| flow.as_ref().unwrap().netns_cookie).collect()
    };
    let (inside, outside) = (cookies(&inner), cookies(&host));
    assert_eq!((inside.len(), outside.len()), (7, 3));
    assert!(inside.iter().all(|cookie| *cookie == inside[0] && *cookie != outside[0]));
}

#[test]
fn handles_cross_threads() {
    fn sends<T: Send>(_: &T) {}
    fn shares<T: Send + Sync + Clone + 'static>() {}
    shares::<crate::host::kernel::FlowTable>();
    shares::<crate::host::kernel::Exemption>();
    shares::<crate::host::kernel::Heartbeat>();
    fn owned<T: Send + Sync + 'static>() {}
    owned::<Kernel>();
    let polled = |mut events: crate::host::kernel::KernelEvents| async move { events.next().await };
    let _compiles = move |events| sends(&polled(events));
}

#[test]
fn a_wedged_agent_counts_as_dead() {
    let Some(stage) = Stage::set() else { return };
    let (port, _v4, _v6) = direct_servers();
    let (mut kernel, _service) = agent(&stage.options(port, false));
    kernel.write_settings(HEARTBEAT_TIMEOUT_NS_DEFAULT, false).unwrap();
    kernel.heartbeat().beat_at(1).unwrap();
    client(&stage.clients, "127.0.0.1", port, 2).only(REFUSED, 2);
    assert_eq!(kernel.counters().unwrap().refused_heartbeat_stale, 2);
    kernel.beat().unwrap();
    kernel.write_settings(6 * HEARTBEAT_TIMEOUT_NS_DEFAULT, false).unwrap();
    client(&stage.clients, "127.0.0.1", port, 2).only(&format!("g|127.0.0.1|{port}"), 2);
    kernel.heartbeat().beat_at(1).unwrap();
    kernel.write_settings(0, false).unwrap();
    client(&stage.clients, "127.0.0.1", port, 2).only(&format!("g|127.0.0.1|{port}"), 2);
}

#[test]
fn nobody_else_binds_governors_port() {
    let Some(stage) = Stage::set() else { return };
    let (port, _v4, _v6) = direct_servers();
    let (kernel, service) = agent(&stage.options(port, false));
    let guarded = service.address.port();
    drop(service);
    let program = "import os, socket, sys\nprint('pid', os.getpid())\n\
        for address in ('127.0.0.1', '0.0.0.0', '127.0.0.9', '::1', '::'):\n    \
            s = socket.socket(socket.AF_INET6 if ':' in address else socket.AF_INET)\n    \
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)\n    \
            try:\n        s.bind((address, int(sys.argv[1]))); print(1, 'bound', address)\n    \
            except OSError as error: print(1, address, error.errno)\n";
    let seen = python(&stage.clients, program, &[guarded.to_string()]);
    let expected = ["0.0.0.0 1", "127.0.0.1 1", "127.0.0.9 1", ":: 1", "::1 1"];
    assert_eq!(seen.outcomes.keys().map(String::as_str).collect::<Vec<_>>(), expected);
    assert_eq!(kernel.counters().unwrap().bind_refused, 5);

    let address: SocketAddr = (Ipv4Addr::LOCALHOST, guarded).into();
    let own = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    own.set_reuse_address(true).unwrap();
    assert_eq!(own.bind(&address.into()).unwrap_err().raw_os_error(), Some(libc::EPERM));
    kernel.exemption().unwrap().mark(own.as_fd()).unwrap();
    own.bind(&address.into()).unwrap();
}

/// A failed test must not leave hooks behind: without the mount the pins go.
pub struct Unmount(pub std::path::PathBuf);

impl Drop for Unmount {
    fn drop(&mut self) {
        let _ = nix::mount::umount2(&self.0, nix::mount::MntFlags::MNT_DETACH);
    }
}

#[test]
fn pins_refuse_after_a_death_and_the_next_agent_takes_over() {
    let Some(stage) = Stage::set() else { return };
    let (port, _v4, _v6) = direct_servers();
    let directory = tempfile::tempdir().unwrap();
    let pins = directory.path().join("pins");
    let _unmount = Unmount(pins.clone());
    let mut options = stage.options(port, false);
    options.pin_dir = Some(pins.clone());
    let is_mounted = || {
        let mountinfo = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        mountinfo.contains(pins.to_str().unwrap())
    };

    // A load that fails leaves no mount and no pins.
    let broken = KernelOptions { own_cgroups: vec!["/proc".into()], ..options.clone() };
    assert!(Kernel::load(&broken).is_err());
    assert!(!is_mounted());

    // A killed process closes its descriptors and runs no clean-up: so does this drop.
    let (first, service) = agent(&options);
    client(&stage.clients, "127.0.0.1", port, 1).only(&format!("g|127.0.0.1|{port}"), 1);
    drop(service);
    drop(first);
    assert!(is_mounted());
    let seen = client(&stage.clients, "127.0.0.1", port, 4);
    seen.only(REFUSED, 4);

    let (second, _service) = agent(&options);
    client(&stage.clients, "127.0.0.1", port, 1).only(&format!("g|127.0.0.1|{port}"), 1);
    let previous = second.previous().expect("the predecessor's maps");
    assert_eq!((previous.counters.redirected, previous.counters.refused_listener_gone), (1, 4));
    assert_eq!(previous.events.len(), 4);
    assert!(previous.events.iter().all(|event| event.tgid == seen.pid && !event.passed));
    let generations = std::fs::read_dir(&pins).unwrap().filter(|entry| {
        let name = entry.as_ref().unwrap().file_name();
        !name.to_string_lossy().contains('.') // "maps.debug" and "progs.debug" are the kernel's
    });
    assert_eq!(generations.count(), 1, "the predecessor's pins are still there");

    second.detach().unwrap();
    assert!(!is_mounted());
    client(&stage.clients, "127.0.0.1", port, 1).only(&format!("d|127.0.0.1|{port}"), 1);
}

/// Whoever lists links holds each of them for a moment: that must not keep a dead agent's programs on, which refuse.
#[test]
fn links_that_somebody_holds_go_with_their_agent_all_the_same() {
    let Some(stage) = Stage::set() else { return };
    let (port, _v4, _v6) = direct_servers();
    let directory = tempfile::tempdir().unwrap();
    let pins = directory.path().join("pins");
    let _unmount = Unmount(pins.clone());
    let mut options = stage.options(port, false);
    options.pin_dir = Some(pins);
    let held = |kernel: &Kernel| -> Vec<std::os::fd::OwnedFd> {
        let links = link_pins(kernel.generation().unwrap()).unwrap();
        links.iter().map(|pin| sys::open_pin(pin).unwrap()).collect()
    };

    let (first, service) = agent(&options);
    let of_first = held(&first);
    assert!(of_first.len() >= 6);
    drop(service);
    drop(first);
    client(&stage.clients, "127.0.0.1", port, 2).only(REFUSED, 2);
    let (second, _service) = agent(&options);
    client(&stage.clients, "127.0.0.1", port, 2).only(&format!("g|127.0.0.1|{port}"), 2);
    let of_second = held(&second);
    second.detach().unwrap();
    client(&stage.clients, "127.0.0.1", port, 2).only(&format!("d|127.0.0.1|{port}"), 2);
    drop((of_first, of_second));
}

#[test]
fn a_program_that_cannot_be_attached_leaves_nothing_attached() {
    let Some(stage) = Stage::set() else { return };
    let (port, _v4, _v6) = direct_servers();
    let mut options = stage.options(port, false);
    let doomed = stage.parent.join("doomed");
    std::fs::create_dir(&doomed).unwrap();
    options.rules.push(crate::host::kernel::CaptureRule { port, cgroup: doomed.clone(), fail_open: false });
    let mut kernel = Kernel::load(&options).unwrap();
    std::fs::remove_dir(&doomed).unwrap();
    let error = kernel.attach().unwrap_err().to_string();
    assert!(error.contains("doomed"), "{error}");
    client(&stage.clients, "127.0.0.1", port, 1).only(&format!("d|127.0.0.1|{port}"), 1);
}

/// Keeps what the kernel programs log.
#[derive(Default)]
struct Lines(Mutex<Vec<String>>);

impl log::Log for &Lines {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }
    fn log(&self, record: &log::Record<'_>) {
        self.0.lock().push(format!("{} {}", record.level(), record.args()));
    }
    fn flush(&self) {}
}

#[test]
fn the_debug_switch_makes_the_programs_log() {
    let Some(stage) = Stage::set() else { return };
    let (port, _v4, _v6) = direct_servers();
    let mut options = stage.options(port, false);
    options.debug_log = true;
    let (mut kernel, service) = agent(&options);
    let lines = Lines::default();
    let mut logger = aya_log::EbpfLogger::init_with_logger(&mut kernel.ebpf, &lines).unwrap();
    let seen = client(&stage.clients, "127.0.0.1", port, 1);
    let listener = service.address.port();
    drop(service);
    client(&stage.clients, "127.0.0.1", port, 1).only(REFUSED, 1);
    kernel.write_settings(0, false).unwrap();
    client(&stage.clients, "127.0.0.1", port, 1).only(REFUSED, 1);
    logger.flush();
    let lines = lines.0.lock();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert_eq!(
        lines[0],
        format!("INFO port {port} of process {} goes to listener port {listener}", seen.pid)
    );
    assert!(lines[1].starts_with(&format!("WARN port {port} of process ")), "{lines:?}");
}
