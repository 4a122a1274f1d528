//! `cargo xtask bench detect`: how well governor's detectors tell sensitive values, beside Microsoft Presidio on the same values.
//!
//! The corpus is made (`governor-userspace/benches/corpus`) or given as a file; the answers come from the release build of the
//! engine and from Presidio; the judging is here, so that both are judged alike.
//!
//! - `labels` says which words of both stand for which label; `score` counts; `report` prints; `presidio` asks the other tool.

mod labels;
mod presidio;
mod report;
mod score;

use crate::{shell, workspace};
use anyhow::{Context, Result, ensure};
use score::{Judged, score};
use serde::Deserialize;
use std::path::{Path, PathBuf};

#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Which corpus to make: `tune` (for working on detectors), `judge`, or a number
    #[arg(long, default_value = "judge", value_name = "SEED")]
    seed: String,
    /// The corpus of telephone numbers that are digits alone, and of numbers that look like them
    #[arg(long, conflicts_with_all = ["file", "again"])]
    phones: bool,
    /// Values of each column of that corpus
    #[arg(long, default_value_t = 60)]
    values: u32,
    /// Judge this labelled file instead: CSV with column_id, column_name_clear, column_name_opaque, label, value
    #[arg(long, value_name = "FILE", conflicts_with_all = ["seed", "values"])]
    file: Option<PathBuf>,
    /// Leave Presidio out: it takes minutes, and installing it needs the network
    #[arg(long)]
    no_presidio: bool,
    /// Judge the answers of the run before once more, without asking anybody
    #[arg(long, conflicts_with_all = ["seed", "values", "file"])]
    again: bool,
    /// Print the values that governor misses or is wrong about
    #[arg(long)]
    show: bool,
}

/// One column of the corpus, as the answers are.
#[derive(Debug, Deserialize)]
struct Column {
    label: String,
    name_clear: String,
    values: Vec<String>,
}

/// What governor's detectors said.
#[derive(Debug, Deserialize)]
struct Answers {
    columns: Vec<ColumnAnswer>,
    ns_per_value: f64,
}

#[derive(Debug, Deserialize)]
struct ColumnAnswer {
    alone: Vec<Option<String>>,
    clear: Vec<Option<String>>,
    opaque: Vec<Option<String>>,
    known: Vec<Option<String>>,
    column_clear: Option<String>,
    column_opaque: Option<String>,
}

pub fn run(options: &Options) -> Result<()> {
    let place = workspace::target().join("bench-detect");
    std::fs::create_dir_all(&place)?;
    let (answered, presidio_answered) = (place.join("governor.json"), place.join("presidio.json"));
    let corpus = match &options.file {
        _ if options.again => place.join("corpus.csv"),
        Some(file) => std::fs::canonicalize(file).with_context(|| file.display().to_string())?,
        None => {
            let corpus = place.join("corpus.csv");
            let of = if options.phones { "phones" } else { "all" };
            let values = options.values.to_string();
            bench(&["--generate", &options.seed, "--values", &values, "--of", of], &corpus)?;
            corpus
        }
    };
    if !options.again {
        bench(&["--answer", &corpus.to_string_lossy()], &answered)?;
    }
    let answers: AnswersWithColumns = serde_json::from_str(&std::fs::read_to_string(&answered)?)?;
    let AnswersWithColumns { corpus: columns, answers } = answers;
    ensure!(columns.len() == answers.columns.len(), "an answer for each column");
    let presidio = if options.no_presidio {
        None
    } else {
        let asked = if options.again { Ok(()) } else { presidio::ask(&corpus, &presidio_answered) };
        asked
            .and_then(|()| presidio::read(&presidio_answered))
            .map_err(|error| println!("{}", shell::yellow(&format!("no figures of Presidio: {error:#}"))))
            .ok()
    };
    report::print(&columns, &answers, presidio.as_ref());
    if options.show {
        report::misses(&columns, &answers);
    }
    Ok(())
}

/// The file has the corpus in it too, so that it is read in one place only.
#[derive(Debug, Deserialize)]
struct AnswersWithColumns {
    corpus: Vec<Column>,
    #[serde(flatten)]
    answers: Answers,
}

/// Runs the bench of the engine, which has the detectors and the generator.
fn bench(arguments: &[&str], out: &Path) -> Result<()> {
    let mut cargo = shell::engine_bench("detect");
    cargo.arg("--");
    shell::run(cargo.args(arguments).arg("--out").arg(out))
}

/// Which answer is judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Setting {
    Alone,
    Clear,
    Opaque,
    /// Opaque, once what the column's values say of it is confirmed.
    Known,
}

impl Answers {
    fn by_value(&self, columns: &[Column], setting: Setting) -> score::Score {
        score(columns.iter().zip(&self.columns).flat_map(|(column, answer)| {
            answer.of(setting).iter().map(move |word| Judged { label: &column.label, said: said(word) })
        }))
    }

    fn by_column(&self, columns: &[Column], setting: Setting) -> score::Score {
        score(columns.iter().zip(&self.columns).map(|(column, answer)| {
            let word = if setting == Setting::Clear { &answer.column_clear } else { &answer.column_opaque };
            Judged { label: &column.label, said: said(word) }
        }))
    }
}

impl ColumnAnswer {
    fn of(&self, setting: Setting) -> &[Option<String>] {
        match setting {
            Setting::Alone => &self.alone,
            Setting::Clear => &self.clear,
            Setting::Opaque => &self.opaque,
            Setting::Known => &self.known,
        }
    }
}

fn said(word: &Option<String>) -> Vec<&str> {
    word.iter().map(String::as_str).collect()
}
