//! What an agent leaves in network namespaces when it is gone, and that `governor detach --all` leaves nothing of it.

use super::{SERVERS, sees, site};
use governor_tests::containers::{Container, Containers};
use governor_tests::database_host::{PORT, REMOTE_V4, SERVER_V4, psql};
use governor_tests::{Class, Namespace, Options, client, process, wait};
use std::fs::File;
use std::os::fd::AsRawFd;

/// How many programs choose sockets in a network namespace, as the kernel says.
fn programs(namespace: &Namespace) -> u32 {
    /// The part of `union bpf_attr` that BPF_PROG_QUERY reads and writes.
    #[repr(C)]
    #[derive(Default)]
    struct Query {
        target_fd: u32,
        attach_type: u32,
        query_flags: u32,
        attach_flags: u32,
        prog_ids: u64,
        prog_cnt: u32,
        padding: u32,
    }
    const BPF_PROG_QUERY: libc::c_int = 16;
    const BPF_SK_LOOKUP: u32 = 36;
    let target = File::open(format!("/proc/{}/ns/net", namespace.pid())).unwrap();
    let mut query = Query {
        target_fd: u32::try_from(target.as_raw_fd()).unwrap(),
        attach_type: BPF_SK_LOOKUP,
        ..Query::default()
    };
    // SAFETY: the kernel reads and writes within `query`, whose size it is given; without room for ids it only counts.
    let failed = unsafe { libc::syscall(libc::SYS_bpf, BPF_PROG_QUERY, &raw mut query, size_of::<Query>()) };
    assert_eq!(failed, 0, "{}", std::io::Error::last_os_error());
    query.prog_cnt
}

/// Sockets that listen there, by port; each once.
fn listeners(namespace: &Namespace) -> Vec<u16> {
    let mut ss = std::process::Command::new("ss");
    ss.args(["-H", "-l", "-t", "-n"]);
    namespace.enter(&mut ss).unwrap();
    let out = process::run(ss, wait::PATIENCE).unwrap().ok().unwrap().out();
    let local = out.lines().filter_map(|line| line.split_whitespace().nth(3));
    let mut ports: Vec<u16> = local.map(|at| at.rsplit(':').next().unwrap().parse().unwrap()).collect();
    ports.sort_unstable();
    ports.dedup();
    ports
}

/// One process each of the host, of a container, and of another host asks this container's server.
fn ask(site: &Containers, from: &Container, to: &Container) -> Vec<process::Finished> {
    let mut local = client::command("psql", &site.group, Class::Service, PORT).unwrap();
    local.env("PGHOST", &to.from_host);
    from.namespace.enter(&mut local).unwrap();
    vec![
        site.host_psql(&to.from_host, Class::Service, "SELECT 't'::text").unwrap(),
        psql(local, "SELECT 't'::text").unwrap(),
        to.remote_psql(SERVER_V4, &sees(REMOTE_V4)).unwrap(),
    ]
}

#[test]
fn detach_all_leaves_nothing_in_any_namespace() {
    for killed in [true, false] {
        let options = Options { on_stop: "keep", ..Options::default() };
        let mut site = Containers::start(2, SERVERS, PORT, &options).unwrap();
        site.host.set("ipv4.ip_forward", "1").unwrap();
        let [one, other] = &site.containers[..] else { panic!("two") };
        wait::until("governor to listen in both containers", wait::PATIENCE, || {
            let all = [ask(&site, one, other), ask(&site, other, one)].concat();
            Ok(all.iter().all(|done| done.status.success()).then_some(()))
        })
        .unwrap();
        let namespaces = || [&one.namespace, &other.namespace, &site.host];
        assert_eq!(namespaces().map(programs), [1, 1, 0], "the server of the host itself is none of these");
        let all_listen = namespaces().map(listeners);
        assert!(all_listen.iter().all(|ports| ports.iter().any(|port| *port != PORT)), "{all_listen:?}");
        let group = site.group.path().to_str().unwrap().to_owned();
        let everywhere = ["detach", "--all", "--cgroup", &group];
        let show = [&everywhere[..], &["--dry-run"]].concat();
        // Under a living agent nothing is touched.
        let refused = site.governor.cli(&everywhere).unwrap();
        assert!(refused.err().contains("governor is running"), "{}", refused.all());
        assert_eq!(namespaces().map(programs), [1, 1, 0]);

        let governor = &mut site.governor;
        if killed {
            governor.kill().unwrap();
        } else {
            governor.stop().unwrap();
        }
        let [one, other] = &site.containers[..] else { panic!("two") };
        let namespaces = || [&one.namespace, &other.namespace, &site.host];
        for done in [ask(&site, one, other), ask(&site, other, one)].concat() {
            assert!(!done.status.success(), "refused without governor: {}", done.all());
        }
        assert_eq!(namespaces().map(programs), [1, 1, 0]);
        let shown = site.governor.cli(&show).unwrap().ok().unwrap().out();
        for container in [one, other] {
            let line = format!("network namespace {}", container.namespace.inode().unwrap());
            assert!(shown.contains(&line), "{line}: {shown}");
        }
        assert_eq!(namespaces().map(programs), [1, 1, 0], "only shown");

        let removed = site.governor.cli(&everywhere).unwrap().ok().unwrap();
        assert!(removed.out().contains("removed"), "{}", removed.all());
        assert_eq!(namespaces().map(programs), [0, 0, 0], "{}", removed.all());
        assert_eq!(namespaces().map(listeners), [vec![PORT], vec![PORT], vec![]]);
        for done in [ask(&site, one, other), ask(&site, other, one)].concat() {
            assert_eq!(done.ok().unwrap().out(), "t\n", "direct");
        }
        let nothing = site.governor.cli(&show).unwrap().ok().unwrap().out();
        assert_eq!(nothing, "nothing of governor is in the kernel\n");
        let pins = site.governor.state_dir().join("pins");
        assert!(pins.read_dir().is_ok_and(|mut left| left.next().is_none()), "{pins:?}");
        // Nobody but its own processes holds a container: it ends with them.
        while let Some(container) = site.containers.pop() {
            let Container { postgres, namespace, remote, .. } = container;
            drop((postgres, namespace));
            wait::until("the namespace to be gone", wait::PATIENCE, || {
                Ok(remote.ip("link show to-server").is_err().then_some(()))
            })
            .unwrap();
        }
    }
}

/// The namespace went first: its hook went with it, and what is left is found and removed all the same.
#[test]
fn detach_all_after_a_captured_namespace_is_gone() {
    let mut site = site(2, SERVERS);
    site.containers[1].remote_psql(SERVER_V4, &sees(REMOTE_V4)).unwrap().ok().unwrap();
    site.governor.kill().unwrap();
    let Container { postgres, namespace, remote, .. } = site.containers.pop().unwrap();
    drop((postgres, namespace));
    wait::until("the namespace to be gone", wait::PATIENCE, || {
        Ok(remote.ip("link show to-server").is_err().then_some(()))
    })
    .unwrap();
    let group = site.group.path().to_str().unwrap().to_owned();
    site.governor.cli(&["detach", "--all", "--cgroup", &group]).unwrap().ok().unwrap();
    assert_eq!(programs(&site.containers[0].namespace), 0);
    let seen = site.containers[0].remote_psql(SERVER_V4, &sees(REMOTE_V4)).unwrap().ok().unwrap();
    assert_eq!(seen.out(), "t\n");
    let nothing =
        site.governor.cli(&["detach", "--all", "--cgroup", &group, "--dry-run"]).unwrap().ok().unwrap();
    assert_eq!(nothing.out(), "nothing of governor is in the kernel\n");
}
