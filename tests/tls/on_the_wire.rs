//! TLS as it is on the wire, by clients and servers that speak it themselves: what comes too early, what never ends, what no
//! library's client does, and what a connection costs.

use super::{Keys, Secure, text};
use governor_tests::remote_socket::RemoteSocket;
use governor_tests::{Cgroup, Class, Governor, Options, cgroup, client, process, programs, wait, wire};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

fn socket(site: &Secure, class: Class) -> RemoteSocket {
    let address = SocketAddr::from(([127, 0, 0, 1], site.postgres.port()));
    let socket = RemoteSocket::connect(&site.group.client(class), address).unwrap();
    socket.stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    socket
}

#[test]
fn bytes_behind_an_ssl_request_never_count() {
    let site = Secure::start(Keys::Found, "");
    let mut stuffed = socket(&site, Class::Service);
    let bytes = [wire::ssl_request(), wire::startup("app", "shop")].concat();
    stuffed.stream.write_all(&bytes).unwrap();
    let mut answer = Vec::new();
    // Reset or closed, after an error at most: never an S with the start-up packet taken.
    stuffed.stream.read_to_end(&mut answer).ok();
    assert!(answer.is_empty() || answer[0] == b'E', "{answer:?}");
    site.governor
        .wait_for_record("protocol_error", |record| text(record, "message").contains("behind an encryption"))
        .unwrap();
}

#[test]
fn a_half_done_handshake_ends_with_the_start_up_deadline() {
    let site = Secure::start(Keys::Found, "[limits]\nstartup_timeout = \"1s\"");
    let mut silent = socket(&site, Class::Service);
    silent.stream.write_all(&wire::ssl_request()).unwrap();
    let mut answer = Vec::new();
    silent.stream.read_to_end(&mut answer).ok();
    assert_eq!(answer, b"S", "and then the end");
    site.governor
        .wait_for_record("session_end", |record| text(record, "reason").contains("startup_timeout"))
        .unwrap();
    // What is no TLS gets an alert at once.
    let mut nonsense = socket(&site, Class::Service);
    nonsense.stream.write_all(&wire::ssl_request()).unwrap();
    let mut yes = [0];
    nonsense.stream.read_exact(&mut yes).unwrap();
    nonsense.stream.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    nonsense.stream.read_to_end(&mut answer).ok();
    assert_eq!(answer.first(), Some(&0x15), "{answer:?}");
}

#[test]
fn a_cancel_request_within_tls_reaches_the_server_within_tls() {
    let site = Secure::start(Keys::Found, "");
    site.postgres.authenticate("hostssl all all 127.0.0.1/32 trust").unwrap();
    let mut session = secure_wire(&site);
    session.write_all(&wire::startup("app", "shop")).unwrap();
    let key = until_ready(&mut session).into_iter().find(|(tag, _)| *tag == b'K').unwrap().1;
    session.write_all(&wire::query("SELECT pg_sleep(60)")).unwrap();
    wait::until("the statement to run", wait::PATIENCE, || {
        let running =
            "SELECT count(*) FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(60)' AND state = 'active'";
        Ok((site.postgres.admin("shop", running)? == "1").then_some(()))
    })
    .unwrap();
    let mut cancel = secure_wire(&site);
    cancel.write_all(&wire::cancel(&key)).unwrap();
    let replies = until_ready(&mut session);
    let error = replies.iter().find(|(tag, _)| *tag == b'E').unwrap();
    assert!(String::from_utf8_lossy(&error.1).contains("57014"), "{error:?}");
}

#[test]
fn idle_connections_over_tls_cost_little() {
    let site = Secure::start(Keys::Found, "");
    site.postgres.authenticate("hostssl all all 127.0.0.1/32 trust").unwrap();
    let pid = site.governor.pid().unwrap();
    let open = || {
        let mut session = secure_wire(&site);
        session.write_all(&wire::startup("app", "shop")).unwrap();
        until_ready(&mut session);
        session
    };
    // What is kept once, whatever comes later.
    let first: Vec<_> = (0..20).map(|_| open()).collect();
    let before = process::rss_kib(pid).unwrap();
    let more: Vec<_> = (0..200).map(|_| open()).collect();
    let each = process::rss_kib(pid).unwrap().saturating_sub(before) as f64 / more.len() as f64;
    println!("{each:.1} KiB for an idle connection over TLS on both sides");
    assert!(each < f64::from(IDLE_KIB_MAX), "{each}");
    drop(first);
}

/// Far more than was ever seen: it is about a buffer that stays.
const IDLE_KIB_MAX: u32 = 96;

/// A TLS connection of a client that verifies the server's own certificate.
fn secure_wire(site: &Secure) -> Secured {
    let mut socket = socket(site, Class::Service);
    socket.stream.write_all(&wire::ssl_request()).unwrap();
    let mut answer = [0];
    socket.stream.read_exact(&mut answer).unwrap();
    assert_eq!(answer, *b"S");
    secured(site, socket, &[])
}

pub type Secured = rustls::StreamOwned<rustls::ClientConnection, Held>;

pub fn secured(site: &Secure, socket: RemoteSocket, alpn: &[&[u8]]) -> Secured {
    use rustls::pki_types::pem::PemObject;
    let mut roots = rustls::RootCertStore::empty();
    roots.add(rustls::pki_types::CertificateDer::from_pem_file(site.pki.root()).unwrap()).unwrap();
    let provider = rustls::crypto::ring::default_provider().into();
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    let name = "localhost".try_into().unwrap();
    let connection = rustls::ClientConnection::new(config.into(), name).unwrap();
    rustls::StreamOwned::new(connection, Held(socket))
}

/// The distribution's server does not, 17 and later do.
#[test]
fn direct_tls_works_exactly_where_the_server_speaks_it() {
    direct_tls(&Secure::start(Keys::Found, ""));
    for version in [17, 18] {
        if !programs::missing(&format!("PostgreSQL {version}"), &programs::server_below_tools(version)) {
            direct_tls(&Secure::with(Some(version), Keys::Found, "terminate", |_| String::new()));
        }
    }
}

fn direct_tls(site: &Secure) {
    site.postgres.authenticate("hostssl all all 127.0.0.1/32 trust").unwrap();
    let server = SocketAddr::from(([127, 0, 0, 1], site.postgres.port()));
    let major: u32 = site.postgres.admin("postgres", "SHOW server_version_num").unwrap().parse().unwrap();
    // Whether a login gets through, by this way, with these ALPN names.
    let works = |group: &std::path::Path, alpn: &[&[u8]]| -> bool {
        let mut stream = secured(site, RemoteSocket::connect(group, server).unwrap(), alpn);
        let mut first = [0];
        stream.write_all(&wire::startup("app", "shop")).is_ok()
            && stream.read_exact(&mut first).is_ok()
            && first == *b"R"
    };
    for (alpn, speaks) in
        [(&[&b"postgresql"[..]][..], major >= 170_000), (&[], false), (&[b"http/1.1"], false)]
    {
        assert_eq!(works(&site.group.agent_host(), alpn), speaks, "direct, {alpn:?}, server {major}");
        assert_eq!(
            works(&site.group.client(Class::Service), alpn),
            speaks,
            "governed, {alpn:?}, server {major}"
        );
    }
    println!("server {major}: direct TLS {}", if major >= 170_000 { "works" } else { "is refused" });
}

/// libpq as psycopg's wheel brings it, with nothing but `sslnegotiation=direct`: verified in full, a password bound to the
/// channel, COPY, and a cancel request within TLS of its own.
#[test]
fn an_unmodified_libpq_speaks_direct_tls() {
    if programs::missing("psycopg", &programs::python()) {
        return;
    }
    for version in [None, Some(17), Some(18)] {
        if let Some(version) = version
            && programs::missing(&format!("PostgreSQL {version}"), &programs::server_below_tools(version))
        {
            continue;
        }
        for keys in [Keys::Found, Keys::LocalCa] {
            libpq_by_direct_tls(version, keys);
        }
    }
}

fn libpq_by_direct_tls(version: Option<u32>, keys: Keys) {
    let site = Secure::with(version, keys, "terminate", |_| String::new());
    site.postgres.authenticate("hostssl all all 127.0.0.1/32 scram-sha-256").unwrap();
    // Governor's own CA carries no binding to the server's certificate.
    let (roots, binding, shown) = match keys {
        Keys::Found => (site.pki.root(), "require", "server_key"),
        Keys::LocalCa => (site.both_roots(), "disable", "local_ca"),
    };
    let run = |class: Option<Class>| {
        let script = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tls/with_psycopg.py");
        let mut python = client::python(&script, site.postgres.port());
        for (name, value) in [
            ("PGSSLNEGOTIATION", "direct"),
            ("PGSSLMODE", "verify-full"),
            ("PGSSLROOTCERT", roots.to_str().unwrap()),
            ("PGCHANNELBINDING", binding),
        ] {
            python.env(name, value);
        }
        if let Some(class) = class {
            cgroup::enter(&mut python, &site.group.client(class)).unwrap();
        }
        let done = process::run(python, wait::PATIENCE).unwrap().ok().unwrap();
        format!("{}{}", done.out(), done.err())
    };
    let (direct, governed) = (run(None), run(Some(Class::Service)));
    assert_eq!(governed, direct, "server {version:?}, {keys:?}");
    if version.is_none() {
        assert!(direct.starts_with("refused:"), "{direct}");
        return;
    }
    assert!(direct.contains("tls in use True") && direct.ends_with("cancelled: 57014\n"), "{direct}");
    assert!(site.shown().iter().all(|word| word == shown) && !site.shown().is_empty(), "{:?}", site.shown());
    let start = site.governor.wait_for_record("statement", |r| text(r, "text").contains("pg_stat_ssl"));
    start.unwrap();
}

/// The socket with the process that made it.
pub struct Held(RemoteSocket);

impl Read for Held {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.0.stream.read(buffer)
    }
}

impl Write for Held {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.stream.write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.0.stream.flush()
    }
}

/// Messages up to ReadyForQuery.
pub fn until_ready(stream: &mut impl Read) -> Vec<(u8, Vec<u8>)> {
    let mut messages = Vec::new();
    loop {
        let mut head = [0; 5];
        stream.read_exact(&mut head).unwrap();
        let length = u32::from_be_bytes(head[1..].try_into().unwrap()) as usize;
        let mut body = vec![0; length - 4];
        stream.read_exact(&mut body).unwrap();
        messages.push((head[0], body));
        if head[0] == b'Z' {
            return messages;
        }
    }
}

#[test]
fn what_a_server_stuffs_behind_its_yes_never_counts() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = [0; 8];
        stream.read_exact(&mut request).unwrap();
        // A yes, and in the same segment a login in clear.
        let login = [wire::message(b'R', &[0, 0, 0, 0]), wire::message(b'Z', b"I")].concat();
        stream.write_all(&[b"S".to_vec(), login].concat()).unwrap();
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).ok();
    });
    let group = Cgroup::create("governor-test").unwrap();
    let governor = Governor::start(&group, port, &Options::default()).unwrap();
    let mut psql = client::command("psql", &group, Class::Service, port).unwrap();
    psql.env("PGSSLMODE", "require").args(["-c", "SELECT 1"]);
    let done = process::run(psql, wait::PATIENCE).unwrap();
    assert!(!done.status.success(), "{}", done.out());
    let record = governor.wait_for_record("tls", |record| text(record, "outcome") == "failed").unwrap();
    assert!(text(&record, "reason").starts_with("server:"), "{record}");
    server.join().unwrap();
}
