//! Counts what passed, and shows what did not.

use crate::shell;
use anyhow::Result;
use std::process::Command;
use std::time::Instant;

/// Counts of single tests where a step has them, of whole steps where it has not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub passed: u64,
    pub failed: u64,
    pub skipped: u64,
}

impl Tally {
    /// One command: its own counts where it prints libtest's summary, else one check. Output shows on failure.
    pub fn command(&mut self, name: &str, command: &mut Command) {
        let start = Instant::now();
        let outcome = shell::capture(command);
        let seconds = start.elapsed().as_secs_f32();
        let (success, text) = match outcome {
            Ok(output) => {
                let text = [output.stdout, output.stderr].concat();
                (output.status.success(), String::from_utf8_lossy(&text).into_owned())
            }
            Err(error) => (false, format!("{error:#}")),
        };
        self.report(name, success, &text, seconds, &shell::words(command));
    }

    /// The same for what has run already.
    pub fn report(&mut self, name: &str, success: bool, text: &str, seconds: f32, command: &str) {
        let mut counts = counts(text);
        if counts == Self::default() {
            counts.passed = u64::from(success);
        }
        if !success && counts.failed == 0 {
            // Ended before or beside its tests: a compile error, a crash.
            counts.failed = 1;
        }
        let sum = format!("{} passed, {} failed, {} skipped", counts.passed, counts.failed, counts.skipped);
        if success {
            println!("{} {name}: {sum} ({seconds:.1} s)", shell::green("ok  "));
        } else {
            println!("{} {name}: {sum} ({seconds:.1} s)\n{command}", shell::red("FAIL"));
            println!("{text}");
        }
        self.add(counts);
    }

    /// One check done by ourselves.
    pub fn check(&mut self, name: &str, result: Result<()>) {
        match result {
            Ok(()) => {
                println!("{} {name}", shell::green("ok  "));
                self.passed += 1;
            }
            Err(error) => {
                println!("{} {name}: {error:#}", shell::red("FAIL"));
                self.failed += 1;
            }
        }
    }

    pub fn skip(&mut self, name: &str, reason: &str) {
        println!("{} {name}: {reason}", shell::yellow("skip"));
        self.skipped += 1;
    }

    /// Prints the sum, which is the last line of everything, and answers whether all is well.
    pub fn finish(self) -> bool {
        println!("{} passed, {} failed, {} skipped", self.passed, self.failed, self.skipped);
        self.failed == 0
    }

    /// Counts what another one has told already.
    pub fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

/// Adds up every `test result: ok. 3 passed; 0 failed; 1 ignored; …` line.
fn counts(text: &str) -> Tally {
    let mut sum = Tally::default();
    for line in text.lines().filter(|line| line.starts_with("test result: ")) {
        let number = |word: &str| -> u64 {
            line.split([';', '.'])
                .find_map(|part| part.trim().strip_suffix(word)?.trim().parse().ok())
                .unwrap_or_default()
        };
        sum.add(Tally { passed: number("passed"), failed: number("failed"), skipped: number("ignored") });
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adds_up_the_summaries_of_libtest() {
        let text = "running 4 tests\ntest result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 7 filtered out; \
                    finished in 0.00s\nnoise\ntest result: FAILED. 12 passed; 2 failed; 0 ignored; 0 measured; 0 \
                    filtered out; finished in 1.50s\n";
        assert_eq!(counts(text), Tally { passed: 15, failed: 2, skipped: 1 });
    }

    #[test]
    fn a_command_without_tests_counts_once_and_a_crash_is_a_failure() {
        let mut tally = Tally::default();
        tally.command("true", &mut Command::new("true"));
        tally.command("false", &mut Command::new("false"));
        tally.command("nothing", &mut Command::new("governor-no-such-program"));
        let mut crash = Command::new("sh");
        tally.command(
            "crash",
            crash.args(["-c", "echo 'test result: ok. 2 passed; 0 failed; 0 ignored'; exit 1"]),
        );
        assert_eq!(tally, Tally { passed: 3, failed: 3, skipped: 0 });
    }
}
