//! From the file as written to the checked configuration; every refusal names file, line, key and reason.

use super::super::file::{self, Value};
use super::super::units::{Bytes, Span};
use super::{Approvals, Approver, Audit, Config, ConfigError, DEFAULT_PATH, Log, Metrics, Overrides, Policy};
use crate::engine::policy::Pack;
use crate::host::identity::agents::line_of;
use crate::host::policy::time_zone;
use std::ops::{Range, RangeInclusive};
use std::path::Path;
use std::time::Duration;
use toml::Spanned;

mod capture;
mod identity;
mod limits;
mod masking;
mod peers;
mod tls;

/// Reads and checks the configuration. Without `path` the default file is read, and its absence is no
/// error; a file that is named must exist.
pub fn load(path: Option<&Path>, overrides: Overrides) -> Result<Config, ConfigError> {
    let (path, must_exist) = (path.unwrap_or(Path::new(DEFAULT_PATH)), path.is_some());
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && !must_exist => String::new(),
        Err(source) => return Err(ConfigError::Read { path: path.into(), source }),
    };
    parse(&text, path, overrides)
}

/// Checks the text of a configuration; `path` is where it came from: for errors, and a relative
/// `agents_file` is looked for beside it.
pub fn parse(text: &str, path: &Path, overrides: Overrides) -> Result<Config, ConfigError> {
    let source = Source { text, path };
    let file: file::File = toml::from_str(text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start);
        source.fail(at, &key_at(text, at), error.message().replace("unknown field", "unknown key"))
    })?;
    Ok(Config {
        capture: source.capture(file.capture)?,
        tls: source.tls(file.tls)?,
        identity: source.identity(file.identity)?,
        policy: source.policy(file.policy, overrides)?,
        masking: source.masking(file.masking)?,
        approvals: source.approvals(file.approvals)?,
        audit: source.audit(file.audit)?,
        metrics: source.metrics(file.metrics)?,
        limits: source.limits(file.limits)?,
        log: Log { level: file.log.level.unwrap_or_default(), format: file.log.format.unwrap_or_default() },
    })
}

type Checked<T> = Result<T, ConfigError>;

/// The text being checked, to say where something is wrong.
struct Source<'a> {
    text: &'a str,
    path: &'a Path,
}

impl Source<'_> {
    fn fail(&self, at: usize, key: &str, reason: impl Into<String>) -> ConfigError {
        let line = line_of(self.text, at);
        ConfigError::Invalid { path: self.path.into(), line, key: key.into(), reason: reason.into() }
    }

    fn fail_at(&self, span: Range<usize>, key: &str, reason: impl Into<String>) -> ConfigError {
        self.fail(span.start, key, reason)
    }

    fn policy(&self, written: file::Policy, overrides: Overrides) -> Checked<Policy> {
        let default = Policy::default();
        for pack in &written.packs {
            if Pack::named(pack.get_ref()).is_none() {
                let reason = format!("there is no pack {:?}; there are {}", pack.get_ref(), Pack::names());
                return Err(self.fail_at(pack.span(), "policy.packs", reason));
            }
        }
        if let Some(zone) = &written.time_zone {
            time_zone(zone.get_ref())
                .map_err(|reason| self.fail_at(zone.span(), "policy.time_zone", reason))?;
        }
        Ok(Policy {
            profile: overrides.profile.or(written.profile).unwrap_or_default(),
            directory_required: written.directory.as_ref().is_some_and(|d| *d.get_ref() != default.directory),
            directory: written.directory.map_or(default.directory, Spanned::into_inner),
            builtin: written.builtin.unwrap_or(default.builtin),
            disabled: written.disabled.unwrap_or_default(),
            packs: written.packs.into_iter().map(Spanned::into_inner).collect(),
            time_zone: written.time_zone.map_or(default.time_zone, Spanned::into_inner),
        })
    }

    fn approvals(&self, written: file::Approvals) -> Checked<Approvals> {
        let default = Approvals::default();
        let mut groups = std::collections::BTreeMap::new();
        for (name, members) in written.groups {
            let mut approvers = Vec::with_capacity(members.len());
            for member in members {
                let approver = approver(member.get_ref()).ok_or_else(|| {
                    let reason = format!(
                        "{:?} is no member; write a user name, \"uid:1001\" or \"group:NAME\"",
                        member.get_ref()
                    );
                    self.fail_at(member.span(), &format!("approvals.groups.{name}"), reason)
                })?;
                approvers.push(approver);
            }
            groups.insert(name, approvers);
        }
        Ok(Approvals {
            timeout: self.time(written.timeout, "approvals.timeout", default.timeout, SECOND..=DAY)?,
            pending_max: self.count(
                written.pending_max,
                "approvals.pending_max",
                default.pending_max,
                1..=1_000_000,
            )?,
            socket_group: written.socket_group.map(Spanned::into_inner).filter(|group| !group.is_empty()),
            self_approval_as_root: written.self_approval_as_root.unwrap_or(default.self_approval_as_root),
            groups,
        })
    }

    fn audit(&self, written: file::Audit) -> Checked<Audit> {
        let default = Audit::default();
        let segment = usize::try_from(default.segment_bytes_max).unwrap_or(usize::MAX);
        let records = usize::try_from(default.checkpoint_records).unwrap_or(usize::MAX);
        let segment =
            self.size(written.segment_bytes_max, "audit.segment_bytes_max", segment, 64 * KIB..=4 * GIB)?;
        let records =
            self.count(written.checkpoint_records, "audit.checkpoint_records", records, 1..=1_000_000)?;
        Ok(Audit {
            segment_bytes_max: segment as u64,
            checkpoint_records: u32::try_from(records).unwrap_or(u32::MAX),
            checkpoint_interval: self.time(
                written.checkpoint_interval,
                "audit.checkpoint_interval",
                default.checkpoint_interval,
                Duration::from_millis(100)..=HOUR,
            )?,
            text_bytes_max: self.size(
                written.text_bytes_max,
                "audit.text_bytes_max",
                default.text_bytes_max,
                64..=MIB,
            )?,
            parameters_max: self.count(
                written.parameters_max,
                "audit.parameters_max",
                default.parameters_max,
                0..=65_535,
            )?,
        })
    }

    fn metrics(&self, written: file::Metrics) -> Checked<Metrics> {
        let Some(value) = written.listen else { return Ok(Metrics::default()) };
        if value.get_ref().is_empty() {
            return Ok(Metrics { listen: None });
        }
        let address = value.get_ref().parse().map_err(|_| {
            let reason = format!(
                "{:?} is no address; write IP:PORT such as \"127.0.0.1:9847\" (port 0 takes a free one), or \"\" for none",
                value.get_ref()
            );
            self.fail_at(value.span(), "metrics.listen", reason)
        })?;
        Ok(Metrics { listen: Some(address) })
    }

    fn size(
        &self,
        value: Value<Bytes>,
        key: &str,
        default: usize,
        allowed: RangeInclusive<usize>,
    ) -> Checked<usize> {
        let Some(value) = value else { return Ok(default) };
        let bytes = usize::try_from(value.get_ref().0).unwrap_or(usize::MAX);
        self.within(bytes, value.span(), key, &allowed, |bytes| bytes_text(*bytes))
    }

    fn count(
        &self,
        value: Value<u32>,
        key: &str,
        default: usize,
        allowed: RangeInclusive<usize>,
    ) -> Checked<usize> {
        let Some(value) = value else { return Ok(default) };
        let count = usize::try_from(*value.get_ref()).unwrap_or(usize::MAX);
        self.within(count, value.span(), key, &allowed, ToString::to_string)
    }

    fn time(
        &self,
        value: Value<Span>,
        key: &str,
        default: Duration,
        allowed: RangeInclusive<Duration>,
    ) -> Checked<Duration> {
        let Some(value) = value else { return Ok(default) };
        self.within(value.get_ref().0, value.span(), key, &allowed, |time| duration_text(*time))
    }

    fn within<T: PartialOrd>(
        &self,
        value: T,
        span: Range<usize>,
        key: &str,
        allowed: &RangeInclusive<T>,
        show: impl Fn(&T) -> String,
    ) -> Checked<T> {
        if allowed.contains(&value) {
            return Ok(value);
        }
        let reason = format!(
            "{} is out of range; allowed: {} to {}",
            show(&value),
            show(allowed.start()),
            show(allowed.end())
        );
        Err(self.fail_at(span, key, reason))
    }
}

/// The words of a dictionary; no device and nothing endless is read.
/// The key that a parser's position is at: the table's header and what stands before `=` on the line.
fn key_at(text: &str, at: usize) -> String {
    let before = text.get(..at).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |n| n + 1);
    let line = text.get(line_start..).and_then(|rest| rest.lines().next()).unwrap_or_default().trim();
    let header = |line: &str| -> Option<String> {
        let inner = line.trim().strip_prefix('[')?.split(']').next()?;
        Some(inner.trim_start_matches('[').trim().to_owned())
    };
    if let Some(table) = header(line) {
        return table;
    }
    let table = text.get(..line_start).unwrap_or_default().lines().rev().find_map(header);
    let key = line.split('=').next().unwrap_or_default().trim();
    match table {
        Some(table) => format!("{table}.{key}"),
        None => key.to_owned(),
    }
}

fn approver(text: &str) -> Option<Approver> {
    let plain = |name: &str| (!name.is_empty() && !name.contains([':', ' '])).then(|| name.to_owned());
    if let Some(uid) = text.strip_prefix("uid:") {
        return uid.parse().ok().map(Approver::Uid);
    }
    match text.strip_prefix("group:") {
        Some(group) => plain(group).map(Approver::Group),
        None => plain(text).map(Approver::User),
    }
}

fn bytes_text(bytes: usize) -> String {
    match bytes {
        b if b >= GIB && b % GIB == 0 => format!("{}GiB", b / GIB),
        b if b >= MIB && b % MIB == 0 => format!("{}MiB", b / MIB),
        b if b >= KIB && b % KIB == 0 => format!("{}KiB", b / KIB),
        b => format!("{b}B"),
    }
}

fn duration_text(time: Duration) -> String {
    match time.as_millis() {
        ms if ms >= 3_600_000 && ms % 3_600_000 == 0 => format!("{}h", ms / 3_600_000),
        ms if ms >= 1000 && ms % 1000 == 0 => format!("{}s", ms / 1000),
        ms => format!("{ms}ms"),
    }
}

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;
const GIB: usize = 1 << 30;
const TENTH: Duration = Duration::from_millis(100);
const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);
