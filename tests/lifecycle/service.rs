//! What a service manager is told (sd_notify), by whom: it believes only the process that it knows as the main one.

use super::gaps::governed;
use governor_tests::{Options, Site, wait};
use nix::cmsg_space;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, UnixCredentials, recvmsg, setsockopt, sockopt};
use std::io::IoSliceMut;
use std::os::fd::AsRawFd as _;
use std::os::unix::net::UnixDatagram;
use std::path::Path;

/// The manager's end.
struct Manager(UnixDatagram);

impl Manager {
    fn listen(path: &Path) -> Self {
        let socket = UnixDatagram::bind(path).unwrap();
        setsockopt(&socket, sockopt::PassCred, &true).unwrap();
        socket.set_read_timeout(Some(wait::PATIENCE)).unwrap();
        Self(socket)
    }

    /// The next message, and the process that sent it.
    fn hear(&self) -> (String, u32) {
        let mut bytes = [0; 1000];
        let mut buffers = [IoSliceMut::new(&mut bytes)];
        let mut space = cmsg_space!(UnixCredentials);
        let message =
            recvmsg::<()>(self.0.as_raw_fd(), &mut buffers, Some(&mut space), MsgFlags::empty()).unwrap();
        let sender = message.cmsgs().unwrap().find_map(|control| match control {
            ControlMessageOwned::ScmCredentials(sender) => Some(sender.pid()),
            _ => None,
        });
        let length = message.bytes;
        let text = String::from_utf8_lossy(&bytes[..length]).trim().to_owned();
        (text, u32::try_from(sender.unwrap()).unwrap())
    }
}

/// A site whose agent finds this manager in its environment, and what else it says there.
fn told_to(manager: &Path, more: &[&str]) -> Site {
    let mut launcher = vec!["env".into(), format!("NOTIFY_SOCKET={}", manager.display())];
    launcher.extend(more.iter().map(|&word| word.to_owned()));
    Site::with(governor_tests::Auth::Trust, &Options { launcher, ..Options::default() }).unwrap()
}

#[test]
fn an_agent_that_is_watched_says_that_it_lives_and_so_does_the_one_that_takes_over() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("notify");
    let manager = Manager::listen(&path);
    // As for the first process of the service; its successor has another number.
    let mut site = told_to(&path, &["WATCHDOG_USEC=30000000", "WATCHDOG_PID=1"]);
    let old = site.governor.pid().unwrap();
    let alive = |pid| {
        wait::until("a sign of life", wait::PATIENCE, || {
            Ok((manager.hear() == ("WATCHDOG=1".into(), pid)).then_some(()))
        })
    };
    alive(old).unwrap();
    alive(old).unwrap();
    site.governor.cli(&["upgrade"]).unwrap().ok().unwrap();
    let new = site.governor.json(&["status"]).unwrap()[0]["pid"].as_u64().unwrap() as u32;
    let adopted = site.governor.adopt(new);
    alive(new).unwrap();
    alive(new).unwrap();
    site.governor.wait_for_end().unwrap();
    drop(adopted);
}

#[test]
fn a_service_manager_is_told_who_is_its_main_process_by_the_one_that_it_knows() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("notify");
    let manager = Manager::listen(&path);
    let mut site = told_to(&path, &[]);
    let old = site.governor.pid().unwrap();
    assert_eq!(manager.hear(), ("READY=1".into(), old));

    // As an operator does it: the running agent starts the new one.
    site.governor.cli(&["upgrade"]).unwrap().ok().unwrap();
    let new = site.governor.json(&["status"]).unwrap()[0]["pid"].as_u64().unwrap() as u32;
    let adopted = site.governor.adopt(new);
    assert_ne!(new, old);
    // Before the new one says anything: until then the manager would not believe it.
    assert_eq!(manager.hear(), (format!("MAINPID={new}"), old));
    assert_eq!(manager.hear(), ("READY=1".into(), new));
    governed(&site);
    // The old one ends without a word: `STOPPING=1` would be about the service.
    site.governor.wait_for_end().unwrap();
    drop(adopted);
    assert_eq!(manager.hear(), ("STOPPING=1".into(), new));
}
