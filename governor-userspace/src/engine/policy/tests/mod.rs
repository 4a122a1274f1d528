//! Who, what and where for the tests of policy.

mod bounds;
mod builtin;
mod cache;
mod compile;
mod docs;
mod doubt;
mod labelling;
mod literals;
mod property;
mod semantics;
mod slices;

use super::*;
use crate::engine::model::Category;
use crate::engine::model::*;
use std::sync::Arc;

pub const SHA256: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

pub fn principal(class: Class) -> Principal {
    Principal {
        class,
        class_evidence: vec!["test".into()],
        pid: 4711,
        start_ticks: 99,
        uid: 1000,
        user: "alice".into(),
        gid: 1000,
        groups: vec!["staff".into(), "alice".into()],
        login_uid: Some(1000),
        login_user: Some("alice".into()),
        command: "psql".into(),
        executable: Some("/usr/bin/psql".into()),
        executable_sha256: Some(SHA256.into()),
        command_line: vec!["psql".into(), "shop".into()],
        cgroup_id: 7,
        cgroup: Some("/user.slice".into()),
        unit: Some("shop.service".into()),
        container: Some("c0ffee".into()),
        container_facts: ContainerFacts {
            pod: Some("0b1d".into()),
            pod_name: Some("shop/api".into()),
            container_name: Some("api".into()),
            image: Some("registry.test/api:2".into()),
        },
        terminal: Some("pts/3".into()),
        ancestors: vec![Ancestor { pid: 1, start_ticks: 1, executable: "/usr/bin/bash".into() }],
        remote: None,
    }
}

pub fn who(class: Class) -> PolicyPrincipal {
    PolicyPrincipal::new(principal(class).into())
}

pub fn claims() -> Claims {
    Claims { user: "app".into(), database: "shop".into(), application_name: "psql".into() }
}

pub fn server() -> Endpoint {
    Endpoint::tcp("10.0.0.5".parse().unwrap(), 5432)
}

/// A statement of one kind that touches public.people, as the SQL module would describe it.
pub fn statement(kind: StatementKind) -> Statement {
    let mut s = Statement::unknown(Arc::from("…"), Unknown::TooDeep);
    s.kind = kind;
    s.kinds = vec![kind];
    s.tag = kind.as_str().to_uppercase();
    s.mentions = Mentions { columns: vec!["email".into()], every_column: false };
    s.reads = vec![RelationName { schema: Some("public".into()), name: "people".into() }];
    if kind != StatementKind::Unknown {
        s.unknown = None;
    }
    if matches!(kind, StatementKind::Update | StatementKind::Delete | StatementKind::Merge) {
        s.has_where = Some(true);
    }
    s
}

pub fn set(text: &str) -> PolicySet {
    PolicySet::compile(&[PolicySource::new("test.cedar", text)]).unwrap()
}

pub fn connect(set: &PolicySet, class: Class) -> Decision {
    set.connect(&who(class), &claims(), &server(), &SessionContext::default())
}

/// The set of `text`, with the labelling of a TOML-like JSON text.
pub fn labelled(text: &str, labelling: &str) -> PolicySet {
    let parts = PolicyParts {
        sources: vec![PolicySource::new("test.cedar", text)],
        labelling: serde_json::from_str(labelling).unwrap(),
        ..PolicyParts::default()
    };
    PolicySet::compile_parts(&parts).unwrap()
}

pub fn problems(text: &str) -> Vec<String> {
    match PolicySet::compile(&[PolicySource::new("test.cedar", text)]) {
        Ok(_) => vec![],
        Err(error) => error.problems.iter().map(ToString::to_string).collect(),
    }
}

pub fn protect() -> PolicySet {
    PolicySet::compile(&PolicySet::builtin(Profile::Protect)).unwrap()
}

pub fn run(set: &PolicySet, class: Class, statement: &Statement) -> Decision {
    run_as(set, class, statement, false)
}

pub fn run_as(set: &PolicySet, class: Class, statement: &Statement, approved: bool) -> Decision {
    let around = RunContext { approved, reads_sensitive: true, ..RunContext::default() };
    set.run(&who(class), &claims(), &server(), statement, &around)
}

pub fn see(set: &PolicySet, class: Class, category: Option<Category>) -> Visibility {
    set.see(&who(class), &claims(), &server(), &column(category), &SessionContext::default())
}

/// public.people.email of that category; of unknown origin where there is none.
pub fn column(category: Option<Category>) -> SeeColumn {
    let name = ColumnName { schema: "public".into(), relation: "people".into(), column: "email".into() };
    SeeColumn { column: category.map(|_| name), category }
}

pub fn ids(decision: &Decision) -> Vec<&str> {
    decision.reasons.iter().map(|reason| reason.policy.as_str()).collect()
}
