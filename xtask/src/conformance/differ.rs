//! Compares two outputs, leaves out what is allowed to differ, and shows the rest as a unified diff.

use anyhow::{Context, Result, bail};
use regex::bytes::Regex;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

#[derive(Debug)]
pub struct Differ {
    ignored: Vec<Regex>,
    /// Holds `keep` where nobody asked to keep anything.
    _scratch: Option<TempDir>,
    keep: PathBuf,
}

impl Differ {
    pub fn new(ignored: &[String], keep: Option<PathBuf>) -> Result<Self> {
        let ignored = ignored
            .iter()
            .map(|text| Regex::new(text).with_context(|| format!("--ignore {text}")))
            .collect::<Result<_>>()?;
        let (scratch, keep) = match keep {
            Some(keep) => (None, keep),
            None => {
                let scratch = tempfile::tempdir()?;
                let path = scratch.path().to_owned();
                (Some(scratch), path)
            }
        };
        for side in ["direct", "governed"] {
            std::fs::create_dir_all(keep.join(side))?;
        }
        Ok(Self { ignored, _scratch: scratch, keep })
    }

    /// Whether both are the same; where not, the difference is printed.
    pub fn same(&self, name: &str, direct: &[u8], governed: &[u8]) -> Result<bool> {
        let (direct, governed) = (self.compared(direct), self.compared(governed));
        std::fs::write(self.keep.join("direct").join(name), &direct)?;
        std::fs::write(self.keep.join("governed").join(name), &governed)?;
        if direct == governed {
            return Ok(true);
        }
        print!("{}", self.unified(name)?);
        Ok(false)
    }

    /// The text without the lines that may differ.
    fn compared(&self, text: &[u8]) -> Vec<u8> {
        text.split_inclusive(|byte| *byte == b'\n')
            .filter(|line| !self.ignored.iter().any(|pattern| pattern.is_match(line)))
            .flatten()
            .copied()
            .collect()
    }

    fn unified(&self, name: &str) -> Result<String> {
        let side = |side: &str| Path::new(side).join(name);
        let output = Command::new("diff")
            .current_dir(&self.keep)
            .args(["-u", "--text"])
            .arg(side("direct"))
            .arg(side("governed"))
            .output()
            .context("running diff")?;
        if output.status.code() == Some(2) {
            bail!("diff: {}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_is_equal_and_one_byte_is_a_difference() {
        let differ = Differ::new(&[], None).unwrap();
        assert!(differ.same("a", b"one\ntwo\n", b"one\ntwo\n").unwrap());
        assert!(!differ.same("a", b"one\ntwo\n", b"one\ntwo").unwrap());
        assert!(differ.unified("a").unwrap().contains("\\ No newline at end of file"));
    }

    #[test]
    fn an_ignored_line_may_differ_and_its_neighbours_may_not() {
        let differ = Differ::new(&["^time:".to_owned()], None).unwrap();
        assert!(differ.same("a", b"x\ntime: 1\n", b"x\ntime: 2\n").unwrap());
        assert!(!differ.same("a", b"x\ntime: 1\n", b"y\ntime: 2\n").unwrap());
    }

    #[test]
    fn a_wrong_pattern_is_an_error() {
        assert!(Differ::new(&["(".to_owned()], None).is_err());
    }
}
