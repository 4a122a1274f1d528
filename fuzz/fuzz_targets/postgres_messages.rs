//! Each parser of one message, either direction: no panic, and nothing read beyond the message.
#![no_main]

use governor::engine::wire::postgres::{Header, backend, frontend, sasl, startup};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(Some((opening, used))) = startup::parse(bytes) {
        assert!(used <= bytes.len());
        // What a prefix says never changes with what follows, but for the one byte that means TLS.
        assert_eq!(
            startup::parse(&bytes[..used.max(1)]).ok().flatten().map(|(o, _)| o),
            Some(opening.clone())
        );
        match opening {
            startup::Opening::Startup(startup) => {
                let _ = (startup.claims(), startup.settings(), startup.is_replication());
            }
            startup::Opening::Cancel { process, secret } => {
                assert_eq!(startup::cancel_request(process, &secret), bytes[..used]);
            }
            _ => {}
        }
    }
    if let Ok(Some(header)) = Header::peek(bytes) {
        assert!(header.total_bytes() >= Header::BYTES);
    }
    // Once with few values kept, once with all: only what is kept may differ.
    let (few, all) = (frontend::bind(bytes, 1), frontend::bind(bytes, usize::MAX));
    assert_eq!(few.is_ok(), all.is_ok());
    if let (Ok(few), Ok(all)) = (few, all) {
        assert_eq!(
            (few.names, few.values_count, &few.result_formats),
            (all.names, all.values_count, &all.result_formats)
        );
        assert!(few.values.len() <= 1 && all.values.len() == all.values_count);
        assert_eq!(frontend::bind_names(bytes), Ok(all.names));
    }
    let _ = (frontend::query(bytes), frontend::parse(bytes), frontend::execute(bytes));
    let _ = (frontend::named(bytes, "Close"), frontend::function_call(bytes));
    if let Ok(fields) = backend::row_description(bytes) {
        // Each column takes 19 bytes at least: a count cannot make more than was sent.
        assert!(fields.len() * 19 <= bytes.len());
    }
    if let Ok(values) = backend::data_row(bytes) {
        assert!(values.len() * 4 <= bytes.len());
    }
    let _ =
        (backend::ready_for_query(bytes), backend::parameter_status(bytes), backend::backend_key_data(bytes));
    let _ = (backend::command_complete(bytes), backend::notification(bytes), backend::authentication(bytes));
    if let Ok((_, columns)) = backend::copy_response(bytes) {
        assert_eq!(columns * 2 + 3, bytes.len());
    }
    if let Some(fields) = backend::error_fields(bytes) {
        // Kind and end of each, and the end of all.
        let read: usize = fields.iter().map(|(_, text)| text.len() + 2).sum();
        assert_eq!(read + 1, bytes.len());
        for (code, text) in fields.iter().rev() {
            let first = fields.iter().find(|(other, _)| other == code).map(|(_, text)| *text);
            assert_eq!(backend::error_field(bytes, *code), Ok(first), "{text:?}");
        }
    }
    if let Ok(mechanisms) = sasl::mechanisms(bytes) {
        assert!(mechanisms.iter().map(|name| name.len() + 1).sum::<usize>() < bytes.len());
    }
    let _ = sasl::initial_response(bytes);
    for code in [b'C', b'M', b'V', 0] {
        let _ = backend::error_field(bytes, code);
    }
});
