//! What equals what, who waits for whom, and that the books balance whatever happens.

use super::*;
use crate::engine::audit::Difference;
use proptest::prelude::*;

fn at(seconds: u64) -> Timestamp {
    Timestamp { unix_ns: seconds * 1_000_000_000, monotonic_ns: seconds * 1_000_000_000 }
}

fn session() -> SessionId {
    SessionId("s".into())
}

fn governor(cookie: u64, read: u64, written: u64) -> SocketCount {
    SocketCount { cookie, side: Side::Client, read, unread: 0, written, arrived: u64::MAX, was_over: true }
}

fn kernel(cookie: u64, received: u64, acked: u64) -> KernelCount {
    KernelCount {
        cookie,
        side: Side::Client,
        received,
        acked,
        fin: Some(false),
        delivered: true,
        pid: Some(7),
        uid: Some(8),
    }
}

fn reconciler() -> Reconciler {
    Reconciler::new(ReconcileLimits {
        unknown_ns: 10_000_000_000,
        silent_ns: 100_000_000_000,
        waiting_max: 100,
    })
}

#[test]
fn equal_counts_are_equal_in_either_order() {
    let mut books = reconciler();
    books.opened(Side::Client, 1);
    books.ended(at(1), governor(1, 30, 40), Accounted::Session(session()));
    assert_eq!(books.sums().clients.pending, 1);
    books.counted(at(2), KernelCount { fin: Some(true), ..kernel(1, 31, 40) });
    books.opened(Side::Client, 2);
    // The client went away first; the session may take its time.
    books.counted(at(3), kernel(2, 5, 6));
    assert!(books.tick(at(90)).is_empty());
    books.ended(at(91), governor(2, 5, 6), Accounted::Session(session()));
    books.opened(Side::Client, 3);
    books.ended(at(92), governor(3, 0, 0), Accounted::Refused);
    books.counted(at(92), kernel(3, 0, 0));
    assert!(books.tick(at(200)).is_empty());
    let sums = books.sums();
    assert!(sums.is_whole());
    assert_eq!(sums.clients.counted, Count { connections: 3, bytes_in: 35, bytes_out: 46 });
    assert_eq!((sums.clients.audited.connections, sums.clients.refused.connections), (2, 1));
    assert_eq!((sums.clients.pending, sums.clients.open), (0, 0));
}

#[test]
fn what_was_left_unread_is_part_of_the_sum_and_what_came_late_is_told() {
    let mut books = reconciler();
    let early = SocketCount { unread: 70, arrived: 100, ..governor(1, 30, 0) };
    books.ended(at(1), early.clone(), Accounted::Session(session()));
    books.counted(at(1), kernel(1, 100, 0));
    books.ended(at(1), SocketCount { cookie: 2, ..early.clone() }, Accounted::Session(session()));
    books.counted(at(1), kernel(2, 108, 0));
    // Of the last byte nobody can say whether it is the FIN.
    books.ended(at(1), SocketCount { cookie: 3, ..early }, Accounted::Session(session()));
    books.counted(at(1), KernelCount { fin: None, ..kernel(3, 101, 0) });
    assert!(books.tick(at(2)).is_empty());
    assert_eq!((books.sums().clients.unread, books.sums().clients.late), (210, 8));
    assert_eq!(books.sums().clients.balance(), (0, 0, 0));
    // What had arrived by then and was not read is no late byte.
    let beside = SocketCount { cookie: 4, unread: 0, arrived: 100, ..governor(4, 30, 0) };
    books.ended(at(3), beside, Accounted::Session(session()));
    books.counted(at(3), KernelCount { fin: None, ..kernel(4, 101, 0) });
    let found = books.tick(at(3));
    assert_eq!((found[0].1.kind, found[0].1.counted, found[0].1.audited), (MismatchKind::BytesIn, 100, 30));
}

#[test]
fn bytes_past_the_engine_are_a_mismatch() {
    for (read, received, kind) in [(30, 31, MismatchKind::BytesIn), (31, 30, MismatchKind::BytesIn)] {
        let mut books = reconciler();
        books.ended(at(1), governor(1, read, 0), Accounted::Session(session()));
        books.counted(at(1), kernel(1, received, 0));
        let found = books.tick(at(1));
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].1.kind, found[0].1.pid, &found[0].0), (kind, Some(7), &Some(session())));
        assert!(!books.sums().is_whole());
        assert_eq!(books.sums().clients.difference.bytes_in, received as i64 - read as i64);
    }
    // The peer acknowledged what governor did not write.
    let mut books = reconciler();
    books.ended(at(1), governor(1, 0, 10), Accounted::Session(session()));
    books.counted(at(1), KernelCount { delivered: false, ..kernel(1, 0, 12) });
    assert_eq!(books.tick(at(1))[0].1.kind, MismatchKind::BytesOut);
    // What a reset cost the peer is no mismatch; what a peer took in whole and did not get would be one.
    for (delivered, mismatches) in [(false, 0), (true, 1)] {
        let mut books = reconciler();
        books.ended(at(1), governor(1, 0, 10), Accounted::Session(session()));
        books.counted(at(1), KernelCount { delivered, ..kernel(1, 0, 3) });
        assert_eq!(books.tick(at(1)).len(), mismatches);
        assert_eq!(books.sums().clients.balance(), (0, 0, 0));
    }
}

#[test]
fn a_connection_that_no_session_accounts_for_is_a_mismatch() {
    let mut books = reconciler();
    books.counted(at(1), kernel(1, 300, 20));
    assert!(books.tick(at(9)).is_empty(), "it may still be on its way to a worker");
    let found = books.tick(at(11));
    assert_eq!((found[0].1.kind, found[0].1.counted), (MismatchKind::Unaudited, 320));
    assert_eq!(books.sums().clients.difference, Difference { connections: 1, bytes_in: 300, bytes_out: 20 });
    // A session that ended without a word.
    books.opened(Side::Client, 2);
    books.ended(at(12), governor(2, 3, 4), Accounted::Nowhere(session()));
    books.counted(at(12), kernel(2, 3, 4));
    assert_eq!(books.tick(at(12))[0].1.kind, MismatchKind::Unaudited);
    assert_eq!(books.sums().clients.difference.connections, 2);
}

#[test]
fn a_socket_that_the_kernel_never_told_of_is_a_mismatch_unless_it_admits_a_loss() {
    let mut books = reconciler();
    books.ended(at(1), governor(1, 3, 4), Accounted::Session(session()));
    assert!(books.tick(at(50)).is_empty());
    assert_eq!(books.tick(at(102))[0].1.kind, MismatchKind::Uncounted);
    books.lost(1);
    books.ended(at(103), governor(2, 3, 4), Accounted::Session(session()));
    assert_eq!(books.tick(at(103))[0].1.kind, MismatchKind::Lost);
    assert!(books.tick(at(300)).is_empty(), "told already");
    assert_eq!((books.sums().lost, books.sums().clients.difference.connections), (1, -2));
}

#[test]
fn a_flood_is_counted_and_not_told_one_by_one() {
    let mut books = reconciler();
    let mut told = 0;
    for cookie in 0..1000 {
        books.ended(at(1), governor(cookie, 1, 1), Accounted::Session(session()));
        books.counted(at(1), kernel(cookie, 2, 1));
        told += books.tick(at(1)).len();
    }
    assert_eq!((told, books.sums().mismatches), (TOLD_MAX, 1000));
    assert_eq!(
        books.kinds().find(|(kind, _)| *kind == MismatchKind::BytesIn),
        Some((MismatchKind::BytesIn, 1000))
    );
    books.tick(at(62));
    books.ended(at(62), governor(2000, 1, 1), Accounted::Session(session()));
    books.counted(at(62), kernel(2000, 2, 1));
    assert_eq!(books.tick(at(62)).len(), 1);
}

#[test]
fn what_waits_is_bounded() {
    let mut books = reconciler();
    for cookie in 0..1000 {
        books.ended(at(1), governor(cookie, 1, 1), Accounted::Session(session()));
        books.tick(at(1));
    }
    assert!(books.governor.len() <= 101 && books.governor_by_age.len() <= 101);
    assert_eq!(books.sums().mismatches, 900);
}

proptest! {
    /// Whatever either tells in whatever order, the sums balance when nothing waits any more.
    #[test]
    fn the_books_balance(
        sockets in prop::collection::vec(
            (0_u64..2000, 0_u64..100, 0_u64..2000, 0_u64..2000, any::<bool>(), 0_u64..2000, 0_u64..2000, 0_u8..3, 0_u8..6),
            1..60,
        )
    ) {
        let mut books = reconciler();
        for (index, &(read, unread, written, arrived, delivered, received, acked, whose, order)) in
            sockets.iter().enumerate()
        {
            let cookie = index as u64;
            let side = if order % 2 == 0 { Side::Client } else { Side::Database };
            let count = SocketCount { cookie, side, read, unread, written, arrived, was_over: order == 0 };
            let accounted = match whose {
                0 => Accounted::Session(session()),
                1 => Accounted::Refused,
                _ => Accounted::Nowhere(session()),
            };
            let fin = match order { 0 | 1 => None, 2 | 3 => Some(false), _ => Some(received > 0) };
            let told = KernelCount { side, fin, delivered, ..kernel(cookie, received, acked) };
            books.opened(side, cookie);
            if order < 3 {
                books.ended(at(1), count, accounted);
                books.counted(at(1), told);
            } else {
                books.counted(at(1), told);
                books.ended(at(1), count, accounted);
            }
        }
        books.tick(at(1000));
        let sums = books.sums();
        for side in [&sums.clients, &sums.databases] {
            prop_assert_eq!((side.pending, side.open), (0, 0));
            prop_assert_eq!(side.balance(), (0, 0, 0));
        }
    }
}

#[test]
fn unix_sockets_are_counted_apart_and_one_without_a_last_record_is_told() {
    let mut books = reconciler();
    for side in [Side::Client, Side::Client, Side::Database, Side::Client] {
        books.unix_opened(side);
    }
    books.unix_ended(Side::Client, 3, 4, Accounted::Session(session()));
    books.unix_ended(Side::Database, 5, 6, Accounted::Session(session()));
    books.unix_ended(Side::Client, 7, 0, Accounted::Refused);
    let sums = books.sums();
    assert!(sums.is_whole() && sums.clients == SideCount::default());
    assert_eq!(sums.unix.clients.audited, Count { connections: 1, bytes_in: 3, bytes_out: 4 });
    assert_eq!(sums.unix.databases.audited, Count { connections: 1, bytes_in: 5, bytes_out: 6 });
    assert_eq!((sums.unix.clients.refused.connections, sums.unix.clients.open), (1, 1));
    books.unix_ended(Side::Client, 8, 9, Accounted::Nowhere(session()));
    let found = books.tick(at(1));
    assert_eq!((found.len(), found[0].1.kind, found[0].1.counted), (1, MismatchKind::Unaudited, 17));
    assert!(!books.sums().is_whole());
}
