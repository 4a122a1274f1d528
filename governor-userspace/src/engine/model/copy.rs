//! How a COPY TO writes its rows.

use serde::{Deserialize, Serialize};

/// Options of a COPY … TO STDOUT, the server's defaults filled in.
///
/// Only what governor needs to read rows and to write them again: which columns are always quoted is not kept, since
/// values that governor writes always are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CopyOptions {
    pub format: CopyFormat,
    /// The first row is the columns' names.
    pub header: bool,
    /// ENCODING, as written. `None`: the session's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encoding: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CopyFormat {
    /// Fields end at the delimiter, rows at a line feed; a backslash stands before what is not meant so.
    Text {
        delimiter: u8,
        null: String,
    },
    /// Fields may be quoted, and only then have delimiters, quotes and line feeds in them.
    Csv {
        delimiter: u8,
        null: String,
        quote: u8,
        escape: u8,
    },
    Binary,
}
