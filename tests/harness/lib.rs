//! What the black-box tests, the demo and the benchmark stand on: a throw-away PostgreSQL, a cgroup of
//! its own, a governor between them, and clients that run inside the cgroup.
//!
//! Only public faces are used: the binary, its configuration file, its command line, the wire.
//! Everything started here ends with its owner: on drop, and by parent-death signal if the owner is killed.
//! Nothing waits by sleeping a guessed time: [`wait::until`] polls towards a deadline.

pub mod bypass;
pub mod cgroup;
pub mod client;
pub mod cluster;
pub mod containers;
pub mod database;
pub mod database_host;
pub mod engine;
pub mod governor;
pub mod held_network;
pub mod http;
pub mod image;
pub mod model;
pub mod namespace;
pub mod network;
pub mod pki;
pub mod postgres;
pub mod process;
pub mod programs;
pub mod recorder;
pub mod regress;
pub mod relay;
pub mod remote_socket;
pub mod site;
pub mod transcript;
pub mod two_hosts;
pub mod wait;
pub mod wall_clock;
pub mod wire;

pub use cgroup::{Cgroup, Class};
pub use governor::{Governor, Options};
pub use namespace::Namespace;
pub use postgres::{Auth, Postgres};
pub use process::{Finished, Running};
pub use site::Site;
