//! Holds of an agent that was taken over from: its sessions wait in their own process, people answer in the new one.
//!
//! Both agents see the same directory. The old one alone ends its requests, so that what a person is told is what the
//! session did: the new one leaves the answer beside the request (`ID.answer`) and reads from the request how it ended.

use super::entry::{self, Approval};
use super::error::AnswerError;
use super::id;
use super::store::{ApprovalStore, Queue, has_extension, list};
use crate::engine::approval::{Answer, State};
use crate::engine::model::Timestamp;
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

impl ApprovalStore {
    /// The old agent's side: answers come from the directory from now on. `false` takes that back.
    pub fn stand_beside(&self, on: bool) {
        self.stands_beside.store(on, Ordering::Release);
    }

    /// The new agent's side: the old one is gone. What still waited has lost its connection.
    pub fn predecessor_gone(&self, now: Timestamp) -> Vec<Approval> {
        self.has_predecessor.store(false, Ordering::Release);
        let mut queue = self.queue.lock();
        let mut lost = Vec::new();
        for path in list(&self.dir).unwrap_or_default() {
            if has_extension(&path, ANSWER) {
                let _ = fs::remove_file(&path);
            } else if has_extension(&path, "json") && !id_of(&path).is_some_and(|id| queue.knows(&id)) {
                match queue.load(&self.dir, &path, now) {
                    Ok(found) => lost.extend(found),
                    Err(error) => {
                        tracing::warn!(file = %path.display(), %error, "an approval request of the agent before could not be ended")
                    }
                }
            }
        }
        lost
    }

    /// Requests that wait in the old agent.
    pub(super) fn foreign(&self, queue: &Queue) -> Vec<Approval> {
        if !self.has_predecessor.load(Ordering::Acquire) {
            return Vec::new();
        }
        let paths = list(&self.dir).unwrap_or_default();
        let ids = paths.iter().filter(|path| has_extension(path, "json")).filter_map(|path| id_of(path));
        let unknown = ids.filter(|id| !queue.knows(id));
        unknown.filter_map(|id| entry::read(&self.dir, &id).ok()).filter(Approval::is_pending).collect()
    }

    /// Leaves the answer for the old agent and waits for what it made of it.
    pub(super) fn answer_beside(&self, id: &str, answer: &Answer) -> Result<Approval, AnswerError> {
        let unknown = || AnswerError::Unknown { id: id.chars().take(64).collect() };
        if !id::is_id(id) {
            return Err(unknown());
        }
        let known = entry::read(&self.dir, id).map_err(|_| unknown())?;
        if let State::Ended { answer, .. } = known.state {
            return Err(AnswerError::Ended { id: id.to_owned(), answer });
        }
        // Somebody else's answer may lie there already: then that is the first.
        let given = self.leave_answer(id, answer);
        let deadline = Instant::now() + ANSWER_MAX;
        while Instant::now() < deadline && self.has_predecessor.load(Ordering::Acquire) {
            if let Ok(approval) = entry::read(&self.dir, id)
                && let State::Ended { answer: ended, .. } = &approval.state
            {
                return match given.is_ok() && ended == answer {
                    true => Ok(approval),
                    false => Err(AnswerError::Ended { id: id.to_owned(), answer: ended.clone() }),
                };
            }
            std::thread::sleep(POLL);
        }
        let _ = fs::remove_file(self.answer_path(id));
        Err(unknown())
    }

    /// The old agent's side: answers that lie in the directory for its own requests.
    pub(super) fn answers_beside<'a>(&self, ids: impl Iterator<Item = &'a String>) -> Vec<(String, Answer)> {
        if !self.stands_beside.load(Ordering::Acquire) {
            return Vec::new();
        }
        ids.filter_map(|id| {
            let path = self.answer_path(id);
            let answer = serde_json::from_slice(&fs::read(&path).ok()?).ok()?;
            let _ = fs::remove_file(&path);
            Some((id.clone(), answer))
        })
        .collect()
    }

    fn leave_answer(&self, id: &str, answer: &Answer) -> io::Result<()> {
        let text = serde_json::to_vec(answer)?;
        let temporary = self.dir.join(format!("{id}.{ANSWER}-new"));
        let mut file =
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
        let linked = file.write_all(&text).and_then(|()| fs::hard_link(&temporary, self.answer_path(id)));
        fs::remove_file(&temporary)?;
        linked
    }

    fn answer_path(&self, id: &str) -> PathBuf {
        self.dir.join(format!("{id}.{ANSWER}"))
    }
}

fn id_of(path: &std::path::Path) -> Option<String> {
    path.file_stem().and_then(|name| name.to_str()).map(str::to_owned)
}

const ANSWER: &str = "answer";
/// The old agent looks twice a second.
const ANSWER_MAX: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(20);

#[cfg(test)]
mod tests {
    use super::super::{ApprovalLimits, StateFilter};
    use super::*;
    use crate::host::approvals::tests::request;
    use crate::host::clock;
    use crate::host::telemetry::Metrics;
    use std::sync::Arc;

    fn open(dir: &std::path::Path, beside: bool) -> ApprovalStore {
        let metrics = Arc::new(Metrics::new().unwrap());
        let limits = ApprovalLimits::default();
        ApprovalStore::open_beside(dir, limits, metrics, clock::now(), beside).unwrap().0
    }

    fn waiting() -> crate::engine::approval::ApprovalRequest {
        let now = clock::now();
        let expires = Timestamp { monotonic_ns: now.monotonic_ns + 60_000_000_000, ..now };
        crate::engine::approval::ApprovalRequest { created: now, expires, ..request() }
    }

    fn granted(by: &str) -> Answer {
        Answer::Granted { by: by.into(), uid: 0, note: String::new() }
    }

    #[test]
    fn a_hold_of_the_old_agent_is_answered_in_the_new_one() {
        let dir = tempfile::tempdir().unwrap();
        let old = Arc::new(open(dir.path(), false));
        let submitted = old.submit(waiting()).unwrap();
        old.stand_beside(true);
        let new = open(dir.path(), true);
        let shown = new.list(StateFilter::Pending, 10);
        assert_eq!(shown.iter().map(|approval| &approval.request.id).collect::<Vec<_>>(), [&submitted.id]);
        assert_eq!(new.resolve(&submitted.id).unwrap(), submitted.id);

        let looking = old.clone();
        let ticking = std::thread::spawn(move || {
            while looking.pending_count() > 0 {
                looking.tick(clock::now());
                std::thread::sleep(POLL);
            }
        });
        let told = new.answer(&submitted.id, granted("alice"), clock::now()).unwrap();
        assert!(matches!(told.state, State::Ended { answer: Answer::Granted { .. }, .. }), "{told:?}");
        ticking.join().unwrap();
        assert_eq!(submitted.answer.blocking_recv().unwrap(), granted("alice"));
        let late = new.answer(&submitted.id, granted("bob"), clock::now()).unwrap_err();
        assert!(matches!(late, AnswerError::Ended { .. }), "{late}");
    }

    #[test]
    fn what_still_waits_when_the_old_agent_is_gone_is_lost() {
        let dir = tempfile::tempdir().unwrap();
        let old = open(dir.path(), false);
        let submitted = old.submit(waiting()).unwrap();
        let new = open(dir.path(), true);
        let lost = new.predecessor_gone(clock::now());
        assert_eq!(lost.len(), 1);
        assert!(matches!(&lost[0].state, State::Ended { answer: Answer::Lost { .. }, .. }), "{lost:?}");
        assert_eq!(lost[0].request.id, submitted.id);
        assert!(new.list(StateFilter::Pending, 10).is_empty());
        assert_eq!(new.list(StateFilter::Ended, 10).len(), 1);
    }
}
