//! Log lines: one subscriber for `tracing` and for crates that speak `log`.
//!
//! Lines go to standard error: under systemd that is the journal. No statement text and no value is
//! ever logged; those belong to the audit alone.

use serde::{Deserialize, Serialize};
use std::io::IsTerminal;
use tracing_subscriber::EnvFilter;

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

#[derive(Debug, thiserror::Error)]
pub enum LogError {
    #[error("log level {level:?} is not understood: {reason}; try info, debug or governor=debug,warn")]
    Level { level: String, reason: String },
    #[error("logging is set up already")]
    Twice,
}

/// Starts logging for the whole process; once.
///
/// `level` is a filter such as `info` or `governor=debug,warn`; the environment variable
/// `GOVERNOR_LOG` overrides it.
pub fn init(level: &str, format: LogFormat) -> Result<(), LogError> {
    let level = std::env::var("GOVERNOR_LOG").unwrap_or_else(|_| level.to_owned());
    let filter = filter(&level)?;
    let log_level = filter.max_level_hint();
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(format == LogFormat::Text && std::io::stderr().is_terminal());
    match format {
        LogFormat::Text => tracing::subscriber::set_global_default(builder.with_target(false).finish()),
        LogFormat::Json => {
            tracing::subscriber::set_global_default(builder.json().flatten_event(true).finish())
        }
    }
    .map_err(|_| LogError::Twice)?;
    let log_level = log_level.map_or(log::LevelFilter::Trace, |hint| match hint.into_level() {
        Some(tracing::Level::ERROR) => log::LevelFilter::Error,
        Some(tracing::Level::WARN) => log::LevelFilter::Warn,
        Some(tracing::Level::INFO) => log::LevelFilter::Info,
        Some(tracing::Level::DEBUG) => log::LevelFilter::Debug,
        Some(tracing::Level::TRACE) => log::LevelFilter::Trace,
        None => log::LevelFilter::Off,
    });
    tracing_log::LogTracer::builder().with_max_level(log_level).init().map_err(|_| LogError::Twice)
}

fn filter(level: &str) -> Result<EnvFilter, LogError> {
    EnvFilter::builder()
        .parse(level)
        .map_err(|error| LogError::Level { level: level.to_owned(), reason: error.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_that_means_nothing_is_refused_with_examples() {
        assert!(filter("governor=debug,warn").is_ok());
        let error = filter("governor=loud").unwrap_err().to_string();
        assert!(error.contains("governor=loud") && error.contains("try info"), "{error}");
    }
}
