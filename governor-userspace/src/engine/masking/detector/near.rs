//! Names and addresses in text: looked for only where words that may be parts of them stand side by side.
//!
//! A word in small letters ends both, so a text falls into runs between such words; most runs are one word long, the first of
//! a sentence.

use super::chunks::Chunk;
use super::{address, names};
use crate::engine::model::Category;
use std::ops::Range;

/// What was found so far, and the run that is under way.
#[derive(Default)]
pub(super) struct Near {
    run: Option<Run>,
    found: Vec<(Range<usize>, Category)>,
    has_name: bool,
}

struct Run {
    range: Range<usize>,
    pieces: usize,
    capitals: usize,
    numbers: usize,
    /// A title may stand before a name without a blank: `Dr.Smith`.
    is_dotted: bool,
}

impl Near {
    #[inline]
    pub(super) fn note(&mut self, text: &[u8], chunk: &Chunk) {
        if chunk.is_small_word() {
            if self.run.is_some() {
                self.end_run(text);
            }
            return;
        }
        self.note_other(text, chunk);
    }

    fn note_other(&mut self, text: &[u8], chunk: &Chunk) {
        let is_plain = chunk.is_plain() || chunk.is_small_in(text);
        if is_plain || chunk.begins_line {
            self.end_run(text);
        }
        if is_plain {
            return;
        }
        let (has_capital, has_number) = (chunk.may_have_capital(), chunk.digits > 0);
        let run = self.run.get_or_insert_with(|| Run {
            range: chunk.range.clone(),
            pieces: 0,
            capitals: 0,
            numbers: 0,
            is_dotted: false,
        });
        run.range.end = chunk.range.end;
        run.pieces += 1;
        run.capitals += usize::from(has_capital);
        run.numbers += usize::from(has_number);
        run.is_dotted |= has_capital && chunk.has_dot();
    }

    fn end_run(&mut self, text: &[u8]) {
        let Some(run) = self.run.take() else { return };
        if run.capitals == 0 || run.pieces < 2 && !run.is_dotted {
            return;
        }
        let from = run.range.start;
        let part = text.get(run.range).unwrap_or_default();
        let mut put = |range: Range<usize>, category| {
            self.found.push((from + range.start..from + range.end, category));
        };
        if run.capitals > 1 || run.is_dotted {
            names::find(part, |range| {
                self.has_name = true;
                put(range, Category::PersonName);
            });
        }
        if run.numbers > 0 && run.pieces > 1 {
            address::find(part, |range| put(range, Category::Address));
        }
    }

    /// Appends everything.
    pub(super) fn finish(mut self, text: &[u8], out: &mut Vec<(Range<usize>, Category)>) {
        self.end_run(text);
        // A company that is called after its owner has no name in it.
        if self.has_name && names::look(text).organisation {
            self.found.retain(|(_, category)| *category != Category::PersonName);
        }
        out.append(&mut self.found);
    }
}

#[cfg(test)]
mod tests {
    use super::super::chunks::Chunks;
    use super::*;
    use proptest::prelude::*;

    fn near(text: &[u8]) -> Vec<Range<usize>> {
        let mut near = Near::default();
        Chunks::of(text).for_each(|chunk| near.note(text, &chunk));
        let mut found = Vec::new();
        near.finish(text, &mut found);
        let mut ranges: Vec<_> = found.into_iter().map(|(range, _)| range).collect();
        ranges.sort_by_key(|range| (range.start, range.end));
        ranges
    }

    /// What a walk over all of the text finds, but for what has no blank in it.
    fn everywhere(text: &[u8]) -> Vec<Range<usize>> {
        let mut names = Vec::new();
        names::find(text, |range| names.push(range));
        if !names.is_empty() && names::look(text).organisation {
            names.clear();
        }
        address::find(text, |range| names.push(range));
        names.sort_by_key(|range| (range.start, range.end));
        names
    }

    const WORDS: &[&str] = &[
        "John",
        "Smith",
        "Dr",
        "Mrs.",
        "Anna",
        "Müller",
        "Löwer,",
        "van",
        "der",
        "Park",
        "Hauptstr.",
        "Main",
        "Street",
        "Lane",
        "12",
        "80/21",
        "777",
        "call",
        "für",
        "GmbH",
        "(Anna",
        "O'Neill",
        "v4.18",
        "März",
        "12,",
        ".",
        ",",
        "-",
        "x",
        "Dr.Smith",
        "Jean-Luc",
        "ORD-2024-118822",
        "Hauptstr.12",
        "ßeta",
        "of",
        "Weg",
    ];
    /// Mostly one blank.
    const GAPS: &[&str] = &[" ", " ", " ", " ", "  ", "\n", "\t"];

    #[test]
    fn runs_of_words_hold_what_a_walk_over_the_text_finds() {
        use proptest::collection::vec;
        use proptest::sample::select;
        let config = ProptestConfig::with_cases(2_000);
        proptest!(config, |(words in vec(select(WORDS), 0..14), gaps in vec(select(GAPS), 14))| {
            let text: String = words.iter().zip(&gaps).flat_map(|(word, gap)| [*word, *gap]).collect();
            let text = text.as_bytes();
            let has_blank = |range: &Range<usize>| text[range.clone()].contains(&b' ');
            let (near, everywhere) = (near(text), everywhere(text));
            for range in &near {
                prop_assert!(everywhere.contains(range), "{range:?} more in {}", String::from_utf8_lossy(text));
            }
            for range in everywhere.iter().filter(|range| has_blank(range)) {
                prop_assert!(near.contains(range), "{range:?} of {}", String::from_utf8_lossy(text));
            }
        });
    }
}
