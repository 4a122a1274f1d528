//! How the text of a trigger or rule uses its row: by columns, as documents whose keys stay, or as a whole.
//!
//! Token by token, on the safe side: what is not known to leave the row's columns under their names uses it as a whole.

use crate::engine::sql::postgres::lexer::{Lexer, Token};

/// What becomes of the row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RowUse {
    /// Columns are taken by name; the row is only returned or compared.
    Named,
    /// Documents are made of it (`to_jsonb(NEW)`), and nothing takes those apart.
    Documents,
    /// It goes somewhere as it is, or as a document that is taken apart.
    Whole,
}

impl RowUse {
    pub(super) fn of_trigger(text: &str) -> Self {
        let words = words(text);
        let mut found = Self::Named;
        for at in 0..words.len() {
            match use_at(&words, at) {
                Self::Named => {}
                Self::Documents => found = Self::Documents,
                Self::Whole => return Self::Whole,
            }
        }
        match found {
            Self::Documents if takes_apart(&words) => Self::Whole,
            found => found,
        }
    }

    /// A rule names its row in SQL, where nothing is returned.
    pub(super) fn of_rule(text: &str) -> Self {
        let words = words(text);
        let is_whole = (0..words.len()).any(|at| use_at(&words, at) != Self::Named);
        if is_whole { Self::Whole } else { Self::Named }
    }
}

fn words(text: &str) -> Vec<String> {
    Lexer::new(text).map(named).collect()
}

/// A token as a name is compared.
pub(super) fn named(token: Token<'_>) -> String {
    match token {
        Token::Word(word) => String::from_utf8_lossy(word).to_lowercase(),
        Token::Quoted(name) => String::from_utf8_lossy(name).replace("\"\"", "\""),
        Token::Symbol(symbol) => String::from_utf8_lossy(symbol).into_owned(),
        Token::Literal => "'".into(),
    }
}

/// What the word at this place does with the row, where it names it.
fn use_at(words: &[String], at: usize) -> RowUse {
    let word = |at: Option<usize>| at.and_then(|at| words.get(at)).map_or("", String::as_str);
    let is_row = |at: Option<usize>| matches!(word(at), "new" | "old");
    if !is_row(Some(at)) || word(at.checked_sub(1)) == "." {
        return RowUse::Named;
    }
    // Behind `NEW`, or behind `NEW.*`.
    let behind = match (word(Some(at + 1)), word(Some(at + 2))) {
        (".", "*") => at + 3,
        (".", _) => return RowUse::Named,
        _ => at + 1,
    };
    let before = at.checked_sub(1);
    let further = at.checked_sub(2);
    let compares = |sign: &str| matches!(sign, "=" | "<>" | "!=");
    match (word(before), word(Some(behind))) {
        ("return" | "into", _) | (_, ":=" | "is") => RowUse::Named,
        ("from", _) if word(further) == "distinct" => RowUse::Named,
        (_, sign) if compares(sign) && is_row(Some(behind + 1)) => RowUse::Named,
        (sign, _) if compares(sign) && (is_row(further) || word(further) == "*") => RowUse::Named,
        // `(NEW).name`
        ("(", ")") if word(Some(behind + 1)) == "." && word(Some(behind + 2)) != "*" => RowUse::Named,
        ("(", ")") if MAKES_DOCUMENTS.contains(&word(further)) => RowUse::Documents,
        _ => RowUse::Whole,
    }
}

/// Something in it may take a document apart, or drop its keys: an operator, a path, a function that is not known to leave
/// them.
fn takes_apart(words: &[String]) -> bool {
    let is_word = |word: &str| word.starts_with(|c: char| c.is_alphabetic() || c == '_');
    words.iter().enumerate().any(|(at, word)| {
        matches!(word.as_str(), "->" | "->>" | "#>" | "#>>" | "[")
            || (words.get(at + 1).is_some_and(|next| next == "(")
                && is_word(word)
                && LEAVES_KEYS.binary_search(&word.as_str()).is_err()
                && !is_target(words, at))
    })
}

/// `INSERT INTO schema.table (`
fn is_target(words: &[String], at: usize) -> bool {
    let word = |at: usize| words.get(at).map_or("", String::as_str);
    match at {
        0 => false,
        1 | 2 => word(at - 1) == "into",
        _ => word(at - 1) == "into" || (word(at - 1) == "." && word(at - 3) == "into"),
    }
}

const MAKES_DOCUMENTS: [&str; 4] = ["hstore", "row_to_json", "to_json", "to_jsonb"];
/// Functions and words of the language in front of a bracket that leave keys beside values, or have nothing to do with either.
const LEAVES_KEYS: [&str; 56] = [
    "akeys",
    "and",
    "array_append",
    "array_length",
    "as",
    "by",
    "clock_timestamp",
    "coalesce",
    "count",
    "current_query",
    "current_setting",
    "currval",
    "distinct",
    "elsif",
    "exists",
    "from",
    "gen_random_uuid",
    "hstore",
    "if",
    "in",
    "inet_client_addr",
    "inet_client_port",
    "json_build_object",
    "json_strip_nulls",
    "jsonb_build_object",
    "jsonb_strip_nulls",
    "localtimestamp",
    "not",
    "now",
    "nullif",
    "numeric",
    "or",
    "over",
    "pg_backend_pid",
    "pg_current_xact_id",
    "return",
    "returns",
    "row_number",
    "row_to_json",
    "select",
    "session_user",
    "set",
    "statement_timestamp",
    "then",
    "timestamp",
    "to_json",
    "to_jsonb",
    "transaction_timestamp",
    "txid_current",
    "user",
    "using",
    "values",
    "varchar",
    "when",
    "where",
    "with",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_used_by_columns_as_documents_or_whole() {
        assert!(LEAVES_KEYS.is_sorted());
        for (body, expected) in [
            ("BEGIN RETURN NEW; END", RowUse::Named),
            ("BEGIN IF NEW IS DISTINCT FROM OLD THEN NEW.a := 1; END IF; RETURN NEW; END", RowUse::Named),
            ("BEGIN IF OLD.* IS DISTINCT FROM NEW.* THEN NULL; END IF; RETURN OLD; END", RowUse::Named),
            ("BEGIN IF NEW = OLD OR NEW.* <> OLD.* THEN NULL; END IF; END", RowUse::Named),
            ("BEGIN INSERT INTO t VALUES ((NEW).a, x.new); SELECT 1 INTO NEW.a; END", RowUse::Named),
            ("BEGIN INSERT INTO s.t (d) VALUES (to_jsonb(NEW) - 'a'); END", RowUse::Documents),
            (
                "BEGIN r.d := hstore(OLD.*); INSERT INTO t VALUES (now(), coalesce(r.d, '')); END",
                RowUse::Documents,
            ),
            ("BEGIN INSERT INTO t VALUES (to_jsonb(NEW) ->> 'a'); END", RowUse::Whole),
            ("BEGIN INSERT INTO t SELECT value FROM jsonb_each_text(to_jsonb(NEW)); END", RowUse::Whole),
            ("BEGIN d := to_jsonb(NEW); INSERT INTO t VALUES (d['a']); END", RowUse::Whole),
            ("BEGIN INSERT INTO t VALUES (NEW.*); END", RowUse::Whole),
            ("BEGIN INSERT INTO t SELECT (NEW).*; END", RowUse::Whole),
            ("BEGIN INSERT INTO t VALUES (NEW::text); END", RowUse::Whole),
            ("BEGIN r := NEW; INSERT INTO t VALUES (r); END", RowUse::Whole),
            ("BEGIN EXECUTE 'x' USING NEW; END", RowUse::Whole),
            ("DECLARE r ALIAS FOR NEW; BEGIN RETURN r; END", RowUse::Whole),
        ] {
            assert_eq!(RowUse::of_trigger(body), expected, "{body}");
        }
    }
}
