//! What the client sends: decided, forwarded, replaced, skipped.

use super::stage::*;
use crate::engine::audit::{AuditEvent, Outcome};
use crate::engine::model::{Class, StatementKind, Verdict};
use crate::engine::session::*;

#[test]
fn an_allowed_query_passes_unchanged_and_is_recorded() {
    let mut s = Stage::ready(Class::Service);
    s.client(&query("DELETE FROM people"));
    assert_eq!(s.to_server, query("DELETE FROM people"));
    assert_eq!(s.verdicts(), [Verdict::Allow]);
    let reply = [complete("DELETE 3"), ready(b'I')].concat();
    s.server(&reply);
    assert_eq!(s.to_client, reply);
    let AuditEvent::Completion(done) = &s.completions[0].event else { panic!() };
    assert_eq!((done.outcome, done.tag.as_deref()), (Outcome::Complete, Some("DELETE 3")));
}

#[test]
fn a_denied_query_fails_in_the_server_too() {
    let mut s = Stage::ready(Class::Agent);
    s.client(&query("DROP TABLE people"));
    assert!(!String::from_utf8_lossy(&s.to_server).contains("DROP"));
    assert_eq!(s.server_kinds(), "Q");
    assert_eq!(s.verdicts(), [Verdict::Deny]);
    // In a transaction the server's own state becomes failed.
    s.server(&[error("42601"), ready(b'E')].concat());
    assert_eq!((s.errors(), s.client_kinds()), (vec!["42501".into()], "EZ".into()));
    assert!(s.to_client.ends_with(&ready(b'E')));
    s.client(&query("SELECT 1"));
    assert_eq!(s.server_kinds(), "QQ", "the session goes on");
}

#[test]
fn a_denial_waits_for_the_replies_before_it() {
    let mut s = Stage::ready(Class::Agent);
    s.client(&[query("SELECT 1"), query("DROP TABLE people")].concat());
    assert_eq!((s.to_client.len(), s.server_kinds().as_str()), (0, "Q"), "one batch at a time");
    s.server(&[complete("SELECT 1"), ready(b'I')].concat());
    assert_eq!(s.client_kinds(), "CZ");
    s.server(&[error("42601"), ready(b'I')].concat());
    assert_eq!((s.client_kinds(), s.errors()), ("CZEZ".into(), vec!["42501".into()]));
}

#[test]
fn one_denied_statement_stops_the_whole_text() {
    let mut s = Stage::ready(Class::Agent);
    s.client(&query("SELECT 1; DROP TABLE people; SELECT 2"));
    assert_eq!(s.statements().len(), 3);
    assert!(!String::from_utf8_lossy(&s.to_server).contains("SELECT"));
}

#[test]
fn text_after_copy_from_stdin_is_a_statement() {
    let mut s = Stage::ready(Class::Agent);
    s.client(&query("COPY people FROM STDIN; DROP TABLE people;"));
    assert!(!String::from_utf8_lossy(&s.to_server).contains("COPY"));
    assert_eq!(
        s.statements().iter().map(|r| r.kind).collect::<Vec<_>>(),
        [StatementKind::CopyIn, StatementKind::Drop]
    );
}

#[test]
fn a_denied_parse_skips_until_sync() {
    let mut s = Stage::ready(Class::Agent);
    s.client(&[parse("", "DROP TABLE people"), bind("", ""), execute(""), sync()].concat());
    assert_eq!(s.server_kinds(), "PS", "a stand-in that fails, and the client's Sync");
    assert!(!String::from_utf8_lossy(&s.to_server).contains("DROP"));
    s.server(&[error("42601"), ready(b'T')].concat());
    assert_eq!((s.client_kinds(), s.errors()), ("EZ".into(), vec!["42501".into()]));
}

#[test]
fn an_earlier_error_hides_the_denial_as_it_hides_everything() {
    let mut s = Stage::ready(Class::Agent);
    s.client(&[parse("", "SELECT nonsense"), parse("x", "DROP TABLE people"), sync()].concat());
    s.server(&[error("42703"), ready(b'I')].concat());
    assert_eq!(s.errors(), ["42703"]);
    assert!(s.closed.is_none());
}

#[test]
fn a_name_is_judged_by_everything_that_it_may_mean() {
    // Benign under a name, closed, evil under the same name, bound: in one pipeline.
    let mut s = Stage::ready(Class::Agent);
    s.client(
        &[parse("a", "SELECT 1"), message(b'C', b"Sa\0"), parse("a", "UPDATE people SET note = ''"), sync()]
            .concat(),
    );
    assert!(!String::from_utf8_lossy(&s.to_server).contains("UPDATE"), "denied where it is parsed");

    // A refused redefinition leaves the first meaning in force.
    let mut s = Stage::ready(Class::Agent);
    s.client(&[parse("a", "DELETE FROM people WHERE id = 1"), sync()].concat());
    s.server(&[message(b'1', b""), ready(b'I')].concat());
    s.client(&[parse("a", "SELECT 1"), sync()].concat());
    s.server(&[error("42P05"), ready(b'I')].concat());
    s.clear();
    s.client(&[bind("", "a"), execute(""), sync()].concat());
    assert_eq!(s.verdicts(), [Verdict::Hold]);
    assert!(s.to_server.is_empty());
}

#[test]
fn sql_prepare_and_execute_are_followed() {
    let mut s = Stage::ready(Class::Agent);
    s.client(&query("PREPARE d AS DROP_IT"));
    s.server(&[error("42601"), ready(b'I')].concat());
    s.clear();
    s.client(&query("PREPARE d(int) AS DELETE FROM people WHERE id = $1"));
    s.server(&[complete("PREPARE"), ready(b'I')].concat());
    s.clear();
    s.client(&query("EXECUTE d(1)"));
    assert_eq!(s.verdicts(), [Verdict::Hold]);
    let mut s = Stage::ready(Class::Agent);
    s.client(&query("EXECUTE never_seen"));
    assert_eq!(s.verdicts(), [Verdict::Deny]);
}

#[test]
fn execute_of_an_unbound_portal_is_unknown() {
    let mut s = Stage::ready(Class::Agent);
    s.client(&[execute("c"), sync()].concat());
    assert_eq!((s.verdicts(), s.server_kinds()), (vec![Verdict::Deny], "PS".into()));
}

#[test]
fn function_calls_are_denied_to_agents() {
    let mut s = Stage::ready(Class::Agent);
    s.client(&message(b'F', b"\0\0\x04\xd2\0\0\0\0\0\0"));
    s.server(&[error("42601"), ready(b'I')].concat());
    assert_eq!((s.verdicts(), s.errors()), (vec![Verdict::Deny], vec!["42501".into()]));
}

#[test]
fn copy_in_passes_and_its_syncs_are_not_owed() {
    let mut s = Stage::ready(Class::Service);
    s.client(&[parse("", "COPY people FROM STDIN"), bind("", ""), execute(""), sync()].concat());
    s.server(&[message(b'1', b""), message(b'2', b""), message(b'G', b"\0\0\0")].concat());
    s.client(&[message(b'd', b"1\tx\n"), message(b'c', b""), sync()].concat());
    s.server(&[complete("COPY 1"), ready(b'I')].concat());
    assert!(s.closed.is_none());
    assert!(s.session.is_idle());
    assert_eq!(s.client_kinds(), "12GCZ");
}

#[test]
fn every_sync_behind_the_row_that_failed_a_copy_is_answered() {
    let mut s = Stage::ready(Class::Service);
    s.client(&[parse("", "COPY people FROM STDIN"), bind("", ""), execute("")].concat());
    s.server(&[message(b'1', b""), message(b'2', b""), message(b'G', b"\0\0\0")].concat());
    let row = message(b'd', b"bad\n");
    s.client(&[row.clone(), sync(), row, sync(), message(b'c', b""), sync(), query("SELECT 1")].concat());
    s.server(
        &[error("22P02"), ready(b'I'), ready(b'I'), ready(b'I'), complete("SELECT 1"), ready(b'I')].concat(),
    );
    assert!(s.closed.is_none(), "{:?}", s.closed);
    assert_eq!(s.client_kinds(), "12GEZZZCZ");
    assert!(s.session.is_idle());
}

#[test]
fn a_copy_whose_end_was_sent_ahead_owes_the_sync_behind_it() {
    let mut s = Stage::ready(Class::Service);
    let data = [message(b'd', b"1\tx\n"), message(b'c', b""), sync()].concat();
    s.client(&[parse("", "COPY people FROM STDIN"), bind("", ""), execute(""), sync(), data].concat());
    let begins = [message(b'1', b""), message(b'2', b""), message(b'G', b"\0\0\0")].concat();
    s.server(&[begins, complete("COPY 1"), ready(b'I')].concat());
    assert!(s.closed.is_none(), "{:?}", s.closed);
    assert!(s.session.is_idle());
}

#[test]
fn a_long_text_streams_for_services_and_is_unknown_to_others() {
    let limits = EngineLimits { statement_bytes_max: 1000, ..EngineLimits::default() };
    let long = query(&format!("SELECT '{}'", "x".repeat(100_000)));
    for (class, passes) in [(Class::Service, true), (Class::Agent, false)] {
        let mut s = Stage::with(class, TlsMode::Decline, limits.clone());
        s.connect();
        for part in long.chunks(777) {
            s.client(part);
        }
        assert_eq!(s.to_server == long, passes, "{class}");
        assert_eq!(s.statements()[0].unknown.as_ref().map(|u| u.cause()), Some("too_long"));
        assert_eq!(s.statements().len(), 1);
        if !passes {
            assert_eq!(s.server_kinds(), "Q");
        }
    }
}

#[test]
fn broken_frames_end_the_session() {
    for bytes in [
        &b"Q\0\0\0\x03"[..],
        b"Q\xff\xff\xff\xff",
        b"Q\0\0\0\x08abcd",
        b"!\0\0\0\x04",
        b"S\0\x0f\xff\xff",
        b"B\0\0\0\x06\0\0",
    ] {
        let mut s = Stage::ready(Class::Service);
        s.client(bytes);
        assert!(matches!(s.closed, Some(CloseReason::Protocol(_))), "{bytes:?}");
        assert!(s.to_server.is_empty());
        assert_eq!(s.errors(), ["08P01"]);
    }
}

#[test]
fn a_hostile_server_ends_the_session() {
    for bytes in [
        ready(b'I'),
        ready(b'X'),
        complete("SELECT 1"),
        data_row(&["x"]),
        message(b'1', b""),
        message(b'!', b""),
        b"Z\0\0\0\x03I".to_vec(),
        message(b'W', b""),
    ] {
        let mut s = Stage::ready(Class::Agent);
        s.server(&bytes);
        assert!(matches!(s.closed, Some(CloseReason::Protocol(_))), "{bytes:?}");
    }
}

#[test]
fn a_server_that_accepts_the_stand_in_is_hostile() {
    let mut s = Stage::ready(Class::Agent);
    s.client(&query("DROP TABLE people"));
    s.server(&ready(b'I'));
    assert!(matches!(s.closed, Some(CloseReason::Protocol(_))));
}

#[test]
fn unfinished_statements_are_recorded_as_lost() {
    let mut s = Stage::ready(Class::Service);
    s.client(&query("SELECT 1; SELECT 2"));
    s.input(Input::ServerClosed);
    let lost = s
        .completions
        .iter()
        .filter(|r| matches!(&r.event, AuditEvent::Completion(c) if c.outcome == Outcome::Lost));
    assert_eq!(lost.count(), 2);
    assert!(matches!(s.completions.last().unwrap().event, AuditEvent::SessionEnd(_)));
}

#[test]
fn turning_off_standard_strings_makes_quotes_unknown() {
    let mut s = Stage::ready(Class::Agent);
    s.server(&message(b'S', b"standard_conforming_strings\0off\0"));
    s.client(&query(r"SELECT '\'; DROP TABLE people; --'"));
    assert_eq!(s.verdicts(), [Verdict::Deny]);
    assert!(s.statements()[0].unknown.is_some());
}

#[test]
fn asynchronous_messages_pass_at_any_time() {
    let mut s = Stage::ready(Class::Agent);
    let sent =
        [message(b'A', b"\0\0\0\x01c\0\0"), message(b'N', b"SNOTICE\0\0"), message(b'S', b"TimeZone\0UTC\0")]
            .concat();
    s.server(&sent);
    assert_eq!(s.to_client, sent);
}

#[test]
fn the_stand_in_names_nothing_that_a_client_could_define() {
    let mut s = Stage::ready(Class::Agent);
    s.client(&query("DROP TABLE people"));
    let (_, body) = &messages(&s.to_server)[0];
    let text = std::str::from_utf8(&body[..body.len() - 1]).unwrap();
    let mut g = s.governance;
    assert!(s.session.understand(text.as_bytes(), &mut g)[0].unknown.is_some(), "{text} is SQL");
}

#[test]
fn a_batch_waits_for_the_one_before_where_names_matter() {
    // PREPARE through the extended protocol, then a redefinition that fails, then EXECUTE: all at once.
    let mut s = Stage::ready(Class::Agent);
    let prepare = "PREPARE foo AS DELETE FROM people";
    s.client(
        &[
            parse("", prepare),
            bind("", ""),
            execute(""),
            sync(),
            query("PREPARE foo AS SELECT 1"),
            query("EXECUTE foo"),
        ]
        .concat(),
    );
    s.server(
        &[message(b'1', b""), message(b'2', b""), message(b'n', b""), complete("PREPARE"), ready(b'I')]
            .concat(),
    );
    assert!(!String::from_utf8_lossy(&s.to_server).contains("EXECUTE foo"));
    s.server(&[error("42P05"), ready(b'I')].concat());
    assert!(!String::from_utf8_lossy(&s.to_server).contains("EXECUTE foo"), "foo is still the DELETE");
    assert_eq!(s.verdicts().last(), Some(&Verdict::Deny));
    // Services that nothing restricts are never made to wait.
    let mut s = Stage::ready(Class::Service);
    s.client(&[query("SELECT 1"), query("SELECT 2"), query("SELECT 3")].concat());
    assert_eq!(s.server_kinds(), "QQQ");
}

#[test]
fn names_that_the_server_would_cut_or_recode_are_refused() {
    let long = "a".repeat(64);
    for name in [long.as_str(), "é"] {
        let mut s = Stage::ready(Class::Agent);
        s.client(&[parse(name, "SELECT 1"), sync()].concat());
        s.server(&[error("42601"), ready(b'I')].concat());
        assert_eq!(s.errors(), ["54000"], "{name}");
        let mut s = Stage::ready(Class::Agent);
        s.client(&query(&format!("EXECUTE \"{name}\"")));
        assert_eq!(s.verdicts(), [Verdict::Deny], "{name}");
        let mut s = Stage::ready(Class::Service);
        s.client(&[parse(name, "SELECT 1"), sync()].concat());
        assert_eq!(s.server_kinds(), "PS");
    }
}

#[test]
fn a_command_that_drops_names_is_not_run_by_name() {
    let mut s = Stage::ready(Class::Agent);
    s.client(&[parse("n", "DEALLOCATE foo"), sync()].concat());
    s.server(&[message(b'1', b""), ready(b'I')].concat());
    s.client(&query("EXECUTE n"));
    assert_eq!(s.verdicts(), [Verdict::Deny]);
}

#[test]
fn a_cursor_takes_the_place_of_a_portal() {
    let mut s = Stage::ready(Class::Agent);
    s.client(&[query("BEGIN")].concat());
    s.server(&[complete("BEGIN"), ready(b'T')].concat());
    s.client(&[parse("s", "SELECT 'x'::text"), bind("p", "s"), describe("p"), sync()].concat());
    let described = row_description(&[("x", 0, 0)]);
    s.server(&[message(b'1', b""), message(b'2', b""), described, ready(b'T')].concat());
    for text in ["CLOSE p", "DECLARE p CURSOR FOR SELECT reverse(email) FROM people"] {
        s.client(&query(text));
        s.server(&[complete("CLOSE CURSOR"), ready(b'T')].concat());
    }
    s.clear();
    s.client(&[execute("p"), sync()].concat());
    assert_eq!(s.server_kinds(), "DES", "the columns of its old meaning count no more");
    let described = row_description(&[("reverse", 0, 0)]);
    s.server(&[described, data_row(&["moc.elpmaxe@siuol"]), complete("FETCH 1"), ready(b'T')].concat());
    assert!(!String::from_utf8_lossy(&s.to_client).contains("siuol"), "it is the cursor's query that counts");
}

#[test]
fn start_up_options_are_settings() {
    for (options, allowed) in [
        ("-c search_path=app", true),
        ("-c role=admin", false),
        ("-c standard_conforming_strings=off", false),
        ("-e", false),
    ] {
        let mut s = Stage::new(Class::Agent);
        s.client(&startup(&[("user", "app"), ("options", options)]));
        assert_eq!(matches!(s.requests.as_slice(), [Request::Dial]), allowed, "{options}");
        let mut s = Stage::new(Class::Service);
        s.client(&startup(&[("user", "app"), ("options", options)]));
        assert!(matches!(s.requests.as_slice(), [Request::Dial]), "{options}");
    }
}

#[test]
fn nothing_overtakes_a_copy_but_its_data() {
    let mut s = Stage::ready(Class::Person);
    s.client(&[query("COPY people FROM STDIN"), message(b'c', b""), sync(), query("SELECT 1")].concat());
    assert_eq!(s.server_kinds(), "Q");
    s.server(&message(b'G', b"\0\0\0"));
    assert_eq!(s.server_kinds(), "Qc", "then the reply is owed");
    s.server(&[complete("COPY 0"), ready(b'I')].concat());
    assert_eq!(s.server_kinds(), "QcS");
    s.server(&ready(b'I'));
    assert_eq!(s.server_kinds(), "QcSQ");
    assert!(s.closed.is_none());
}

#[test]
fn an_extended_copy_that_fails_does_not_stop_the_session() {
    let mut s = Stage::ready(Class::Person);
    s.client(&[parse("", "COPY people FROM STDIN"), bind("", ""), execute(""), sync()].concat());
    s.server(
        &[message(b'1', b""), message(b'2', b""), message(b'n', b""), message(b'G', b"\0\0\0")].concat(),
    );
    // It failed before the server read the Sync, which it answers now.
    s.server(&[error("P0001"), ready(b'I')].concat());
    s.client(&query("SELECT 1"));
    assert!(String::from_utf8_lossy(&s.to_server).contains("SELECT 1"));
    assert!(s.closed.is_none());
}

#[test]
fn a_name_that_was_never_prepared_is_said_to_be_missing() {
    let mut s = Stage::ready(Class::Agent);
    s.client(&[bind("", "nope"), execute(""), sync()].concat());
    s.server(&[error("42601"), ready(b'I')].concat());
    s.client(&[execute("nope"), sync()].concat());
    s.server(&[error("42601"), ready(b'I')].concat());
    s.client(&query("EXECUTE nope"));
    s.server(&[error("42601"), ready(b'I')].concat());
    assert_eq!(s.errors(), ["26000", "34000", "26000"]);
}

#[test]
fn a_failed_parse_takes_the_unnamed_statement_away() {
    for text in ["SELECT broken", "DROP TABLE people"] {
        let mut s = Stage::ready(Class::Agent);
        s.client(&[parse("", "SELECT 1"), sync()].concat());
        s.server(&[message(b'1', b""), ready(b'I')].concat());
        s.clear();
        s.client(&[parse("", text), sync()].concat());
        let (kind, body) = messages(&s.to_server).remove(0);
        assert_eq!((kind, body[0]), (b'P', 0), "unnamed in the server too");
        s.server(&[error("42601"), ready(b'I')].concat());
        s.clear();
        s.client(&[bind("", ""), sync()].concat());
        s.server(&[error("42601"), ready(b'I')].concat());
        assert_eq!(s.errors(), ["26000"], "{text}");
    }
}

#[test]
fn a_denied_bind_leaves_the_unnamed_statement() {
    let mut s = Stage::ready(Class::Agent);
    s.client(&[parse("", "SELECT 1"), bind("", "nope"), sync()].concat());
    s.server(&[message(b'1', b""), error("42601"), ready(b'I')].concat());
    s.clear();
    s.client(&[bind("", ""), sync()].concat());
    assert_eq!(s.server_kinds(), "BS");
}

#[test]
fn what_has_no_place_in_a_copy_is_not_forwarded_and_does_not_wait_for_ever() {
    let mut s = Stage::ready(Class::Person);
    s.client(&query("COPY people FROM STDIN"));
    s.server(&message(b'G', b"\0\0\0"));
    s.clear();
    s.client(&[message(b'd', b"1"), query("DROP TABLE people")].concat());
    let sent = messages(&s.to_server);
    assert_eq!(sent.len(), 2);
    assert_eq!((sent[1].0, sent[1].1.as_slice()), (b'Q', &b"denied by governor\0"[..]));
    assert!(s.requests.is_empty() && s.statements().is_empty());
}

/// Without a Sync the server may keep thousands of replies, and their requests' texts are kept here.
#[test]
fn what_a_pipeline_keeps_is_bounded_and_the_server_is_asked_to_answer() {
    let mut s = Stage::ready(Class::Service);
    let text = format!("SELECT '{}'", "x".repeat(1 << 19));
    let mut sent = 0;
    while s.session.wants_client() {
        s.client(&parse("", &text));
        sent += 1;
        assert!(sent < 100, "{sent} MiB are kept");
    }
    assert_eq!(s.server_kinds(), "P".repeat(sent) + "H");
    s.clear();
    s.client(&parse("", &text));
    assert!(s.to_server.is_empty(), "the client waits");
    s.server(&message(b'1', b""));
    assert_eq!(s.server_kinds(), "PH", "one place was free, and is taken");
    s.clear();
    s.server(&message(b'1', b"").repeat(sent));
    s.client(&sync());
    assert_eq!(s.server_kinds(), "S", "no more than is needed");
    s.server(&ready(b'I'));
    assert!(s.session.is_idle());
}

/// Whatever governor itself asks for: what answers no question ends the session too.
#[test]
fn nonsense_in_answer_to_governors_own_question_ends_the_session() {
    for nonsense in [message(b'?', b"x"), message(b'G', &[0, 0, 0]), message(b'V', &[0xff; 4])] {
        // Of the catalogue.
        let mut s = Stage::new(Class::Agent);
        s.client(&startup(&[("user", "app")]));
        s.input(Input::Connected);
        s.server(&[message(b'R', &0u32.to_be_bytes()), ready(b'I')].concat());
        assert!(s.closed.is_none() && !s.to_server.is_empty());
        s.server(&nonsense);
        assert!(matches!(s.closed, Some(CloseReason::Protocol(_))), "{nonsense:?}");

        // Of the session's state: the catalogue is refused, the first statement waits.
        let mut s = Stage::new(Class::Agent);
        s.state = None; // the test answers itself
        s.client(&startup(&[("user", "app")]));
        s.input(Input::Connected);
        s.server(&[message(b'R', &0u32.to_be_bytes()), ready(b'I')].concat());
        s.server(&[error("42501"), ready(b'I')].concat());
        s.clear();
        s.client(&query("SELECT 1"));
        assert!(s.closed.is_none() && !s.to_server.ends_with(&query("SELECT 1")));
        s.server(&nonsense);
        assert!(matches!(s.closed, Some(CloseReason::Protocol(_))), "{nonsense:?}");
    }
}
