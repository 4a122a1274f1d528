//! What a rule can never hit is refused where it stands, with what to write instead.

use super::*;

const RUN: &str = "principal, action in Governor::Action::\"run\", resource";
const SEE: &str = "principal, action == Governor::Action::\"see\", resource";

/// A forbid with this condition.
fn when(scope: &str, condition: &str) -> String {
    format!("forbid ({scope})\nwhen {{ {condition} }};")
}

#[track_caller]
fn refused(text: &str, parts: &[&str]) {
    let found = problems(text);
    let told = |problem: &String| {
        problem.starts_with("test.cedar:") && parts.iter().all(|part| problem.contains(part))
    };
    assert!(found.iter().any(told), "{text}\nwanted {parts:?}, found {found:#?}");
    assert_eq!(found.len(), 1, "{text}\n{found:#?}");
}

#[track_caller]
fn accepted(text: &str) {
    let set = PolicySet::compile(&[PolicySource::new("test.cedar", text)]).unwrap();
    assert_eq!(set.unmet(), [""; 0], "{text}");
}

#[test]
fn names_of_what_a_statement_touches_have_their_parts() {
    for (condition, parts) in [
        (
            "context.reads.contains(\"payroll.*\")",
            &[
                "2:31:",
                "patterns are for label files",
                "context.schemas.contains(\"payroll\")",
                "context.labels",
            ] as &[&str],
        ),
        (
            "context.writes.containsAny([\"a\", \"pay*\"])",
            &["2:41:", "\"pay*\" matches no relation", "name each"],
        ),
        (
            "context.reads.contains(\"crm.people.email\")",
            &["2:31:", "\"schema.relation\"", "context.columns.contains(\"email\")", "\"see\""],
        ),
        ("[\"shop.public.t\"].containsAll(context.writes)", &["2:9:", "\"shop.public.t\""]),
        ("context.schemas.contains(\"pay*\")", &["matches no schema", "label"]),
        ("context.schemas.contains(\"pay.salaries\")", &["is no schema", "context.reads"]),
        (
            "!([\"reporting\", \"pg_*\"].containsAll(context.schemas))",
            &["2:24:", "\"pg_*\" matches no schema"],
        ),
        ("context.schemas != [\"a.b\"]", &["is no schema"]),
        ("context.functions.contains(\"lower()\")", &["without parentheses"]),
        ("context.functions.contains(\"pg_catalog.*\")", &["matches no function", "name each"]),
        (
            "context.function_schemas.contains(\"pay.raise\")",
            &["no schema of functions", "context.functions"],
        ),
        ("context.functions.contains(\"a.b.c\")", &["\"schema.function\""]),
        (
            "context.columns.contains(\"people.email\")",
            &["context.columns.contains(\"email\") && context.reads.contains(\"people\")"],
        ),
        ("context.columns.contains(\"*\")", &["context.every_column"]),
        ("context.conditions.contains(\"people.email\")", &["\"schema.relation.column\""]),
    ] {
        refused(&when(RUN, condition), parts);
    }
    for fine in [
        "context.reads.contains(\"payroll.salaries\") || context.writes.contains(\"salaries\")",
        "context.schemas == [\"reporting\"] || !([\"a\", \"pg_catalog\"].containsAll(context.schemas))",
        "context.functions.containsAny([\"dblink\", \"pg_catalog.lower\"]) && context.columns.contains(\"email\")",
        "context.conditions.contains(\"a.b.c\") || context.conditions.contains(\"unknown\")",
        // What it is compared with is not that attribute.
        "context.claims.application_name == \"a.b.*\" || context.tag == \"DROP TABLE\"",
    ] {
        accepted(&when(RUN, fine));
    }
}

#[test]
fn closed_words_are_known() {
    for (scope, condition, parts) in [
        (
            RUN,
            "context.kinds.contains(\"write\")",
            &["group of actions", "action in Governor::Action::\"write\""],
        ),
        (RUN, "context.kind == \"SELECT\"", &["no statement is of the kind \"SELECT\"", "write \"select\""]),
        (RUN, "context.kind == \"DROP TABLE\"", &["context.tag", "\"ddl\""]),
        (RUN, "context has unknown && context.unknown == \"dynamic\"", &["context.unknown", "dynamic_sql"]),
        (RUN, "context.condition_forms.contains(\"like\")", &["context.condition_forms", "pattern"]),
        (RUN, "context has setting && context.setting.name == \"Role\"", &["lower case", "\"role\""]),
        (SEE, "resource.category == \"e-mail\"", &["resource.category is never", "email, phone"]),
        (RUN, "principal.class == \"human\"", &["principal.class is never", "service, person, agent"]),
        (RUN, "context.tag == \"Drop table\"", &["in capitals", "write \"DROP TABLE\""]),
        (RUN, "context.time.weekday == 0", &["2:32:", "is never 0: it is 1 to 7, from Monday to Sunday"]),
        (
            RUN,
            "[24 == context.time.hour].contains(true)",
            &["context.time.hour is never 24", "it is 0 to 23"],
        ),
    ] {
        refused(&when(scope, condition), parts);
    }
    accepted(&when(RUN, "context.time.weekday == 7 || context.time.hour == 0 || context.time.hour < 24"));
    accepted(&when(SEE, "[\"email\", \"unknown\"].contains(resource.category)"));
    accepted(&when(
        RUN,
        "[\"delete\", \"ddl\"].containsAny(context.kinds) && principal.class != \"service\"",
    ));
}

/// Each word of [`Unknown::cause`] is known.
#[test]
fn every_cause_is_known() {
    for cause in [
        Unknown::Unparsable { message: String::new() },
        Unknown::TooLong { bytes: 1 },
        Unknown::TooDeep,
        Unknown::DynamicSql { by: String::new() },
        Unknown::FunctionCall { oid: 1 },
        Unknown::UnseenPrepared { name: String::new() },
        Unknown::NotUnderstood { what: String::new() },
    ] {
        accepted(&when(RUN, &format!("context has unknown && context.unknown == \"{}\"", cause.cause())));
    }
}

#[test]
fn parts_of_a_column_are_parts() {
    refused(&when(SEE, "resource.relation == \"crm.people\""), &["that part of the name alone"]);
    refused(
        &when(SEE, "resource.name == \"people.email\""),
        &["Governor::Column::\"schema.relation.column\""],
    );
    refused(&when(SEE, "resource.name == \"*mail\""), &["resource.name like \"*mail\""]);
    accepted(&when(SEE, "resource.schema == \"crm\" && resource.name like \"*mail\""));
    // Of a database.
    accepted(&when(RUN, "resource.name == \"shop.example\""));
}

#[test]
fn ids_have_the_form_that_governor_makes() {
    let in_ = |kind: &str, id: &str| {
        let scope = RUN.replacen("principal", &format!("principal in Governor::{kind}::\"{id}\""), 1);
        format!("forbid ({scope});")
    };
    let of_column = |kind: &str, id: &str| format!("forbid ({} in Governor::{kind}::\"{id}\");", SEE);
    for (text, parts) in [
        (in_("Unit", "billing"), &["1:22:", "\"billing.service\""] as &[&str]),
        (when(RUN, "principal in Governor::Unit::\"etl@7\""), &["2:21:", "\"etl@7.service\""]),
        (when(RUN, "principal has unit && principal.unit == \"billing\""), &["\"billing.service\""]),
        (in_("ExecutableHash", "abc"), &["64 hexadecimal digits"]),
        (in_("ExecutableHash", &SHA256.to_uppercase()), &["lower case"]),
        (in_("Executable", "psql"), &["\"/usr/bin/psql\""]),
        (of_column("Column", "people.email"), &["schema.relation.column", "resource.name == \"email\""]),
        (of_column("Column", "crm.people.*"), &["resource.name like"]),
        (of_column("Relation", "people"), &["\"schema.relation\""]),
        (of_column("Relation", "crm.people.email"), &["Governor::Column"]),
        (of_column("Schema", "crm.people"), &["the schema alone"]),
        (of_column("Server", "db.example"), &["10.0.0.5:5432", "[[environment]]"]),
    ] {
        refused(&text, parts);
    }
    for fine in [
        in_("Unit", "billing.service"),
        in_("Unit", "billing.service@app1"),
        in_("Unit", "user@1000.service/app.scope"),
        in_("ExecutableHash", SHA256),
        in_("Executable", "/usr/bin/psql"),
        in_("Executable", "app1:/usr/bin/psql"),
        of_column("Column", "crm.people.email"),
        of_column("Column", "unknown"),
        of_column("Relation", "crm.people"),
        of_column("Schema", "crm"),
        of_column("Server", "10.0.0.5:5432"),
        of_column("Server", "[::1]:5432"),
        of_column("Server", "/run/postgresql/.s.PGSQL.5432"),
    ] {
        accepted(&fine);
    }
}

/// Cedar finds this in a scope, and lets it pass in a condition.
#[test]
fn nobody_is_a_group() {
    let text = format!("forbid ({RUN}) unless {{ principal == Governor::Group::\"hr\" }};");
    refused(&text, &["principal in Governor::Group::\"hr\""]);
    accepted(&format!("forbid ({RUN}) unless {{ principal in Governor::Group::\"hr\" }};"));
}

fn notes(text: &str) -> Vec<String> {
    PolicySet::compile(&[PolicySource::new("test.cedar", text)]).unwrap().unmet().to_vec()
}

#[track_caller]
fn noted(text: &str, parts: &[&str]) {
    let found = notes(text);
    assert!(
        found.len() == 1 && parts.iter().all(|part| found[0].contains(part)),
        "{text}\n{parts:?}\n{found:#?}"
    );
}

#[test]
fn an_approval_that_changes_nothing_is_noted() {
    let condition = "unless { principal in Governor::Group::\"hr\" || context.approved }";
    noted(
        &format!("forbid ({RUN})\n{condition};"),
        &["test.cedar:2:48: ", "no approval lifts this forbid", "@approval(\"group\")"],
    );
    accepted(&format!("@approval(\"dba\") forbid ({RUN})\n{condition};"));
    // What an approval must not lift: it can be true, and matters.
    accepted(&format!("forbid ({RUN}) when {{ context.approved && context.is_write }};"));
    accepted(&format!("forbid ({RUN}) when {{ context.is_write == context.approved }};"));
}

#[test]
fn a_permit_for_what_is_approved_needs_something_that_holds() {
    let permit = format!("@id(\"p\") permit ({RUN})\nwhen {{ context.approved }};");
    noted(&permit, &["test.cedar:2:8: ", "nothing holds"]);
    let of = |class: &str, action: &str| {
        format!(
            "@approval(\"dba\") forbid (principal in Governor::Class::\"{class}\", action == \
             Governor::Action::\"{action}\", resource) unless {{ context.approved }};"
        )
    };
    let agents = permit.replacen("principal", "principal in Governor::Class::\"agent\"", 1);
    noted(&(agents.clone() + &of("person", "delete")), &["nothing holds"]);
    accepted(&(agents + &of("agent", "delete")));
    accepted(&(permit + &of("agent", "delete")));
}

#[test]
fn capitals_are_noted() {
    noted(&when(RUN, "context.reads.contains(\"pay.Salaries\")"), &["test.cedar:2:31: ", "lower case"]);
}
