//! Any text gives facts: no panic, never an empty script, and the same facts each time; and it can be read a second time.
#![no_main]

use governor::engine::sql::{PARSER_STACK_BYTES_MIN, PostgresDialect, SqlDialect, second_reading};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (bool, &str)| {
    let (standard_conforming_strings, text) = input;
    let dialect = PostgresDialect { standard_conforming_strings };
    // The dialect states how much stack its caller must have; the sanitizer's frames are larger.
    std::thread::scope(|scope| {
        std::thread::Builder::new()
            .stack_size(PARSER_STACK_BYTES_MIN * 16)
            .spawn_scoped(scope, || {
                let script = dialect.script(text);
                assert!(!script.statements.is_empty());
                assert_eq!(script, dialect.script(text));
                second_reading(text, &script.statements);
                for statement in &script.statements {
                    assert!(text.contains(&*statement.text), "a statement that is not in its text");
                }
            })
            .expect("a thread")
            .join()
            .expect("no panic");
    });
});
