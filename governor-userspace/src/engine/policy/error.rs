//! Why policy files were refused.

use serde::Serialize;
use std::fmt;

/// One thing wrong in one policy file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Problem {
    /// The source's name, as it was handed in.
    pub file: String,
    /// 1-based; `None` where the problem is the file as a whole.
    pub line: Option<u32>,
    /// 1-based, in characters.
    pub column: Option<u32>,
    pub reason: String,
}

impl Problem {
    /// A problem of the whole file.
    pub fn of_file(file: &str, reason: impl Into<String>) -> Self {
        Self { file: file.into(), line: None, column: None, reason: reason.into() }
    }

    /// A problem at a byte offset of `text`, the file's content.
    pub fn at(file: &str, text: &str, byte: Option<usize>, reason: impl Into<String>) -> Self {
        let (line, column) = byte.map_or((None, None), |byte| {
            let (line, column) = position(text, byte);
            (Some(line), Some(column))
        });
        Self { file: file.into(), line, column, reason: reason.into() }
    }
}

impl fmt::Display for Problem {
    /// `file:line:column: reason`, as editors and people know it from compilers.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        for number in [self.line, self.column].into_iter().flatten() {
            write!(f, ":{number}")?;
        }
        write!(f, ": {}", self.reason)
    }
}

/// Policy files that were refused. Nothing of them is in force; whatever was before still is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct PolicyError {
    /// Every problem found, by file and line; never empty.
    pub problems: Vec<Problem>,
}

impl fmt::Display for PolicyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, problem) in self.problems.iter().enumerate() {
            if n > 0 {
                f.write_str("\n")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

/// Line and column, both 1-based, of a byte offset; the last position where it lies beyond the text.
pub(super) fn position(text: &str, byte: usize) -> (u32, u32) {
    let before = text.as_bytes().get(..byte).unwrap_or(text.as_bytes());
    let line = 1 + memchr::memchr_iter(b'\n', before).count();
    let start = memchr::memrchr(b'\n', before).map_or(0, |newline| newline + 1);
    let column = 1 + before.iter().skip(start).filter(|&&b| (b & 0xc0) != 0x80).count();
    (u32::try_from(line).unwrap_or(u32::MAX), u32::try_from(column).unwrap_or(u32::MAX))
}
