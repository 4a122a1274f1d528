//! A network namespace of the test's own, in which everything it starts lives.
//!
//! Attacks dial other addresses than loopback, and rewrite destinations. In the host's own namespace a hook that
//! misses would let their packets leave the machine; here there is nothing but what the test made. A namespace
//! belongs to a thread and what it starts, and the harness has threads that outlive a test, so the test program
//! runs itself again: one process for each test, in a namespace of its own from its first moment.

use crate::{process, wait};
use anyhow::{Context, Result, ensure};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Duration;

/// Runs the body of a `#[test]` in a network namespace that has only an open `lo`. The test has to have the name of
/// the function around the closure, as libtest names it.
pub fn alone<Body: FnOnce()>(body: Body) -> Result<()> {
    if std::env::var_os(INSIDE).is_some() {
        up("lo")?;
        body();
        return Ok(());
    }
    let name = test_name::<Body>();
    let finished = again(&name).with_context(|| format!("{name} in a namespace of its own"))?;
    // libtest shows this with a test that fails.
    println!("{}", finished.all());
    ensure!(finished.status.success(), "{name} failed in its own network namespace; what it said is above");
    ensure!(finished.out().contains("1 passed"), "the program has no test `{name}`");
    Ok(())
}

fn again(name: &str) -> Result<process::Finished> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["--exact", name, "--nocapture", "--include-ignored"]).env(INSIDE, "1");
    // SAFETY: a plain system call between fork and exec.
    unsafe {
        command.pre_exec(|| match libc::unshare(libc::CLONE_NEWNET) {
            0 => Ok(()),
            _ => Err(std::io::Error::last_os_error()),
        });
    }
    process::run(command, LIMIT)
}

/// `program::module::test::{{closure}}`, without program and closure.
fn test_name<Body>() -> String {
    let path = std::any::type_name::<Body>();
    let path = path.split_once("::").map_or(path, |(_, rest)| rest);
    path.split("::{{closure}}").next().unwrap_or(path).to_owned()
}

/// Opens an interface of this namespace.
pub fn up(interface: &str) -> Result<()> {
    ip(&["link", "set", interface, "up"])
}

/// One command of `ip` in this namespace.
pub fn ip(arguments: &[&str]) -> Result<()> {
    let mut ip = Command::new("ip");
    ip.args(arguments);
    process::run(ip, wait::PATIENCE)?.ok().with_context(|| format!("ip {}", arguments.join(" ")))?;
    Ok(())
}

/// Two ends of a cable, as the kernel makes them, both still in this namespace.
pub fn cable(one: &str, other: &str) -> Result<()> {
    ip(&["link", "add", one, "type", "veth", "peer", "name", other])
}

const INSIDE: &str = "GOVERNOR_TEST_OWN_NETWORK";
const LIMIT: Duration = Duration::from_secs(300);
