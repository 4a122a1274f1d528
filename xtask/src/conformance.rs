//! `cargo xtask conformance`: anything that speaks to PostgreSQL, run directly and through governor, and compared.
//!
//! A difference that policy did not ask for is a bug of governor's. `-- COMMAND…` runs any program twice, against
//! a database made anew each time; `regress` and `isolation` run the server's own test suites, each time against
//! a fresh server.

mod differ;

use crate::{compile, root, setup};
use anyhow::{Context, Result, bail};
use differ::Differ;
use governor_tests::postgres::{Auth, Postgres};
use governor_tests::regress::{self, Suite};
use governor_tests::{Cgroup, Class, Finished, Governor, Options as GovernorOptions, Running, cgroup};
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

#[derive(Clone, Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = false, subcommand_negates_reqs = true)]
pub struct Options {
    #[command(subcommand)]
    suite: Option<Verb>,
    /// Major version of the server; the distribution's own where none is given
    #[arg(long, global = true)]
    server: Option<u32>,
    /// How governor is set up: observe changes nothing, protect is the default of an installation
    #[arg(long, global = true, value_enum, default_value_t = Profile::Observe)]
    profile: Profile,
    /// What governor takes the client for
    #[arg(long, global = true, value_enum, default_value_t = ClassName::Service)]
    class: ClassName,
    /// Lines that match are left out of the comparison; may be given more than once
    #[arg(long, global = true, value_name = "REGEX")]
    ignore: Vec<String>,
    /// Leave both outputs here
    #[arg(long, global = true, value_name = "DIR")]
    keep: Option<PathBuf>,
    /// Use the binary named in GOVERNOR_BIN instead of building one
    #[arg(long, global = true)]
    no_build: bool,
    /// Run with PGHOST, PGPORT, PGUSER and PGDATABASE set
    #[arg(last = true, required = true)]
    command: Vec<String>,
}

#[derive(Clone, Debug, clap::Subcommand)]
enum Verb {
    /// The server's own regression suite, or the named files of it
    Regress { files: Vec<String> },
    /// The server's own suite of sessions beside each other, or the named files of it
    Isolation { files: Vec<String> },
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Profile {
    Observe,
    Protect,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum ClassName {
    Service,
    Person,
    Agent,
}

/// Answers whether both ways were the same.
pub fn run(options: &Options) -> Result<bool> {
    if !options.no_build {
        setup::run(&setup::Options::default())?;
        let binary = compile::governor(false)?;
        // SAFETY: no other thread runs yet, so nobody reads the environment at the same time.
        unsafe { std::env::set_var("GOVERNOR_BIN", binary) };
    }
    root::ensure("attaching kernel programs to a cgroup of the comparison's own")?;
    let differ = Differ::new(&options.ignore, options.keep.clone())?;
    match &options.suite {
        Some(Verb::Regress { files }) => suite(options, &differ, Suite::Regress, files),
        Some(Verb::Isolation { files }) => suite(options, &differ, Suite::Isolation, files),
        None => command(options, &differ),
    }
}

/// One command, one server, two runs.
fn command(options: &Options, differ: &Differ) -> Result<bool> {
    let postgres = Postgres::start_version(options.server, Auth::Trust, &[])?;
    let group = Cgroup::create("governor-conformance")?;
    let governor = Governor::start(&group, postgres.port(), &options.governor())?;
    let direct = once(options, &postgres, None)?;
    let through = once(options, &postgres, Some(&group))?;
    let statements = governor.events("statement")?.len();
    let mut same = direct.status == through.status;
    if !same {
        println!("exit: direct {}, through governor {}", direct.status, through.status);
    }
    same &= differ.same("stdout", &direct.stdout, &through.stdout)?;
    same &= differ.same("stderr", &direct.stderr, &through.stderr)?;
    println!(
        "{}: {}, {} bytes of output, {statements} statements on record",
        if same { "the same both ways" } else { "DIFFERENT" },
        direct.status,
        direct.stdout.len() + direct.stderr.len(),
    );
    Ok(same)
}

fn once(options: &Options, postgres: &Postgres, inside: Option<&Cgroup>) -> Result<Finished> {
    postgres.admin(
        "postgres",
        &format!(
            "DROP DATABASE IF EXISTS {DATABASE};\nCREATE DATABASE {DATABASE} OWNER app TEMPLATE template0;"
        ),
    )?;
    let (program, arguments) = options.command.split_first().context("no command was given")?;
    let mut command = Command::new(program);
    command.args(arguments).env("PGPORT", postgres.port().to_string());
    for (name, value) in [("PGHOST", "127.0.0.1"), ("PGUSER", "app"), ("PGDATABASE", DATABASE)] {
        command.env(name, value);
    }
    if let Some(group) = inside {
        cgroup::enter(&mut command, &group.client(options.class.into()))?;
    }
    Running::start(command, &[])?.finish(LIMIT)
}

/// One of the server's suites, on two servers at the same time.
fn suite(options: &Options, differ: &Differ, suite: Suite, files: &[String]) -> Result<bool> {
    let started = Instant::now();
    let direct = || -> Result<regress::Results> {
        let postgres = Postgres::start_version(options.server, Auth::Trust, regress::SETTINGS)?;
        regress::run(suite, &postgres, None, files)
    };
    let through = || -> Result<(regress::Results, usize)> {
        let postgres = Postgres::start_version(options.server, Auth::Trust, regress::SETTINGS)?;
        let group = Cgroup::create("governor-conformance")?;
        let governor = Governor::start(&group, postgres.port(), &options.governor())?;
        let results = regress::run(suite, &postgres, Some((&group, options.class.into())), files)?;
        Ok((results, governor.count_records("statement")?))
    };
    let (direct, through) = std::thread::scope(|scope| {
        let direct = scope.spawn(direct);
        let through = through();
        (direct.join(), through)
    });
    let direct = direct.map_err(|_| anyhow::anyhow!("the direct run panicked"))?.context("directly")?;
    let (through, statements) = through.context("through governor")?;
    let mut different = Vec::new();
    for (name, output) in &direct.outputs {
        let other = through.outputs.get(name).map(Vec::as_slice).unwrap_or_default();
        if !differ.same(name, output, other)? {
            different.push(name.as_str());
        }
    }
    let files = direct.outputs.len();
    println!(
        "{} of {files} files are the same both ways ({} s); {statements} statements on record",
        files - different.len(),
        started.elapsed().as_secs()
    );
    println!(
        "not as the server's authors expect: directly {:?}, through governor {:?}",
        direct.unexpected, through.unexpected
    );
    if !different.is_empty() {
        println!("different: {}", different.join(" "));
    }
    if statements == 0 {
        bail!("nothing went through governor: the comparison says nothing");
    }
    Ok(different.is_empty())
}

impl Options {
    fn governor(&self) -> GovernorOptions {
        let profile = match self.profile {
            Profile::Observe => Some("observe"),
            Profile::Protect => None,
        };
        // Nobody answers here: what is held gives up at once.
        GovernorOptions { profile, approval_timeout: "1s", ..GovernorOptions::default() }
    }
}

impl From<ClassName> for Class {
    fn from(name: ClassName) -> Self {
        match name {
            ClassName::Service => Self::Service,
            ClassName::Person => Self::Person,
            ClassName::Agent => Self::Agent,
        }
    }
}

const DATABASE: &str = "conformance";
const LIMIT: Duration = Duration::from_secs(60 * 60);
