//! `connect4` and `connect6`: send a captured connection to the agent, keep the original destination.
//!
//! Order of questions: is it a TCP connection to a port that this cgroup's rules name; is it the
//! agent's own; is the agent alive; does it listen in this namespace. Only then the address is
//! rewritten, and only after the flow was stored: a redirected connection always has its origin.
//!
//! Context fields are read and written volatile and one by one: LLVM otherwise merges neighbours
//! into one wider access, which the verifier refuses.

use crate::maps;
use crate::{emit, exempt, namespace, process};
use aya_ebpf::EbpfContext as _;
use aya_ebpf::bindings::{BPF_SK_STORAGE_GET_F_CREATE, bpf_sock};
use aya_ebpf::helpers::generated::{bpf_map_lookup_elem, bpf_sk_storage_delete, bpf_sk_storage_get};
use aya_ebpf::helpers::{
    bpf_get_netns_cookie, bpf_get_prandom_u32, bpf_get_socket_cookie, bpf_ktime_get_ns, bpf_setsockopt,
    bpf_sk_release,
};
use aya_ebpf::programs::SockAddrContext;
use aya_log_ebpf::{info, warn};
use core::ffi::c_void;
use core::ptr::{addr_of, addr_of_mut, from_ref, read_volatile, write_volatile};
use governor_common::capture::{InboundPort, ListenerGroup, ListenerKey, Rule, RuleKey};
use governor_common::counter::Counter;
use governor_common::event::{Event, EventCause};
use governor_common::flow::{
    Address, FAMILY_V4, FAMILY_V6, Flow, MAPPED_PREFIX, OriginalDestination, mapped,
};

/// The hook's answer: go on with the (perhaps rewritten) address.
const PROCEED: i32 = 1;
/// The hook's answer: EPERM.
const REFUSE: i32 = 0;

pub const SOCK_STREAM: u32 = 1;
const TCP_LISTEN: u32 = 10;
/// Listeners looked at before a connection counts as without agent.
const LISTENER_TRIES_COUNT: u32 = 4;
const SOL_SOCKET: i32 = 1;
const SO_BINDTODEVICE: i32 = 25;

#[inline(always)]
pub fn connect<const V6: bool>(ctx: &SockAddrContext) -> i32 {
    let address = ctx.sock_addr;
    // SAFETY: fields of the context, which outlives the program.
    let (kind, port) =
        unsafe { (read_volatile(addr_of!((*address).type_)), read_volatile(addr_of!((*address).user_port))) };
    if kind != SOCK_STREAM {
        return PROCEED;
    }
    let port = u16::from_be(port as u16);
    let rule = rule_for(port);
    if rule.is_none() && !is_inbound(ctx, port) {
        forget_flow(ctx, port);
        return PROCEED;
    }
    if exempt::is_marked(ctx) {
        emit::count(Counter::Exempt);
        return PROCEED;
    }

    let original = OriginalDestination {
        address: destination::<V6>(ctx),
        port,
        family: if V6 { FAMILY_V6 } else { FAMILY_V4 },
    };
    let is_v6 = V6 && !is_mapped(&original.address);
    // SAFETY: the context is that of a socket address program, as the helpers ask; the clock takes no arguments.
    let (netns_cookie, socket_cookie, now_ns) = unsafe {
        (bpf_get_netns_cookie(ctx.as_ptr()), bpf_get_socket_cookie(ctx.as_ptr()), bpf_ktime_get_ns())
    };

    let mut flow = Flow {
        netns_cookie,
        socket_cookie,
        connected_ns: now_ns,
        process: process::current(),
        original,
        listener_port: 0,
        end: Flow::END_CLIENT,
    };
    let Some(rule) = rule else {
        // It is steered where it arrives, by its port; the caller is known here only. Without a note of it the agent
        // refuses a connection that comes from its own host.
        flow.listener_port = port;
        let _stored = store_flow(ctx, &mut flow);
        return PROCEED;
    };
    if is_heartbeat_stale(now_ns) {
        return without_agent(ctx, rule, &flow, EventCause::HeartbeatStale);
    }
    let mut found = listener(netns_cookie, is_v6);
    if matches!(found, Err(EventCause::NamespaceUnknown))
        && namespace::wait_for_listener(netns_cookie, if is_v6 { FAMILY_V6 } else { FAMILY_V4 })
    {
        found = listener(netns_cookie, is_v6);
    }
    let (listener_address, listener_port) = match found {
        Ok(found) => found,
        Err(cause) => return without_agent(ctx, rule, &flow, cause),
    };
    if !release_device(ctx) {
        return without_agent(ctx, Rule::default(), &flow, EventCause::DeviceBound);
    }
    flow.listener_port = listener_port;
    // Refused whatever the rule says: a client can use up the memory of its own socket, and that must be no way around.
    if !store_flow(ctx, &mut flow) {
        return without_agent(ctx, Rule::default(), &flow, EventCause::StorageFailed);
    }
    rewrite::<V6>(ctx, &listener_address, listener_port, is_v6);
    emit::count(Counter::Redirected);
    if emit::debug_log() {
        info!(ctx, "port {} of process {} goes to listener port {}", port, flow.process.tgid, listener_port);
    }
    PROCEED
}

/// The rule of this attachment for a port.
#[inline(always)]
fn rule_for(port: u16) -> Option<Rule> {
    let attachment = maps::ATTACHMENT.get_ptr_mut();
    // SAFETY: the kernel never answers null here, and the storage lives as long as the attachment.
    let cgroup_id = unsafe { read_volatile(addr_of!((*attachment).cgroup_id)) };
    // SAFETY: rules are written before the hooks are attached and are not reused for another key.
    unsafe { maps::RULES.get(RuleKey::new(cgroup_id, port)) }.copied()
}

/// Whether connections to this port of this namespace are captured where they arrive.
#[inline(always)]
fn is_inbound(ctx: &SockAddrContext, port: u16) -> bool {
    // SAFETY: the context is that of a socket address program, as the helper asks; only presence is read.
    unsafe {
        let netns_cookie = bpf_get_netns_cookie(ctx.as_ptr());
        maps::INBOUND_PORTS.get(InboundPort::new(netns_cookie, port)).is_some()
    }
}

/// A socket may connect twice; a flow of an earlier connection would make it look redirected.
/// A flow that names this very port as its listener was written by an attachment nearer to the
/// socket, in this same `connect()`, and stays.
#[inline(always)]
fn forget_flow(ctx: &SockAddrContext, port: u16) {
    // SAFETY: the context's socket is valid for the run of the program; no value is created.
    let flow = unsafe { maps::FLOWS.get_ptr_mut(ctx) };
    // SAFETY: checked for null; storage lives as long as the socket.
    if flow.is_null() || unsafe { (*flow).listener_port } == port {
        return;
    }
    // SAFETY: as above.
    unsafe { bpf_sk_storage_delete(map_pointer(&maps::FLOWS), socket(ctx)) };
}

/// Where the client wants to go, v4-mapped.
#[inline(always)]
fn destination<const V6: bool>(ctx: &SockAddrContext) -> Address {
    let address = ctx.sock_addr;
    // SAFETY: fields of the context; each hook reads only those of its own family.
    unsafe {
        if V6 {
            [
                read_volatile(addr_of!((*address).user_ip6[0])),
                read_volatile(addr_of!((*address).user_ip6[1])),
                read_volatile(addr_of!((*address).user_ip6[2])),
                read_volatile(addr_of!((*address).user_ip6[3])),
            ]
        } else {
            mapped(read_volatile(addr_of!((*address).user_ip4)))
        }
    }
}

#[inline(always)]
fn is_mapped(address: &Address) -> bool {
    address[0] == 0 && address[1] == 0 && address[2] == MAPPED_PREFIX
}

/// The heartbeat catches an agent that is alive and does not answer; its death is seen at once by
/// [`listener`].
#[inline(always)]
pub fn is_heartbeat_stale(now_ns: u64) -> bool {
    let (Some(settings), Some(beat_ns)) = (maps::SETTINGS.get(0), maps::HEARTBEAT.get(0)) else {
        return true;
    };
    settings.heartbeat_timeout_ns != 0 && now_ns.saturating_sub(*beat_ns) > settings.heartbeat_timeout_ns
}

/// Address and port of one of the agent's living listeners. The first try is random, because each
/// listener has an ephemeral port range of its own towards it; the next ones step over listeners
/// that are gone.
#[inline(always)]
fn listener(netns_cookie: u64, is_v6: bool) -> Result<(Address, u16), EventCause> {
    let family = u32::from(if is_v6 { FAMILY_V6 } else { FAMILY_V4 });
    // SAFETY: a plain number; a torn read cannot happen on an aligned u32.
    let count = unsafe { maps::LISTENER_COUNTS.get(ListenerGroup { netns_cookie, family, reserved: 0 }) };
    let count = match count {
        Some(&count) if count > 0 => count,
        _ => return Err(EventCause::NamespaceUnknown),
    };
    // SAFETY: takes no arguments and cannot fail.
    let first = unsafe { bpf_get_prandom_u32() } % count;
    for step in 0..LISTENER_TRIES_COUNT {
        if step == count {
            break;
        }
        let key = ListenerKey { netns_cookie, family, slot: (first + step) % count };
        if let Some(found) = living_listener(key, is_v6) {
            return Ok(found);
        }
    }
    Err(EventCause::ListenerGone)
}

#[inline(always)]
fn living_listener(mut key: ListenerKey, is_v6: bool) -> Option<(Address, u16)> {
    // SAFETY: map and key are valid; the answer is null or a referenced socket, released below.
    let found = unsafe { bpf_map_lookup_elem(map_pointer(&maps::LISTENERS), addr_of_mut!(key).cast()) };
    let found: *mut bpf_sock = found.cast();
    if found.is_null() {
        return None;
    }
    // SAFETY: not null and referenced until `bpf_sk_release`.
    unsafe {
        let state = read_volatile(addr_of!((*found).state));
        let port = read_volatile(addr_of!((*found).src_port));
        let v4 = read_volatile(addr_of!((*found).src_ip4));
        let v6 = [
            read_volatile(addr_of!((*found).src_ip6[0])),
            read_volatile(addr_of!((*found).src_ip6[1])),
            read_volatile(addr_of!((*found).src_ip6[2])),
            read_volatile(addr_of!((*found).src_ip6[3])),
        ];
        bpf_sk_release(found.cast());
        if state != TCP_LISTEN || port == 0 {
            return None;
        }
        Some((if is_v6 { v6 } else { mapped(v4) }, port as u16))
    }
}

/// The agent cannot be reached by this connection: refused, or direct where the rule says so. Either is told.
#[inline(always)]
fn without_agent(ctx: &SockAddrContext, rule: Rule, flow: &Flow, cause: EventCause) -> i32 {
    let passed = rule.fails_open();
    emit::count(match cause {
        _ if passed => Counter::PassedOpen,
        EventCause::HeartbeatStale => Counter::RefusedHeartbeatStale,
        EventCause::NamespaceUnknown => Counter::RefusedNamespaceUnknown,
        EventCause::ListenerGone => Counter::RefusedListenerGone,
        EventCause::DeviceBound => Counter::RefusedDeviceBound,
        _ => Counter::RefusedStorageFailed,
    });
    emit::event(&Event {
        at_ns: flow.connected_ns,
        netns_cookie: flow.netns_cookie,
        process: flow.process,
        original: flow.original,
        cause: cause as u16,
        passed: passed as u16,
    });
    if emit::debug_log() {
        let outcome = if passed { "passed" } else { "refused" };
        warn!(
            ctx,
            "port {} of process {} {}: cause {}",
            flow.original.port,
            flow.process.tgid,
            outcome,
            cause as u16
        );
    }
    if passed {
        forget_flow(ctx, 0);
        PROCEED
    } else {
        REFUSE
    }
}

/// Ties the flow to the client's socket.
#[inline(always)]
fn store_flow(ctx: &SockAddrContext, flow: &mut Flow) -> bool {
    // SAFETY: map and socket are valid; the value is copied.
    let stored = unsafe {
        bpf_sk_storage_get(
            map_pointer(&maps::FLOWS),
            socket(ctx),
            addr_of_mut!(*flow).cast(),
            BPF_SK_STORAGE_GET_F_CREATE.into(),
        )
    };
    let stored: *mut Flow = stored.cast();
    if stored.is_null() {
        return false;
    }
    // SAFETY: checked for null. CREATE leaves an existing value alone, and a socket may connect twice.
    unsafe { *stored = *flow };
    true
}

/// A socket bound to a device (`SO_BINDTODEVICE`) cannot reach loopback. The kernel lets the hook
/// undo that only for a caller who may do so itself.
#[inline(always)]
fn release_device(ctx: &SockAddrContext) -> bool {
    let socket: *mut bpf_sock = socket(ctx).cast();
    // SAFETY: the context's socket is valid for the run of the program.
    if unsafe { read_volatile(addr_of!((*socket).bound_dev_if)) } == 0 {
        return true;
    }
    let mut none = [0u8; 4];
    // SAFETY: the buffer is as long as stated and outlives the call.
    let result = unsafe {
        bpf_setsockopt(ctx.as_ptr(), SOL_SOCKET, SO_BINDTODEVICE, none.as_mut_ptr().cast(), none.len() as i32)
    };
    result == 0
}

/// Puts the listener's address in the place of the original one.
#[inline(always)]
fn rewrite<const V6: bool>(ctx: &SockAddrContext, to: &Address, port: u16, is_v6: bool) {
    let address = ctx.sock_addr;
    // SAFETY: writable fields of the context; each hook writes only those of its own family.
    unsafe {
        if V6 {
            if is_v6 {
                write_volatile(addr_of_mut!((*address).user_ip6[0]), to[0]);
                write_volatile(addr_of_mut!((*address).user_ip6[1]), to[1]);
                write_volatile(addr_of_mut!((*address).user_ip6[2]), to[2]);
            }
            write_volatile(addr_of_mut!((*address).user_ip6[3]), to[3]);
        } else {
            write_volatile(addr_of_mut!((*address).user_ip4), to[3]);
        }
        write_volatile(addr_of_mut!((*address).user_port), port.to_be().into());
    }
}

#[inline(always)]
fn socket(ctx: &SockAddrContext) -> *mut c_void {
    // SAFETY: a field of the context, which outlives the program.
    unsafe { (*ctx.sock_addr).__bindgen_anon_1.sk.cast() }
}

/// The map as helpers want it; the loader replaces the address by the map's own.
#[inline(always)]
pub fn map_pointer<T>(map: &T) -> *mut c_void {
    from_ref(map).cast_mut().cast()
}
