//! `[capture]`: rules, arriving connections and unix sockets.

use super::{Checked, Source};
use crate::host::config::file;
use crate::host::config::resolve::{
    Capture, CaptureInbound, CaptureRule, CaptureUnix, CgroupRef, InboundNamespaces,
};
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use toml::Spanned;

impl Source<'_> {
    pub(super) fn capture(&self, written: file::Capture) -> Checked<Capture> {
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
        // A port alone is anybody's; a unit or a cgroup names the server, wherever it runs.
        let is_named = server.unit.is_some() || server.cgroup.is_some();
        let usual = if is_named { InboundNamespaces::All } else { InboundNamespaces::Own };
        let namespaces = server.namespaces.unwrap_or(usual);
        let published = server.published.map_or_else(
            || Ok(vec![]),
            |published| {
                let fail = |reason| Err(self.fail_at(published.span(), "capture.inbound.published", reason));
                if published.get_ref().contains(&0) {
                    return fail("a port is between 1 and 65535");
                }
                if !namespaces.has_others() {
                    return fail(
                        "only a server in a container has a published port: namespaces leaves them out",
                    );
                }
                Ok(published.into_inner())
            },
        )?;
        Ok(CaptureInbound {
            ports,
            namespaces,
            published,
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
            if path.to_str().is_some_and(|text| text.starts_with('@')) {
                return fail(
                    "an abstract socket cannot be taken over: no other socket gets its name while the server has it. \
                     Let the server have a socket in a directory instead (unix_socket_directories)"
                        .into(),
                );
            }
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

    pub(super) fn cgroup(&self, value: &Spanned<String>, key: &str) -> Checked<CgroupRef> {
        CgroupRef::new(value.get_ref()).map_err(|reason| self.fail_at(value.span(), key, reason))
    }
}
