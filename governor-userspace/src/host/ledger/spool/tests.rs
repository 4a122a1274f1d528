//! Lines that wait: seen by readers, found again after a death at any byte, never taken twice.

use super::*;
use crate::engine::audit::push_line;
use crate::host::ledger::tests::{Place, at, copy_dir, record};
use crate::host::ledger::{Ledger, LedgerOptions};

fn lines(from: ChainHash, texts: &[&str]) -> (Vec<u8>, ChainHash) {
    let mut out = vec![];
    let push = |hash, text: &&str| push_line(&mut out, &hash, |out| out.extend_from_slice(text.as_bytes()));
    let last = texts.iter().fold(from, push);
    (out, last)
}

#[test]
fn only_what_continues_the_chain_is_taken() {
    let (written, middle) = lines(ChainHash::GENESIS, &["{\"a\":1}", "{\"a\":2}"]);
    let (waiting, last) = lines(middle, &["{\"a\":3}", "{\"a\":4}"]);
    let (older, _) = lines(ChainHash([7; 32]), &["{\"a\":0}"]);
    let whole = [&written[..], &waiting, &older, &[0; 30]].concat();
    assert_eq!(continuing(&whole, middle), waiting);
    assert_eq!(continuing(&whole, ChainHash::GENESIS), [&written[..], &waiting].concat());
    assert!(continuing(&whole, last).is_empty());
    // Cut anywhere, as a death in the middle of a store leaves it over what was there before.
    let first = waiting.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    for cut in 0..waiting.len() {
        let torn = [&waiting[..cut], &older].concat();
        assert_eq!(continuing(&torn, middle).len(), if cut < first { 0 } else { first }, "{cut}");
    }
}

#[test]
fn what_does_not_fit_is_refused_whole() {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = Spool::create(dir.path(), 100).unwrap().expect("tests run on a file system that suits");
    assert!(spool.push(&[b'a'; 60]) && !spool.push(&[b'b'; 41]) && spool.push(&[b'c'; 40]));
    let expected = [[b'a'; 60].as_slice(), &[b'c'; 40]].concat();
    assert_eq!(spool.content(), expected);
    assert_eq!(read(dir.path()).unwrap(), expected, "readers of the file see it at once");
    spool.clear();
    assert!(spool.content().is_empty() && spool.push(b"d"));
    assert_eq!(read(dir.path()).unwrap()[..2], *b"da");
}

fn options(place: &Place, spool_bytes: usize) -> LedgerOptions {
    LedgerOptions { spool_bytes, ..place.options() }
}

/// What a process that dies now leaves behind.
fn frozen(place: &Place) -> Place {
    let copy = Place::new();
    copy_dir(&place.audit(), &copy.audit());
    copy_dir(&place.keys(), &copy.keys());
    copy
}

const EXPECTED: [&str; 4] = ["0", "1", "2", "3"];

#[test]
fn what_waits_is_read_and_survives_a_death_at_any_byte_of_its_write() {
    let place = Place::new();
    let ledger = Ledger::open(options(&place, 100_000), at(0)).unwrap();
    EXPECTED.iter().for_each(|n| ledger.append(&[record(*n)]).unwrap());
    assert_eq!(place.decisions(), EXPECTED);
    let segment = fs::read(place.segment(1)).unwrap();
    assert!(!String::from_utf8(segment.clone()).unwrap().contains("\"completion\""), "none is written yet");
    let waiting = read(&place.audit()).unwrap();
    let waiting = &waiting[..waiting.iter().rposition(|byte| *byte == b'\n').unwrap() + 1];
    for cut in (0..waiting.len()).step_by(37).chain([waiting.len()]) {
        let dead = frozen(&place);
        // The write that moves them was cut short, or went through and the process died right after it.
        fs::write(dead.segment(1), [&segment[..], &waiting[..cut]].concat()).unwrap();
        Ledger::open(options(&dead, 100_000), at(1)).unwrap().close(at(1)).unwrap();
        assert_eq!(dead.decisions(), EXPECTED, "cut at {cut}");
        let verification = dead.verify();
        assert_eq!((verification.finding, verification.summary.notes.len()), (None, 0), "cut at {cut}");
    }
}

#[test]
fn an_older_lap_of_the_spool_adds_nothing() {
    let place = Place::new();
    // Room for two or three lines: it is emptied again and again, and what was there stays behind the new.
    let ledger = Ledger::open(options(&place, 1500), at(0)).unwrap();
    for n in 0..20u64 {
        ledger.append(&[record(n.to_string())]).unwrap();
        let expected: Vec<String> = (0..=n).map(|n| n.to_string()).collect();
        assert_eq!(place.decisions(), expected);
        let dead = frozen(&place);
        Ledger::open(options(&dead, 1500), at(1)).unwrap().close(at(1)).unwrap();
        assert_eq!(dead.decisions(), expected);
        assert_eq!(dead.verify().finding, None);
    }
    ledger.close(at(2)).unwrap();
    assert_eq!(place.verify().finding, None);
}

#[test]
fn bytes_that_are_no_part_of_it_are_kept_as_evidence() {
    let place = Place::new();
    let ledger = Ledger::open(options(&place, 100_000), at(0)).unwrap();
    EXPECTED.iter().for_each(|n| ledger.append(&[record(*n)]).unwrap());
    let dead = frozen(&place);
    let segment = fs::read(dead.segment(1)).unwrap();
    fs::write(dead.segment(1), [&segment[..], b"garbage\n"].concat()).unwrap();
    Ledger::open(options(&dead, 100_000), at(1)).unwrap().close(at(1)).unwrap();
    let kept = dead.audit().join(format!("segment-0000000001.cut-{}", segment.len()));
    assert_eq!(fs::read(kept).unwrap(), b"garbage\n");
    assert_eq!(dead.verify().finding, None);
}

#[test]
fn a_tick_and_a_flush_to_disk_empty_it() {
    let place = Place::new();
    let ledger = Ledger::open(options(&place, 100_000), at(0)).unwrap();
    let written = || fs::read_to_string(place.segment(1)).unwrap().matches("\"completion\"").count();
    ledger.append(&[record("0")]).unwrap();
    assert_eq!(written(), 0);
    ledger.tick(at(1)).unwrap();
    assert_eq!(written(), 1);
    ledger.append_sync(&[record("1")]).unwrap();
    assert_eq!(written(), 2);
    ledger.append(&[record("2")]).unwrap();
    ledger.checkpoint(at(2)).unwrap();
    assert_eq!(written(), 3);
    ledger.append(&[record("3")]).unwrap();
    drop(ledger);
    assert_eq!(written(), 4);
}
