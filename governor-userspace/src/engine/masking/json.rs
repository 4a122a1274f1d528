//! Masks inside JSON and keeps it valid.
//!
//! One pass over the tokens. A string or number is hidden where a detector knows it, or where its key
//! (or the key of an object or array around it) names something sensitive; keys are searched too.
//! Strings with escapes are decoded before they are searched, so `\u0040` hides no address; what is
//! found in them hides the whole string. Everything between values is copied byte for byte.
//!
//! An operator may name places beside: what is below one of them is hidden in the place's style, yes and no too.
//!
//! Invariant: on `Ok`, valid JSON in gives valid JSON out. Memory: some hundred bytes for each of at most [`DEPTH_MAX`]
//! levels; deeper is not understood.

mod keys;
mod path;
mod place;

pub use path::JsonPath;
pub use place::JsonPlace;

use super::detector::ColumnContext;
use super::masker::Masker;
use super::transform::JSON_MARKER;
use crate::engine::model::{Category, MaskStyle};
use path::NOT_MET;
use std::borrow::Cow;
use std::ops::Range;

/// Levels of nesting; text that only looks like a document may have millions.
const DEPTH_MAX: usize = 1024;

/// Why the masked document ends where it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum JsonStop {
    /// The text ended inside a token; everything before it is masked and written.
    Truncated,
    /// This is not JSON.
    Malformed,
    /// The operator's detectors came to the bound of their work; what came before is masked and written.
    Unfinished,
}

/// Appends `text` with its sensitive values hidden; returns how many there were.
pub(super) fn mask_json(masker: &Masker, text: &[u8], out: &mut Vec<u8>) -> Result<u32, JsonStop> {
    mask_json_at(masker, &[], text, out)
}

/// The same; what stands at one of `places` is masked as it says.
pub(super) fn mask_json_at(
    masker: &Masker,
    places: &[JsonPlace],
    text: &[u8],
    out: &mut Vec<u8>,
) -> Result<u32, JsonStop> {
    let mut levels = Vec::with_capacity(LEVELS_USUAL);
    levels.push(Level { met: vec![0; places.len()], ..Level::default() });
    let mut walker = Walker { masker, places, text, at: 0, written: 0, masked: 0, levels, found: Vec::new() };
    let walked = walker.walk(out);
    walker.write_to(walker.at, out);
    walked.map(|()| walker.masked)
}

/// What is known about the object or array that the walker is in.
#[derive(Clone, Default)]
struct Level {
    is_object: bool,
    /// In an object: the next string is a value, not a key.
    after_colon: bool,
    /// Some key on the way here is sensitive: hide every value.
    sensitive: bool,
    /// The latest key is sensitive.
    key_sensitive: bool,
    /// What the latest key hints at.
    context: ColumnContext,
    /// Where the latest key stands in the text, quotes excluded: it stands for a relation's name.
    key: Range<usize>,
    /// How many keys of each place are met on the way here, and behind the latest key.
    met: Vec<u8>,
    met_by_key: Vec<u8>,
    /// The place that the way here led to; of several the one that tells least.
    named: Option<usize>,
}

struct Walker<'a> {
    masker: &'a Masker,
    places: &'a [JsonPlace],
    text: &'a [u8],
    at: usize,
    /// So much of the text is written, masked where it has to be. What needs no mask is written in one piece.
    written: usize,
    masked: u32,
    levels: Vec<Level>,
    /// Findings in one string; kept for its room.
    found: Vec<(Range<usize>, Category)>,
}

impl<'a> Walker<'a> {
    fn walk(&mut self, out: &mut Vec<u8>) -> Result<(), JsonStop> {
        while let Some(&byte) = self.text.get(self.at) {
            match byte {
                b'"' => self.string(out)?,
                b'-' | b'0'..=b'9' => self.number(out)?,
                b'{' | b'[' if self.levels.len() > DEPTH_MAX => return Err(JsonStop::Malformed),
                b'{' | b'[' => {
                    let above = self.levels.last().ok_or(JsonStop::Malformed)?;
                    let sensitive = above.sensitive || above.key_sensitive;
                    // An array's elements belong to the key that the array belongs to.
                    let (key, context) = match byte {
                        b'[' => (above.key.clone(), above.context),
                        _ => (0..0, ColumnContext::UNKNOWN),
                    };
                    let met = if above.is_object { &above.met_by_key } else { &above.met }.clone();
                    let named = self.named();
                    let is_object = byte == b'{';
                    let level = Level { is_object, sensitive, key, context, met, named, ..Level::default() };
                    self.levels.push(level);
                    self.at += 1;
                }
                b'}' | b']' => {
                    let closes = self.levels.len() > 1
                        && self.levels.pop().is_some_and(|level| level.is_object == (byte == b'}'));
                    if !closes {
                        return Err(JsonStop::Malformed);
                    }
                    self.end_value();
                    self.at += 1;
                }
                b':' => {
                    let level = self.levels.last_mut().ok_or(JsonStop::Malformed)?;
                    if !level.is_object || level.after_colon {
                        return Err(JsonStop::Malformed);
                    }
                    level.after_colon = true;
                    self.at += 1;
                }
                b',' => {
                    if self.levels.len() < 2 {
                        return Err(JsonStop::Malformed);
                    }
                    self.end_value();
                    self.at += 1;
                }
                b' ' | b'\t' | b'\n' | b'\r' => self.at += 1,
                b't' | b'n' => self.word(4, out)?,
                b'f' => self.word(5, out)?,
                _ => return Err(JsonStop::Malformed),
            }
        }
        if self.levels.len() == 1 { Ok(()) } else { Err(JsonStop::Truncated) }
    }

    fn string(&mut self, out: &mut Vec<u8>) -> Result<(), JsonStop> {
        let start = self.at + 1;
        let rest = self.text.get(start..).unwrap_or(&[]);
        let mut has_escape = false;
        let mut length = rest.iter().position(|&b| b == b'"' || b == b'\\');
        if let Some(first) = length.filter(|&at| rest.get(at) == Some(&b'\\')) {
            has_escape = true;
            let mut escaped = false;
            let behind = rest.get(first..).unwrap_or(&[]).iter().position(|&b| {
                let ends = b == b'"' && !escaped;
                escaped = b == b'\\' && !escaped;
                ends
            });
            length = behind.map(|more| first + more);
        }
        let content = start..start + length.ok_or(JsonStop::Truncated)?;
        let is_key = self.levels.last().is_some_and(|level| level.is_object && !level.after_colon);
        let place = if is_key { None } else { self.place() };
        let sensitive = !is_key && self.is_sensitive();
        if is_key {
            self.enter_key(content.clone());
        }
        self.at = content.end + 1;
        let raw = self.text.get(content.clone()).unwrap_or(&[]);
        if let Some(place) = place {
            self.write_to(start - 1, out);
            place.string(self.masker, self.text.get(start - 1..self.at).unwrap_or(&[]), out);
            self.replaced(self.at);
        } else if sensitive {
            self.hide(start - 1..self.at, JSON_MARKER, out);
        } else if has_escape {
            if self.is_found(&decode(raw))? {
                self.hide(start - 1..self.at, JSON_MARKER, out);
            }
        } else {
            let context = if is_key { ColumnContext::UNKNOWN } else { self.context() };
            let mut found = std::mem::take(&mut self.found);
            if let Some(finding) = self.masker.detectors.search(context, raw, &mut found) {
                self.hide(content, super::transform::MARKER, out);
                if finding.is_unfinished() {
                    return Err(JsonStop::Unfinished);
                }
            }
            for (range, _) in found.drain(..) {
                self.hide(start + range.start..start + range.end, RANGE_MARKER, out);
            }
            self.found = found;
        }
        Ok(())
    }

    /// Writes `mark` instead of this part of the text, and what comes before it.
    fn hide(&mut self, part: Range<usize>, mark: &[u8], out: &mut Vec<u8>) {
        self.write_to(part.start, out);
        out.extend_from_slice(mark);
        self.replaced(part.end);
    }

    /// What stands for the text up to `end` is written.
    fn replaced(&mut self, end: usize) {
        self.written = end;
        self.masked += 1;
    }

    fn write_to(&mut self, end: usize, out: &mut Vec<u8>) {
        out.extend_from_slice(self.text.get(self.written..end).unwrap_or(&[]));
        self.written = end;
    }

    /// A number is hidden as 0, since a marker would not be JSON.
    fn number(&mut self, out: &mut Vec<u8>) -> Result<(), JsonStop> {
        let rest = self.text.get(self.at..).unwrap_or(&[]);
        let length = rest.iter().take_while(|b| b.is_ascii_digit() || b"+-.eE".contains(b)).count().max(1);
        let number = rest.get(..length).unwrap_or(&[]);
        let end = self.at + length;
        if let Some(place) = self.place() {
            self.write_to(self.at, out);
            place.number(self.masker, number, out);
            self.replaced(end);
        } else if self.is_sensitive() || self.is_found(number)? {
            self.hide(self.at..end, b"0", out);
        }
        self.at = end;
        Ok(())
    }

    fn enter_key(&mut self, key: Range<usize>) {
        let parent = self.levels.len().checked_sub(2).and_then(|above| self.levels.get(above));
        let parent = parent.and_then(|level| self.text.get(level.key.clone())).unwrap_or(&[]);
        let raw = self.text.get(key.clone()).unwrap_or(&[]);
        let decoded = if raw.contains(&b'\\') { decode(raw).into() } else { Cow::Borrowed(raw) };
        let meaning = keys::meaning(parent, &decoded);
        let places = self.places;
        if let Some(level) = self.levels.last_mut() {
            level.key = key;
            level.context = meaning.context;
            level.key_sensitive = meaning.is_sensitive;
            let met = places.iter().zip(&level.met).map(|(place, met)| place.path.follow(*met, &decoded));
            level.met_by_key = met.collect();
        }
    }

    /// The place that an operator named and where the value that comes stands, or below which.
    fn named(&self) -> Option<usize> {
        let level = self.levels.last()?;
        let met = if level.is_object { &level.met_by_key } else { &level.met };
        let is_here = |(place, met): (&JsonPlace, &u8)| *met != NOT_MET && place.path.is_met(*met);
        let here = self.places.iter().zip(met).enumerate().filter(|(_, pair)| is_here(*pair));
        let style = |at: usize| self.places.get(at).map_or(MaskStyle::Redact, |place| place.style);
        let all = level.named.into_iter().chain(here.map(|(at, _)| at));
        all.reduce(|one, other| if style(one).stricter(style(other)) == style(one) { one } else { other })
    }

    fn place(&self) -> Option<&'a JsonPlace> {
        if self.places.is_empty() { None } else { self.places.get(self.named()?) }
    }

    fn is_sensitive(&self) -> bool {
        self.levels.last().is_some_and(|level| level.sensitive || level.key_sensitive)
    }

    fn is_found(&mut self, value: &[u8]) -> Result<bool, JsonStop> {
        let whole = self.masker.detectors.search(self.context(), value, &mut self.found);
        let is_found = whole.is_some() || !self.found.is_empty();
        self.found.clear();
        match whole {
            Some(finding) if finding.is_unfinished() => Err(JsonStop::Unfinished),
            _ => Ok(is_found),
        }
    }

    fn context(&self) -> ColumnContext {
        self.levels.last().map_or(ColumnContext::UNKNOWN, |level| level.context)
    }

    fn end_value(&mut self) {
        if let Some(level) = self.levels.last_mut() {
            level.after_colon = false;
            level.key_sensitive = level.key_sensitive && !level.is_object;
        }
    }

    fn word(&mut self, length: usize, out: &mut Vec<u8>) -> Result<(), JsonStop> {
        match self.text.get(self.at..self.at + length) {
            Some(word @ (b"true" | b"null" | b"false")) => {
                if word != b"null" && self.place().is_some() {
                    self.hide(self.at..self.at + length, b"null", out);
                }
                self.at += length;
                Ok(())
            }
            Some(_) => Err(JsonStop::Malformed),
            None => Err(JsonStop::Truncated),
        }
    }
}

/// Appends `text` with what is found in it hidden: all of it where the whole is known, ranges
/// otherwise. Returns how many were hidden; `None` where the operator's detectors came to the bound of their work, so that
/// all of it is. Valid inside a JSON string that has no escapes.
pub(super) fn mask_ranges(masker: &Masker, text: &[u8], out: &mut Vec<u8>) -> Option<u32> {
    let mut found = Vec::new();
    if let Some(finding) = masker.detectors.search(ColumnContext::UNKNOWN, text, &mut found) {
        out.extend_from_slice(super::transform::MARKER);
        return (!finding.is_unfinished()).then_some(1);
    }
    hide(text, &found, out);
    Some(u32::try_from(found.len()).unwrap_or(u32::MAX))
}

/// Appends `text` without what was found in it.
pub(super) fn hide(text: &[u8], found: &[(Range<usize>, Category)], out: &mut Vec<u8>) {
    let mut from = 0;
    for (range, _) in found {
        out.extend_from_slice(text.get(from..range.start).unwrap_or(&[]));
        out.extend_from_slice(RANGE_MARKER);
        from = range.end;
    }
    out.extend_from_slice(text.get(from..).unwrap_or(&[]));
}

/// Resolves the escapes of a JSON string, for searching only: what it cannot read it keeps.
fn decode(raw: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(raw.len());
    let mut rest = raw;
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        if byte != b'\\' {
            decoded.push(byte);
            continue;
        }
        let Some((&escape, tail)) = rest.split_first() else { break };
        rest = tail;
        match escape {
            b'n' | b'r' | b't' | b'b' | b'f' => decoded.push(b' '),
            b'u' => {
                let mut code = code_unit(rest);
                rest = rest.get(4..).unwrap_or(&[]);
                // Beyond the first 65,536 a character is written in two halves.
                let low = rest.strip_prefix(b"\\u").and_then(code_unit).filter(|low| *low & !0x3FF == 0xDC00);
                if let (Some(high), Some(low)) = (code.filter(|high| *high & !0x3FF == 0xD800), low) {
                    code = Some(0x1_0000 + ((high & 0x3FF) << 10) + (low & 0x3FF));
                    rest = rest.get(6..).unwrap_or(&[]);
                }
                let character = code.and_then(char::from_u32).unwrap_or(char::REPLACEMENT_CHARACTER);
                decoded.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
            }
            other => decoded.push(other),
        }
    }
    decoded
}

/// Four hexadecimal digits that begin `text`.
fn code_unit(text: &[u8]) -> Option<u32> {
    u32::from_str_radix(std::str::from_utf8(text.get(..4)?).ok()?, 16).ok()
}

/// Deeper documents need more room.
const LEVELS_USUAL: usize = 4;
/// What stands in place of something found inside longer text.
pub(super) const RANGE_MARKER: &[u8] = b"***";

#[cfg(test)]
mod tests;
