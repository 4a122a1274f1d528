//! governor's own CA: made once, kept with its key, and used to issue certificates that stand for a server's.
//!
//! Clients that verify have to trust it, which is a person's decision: `governor tls ca` says how. A second issuer
//! lives in memory only and is never to be trusted: it signs for servers whose own certificate was not verified.

use super::files::{TlsError, certificates, private_key};
use super::names;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ToSpan};
use lru::LruCache;
use parking_lot::Mutex;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::{CertifiedKey, SigningKey};
use std::io::Write;
use std::num::NonZeroUsize;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What a certificate is issued for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Purpose {
    /// Shown to clients in place of a server's certificate that was verified.
    Server,
    /// The same for one that was not: signed by nobody that can be trusted.
    UnverifiedServer,
    /// Shown to a server in place of a client's certificate that was verified.
    Client,
}

pub struct Authority {
    certificate: CertificateDer<'static>,
    info: CaInfo,
    trusted: Issuer<'static, KeyPair>,
    unverified: Issuer<'static, KeyPair>,
    /// All issued certificates are for one key, which never leaves memory.
    leaf_key: KeyPair,
    leaf_signing: Arc<dyn SigningKey>,
    issued: Mutex<Issued>,
}

/// By digest of the original; since when, in seconds of the Unix epoch.
type Issued = LruCache<([u8; 32], Purpose), (u64, Arc<CertifiedKey>)>;

/// What a person needs to know to trust the CA.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaInfo {
    pub path: PathBuf,
    pub subject: String,
    /// Of its DER form, in hexadecimal.
    pub sha256: String,
    /// It was made by this call.
    pub created: bool,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Never the keys.
        f.debug_struct("Authority").field("info", &self.info).finish_non_exhaustive()
    }
}

impl Authority {
    /// Reads the CA in `directory`, or makes one there.
    pub fn open(directory: &Path, provider: Arc<CryptoProvider>) -> Result<Self, TlsError> {
        let (path, key_path) = (directory.join(CERTIFICATE_FILE), directory.join(KEY_FILE));
        let fail = |reason: String| TlsError::Authority { path: path.clone(), reason };
        let created = match (path.exists(), key_path.exists()) {
            (true, true) => false,
            (false, false) => {
                create(directory, &path, &key_path)?;
                true
            }
            _ => {
                return Err(fail(format!(
                    "only one of {CERTIFICATE_FILE} and {KEY_FILE} is there: bring the other back, or remove it for \
                     a new CA, which clients have to be told to trust"
                )));
            }
        };
        let certificate = certificates(&path)?.into_iter().next().ok_or(TlsError::NoCertificate)?;
        if !names::in_force(&certificate, now_s()) {
            return Err(fail("this CA is no longer in force: remove it and its key for a new one".into()));
        }
        let key = KeyPair::try_from(private_key(&key_path)?.secret_der())
            .map_err(|error| TlsError::NoKey { path: key_path.clone(), reason: error.to_string() })?;
        check_pair(&certificate, &key, &provider)
            .map_err(|_| TlsError::Mismatch { certificate: path.clone(), key: key_path })?;
        let trusted = Issuer::from_ca_cert_der(&certificate, key).map_err(|error| fail(error.to_string()))?;
        let unverified =
            Issuer::new(ca_params("governor: the server's certificate was not verified")?, new_key()?);
        let leaf_key = new_key()?;
        let leaf_signing = provider.key_provider.load_private_key(private_der(&leaf_key))?;
        let info = CaInfo {
            subject: names::subject(&certificate),
            sha256: hex::encode(names::digest(&certificate)),
            path,
            created,
        };
        Ok(Self {
            certificate,
            info,
            trusted,
            unverified,
            leaf_key,
            leaf_signing,
            issued: Mutex::new(LruCache::new(ISSUED_COUNT_MAX)),
        })
    }

    pub fn info(&self) -> &CaInfo {
        &self.info
    }

    /// A certificate with the names of `original`; the same one again for a while.
    pub(super) fn issue(
        &self,
        original: &CertificateDer<'_>,
        purpose: Purpose,
    ) -> Result<Arc<CertifiedKey>, TlsError> {
        let id = (names::digest(original), purpose);
        if let Some((since, issued)) = self.issued.lock().get(&id)
            && (*since..*since + ISSUED_AGAIN_AFTER_S).contains(&now_s())
        {
            return Ok(issued.clone());
        }
        let mut params = CertificateParams::default();
        let copied = match purpose {
            Purpose::Server | Purpose::UnverifiedServer => names::copy_server(original, &mut params),
            Purpose::Client => names::copy_client(original, &mut params),
        };
        // What nobody vouches for need not be a perfect copy.
        if purpose != Purpose::UnverifiedServer {
            copied.map_err(TlsError::Issue)?;
        }
        let mut serial = [0; 16];
        getrandom::fill(&mut serial).map_err(|error| TlsError::Issue(error.to_string()))?;
        // Positive, as RFC 5280 wants it.
        serial[0] &= 0x7f;
        params.serial_number = Some(serial.to_vec().into());
        set_validity(&mut params, LEAF_DAYS);
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![match purpose {
            Purpose::Server | Purpose::UnverifiedServer => ExtendedKeyUsagePurpose::ServerAuth,
            Purpose::Client => ExtendedKeyUsagePurpose::ClientAuth,
        }];
        params.use_authority_key_identifier_extension = true;
        let issuer = match purpose {
            Purpose::UnverifiedServer => &self.unverified,
            Purpose::Server | Purpose::Client => &self.trusted,
        };
        let leaf =
            params.signed_by(&self.leaf_key, issuer).map_err(|error| TlsError::Issue(error.to_string()))?;
        let mut chain = vec![leaf.der().clone()];
        if purpose != Purpose::UnverifiedServer {
            chain.push(self.certificate.clone());
        }
        let issued = Arc::new(CertifiedKey::new(chain, self.leaf_signing.clone()));
        self.issued.lock().put(id, (now_s(), issued.clone()));
        Ok(issued)
    }
}

impl CaInfo {
    /// What the CA in `directory` is, without its key.
    pub fn read(directory: &Path) -> Result<(Self, String), TlsError> {
        let path = directory.join(CERTIFICATE_FILE);
        let certificate = certificates(&path)?.into_iter().next().ok_or(TlsError::NoCertificate)?;
        let pem = String::from_utf8_lossy(&super::files::read_pem(&path)?).into_owned();
        let info = Self {
            subject: names::subject(&certificate),
            sha256: hex::encode(names::digest(&certificate)),
            path,
            created: false,
        };
        Ok((info, pem))
    }
}

/// Makes key and certificate; the certificate last, so that one without the other is a key alone.
fn create(directory: &Path, path: &Path, key_path: &Path) -> Result<(), TlsError> {
    let io = |path: &Path| {
        let path = path.to_owned();
        move |source| TlsError::Read { path, source }
    };
    std::fs::DirBuilder::new().recursive(true).mode(0o750).create(directory).map_err(io(directory))?;
    let host = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok()).unwrap_or_default();
    let mut params = ca_params(&format!("governor CA of {host}"))?;
    set_validity(&mut params, CA_DAYS);
    let key = new_key()?;
    let certificate = params.self_signed(&key).map_err(|error| TlsError::Issue(error.to_string()))?;
    write(key_path, 0o600, key.serialize_pem().as_bytes()).map_err(io(key_path))?;
    write(path, 0o644, certificate.pem().as_bytes()).map_err(io(path))
}

/// A new file, whole or not at all.
fn write(path: &Path, mode: u32, bytes: &[u8]) -> std::io::Result<()> {
    let draft = path.with_extension("new");
    let _ = std::fs::remove_file(&draft);
    let mut file = std::fs::File::options().write(true).create_new(true).mode(mode).open(&draft)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&draft, path)
}

fn ca_params(common_name: &str) -> Result<CertificateParams, TlsError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    params.distinguished_name.push(DnType::OrganizationName, "governor");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(params)
}

/// ECDSA on P-256: accepted by every TLS library in use.
fn new_key() -> Result<KeyPair, TlsError> {
    KeyPair::generate().map_err(|error| TlsError::Issue(error.to_string()))
}

fn private_der(key: &KeyPair) -> PrivateKeyDer<'static> {
    PrivatePkcs8KeyDer::from(key.serialize_der()).into()
}

fn check_pair(
    certificate: &CertificateDer<'static>,
    key: &KeyPair,
    provider: &CryptoProvider,
) -> Result<(), rustls::Error> {
    let signing = provider.key_provider.load_private_key(private_der(key))?;
    CertifiedKey::new(vec![certificate.clone()], signing).keys_match()
}

/// From yesterday, as clocks differ, for so many days.
fn set_validity(params: &mut CertificateParams, days: i64) {
    let today = Timestamp::now().to_zoned(TimeZone::UTC).date();
    let date = |date: jiff::civil::Date| {
        rcgen::date_time_ymd(date.year().into(), date.month().unsigned_abs(), date.day().unsigned_abs())
    };
    params.not_before = date(today.saturating_sub(1.day()));
    params.not_after = date(today.saturating_add(days.days()));
}

fn now_s() -> u64 {
    Timestamp::now().duration_since(Timestamp::UNIX_EPOCH).max(SignedDuration::ZERO).as_secs().unsigned_abs()
}

pub(super) const CERTIFICATE_FILE: &str = "ca.crt";
pub(super) const KEY_FILE: &str = "ca.key";
/// Ten years: trusting a new one means work on every client.
const CA_DAYS: i64 = 3650;
/// An issued certificate is made anew far earlier; nothing keeps it.
const LEAF_DAYS: i64 = 7;
const ISSUED_AGAIN_AFTER_S: u64 = 24 * 3600;
const ISSUED_COUNT_MAX: NonZeroUsize = NonZeroUsize::MIN.saturating_add(1023);
