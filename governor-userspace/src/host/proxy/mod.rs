//! Accepts captured connections and relays them through the session machine.
