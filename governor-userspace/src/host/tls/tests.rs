//! Real handshakes over an in-memory pipe: what clients are shown, what is believed of servers.

use super::*;
use crate::engine::model::PeerCertificate;
use rcgen::{CertificateParams, Issuer, KeyPair};
use rustls::pki_types::ServerName;
use std::path::Path;
use tokio_rustls::{TlsAcceptor, TlsConnector};

/// A CA, and a certificate of it in files.
struct World {
    dir: tempfile::TempDir,
    ca: Issuer<'static, KeyPair>,
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut params = CertificateParams::new(vec![]).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.distinguished_name.push(rcgen::DnType::CommonName, "test CA");
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        std::fs::write(dir.path().join("root.pem"), certificate.pem()).unwrap();
        Self { dir, ca: Issuer::new(params, key) }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A certificate for `db.test` in `name.crt` and its key in `name.key`.
    fn server(&self, name: &str) {
        let mut params = CertificateParams::new(vec!["db.test".into(), "127.0.0.9".into()]).unwrap();
        params.distinguished_name.push(rcgen::DnType::CommonName, "db.test");
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.ca).unwrap();
        std::fs::write(self.path(&format!("{name}.crt")), certificate.pem()).unwrap();
        std::fs::write(self.path(&format!("{name}.key")), key.serialize_pem()).unwrap();
    }

    fn options(&self) -> TlsOptions {
        TlsOptions {
            directory: self.path("tls"),
            upstream_roots: vec![self.path("root.pem")],
            ..TlsOptions::default()
        }
    }

    fn pair(&self, name: &str) -> (PathBuf, PathBuf) {
        (self.path(&format!("{name}.crt")), self.path(&format!("{name}.key")))
    }
}

fn endpoint() -> Endpoint {
    Endpoint::tcp([192, 0, 2, 1].into(), 5432)
}

fn chain(path: &Path) -> Vec<CertificateDer<'static>> {
    files::certificates(path).unwrap()
}

/// What a client that trusts `root` and asks for `name` says to `shown`.
async fn client_accepts(tls: &Tls, shown: Arc<CertifiedKey>, root: &Path, name: &str) -> Result<(), String> {
    let mut roots = rustls::RootCertStore::empty();
    chain(root).into_iter().for_each(|root| roots.add(root).unwrap());
    let config = ClientConfig::builder_with_provider(tls.provider.clone())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let (near, far) = tokio::io::duplex(64 << 10);
    let acceptor = TlsAcceptor::from(tls.server_config(shown, None, None).unwrap());
    let server = tokio::spawn(async move { acceptor.accept(far).await.map(drop) });
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let connected = TlsConnector::from(Arc::new(config)).connect(name, near).await;
    drop(server.await);
    connected.map(drop).map_err(|error| error.to_string())
}

/// What governor sees of a server that shows the certificate `pair`.
async fn judged(tls: &Tls, pair: (PathBuf, PathBuf)) -> PeerCertificate {
    let key = keys::read_pair(&pair.0, &pair.1, &tls.provider).unwrap();
    let config = tls.server_config(Arc::new(key), None, None).unwrap();
    let (near, far) = tokio::io::duplex(64 << 10);
    let server = tokio::spawn(async move { TlsAcceptor::from(config).accept(far).await.map(drop) });
    let witness = tls.server_witness(None);
    let connector = TlsConnector::from(tls.client_config(&witness, vec![]).unwrap());
    connector.connect(ServerName::try_from("elsewhere.test").unwrap(), near).await.unwrap();
    drop(server.await);
    witness.certificate().unwrap()
}

#[tokio::test]
async fn a_verified_server_is_vouched_for_with_its_own_names() {
    let world = World::new();
    world.server("db");
    let tls = Tls::open(&world.options()).unwrap();
    assert!(judged(&tls, world.pair("db")).await.verified);
    let (shown, key) = tls.shown(&endpoint(), &chain(&world.path("db.crt")), true).unwrap();
    assert_eq!(shown, ShownCertificate::LocalCa);
    let ca = world.path("tls/ca.crt");
    client_accepts(&tls, key.clone(), &ca, "db.test").await.unwrap();
    client_accepts(&tls, key.clone(), &ca, "127.0.0.9").await.unwrap();
    assert!(
        client_accepts(&tls, key.clone(), &ca, "other.test").await.is_err(),
        "a name that the server has not"
    );
    assert!(
        client_accepts(&tls, key, &world.path("root.pem"), "db.test").await.is_err(),
        "not the server's CA"
    );
}

#[tokio::test]
async fn a_server_that_is_not_verified_is_vouched_for_by_nobody() {
    let world = World::new();
    world.server("db");
    let tls = Tls::open(&TlsOptions { upstream_roots: vec![], ..world.options() }).unwrap();
    let certificate = judged(&tls, world.pair("db")).await;
    assert!(!certificate.verified && !certificate.reason.is_empty(), "{certificate:?}");
    let (shown, key) = tls.shown(&endpoint(), &chain(&world.path("db.crt")), false).unwrap();
    assert_eq!(shown, ShownCertificate::Unverified);
    assert!(client_accepts(&tls, key, &world.path("tls/ca.crt"), "db.test").await.is_err());
}

#[tokio::test]
async fn a_held_key_shows_the_servers_own_certificate() {
    let world = World::new();
    world.server("db");
    world.server("other");
    let tls = Tls::open(&TlsOptions {
        server_keys: vec![world.pair("other"), world.pair("db")],
        ..world.options()
    })
    .unwrap();
    let (shown, key) = tls.shown(&endpoint(), &chain(&world.path("db.crt")), false).unwrap();
    assert_eq!((shown, &key.cert), (ShownCertificate::ServerKey, &chain(&world.path("db.crt"))));
    client_accepts(&tls, key, &world.path("root.pem"), "db.test").await.unwrap();
}

#[test]
fn a_changed_key_is_read_again_and_a_bad_one_leaves_the_one_before() {
    let world = World::new();
    world.server("db");
    let tls = Tls::open(&TlsOptions { server_keys: vec![world.pair("db")], ..world.options() }).unwrap();
    let first = chain(&world.path("db.crt"));
    let shown = |chain: &[CertificateDer<'static>]| tls.shown(&endpoint(), chain, true).unwrap().0;
    assert_eq!(shown(&first), ShownCertificate::ServerKey);
    let key_before = std::fs::read(world.path("db.key")).unwrap();
    world.server("db");
    let second = chain(&world.path("db.crt"));
    assert_eq!(shown(&second), ShownCertificate::ServerKey, "both files are new");
    assert_eq!(shown(&first), ShownCertificate::LocalCa, "the old one is held no more");
    std::fs::write(world.path("db.key"), key_before).unwrap();
    assert_eq!(shown(&second), ShownCertificate::ServerKey, "a key that does not fit changes nothing");
    std::fs::write(world.path("db.crt"), "nonsense").unwrap();
    assert_eq!(shown(&second), ShownCertificate::ServerKey, "nor does a file without a certificate");
}

#[tokio::test]
async fn a_self_signed_server_may_be_named_itself() {
    let world = World::new();
    let key = KeyPair::generate().unwrap();
    // As `openssl req -x509` makes it: a CA that is its own server.
    let mut params = CertificateParams::new(vec!["db.test".into()]).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    std::fs::write(world.path("self.crt"), params.self_signed(&key).unwrap().pem()).unwrap();
    std::fs::write(world.path("self.key"), key.serialize_pem()).unwrap();
    let trusting =
        Tls::open(&TlsOptions { upstream_roots: vec![world.path("self.crt")], ..world.options() }).unwrap();
    assert!(judged(&trusting, world.pair("self")).await.verified);
    let tls = Tls::open(&world.options()).unwrap();
    assert!(!judged(&tls, world.pair("self")).await.verified);
}

#[tokio::test]
async fn a_server_out_of_force_is_not_verified() {
    let world = World::new();
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["db.test".into()]).unwrap();
    params.not_after = rcgen::date_time_ymd(2020, 1, 1);
    let certificate = params.signed_by(&key, &world.ca).unwrap();
    std::fs::write(world.path("old.crt"), certificate.pem()).unwrap();
    std::fs::write(world.path("old.key"), key.serialize_pem()).unwrap();
    let options =
        TlsOptions { upstream_roots: vec![world.path("root.pem"), world.path("old.crt")], ..world.options() };
    assert!(!judged(&Tls::open(&options).unwrap(), world.pair("old")).await.verified);
}

#[test]
fn the_ca_is_made_once_and_its_key_is_its_owners() {
    use std::os::unix::fs::PermissionsExt;
    let world = World::new();
    let first = Tls::open(&world.options()).unwrap();
    let second = Tls::open(&world.options()).unwrap();
    assert!(first.authority().info().created && !second.authority().info().created);
    assert_eq!(first.authority().info().sha256, second.authority().info().sha256);
    let mode = |name: &str| std::fs::metadata(world.path(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("tls/ca.key"), mode("tls/ca.crt")), (0o600, 0o644));
    assert!(!format!("{first:?}").contains("PRIVATE"));
}

#[test]
fn files_that_do_not_fit_are_refused_with_their_names() {
    let world = World::new();
    world.server("db");
    world.server("other");
    let mixed = (world.path("db.crt"), world.path("other.key"));
    let error = |options: TlsOptions| Tls::open(&options).unwrap_err().to_string();
    assert!(error(TlsOptions { server_keys: vec![mixed], ..world.options() }).contains("is not that of"));
    let missing = (world.path("none.crt"), world.path("db.key"));
    assert!(error(TlsOptions { server_keys: vec![missing], ..world.options() }).contains("none.crt"));
    let empty = TlsOptions { upstream_roots: vec![world.path("db.key")], ..world.options() };
    assert!(error(empty).contains("no certificate"));
    Tls::open(&world.options()).unwrap();
    std::fs::remove_file(world.path("tls/ca.key")).unwrap();
    assert!(error(world.options()).contains("only one of"));
    std::fs::write(world.path("tls/ca.key"), KeyPair::generate().unwrap().serialize_pem()).unwrap();
    assert!(error(world.options()).contains("is not that of"));
}

#[test]
fn devices_and_pipes_are_not_read() {
    assert!(files::certificates(Path::new("/dev/zero")).unwrap_err().to_string().contains("regular"));
    let large = tempfile::NamedTempFile::new().unwrap();
    large.as_file().set_len((4 << 20) + 1).unwrap();
    assert!(files::certificates(large.path()).unwrap_err().to_string().ends_with("larger than 4 MiB"));
}

#[tokio::test]
async fn a_clients_certificate_is_seen_and_judged_and_issued_anew() {
    let world = World::new();
    world.server("db");
    let mut params = CertificateParams::new(vec![]).unwrap();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(rcgen::DnType::CommonName, "alice");
    let key = KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, &world.ca).unwrap().der().clone();
    let options = TlsOptions {
        client_roots: vec![world.path("root.pem")],
        reissue_client_certificates: true,
        server_keys: vec![world.pair("db")],
        ..world.options()
    };
    let tls = Tls::open(&options).unwrap();
    let (_, shown) = tls.shown(&endpoint(), &chain(&world.path("db.crt")), true).unwrap();
    let witness = tls.client_witness(vec![]);
    let acceptor = TlsAcceptor::from(tls.server_config(shown, None, Some(witness.clone())).unwrap());
    let mut roots = rustls::RootCertStore::empty();
    roots.add(chain(&world.path("root.pem")).remove(0)).unwrap();
    let key = rustls::pki_types::PrivatePkcs8KeyDer::from(key.serialize_der()).into();
    let config = ClientConfig::builder_with_provider(tls.provider.clone())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_client_auth_cert(vec![certificate], key)
        .unwrap();
    let (near, far) = tokio::io::duplex(64 << 10);
    let server = tokio::spawn(async move { acceptor.accept(far).await.map(drop) });
    let name = ServerName::try_from("db.test").unwrap();
    let connected = TlsConnector::from(Arc::new(config)).connect(name, near).await.unwrap();
    server.await.unwrap().unwrap();
    drop(connected);
    let seen = witness.certificate().unwrap();
    assert!(seen.verified && seen.subject == "CN=alice", "{seen:?}");
    let reissued = tls.reissued(witness.leaf().unwrap()).unwrap().unwrap();
    assert_eq!(names::subject(&reissued.cert[0]), "CN=alice");
}

/// A certificate of `params` by the world's CA, in files.
fn issue(world: &World, name: &str, params: &CertificateParams) {
    let key = KeyPair::generate().unwrap();
    std::fs::write(world.path(&format!("{name}.crt")), params.signed_by(&key, &world.ca).unwrap().pem())
        .unwrap();
    std::fs::write(world.path(&format!("{name}.key")), key.serialize_pem()).unwrap();
}

fn named(parts: &[(rcgen::DnType, rcgen::DnValue)]) -> CertificateParams {
    let mut params = CertificateParams::new(vec![]).unwrap();
    params.distinguished_name = rcgen::DistinguishedName::new();
    parts.iter().for_each(|(kind, value)| params.distinguished_name.push(kind.clone(), value.clone()));
    params
}

#[tokio::test]
async fn a_server_that_is_trusted_itself_does_not_vouch_for_others() {
    let world = World::new();
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["db1.test".into()]).unwrap();
    std::fs::write(world.path("db1.crt"), params.signed_by(&key, &world.ca).unwrap().pem()).unwrap();
    std::fs::write(world.path("db1.key"), key.serialize_pem()).unwrap();
    let pinned = TlsOptions { upstream_roots: vec![world.path("db1.crt")], ..world.options() };
    let tls = Tls::open(&pinned).unwrap();
    assert!(judged(&tls, world.pair("db1")).await.verified);
    // With its key it signs for another name.
    let rogue = World { dir: tempfile::tempdir().unwrap(), ca: Issuer::new(params, key) };
    rogue.server("db2");
    assert!(!judged(&tls, rogue.pair("db2")).await.verified);
}

#[tokio::test]
async fn a_root_that_is_not_in_force_vouches_for_nobody() {
    let world = World::new();
    let mut params = CertificateParams::new(vec![]).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    params.not_after = rcgen::date_time_ymd(2020, 1, 1);
    let key = KeyPair::generate().unwrap();
    std::fs::write(world.path("root.pem"), params.self_signed(&key).unwrap().pem()).unwrap();
    let world = World { dir: world.dir, ca: Issuer::new(params, key) };
    world.server("db");
    assert!(!judged(&Tls::open(&world.options()).unwrap(), world.pair("db")).await.verified);
}

#[test]
fn names_that_cannot_be_copied_are_vouched_for_by_nobody() {
    use rcgen::{DnType, DnValue};
    let world = World::new();
    let tls = Tls::open(&TlsOptions { reissue_client_certificates: true, ..world.options() }).unwrap();
    let bmp = DnValue::BmpString(rcgen::string::BmpString::try_from("alice").unwrap());
    issue(&world, "odd", &named(&[(DnType::CommonName, bmp)]));
    let odd = chain(&world.path("odd.crt"));
    assert_eq!(tls.shown(&endpoint(), &odd, true).unwrap().0, ShownCertificate::Unverified);
    assert!(tls.reissued(&odd[0]).is_err(), "somebody without a name is somebody else");
    issue(
        &world,
        "plain",
        &named(&[(DnType::OrganizationName, "o".into()), (DnType::CommonName, "alice".into())]),
    );
    let plain = chain(&world.path("plain.crt"));
    assert_eq!(tls.shown(&endpoint(), &plain, true).unwrap().0, ShownCertificate::LocalCa);
    let reissued = tls.reissued(&plain[0]).unwrap().unwrap();
    assert_eq!(names::subject(&reissued.cert[0]), names::subject(&plain[0]));
    let serial = |chain: &[CertificateDer<'_>]| {
        x509_parser::parse_x509_certificate(&chain[0]).unwrap().1.raw_serial().to_vec()
    };
    let (_, shown) = tls.shown(&endpoint(), &plain, true).unwrap();
    assert_ne!(serial(&shown.cert), serial(&reissued.cert), "one serial number for each");
}

/// As PostgreSQL's own manual makes them: `openssl x509 -req` without extensions writes version 1.
#[tokio::test]
async fn certificates_of_version_1_are_read_and_judged() {
    let world = World::new();
    let run = |arguments: &str| {
        let done = std::process::Command::new("openssl")
            .args(arguments.split(' '))
            .current_dir(world.dir.path())
            .output()
            .unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    };
    run("req -new -x509 -days 2 -nodes -subj /CN=old-ca -keyout ca.key -out root.pem -newkey rsa:2048");
    run("req -new -nodes -subj /CN=db.test -keyout db.key -out db.csr -newkey rsa:2048");
    run("x509 -req -in db.csr -days 1 -CA root.pem -CAkey ca.key -CAcreateserial -out db.crt");
    let parsed = chain(&world.path("db.crt"));
    assert_eq!(x509_parser::parse_x509_certificate(&parsed[0]).unwrap().1.version().0, 0, "version 1");
    assert!(judged(&Tls::open(&world.options()).unwrap(), world.pair("db")).await.verified);
    let stranger = TlsOptions { upstream_roots: vec![], ..world.options() };
    assert!(!judged(&Tls::open(&stranger).unwrap(), world.pair("db")).await.verified);
    let holding = TlsOptions { server_keys: vec![world.pair("db")], ..world.options() };
    let shown = Tls::open(&holding).unwrap().shown(&endpoint(), &parsed, false).unwrap().0;
    assert_eq!(shown, ShownCertificate::ServerKey);
}

#[test]
fn a_system_root_counts_only_for_the_name_that_was_asked_for() {
    let world = World::new();
    world.server("db");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let roots = roots::Roots::of_the_system(chain(&world.path("root.pem")), provider);
    let leaf = &chain(&world.path("db.crt"))[0];
    let judge = |name: &str| {
        let name = ServerName::try_from(name.to_owned()).unwrap();
        roots.judge_server(leaf, &[], &name, rustls::pki_types::UnixTime::now())
    };
    judge("db.test").unwrap();
    judge("127.0.0.9").unwrap();
    assert!(judge("other.test").unwrap_err().contains("not for the name"));
    assert!(judge("127.0.0.1").is_err());
}

impl World {
    /// A certificate for `db.test` with this serial number, in `name.crt`, and its key.
    fn numbered(&self, name: &str, serial: u64) {
        let mut params = CertificateParams::new(vec!["db.test".into()]).unwrap();
        params.serial_number = Some(serial.into());
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.ca).unwrap();
        std::fs::write(self.path(&format!("{name}.crt")), certificate.pem()).unwrap();
        std::fs::write(self.path(&format!("{name}.key")), key.serialize_pem()).unwrap();
    }

    /// A revocation list of the CA in `name`, in force until the year's end.
    fn list(&self, name: &str, revoked: &[u64], until_year: i32) -> PathBuf {
        let params = rcgen::CertificateRevocationListParams {
            this_update: rcgen::date_time_ymd(2020, 1, 1),
            next_update: rcgen::date_time_ymd(until_year, 12, 31),
            crl_number: 1.into(),
            issuing_distribution_point: None,
            revoked_certs: revoked
                .iter()
                .map(|serial| rcgen::RevokedCertParams {
                    serial_number: (*serial).into(),
                    revocation_time: rcgen::date_time_ymd(2020, 1, 1),
                    reason_code: None,
                    invalidity_date: None,
                })
                .collect(),
            key_identifier_method: rcgen::KeyIdMethod::Sha256,
        };
        std::fs::write(self.path(name), params.signed_by(&self.ca).unwrap().pem().unwrap()).unwrap();
        self.path(name)
    }
}

#[tokio::test]
async fn with_revocation_lists_only_what_they_cover_and_allow_is_verified() {
    let world = World::new();
    world.numbered("good", 5);
    world.numbered("bad", 6);
    // Of another CA that has the same name.
    let other = World::new();
    let lists = [
        (world.list("now.crl", &[6], 2999), true, "revoked"),
        (world.list("old.crl", &[6], 2021), false, "out of date"),
        (other.list("other.crl", &[5, 6], 2999), false, "cannot be told"),
    ];
    for (list, good, why) in lists {
        let options = TlsOptions { upstream_crls: vec![list], ..world.options() };
        let tls = Tls::open(&options).unwrap();
        assert_eq!(judged(&tls, world.pair("good")).await.verified, good, "{why}");
        let seen = judged(&tls, world.pair("bad")).await;
        assert!(!seen.verified, "{why}");
        let reason = seen.reason;
        assert!(reason.contains(why), "{reason}");
    }
    let without = Tls::open(&world.options()).unwrap();
    assert!(judged(&without, world.pair("bad")).await.verified);
}

#[tokio::test]
async fn revocation_lists_hold_for_clients_too() {
    let world = World::new();
    world.numbered("good", 5);
    world.numbered("bad", 6);
    let trust = trust::TrustFiles {
        roots: vec![world.path("root.pem")],
        revocation_lists: vec![world.list("now.crl", &[6], 2999)],
        system: false,
    };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let roots = trust::Trust::open(trust, provider).unwrap().now();
    let judge = |name: &str| {
        let leaf = chain(&world.path(name)).remove(0);
        roots.judge_client(&leaf, &[], rustls::pki_types::UnixTime::now())
    };
    judge("good.crt").unwrap();
    assert!(judge("bad.crt").unwrap_err().contains("revoked"));
}

#[tokio::test]
async fn roots_and_lists_are_read_again_when_they_change_and_a_broken_file_changes_nothing() {
    let world = World::new();
    world.numbered("db", 6);
    let root = std::fs::read(world.path("root.pem")).unwrap();
    std::fs::copy(World::new().path("root.pem"), world.path("root.pem")).unwrap();
    let list = world.list("now.crl", &[], 2999);
    let tls = Tls::open(&TlsOptions { upstream_crls: vec![list], ..world.options() }).unwrap();
    assert!(!judged(&tls, world.pair("db")).await.verified, "another CA");
    std::fs::write(world.path("root.pem"), &root).unwrap();
    assert!(judged(&tls, world.pair("db")).await.verified);
    std::fs::write(world.path("root.pem"), &root[..root.len() / 2]).unwrap();
    assert!(judged(&tls, world.pair("db")).await.verified, "half a file");
    std::fs::remove_file(world.path("root.pem")).unwrap();
    assert!(judged(&tls, world.pair("db")).await.verified, "no file");
    std::fs::write(world.path("root.pem"), &root).unwrap();
    world.list("now.crl", &[6], 2999);
    assert!(!judged(&tls, world.pair("db")).await.verified, "revoked meanwhile");
}

/// Whoever opens the file meanwhile is told to come back. Nothing of the file itself changes.
fn made_unreadable(path: &Path) -> std::fs::File {
    use std::os::fd::AsRawFd;
    /// `include/uapi/asm-generic/fcntl.h`.
    const F_SETSIG: libc::c_int = 10;
    let file = std::fs::File::open(path).unwrap();
    for (command, argument) in [(F_SETSIG, libc::SIGURG), (libc::F_SETLEASE, libc::F_WRLCK)] {
        // SAFETY: both commands take an int and touch no memory. The signal that says that somebody came is ignored by default.
        let done = unsafe { libc::fcntl(file.as_raw_fd(), command, argument) };
        assert_eq!(done, 0, "{}", std::io::Error::last_os_error());
    }
    file
}

/// A stamp stands for what was read: the file may be readable a moment later without any change of it, as when there was no
/// descriptor left to open it.
#[tokio::test]
async fn a_file_that_could_not_be_read_is_tried_again_though_it_did_not_change() {
    let world = World::new();
    world.server("db");
    let root = std::fs::read(world.path("root.pem")).unwrap();
    std::fs::copy(World::new().path("root.pem"), world.path("root.pem")).unwrap();
    let tls = Tls::open(&world.options()).unwrap();
    assert!(!judged(&tls, world.pair("db")).await.verified, "another CA");
    std::fs::write(world.path("root.pem"), &root).unwrap();
    let lease = made_unreadable(&world.path("root.pem"));
    for _ in 0..2 {
        assert!(!judged(&tls, world.pair("db")).await.verified, "the root before stays in use");
    }
    drop(lease);
    assert!(judged(&tls, world.pair("db")).await.verified);
}

#[test]
fn a_revocation_list_that_cannot_be_read_stops_the_start() {
    let world = World::new();
    for (name, content) in
        [("empty.crl", ""), ("broken.crl", "-----BEGIN X509 CRL-----\nMAA=\n-----END X509 CRL-----\n")]
    {
        std::fs::write(world.path(name), content).unwrap();
        let options = TlsOptions { upstream_crls: vec![world.path(name)], ..world.options() };
        let error = Tls::open(&options).unwrap_err().to_string();
        assert!(error.contains(name), "{error}");
    }
}
