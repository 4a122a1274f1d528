//! The steps of taking a socket over, in a real directory, and a start after a crash between any two of them.

use super::*;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;

/// A directory with a server's socket in it.
struct Stage {
    directory: tempfile::TempDir,
    own: Vec<InodeId>,
}

impl Stage {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap(), own: Vec::new() }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join(".s.PGSQL.5432")
    }

    /// As PostgreSQL starts: it removes what is there.
    fn server(&self) -> UnixListener {
        let _ = std::fs::remove_file(self.path());
        let listener = UnixListener::bind(self.path()).unwrap();
        std::fs::set_permissions(self.path(), std::fs::Permissions::from_mode(0o775)).unwrap();
        listener.set_nonblocking(true).unwrap();
        listener
    }

    fn place(&self) -> Place {
        Place::open(&self.path()).unwrap()
    }

    fn take(&mut self, place: &mut Place) -> Taken {
        let server = place.at_path().unwrap().unwrap();
        place.take(&server, None, &mut note(&mut self.own)).unwrap()
    }

    /// Names in the directory and aside.
    fn names(&self) -> Vec<String> {
        let mut names = Vec::new();
        for directory in [self.directory.path().to_owned(), self.directory.path().join(ASIDE)] {
            let Ok(entries) = std::fs::read_dir(directory) else { continue };
            names.extend(entries.flatten().map(|entry| entry.file_name().into_string().unwrap()));
        }
        names.sort();
        names
    }
}

fn note(own: &mut Vec<InodeId>) -> impl FnMut(InodeId, Option<Access>) -> Result<(), UnixError> {
    |id, _| {
        own.push(id);
        Ok(())
    }
}

/// The next socket is made and has the access of the server's.
fn ready(stage: &mut Stage, place: &mut Place) {
    place.prepare(None, None, &mut note(&mut stage.own)).unwrap();
    let access = place.at_path().unwrap().unwrap().access().unwrap();
    place.next.as_ref().unwrap().own.set_access(access).unwrap();
}

/// Whether a client of `path` reaches `listener`.
fn reaches(path: &Path, listener: &UnixListener) -> bool {
    let Ok(_client) = UnixStream::connect(path) else { return false };
    listener.accept().is_ok()
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().mode() & 0o7777
}

#[test]
fn clients_reach_governor_and_governor_the_server_and_all_is_undone() {
    let mut stage = Stage::new();
    let server = stage.server();
    let mut place = stage.place();
    let taken = stage.take(&mut place);
    assert!(reaches(&stage.path(), &taken.listener));
    assert!(reaches(&taken.server.path(), &server));
    assert_eq!(mode(&stage.path()), 0o775, "clients may do what they could");
    assert_eq!(mode(&taken.server.path()), 0o600, "and nobody the other");
    place.give_back(&stage.own, None).unwrap();
    assert!(reaches(&stage.path(), &server));
    assert_eq!(mode(&stage.path()), 0o775);
    assert_eq!(stage.names(), [".s.PGSQL.5432"], "nothing is left");
}

#[test]
fn a_path_is_never_empty_while_it_changes_hands() {
    let mut stage = Stage::new();
    let server = stage.server();
    let path = stage.path();
    let done = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let client = std::thread::spawn({
        let done = done.clone();
        move || {
            let mut connected = 0;
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                match run_as::connect(&path) {
                    Ok(_) => connected += 1,
                    // A full queue is somebody who listens.
                    Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock, "{error}"),
                }
            }
            connected
        }
    });
    for _ in 0..100 {
        let mut place = stage.place();
        let taken = stage.take(&mut place);
        while taken.listener.accept().is_ok() {}
        place.give_back(&stage.own, None).unwrap();
        while server.accept().is_ok() {}
    }
    done.store(true, std::sync::atomic::Ordering::Relaxed);
    assert!(client.join().unwrap() > 0);
}

/// What a crash leaves after each step, and what the next start makes of it.
#[test]
fn a_start_after_a_crash_at_any_step_finds_the_server() {
    type Crash = fn(&mut Stage, &mut Place);
    let steps: [(&str, Crash); 8] = [
        ("nothing was done", |_, _| {}),
        ("the next socket was made, and not written down", |_, place| {
            let _ = place.prepare(None, None, &mut |_, _| Ok(()));
        }),
        ("it was written down", |stage, place| {
            place.prepare(None, None, &mut note(&mut stage.own)).unwrap();
        }),
        ("the names were exchanged", |stage, place| {
            ready(stage, place);
            place.exchange().unwrap();
        }),
        ("the server's was closed to others", |stage, place| {
            ready(stage, place);
            place.exchange().unwrap();
            place.inode_aside(&place.next_name()).unwrap().unwrap().set_access(private_access()).unwrap();
        }),
        ("it has its name", |stage, place| drop(stage.take(place))),
        ("another next socket was made", |stage, place| {
            stage.take(place);
            place.prepare(None, None, &mut note(&mut stage.own)).unwrap();
        }),
        ("what was written down is lost", |stage, place| {
            stage.take(place);
            stage.own.clear();
        }),
    ];
    for (step, crash) in steps {
        let mut stage = Stage::new();
        let server = stage.server();
        let mut place = stage.place();
        crash(&mut stage, &mut place);
        // The agent is gone, and its listeners with it.
        drop(place);
        for round in ["the next start", "one more"] {
            let mut place = stage.place();
            let taken = match place.standing(&stage.own).unwrap() {
                Standing::Server => stage.take(&mut place),
                Standing::Aside { server, left } => {
                    place.adopt(server, left.as_ref(), None, None, &mut note(&mut stage.own)).unwrap()
                }
                Standing::Nobody => panic!("{step}, {round}: the server was lost"),
            };
            assert!(reaches(&stage.path(), &taken.listener), "{step}, {round}");
            assert!(reaches(&taken.server.path(), &server), "{step}, {round}");
            assert_eq!(mode(&stage.path()), 0o775, "{step}, {round}");
        }
        let place = stage.place();
        place.give_back(&stage.own, None).unwrap();
        assert!(reaches(&stage.path(), &server), "{step}: given back");
        assert_eq!(mode(&stage.path()), 0o775, "{step}: given back");
        assert_eq!(stage.names(), [".s.PGSQL.5432"], "{step}: something is left");
    }
}

#[test]
fn a_server_that_was_started_anew_while_governor_was_gone_is_taken_over() {
    let mut stage = Stage::new();
    let before = stage.server();
    let mut place = stage.place();
    stage.take(&mut place);
    drop((place, before));
    let server = stage.server();
    let mut place = stage.place();
    assert!(matches!(place.standing(&stage.own).unwrap(), Standing::Server));
    let taken = stage.take(&mut place);
    assert!(reaches(&stage.path(), &taken.listener));
    assert!(reaches(&taken.server.path(), &server));
}

#[test]
fn a_server_that_stopped_leaves_nobody_and_nothing() {
    let mut stage = Stage::new();
    let server = stage.server();
    let mut place = stage.place();
    let taken = stage.take(&mut place);
    // As PostgreSQL stops.
    drop(server);
    std::fs::remove_file(stage.path()).unwrap();
    assert!(!taken.server.answers());
    drop((place, taken));
    let place = stage.place();
    assert!(matches!(place.standing(&stage.own).unwrap(), Standing::Nobody));
    place.give_back(&stage.own, None).unwrap();
    assert!(stage.names().is_empty());
}

#[test]
fn a_server_that_was_killed_is_not_left_behind_a_socket_of_governor() {
    let mut stage = Stage::new();
    let server = stage.server();
    let mut place = stage.place();
    let taken = stage.take(&mut place);
    drop((server, taken));
    place.give_back(&stage.own, None).unwrap();
    assert_eq!(stage.names(), [".s.PGSQL.5432"], "its own socket, as it left it");
    assert!(UnixStream::connect(stage.path()).is_err());
}

#[test]
fn a_handle_or_link_from_before_leads_nowhere() {
    let mut stage = Stage::new();
    let _server = stage.server();
    let handle = Inode::at(&File::open(stage.directory.path()).unwrap(), OsStr::new(".s.PGSQL.5432"));
    let handle = handle.unwrap().unwrap();
    let link = stage.directory.path().join("link");
    std::fs::hard_link(stage.path(), &link).unwrap();
    let mut place = stage.place();
    stage.take(&mut place);
    for path in [handle.path(), link] {
        let client = std::thread::spawn(move || {
            rustix::thread::set_thread_res_uid(None, rustix::thread::Uid::from_raw(65_534), None).unwrap();
            run_as::connect(&path).map(drop).map_err(|error| error.kind())
        });
        if nix::unistd::geteuid().is_root() {
            assert_eq!(client.join().unwrap(), Err(std::io::ErrorKind::PermissionDenied));
        }
    }
}

#[test]
fn a_directory_that_is_not_private_is_refused_and_one_path_has_one_governor() {
    let stage = Stage::new();
    let _server = stage.server();
    let aside = stage.directory.path().join(ASIDE);
    std::fs::create_dir(&aside).unwrap();
    std::fs::set_permissions(&aside, std::fs::Permissions::from_mode(0o755)).unwrap();
    assert!(matches!(Place::open(&stage.path()), Err(UnixError::NotPrivate { .. })));
    std::fs::remove_dir(&aside).unwrap();
    std::os::unix::fs::symlink("/tmp", &aside).unwrap();
    assert!(matches!(Place::open(&stage.path()), Err(UnixError::NotPrivate { .. })));
    std::fs::remove_file(&aside).unwrap();
    let first = stage.place();
    assert!(matches!(Place::open(&stage.path()), Err(UnixError::Busy { .. })));
    drop(first);
    stage.place();
}

#[test]
fn a_path_of_any_length_that_a_server_can_have_is_taken_over() {
    let directory = tempfile::tempdir().unwrap();
    let left = 107 - directory.path().as_os_str().len() - "/".len() - "/.s.PGSQL.5432".len();
    let long = directory.path().join("d".repeat(left));
    std::fs::create_dir(&long).unwrap();
    let path = long.join(".s.PGSQL.5432");
    let server = UnixListener::bind(&path).unwrap();
    let mut place = Place::open(&path).unwrap();
    let inode = place.at_path().unwrap().unwrap();
    let taken = place.take(&inode, None, &mut |_, _| Ok(())).unwrap();
    assert!(reaches(&path, &taken.listener));
    assert!(reaches(&taken.server.path(), &server));
}
