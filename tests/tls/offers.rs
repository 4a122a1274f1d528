//! What a client may ask for before it says who it is, and by which rule it is answered: GSSAPI's encryption, a name, keys
//! that are named, and ports where TLS is refused or passes unread.

use super::{Keys, Secure, WHO, field, text};
use governor_tests::pki::Pki;
use governor_tests::remote_socket::RemoteSocket;
use governor_tests::wire::{self, Wire};
use governor_tests::{Cgroup, Class, Governor, Options, client, process, wait};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};

/// GSSENCRequest: as SSLRequest, with another number.
fn gss_request() -> Vec<u8> {
    80_877_104_u32.to_be_bytes().iter().fold(vec![0, 0, 0, 8], |mut request, byte| {
        request.push(*byte);
        request
    })
}

fn asked(site: &Secure, request: &[u8]) -> (RemoteSocket, u8) {
    let address = SocketAddr::from(([127, 0, 0, 1], site.postgres.port()));
    let mut socket = RemoteSocket::connect(&site.group.client(Class::Service), address).unwrap();
    socket.stream.set_read_timeout(Some(wait::PATIENCE)).unwrap();
    socket.stream.write_all(request).unwrap();
    let mut answer = [0];
    let read = socket.stream.read(&mut answer).unwrap_or(0);
    (socket, if read == 1 { answer[0] } else { 0 })
}

#[test]
fn encryption_by_gssapi_is_declined_and_the_client_goes_on() {
    let site = Secure::start(Keys::Found, "");
    site.postgres.authenticate("host all all 127.0.0.1/32 trust").unwrap();
    // In clear, as a client without GSSAPI that wants no TLS either.
    let (socket, answer) = asked(&site, &gss_request());
    assert_eq!(answer, b'N');
    let mut plain = Wire::new(socket).unwrap();
    plain.start("app", "shop").unwrap();
    assert_eq!(wire::tags(&plain.query("SELECT 1").unwrap()), "TDCZ");
    // As libpq asks: for GSSAPI, then for TLS, which the server has.
    let (mut socket, answer) = asked(&site, &gss_request());
    assert_eq!(answer, b'N');
    socket.stream.write_all(&wire::ssl_request()).unwrap();
    let mut yes = [0];
    socket.stream.read_exact(&mut yes).unwrap();
    assert_eq!(yes, *b"S");
    let mut within = super::on_the_wire::secured(&site, socket, &[]);
    within.write_all(&wire::startup("app", "shop")).unwrap();
    super::on_the_wire::until_ready(&mut within);
    // What stands behind the request is nobody's.
    let (mut stuffed, answer) = asked(&site, &[gss_request(), wire::startup("app", "shop")].concat());
    assert!(answer != b'N', "{answer}");
    stuffed.stream.read_to_end(&mut Vec::new()).ok();
    site.governor
        .wait_for_record("protocol_error", |record| text(record, "message").contains("behind an encryption"))
        .unwrap();
}

#[test]
fn the_name_that_the_client_asks_for_reaches_the_server_and_the_record() {
    let pki = Pki::new().unwrap();
    pki.server("server", &["localhost"]).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let config = {
        let chain = vec![CertificateDer::from_pem_file(pki.path("server.crt")).unwrap()];
        let key = PrivateKeyDer::from_pem_file(pki.path("server.key")).unwrap();
        let provider = rustls::crypto::ring::default_provider().into();
        let config = rustls::ServerConfig::builder_with_provider(provider);
        let config = config.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
        std::sync::Arc::new(config.with_single_cert(chain, key).unwrap())
    };
    let server = std::thread::spawn(move || {
        (0..2)
            .map(|_| {
                let (mut stream, _) = listener.accept().unwrap();
                stream.set_read_timeout(Some(wait::PATIENCE)).unwrap();
                stream.read_exact(&mut [0; 8]).unwrap();
                stream.write_all(b"S").unwrap();
                let mut connection = rustls::ServerConnection::new(config.clone()).unwrap();
                while connection.is_handshaking() && connection.complete_io(&mut stream).is_ok() {}
                connection.server_name().map(str::to_owned)
            })
            .collect::<Vec<_>>()
    });
    let group = Cgroup::create("governor-test").unwrap();
    let more = format!("[tls]\nupstream_roots = [{:?}]\n", pki.root());
    let governor = Governor::start(&group, port, &Options { more, ..Options::default() }).unwrap();
    for host in ["localhost", "127.0.0.1"] {
        let mut psql = client::command("psql", &group, Class::Service, port).unwrap();
        psql.env("PGHOST", host).env("PGHOSTADDR", "127.0.0.1").env("PGSSLMODE", "require");
        psql.args(["-c", "SELECT 1"]);
        let done = process::run(psql, wait::PATIENCE).unwrap();
        assert!(!done.status.success(), "the server says nothing more");
    }
    // An address is no name (RFC 6066, section 3).
    assert_eq!(server.join().unwrap(), [Some("localhost".to_owned()), None]);
    let records = governor.events("tls").unwrap();
    let names: Vec<_> = records
        .iter()
        .filter(|record| text(record, "outcome") == "terminated")
        .map(|record| field(record, "tls")["server_name"].as_str().map(str::to_owned))
        .collect();
    assert_eq!(names, [Some("localhost".to_owned()), None], "{records:?}");
}

#[test]
fn of_keys_that_are_named_the_one_that_the_server_itself_shows_is_used() {
    let other = Pki::new().unwrap();
    other.server("server", &["localhost", "127.0.0.1"]).unwrap();
    let named = |pki: &Pki| {
        let (certificate, key) = (pki.path("server.crt"), pki.path("server.key"));
        format!("[[tls.server_keys]]\ncertificate = {certificate:?}\nkey = {key:?}\n")
    };
    for (its_own, shown) in [(true, "server_key"), (false, "local_ca")] {
        let site = Secure::with(None, Keys::LocalCa, "terminate", |pki| {
            named(&other) + &if its_own { named(pki) } else { String::new() }
        });
        let bound = [("PGSSLMODE", "require"), ("PGCHANNELBINDING", "require")];
        let done = site.psql(Some(Class::Service), &bound, WHO);
        assert_eq!(done.status.success(), its_own, "{}", done.all());
        if !its_own {
            assert!(done.err().contains("channel binding"), "{}", done.err());
        }
        let record =
            site.governor.wait_for_record("tls", |record| text(record, "outcome") == "terminated").unwrap();
        assert_eq!(field(&record, "tls")["shown"], shown, "{record}");
    }
}

/// Once: at the start that makes it.
#[test]
fn a_ca_that_was_made_is_told_with_what_to_do() {
    let mut site = Secure::start(Keys::LocalCa, "");
    let told = |site: &Secure| site.governor.log().matches("`governor tls ca` says how").count();
    assert_eq!(told(&site), 1, "{}", site.governor.log());
    site.governor.stop().unwrap();
    site.governor.launch().unwrap();
    assert_eq!(told(&site), 1, "{}", site.governor.log());
}

#[test]
fn where_tls_is_refused_a_client_is_told_so_and_one_without_is_served() {
    let site = Secure::with(None, Keys::Found, "refuse", |_| String::new());
    let refused = site.psql(Some(Class::Service), &[("PGSSLMODE", "require")], WHO);
    assert!(!refused.status.success(), "{}", refused.out());
    // libpq shows nothing of what comes before TLS: anybody on the way may have written it. Others do.
    let (mut socket, answer) = asked(&site, &wire::ssl_request());
    assert_eq!(answer, b'E');
    let mut rest = Vec::new();
    socket.stream.read_to_end(&mut rest).unwrap();
    let rest = String::from_utf8_lossy(&rest);
    assert!(rest.contains("C08004") && rest.contains("governor is configured to refuse TLS"), "{rest}");
    let plain = site.psql(Some(Class::Service), &[("PGSSLMODE", "disable")], WHO).ok().unwrap().out();
    assert!(plain.starts_with("f|"), "{plain}");
    site.governor.wait_for_record("tls", |record| text(record, "outcome") == "refused").unwrap();
}

/// The client and the server are alone with each other, as they were: so the record has bytes and no statement.
#[test]
fn where_tls_passes_unread_client_and_server_are_as_without_governor_and_the_record_says_so() {
    let site = Secure::with(None, Keys::LocalCa, "pass-unread", |_| String::new());
    let root = site.pki.root();
    let modes: Vec<Vec<(&str, &str)>> = vec![
        vec![
            ("PGSSLMODE", "verify-full"),
            ("PGSSLROOTCERT", root.to_str().unwrap()),
            ("PGHOST", "localhost"),
            ("PGCHANNELBINDING", "require"),
        ],
        vec![("PGSSLMODE", "require"), ("PGPASSWORD", "wrong")],
        vec![("PGSSLMODE", "verify-full"), ("PGSSLROOTCERT", "/nonexistent")],
    ];
    for mode in &modes {
        let (direct, governed) = (site.psql(None, mode, WHO), site.psql(Some(Class::Service), mode, WHO));
        assert_eq!(
            (governed.status.code(), governed.out(), governed.err()),
            (direct.status.code(), direct.out(), direct.err()),
            "{mode:?}"
        );
    }
    let passed = site.governor.events("tls").unwrap();
    assert!(!passed.is_empty());
    assert!(passed.iter().all(|record| text(record, "outcome") == "passed_unread"), "{passed:?}");
    let read = |record: &serde_json::Value| field(record, "bytes_from_database").as_u64().unwrap_or(0);
    site.governor.wait_for_record("session_end", |record| read(record) > 1_000).unwrap();
    assert!(site.governor.events("statement").unwrap().is_empty());
    // Who asks for no TLS is read as ever.
    site.psql(Some(Class::Service), &[("PGSSLMODE", "disable")], "SELECT 1").ok().unwrap();
    site.governor.wait_for_record("statement", |record| text(record, "text") == "SELECT 1").unwrap();
}
