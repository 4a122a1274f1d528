//! The ledger on real files: crashes, full disks, many threads, and a verifier written by someone else.

use super::*;
use crate::engine::audit::*;
use crate::engine::model::{DecisionId, SessionId, Timestamp};
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

pub(super) struct Place(tempfile::TempDir);

impl Place {
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// Without a spool: what is appended is in its segment.
    pub fn options(&self) -> LedgerOptions {
        LedgerOptions { spool_bytes: 0, ..LedgerOptions::new(self.audit(), self.keys()) }
    }

    pub fn audit(&self) -> PathBuf {
        self.0.path().join("audit")
    }

    pub fn keys(&self) -> PathBuf {
        self.0.path().join("keys")
    }

    pub fn open(&self) -> Ledger {
        Ledger::open(self.options(), at(0)).unwrap()
    }

    pub fn verify(&self) -> Verification {
        let key = read_public_key(&self.keys().join(PUBLIC_KEY_FILE)).unwrap();
        verify_directory(&self.audit(), key, None, |_, _| ()).unwrap()
    }

    /// Everything in the chain, in order.
    pub fn stored(&self) -> Vec<StoredRecord> {
        let files = AuditFiles::open(&self.audit()).unwrap();
        let mut all = vec![];
        for &number in files.segments() {
            let each = |json: &[u8]| {
                all.push(decode(json).unwrap());
                Ok(true)
            };
            files.each_line(number, each).unwrap();
        }
        all
    }

    pub fn decisions(&self) -> Vec<String> {
        self.stored().into_iter().filter_map(|record| decision_of(&record)).collect()
    }

    pub fn segment(&self, number: u64) -> PathBuf {
        segment::path_of(&self.audit(), number)
    }
}

pub(super) fn decision_of(record: &StoredRecord) -> Option<String> {
    match &record.body {
        StoredBody::Agent(AuditEvent::Completion(c)) => Some(c.decision.to_string()),
        _ => None,
    }
}

pub(super) fn at(ms: u64) -> Timestamp {
    Timestamp { unix_ns: 1_800_000_000_000_000_000 + ms * 1_000_000, monotonic_ns: ms * 1_000_000 }
}

pub(super) fn record(decision: impl Into<String>) -> AuditRecord {
    AuditRecord {
        at: at(1),
        session: Some(SessionId("S".into())),
        event: AuditEvent::Completion(Completion {
            decision: DecisionId(decision.into().into()),
            outcome: Outcome::Complete,
            tag: Some("SELECT 1".into()),
            rows: 1,
            bytes: 10,
            masked: 0,
            masked_by: vec![],
            masked_in_doubt: vec![],
            duration_ns: 1,
            governor_ns: 1,
            sqlstate: None,
            limit: None,
            told_millibits: 0,
        }),
    }
}

pub(super) fn copy_dir(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

#[test]
fn a_closed_ledger_is_signed_to_the_end_and_goes_on_when_reopened() {
    let place = Place::new();
    for round in 0..3u64 {
        let ledger = place.open();
        ledger.append(&[record(format!("{round}a")), record(format!("{round}b"))]).unwrap();
        ledger.append_lazy(&record(format!("{round}c"))).unwrap();
        assert_eq!(ledger.stats().lazies_pending, 1);
        ledger.close(at(round)).unwrap();
        assert_eq!((ledger.stats().records, ledger.stats().lazies_pending), (3, 0));
        assert!(matches!(ledger.append(&[record("late")]), Err(LedgerError::Closed)));
        assert!(matches!(ledger.append_lazy(&record("late")), Err(LedgerError::Closed)));
        assert_eq!(ledger.health(), Health::Closed);
    }
    let verification = place.verify();
    assert_eq!(verification.finding, None);
    assert_eq!((verification.summary.unsigned_records, verification.summary.records), (0, 9));
    assert_eq!(place.decisions(), ["0a", "0b", "0c", "1a", "1b", "1c", "2a", "2b", "2c"]);
}

#[test]
fn queued_records_keep_their_place_before_later_ones() {
    let place = Place::new();
    let ledger = Ledger::open(LedgerOptions { lazies_count_max: 2, ..place.options() }, at(0)).unwrap();
    for n in 0..5 {
        ledger.append_lazy(&record(n.to_string())).unwrap();
    }
    ledger.append(&[record("5")]).unwrap();
    assert_eq!(place.decisions(), ["0", "1", "2", "3", "4", "5"]);
    ledger.append_lazy(&record("6")).unwrap();
    ledger.tick(at(1)).unwrap();
    assert_eq!(place.decisions().len(), 7);
    ledger.append_lazy(&record("7")).unwrap();
    drop(ledger);
    assert_eq!(place.decisions().len(), 8);
}

#[test]
fn ticks_sign_what_is_new_when_it_is_time_and_nothing_when_idle() {
    let place = Place::new();
    let ledger = place.open();
    let first = ledger.stats();
    ledger.append(&[record("1")]).unwrap();
    ledger.tick(at(999)).unwrap();
    assert_eq!(ledger.stats().checkpoint_seq, first.checkpoint_seq, "not yet");
    ledger.tick(at(1000)).unwrap();
    let second = ledger.stats();
    assert!(second.checkpoint_seq > first.checkpoint_seq);
    assert_eq!(second.head_seq, second.checkpoint_seq);
    (2..10).for_each(|s| ledger.tick(at(s * 1000)).unwrap());
    assert_eq!(ledger.stats().last_seq, second.last_seq, "an idle ledger does not grow");
}

#[test]
fn segments_rotate_by_size_and_stay_one_chain() {
    let place = Place::new();
    let options = LedgerOptions { segment_bytes_max: 2000, checkpoint_every_records: 7, ..place.options() };
    let ledger = Ledger::open(options.clone(), at(0)).unwrap();
    (0..100).for_each(|n| ledger.append(&[record(n.to_string())]).unwrap());
    assert!(ledger.stats().segment > 5);
    drop(ledger);
    assert_eq!(place.verify().finding, None);
    let ledger = Ledger::open(options, at(0)).unwrap();
    ledger.append(&[record("100")]).unwrap();
    ledger.close(at(0)).unwrap();
    drop(ledger);
    assert_eq!(place.verify().finding, None);
    assert_eq!(place.decisions(), (0..=100).map(|n| n.to_string()).collect::<Vec<_>>());

    // A removed segment, anywhere, is found; and an agent does not start on such a chain.
    fs::remove_file(place.segment(3)).unwrap();
    assert_eq!(place.verify().finding.unwrap().problem, Problem::SegmentMissing { expected: 3 });
    let last = *AuditFiles::open(&place.audit()).unwrap().segments().last().unwrap();
    fs::remove_file(place.segment(last)).unwrap();
    assert!(matches!(Ledger::open(place.options(), at(0)), Err(LedgerError::Broken { .. })));
}

#[test]
fn the_tick_rotates_before_an_append_has_to() {
    let place = Place::new();
    let ledger = Ledger::open(LedgerOptions { segment_bytes_max: 2000, ..place.options() }, at(0)).unwrap();
    let mut n = 0;
    while fs::metadata(place.segment(1)).unwrap().len() < 2000 {
        ledger.append(&[record(n.to_string())]).unwrap();
        n += 1;
    }
    assert_eq!(ledger.stats().segment, 1);
    ledger.tick(at(1)).unwrap();
    assert_eq!(ledger.stats().segment, 2);
    ledger.close(at(2)).unwrap();
    assert_eq!(place.verify().finding, None);
    assert_eq!(place.decisions().len(), n);
}

#[test]
fn eight_threads_make_one_gapless_chain() {
    let place = Place::new();
    let options =
        LedgerOptions { segment_bytes_max: 100_000, checkpoint_every_records: 50, ..place.options() };
    let ledger = Ledger::open(options, at(0)).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let ledger = ledger.clone();
            scope.spawn(move || {
                for n in 0..200 {
                    match n % 4 {
                        0 => ledger.append_lazy(&record(format!("{thread}.{n}"))).unwrap(),
                        1 if n % 20 == 1 => ledger.append_sync(&[record(format!("{thread}.{n}"))]).unwrap(),
                        2 if n % 50 == 2 => {
                            ledger.append(&[record(format!("{thread}.{n}"))]).unwrap();
                            ledger.tick(at(n * 100)).unwrap();
                        }
                        _ => ledger.append(&[record(format!("{thread}.{n}"))]).unwrap(),
                    }
                }
            });
        }
    });
    ledger.close(at(0)).unwrap();
    let verification = place.verify();
    assert_eq!(verification.finding, None);
    assert_eq!(verification.summary.records, 1600);
    let mut seen: Vec<Vec<u64>> = vec![vec![]; 8];
    for decision in place.decisions() {
        let (thread, n) = decision.split_once('.').unwrap();
        seen[thread.parse::<usize>().unwrap()].push(n.parse().unwrap());
    }
    // A thread's own records come in the order in which it wrote them.
    seen.iter().for_each(|of_one| assert_eq!(*of_one, (0..200).collect::<Vec<_>>()));
}

#[test]
fn a_line_cut_at_any_byte_is_repaired_kept_and_told() {
    let place = Place::new();
    let ledger = place.open();
    (0..3).for_each(|n| ledger.append(&[record(n.to_string())]).unwrap());
    let frozen = Place::new();
    copy_dir(&place.audit(), &frozen.0.path().join("frozen"));
    drop(ledger);
    let whole = fs::read(frozen.0.path().join("frozen").join("segment-0000000001.jsonl")).unwrap();
    let last_line = whole[..whole.len() - 1].iter().rposition(|&b| b == b'\n').unwrap() + 1;
    for end in last_line..whole.len() {
        let crashed = Place::new();
        copy_dir(&frozen.0.path().join("frozen"), &crashed.audit());
        copy_dir(&place.keys(), &crashed.keys());
        fs::write(crashed.segment(1), &whole[..end]).unwrap();
        let ledger = crashed.open();
        ledger.append(&[record("after")]).unwrap();
        ledger.close(at(0)).unwrap();
        let verification = crashed.verify();
        assert_eq!(verification.finding, None, "cut at {end}");
        assert_eq!(crashed.decisions(), ["0", "1", "after"], "cut at {end}");
        let torn = end > last_line;
        assert_eq!(verification.summary.notes.len(), usize::from(torn), "cut at {end}");
        if torn {
            let kept = crashed.audit().join(format!("segment-0000000001.cut-{last_line}"));
            assert_eq!(fs::read(kept).unwrap(), whole[last_line..end]);
        }
    }
}

#[test]
fn garbage_after_a_power_cut_is_cut_off_but_older_damage_is_refused() {
    let place = Place::new();
    let ledger = place.open();
    ledger.append(&[record("0")]).unwrap();
    ledger.close(at(0)).unwrap();
    drop(ledger);
    let good = fs::read(place.segment(1)).unwrap();
    fs::write(place.segment(1), [&good[..], &[0; 5000]].concat()).unwrap();
    assert!(place.verify().finding.is_some());
    place.open().close(at(1)).unwrap();
    assert_eq!(place.verify().finding, None);

    let repaired = fs::read(place.segment(1)).unwrap();
    let damages: [(&str, Vec<u8>); 3] = [
        ("a byte", [&repaired[..100], b"#", &repaired[101..]].concat()),
        ("the end", repaired[..good.len()].to_vec()),
        ("everything", vec![]),
    ];
    for (what, content) in damages {
        fs::write(place.segment(1), content).unwrap();
        let error = Ledger::open(place.options(), at(2)).unwrap_err();
        assert!(matches!(error, LedgerError::Broken { .. }), "{what}: {error}");
    }
    fs::write(place.segment(1), &repaired).unwrap();
    fs::remove_file(place.audit().join(segment::HEAD_FILE)).unwrap();
    assert_eq!(place.verify().finding.unwrap().problem, Problem::HeadMissing);
    let error = Ledger::open(place.options(), at(3)).unwrap_err().to_string();
    assert!(error.contains("head file is missing"), "{error}");
}

#[test]
fn dying_before_the_first_head_is_no_reason_to_refuse() {
    let place = Place::new();
    for round in 0..12 {
        drop(place.open());
        fs::remove_file(place.audit().join(segment::HEAD_FILE)).unwrap();
        if round % 3 == 0 {
            let content = fs::read(place.segment(1)).unwrap();
            fs::write(place.segment(1), &content[..content.len() - 9]).unwrap();
        }
    }
    place.open().close(at(1)).unwrap();
    assert_eq!(place.verify().finding, None);
}

#[test]
fn a_segment_that_was_only_just_made_is_started_again() {
    for half_header in [0, 1, 70, 150] {
        let place = Place::new();
        let options = LedgerOptions { segment_bytes_max: 3000, ..place.options() };
        let ledger = Ledger::open(options.clone(), at(0)).unwrap();
        let mut n = 0;
        while ledger.stats().segment < 2 {
            ledger.append(&[record(n.to_string())]).unwrap();
            n += 1;
        }
        drop(ledger);
        let header = fs::read(place.segment(2)).unwrap();
        fs::write(place.segment(2), &header[..half_header]).unwrap();
        Ledger::open(options, at(0)).unwrap().close(at(0)).unwrap();
        assert_eq!(place.verify().finding, None, "{half_header} bytes of the header");
        assert_eq!(place.decisions().len(), n);
    }
}

#[test]
fn places_that_cannot_hold_a_chain_are_refused_with_the_way_out() {
    let place = Place::new();
    fs::write(place.0.path().join("file"), "x").unwrap();
    let refused = |options: LedgerOptions| Ledger::open(options, at(0)).unwrap_err().to_string();
    let message = refused(LedgerOptions { dir: place.0.path().join("file/audit"), ..place.options() });
    assert!(message.contains("Not a directory") && message.contains("--state-dir"), "{message}");

    let ledger = place.open();
    let message = refused(place.options());
    assert!(message.contains(&format!("(pid {})", std::process::id())), "{message}");
    drop(ledger);

    let key = place.keys().join("audit-signing.key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    let message = refused(place.options());
    assert!(message.contains("mode 644") && message.contains("chmod 600"), "{message}");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();

    // Another pair of keys does not continue this chain.
    let other = Place::new();
    drop(other.open());
    copy_dir(&other.keys(), &place.keys());
    assert!(refused(place.options()).contains("made with key"));
    fs::write(place.keys().join(PUBLIC_KEY_FILE), "x").unwrap();
    assert!(refused(place.options()).contains("not 64 hexadecimal digits"));
}

#[test]
fn keys_are_for_their_owner_only_and_stay() {
    let place = Place::new();
    drop(place.open());
    let key = place.keys().join("audit-signing.key");
    let before = fs::read(&key).unwrap();
    assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::metadata(place.segment(1)).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::metadata(place.audit()).unwrap().permissions().mode() & 0o777, 0o700);
    drop(place.open());
    assert_eq!(fs::read(&key).unwrap(), before);
}

/// Runs one of the `child_*` tests below in a process of its own.
fn child(name: &str, place: &Place, spool_bytes: usize) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args([&format!("host::ledger::tests::{name}"), "--exact", "--ignored", "--nocapture"])
        .env("GOVERNOR_TEST_LEDGER", place.0.path())
        .env("GOVERNOR_TEST_SPOOL", spool_bytes.to_string())
        .stdout(Stdio::piped());
    command
}

fn child_options() -> LedgerOptions {
    let dir = PathBuf::from(std::env::var_os("GOVERNOR_TEST_LEDGER").expect("run by another test"));
    let spool_bytes = std::env::var("GOVERNOR_TEST_SPOOL").unwrap().parse().unwrap();
    LedgerOptions { spool_bytes, ..LedgerOptions::new(dir.join("audit"), dir.join("keys")) }
}

#[test]
fn killing_the_writer_loses_nothing_that_was_acknowledged() {
    for round in 0..5 {
        let place = Place::new();
        let spool_bytes = if round % 2 == 0 { 4000 } else { 0 };
        let mut writer = child("child_writes_until_killed", &place, spool_bytes).spawn().unwrap();
        let mut acknowledged = vec![];
        for line in BufReader::new(writer.stdout.take().unwrap()).lines() {
            // What was in the pipe when it died was acknowledged too.
            if let Some(decision) = line.unwrap().strip_prefix("written ") {
                acknowledged.push(decision.to_owned());
                if acknowledged.len() == 300 + round * 97 {
                    writer.kill().unwrap();
                }
            }
        }
        writer.wait().unwrap();
        assert!(acknowledged.len() >= 300);
        place.open().close(at(9)).unwrap();
        assert_eq!(place.verify().finding, None);
        let stored = place.decisions();
        assert!(stored.len() >= acknowledged.len(), "{} < {}", stored.len(), acknowledged.len());
        assert_eq!(stored[..acknowledged.len()], acknowledged);
    }
}

#[test]
#[ignore = "run as a process of its own by killing_the_writer_loses_nothing_that_was_acknowledged"]
fn child_writes_until_killed() {
    let options =
        LedgerOptions { segment_bytes_max: 20_000, checkpoint_every_records: 20, ..child_options() };
    let ledger = Ledger::open(options, at(0)).unwrap();
    let mut out = std::io::stdout().lock();
    for n in 0u64.. {
        ledger.append(&[record(n.to_string())]).unwrap();
        writeln!(out, "written {n}").unwrap();
        out.flush().unwrap();
    }
}

#[test]
fn a_full_disk_refuses_records_whole_and_says_so_afterwards() {
    for spool_bytes in [0, 4000] {
        let place = Place::new();
        let output =
            child("child_fills_the_disk", &place, spool_bytes).stderr(Stdio::piped()).output().unwrap();
        assert!(
            output.status.success(),
            "spool of {spool_bytes}: {}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }
}

/// The limit on file sizes stands for the disk: the kernel writes what fits and then answers an error,
/// in the middle of a line, as a full disk does. Any user may set it, unlike a small file system.
#[test]
#[ignore = "run as a process of its own by a_full_disk_refuses_records_whole_and_says_so_afterwards"]
fn child_fills_the_disk() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let options = child_options();
    let place_dir = options.dir.parent().unwrap().to_owned();
    // SAFETY: no handler is installed; the signal is only ignored, so that write(2) answers EFBIG.
    unsafe {
        nix::sys::signal::signal(nix::sys::signal::Signal::SIGXFSZ, nix::sys::signal::SigHandler::SigIgn)
    }
    .unwrap();
    let ledger = Ledger::open(options.clone(), at(0)).unwrap();
    let (_, hard) = getrlimit(Resource::RLIMIT_FSIZE).unwrap();
    setrlimit(Resource::RLIMIT_FSIZE, 20_000, hard).unwrap();
    ledger.append_lazy(&record("lazy")).unwrap();
    let mut written = vec!["lazy".to_owned()];
    let mut refused = 0;
    for n in 0..100 {
        match ledger.append(&[record(format!("{n}.0")), record(format!("{n}.1"))]) {
            Ok(()) => written.extend([format!("{n}.0"), format!("{n}.1")]),
            Err(LedgerError::Write { .. }) => refused += 2,
            Err(other) => panic!("{other}"),
        }
    }
    assert!(refused > 0 && written.len() > 20, "{refused} refused, {} written", written.len());
    assert!(matches!(ledger.health(), Health::Failed { records_refused, .. } if records_refused == refused));
    assert!(ledger.stats().errors >= refused / 2);
    // Nothing of a refused record is in the file, not even half a line.
    assert!(fs::read(segment::path_of(&options.dir, 1)).unwrap().ends_with(b"\n"));
    // What may wait, waits, up to its limit.
    ledger.append_lazy(&record("waited")).unwrap();
    assert!(ledger.tick(at(5000)).is_err());
    setrlimit(Resource::RLIMIT_FSIZE, hard, hard).unwrap();
    ledger.append(&[record("after")]).unwrap();
    assert_eq!(ledger.health(), Health::Ok);
    ledger.close(at(6000)).unwrap();
    drop(ledger);
    written.extend(["waited".to_owned(), "after".to_owned()]);
    let key = read_public_key(&place_dir.join("keys").join(PUBLIC_KEY_FILE)).unwrap();
    let verification = verify_directory(&options.dir, key, None, |_, _| ()).unwrap();
    assert_eq!(verification.finding, None);
    assert!(verification.summary.notes[0].contains(&format!("{refused} records refused")));
    let mut stored = vec![];
    let files = AuditFiles::open(&options.dir).unwrap();
    let each = |json: &[u8]| {
        stored.extend(decision_of(&decode(json).unwrap()));
        Ok(true)
    };
    files.each_line(1, each).unwrap();
    assert_eq!(stored, written);
}

#[test]
fn a_follower_sees_whole_lines_across_rotation() {
    let place = Place::new();
    let ledger = Ledger::open(LedgerOptions { segment_bytes_max: 1000, ..place.options() }, at(0)).unwrap();
    let mut follower = AuditFiles::open(&place.audit()).unwrap().follow().unwrap();
    let mut seen = vec![];
    for n in 0..50u64 {
        ledger.append(&[record(n.to_string())]).unwrap();
        if n % 7 == 0 || n == 49 {
            let each = |json: &[u8]| {
                seen.extend(decision_of(&decode(json).unwrap()));
                Ok(())
            };
            follower.poll(each).unwrap();
        }
    }
    assert!(ledger.stats().segment > 3);
    assert_eq!(seen, (0..50).map(|n| n.to_string()).collect::<Vec<_>>());
}

/// The program that `docs/audit.md` prints, run as an auditor would run it.
#[test]
fn the_documented_verifier_agrees() {
    let document = include_str!("../../../../docs/audit.md");
    let script = document.split("```python\n").nth(1).unwrap().split("```").next().unwrap();
    let place = Place::new();
    let options = LedgerOptions { segment_bytes_max: 3000, checkpoint_every_records: 9, ..place.options() };
    let ledger = Ledger::open(options, at(0)).unwrap();
    (0..60).for_each(|n| ledger.append(&[record(format!("é{n}"))]).unwrap());
    ledger.close(at(0)).unwrap();
    let program = place.0.path().join("verify.py");
    fs::write(&program, script).unwrap();
    let run = || {
        let public = place.keys().join(PUBLIC_KEY_FILE);
        Command::new(python()).arg(&program).arg(place.audit()).arg(public).output().unwrap()
    };
    let output = run();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!errors.contains("ModuleNotFoundError"), "needs the Python package cryptography: {errors}");
    assert!(output.status.success(), "{errors}");
    let last = place.stored().last().unwrap().seq;
    assert_eq!(String::from_utf8_lossy(&output.stdout), format!("OK: {} lines\n", last + 1));

    let good = fs::read_to_string(place.segment(2)).unwrap();
    fs::write(place.segment(2), good.replacen("\"rows\":1", "\"rows\":2", 1)).unwrap();
    assert!(!run().status.success());
    fs::write(place.segment(2), good).unwrap();
    let last = *AuditFiles::open(&place.audit()).unwrap().segments().last().unwrap();
    fs::remove_file(place.segment(last)).unwrap();
    assert!(!run().status.success());
}

/// The distribution's own, which has the distribution's packages; another one may be first in PATH.
fn python() -> &'static str {
    let system = "/usr/bin/python3";
    if Path::new(system).exists() { system } else { "python3" }
}
