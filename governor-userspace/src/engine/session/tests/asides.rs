//! What the server says beside its replies: to a masked session only what it may read.

use super::stage::*;
use crate::engine::model::Class;

fn notification(payload: &str) -> Vec<u8> {
    message(b'A', format!("\0\0\0\x07news\0{payload}\0").as_bytes())
}

fn status(name: &str, value: &str) -> Vec<u8> {
    message(b'S', format!("{name}\0{value}\0").as_bytes())
}

fn told(s: &Stage) -> String {
    String::from_utf8_lossy(&s.to_client).into_owned()
}

#[test]
fn a_payload_of_unknown_origin_is_masked() {
    for (class, clear) in [(Class::Agent, false), (Class::Person, false), (Class::Service, true)] {
        let mut s = Stage::ready(class);
        s.server(&notification("violet-harbour-6613"));
        assert_eq!(told(&s).contains("violet-harbour-6613"), clear, "{class}");
        assert_eq!(s.client_kinds(), "A");
        s.clear();
        s.server(&notification(""));
        assert_eq!(s.to_client, notification(""), "nothing in it");
    }
}

#[test]
fn free_text_in_a_setting_is_told_to_who_said_it() {
    let mut s = Stage::ready(Class::Agent);
    let done = |status: &[u8], tag: &str| [complete(tag), status.to_vec(), ready(b'I')].concat();
    s.client(&query("SET application_name = 'my tool'"));
    s.server(&done(&status("application_name", "my tool"), "SET"));
    assert_eq!(s.client_kinds(), "CSZ");
    s.clear();
    s.client(&query("SELECT upper(note) FROM people"));
    s.server(&done(&status("application_name", "violet-harbour-6613"), "SELECT 0"));
    assert_eq!(s.client_kinds(), "CZ", "{}", told(&s));
    s.clear();
    s.client(&query("SELECT note FROM people"));
    s.server(&done(&status("TimeZone", "<violet>-6"), "SELECT 0"));
    s.server(&status("is_superuser", "off"));
    assert_eq!(s.client_kinds(), "CZS");
    s.clear();
    s.client(&query("RESET application_name"));
    s.server(&done(&status("application_name", "psql"), "RESET"));
    assert_eq!(s.client_kinds(), "CSZ");
    s.clear();
    // As a rollback does.
    s.client(&query("ROLLBACK"));
    s.server(&done(&status("application_name", "my tool"), "ROLLBACK"));
    assert_eq!(s.client_kinds(), "CSZ");
}

#[test]
fn a_service_is_told_every_setting() {
    let mut s = Stage::ready(Class::Service);
    s.server(&status("application_name", "violet-harbour-6613"));
    assert_eq!(s.client_kinds(), "S");
}
