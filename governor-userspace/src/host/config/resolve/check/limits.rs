//! `[limits]`.

use super::{Checked, GIB, HOUR, KIB, Source, TENTH};
use crate::host::config::file;
use crate::host::config::resolve::Limits;
use std::time::Duration;

impl Source<'_> {
    pub(super) fn limits(&self, written: file::Limits) -> Checked<Limits> {
        let d = Limits::default();
        let w = written;
        let workers = self.count(w.workers, "limits.workers", 0, 0..=1024)?;
        let connections_max =
            self.count(w.connections_max, "limits.connections_max", d.connections_max, 1..=1_000_000)?;
        let peer_timeout = self.time(
            w.peer_timeout,
            "limits.peer_timeout",
            d.peer_timeout.unwrap_or_default(),
            // The kernel's own limit for the silence before it asks is nine hours.
            Duration::ZERO..=12 * HOUR,
        )?;
        Ok(Limits {
            connections_max,
            connections_per_source_max: self.count(
                w.connections_per_source_max,
                "limits.connections_per_source_max",
                // One source never shuts out all others.
                connections_max.div_ceil(2),
                1..=1_000_000,
            )?,
            statement_bytes_max: self.size(
                w.statement_bytes_max,
                "limits.statement_bytes_max",
                d.statement_bytes_max,
                KIB..=GIB,
            )?,
            row_bytes_max: self.size(w.row_bytes_max, "limits.row_bytes_max", d.row_bytes_max, KIB..=GIB)?,
            startup_timeout: self.time(
                w.startup_timeout,
                "limits.startup_timeout",
                d.startup_timeout,
                TENTH..=HOUR,
            )?,
            authentication_timeout: self.time(
                w.authentication_timeout,
                "limits.authentication_timeout",
                d.authentication_timeout,
                TENTH..=HOUR,
            )?,
            upstream_connect_timeout: self.time(
                w.upstream_connect_timeout,
                "limits.upstream_connect_timeout",
                d.upstream_connect_timeout,
                TENTH..=HOUR,
            )?,
            drain_timeout: self.time(
                w.drain_timeout,
                "limits.drain_timeout",
                d.drain_timeout,
                Duration::ZERO..=HOUR,
            )?,
            upgrade_timeout: self.time(
                w.upgrade_timeout,
                "limits.upgrade_timeout",
                d.upgrade_timeout,
                Duration::ZERO..=24 * HOUR,
            )?,
            peer_timeout: (!peer_timeout.is_zero()).then_some(peer_timeout),
            cancel_unknown: w.cancel_unknown.unwrap_or_default(),
            workers: (workers != 0).then_some(workers),
        })
    }
}
