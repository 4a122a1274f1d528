//! Prints the figures of both tools side by side.

use super::presidio::{self, Best};
use super::score::{Counts, NONE, Score};
use super::{Answers, Column, Setting, labels};
use std::collections::BTreeSet;

pub fn print(columns: &[Column], answers: &Answers, presidio: Option<&presidio::Answers>) {
    let values: usize = columns.iter().map(|column| column.values.len()).sum();
    let harmless = columns.iter().filter(|column| column.label == NONE).count();
    println!("\n{values} values in {} columns, {harmless} of them with nothing to hide", columns.len());
    if let Some(presidio) = presidio {
        match &presidio.model {
            Some(model) => println!("Presidio {} with {model}, all its recognisers", presidio.version),
            None => println!(
                "Presidio {} with its pattern recognisers alone: no language model can be had here, so it looks for no names or places",
                presidio.version
            ),
        }
        println!(
            "Presidio's thresholds are those, of several tried on this corpus, that give it its best F1"
        );
    }

    let by_value = [
        ("values alone", Setting::Alone, presidio.and_then(|p| p.values(columns, false))),
        (
            "values in columns with clear names",
            Setting::Clear,
            presidio.and_then(|p| p.values(columns, true)),
        ),
        (
            "values in columns with opaque names",
            Setting::Opaque,
            presidio.and_then(|p| p.values(columns, false)),
        ),
        (
            "the same once the column is confirmed",
            Setting::Known,
            presidio.and_then(|p| p.values(columns, false)),
        ),
    ]
    .map(|(name, setting, other)| (name, answers.by_value(columns, setting), other));
    let by_column = [
        ("columns with clear names", Setting::Clear, presidio.and_then(|p| p.by_column(columns, true))),
        ("columns with opaque names", Setting::Opaque, presidio.and_then(|p| p.by_column(columns, false))),
    ]
    .map(|(name, setting, other)| (name, answers.by_column(columns, setting), other));

    println!(
        "\nover all: kind named right (precision, recall, F1), and found at all, which is what masking asks"
    );
    println!(
        "  {:38} {:>20} {:>20} {:>22} {:>20}",
        "", "governor, named", "found", "Presidio, named", "found"
    );
    for (name, own, other) in by_value.iter().chain(&by_column) {
        let theirs = other.as_ref().map(|best| (figures(best.score.named), figures(best.score.hidden)));
        let (named, hidden) = theirs.unwrap_or_default();
        println!(
            "  {name:38} {:>20} {:>20} {named:>22} {hidden:>20}",
            figures(own.named),
            figures(own.hidden)
        );
    }
    for (name, own, other) in
        by_value.iter().filter(|(name, ..)| *name != "values in columns with opaque names")
    {
        labels_of(name, own, other.as_ref());
    }
    println!("\naims");
    let all = |of: &[(&str, Score, Option<Best>)], aim: f64| {
        for (name, own, other) in of {
            line(name, own.named.f1(), aim, other.as_ref().map(|best| best.score.named.f1()));
        }
    };
    all(&by_value, VALUE_F1_AIM);
    all(&by_column, COLUMN_F1_AIM);
    println!("\ntime: governor {:.0} ns a value", answers.ns_per_value);
    if let Some(presidio) = presidio {
        let times = presidio.ns_per_value / answers.ns_per_value;
        let word = reached(times >= FASTER_AIM);
        println!(
            "      Presidio {:.0} ns a value, in batches: governor is {times:.0} times as fast ({word}, aim {FASTER_AIM:.0})",
            presidio.ns_per_value
        );
    }
}

fn labels_of(name: &str, own: &Score, other: Option<&Best>) {
    print!("\n{name}, by label");
    if let Some(best) = other {
        print!(" (Presidio's threshold {})", best.threshold);
    }
    println!("\n  {:24} {:>20} {:>22}", "", "governor", "Presidio");
    let theirs = other.map(|best| &best.score.by_label);
    let all: BTreeSet<&String> =
        own.by_label.keys().chain(theirs.into_iter().flat_map(|map| map.keys())).collect();
    for label in all {
        let of = |map: Option<&std::collections::BTreeMap<String, Counts>>| {
            map.and_then(|map| map.get(label)).map_or_else(|| "-".into(), |counts| figures(*counts))
        };
        println!("  {label:24} {:>20} {:>22}", of(Some(&own.by_label)), of(theirs));
    }
}

/// The kinds of mistakes, most frequent columns first, with examples.
pub fn misses(columns: &[Column], answers: &Answers) {
    println!(
        "\nwhere governor is wrong: setting, column, label, what was said, how many of its values, examples"
    );
    for setting in [Setting::Alone, Setting::Clear, Setting::Opaque] {
        for (column, answer) in columns.iter().zip(&answers.columns) {
            let wrong = column.values.iter().zip(answer.of(setting)).filter(|(_, word)| match word {
                Some(word) => !labels::is_right(word, &column.label) && labels::claims(word, &column.label),
                None => column.label != NONE,
            });
            let all: Vec<_> = wrong.collect();
            let Some((_, word)) = all.first() else { continue };
            let examples: Vec<&str> = all.iter().take(3).map(|(value, _)| value.as_str()).collect();
            println!(
                "  {setting:?} {} {} {} {} {examples:?}",
                column.name_clear,
                column.label,
                word.as_deref().unwrap_or("-"),
                all.len()
            );
        }
    }
}

fn line(what: &str, found: f64, aim: f64, other: Option<f64>) {
    print!("  {what:38} F1 {found:.3}, {} (aim {aim:.2})", reached(found >= aim));
    match other {
        Some(other) => {
            println!("; Presidio {other:.3}, {}", if found > other { "beaten" } else { "not beaten" })
        }
        None => println!(),
    }
}

fn reached(is: bool) -> &'static str {
    if is { "reached" } else { "missed" }
}

fn figures(counts: Counts) -> String {
    format!("{:.3} {:.3} {:.3}", counts.precision(), counts.recall(), counts.f1())
}

const VALUE_F1_AIM: f64 = 0.90;
const COLUMN_F1_AIM: f64 = 0.95;
const FASTER_AIM: f64 = 1000.0;
