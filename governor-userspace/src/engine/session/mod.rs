//! The heart: joins wire, SQL, policy, masking, approval and audit.
