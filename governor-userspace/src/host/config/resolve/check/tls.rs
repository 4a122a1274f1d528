//! `[tls]`.

use super::{Checked, Source};
use crate::host::config::file;
use crate::host::config::resolve::{ClientCertificates, ServerKey, Tls};

impl Source<'_> {
    pub(super) fn tls(&self, written: file::Tls) -> Checked<Tls> {
        let default = Tls::default();
        let mut server_keys = Vec::with_capacity(written.server_keys.len());
        for pair in written.server_keys {
            let span = pair.span();
            match pair.into_inner() {
                file::ServerKey { certificate: Some(certificate), key: Some(key) } => {
                    server_keys.push(ServerKey { certificate, key });
                }
                _ => return Err(self.fail_at(span, "tls.server_keys", "name both certificate and key")),
            }
        }
        let client_certificates = written.client_certificates.unwrap_or_default();
        if client_certificates == ClientCertificates::Reissue && written.client_roots.is_empty() {
            let at = self.text.find("client_certificates").unwrap_or(0);
            let reason = "\"reissue\" needs tls.client_roots: only a verified certificate is issued anew";
            return Err(self.fail(at, "tls.client_certificates", reason));
        }
        if !written.client_crls.is_empty() && written.client_roots.is_empty() {
            let at = self.text.find("client_crls").unwrap_or(0);
            let reason =
                "revocation lists of clients need tls.client_roots: without roots no client is verified";
            return Err(self.fail(at, "tls.client_crls", reason));
        }
        Ok(Tls {
            server_keys,
            discover_server_keys: written.discover_server_keys.unwrap_or(default.discover_server_keys),
            upstream_roots: written.upstream_roots,
            upstream_crls: written.upstream_crls,
            system_roots: written.system_roots.unwrap_or(default.system_roots),
            client_roots: written.client_roots,
            client_crls: written.client_crls,
            client_certificates,
        })
    }
}
