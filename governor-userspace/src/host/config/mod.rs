//! The configuration: one TOML file, as written (`file`), then checked and typed (`resolve`).
//!
//! Every key has a default, so no file at all is a working configuration. Unknown keys are errors: a typing
//! error must not quietly leave a default in force. `deploy/governor.toml` shows every key.

mod file;
mod resolve;
mod units;

pub use resolve::{
    Approvals, Approver, Audit, CancelUnknown, Capture, CaptureInbound, CaptureRule, CaptureUnix, CgroupRef,
    ClientCertificates, ColumnLabel, ColumnPattern, Config, ConfigError, DEFAULT_PATH, DirectConnections,
    Identity, InboundNamespaces, Inference, Limits, Log, LogFormat, LogLevel, Masking, MaskingKeys, Metrics,
    OnStop, OpenConnections, Overrides, Policy, Profile, Protocol, RawSockets, ServerKey, Tls, TlsMode,
    UnknownColumns, WhenDown, load, parse,
};
pub use units::{parse_bytes, parse_duration};
