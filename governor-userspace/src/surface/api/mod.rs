//! The HTTP API: control socket, metrics and health.
