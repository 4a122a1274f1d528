//! Looks after what was attached: hooks and pins can be lost while the agent lives.
//!
//! A cgroup link ends with its cgroup, and a cgroup of the same name that is made again has none: a service that
//! is restarted gets a new one. Anybody with the right may take a link off, or unmount the pins. Both are mended as soon as
//! they are seen.

use super::KernelError;
use super::attach::{CONNECT_HOOKS, HeldFd, HeldLink, attach_one, hold};
use super::cgroup::Cgroup;
use super::load::{HAND_OVER, Kernel, STEER, removed, rule_value};
use super::maps::broken;
use governor_common::capture::RuleKey;
use std::path::PathBuf;

/// What was found lost.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mended {
    /// cgroups whose hooks were gone and are on again: until now connections from there went direct.
    pub attached_again: Vec<PathBuf>,
    /// cgroups that are gone. Nothing can be captured there until they are made again.
    pub cgroups_gone: Vec<PathBuf>,
    /// Pins that were lost and made again: a kill before would have let connections pass.
    pub pinned_again: usize,
}

impl Kernel {
    /// Mends what was lost. Call it with every heartbeat. Without pins there is nothing to look at. What could not be
    /// mended is tried again with the next call; the error says why, beside what was mended all the same.
    pub fn tend(&mut self) -> (Mended, Option<KernelError>) {
        let mut mended = Mended::default();
        if self.pins.is_none() || self.yielded {
            return (mended, None);
        }
        let mut lost: Vec<(&'static str, PathBuf)> = std::mem::take(&mut self.waiting);
        let mut servers_lost: Vec<PathBuf> = Vec::new();
        let mut kept = Vec::with_capacity(self.links.len());
        for held in self.links.drain(..) {
            if held.is_on() {
                kept.push(held);
                continue;
            }
            let HeldLink { program, place, of_server, link, .. } = held;
            if let HeldFd::Pinned(pinned) = link {
                // Its name is needed again.
                let _ = pinned.unpin();
            }
            if of_server {
                servers_lost.push(place);
            } else if program != STEER {
                lost.push((program, place));
            }
        }
        // A server that sees its clients half would decide by governor's address: with none of its hooks, a connection to
        // it is not used, and whoever looks for servers puts them all on again.
        let (broken_servers, kept): (Vec<_>, Vec<_>) =
            kept.into_iter().partition(|held| held.of_server && servers_lost.contains(&held.place));
        broken_servers.into_iter().for_each(HeldLink::release);
        self.links = kept;
        let mut first_error = None;
        // Asked anew each time: an attempt that failed is made again.
        if self.steers {
            if self.steers_here && !self.is_steered_here() {
                match self.attach_steer() {
                    Ok(()) => mended.attached_again.push(PathBuf::from("/proc/self/ns/net")),
                    Err(error) => first_error = Some(error),
                }
            }
            let (places, error) = self.attach_missing_steers();
            mended.attached_again.extend(places);
            first_error = first_error.or(error);
        }
        // The hooks that carry an identity before those that redirect.
        lost.sort_by_key(|(program, _)| (program.starts_with("connect"), *program != HAND_OVER));
        for (program, path) in lost {
            if !path.is_dir() {
                if !mended.cgroups_gone.contains(&path) {
                    mended.cgroups_gone.push(path.clone());
                }
                self.waiting.push((program, path));
                continue;
            }
            match self.attach_again(program, &path) {
                Ok(()) if mended.attached_again.contains(&path) => {}
                Ok(()) => mended.attached_again.push(path),
                Err(error) => {
                    self.waiting.push((program, path));
                    first_error.get_or_insert(error);
                }
            }
        }
        if let Some(pins) = &self.pins {
            let links = self.links.iter().filter_map(|held| match &held.link {
                HeldFd::Pinned(pinned) => Some(pinned),
                HeldFd::Open(_) => None,
            });
            match pins.pin_again(links) {
                Ok(count) => mended.pinned_again = count,
                Err(error) => {
                    first_error.get_or_insert(error);
                }
            }
        }
        (mended, first_error)
    }

    fn attach_again(&mut self, program: &'static str, path: &std::path::Path) -> Result<(), KernelError> {
        let cgroup = Cgroup::open(path)?;
        self.take_for(&cgroup, path)?;
        let attach_type = CONNECT_HOOKS.iter().find(|(name, _)| *name == program).map(|(_, kind)| *kind);
        if attach_type.is_some() {
            for rule in self.rules.iter().filter(|rule| is_same(&rule.cgroup, path)) {
                let key = RuleKey::new(cgroup.id, rule.port);
                self.rule_map.insert(key, rule_value(rule), 0).map_err(broken("RULES"))?;
            }
        }
        let attached = attach_one(&mut self.ebpf, program, &cgroup)?;
        hold(&mut self.links, self.pins.as_ref(), program, &cgroup.path, cgroup.id, attached)?;
        if let Some(attach_type) = attach_type {
            self.attachments.write(cgroup.id, attach_type)?;
        }
        Ok(())
    }

    /// The cgroup that is at a captured path now takes the place of the one that was. Before its rules come, those of the
    /// other go: its id never comes back, and in a full map they would keep out the new ones.
    fn take_for(&mut self, cgroup: &Cgroup, path: &std::path::Path) -> Result<(), KernelError> {
        let Some(known) = self.rule_cgroups.iter_mut().find(|known| known.path == path) else {
            return Ok(());
        };
        let gone = known.id;
        if gone == cgroup.id {
            return Ok(());
        }
        *known = Cgroup::open(path)?;
        for rule in self.rules.iter().filter(|rule| is_same(&rule.cgroup, path)) {
            removed(self.rule_map.remove(&RuleKey::new(gone, rule.port))).map_err(broken("RULES"))?;
        }
        Ok(())
    }
}

/// Rules name cgroups as they were written, links as they were resolved.
fn is_same(written: &std::path::Path, resolved: &std::path::Path) -> bool {
    written == resolved || std::fs::canonicalize(written).is_ok_and(|path| path == resolved)
}
