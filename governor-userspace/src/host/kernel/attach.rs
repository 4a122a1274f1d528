//! Attaches the programs and takes them off again, in the order that loses no identity.

use super::KernelError;
use super::cgroup::{Cgroup, topmost};
use super::error::{chain, is_permission};
use super::load::{
    ANNOUNCE_NAMESPACE, CREATE_SOCKET, HAND_OVER, Kernel, SHOW_CLIENT, STEER, not_permitted, program_mut,
};
use super::maps::broken;
use super::pins::{PinDirectory, PinnedFd};
use aya::Ebpf;
use aya::maps::MapData;
use aya::programs::links::FdLink;
use aya::programs::{CgroupAttachMode, CgroupSock, CgroupSockAddr, ProgramError, SockOps};
use governor_common::capture::Attachment;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// One program on one cgroup.
#[derive(Debug)]
pub(super) struct HeldLink {
    pub program: &'static str,
    /// A cgroup's directory, or a network namespace.
    pub place: PathBuf,
    /// cgroup id, or netns cookie.
    pub id: u64,
    /// On the cgroup of a server of this host: its keeper looks after it.
    pub of_server: bool,
    pub link: HeldFd,
}

impl HeldLink {
    pub(super) fn release(self) {
        if let HeldFd::Pinned(pinned) = self.link
            && let Err(error) = pinned.unpin()
        {
            tracing::warn!(
                program = self.program, place = %self.place.display(), %error,
                "a pinned program could not be taken off"
            );
        }
    }
}

#[derive(Debug)]
pub(super) enum HeldFd {
    /// Goes with the process.
    Open(#[expect(dead_code, reason = "held, not read")] FdLink),
    /// Stays until the pin is removed.
    Pinned(PinnedFd),
}

impl Kernel {
    /// Attaches everything: from the return on, the rules hold. Serve the listeners first, or
    /// captured connections are refused until they are.
    ///
    /// Links that a dead predecessor pinned are removed after our own are in place, so that a
    /// captured port is never open in between. On an error nothing of ours stays attached.
    pub fn attach(&mut self) -> Result<(), KernelError> {
        if self.attached {
            return Err(KernelError::Order("the kernel programs are attached already"));
        }
        self.was_attached = true;
        let attached = self.attach_all().and_then(|()| match &mut self.pins {
            // Beside another agent there may be more of them, with sessions that are ending: each removes its own.
            Some(pins) if self.beside.is_none() => pins.remove_previous(),
            _ => Ok(None),
        });
        match attached {
            Ok(previous) => {
                self.previous = previous;
                self.attached = true;
                Ok(())
            }
            Err(error) => {
                self.release_links();
                self.was_attached = false;
                Err(error)
            }
        }
    }

    /// Takes the programs off, connect hooks first, and removes pins and the bpffs that we mounted.
    pub fn detach(mut self) -> Result<(), KernelError> {
        self.release_links();
        match self.pins.take() {
            Some(pins) => pins.remove(),
            None => Ok(()),
        }
    }

    /// Ends this agent's part and leaves programs, links and maps pinned: connections are refused, or pass, as each rule
    /// says, until the next agent or [`super::remains`] removes them; [`Kernel::forget_listeners`] begins that. Without
    /// pins they go with this.
    pub fn leave(mut self) -> Result<(), KernelError> {
        self.forget_listeners()
    }

    /// Takes the connect hooks off, and only them: another agent has its own on. Connections that these hooks sent
    /// here keep the hooks that carry their identity, until [`Kernel::detach`].
    pub fn yield_connections(&mut self) {
        self.stop_redirecting();
        self.waiting.clear();
        self.yielded = true;
    }

    /// The agent that this one took over from is gone: so is what its kernel programs were still there for.
    pub fn forget_predecessor(&mut self) -> Result<(), KernelError> {
        let before = self.beside.take();
        match &self.pins {
            Some(pins) if self.was_attached => pins.remove_before(before.as_deref()),
            _ => Ok(()),
        }
    }

    /// Removes pins of agents that came and went while this one was there.
    pub fn remove_strangers(&mut self) -> Result<(), KernelError> {
        self.pins.as_ref().map_or(Ok(()), PinDirectory::remove_after)
    }

    /// Where this load's pins are.
    pub fn generation(&self) -> Option<&Path> {
        self.pins.as_ref().map(PinDirectory::generation)
    }

    fn attach_all(&mut self) -> Result<(), KernelError> {
        let Self {
            ebpf,
            rule_cgroups,
            own_cgroups,
            client_cgroups,
            raw_refused,
            links,
            pins,
            attachments,
            announces,
            ..
        } = self;
        let pins = pins.as_ref();
        let (rules, own) = (rule_cgroups.as_slice(), own_cgroups.as_slice());
        let everywhere: Vec<&Cgroup> = covering(rules.iter().chain(own).chain(client_cgroups.iter()));

        for cgroup in &everywhere {
            let attached = attach_one(ebpf, HAND_OVER, cgroup)?;
            hold(links, pins, HAND_OVER, &cgroup.path, cgroup.id, attached)?;
        }
        let shown = covering(rules.iter());
        let known = |cgroup: &&Cgroup| rules.iter().all(|rule| rule.id != cgroup.id);
        let connecting: Vec<&Cgroup> = rules.iter().chain(client_cgroups.iter().filter(known)).collect();
        for (program, cgroups) in [
            ("getpeername4", &shown),
            ("getpeername6", &shown),
            ("bind4", &everywhere),
            ("bind6", &everywhere),
        ] {
            for cgroup in cgroups {
                let attached = attach_one(ebpf, program, cgroup)?;
                hold(links, pins, program, &cgroup.path, cgroup.id, attached)?;
            }
        }
        let announcing = shown.iter().filter(|_| *announces).map(|cgroup| (ANNOUNCE_NAMESPACE, *cgroup));
        let creating = covering(raw_refused.iter()).into_iter().map(|cgroup| (CREATE_SOCKET, cgroup));
        for (program, cgroup) in announcing.chain(creating) {
            let attached = attach_one(ebpf, program, cgroup)?;
            hold(links, pins, program, &cgroup.path, cgroup.id, attached)?;
        }
        for (program, attach_type) in CONNECT_HOOKS {
            for cgroup in &connecting {
                let attached = attach_one(ebpf, program, cgroup)?;
                hold(links, pins, program, &cgroup.path, cgroup.id, attached)?;
                // The storage comes into being with the attachment; until this write no rule matches.
                attachments.write(cgroup.id, attach_type)?;
            }
        }
        if !self.steers {
            return Ok(());
        }
        if self.beside.is_some() {
            // A connection of this host that only the other agent's hooks have noted has to arrive there.
            std::thread::sleep(ON_ITS_WAY);
        }
        if self.steers_here {
            self.attach_steer()?;
        }
        // One that cannot be attached is tried again with every beat: the others must not wait for it.
        if let (_, Some(error)) = self.attach_missing_steers() {
            tracing::error!(%error, "arriving connections of a network namespace are not captured");
        }
        Ok(())
    }

    /// Takes the hooks off that send connections to governor. Those that it has already stay known and counted.
    pub fn stop_redirecting(&mut self) {
        self.steers = false;
        let (mut redirecting, others): (Vec<HeldLink>, Vec<HeldLink>) =
            self.links.drain(..).partition(|held: &HeldLink| held.redirects() > 0);
        self.links = others;
        // Nor may they come back by themselves.
        self.waiting.retain(|(program, _)| !program.starts_with("connect"));
        redirecting.sort_by_key(HeldLink::redirects);
        redirecting.into_iter().rev().for_each(HeldLink::release);
    }

    /// What steers and redirects first.
    fn release_links(&mut self) {
        self.links.sort_by_key(HeldLink::redirects);
        while let Some(held) = self.links.pop() {
            held.release();
        }
    }
}

impl HeldLink {
    /// 0 where connections keep going where they went; more is taken off earlier.
    fn redirects(&self) -> u8 {
        match self.program {
            STEER => 2,
            "connect4" | "connect6" => 1,
            _ => 0,
        }
    }

    /// Whether it is still on its cgroup, by the kernel's word, and that is still the one of its name.
    pub(super) fn is_in_force(&self) -> bool {
        self.is_on()
            && (self.program == STEER || std::fs::metadata(&self.place).is_ok_and(|now| now.ino() == self.id))
    }

    /// Whether nobody took it off. A link whose state cannot be read is left alone.
    pub(super) fn is_on(&self) -> bool {
        match &self.link {
            HeldFd::Open(_) => true,
            HeldFd::Pinned(pinned) => pinned.is_on().unwrap_or(true),
        }
    }
}

impl Drop for Kernel {
    /// Open links go in the right order; pinned ones stay, as they must when the agent dies. A load that
    /// was never attached leaves nothing.
    fn drop(&mut self) {
        self.links.sort_by_key(HeldLink::redirects);
        while self.links.pop().is_some() {}
        if let Some(pins) = self.pins.take().filter(|_| !self.was_attached)
            && let Err(error) = pins.remove()
        {
            tracing::warn!(%error, "pins of kernel programs that were never attached are left");
        }
    }
}

/// The attachments' storage, in the form with a key for each attach type.
#[allow(deprecated, reason = "only this kind is per attachment; its successor is per cgroup of the task")]
pub(super) struct AttachmentMap(aya::maps::CgroupStorage<MapData, Attachment>);

#[allow(deprecated, reason = "as above")]
impl AttachmentMap {
    pub fn take(map: aya::maps::Map) -> Result<Self, KernelError> {
        aya::maps::CgroupStorage::try_from(map).map(Self).map_err(broken("ATTACHMENT"))
    }

    pub fn write(&mut self, cgroup_id: u64, attach_type: u32) -> Result<(), KernelError> {
        let key = aya::maps::CgroupStorageKey::new(cgroup_id, attach_type);
        self.0.insert(key, Attachment { cgroup_id }, 0).map_err(broken("ATTACHMENT"))
    }
}

pub(super) fn attach_one(
    ebpf: &mut Ebpf,
    program: &'static str,
    cgroup: &Cgroup,
) -> Result<Result<FdLink, ProgramError>, KernelError> {
    if program == CREATE_SOCKET || program == ANNOUNCE_NAMESPACE {
        let program: &mut CgroupSock = program_mut(ebpf, program)?;
        return Ok(program
            .attach(&cgroup.directory, CgroupAttachMode::Single)
            .and_then(|id| program.take_link(id))
            .and_then(|link| FdLink::try_from(link).map_err(|_| ProgramError::NotAttached)));
    }
    if ![HAND_OVER, SHOW_CLIENT].contains(&program) {
        return Ok(attach_socket_address(program_mut(ebpf, program)?, cgroup));
    }
    let program: &mut SockOps = program_mut(ebpf, program)?;
    Ok(program
        .attach(&cgroup.directory, CgroupAttachMode::Single)
        .and_then(|id| program.take_link(id))
        .and_then(|link| FdLink::try_from(link).map_err(|_| ProgramError::NotAttached)))
}

fn attach_socket_address(program: &mut CgroupSockAddr, cgroup: &Cgroup) -> Result<FdLink, ProgramError> {
    // "Single" is the only mode that cgroup links take; they may be many on a cgroup all the same.
    let id = program.attach(&cgroup.directory, CgroupAttachMode::Single)?;
    FdLink::try_from(program.take_link(id)?).map_err(|_| ProgramError::NotAttached)
}

/// Keeps a link: pinned where there is a pin directory. `id` makes the pin's name.
pub(super) fn hold(
    links: &mut Vec<HeldLink>,
    pins: Option<&PinDirectory>,
    program: &'static str,
    place: &Path,
    id: u64,
    attached: Result<FdLink, ProgramError>,
) -> Result<(), KernelError> {
    let link = attached.map_err(|error| {
        if is_permission(&error) {
            return not_permitted(&format!("attach {program}"));
        }
        KernelError::Attach { program, place: place.to_path_buf(), reason: chain(&error) }
    })?;
    let link = match pins {
        Some(pins) => HeldFd::Pinned(pins.pin_link(link, program, id)?),
        None => HeldFd::Open(link),
    };
    links.push(HeldLink { program, place: place.to_path_buf(), id, of_server: false, link });
    Ok(())
}

/// The cgroups that cover all of these.
fn covering<'a>(cgroups: impl Iterator<Item = &'a Cgroup>) -> Vec<&'a Cgroup> {
    let all: Vec<&Cgroup> = cgroups.collect();
    let paths: Vec<&Path> = topmost(all.iter().map(|cgroup| cgroup.path.as_path()));
    paths.into_iter().filter_map(|path| all.iter().find(|cgroup| cgroup.path == path).copied()).collect()
}

/// Between a connect hook and the arrival of the SYN that leaves for it is mostly less than this. One that takes longer, on a
/// machine that stalls, goes to this agent like one that no hook of this host saw: governed, and its process unknown. One of
/// the other agent's own goes through both.
const ON_ITS_WAY: Duration = Duration::from_millis(50);
/// `enum bpf_attach_type` of linux/bpf.h.
const INET4_CONNECT: u32 = 10;
const INET6_CONNECT: u32 = 11;
pub(super) const CONNECT_HOOKS: [(&str, u32); 2] = [("connect4", INET4_CONNECT), ("connect6", INET6_CONNECT)];
