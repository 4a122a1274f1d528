//! SQL text → [`Statement`](crate::engine::model::Statement) facts.

mod dialect;
mod postgres;
mod second_reading;

pub use dialect::{Script, SqlDialect};
pub use postgres::{
    COMMENT_DEPTH_MAX, COMMENTS_IN_A_ROW_MAX, Code, Codes, Names, PARSER_STACK_BYTES_MIN, PostgresDialect,
    STATEMENT_BYTES_MAX, STATEMENTS_MAX, ViewFlows, computes, flows, flows_given, kept_in_passing, lineage,
    setting_weight, standard_body, strength, view_source,
};
pub use second_reading::{SECOND_READING_BYTES_MAX, SecondReading, doubted, second_reading};
