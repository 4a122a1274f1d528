//! What passing through costs in allocations. A count is the same on every machine, so unlike a time it can be
//! asserted.

use super::super::*;
use super::stage::*;
use crate::engine::model::Class;
use bytes::{Bytes, BytesMut};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

/// The system's allocator, counting what each thread asks of it.
struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

fn count() {
    // A thread that ends has nothing left to count.
    let _ = ALLOCATIONS.try_with(|n| n.set(n.get() + 1));
}

// SAFETY: every request is handed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promises are those that `System` asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above; `pointer` came from `System`.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// A session as its worker drives it: buffers and actions are used again.
struct Worker {
    stage: Stage,
    buffer: BytesMut,
    actions: Actions,
}

impl Worker {
    fn new(class: Class) -> Self {
        let buffer = BytesMut::with_capacity(1 << 20);
        Self { stage: Stage::ready(class), buffer, actions: Actions::default() }
    }

    /// Handles what came, drops what it leads to; answers the allocations and the bytes that passed.
    fn handle(&mut self, from_client: bool, bytes: &[u8]) -> (u64, usize) {
        let before = ALLOCATIONS.get();
        self.buffer.reserve(bytes.len());
        self.buffer.extend_from_slice(bytes);
        let input =
            if from_client { Input::Client(&mut self.buffer) } else { Input::Server(&mut self.buffer) };
        let now = Timestamp { unix_ns: 1, monotonic_ns: 1 };
        self.stage.session.handle(now, input, &mut self.stage.governance, &mut self.actions);
        let passed = self.actions.to_server.iter().map(|(bytes, _)| bytes.len()).sum::<usize>()
            + self.actions.to_client.iter().map(Bytes::len).sum::<usize>();
        self.actions.clear();
        (ALLOCATIONS.get() - before, passed)
    }

    /// A whole exchange, several times; answers the allocations of the last one.
    fn exchange(&mut self, question: &[u8], answer: &[u8]) -> u64 {
        let mut last = 0;
        for _ in 0..5 {
            last = self.exchange_once(question, answer);
        }
        last
    }

    fn exchange_once(&mut self, question: &[u8], answer: &[u8]) -> u64 {
        let (asked, sent) = self.handle(true, question);
        let (answered, received) = self.handle(false, answer);
        assert_eq!((sent, received), (question.len(), answer.len()), "everything passes");
        asked + answered
    }
}

#[test]
fn a_statement_costs_few_allocations_once_its_shape_is_known() {
    let mut worker = Worker::new(Class::Service);
    let rows = [data_row(&["1"]), complete("SELECT 1"), ready(b'I')].concat();
    let simple = worker.exchange(&query("SELECT 1 FROM people"), &rows);
    let mut literals = 0;
    for key in 0..5 {
        literals = worker.exchange_once(&query(&format!("SELECT 1 FROM people WHERE id = {key}")), &rows);
    }
    worker.handle(true, &[parse("p", "SELECT 1 FROM people"), sync()].concat());
    worker.handle(false, &[message(b'1', b""), ready(b'I')].concat());
    let prepared =
        worker.exchange(&[bind("", "p"), execute(""), sync()].concat(), &[message(b'2', b""), rows].concat());
    let counted = format!("simple {simple}, with another literal {literals}, prepared {prepared}");
    println!("allocations of a statement: {counted}");
    assert!(simple <= SIMPLE_MAX && literals <= LITERALS_MAX && prepared <= PREPARED_MAX, "{counted}");
}

#[test]
fn rows_and_copy_data_cost_no_allocation_each() {
    let mut worker = Worker::new(Class::Service);
    worker.handle(true, &query("SELECT 1 FROM people"));
    worker.handle(false, &data_row(&["1"]));
    let few = data_row(&["value"]).repeat(2);
    let many = data_row(&["value"]).repeat(1000);
    let (of_few, _) = worker.handle(false, &few);
    assert_eq!(worker.handle(false, &many), (of_few, many.len()), "rows");
    worker.handle(false, &[complete("SELECT 1003"), ready(b'I')].concat());

    worker.handle(true, &query("COPY people TO STDOUT"));
    worker.handle(false, &message(b'H', &[0, 0, 0]));
    let few = message(b'd', b"1\tx\n").repeat(2);
    let many = message(b'd', b"1\tx\n").repeat(1000);
    let (of_few, _) = worker.handle(false, &few);
    assert_eq!(worker.handle(false, &many), (of_few, many.len()), "COPY data of the server");
    worker.handle(false, &[message(b'c', b""), complete("COPY 1002"), ready(b'I')].concat());

    worker.handle(true, &query("COPY people FROM STDIN"));
    worker.handle(false, &message(b'G', &[0, 0, 0]));
    let (of_few, _) = worker.handle(true, &few);
    assert_eq!(worker.handle(true, &many), (of_few, many.len()), "COPY data of the client");
}

#[test]
fn masked_rows_cost_no_allocation_each() {
    let mut worker = Worker::new(Class::Agent);
    worker.handle(true, &query("SELECT * FROM people"));
    worker.handle(false, &row_description(&[("id", 20000, 1), ("email", 20000, 2), ("note", 20000, 3)]));
    let row = data_row(&["1", "louis@example.com", "hello"]);
    worker.handle(false, &row.repeat(3));
    let (of_few, few) = worker.handle(false, &row.repeat(2));
    let (of_many, many) = worker.handle(false, &row.repeat(1000));
    assert_eq!((of_many, many), (of_few, few * 500));
}

/// What was counted; more needs a reason.
const SIMPLE_MAX: u64 = 6;
/// The text's own form for the record.
const LITERALS_MAX: u64 = 10;
const PREPARED_MAX: u64 = 7;
