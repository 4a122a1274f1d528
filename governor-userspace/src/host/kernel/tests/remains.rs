//! What is left in the kernel after an agent, what is lost under a living one, and how both are put right.

use super::stage::{Service, Stage, client, direct_servers, wait_for};
use crate::host::kernel::remains::Remains;
use crate::host::kernel::{Kernel, KernelOptions, Mended, sys};
use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::os::fd::AsFd as _;
use std::path::PathBuf;

const REFUSED: &str = "error|1"; // EPERM
/// connect4/6, getpeername4/6 and announce_namespace on the clients' cgroup; bind4/6 and hand_over on that and the agent's.
const HOOKS_COUNT: usize = 11;

/// A pin directory of this test's own, removed whatever happens.
struct Pins {
    directory: tempfile::TempDir,
}

impl Pins {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap() }
    }
    fn path(&self) -> PathBuf {
        self.directory.path().join("pins")
    }
    fn is_mounted(&self) -> bool {
        fs::read_to_string("/proc/self/mountinfo").unwrap().contains(self.path().to_str().unwrap())
    }
}

impl Drop for Pins {
    fn drop(&mut self) {
        let _ = nix::mount::umount2(&self.path(), nix::mount::MntFlags::MNT_DETACH);
    }
}

fn agent(options: &KernelOptions) -> (Kernel, Service) {
    let mut kernel = Kernel::load(options).unwrap();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    kernel.serve_listener(listener.as_fd()).unwrap();
    let service = Service::agent(listener, kernel.flows().unwrap());
    kernel.attach().unwrap();
    (kernel, service)
}

fn pinned(stage: &Stage, port: u16, fail_open: bool, pins: &Pins) -> KernelOptions {
    KernelOptions { pin_dir: Some(pins.path()), ..stage.options(port, fail_open) }
}

/// Everything of governor on this test's cgroups; other tests of this host have theirs.
fn here(stage: &Stage) -> Remains {
    Remains::of_host(Some(&stage.parent)).unwrap()
}

/// What was mended, where nothing failed.
fn tended(kernel: &mut Kernel) -> Mended {
    let (mended, error) = kernel.tend();
    assert!(error.is_none(), "{error:?}");
    mended
}

#[test]
fn an_agent_that_leaves_refuses_or_passes_until_its_remains_are_removed() {
    for fail_open in [false, true] {
        let Some(stage) = Stage::set() else { return };
        let pins = Pins::new();
        let (port, _v4, _v6) = direct_servers();
        let direct = format!("d|127.0.0.1|{port}");
        let (kernel, service) = agent(&pinned(&stage, port, fail_open, &pins));
        client(&stage.clients, "127.0.0.1", port, 1).only(&format!("g|127.0.0.1|{port}"), 1);
        assert_eq!(here(&stage).hooks.len(), HOOKS_COUNT, "{:?}", here(&stage));

        // Its listener is still open, as it is while sessions drain.
        kernel.leave().unwrap();
        let expected = if fail_open { direct.clone() } else { REFUSED.to_owned() };
        client(&stage.clients, "127.0.0.1", port, 2).only(&expected, 2);
        drop(service);
        client(&stage.clients, "127.0.0.1", port, 2).only(&expected, 2);

        let remains = Remains::of_instance(&pins.path()).unwrap();
        assert_eq!((remains.hooks.len(), remains.pins.len()), (HOOKS_COUNT, 1), "{remains:?}");
        assert!(remains.held_by().is_empty(), "{remains:?}");
        let connect = remains.hooks.iter().find(|hook| hook.program == "connect4").unwrap();
        assert_eq!(PathBuf::from(&connect.place), stage.clients);
        assert_eq!(here(&stage), Remains { pins: here(&stage).pins, ..remains.clone() });

        remains.remove().unwrap();
        assert!(here(&stage).is_empty() && !pins.is_mounted(), "{:?}", here(&stage));
        assert!(Remains::of_instance(&pins.path()).unwrap().is_empty());
        client(&stage.clients, "127.0.0.1", port, 2).only(&direct, 2);
    }
}

#[test]
fn what_a_living_process_holds_is_named_with_it() {
    let Some(stage) = Stage::set() else { return };
    let pins = Pins::new();
    let (port, _v4, _v6) = direct_servers();
    let (kernel, _service) = agent(&pinned(&stage, port, false, &pins));
    let me = std::process::id();
    for remains in [here(&stage), Remains::of_instance(&pins.path()).unwrap()] {
        assert!(remains.hooks.iter().all(|hook| hook.held_by == [me]), "{remains:?}");
    }
    kernel.detach().unwrap();
    assert!(here(&stage).is_empty());
}

#[test]
fn hooks_are_found_in_the_kernel_without_their_pins() {
    let Some(stage) = Stage::set() else { return };
    let (port, _v4, _v6) = direct_servers();
    let (kernel, _service) = agent(&stage.options(port, false));
    let remains = here(&stage);
    assert_eq!((remains.hooks.len(), remains.pins.len()), (HOOKS_COUNT, 0), "{remains:?}");
    remains.remove().unwrap();
    client(&stage.clients, "127.0.0.1", port, 1).only(&format!("d|127.0.0.1|{port}"), 1);
    drop(kernel);
}

#[test]
fn a_load_that_is_never_attached_leaves_nothing() {
    let Some(stage) = Stage::set() else { return };
    let pins = Pins::new();
    let options = pinned(&stage, 5432, false, &pins);
    let kernel = Kernel::load(&options).unwrap();
    assert!(pins.is_mounted());
    drop(kernel);
    assert!(!pins.is_mounted());
}

#[test]
fn pins_that_are_unmounted_are_made_again_so_that_a_kill_still_refuses() {
    let Some(stage) = Stage::set() else { return };
    let pins = Pins::new();
    let (port, _v4, _v6) = direct_servers();
    let options = pinned(&stage, port, false, &pins);
    let (mut kernel, service) = agent(&options);
    assert_eq!(tended(&mut kernel), Mended::default());
    nix::mount::umount2(&pins.path(), nix::mount::MntFlags::MNT_DETACH).unwrap();
    assert!(!pins.is_mounted());
    client(&stage.clients, "127.0.0.1", port, 1).only(&format!("g|127.0.0.1|{port}"), 1);
    let mended = tended(&mut kernel);
    assert!(mended.pinned_again > HOOKS_COUNT && mended.attached_again.is_empty(), "{mended:?}");
    assert_eq!(tended(&mut kernel), Mended::default());

    drop((service, kernel));
    client(&stage.clients, "127.0.0.1", port, 2).only(REFUSED, 2);
    // The next agent finds them as if nothing had been.
    let (second, _service) = agent(&options);
    assert_eq!(second.previous().unwrap().counters.refused_listener_gone, 2);
    second.detach().unwrap();
    assert!(here(&stage).is_empty() && !pins.is_mounted());
}

#[test]
fn a_cgroup_that_is_removed_and_made_again_is_captured_again() {
    let Some(stage) = Stage::set() else { return };
    let pins = Pins::new();
    let (port, _v4, _v6) = direct_servers();
    let governed = format!("g|127.0.0.1|{port}");
    let (mut kernel, _service) = agent(&pinned(&stage, port, false, &pins));
    client(&stage.clients, "127.0.0.1", port, 1).only(&governed, 1);
    assert!(wait_for(|| fs::remove_dir(&stage.clients).is_ok()));
    // The kernel takes its links off a little later.
    assert!(wait_for(|| tended(&mut kernel).cgroups_gone == std::slice::from_ref(&stage.clients)));
    assert_eq!(
        tended(&mut kernel).cgroups_gone,
        std::slice::from_ref(&stage.clients),
        "still, and without an error"
    );

    fs::create_dir(&stage.clients).unwrap();
    client(&stage.clients, "127.0.0.1", port, 1).only(&format!("d|127.0.0.1|{port}"), 1);
    assert_eq!(tended(&mut kernel).attached_again, std::slice::from_ref(&stage.clients));
    client(&stage.clients, "127.0.0.1", port, 3).only(&governed, 3);
    assert_eq!(tended(&mut kernel), Mended::default());
    kernel.detach().unwrap();
    assert!(here(&stage).is_empty());
}

/// Removes the clients' cgroup, waits until the agent has seen that, and makes it again.
fn make_clients_again(stage: &Stage, kernel: &mut Kernel) {
    assert!(wait_for(|| fs::remove_dir(&stage.clients).is_ok()));
    assert!(wait_for(|| tended(kernel).cgroups_gone == std::slice::from_ref(&stage.clients)));
    fs::create_dir(&stage.clients).unwrap();
}

fn rules_count(kernel: &Kernel) -> u64 {
    kernel.map_levels().unwrap().iter().find(|level| level.map == "RULES").unwrap().entries
}

/// A service that restarts often must not fill the map: no cgroup's rules outlive it, also where there is room for no more.
#[test]
fn rules_of_a_cgroup_that_is_gone_leave_their_map() {
    let Some(stage) = Stage::set() else { return };
    let pins = Pins::new();
    let (port, _v4, _v6) = direct_servers();
    let options = KernelOptions { map_capacities: vec![("RULES", 1)], ..pinned(&stage, port, false, &pins) };
    let (mut kernel, _service) = agent(&options);
    for _ in 0..3 {
        make_clients_again(&stage, &mut kernel);
        assert_eq!(tended(&mut kernel).attached_again, std::slice::from_ref(&stage.clients));
        assert_eq!(rules_count(&kernel), 1);
        client(&stage.clients, "127.0.0.1", port, 1).only(&format!("g|127.0.0.1|{port}"), 1);
    }
    kernel.detach().unwrap();
}

#[test]
fn an_attachment_that_failed_is_made_with_a_later_look() {
    let Some(stage) = Stage::set() else { return };
    let pins = Pins::new();
    let (port, _v4, _v6) = direct_servers();
    let (mut kernel, _service) = agent(&pinned(&stage, port, false, &pins));
    make_clients_again(&stage, &mut kernel);
    // Something is where the pin of the new cgroup's hook has to be.
    let pin = format!("link_connect4_{}", super::stage::cgroup_id(&stage.clients));
    let in_the_way = kernel.generation().unwrap().join(pin);
    fs::create_dir(&in_the_way).unwrap();
    for _ in 0..2 {
        let (_, error) = kernel.tend();
        assert!(error.expect("it cannot be pinned").to_string().contains("connect4"));
    }
    client(&stage.clients, "127.0.0.1", port, 1).only(&format!("d|127.0.0.1|{port}"), 1);
    fs::remove_dir(&in_the_way).unwrap();
    assert_eq!(tended(&mut kernel).attached_again, std::slice::from_ref(&stage.clients));
    client(&stage.clients, "127.0.0.1", port, 3).only(&format!("g|127.0.0.1|{port}"), 3);
    assert_eq!(rules_count(&kernel), 1);
    assert_eq!(tended(&mut kernel), Mended::default());
    kernel.detach().unwrap();
    assert!(here(&stage).is_empty());
}

#[test]
fn a_program_that_somebody_takes_off_is_put_back() {
    let Some(stage) = Stage::set() else { return };
    let pins = Pins::new();
    let (port, _v4, _v6) = direct_servers();
    let (mut kernel, _service) = agent(&pinned(&stage, port, false, &pins));
    let remains = here(&stage);
    let connect = remains.hooks.iter().find(|hook| hook.program == "connect4").unwrap();
    let link = sys::link_by_id(connect.link).unwrap().unwrap();
    sys::link_detach(link.as_fd()).unwrap();
    drop(link);
    client(&stage.clients, "127.0.0.1", port, 1).only(&format!("d|127.0.0.1|{port}"), 1);
    assert_eq!(tended(&mut kernel).attached_again, std::slice::from_ref(&stage.clients));
    client(&stage.clients, "127.0.0.1", port, 3).only(&format!("g|127.0.0.1|{port}"), 3);
    kernel.detach().unwrap();
    assert!(here(&stage).is_empty());
}

#[test]
fn more_rules_than_there_is_room_for_are_refused_and_leave_nothing() {
    let Some(stage) = Stage::set() else { return };
    let pins = Pins::new();
    let mut options = pinned(&stage, 1, false, &pins);
    options.rules = (1..=5000u16)
        .map(|port| crate::host::kernel::CaptureRule {
            port,
            cgroup: stage.clients.clone(),
            fail_open: false,
        })
        .collect();
    let error = Kernel::load(&options).unwrap_err().to_string();
    assert!(error.contains("RULES"), "{error}");
    assert!(!pins.is_mounted() && here(&stage).is_empty());
}

#[test]
fn two_agents_side_by_side_share_their_marks_and_hand_connections_over() {
    let Some(stage) = Stage::set() else { return };
    let pins = Pins::new();
    let (port, _v4, _v6) = direct_servers();
    let governed = format!("g|127.0.0.1|{port}");
    let options = pinned(&stage, port, false, &pins);
    let (mut old, first) = agent(&options);
    let beside = old.generation().unwrap().to_path_buf();
    let (mut new, second) = agent(&KernelOptions { beside: Some(beside), ..options });
    assert!(new.previous().is_none(), "a living agent is no dead one");
    let seen = |service: &Service| service.flows.lock().iter().filter(|flow| flow.is_some()).count();

    client(&stage.clients, "127.0.0.1", port, 3).only(&governed, 3);
    assert_eq!((seen(&first), seen(&second)), (3, 0), "the old one has them while both are attached");
    old.yield_connections();
    client(&stage.clients, "127.0.0.1", port, 3).only(&governed, 3);
    assert_eq!((seen(&first), seen(&second)), (3, 3));

    // What either of them marks is neither's to capture.
    for exemption in [old.exemption().unwrap(), new.exemption().unwrap()] {
        fs::write(stage.clients.join("cgroup.procs"), std::process::id().to_string()).unwrap();
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        fs::write(stage.agent.join("cgroup.procs"), std::process::id().to_string()).unwrap();
        exemption.mark(socket.as_fd()).unwrap();
        socket.connect(&std::net::SocketAddr::from((Ipv4Addr::LOCALHOST, port)).into()).unwrap();
    }
    assert_eq!((seen(&first), seen(&second)), (3, 3), "a marked socket was captured");
    old.detach().unwrap();
    new.forget_predecessor().unwrap();
    client(&stage.clients, "127.0.0.1", port, 3).only(&governed, 3);
    assert_eq!(seen(&second), 6);
    new.detach().unwrap();
    assert!(here(&stage).is_empty() && !pins.is_mounted());
}
