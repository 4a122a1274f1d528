//! Tells the agent of network namespaces that it does not serve yet, before anybody connects in them.
//!
//! A program makes its socket a moment before it connects it, and many make others earlier (to resolve a
//! name). The agent may use that moment to open its listener there; where it is too late, the connect hook
//! refuses as for every unknown namespace. Nothing is refused here.
//!
//! Too late is mostly a matter of a millisecond, and a program that connects at once has none. So the connect hook may let such
//! a connection wait for a moment ([`wait_for_listener`]). The kernel lets no program sleep there: it runs on, and looks. That is
//! bounded twice, for each connection and for each namespace.

use crate::{emit, maps, process};
use aya_ebpf::EbpfContext as _;
use aya_ebpf::helpers::generated::bpf_loop;
use aya_ebpf::helpers::{bpf_get_netns_cookie, bpf_ktime_get_ns};
use aya_ebpf::programs::SockContext;
use core::ffi::c_void;
use core::ptr::addr_of_mut;
use governor_common::capture::{ListenerGroup, NamespaceSeen};
use governor_common::counter::Counter;
use governor_common::event::{Event, EventCause};
use governor_common::flow::{FAMILY_V4, FAMILY_V6, OriginalDestination};
use governor_common::limits::{NAMESPACE_SEEN_INTERVAL_NS, NAMESPACE_WAIT_NS, NAMESPACE_WAITS_COUNT_MAX};

/// The hook's answer: the socket may be made.
const PROCEED: i32 = 1;

#[inline(always)]
pub fn announce(ctx: &SockContext) -> i32 {
    // SAFETY: the context is that of a cgroup socket program, as the helper asks.
    let netns_cookie = unsafe { bpf_get_netns_cookie(ctx.as_ptr()) };
    if has_listener(netns_cookie, FAMILY_V4) || has_listener(netns_cookie, FAMILY_V6) {
        return PROCEED;
    }
    // SAFETY: takes no arguments and cannot fail.
    let now_ns = unsafe { bpf_ktime_get_ns() };
    match maps::NAMESPACES_SEEN.get_ptr_mut(netns_cookie) {
        Some(seen) => {
            // SAFETY: an element of the map, valid for the run of the program; an aligned u64 is not torn.
            let told_ns = unsafe { &mut (*seen).told_ns };
            if now_ns.saturating_sub(*told_ns) < NAMESPACE_SEEN_INTERVAL_NS {
                return PROCEED;
            }
            *told_ns = now_ns;
        }
        None => {
            let seen = NamespaceSeen { told_ns: now_ns, waits: 0, reserved: 0 };
            // Without memory for it the namespace is told more often than need be.
            let _full = maps::NAMESPACES_SEEN.insert(netns_cookie, seen, 0);
        }
    }
    emit::count(Counter::NamespaceSeen);
    emit::event(&Event {
        at_ns: now_ns,
        netns_cookie,
        process: process::current(),
        original: OriginalDestination::default(),
        cause: EventCause::NamespaceSeen as u16,
        passed: 0,
    });
    PROCEED
}

/// What the look for a listener goes by.
struct Wait {
    netns_cookie: u64,
    family: u64,
    until_ns: u64,
    found: u64,
}

/// Lets a connection of a namespace of which the agent was told wait, until it has a listener there or the time is over.
/// Answers whether there is one now.
#[inline(always)]
pub fn wait_for_listener(netns_cookie: u64, family: u16) -> bool {
    let Some(seen) = maps::NAMESPACES_SEEN.get_ptr_mut(netns_cookie) else { return false };
    // SAFETY: an element of the map, valid for the run of the program. Two that count at once may be one too few: the
    // bound need not be exact.
    let waits = unsafe { &mut (*seen).waits };
    if *waits >= NAMESPACE_WAITS_COUNT_MAX {
        return false;
    }
    *waits += 1;
    // SAFETY: takes no arguments and cannot fail.
    let until_ns = unsafe { bpf_ktime_get_ns() } + NAMESPACE_WAIT_NS;
    let mut wait = Wait { netns_cookie, family: family.into(), until_ns, found: 0 };
    // SAFETY: the callback has the signature that the helper asks for, and `wait` outlives the call.
    unsafe { bpf_loop(LOOKS_COUNT_MAX, look as *mut c_void, addr_of_mut!(wait).cast(), 0) };
    let found = wait.found != 0;
    emit::count(if found { Counter::NamespaceWaited } else { Counter::NamespaceWaitedInVain });
    found
}

/// One look; not 0 ends the loop.
#[inline(never)]
extern "C" fn look(_index: u64, wait: *mut Wait) -> i64 {
    // SAFETY: the loop hands on what `wait_for_listener` gave it.
    let wait = unsafe { &mut *wait };
    if has_listener(wait.netns_cookie, wait.family as u16) {
        wait.found = 1;
        return 1;
    }
    // SAFETY: takes no arguments and cannot fail.
    (unsafe { bpf_ktime_get_ns() } >= wait.until_ns).into()
}

/// More than there is time for: a look takes some ten nanoseconds.
const LOOKS_COUNT_MAX: u32 = 1 << 22;

#[inline(always)]
fn has_listener(netns_cookie: u64, family: u16) -> bool {
    // SAFETY: a plain number; a torn read cannot happen on an aligned u32.
    unsafe { maps::LISTENER_COUNTS.get(ListenerGroup { netns_cookie, family: family.into(), reserved: 0 }) }
        .is_some()
}
