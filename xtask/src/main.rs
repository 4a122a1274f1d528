//! `cargo xtask`: everything that is done with this repository beside writing code.
//!
//! `setup` installs what is missing, `build` builds, `test` judges, `tidy` checks the layers and documents,
//! `demo` shows the product, `conformance` compares what clients see with and without it, `bypass` attacks
//! it, `bench` measures it.

mod bench;
mod build_ebpf;
mod bypass;
mod compile;
mod conformance;
mod demo;
mod fuzz;
mod guest;
mod interrupt;
mod kernels;
#[cfg(test)]
mod phone_plans;
mod profile_guided;
mod qemu;
mod root;
mod setup;
mod shell;
mod tally;
mod test;
mod tidy;
mod transcripts;
mod workspace;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

#[derive(Debug, Parser)]
#[command(name = "cargo xtask", about = "Set up, build, test, show and measure governor")]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Install what is missing: packages, the BPF linker, test servers
    Setup(setup::Options),
    /// Build the kernel programs, then governor with them inside
    Build(compile::Options),
    /// Run every check, or only those named
    Test(test::Options),
    /// Check layers, headers, documents, metric table
    Tidy,
    /// Record the sessions in tests/transcripts anew, with every driver and server that is installed
    Transcripts(transcripts::Options),
    /// Show governor at work on a throw-away PostgreSQL
    Demo(demo::Options),
    /// Run a program directly and through governor, and compare what it printed
    Conformance(conformance::Options),
    /// Attack governor with every file of tests/bypass and print the score
    Bypass(bypass::Options),
    /// Compare governor with a direct connection, HAProxy and pgbouncer
    Bench(bench::Options),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let result = match arguments.verb {
        Verb::Setup(options) => setup::run(&options),
        Verb::Build(options) => setup::run(&setup::Options::for_building())
            .and_then(|()| compile::run(&options))
            .map(|binary| println!("built {}", binary.display())),
        Verb::Test(options) => match test::run(&options) {
            Ok(true) => Ok(()),
            // The sum was printed and stays the last line.
            Ok(false) => return ExitCode::FAILURE,
            Err(error) => Err(error),
        },
        Verb::Tidy => tidy::run(),
        Verb::Transcripts(options) => transcripts::record(&options),
        Verb::Demo(options) => demo::run(&options),
        Verb::Conformance(options) => match conformance::run(&options) {
            Ok(true) => Ok(()),
            Ok(false) => return ExitCode::FAILURE,
            Err(error) => Err(error),
        },
        Verb::Bypass(options) => match bypass::run(&options) {
            Ok(true) => Ok(()),
            Ok(false) => return ExitCode::FAILURE,
            Err(error) => Err(error),
        },
        Verb::Bench(options) => bench::run(&options),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
