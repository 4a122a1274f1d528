//! A database host and a client's host, each with a governor of its own, which name each other as peers.
//!
//! ```text
//! app1: psql ▸ governor  10.77.0.2 ═════ 10.77.0.1 :5432  governor ▸ PostgreSQL: db1
//! ```

use crate::cgroup::{Cgroup, Class};
use crate::database_host::{DatabaseHost, PORT, REMOTE_V4, REMOTE_V6, SERVER_V4, SERVER_V6};
use crate::governor::{Governor, Options};
use crate::postgres::Auth;
use crate::process::{Finished, Running};
use crate::{client, database_host};
use anyhow::Result;
use std::process::Command;

/// Key pairs of RFC 8032, section 7.1: seed and public key.
pub const APP1: (&str, &str) = (
    "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
    "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
);
pub const DB1: (&str, &str) = (
    "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
    "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
);
pub const STRANGER: (&str, &str) = (
    "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
    "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
);

/// Dropped in this order: the clients' governor first.
#[derive(Debug)]
pub struct TwoHosts {
    /// Of the client's host.
    pub app1: Governor,
    pub group: Cgroup,
    pub db1: DatabaseHost,
}

/// One block `[[identity.peers]]`.
pub fn peer(name: &str, addresses: &[&str], key: &str, hello: &str) -> String {
    format!(
        "[[identity.peers]]\nname = {name:?}\naddresses = {addresses:?}\nkey = {key:?}\nhello = {hello:?}\n"
    )
}

/// What each of the two says of the other.
pub fn names_db1(hello: &str) -> String {
    peer("db1", &[SERVER_V4, SERVER_V6], DB1.1, hello)
}

pub fn names_app1(hello: &str) -> String {
    peer("app1", &[REMOTE_V4, REMOTE_V6], APP1.1, hello)
}

impl TwoHosts {
    /// The options of the client's host, and those of the database's.
    pub fn start(auth: Auth, app1: &Options, db1: &Options) -> Result<Self> {
        let db1 = Options { hello_seed: db1.hello_seed.or(Some(DB1.0)), ..db1.clone() };
        let db1 = DatabaseHost::start("ports = [5432]", auth, &db1)?;
        let group = Cgroup::create("governor-test")?;
        let app1 = Options {
            hello_seed: app1.hello_seed.or(Some(APP1.0)),
            launcher: vec!["nsenter".into(), format!("--net={}", db1.remote.path())],
            ..app1.clone()
        };
        let app1 = Governor::start(&group, PORT, &app1)?;
        Ok(Self { app1, group, db1 })
    }

    /// Both name each other with this mode, in clear.
    pub fn trusting(hello: &str) -> Result<Self> {
        let app1 = Options { more: names_db1(hello), ..Options::default() };
        let db1 = Options { more: names_app1(hello), ..Options::default() };
        Self::start(Auth::Trust, &app1, &db1)
    }

    /// A captured client program on the client's host.
    pub fn client(&self, program: &str, class: Class, server: &str) -> Result<Command> {
        let mut command = client::command(program, &self.group, class, PORT)?;
        command.env("PGHOST", server);
        self.db1.remote.enter(&mut command)?;
        Ok(command)
    }

    pub fn psql(&self, class: Class, server: &str, sql: &str) -> Result<Finished> {
        database_host::psql(self.client("psql", class, server)?, sql)
    }

    pub fn psql_running(&self, class: Class, server: &str, sql: &str) -> Result<Running> {
        database_host::psql_running(self.client("psql", class, server)?, sql)
    }

    /// psql on the client's host that governor does not capture there.
    pub fn psql_past(&self, server: &str, sql: &str) -> Result<Finished> {
        self.db1.remote_psql(server, sql)
    }
}
