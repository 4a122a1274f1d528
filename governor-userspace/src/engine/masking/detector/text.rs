//! Finds sensitive values inside longer text.
//!
//! E-mail addresses grow from each `@`; IBANs from each country code, to the length their country
//! prescribes; cards are tried at each length issuers use, since a security code may follow; every
//! other shape is searched by its own pattern once it is known to occur at all: credentials by one set of
//! their patterns, which may begin anywhere, the rest where a word begins (`starts.rs`).
//!
//! Linear: a candidate is bounded in length or can no longer be refused, and the search goes on behind
//! the place where it began.

use super::chunks::{Chunk, Chunks};
use super::first_look::{SecretSigns, TOKEN_BYTES_MIN, may_be_token, names_passport};
use super::fit::each_bit;
use super::makers::Makers;
use super::shapes::{Shape, card, email_fits, iban, iban_length, is_ipv4};
use super::starts::Starts;
use super::{ShapeSet, Signs, set, single};
use crate::engine::model::Category;
use memchr::memchr_iter;
use regex::bytes::{Regex, RegexSet};
use std::ops::Range;

type Found = Vec<(Range<usize>, Category)>;

#[derive(Clone)]
pub(super) struct TextSearch {
    /// Credentials and values behind their keywords.
    pub(super) anywhere: RegexSet,
    /// Those of `anywhere`, in the same order.
    secrets: Vec<Finder>,
    /// How those of `anywhere` begin, but for what `SecretSigns` tells.
    pub(super) makers: Makers,
    /// [`CARD`], [`IBAN`], and the patterns of `alone`.
    starts: Starts,
    /// What counts only where it stands alone, in the order of the bits of `starts` behind the first two.
    alone: Vec<Finder>,
    /// Shapes that are runs of letters and digits.
    runs: ShapeSet,
    card: Regex,
    iban: Regex,
    /// Every pattern in one set, and those of `alone` for every place of a text: what the search was, and is tested against.
    #[cfg(test)]
    pub(super) any: RegexSet,
    #[cfg(test)]
    everywhere: Vec<Finder>,
}

#[derive(Clone)]
struct Finder {
    pattern: Regex,
    category: Category,
    check: fn(&[u8]) -> bool,
    /// A keyword leads to the value, which is group 1 and the end of the match.
    keyword: bool,
}

impl TextSearch {
    pub(super) fn new(shapes: &[Shape]) -> Result<Self, regex::Error> {
        let runs = ShapeSet::new(shapes, |shape| shape.in_text && shape.is_run())?;
        let shapes = shapes
            .iter()
            .filter(|shape| shape.in_text && !shape.is_run())
            .map(|shape| (shape.pattern, shape.kind.category(), shape.check, false));
        let keywords = KEYWORDS.iter().map(|(category, pattern)| {
            let check = if *category == Category::IpAddress { is_ipv4 } else { |_: &[u8]| true };
            (*pattern, *category, check, true)
        });
        let (mut secrets, mut alone, mut makers) = (Vec::new(), Vec::new(), Vec::new());
        #[cfg(test)]
        let mut everywhere = Vec::new();
        let (mut anywhere, mut starts) = (Vec::new(), vec![CARD, IBAN]);
        for (pattern, category, check, keyword) in shapes.chain(keywords) {
            if category == Category::Credential {
                anywhere.push(pattern.to_owned());
                secrets.push(Finder::new(pattern, category, check, keyword)?);
                if !SecretSigns::tell(pattern) {
                    makers.push(pattern);
                }
            } else {
                starts.push(pattern);
                alone.push(Finder::new(&format!("^(?:{pattern})"), category, check, keyword)?);
                #[cfg(test)]
                everywhere.push(Finder::new(pattern, category, check, keyword)?);
            }
        }
        Ok(Self {
            #[cfg(test)]
            everywhere,
            makers: Makers::new(makers.into_iter())?,
            #[cfg(test)]
            any: set(anywhere.iter().cloned().chain(starts.iter().skip(2).map(|p| (*p).to_owned())))?,
            anywhere: set(anywhere.into_iter())?,
            secrets,
            starts: Starts::new(starts.into_iter())?,
            alone,
            runs,
            card: single(CARD)?,
            iban: single(IBAN)?,
        })
    }

    /// Walks once over the text's pieces, and shows each to `other`, too.
    pub(super) fn find(&self, text: &[u8], signs: &Signs, out: &mut Found, mut other: impl FnMut(&Chunk)) {
        if signs.has_at() {
            emails(text, out);
        }
        let mut starts = self.starts.search();
        let mut secrets = SecretSigns::default();
        let mut has_token = false;
        let may_begin = may_begin(text, signs);
        let mut standing = Standing { finders: &self.alone, from: Vec::new(), found: Vec::new() };
        let mut begins = |place: usize, patterns: u128| standing.look(text, place, patterns >> 2);
        for chunk in Chunks::of(text) {
            other(&chunk);
            // Too short for a token, and without marks and digits.
            if chunk.is_small_word() && chunk.len() < TOKEN_BYTES_MIN {
                if may_begin {
                    starts.ask(text, chunk.range, true, &mut begins);
                }
                continue;
            }
            secrets.note(&chunk);
            // A token has no blanks, so its piece is all that has to be asked about.
            has_token |= !has_token
                && may_be_token(text, &chunk)
                && self.makers.may_begin(text.get(chunk.range.clone()).unwrap_or_default())
                && self.anywhere.is_match(text.get(chunk.range.clone()).unwrap_or_default());
            if may_begin {
                starts.ask(text, chunk.range.clone(), chunk.is_word(), &mut begins);
            }
            if chunk.digits > 0 && chunk.len() >= *RUN_BYTES.start() && signs.digits >= 2 {
                self.runs(text, chunk.range, out);
            }
        }
        let found = starts.found;
        if found & 1 != 0 && signs.digits >= CARD_DIGITS_MIN {
            self.cards(text, out);
        }
        if found & 2 != 0 && signs.digits >= IBAN_DIGITS_MIN {
            self.ibans(text, out);
        }
        // Asking whether any matches is several times cheaper than asking which.
        if has_token || secrets.may_hold(text) && self.anywhere.is_match(text) {
            for at in &self.anywhere.matches(text) {
                if let Some(finder) = self.secrets.get(at) {
                    finder.find(text, out);
                }
            }
        }
        standing.finish(out);
    }

    /// Which patterns have to search a text: one bit for each of [`CARD`], [`IBAN`] and those of `alone`.
    #[cfg(test)]
    pub(super) fn patterns_that_begin(&self, text: &[u8]) -> u128 {
        let mut starts = self.starts.search();
        Chunks::of(text)
            .for_each(|chunk| starts.ask(text, chunk.range.clone(), chunk.is_word(), &mut |_, _| {}));
        starts.found
    }

    /// The same by every pattern's own search, without any look before.
    #[cfg(test)]
    pub(super) fn find_plainly(&self, text: &[u8], signs: &Signs, out: &mut Found) {
        emails(text, out);
        self.cards(text, out);
        self.ibans(text, out);
        if signs.digits >= 2 {
            self.runs(text, 0..text.len(), out);
        }
        self.secrets.iter().chain(&self.everywhere).for_each(|finder| finder.find(text, out));
    }

    /// Runs of letters and digits in a part of the text that stand alone and have both.
    fn runs(&self, text: &[u8], part: Range<usize>, out: &mut Found) {
        let mut at = part.start;
        for run in text.get(part).unwrap_or_default().split(|&byte| !is_run_byte(byte)) {
            let start = at;
            let end = start + run.len();
            at = end + 1;
            if !RUN_BYTES.contains(&run.len()) {
                continue;
            }
            let digits = run.iter().filter(|byte| byte.is_ascii_digit()).count();
            let mixed = digits > 0 && digits < run.len() || run.len() == CN_RESIDENT_ID_BYTES;
            if !mixed || text.get(..start).is_some_and(ends_in_word) || starts_in_word(text, end) {
                continue;
            }
            let mut found = None;
            self.runs.each(run, &mut |_, category, _| found = found.or(Some(category)));
            if let Some(category) = found {
                out.push((start..end, category));
            }
        }
    }

    fn cards(&self, text: &[u8], out: &mut Found) {
        let mut from = 0;
        while let Some(found) = self.card.find_at(text, from) {
            let (start, end) = (found.start(), found.end());
            from = word_end(text, start);
            if text.get(..start).is_some_and(ends_in_word) {
                continue;
            }
            let hit = (start + 14..=end).rev().find(|&stop| {
                let digit =
                    stop.checked_sub(1).and_then(|last| text.get(last)).is_some_and(u8::is_ascii_digit);
                digit && !starts_in_digit(text, stop) && text.get(start..stop).is_some_and(card)
            });
            if let Some(stop) = hit {
                out.push((start..stop, Category::PaymentCard));
                from = stop;
            }
        }
    }

    fn ibans(&self, text: &[u8], out: &mut Found) {
        let mut from = 0;
        while let Some(found) = self.iban.find_at(text, from) {
            let start = found.start();
            from = word_end(text, start);
            let Some(characters_count) = iban_length(found.as_bytes()) else { continue };
            if text.get(..start).is_some_and(ends_in_word) {
                continue;
            }
            let Some(stop) = nth_alphanumeric(text, start, characters_count) else { continue };
            if !starts_in_word(text, stop) && text.get(start..stop).is_some_and(iban) {
                out.push((start..stop, Category::Iban));
                from = stop;
            }
        }
    }
}

/// What stands alone, looked for only at the places where its pattern begins.
struct Standing<'a> {
    finders: &'a [Finder],
    /// Whence each of them looks on; empty before anything begins.
    from: Vec<usize>,
    /// By the number of the finder.
    found: Vec<(usize, Range<usize>)>,
}

impl Standing<'_> {
    /// `patterns`: one bit for each finder, whose pattern is anchored. Places come in the order of the text.
    #[inline(never)]
    fn look(&mut self, text: &[u8], place: usize, patterns: u128) {
        self.from.resize(self.finders.len(), 0);
        for at in each_bit(patterns) {
            let (Some(finder), Some(from)) = (self.finders.get(at), self.from.get_mut(at)) else { break };
            if place < *from {
                continue;
            }
            if let Some((range, behind)) = finder.look(text, place) {
                *from = behind;
                self.found.extend(range.map(|range| (at, range)));
            }
        }
    }

    /// Appends everything, finder by finder.
    fn finish(mut self, out: &mut Found) {
        self.found.sort_by_key(|(at, _)| *at);
        let named =
            self.found.into_iter().filter_map(|(at, range)| Some((range, self.finders.get(at)?.category)));
        out.extend(named);
    }
}

impl Finder {
    fn new(
        pattern: &str,
        category: Category,
        check: fn(&[u8]) -> bool,
        keyword: bool,
    ) -> Result<Self, regex::Error> {
        Ok(Self { pattern: single(pattern)?, category, check, keyword })
    }

    /// Where the value is that the first match behind `from` leads to.
    fn range(&self, text: &[u8], from: usize) -> Option<Range<usize>> {
        let found = self.pattern.find_at(text, from)?;
        let lead = if self.keyword { lead_bytes(self.category, found.as_bytes()) } else { 0 };
        Some(found.start() + lead..found.end())
    }

    /// The same for a match that stands alone and holds, and whence to look further.
    fn look(&self, text: &[u8], place: usize) -> Option<(Option<Range<usize>>, usize)> {
        let range = self.range(text.get(place..)?, 0)?;
        let range = place + range.start..place + range.end;
        let alone = !(text.get(..range.start).is_some_and(ends_in_word) || starts_in_word(text, range.end));
        if alone && text.get(range.clone()).is_some_and(self.check) {
            let end = range.end;
            return Some((Some(range), end));
        }
        Some((None, word_end(text, range.start)))
    }

    fn find(&self, text: &[u8], out: &mut Found) {
        let mut from = 0;
        while from <= text.len() {
            let Some(range) = self.range(text, from) else { return };
            // A maker's prefix speaks for itself; other shapes must stand alone.
            let alone = self.category == Category::Credential
                || !(text.get(..range.start).is_some_and(ends_in_word) || starts_in_word(text, range.end));
            if alone && text.get(range.clone()).is_some_and(self.check) {
                from = range.end.max(from + 1);
                out.push((range, self.category));
            } else if self.category == Category::Credential {
                // Its pattern may be open-ended: what was read once is not read again.
                from = range.end.max(from + 1);
            } else {
                from = word_end(text, range.start);
            }
        }
    }
}

/// How much of what a pattern of [`KEYWORDS`] matches stands before the value, which ends where the match ends. Searching for the pattern's
/// group costs a multiple of searching for the pattern; tests compare.
pub(super) fn lead_bytes(category: Category, matched: &[u8]) -> usize {
    let behind = |at: Option<usize>| at.map_or(0, |at| at + 1);
    match category {
        Category::Credential => {
            let mark = behind(matched.iter().position(|byte| matches!(byte, b':' | b'=')));
            let has = |at: usize, bytes: &[u8]| matched.get(at).is_some_and(|byte| bytes.contains(byte));
            let blank = mark + usize::from(has(mark, b" "));
            blank + usize::from(has(blank, b"\"'"))
        }
        // There may be digits in what leads to them: `ipv4`. In them are no separators.
        Category::IpAddress | Category::Passport => {
            behind(matched.iter().rposition(|byte| b" :=#".contains(byte)))
        }
        _ => matched.iter().position(|byte| matches!(byte, b'0'..=b'9' | b'+' | b'(')).unwrap_or(0),
    }
}

/// Something that begins where a word does may stand in the text. Most statements have a key of few digits, and end here.
pub(super) fn may_begin(text: &[u8], signs: &Signs) -> bool {
    let has_long =
        || Chunks::of(text).any(|chunk| chunk.len() >= CAPITALS_BYTES_MIN && chunk.may_have_capital());
    signs.digits >= NUMBER_DIGITS_MIN || names_passport(text) || signs.digits > 0 && has_long()
}

/// Grows an address around each `@`. Runs on both sides end at the next `@`, so every byte is looked
/// at once from each side.
fn emails(text: &[u8], out: &mut Found) {
    for at in memchr_iter(b'@', text) {
        let (before, after) = (text.get(..at).unwrap_or(&[]), text.get(at + 1..).unwrap_or(&[]));
        let local_bytes = before.iter().rev().take_while(|&&b| is_local(b)).count();
        let mut domain = after.get(..after.iter().take_while(|&&b| is_domain(b)).count()).unwrap_or(&[]);
        // A full stop or hyphen behind an address belongs to the sentence.
        while let Some((b'.' | b'-', rest)) = domain.split_last() {
            domain = rest;
        }
        let top = domain.rsplit(|&b| b == b'.').next().unwrap_or(&[]);
        let range = at - local_bytes..at + 1 + domain.len();
        let fits = local_bytes > 0
            && top.len() >= 2
            && top.len() < domain.len()
            && !top.iter().all(u8::is_ascii_digit)
            && !domain.starts_with(b".");
        if fits && (text.get(range.clone()).is_some_and(email_fits) || local_bytes > 64) {
            out.push((range, Category::Email));
        }
    }
}

#[expect(clippy::indexing_slicing, reason = "a byte is always inside a table of 256")]
#[inline]
fn is_run_byte(byte: u8) -> bool {
    RUN_BYTE[usize::from(byte)]
}

#[expect(
    clippy::indexing_slicing,
    reason = "a byte is always inside a table of 256; checked at compile time"
)]
static RUN_BYTE: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < table.len() {
        table[byte] = (byte as u8).is_ascii_alphanumeric() || byte as u8 == b'<';
        byte += 1;
    }
    table
};

/// Braces are legal in a local part but in practice enclose one: `{a@example.com}` is an array.
fn is_local(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte >= 128 || b".!#$%&'*+/=?^_|~`-".contains(&byte)
}

fn is_domain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte >= 128 || byte == b'.' || byte == b'-'
}

/// The end of the `count`th letter or digit from `start`, single blanks between them allowed.
fn nth_alphanumeric(text: &[u8], start: usize, count: usize) -> Option<usize> {
    let mut seen = 0;
    let mut blank = false;
    for (at, &byte) in text.iter().enumerate().skip(start) {
        match byte {
            b' ' if !blank => blank = true,
            b if b.is_ascii_alphanumeric() => {
                blank = false;
                seen += 1;
                if seen == count {
                    return Some(at + 1);
                }
            }
            _ => return None,
        }
    }
    None
}

/// Where the search goes on after a refused candidate: no other can begin inside the same word.
fn word_end(text: &[u8], start: usize) -> usize {
    let word = text.iter().skip(start).take_while(|b| b.is_ascii_alphanumeric()).count();
    start + word.max(1)
}

/// The text before a candidate runs into it: it is the tail of something longer.
fn ends_in_word(before: &[u8]) -> bool {
    match before {
        [.., last] if last.is_ascii_alphanumeric() || *last == b'_' => true,
        [.., digit, b'-' | b'.'] => digit.is_ascii_alphanumeric(),
        _ => false,
    }
}

/// The text behind a candidate goes on with it.
fn starts_in_word(text: &[u8], at: usize) -> bool {
    match text.get(at..) {
        Some([first, ..]) if first.is_ascii_alphanumeric() || *first == b'_' => true,
        Some([b'-' | b'.', next, ..]) => next.is_ascii_digit(),
        _ => false,
    }
}

fn starts_in_digit(text: &[u8], at: usize) -> bool {
    text.get(at).is_some_and(u8::is_ascii_alphanumeric)
}

/// Fewest digits of what begins where a word does: an IPv4 address. What has fewer is long and has capitals.
const NUMBER_DIGITS_MIN: usize = 4;
const CAPITALS_BYTES_MIN: usize = 10;
/// Shortest and longest run of letters and digits that is looked at: a Japanese or Irish number, a long wallet.
const RUN_BYTES: std::ops::RangeInclusive<usize> = 8..=76;
/// Shortest card, and the fewest digits that an IBAN has: `NL`, two digits, four letters, ten digits. Either is enough
/// for the first look to let a text pass.
const CARD_DIGITS_MIN: usize = 14;
const IBAN_DIGITS_MIN: usize = 12;
/// The one number without a letter that is looked for in text.
const CN_RESIDENT_ID_BYTES: usize = 18;
const CARD: &str = r"[2-6][0-9]{3}(?:[ -]?[0-9]){10,15}";
const IBAN: &str = r"[A-Za-z]{2}[0-9]{2}";

/// A word that says what the value behind it is. The value is group 1.
pub(super) const KEYWORDS: &[(Category, &str)] = &[
    (
        Category::Credential,
        r#"(?i)(?:password|passwd|passwort|passphrase|pwd|secret|api[_-]?key|access[_-]?key|token)["']? ?[:=] ?["']?([^\s"',;&{}()\[\]<>]{4,})"#,
    ),
    (
        Category::NationalId,
        r"(?i)\b(?:ssn|social security|bsn|burgerservicenummer|aadhaar|aadhar|pesel|cpf|nif|tax id|steuer-?id|national id|sozialversicherungsnummer)(?: ?(?:number|no\.?|nr\.?|nummer))?(?: is| ist)?[ :=#]{1,3}([0-9](?:[ .-]?[0-9]){6,13})",
    ),
    (
        Category::Phone,
        r"(?i)\b(?:tel|telephone|telefon|telefono|phone|phone number|mobile|cell|handy|whatsapp|fax|call(?: back)?(?: me| us| him| her| them)?(?: on| at)?|ring|dial|rufnummer|sms)(?: ?(?:number|no\.?|nr\.?|nummer))?(?: is| ist)?[ .:=#]{1,3}(\+?\(?[0-9](?:[ .()/-]?[0-9]){6,14})",
    ),
    (
        Category::Health,
        r"(?i)\b(?:mrn|medical record|patient id|nhs)(?: ?(?:number|no\.?|nr\.?))?(?: is)?[ :=#]{1,3}([0-9](?:[ -]?[0-9]){6,9})",
    ),
    (
        Category::BirthDate,
        r"(?i)\b(?:dob|d\.o\.b\.|born(?: on)?|birth ?date|date of birth|birthday|geboren(?: am)?|geburtsdatum|nee? le|date de naissance|fecha de nacimiento|nacido el|nata? il)(?: is| ist)?[ :=]{1,3}([0-3][0-9][-./][01][0-9][-./](?:19|20)[0-9]{2}|(?:19|20)[0-9]{2}[-./][01][0-9][-./][0-3][0-9]|[01][0-9]/[0-3][0-9]/(?:19|20)[0-9]{2})",
    ),
    (
        Category::IpAddress,
        r"(?i)\b(?:ip(?:v4)?(?:[ -]address|[ -]adresse)?|(?:login|logged in|log-in|signed in|sign-in|connection|connected|requests?|access|accessed) from)(?: is| was)?[ :=]{1,3}([0-9]{1,3}(?:\.[0-9]{1,3}){3})",
    ),
    (
        Category::Passport,
        r"(?i)\b(?:passport|reisepass|passeport|pasaporte)(?: ?(?:number|no\.?|nr\.?))?(?: is| ist)?[ :=#]{1,3}([A-Z0-9]{6,12})",
    ),
];
