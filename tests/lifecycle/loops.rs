//! Clients that connect as fast as they can, so that a moment in which nobody takes them is found.

use governor_tests::{Running, wait};
use std::io::Write as _;
use std::process::{Command, Stdio};

/// Connects as fast as it can until it is told to stop; every statement has a number of its own. The target is
/// `HOST PORT`, or a path and `0`.
const LOOP: &str = "
import os, select, socket, struct, sys
host, port, name = sys.argv[1], int(sys.argv[2]), sys.argv[3]

def message(kind, body):
    return kind + struct.pack('!i', len(body) + 4) + body

def read(sock, size):
    data = b''
    while len(data) < size:
        part = sock.recv(size - len(data))
        if not part: raise OSError('closed')
        data += part
    return data

def until_ready(sock):
    rows = []
    while True:
        kind = read(sock, 1)
        body = read(sock, struct.unpack('!i', read(sock, 4))[0] - 4)
        if kind == b'E': raise OSError(body.decode(errors='replace'))
        if kind == b'D': rows.append(body)
        if kind == b'Z': return rows

def dial():
    if port: return socket.create_connection((host, port), timeout=30)
    sock = socket.socket(socket.AF_UNIX)
    sock.settimeout(30)
    sock.connect(host)
    return sock

done = 0
while not select.select([sys.stdin], [], [], 0)[0]:
    try:
        sock = dial()
        start = struct.pack('!i', 196608) + b'user\\0app\\0database\\0shop\\0\\0'
        sock.sendall(struct.pack('!i', len(start) + 4) + start)
        until_ready(sock)
        sock.sendall(message(b'Q', f'SELECT 1 /* {name}-{done} */'.encode() + b'\\0'))
        assert len(until_ready(sock)) == 1
        sock.sendall(message(b'X', b''))
        sock.close()
        done += 1
    except OSError as error:
        print('failed', done, error)
        sys.exit(1)
print('done', done)
";

/// Connections in a tight loop, with a pipe that ends them.
pub struct Loop {
    running: Running,
    name: String,
    stop: std::io::PipeWriter,
}

impl Loop {
    /// `python` is an interpreter where the clients are to be; `port` 0: `host` is a unix socket's path.
    pub fn start(python: Command, host: &str, port: u16, name: &str) -> Self {
        Self::of(python, &["-c", LOOP, host, &port.to_string(), name], name)
    }

    /// Another script that ends when something is on its standard input, and then says how much it did.
    pub fn of(mut python: Command, arguments: &[&str], name: &str) -> Self {
        let (end, stop) = std::io::pipe().unwrap();
        python.args(arguments);
        let running = Running::start_with(python, Stdio::from(end)).unwrap();
        Self { running, name: name.into(), stop }
    }

    /// How much it did, none of which failed.
    pub fn finish(mut self) -> usize {
        // One that has failed reads no more: what it said tells.
        self.stop.write_all(b"x").ok();
        let said = self.running.finish(wait::PATIENCE).unwrap();
        let out = said.all();
        assert!(said.status.success(), "{}: {out}", self.name);
        let count = out.lines().find_map(|line| line.strip_prefix("done ")?.parse().ok());
        count.unwrap_or_else(|| panic!("{out}"))
    }

    /// The same, and the texts of its statements.
    pub fn statements(self) -> Vec<String> {
        let name = self.name.clone();
        let count = self.finish();
        println!("loop {name}: {count} connections");
        (0..count).map(|n| format!("SELECT 1 /* {name}-{n} */")).collect()
    }
}
