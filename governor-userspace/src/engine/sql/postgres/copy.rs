//! Options of COPY TO STDOUT, in their old spelling and their new one: the grammar gives both the same form.
//!
//! Invariant: an option that is not known here, comes twice, or has a value that the server would refuse makes all of them
//! not understood. The rows of such a COPY cannot be read.

use super::setting::constant;
use crate::engine::model::{CopyFormat, CopyOptions};
use pg_raw_parse::Node;
use pg_raw_parse::list::CastNodeList;
use pg_raw_parse::nodes::DefElem;

/// How the rows of this command come, where it is a COPY TO STDOUT whose options are understood.
pub(super) fn options(root: Node<'_>) -> Option<CopyOptions> {
    match root {
        Node::CopyStmt(copy) if !copy.is_from && !copy.is_program && copy.filename().is_none() => {
            Written::of(copy.options())?.resolved()
        }
        _ => None,
    }
}

/// What stands in the text; `None` where it says nothing.
#[derive(Debug, Default)]
struct Written {
    format: Option<String>,
    delimiter: Option<String>,
    null: Option<String>,
    header: Option<bool>,
    quote: Option<String>,
    escape: Option<String>,
    force_quote: Option<()>,
    encoding: Option<String>,
}

impl Written {
    fn of(options: &CastNodeList<DefElem>) -> Option<Self> {
        let mut written = Self::default();
        for node in super::children::untyped(options) {
            let Node::DefElem(option) = node else { return None };
            let text = || constant(option.arg());
            let twice = match option.defname()? {
                "format" => written.format.replace(text()?).is_some(),
                "delimiter" => written.delimiter.replace(text()?).is_some(),
                "null" => written.null.replace(text()?).is_some(),
                "quote" => written.quote.replace(text()?).is_some(),
                "escape" => written.escape.replace(text()?).is_some(),
                "encoding" => written.encoding.replace(text()?).is_some(),
                "header" => written.header.replace(flag(option)?).is_some(),
                "force_quote" => written.force_quote.replace(()).is_some(),
                _ => return None,
            };
            if twice {
                return None;
            }
        }
        Some(written)
    }

    fn resolved(self) -> Option<CopyOptions> {
        let header = self.header.unwrap_or(false);
        let format = match self.format.as_deref().unwrap_or("text") {
            "text" if self.quote.is_none() && self.escape.is_none() && self.force_quote.is_none() => {
                CopyFormat::Text {
                    delimiter: one_byte(self.delimiter.as_deref().unwrap_or("\t"))
                        .filter(|byte| !NO_TEXT_DELIMITER.contains(byte))?,
                    null: null(self.null, "\\N")?,
                }
            }
            "csv" => {
                let delimiter = one_byte(self.delimiter.as_deref().unwrap_or(","))?;
                let quote = one_byte(self.quote.as_deref().unwrap_or("\""))?;
                let escape = self.escape.as_deref().map_or(Some(quote), one_byte)?;
                let null = null(self.null, "")?;
                let clashes = delimiter == quote || null.bytes().any(|b| b == delimiter || b == quote);
                if clashes {
                    return None;
                }
                CopyFormat::Csv { delimiter, null, quote, escape }
            }
            "binary"
                if !header
                    && self.delimiter.is_none()
                    && self.null.is_none()
                    && self.quote.is_none()
                    && self.escape.is_none()
                    && self.force_quote.is_none() =>
            {
                CopyFormat::Binary
            }
            _ => return None,
        };
        if let CopyFormat::Text { delimiter, null } = &format
            && null.bytes().any(|b| b == *delimiter)
        {
            return None;
        }
        Some(CopyOptions { format, header, encoding: self.encoding })
    }
}

/// As the server reads a yes-or-no; `match` is for COPY FROM.
fn flag(option: &DefElem) -> Option<bool> {
    if matches!(option.arg(), Node::None) {
        return Some(true);
    }
    if let Node::Boolean(written) = option.arg() {
        return Some(written.boolval);
    }
    match constant(option.arg())?.to_ascii_lowercase().as_str() {
        "true" | "on" | "1" => Some(true),
        "false" | "off" | "0" => Some(false),
        _ => None,
    }
}

/// ASCII, and nothing that ends a row.
fn one_byte(text: &str) -> Option<u8> {
    match text.as_bytes() {
        [byte] if byte.is_ascii() && !b"\r\n\0".contains(byte) => Some(*byte),
        _ => None,
    }
}

/// What stands for NULL: the same bytes in every encoding.
fn null(written: Option<String>, usual: &str) -> Option<String> {
    let null = written.unwrap_or_else(|| usual.into());
    (null.is_ascii() && !null.bytes().any(|b| b"\r\n\0".contains(&b))).then_some(null)
}

/// The server refuses them in text format: they would read like the end of an escape.
const NO_TEXT_DELIMITER: &[u8] = b"\\.abcdefghijklmnopqrstuvwxyz0123456789";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::sql::{PostgresDialect, SqlDialect};

    fn of(text: &str) -> Option<CopyOptions> {
        let mut script = PostgresDialect::default().script(text);
        assert_eq!(script.statements.len(), 1, "{text}");
        script.statements.pop()?.copy.map(|options| *options)
    }

    fn text(delimiter: u8, null: &str) -> CopyFormat {
        CopyFormat::Text { delimiter, null: null.into() }
    }

    fn csv(delimiter: u8, null: &str, quote: u8, escape: u8) -> CopyFormat {
        CopyFormat::Csv { delimiter, null: null.into(), quote, escape }
    }

    #[test]
    fn both_spellings_mean_the_same() {
        for (written, format, header) in [
            ("COPY t TO STDOUT", text(b'\t', "\\N"), false),
            ("COPY t (a, b) TO STDOUT WITH DELIMITER '|' NULL 'none'", text(b'|', "none"), false),
            ("COPY t TO STDOUT (DELIMITER '|', NULL 'none', HEADER)", text(b'|', "none"), true),
            ("COPY t TO STDOUT CSV HEADER", csv(b',', "", b'"', b'"'), true),
            ("COPY t TO STDOUT (FORMAT csv, HEADER false)", csv(b',', "", b'"', b'"'), false),
            ("COPY (SELECT 1) TO STDOUT (FORMAT CSV, QUOTE '''')", csv(b',', "", b'\'', b'\''), false),
            ("COPY t TO STDOUT CSV QUOTE '\"' ESCAPE '\\' FORCE QUOTE *", csv(b',', "", b'"', b'\\'), false),
            ("COPY t TO STDOUT (FORMAT csv, FORCE_QUOTE (a), HEADER 1)", csv(b',', "", b'"', b'"'), true),
            ("COPY t TO STDOUT BINARY", CopyFormat::Binary, false),
            ("COPY BINARY t TO STDOUT", CopyFormat::Binary, false),
            ("COPY t TO STDOUT (FORMAT binary)", CopyFormat::Binary, false),
        ] {
            assert_eq!(of(written), Some(CopyOptions { format, header, encoding: None }), "{written}");
        }
        let encoding = of("COPY t TO STDOUT (ENCODING 'LATIN1')").unwrap().encoding;
        assert_eq!(encoding.as_deref(), Some("LATIN1"));
    }

    #[test]
    fn what_is_not_understood_is_said_to_be() {
        for written in [
            "COPY t FROM STDIN",
            "COPY t TO '/tmp/x'",
            "COPY t TO PROGRAM 'cat'",
            "SELECT 1",
            "COPY t TO STDOUT (FORMAT json)",
            "COPY t TO STDOUT (FORMAT csv, FORMAT binary)",
            "COPY t TO STDOUT (DELIMITER '||')",
            "COPY t TO STDOUT (DELIMITER 'ü')",
            "COPY t TO STDOUT (DELIMITER 'x')",
            "COPY t TO STDOUT (DELIMITER E'\\n', FORMAT csv)",
            "COPY t TO STDOUT (NULL E'a\\nb')",
            "COPY t TO STDOUT (NULL 'a|b', DELIMITER '|')",
            "COPY t TO STDOUT (QUOTE '\"')",
            "COPY t TO STDOUT (FORMAT csv, QUOTE ',')",
            "COPY t TO STDOUT (FORMAT csv, NULL '\"')",
            "COPY t TO STDOUT (FORMAT binary, HEADER)",
            "COPY t TO STDOUT (FORMAT csv, HEADER match)",
            "COPY t TO STDOUT (FREEZE)",
            "COPY t TO STDOUT (SOMETHING 'new')",
        ] {
            assert_eq!(of(written), None, "{written}");
        }
    }
}
