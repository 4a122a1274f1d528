//! Reads policy and label files: regular ones, of bounded size, that not everybody can write.

use crate::engine::model::Category;
use crate::engine::policy::{Labelling, NamePattern, PolicyError, PolicyParts, PolicySource, Problem};
use crate::engine::session::column_meant;
use std::fs::{self, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// What a directory or file holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PolicyFiles {
    /// Of `*.cedar`.
    pub sources: Vec<PolicySource>,
    /// Of `*.labels.toml`.
    pub labelling: Labelling,
    /// What is probably not meant in them.
    pub notes: Vec<Problem>,
}

impl PolicyFiles {
    pub fn extend(&mut self, other: Self) {
        self.sources.extend(other.sources);
        self.labelling.extend(other.labelling);
        self.notes.extend(other.notes);
    }

    /// Takes them into `parts`.
    pub fn join(self, parts: &mut PolicyParts) {
        parts.sources.extend(self.sources);
        parts.labelling.extend(self.labelling);
        parts.notes.extend(self.notes);
    }
}

/// One file, or every policy and label file of a directory.
///
/// # Errors
/// Every path that cannot be read, and why.
pub fn read_path(path: &Path) -> Result<PolicyFiles, PolicyError> {
    let wrong = |error| PolicyError { problems: vec![problem(path, error)] };
    if fs::metadata(path).map_err(wrong)?.is_dir() {
        return Ok(read_dir(path)?.unwrap_or_default());
    }
    let mut files = PolicyFiles::default();
    take(path, &mut files).map_err(|problem| PolicyError { problems: vec![problem] })?;
    Ok(files)
}

/// The files of a directory, sorted by name; `None` where there is no such directory. Names that begin with a dot
/// are editors' and installers' own, and others than policies and labels are nobody's business.
pub(super) fn read_dir(dir: &Path) -> Result<Option<PolicyFiles>, PolicyError> {
    let wrong = |error| PolicyError { problems: vec![problem(dir, error)] };
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        entries => entries.map_err(wrong)?,
    };
    check_mode(&fs::metadata(dir).map_err(wrong)?).map_err(wrong)?;
    let is_ours =
        |path: &Path| path.extension().is_some_and(|extension| extension == "cedar") || is_labels(path);
    let paths = listed(entries, is_ours).map_err(wrong)?;
    let (mut files, mut problems) = (PolicyFiles::default(), vec![]);
    for path in &paths {
        if let Err(problem) = take(path, &mut files) {
            problems.push(problem);
        }
    }
    if problems.is_empty() { Ok(Some(files)) } else { Err(PolicyError { problems }) }
}

/// The path of one case file, or of every case file (`*.cases.toml`) of a directory, sorted by name.
///
/// # Errors
/// The directory cannot be read, or holds none.
pub fn case_paths(path: &Path) -> io::Result<Vec<PathBuf>> {
    if !fs::metadata(path)?.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let paths = listed(fs::read_dir(path)?, |path| ends_with(path, b".cases.toml"))?;
    if paths.is_empty() {
        return Err(io::Error::other("no file *.cases.toml in this directory"));
    }
    Ok(paths)
}

/// What is wanted of a directory's entries, sorted by name, without what is hidden.
fn listed(entries: fs::ReadDir, is_wanted: impl Fn(&Path) -> bool) -> io::Result<Vec<PathBuf>> {
    let mut paths: Vec<PathBuf> = vec![];
    for entry in entries {
        let path = entry?.path();
        let is_hidden = path.file_name().is_none_or(|name| name.as_encoded_bytes().starts_with(b"."));
        if !is_hidden && is_wanted(&path) {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

fn ends_with(path: &Path, end: &[u8]) -> bool {
    path.file_name().is_some_and(|name| name.as_encoded_bytes().ends_with(end))
}

fn is_labels(path: &Path) -> bool {
    ends_with(path, b".labels.toml")
}

fn take(path: &Path, files: &mut PolicyFiles) -> Result<(), Problem> {
    let source = read_file(path).map_err(|error| problem(path, error))?;
    if is_labels(path) {
        files.labelling.extend(parse_toml(&source)?);
        files.notes.extend(label_notes(&source));
    } else {
        files.sources.push(source);
    }
    Ok(())
}

/// Labels of a label file that were probably meant for columns, each where it stands.
fn label_notes(source: &PolicySource) -> Vec<Problem> {
    #[derive(serde::Deserialize)]
    struct File {
        #[serde(default)]
        label: Vec<Rule>,
    }
    #[derive(serde::Deserialize)]
    struct Rule {
        on: Vec<toml::Spanned<NamePattern>>,
        category: Option<Category>,
    }
    let Ok(file) = toml::from_str::<File>(&source.text) else { return vec![] };
    let patterns = file.label.iter().flat_map(|rule| rule.on.iter().map(|on| (on, rule.category)));
    let notes = patterns.filter_map(|(on, category)| {
        let reason = column_meant(on.get_ref(), category)?;
        Some(Problem::at(&source.name, &source.text, Some(on.span().start), reason))
    });
    notes.collect()
}

/// A TOML file of this program's own kinds.
///
/// # Errors
/// What is wrong, with its place.
pub fn parse_toml<T: serde::de::DeserializeOwned>(source: &PolicySource) -> Result<T, Problem> {
    toml::from_str(&source.text).map_err(|error| {
        let byte = error.span().map(|span| span.start);
        let reason = error.message().replace("unknown field", "unknown key").replace('\n', "; ");
        Problem::at(&source.name, &source.text, byte, plainly(reason))
    })
}

/// What readers of TOML say in the words of their own code, in words for whoever wrote the file.
fn plainly(reason: String) -> String {
    if reason.contains("failed to find offset component") {
        return "a time without its zone: write it as \"2026-11-26T09:00:00Z\" or \"2026-11-26T09:00:00+01:00\"".into();
    }
    let Some((found, expected)) =
        reason.strip_prefix("invalid type: ").and_then(|rest| rest.split_once(", expected "))
    else {
        return reason;
    };
    let value = found.strip_prefix("string ").unwrap_or("\"…\"");
    match expected {
        "a sequence" => format!("a list is expected here: write [{value}]"),
        "struct Actor" => format!("who asks is a table: write {{ class = {value} }}"),
        "struct To" => format!("where to is a table: write {{ database = {value} }}"),
        _ => reason,
    }
}

/// The text of one file.
pub fn read_file(path: &Path) -> io::Result<PolicySource> {
    // Non-blocking: opening a pipe that nobody writes must not stop a reload.
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    check_mode(&metadata)?;
    let mut text = String::new();
    file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text)?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(io::Error::other(format!("larger than {FILE_BYTES_MAX} bytes")));
    }
    Ok(PolicySource::new(path.display().to_string(), text))
}

/// A policy that everybody can change protects nobody. A sticky directory (`/tmp`) does not help: anyone
/// may add files there.
fn check_mode(metadata: &fs::Metadata) -> io::Result<()> {
    if metadata.mode() & 0o002 != 0 {
        return Err(io::Error::other("everybody may write to it; remove that right (chmod o-w)"));
    }
    Ok(())
}

fn problem(path: &Path, error: io::Error) -> Problem {
    Problem::of_file(&path.display().to_string(), error.to_string())
}

const FILE_BYTES_MAX: u64 = 1 << 20;
