//! Throw-away certificates: a CA, servers, clients, as PEM files that the server's user may read.

use crate::postgres;
use anyhow::Result;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair,
};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// A CA and everything that it issued; the files end with it.
#[derive(Debug)]
pub struct Pki {
    dir: TempDir,
    issuer: Issuer<'static, KeyPair>,
}

impl Pki {
    pub fn new() -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("governor-pki-").tempdir()?;
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755))?;
        let mut params = CertificateParams::new(vec![])?;
        params.distinguished_name = named("governor test CA");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate()?;
        std::fs::write(dir.path().join("root.crt"), params.self_signed(&key)?.pem())?;
        Ok(Self { dir, issuer: Issuer::new(params, key) })
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn root(&self) -> PathBuf {
        self.path("root.crt")
    }

    /// `NAME.crt` and `NAME.key` for a server with these host names and addresses; again, they are replaced.
    pub fn server(&self, name: &str, hosts: &[&str]) -> Result<()> {
        let hosts: Vec<String> = hosts.iter().map(ToString::to_string).collect();
        self.issue(name, name, hosts, ExtendedKeyUsagePurpose::ServerAuth)?;
        if let Some((uid, gid)) = postgres::server_user()? {
            chown(self.path(&format!("{name}.key")), Some(uid), Some(gid))?;
        }
        Ok(())
    }

    /// `NAME.crt` and `NAME.key` for a client whose common name is `name`.
    pub fn client(&self, name: &str) -> Result<()> {
        self.issue(name, name, vec![], ExtendedKeyUsagePurpose::ClientAuth)
    }

    fn issue(
        &self,
        file: &str,
        common_name: &str,
        hosts: Vec<String>,
        usage: ExtendedKeyUsagePurpose,
    ) -> Result<()> {
        let mut params = CertificateParams::new(hosts)?;
        params.distinguished_name = named(common_name);
        params.extended_key_usages = vec![usage];
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        std::fs::write(self.path(&format!("{file}.crt")), certificate.pem())?;
        let path = self.path(&format!("{file}.key"));
        std::fs::write(&path, key.serialize_pem())?;
        Ok(std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?)
    }
}

/// The certificates of both files in one.
pub fn joined(first: &Path, second: &Path, into: &Path) -> Result<()> {
    Ok(std::fs::write(into, [std::fs::read(first)?, std::fs::read(second)?].concat())?)
}

fn named(common_name: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common_name);
    name
}
