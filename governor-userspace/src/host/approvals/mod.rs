//! Holds that wait for a person: the durable queue behind `governor approvals`.
