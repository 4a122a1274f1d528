//! Connections of a network namespace in which the agent does not listen yet: they wait for a moment, and no longer than that.

use super::pressure::in_new_namespace;
use super::stage::{Service, Stage, client, direct_servers};
use crate::host::kernel::{EventCause, Kernel, netns_cookie};
use nix::sched::{CloneFlags, setns};
use std::fs::File;
use std::net::{Ipv4Addr, TcpListener};
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixDatagram;
use std::sync::mpsc;

const REFUSED: &str = "error|1"; // EPERM

#[test]
fn a_namespace_that_is_never_served_is_waited_for_three_times_and_no_more() {
    let Some(stage) = Stage::set() else { return };
    let (port, _v4, _v6) = direct_servers();
    let mut kernel = Kernel::load(&stage.options(port, false)).unwrap();
    kernel.attach().unwrap();
    in_new_namespace(&[], || {
        for _ in 0..5 {
            client(&stage.clients, "127.0.0.1", port, 1).only(REFUSED, 1);
        }
    });
    let counters = kernel.counters().unwrap();
    assert_eq!((counters.namespace_waited, counters.namespace_waited_in_vain), (0, 3));
    assert_eq!((counters.refused_namespace_unknown, counters.passed_open), (5, 0));
}

#[test]
fn a_first_connection_waits_until_the_agent_listens_in_its_namespace() {
    let Some(stage) = Stage::set() else { return };
    let (port, _v4, _v6) = direct_servers();
    let mut kernel = Kernel::load(&stage.options(port, false)).unwrap();
    kernel.attach().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut events = runtime.block_on(async { kernel.take_events().unwrap() });
    let flows = kernel.flows().unwrap();
    let governed = format!("g|127.0.0.1|{port}");
    let mut rounds = 0;
    // On a busy machine the agent may be too late: then it is refused as before.
    while kernel.counters().unwrap().namespace_waited == 0 {
        rounds += 1;
        assert!(rounds <= 50, "too late 50 times: {:?}", kernel.counters());
        let (tell, told) = mpsc::channel();
        let clients = &stage.clients;
        let (seen, service) = std::thread::scope(|scope| {
            let connecting = scope.spawn(move || {
                in_new_namespace(&[], || {
                    // No socket of the internet's: a hook would announce the namespace before its client is there.
                    let cookie = netns_cookie(UnixDatagram::unbound().unwrap().as_fd()).unwrap();
                    tell.send((File::open("/proc/thread-self/ns/net").unwrap(), cookie)).unwrap();
                    client(clients, "127.0.0.1", port, 1)
                })
            });
            let (namespace, cookie) = told.recv().unwrap();
            let event = loop {
                let event = runtime.block_on(events.next()).unwrap();
                // Of this round: an earlier one, or another process, may have left some.
                if event.cause == EventCause::NamespaceSeen && event.netns_cookie == cookie {
                    break event;
                }
            };
            let kernel = &mut kernel;
            let listener = std::thread::scope(|inner| {
                let entered = inner.spawn(|| {
                    setns(&namespace, CloneFlags::CLONE_NEWNET).unwrap();
                    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
                    kernel.serve_listener(listener.as_fd()).unwrap();
                    listener
                });
                entered.join().unwrap()
            });
            assert!(event.tgid > 0);
            let service = Service::agent(listener, flows.clone());
            (connecting.join().unwrap(), service)
        });
        let outcome = seen.outcomes.keys().next().unwrap();
        assert!(*outcome == governed || outcome == REFUSED, "{seen:?}");
        let taken = service.flows.lock().iter().flatten().filter(|flow| flow.tgid == seen.pid).count();
        assert_eq!(taken, usize::from(*outcome == governed), "{seen:?}");
    }
    println!("waited and was governed in round {rounds}");
    assert_eq!(kernel.counters().unwrap().passed_open, 0);
}
