//! A bound parameter that is a token: when the server gets its value, and what stays as it was.

use super::stage::*;
use crate::engine::masking::{Format, MaskingKey, ValueMask, mask_value};
use crate::engine::model::{Category, Class, MaskStyle, Timestamp, Verdict};
use crate::engine::session::{ColumnPattern, EngineLimits, Labels, TlsMode};
use crate::engine::wire::postgres::frontend;
use std::sync::Arc;

const VALUE: &str = "louis@example.com";
const LOOK_UP: &str = "SELECT id FROM people WHERE email = $1";

/// A session of an agent that sees `email`, and whatever is called so, as tokens.
fn stage_of(class: Class, change: impl FnOnce(&mut EngineLimits), more: &[&[&str]]) -> Stage {
    let mut limits = EngineLimits { compare_tokens: true, ..EngineLimits::default() };
    change(&mut limits);
    let mut stage = Stage::with(class, TlsMode::Decline, limits);
    let pattern =
        |column: &str| ColumnPattern { schema: "*".into(), relation: "*".into(), column: column.into() };
    stage.governance.labels = Arc::new(Labels {
        sensitive: vec![(pattern("alias"), Category::Email), (pattern("handle"), Category::PersonName)],
        styles: ["email", "alias", "handle"].map(|name| (pattern(name), MaskStyle::Token)).to_vec(),
        ..Labels::default()
    });
    keys(&stage, &[7]);
    stage.connect_with(more);
    stage
}

fn stage() -> Stage {
    stage_of(Class::Agent, |_| {}, &[])
}

fn keys(stage: &Stage, roots: &[u8]) {
    let keys = roots.iter().map(|root| MaskingKey::derive(&[*root; 32]).unwrap());
    stage.governance.masker.keys.replace(keys.collect());
}

/// What the session is shown for a value of `category`.
fn token_of(stage: &Stage, value: &str, category: Category) -> String {
    let mask = ValueMask {
        style: MaskStyle::Token,
        category: Some(category),
        tweak: 0,
        type_oid: 25,
        type_modifier: -1,
        format: Format::Text,
    };
    let mut token = Vec::new();
    mask_value(&stage.governance.masker, &mask, value.as_bytes(), &mut token);
    assert!(token.starts_with(b"tok_"));
    String::from_utf8(token).unwrap()
}

fn token(stage: &Stage) -> String {
    token_of(stage, VALUE, Category::Email)
}

fn bind_to(statement: &str, values: &[Option<&str>], formats: &[i16]) -> Vec<u8> {
    let mut body = format!("\0{statement}\0").into_bytes();
    body.extend((formats.len() as u16).to_be_bytes());
    formats.iter().for_each(|format| body.extend(format.to_be_bytes()));
    body.extend((values.len() as u16).to_be_bytes());
    for value in values {
        body.extend(value.map_or(-1, |value| value.len() as i32).to_be_bytes());
        body.extend(value.unwrap_or_default().bytes());
    }
    body.extend([0, 1, 0, 0]);
    message(b'B', &body)
}

fn parse_typed(text: &str, types: &[u32]) -> Vec<u8> {
    let mut body = format!("\0{text}\0").into_bytes();
    body.extend((types.len() as u16).to_be_bytes());
    types.iter().for_each(|oid| body.extend(oid.to_be_bytes()));
    message(b'P', &body)
}

/// The values of the Binds that the server got.
fn bound(stage: &Stage) -> Vec<Vec<Option<String>>> {
    let binds = messages(&stage.to_server).into_iter().filter(|(kind, _)| *kind == b'B');
    binds
        .map(|(_, body)| {
            let bind = frontend::bind(&body, 100).unwrap();
            assert_eq!(bind.result_formats, [0], "what stands behind the values is as it was");
            let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
            bind.values.iter().map(|(value, _)| value.map(text)).collect()
        })
        .collect()
}

/// Whether the value of a token reached the server in place of it.
fn replaces(stage: &mut Stage, text: &str, token: &str) -> bool {
    stage.clear();
    stage.client(&[parse("", text), bind_to("", &[Some(token)], &[]), execute(""), sync()].concat());
    let waits = stage.parsed();
    let sent = stage.to_server.windows(VALUE.len()).any(|bytes| bytes == VALUE.as_bytes());
    let replaced = bound(stage) == [[Some(VALUE.to_owned())]];
    assert_eq!(sent, replaced, "{text}: the value is in the Bind or nowhere");
    assert!(!String::from_utf8_lossy(&stage.to_client).contains(VALUE), "{text}");
    let records = format!("{:?}", stage.records);
    assert!(!records.contains(VALUE), "{text}: {records}");
    // Whatever came of it, the session goes on.
    let answers: Vec<u8> = messages(&stage.to_server).iter().skip(usize::from(waits)).fold(
        Vec::new(),
        |mut all, (kind, body)| {
            match kind {
                b'P' if body.ends_with(b"denied by governor\0\0\0") => all.extend(error("42601")),
                b'P' => all.extend(message(b'1', b"")),
                b'B' => all.extend(message(b'2', b"")),
                b'D' => all.extend(row_description(&[("id", 20000, 1)])),
                b'E' => all.extend(complete("SELECT 0")),
                b'S' => all.extend(ready(b'I')),
                other => panic!("{other}"),
            }
            all
        },
    );
    stage.server(&answers);
    assert!(stage.to_client.ends_with(&ready(b'I')), "{text}: {}", stage.client_kinds());
    replaced
}

#[test]
fn the_server_gets_the_value_of_a_token_and_the_record_keeps_the_token() {
    let mut s = stage();
    let token = token(&s);
    assert!(replaces(&mut s, LOOK_UP, &token));
    assert_eq!(s.verdicts(), [Verdict::Allow]);
    let record = s.statements()[0];
    assert_eq!((record.parameters[0].as_deref(), record.tokens), (Some(token.as_str()), 1));
    assert!(record.conditions.is_empty(), "{:?}", record.conditions);
}

#[test]
fn what_is_no_token_is_denied_as_without_the_setting() {
    let mut s = stage();
    let token = token(&s);
    let forged = format!("{}A", &token[..token.len() - 1]);
    let cut = &token[..token.len() - 4];
    let padded = format!(" {token}");
    for value in [VALUE, "", "tok_", "tok_00000000_AAAA", &forged, cut, &padded, &token.to_uppercase()] {
        assert!(!replaces(&mut s, LOOK_UP, value), "{value}");
        assert_eq!(s.verdicts(), [Verdict::Deny], "{value}");
        assert_eq!(s.statements()[0].tokens, 0);
        assert_eq!(s.errors(), ["42501"], "{value}");
        let told = String::from_utf8_lossy(&s.to_client).into_owned();
        assert!(told.contains("bind the token as it was shown"), "{told}");
    }
    // And then one that is.
    assert!(replaces(&mut s, LOOK_UP, &token));
}

#[test]
fn nothing_is_replaced_where_it_is_not_switched_on() {
    let mut s = stage_of(Class::Agent, |limits| limits.compare_tokens = false, &[]);
    let token = token(&s);
    assert!(!replaces(&mut s, LOOK_UP, &token));
    assert_eq!(s.verdicts(), [Verdict::Deny]);
    assert!(!String::from_utf8_lossy(&s.to_client).contains("bind the token"));
}

#[test]
fn a_token_counts_for_exactly_what_this_session_is_shown_it_for() {
    let columns: &[&[&str]] = &[
        &["r", "20010", "public", "others", "r", "20011", "10"],
        &["c", "20010", "1", "alias", "25"],
        &["c", "20010", "2", "handle", "25"],
        &["c", "20010", "3", "iban", "25"],
        &["c", "20010", "4", "note", "25"],
        &["r", "20020", "public", "narrow", "r", "20021", "10"],
        &["c", "20020", "1", "email", "1043", "1", "44"],
        &["r", "20030", "public", "wide", "r", "20031", "10"],
        &["c", "20030", "1", "email", "1043", "1", "259"],
        &["r", "20040", "public", "loose", "r", "20041", "10"],
        &["c", "20040", "1", "email", "25"],
        &["E", "20040", "1"],
        &["r", "20050", "public", "foreign", "f", "20051", "10"],
        &["c", "20050", "1", "email", "25"],
        &["r", "20060", "public", "folded", "r", "20061", "10"],
        &["c", "20060", "1", "email", "1042"],
    ];
    let mut s = stage_of(Class::Agent, |_| {}, columns);
    let email = token(&s);
    for (text, is_replaced) in [
        ("SELECT 1 FROM others WHERE alias = $1", true),
        ("SELECT 1 FROM wide WHERE email = $1", true),
        ("SELECT 1 FROM people p JOIN others o ON o.alias = $1 WHERE p.email = $1", true),
        // Of another category it has another token.
        ("SELECT 1 FROM others WHERE handle = $1", false),
        ("SELECT 1 FROM others WHERE alias = $1 OR handle = $1", false),
        // Masked in another style, or not at all.
        ("SELECT 1 FROM others WHERE iban = $1", false),
        ("SELECT 1 FROM others WHERE note = $1", false),
        ("SELECT 1 FROM others WHERE alias = $1 AND note = $1", false),
        // A token does not fit, so none is shown.
        ("SELECT 1 FROM narrow WHERE email = $1", false),
        // Equal is not the same there.
        ("SELECT 1 FROM loose WHERE email = $1", false),
        ("SELECT 1 FROM folded WHERE email = $1", false),
        ("SELECT 1 FROM \"foreign\" WHERE email = $1", false),
        // Used otherwise as well.
        ("SELECT $1 FROM people WHERE email = $1", false),
        ("SELECT upper($1) FROM people WHERE email = $1", false),
        ("EXPLAIN SELECT 1 FROM people WHERE email = $1", false),
        ("DECLARE c CURSOR FOR SELECT 1 FROM people WHERE email = $1", false),
        ("CREATE TABLE kept AS SELECT 1 FROM people WHERE email = $1", false),
        ("SELECT 1 FROM people WHERE email > $1", false),
        ("SELECT 1 FROM people WHERE email LIKE $1", false),
    ] {
        assert_eq!(replaces(&mut s, text, &email), is_replaced, "{text}");
    }
    let handle = token_of(&s, VALUE, Category::PersonName);
    assert!(replaces(&mut s, "SELECT 1 FROM others WHERE handle = $1", &handle));
    assert!(!replaces(&mut s, LOOK_UP, &handle));

    // With keys of their own for columns, a token of one is none of another.
    let mut apart = stage_of(Class::Agent, |limits| limits.keys_per_column = true, columns);
    let plain = token(&apart);
    assert!(!replaces(&mut apart, LOOK_UP, &plain));
}

#[test]
fn only_the_current_key_counts() {
    let mut s = stage();
    let old = token(&s);
    keys(&s, &[7, 8]);
    let new = token(&s);
    assert!(!replaces(&mut s, LOOK_UP, &old), "whoever knows an old key could guess values");
    assert_eq!(s.verdicts(), [Verdict::Deny]);
    assert!(replaces(&mut s, LOOK_UP, &new));
}

#[test]
fn types_and_formats_are_those_of_text() {
    let mut s = stage();
    let token = token(&s);
    for (types, format, is_replaced) in [
        (&[][..], 0, true),
        (&[], 1, true),
        (&[25], 1, true),
        (&[1043], 0, true),
        (&[0], 0, true),
        // `name` is cut at 63 bytes, `char` at its blanks; others are operators of their own.
        (&[19], 0, false),
        (&[1042], 0, false),
        (&[705], 0, false),
        (&[17], 0, false),
        (&[16_500], 0, false),
    ] {
        s.clear();
        let bind = bind_to("", &[Some(&token)], &[format]);
        s.client(&[parse_typed(LOOK_UP, types), bind, sync()].concat());
        s.parsed();
        let value = Some(VALUE.to_owned());
        assert_eq!(bound(&s).contains(&vec![value]), is_replaced, "{types:?} {format}");
        s.clear();
        s.session.client_skips = false;
        s = stage();
    }
}

#[test]
fn of_several_parameters_each_is_what_it_is() {
    let mut s = stage();
    let token = token(&s);
    let text = "SELECT id FROM people WHERE email = $2 AND id = $1 AND note = $3";
    let bind = bind_to("", &[Some("17"), Some(&token), None], &[0, 1, 0]);
    s.client(&[parse("", text), bind, execute(""), sync()].concat());
    s.parsed();
    assert_eq!(bound(&s), [[Some("17".to_owned()), Some(VALUE.to_owned()), None]]);
    assert_eq!(s.statements()[0].tokens, 1);
    // One that is none counts as it does alone.
    let mut s = stage();
    let text = "SELECT id FROM people WHERE email IN ($1, $2)";
    s.client(&[parse("", text), bind_to("", &[Some(&token), Some("x@example.com")], &[])].concat());
    s.parsed();
    assert_eq!((bound(&s).len(), s.verdicts()), (0, vec![Verdict::Deny]));
    let mut s = stage();
    s.client(&[parse("", text), bind_to("", &[Some(&token), Some(&token)], &[])].concat());
    s.parsed();
    assert_eq!(bound(&s), [[Some(VALUE.to_owned()), Some(VALUE.to_owned())]]);
}

#[test]
fn a_statement_is_bound_again_and_again_whatever_it_was_bound_to() {
    let mut s = stage();
    let token = token(&s);
    s.client(&[parse("s", LOOK_UP), message(b'D', b"Ss\0"), sync()].concat());
    s.server(
        &[
            message(b'1', b""),
            message(b't', b"\0\x01\0\0\0\x19"),
            row_description(&[("id", 20000, 1)]),
            ready(b'I'),
        ]
        .concat(),
    );
    assert_eq!(s.client_kinds(), "1tTZ");
    for (value, is_token) in [(token.as_str(), true), (VALUE, false), (&token, true), (&token, true)] {
        s.clear();
        s.client(&[bind_to("s", &[Some(value)], &[]), execute(""), sync()].concat());
        if is_token {
            assert_eq!(bound(&s), [[Some(VALUE.to_owned())]]);
            s.server(&[message(b'2', b""), data_row(&["1"]), complete("SELECT 1"), ready(b'I')].concat());
            assert_eq!(s.client_kinds(), "2DCZ");
        } else {
            assert!(bound(&s).is_empty());
            s.server(&[error("42601"), ready(b'I')].concat());
            assert_eq!(s.client_kinds(), "EZ");
        }
    }
    // By its name its arguments are part of a text.
    s.clear();
    s.client(&query(&format!("EXECUTE s('{token}')")));
    assert_eq!(s.verdicts(), [Verdict::Deny]);
    assert!(!String::from_utf8_lossy(&s.to_server).contains(VALUE));
}

#[test]
fn in_a_pipeline_the_denied_one_is_the_one_without_a_token() {
    let mut s = stage();
    let token = token(&s);
    let batch = |value: &str| [parse("", LOOK_UP), bind_to("", &[Some(value)], &[]), execute("")].concat();
    s.client(&[batch(&token), batch(VALUE), batch(&token), sync()].concat());
    assert!(s.parsed());
    s.server(&[message(b'2', b""), row_description(&[("id", 20000, 1)]), complete("SELECT 0")].concat());
    assert!(s.parsed());
    assert_eq!(bound(&s), [[Some(VALUE.to_owned())]], "what stands behind a denial is skipped");
    assert_eq!(s.verdicts(), [Verdict::Allow, Verdict::Deny]);
    let kinds = s.server_kinds();
    assert!(kinds.ends_with("PPS"), "{kinds}: a stand-in has the place of the denied Bind");
}

#[test]
fn it_does_not_matter_where_a_bind_is_split() {
    let whole = {
        let mut s = stage();
        let token = token(&s);
        s.client(&[parse("", LOOK_UP), bind_to("", &[Some(&token)], &[]), execute(""), sync()].concat());
        assert!(s.parsed());
        s.to_server
    };
    let bytes = {
        let token = token(&stage());
        [parse("", LOOK_UP), bind_to("", &[Some(&token)], &[]), execute(""), sync()].concat()
    };
    for at in 1..bytes.len() {
        let mut s = stage();
        s.client(&bytes[..at]);
        assert!(!s.to_server.windows(4).any(|part| part == b"tok_"), "{at}");
        s.client(&bytes[at..]);
        s.parsed();
        assert_eq!(s.to_server, whole, "{at}");
    }
}

#[test]
fn what_is_masked_otherwise_by_then_is_judged_again() {
    let mut s = stage();
    let token = token(&s);
    s.client(&[parse("", LOOK_UP), bind_to("", &[Some(&token)], &[]), message(b'H', b"")].concat());
    s.parsed();
    assert_eq!(bound(&s), [[Some(VALUE.to_owned())]]);
    s.clear();
    // Policy now wants it hidden as a whole.
    use crate::engine::policy::{PolicySet, PolicySource, Profile};
    let mut sources = PolicySet::builtin(Profile::Protect);
    sources.push(PolicySource::new(
        "mine.cedar",
        r#"@id("mine") @reason("none of it") @mask("null")
           forbid (principal, action == Governor::Action::"see", resource in Governor::Relation::"public.people");"#,
    ));
    s.governance.change_policy(Arc::new(PolicySet::compile(&sources).unwrap()));
    s.client(&[execute(""), sync()].concat());
    assert_eq!(s.verdicts(), [Verdict::Deny]);
}

#[test]
fn a_person_spends_nothing_of_the_budget_on_tokens() {
    let mut s = stage_of(Class::Person, |_| {}, &[]);
    let token = token(&s);
    s.at(Timestamp { unix_ns: 2, monotonic_ns: 2 });
    // Each look-up of a value costs a fourth of a bit; above 16 bits the client is told.
    let is_warned = |s: &mut Stage, value: &str| {
        (0..80).any(|_| {
            replaces(s, LOOK_UP, value);
            assert_eq!(s.verdicts(), [Verdict::Allow]);
            s.client_kinds().contains('N')
        })
    };
    assert!(!is_warned(&mut s, &token));
    let mut s = stage_of(Class::Person, |_| {}, &[]);
    s.at(Timestamp { unix_ns: 2, monotonic_ns: 2 });
    // Not replaced, so it is there as it was sent.
    assert!(is_warned(&mut s, "somebody@example.com"), "the budget counts what is no token");
}

#[test]
fn errors_and_notices_are_silent_about_values_once_the_server_has_some() {
    let mut s = stage();
    let token = token(&s);
    let failed = |severity: &str, code: &str| {
        let context = format!("W unnamed portal with parameters: $1 = '{VALUE}'");
        let fields = [format!("S{severity}"), format!("V{severity}"), format!("C{code}"), "Mends".into()];
        let mut body: Vec<u8> = fields.iter().flat_map(|field| field.bytes().chain([0])).collect();
        body.extend(context.bytes().chain([0, 0]));
        body
    };
    for (kind, severity, code) in [
        (b'N', "NOTICE", "00000"),
        (b'N', "LOG", "00000"),
        (b'E', "ERROR", "57014"),
        (b'E', "FATAL", "57P01"),
    ] {
        s.clear();
        s.client(&[parse("", LOOK_UP), bind_to("", &[Some(&token)], &[]), execute(""), sync()].concat());
        assert!(s.parsed());
        assert_eq!(bound(&s), [[Some(VALUE.to_owned())]]);
        s.server(&[message(b'2', b""), row_description(&[("id", 20000, 1)])].concat());
        s.server(&message(kind, &failed(severity, code)));
        assert!(!String::from_utf8_lossy(&s.to_client).contains(VALUE), "{severity} {code}");
        let rest = if kind == b'N' { complete("SELECT 0") } else { vec![] };
        s.server(&[rest, ready(b'I')].concat());
    }
}
