//! Kinds of keys and of signatures: what servers and clients may have, and which hash channel binding takes (RFC 5929,
//! section 4.1: that of the certificate's signature).

use super::{Keys, Secure, WHO, field, text};
use governor_tests::pki::Pki;
use governor_tests::{Class, wait};
use std::path::Path;
use std::process::Command;

/// A kind of key with the hash of its signatures, as OpenSSL is told.
struct Kind {
    name: &'static str,
    key: &'static [&'static str],
    hash: &'static str,
}

const fn rsa(name: &'static str, hash: &'static str) -> Kind {
    Kind { name, key: &["RSA", "-pkeyopt", "rsa_keygen_bits:2048"], hash }
}

const KINDS: [Kind; 6] = [
    rsa("RSA, SHA-256", "-sha256"),
    rsa("RSA, SHA-384", "-sha384"),
    rsa("RSA, SHA-512", "-sha512"),
    Kind { name: "P-256", key: &["EC", "-pkeyopt", "ec_paramgen_curve:P-256"], hash: "-sha256" },
    Kind { name: "P-384", key: &["EC", "-pkeyopt", "ec_paramgen_curve:P-384"], hash: "-sha384" },
    Kind { name: ED25519, key: &["ED25519"], hash: "-sha256" },
];
/// Its signature has no hash of its own: channel binding is not defined for it.
const ED25519: &str = "Ed25519";
const P521: Kind =
    Kind { name: "P-521", key: &["EC", "-pkeyopt", "ec_paramgen_curve:P-521"], hash: "-sha512" };

fn openssl(place: &Path, arguments: &[&str]) {
    let made = Command::new("openssl").args(arguments).current_dir(place).output().unwrap();
    assert!(made.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&made.stderr));
}

/// `NAME.crt` and `NAME.key` of a key of this kind, issued by `ca.crt`, which is made with a key of the other.
fn issue(place: &Path, name: &str, key: &Kind, ca: &Kind) {
    for (file, kind) in [("ca", ca), (name, key)] {
        openssl(place, &[&["genpkey", "-out", &format!("{file}.key"), "-algorithm"], kind.key].concat());
    }
    openssl(
        place,
        &["req", "-x509", "-key", "ca.key", "-out", "ca.crt", "-subj", "/CN=test CA", "-days", "2", ca.hash],
    );
    let (made, asked) = (format!("{name}.key"), format!("{name}.csr"));
    openssl(place, &["req", "-new", "-key", &made, "-out", &asked, "-subj", &format!("/CN={name}")]);
    std::fs::write(place.join("names"), "subjectAltName=DNS:localhost,IP:127.0.0.1").unwrap();
    let certificate = format!("{name}.crt");
    openssl(
        place,
        &[
            "x509",
            "-req",
            "-in",
            &asked,
            "-CA",
            "ca.crt",
            "-CAkey",
            "ca.key",
            "-CAcreateserial",
            "-days",
            "2",
            "-extfile",
            "names",
            "-out",
            &certificate,
            ca.hash,
        ],
    );
}

impl Secure {
    /// The server has another certificate and key from now on, and the roots are those of its CA.
    fn replace(&self, root: &Path, certificate: &Path, key: &Path) {
        for (from, to) in [(root, "root.crt"), (certificate, "server.crt"), (key, "server.key")] {
            // Into the files that are there: they stay their owner's.
            std::fs::write(self.pki.path(to), std::fs::read(from).unwrap()).unwrap();
        }
        self.postgres.reload().unwrap();
        let root = root.to_str().unwrap().to_owned();
        wait::until("the server's new certificate", wait::PATIENCE, || {
            let verify = [("PGSSLMODE", "verify-ca"), ("PGSSLROOTCERT", &root), NOT_BOUND];
            Ok(self.psql(None, &verify, "SELECT 1").status.success().then_some(()))
        })
        .unwrap();
    }

    fn of_kind(&self, key: &Kind, ca: &Kind) {
        issue(&self.pki.path(""), "made", key, ca);
        self.replace(&self.pki.path("ca.crt"), &self.pki.path("made.crt"), &self.pki.path("made.key"));
    }

    /// Whether the certificate of the last server was found to be good, and what the client was shown.
    fn last(&self) -> (bool, String) {
        let records = self.governor.events("tls").unwrap();
        let tls = field(records.iter().rfind(|r| text(r, "outcome") == "terminated").unwrap(), "tls").clone();
        let verified = tls["upstream"]["certificate"]["verified"].as_bool().unwrap();
        (verified, tls["shown"].as_str().unwrap().to_owned())
    }
}

const NOT_BOUND: (&str, &str) = ("PGCHANNELBINDING", "disable");

#[test]
fn with_the_servers_key_each_kind_is_verified_and_bound_to_as_without_governor() {
    let site = Secure::start(Keys::Found, "");
    let root = site.pki.root();
    let full =
        [("PGSSLMODE", "verify-full"), ("PGSSLROOTCERT", root.to_str().unwrap()), ("PGHOST", "localhost")];
    for key in KINDS {
        let kind = key.name;
        site.of_kind(&key, &key);
        let mut bound = Vec::new();
        for more in [("PGCHANNELBINDING", "require"), NOT_BOUND, ("PGSSLMAXPROTOCOLVERSION", "TLSv1.2")] {
            let settings = [full.as_slice(), &[more]].concat();
            let direct = site.psql(None, &settings, WHO);
            let governed = site.psql(Some(Class::Service), &settings, WHO);
            // The connection to the server has a version of its own (docs/tls.md).
            let out = |text: String| text.replace("TLSv1.2", "TLSv1.3");
            assert_eq!(
                (governed.status.code(), out(governed.out()), governed.err()),
                (direct.status.code(), out(direct.out()), direct.err()),
                "{kind} {more:?}"
            );
            bound.push(direct.status.success());
        }
        // By default libpq binds where it can be, and gives up where the server offers and it cannot.
        let binds = kind != ED25519;
        assert_eq!(bound, [binds, true, binds], "{kind}");
        assert_eq!(site.last(), (true, "server_key".to_owned()), "{kind}");
    }
}

#[test]
fn with_a_local_ca_each_kind_of_a_servers_key_is_verified() {
    let site = Secure::start(Keys::LocalCa, "");
    for key in KINDS {
        let kind = key.name;
        site.of_kind(&key, &key);
        let both = site.both_roots();
        let full = [
            ("PGSSLMODE", "verify-full"),
            ("PGSSLROOTCERT", both.to_str().unwrap()),
            ("PGHOST", "localhost"),
            NOT_BOUND,
        ];
        assert_eq!(site.psql(Some(Class::Service), &full, "SELECT 1").ok().unwrap().out(), "1\n", "{kind}");
        assert_eq!(site.last(), (true, "local_ca".to_owned()), "{kind}");
    }
}

#[test]
fn each_kind_of_a_clients_key_is_asked_for_and_verified() {
    let clients = Pki::new().unwrap();
    let place = clients.path("");
    issue(&place, "app", &KINDS[0], &KINDS[0]);
    let (roots, app, key) = (place.join("ca.crt"), place.join("app.crt"), place.join("app.key"));
    let site = Secure::start(Keys::Found, &format!("client_roots = [{roots:?}]"));
    let set = format!("ALTER SYSTEM SET ssl_ca_file = '{}'", roots.display());
    site.postgres.admin("postgres", &set).unwrap();
    let presents =
        [("PGSSLMODE", "require"), ("PGSSLCERT", app.to_str().unwrap()), ("PGSSLKEY", key.to_str().unwrap())];
    let who = "SELECT client_serial FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
    let mut last = String::new();
    for kind in KINDS {
        issue(&place, "app", &kind, &kind);
        site.postgres.reload().unwrap();
        last = wait::until("the server to know the clients' CA", wait::PATIENCE, || {
            let direct = site.psql(None, &presents, who);
            Ok(Some(direct.out())
                .filter(|serial| direct.status.success() && serial.len() > 1 && *serial != last))
        })
        .unwrap();
        site.psql(Some(Class::Service), &presents, "SELECT 1").ok().unwrap();
        let records = site.governor.events("tls").unwrap();
        let shown = &field(records.last().unwrap(), "tls")["client_certificate"];
        let expected = (&"CN=app".into(), &true.into());
        assert_eq!((&shown["subject"], &shown["verified"]), expected, "{}: {shown}", kind.name);
    }
}

/// A certificate that is its own root, made by OpenSSL.
fn self_signed(site: &Secure, options: &[&str]) {
    let (certificate, key) = (site.pki.path("made.crt"), site.pki.path("made.key"));
    let mut openssl = Command::new("openssl");
    openssl.args(["req", "-x509", "-nodes", "-days", "2", "-subj", "/CN=localhost"]);
    openssl.args(["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]);
    openssl.args(options).arg("-keyout").arg(&key).arg("-out").arg(&certificate);
    let made = openssl.output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    site.replace(&certificate, &certificate, &key);
}

const PSS: [&str; 5] = ["-sha384", "-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:48"];

/// With the server's key, as a client that verifies in full.
fn full(root: &Path, binding: &'static str) -> Vec<(&'static str, String)> {
    let root = root.to_str().unwrap().to_owned();
    vec![
        ("PGSSLMODE", "verify-full".into()),
        ("PGSSLROOTCERT", root),
        ("PGHOST", "localhost".into()),
        ("PGCHANNELBINDING", binding.into()),
    ]
}

fn same_both_ways(site: &Secure, what: &str) {
    for binding in ["disable", "require"] {
        let settings = full(&site.pki.root(), binding);
        let settings: Vec<_> = settings.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let direct = site.psql(None, &settings, WHO);
        let governed = site.psql(Some(Class::Service), &settings, WHO);
        assert_eq!(
            (governed.status.code(), governed.out(), governed.err()),
            (direct.status.code(), direct.out(), direct.err()),
            "{what}, {binding}"
        );
    }
}

#[test]
fn signatures_of_rsa_pss_and_of_a_ca_on_p521_are_as_without_governor_where_it_has_the_servers_key() {
    let site = Secure::start(Keys::Found, "");
    self_signed(&site, &[&["-newkey", "rsa:2048"], PSS.as_slice()].concat());
    same_both_ways(&site, "RSA-PSS");
    assert_eq!(site.last(), (true, "server_key".to_owned()));
    // Nobody here can check it, so it is not called verified; the client itself can.
    site.of_kind(&KINDS[3], &P521);
    same_both_ways(&site, "by a CA on P-521");
    assert_eq!(site.last(), (false, "server_key".to_owned()));
}

#[test]
fn a_servers_key_that_nobody_here_can_check_is_refused_and_the_record_says_why() {
    let site = Secure::start(Keys::Found, "");
    let only_pss = ["-newkey", "rsa-pss", "-pkeyopt", "rsa_keygen_bits:2048"];
    let kinds: [(&str, &dyn Fn()); 2] = [
        ("P-521", &|| site.of_kind(&P521, &P521)),
        ("RSA-PSS alone", &|| self_signed(&site, &[&only_pss, PSS.as_slice()].concat())),
    ];
    for (number, (what, replace)) in kinds.into_iter().enumerate() {
        replace();
        let settings = full(&site.pki.root(), "disable");
        let settings: Vec<_> = settings.iter().map(|(name, value)| (*name, value.as_str())).collect();
        site.psql(None, &settings, WHO).ok().unwrap();
        let refused = site.psql(Some(Class::Service), &settings, WHO);
        assert!(!refused.status.success(), "{what}: {}", refused.out());
        let failed = wait::until("its record", wait::PATIENCE, || {
            let failed: Vec<_> = site.governor.events("tls")?;
            let failed: Vec<_> =
                failed.into_iter().filter(|record| text(record, "outcome") == "failed").collect();
            Ok((failed.len() > number).then_some(failed))
        })
        .unwrap();
        let reason = text(failed.last().unwrap(), "reason");
        assert!(reason.contains("kind of key"), "{what}: {reason}");
    }
}
