//! COPY TO STDOUT of sessions that may be masked: allowed where its rows can be read, and masked on the way.
//!
//! A COPY has no RowDescription. Which columns it has, and what flows into each, only lineage says; how its rows are
//! written, only its own options. Where either is not known, it is refused before it runs.
//!
//! Invariant: data of a COPY pass unread only where no value in them can change.

use super::governance::Governance;
use super::meaning::{Basis, Meaning, touches_temporary};
use super::server::Step;
use super::{Rows, Session, fault, visibility};
use crate::engine::masking::{CopyError, CopyMask, Format, MaskCounts, RowPlan};
use crate::engine::model::{
    CopyFormat, CopyOptions, Decision, Lineage, SessionState, Statement, StatementKind,
};
use crate::engine::wire::postgres::backend::{self, kind};
use crate::engine::wire::postgres::{ProtocolViolation, encode};
use std::sync::Arc;

impl Session {
    /// Why a COPY TO cannot run: its rows could not be masked. `reads_sensitive`: some of them may have to be.
    pub(super) fn copy_out_denial(
        &self,
        statement: &Statement,
        state: &SessionState,
        reads_sensitive: bool,
        governance: &mut Governance,
    ) -> Option<Decision> {
        if !copies_out(statement) || !self.may_be_masked {
            return None;
        }
        if reads_sensitive || governance.limits.detect_values {
            let readable = statement.copy.as_ref().is_some_and(|copy| self.can_read(copy));
            if !readable {
                return Some(not_read());
            }
        }
        if !reads_sensitive {
            return None;
        }
        let known = self.trusted_catalogue(governance).cloned().is_some_and(|catalogue| {
            let lineage = governance.flows.of(&statement.text, &catalogue, state).lineage;
            matches!(&*lineage, Lineage::Columns(_))
        });
        (!known).then(not_known)
    }

    /// Whether the bytes of the text can be told apart in the encoding that it comes in.
    fn can_read(&self, copy: &CopyOptions) -> bool {
        match (&copy.format, &copy.encoding) {
            (CopyFormat::Binary, _) => true,
            (_, Some(encoding)) => is_ascii_safe(encoding),
            (_, None) => self.settings.ascii_is_safe,
        }
    }

    /// The rows of a COPY TO come next.
    pub(super) fn copy_out_began(
        &mut self,
        body: &[u8],
        governance: &mut Governance,
    ) -> Result<Step, ProtocolViolation> {
        if !self.may_be_masked {
            self.rows = Rows::Pass;
            return Ok(Step::Pass);
        }
        let source = self.pipeline.front().and_then(|owed| owed.run.as_ref()).map(|run| run.source.clone());
        let source = source.ok_or(ProtocolViolation::Other("a COPY begins that nobody asked for"))?;
        let (binary, count) = backend::copy_response(body)?;
        let options = match source.statement.copy.as_deref() {
            Some(options) if self.can_read(options) => options.clone(),
            // Allowed since nothing in it is looked for.
            _ if !governance.limits.detect_values && !self.may_be_sensitive(&source, governance) => {
                self.rows = Rows::Pass;
                return Ok(Step::Pass);
            }
            _ => return Err(ProtocolViolation::Other("a COPY begins whose rows cannot be read")),
        };
        if binary != (options.format == CopyFormat::Binary) {
            return Err(ProtocolViolation::Other("a COPY has another format than it was asked for"));
        }
        let format = if binary { Format::Binary } else { Format::Text };
        let plan = fault::guarded("rows", || self.plan_copy(&source, format, count, governance))
            .unwrap_or_else(|| visibility::hide_copy(count, format));
        self.rows = if plan.is_passive() {
            Rows::Pass
        } else {
            let row_bytes_max = governance.limits.row_bytes_max;
            Rows::Copy(Box::new(CopyMask::new(&options, Arc::new(plan), row_bytes_max)))
        };
        Ok(Step::Pass)
    }

    fn plan_copy(
        &self,
        source: &Meaning,
        format: Format,
        count: usize,
        governance: &mut Governance,
    ) -> RowPlan {
        let catalogue = match &source.basis {
            Basis::Doubt => None,
            Basis::Checked(catalogue) => Some(self.ruled_now(catalogue, governance)),
            Basis::Newest => self.trusted_catalogue(governance).cloned(),
        };
        let Some(catalogue) = catalogue else {
            return visibility::hide_copy(count, format);
        };
        let in_doubt = self.may_be_sensitive(source, governance);
        let lineage = governance.flows.of(&source.statement.text, &catalogue, &source.state).lineage;
        let flows = match &*lineage {
            Lineage::Columns(flows) if flows.len() == count => Some(&**flows),
            _ => None,
        };
        let mut asker = self.asker(governance);
        let definitions = catalogue.definitions_in(0, 0, Some(&source.statement));
        visibility::copy_plan(flows, count, format, in_doubt, definitions, &catalogue, &mut asker)
    }

    /// The statement may show sensitive values.
    fn may_be_sensitive(&self, source: &Meaning, governance: &Governance) -> bool {
        self.trusted_catalogue(governance).is_none_or(|catalogue| {
            catalogue.reads_sensitive(&source.statement)
                || (catalogue.any_sensitive()
                    && touches_temporary(&source.statement, &source.state.temporary))
        })
    }

    /// Data of a COPY TO.
    pub(super) fn copied(&mut self, body: &[u8], governance: &Governance) -> Result<Step, ProtocolViolation> {
        let mask = match &mut self.rows {
            Rows::Copy(mask) => mask,
            Rows::Pass => return Ok(Step::Pass),
            _ if !self.may_be_masked => return Ok(Step::Pass),
            Rows::Undecided | Rows::Mask(_) => {
                return Err(ProtocolViolation::Other("CopyData comes outside of a COPY"));
            }
        };
        let mut message = encode::begin(kind::COPY_DATA);
        let head = message.len();
        let mut uncounted = MaskCounts::default();
        let run = self.pipeline.front_mut().and_then(|owed| owed.run.as_mut());
        let counts = run.map_or(&mut uncounted, |run| &mut run.masked);
        let changed =
            mask.push(&governance.masker, body, &mut message, counts).map_err(|error| match error {
                CopyError::RowTooLong { limit } => ProtocolViolation::RowTooLong { limit: limit as u64 },
                _ => ProtocolViolation::Other("the rows of a COPY are not as its options say"),
            })?;
        if !changed {
            return Ok(Step::Pass);
        }
        if message.len() == head {
            return Ok(Step::Drop);
        }
        let message = encode::finish(message)
            .ok_or(ProtocolViolation::Other("the masked rows of a COPY would not fit a message"))?;
        Ok(Step::Replace(message))
    }

    /// All data were sent.
    pub(super) fn copy_out_ended(&mut self) -> Result<Step, ProtocolViolation> {
        if let Rows::Copy(mask) = std::mem::take(&mut self.rows) {
            mask.finish().map_err(|_| ProtocolViolation::Other("a COPY ends inside a row"))?;
        }
        Ok(Step::Pass)
    }
}

fn copies_out(statement: &Statement) -> bool {
    statement.kinds.contains(&StatementKind::CopyOut) || statement.kind == StatementKind::CopyOut
}

/// The same without a session: only the text is known.
pub(super) fn copy_out_denial(statement: &Statement, reads_sensitive: bool) -> Option<Decision> {
    (reads_sensitive && copies_out(statement) && statement.copy.is_none()).then(not_read)
}

fn not_read() -> Decision {
    Decision::deny(
        "governor.copy-out",
        "the rows of this COPY cannot be read, so nothing in them could be masked",
        "Use plain options of COPY and an encoding such as UTF8, or use SELECT.",
    )
}

fn not_known() -> Decision {
    Decision::deny(
        "governor.copy-out",
        "COPY TO of data whose origin is not known cannot be masked",
        "Name tables and columns in the query of the COPY, or use SELECT.",
    )
}

/// Whether every byte below 128 is an ASCII character of its own in the encoding of this name. In some encodings of
/// clients it may be the second half of another: a backslash that is none.
pub(super) fn is_ascii_safe(encoding: &str) -> bool {
    let plain: String =
        encoding.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect();
    let any = |names: &[&str]| names.contains(&plain.as_str());
    let numbered = |prefix: &str| {
        plain.strip_prefix(prefix).is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
    };
    any(&[
        "utf8",
        "unicode",
        "sqlascii",
        "euccn",
        "eucjp",
        "euckr",
        "euctw",
        "eucjis2004",
        "koi8",
        "koi8r",
        "koi8u",
    ]) || numbered("latin")
        || numbered("iso8859")
        || numbered("win125")
        || any(&[
            "win866",
            "win874",
            "abc",
            "alt",
            "win",
            "tcvn",
            "tcvn5712",
            "vscii",
            "mulein",
            "muleinternal",
        ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encodings_in_which_a_backslash_may_be_half_a_character_are_told_apart() {
        for safe in ["UTF8", "utf-8", "LATIN1", "SQL_ASCII", "WIN1252", "EUC_JP", "ISO_8859_5", "KOI8R"] {
            assert!(is_ascii_safe(safe), "{safe}");
        }
        for unsafe_ in ["SJIS", "BIG5", "GBK", "UHC", "GB18030", "JOHAB", "SHIFT_JIS_2004", "", "latin"] {
            assert!(!is_ascii_safe(unsafe_), "{unsafe_}");
        }
    }
}
