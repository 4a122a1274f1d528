//! Capacities of the maps: name, unit, and why this number.

/// `TASK_COMM_LEN` of the kernel, with its final zero.
pub const COMMAND_BYTES: usize = 16;

/// Ports times cgroups. A host has a handful; the map costs about 100 bytes an entry.
pub const RULES_COUNT_MAX: u32 = 4096;

/// Connections between the client's SYN and the agent's accept (microseconds on loopback, longer
/// when the backlog is full). Twice the ephemeral port range of a namespace; least recently used
/// entries go first, and a connection that lost its entry is closed by the agent.
pub const PENDING_COUNT_MAX: u32 = 65_536;

/// Listening sockets of the agent: namespaces × families × spread.
pub const LISTENERS_COUNT_MAX: u32 = 16_384;

/// Namespaces × families.
pub const LISTENER_GROUPS_COUNT_MAX: u32 = 2048;

/// Ports that only the agent may bind.
pub const GUARDED_PORTS_COUNT_MAX: u32 = 16_384;

/// Ports of database servers of this host.
pub const INBOUND_PORTS_COUNT_MAX: u32 = 1024;

/// The agent's open connections to servers of this host: every session of a database host has one. Twice the ephemeral
/// port range, and 100 bytes an entry; taken as needed. A connection beyond it is refused by the agent.
pub const UPSTREAMS_COUNT_MAX: u32 = 65_536;

/// Clients between the agent's `connect()` and the server's end of that connection.
pub const CLIENTS_COUNT_MAX: u32 = 65_536;

/// Events of about 90 bytes; a power of two and a multiple of the page size.
pub const EVENTS_BYTES: u32 = 256 * 1024;

/// A wedged agent is noticed after this; several times the agent's beat.
pub const HEARTBEAT_TIMEOUT_NS_DEFAULT: u64 = 10_000_000_000;

/// Records of 64 bytes of sockets that closed and were not compared yet; a power of two and a multiple of the page
/// size. At 20,000 connections a second, of two sockets each, this is most of a second; the agent looks every tenth.
pub const FLOW_TOTALS_BYTES: u32 = 2 * 1024 * 1024;

/// Namespaces without a listener of which sockets were told lately; least recently used ones go first, and
/// are told again.
pub const NAMESPACES_SEEN_COUNT_MAX: u32 = 1024;

/// A connection from such a namespace waits so long, at most, for the agent to open a listener there. The program runs
/// meanwhile and nothing else does on that CPU, so it is as short as a time slice; a listener takes the agent one to a few
/// milliseconds.
pub const NAMESPACE_WAIT_NS: u64 = 10_000_000;

/// Connections of one namespace that wait: one that is never served must not cost more than that.
pub const NAMESPACE_WAITS_COUNT_MAX: u32 = 3;

/// A namespace without a listener is told at most so often: long enough for the agent to open one.
pub const NAMESPACE_SEEN_INTERVAL_NS: u64 = 100_000_000;
