//! What a policy looks at, read from the words of its text, so that what no policy looks at need not be built, asked
//! or part of a key.
//!
//! Invariant: in doubt a policy looks at everything. An attribute counts wherever its name stands, and a
//! `context` that is used in any way but by its attributes counts as a look at all of them.

use super::names::Vocabulary;
use super::token::Token;
use crate::engine::model::Class;

/// What of a question one policy, or all policies of a slice, look at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Mentions {
    /// `context.time`
    pub time: bool,
    /// `context.break_glass`
    pub break_glass: bool,
    /// `context.estimated_rows`
    pub estimated_rows: bool,
    /// Names and labels that depend on how a name is read.
    pub names: bool,
    /// `context.function_schemas`
    pub function_schemas: bool,
    /// `context.conditions` and its kin.
    pub conditions: bool,
    /// `resource.labels`
    pub column_labels: bool,
    /// `principal.executable_sha256`, or a principal in an `ExecutableHash`.
    pub executable_hash: bool,
}

impl Mentions {
    pub fn or(self, other: Self) -> Self {
        Self {
            time: self.time || other.time,
            break_glass: self.break_glass || other.break_glass,
            estimated_rows: self.estimated_rows || other.estimated_rows,
            names: self.names || other.names,
            function_schemas: self.function_schemas || other.function_schemas,
            conditions: self.conditions || other.conditions,
            column_labels: self.column_labels || other.column_labels,
            executable_hash: self.executable_hash || other.executable_hash,
        }
    }

    const ALL: Self = Self {
        time: true,
        break_glass: true,
        estimated_rows: true,
        names: true,
        function_schemas: true,
        conditions: true,
        column_labels: true,
        executable_hash: true,
    };
}

/// What one policy looks at, and its strings where it looks at names.
pub(super) fn read(tokens: &[Token<'_>]) -> (Mentions, Vocabulary) {
    let mut found = Mentions::default();
    let mut schemas = false;
    for (at, token) in tokens.iter().enumerate() {
        let word = match token {
            Token::Word(word) => word,
            Token::Text(text) => text.as_ref(),
            Token::Sign(_) => continue,
        };
        // The key of an annotation, such as `@time`.
        if at.checked_sub(1).and_then(|before| tokens.get(before)) == Some(&Token::Sign("@")) {
            continue;
        }
        match word {
            "time" => found.time = true,
            "break_glass" => found.break_glass = true,
            "estimated_rows" => found.estimated_rows = true,
            "schemas" => (found.names, schemas) = (true, true),
            "function_schemas" => (found.names, found.function_schemas, schemas) = (true, true, true),
            "reads" | "writes" | "read_labels" | "written_labels" | "shared_labels" => found.names = true,
            "conditions" | "conditions_masked" | "condition_forms" => found.conditions = true,
            "labels" => (found.names, found.column_labels) = (true, true),
            "executable_sha256" | "ExecutableHash" => found.executable_hash = true,
            "context" => {
                let is_taken_apart = tokens.get(at + 1).is_some_and(|next| {
                    [Token::Sign("."), Token::Sign("["), Token::Word("has")].contains(next)
                });
                if !is_taken_apart {
                    (found, schemas) = (Mentions::ALL, true);
                }
            }
            _ => {}
        }
    }
    let mut vocabulary = Vocabulary::default();
    if found.names {
        tokens.iter().for_each(|token| {
            if let Token::Text(text) = token {
                vocabulary.add(text, schemas);
            }
        });
    }
    (found, vocabulary)
}

/// Labels and environments that a policy asks for by name.
pub(super) fn asked_for(tokens: &[Token<'_>]) -> Vec<(&'static str, String)> {
    let mut found = vec![];
    for (at, window) in tokens.windows(4).enumerate() {
        match window {
            [
                Token::Word("labels" | "read_labels" | "written_labels" | "shared_labels"),
                Token::Sign("."),
                Token::Word("contains" | "containsAny" | "containsAll"),
                Token::Sign("("),
            ] => {
                let rest = tokens.get(at + 4..).unwrap_or_default();
                let names = rest.iter().take_while(|token| **token != Token::Sign(")"));
                found.extend(names.filter_map(|token| match token {
                    Token::Text(text) => Some(("label", text.to_string())),
                    _ => None,
                }));
            }
            [Token::Sign("::"), Token::Word("Environment"), Token::Sign("::"), Token::Text(name)] => {
                found.push(("environment", name.to_string()));
            }
            _ => {}
        }
    }
    found
}

/// Whether `context.approved` stands anywhere.
pub(super) fn reads_approved(tokens: &[Token<'_>]) -> bool {
    let is_it = |window: &[Token<'_>]| match window {
        [Token::Word("context"), Token::Sign("."), Token::Word("approved")] => true,
        [Token::Word("context"), Token::Sign("["), Token::Text(name)] => name == "approved",
        _ => false,
    };
    tokens.windows(3).any(is_it)
}

/// The class that the first condition excludes before anything else is looked at: `when { principal.class !=
/// "service" && … }`. What is looked at first cannot fail, so the policy is not satisfied for that class.
pub(super) fn excluded_class(tokens: &[Token<'_>]) -> Option<Class> {
    let [
        Token::Word("principal"),
        Token::Sign("."),
        Token::Word("class"),
        Token::Sign("!="),
        Token::Text(word),
        rest @ ..,
    ] = first_condition(tokens)?
    else {
        return None;
    };
    // An "or" or "if" behind it, at its own level, would bind it otherwise.
    if !matches!(rest, [] | [Token::Sign("&&"), ..]) || at_own_level(rest, "||").len() > 1 {
        return None;
    }
    Class::ALL.into_iter().find(|class| class.as_str() == word)
}

/// What stands in the braces of the first condition, where that is a `when`.
pub(super) fn first_condition<'t, 'a>(tokens: &'t [Token<'a>]) -> Option<&'t [Token<'a>]> {
    let mut depth = Depth::default();
    let is_start =
        |token: &Token<'_>| depth.behind(token) == 0 && matches!(token, Token::Word("when" | "unless"));
    let [Token::Word("when"), Token::Sign("{"), rest @ ..] =
        tokens.get(tokens.iter().position(is_start)?..)?
    else {
        return None;
    };
    let (mut depth, mut level) = (Depth::default(), 0);
    let end = rest.iter().position(|token| {
        let before = std::mem::replace(&mut level, depth.behind(token));
        before == 0 && *token == Token::Sign("}")
    })?;
    rest.get(..end)
}

/// The parts between the signs of this kind that stand in no brackets.
pub(super) fn at_own_level<'t, 'a>(tokens: &'t [Token<'a>], sign: &str) -> Vec<&'t [Token<'a>]> {
    let mut depth = Depth::default();
    tokens.split(|token| depth.behind(token) == 0 && matches!(token, Token::Sign(s) if *s == sign)).collect()
}

/// How many brackets are open.
#[derive(Debug, Default)]
struct Depth(usize);

impl Depth {
    fn behind(&mut self, token: &Token<'_>) -> usize {
        match token {
            Token::Sign("(" | "{" | "[") => self.0 += 1,
            Token::Sign(")" | "}" | "]") => self.0 = self.0.saturating_sub(1),
            _ => {}
        }
        self.0
    }
}
