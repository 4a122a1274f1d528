//! What is never captured, and what nobody else may have: the agent's own sockets and ports.

use crate::maps;
use crate::{emit, process, redirect};
use aya_ebpf::EbpfContext as _;
use aya_ebpf::helpers::{bpf_get_netns_cookie, bpf_ktime_get_ns};
use aya_ebpf::programs::SockAddrContext;
use core::ptr::{addr_of, read_volatile};
use governor_common::capture::GuardedPort;
use governor_common::counter::Counter;
use governor_common::event::{Event, EventCause};
use governor_common::flow::OriginalDestination;

/// Whether the socket carries the agent's marker. The marker sits on the socket, so it holds across
/// threads, forks and restarts, and no port, uid or pid can be imitated to get it.
#[inline(always)]
pub fn is_marked(ctx: &SockAddrContext) -> bool {
    // SAFETY: the context's socket is valid for the run of the program; no value is created.
    !unsafe { maps::EXEMPT.get_ptr_mut(ctx) }.is_null()
}

/// Only a marked socket may bind a port of the agent's listeners, dead or alive: otherwise another
/// process could wait for the agent to stop and collect passwords on its port.
#[inline(always)]
pub fn bind(ctx: &SockAddrContext) -> i32 {
    // SAFETY: fields of the context, which outlives the program.
    let (kind, port) = unsafe {
        (read_volatile(addr_of!((*ctx.sock_addr).type_)), read_volatile(addr_of!((*ctx.sock_addr).user_port)))
    };
    if kind != redirect::SOCK_STREAM {
        return 1;
    }
    let port = u16::from_be(port as u16);
    // SAFETY: the context is that of a socket address program, as the helper asks.
    let netns_cookie = unsafe { bpf_get_netns_cookie(ctx.as_ptr()) };
    let key = GuardedPort { netns_cookie, port: port.into(), reserved: 0 };
    // SAFETY: only presence is read.
    if unsafe { maps::GUARDED_PORTS.get(key) }.is_none() || is_marked(ctx) {
        return 1;
    }
    emit::count(Counter::BindRefused);
    emit::event(&Event {
        // SAFETY: takes no arguments and cannot fail.
        at_ns: unsafe { bpf_ktime_get_ns() },
        netns_cookie,
        process: process::current(),
        original: OriginalDestination { address: [0; 4], port, family: 0 },
        cause: EventCause::BindRefused as u16,
        passed: 0,
    });
    0
}
