//! `governor policy explain`.

use super::super::client::Client;
use super::super::globals::Globals;
use super::super::text::{Paint, one_line, safe};
use super::choice::Beside;
use crate::engine::model::{Category, Class, Principal, Reason, Timestamp, Verdict};
use crate::engine::policy::PolicySet;
use crate::engine::session::ColumnWords;
use crate::engine::session::RelationLabels;
use crate::engine::session::cases::{Actor, To};
use crate::engine::session::explain::{
    ExplainedColumn, ExplainedDecision, ExplainedFacts, Explanation, Question, explain,
};
use crate::host::config::{self, Overrides};
use crate::host::identity::{Identifier, as_of_peer, attest};
use crate::host::kernel::cgroup2_mount;
use anyhow::{Context as _, bail};
use std::io::{Read as _, Write};
use std::path::PathBuf;
use std::sync::Arc;

/// Show what policy answers, which policies decide, and the facts they are decided on
///
/// Answers from the policy files and the configuration, or with --running from what is in force in the running agent,
/// which also knows what `governor data` said, what was found in values, and what is behind views. Nothing is sent to a
/// database and nothing is recorded. What only a session knows is in doubt here; doubts are shown. Behind each column
/// stands what says that it is sensitive.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    governor policy explain --as agent --user alice \"DROP TABLE orders\"\n  \
    governor policy explain --as service --unit shop.service --server 10.0.0.5:5432 --database shop \"SELECT 1\"\n  \
    sudo governor policy explain --principal-of 4711 --running \"SELECT email FROM crm.people\"\n  \
    governor policy explain --as service --peer app1 --unit billing.service \"SELECT 1\"\n  \
    governor policy explain --as person --see crm.people.email=email\n  \
    echo 'DELETE FROM t' | governor policy explain --as person -")]
pub(super) struct ExplainArgs {
    /// SQL, of one or more statements; `-` reads it from standard input
    #[arg(value_name = "SQL")]
    sql: Option<String>,

    /// Class of the principal
    #[arg(long = "as", value_name = "CLASS", value_parser = class, conflicts_with = "principal_of")]
    class: Option<Class>,

    /// The principal is this running process
    #[arg(long, value_name = "PID")]
    principal_of: Option<u32>,

    /// User that it runs as
    #[arg(long, value_name = "NAME")]
    user: Option<String>,

    /// User who logged in [default: --user, for persons and agents]
    #[arg(long, value_name = "NAME")]
    login_user: Option<String>,

    /// A group of it (may be repeated)
    #[arg(long = "group", value_name = "NAME")]
    groups: Vec<String>,

    /// Its systemd unit
    #[arg(long, value_name = "NAME")]
    unit: Option<String>,

    /// Its container
    #[arg(long, value_name = "ID")]
    container: Option<String>,

    /// Its Kubernetes pod, by name
    #[arg(long, value_name = "NAMESPACE/NAME")]
    pod_name: Option<String>,

    /// The image of its container
    #[arg(long, value_name = "IMAGE")]
    image: Option<String>,

    /// Path of its executable
    #[arg(long, value_name = "PATH")]
    executable: Option<String>,

    /// SHA-256 of its executable
    #[arg(long, value_name = "DIGITS")]
    executable_sha256: Option<String>,

    /// It is on the host of this peer, whose governor says who it is
    #[arg(long, value_name = "NAME", conflicts_with = "principal_of")]
    peer: Option<String>,

    /// As if that peer's hello was not bound to TLS
    #[arg(long, requires = "peer")]
    unbound: bool,

    /// Where to [default: 127.0.0.1:5432]
    #[arg(long, value_name = "ADDRESS:PORT")]
    server: Option<std::net::SocketAddr>,

    /// Database [default: the database user's name]
    #[arg(long, value_name = "NAME")]
    database: Option<String>,

    /// Database user [default: app]
    #[arg(long, value_name = "NAME")]
    database_user: Option<String>,

    /// What the client calls itself
    #[arg(long, value_name = "NAME")]
    application_name: Option<String>,

    /// As if a person had approved it
    #[arg(long)]
    approved: bool,

    /// As if the glass was broken for this reason
    #[arg(long, value_name = "REASON")]
    break_glass: Option<String>,

    /// When it is asked, as RFC 3339 [default: now]
    #[arg(long, value_name = "TIME")]
    at: Option<jiff::Timestamp>,

    /// As if this many rows were estimated
    #[arg(long, value_name = "ROWS")]
    rows: Option<u64>,

    /// A schema that names without one can mean (may be repeated) [default: any]
    #[arg(long = "schema", value_name = "NAME")]
    schemas: Vec<String>,

    /// Also a column: schema.relation.column, or unknown; with =CATEGORY where files and its name do not say what it holds
    /// (may be repeated)
    #[arg(long = "see", value_name = "COLUMN", value_parser = column)]
    see: Vec<(String, Option<Category>)>,

    /// Ask the running agent
    #[arg(long, conflicts_with_all = ["policies", "profile", "no_builtin", "disabled", "packs"])]
    running: bool,

    /// Policy and label files, or directories of them, in place of the configured directory (may be repeated)
    #[arg(long = "policies", value_name = "PATH")]
    policies: Vec<PathBuf>,

    #[command(flatten)]
    beside: Beside,
}

pub(super) fn run(args: &ExplainArgs, globals: &Globals, out: &mut impl Write) -> anyhow::Result<bool> {
    let question = question(args, globals)?;
    let explanation: Explanation = if args.running {
        Client::new(globals.control_socket()).post("/v1/policy/explain", &question)?
    } else {
        let set = PolicySet::compile_parts(&args.beside.parts(&args.policies, globals)?)?;
        explain(&set, &question, words(globals)?).map_err(anyhow::Error::msg)?
    };
    if globals.json {
        writeln!(out, "{}", serde_json::to_string(&explanation)?)?;
    } else {
        tell(&explanation, Paint { on: globals.color() }, out)?;
    }
    Ok(true)
}

fn question(args: &ExplainArgs, globals: &Globals) -> anyhow::Result<Question> {
    let sql = match args.sql.as_deref() {
        Some("-") => {
            let mut text = String::new();
            std::io::stdin().take(SQL_BYTES_MAX).read_to_string(&mut text).context("standard input")?;
            Some(text)
        }
        given => given.map(str::to_owned),
    };
    let now = crate::host::clock::now();
    let at = match args.at {
        None => now,
        Some(at) => {
            let unix_ns = u64::try_from(at.as_nanosecond()).context("--at is before 1970")?;
            Timestamp { unix_ns, monotonic_ns: 0 }
        }
    };
    Ok(Question {
        principal: principal(args, globals)?,
        to: To {
            server: args.server,
            database: args.database.clone(),
            user: args.database_user.clone(),
            application_name: args.application_name.clone(),
        },
        sql,
        see: args.see.clone(),
        approved: args.approved,
        break_glass: args.break_glass.clone(),
        at: Some(at),
        estimated_rows: args.rows,
        reads_sensitive: None,
        schemas: (!args.schemas.is_empty()).then(|| args.schemas.clone()),
    })
}

/// What the configuration says of columns. What was said and found while it runs, only the agent knows.
pub(super) fn words(globals: &Globals) -> anyhow::Result<ColumnWords> {
    let config = config::load(globals.config.as_deref(), Overrides::default())?;
    Ok(ColumnWords { labels: crate::app::labels(&config), ..ColumnWords::default() })
}

/// The process that is named, else one as described.
fn principal(args: &ExplainArgs, globals: &Globals) -> anyhow::Result<Principal> {
    let Some(pid) = args.principal_of else {
        let Some(class) = args.class else {
            bail!("say who asks: --as service, --as person or --as agent, or --principal-of PID");
        };
        let actor = Actor {
            class: Some(class),
            user: args.user.clone(),
            login_user: args.login_user.clone(),
            groups: Some(args.groups.clone()),
            unit: args.unit.clone(),
            container: args.container.clone(),
            pod_name: args.pod_name.clone(),
            image: args.image.clone(),
            executable: args.executable.clone(),
            executable_sha256: args.executable_sha256.clone(),
            ..Actor::default()
        };
        let process = actor.principal();
        return Ok(match &args.peer {
            Some(peer) => as_of_peer(process, peer, !args.unbound),
            None => process,
        });
    };
    let config = config::load(globals.config.as_deref(), Overrides::default())?;
    let mount = cgroup2_mount()?;
    let attested = attest(pid, &mount).with_context(|| format!("process {pid} cannot be read"))?;
    let identifier = Identifier::new(config.identity.rules, mount)?;
    identifier.want_executable_hashes(true);
    Ok(Arc::unwrap_or_clone(identifier.identify(&attested)))
}

fn tell(told: &Explanation, paint: Paint, out: &mut impl Write) -> anyhow::Result<()> {
    let Explanation { version, principal, claims, destination, connect, statements, columns } = told;
    writeln!(
        out,
        "{} → {} at {destination}, as {}",
        safe(principal),
        safe(&claims.database),
        safe(&claims.user)
    )?;
    writeln!(out, "policy version {version}\n")?;
    writeln!(out, "connect: {}", verdict(connect, paint))?;
    tell_reasons(&connect.reasons, "  ", out)?;
    for (number, one) in statements.iter().enumerate() {
        writeln!(out, "\n{}. {}", number + 1, one_line(&one.text, LINE_WIDTH))?;
        writeln!(out, "  {}", verdict(&one.decision, paint))?;
        tell_reasons(&one.decision.reasons, "    ", out)?;
        tell_facts(&one.facts, out)?;
        for column in &one.columns {
            tell_column(column, "  ", paint, out)?;
        }
    }
    if !columns.is_empty() {
        writeln!(out)?;
    }
    for column in columns {
        tell_column(column, "", paint, out)?;
    }
    Ok(())
}

fn verdict(decision: &ExplainedDecision, paint: Paint) -> String {
    let mut text = match decision.verdict {
        Verdict::Allow => paint.green("allow"),
        Verdict::Deny => paint.red("deny"),
        Verdict::Hold => paint.yellow("hold"),
    };
    if let Some(approvers) = &decision.approvers {
        text += &format!(" for approval by {approvers}");
    }
    if decision.audit_sync {
        text += ", recorded on disk first";
    }
    text
}

fn tell_reasons(reasons: &[Reason], indent: &str, out: &mut impl Write) -> anyhow::Result<()> {
    for Reason { policy, text, hint, sqlstate } in reasons {
        let text = if text.is_empty() { String::new() } else { format!(": {}", safe(text)) };
        writeln!(out, "{indent}{}{text}", safe(policy))?;
        if !hint.is_empty() {
            writeln!(out, "{indent}  hint: {}", safe(hint))?;
        }
        if !sqlstate.is_usual() {
            writeln!(out, "{indent}  SQLSTATE: {}", sqlstate.as_str())?;
        }
    }
    Ok(())
}

fn tell_facts(facts: &ExplainedFacts, out: &mut impl Write) -> anyhow::Result<()> {
    let mut line = |name: &str, value: String| -> std::io::Result<()> {
        if value.is_empty() { Ok(()) } else { writeln!(out, "  {name:12} {}", one_line(&value, LINE_WIDTH)) }
    };
    line("does", format!("{} ({})", facts.kinds.join(", "), facts.tag))?;
    line("reads", facts.reads.join(", "))?;
    line("writes", facts.writes.join(", "))?;
    line("functions", facts.functions.join(", "))?;
    let mut columns = facts.columns.clone();
    match (facts.every_column, facts.unlisted_columns) {
        (true, true) => columns.push(UNLISTED.into()),
        (true, false) => columns.push("and every other".into()),
        (false, _) => {}
    }
    line("columns", columns.join(", "))?;
    let labels = facts.labels.iter().map(|RelationLabels { relation, labels, possible_labels }| {
        let possible = possible_labels.iter().map(|label| format!("perhaps {label}"));
        let all: Vec<String> = labels.iter().cloned().chain(possible).collect();
        format!("{relation}: {}", all.join(", "))
    });
    line("labels", labels.collect::<Vec<_>>().join("; "))?;
    if let Some(has_where) = facts.has_where {
        line("WHERE", if has_where { "chooses rows" } else { "is missing, or chooses every row" }.into())?;
    }
    if let Some(unknown) = &facts.unknown {
        line("unknown", unknown.cause().into())?;
    }
    line("in doubt", facts.doubts.join("; "))?;
    Ok(())
}

fn tell_column(
    column: &ExplainedColumn,
    indent: &str,
    paint: Paint,
    out: &mut impl Write,
) -> anyhow::Result<()> {
    let category = match column.category {
        Some(category) => category.as_str(),
        None if column.mask.is_none() && column.column != "unknown" => "nothing calls it sensitive",
        None => "of unknown origin",
    };
    let mut because = column.because.map_or(String::new(), |because| format!(", {}", because.text()));
    if !column.labels.is_empty() {
        because += &format!("; labels: {}", column.labels.join(", "));
    }
    if column.unnamed {
        because += "; not named";
    }
    let shown = match column.mask {
        None => paint.green("in clear"),
        Some(style) => {
            let ids: Vec<String> = column.reasons.iter().map(|reason| safe(&reason.policy)).collect();
            format!("{} by {}", paint.yellow(&format!("masked ({})", style.as_str())), ids.join(", "))
        }
    };
    writeln!(out, "{indent}{} ({category}{because}): {shown}", safe(&column.column))?;
    Ok(())
}

fn class(text: &str) -> Result<Class, String> {
    let found = Class::ALL.into_iter().find(|class| class.as_str() == text);
    found.ok_or_else(|| "write service, person or agent".to_owned())
}

/// `schema.relation.column=CATEGORY`; without a category it is one that is not known.
fn column(text: &str) -> Result<(String, Option<Category>), String> {
    let Some((name, word)) = text.split_once('=') else { return Ok((text.to_owned(), None)) };
    match Category::ALL.into_iter().find(|category| category.as_str() == word) {
        Some(category) => Ok((name.to_owned(), Some(category))),
        None => Err(format!(
            "{word:?} is no category; there are {}",
            Category::ALL.map(Category::as_str).join(", ")
        )),
    }
}

const LINE_WIDTH: usize = 160;
const UNLISTED: &str =
    "and others that are not named; below stand those that files name, a session's catalogue knows all";
/// As much as the agent takes.
const SQL_BYTES_MAX: u64 = 48 << 10;
