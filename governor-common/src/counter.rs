//! Counters: one per-CPU array, one index each.

macro_rules! counters {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)+) => {
        /// Index into the counter array.
        #[repr(u32)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Counter { $($(#[$doc])* $variant,)+ }

        impl Counter {
            pub const ALL: &'static [Counter] = &[$(Counter::$variant),+];

            /// Name in metrics and in documentation.
            pub const fn name(self) -> &'static str {
                match self { $(Counter::$variant => $name,)+ }
            }
        }
    };
}

counters! {
    /// Connections sent to the agent.
    Redirected = "redirected",
    /// Connections of sockets that carry the agent's marker.
    Exempt = "exempt",
    /// Refused: heartbeat too old.
    RefusedHeartbeatStale = "refused_heartbeat_stale",
    /// Refused: no listener in this namespace.
    RefusedNamespaceUnknown = "refused_namespace_unknown",
    /// Refused: listener gone.
    RefusedListenerGone = "refused_listener_gone",
    /// Refused: no memory for the flow.
    RefusedStorageFailed = "refused_storage_failed",
    /// Went direct though a rule names them, because the rule fails open.
    PassedOpen = "passed_open",
    /// Flows noted for the accepting end.
    Pending = "pending",
    /// Flows that could not be noted.
    PendingFailed = "pending_failed",
    /// Flows handed over to the agent's accepted socket.
    HandedOver = "handed_over",
    /// Redirected client sockets that closed.
    Closed = "closed",
    /// `getpeername()` answers that showed the original destination.
    PeerShown = "peer_shown",
    /// Attempts of others to bind the agent's ports.
    BindRefused = "bind_refused",
    /// Refused: the socket is bound to a device and cannot be unbound.
    RefusedDeviceBound = "refused_device_bound",
    /// Events that the ring buffer had no room for.
    EventsDropped = "events_dropped",
    /// Redirected client sockets that closed before the agent's end was established.
    NotArrived = "not_arrived",
    /// Totals of closed sockets that found no room in the ring buffer.
    TotalsDropped = "totals_dropped",
    /// Sockets of the agent whose totals could not be kept.
    TotalsFailed = "totals_failed",
    /// Raw TCP sockets that were not made.
    RawRefused = "raw_refused",
    /// Arriving connections steered to the agent.
    InboundSteered = "inbound_steered",
    /// The agent's own connections to the server, let through to it.
    InboundOwn = "inbound_own",
    /// Arriving connections refused: heartbeat too old.
    InboundRefusedHeartbeatStale = "inbound_refused_heartbeat_stale",
    /// Arriving connections refused: listener gone.
    InboundRefusedListenerGone = "inbound_refused_listener_gone",
    /// Arriving connections that went to the server ungoverned, because the rule fails open.
    InboundPassedOpen = "inbound_passed_open",
    /// The agent's own connections that could not be noted, and so are steered back to it, which closes them.
    InboundOwnFailed = "inbound_own_failed",
    /// Accepted sockets of a server that show it the client instead of the agent.
    ClientShown = "client_shown",
    /// Sockets made in namespaces without a listener, as far as they were told: a namespace at most once in
    /// [`crate::limits::NAMESPACE_SEEN_INTERVAL_NS`].
    NamespaceSeen = "namespace_seen",
    /// Arriving connections that the agent's listener took from clients whose process is not known.
    InboundArrived = "inbound_arrived",
    /// The agent's own connections to captured servers that were noted.
    InboundOwnNoted = "inbound_own_noted",
    /// Of these, those whose note is gone.
    InboundOwnGone = "inbound_own_gone",
    /// Connections of new namespaces that waited until a listener was there.
    NamespaceWaited = "namespace_waited",
    /// Those that waited in vain.
    NamespaceWaitedInVain = "namespace_waited_in_vain",
    /// Notes of flows that were taken back though nobody of the agent's had them: the connection went elsewhere, or the
    /// accepted socket had no room.
    PendingGone = "pending_gone",
}

/// Number of elements of the counter array.
pub const COUNTERS_COUNT: u32 = Counter::ALL.len() as u32;
