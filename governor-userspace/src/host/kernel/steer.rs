//! `steer` in every network namespace in which a server is captured, each in a program of its own.
//!
//! A program on `sk_lookup` cannot ask in which network namespace it runs. So each namespace has one that is told: the
//! same code with an `INBOUND_NAMESPACE` of its own, and all other maps shared, whose keys carry the namespace's cookie. The
//! maps are shared by their pins.
//!
//! Invariant: a namespace that is steered is held open, so its link goes only when somebody takes it off, and
//! [`Kernel::tend`] puts it on again.

use super::KernelError;
use super::attach::hold;
use super::error::chain;
use super::inbound::OWN_NAMESPACE;
use super::load::{Kernel, OBJECT, STEER, object_error, program_error, program_mut, removed, take};
use super::maps::broken;
use aya::maps::Array;
use aya::programs::SkLookup;
use aya::programs::links::FdLink;
use aya::{Ebpf, EbpfLoader};
use governor_common::capture::ListenerKey;
use governor_common::flow::{FAMILY_V4, FAMILY_V6};
use std::fs::File;
use std::path::{Path, PathBuf};

/// A network namespace beside governor's own in which servers are captured.
#[derive(Debug)]
pub(super) struct Steered {
    pub cookie: u64,
    handle: File,
    /// `net:[INODE]`, as it is shown.
    place: PathBuf,
}

impl Kernel {
    /// Steers what arrives for captured ports of another network namespace, open as `handle`. Serve its listeners and capture its
    /// ports first. Before [`Kernel::attach`] it is only noted, and attached with the rest. Answers whether arriving
    /// connections are this agent's at all.
    pub fn steer_in(&mut self, handle: File, inode: u64, cookie: u64) -> Result<bool, KernelError> {
        if self.is_closed() || !self.steers {
            return Ok(false);
        }
        if self.pins.is_none() {
            return Err(KernelError::Order("other network namespaces are steered with pins only"));
        }
        if self.steered.iter().all(|known| known.cookie != cookie) {
            self.steered.push(Steered { cookie, handle, place: format!("net:[{inode}]").into() });
        }
        if self.attached {
            self.attach_steer_in(cookie)?;
        }
        Ok(true)
    }

    /// Lets go of a network namespace: nothing of its is steered any more, and nothing of this keeps it.
    pub fn withdraw_steer(&mut self, cookie: u64) -> Result<(), KernelError> {
        let is_its = |held: &super::attach::HeldLink| held.program == STEER && held.id == cookie;
        let (gone, kept): (Vec<_>, Vec<_>) = std::mem::take(&mut self.links).into_iter().partition(is_its);
        self.links = kept;
        gone.into_iter().for_each(super::attach::HeldLink::release);
        self.steered.retain(|known| known.cookie != cookie);
        for family in [FAMILY_V4, FAMILY_V6].map(u32::from) {
            let key = ListenerKey { netns_cookie: cookie, family, slot: 0 };
            removed(self.inbound_listeners.remove(&key)).map_err(broken("INBOUND_LISTENERS"))?;
        }
        let mut ports = Vec::new();
        for key in self.inbound_ports.keys() {
            ports.push(key.map_err(broken("INBOUND_PORTS"))?);
        }
        for key in ports.into_iter().filter(|key| key.netns_cookie == cookie) {
            removed(self.inbound_ports.remove(&key)).map_err(broken("INBOUND_PORTS"))?;
        }
        self.forget_sums(cookie)
    }

    /// Network namespaces in which arriving connections are steered, each open, and as it is shown. One that cannot be opened
    /// now is not among them.
    pub(super) fn steered_namespaces(&self) -> Vec<(File, PathBuf)> {
        let own = Path::new(OWN_NAMESPACE);
        let here = (self.steers && self.steers_here)
            .then(|| Some((File::open(own).ok()?, std::fs::read_link(own).ok()?)))
            .flatten();
        let others = self.steered.iter().filter_map(|known| {
            let handle = known.handle.try_clone().ok()?;
            Some((handle, known.place.clone()))
        });
        here.into_iter().chain(others).collect()
    }

    /// Attaches where it is missing. Answers the places where it was, and the first error.
    pub(super) fn attach_missing_steers(&mut self) -> (Vec<PathBuf>, Option<KernelError>) {
        let is_on = |cookie| self.links.iter().any(|held| held.program == STEER && held.id == cookie);
        let missing: Vec<u64> =
            self.steered.iter().map(|known| known.cookie).filter(|cookie| !is_on(*cookie)).collect();
        let (mut places, mut first) = (Vec::new(), None);
        for cookie in missing {
            match self.attach_steer_in(cookie) {
                Ok(()) => places.extend(self.place_of(cookie)),
                Err(error) => {
                    first.get_or_insert(error);
                }
            }
        }
        (places, first)
    }

    fn place_of(&self, cookie: u64) -> Option<PathBuf> {
        self.steered.iter().find(|known| known.cookie == cookie).map(|known| known.place.clone())
    }

    fn attach_steer_in(&mut self, cookie: u64) -> Result<(), KernelError> {
        if self.links.iter().any(|held| held.program == STEER && held.id == cookie) {
            return Ok(());
        }
        let mut ebpf = self.load_steer(cookie)?;
        let Some(known) = self.steered.iter().find(|known| known.cookie == cookie) else { return Ok(()) };
        let program: &mut SkLookup = program_mut(&mut ebpf, STEER)?;
        let attached = program.attach(&known.handle).and_then(|id| program.take_link(id)).map(FdLink::from);
        hold(&mut self.links, self.pins.as_ref(), STEER, &known.place, cookie, attached)
    }

    /// One more `steer`, for this namespace, on the maps of the others. What is returned may go once it is attached: the link
    /// keeps the program, and that its maps.
    fn load_steer(&self, cookie: u64) -> Result<Ebpf, KernelError> {
        let pins = self.pins.as_ref().ok_or(KernelError::Order("there are no pins"))?;
        let shared = pins.shared_maps();
        let mut loader = EbpfLoader::new();
        for (name, path) in &shared {
            if name != INBOUND_NAMESPACE {
                loader.map_pin_path(name, path.as_path());
            }
        }
        let mut ebpf = loader.load(OBJECT).map_err(|error| object_error(&error))?;
        let mut namespace: Array<_, u64> = take(&mut ebpf, INBOUND_NAMESPACE)?;
        namespace
            .set(0, cookie, 0)
            .map_err(|error| KernelError::Map { map: INBOUND_NAMESPACE, reason: chain(&error) })?;
        let program: &mut SkLookup = program_mut(&mut ebpf, STEER)?;
        program.load().map_err(|error| program_error(STEER, &error))?;
        Ok(ebpf)
    }
}

const INBOUND_NAMESPACE: &str = "INBOUND_NAMESPACE";
