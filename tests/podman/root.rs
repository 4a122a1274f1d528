//! What a container's root can do against governor: user 0 of the host, with CAP_NET_ADMIN and CAP_NET_RAW in its own network namespace.
//! The table is in `docs/THREATS.md`; the ways that need no container are in suite `around`.

use super::{BILLING, Site, no_engine};
use governor_tests::database_host::PORT;
use governor_tests::engine::GATEWAY;
use governor_tests::governor::{field, text};
use governor_tests::{Options, process, wait};
use serde_json::Value;

/// Each way is tried in one process, and says one line: its name, and what came of it.
const WAYS: &str = r#"
import ctypes, os, socket, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
server, port = sys.argv[1], int(sys.argv[2])
def ask(s):
    body = struct.pack('>I', 196608) + b'user\0app\0database\0shop\0\0'
    s.sendall(struct.pack('>I', len(body) + 4) + body)
    query = b'SELECT email FROM people WHERE id = 1\0'
    s.sendall(b'Q' + struct.pack('>I', len(query) + 4) + query + b'X\0\0\0\4')
    data = b''
    while (more := s.recv(65536)): data += more
    return 'answered ' + data.hex()
def dial(prepare=lambda s: None, address=server):
    s = socket.socket(); s.settimeout(20); prepare(s); s.connect((address, port)); return s
def call(number, *arguments):
    if libc.syscall(number, *arguments) == -1: raise OSError(ctypes.get_errno(), 'no')
    return 'done'
def hello():
    s = dial(); body = b'GOVH' + bytes([1, 1]) + bytes(32) + bytes([5] * 32)
    s.sendall(struct.pack('>I', len(body) + 4) + body)
    return 'replied ' + s.recv(1).decode()
def leave():
    for top in ('/sys/fs/cgroup', '/sys/fs/cgroup/..'):
        with open(top + '/cgroup.procs', 'w') as f: f.write('0')
    return 'done'
NEWNS, NEWNET, SETNS, UNSHARE, BPF, MOUNT = 0x20000, 0x40000000, 308, 272, 321, 165
ways = {
    'plain': lambda: ask(dial()),
    'marked': lambda: ask(dial(lambda s: s.setsockopt(socket.SOL_SOCKET, 36, 4711))),
    'bound': lambda: ask(dial(lambda s: s.bind(('0.0.0.0', 5432)))),
    'device': lambda: ask(dial(lambda s: s.setsockopt(socket.SOL_SOCKET, 25, b'eth0\0'))),
    'raw': lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_TCP) and 'done',
    'hello': hello,
    'setns': lambda: call(SETNS, os.open('/proc/self/ns/net', os.O_RDONLY), NEWNET),
    'unshare': lambda: call(UNSHARE, NEWNET),
    'bpf': lambda: call(BPF, 11, ctypes.create_string_buffer(128), 128),
    'mount': lambda: call(MOUNT, b'none', b'/tmp', b'bpf', 0, 0),
    'leave': leave,
}
for name, way in ways.items():
    try: print(name, way(), flush=True)
    except OSError as e: print(name, 'errno', e.errno, flush=True)
"#;

/// What each way came to.
fn tried(site: &Site, container: &str) -> Vec<(String, String)> {
    let port = PORT.to_string();
    let arguments = ["exec", container, "python3", "-ISc", WAYS, GATEWAY, &port];
    let done = process::run(site.engine.podman_command(&arguments).unwrap(), wait::PATIENCE * 3).unwrap();
    let lines = done.ok().unwrap().out();
    lines.lines().map(|line| line.split_once(' ').unwrap()).map(|(a, b)| (a.into(), b.into())).collect()
}

#[test]
fn a_containers_root_gets_nothing_past_governor() {
    if no_engine() {
        return;
    }
    let policy = "@id(\"nobody-reads-people\")\nforbid (principal, action in Governor::Action::\"run\", resource)\n\
                  when { context.reads.contains(\"people\") };\n";
    let options = Options { policies: vec![("people.cedar".into(), policy.into())], ..Options::default() };
    let mut site = Site::prepare(&options);
    site.governor.launch().unwrap();
    let id = site.run("billing-1", &["--cap-add", "NET_ADMIN,NET_RAW"], BILLING);
    site.psql("billing-1", "SELECT 1").ok().unwrap();
    let (secret, denied) = (hex(&site.secret()), hex("42501"));
    let tried = tried(&site, "billing-1");
    assert_eq!(tried.len(), 11, "{tried:?}");
    let mut governed = 0;
    for (way, came) in &tried {
        match way.as_str() {
            "plain" | "marked" | "bound" | "device" => {
                assert!(came.contains(&denied) && !came.contains(&secret), "{way}: {came}");
                governed += 1;
            }
            "hello" => assert_eq!(came, "replied E"),
            "leave" => assert!(matches!(came.as_str(), "errno 30" | "errno 13" | "errno 2"), "{way}: {came}"),
            // Not permitted, or not a call that the engine lets through.
            _ => assert!(matches!(came.as_str(), "errno 1" | "errno 38"), "{way}: {came}"),
        }
    }
    let by_it = |event: &str| -> Vec<Value> { site.governor.events(event).unwrap() };
    let asked = by_it("statement").iter().filter(|it| text(it, "text").contains("email FROM people")).count();
    assert_eq!(asked, governed, "{tried:?}");
    let starts = by_it("session_start");
    let is_its = |start: &&Value| field(start, "principal")["container"] == id;
    assert_eq!(starts.iter().filter(is_its).count(), starts.len(), "nobody else is on record: {starts:#?}");
    let hello =
        site.governor.wait_for_record("hello", |hello| text(hello, "outcome") == "unexpected").unwrap();
    assert!(text(&hello, "reason").contains("a client of this host"), "{hello}");
    site.governor.cli(&["audit", "completeness"]).unwrap().ok().unwrap();
}

fn hex(text: &str) -> String {
    text.bytes().map(|byte| format!("{byte:02x}")).collect()
}
