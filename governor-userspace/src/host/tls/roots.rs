//! Which certificates are trusted: a chain to a root that the operator named, or the system.
//!
//! A root of the operator vouches for any name: the client compares that, against the same names in what it is
//! shown. The system's roots are those of the whole web, so there the name that the client asked for counts too;
//! else a client that trusts one CA of its own, and compares no names, would come to trust all of them.

use super::files::{TlsError, certificates, revocation_lists};
use super::names;
use super::trust::TrustFiles;
use rustls::RootCertStore;
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use std::collections::HashSet;
use std::sync::Arc;
use webpki::{
    CertRevocationList, EndEntityCert, ExpirationPolicy, KeyUsage, RevocationOptionsBuilder,
    UnknownStatusPolicy,
};
use x509_parser::prelude::{FromDer, X509Certificate, X509Version};

#[derive(Debug)]
pub(super) struct Roots {
    pub provider: Arc<CryptoProvider>,
    /// CAs of the operator's files.
    own: Arc<RootCertStore>,
    system: Arc<RootCertStore>,
    /// The same as `own`, for certificates of version 1, which the library does not read.
    authorities: Vec<CertificateDer<'static>>,
    /// Everything of the operator's files: many databases serve a self-signed certificate that is its own root.
    exact: HashSet<[u8; 32]>,
    /// A CA of `own` may sign for some names only.
    constrained: bool,
    /// Of the operator. Where there are some, a chain to a root of the operator counts only if all of it is in them and not
    /// revoked.
    lists: Vec<CertRevocationList<'static>>,
}

impl Roots {
    /// What of the operating system's roots cannot be read is left out. So is what is not in force now.
    pub fn load(files: &TrustFiles, provider: Arc<CryptoProvider>) -> Result<Self, TlsError> {
        let mut roots = Self {
            provider,
            own: Arc::new(RootCertStore::empty()),
            system: Arc::new(RootCertStore::empty()),
            authorities: Vec::new(),
            exact: HashSet::new(),
            constrained: false,
            lists: Vec::new(),
        };
        let now = UnixTime::now().as_secs();
        let mut store = RootCertStore::empty();
        for path in &files.revocation_lists {
            roots.lists.extend(revocation_lists(path)?);
        }
        for path in &files.roots {
            for certificate in certificates(path)? {
                roots.exact.insert(names::digest(&certificate));
                // A server's own certificate is trusted as it is. It does not vouch for others.
                if names::is_authority(&certificate)
                    && names::in_force(&certificate, now)
                    && store.add(certificate.clone()).is_ok()
                {
                    roots.constrained |= names::is_constrained(&certificate);
                    roots.authorities.push(certificate);
                }
            }
        }
        roots.own = Arc::new(store);
        if files.system {
            let found = rustls_native_certs::load_native_certs();
            for error in &found.errors {
                tracing::debug!(%error, "a system root certificate cannot be read");
            }
            let mut store = RootCertStore::empty();
            store
                .add_parsable_certificates(found.certs.into_iter().filter(|root| names::in_force(root, now)));
            roots.system = Arc::new(store);
        }
        Ok(roots)
    }

    /// For tests: these are the system's.
    #[cfg(test)]
    pub fn of_the_system(system: Vec<CertificateDer<'static>>, provider: Arc<CryptoProvider>) -> Self {
        let mut store = RootCertStore::empty();
        store.add_parsable_certificates(system);
        Self {
            system: Arc::new(store),
            ..Self::load(&TrustFiles::default(), provider).expect("no file is read")
        }
    }

    /// Whether a server with this certificate may be believed by a client that asked for `name`; why not.
    pub fn judge_server(
        &self,
        leaf: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        now: UnixTime,
    ) -> Result<(), String> {
        if self.names(leaf, now) {
            return Ok(());
        }
        if is_version_1(leaf) {
            return self.judge_version_1(leaf, now);
        }
        let parsed = ParsedCertificate::try_from(leaf).map_err(|error| error.to_string())?;
        let algorithms = self.provider.signature_verification_algorithms.all;
        let leads_to = |store: &RootCertStore, unlisted| {
            verify_server_cert_signed_by_trust_anchor(&parsed, store, chain, now, algorithms)
                .map_err(|error| error.to_string())?;
            self.not_revoked(leaf, store, chain, KeyUsage::server_auth(), unlisted, now)
        };
        let own = leads_to(&self.own, UnknownStatusPolicy::Deny);
        if own.is_ok() {
            // Constraints are checked against alternative names only, and a client may go by the common name.
            let constrained = self.constrained || chain.iter().any(names::is_constrained);
            return match constrained && !names::has_hosts(leaf) {
                true => Err("its CA may sign for some names only, and it has no alternative names".into()),
                false => Ok(()),
            };
        }
        // The lists are those of the operator's CAs: of the web's they need not say anything.
        if leads_to(&self.system, UnknownStatusPolicy::Allow).is_err() {
            return own;
        }
        verify_server_name(&parsed, name)
            .map_err(|_| format!("a system root vouches for it, but not for the name {:?}", name.to_str()))
    }

    /// Whether the revocation lists allow this chain. An expired list allows nothing: it may lack the newest entry.
    fn not_revoked(
        &self,
        leaf: &CertificateDer<'_>,
        store: &RootCertStore,
        chain: &[CertificateDer<'_>],
        usage: KeyUsage,
        unlisted: UnknownStatusPolicy,
        now: UnixTime,
    ) -> Result<(), String> {
        let lists: Vec<_> = self.lists.iter().collect();
        let Ok(revocation) = RevocationOptionsBuilder::new(&lists) else { return Ok(()) };
        let revocation =
            revocation.with_status_policy(unlisted).with_expiration_policy(ExpirationPolicy::Enforce).build();
        let algorithms = self.provider.signature_verification_algorithms.all;
        EndEntityCert::try_from(leaf)
            .and_then(|leaf| {
                let path = leaf.verify_for_usage(
                    algorithms,
                    &store.roots,
                    chain,
                    now,
                    usage,
                    Some(revocation),
                    None,
                );
                path.map(drop)
            })
            .map_err(|error| match error {
                webpki::Error::CertRevoked => "it is revoked, or a CA above it".into(),
                webpki::Error::UnknownRevocationStatus => "no revocation list covers it".into(),
                webpki::Error::CrlExpired { .. } => "its revocation list is out of date".into(),
                other => format!("its revocation cannot be told: {other}"),
            })
    }

    /// `openssl x509 -req` writes version 1 unless told otherwise. Believed where a CA of the operator signed it
    /// itself: such a certificate has no extensions that could limit it.
    fn judge_version_1(&self, leaf: &CertificateDer<'_>, now: UnixTime) -> Result<(), String> {
        let (_, parsed) = X509Certificate::from_der(leaf).map_err(|error| error.to_string())?;
        let signed = self.authorities.iter().any(|root| {
            X509Certificate::from_der(root).is_ok_and(|(_, root)| {
                root.subject().as_raw() == parsed.issuer().as_raw()
                    && parsed.verify_signature(Some(root.public_key())).is_ok()
            }) && names::in_force(root, now.as_secs())
        });
        match (signed, names::in_force(leaf, now.as_secs())) {
            (false, _) => Err("no CA of tls.upstream_roots signed it (X.509 version 1)".into()),
            (true, _) if !self.lists.is_empty() => {
                Err("its revocation cannot be told (X.509 version 1)".into())
            }
            (true, _) if self.constrained => Err("its CA may sign for some names only".into()),
            (true, false) => Err("it is not in force".into()),
            (true, true) => Ok(()),
        }
    }

    /// The same for a client's certificate.
    pub fn judge_client(
        &self,
        leaf: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), String> {
        if self.names(leaf, now) {
            return Ok(());
        }
        if self.own.is_empty() {
            return Err("no roots for clients are configured (tls.client_roots)".into());
        }
        let verifier = WebPkiClientVerifier::builder_with_provider(self.own.clone(), self.provider.clone())
            .build()
            .map_err(|error| error.to_string())?;
        verifier.verify_client_cert(leaf, chain, now).map_err(|error| error.to_string())?;
        self.not_revoked(leaf, &self.own, chain, KeyUsage::client_auth(), UnknownStatusPolicy::Deny, now)
    }

    /// The operator named this very certificate, and it is in force.
    fn names(&self, leaf: &CertificateDer<'_>, now: UnixTime) -> bool {
        self.exact.contains(&names::digest(leaf)) && names::in_force(leaf, now.as_secs())
    }
}

fn is_version_1(certificate: &CertificateDer<'_>) -> bool {
    X509Certificate::from_der(certificate).is_ok_and(|(_, parsed)| parsed.version() == X509Version::V1)
}
