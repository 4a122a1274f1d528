//! Masks inside XML and keeps it well-formed: text, attributes, comments, CDATA and instructions.
//!
//! A text or an attribute is hidden where a detector knows it, or where its element's or its own name says something
//! sensitive. What is written with entities is resolved before it is searched, so `&#64;` hides no address; what is found in it
//! hides the whole text.
//!
//! Invariant: well-formed in gives well-formed out. A declaration of a document type may define anything: such a value is
//! hidden as a whole, like every one that is not understood.

use crate::engine::masking::classify::{classify_column, name_of};
use crate::engine::masking::detector::ColumnContext;
use crate::engine::masking::json::mask_ranges;
use crate::engine::masking::masker::Masker;
use crate::engine::masking::pg_type::TEXT;
use crate::engine::masking::row::Replaced;
use crate::engine::masking::style;
use crate::engine::masking::transform::{Format, MARKER, Masked, ValueMask};
use crate::engine::model::{Category, MaskDoubt, MaskStyle};

use super::constant::XML_MARKER;

/// Masks an XML value.
pub(in crate::engine::masking) fn mask_xml(masker: &Masker, value: &[u8], out: &mut Vec<u8>) -> Replaced {
    let from = out.len();
    let mut walker = Walker { masker, masked: 0, unfinished: false, open: Vec::new() };
    let is_understood = walker.walk(value, out).is_some();
    if walker.unfinished || !is_understood {
        out.truncate(from);
        out.extend_from_slice(XML_MARKER);
        let why = if walker.unfinished { MaskDoubt::SearchBound } else { MaskDoubt::NotUnderstood };
        return Replaced::InDoubt(Masked::Value, why);
    }
    match walker.masked {
        0 => Replaced::No,
        _ => Replaced::Yes(Masked::Value, Category::Other),
    }
}

/// A hash or a token of the document as an element's text; `false`, with nothing written, where there is none.
pub(in crate::engine::masking) fn stands_for(
    masker: &Masker,
    style: MaskStyle,
    category: Option<Category>,
    tweak: u64,
    value: &[u8],
    out: &mut Vec<u8>,
) -> bool {
    if !matches!(style, MaskStyle::Hash | MaskStyle::Token) {
        return false;
    }
    let from = out.len();
    out.extend_from_slice(b"<masked>");
    let mask = ValueMask { style, category, tweak, type_oid: TEXT, type_modifier: -1, format: Format::Text };
    // Letters, digits, hyphens and underscores: nothing that means anything in XML.
    let is_made = style::apply(masker, &mask, value, out);
    if is_made {
        out.extend_from_slice(b"</masked>");
    } else {
        out.truncate(from);
    }
    is_made
}

struct Walker<'a> {
    masker: &'a Masker,
    masked: u32,
    /// The operator's detectors came to the bound of their work.
    unfinished: bool,
    /// Elements around: whether everything in each is hidden, and where their names say so.
    open: Vec<bool>,
}

impl Walker<'_> {
    /// `None`: something that is not understood.
    fn walk(&mut self, value: &[u8], out: &mut Vec<u8>) -> Option<()> {
        let mut rest = value;
        while !rest.is_empty() {
            let text_bytes = memchr::memchr(b'<', rest).unwrap_or(rest.len());
            let (text, behind) = rest.split_at_checked(text_bytes)?;
            self.text(text, out)?;
            rest = if behind.is_empty() {
                behind
            } else if behind.starts_with(b"<!--") {
                self.verbatim(behind, 4, b"-->", out)?
            } else if behind.starts_with(b"<![CDATA[") {
                self.verbatim(behind, 9, b"]]>", out)?
            } else if behind.starts_with(b"<?") {
                self.verbatim(behind, 2, b"?>", out)?
            } else if behind.starts_with(b"</") {
                let end = memchr::memchr(b'>', behind)?;
                self.open.pop()?;
                out.extend_from_slice(behind.get(..=end)?);
                behind.get(end + 1..)?
            } else if behind.starts_with(b"<!") {
                return None;
            } else {
                self.element(behind, out)?
            };
        }
        self.open.is_empty().then_some(())
    }

    fn is_hidden(&self) -> bool {
        self.open.last().copied().unwrap_or(false)
    }

    fn text(&mut self, text: &[u8], out: &mut Vec<u8>) -> Option<()> {
        if text.trim_ascii().is_empty() {
            out.extend_from_slice(text);
        } else if self.is_hidden() || (text.contains(&b'&') && self.is_found(&resolved(text))?) {
            self.masked += 1;
            out.extend_from_slice(MARKER);
        } else if text.contains(&b'&') {
            out.extend_from_slice(text);
        } else {
            self.ranges(text, out)?;
        }
        Some(())
    }

    /// Hides what is found in a part of the document.
    fn ranges(&mut self, text: &[u8], out: &mut Vec<u8>) -> Option<()> {
        let masked = mask_ranges(self.masker, text, out);
        self.unfinished |= masked.is_none();
        self.masked = self.masked.saturating_add(masked?);
        Some(())
    }

    fn is_found(&mut self, value: &[u8]) -> Option<bool> {
        let mut found = Vec::new();
        let whole = self.masker.detectors.search(ColumnContext::UNKNOWN, value, &mut found);
        self.unfinished |= whole.is_some_and(|finding| finding.is_unfinished());
        (!self.unfinished).then_some(whole.is_some() || !found.is_empty())
    }

    /// What stands between two marks as it is.
    fn verbatim<'v>(
        &mut self,
        rest: &'v [u8],
        open: usize,
        close: &[u8],
        out: &mut Vec<u8>,
    ) -> Option<&'v [u8]> {
        let inside = rest.get(open..)?;
        let length = memchr::memmem::find(inside, close)?;
        let (inside, behind) = inside.split_at_checked(length)?;
        out.extend_from_slice(rest.get(..open)?);
        // An instruction's first word says whom it is for.
        let word = if open == 2 { inside.iter().position(u8::is_ascii_whitespace) } else { Some(0) };
        let (target, data) = inside.split_at_checked(word.unwrap_or(inside.len()))?;
        if self.is_hidden() && !data.trim_ascii().is_empty() {
            self.masked += 1;
            out.extend_from_slice(target);
            out.extend_from_slice(if target.is_empty() { b"" } else { b" " });
            out.extend_from_slice(MARKER);
        } else {
            self.ranges(inside, out)?;
        }
        out.extend_from_slice(close);
        behind.get(close.len()..)
    }

    /// An element's first tag.
    fn element<'v>(&mut self, rest: &'v [u8], out: &mut Vec<u8>) -> Option<&'v [u8]> {
        let name_end = rest.iter().position(|b| b.is_ascii_whitespace() || b"/>".contains(b))?;
        let name = rest.get(1..name_end)?;
        if name.is_empty() {
            return None;
        }
        out.extend_from_slice(rest.get(..name_end)?);
        let hidden = self.is_hidden() || is_sensitive(name);
        let mut rest = rest.get(name_end..)?;
        loop {
            let blank = rest.iter().position(|b| !b.is_ascii_whitespace())?;
            out.extend_from_slice(rest.get(..blank)?);
            rest = rest.get(blank..)?;
            if let Some(behind) = rest.strip_prefix(b"/>") {
                out.extend_from_slice(b"/>");
                return Some(behind);
            }
            if let Some(behind) = rest.strip_prefix(b">") {
                if self.open.len() >= DEPTH_MAX {
                    return None;
                }
                self.open.push(hidden);
                out.push(b'>');
                return Some(behind);
            }
            rest = self.attribute(rest, hidden, out)?;
        }
    }

    fn attribute<'v>(&mut self, rest: &'v [u8], hidden: bool, out: &mut Vec<u8>) -> Option<&'v [u8]> {
        let equals = memchr::memchr(b'=', rest)?;
        let name = rest.get(..equals)?.trim_ascii();
        let blank = rest.get(equals + 1..)?.iter().position(|b| !b.is_ascii_whitespace())?;
        let at = equals + 1 + blank;
        let quote = *rest.get(at).filter(|b| b"\"'".contains(b))?;
        if name.is_empty() || name.iter().any(|b| b"<>\"'&".contains(b)) {
            return None;
        }
        let inside = rest.get(at + 1..)?;
        let (value, behind) = inside.split_at_checked(memchr::memchr(quote, inside)?)?;
        out.extend_from_slice(rest.get(..=at)?);
        // What a name space is called tells nothing, unless it is a value itself.
        let is_namespace = name == b"xmlns" || name.starts_with(b"xmlns:");
        let is_named = !is_namespace && (hidden || is_sensitive(name));
        if !value.is_empty() && (is_named || self.is_found(&resolved(value))?) {
            self.masked += 1;
            out.extend_from_slice(MARKER);
        } else {
            out.extend_from_slice(value);
        }
        out.push(quote);
        behind.get(1..)
    }
}

/// Names count like column names, prefix of the name space aside.
fn is_sensitive(name: &[u8]) -> bool {
    let local = name.rsplit(|b| *b == b':').next().unwrap_or(name);
    classify_column("", &name_of(local), TEXT).is_some()
}

/// Entities of characters resolved, for searching only: what cannot be read stays.
fn resolved(text: &[u8]) -> Vec<u8> {
    let mut value = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = memchr::memchr(b'&', rest) {
        let (before, entity) = rest.split_at_checked(at).unwrap_or((rest, b""));
        value.extend_from_slice(before);
        let end = entity.iter().take(ENTITY_BYTES_MAX).position(|b| *b == b';');
        let character = end.and_then(|end| character(entity.get(1..end)?));
        match (end, character) {
            (Some(end), Some(character)) => {
                value.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                rest = entity.get(end + 1..).unwrap_or_default();
            }
            _ => {
                value.push(b'&');
                rest = entity.get(1..).unwrap_or_default();
            }
        }
    }
    value.extend_from_slice(rest);
    value
}

fn character(entity: &[u8]) -> Option<char> {
    match std::str::from_utf8(entity).ok()? {
        "lt" => Some('<'),
        "gt" => Some('>'),
        "amp" => Some('&'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        number => {
            let number = number.strip_prefix('#')?;
            let code = match number.strip_prefix('x') {
                Some(hex) => u32::from_str_radix(hex, 16),
                None => number.parse(),
            };
            char::from_u32(code.ok()?)
        }
    }
}

const DEPTH_MAX: usize = 1024;
/// `&#x0010ffff;` and some zeros more.
const ENTITY_BYTES_MAX: usize = 32;
