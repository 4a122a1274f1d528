//! Masks what people read about a statement: its text, and everything that quotes from it.

use super::masker::Masker;
use super::parameter::mask_text;
use crate::engine::model::{Statement, Unknown};

/// The statement as an approver may read it. Facts stay; values that detectors know are hidden, however long the text.
pub fn mask_statement(masker: &Masker, statement: &Statement) -> Statement {
    let text = |text: &str| mask_text(masker, text, usize::MAX);
    let mut shown = statement.clone();
    shown.text = text(&statement.text).into();
    shown.unknown = statement.unknown.as_ref().map(|unknown| mask_unknown(masker, unknown));
    if let Some((_, Some(value))) = &mut shown.setting {
        *value = text(value);
    }
    // As deep as the statement was read: PREPARE, EXPLAIN and DECLARE hold one each.
    shown.inner = statement.inner.as_deref().map(|inner| Box::new(mask_statement(masker, inner)));
    shown
}

/// The server's grammar quotes what it stumbles over.
pub fn mask_unknown(masker: &Masker, unknown: &Unknown) -> Unknown {
    let text = |text: &String| mask_text(masker, text, UNKNOWN_BYTES_MAX);
    match unknown {
        Unknown::Unparsable { message } => Unknown::Unparsable { message: text(message) },
        Unknown::DynamicSql { by } => Unknown::DynamicSql { by: text(by) },
        Unknown::UnseenPrepared { name } => Unknown::UnseenPrepared { name: text(name) },
        Unknown::NotUnderstood { what } => Unknown::NotUnderstood { what: text(what) },
        Unknown::TooLong { .. } | Unknown::TooDeep | Unknown::FunctionCall { .. } => unknown.clone(),
    }
}

const UNKNOWN_BYTES_MAX: usize = 4_096;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::masking::masker::tests::MASKER;

    #[test]
    fn nothing_that_detectors_know_is_left_anywhere_in_a_statement() {
        const SECRET: &str = "louis@example.com";
        let unknown = Unknown::Unparsable { message: format!("syntax error at or near \"{SECRET}\"") };
        let mut statement = Statement::unknown(format!("SELEC '{SECRET}' , 7").into(), unknown);
        statement.setting = Some(("a.b".into(), Some(SECRET.into())));
        statement.inner = Some(Box::new(statement.clone()));
        assert_eq!(serde_json::to_string(&statement).unwrap().matches(SECRET).count(), 6);
        let shown = mask_statement(&MASKER, &statement);
        assert!(!serde_json::to_string(&shown).unwrap().contains(SECRET));
        assert!(shown.text.starts_with("SELEC ") && shown.text.ends_with("' , 7"), "{}", shown.text);
    }
}
