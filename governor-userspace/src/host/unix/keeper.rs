//! Keeps sockets taken over for as long as governor runs, whatever their servers do.
//!
//! A server that stops removes the path; one that starts removes what is there and makes its own socket. The kernel tells
//! (inotify), and governor takes the path again: its next socket is ready, so that takes one step. Between the server's
//! `listen()` and that step a client may reach the server itself; such connections are found (`direct`).
//!
//! Everything is looked at again every second, so that no lost event matters for long.

use super::error::UnixError;
use super::inode::InodeId;
use super::journal::{Journal, JournalLock};
use super::place::{Place, Standing, Taken};
use super::run_as::{Ids, Starter};
use super::server::Server;
use crate::host::identity::Glob;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use parking_lot::Mutex;
use std::fmt;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Which sockets are taken over.
#[derive(Clone, Debug)]
pub struct Capture {
    /// One path; the file's name may be a pattern.
    pub path: PathBuf,
    /// What clients may do with governor's socket, where it is not what the server lets them.
    pub mode: Option<u32>,
    /// Where no governor is, clients reach the server itself. Else they are refused until one is there.
    pub pass_when_down: bool,
}

/// What happens to a socket, for log, metrics and audit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// governor is in front of the server; `adopted` from a governor before this one.
    Taken { path: PathBuf, adopted: bool },
    /// The server removed its socket: it stopped.
    Gone { path: PathBuf },
    /// Clients reach the server itself again.
    GivenBack { path: PathBuf },
    /// Left taken for the next governor: clients are refused until then.
    Left { path: PathBuf },
    /// Told once, until it changes.
    Failed { path: PathBuf, reason: String },
}

/// Servers whose sockets are taken over, as others see them.
pub type Servers = Arc<Mutex<Vec<Arc<Server>>>>;

type Open<D> = Box<dyn FnMut(UnixListener, Arc<Server>) -> io::Result<D> + Send>;
type Tell = Box<dyn FnMut(Event) + Send>;

/// The running keeper. `D` is an open door: dropping it closes it.
pub struct Keeper<D> {
    servers: Servers,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Watch<D>>>,
}

impl<D> fmt::Debug for Keeper<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keeper").field("servers", &self.servers).finish_non_exhaustive()
    }
}

impl<D: Send + 'static> Keeper<D> {
    /// Takes over what is there and keeps it so. `open` begins to accept on a listener. What cannot be taken now is an
    /// error, unless `patient`: then it is told, and tried again, and what another agent still keeps is taken as soon as that
    /// lets go, after this has returned. A socket that does not exist yet is waited for.
    pub fn start(
        captures: Vec<Capture>,
        state_dir: &Path,
        patient: bool,
        open: impl FnMut(UnixListener, Arc<Server>) -> io::Result<D> + Send + 'static,
        tell: impl FnMut(Event) + Send + 'static,
    ) -> Result<Self, UnixError> {
        let stop = Arc::new(AtomicBool::new(false));
        let servers = Servers::default();
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)
            .map_err(UnixError::io("inotify"))?;
        let mut watch = Watch {
            watched: captures.into_iter().map(|capture| Watched { capture, sockets: Vec::new() }).collect(),
            journal: Journal::open(state_dir)?,
            lock: None,
            state_dir: state_dir.to_owned(),
            awaited_until: patient.then(|| Instant::now() + BUSY_FOR),
            inotify,
            servers: servers.clone(),
            starter: Starter::new().map_err(UnixError::io("thread"))?,
            retired: Vec::new(),
            open: Box::new(open),
            tell: Box::new(tell),
        };
        // One that is being stopped may be a moment away from its end.
        let patience = Instant::now() + BUSY_FOR;
        while let Err(error) = watch.discover() {
            if patient {
                watch.say(&error);
                break;
            }
            if !matches!(error, UnixError::Busy { .. }) || Instant::now() >= patience {
                return Err(error);
            }
            std::thread::sleep(WAIT);
        }
        let stopped = stop.clone();
        let thread = std::thread::Builder::new()
            .name("governor-unix".into())
            .spawn(move || watch.run(&stopped))
            .map_err(UnixError::io("thread"))?;
        Ok(Self { servers, stop, thread: Some(thread) })
    }

    pub fn servers(&self) -> Servers {
        self.servers.clone()
    }

    /// Ends the keeping. Sockets are given back where clients are to pass, and all of them with `detach`; others are left
    /// as they are. Answers with the doors, which go on accepting what was on its way until they are dropped.
    pub fn end(mut self, detach: bool) -> Vec<D> {
        self.stopped().map_or_else(Vec::new, |watch| watch.end(detach))
    }

    /// Leaves every socket to a governor that takes over from this one. The doors go on accepting: until the other one
    /// is at a path, its clients come here.
    pub fn hand_over(mut self) -> Vec<D> {
        self.stopped().map_or_else(Vec::new, Watch::doors)
    }

    fn stopped(&mut self) -> Option<Watch<D>> {
        self.stop.store(true, Ordering::Relaxed);
        let watch = self.thread.take()?.join().ok();
        if watch.is_none() {
            tracing::error!("the thread that keeps unix sockets panicked");
        }
        watch
    }
}

impl<D> Drop for Keeper<D> {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// Gives back every socket that an agent of this state directory left taken over; for `governor detach`. Answers with
/// their paths.
pub fn release(state_dir: &Path) -> Result<Vec<PathBuf>, UnixError> {
    let mut journal = Journal::open(state_dir)?;
    let _lock = match journal.entries() {
        [] => return Ok(Vec::new()),
        _ => JournalLock::take(state_dir)?,
    };
    journal = Journal::open(state_dir)?;
    let mut released = Vec::new();
    for entry in journal.entries().to_vec() {
        // With its directory the socket is gone as well.
        if entry.path.parent().is_some_and(Path::is_dir) {
            Place::open(&entry.path)?.give_back(&entry.own, entry.access)?;
        }
        journal.remove(&entry.path)?;
        released.push(entry.path);
    }
    Ok(released)
}

/// Paths that an agent of this state directory has, or left, taken over.
pub fn taken(state_dir: &Path) -> Result<Vec<PathBuf>, UnixError> {
    let journal = Journal::open(state_dir)?;
    Ok(journal.entries().iter().map(|entry| entry.path.clone()).collect())
}

struct Watched<D> {
    capture: Capture,
    sockets: Vec<Socket<D>>,
}

struct Socket<D> {
    place: Place,
    server: Arc<Server>,
    /// governor's own inode at the path, while it is there.
    own: Option<InodeId>,
    /// Owner of the last server's socket.
    ids: Option<Ids>,
    door: Option<D>,
    /// The last failure, and whether it was told.
    failure: Option<(String, bool)>,
}

struct Watch<D> {
    watched: Vec<Watched<D>>,
    journal: Journal,
    /// While it is held, the journal is as on disk.
    lock: Option<JournalLock>,
    state_dir: PathBuf,
    /// The agent that this one takes over from lets go by then.
    awaited_until: Option<Instant>,
    inotify: Inotify,
    servers: Servers,
    starter: Starter,
    /// Doors of sockets that are no longer at their path: what was on its way to them is still accepted.
    retired: Vec<(Instant, D)>,
    open: Open<D>,
    tell: Tell,
}

impl<D> Watch<D> {
    fn run(mut self, stop: &AtomicBool) -> Self {
        hurry();
        let mut looked = Instant::now();
        let mut touched = Instant::now();
        while !stop.load(Ordering::Relaxed) {
            let changed = self.wait();
            // The sockets that are known come first: a server may be about to listen.
            if changed || looked.elapsed() >= self.interval() {
                self.settle_all();
                if let Err(error) = self.discover() {
                    self.say(&error);
                }
                self.tell_failures();
                looked = Instant::now();
            }
            if touched.elapsed() >= TOUCH_INTERVAL {
                self.touch();
                touched = Instant::now();
            }
            self.retired.retain(|(since, _)| since.elapsed() < RETIRED_FOR);
        }
        self
    }

    /// What keeps sockets from being taken over. An agent that lets go about now is no trouble.
    fn say(&self, error: &UnixError) {
        if !matches!(error, UnixError::Busy { .. }) || !self.awaits() {
            tracing::error!(%error, "a unix socket cannot be taken over; it is tried again");
        }
    }

    fn awaits(&self) -> bool {
        self.awaited_until.is_some_and(|until| Instant::now() < until)
    }

    /// What has no directory yet, and what another agent still has, cannot be watched.
    fn interval(&self) -> Duration {
        let is_missing = |watched: &Watched<D>| {
            watched.sockets.is_empty() && !watched.capture.path.parent().is_some_and(Path::is_dir)
        };
        if self.awaits() && self.lock.is_none() || self.watched.iter().any(is_missing) {
            WAIT
        } else {
            LOOK_INTERVAL
        }
    }

    /// Waits for a change in a watched directory, or a moment.
    fn wait(&self) -> bool {
        let mut asked = [PollFd::new(self.inotify.as_fd(), PollFlags::POLLIN)];
        let timeout = PollTimeout::try_from(WAIT).unwrap_or(PollTimeout::ZERO);
        let changed = poll(&mut asked, timeout).is_ok_and(|ready| ready > 0);
        if changed {
            // Which one does not matter: all are looked at. A full queue says so with an event of its own.
            while self.inotify.read_events().is_ok_and(|events| !events.is_empty()) {}
        }
        changed
    }

    /// Watches directories that came, and finds sockets that came into them.
    fn discover(&mut self) -> Result<(), UnixError> {
        if self.lock.is_none() {
            let lock = JournalLock::take(&self.state_dir)?;
            self.journal = Journal::open(&self.state_dir)?;
            self.lock = Some(lock);
        }
        let found = self.find();
        if matches!(found, Err(UnixError::Busy { .. })) {
            // Somebody who knows of no lock keeps it, and may write it down until it lets go.
            self.lock = None;
        }
        found
    }

    fn find(&mut self) -> Result<(), UnixError> {
        let Self { watched, inotify, servers, starter, journal, open, tell, retired, .. } = self;
        for watched in watched {
            // A directory that went, with all that was in it.
            watched.sockets.retain(|socket| socket.place.is_current());
            let path = &watched.capture.path;
            let Some(directory) = path.parent().filter(|parent| parent.is_dir()) else { continue };
            // The same directory again is the same watch.
            inotify.add_watch(directory, changes()).map_err(UnixError::io(directory))?;
            for path in paths(path) {
                if watched.sockets.iter().all(|socket| socket.place.path() != path) {
                    let server = Arc::new(Server::new(&path, starter.clone()));
                    let place = Place::open(&path)?;
                    let mut servers = servers.lock();
                    servers.retain(|known| known.endpoint() != server.endpoint());
                    servers.push(server.clone());
                    drop(servers);
                    let mut socket =
                        Socket { place, server, own: None, ids: None, door: None, failure: None };
                    socket.begin(&watched.capture, journal, open, tell)?;
                    let old = socket.settle(&watched.capture, journal, open, tell)?;
                    retired.extend(old.map(|door| (Instant::now(), door)));
                    watched.sockets.push(socket);
                }
            }
        }
        Ok(())
    }

    fn settle_all(&mut self) {
        let Self { watched, journal, open, tell, retired, .. } = self;
        for watched in watched {
            for socket in &mut watched.sockets {
                match socket.settle(&watched.capture, journal, open, tell) {
                    Ok(old) => {
                        socket.failure = None;
                        retired.extend(old.map(|door| (Instant::now(), door)));
                    }
                    Err(error) => socket.fail(&error),
                }
            }
        }
    }

    fn tell_failures(&mut self) {
        for socket in self.watched.iter_mut().flat_map(|watched| &mut watched.sockets) {
            if let Some((reason, told @ false)) = &mut socket.failure {
                *told = true;
                (self.tell)(Event::Failed { path: socket.place.path().into(), reason: reason.clone() });
            }
        }
    }

    /// Files in /tmp that nobody used for days may be removed; a server touches its socket's old name.
    fn touch(&self) {
        for socket in self.watched.iter().flat_map(|watched| &watched.sockets) {
            if let Some(inode) = socket.server.inode()
                && let Err(error) = inode.touch()
            {
                tracing::warn!(%error, path = %socket.place.path().display(), "a server's socket cannot be touched");
            }
        }
    }

    /// Lets go of every path as it is.
    fn doors(self) -> Vec<D> {
        let retired = self.retired.into_iter().map(|(_, door)| door);
        let sockets = self.watched.into_iter().flat_map(|watched| watched.sockets);
        retired.chain(sockets.filter_map(|socket| socket.door)).collect()
    }

    fn end(mut self, detach: bool) -> Vec<D> {
        let mut doors: Vec<D> = self.retired.into_iter().map(|(_, door)| door).collect();
        for watched in self.watched {
            for socket in watched.sockets {
                doors.extend(socket.door);
                let path = socket.place.path().to_owned();
                if !detach && !watched.capture.pass_when_down {
                    (self.tell)(Event::Left { path });
                    continue;
                }
                let access = self.journal.entry(&path).and_then(|entry| entry.access);
                let given = socket
                    .place
                    .give_back(self.journal.own(&path), access)
                    .and_then(|()| self.journal.remove(&path));
                (self.tell)(match given {
                    Ok(()) => Event::GivenBack { path },
                    Err(error) => Event::Failed { path, reason: error.to_string() },
                });
            }
        }
        doors
    }
}

impl<D> Socket<D> {
    /// What an earlier run left decides how it begins.
    fn begin(
        &mut self,
        capture: &Capture,
        journal: &mut Journal,
        open: &mut Open<D>,
        tell: &mut Tell,
    ) -> Result<(), UnixError> {
        let path = self.place.path().to_owned();
        match self.place.standing(journal.own(&path))? {
            // Taken by the look that follows.
            Standing::Server => Ok(()),
            Standing::Aside { server, left } => {
                let access = journal.entry(&path).and_then(|entry| entry.access);
                let note = &mut |id, access: Option<_>| journal.add(&path, id, capture.mode.and(access));
                let taken = self.place.adopt(server, left.as_ref(), access, capture.mode, note)?;
                self.taken(taken, capture, journal, open)?;
                tell(Event::Taken { path, adopted: true });
                Ok(())
            }
            Standing::Nobody => self.prepare(capture, journal),
        }
    }

    /// Makes the path governor's where it is not. Answers with the door of a socket that is no longer in use.
    fn settle(
        &mut self,
        capture: &Capture,
        journal: &mut Journal,
        open: &mut Open<D>,
        tell: &mut Tell,
    ) -> Result<Option<D>, UnixError> {
        let path = self.place.path();
        match (self.place.at_path()?, self.own) {
            (Some(inode), Some(own)) if inode.id() == own => {
                // A server that was taken over before it had set its socket's mode sets that of ours.
                if let Some(mode) = capture.mode {
                    let access = inode.access().map_err(UnixError::io(path))?;
                    if access.mode != mode {
                        journal.set_access(path, access)?;
                        inode
                            .set_access(super::inode::Access { mode, ..access })
                            .map_err(UnixError::io(path))?;
                    }
                }
                Ok(None)
            }
            (Some(server), _) => {
                let path = path.to_owned();
                let note = &mut |id, access: Option<_>| journal.add(&path, id, capture.mode.and(access));
                let taken = match self.place.take(&server, capture.mode, note) {
                    Ok(taken) => taken,
                    // It went as fast as it came.
                    Err(UnixError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                        return Ok(None);
                    }
                    Err(error) => return Err(error),
                };
                if capture.mode.is_some() {
                    journal.set_access(&path, taken.access)?;
                }
                let old = self.taken(taken, capture, journal, open)?;
                tell(Event::Taken { path, adopted: false });
                Ok(old)
            }
            (None, Some(_)) => {
                self.own = None;
                tell(Event::Gone { path: path.into() });
                Ok(None)
            }
            (None, None) => Ok(None),
        }
    }

    /// governor is at the path: accepts there, and gets the next socket ready.
    fn taken(
        &mut self,
        taken: Taken,
        capture: &Capture,
        journal: &mut Journal,
        open: &mut Open<D>,
    ) -> Result<Option<D>, UnixError> {
        let Taken { listener, id, server, access } = taken;
        self.server.is_at(server);
        self.own = Some(id);
        self.ids = Some(Ids { uid: access.uid, gid: access.gid });
        let door = open(listener, self.server.clone()).map_err(UnixError::io(self.place.path()))?;
        let old = self.door.replace(door);
        self.prepare(capture, journal)?;
        Ok(old)
    }

    fn prepare(&mut self, capture: &Capture, journal: &mut Journal) -> Result<(), UnixError> {
        let path = self.place.path().to_owned();
        let known = journal.entry(&path).and_then(|entry| entry.access);
        let note = &mut |id, access: Option<_>| journal.add(&path, id, capture.mode.and(access.or(known)));
        self.place.prepare(self.ids, None, note)
    }

    fn fail(&mut self, error: &UnixError) {
        let reason = error.to_string();
        if self.failure.as_ref().is_none_or(|(before, _)| *before != reason) {
            self.failure = Some((reason, false));
        }
    }
}

/// Lets the calling thread run before all ordinary ones: between a server's new socket and governor in front of it stands
/// only how soon it is woken. It sleeps nearly always. Without the right to it (CAP_SYS_NICE) the moment is longer.
fn hurry() {
    let priority = libc::sched_param { sched_priority: 1 };
    // SAFETY: `priority` is alive for the call; 0 is the calling thread.
    let result = unsafe {
        libc::sched_setscheduler(0, libc::SCHED_RR | libc::SCHED_RESET_ON_FORK, &raw const priority)
    };
    if result != 0 {
        let error = io::Error::last_os_error();
        tracing::debug!(%error, "the thread that keeps unix sockets has no priority");
    }
}

/// Sockets that a path means: itself, or those whose name its last part matches.
fn paths(path: &Path) -> Vec<PathBuf> {
    let Some((directory, name)) = path.parent().zip(path.file_name().and_then(|name| name.to_str())) else {
        return Vec::new();
    };
    if !name.contains('*') {
        return vec![path.into()];
    }
    let (Ok(pattern), Ok(entries)) = (Glob::new(name), std::fs::read_dir(directory)) else {
        return Vec::new();
    };
    let is_socket = |entry: &std::fs::DirEntry| {
        use std::os::unix::fs::FileTypeExt;
        entry.file_type().is_ok_and(|kind| kind.is_socket())
    };
    let mut found: Vec<PathBuf> = entries
        .flatten()
        .filter(|entry| entry.file_name().to_str().is_some_and(|name| pattern.matches(name)))
        .filter(is_socket)
        .map(|entry| entry.path())
        .collect();
    found.sort();
    found.truncate(SOCKETS_COUNT_MAX);
    found
}

fn changes() -> AddWatchFlags {
    AddWatchFlags::IN_CREATE
        | AddWatchFlags::IN_DELETE
        | AddWatchFlags::IN_MOVED_FROM
        | AddWatchFlags::IN_MOVED_TO
        | AddWatchFlags::IN_ATTRIB
        | AddWatchFlags::IN_ONLYDIR
}

const WAIT: Duration = Duration::from_millis(100);
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// PostgreSQL touches its own every 58 minutes.
const TOUCH_INTERVAL: Duration = Duration::from_secs(3600);
/// Connections that were made before a path changed hands are accepted for so long.
const RETIRED_FOR: Duration = Duration::from_secs(10);
const BUSY_FOR: Duration = Duration::from_secs(3);
/// Sockets that one pattern may name.
const SOCKETS_COUNT_MAX: usize = 64;

#[cfg(test)]
#[path = "keeper/tests.rs"]
mod tests;
