//! Words of the server that may quote data: whose are hidden, and from whom.

use super::stage::*;
use crate::engine::model::Class;

const SECRET: &str = "louis@example.com";

fn report(kind: u8, fields: &[(u8, &str)]) -> Vec<u8> {
    let mut body = Vec::new();
    for (code, text) in fields {
        body.push(*code);
        body.extend(text.as_bytes());
        body.push(0);
    }
    body.push(0);
    let mut message = vec![kind];
    message.extend((body.len() as u32 + 4).to_be_bytes());
    message.extend(body);
    message
}

/// What the client of `class` reads of a report that answers `text`.
fn read(class: Class, text: &str, kind: u8, fields: &[(u8, &str)]) -> String {
    let mut s = Stage::ready(class);
    s.client(&query(text));
    s.server(&report(kind, fields));
    String::from_utf8_lossy(&s.to_client).into_owned()
}

fn cast(extra: (u8, &'static str)) -> Vec<(u8, &'static str)> {
    vec![
        (b'S', "ERROR"),
        (b'V', "ERROR"),
        (b'C', "22P02"),
        (b'M', "invalid input syntax for type integer: \"louis@example.com\""),
        extra,
        (b'R', "pg_strtoint32"),
    ]
}

#[test]
fn an_error_that_may_quote_sensitive_data_keeps_its_sqlstate_only() {
    let text = "SELECT 1 FROM people WHERE email::int > 0";
    // An agent may not choose by an address.
    for (class, text) in [(Class::Agent, "SELECT email FROM people"), (Class::Person, text)] {
        let told = read(class, text, b'E', &cast((b'F', "numutils.c")));
        assert!(!told.contains(SECRET), "{told}");
        assert!(told.contains("22P02") && told.contains("not valid for its type"), "{told}");
    }
    assert!(read(Class::Service, text, b'E', &cast((b'F', "numutils.c"))).contains(SECRET));
}

#[test]
fn words_about_the_clients_own_text_stay() {
    let told = read(Class::Agent, "SELECT 'louis@example.com'::int FROM people", b'E', &cast((b'P', "8")));
    assert!(told.contains("invalid input syntax"), "{told}");
    let harmless = read(Class::Agent, "SELECT 1", b'E', &cast((b'F', "numutils.c")));
    assert!(harmless.contains("invalid input syntax"), "{harmless}");
}

#[test]
fn words_from_within_a_function_are_hidden_whatever_the_statement_names() {
    for extra in [(b'W', "PL/pgSQL function f() line 1 at RAISE"), (b'q', "SELECT wrong")] {
        let told = read(Class::Agent, "SELECT 1", b'E', &cast(extra));
        assert!(!told.contains(SECRET), "{told}");
    }
    let raised = [
        (b'S', "NOTICE"),
        (b'V', "NOTICE"),
        (b'C', "00000"),
        (b'M', "it is louis@example.com"),
        (b'R', "exec_stmt_raise"),
    ];
    let told = read(Class::Agent, "SELECT 1", b'N', &raised);
    assert!(!told.contains(SECRET), "{told}");
    assert!(told.contains("hides"), "{told}");
}

#[test]
fn the_servers_log_is_not_passed_on() {
    let log = [(b'S', "LOG"), (b'V', "LOG"), (b'C', "00000"), (b'M', "plan: louis@example.com")];
    assert_eq!(read(Class::Agent, "SELECT 1", b'N', &log), "");
}

#[test]
fn a_constraint_keeps_its_name_and_loses_its_detail() {
    let fields = [
        (b'S', "ERROR"),
        (b'V', "ERROR"),
        (b'C', "23505"),
        (b'M', "duplicate key value violates unique constraint \"people_email_key\""),
        (b'D', "Key (email)=(louis@example.com) already exists."),
        (b't', "people"),
        (b'n', "people_email_key"),
        (b'R', "_bt_check_unique"),
    ];
    let told = read(Class::Person, "INSERT INTO people (id, email) VALUES (1, $$x$$)", b'E', &fields);
    assert!(!told.contains(SECRET) && told.contains("people_email_key"), "{told}");
}

#[test]
fn a_report_that_is_too_long_to_be_read_is_hidden() {
    let long = format!("{}{SECRET}", "x".repeat(20_000));
    let fields = [(b'S', "ERROR"), (b'V', "ERROR"), (b'C', "22P02"), (b'M', long.as_str()), (b'P', "1")];
    let told = read(Class::Agent, "SELECT 1 FROM people", b'E', &fields);
    assert!(!told.contains(SECRET) && told.contains("hides"), "{told}");
}

/// A trigger may run at the login, before anything is asked; what it says is code's, whether it ends the session or not.
#[test]
fn what_a_login_trigger_says_is_hidden() {
    for (kind, severity) in [(b'N', "NOTICE"), (b'E', "FATAL")] {
        let mut s = Stage::new(Class::Agent);
        s.client(&startup(&[("user", "app"), ("database", "shop")]));
        s.input(crate::engine::session::Input::Connected);
        s.server(&message(b'R', &0u32.to_be_bytes()));
        let mut body = Vec::new();
        for (code, text) in [
            (b'S', severity),
            (b'V', severity),
            (b'C', "P0001"),
            (b'M', SECRET),
            (b'W', "PL/pgSQL function greet() line 1 at RAISE"),
            (b'R', "exec_stmt_raise"),
        ] {
            body.push(code);
            body.extend(text.as_bytes());
            body.push(0);
        }
        body.push(0);
        s.server(&message(kind, &body));
        let told = String::from_utf8_lossy(&s.to_client).into_owned();
        assert!(!told.contains(SECRET) && told.contains("hides"), "{severity}: {told}");
    }
}
