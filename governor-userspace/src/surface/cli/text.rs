//! Text for terminals: colours, tables, and foreign text made harmless.
//!
//! What an approver reads comes from whoever is being governed. Control characters could repaint the
//! screen, and invisible or direction-changing ones could make a DELETE look like a SELECT: all of
//! them are shown as what they are.

use std::fmt::Write;

/// Foreign text with every character that a terminal would act on, or a person would not see,
/// written as `\u{…}`. Line breaks and tabs stay.
pub fn safe(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for symbol in text.chars() {
        if is_deceptive(symbol) {
            let _ = write!(out, "\\u{{{:x}}}", u32::from(symbol));
        } else {
            out.push(symbol);
        }
    }
    out
}

/// [`safe`] on one line of at most `width` characters, white space folded, `…` where cut.
pub fn one_line(text: &str, width: usize) -> String {
    let folded = safe(&text.split_whitespace().collect::<Vec<_>>().join(" "));
    if folded.chars().count() <= width {
        return folded;
    }
    let mut cut: String = folded.chars().take(width.saturating_sub(1)).collect();
    cut.push('…');
    cut
}

fn is_deceptive(symbol: char) -> bool {
    (symbol.is_control() && !matches!(symbol, '\n' | '\t'))
        || matches!(u32::from(symbol),
            0xAD | 0x34F | 0x61C | 0x115F..=0x1160 | 0x17B4..=0x17B5 | 0x180B..=0x180F
            | 0x200B..=0x200F | 0x2028..=0x202E | 0x2060..=0x206F | 0x3164 | 0xFE00..=0xFE0F | 0xFEFF
            | 0xFFA0 | 0xFFF0..=0xFFFB | 0x1D173..=0x1D17A | 0xE0000..=0xE0FFF)
}

/// Nanoseconds as the largest unit that tells enough: `45s`, `12m`, `3h`, `2d`.
pub fn span(ns: u64) -> String {
    let seconds = ns / 1_000_000_000;
    match seconds {
        0..120 => format!("{seconds}s"),
        120..7200 => format!("{}m", seconds / 60),
        7200..172_800 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// Colours, or none.
#[derive(Clone, Copy, Debug)]
pub struct Paint {
    pub on: bool,
}

impl Paint {
    pub fn bold(self, text: &str) -> String {
        self.with("1", text)
    }
    pub fn dim(self, text: &str) -> String {
        self.with("2", text)
    }
    pub fn red(self, text: &str) -> String {
        self.with("31", text)
    }
    pub fn green(self, text: &str) -> String {
        self.with("32", text)
    }
    pub fn yellow(self, text: &str) -> String {
        self.with("33", text)
    }

    fn with(self, code: &str, text: &str) -> String {
        if self.on { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// Columns as wide as their widest cell; the last one is not padded. Cells hold no colours.
pub fn table(paint: Paint, head: &[&str], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.chain(head.get(column).map(|title| title.len())).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let line = |cells: &[String]| {
        let mut line = String::new();
        for (cell, width) in cells.iter().zip(&widths) {
            let _ = write!(line, "{cell:<width$}  ");
        }
        line.trim_end().to_owned()
    };
    let titles: Vec<String> = head.iter().map(|&title| title.to_owned()).collect();
    let mut out = paint.bold(&line(&titles)) + "\n";
    for row in rows {
        out += &(line(row) + "\n");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_foreign_moves_the_cursor_or_hides() {
        for (text, shown) in [
            ("SELECT 1;\n\tok", "SELECT 1;\n\tok"),
            ("\x1b[2KSELECT", "\\u{1b}[2KSELECT"),
            ("a\rb\x07\x7f\u{9b}31m", "a\\u{d}b\\u{7}\\u{7f}\\u{9b}31m"),
            ("DELETE \u{202e}TCELES", "DELETE \\u{202e}TCELES"),
            ("a\u{200b}b\u{feff}\u{e0041}\u{2066}", "a\\u{200b}b\\u{feff}\\u{e0041}\\u{2066}"),
            ("Größe 表 Ж", "Größe 表 Ж"),
        ] {
            assert_eq!(safe(text), shown);
        }
        assert_eq!(one_line("DELETE\n  FROM\torders \x1b[1A", 40), "DELETE FROM orders \\u{1b}[1A");
        assert_eq!(one_line("abcdef", 4), "abc…");
    }

    #[test]
    fn tables_line_up_and_colours_are_optional() {
        let rows =
            [vec!["a".into(), "long cell".into(), "x".into()], vec!["bbb".into(), "c".into(), "y".into()]];
        let plain = table(Paint { on: false }, &["ID", "WHAT", "END"], &rows);
        assert_eq!(plain, "ID   WHAT       END\na    long cell  x\nbbb  c          y\n");
        assert_eq!(Paint { on: true }.red("x"), "\x1b[31mx\x1b[0m");
    }

    #[test]
    fn spans_are_short() {
        let spans: Vec<String> = [0, 119, 120, 7199, 7200, 172_800].map(|s| span(s * 1_000_000_000)).into();
        assert_eq!(spans, ["0s", "119s", "2m", "119m", "2h", "2d"]);
    }
}
