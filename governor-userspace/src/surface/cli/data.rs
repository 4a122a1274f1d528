//! `governor data`: what columns hold, as their values show it.

use super::client::Client;
use super::globals::Globals;
use super::text::{Paint, one_line, safe, table};
use crate::engine::masking::Category;
use crate::engine::session::{Saying, Status};
use crate::host::discovery::{DataAsk, DataColumn};
use crate::surface::api::DataList;
use clap::Subcommand;
use clap::builder::PossibleValuesParser;
use std::fmt::Write as _;
use std::process::ExitCode;

/// List columns in which sensitive data was found, and say what they hold
///
/// governor looks at a sample of the values that people and agents read, and counts by column what they are. A column
/// whose values are surely of one kind is masked as a whole from then on. What an operator says comes before that:
/// confirm a finding, dismiss it, or label a column. It counts from the next statement on in every open session, stays
/// over restarts, and is in the audit. The operator's files come before all of it. Root may say something, and the
/// members of approvals.groups.data in the configuration; AI agents may not.
#[derive(Debug, clap::Args)]
#[command(
    arg_required_else_help = true,
    after_help = "Examples:\n  \
        governor data list\n  \
        governor data list --database shop --category payment_card\n  \
        governor data confirm public.orders.note\n  \
        governor data dismiss public.orders.number --reason 'order numbers, they only look like cards'\n  \
        governor data label public.patients.remarks health"
)]
pub struct DataArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// List columns with what was found in them, and since when
    List(List),
    /// A finding is right: the column is masked as a whole, whatever comes later
    Confirm {
        #[command(flatten)]
        which: Which,
        /// What it holds, where that is not what was found
        #[arg(long, value_name = "CATEGORY", value_parser = categories())]
        category: Option<String>,
        /// Why, in one line; kept in the audit
        #[arg(long, short = 'm', default_value = "", value_name = "TEXT")]
        reason: String,
    },
    /// A finding is wrong: neither it nor the column's name counts any more
    ///
    /// Single values that detectors know are masked all the same; masking.clear in the configuration is the way to show
    /// those too. Another kind that is found later counts again, and is told.
    Dismiss {
        #[command(flatten)]
        which: Which,
        /// Why, in one line; kept in the audit
        #[arg(long, short = 'm', value_name = "TEXT")]
        reason: String,
    },
    /// Say what a column holds, whether anything was found in it or not
    Label {
        #[command(flatten)]
        which: Which,
        #[arg(value_parser = categories())]
        category: String,
        /// Why, in one line; kept in the audit
        #[arg(long, short = 'm', default_value = "", value_name = "TEXT")]
        reason: String,
    },
}

#[derive(Debug, clap::Args)]
struct List {
    /// Also columns in which nothing was found
    #[arg(long, short)]
    all: bool,
    /// Only columns whose name contains this
    #[arg(value_name = "PART")]
    column: Option<String>,
    /// Only this server, as HOST:PORT
    #[arg(long, value_name = "SERVER")]
    server: Option<String>,
    /// Only this database
    #[arg(long, value_name = "NAME")]
    database: Option<String>,
    /// Only columns that hold this
    #[arg(long, value_name = "CATEGORY", value_parser = categories())]
    category: Option<String>,
    /// Only columns that stand there
    #[arg(long, value_name = "STATUS", value_parser = statuses())]
    status: Option<String>,
}

/// Which column.
#[derive(Debug, clap::Args)]
struct Which {
    /// schema.relation.column, or relation.column where that is enough
    column: String,
    /// Where several databases have it
    #[arg(long, value_name = "NAME")]
    database: Option<String>,
    /// Where several servers have it, as HOST:PORT
    #[arg(long, value_name = "SERVER")]
    server: Option<String>,
}

pub fn run(args: DataArgs, globals: &Globals) -> anyhow::Result<ExitCode> {
    let client = Client::new(globals.control_socket());
    let paint = Paint { on: globals.color() };
    let (which, what, category, reason) = match args.verb {
        Verb::List(list) => return show(&client, &list, globals, paint),
        Verb::Confirm { which, category, reason } => (which, Saying::Confirmed, category, reason),
        Verb::Dismiss { which, reason } => (which, Saying::Dismissed, None, reason),
        Verb::Label { which, category, reason } => (which, Saying::Labelled, Some(category), reason),
    };
    let Which { column, database, server } = which;
    let ask = DataAsk { what, column, server, database, category, reason };
    let column: DataColumn = client.post("/v1/data", &ask)?;
    if globals.json {
        println!("{}", serde_json::to_string_pretty(&column)?);
    } else {
        println!("{}", said(&column));
    }
    Ok(ExitCode::SUCCESS)
}

fn show(client: &Client, list: &List, globals: &Globals, paint: Paint) -> anyhow::Result<ExitCode> {
    let mut query = String::from("/v1/data?");
    let all = list.all.then_some("true");
    for (name, value) in [
        ("clean", all),
        ("column", list.column.as_deref()),
        ("server", list.server.as_deref()),
        ("database", list.database.as_deref()),
        ("category", list.category.as_deref()),
        ("status", list.status.as_deref()),
    ] {
        if let Some(value) = value {
            // Writing to a String does not fail.
            let _ = write!(query, "{name}={}&", encoded(value));
        }
    }
    let list: DataList = client.get(query.trim_end_matches(['&', '?']))?;
    if globals.json {
        for column in &list.columns {
            println!("{}", serde_json::to_string(column)?);
        }
    } else {
        print!("{}", page(&list.columns, paint));
    }
    Ok(ExitCode::SUCCESS)
}

/// One line for each column.
fn page(columns: &[DataColumn], paint: Paint) -> String {
    if columns.is_empty() {
        return "Nothing was found in any column by now.\n".into();
    }
    let rows: Vec<Vec<String>> = columns
        .iter()
        .map(|column| {
            let record = &column.record;
            let place = &record.place;
            vec![
                one_line(&place.column.to_string(), 60),
                column.status.as_str().into(),
                holds(column),
                record.found.as_ref().map_or("-".into(), |found| format!("{}%", found.confidence_percent)),
                record.values.to_string(),
                counts(column),
                record.drifted_unix_s.map_or("-".into(), day),
                day(record.last_seen_unix_s),
                one_line(&place.database, 16),
                place.server.to_string(),
            ]
        })
        .collect();
    let head =
        ["COLUMN", "STATUS", "HOLDS", "SURE", "VALUES", "FOUND", "DRIFT", "SEEN", "DATABASE", "SERVER"];
    table(paint, &head, &rows)
}

/// What counts: an operator's word, else what was found, else what stands within.
fn holds(column: &DataColumn) -> String {
    let record = &column.record;
    let said = record.said.as_ref().and_then(|said| said.category);
    let found = record.found.as_ref().map(|found| found.category);
    match said.or(found).or(record.formerly.as_ref().map(|was| was.category)) {
        Some(category) => {
            let found = record.found.as_ref().filter(|found| found.category == category);
            match found.and_then(|found| found.countries.as_deref()) {
                Some(countries) => format!("{} ({})", category.as_str(), one_line(countries, 8)),
                None => category.as_str().into(),
            }
        }
        None if record.kinds.is_empty() => "-".into(),
        None => record.kinds.keys().map(|kind| kind.as_str()).collect::<Vec<_>>().join(","),
    }
}

/// `payment_card 37, email 2 within`.
fn counts(column: &DataColumn) -> String {
    let record = &column.record;
    let whole = record.findings.iter().map(|(name, count)| format!("{} {count}", safe(name)));
    let within = record.within.iter().map(|(kind, count)| format!("{} {count} within", kind.as_str()));
    let formerly = record.formerly.iter().map(|was| format!("formerly {}", safe(&was.name)));
    let all: Vec<String> = formerly.chain(whole).chain(within).collect();
    if all.is_empty() { "-".into() } else { one_line(&all.join(", "), 60) }
}

fn day(unix_s: u64) -> String {
    let time =
        crate::engine::model::Timestamp { unix_ns: unix_s.saturating_mul(1_000_000_000), monotonic_ns: 0 };
    time.rfc3339().get(..16).unwrap_or_default().replace('T', " ")
}

fn said(column: &DataColumn) -> String {
    let place = safe(&column.record.place.to_string());
    let category = column.record.said.as_ref().and_then(|said| said.category).map_or("", Category::as_str);
    match column.status {
        Status::Dismissed => {
            format!("{place}: dismissed; its values are shown but for those that detectors know")
        }
        status => format!("{place}: {} as {category}; it counts from the next statement on", status.as_str()),
    }
}

/// For a query in a request line.
fn encoded(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

fn categories() -> PossibleValuesParser {
    PossibleValuesParser::new(Category::ALL.map(Category::as_str))
}

fn statuses() -> PossibleValuesParser {
    use Status as S;
    let all = [S::Clean, S::Mixed, S::Found, S::Masked, S::Confirmed, S::Labelled, S::Dismissed];
    PossibleValuesParser::new(all.map(Status::as_str))
}
