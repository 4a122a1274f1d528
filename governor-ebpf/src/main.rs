//! governor's kernel programs. Entry points only: each body is one call.
//!
//! The programs redirect and count; they never look into the data of a connection.
//!
//! - [`redirect`]: `connect4`/`connect6` send a captured connection to the agent.
//! - [`origin`]: `sock_ops` hands the flow to the agent's accepted socket; `getpeername` shows the
//!   client the destination that it asked for; `show_client` lets a server see the agent's client.
//! - [`steer`]: `sk_lookup` sends connections that arrive for a captured server to the agent.
//! - [`exempt`]: the agent's own sockets, and the ports that only it may bind.
//! - [`account`]: what the agent's sockets carried, counted where the agent has no say.
//! - [`create`]: refuses sockets that would carry TCP past the kernel's own.
//! - [`namespace`]: tells of network namespaces that the agent does not serve yet.
#![no_std]
#![no_main]
// One instruction of `emit`; the toolchains that build this crate allow it.
#![feature(asm_experimental_arch)]

mod account;
mod create;
mod emit;
mod exempt;
mod maps;
mod namespace;
mod origin;
mod process;
mod redirect;
mod steer;

use aya_ebpf::macros::{cgroup_sock, cgroup_sock_addr, sk_lookup, sock_ops};
use aya_ebpf::programs::{SkLookupContext, SockAddrContext, SockContext, SockOpsContext};

#[cgroup_sock_addr(connect4)]
pub fn connect4(ctx: SockAddrContext) -> i32 {
    redirect::connect::<false>(&ctx)
}

#[cgroup_sock_addr(connect6)]
pub fn connect6(ctx: SockAddrContext) -> i32 {
    redirect::connect::<true>(&ctx)
}

#[cgroup_sock_addr(getpeername4)]
pub fn getpeername4(ctx: SockAddrContext) -> i32 {
    origin::getpeername::<false>(&ctx)
}

#[cgroup_sock_addr(getpeername6)]
pub fn getpeername6(ctx: SockAddrContext) -> i32 {
    origin::getpeername::<true>(&ctx)
}

#[cgroup_sock_addr(bind4)]
pub fn bind4(ctx: SockAddrContext) -> i32 {
    exempt::bind(&ctx)
}

#[cgroup_sock_addr(bind6)]
pub fn bind6(ctx: SockAddrContext) -> i32 {
    exempt::bind(&ctx)
}

#[sock_ops]
pub fn hand_over(ctx: SockOpsContext) -> u32 {
    origin::hand_over(&ctx)
}

#[cgroup_sock(sock_create)]
pub fn create_socket(ctx: SockContext) -> i32 {
    create::socket(&ctx)
}

#[cgroup_sock(sock_create)]
pub fn announce_namespace(ctx: SockContext) -> i32 {
    namespace::announce(&ctx)
}

#[sock_ops]
pub fn show_client(ctx: SockOpsContext) -> u32 {
    origin::show_client(&ctx)
}

#[sk_lookup]
pub fn steer(ctx: SkLookupContext) -> u32 {
    steer::steer(&ctx)
}

#[cfg(not(test))]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

/// The kernel lends some helpers to programs under the GPL only.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 4] = *b"GPL\0";
