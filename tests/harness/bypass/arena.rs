//! One server, one governor, and a database for each run as the attack expects to find it.
//!
//! A database that was left as it was is used again; every other one is made anew from a template, under a name
//! that was never used, so that nothing known about an earlier one can stand in for looking.

use super::attack::Attack;
use super::play::{Played, Stage, play};
use super::reveal::Secret;
use super::state::{State, is_of_server};
use crate::governor::{Governor, Options};
use crate::postgres::{Auth, Postgres};
use crate::remote_socket::RemoteSocket;
use crate::wire::{self, Wire};
use crate::{Cgroup, wait};
use anyhow::{Context, Result, bail};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Past governor, or through it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    Direct,
    Governed,
}

/// What one run left.
#[derive(Debug)]
pub struct Run {
    pub played: Played,
    /// Parts of database and server that are not what they were.
    pub changed: Vec<String>,
    pub secrets: Vec<Secret>,
}

/// A database as an attack finds it.
#[derive(Debug)]
struct Database {
    name: String,
    state: State,
    /// A superuser's session past governor that only looks: a new one would read the whole catalogue once more.
    looker: Wire,
}

#[derive(Debug)]
pub struct Arena {
    pub governor: Governor,
    group: Cgroup,
    postgres: Postgres,
    bystander: Mutex<Option<Wire>>,
    /// Superuser's sessions of the database `postgres`, past governor.
    askers: Mutex<Vec<Wire>>,
    databases: AtomicUsize,
    /// For each way those that were left as they were.
    clean: Mutex<[Vec<Database>; 2]>,
    secrets: Vec<Secret>,
}

impl Arena {
    /// `more`: lines of the agent's configuration beside the corpus's own.
    pub fn start(server_version: Option<u32>, more: &str) -> Result<Self> {
        let options = Options {
            // Nobody answers: what is held gives up soon.
            approval_timeout: "1s",
            more: more.to_owned(),
            server_version,
            server_settings: SETTINGS.to_vec(),
            ..Options::default()
        };
        let postgres = Postgres::start_version(server_version, Auth::Trust, &options.server_settings)?;
        postgres.authenticate(AUTHENTICATION)?;
        postgres.admin("postgres", &read("server.sql")?)?;
        postgres.admin("postgres", &format!("CREATE DATABASE {TEMPLATE}"))?;
        postgres.admin(TEMPLATE, &read("shop.sql")?)?;
        let group = Cgroup::create("governor-bypass")?;
        let governor = Governor::start(&group, postgres.port(), &options)?;
        let mut arena = Self {
            governor,
            group,
            postgres,
            bystander: Mutex::default(),
            askers: Mutex::default(),
            databases: AtomicUsize::new(0),
            clean: Mutex::default(),
            secrets: vec![],
        };
        arena.secrets = secrets_of("sensitive", arena.rows(TEMPLATE, &read("secrets.sql")?)?);
        arena.seat_bystander()?;
        Ok(arena)
    }

    /// The server's major version.
    pub fn server_major(&self) -> Result<u32> {
        let number: u32 = self.ask("SHOW server_version_num")?.parse()?;
        Ok(number / 10_000)
    }

    /// Plays `attack` in a database of its own and says what came of it.
    pub fn run(&self, attack: &Attack, way: Way) -> Result<Run> {
        let mut database = self.database(attack, way)?;
        let result = self.run_in(attack, way, &mut database);
        let changed = result.as_ref().map(|run| run.changed.as_slice()).unwrap_or_default();
        let beyond = !attack.clean_up.is_empty() || changed.iter().any(|part| is_of_server(part));
        let before = database.state.clone();
        if !attack.clean_up.is_empty() {
            self.postgres.admin(&database.name, &attack.clean_up).context("clean_up")?;
        }
        if !attack.set_up.is_empty() || !changed.is_empty() || result.is_err() {
            self.ask(&format!("DROP DATABASE {} WITH (FORCE)", database.name))?;
        } else if let Some(clean) = lock(&self.clean).get_mut(way as usize) {
            clean.push(database);
        }
        if beyond || result.is_err() {
            self.seat_bystander()?;
            let now = state_by(&mut self.superuser("postgres")?)?;
            let left: Vec<String> =
                before.differences(&now).into_iter().filter(|part| is_of_server(part)).collect();
            if !left.is_empty() {
                bail!("its clean_up leaves {} of the server changed", left.join(", "));
            }
        }
        result
    }

    fn run_in(&self, attack: &Attack, way: Way, database: &mut Database) -> Result<Run> {
        let Database { name: database, state: before, looker } = database;
        let database = database.as_str();
        let mut secrets = self.secrets.clone();
        for (number, query) in attack.reveals.iter().enumerate() {
            let more = secrets_of(&format!("reveals[{number}]"), self.rows(database, query)?);
            if more.is_empty() {
                bail!("reveals[{number}] has no rows");
            }
            secrets.extend(more);
        }
        let group = match way {
            Way::Direct => self.group.agent_host(),
            Way::Governed => self.group.client(attack.class.into()),
        };
        let outside = |sql: &str| self.rows(database, sql).map(drop);
        let oid = |function: &str| -> Result<u32> {
            let sql = format!("SELECT '{function}'::regprocedure::oid");
            let rows = self.rows(database, &sql)?;
            Ok(rows.first().and_then(|row| row.first()).context("no such function")?.parse()?)
        };
        let stage = Stage { group: &group, server: self.server(), database, outside: &outside, oid: &oid };
        let mut played = play(attack, &stage)?;
        let mut changed = Vec::new();
        // What is locked shows while the attacker is there; everything else once he is gone.
        if self.ask(&LOCKS.replace("{database}", database))? != "0" {
            changed.push("locks".to_owned());
        }
        played.close();
        self.wait_until_left(database)?;
        match state_by(looker) {
            Ok(after) => changed.extend(before.differences(&after)),
            // A prepared transaction keeps its locks.
            Err(_) if !changed.is_empty() => {}
            Err(error) => return Err(error),
        }
        Ok(Run { played, changed, secrets })
    }

    fn database(&self, attack: &Attack, way: Way) -> Result<Database> {
        if attack.set_up.is_empty()
            && let Some(clean) = lock(&self.clean).get_mut(way as usize).and_then(Vec::pop)
        {
            return Ok(clean);
        }
        let name = format!("shop_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        self.ask(&format!("CREATE DATABASE {name} TEMPLATE {TEMPLATE} OWNER app"))?;
        if !attack.set_up.is_empty() {
            self.rows(&name, &attack.set_up).context("set_up")?;
        }
        let mut looker = self.superuser(&name)?;
        let state = state_by(&mut looker)?;
        Ok(Database { name, state, looker })
    }

    /// The first value of the answer; empty where there is none.
    fn ask(&self, sql: &str) -> Result<String> {
        let free = lock(&self.askers).pop();
        let mut wire = free.map_or_else(|| self.superuser("postgres"), Ok)?;
        let rows = all_rows(&mut wire, sql)?;
        lock(&self.askers).push(wire);
        Ok(rows.into_iter().flatten().next().unwrap_or_default())
    }

    /// All rows of all statements of `sql`.
    fn rows(&self, database: &str, sql: &str) -> Result<Vec<Vec<String>>> {
        all_rows(&mut self.superuser(database)?, sql)
    }

    fn superuser(&self, database: &str) -> Result<Wire> {
        let mut wire = Wire::new(RemoteSocket::connect(&self.group.agent_host(), self.server())?)?;
        let parameters = [("user", "postgres"), ("database", database), ("application_name", LOOKER)];
        wire.send(&wire::startup_with(0, &parameters))?;
        let greeting = wire.until_ready()?;
        if let Some(error) = greeting.iter().find(|message| message.tag == b'E') {
            bail!("no session of ours in {database}: {}", error.field(b'M').unwrap_or_default());
        }
        Ok(wire)
    }

    fn server(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.postgres.port()))
    }

    /// A session of somebody else: its statement is a secret, and it is to be left alone.
    fn seat_bystander(&self) -> Result<()> {
        let sitting =
            "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'bystander' AND state = 'active'";
        let mut bystander = lock(&self.bystander);
        if bystander.is_some() && self.ask(sitting)? == "1" {
            return Ok(());
        }
        let mut wire = Wire::new(RemoteSocket::connect(&self.group.agent_host(), self.server())?)?;
        let parameters = [("user", "app"), ("database", "postgres"), ("application_name", "bystander")];
        wire.send(&wire::startup_with(0, &parameters))?;
        wire.until_ready()?;
        wire.send(&wire::query(&format!("SELECT pg_sleep(86400), '{BYSTANDER}'")))?;
        *bystander = Some(wire);
        wait::until("the bystander to sit", wait::PATIENCE, || Ok((self.ask(sitting)? == "1").then_some(())))
    }

    /// Sessions end after their connections; those that still run something are ended.
    fn wait_until_left(&self, database: &str) -> Result<()> {
        let count = format!("SELECT count(*) {}", SESSIONS.replace("{database}", database));
        let left = || Ok((self.ask(&count)? == "0").then_some(()));
        if wait::until("the sessions to end", Duration::from_secs(2), left).is_err() {
            let end =
                format!("SELECT pg_terminate_backend(pid) {}", SESSIONS.replace("{database}", database));
            self.ask(&end)?;
            wait::until("the sessions to be ended", wait::PATIENCE, left)?;
        }
        Ok(())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn state_by(wire: &mut Wire) -> Result<State> {
    Ok(State::of(all_rows(wire, &read("state.sql")?)?))
}

fn all_rows(wire: &mut Wire, sql: &str) -> Result<Vec<Vec<String>>> {
    let reply = wire.query(sql)?;
    if let Some(error) = reply.iter().find(|message| message.tag == b'E') {
        bail!("{}: {sql:.200}", error.field(b'M').unwrap_or_default());
    }
    let text = |value: Option<Vec<u8>>| String::from_utf8_lossy(&value.unwrap_or_default()).into_owned();
    let rows = reply.iter().filter(|message| message.tag == b'D');
    rows.map(|row| Ok(row.row()?.into_iter().map(text).collect())).collect()
}

/// The files of the corpus.
pub fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("bypass")
}

fn read(file: &str) -> Result<String> {
    let path = directory().join(file);
    std::fs::read_to_string(&path).with_context(|| path.display().to_string())
}

/// One secret for each value of each row.
fn secrets_of(what: &str, rows: Vec<Vec<String>>) -> Vec<Secret> {
    let values = rows.into_iter().flatten().filter(|value| !value.is_empty());
    values.map(|value| Secret { what: format!("{what} {value:?}"), value }).collect()
}

/// Text of another session's statement; `secrets.sql` has it too.
const BYSTANDER: &str = "bystanders own words 7319";
const TEMPLATE: &str = "pristine";
/// How our own sessions are called in the server.
const LOOKER: &str = "looker";
const SESSIONS: &str = "FROM pg_stat_activity WHERE datname = '{database}' AND backend_type = 'client backend' \
    AND NOT (application_name = 'looker' AND usename = 'postgres')";
/// Locks on which others would wait.
const LOCKS: &str = "SELECT count(*) FROM pg_locks l \
    WHERE l.database = (SELECT oid FROM pg_database WHERE datname = '{database}') AND l.granted AND (l.locktype = 'advisory' OR l.locktype = 'relation' \
    AND l.relation >= 16384 AND l.mode IN ('ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock'))";
/// Of the server: what some attacks need to work at all, and nothing that runs by itself.
const SETTINGS: &[&str] = &[
    "listen_addresses=127.0.0.1,127.0.0.2,::1",
    "wal_level=logical",
    "max_prepared_transactions=4",
    "autovacuum=off",
    "track_activity_query_size=4096",
];
const AUTHENTICATION: &str = "host all all 127.0.0.0/8 trust\nhost all all ::1/128 trust\n\
    host replication all 127.0.0.0/8 trust\nlocal all all trust";
