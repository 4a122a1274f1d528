//! Counts what the agent's own sockets carried, without a look at any packet: TCP keeps the numbers, and they are
//! read once, when a socket closes.
//!
//! Counted are accepted sockets that got a flow or came from the agent's listener for arriving connections, and upstream sockets that carry the agent's marker. The agent
//! counts the same bytes where it reads and writes, and compares.
//!
//! Invariant: whatever `watch` counted as opened is counted as closed by `closed`, and leaves one record in the ring
//! buffer or adds to the counter of those that found no room.

use crate::emit;
use crate::maps;
use crate::redirect::map_pointer;
use aya_ebpf::EbpfContext as _;
use aya_ebpf::bindings::{BPF_RB_NO_WAKEUP, bpf_sock_ops};
use aya_ebpf::helpers::generated::{bpf_get_socket_cookie, bpf_sk_storage_get};
use aya_ebpf::helpers::{bpf_get_netns_cookie, bpf_ktime_get_ns};
use aya_ebpf::programs::SockOpsContext;
use core::ffi::c_void;
use core::ptr::{addr_of, addr_of_mut, null_mut, read_volatile};
use governor_common::counter::Counter;
use governor_common::flow::Flow;
use governor_common::totals::{FlowTotals, Totals, TotalsKey};

/// `BPF_SOCK_OPS_STATE_CB_FLAG`.
const STATE_FLAG: u32 = 1 << 2;

/// Asks for the closing callback of one of the agent's sockets, and counts it as opened.
#[inline(always)]
pub fn watch(ctx: &SockOpsContext, role: u16) {
    if role == FlowTotals::ROLE_UPSTREAM && !is_own(ctx) {
        return;
    }
    if ctx.set_cb_flags((ctx.cb_flags() | STATE_FLAG) as i32).is_err() {
        // It will never be told: the agent's number of connections is then larger than ours.
        emit::count(Counter::TotalsFailed);
        return;
    }
    match totals(ctx, role) {
        // SAFETY: this CPU's own element of the map.
        Some(totals) => unsafe { emit::add(addr_of_mut!((*totals).opened), 1) },
        None => emit::count(Counter::TotalsFailed),
    }
}

/// Whether the socket carries the agent's marker.
#[inline(always)]
pub fn is_upstream(socket: *mut c_void) -> bool {
    // SAFETY: map and socket are valid; no value is created.
    !unsafe { bpf_sk_storage_get(map_pointer(&maps::EXEMPT), socket, null_mut(), 0) }.is_null()
}

/// Whether the marker is that of the agent that loaded this program, and not of the one before or after it.
#[inline(always)]
fn is_own(ctx: &SockOpsContext) -> bool {
    // SAFETY: a field of the context, which outlives the program.
    let socket: *mut c_void = unsafe { (*ctx.ops).__bindgen_anon_2.sk.cast() };
    if socket.is_null() {
        return false;
    }
    // SAFETY: map and socket are valid; no value is created.
    let mark: *mut u32 =
        unsafe { bpf_sk_storage_get(map_pointer(&maps::EXEMPT), socket, null_mut(), 0) }.cast();
    // SAFETY: checked for null; storage lives as long as the socket.
    !mark.is_null() && maps::SETTINGS.get(0).is_some_and(|settings| settings.mark == unsafe { *mark })
}

/// Whether the agent's listener for arriving connections accepted this socket.
#[inline(always)]
pub fn is_arrived(socket: *mut c_void) -> bool {
    // SAFETY: map and socket are valid; no value is created.
    !unsafe { bpf_sk_storage_get(map_pointer(&maps::ARRIVED), socket, null_mut(), 0) }.is_null()
}

/// A watched socket has closed. `flow` is that of an accepted one whose process is known.
#[inline(always)]
pub fn closed(ctx: &SockOpsContext, role: u16, flow: Option<&Flow>) {
    if role == FlowTotals::ROLE_UPSTREAM && !is_own(ctx) {
        return;
    }
    let ops: *mut bpf_sock_ops = ctx.ops;
    // SAFETY: fields of the context, which outlives the program.
    let (bytes_received, bytes_acked, snd_nxt, snd_una) = unsafe {
        (
            read_volatile(addr_of!((*ops).bytes_received)),
            read_volatile(addr_of!((*ops).bytes_acked)),
            read_volatile(addr_of!((*ops).snd_nxt)),
            read_volatile(addr_of!((*ops).snd_una)),
        )
    };
    match totals(ctx, role) {
        // SAFETY: this CPU's own element of the map.
        Some(totals) => unsafe {
            emit::add(addr_of_mut!((*totals).closed), 1);
            emit::add(addr_of_mut!((*totals).bytes_received), bytes_received);
            emit::add(addr_of_mut!((*totals).bytes_acked), bytes_acked);
        },
        None => emit::count(Counter::TotalsFailed),
    }
    let (tgid, uid) = flow.map_or((0, 0), |flow| (flow.process.tgid, flow.process.uid));
    // SAFETY: the context is that of a sock_ops program, as the helpers ask; the clock takes no arguments.
    let record = unsafe {
        FlowTotals {
            socket_cookie: bpf_get_socket_cookie(ctx.as_ptr()),
            netns_cookie: bpf_get_netns_cookie(ctx.as_ptr()),
            closed_ns: bpf_ktime_get_ns(),
            bytes_received,
            bytes_acked,
            unacked: snd_nxt.wrapping_sub(snd_una),
            state_before: ctx.arg(0) as u16,
            role,
            tgid,
            uid,
        }
    };
    match maps::FLOW_TOTALS.reserve::<FlowTotals>(0) {
        Some(mut slot) => {
            slot.write(record);
            // The agent looks by itself, several times a second: waking it for each connection would cost more.
            slot.submit(BPF_RB_NO_WAKEUP.into());
        }
        None => emit::count(Counter::TotalsDropped),
    }
}

/// The sums that this socket adds to; `None` where the map is full.
#[inline(always)]
fn totals(ctx: &SockOpsContext, role: u16) -> Option<*mut Totals> {
    let ops: *mut bpf_sock_ops = ctx.ops;
    // SAFETY: a field of the context, which outlives the program; host order, so the kernel defines it.
    let local_port = unsafe { read_volatile(addr_of!((*ops).local_port)) } as u16;
    let port = if role == FlowTotals::ROLE_ACCEPTED { local_port } else { 0 };
    // SAFETY: the context is that of a sock_ops program, as the helper asks.
    let netns_cookie = unsafe { bpf_get_netns_cookie(ctx.as_ptr()) };
    let key = TotalsKey { netns_cookie, port, role, reserved: 0 };
    if let Some(found) = maps::TOTALS.get_ptr_mut(key) {
        return Some(found);
    }
    // Somebody else may have made it meanwhile: what counts is that it is there.
    let _there = maps::TOTALS.insert(
        key,
        Totals { opened: 0, closed: 0, bytes_received: 0, bytes_acked: 0 },
        NO_EXIST,
    );
    maps::TOTALS.get_ptr_mut(key)
}

/// `BPF_NOEXIST`.
const NO_EXIST: u64 = 1;
