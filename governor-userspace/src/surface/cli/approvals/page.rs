//! What an approver reads.
//!
//! Everything needed to decide, most telling first, on one screen. All of it comes from the side that
//! wants the approval, so all of it passes through [`safe`]. What is cut says so.

use crate::engine::approval::{Answer, State};
use crate::engine::model::{Principal, RelationName, Statement, Timestamp};
use crate::host::approvals::Approval;
use crate::surface::cli::text::{Paint, one_line, safe, span, table};
use std::fmt::Write;

/// One line for each request.
pub(super) fn list(approvals: &[Approval], now: Timestamp, paint: Paint) -> String {
    if approvals.is_empty() {
        return "Nothing waits for an answer.\n".into();
    }
    let rows: Vec<Vec<String>> = approvals
        .iter()
        .map(|approval| {
            let request = &approval.request;
            let state = match approval.state {
                State::Pending => format!("{} left", span(left_ns(approval, now))),
                State::Ended { .. } => approval.state_word().into(),
            };
            vec![
                request.id.clone(),
                state,
                safe(&request.approvers),
                one_line(&request.principal.summary(), 36),
                one_line(&request.claims.database, 16),
                one_line(&texts(&request.statements), 60),
            ]
        })
        .collect();
    table(paint, &["ID", "STATE", "ASKS", "WHO", "DATABASE", "WHAT"], &rows)
}

/// Everything about one request.
pub(super) fn show(approval: &Approval, now: Timestamp, full: bool, paint: Paint) -> String {
    let request = &approval.request;
    let mut out = Lines { text: String::new(), paint };
    let state = match &approval.state {
        State::Pending => paint.yellow(&format!(
            "waits for {}, {} left",
            safe(&request.approvers),
            span(left_ns(approval, now))
        )),
        State::Ended { at, answer } => format!("{} at {}", ended(answer, paint), at.rfc3339()),
    };
    out.line(&format!("{:<10}", request.id), &format!("{state}, asked at {}", request.created.rfc3339()));

    for statement in &request.statements {
        what(&mut out, statement, full);
    }
    if !request.parameters.is_empty() {
        let values: Vec<String> = request
            .parameters
            .iter()
            .enumerate()
            .map(|(index, value)| {
                let value = value
                    .as_ref()
                    .map_or_else(|| "NULL".into(), |value| format!("'{}'", one_line(value, 40)));
                format!("${} = {value}", index + 1)
            })
            .collect();
        out.field("values", &cut(&values.join(", "), full));
    }
    for reason in request.reasons.iter() {
        let hint = if reason.hint.is_empty() { String::new() } else { format!(" ({})", safe(&reason.hint)) };
        out.field("why", &format!("{} [{}]{hint}", safe(&reason.text), safe(&reason.policy)));
    }
    let at_stake = match request.transaction.as_str() {
        "idle" => "none open: it commits by itself".into(),
        "transaction" => "open: it runs inside, and its client holds the locks meanwhile".into(),
        other => safe(other),
    };
    out.field("transact.", &at_stake);
    let claims = &request.claims;
    out.field(
        "database",
        &format!(
            "{} at {} as {}{}",
            safe(&claims.database),
            request.destination,
            safe(&claims.user),
            if claims.application_name.is_empty() {
                String::new()
            } else {
                format!(", calls itself {}", one_line(&claims.application_name, 40))
            }
        ),
    );
    who(&mut out, &request.principal);
    out.field(
        "records",
        &format!("session {}, decision {}", safe(&request.session.0), safe(&request.decision.0)),
    );
    if approval.is_pending() {
        let id = &request.id;
        out.line(
            "",
            &paint.dim(&format!(
                "governor approvals approve {id}   |   governor approvals deny {id} --note WHY"
            )),
        );
    }
    out.text
}

/// One line after an answer.
pub(super) fn answered(approval: &Approval, paint: Paint) -> String {
    let word = match &approval.state {
        State::Ended { answer, .. } => ended(answer, paint),
        State::Pending => approval.state_word().into(),
    };
    format!(
        "{} {word}: {} ({})",
        approval.request.id,
        one_line(&texts(&approval.request.statements), 100),
        safe(&approval.request.principal.summary())
    )
}

fn what(out: &mut Lines, statement: &Statement, full: bool) {
    out.field("what", &out.paint.bold(&cut(statement.text.trim(), full)));
    let mut facts = vec![safe(&statement.tag)];
    facts.extend(relations("changes", &statement.writes));
    facts.extend(relations("reads", &statement.reads));
    if statement.has_where == Some(false) {
        facts.push(out.paint.red("NO WHERE: every row"));
    }
    if let Some(unknown) = &statement.unknown {
        facts.push(out.paint.red(&format!("not fully understood: {}", unknown.cause())));
    }
    out.field("", &facts.join("; "));
}

fn who(out: &mut Lines, principal: &Principal) {
    let login = match &principal.login_user {
        Some(login) if *login != principal.user => format!(", logged in as {}", safe(login)),
        _ => String::new(),
    };
    let terminal = principal.terminal.as_ref().map_or_else(String::new, |name| format!(" on {}", safe(name)));
    out.field(
        "who",
        &format!(
            "{}, uid {} ({}){login}{terminal}",
            safe(&principal.summary()),
            principal.uid,
            safe(&principal.user)
        ),
    );
    out.field(
        "class",
        &format!("{}: {}", principal.class, one_line(&principal.class_evidence.join("; "), 160)),
    );
    let own = if principal.command_line.is_empty() {
        principal.command.clone()
    } else {
        principal.command_line.join(" ")
    };
    out.field("process", &format!("{} {}", principal.pid, one_line(&own, 160)));
    let parents: Vec<String> = principal
        .ancestors
        .iter()
        .map(|parent| format!("{} {}", parent.pid, safe(&parent.executable)))
        .collect();
    if !parents.is_empty() {
        out.field("parents", &one_line(&parents.join(" < "), 300));
    }
    let place = [
        ("unit", &principal.unit),
        ("container", &principal.container),
        ("named", &principal.container_facts.container_name),
        ("image", &principal.container_facts.image),
        ("pod", &principal.container_facts.pod_name),
        ("cgroup", &principal.cgroup),
    ];
    let place: Vec<String> = place
        .iter()
        .filter_map(|(name, value)| value.as_ref().map(|value| format!("{name} {}", one_line(value, 120))))
        .collect();
    if !place.is_empty() {
        out.field("place", &place.join(", "));
    }
}

fn ended(answer: &Answer, paint: Paint) -> String {
    let note =
        |note: &str| if note.is_empty() { String::new() } else { format!(" ({})", one_line(note, 200)) };
    match answer {
        Answer::Granted { by, note: text, .. } => {
            paint.green(&format!("approved by {}{}", safe(by), note(text)))
        }
        Answer::Refused { by, note: text, .. } => paint.red(&format!("denied by {}{}", safe(by), note(text))),
        Answer::Expired => paint.yellow("expired: nobody answered in time"),
        Answer::Cancelled => "cancelled by its client".into(),
        Answer::Lost { reason } => format!("lost: {}", safe(reason)),
    }
}

fn relations(verb: &str, names: &[RelationName]) -> Option<String> {
    let names: Vec<String> = names.iter().map(|name| safe(&name.to_string())).collect();
    (!names.is_empty()).then(|| format!("{verb} {}", names.join(", ")))
}

fn texts(statements: &[Statement]) -> String {
    statements.iter().map(|statement| statement.text.trim()).collect::<Vec<_>>().join("; ")
}

/// Made safe, and cut to part of a screen unless `full`; the cut is told.
fn cut(text: &str, full: bool) -> String {
    let text = safe(text);
    let lines: Vec<&str> = text.lines().collect();
    if full || (lines.len() <= LINES_MAX && text.chars().count() <= CHARACTERS_MAX) {
        return text;
    }
    let shown: String = lines
        .iter()
        .take(LINES_MAX)
        .copied()
        .collect::<Vec<_>>()
        .join("\n")
        .chars()
        .take(CHARACTERS_MAX)
        .collect();
    let hidden = text.chars().count() - shown.chars().count();
    format!("{shown}\n[{hidden} more characters are NOT shown: add --full]")
}

fn left_ns(approval: &Approval, now: Timestamp) -> u64 {
    approval.request.expires.since_ns(now)
}

/// Lines with a label column.
struct Lines {
    text: String,
    paint: Paint,
}

impl Lines {
    fn field(&mut self, label: &str, value: &str) {
        self.line(&format!("  {label:<9}"), value);
    }

    /// Further lines of a value are indented below its first.
    fn line(&mut self, label: &str, value: &str) {
        let label = if label.is_empty() { "  ".to_owned() } else { self.paint.dim(label) };
        // Writing to a String cannot fail.
        let _ = writeln!(self.text, "{label} {}", value.replace('\n', "\n            "));
    }
}

const LINES_MAX: usize = 12;
const CHARACTERS_MAX: usize = 1200;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::approvals::tests::{at, request};

    const PLAIN: Paint = Paint { on: false };

    fn pending(text: &str) -> Approval {
        let mut request = request();
        request.id = "k7q2mx".into();
        request.statements[0].text = text.into();
        Approval { request, state: State::Pending }
    }

    #[test]
    fn one_screen_says_who_what_why_and_how_long() {
        let page = show(&pending("DELETE FROM orders"), at(60), false, PLAIN);
        for part in [
            "waits for dba, 4m left",
            "DELETE FROM orders",
            "not fully understood: too_deep",
            "$1 = '10', $2 = NULL",
            "agents ask first [agent-delete]",
            "it runs inside",
            "shop at 127.0.0.1:5432 as app",
            "agent psql (pid 4711, alice), uid 1000 (alice) on pts/3",
            "agent: ancestor claude",
            "4711 psql shop",
            "4700 /usr/bin/claude",
            "session s1, decision s1.4",
            "governor approvals deny k7q2mx",
        ] {
            assert!(page.contains(part), "{part:?} not in\n{page}");
        }
        assert!(page.lines().count() <= 24, "{page}");
    }

    #[test]
    fn what_is_not_shown_is_told_and_nothing_repaints_the_screen() {
        let hidden = format!("SELECT 1;{}\nDROP TABLE orders\x1b[1A\x1b[2K", "\n".repeat(40));
        let page = show(&pending(&hidden), at(1), false, PLAIN);
        assert!(page.contains("more characters are NOT shown: add --full"), "{page}");
        let page = show(&pending(&hidden), at(1), true, PLAIN);
        assert!(page.contains("DROP TABLE orders\\u{1b}[1A\\u{1b}[2K"), "{page}");
        let line = list(&[pending(&hidden)], at(1), PLAIN);
        assert!(line.contains("SELECT 1; DROP TABLE orders\\u{1b}"), "{line}");
        assert_eq!(line.lines().count(), 2);
    }

    #[test]
    fn ended_requests_name_who_answered() {
        let mut approval = pending("DELETE FROM orders");
        approval.state = State::Ended {
            at: at(9),
            answer: Answer::Refused { by: "bob".into(), uid: 1001, note: "no".into() },
        };
        assert!(show(&approval, at(10), false, PLAIN).contains("denied by bob (no) at 2023-11-14T22:13:29"));
        assert!(!show(&approval, at(10), false, PLAIN).contains("approvals approve"));
        assert_eq!(
            answered(&approval, PLAIN),
            "k7q2mx denied by bob (no): DELETE FROM orders (agent psql (pid 4711, alice))"
        );
        assert_eq!(list(&[], at(1), PLAIN), "Nothing waits for an answer.\n");
    }
}
