//! From the file as written to the checked configuration; every refusal names file, line, key and reason.

use super::super::file::{self, Value};
use super::super::units::{Bytes, Span};
use super::{
    Approvals, Approver, Audit, Capture, CaptureInbound, CaptureRule, CaptureUnix, CgroupRef,
    ClientCertificates, ColumnLabel, ColumnPattern, Config, ConfigError, DEFAULT_PATH, DiscoverySettings,
    Identity, Inference, Limits, Log, Masking, MaskingKeys, Metrics, Overrides, Policy, ServerKey, Tls,
};
use crate::engine::masking::{
    Category, JsonPath, TransformSettings, UserDetector, UserDetectorError, UserMatch, check_user_defined,
};
use crate::engine::policy::Pack;
use crate::host::identity::agents::line_of;
use crate::host::identity::{Assignment, IdentityRules, KnownAgents};
use crate::host::policy::time_zone;
use ipnet::IpNet;
use std::collections::HashSet;
use std::net::IpAddr;
use std::ops::{Range, RangeInclusive};
use std::path::{Path, PathBuf};
use std::time::Duration;
use toml::Spanned;

mod peers;

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

    fn capture(&self, written: file::Capture) -> Checked<Capture> {
        let own_cgroup =
            written.own_cgroup.map(|value| self.cgroup(&value, "capture.own_cgroup")).transpose()?;
        let unix = self.unix(written.unix)?;
        let mut taken = HashSet::new();
        let inbound = written
            .inbound
            .into_iter()
            .map(|server| self.inbound(server, &mut taken))
            .collect::<Checked<_>>()?;
        let default = Capture::default();
        let (max, key) = (default.namespaces_max, "capture.namespaces_max");
        let namespaces_max = self.count(written.namespaces_max, key, max, 0..=1000)?;
        let listeners = self.count(written.listeners, "capture.listeners", default.listeners, 1..=8)?;
        let default = Capture {
            own_cgroup,
            inbound,
            unix,
            on_stop: written.on_stop.unwrap_or_default(),
            namespaces_max,
            listeners,
            ..default
        };
        let Some(rules) = written.rules else { return Ok(default) };
        let mut taken = HashSet::new();
        let rules =
            rules.into_iter().map(|rule| self.capture_rule(rule, &mut taken)).collect::<Checked<_>>()?;
        Ok(Capture { rules, ..default })
    }

    fn inbound(
        &self,
        server: Spanned<file::CaptureInbound>,
        taken: &mut HashSet<u16>,
    ) -> Checked<CaptureInbound> {
        let at = server.span();
        let server = server.into_inner();
        let clients = match &server.clients {
            Some(value) => self.cgroup(value, "capture.inbound.clients")?,
            None => CgroupRef::root(),
        };
        let ports_at = server.ports.as_ref().map_or(at, Spanned::span);
        let ports = server.ports.map(Spanned::into_inner).unwrap_or_default();
        let key = "capture.inbound.ports";
        if ports.is_empty() && server.unit.is_none() && server.cgroup.is_none() {
            return Err(self.fail_at(ports_at, key, "name the server's ports, its unit or its cgroup"));
        }
        for port in &ports {
            if *port == 0 {
                return Err(self.fail_at(ports_at, key, "a port is between 1 and 65535"));
            }
            if !taken.insert(*port) {
                return Err(self.fail_at(ports_at, key, format!("port {port} is captured twice")));
            }
        }
        Ok(CaptureInbound {
            ports,
            unit: server.unit,
            cgroup: server.cgroup,
            clients,
            protocol: server.protocol.unwrap_or_default(),
            when_down: server.when_down.unwrap_or_default(),
            tls: server.tls.unwrap_or_default(),
            open_connections: server.open_connections.unwrap_or_default(),
        })
    }

    fn capture_rule(
        &self,
        rule: file::CaptureRule,
        taken: &mut HashSet<(String, u16)>,
    ) -> Checked<CaptureRule> {
        let default = CaptureRule::default();
        let cgroup_at = rule.cgroup.as_ref().map(Spanned::span);
        let cgroup = match &rule.cgroup {
            Some(value) => self.cgroup(value, "capture.rules.cgroup")?,
            None => default.cgroup,
        };
        let ports_at = rule.ports.as_ref().map(Spanned::span);
        let ports = rule.ports.map_or(default.ports, Spanned::into_inner);
        let at = ports_at.or(cgroup_at).unwrap_or(0..0);
        let key = "capture.rules.ports";
        if ports.is_empty() {
            return Err(self.fail_at(at, key, "name at least one port"));
        }
        for port in &ports {
            if *port == 0 {
                return Err(self.fail_at(at, key, "a port is between 1 and 65535"));
            }
            if !taken.insert((cgroup.as_str().trim_matches('/').to_owned(), *port)) {
                let reason = format!("port {port} of cgroup {} is captured twice", cgroup.as_str());
                return Err(self.fail_at(at, key, reason));
            }
        }
        Ok(CaptureRule {
            cgroup,
            ports,
            protocol: rule.protocol.unwrap_or_default(),
            when_down: rule.when_down.unwrap_or_default(),
            tls: rule.tls.unwrap_or_default(),
            open_connections: rule.open_connections.unwrap_or_default(),
            raw_sockets: rule.raw_sockets.unwrap_or_default(),
        })
    }

    fn unix(&self, written: Vec<Spanned<file::CaptureUnix>>) -> Checked<Vec<CaptureUnix>> {
        let mut taken: HashSet<PathBuf> = HashSet::new();
        let mut sockets = Vec::with_capacity(written.len());
        for block in written {
            let (block_at, block) = (block.span(), block.into_inner());
            let key = "capture.unix.path";
            let Some(path) = block.path else {
                return Err(self.fail_at(block_at, key, "is missing: every block names a server's socket"));
            };
            let (at, path) = (path.span(), path.into_inner());
            let fail = |reason: String| Err(self.fail_at(at.clone(), key, reason));
            let Some(text) = path.to_str().filter(|_| path.is_absolute()) else {
                return fail("a socket's path is absolute, such as \"/run/postgresql/.s.PGSQL.5432\"".into());
            };
            let (Some(directory), Some(name)) = (path.parent().and_then(Path::to_str), path.file_name())
            else {
                return fail(format!("{text:?} names no file"));
            };
            if text.ends_with('/')
                || directory.contains(['*', '?'])
                || path.components().any(|part| part.as_os_str() == "..")
            {
                return fail("name a file; * may stand in its name, not in its directory".into());
            }
            if Some(name) != path.components().next_back().map(|part| part.as_os_str()) {
                return fail(format!("{text:?} names no file"));
            }
            if let Some(pattern) = name.to_str().filter(|name| name.contains(['*', '?']))
                && let Err(error) = crate::host::identity::Glob::new(pattern)
            {
                return fail(error.to_string());
            }
            if !taken.insert(path.clone()) {
                return fail(format!("{text} is taken over twice"));
            }
            let mode = block.mode.map(|mode| self.file_mode(&mode, "capture.unix.mode")).transpose()?;
            sockets.push(CaptureUnix {
                path,
                protocol: block.protocol.unwrap_or_default(),
                when_down: block.when_down.unwrap_or_default(),
                direct_connections: block.direct_connections.unwrap_or_default(),
                mode,
            });
        }
        Ok(sockets)
    }

    fn file_mode(&self, value: &Spanned<String>, key: &str) -> Checked<u32> {
        let mode = u32::from_str_radix(value.get_ref(), 8).ok().filter(|mode| *mode <= 0o777);
        mode.ok_or_else(|| self.fail_at(value.span(), key, "write permissions in octal, such as \"0777\""))
    }

    fn tls(&self, written: file::Tls) -> Checked<Tls> {
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

    fn cgroup(&self, value: &Spanned<String>, key: &str) -> Checked<CgroupRef> {
        CgroupRef::new(value.get_ref()).map_err(|reason| self.fail_at(value.span(), key, reason))
    }

    fn identity(&self, written: file::Identity) -> Checked<Identity> {
        let mut assignments = Vec::with_capacity(written.assign.len());
        for rule in written.assign {
            let (at, key) = (rule.span(), "identity.assign");
            let rule = rule.into_inner();
            let conditions = [
                rule.cgroup.is_some(),
                rule.executable.is_some(),
                rule.uid.is_some(),
                rule.user.is_some(),
                rule.unit.is_some(),
            ];
            let remote = rule.address.is_some() || rule.certificate.is_some();
            if let Some(peer) = &rule.peer {
                self.peer_of_rule(peer, &written.peers, rule.executable.is_some())?;
            }
            let remote = remote || rule.peer.is_some();
            if !conditions.contains(&true) && !remote {
                let reason = "give at least one condition: cgroup, executable, uid, user, unit, address, certificate or peer";
                return Err(self.fail_at(at, key, reason));
            }
            if conditions.contains(&true) && remote && rule.peer.is_none() {
                let reason = "address and certificate are of clients on other hosts, the other conditions of processes \
                              of this one: no client could meet both";
                return Err(self.fail_at(at, key, reason));
            }
            if rule.class.is_none() && rule.groups.is_empty() {
                return Err(self.fail_at(at, key, "give a class, groups or both"));
            }
            if rule.groups.iter().any(|group| group.trim().is_empty()) {
                return Err(self.fail_at(at, key, "a group must not be empty"));
            }
            let address = rule
                .address
                .as_ref()
                .map(|value| self.network(value, "identity.assign.address"))
                .transpose()?;
            let file::Assign {
                cgroup, executable, uid, user, unit, certificate, peer, class, groups, ..
            } = rule;
            assignments.push(Assignment {
                cgroup,
                executable,
                uid,
                user,
                unit,
                address,
                certificate,
                peer: peer.map(Spanned::into_inner),
                class,
                groups,
            });
        }
        let peers = self.peers(written.peers)?;
        let mut rules = IdentityRules { assignments, ..IdentityRules::default() };
        let mut agents_file = None;
        if let Some(value) = written.agents_file {
            let path = self.path.parent().unwrap_or(Path::new("/")).join(value.get_ref());
            let fail = |reason: String| {
                let reason = format!("{}: {reason}", path.display());
                self.fail_at(value.span(), "identity.agents_file", reason)
            };
            let text = std::fs::read_to_string(&path).map_err(|error| fail(error.to_string()))?;
            let extra = KnownAgents::parse(&text).map_err(|error| fail(error.to_string()))?;
            rules.agents = rules.agents.extended(extra);
            agents_file = Some(path);
        }
        Ok(Identity { agents_file, rules, peers })
    }

    /// An address, or a network such as `10.1.0.0/16`.
    fn network(&self, value: &Spanned<String>, key: &str) -> Checked<IpNet> {
        let text = value.get_ref();
        let network = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
        network.map_err(|_| {
            let reason = format!("{text:?} is no address and no network such as 10.1.0.0/16 or fd00:1::/64");
            self.fail_at(value.span(), key, reason)
        })
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

    fn masking(&self, written: file::Masking) -> Checked<Masking> {
        let mut columns = Vec::with_capacity(written.columns.len());
        for label in written.columns {
            let key = "masking.columns.column";
            let Some(column) = label.column else {
                let at = self.text.find("masking").unwrap_or(0);
                return Err(self.fail(at, key, "is missing: every label names a column"));
            };
            let category = label.category.unwrap_or(Category::Other);
            if let (Some(path), Some(_)) = (&label.path, label.style) {
                let reason = "a style is for whole columns; what a path names is redacted";
                return Err(self.fail_at(path.span(), "masking.columns.style", reason));
            }
            let path = label.path.map(|path| self.path(&path)).transpose()?;
            columns.push(ColumnLabel {
                column: self.column(&column, key)?,
                path,
                category,
                style: label.style,
            });
        }
        let clear = written.clear.iter().map(|c| self.column(c, "masking.clear")).collect::<Checked<_>>()?;
        let default = DiscoverySettings::default();
        let mask_from = self.count(
            written.discovery.mask_from,
            "masking.discovery.mask_from",
            usize::from(default.mask_from),
            0..=100,
        )?;
        let discovery = DiscoverySettings {
            enabled: written.discovery.enabled.unwrap_or(default.enabled),
            mask_from: u8::try_from(mask_from).unwrap_or(100),
        };
        let inference = self.inference(written.inference)?;
        let detectors = self.detectors(written.detectors)?;
        let d = TransformSettings::default();
        let days = self.count(written.shift_days, "masking.shift_days", d.shift_days.into(), 1..=3650)?;
        let width = usize::try_from(d.range_width).unwrap_or(usize::MAX);
        let width = self.count(written.range_width, "masking.range_width", width, 1..=1_000_000_000)?;
        Ok(Masking {
            columns,
            clear,
            detect_values: written.detect_values.unwrap_or(true),
            transforms: TransformSettings {
                shift_days: u16::try_from(days).unwrap_or(d.shift_days),
                range_width: u32::try_from(width).unwrap_or(d.range_width),
                range_dates: written.range_dates.unwrap_or_default(),
            },
            keys_per_column: written.keys_per_column.unwrap_or(false),
            keys: self.masking_keys(written.keys)?,
            inference,
            discovery,
            detectors,
        })
    }

    fn masking_keys(&self, written: file::MaskingKeys) -> Checked<MaskingKeys> {
        match (written.directory, written.credential) {
            (None, None) => Ok(MaskingKeys::State),
            (Some(directory), None) if directory.get_ref().is_absolute() => {
                Ok(MaskingKeys::Directory(directory.into_inner()))
            }
            (Some(directory), None) => {
                Err(self.fail_at(directory.span(), "masking.keys.directory", "the path has to be absolute"))
            }
            (None, Some(name)) => {
                let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
                if name.get_ref().is_empty()
                    || name.get_ref().starts_with('.')
                    || !name.get_ref().chars().all(plain)
                {
                    let reason = "a credential's name is letters, digits, '-', '_' and '.'";
                    return Err(self.fail_at(name.span(), "masking.keys.credential", reason));
                }
                Ok(MaskingKeys::Credential(name.into_inner()))
            }
            (Some(_), Some(name)) => {
                let reason = "keys come from a directory or from a credential, not from both";
                Err(self.fail_at(name.span(), "masking.keys.credential", reason))
            }
        }
    }

    fn inference(&self, written: file::Inference) -> Checked<Inference> {
        let default = Inference::default();
        let window =
            self.time(written.window, "masking.inference.window", default.window, MINUTE..=30 * DAY)?;
        Ok(Inference {
            classes: written.classes.unwrap_or(default.classes),
            window,
            warn_bits: written.warn_bits.unwrap_or(default.warn_bits),
            hold_bits: written.hold_bits.unwrap_or(default.hold_bits),
            deny_bits: written.deny_bits.unwrap_or(default.deny_bits),
            approvers: written.approvers.unwrap_or(default.approvers),
        })
    }

    fn detectors(&self, written: Vec<Spanned<file::MaskingDetector>>) -> Checked<Vec<UserDetector>> {
        let mut detectors = Vec::with_capacity(written.len());
        let mut places = Vec::with_capacity(written.len());
        for block in written {
            places.push(block.span());
            let (at, it) = (block.span(), block.into_inner());
            let missing = |key: &str, reason: &str| {
                self.fail_at(at.clone(), &format!("masking.detectors.{key}"), reason)
            };
            let matches = match (it.pattern, it.dictionary) {
                (Some(pattern), None) => UserMatch::Pattern(pattern),
                (None, Some(file::Dictionary::Words(words))) => UserMatch::Dictionary(words),
                (None, Some(file::Dictionary::File(name))) => {
                    let path = self.path.parent().unwrap_or(Path::new("/")).join(name);
                    let text = read_dictionary(&path)
                        .map_err(|reason| missing("dictionary", &format!("{}: {reason}", path.display())))?;
                    UserMatch::Dictionary(text.lines().map(str::to_owned).collect())
                }
                _ => return Err(missing("pattern", "give either a pattern or a dictionary")),
            };
            detectors.push(UserDetector {
                name: it.name.ok_or_else(|| missing("name", "is missing: every detector has a name"))?,
                category: it.category.unwrap_or(Category::Other),
                matches,
                checksum: it.checksum,
                confidence_percent: it.confidence.unwrap_or(DETECTOR_PERCENT),
                context: it.context,
            });
        }
        check_user_defined(&detectors).map_err(|(index, UserDetectorError { name, problem })| {
            let at = places.get(index).cloned().unwrap_or(0..0);
            self.fail_at(at, "masking.detectors", format!("{name:?}: {problem}"))
        })?;
        Ok(detectors)
    }

    fn path(&self, value: &Spanned<String>) -> Checked<JsonPath> {
        JsonPath::parse(value.get_ref()).ok_or_else(|| {
            let reason = format!("{:?} is no path of keys, such as $.customer.phone", value.get_ref());
            self.fail_at(value.span(), "masking.columns.path", reason)
        })
    }

    fn column(&self, value: &Spanned<String>, key: &str) -> Checked<ColumnPattern> {
        column_pattern(value.get_ref()).ok_or_else(|| {
            let reason = format!(
                "{:?} is no column; write schema.relation.column, with * for any name, and \"quotes\" around a name with a dot",
                value.get_ref()
            );
            self.fail_at(value.span(), key, reason)
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

    fn limits(&self, written: file::Limits) -> Checked<Limits> {
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
fn read_dictionary(path: &Path) -> Result<String, String> {
    let size = std::fs::metadata(path).map_err(|error| error.to_string())?;
    if !size.is_file() || size.len() > DICTIONARY_BYTES_MAX {
        return Err(format!("is no file of at most {DICTIONARY_BYTES_MAX} bytes"));
    }
    std::fs::read_to_string(path).map_err(|error| error.to_string())
}

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

/// Three names with dots between; a name in double quotes may hold a dot.
fn column_pattern(text: &str) -> Option<ColumnPattern> {
    let mut parts: Vec<String> = vec![String::new()];
    let mut quoted = false;
    for c in text.chars() {
        match c {
            '"' => quoted = !quoted,
            '.' if !quoted => parts.push(String::new()),
            c if c.is_control() || (c.is_whitespace() && !quoted) => return None,
            c => parts.last_mut()?.push(c),
        }
    }
    let names: [String; 3] = parts.try_into().ok()?;
    if quoted || names.iter().any(String::is_empty) {
        return None;
    }
    let [schema, relation, column] = names;
    Some(ColumnPattern { schema, relation, column })
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

/// Confidence of an operator's detector that names none.
const DETECTOR_PERCENT: u8 = 80;
const DICTIONARY_BYTES_MAX: u64 = 8 << 20;
const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;
const GIB: usize = 1 << 30;
const TENTH: Duration = Duration::from_millis(100);
const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);
