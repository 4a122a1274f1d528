//! How one session is encrypted, on both of its connections.

use serde::{Deserialize, Serialize};

/// TLS that governor ended on both sides of a session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TlsSession {
    /// Such as `TLSv1.3`.
    pub version: String,
    pub cipher: String,
    /// What the client was shown.
    pub shown: ShownCertificate,
    /// The name that the client asked for (SNI, RFC 6066 section 3).
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub server_name: Option<String>,
    /// TLS began with the first byte (`sslnegotiation=direct`), without an SSLRequest.
    pub direct: bool,
    /// The client's own, where it presented one; it holds the key.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub client_certificate: Option<PeerCertificate>,
    pub upstream: UpstreamTls,
}

/// The connection to the database.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpstreamTls {
    pub version: String,
    pub cipher: String,
    pub certificate: PeerCertificate,
    /// The server asked for a client certificate.
    pub wants_client_certificate: bool,
}

/// Whose certificate governor shows to clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ShownCertificate {
    /// The server's own: nothing about it can be told apart, channel binding holds.
    ServerKey,
    /// One of governor's CA with the server's names: the server's own was verified.
    LocalCa,
    /// One that no CA vouches for, as the server's own was not verified: clients that verify refuse it.
    Unverified,
}

/// A certificate whose key the peer holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerCertificate {
    /// RFC 4514 form, such as `CN=db.example.org,O=Example`.
    pub subject: String,
    /// SHA-256 of its DER form, in hexadecimal.
    pub sha256: String,
    /// It leads to a root that the operator or the system trusts, and is in force.
    pub verified: bool,
    /// Why not; empty where it was verified.
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub reason: String,
}

impl TlsSession {
    /// The client's and the server's connection end in the same certificate, so `tls-server-end-point`
    /// (RFC 5929 section 4) is the same on both.
    pub fn keeps_channel_binding(&self) -> bool {
        self.shown == ShownCertificate::ServerKey
    }
}
