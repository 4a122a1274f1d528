//! COPY's binary format: a header, rows that read like DataRow's content, and an end.

use super::CopyError;
use crate::engine::masking::masker::Masker;
use crate::engine::masking::row::{MaskCounts, RowPlan, mask_row};

/// How far the data are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Progress {
    #[default]
    Header,
    Rows,
    Over,
}

impl Progress {
    pub fn is_over(self) -> bool {
        self == Self::Over
    }

    /// Where the header, the row or the end at the front of `data` ends; `None` where that has not come.
    pub fn unit_end(self, data: &[u8], columns: usize) -> Result<Option<usize>, CopyError> {
        match self {
            Self::Header => header_end(data),
            Self::Rows => row_end(data, columns),
            Self::Over => Err(CopyError::Malformed),
        }
    }

    pub fn unit(
        &mut self,
        plan: &RowPlan,
        masker: &Masker,
        unit: &[u8],
        out: &mut Vec<u8>,
        counts: &mut MaskCounts,
    ) -> Result<bool, CopyError> {
        match *self {
            Self::Header => {
                *self = Self::Rows;
                out.extend_from_slice(unit);
            }
            Self::Rows if unit == END => {
                *self = Self::Over;
                out.extend_from_slice(unit);
            }
            Self::Rows => {
                let from = out.len();
                let changed = mask_row(plan, masker, unit, out, counts).map_err(|_| CopyError::Malformed)?;
                if changed {
                    // Without the type and the length that a message has.
                    out.drain(from..from + MESSAGE_HEAD_BYTES);
                } else {
                    out.extend_from_slice(unit);
                }
                return Ok(changed);
            }
            Self::Over => return Err(CopyError::Malformed),
        }
        Ok(false)
    }
}

fn header_end(data: &[u8]) -> Result<Option<usize>, CopyError> {
    let known = data.len().min(SIGNATURE.len());
    if data.get(..known) != SIGNATURE.get(..known) {
        return Err(CopyError::Malformed);
    }
    let Some(numbers) = data.get(SIGNATURE.len()..SIGNATURE.len() + 8) else { return Ok(None) };
    // Flags are for things that change what rows look like; an extension has been in no version.
    if numbers != [0; 8] {
        return Err(CopyError::Malformed);
    }
    Ok(Some(SIGNATURE.len() + 8))
}

fn row_end(data: &[u8], columns: usize) -> Result<Option<usize>, CopyError> {
    let Some((count, mut rest)) = data.split_first_chunk::<2>() else { return Ok(None) };
    let count = i16::from_be_bytes(*count);
    if count == -1 {
        return Ok(Some(END.len()));
    }
    if usize::try_from(count) != Ok(columns) {
        return Err(CopyError::ColumnCount {
            found: usize::try_from(count).unwrap_or_default(),
            expected: columns,
        });
    }
    for _ in 0..columns {
        let Some((length, values)) = rest.split_first_chunk::<4>() else { return Ok(None) };
        let bytes = match i32::from_be_bytes(*length) {
            -1 => 0,
            length => usize::try_from(length).map_err(|_| CopyError::Malformed)?,
        };
        let Some(behind) = values.get(bytes..) else { return Ok(None) };
        rest = behind;
    }
    Ok(Some(data.len() - rest.len()))
}

const SIGNATURE: &[u8] = b"PGCOPY\n\xff\r\n\0";
const END: &[u8] = &[0xff, 0xff];
const MESSAGE_HEAD_BYTES: usize = 5;
