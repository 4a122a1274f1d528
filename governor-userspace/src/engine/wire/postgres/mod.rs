//! PostgreSQL frontend/backend protocol 3.
