//! Servers in several network namespaces: each is steered by itself, and one address and port in two of them never mix.

use super::inbound::{PORT, REFUSED, Relay, Server, alone, ask, options};
use super::lifecycle::Unmount;
use super::stage::Stage;
use crate::host::kernel::remains::Remains;
use crate::host::kernel::{InboundOptions, InboundRule, Kernel, KernelOptions, netns_cookie};
use nix::sched::{CloneFlags, setns, unshare};
use std::fs::File;
use std::net::Ipv4Addr;
use std::os::fd::AsFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::process::Command;

/// A network namespace beside the test's own, with loopback up.
struct Elsewhere {
    handle: File,
    cookie: u64,
}

impl Elsewhere {
    fn new() -> Self {
        let made = std::thread::spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET).unwrap();
            let up = Command::new("ip").args(["link", "set", "lo", "up"]).status().unwrap();
            assert!(up.success());
            let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
            let cookie = netns_cookie(socket.as_fd()).unwrap();
            Self { handle: File::open("/proc/thread-self/ns/net").unwrap(), cookie }
        });
        made.join().unwrap()
    }

    fn inode(&self) -> u64 {
        self.handle.metadata().unwrap().ino()
    }

    fn within<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| {
            let inside = scope.spawn(|| {
                setns(&self.handle, CloneFlags::CLONE_NEWNET).unwrap();
                work()
            });
            inside.join().unwrap()
        })
    }

    /// Serves it with a listener of its own, and captures the port.
    fn capture(&self, kernel: &mut Kernel, fail_open: bool) -> Relay {
        let relay = self.within(|| Relay::start(kernel, Ipv4Addr::LOCALHOST.into(), true));
        kernel.capture_port(Some(self.cookie), InboundRule { port: PORT, fail_open }).unwrap();
        assert!(kernel.steer_in(self.handle.try_clone().unwrap(), self.inode(), self.cookie).unwrap());
        relay
    }

    fn ask(&self, stage: &Stage, count: usize) -> super::stage::Seen {
        self.within(|| ask(&stage.clients, "127.0.0.1", count))
    }

    fn server(&self, stage: &Stage) -> Server {
        self.within(|| Server::start(&stage.elsewhere, "127.0.0.1"))
    }
}

fn direct() -> String {
    format!("same 127.0.0.1|{PORT}")
}

/// Nothing but pins lets namespaces share their maps.
fn pinned(stage: &Stage, pins: &std::path::Path) -> KernelOptions {
    KernelOptions { pin_dir: Some(pins.to_path_buf()), ..options(stage, false) }
}

#[test]
fn one_address_in_several_namespaces_is_several_servers() {
    alone(|stage| {
        let directory = tempfile::tempdir().unwrap();
        let pins = directory.path().join("pins");
        let _unmount = Unmount(pins.clone());
        let mut kernel = Kernel::load(&pinned(stage, &pins)).unwrap();
        let here = Relay::start(&mut kernel, Ipv4Addr::LOCALHOST.into(), true);
        let (early, late, never) = (Elsewhere::new(), Elsewhere::new(), Elsewhere::new());
        let in_early = early.capture(&mut kernel, false);
        kernel.attach().unwrap();
        let in_late = late.capture(&mut kernel, true);
        kernel.show_clients_to(&stage.elsewhere).unwrap();
        let _servers = [early.server(stage), late.server(stage), never.server(stage)];
        let _server = Server::start(&stage.elsewhere, "127.0.0.1");
        ask(&stage.clients, "127.0.0.1", 2).only(&direct(), 2);
        early.ask(stage, 3).only(&direct(), 3);
        late.ask(stage, 5).only(&direct(), 5);
        never.ask(stage, 7).only(&direct(), 7);
        let counts = |relays: [&Relay; 3]| relays.map(|relay| relay.flows.lock().len());
        assert_eq!(counts([&here, &in_early, &in_late]), [2, 3, 5]);
        assert!(in_late.flows.lock().iter().all(Option::is_some), "processes in a namespace are known too");
        assert_eq!(kernel.counters().unwrap().client_shown, 10);
        let steered = kernel.attached().into_iter().filter(|hook| hook.program == "steer");
        let places: Vec<String> = steered.map(|hook| hook.cgroup.display().to_string()).collect();
        assert!(places.contains(&format!("net:[{}]", late.inode())) && places.len() == 3, "{places:?}");
        // Each by its own listener and its own rule.
        drop(in_early);
        early.ask(stage, 2).only(REFUSED, 2);
        drop(in_late);
        late.ask(stage, 2).only(&direct(), 2);
        ask(&stage.clients, "127.0.0.1", 1).only(&direct(), 1);
        assert_eq!(here.flows.lock().len(), 3);
        // One that is left is as if it had never been.
        kernel.withdraw_steer(early.cookie).unwrap();
        early.ask(stage, 2).only(&direct(), 2);
        assert!(kernel.tend().0.attached_again.is_empty());
        kernel.detach().unwrap();
        late.ask(stage, 1).only(&direct(), 1);
    });
}

#[test]
fn in_another_namespace_too_pins_refuse_until_the_next_agent_or_detach() {
    alone(|stage| {
        let directory = tempfile::tempdir().unwrap();
        let pins = directory.path().join("pins");
        let _unmount = Unmount(pins.clone());
        let mut options = pinned(stage, &pins);
        // Nothing in this namespace, as where only containers are captured.
        options.inbound = Some(InboundOptions {
            clients: vec![stage.clients.clone()],
            elsewhere_only: true,
            ..InboundOptions::default()
        });
        let container = Elsewhere::new();
        let _server = container.server(stage);
        let agent = || {
            let mut kernel = Kernel::load(&options).unwrap();
            let relay = container.capture(&mut kernel, false);
            kernel.attach().unwrap();
            kernel.show_clients_to(&stage.elsewhere).unwrap();
            (kernel, relay)
        };
        let (kernel, relay) = agent();
        container.ask(stage, 1).only(&direct(), 1);
        drop(relay);
        drop(kernel);
        container.ask(stage, 3).only(REFUSED, 3);
        let left = Remains::of_instance(&pins).unwrap();
        let place = format!("network namespace {}", container.inode());
        assert!(left.hooks.iter().any(|hook| hook.program == "steer" && hook.place == place), "{left:?}");
        let every = Remains::of_host(None).unwrap();
        assert!(every.hooks.iter().any(|hook| hook.program == "steer" && hook.place == place), "{every:?}");
        let (kernel, relay) = agent();
        container.ask(stage, 2).only(&direct(), 2);
        assert_eq!(relay.flows.lock().len(), 2);
        drop(relay);
        drop(kernel);
        container.ask(stage, 1).only(REFUSED, 1);
        Remains::of_instance(&pins).unwrap().remove().unwrap();
        container.ask(stage, 1).only(&direct(), 1);
        assert!(Remains::of_instance(&pins).unwrap().hooks.is_empty());
    });
}

#[test]
fn a_namespace_that_ends_takes_its_program_with_it_and_its_pin_is_no_hindrance() {
    alone(|stage| {
        let directory = tempfile::tempdir().unwrap();
        let pins = directory.path().join("pins");
        let _unmount = Unmount(pins.clone());
        let container = Elsewhere::new();
        let mut kernel = Kernel::load(&pinned(stage, &pins)).unwrap();
        drop(container.capture(&mut kernel, false));
        kernel.attach().unwrap();
        // Killed, and then the container ends while nobody looks.
        drop(kernel);
        drop(container);
        let mut next = Kernel::load(&pinned(stage, &pins)).unwrap();
        next.attach().unwrap();
        assert_eq!(next.tend().1.map(|error| error.to_string()), None);
        let left = Remains::of_instance(&pins).unwrap();
        assert_eq!(left.hooks.iter().filter(|hook| hook.program == "steer").count(), 1, "{left:?}");
        next.detach().unwrap();
    });
}
