//! No text makes `compile` panic, hang or overflow the stack.

use super::*;
use proptest::prelude::*;

/// Pieces of the language, so that random joins get past the first token.
const PIECES: [&str; 34] = [
    "permit",
    "forbid",
    "(",
    ")",
    "{",
    "}",
    "[",
    "]",
    "principal",
    "action",
    "resource",
    ",",
    ";",
    "when",
    "unless",
    "in",
    "==",
    "Governor::Action::\"run\"",
    "Governor::Class::\"agent\"",
    "context",
    ".approved",
    " has ",
    "@id",
    "(\"x\")",
    "@approval(\"dba\")",
    "\"",
    "\\",
    "//",
    "\n",
    "!",
    "-",
    "like \"*\"",
    "ip(\"1.2.3.4\")",
    "é",
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn any_text(text in ".{0,200}") {
        let _ = problems(&text);
    }

    #[test]
    fn any_tokens(picked in proptest::collection::vec(0..PIECES.len(), 0..60)) {
        let text: String = picked.iter().map(|&n| PIECES[n]).collect::<Vec<_>>().join(" ");
        let _ = problems(&text);
    }

    #[test]
    fn any_condition(picked in proptest::collection::vec(0..PIECES.len(), 0..12)) {
        let condition: String = picked.iter().map(|&n| PIECES[n]).collect::<Vec<_>>().join(" ");
        let _ = problems(&format!("permit (principal, action, resource) when {{ {condition} }};"));
    }
}

/// Deep and long texts: each repeats `unit` around or beside a core.
#[test]
fn depth_is_bounded() {
    let policy = |condition: &str| format!("permit (principal, action, resource) when {{ {condition} }};");
    for n in [50, 1_000, 8_000, 16_000, 80_000] {
        for condition in [
            format!("{}true{}", "(".repeat(n), ")".repeat(n)),
            format!("{}true{}", "[".repeat(n), "]".repeat(n)),
            format!("{}1{}", "{a:".repeat(n), "}".repeat(n)),
            format!("{}true", "!".repeat(n)),
            format!("{}1 == 1", "-".repeat(n)),
            format!("1{} == 1", " + 1".repeat(n)),
            format!("true{}", " && true".repeat(n)),
            format!("true{}", " || false".repeat(n)),
            format!("context{}", ".a".repeat(n)),
            format!("{}true{}", "if true then ".repeat(n), " else true".repeat(n)),
            format!("true {}", "} when { true ".repeat(n)),
            // A semicolon in a string or comment does not end a policy.
            format!("context.tag == \";\"{}", " || context.tag == \";\"".repeat(n)),
            format!("true{}", " && true // ;\n".repeat(n)),
        ] {
            let _ = problems(&policy(&condition));
        }
    }
}

#[test]
fn oversized_files_are_refused() {
    let comment = format!("//{}\npermit (principal, action, resource);", "x".repeat(9 << 20));
    assert!(problems(&comment)[0].contains("longer than"));
    let policy = format!("permit (principal, action, resource) when {{ true{} }};", " && true".repeat(8_000));
    let found = problems(&policy);
    assert!(found[0].contains("one policy is longer than"), "{found:?}");
    let quoted = format!(
        "permit (principal, action == Governor::Action::\"select\", resource) when {{ true{} }};",
        " || context.tag == \";\"".repeat(8_000)
    );
    assert!(problems(&quoted)[0].contains("one policy is longer than"));
}
