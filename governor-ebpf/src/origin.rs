//! Ties the agent's accepted socket to the client's flow, and keeps the client unaware.
//!
//! The client's and the agent's socket share nothing but their four-tuple, which is known when the
//! SYN leaves. So the flow waits in PENDING under that tuple for the microseconds until the
//! accepting end is established; that end runs while its socket is still locked, so the agent
//! cannot read the storage before it is written.
//!
//! Invariant: an entry of PENDING goes away at the hand-over or, at the latest, when the client's
//! socket closes.

use crate::account;
use crate::emit;
use crate::maps;
use crate::redirect::map_pointer;
use aya_ebpf::EbpfContext as _;
use aya_ebpf::bindings::{BPF_SK_STORAGE_GET_F_CREATE, bpf_sock_ops};
use aya_ebpf::helpers::bpf_get_netns_cookie;
use aya_ebpf::helpers::generated::bpf_sk_storage_get;
use aya_ebpf::programs::{SockAddrContext, SockOpsContext};
use core::ffi::c_void;
use core::ptr::{addr_of, addr_of_mut, null_mut, read_volatile, write_volatile};
use governor_common::capture::InboundPort;
use governor_common::counter::Counter;
use governor_common::event::{Event, EventCause};
use governor_common::flow::{Address, FAMILY_V4, Flow, FlowTuple, UpstreamEnd, mapped};
use governor_common::totals::FlowTotals;

/// `BPF_SOCK_OPS_TCP_CONNECT_CB`: before the SYN, source port known.
const TCP_CONNECT: u32 = 3;
/// `BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB`: on the connecting socket.
const ACTIVE_ESTABLISHED: u32 = 4;
/// `BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB`: on the accepted socket.
const PASSIVE_ESTABLISHED: u32 = 5;
/// `BPF_SOCK_OPS_STATE_CB`.
const STATE_CHANGED: u32 = 10;
/// `BPF_SOCK_OPS_STATE_CB_FLAG`.
const STATE_FLAG: u32 = 1 << 2;
const TCP_CLOSE: u32 = 7;
const TCP_SYN_SENT: u32 = 2;

/// The hook's answer is ignored for these operations.
const IGNORED: u32 = 1;

#[inline(always)]
pub fn hand_over(ctx: &SockOpsContext) -> u32 {
    match ctx.op() {
        TCP_CONNECT => announce(ctx),
        ACTIVE_ESTABLISHED => watch_upstream(ctx),
        PASSIVE_ESTABLISHED => take_over(ctx),
        STATE_CHANGED if ctx.arg(1) == TCP_CLOSE => closed(ctx),
        _ => {}
    }
    IGNORED
}

/// A socket that asked for it has closed: a captured client's, or one of the agent's two.
#[inline(always)]
fn closed(ctx: &SockOpsContext) {
    let socket = socket(ctx);
    if socket.is_null() {
        return;
    }
    // SAFETY: map and socket are valid; no value is created.
    let flow: *mut Flow =
        unsafe { bpf_sk_storage_get(map_pointer(&maps::FLOWS), socket, null_mut(), 0) }.cast();
    // SAFETY: checked for null; storage lives as long as the socket.
    if !flow.is_null() && unsafe { (*flow).end } == Flow::END_ACCEPTED {
        // SAFETY: as above.
        account::closed(ctx, FlowTotals::ROLE_ACCEPTED, Some(unsafe { &*flow }));
        return;
    }
    if account::is_arrived(socket) {
        account::closed(ctx, FlowTotals::ROLE_ACCEPTED, None);
        return;
    }
    let tuple = tuple(ctx, false);
    if account::is_upstream(socket) {
        if maps::UPSTREAMS.remove(tuple).is_ok() {
            emit::count(Counter::InboundOwnGone);
        }
        let end = UpstreamEnd::new(tuple.netns_cookie, tuple.client_address, tuple.client_port);
        let _taken = maps::CLIENTS.remove(end);
        // One that never was established was not counted as opened.
        if ctx.arg(0) != TCP_SYN_SENT {
            account::closed(ctx, FlowTotals::ROLE_UPSTREAM, None);
        }
        return;
    }
    let was_pending = maps::PENDING.remove(tuple).is_ok();
    // SAFETY: checked for null; storage lives as long as the socket.
    if !flow.is_null() && unsafe { (*flow).listener_port == (*flow).original.port } {
        // It was noted and not redirected: it may have gone anywhere.
        if was_pending {
            emit::count(Counter::PendingGone);
        }
        return;
    }
    if was_pending {
        // Nobody had taken it over: its SYN was lost, or it left before the agent's end was established.
        emit::count(Counter::NotArrived);
    }
    emit::count(Counter::Closed);
}

/// The client's end: note the flow under the connection's tuple. The agent's end towards a captured server: note the
/// tuple itself, so that `steer` lets it through.
#[inline(always)]
fn announce(ctx: &SockOpsContext) {
    let socket = socket(ctx);
    if socket.is_null() {
        return;
    }
    // SAFETY: map and socket are valid; no value is created.
    let flow: *mut Flow =
        unsafe { bpf_sk_storage_get(map_pointer(&maps::FLOWS), socket, null_mut(), 0) }.cast();
    if flow.is_null() {
        return announce_own(ctx, socket);
    }
    // SAFETY: checked for null; storage lives as long as the socket.
    let flow = unsafe { &*flow };
    let tuple = tuple(ctx, false);
    if tuple.listener_port != flow.listener_port {
        return;
    }
    // Ask for the closing callback first: without it an entry could outlive its connection.
    if ctx.set_cb_flags((ctx.cb_flags() | STATE_FLAG) as i32).is_ok()
        && maps::PENDING.insert(tuple, flow, 0).is_ok()
    {
        emit::count(Counter::Pending);
    } else {
        emit::count(Counter::PendingFailed);
        emit::event(&Event {
            at_ns: flow.connected_ns,
            netns_cookie: flow.netns_cookie,
            process: flow.process,
            original: flow.original,
            cause: EventCause::PendingFailed as u16,
            passed: 0,
        });
    }
}

#[inline(always)]
fn announce_own(ctx: &SockOpsContext, socket: *mut c_void) {
    if !account::is_upstream(socket) {
        return;
    }
    let tuple = tuple(ctx, false);
    let port = InboundPort::new(tuple.netns_cookie, tuple.listener_port);
    // SAFETY: only presence is read.
    if unsafe { maps::INBOUND_PORTS.get(port) }.is_none() {
        return;
    }
    // The closing callback first here too.
    let is_noted = ctx.set_cb_flags((ctx.cb_flags() | STATE_FLAG) as i32).is_ok()
        && maps::UPSTREAMS.insert(tuple, 1, 0).is_ok();
    emit::count(if is_noted { Counter::InboundOwnNoted } else { Counter::InboundOwnFailed });
}

/// A connection of the agent's own has come to be: count it.
#[inline(always)]
fn watch_upstream(ctx: &SockOpsContext) {
    let socket = socket(ctx);
    if !socket.is_null() && account::is_upstream(socket) {
        account::watch(ctx, FlowTotals::ROLE_UPSTREAM);
    }
}

/// The agent's end: move the flow from PENDING to the accepted socket.
#[inline(always)]
fn take_over(ctx: &SockOpsContext) {
    let socket = socket(ctx);
    if socket.is_null() {
        return;
    }
    let tuple = tuple(ctx, true);
    let arrived = account::is_arrived(socket);
    let Some(pending) = maps::PENDING.get_ptr(tuple) else {
        if arrived {
            // A client that no hook of this host saw.
            emit::count(Counter::InboundArrived);
            account::watch(ctx, FlowTotals::ROLE_ACCEPTED);
        }
        return;
    };
    // SAFETY: the entry was just found; only this connection's two ends touch it.
    let mut flow = unsafe { *pending };
    if !arrived && flow.listener_port == flow.original.port {
        // Noted and not redirected, and another took it: the server itself, or an agent beside this one.
        return take_back(&tuple);
    }
    flow.end = Flow::END_ACCEPTED;
    // SAFETY: map and socket are valid; the value is copied.
    let stored = unsafe {
        bpf_sk_storage_get(
            map_pointer(&maps::FLOWS),
            socket,
            addr_of_mut!(flow).cast(),
            BPF_SK_STORAGE_GET_F_CREATE.into(),
        )
    };
    if arrived || !stored.is_null() {
        account::watch(ctx, FlowTotals::ROLE_ACCEPTED);
    }
    if stored.is_null() {
        return take_back(&tuple);
    }
    emit::count(Counter::HandedOver);
    let _present = maps::PENDING.remove(tuple);
}

/// A flow that waited, and that the agent does not get.
#[inline(always)]
pub fn take_back(tuple: &FlowTuple) {
    if maps::PENDING.remove(tuple).is_ok() {
        emit::count(Counter::PendingGone);
    }
}

/// A server's end of a connection that the agent made: move the client from CLIENTS to it, before the server can accept
/// it. A program of its own, because it is attached to servers alone: another process on a server's port takes nothing.
#[inline(always)]
pub fn show_client(ctx: &SockOpsContext) -> u32 {
    let socket = socket(ctx);
    if ctx.op() == PASSIVE_ESTABLISHED && !socket.is_null() {
        take_client(socket, &tuple(ctx, true));
    }
    IGNORED
}

#[inline(always)]
fn take_client(socket: *mut c_void, tuple: &FlowTuple) {
    let end = UpstreamEnd::new(tuple.netns_cookie, tuple.client_address, tuple.client_port);
    let Some(client) = maps::CLIENTS.get_ptr(end) else {
        return;
    };
    // SAFETY: the entry was just found; only this connection's two ends touch it.
    let mut client = unsafe { *client };
    // SAFETY: map and socket are valid; the value is copied.
    let stored = unsafe {
        bpf_sk_storage_get(
            map_pointer(&maps::SHOWN),
            socket,
            addr_of_mut!(client).cast(),
            BPF_SK_STORAGE_GET_F_CREATE.into(),
        )
    };
    // An entry that stays tells the agent that the server would not see the client.
    if !stored.is_null() && maps::CLIENTS.remove(end).is_ok() {
        emit::count(Counter::ClientShown);
    }
}

/// Shows the client the peer that it asked for, and the server the client that came. `accept()` asks here too.
#[inline(always)]
pub fn getpeername<const V6: bool>(ctx: &SockAddrContext) -> i32 {
    // SAFETY: the context's socket is valid for the run of the program; no value is created.
    let (flow, client) = unsafe { (maps::FLOWS.get_ptr_mut(ctx), maps::SHOWN.get_ptr_mut(ctx)) };
    if !client.is_null() {
        // SAFETY: checked for null; storage lives as long as the socket.
        let client = unsafe { *client };
        show::<V6>(ctx, &client.address, client.port);
        return 1;
    }
    if flow.is_null() {
        return 1;
    }
    // SAFETY: checked for null; storage lives as long as the socket.
    let flow = unsafe { &*flow };
    // Where the destination was not rewritten there is nothing to hide.
    if flow.end != Flow::END_CLIENT || flow.listener_port == flow.original.port {
        return 1;
    }
    show::<V6>(ctx, &flow.original.address, flow.original.port);
    emit::count(Counter::PeerShown);
    1
}

#[inline(always)]
fn show<const V6: bool>(ctx: &SockAddrContext, peer: &Address, port: u16) {
    let address = ctx.sock_addr;
    // SAFETY: writable fields of the context; each hook writes only those of its own family.
    unsafe {
        write_volatile(addr_of_mut!((*address).user_port), port.to_be().into());
        if V6 {
            write_volatile(addr_of_mut!((*address).user_ip6[0]), peer[0]);
            write_volatile(addr_of_mut!((*address).user_ip6[1]), peer[1]);
            write_volatile(addr_of_mut!((*address).user_ip6[2]), peer[2]);
            write_volatile(addr_of_mut!((*address).user_ip6[3]), peer[3]);
        } else {
            write_volatile(addr_of_mut!((*address).user_ip4), peer[3]);
        }
    }
}

/// The connection as the client sees it. On the accepting end (`swap`) local is the listener.
///
/// Every field is read whatever the family: LLVM would otherwise join the two arms into one load at
/// a variable offset, which the verifier refuses.
#[inline(always)]
fn tuple(ctx: &SockOpsContext, swap: bool) -> FlowTuple {
    let ops: *mut bpf_sock_ops = ctx.ops;
    // SAFETY: fields of the context, which outlives the program.
    let (family, mut local, mut remote, local_v4, remote_v4, local_port, remote_port) = unsafe {
        (
            read_volatile(addr_of!((*ops).family)),
            [
                read_volatile(addr_of!((*ops).local_ip6[0])),
                read_volatile(addr_of!((*ops).local_ip6[1])),
                read_volatile(addr_of!((*ops).local_ip6[2])),
                read_volatile(addr_of!((*ops).local_ip6[3])),
            ],
            [
                read_volatile(addr_of!((*ops).remote_ip6[0])),
                read_volatile(addr_of!((*ops).remote_ip6[1])),
                read_volatile(addr_of!((*ops).remote_ip6[2])),
                read_volatile(addr_of!((*ops).remote_ip6[3])),
            ],
            read_volatile(addr_of!((*ops).local_ip4)),
            read_volatile(addr_of!((*ops).remote_ip4)),
            // Host order here, network order there: so the kernel defines them.
            read_volatile(addr_of!((*ops).local_port)) as u16,
            u32::from_be(read_volatile(addr_of!((*ops).remote_port))) as u16,
        )
    };
    if family == u32::from(FAMILY_V4) {
        local = mapped(local_v4);
        remote = mapped(remote_v4);
    }
    // SAFETY: the context is that of a sock_ops program, as the helper asks.
    let netns_cookie = unsafe { bpf_get_netns_cookie(ctx.as_ptr()) };
    let (client_address, client_port, listener_address, listener_port) = if swap {
        (remote, remote_port, local, local_port)
    } else {
        (local, local_port, remote, remote_port)
    };
    FlowTuple { netns_cookie, client_address, listener_address, client_port, listener_port, reserved: 0 }
}

#[inline(always)]
fn socket(ctx: &SockOpsContext) -> *mut c_void {
    // SAFETY: a field of the context, which outlives the program.
    unsafe { (*ctx.ops).__bindgen_anon_2.sk.cast() }
}
