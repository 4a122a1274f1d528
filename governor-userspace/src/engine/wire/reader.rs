//! A bounded cursor: cannot leave the message it was given.
//!
//! Every parser of peer bytes reads through this type. No method panics, allocates or reads past
//! the slice; a length that does not fit is an error, never a wrap-around.

/// The message ended early, or did not end where it should.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    #[error("message is {missing} bytes too short")]
    Short { missing: usize },
    #[error("text has no terminating zero byte")]
    Unterminated,
    #[error("{bytes} bytes are left over at the end of the message")]
    Leftover { bytes: usize },
}

/// A cursor over one message's body.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub fn new(body: &'a [u8]) -> Self {
        Self { rest: body }
    }

    /// Bytes not read yet.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next `n` bytes.
    pub fn take(&mut self, n: usize) -> Result<&'a [u8], ReadError> {
        match self.rest.split_at_checked(n) {
            Some((head, tail)) => {
                self.rest = tail;
                Ok(head)
            }
            None => Err(ReadError::Short { missing: n - self.rest.len() }),
        }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], ReadError> {
        match self.rest.split_first_chunk::<N>() {
            Some((head, tail)) => {
                self.rest = tail;
                Ok(*head)
            }
            None => Err(ReadError::Short { missing: N - self.rest.len() }),
        }
    }

    pub fn u8(&mut self) -> Result<u8, ReadError> {
        self.array::<1>().map(|[b]| b)
    }

    /// Big-endian, as PostgreSQL sends all integers.
    pub fn i16(&mut self) -> Result<i16, ReadError> {
        self.array().map(i16::from_be_bytes)
    }

    pub fn u16(&mut self) -> Result<u16, ReadError> {
        self.array().map(u16::from_be_bytes)
    }

    pub fn i32(&mut self) -> Result<i32, ReadError> {
        self.array().map(i32::from_be_bytes)
    }

    pub fn u32(&mut self) -> Result<u32, ReadError> {
        self.array().map(u32::from_be_bytes)
    }

    /// Bytes up to a zero byte, which is consumed and not returned.
    pub fn cstr(&mut self) -> Result<&'a [u8], ReadError> {
        let end = memchr::memchr(0, self.rest).ok_or(ReadError::Unterminated)?;
        let text = self.take(end)?;
        self.u8()?;
        Ok(text)
    }

    /// Succeeds when every byte was read.
    pub fn finish(self) -> Result<(), ReadError> {
        match self.rest.len() {
            0 => Ok(()),
            bytes => Err(ReadError::Leftover { bytes }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_integers_and_text_in_order() {
        let mut r = Reader::new(b"\x01\xff\xfe\x00\x00\x00\x05ab\0rest");
        assert_eq!(r.u8(), Ok(1));
        assert_eq!(r.i16(), Ok(-2));
        assert_eq!(r.i32(), Ok(5));
        assert_eq!(r.cstr(), Ok(&b"ab"[..]));
        assert_eq!(r.rest(), b"rest");
        assert_eq!(r.finish(), Err(ReadError::Leftover { bytes: 4 }));
    }

    #[test]
    fn never_reads_past_the_end() {
        let mut r = Reader::new(b"\x00\x00\x00");
        assert_eq!(r.i32(), Err(ReadError::Short { missing: 1 }));
        assert_eq!(r.take(usize::MAX), Err(ReadError::Short { missing: usize::MAX - 3 }));
        assert_eq!(Reader::new(b"abc").cstr(), Err(ReadError::Unterminated));
        assert_eq!(Reader::new(b"").u8(), Err(ReadError::Short { missing: 1 }));
    }
}
