//! One keeper after another in the same state directory, as in an upgrade.

use super::*;
use std::os::unix::net::UnixStream;

/// A server's socket, and a state directory.
struct Stage {
    directory: tempfile::TempDir,
    state: tempfile::TempDir,
    told: Arc<Mutex<Vec<(usize, Event)>>>,
}

impl Stage {
    fn new() -> Self {
        let new = || tempfile::tempdir().unwrap();
        Self { directory: new(), state: new(), told: Arc::default() }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join(".s.PGSQL.5432")
    }

    /// As PostgreSQL starts: it removes what is there.
    fn server(&self) -> UnixListener {
        let _ = std::fs::remove_file(self.path());
        UnixListener::bind(self.path()).unwrap()
    }

    /// An open door is the listener itself.
    fn keeper(&self, number: usize, patient: bool) -> Result<Keeper<UnixListener>, UnixError> {
        let capture = Capture { path: self.path(), mode: None, pass_when_down: false };
        let told = self.told.clone();
        Keeper::start(
            vec![capture],
            self.state.path(),
            patient,
            |listener, _| Ok(listener),
            move |event| told.lock().push((number, event)),
        )
    }

    fn wait_for(&self, number: usize, wanted: impl Fn(&Event) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(30);
        while !self.told.lock().iter().any(|(by, event)| *by == number && wanted(event)) {
            assert!(Instant::now() < deadline, "{:?}", self.told.lock());
            std::thread::yield_now();
        }
    }
}

fn taken(event: &Event, by_adoption: bool) -> bool {
    matches!(event, Event::Taken { adopted, .. } if *adopted == by_adoption)
}

#[test]
fn a_new_keeper_waits_for_the_old_one_without_holding_up_its_start_and_reads_what_that_wrote_last() {
    let stage = Stage::new();
    let _server = stage.server();
    let old = stage.keeper(0, false).unwrap();
    stage.wait_for(0, |event| taken(event, false));
    let began = Instant::now();
    let new = stage.keeper(1, true).unwrap();
    assert!(began.elapsed() < BUSY_FOR, "its start waited for the old one");
    // The old one takes the path once more: its newest inode is in the journal only now.
    stage.told.lock().clear();
    let server = stage.server();
    stage.wait_for(0, |event| taken(event, false));
    let doors = old.hand_over();
    stage.wait_for(1, |event| taken(event, true));
    let failed = |(_, event): &(usize, Event)| matches!(event, Event::Failed { .. });
    assert!(!stage.told.lock().iter().any(failed), "{:?}", stage.told.lock());
    // The new one is in front of the server, and not of the old one.
    let server_path = new.servers().lock()[0].inode().unwrap().path();
    let _direct = UnixStream::connect(server_path).unwrap();
    server.set_nonblocking(true).unwrap();
    server.accept().unwrap();
    drop(doors);
    assert_eq!(new.end(true).len(), 1);
    assert!(!stage.state.path().join("unix-sockets.json").exists());
    let _server = UnixStream::connect(stage.path()).unwrap();
    server.accept().unwrap();
}

#[test]
fn without_a_take_over_another_keeper_is_refused() {
    let stage = Stage::new();
    let _server = stage.server();
    let _first = stage.keeper(0, false).unwrap();
    assert!(matches!(stage.keeper(1, false), Err(UnixError::Busy { .. })));
    assert!(matches!(release(stage.state.path()), Err(UnixError::Busy { .. })));
}
