//! A relay in user space, as a container engine has one for a published port: a process like any other to the kernel.

use crate::{client, programs};
use std::process::Command;

/// A program that accepts at `listen` and goes on to `to`. Ends by a signal.
pub fn relay(listen: (&str, u16), to: (&str, u16)) -> Command {
    let mut python = client::outside("python3", to.1);
    python.args(["-ISc", RELAY, listen.0, &listen.1.to_string(), to.0, &to.1.to_string()]);
    python
}

/// The same by the relay of a container engine itself.
pub fn docker_proxy(listen: (&str, u16), to: (&str, u16)) -> Command {
    let mut shell = client::outside("sh", to.1);
    // Whether it listens it says at descriptor 3, which must be there.
    shell.args(["-c", "exec \"$0\" \"$@\" 3>/dev/null"]).arg(programs::docker_proxy());
    shell.args(["-proto", "tcp", "-host-ip", listen.0, "-host-port", &listen.1.to_string()]);
    shell.args(["-container-ip", to.0, "-container-port", &to.1.to_string()]);
    shell
}

/// The same for Python: accepts at an address and makes a connection of its own for each, as the relay of a container engine does.
/// Arguments: address and port to accept at, then those to go on to. Says `up` when it listens.
pub const RELAY: &str = r"
import socket, sys, threading
l = socket.create_server((sys.argv[1], int(sys.argv[2]))); print('up', flush=True)
def pump(a, b):
    try:
        while (d := a.recv(65536)): b.sendall(d)
    except OSError: pass
    finally:
        try: b.shutdown(socket.SHUT_WR)
        except OSError: pass
while True:
    c, _ = l.accept()
    try: s = socket.create_connection((sys.argv[3], int(sys.argv[4])))
    except OSError: c.close(); continue
    for pair in ((c, s), (s, c)): threading.Thread(target=pump, args=pair, daemon=True).start()
";
