//! The two events that every statement leaves, as JSON, without measuring their field names again each time.
//!
//! Invariant: byte for byte what `serde_json` makes of the same event; a test compares them. What is rare in
//! a record (an unknown's cause, bound values) is left to `serde_json`.

use super::record::{AuditEvent, Completion, StatementRecord};
use serde::Serialize;

/// Appends `event` as one JSON object.
pub(super) fn write_event(out: &mut Vec<u8>, event: &AuditEvent) -> serde_json::Result<()> {
    match event {
        AuditEvent::Statement(record) => statement(out, record),
        AuditEvent::Completion(record) => completion(out, record),
        other => json(out, other),
    }
}

fn statement(out: &mut Vec<u8>, record: &StatementRecord) -> serde_json::Result<()> {
    // Taken apart in full: a field that is added must be written too.
    let StatementRecord {
        decision,
        verdict,
        reasons,
        kind,
        tag,
        text: sql,
        text_bytes,
        fingerprint,
        reads,
        writes,
        unknown,
        parameters,
        tokens,
        conditions,
        executes,
        approval,
        break_glass,
        class,
        user,
        pid,
        database,
        database_user,
    } = record;
    out.extend_from_slice(b"{\"event\":\"statement\",\"decision\":");
    text(out, &decision.0)?;
    out.extend_from_slice(b",\"verdict\":");
    word(out, verdict.as_str());
    out.extend_from_slice(b",\"reasons\":[");
    for (at, reason) in reasons.iter().enumerate() {
        out.extend_from_slice(if at == 0 { b"{\"policy\":" } else { b",{\"policy\":" });
        text(out, &reason.policy)?;
        out.extend_from_slice(b",\"text\":");
        text(out, &reason.text)?;
        out.extend_from_slice(b",\"hint\":");
        text(out, &reason.hint)?;
        if !reason.sqlstate.is_usual() {
            out.extend_from_slice(b",\"sqlstate\":");
            word(out, reason.sqlstate.as_str());
        }
        out.push(b'}');
    }
    out.extend_from_slice(b"],\"kind\":");
    word(out, kind.as_str());
    out.extend_from_slice(b",\"tag\":");
    text(out, tag)?;
    out.extend_from_slice(b",\"text\":");
    text(out, sql)?;
    out.extend_from_slice(b",\"text_bytes\":");
    json(out, text_bytes)?;
    out.extend_from_slice(b",\"fingerprint\":");
    text(out, fingerprint)?;
    if !reads.is_empty() {
        out.extend_from_slice(b",\"reads\":");
        texts(out, reads)?;
    }
    if !writes.is_empty() {
        out.extend_from_slice(b",\"writes\":");
        texts(out, writes)?;
    }
    if let Some(unknown) = unknown {
        out.extend_from_slice(b",\"unknown\":");
        json(out, unknown)?;
    }
    if !parameters.is_empty() {
        out.extend_from_slice(b",\"parameters\":");
        json(out, parameters)?;
    }
    if *tokens > 0 {
        out.extend_from_slice(b",\"tokens\":");
        json(out, tokens)?;
    }
    if !conditions.is_empty() {
        out.extend_from_slice(b",\"conditions\":");
        texts(out, conditions)?;
    }
    if !executes.is_empty() {
        out.extend_from_slice(b",\"executes\":");
        json(out, executes)?;
    }
    if let Some(approval) = approval {
        out.extend_from_slice(b",\"approval\":");
        text(out, approval)?;
    }
    if let Some(id) = break_glass {
        out.extend_from_slice(b",\"break_glass\":");
        text(out, id)?;
    }
    out.extend_from_slice(b",\"class\":");
    word(out, class.as_str());
    out.extend_from_slice(b",\"user\":");
    text(out, user)?;
    out.extend_from_slice(b",\"pid\":");
    json(out, pid)?;
    out.extend_from_slice(b",\"database\":");
    text(out, database)?;
    out.extend_from_slice(b",\"database_user\":");
    text(out, database_user)?;
    out.push(b'}');
    Ok(())
}

fn completion(out: &mut Vec<u8>, record: &Completion) -> serde_json::Result<()> {
    let Completion {
        decision,
        outcome,
        tag,
        rows,
        bytes,
        masked,
        masked_by,
        masked_in_doubt,
        duration_ns,
        governor_ns,
        sqlstate,
        limit,
        told_millibits,
    } = record;
    out.extend_from_slice(b"{\"event\":\"completion\",\"decision\":");
    text(out, &decision.0)?;
    out.extend_from_slice(b",\"outcome\":");
    json(out, outcome)?;
    if let Some(tag) = tag {
        out.extend_from_slice(b",\"tag\":");
        text(out, tag)?;
    }
    out.extend_from_slice(b",\"rows\":");
    json(out, rows)?;
    out.extend_from_slice(b",\"bytes\":");
    json(out, bytes)?;
    out.extend_from_slice(b",\"masked\":");
    json(out, masked)?;
    if !masked_by.is_empty() {
        out.extend_from_slice(b",\"masked_by\":");
        json(out, masked_by)?;
    }
    if !masked_in_doubt.is_empty() {
        out.extend_from_slice(b",\"masked_in_doubt\":");
        json(out, masked_in_doubt)?;
    }
    out.extend_from_slice(b",\"duration_ns\":");
    json(out, duration_ns)?;
    out.extend_from_slice(b",\"governor_ns\":");
    json(out, governor_ns)?;
    if let Some(sqlstate) = sqlstate {
        out.extend_from_slice(b",\"sqlstate\":");
        text(out, sqlstate)?;
    }
    if let Some(limit) = limit {
        out.extend_from_slice(b",\"limit\":");
        word(out, limit.as_str());
    }
    if *told_millibits > 0 {
        out.extend_from_slice(b",\"told_millibits\":");
        json(out, told_millibits)?;
    }
    out.push(b'}');
    Ok(())
}

fn texts(out: &mut Vec<u8>, list: &[String]) -> serde_json::Result<()> {
    out.push(b'[');
    for (at, item) in list.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        text(out, item)?;
    }
    out.push(b']');
    Ok(())
}

/// A word of a closed set: nothing in it needs an escape.
fn word(out: &mut Vec<u8>, word: &'static str) {
    out.push(b'"');
    out.extend_from_slice(word.as_bytes());
    out.push(b'"');
}

/// A JSON string. Nearly none needs an escape, and one pass without branches tells.
pub(super) fn text(out: &mut Vec<u8>, text: &str) -> serde_json::Result<()> {
    let escapes =
        text.bytes().fold(false, |found, byte| found | (byte < 0x20) | (byte == b'"') | (byte == b'\\'));
    if escapes {
        return json(out, text);
    }
    out.push(b'"');
    out.extend_from_slice(text.as_bytes());
    out.push(b'"');
    Ok(())
}

/// Whatever else there is. A number costs no more this way.
pub(super) fn json<T: Serialize + ?Sized>(out: &mut Vec<u8>, value: &T) -> serde_json::Result<()> {
    serde_json::to_writer(out, value)
}
