//! Which sockets may be made at all on a captured cgroup: none that carries TCP past the kernel's own.
//!
//! A raw socket with protocol TCP reads the segments that arrive, so that with another one to send its owner can
//! speak TCP by itself, and no connect hook ever runs. Other raw sockets (ping, traceroute) receive no TCP and stay.
//! Multipath TCP is not refused: it is redirected like TCP.

use crate::{emit, process};
use aya_ebpf::EbpfContext as _;
use aya_ebpf::helpers::{bpf_get_netns_cookie, bpf_ktime_get_ns};
use aya_ebpf::programs::SockContext;
use core::ptr::{addr_of, read_volatile};
use governor_common::counter::Counter;
use governor_common::event::{Event, EventCause};
use governor_common::flow::OriginalDestination;

const SOCK_RAW: u32 = 3;
const IPPROTO_TCP: u32 = 6;

#[inline(always)]
pub fn socket(ctx: &SockContext) -> i32 {
    let socket = ctx.sock;
    // SAFETY: fields of the context, which outlives the program.
    let (family, kind, protocol) = unsafe {
        (
            read_volatile(addr_of!((*socket).family)),
            read_volatile(addr_of!((*socket).type_)),
            read_volatile(addr_of!((*socket).protocol)),
        )
    };
    if kind != SOCK_RAW || protocol != IPPROTO_TCP {
        return 1;
    }
    emit::count(Counter::RawRefused);
    emit::event(&Event {
        // SAFETY: takes no arguments and cannot fail.
        at_ns: unsafe { bpf_ktime_get_ns() },
        // SAFETY: the context is that of a socket program, as the helper asks.
        netns_cookie: unsafe { bpf_get_netns_cookie(ctx.as_ptr()) },
        process: process::current(),
        original: OriginalDestination { address: [0; 4], port: 0, family: family as u16 },
        cause: EventCause::RawRefused as u16,
        passed: 0,
    });
    0
}
