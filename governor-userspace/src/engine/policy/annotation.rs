//! What a policy says beyond permit and forbid: `@id @reason @hint @sqlstate @approval @mask @audit @rate @rows
//! @time`.
//!
//! Invariant: a policy whose annotations could not do what their author meant is refused, because a
//! misspelt `@aproval` would turn a hold into a denial, and `@mask("parital")` would show data.

use super::limit;
use super::mentions::reads_approved;
use super::schema::Ask;
use super::token::Token;
use crate::engine::model::{Class, DenialCode, Limits, MaskStyle};
use cedar_policy::{ActionConstraint, Effect, EntityUid, Policy};

/// The annotations of one policy, checked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Notes {
    pub reason: String,
    pub hint: String,
    pub sqlstate: DenialCode,
    /// The group that may approve.
    pub approval: Option<String>,
    pub mask: Option<MaskStyle>,
    pub audit_sync: bool,
    pub limits: Limits,
    /// The only class that its scope lets it apply to; `None`: any.
    pub class: Option<Class>,
}

/// Reads and checks the annotations of `policy`, whose words are `tokens`. `is_for_see`: it can apply to the action `see`.
///
/// # Errors
/// Every wrong annotation: its key and what is wrong with it.
pub(super) fn read(
    policy: &Policy,
    tokens: &[Token<'_>],
    is_for_see: bool,
) -> Result<Notes, Vec<(String, String)>> {
    let mut notes = Notes::default();
    let mut wrong = vec![];
    let is_forbid = policy.effect() == Effect::Forbid;
    notes.class = limit::class_of(policy);
    for (key, value) in policy.annotations() {
        let checked = match key {
            "id" => check_id(value),
            "reason" => check_sentence(value).map(|()| notes.reason = value.into()),
            "hint" => check_sentence(value).map(|()| notes.hint = value.into()),
            "sqlstate" => check_sqlstate(policy, value).map(|code| notes.sqlstate = code),
            "approval" => {
                check_approval(tokens, is_forbid, value).map(|()| notes.approval = Some(value.into()))
            }
            "mask" => check_mask(is_forbid, is_for_see, value).map(|style| notes.mask = Some(style)),
            "audit" if value == "sync" => {
                notes.audit_sync = true;
                Ok(())
            }
            "audit" => Err(format!("@audit is \"sync\", not {value:?}")),
            "rate" | "rows" | "time" => limit::read(key, value, policy, &mut notes.limits),
            _ => Err(format!(
                "unknown annotation @{key}; known: @id @reason @hint @sqlstate @approval @mask @audit @rate @rows @time"
            )),
        };
        if let Err(reason) = checked {
            wrong.push((key.to_owned(), reason));
        }
    }
    if wrong.is_empty() { Ok(notes) } else { Err(wrong) }
}

fn check_id(id: &str) -> Result<(), String> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if id.is_empty() || id.len() > ID_BYTES_MAX || !id.chars().all(is_plain) {
        return Err(format!("@id is 1 to {ID_BYTES_MAX} letters, digits, '-', '_' and '.', not {id:?}"));
    }
    Ok(())
}

/// The text goes into one field of an error message on the wire and into one line of a terminal.
fn check_sentence(text: &str) -> Result<(), String> {
    if text.len() > SENTENCE_BYTES_MAX || text.chars().any(char::is_control) {
        return Err(format!("@reason and @hint are one line of at most {SENTENCE_BYTES_MAX} bytes"));
    }
    Ok(())
}

fn check_sqlstate(policy: &Policy, code: &str) -> Result<DenialCode, String> {
    if policy.effect() != Effect::Forbid {
        return Err("@sqlstate belongs to a forbid: what is permitted has no error".into());
    }
    let is_no_statement = |action: &EntityUid| {
        [Ask::See, Ask::Connect].iter().any(|ask| action.id().unescaped() == ask.as_str())
    };
    if matches!(policy.action_constraint(), ActionConstraint::Eq(action) if is_no_statement(&action)) {
        return Err(
            "@sqlstate is for statements: what is hidden has no error, and a connection that is refused \
                    has 28000"
                .into(),
        );
    }
    DenialCode::named(code).ok_or_else(|| {
        let known = DenialCode::ALL.map(DenialCode::as_str).join(", ");
        format!("@sqlstate is one of {known}, not {code:?}: clients take others for something else than a no")
    })
}

fn check_approval(tokens: &[Token<'_>], is_forbid: bool, group: &str) -> Result<(), String> {
    // '+' joins the groups of several holds.
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.@".contains(c);
    if group.is_empty() || !group.chars().all(is_plain) {
        return Err(format!("@approval names a group (letters, digits, '-', '_', '.', '@'), not {group:?}"));
    }
    if !is_forbid {
        return Err("@approval belongs to a forbid: a permit has nothing to wait for".into());
    }
    if !reads_approved(tokens) {
        return Err("@approval without context.approved: no approval could ever lift this forbid; \
                    add `unless { context.approved }`"
            .into());
    }
    Ok(())
}

fn check_mask(is_forbid: bool, is_for_see: bool, style: &str) -> Result<MaskStyle, String> {
    let style = MaskStyle::named(style).ok_or_else(|| {
        let known = MaskStyle::ALL.map(MaskStyle::as_str).join(", ");
        format!("@mask is one of {known}, not {style:?}")
    })?;
    if !is_forbid {
        return Err("@mask belongs to a forbid: what is permitted is seen in clear".into());
    }
    if !is_for_see {
        return Err("@mask belongs to a policy for Action::\"see\"".into());
    }
    Ok(style)
}

const ID_BYTES_MAX: usize = 100;
const SENTENCE_BYTES_MAX: usize = 500;
