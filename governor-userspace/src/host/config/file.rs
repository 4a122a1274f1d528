//! The configuration file as written: every key optional, nothing checked beyond its type.
//!
//! What a value means, its default and its limits are in `resolve.rs`. Values that are checked there carry
//! their position, so that an error can name the line.

use super::resolve::{
    CancelUnknown, ClientCertificates, DirectConnections, HelloMode, InboundNamespaces, LogFormat, LogLevel,
    OnStop, OpenConnections, Profile, Protocol, RawSockets, TlsMode, UnknownColumns, WhenDown,
};
use super::units::{Bytes, Span};
use crate::engine::masking::{Category, Checksum, DateRange};
use crate::engine::model::{Class, MaskStyle};
use crate::host::identity::Glob;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::PathBuf;
use toml::Spanned;

/// A value that may be left out.
pub(super) type Value<T> = Option<Spanned<T>>;

macro_rules! table {
    ($(#[$about:meta])* $name:ident { $($key:ident: $kind:ty,)* }) => {
        $(#[$about])*
        #[derive(Debug, Default, Deserialize)]
        #[serde(deny_unknown_fields, default)]
        pub(super) struct $name { $(pub $key: $kind,)* }

        #[cfg(test)]
        impl $name {
            /// Every key, for the test that compares the sample and the documentation with it.
            pub(super) const KEYS: &[&str] = &[$(stringify!($key),)*];
        }
    };
}

table!(File {
    capture: Capture,
    tls: Tls,
    identity: Identity,
    policy: Policy,
    masking: Masking,
    approvals: Approvals,
    audit: Audit,
    metrics: Metrics,
    limits: Limits,
    log: Log,
});

table!(Capture {
    rules: Option<Vec<CaptureRule>>,
    inbound: Vec<Spanned<CaptureInbound>>,
    own_cgroup: Value<String>,
    on_stop: Option<OnStop>,
    unix: Vec<Spanned<CaptureUnix>>,
    namespaces_max: Value<u32>,
    listeners: Value<u32>,
});

table!(CaptureRule {
    cgroup: Value<String>,
    ports: Value<Vec<u16>>,
    protocol: Option<Protocol>,
    when_down: Option<WhenDown>,
    tls: Option<TlsMode>,
    open_connections: Option<OpenConnections>,
    raw_sockets: Option<RawSockets>,
});

table!(CaptureInbound {
    ports: Value<Vec<u16>>,
    unit: Option<Glob>,
    cgroup: Option<Glob>,
    namespaces: Option<InboundNamespaces>,
    published: Value<Vec<u16>>,
    clients: Value<String>,
    protocol: Option<Protocol>,
    when_down: Option<WhenDown>,
    tls: Option<TlsMode>,
    open_connections: Option<OpenConnections>,
});

table!(CaptureUnix {
    path: Value<PathBuf>,
    protocol: Option<Protocol>,
    when_down: Option<WhenDown>,
    direct_connections: Option<DirectConnections>,
    mode: Value<String>,
});

table!(Tls {
    server_keys: Vec<Spanned<ServerKey>>,
    discover_server_keys: Option<bool>,
    upstream_roots: Vec<PathBuf>,
    upstream_crls: Vec<PathBuf>,
    system_roots: Option<bool>,
    client_roots: Vec<PathBuf>,
    client_crls: Vec<PathBuf>,
    client_certificates: Option<ClientCertificates>,
});

table!(ServerKey {
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
});

table!(Identity {
    agents_file: Value<PathBuf>,
    assign: Vec<Spanned<Assign>>,
    peers: Vec<Spanned<PeerBlock>>,
});

table!(PeerBlock {
    name: Value<String>,
    addresses: Vec<Spanned<String>>,
    key: Value<String>,
    other_keys: Vec<Spanned<String>>,
    translated: BTreeMap<String, Spanned<String>>,
    hello: Option<HelloMode>,
});

table!(Assign {
    cgroup: Option<Glob>,
    executable: Option<Glob>,
    uid: Option<u32>,
    user: Option<String>,
    unit: Option<Glob>,
    address: Value<String>,
    certificate: Option<Glob>,
    peer: Value<String>,
    class: Option<Class>,
    groups: Vec<String>,
});

table!(Policy {
    profile: Option<Profile>,
    directory: Value<PathBuf>,
    builtin: Option<bool>,
    disabled: Option<Vec<String>>,
    packs: Vec<Spanned<String>>,
    time_zone: Value<String>,
});

table!(Masking {
    columns: Vec<MaskingColumn>,
    clear: Vec<Spanned<String>>,
    detect_values: Option<bool>,
    unknown_columns: Option<UnknownColumns>,
    shift_days: Value<u32>,
    range_width: Value<u32>,
    range_dates: Option<DateRange>,
    keys_per_column: Option<bool>,
    compare_tokens: Option<bool>,
    keys: MaskingKeys,
    inference: Inference,
    discovery: MaskingDiscovery,
    detectors: Vec<Spanned<MaskingDetector>>,
});

table!(Inference {
    classes: Option<Vec<Class>>,
    window: Value<Span>,
    warn_bits: Option<u32>,
    hold_bits: Option<u32>,
    deny_bits: Option<u32>,
    approvers: Option<String>,
});

table!(MaskingDiscovery {
    enabled: Option<bool>,
    mask_from: Value<u32>,
});

table!(MaskingDetector {
    name: Option<String>,
    category: Option<Category>,
    pattern: Option<String>,
    dictionary: Option<Dictionary>,
    checksum: Option<Checksum>,
    confidence: Option<u8>,
    context: Vec<String>,
});

/// Words, or the file that has one on each line.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum Dictionary {
    Words(Vec<String>),
    File(PathBuf),
}

table!(MaskingColumn {
    column: Value<String>,
    path: Value<String>,
    category: Option<Category>,
    style: Option<MaskStyle>,
});

table!(MaskingKeys {
    directory: Value<PathBuf>,
    credential: Value<String>,
});

table!(Approvals {
    timeout: Value<Span>,
    pending_max: Value<u32>,
    socket_group: Value<String>,
    self_approval_as_root: Option<bool>,
    groups: BTreeMap<String, Vec<Spanned<String>>>,
});

table!(Audit {
    segment_bytes_max: Value<Bytes>,
    checkpoint_records: Value<u32>,
    checkpoint_interval: Value<Span>,
    text_bytes_max: Value<Bytes>,
    parameters_max: Value<u32>,
});

table!(Metrics {
    listen: Value<String>,
});

table!(Limits {
    connections_max: Value<u32>,
    connections_per_source_max: Value<u32>,
    statement_bytes_max: Value<Bytes>,
    row_bytes_max: Value<Bytes>,
    startup_timeout: Value<Span>,
    authentication_timeout: Value<Span>,
    upstream_connect_timeout: Value<Span>,
    upgrade_timeout: Value<Span>,
    drain_timeout: Value<Span>,
    peer_timeout: Value<Span>,
    cancel_unknown: Option<CancelUnknown>,
    workers: Value<u32>,
});

table!(Log {
    level: Option<LogLevel>,
    format: Option<LogFormat>,
});
