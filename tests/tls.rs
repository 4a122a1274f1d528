//! TLS on both connections: every sslmode, every kind of authentication, with the server's key and without.

// Helpers beside the tests fail the test that called them.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

#[path = "tls/kinds.rs"]
mod kinds;
#[path = "tls/offers.rs"]
mod offers;
#[path = "tls/on_the_wire.rs"]
mod on_the_wire;
#[path = "tls/replication.rs"]
mod replication;

use governor_tests::client::{self, PSQL_ROWS};
use governor_tests::governor::{field, text};
use governor_tests::pki::{self, Pki};
use governor_tests::postgres::Postgres;
use governor_tests::process::{self, Finished};
use governor_tests::{Auth, Cgroup, Class, Governor, Options, database, wait};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

/// A server with TLS, and governor before it.
struct Secure {
    governor: Governor,
    group: Cgroup,
    postgres: Postgres,
    pki: Pki,
}

/// Whether the server's own key may be found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Keys {
    Found,
    LocalCa,
}

impl Secure {
    fn start(keys: Keys, more: &str) -> Self {
        Self::with(None, keys, "terminate", |_| more.to_owned())
    }

    /// `tls`: what happens at the port. `more`: further configuration, behind keys of `[tls]`.
    fn with(version: Option<u32>, keys: Keys, tls: &'static str, more: impl Fn(&Pki) -> String) -> Self {
        let pki = Pki::new().unwrap();
        pki.server("server", &["localhost", "127.0.0.1"]).unwrap();
        let settings = [
            "ssl=on".to_owned(),
            format!("ssl_cert_file={}", pki.path("server.crt").display()),
            format!("ssl_key_file={}", pki.path("server.key").display()),
        ];
        let settings: Vec<&str> = settings.iter().map(String::as_str).collect();
        let postgres = Postgres::start_version(version, Auth::ScramSha256, &settings).unwrap();
        database::load(&postgres, "shop").unwrap();
        let group = Cgroup::create("governor-test").unwrap();
        let more = format!(
            "[tls]\ndiscover_server_keys = {}\nupstream_roots = [{:?}]\n{}\n",
            keys == Keys::Found,
            pki.root(),
            more(&pki)
        );
        let options = Options { tls, more, ..Options::default() };
        let governor = Governor::start(&group, postgres.port(), &options).unwrap();
        Self { governor, group, postgres, pki }
    }

    /// psql with these settings, governed or direct.
    fn psql(&self, class: Option<Class>, settings: &[(&str, &str)], sql: &str) -> Finished {
        let mut psql = match class {
            Some(class) => client::command("psql", &self.group, class, self.postgres.port()).unwrap(),
            None => client::outside("psql", self.postgres.port()),
        };
        for (name, value) in settings {
            psql.env(name, value);
        }
        psql.args(PSQL_ROWS).args(["-c", sql]);
        process::run(psql, wait::PATIENCE).unwrap()
    }

    /// A file with the server's CA and governor's.
    fn both_roots(&self) -> PathBuf {
        let both = self.pki.path("both.crt");
        pki::joined(&self.pki.root(), &self.governor.state_dir().join("tls/ca.crt"), &both).unwrap();
        both
    }

    fn shown(&self) -> Vec<String> {
        let records = self.governor.events("tls").unwrap();
        let shown = records.iter().filter(|record| text(record, "outcome") == "terminated");
        shown.map(|record| field(record, "tls")["shown"].as_str().unwrap_or_default().to_owned()).collect()
    }
}

const WHO: &str =
    "SELECT ssl, version, inet_client_addr() IS NOT NULL FROM pg_stat_ssl WHERE pid = pg_backend_pid()";

/// Rules of `pg_hba.conf`.
fn hba(method: &str) -> String {
    format!("host all all 127.0.0.1/32 {method}")
}

#[test]
fn with_the_servers_key_every_sslmode_and_authentication_is_as_without_governor() {
    let site = Secure::start(Keys::Found, "");
    let root = site.pki.root();
    let root = root.to_str().unwrap();
    let other = Pki::new().unwrap();
    let wrong = other.root();
    let modes: Vec<Vec<(&str, &str)>> = vec![
        vec![("PGSSLMODE", "disable")],
        vec![("PGSSLMODE", "allow")],
        vec![("PGSSLMODE", "prefer")],
        vec![("PGSSLMODE", "require")],
        vec![("PGSSLMODE", "require"), ("PGCHANNELBINDING", "require")],
        vec![("PGSSLMODE", "verify-ca"), ("PGSSLROOTCERT", root)],
        vec![("PGSSLMODE", "verify-full"), ("PGSSLROOTCERT", root), ("PGHOST", "localhost")],
        // The clients themselves refuse, as they do without governor.
        vec![("PGSSLMODE", "verify-ca"), ("PGSSLROOTCERT", wrong.to_str().unwrap())],
        vec![("PGSSLMODE", "verify-full"), ("PGSSLROOTCERT", "/nonexistent")],
        vec![("PGSSLMODE", "require"), ("PGPASSWORD", "wrong")],
    ];
    site.postgres
        .admin(
            "postgres",
            "SET password_encryption = 'md5'; CREATE ROLE old LOGIN SUPERUSER PASSWORD 'correct horse'",
        )
        .unwrap();
    let mut passed = 0;
    for method in ["scram-sha-256", "md5", "password", "trust"] {
        site.postgres.authenticate(&hba(method)).unwrap();
        for mode in &modes {
            let mut mode = mode.clone();
            if method == "md5" && !mode.contains(&("PGCHANNELBINDING", "require")) {
                mode.push(("PGUSER", "old"));
            }
            let (direct, governed) =
                (site.psql(None, &mode, WHO), site.psql(Some(Class::Service), &mode, WHO));
            assert_eq!(
                (governed.status.code(), governed.out(), governed.err()),
                (direct.status.code(), direct.out(), direct.err()),
                "{method} {mode:?}"
            );
            passed += usize::from(direct.status.success());
        }
    }
    assert!(passed >= 24, "most of them connect: {passed}");
    // Rules by which a client is refused at its first try and comes again, with TLS or without; or is refused both times.
    let mut connected = Vec::new();
    for rule in ["hostssl", "hostnossl"] {
        site.postgres.authenticate(&format!("{rule} all all 127.0.0.1/32 scram-sha-256")).unwrap();
        for mode in ["disable", "allow", "prefer", "require"] {
            let mode = [("PGSSLMODE", mode)];
            let (direct, governed) =
                (site.psql(None, &mode, WHO), site.psql(Some(Class::Service), &mode, WHO));
            assert_eq!(
                (governed.status.code(), governed.out(), governed.err()),
                (direct.status.code(), direct.out(), direct.err()),
                "{rule} {mode:?}"
            );
            connected.push(direct.status.success());
        }
    }
    assert_eq!(connected, [false, true, true, true, true, true, true, false]);
    let shown = site.shown();
    assert!(shown.len() >= 16 && shown.iter().all(|shown| shown == "server_key"), "{shown:?}");
    site.governor.cli(&["audit", "verify"]).unwrap().ok().unwrap();
}

#[test]
fn statements_within_tls_are_governed() {
    let site = Secure::start(Keys::Found, "");
    let tls = [("PGSSLMODE", "require")];
    let masked =
        site.psql(Some(Class::Agent), &tls, "SELECT ssn FROM people ORDER BY id LIMIT 1").ok().unwrap();
    let clear = site.postgres.admin("shop", "SELECT ssn FROM people ORDER BY id LIMIT 1").unwrap();
    assert!(!masked.out().contains(&clear), "{}", masked.out());
    let denied = site.psql(Some(Class::Agent), &tls, "DROP TABLE orders");
    assert!(denied.err().contains("governor denied this statement"), "{}", denied.err());
    let record =
        site.governor.wait_for_record("tls", |record| text(record, "outcome") == "terminated").unwrap();
    let tls = field(&record, "tls");
    assert_eq!(tls["version"], "TLSv1.3", "{tls}");
    assert_eq!(tls["upstream"]["certificate"]["verified"], true, "{tls}");
    assert_eq!(tls["upstream"]["certificate"]["subject"], "CN=server", "{tls}");
}

#[test]
fn with_a_local_ca_a_client_verifies_as_strictly_as_without() {
    let site = Secure::start(Keys::LocalCa, "");
    let both = site.both_roots();
    let (both, root) = (both.to_str().unwrap().to_owned(), site.pki.root());
    let no_binding = ("PGCHANNELBINDING", "disable");
    let run = |settings: &[(&str, &str)]| {
        let settings: Vec<(&str, &str)> = settings.iter().copied().chain([no_binding]).collect();
        site.psql(Some(Class::Service), &settings, WHO)
    };
    let expected = "t|TLSv1.3|t\n";
    assert_eq!(run(&[("PGSSLMODE", "require")]).ok().unwrap().out(), expected);
    assert_eq!(run(&[("PGSSLMODE", "verify-ca"), ("PGSSLROOTCERT", &both)]).ok().unwrap().out(), expected);
    let full = [("PGSSLMODE", "verify-full"), ("PGSSLROOTCERT", both.as_str()), ("PGHOST", "localhost")];
    assert_eq!(run(&full).ok().unwrap().out(), expected);
    // governor's CA is not trusted by itself.
    let untrusted = run(&[("PGSSLMODE", "verify-ca"), ("PGSSLROOTCERT", root.to_str().unwrap())]);
    assert!(untrusted.err().contains("certificate verify failed"), "{}", untrusted.err());
    let failed = site.governor.wait_for_record("tls", |record| text(record, "outcome") == "failed").unwrap();
    assert!(text(&failed, "reason").contains("governor tls ca"), "{failed}");
    // Nor does it make up names that the server has not.
    site.pki.server("server", &["elsewhere.test"]).unwrap();
    site.postgres.reload().unwrap();
    wait::until("the server's new certificate", wait::PATIENCE, || {
        let refused = run(&full);
        Ok((!refused.status.success() && refused.err().contains("does not match host name")).then_some(()))
    })
    .unwrap();
    assert!(site.shown().iter().all(|shown| shown == "local_ca"));
    let page = site.governor.cli(&["tls", "ca"]).unwrap().ok().unwrap();
    assert!(page.out().contains("sslrootcert"), "{}", page.out());
}

#[test]
fn with_a_local_ca_every_authentication_is_as_without_governor() {
    let site = Secure::start(Keys::LocalCa, "");
    site.postgres
        .admin(
            "postgres",
            "SET password_encryption = 'md5'; CREATE ROLE old LOGIN SUPERUSER PASSWORD 'correct horse'",
        )
        .unwrap();
    let mut passed = 0;
    let methods = ["scram-sha-256", "md5", "password", "trust"];
    for (rule, method) in methods.map(|method| ("hostssl", method)).into_iter().chain([("host", "md5")]) {
        site.postgres.authenticate(&format!("{rule} all all 127.0.0.1/32 {method}")).unwrap();
        for mode in ["disable", "allow", "prefer", "require"] {
            for password in ["correct horse", "wrong"] {
                let mut settings =
                    vec![("PGSSLMODE", mode), ("PGCHANNELBINDING", "disable"), ("PGPASSWORD", password)];
                if method == "md5" {
                    settings.push(("PGUSER", "old"));
                }
                let (direct, governed) =
                    (site.psql(None, &settings, WHO), site.psql(Some(Class::Service), &settings, WHO));
                assert_eq!(
                    (governed.status.code(), governed.out(), governed.err()),
                    (direct.status.code(), direct.out(), direct.err()),
                    "{rule} {method} {settings:?}"
                );
                passed += usize::from(direct.status.success());
            }
        }
    }
    assert_eq!(
        passed,
        3 * 5 + 1 + 3,
        "wrong passwords pass by trust alone, and nobody by hostssl without TLS"
    );
    assert!(site.shown().iter().all(|shown| shown == "local_ca"));
}

#[test]
fn a_server_that_governor_cannot_verify_is_vouched_for_by_nobody() {
    let site = Secure::start(Keys::LocalCa, "");
    let both = site.both_roots();
    // A server with a certificate of a CA that governor was not told of.
    let other = Pki::new().unwrap();
    other.server("server", &["localhost", "127.0.0.1"]).unwrap();
    for file in ["server.crt", "server.key"] {
        std::fs::copy(other.path(file), site.pki.path(file)).unwrap();
    }
    site.postgres.reload().unwrap();
    let run = |mode: &str| {
        let settings =
            [("PGSSLMODE", mode), ("PGSSLROOTCERT", both.to_str().unwrap()), ("PGCHANNELBINDING", "disable")];
        site.psql(Some(Class::Service), &settings, "SELECT 1")
    };
    wait::until("the other certificate", wait::PATIENCE, || {
        run("verify-ca");
        Ok(site.shown().last().is_some_and(|shown| shown == "unverified").then_some(()))
    })
    .ok();
    let refused = run("verify-ca");
    assert!(refused.err().contains("certificate verify failed"), "{}", refused.err());
    // Without verification the client goes on, as it would have done with the server itself.
    let loose = [("PGSSLMODE", "require"), ("PGCHANNELBINDING", "disable")];
    assert_eq!(site.psql(Some(Class::Service), &loose, "SELECT 1").ok().unwrap().out(), "1\n");
    assert_eq!(site.shown().last().map(String::as_str), Some("unverified"));
}

#[test]
fn channel_binding_that_cannot_hold_is_refused_with_its_reason() {
    let site = Secure::start(Keys::LocalCa, "");
    let refused = site.psql(Some(Class::Service), &[("PGSSLMODE", "require")], "SELECT 1");
    assert!(refused.err().contains("governor cannot carry SCRAM channel binding"), "{}", refused.err());
    let required = [("PGSSLMODE", "require"), ("PGCHANNELBINDING", "require")];
    let refused = site.psql(Some(Class::Service), &required, "SELECT 1");
    assert!(refused.err().contains("channel binding"), "{}", refused.err());
    // A client that only prefers TLS goes on without.
    let prefers = site.psql(Some(Class::Service), &[("PGSSLMODE", "prefer")], WHO).ok().unwrap();
    assert!(
        prefers.out().starts_with("t|"),
        "on the way to the server it is TLS all the same: {}",
        prefers.out()
    );
    site.governor.wait_for_record("tls", |record| text(record, "outcome") == "upstream_only").unwrap();
    // One that wants none at all gets none.
    let wants_none = site.psql(Some(Class::Service), &[("PGSSLMODE", "disable")], WHO).ok().unwrap();
    assert!(wants_none.out().starts_with("f|"), "{}", wants_none.out());
    site.governor
        .wait_for_record("tls", |record| {
            text(record, "outcome") == "refused" && text(record, "reason").contains("channel binding")
        })
        .unwrap();
}

#[test]
fn a_server_without_tls_is_a_server_without_tls() {
    let postgres = Postgres::start(Auth::Trust).unwrap();
    let group = Cgroup::create("governor-test").unwrap();
    let governor = Governor::start(&group, postgres.port(), &Options::default()).unwrap();
    let run = |mut psql: Command, mode: &str| {
        psql.env("PGSSLMODE", mode).args(PSQL_ROWS).args(["-c", "SELECT 1"]);
        process::run(psql, wait::PATIENCE).unwrap()
    };
    for mode in ["disable", "allow", "prefer", "require", "verify-full"] {
        let direct = run(client::outside("psql", postgres.port()), mode);
        let governed = run(client::command("psql", &group, Class::Service, postgres.port()).unwrap(), mode);
        assert_eq!((governed.out(), governed.err()), (direct.out(), direct.err()), "{mode}");
    }
    governor.wait_for_record("tls", |record| text(record, "outcome") == "server_declined").unwrap();
}

#[test]
fn a_clients_certificate_is_on_record_and_issued_anew_where_configured() {
    let pki_of_clients = Pki::new().unwrap();
    pki_of_clients.client("app").unwrap();
    let reissue = format!("client_roots = [{:?}]\nclient_certificates = \"reissue\"", pki_of_clients.root());
    for (more, works) in [(String::new(), false), (reissue, true)] {
        let site = Secure::start(Keys::Found, &more);
        // The server trusts the clients' CA, and governor's.
        let trusted = site.pki.path("clients.crt");
        let ca = site.governor.state_dir().join("tls/ca.crt");
        pki::joined(&pki_of_clients.root(), &ca, &trusted).unwrap();
        site.postgres
            .admin("postgres", &format!("ALTER SYSTEM SET ssl_ca_file = '{}'", trusted.display()))
            .unwrap();
        site.postgres.authenticate("hostssl all all 127.0.0.1/32 cert").unwrap();
        let (certificate, key) = (pki_of_clients.path("app.crt"), pki_of_clients.path("app.key"));
        let presents = [
            ("PGSSLMODE", "require"),
            ("PGSSLCERT", certificate.to_str().unwrap()),
            ("PGSSLKEY", key.to_str().unwrap()),
        ];
        let who = "SELECT client_dn FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
        wait::until("the server to ask for certificates", wait::PATIENCE, || {
            Ok(site.psql(None, &presents, who).status.success().then_some(()))
        })
        .unwrap();
        let governed = site.psql(Some(Class::Service), &presents, who);
        if works {
            assert_eq!(governed.ok().unwrap().out(), "/CN=app\n");
            // Nobody gets it who does not hold the client's key.
            let without = site.psql(Some(Class::Service), &[("PGSSLMODE", "require")], who);
            assert!(without.err().contains("valid client certificate"), "{}", without.err());
        } else {
            assert!(governed.err().contains("valid client certificate"), "{}", governed.err());
        }
        let record = site
            .governor
            .wait_for_record("tls", |record| field(record, "tls")["client_certificate"].is_object())
            .unwrap();
        let client = &field(&record, "tls")["client_certificate"];
        assert_eq!((&client["subject"], &client["verified"]), (&"CN=app".into(), &works.into()), "{client}");
    }
}

/// What a client was shown vouches for one server; under `reissue` there is a second connection to it.
#[test]
fn a_server_that_is_another_on_the_second_connection_is_refused() {
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};
    let (pki, clients) = (Pki::new().unwrap(), Pki::new().unwrap());
    clients.client("app").unwrap();
    pki.server("first", &["127.0.0.1"]).unwrap();
    pki.server("second", &["127.0.0.1"]).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let config = |name: &str| {
        let provider: std::sync::Arc<_> = rustls::crypto::ring::default_provider().into();
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(clients.root()).unwrap()).unwrap();
        let verifier =
            rustls::server::WebPkiClientVerifier::builder_with_provider(roots.into(), provider.clone())
                .allow_unauthenticated()
                .build()
                .unwrap();
        let chain = vec![CertificateDer::from_pem_file(pki.path(&format!("{name}.crt"))).unwrap()];
        let key = PrivateKeyDer::from_pem_file(pki.path(&format!("{name}.key"))).unwrap();
        rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain, key)
            .unwrap()
    };
    let configs = [config("first"), config("second")];
    let server = std::thread::spawn(move || {
        let mut heard = Vec::new();
        for config in configs {
            let (mut stream, _) = listener.accept().unwrap();
            stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
            let mut request = [0; 8];
            stream.read_exact(&mut request).unwrap();
            stream.write_all(b"S").unwrap();
            heard.push((rustls::ServerConnection::new(config.into()).unwrap(), stream));
            let (connection, stream) = heard.last_mut().unwrap();
            while connection.is_handshaking() && connection.complete_io(stream).is_ok() {}
        }
        let (connection, stream) = heard.last_mut().unwrap();
        let mut said = Vec::new();
        rustls::Stream::new(connection, stream).read_to_end(&mut said).ok();
        said
    });
    let group = Cgroup::create("governor-test").unwrap();
    let more = format!(
        "[tls]\nupstream_roots = [{:?}]\nclient_roots = [{:?}]\nclient_certificates = \"reissue\"\n",
        pki.root(),
        clients.root()
    );
    let governor = Governor::start(&group, port, &Options { more, ..Options::default() }).unwrap();
    let mut psql = client::command("psql", &group, Class::Service, port).unwrap();
    psql.env("PGSSLMODE", "require").args(["-c", "SELECT 1"]);
    psql.env("PGSSLCERT", clients.path("app.crt")).env("PGSSLKEY", clients.path("app.key"));
    let done = process::run(psql, wait::PATIENCE).unwrap();
    assert!(!done.status.success(), "{}", done.out());
    let record = governor.wait_for_record("tls", |record| text(record, "outcome") == "failed").unwrap();
    assert!(text(&record, "reason").contains("another certificate"), "{record}");
    assert!(server.join().unwrap().is_empty(), "not a byte of the client's reached it");
}

#[test]
fn a_renewed_server_certificate_is_shown_without_a_restart() {
    let site = Secure::start(Keys::Found, "");
    let root = site.pki.root();
    let verify =
        [("PGSSLMODE", "verify-full"), ("PGSSLROOTCERT", root.to_str().unwrap()), ("PGHOST", "localhost")];
    site.psql(Some(Class::Service), &verify, "SELECT 1").ok().unwrap();
    let digest = |site: &Secure| {
        let records = site.governor.events("tls").unwrap();
        field(records.last().unwrap(), "tls")["upstream"]["certificate"]["sha256"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    let before = digest(&site);
    site.pki.server("server", &["localhost", "127.0.0.1"]).unwrap();
    site.postgres.reload().unwrap();
    wait::until("the renewed certificate", wait::PATIENCE, || {
        site.psql(Some(Class::Service), &verify, "SELECT 1");
        Ok((digest(&site) != before).then_some(()))
    })
    .unwrap();
    site.psql(Some(Class::Service), &verify, "SELECT 1").ok().unwrap();
    assert_eq!(site.shown().last().map(String::as_str), Some("server_key"));
}
