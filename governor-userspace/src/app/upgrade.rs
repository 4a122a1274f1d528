//! The upgrade: a new agent takes over from this one, which then finishes its sessions.
//!
//! `host/handover` has the conversation; here is what each step does to the parts of this agent. Up to the moment at which
//! the new agent's hooks are on, everything can be taken back.

use super::agent::KernelSlot;
use super::faces::{Faces, Places, Serving};
use super::handle::Handle;
use super::life::LifeKeeper;
use super::signals::Signals;
use crate::host::approvals::ApprovalStore;
use crate::host::clock;
use crate::host::discovery::DiscoveryKeeper;
use crate::host::handover::{Doorway, HandoverError, Heir, Process, SuccessorState};
use crate::host::kernel::Kernel;
use crate::host::ledger::Ledger;
use crate::host::proxy::CancelRegistry;
use anyhow::Context as _;
use parking_lot::Mutex;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, watch};

/// What changes hands.
pub(super) struct Estate<'a> {
    pub faces: &'a dyn Faces,
    pub places: Places<'a>,
    pub handle: Handle,
    pub ledger: Ledger,
    pub data: Arc<DiscoveryKeeper>,
    pub approvals: Arc<ApprovalStore>,
    pub kernel: KernelSlot,
    pub life: Arc<LifeKeeper>,
    pub cancels: CancelRegistry,
    pub launched: Launches,
}

/// How a hand-over went.
pub(super) enum Outcome {
    /// The new agent governs; what becomes of it is told.
    Given(watch::Receiver<SuccessorState>),
    /// It does not; this one goes on, and its faces serve.
    Kept(Serving),
}

impl Estate<'_> {
    /// Gives everything to `heir`, or keeps everything.
    /// A request to stop that comes meanwhile ends the wait for the new agent, and stays heard.
    pub async fn give(&self, heir: Heir, serving: Serving, signals: &mut Signals) -> anyhow::Result<Outcome> {
        let (pid, version, process) = (heir.pid, heir.version.clone(), heir.process.clone());
        let breaker = heir.breaker();
        let (state, states) = watch::channel(SuccessorState::Governs);
        let started = Instant::now();
        tracing::info!(pid, version, "another agent takes over");
        serving.leave().await;
        let (ledger, data, approvals) = (self.ledger.clone(), self.data.clone(), self.approvals.clone());
        let (kernel, life, cancels) = (self.kernel.clone(), self.life.clone(), self.cancels.clone());
        let launched = self.launched.clone();
        let mut giving = tokio::task::spawn_blocking(move || -> Result<(), GiveError> {
            let mut heir = heir;
            data.tick();
            let prepared =
                data.hand_over().map_err(|error| GiveError::Own(error.to_string())).and_then(|()| {
                    ledger.hand_over(clock::now()).map_err(|error| GiveError::Own(error.to_string()))
                });
            if let Err(error) = prepared {
                heir.refuse(&error.to_string());
                return Err(error);
            }
            approvals.stand_beside(true);
            heir.prepared()?;
            // Its hooks are on beside ours. Once ours are off, new connections are its own.
            if let Some(kernel) = kernel.lock().as_mut() {
                kernel.yield_connections();
            }
            life.pass_on();
            super::signals::tell_successor(pid);
            // Before it hears that it governs: from then on it must not be ended for being late.
            launched.settle();
            // From here on there is no way back: if it is gone now, connections are refused as by any dead agent.
            match heir.yours(cancels, state.clone()) {
                Ok(records) => ledger.follow(Arc::new(records)),
                Err(error) => {
                    tracing::error!(%error, pid, "the new agent is gone right after it took over");
                    state.send_replace(SuccessorState::Gone);
                }
            }
            Ok(())
        });
        let mut patience = GONE_WITHIN;
        let given = loop {
            tokio::select! {
                given = &mut giving => break given.context("the hand-over ended in a panic")?,
                () = signals.hear() => {
                    tracing::warn!(pid, "told to stop in the middle of an upgrade: not waiting for the new agent");
                    breaker.break_off();
                    patience = GONE_WITHIN_HURRY;
                }
            }
        };
        // It holds the line open; where nothing was given, the new agent has to see it close.
        drop(breaker);
        let ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        match given {
            Ok(()) => {
                tracing::info!(pid, version, ms, "the new agent governs; sessions of this one go on");
                Ok(Outcome::Given(states))
            }
            Err(error) => {
                tracing::error!(pid, %error, "another agent did not take over; this one goes on");
                Ok(Outcome::Kept(self.take_back(process, patience).await?))
            }
        }
    }

    /// The other agent gave up. What it has taken is free when it has ended, which it does by itself, or is made to: one that
    /// hangs would keep the audit chain for ever, and hooks that send connections to it.
    async fn take_back(&self, other: Arc<Process>, patience: Duration) -> anyhow::Result<Serving> {
        self.data.take_back();
        self.approvals.stand_beside(false);
        let ended = tokio::task::spawn_blocking(move || end(&other, patience)).await?;
        // Tells once of what is not as it should be by now.
        let mut told = !ended;
        while self.ledger.is_handed_over() {
            let ledger = self.ledger.clone();
            match tokio::task::spawn_blocking(move || ledger.take_back(clock::now())).await? {
                Ok(()) => break,
                Err(error) => {
                    // Ending would end every session. Until the other agent lets go, statements wait or fail.
                    if !std::mem::replace(&mut told, true) {
                        tracing::error!(%error, "the audit chain cannot be taken back yet");
                    }
                    tokio::time::sleep(TAKE_BACK_RETRY).await;
                }
            }
        }
        loop {
            match self.faces.open(&self.places) {
                Ok(opened) => {
                    // The other agent is gone; its hooks may be left.
                    let removed = self.kernel.lock().as_mut().map(Kernel::remove_strangers);
                    if let Some(Err(error)) = removed {
                        tracing::error!(%error, "kernel programs of the other agent are left");
                    }
                    return Ok(opened.serve(&self.handle));
                }
                Err(error) => {
                    if !std::mem::replace(&mut told, true) {
                        tracing::error!(%error, "the control socket cannot be taken back yet");
                    }
                    tokio::time::sleep(TAKE_BACK_RETRY).await;
                }
            }
        }
    }
}

/// Waits for the end of an agent that did not take over, and sees to it. Answers whether it has ended.
fn end(other: &Process, patience: Duration) -> bool {
    if other.ends_within(patience) {
        return true;
    }
    tracing::error!("the new agent neither takes over nor ends: it hangs, and is killed");
    if let Err(error) = other.kill() {
        tracing::error!(%error, "the new agent cannot be killed; until somebody does, nothing can be recorded");
        return false;
    }
    other.ends_within(patience)
}

#[derive(Debug, thiserror::Error)]
enum GiveError {
    #[error("{0}")]
    Own(String),
    #[error(transparent)]
    Handover(#[from] HandoverError),
}

/// Waits for new agents at the door, in a thread of its own.
pub(super) struct Porter {
    doorway: Arc<Doorway>,
    heirs: mpsc::Receiver<Heir>,
}

impl Porter {
    pub fn start(state_dir: &Path, generation: PathBuf) -> anyhow::Result<Self> {
        let doorway = Arc::new(Doorway::open(state_dir)?);
        // One at a time: the next one waits until this one was served.
        let (sender, heirs) = mpsc::channel(1);
        let door = doorway.clone();
        std::thread::Builder::new().name("governor-door".into()).spawn(move || {
            loop {
                match door.admit(&generation) {
                    Ok(heir) => {
                        if sender.blocking_send(heir).is_err() {
                            return;
                        }
                    }
                    Err(HandoverError::Closed) => return,
                    Err(error) => {
                        tracing::warn!(%error, "an agent that wanted to take over did not get to it")
                    }
                }
            }
        })?;
        Ok(Self { doorway, heirs })
    }

    /// The next agent that is ready to take over.
    pub async fn heir(&mut self) -> Heir {
        match self.heirs.recv().await {
            Some(heir) => heir,
            // Nobody can knock any more.
            None => std::future::pending().await,
        }
    }
}

impl Drop for Porter {
    fn drop(&mut self) {
        self.doorway.close();
    }
}

/// Starts the new agent: the program as it is installed now, with this one's arguments.
///
/// A thread of its own does it, which is there before this process gives its capabilities away: what is executed
/// has no more than the thread that executes it.
#[derive(Debug)]
pub(super) struct Launcher {
    orders: std::sync::mpsc::Sender<std::sync::mpsc::Sender<Result<u32, String>>>,
    state: Launches,
}

/// What became of the new agents that this one started.
#[derive(Clone, Debug, Default)]
pub(super) struct Launches(Arc<Mutex<LaunchState>>);

#[derive(Debug, Default)]
struct LaunchState {
    running: bool,
    /// It took over: whatever it does from now on is its own affair.
    settled: bool,
    /// Why the last one did not take over.
    failure: Option<String>,
}

impl Launches {
    /// The new agent has taken over.
    pub fn settle(&self) {
        self.0.lock().settled = true;
    }
}

impl Launcher {
    /// As this process was started; called at its start, while the path is still that of its own program.
    pub fn of_this_process() -> anyhow::Result<Self> {
        let program = std::env::current_exe().context("cannot tell where this program is")?;
        Self::start(program, again(std::env::args_os().skip(1)), LAUNCH_MAX)
    }

    /// A new agent that has not taken over after `limit` is ended.
    fn start(program: PathBuf, arguments: Vec<OsString>, limit: Duration) -> anyhow::Result<Self> {
        let state = Launches::default();
        let (orders, inbox) = std::sync::mpsc::channel::<std::sync::mpsc::Sender<Result<u32, String>>>();
        let noted = state.clone();
        std::thread::Builder::new().name("governor-launch".into()).spawn(move || {
            for answer in inbox {
                let mut command = Command::new(&program);
                command.args(&arguments).stdin(Stdio::null());
                match command.spawn() {
                    Err(error) => {
                        noted.0.lock().running = false;
                        let _ = answer.send(Err(format!("cannot start {}: {error}", program.display())));
                    }
                    Ok(child) => {
                        let pid = child.id();
                        tracing::info!(pid, program = %program.display(), "started the new agent");
                        let _ = answer.send(Ok(pid));
                        // Waited for even while nobody asks. After a take-over this process ends first.
                        let how = how_it_ended(child, limit, &noted);
                        let failure = format!("the new agent (pid {pid}) {how}; the log says why");
                        *noted.0.lock() =
                            LaunchState { running: false, settled: false, failure: Some(failure) };
                    }
                }
            }
        })?;
        Ok(Self { orders, state })
    }

    pub fn launches(&self) -> Launches {
        self.state.clone()
    }

    /// Answers the new agent's process id. It takes over, or ends and says why in the log.
    pub fn launch(&self) -> Result<u32, String> {
        {
            let mut state = self.state.0.lock();
            if state.running {
                return Err("an upgrade is under way already".into());
            }
            *state = LaunchState { running: true, settled: false, failure: None };
        }
        let (answer, answered) = std::sync::mpsc::channel();
        let gone = |_| "this agent is stopping".to_owned();
        self.orders.send(answer).map_err(|_| gone(()))?;
        answered.recv().map_err(|_| gone(()))?
    }

    /// Why the last upgrade came to nothing.
    pub fn failure(&self) -> Option<String> {
        self.state.0.lock().failure.clone()
    }
}

/// Waits for the end of a new agent. One that hangs before it knocks would keep every later upgrade from starting.
fn how_it_ended(mut child: Child, limit: Duration, state: &Launches) -> String {
    let deadline = Instant::now() + limit;
    let said = |ended: std::io::Result<std::process::ExitStatus>| match ended {
        Ok(status) => format!("ended: {status}"),
        Err(error) => format!("ended: {error}"),
    };
    loop {
        match child.try_wait() {
            Ok(None) => {}
            Ok(Some(status)) => return said(Ok(status)),
            Err(error) => return said(Err(error)),
        }
        if state.0.lock().settled {
            return said(child.wait());
        }
        if Instant::now() >= deadline {
            // Our own child, and not waited for yet: the number is its own.
            let _ = child.kill();
            let _ = child.wait();
            return format!("did not take over within {} s and was killed", limit.as_secs_f32());
        }
        std::thread::sleep(LAUNCH_POLL);
    }
}

/// The arguments without what was for one start alone, and with the order to take over.
fn again(arguments: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let mut kept = Vec::new();
    let mut skips_value = false;
    for argument in arguments {
        if std::mem::take(&mut skips_value) {
            continue;
        }
        match argument.to_str() {
            Some("--ready-fd") => skips_value = true,
            Some(text) if text == TAKE_OVER || text.starts_with("--ready-fd=") => {}
            _ => kept.push(argument),
        }
    }
    kept.push(TAKE_OVER.into());
    kept
}

const TAKE_OVER: &str = "--take-over";
/// A new agent that gives up ends within so long.
const GONE_WITHIN: Duration = Duration::from_secs(5);
/// The same while this one is told to stop.
const GONE_WITHIN_HURRY: Duration = Duration::from_secs(1);
/// Longer than all that an agent may take at the door and until its hooks are on.
const LAUNCH_MAX: Duration = Duration::from_secs(150);
const LAUNCH_POLL: Duration = Duration::from_millis(100);
const TAKE_BACK_RETRY: Duration = Duration::from_millis(50);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_agent_gets_the_arguments_of_the_old_one() {
        let of =
            |text: &str| again(text.split(' ').map(OsString::from)).join(" ".as_ref()).into_string().unwrap();
        let expected = "run --config a.toml --state-dir /s --take-over";
        for given in [
            "run --config a.toml --state-dir /s",
            "run --config a.toml --ready-fd 7 --state-dir /s",
            "run --ready-fd=7 --config a.toml --state-dir /s --take-over",
        ] {
            assert_eq!(of(given), expected, "{given}");
        }
    }

    #[test]
    fn a_new_agent_that_hangs_before_it_knocks_is_ended_and_the_next_may_try() {
        let limit = Duration::from_millis(200);
        let launcher = Launcher::start("/bin/sleep".into(), vec!["600".into()], limit).unwrap();
        let pid = launcher.launch().unwrap();
        assert!(launcher.launch().is_err(), "one at a time");
        let killed = |pid: u32| {
            let failure = failure_of(&launcher);
            assert!(failure.contains(&format!("pid {pid}")) && failure.contains("was killed"), "{failure}");
        };
        killed(pid);
        // The next one as well, so that nothing outlives the test.
        killed(launcher.launch().unwrap());
    }

    #[test]
    fn a_new_agent_that_took_over_is_left_alone() {
        let limit = Duration::from_secs(2);
        let launcher = Launcher::start("/bin/sleep".into(), vec!["4".into()], limit).unwrap();
        launcher.launch().unwrap();
        launcher.launches().settle();
        let failure = failure_of(&launcher);
        assert!(failure.contains("exit status: 0"), "{failure}");
    }

    fn failure_of(launcher: &Launcher) -> String {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            if let Some(failure) = launcher.failure() {
                return failure;
            }
            assert!(Instant::now() < deadline);
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}
