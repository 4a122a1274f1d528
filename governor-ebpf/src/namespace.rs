//! Tells the agent of network namespaces that it does not serve yet, before anybody connects in them.
//!
//! A program makes its socket a moment before it connects it, and many make others earlier (to resolve a
//! name). The agent may use that moment to open its listener there; where it is too late, the connect hook
//! refuses as for every unknown namespace. Nothing is refused here.

use crate::{emit, maps, process};
use aya_ebpf::EbpfContext as _;
use aya_ebpf::helpers::{bpf_get_netns_cookie, bpf_ktime_get_ns};
use aya_ebpf::programs::SockContext;
use governor_common::capture::ListenerGroup;
use governor_common::counter::Counter;
use governor_common::event::{Event, EventCause};
use governor_common::flow::{FAMILY_V4, FAMILY_V6, OriginalDestination};
use governor_common::limits::NAMESPACE_SEEN_INTERVAL_NS;

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
    // SAFETY: a plain number; a torn read cannot happen on an aligned u64.
    if let Some(&told_ns) = unsafe { maps::NAMESPACES_SEEN.get(netns_cookie) }
        && now_ns.saturating_sub(told_ns) < NAMESPACE_SEEN_INTERVAL_NS
    {
        return PROCEED;
    }
    // Without memory for it the namespace is told more often than need be.
    let _full = maps::NAMESPACES_SEEN.insert(netns_cookie, now_ns, 0);
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

#[inline(always)]
fn has_listener(netns_cookie: u64, family: u16) -> bool {
    // SAFETY: a plain number; a torn read cannot happen on an aligned u32.
    unsafe { maps::LISTENER_COUNTS.get(ListenerGroup { netns_cookie, family: family.into(), reserved: 0 }) }
        .is_some()
}
