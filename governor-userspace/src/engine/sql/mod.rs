//! SQL text → [`Statement`](crate::engine::model::Statement) facts.

mod dialect;
pub(in crate::engine) mod fault;
mod postgres;
mod second_reading;

pub use dialect::{Script, SqlDialect};
pub use postgres::{
    BesideName, COMMENT_DEPTH_MAX, COMMENTS_IN_A_ROW_MAX, Code, Codes, Constants, Names,
    PARSER_STACK_BYTES_MIN, PostgresDialect, STATEMENT_BYTES_MAX, STATEMENTS_MAX, ViewFlows, computes,
    constants, flows, flows_given, kept_in_passing, lineage, setting_weight, standard_body, strength,
    view_source,
};
pub use second_reading::{SECOND_READING_BYTES_MAX, SecondReading, doubted, second_reading};
