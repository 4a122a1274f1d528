//! What the model server answers to governor's own questions: its catalogue and the session's state.

use super::{Server, data_row};

impl Server<'_> {
    /// What the session's state is, to governor's question under a name of its own.
    pub(super) fn question(&mut self, kind: u8, body: &[u8]) {
        match kind {
            b'P' => {
                let text = String::from_utf8_lossy(body).into_owned();
                let known =
                    [("search_path", "public"), ("role", "none"), ("row_security", "on"), ("to_json", "[]")];
                let told = known.iter().find(|(name, _)| text.contains(name));
                self.told = told.map_or("app", |(_, value)| value);
                self.emit(b'1', b"");
            }
            b'B' => self.emit(b'2', b""),
            b'E' => {
                self.emit(b'D', &data_row(&[self.told]));
                self.complete("SHOW");
            }
            _ => self.emit(b'3', b""),
        }
    }

    /// `people(id, email, note)` and nothing else, to governor's question of so many statements.
    pub(super) fn catalogue(&mut self, statements: usize) {
        self.emit(b'D', &data_row(&["r", "20000", "public", "people", "r", "20001", "1000"]));
        for (number, name, oid) in [("1", "id", "23"), ("2", "email", "25"), ("3", "note", "25")] {
            self.emit(b'D', &data_row(&["c", "20000", number, name, oid]));
        }
        for _ in 0..statements {
            self.complete("SELECT 0");
        }
        self.ready();
    }
}

/// In every message of governor's question about the session's state.
pub(super) const QUESTION: &[u8] = b"governor\x01state";
