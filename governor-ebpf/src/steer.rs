//! `sk_lookup`: a connection that arrives for a captured server goes to the agent's listener.
//!
//! It runs where the kernel looks for the listening socket of an arriving connection: at the SYN, and again at the
//! handshake's last packet. The server keeps its port and its configuration. The agent's own connections are let
//! through: `hand_over` noted their addresses and ports before their SYN left, and the mark that they need for it
//! cannot be imitated. The address of the client cannot help anybody: only the whole tuple of a noted
//! connection counts, and its port is taken for as long as the note is there.
//!
//! Invariant: without a living agent a captured port is refused, or passed where its rule says so; nothing in between.

use crate::maps;
use crate::{emit, origin, process, redirect};
use aya_ebpf::bindings::bpf_sk_lookup;
use aya_ebpf::helpers::bpf_ktime_get_ns;
use aya_ebpf::programs::SkLookupContext;
use core::ptr::{addr_of, read_volatile};
use governor_common::capture::{InboundPort, ListenerKey, Rule};
use governor_common::counter::Counter;
use governor_common::event::{Event, EventCause};
use governor_common::flow::{FAMILY_V6, FlowTuple, OriginalDestination, mapped};

/// The kernel goes on: with the socket that was chosen, or with its own look-up where none was.
const PASS: u32 = 1;
/// The connection is refused.
const DROP: u32 = 0;

const IPPROTO_TCP: u32 = 6;

#[inline(always)]
pub fn steer(ctx: &SkLookupContext) -> u32 {
    let lookup: *mut bpf_sk_lookup = ctx.lookup;
    // SAFETY: fields of the context, which outlives the program. All are read whatever the family: LLVM would join two
    // arms into one load at a variable offset, which the verifier refuses.
    let (protocol, family, port, remote_port, local_v4, remote_v4, local_v6, remote_v6) = unsafe {
        (
            read_volatile(addr_of!((*lookup).protocol)),
            read_volatile(addr_of!((*lookup).family)),
            // Host order here, network order there: so the kernel defines them.
            read_volatile(addr_of!((*lookup).local_port)) as u16,
            u16::from_be(read_volatile(addr_of!((*lookup).remote_port))),
            read_volatile(addr_of!((*lookup).local_ip4)),
            read_volatile(addr_of!((*lookup).remote_ip4)),
            [
                read_volatile(addr_of!((*lookup).local_ip6[0])),
                read_volatile(addr_of!((*lookup).local_ip6[1])),
                read_volatile(addr_of!((*lookup).local_ip6[2])),
                read_volatile(addr_of!((*lookup).local_ip6[3])),
            ],
            [
                read_volatile(addr_of!((*lookup).remote_ip6[0])),
                read_volatile(addr_of!((*lookup).remote_ip6[1])),
                read_volatile(addr_of!((*lookup).remote_ip6[2])),
                read_volatile(addr_of!((*lookup).remote_ip6[3])),
            ],
        )
    };
    let Some(&netns_cookie) = maps::INBOUND_NAMESPACE.get(0) else { return PASS };
    if protocol != IPPROTO_TCP {
        return PASS;
    }
    // SAFETY: a rule is written once and not reused for another key.
    let Some(rule) = (unsafe { maps::INBOUND_PORTS.get(InboundPort::new(netns_cookie, port)) }).copied()
    else {
        return PASS;
    };
    let is_v6 = family == u32::from(FAMILY_V6);
    let (local, remote) = if is_v6 { (local_v6, remote_v6) } else { (mapped(local_v4), mapped(remote_v4)) };
    let tuple = FlowTuple {
        netns_cookie,
        client_address: remote,
        listener_address: local,
        client_port: remote_port,
        listener_port: port,
        reserved: 0,
    };
    // SAFETY: only presence is read.
    if unsafe { maps::UPSTREAMS.get(tuple) }.is_some() {
        emit::count(Counter::InboundOwn);
        return PASS;
    }
    // SAFETY: takes no arguments and cannot fail.
    let now_ns = unsafe { bpf_ktime_get_ns() };
    let original = OriginalDestination { address: local, port, family: family as u16 };
    if redirect::is_heartbeat_stale(now_ns) {
        return without_agent(rule, &tuple, now_ns, original, EventCause::InboundHeartbeatStale);
    }
    let listener = ListenerKey { netns_cookie, family, slot: 0 };
    // A program that ran before may have chosen: the agent before this one in an upgrade, or somebody else's.
    if maps::INBOUND_LISTENERS.redirect_sk_lookup(ctx, listener, REPLACE).is_err() {
        return without_agent(rule, &tuple, now_ns, original, EventCause::InboundListenerGone);
    }
    emit::count(Counter::InboundSteered);
    PASS
}

/// The agent cannot take this connection: refused, or to the server where the rule says so. Either is told.
#[inline(always)]
fn without_agent(
    rule: Rule,
    tuple: &FlowTuple,
    at_ns: u64,
    original: OriginalDestination,
    cause: EventCause,
) -> u32 {
    let passed = rule.fails_open();
    emit::count(match cause {
        _ if passed => Counter::InboundPassedOpen,
        EventCause::InboundHeartbeatStale => Counter::InboundRefusedHeartbeatStale,
        _ => Counter::InboundRefusedListenerGone,
    });
    emit::event(&Event {
        at_ns,
        netns_cookie: tuple.netns_cookie,
        process: process::none(),
        original,
        cause: cause as u16,
        passed: passed as u16,
    });
    if !passed {
        return DROP;
    }
    // Nobody of the agent's takes it over; the server's socket must not count as the agent's.
    origin::take_back(tuple);
    PASS
}

/// `BPF_SK_LOOKUP_F_REPLACE`.
const REPLACE: u64 = 1;
