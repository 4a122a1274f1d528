//! Packs and the page answer their own cases; a case that fails says what and why.

use super::*;
use crate::engine::policy::{Pack, PolicySource, Profile};
use std::collections::BTreeSet;

fn parts(pack: &Pack) -> PolicyParts {
    let mut sources = PolicySet::builtin(Profile::Protect);
    sources.push(pack.source());
    PolicyParts { sources, ..PolicyParts::default() }
}

/// Every pack answers its own cases, and every policy of it decides one of them.
#[test]
fn packs_answer_as_they_say() {
    for pack in Pack::ALL {
        let file: CaseFile<Case> =
            toml::from_str(pack.cases).unwrap_or_else(|e| panic!("{}: {e}", pack.name));
        let mut unseen: BTreeSet<String> = pack_ids(&pack.source()).into_iter().collect();
        assert!(file.cases.len() >= unseen.len(), "{}: too few cases", pack.name);
        for case in &file.cases {
            let set = file.compile(&parts(&pack), &case.disabled).unwrap();
            let got = file.answer(&set, case, &ColumnWords::default()).unwrap();
            let wrong = case.differences(&got);
            assert!(wrong.is_empty(), "{}: {}: {wrong:?}\n{got:#?}", pack.name, case.name);
            for reason in &got.reasons {
                unseen.remove(&reason.policy);
            }
        }
        unseen.retain(|id| !id.ends_with("-permitted")); // what shows a column is not told
        assert!(unseen.is_empty(), "{}: no case for {unseen:?}", pack.name);
    }
}

fn pack_ids(source: &PolicySource) -> Vec<String> {
    let ids = source.text.lines().filter_map(|line| line.strip_prefix("@id(\""));
    ids.map(|id| id.trim_end_matches("\")").to_owned()).collect()
}

/// All of them together, with both profiles.
#[test]
fn packs_stand_beside_each_other() {
    for profile in Profile::ALL {
        let mut sources = PolicySet::builtin(profile);
        sources.extend(Pack::ALL.map(|pack| pack.source()));
        PolicySet::compile(&sources).unwrap();
    }
}

/// A pack about what people see costs services nothing: no catalogue is read for them.
#[test]
fn packs_leave_services_unmasked() {
    use crate::engine::policy::PolicyPrincipal;
    use crate::engine::policy::tests::{claims, principal, server};
    let mut sources = PolicySet::builtin(Profile::Protect);
    sources.extend(Pack::ALL.map(|pack| pack.source()));
    let set = PolicySet::compile(&sources).unwrap();
    let who = |class| PolicyPrincipal::new(principal(class).into());
    assert!(!set.may_mask(&who(Class::Service), &claims(), &server()));
    assert!(set.may_mask(&who(Class::Person), &claims(), &server()));
}

/// The cases of the documentation pass with the rule that stands above them.
#[test]
fn documented_cases_pass() {
    const PAGE: &str = include_str!("../../../../../docs/policy.md");
    let block = |start: &str, part: &str| {
        let blocks = PAGE.split(start).skip(1).map(|block| block.split("```").next().unwrap_or_default());
        blocks.filter(|block| block.contains(part)).map(str::to_owned).next().unwrap()
    };
    let rule = block("```cedar\n", "cards-need-to-know");
    let file: CaseFile<Case> = toml::from_str(&block("```toml\n", "[[case]]")).unwrap();
    let mut sources = PolicySet::builtin(Profile::Protect);
    sources.push(PolicySource::new("docs/policy.md", rule));
    let parts = PolicyParts { sources, ..PolicyParts::default() };
    assert!(file.cases.len() > 1);
    for case in &file.cases {
        let set = file.compile(&parts, &[]).unwrap();
        let wrong = case.differences(&file.answer(&set, case, &ColumnWords::default()).unwrap());
        assert!(wrong.is_empty(), "{}: {wrong:?}", case.name);
    }
}

#[test]
fn a_case_that_fails_says_what_and_why() {
    let file: CaseFile<Case> = toml::from_str(
        r#"
        [as]
        class = "agent"
        [[case]]
        name = "wrong in every way"
        sql = "DROP TABLE t"
        expect = "hold"
        by = ["agents-destructive-denied", "agents-unbounded-denied"]
        approvers = "dba"
        mask = "null"
        audit = "sync"
        "#,
    )
    .unwrap();
    let case = &file.cases[0];
    let parts = PolicyParts { sources: PolicySet::builtin(Profile::Protect), ..PolicyParts::default() };
    let set = file.compile(&parts, &[]).unwrap();
    let wrong = case.differences(&file.answer(&set, case, &ColumnWords::default()).unwrap());
    assert_eq!(
        wrong,
        [
            "expected hold, got deny",
            "expected agents-unbounded-denied among the policies that decided",
            "expected an approval by dba, got one by nobody",
            "expected the mask null, got none",
            "expected a record on disk first (audit = \"sync\")",
        ]
    );
    let both = Case { connect: true, ..case.clone() };
    assert!(
        file.answer(&set, &both, &ColumnWords::default())
            .unwrap_err()
            .contains("one of sql, see and connect")
    );
    let column = Case { sql: None, see: Some("a.b".into()), expect: Expected::Clear, ..case.clone() };
    assert!(file.answer(&set, &column, &ColumnWords::default()).unwrap_err().contains("no column"));
    for (wrong, reason) in [
        (Case { expect: Expected::Masked, ..case.clone() }, "never \"masked\": write \"allow\""),
        (Case { expect: Expected::Hold, ..column }, "never \"hold\": write \"clear\""),
        (Case { by: vec!["other".into()], ..case.clone() }, "by: no policy has the id \"other\""),
    ] {
        let told = file.answer(&set, &wrong, &ColumnWords::default()).unwrap_err();
        assert!(told.contains(reason), "{told}");
    }
    for own in ["default-deny", "governor.copy-out"] {
        let case = Case { by: vec![own.into()], ..case.clone() };
        assert!(file.answer(&set, &case, &ColumnWords::default()).is_ok(), "{own}");
    }
}
