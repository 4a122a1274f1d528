//! Bad files are refused whole, with the place and the reason.

use super::*;

#[track_caller]
fn refused(text: &str, place: &str, reason: &str) {
    let found = problems(text);
    assert!(
        found.iter().any(|p| p.starts_with(&format!("test.cedar:{place}")) && p.contains(reason)),
        "{text}\nwanted {place} {reason:?}, found {found:#?}"
    );
}

#[test]
fn refusals_name_line_and_reason() {
    const P: &str = "permit (principal, action, resource)";
    refused("permit (principal, action, resource)", "1:", "unexpected end of input");
    refused("// fine\n\npermit (principl, action, resource);", "3:9: ", "principl");
    refused(&format!("{P};\n{P} when {{ context.nope }};"), "2:", "nope");
    refused(&format!("{P}\nwhen {{ principal.clas == \"person\" }};"), "2:8: ", "clas");
    refused(&format!("{P} when {{ principal.login_user == \"x\" }};"), "1:", "login_user");
    refused(&format!("{P} when {{ principal.uid == \"0\" }};"), "1:", "");
    refused("permit (principal in Governor::Class::\"persn\", action, resource);", "1:", "persn");
    refused("permit (principal, action == Governor::Action::\"selct\", resource);", "1:", "selct");
    refused(
        "permit (principal, action == Governor::Action::\"write\", resource);",
        "1:",
        "write `action in Governor::Action::\"write\"`",
    );
    refused(
        "forbid (principal, action in Governor::Action::\"read\", resource == Governor::Relation::\"pay.rates\");",
        "1:",
        "context.reads.contains(\"pay.rates\")",
    );
    refused("permit (principal in Governor::Clas::\"person\", action, resource);", "1:", "Clas");
    refused("permit (principal == ?principal, action, resource);", "1:", "templates");
    refused(&format!("{P} when {{ false }};"), "1:", "false");
    refused(&format!("@id(\"a\") {P};\n@id(\"a\") {P};"), "2:", "already used at test.cedar:1:1");
}

/// Words of SQL, and questions that others than the one at hand can answer.
#[test]
fn refusals_say_what_to_write_instead() {
    const RUN: &str = "forbid (principal, action in Governor::Action::\"run\", resource) when";
    const SEE: &str = "forbid (principal, action == Governor::Action::\"see\", resource) when";
    for (text, place, reason) in [
        (
            format!("{RUN} {{ context.is_write or context.approved }};"),
            "1:89: ",
            "Cedar writes `||` for `or`",
        ),
        (
            format!("{RUN} {{ context.is_write AND context.approved }};"),
            "1:89: ",
            "Cedar writes `&&` for `and`",
        ),
        (format!("{RUN} {{ context.is_write & context.approved }};"), "1:89: ", "Cedar writes `&&` for `&`"),
        (format!("{RUN} {{ not context.is_write }};"), "1:76: ", "Cedar writes `!` for `not`: `!(…)`"),
        (
            format!("{RUN} {{ context.approved && not(context.is_write) }};"),
            "1:92: ",
            "Cedar writes `!` for `not`",
        ),
        (
            format!("{SEE} {{ context.labels.contains(\"pci\") }};"),
            "1:72: ",
            "of a column write `resource.labels`",
        ),
        (format!("{SEE} {{ context.is_write }};"), "1:72: ", "action in Governor::Action::\"run\""),
        (
            format!("{RUN} {{ resource.labels.contains(\"pci\") }};"),
            "1:72: ",
            "of statements write `context.labels`",
        ),
        (format!("{RUN} {{ resource.schema == \"pay\" }};"), "1:72: ", "context.schemas"),
        (format!("{RUN} {{ principal.group == \"hr\" }};"), "1:72: ", "principal in Governor::Group"),
        ("forbid (principal, action, resource) when { context.is_write };".into(), "1:45: ", "in the scope"),
    ] {
        refused(&text, place, reason);
        assert_eq!(problems(&text).len(), 1, "{:#?}", problems(&text));
    }
    refused(&format!("{RUN} {{ principal.unit == \"a.service\" }};"), "1:72: ", "`principal has unit && ..`");
    // Told once, and not for each of the 27 actions.
    let found = problems(&format!("{RUN} {{ context.estimated_rows > 5 }};"));
    assert!(found.len() == 1 && found[0].contains("context has estimated_rows"), "{found:#?}");
    assert!(!found[0].contains("Governor::Action"), "{found:#?}");
}

#[test]
fn annotations_are_checked() {
    const RUN: &str = "(principal, action in Governor::Action::\"run\", resource)";
    const SEE: &str = "(principal, action == Governor::Action::\"see\", resource)";
    let lifted = "unless { context.approved }";
    refused(&format!("@aproval(\"dba\")\nforbid {RUN} {lifted};"), "1:1: ", "unknown annotation @aproval");
    refused(&format!("// x\n@id(\"a\")\n@approval(\"\")\nforbid {RUN} {lifted};"), "3:1: ", "names a group");
    refused(&format!("@approval\nforbid {RUN} {lifted};"), "1:1: ", "names a group");
    refused(&format!("@approval(\"a+b\")\nforbid {RUN} {lifted};"), "1:1: ", "names a group");
    refused(&format!("@approval(\"dba\")\nforbid {RUN};"), "1:1: ", "no approval could ever lift");
    refused(
        &format!("@approval(\"dba\")\nforbid {RUN} unless {{ context.reads_sensitive }};"),
        "1:1: ",
        "no approval could ever lift",
    );
    refused(&format!("@approval(\"dba\")\npermit {RUN} {lifted};"), "1:1: ", "belongs to a forbid");
    refused(&format!("@mask(\"parital\") forbid {SEE};"), "1:1: ", "not \"parital\"");
    refused(&format!("@mask(\"redact\") permit {SEE};"), "1:1: ", "belongs to a forbid");
    refused(&format!("@mask(\"redact\") forbid {RUN};"), "1:1: ", "Action::\"see\"");
    refused(&format!("@sqlstate(\"40001\") forbid {RUN};"), "1:1: ", "not \"40001\"");
    refused(&format!("@sqlstate(\"25006\") permit {RUN};"), "1:1: ", "belongs to a forbid");
    refused(&format!("@sqlstate(\"25006\") forbid {SEE};"), "1:1: ", "is for statements");
    refused(&format!("@audit(\"async\") forbid {RUN};"), "1:1: ", "not \"async\"");
    refused(&format!("@id(\"\") forbid {RUN};"), "1:1: ", "@id is");
    refused(&format!("@id(\"a b\") forbid {RUN};"), "1:1: ", "@id is");
    refused(&format!("@reason(\"two\\nlines\") forbid {RUN};"), "1:1: ", "one line");

    let ok = format!(
        "@id(\"a\") @reason(\"r\") @hint(\"h\") @sqlstate(\"25006\") @approval(\"dba\") @audit(\"sync\") forbid {RUN} {lifted};\n\
         @mask(\"null\") forbid {SEE};"
    );
    assert_eq!(problems(&ok), Vec::<String>::new());
}

#[test]
fn every_problem_of_every_file_is_told() {
    let sources = [
        PolicySource::new(
            "a.cedar",
            "permit (principal, action, resource) when { context.x };\n@nope forbid (principal, action, resource);",
        ),
        PolicySource::new("b.cedar", "\n\nsyntax error"),
        PolicySource::new("c.cedar", "permit (principal, action, resource);"),
    ];
    let error = PolicySet::compile(&sources).unwrap_err();
    let places: Vec<(&str, Option<u32>)> = error.problems.iter().map(|p| (p.file.as_str(), p.line)).collect();
    assert!(places.contains(&("a.cedar", Some(1))), "{error}");
    assert!(places.contains(&("a.cedar", Some(2))), "{error}");
    assert!(places.contains(&("b.cedar", Some(3))), "{error}");
    assert!(!places.iter().any(|(file, _)| *file == "c.cedar"), "{error}");
    assert_eq!(error.to_string().lines().count(), error.problems.len());
}

#[test]
fn columns_count_characters() {
    let found = problems("permit (principal, action, resource) when { \"äöü\" == context.nope };");
    assert!(found.iter().any(|p| p.starts_with("test.cedar:1:54:")), "{found:?}");
}

#[test]
fn disabled_policies_are_left_out_and_must_exist() {
    let sources = PolicySet::builtin(Profile::Protect);
    let all = PolicySet::compile(&sources).unwrap();
    let disabled = ["people-unbounded-approved".to_owned()];
    let fewer = PolicySet::compile_with(&sources, &disabled).unwrap();
    assert_eq!(fewer.policies_count() + 1, all.policies_count());
    assert_ne!(fewer.version(), all.version());
    let mut s = statement(StatementKind::Delete);
    s.has_where = Some(false);
    assert_eq!(run(&all, Class::Person, &s).verdict, Verdict::Hold);
    assert_eq!(run(&fewer, Class::Person, &s).verdict, Verdict::Allow);

    let error = PolicySet::compile_with(&sources, &["no-such-id".to_owned()]).unwrap_err();
    assert!(error.to_string().contains("no-such-id"), "{error}");
}

#[test]
fn versions_name_content_not_order() {
    let a = PolicySource::new("a.cedar", "permit (principal, action, resource);");
    let b = PolicySource::new("b.cedar", "// nothing");
    let version = |sources: &[PolicySource]| PolicySet::compile(sources).unwrap().version().to_owned();
    assert_eq!(version(&[a.clone(), b.clone()]), version(&[b.clone(), a.clone()]));
    assert_eq!(version(std::slice::from_ref(&a)).len(), 16);
    let mut changed = b.clone();
    changed.text.push(' ');
    assert_ne!(version(&[a.clone(), b.clone()]), version(&[a.clone(), changed]));
    // Where one part ends and the next begins is part of it.
    let c = PolicySource::new("a.cedar\n", "// nothing");
    let d = PolicySource::new("a.cedar", "\n// nothing");
    assert_ne!(version(&[c]), version(&[d]));
}

#[test]
fn files_say_what_is_in_force() {
    let set = protect();
    let total: usize = set.files().iter().map(|file| file.policies_count).sum();
    assert_eq!(total, set.policies_count());
    assert_eq!(set.files()[0].name, "builtin/services.cedar");
}
