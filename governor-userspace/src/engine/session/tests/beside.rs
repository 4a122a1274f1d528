//! Records and approvals: constants and bound values that stand beside sensitive columns are not in them.

use super::stage::*;
use crate::engine::masking::{Format, MaskingKey, ValueMask, mask_value};
use crate::engine::model::{Category, Class, MaskStyle};
use crate::engine::session::{EngineLimits, Request, TlsMode};

/// Nothing that detectors know.
const SECRET: &str = "violet-harbour-6613";

/// `people(id, email, note, password, salary)`.
fn stage(class: Class) -> Stage {
    Stage::ready_with(class, &COLUMNS)
}

const COLUMNS: [&[&str]; 2] =
    [&["c", "20000", "4", "password", "25"], &["c", "20000", "5", "salary", "1700"]];

/// All that is on record, and what an approver reads.
fn said(s: &Stage) -> String {
    let held = s.requests.iter().filter_map(|request| match request {
        Request::Hold(held) => Some(serde_json::to_string(held).unwrap()),
        _ => None,
    });
    format!("{:?} {:?} {}", s.records, s.completions, held.collect::<String>())
}

fn text(s: &Stage) -> String {
    let texts: Vec<_> = s.statements().iter().map(|record| record.text.to_string()).collect();
    texts.join("; ")
}

/// A Bind of the unnamed statement with one value.
fn bound(value: &[u8], format: u16) -> Vec<u8> {
    let mut body = b"\0\0\0\x01".to_vec();
    body.extend(format.to_be_bytes());
    body.extend([0, 1]);
    body.extend((value.len() as u32).to_be_bytes());
    body.extend(value);
    body.extend([0, 0]);
    message(b'B', &body)
}

#[test]
fn a_literal_beside_a_sensitive_column_is_not_on_record() {
    for (sql, shown) in [
        (
            "SELECT id FROM people WHERE password = § AND id = 7",
            "SELECT id FROM people WHERE password = '***' AND id = 7",
        ),
        (
            "SELECT id FROM people p WHERE § IN (p.password, note)",
            "SELECT id FROM people p WHERE '***' IN (p.password, note)",
        ),
        (
            "SELECT id FROM people WHERE lower(password) LIKE lower(§)",
            "SELECT id FROM people WHERE lower(password) LIKE lower('***')",
        ),
        (
            "SELECT id FROM people WHERE salary BETWEEN 184199.77 AND 2e5",
            "SELECT id FROM people WHERE salary BETWEEN *** AND ***",
        ),
        (
            "SELECT 1 FROM (SELECT password AS p FROM people) q WHERE p = §",
            "SELECT 1 FROM (SELECT password AS p FROM people) q WHERE p = '***'",
        ),
        (
            "SELECT 1 FROM people AS p(a, b, c, d, e) WHERE d = §",
            "SELECT 1 FROM people AS p(a, b, c, d, e) WHERE d = '***'",
        ),
        (
            "UPDATE people SET password = §, note = 'seen' WHERE id = 7",
            "UPDATE people SET password = '***', note = 'seen' WHERE id = 7",
        ),
        (
            "INSERT INTO people (id, password) VALUES (9, §)",
            "INSERT INTO people (id, password) VALUES (9, '***')",
        ),
        (
            "INSERT INTO people VALUES (9, NULL, 'n', §, 4)",
            "INSERT INTO people VALUES (9, NULL, 'n', '***', ***)",
        ),
        (
            "EXPLAIN SELECT id FROM people WHERE password = §",
            "EXPLAIN SELECT id FROM people WHERE password = '***'",
        ),
        (
            "PREPARE p AS SELECT id FROM people WHERE password = §",
            "PREPARE p AS SELECT id FROM people WHERE password = '***'",
        ),
        (
            "DECLARE c CURSOR FOR SELECT id FROM people WHERE password = §",
            "DECLARE c CURSOR FOR SELECT id FROM people WHERE password = '***'",
        ),
        ("SELECT 1 FROM nowhere WHERE password = §", "SELECT 1 FROM nowhere WHERE password = '***'"),
        ("ALTER ROLE app PASSWORD §", "ALTER ROLE app PASSWORD '***'"),
        ("SET app.password = §", "SET app.password = '***'"),
        ("UPDATE people SET password = § WHER id = 7", "UPDATE people SET password = '***' WHER id = ***"),
        ("SELECT id FROM people WHERE password §", "SELECT id FROM people WHERE password '***'"),
        // What stands beside others stays, and so does what detectors know nothing of.
        (
            "SELECT id FROM people WHERE note = 'open' LIMIT 5",
            "SELECT id FROM people WHERE note = 'open' LIMIT 5",
        ),
        (
            "SELECT id, 'password' FROM people WHERE id > 100",
            "SELECT id, 'password' FROM people WHERE id > 100",
        ),
    ] {
        for class in [Class::Agent, Class::Person] {
            let mut s = stage(class);
            s.client(&query(&sql.replace('§', &format!("'{SECRET}'"))));
            assert_eq!(text(&s), shown, "{class}");
            assert!(!said(&s).contains(SECRET), "{class} {sql}: {}", said(&s));
        }
    }
}

#[test]
fn a_value_that_is_bound_to_a_sensitive_column_is_not_on_record() {
    let number = [0, 2, 0, 1, 0, 0, 0, 2, 0, 18, 0x10, 0x67];
    for class in [Class::Agent, Class::Person] {
        for (sql, value, format, shown) in [
            ("SELECT id FROM people WHERE salary = $1", &b"184199.77"[..], 0, "***"),
            ("SELECT id FROM people WHERE salary = $1", &number, 1, "***"),
            ("SELECT id FROM people WHERE password = $1", SECRET.as_bytes(), 0, "***"),
            ("SELECT id FROM people WHERE password = $1", SECRET.as_bytes(), 1, "***"),
            ("UPDATE people SET password = $1 WHERE id = 7", SECRET.as_bytes(), 0, "***"),
            ("INSERT INTO people (password) VALUES ($1)", SECRET.as_bytes(), 0, "***"),
            ("SELECT id FROM people WHERE note = $1", b"open", 0, "open"),
            ("SELECT id FROM people WHERE note = $1", b"open", 1, "<4 bytes>"),
        ] {
            let mut s = stage(class);
            // A denial may come as early as Parse: then nothing is bound.
            s.client(&[parse("", sql), bound(value, format), execute(""), sync()].concat());
            s.parsed();
            assert!(
                !said(&s).contains(SECRET) && !said(&s).contains("184199"),
                "{class} {sql}: {}",
                said(&s)
            );
            let all = s.statements();
            for found in all.iter().filter(|record| !record.parameters.is_empty()) {
                assert_eq!(found.parameters[0].as_deref(), Some(shown), "{class} {sql}");
            }
        }
    }
    let mut s = stage(Class::Person);
    let insert = parse("", "INSERT INTO people (password) VALUES ($1)");
    s.client(&[insert, bound(SECRET.as_bytes(), 0), execute(""), sync()].concat());
    s.parsed();
    assert!(s.statements().iter().any(|record| record.parameters.len() == 1), "{:?}", s.statements());
}

#[test]
fn an_argument_of_execute_goes_by_what_it_is_an_argument_for() {
    for class in [Class::Agent, Class::Person] {
        let mut s = stage(class);
        s.client(&query("PREPARE p (text, int) AS INSERT INTO people (password, id) VALUES ($1, $2)"));
        s.server(&[complete("PREPARE"), ready(b'I')].concat());
        s.clear();
        s.client(&query(&format!("EXECUTE p ('{SECRET}', 7)")));
        assert_eq!(text(&s), "EXECUTE p ('***', 7)", "{class}");
        assert!(!said(&s).contains(SECRET), "{}", said(&s));
        let mut s = stage(class);
        s.client(&query("EXECUTE unseen (184199.77)"));
        assert!(!said(&s).contains("184199"), "{}", said(&s));
    }
}

#[test]
fn who_answers_a_hold_reads_no_value_of_a_sensitive_column() {
    let mut s = stage(Class::Agent);
    let texts = format!("UPDATE people SET password = '{SECRET}' WHERE id = 7");
    s.client(&query(&texts));
    assert!(s.session.is_held(), "{:?}", s.statements());
    let [Request::Hold(request)] = s.requests.as_slice() else { panic!("{:?}", s.requests) };
    assert_eq!(&*request.statements[0].text, "UPDATE people SET password = '***' WHERE id = 7");
    assert!(!said(&s).contains(SECRET), "{}", said(&s));

    let mut s = stage(Class::Agent);
    let update = parse("", "UPDATE people SET password = $1 WHERE id = 7");
    s.client(&[update, bound(SECRET.as_bytes(), 0), execute(""), sync()].concat());
    s.parsed();
    let [Request::Hold(request)] = s.requests.as_slice() else { panic!("{:?}", s.requests) };
    assert_eq!(request.parameters[0].as_deref(), Some("***"));
    assert!(!said(&s).contains(SECRET), "{}", said(&s));
}

/// Of a service policy hides nothing, and no catalogue is read for it: its records are as detectors leave them.
#[test]
fn a_services_record_has_what_detectors_do_not_know() {
    let mut s = Stage::ready(Class::Service);
    s.client(&query("SELECT id FROM people WHERE salary = 184199.77 OR email = 'louis@example.com'"));
    assert!(text(&s).contains("184199.77") && !text(&s).contains("louis@"), "{}", text(&s));
}

#[test]
fn a_bound_token_stays_on_record_and_what_looks_like_one_does_not() {
    let s = Stage::with(Class::Person, TlsMode::Decline, EngineLimits::default());
    s.governance.masker.keys.replace(vec![MaskingKey::derive(&[7; 32]).unwrap()]);
    let mask = ValueMask {
        style: MaskStyle::Token,
        category: Some(Category::Credential),
        tweak: 0,
        type_oid: 25,
        type_modifier: -1,
        format: Format::Text,
    };
    let mut token = Vec::new();
    mask_value(&s.governance.masker, &mask, SECRET.as_bytes(), &mut token);
    let token = String::from_utf8(token).unwrap();
    for (value, shown) in [(token.clone(), &*token), (format!("{}AAAA", &token[..token.len() - 4]), "***")] {
        let mut s = Stage::with(Class::Person, TlsMode::Decline, EngineLimits::default());
        s.governance.masker.keys.replace(vec![MaskingKey::derive(&[7; 32]).unwrap()]);
        s.connect_with(&COLUMNS);
        let insert = parse("", "INSERT INTO people (password) VALUES ($1)");
        s.client(&[insert, bound(value.as_bytes(), 0), execute(""), sync()].concat());
        s.parsed();
        let found: Vec<_> =
            s.statements().iter().flat_map(|r| r.parameters.iter().flatten().cloned()).collect();
        assert_eq!(found, [shown], "{value}");
    }
}
