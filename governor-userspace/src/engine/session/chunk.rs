//! Forwarding without copying: neighbouring messages that pass unchanged leave as one slice of the
//! buffer that they were read into. Neighbouring messages that were rewritten leave as one buffer too.

use super::permit::Permit;
use crate::engine::wire::postgres::Header;
use bytes::{Buf, Bytes, BytesMut};

/// A message whose body is longer than what is at hand, after its head was dealt with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Streaming {
    #[default]
    None,
    /// So many more bytes pass as they come.
    Pass { bytes_left: usize },
    /// So many more bytes are dropped.
    Drop { bytes_left: usize },
}

impl Streaming {
    /// The stream is in the middle of a message.
    pub fn is_open(self) -> bool {
        self != Self::None
    }

    fn after(self, used: usize) -> Self {
        match self {
            Self::Pass { bytes_left } if bytes_left > used => Self::Pass { bytes_left: bytes_left - used },
            Self::Drop { bytes_left } if bytes_left > used => Self::Drop { bytes_left: bytes_left - used },
            _ => Self::None,
        }
    }
}

/// Where passing bytes go.
pub(super) trait Sink {
    /// What must come with them.
    type Proof;
    fn join(a: Self::Proof, b: Self::Proof) -> Self::Proof;
    fn put(&mut self, bytes: Bytes, proof: Self::Proof);
}

/// Towards the database: needs a permit.
#[derive(Debug)]
pub(super) struct ToServer<'a>(pub &'a mut Vec<(Bytes, Permit)>);

impl Sink for ToServer<'_> {
    type Proof = Permit;
    fn join(a: Permit, b: Permit) -> Permit {
        a.and(b)
    }
    fn put(&mut self, bytes: Bytes, permit: Permit) {
        self.0.push((bytes, permit));
    }
}

/// Towards the client.
#[derive(Debug)]
pub(super) struct ToClient<'a>(pub &'a mut Vec<Bytes>);

impl Sink for ToClient<'_> {
    type Proof = ();
    fn join((): (), (): ()) {}
    fn put(&mut self, bytes: Bytes, (): ()) {
        self.0.push(bytes);
    }
}

/// The bytes at hand: `[0, at)` are passed but not yet handed on, the rest is unread.
#[derive(Debug)]
pub(super) struct Chunk<'a, P> {
    buffer: &'a mut BytesMut,
    at: usize,
    proof: Option<P>,
    /// What goes in place of messages, not yet handed on; it goes before what passed.
    rewritten: Vec<u8>,
    rewritten_proof: Option<P>,
}

impl<'a, P> Chunk<'a, P> {
    pub fn new(buffer: &'a mut BytesMut) -> Self {
        Self { buffer, at: 0, proof: None, rewritten: Vec::new(), rewritten_proof: None }
    }

    /// Unread bytes.
    pub fn unread(&self) -> &[u8] {
        self.buffer.get(self.at..).unwrap_or_default()
    }

    /// The next `n` unread bytes pass unchanged. `n` may not exceed what is unread.
    pub fn pass<S: Sink<Proof = P>>(&mut self, n: usize, proof: P) {
        self.at = (self.at + n).min(self.buffer.len());
        self.proof = Some(match self.proof.take() {
            Some(earlier) => S::join(earlier, proof),
            None => proof,
        });
    }

    /// Hands on what passed so far, so that something else can follow it.
    pub fn flush<S: Sink<Proof = P>>(&mut self, sink: &mut S) {
        if let Some(proof) = self.rewritten_proof.take() {
            sink.put(std::mem::take(&mut self.rewritten).into(), proof);
        }
        if let Some(proof) = self.proof.take() {
            let bytes = self.buffer.split_to(self.at).freeze();
            self.at = 0;
            if !bytes.is_empty() {
                sink.put(bytes, proof);
            }
        }
    }

    /// `instead` goes in place of the next `n` unread bytes, together with what is rewritten behind it.
    pub fn rewrite<S: Sink<Proof = P>>(&mut self, n: usize, instead: &[u8], proof: P, sink: &mut S) {
        if self.at > 0 {
            self.flush(sink);
        }
        if self.rewritten.is_empty() {
            // The rest of what is here is mostly of the same kind.
            self.rewritten.reserve(self.buffer.len().max(instead.len()));
        }
        self.rewritten.extend_from_slice(instead);
        self.rewritten_proof = Some(match self.rewritten_proof.take() {
            Some(earlier) => S::join(earlier, proof),
            None => proof,
        });
        self.buffer.advance(n.min(self.buffer.len()));
    }

    /// A small message of `total` bytes between rewritten ones goes with them: cheaper copied than sent in a piece of its own.
    pub fn joins_rewritten(&self, total: usize) -> bool {
        self.rewritten_proof.is_some()
            && self.at == 0
            && total <= COPIED_BYTES_MAX
            && total <= self.buffer.len()
    }

    /// Copies the next `n` unread bytes behind what was rewritten.
    pub fn copy_to_rewritten(&mut self, n: usize) {
        let n = n.min(self.buffer.len());
        self.rewritten.extend_from_slice(self.buffer.get(..n).unwrap_or_default());
        self.buffer.advance(n);
    }

    /// Drops the next `n` unread bytes.
    pub fn skip<S: Sink<Proof = P>>(&mut self, n: usize, sink: &mut S) {
        self.flush(sink);
        self.buffer.advance(n.min(self.buffer.len()));
    }

    /// Goes on with a message whose head was dealt with earlier. True when it is through.
    pub fn stream<S: Sink<Proof = P>>(
        &mut self,
        streaming: &mut Streaming,
        proof: impl FnOnce() -> P,
        sink: &mut S,
    ) -> bool {
        let here = self.unread().len();
        let used = match *streaming {
            Streaming::None => return true,
            Streaming::Pass { bytes_left } => {
                let n = bytes_left.min(here);
                if n > 0 {
                    self.pass::<S>(n, proof());
                }
                n
            }
            Streaming::Drop { bytes_left } => {
                let n = bytes_left.min(here);
                self.skip(n, sink);
                n
            }
        };
        *streaming = streaming.after(used);
        !streaming.is_open()
    }

    /// Passes a message of `total` bytes, as much of it as is here; the rest streams.
    pub fn pass_message<S: Sink<Proof = P>>(&mut self, total: usize, proof: P, streaming: &mut Streaming) {
        let n = total.min(self.unread().len());
        self.pass::<S>(n, proof);
        if total > n {
            *streaming = Streaming::Pass { bytes_left: total - n };
        }
    }

    /// Passes neighbouring messages of one kind, as far as they are here whole. Answers how many they
    /// were, and their bytes.
    pub fn pass_run<S: Sink<Proof = P>>(&mut self, kind: u8, proof: impl FnOnce() -> P) -> (u64, u64) {
        let (mut count, mut end) = (0, 0);
        let mut rest = self.unread();
        // What is wrong with a header is told where messages are looked at one by one.
        while let Ok(Some(header)) = Header::peek(rest)
            && header.kind == kind
            && let Some(behind) = rest.get(header.total_bytes()..)
        {
            count += 1;
            end += header.total_bytes();
            rest = behind;
        }
        if count > 0 {
            self.pass::<S>(end, proof());
        }
        (count, end as u64)
    }

    /// Drops a message of `total` bytes, as much of it as is here; the rest is dropped as it comes.
    pub fn drop_message<S: Sink<Proof = P>>(
        &mut self,
        total: usize,
        sink: &mut S,
        streaming: &mut Streaming,
    ) {
        let n = total.min(self.unread().len());
        self.skip(n, sink);
        if total > n {
            *streaming = Streaming::Drop { bytes_left: total - n };
        }
    }
}

/// Longest message that is copied rather than sent in a piece of its own.
const COPIED_BYTES_MAX: usize = 16 * 1024;
