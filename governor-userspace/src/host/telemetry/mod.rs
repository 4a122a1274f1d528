//! What governor tells its operators: metrics and log lines.
