//! Every Cedar block in the documentation, and every example policy, is accepted beside the built-ins.

use super::*;

#[test]
fn documented_policies_compile() {
    const PAGE: &str = include_str!("../../../../../docs/policy.md");
    let mut blocks_count = 0;
    for block in PAGE.split("```cedar\n").skip(1) {
        let text = block.split("```").next().unwrap();
        blocks_count += 1;
        let mut sources = PolicySet::builtin(Profile::Protect);
        sources.push(PolicySource::new("docs/policy.md", text));
        if let Err(error) = PolicySet::compile(&sources) {
            panic!("{error}\nin\n{text}");
        }
    }
    assert!(blocks_count >= 5, "the page lost its examples: {blocks_count}");
}

/// The table of wishes: every row is a rule that compiles, beside the built-ins and alone.
#[test]
fn the_table_of_wishes_compiles() {
    const PAGE: &str = include_str!("../../../../../docs/policy.md");
    let table = PAGE.split("| I want |").nth(1).unwrap().split("\n\n").next().unwrap();
    let mut rows_count = 0;
    for row in table.lines().skip(2) {
        let code: Vec<String> =
            row.split('`').skip(1).step_by(2).map(|code| code.replace("\\|", "|")).collect();
        let find = |start: &str| code.iter().find(|code| code.starts_with(start));
        if let Some((permit, bounds)) = find("permit (").zip(find("@rows")) {
            set(&format!("{bounds} {permit};"));
            rows_count += 1;
            continue;
        }
        let Some(rule) = find("principal").or(find("when ")).or(find("unless ")) else { continue };
        let scope = if rule.starts_with("principal") {
            rule.clone()
        } else {
            "principal, action in Governor::Action::\"run\", resource".into()
        };
        let note = find("@mask").or(find("@approval")).cloned().unwrap_or_default();
        let conditions: Vec<&str> = code
            .iter()
            .filter(|c| c.starts_with("when ") || c.starts_with("unless "))
            .map(String::as_str)
            .collect();
        let text = format!("{note} forbid ({scope}) {};", conditions.join(" ")).replace("64-digits", SHA256);
        let mut sources = PolicySet::builtin(Profile::Protect);
        sources.push(PolicySource::new("wish.cedar", text.clone()));
        match PolicySet::compile(&sources) {
            Ok(set) => {
                let notes = set.unmet().iter().filter(|note| !note.contains("which no label file gives"));
                assert_eq!(notes.collect::<Vec<_>>(), [""; 0], "{text}");
            }
            Err(error) => panic!("{error}\nin\n{text}\nof\n{row}"),
        }
        rows_count += 1;
    }
    assert!(rows_count >= 12, "{rows_count}");
}

/// Every TOML block of the page is what it says: cases that pass with the rule beside them, labels, configuration.
#[test]
fn documented_labels_are_read() {
    const PAGE: &str = include_str!("../../../../../docs/policy.md");
    let blocks = PAGE.split("```toml\n").skip(1).map(|block| block.split("```").next().unwrap());
    let (mut labels_count, mut cases_count) = (0, 0);
    for block in blocks {
        let block = block.replace("64-digits…", SHA256);
        if block.contains("[[case]]") {
            cases_count += block.matches("[[case]]").count();
        } else if block.contains("[[label]]") {
            let read: Labelling = toml::from_str(&block).unwrap();
            assert!(!read.environments.is_empty() && !read.groups.is_empty());
            labels_count += read.labels.len();
        }
    }
    assert_eq!((labels_count, cases_count), (2, 2));
}

/// The page names every action, attribute and annotation that the code knows.
#[test]
fn the_page_is_complete() {
    const PAGE: &str = include_str!("../../../../../docs/policy.md");
    for kind in StatementKind::ALL {
        assert!(PAGE.contains(&format!("`{}`", kind.as_str())), "action {}", kind.as_str());
    }
    for profile in Profile::ALL {
        for (_, text) in profile.files() {
            for id in text.lines().filter_map(|line| line.strip_prefix("@id(\"")) {
                let id = id.trim_end_matches("\")");
                assert!(PAGE.contains(&format!("`{id}`")), "built-in {id}");
            }
        }
    }
    let attributes =
        SCHEMA_TEXT.lines().filter_map(|line| line.trim().strip_suffix(',')).filter_map(|line| {
            let (name, _) = line.split_once(':')?;
            let name = name.trim_end_matches('?');
            name.chars().all(|c| c.is_ascii_lowercase() || c == '_').then_some(name)
        });
    let mut seen_count = 0;
    for name in attributes {
        seen_count += 1;
        assert!(
            PAGE.contains(&format!("`{name}`")) || PAGE.contains(&format!(".{name}`")),
            "attribute {name}"
        );
    }
    assert!(seen_count > 30, "{seen_count}");
}

#[test]
fn example_policies_compile() {
    let examples = [
        ("read-only-agents.cedar", include_str!("../../../../../deploy/policies/read-only-agents.cedar")),
        ("team-database.cedar", include_str!("../../../../../deploy/policies/team-database.cedar")),
        ("payments.cedar", include_str!("../../../../../deploy/policies/payments.cedar")),
    ];
    let mut all = PolicySet::builtin(Profile::Protect);
    all.extend(examples.map(|(name, text)| PolicySource::new(name, text)));
    PolicySet::compile(&all).unwrap();

    let with = |text: &str| {
        let mut sources = PolicySet::builtin(Profile::Protect);
        sources.push(PolicySource::new("example.cedar", text));
        PolicySet::compile(&sources).unwrap()
    };
    let read_only = with(examples[0].1);
    for kind in [StatementKind::Insert, StatementKind::Ddl, StatementKind::Call, StatementKind::Lock] {
        assert_eq!(run(&read_only, Class::Agent, &statement(kind)).verdict, Verdict::Deny, "{kind:?}");
    }
    assert_eq!(run(&read_only, Class::Agent, &statement(StatementKind::Select)).verdict, Verdict::Allow);
}
