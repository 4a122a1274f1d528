//! Policy text → a checked [`PolicySet`], or every problem in it. Nothing is half loaded.

use super::advice;
use super::annotation::{self, Notes};
use super::approved;
use super::concern::Concerns;
use super::error::{PolicyError, Problem};
use super::labelling::Labelling;
use super::leading;
use super::literals::{self, Finding};
use super::mentions::{self, Mentions};
use super::reach;
use super::schema::{self, Ask, LoadedSchema};
use super::slice::{self, Look, Slices};
use super::source::{PolicySource, Profile};
use super::token;
use crate::engine::model::Class;
use cedar_policy::ffi::DetailedError;
use cedar_policy::{Effect, Policy, PolicyId, ValidationMode, Validator};
use jiff::tz::TimeZone;
use serde::Serialize;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fmt;
use std::str::FromStr;

/// One source of a set, for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PolicyFile {
    pub name: String,
    /// In force, without disabled ones.
    pub policies_count: usize,
}

/// Everything that a policy set is made of.
#[derive(Clone, Debug, Default)]
pub struct PolicyParts {
    pub sources: Vec<PolicySource>,
    /// `@id`s of policies that are left out.
    pub disabled: Vec<String>,
    pub labelling: Labelling,
    /// Where the clock of `context.time` hangs; `None` is UTC.
    pub zone: Option<TimeZone>,
    /// What is probably not meant in label files, for [`PolicySet::unmet`].
    pub notes: Vec<Problem>,
}

/// Policies in force together. Immutable; cheap to share behind an `Arc`.
pub struct PolicySet {
    pub(super) slices: Slices,
    pub(super) notes: HashMap<PolicyId, Notes>,
    /// See [`PolicySet::may_pace`].
    paced: Vec<Class>,
    /// First half of the SHA-256 over the sources: tells sets apart for caches.
    pub(super) identity: u128,
    pub(super) labelling: Labelling,
    pub(super) zone: TimeZone,
    /// Of all policies together.
    pub(super) mentions: Mentions,
    pub(super) concerns: Concerns,
    version: String,
    files: Vec<PolicyFile>,
    unmet: Vec<String>,
}

impl PolicySet {
    /// The policies that are built in.
    pub fn builtin(profile: Profile) -> Vec<PolicySource> {
        profile.files().iter().map(|(name, text)| PolicySource::new(*name, *text)).collect()
    }

    /// Reads, validates (strictly, against [`super::SCHEMA_TEXT`]) and joins `sources`.
    ///
    /// # Errors
    /// Every problem of every source, by file and line.
    pub fn compile(sources: &[PolicySource]) -> Result<Self, PolicyError> {
        Self::compile_with(sources, &[])
    }

    /// Like [`Self::compile`], leaving out the policies whose `@id` is in `disabled`.
    ///
    /// # Errors
    /// As [`Self::compile`]; and for an entry of `disabled` that no policy has.
    pub fn compile_with(sources: &[PolicySource], disabled: &[String]) -> Result<Self, PolicyError> {
        let (sources, disabled) = (sources.to_vec(), disabled.to_vec());
        Self::compile_parts(&PolicyParts { sources, disabled, ..PolicyParts::default() })
    }

    /// Like [`Self::compile_with`], with labels, environments, groups and a time zone.
    ///
    /// # Errors
    /// As [`Self::compile_with`].
    pub fn compile_parts(parts: &PolicyParts) -> Result<Self, PolicyError> {
        let PolicyParts { sources, disabled, labelling, zone, notes } = parts;
        let loaded = schema::loaded().map_err(|problem| PolicyError { problems: vec![problem] })?;
        let mut problems = vec![];
        let mut reader =
            Reader { disabled, seen_disabled: BTreeSet::new(), members: vec![], ids: HashMap::new() };
        let mut files = vec![];
        for (index, source) in sources.iter().enumerate() {
            let before = reader.members.len();
            reader.read(index, source, sources, &mut problems);
            files.push(PolicyFile {
                name: source.name.clone(),
                policies_count: reader.members.len() - before,
            });
        }
        for id in disabled {
            if !reader.seen_disabled.contains(id) {
                problems
                    .push(Problem::of_file(CONFIGURATION, format!("no policy has the disabled id {id:?}")));
            }
        }

        let mut unmet: Vec<String> = notes.iter().map(ToString::to_string).collect();
        let (mut notes, mut looks) = (HashMap::new(), vec![]);
        for member in &reader.members {
            let is_for_see = slice::applies_to(&member.policy, Ask::See, loaded);
            let tokens = token::tokens(member.text(sources));
            let (mentions, vocabulary) = mentions::read(&tokens);
            let excluded = mentions::excluded_class(&tokens);
            looks.push(Look { mentions, vocabulary, excluded, wanted: leading::wanted(&tokens) });
            let id = member.policy.id();
            unmet.extend(mentions::asked_for(&tokens).into_iter().filter_map(|(kind, name)| {
                let is_met = match kind {
                    "label" => labelling.all_labels().contains(name.as_str()),
                    _ => labelling.environments.iter().any(|rule| rule.name.as_str() == name),
                };
                (!is_met).then(|| format!("{id} asks for the {kind} {name:?}, which no label file gives"))
            }));
            match annotation::read(&member.policy, &tokens, is_for_see) {
                Ok(read) => {
                    notes.insert(member.policy.id().clone(), read);
                }
                Err(wrong) => problems.extend(wrong.into_iter().map(|(key, reason)| {
                    let byte = annotation_byte(&member.policy, &key).or(member.byte);
                    member.problem(sources, byte, reason)
                })),
            }
            for (problem, is_certain) in reader.without_effect(member, sources, loaded) {
                match is_certain {
                    true => problems.push(problem),
                    false => unmet.push(problem.to_string()),
                }
            }
        }
        reader.validate(sources, &mut problems);
        if !problems.is_empty() {
            problems.sort();
            problems.dedup();
            return Err(PolicyError { problems });
        }

        let paces = |notes: &Notes, class| {
            notes.limits.while_running() && notes.class.is_none_or(|only| only == class)
        };
        let paced = Class::ALL.into_iter().filter(|class| notes.values().any(|n| paces(n, *class))).collect();
        let policies: Vec<Policy> = reader.members.into_iter().map(|member| member.policy).collect();
        let about_seeing =
            |policy: &&Policy| !reach::is_builtin(policy) && slice::applies_to(policy, Ask::See, loaded);
        let concerns = Concerns::of(policies.iter().filter(about_seeing));
        let slices = Slices::new(&policies, &looks, loaded)
            .map_err(|reason| PolicyError { problems: vec![Problem::of_file("policies", reason)] })?;
        let digest = digest(parts);
        let (identity, _) = digest.split_first_chunk::<16>().unwrap_or((&[0; 16], &[]));
        Ok(Self {
            slices,
            notes,
            paced,
            identity: u128::from_be_bytes(*identity),
            labelling: labelling.clone(),
            zone: zone.clone().unwrap_or(TimeZone::UTC),
            concerns,
            mentions: looks.iter().fold(Mentions::default(), |all, look| all.or(look.mentions)),
            version: hex::encode(identity.get(..VERSION_BYTES).unwrap_or(identity)),
            files,
            unmet: {
                unmet.dedup();
                unmet
            },
        })
    }

    /// Whether a statement of this class may have a bound on its rows or its time.
    pub fn may_pace(&self, class: Class) -> bool {
        self.paced.contains(&class)
    }

    /// Names exactly this set of sources: 16 hexadecimal digits, the same whatever the sources' order.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The sources, in the order they were given.
    pub fn files(&self) -> &[PolicyFile] {
        &self.files
    }

    pub fn policies_count(&self) -> usize {
        self.notes.len()
    }

    pub fn labelling(&self) -> &Labelling {
        &self.labelling
    }

    /// What is probably not meant: names that policies ask for and no label file gives, and others that hardly match. One
    /// sentence each, with its place where that is known.
    pub fn unmet(&self) -> &[String] {
        &self.unmet
    }

    /// Some policy has this id, or it is one of governor's own answers.
    pub fn has_id(&self, id: &str) -> bool {
        OWN_IDS.contains(&id) || id.starts_with("governor.") || self.notes.contains_key(&PolicyId::new(id))
    }

    /// The groups that `@approval` names, each with the ids of the policies that name it.
    pub fn approvers(&self) -> BTreeMap<&str, BTreeSet<String>> {
        let mut found = BTreeMap::<&str, BTreeSet<String>>::new();
        for (id, notes) in &self.notes {
            if let Some(group) = &notes.approval {
                found.entry(group).or_default().insert(id.to_string());
            }
        }
        found
    }

    /// Some policy looks at names, schemas or labels of relations.
    pub fn looks_at_names(&self) -> bool {
        self.mentions.names
    }

    /// Some policy looks at the time.
    pub fn looks_at_time(&self) -> bool {
        self.mentions.time
    }

    /// Some policy or group asks for the hash of an executable's file.
    pub fn wants_executable_hash(&self) -> bool {
        self.mentions.executable_hash || self.labelling.wants_executable_hash()
    }
}

impl fmt::Debug for PolicySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PolicySet").field("version", &self.version).field("files", &self.files).finish()
    }
}

/// A policy with the place it came from.
struct Member {
    policy: Policy,
    /// Index into the sources.
    source: usize,
    /// Where it starts in its source.
    byte: Option<usize>,
}

impl Member {
    /// As it is written; the whole file where its place in it is not known.
    fn text<'a>(&self, sources: &'a [PolicySource]) -> &'a str {
        let Some(source) = sources.get(self.source) else { return "" };
        let place = self.policy.as_ref().loc().and_then(|loc| source.text.get(loc.start()..loc.end()));
        place.unwrap_or(&source.text)
    }

    fn problem(&self, sources: &[PolicySource], byte: Option<usize>, reason: impl Into<String>) -> Problem {
        match sources.get(self.source) {
            Some(source) => Problem::at(&source.name, &source.text, byte, reason),
            None => Problem::of_file("", reason),
        }
    }
}

struct Reader<'a> {
    disabled: &'a [String],
    seen_disabled: BTreeSet<String>,
    members: Vec<Member>,
    /// Every id, to its index in `members`.
    ids: HashMap<PolicyId, usize>,
}

impl Reader<'_> {
    fn read(
        &mut self,
        index: usize,
        source: &PolicySource,
        sources: &[PolicySource],
        problems: &mut Vec<Problem>,
    ) {
        if let Err((byte, reason)) = check_bounds(&source.text) {
            problems.push(Problem::at(&source.name, &source.text, Some(byte), reason));
            return;
        }
        let parsed = match cedar_policy::PolicySet::from_str(&source.text) {
            Ok(parsed) => parsed,
            Err(errors) => {
                problems.extend(errors.iter().map(|error| {
                    let (byte, reason) = describe(&DetailedError::from(error));
                    let reason = advice::on_text(&source.text, byte, &reason).unwrap_or(reason);
                    Problem::at(&source.name, &source.text, byte, reason)
                }));
                return;
            }
        };
        for template in parsed.templates() {
            let byte = template.as_ref().loc().map(|loc| loc.start());
            let reason = "templates (?principal, ?resource) are not supported";
            problems.push(Problem::at(&source.name, &source.text, byte, reason));
        }
        let mut found: Vec<(Option<usize>, &Policy)> =
            parsed.policies().map(|policy| (policy.as_ref().loc().map(|loc| loc.start()), policy)).collect();
        found.sort_by_key(|(byte, _)| *byte);
        for (ordinal, (byte, policy)) in found.into_iter().enumerate() {
            if let Some(id) = policy.annotation("id").filter(|id| self.disabled.iter().any(|d| d == id)) {
                self.seen_disabled.insert(id.to_owned());
                continue;
            }
            let id = PolicyId::new(match (policy.annotation("id"), byte) {
                (Some(id), _) => id.to_owned(),
                (None, Some(byte)) => {
                    let (line, column) = super::error::position(&source.text, byte);
                    format!("{}:{line}:{column}", source.name)
                }
                (None, None) => format!("{}#{ordinal}", source.name),
            });
            let member = Member { policy: policy.new_id(id.clone()), source: index, byte };
            if let Some(first) = self.ids.get(&id).and_then(|&n| self.members.get(n)) {
                let place = first.problem(sources, first.byte, "here").to_string();
                let place = place.trim_end_matches(": here");
                problems.push(member.problem(
                    sources,
                    byte,
                    format!("@id {id:?} is already used at {place}", id = id.to_string()),
                ));
                continue;
            }
            self.ids.insert(id, self.members.len());
            self.members.push(member);
        }
    }

    /// What `member` says that can have no effect, and whether that is certain.
    fn without_effect(
        &self,
        member: &Member,
        sources: &[PolicySource],
        loaded: &LoadedSchema,
    ) -> Vec<(Problem, bool)> {
        let policy = &member.policy;
        let told = |byte: Option<usize>, reason: &str| member.problem(sources, byte.or(member.byte), reason);
        let asks = |ask| slice::applies_to(policy, ask, loaded);
        let only_see = asks(Ask::See) && !Ask::all().any(|ask| ask != Ask::See && asks(ask));
        let findings = literals::read(policy, only_see).into_iter();
        let mut found: Vec<_> =
            findings.map(|Finding { byte, reason, is_certain }| (told(byte, &reason), is_certain)).collect();
        found.extend(advice::on_permit(policy).map(|(byte, reason)| (told(byte, &reason), false)));
        let asked = approved::asked(policy);
        // Both fail safe, and the second may be met by another file: notes.
        match (policy.effect(), asked.to_apply, asked.to_lift) {
            (Effect::Forbid, None, byte @ Some(_)) if policy.annotation("approval").is_none() => {
                found.push((told(byte, approved::NEVER_LIFTED), false));
            }
            (Effect::Permit, byte @ Some(_), None)
                if !approved::is_ever_held(policy, self.members.iter().map(|m| &m.policy), loaded) =>
            {
                found.push((told(byte, approved::NEVER_HELD), false));
            }
            _ => {}
        }
        found
    }

    /// Strict validation. Warnings count: a policy that can never apply protects nobody, and a
    /// look-alike character in a name is not what its reader believes.
    fn validate(&self, sources: &[PolicySource], problems: &mut Vec<Problem>) {
        let Ok(loaded) = schema::loaded() else { return };
        let policies = self.members.iter().map(|member| member.policy.clone());
        let set = match cedar_policy::PolicySet::from_policies(policies) {
            Ok(set) => set,
            Err(error) => {
                problems.push(Problem::of_file("policies", error.to_string()));
                return;
            }
        };
        let result = Validator::new(loaded.schema.clone()).validate(&set, ValidationMode::Strict);
        let found =
            result.validation_errors().map(|error| (error.policy_id(), DetailedError::from(error))).chain(
                result
                    .validation_warnings()
                    .map(|warning| (warning.policy_id(), DetailedError::from(warning))),
            );
        let found: Vec<_> = found.collect();
        let mut told = HashSet::new();
        for (id, detail) in &found {
            let (byte, mut reason) = describe(detail);
            // Once, not for each action.
            let (what, action) = without_action(&reason);
            if !told.insert((*id, byte, what)) {
                continue;
            }
            if let Some(advice) = advice::on_attribute(&reason) {
                let (plain, _) = reason.split_once("; did you mean").unwrap_or((&reason, ""));
                reason = format!("{plain}; {advice}");
            } else if action {
                reason = without_action(&reason).0;
            }
            let member = self.ids.get(*id).and_then(|&n| self.members.get(n));
            if is_of_scope(&reason) {
                // Said by something more exact, or once with what to write.
                let others = found.iter().filter(|(other, _)| other == id).map(|(_, d)| describe(d).1);
                let mut others = others.filter(|other| *other != reason);
                if others.any(|other| !is_of_scope(&other) || other > reason) {
                    continue;
                }
                if let Some(advice) = member.and_then(|member| advice::on_scope(&member.policy)) {
                    reason = format!("{reason}; {advice}");
                }
            }
            problems.push(match member {
                Some(member) => member.problem(sources, byte.or(member.byte), reason),
                None => Problem::of_file("policies", reason),
            });
        }
    }
}

/// The reason without the one action that Cedar names where it holds for several; whether it names one.
fn without_action(reason: &str) -> (String, bool) {
    const START: &str = " in context for Governor::Action::\"";
    let cut = reason.split_once(START).and_then(|(before, rest)| Some((before, rest.split_once('"')?.1)));
    cut.map_or_else(
        || (reason.to_owned(), false),
        |(before, after)| (format!("{before} in context{after}"), true),
    )
}

/// Cedar found no question that the policy could answer.
fn is_of_scope(reason: &str) -> bool {
    ["policy is impossible", "unable to find an applicable action"].iter().any(|words| reason.contains(words))
}

/// Where an error is (byte offset in its file), and one line that says what it is and what helps.
fn describe(detail: &DetailedError) -> (Option<usize>, String) {
    let label = detail.source_locations.first();
    let mut reason = detail.message.clone();
    let extras = [label.and_then(|l| l.label.as_deref()), detail.help.as_deref()];
    for extra in extras.into_iter().flatten() {
        reason.push_str("; ");
        reason.push_str(extra);
    }
    let reason = reason.split_whitespace().collect::<Vec<_>>().join(" ");
    let reason = match reason.contains("on entity type `Governor::Process`") {
        true => reason.replace("`e has ", "`principal has "),
        false => reason,
    };
    (label.map(|l| l.loc.start), reason)
}

fn annotation_byte(policy: &Policy, key: &str) -> Option<usize> {
    let (_, annotation) = policy.as_ref().annotations().find(|(k, _)| k.to_string() == key)?;
    annotation.loc.as_ref().map(|loc| loc.start())
}

/// Cedar's parser and evaluator recurse: text whose depth or length no person writes is refused first.
fn check_bounds(text: &str) -> Result<(), (usize, String)> {
    if text.len() > TEXT_BYTES_MAX {
        return Err((0, format!("longer than {TEXT_BYTES_MAX} bytes")));
    }
    let (mut depth, mut policy_start) = (0_usize, 0_usize);
    let mut bytes = text.bytes().enumerate().peekable();
    while let Some((byte, c)) = bytes.next() {
        match c {
            b'"' => {
                // To the closing quote; a backslash takes the next byte with it.
                while let Some((_, c)) = bytes.next() {
                    match c {
                        b'\\' => drop(bytes.next()),
                        b'"' => break,
                        _ => {}
                    }
                }
            }
            b'/' if bytes.peek().is_some_and(|(_, next)| *next == b'/') => {
                while bytes.next_if(|(_, c)| *c != b'\n').is_some() {}
            }
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => depth = depth.saturating_sub(1),
            b';' => policy_start = byte,
            _ => {}
        }
        if depth > DEPTH_MAX {
            return Err((byte, format!("nested deeper than {DEPTH_MAX} levels")));
        }
        if byte - policy_start > POLICY_BYTES_MAX {
            return Err((byte, format!("one policy is longer than {POLICY_BYTES_MAX} bytes")));
        }
    }
    Ok(())
}

/// Length-prefixed, so that no two different inputs give the same bytes.
fn digest(parts: &PolicyParts) -> [u8; 32] {
    let mut sorted: Vec<(&str, &str)> =
        parts.sources.iter().map(|s| (s.name.as_str(), s.text.as_str())).collect();
    sorted.sort_unstable();
    let mut hash = Sha256::new();
    let mut add = |part: &str| {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part.as_bytes());
    };
    for (name, text) in sorted {
        add(name);
        add(text);
    }
    let disabled: BTreeSet<&String> = parts.disabled.iter().collect();
    for id in disabled {
        add("disabled");
        add(id);
    }
    if parts.labelling != Labelling::default() {
        add("labelling");
        // What is made of strings and numbers is always written.
        add(&serde_json::to_string(&parts.labelling).unwrap_or_default());
    }
    if let Some(zone) = &parts.zone {
        add("zone");
        add(zone.iana_name().unwrap_or("fixed"));
    }
    hash.finalize().into()
}

/// Reasons that no policy gives, besides `governor.*`.
const OWN_IDS: [&str; 2] = ["default-deny", "policy-fault"];
/// In place of a file name where the fault is in governor's configuration.
const CONFIGURATION: &str = "configuration";
const VERSION_BYTES: usize = 8;
/// Enough for ten thousand policies.
const TEXT_BYTES_MAX: usize = 8 << 20;
/// A chain of operators becomes a tree as deep as it is long: this keeps it within a 2 MiB stack (a test).
const POLICY_BYTES_MAX: usize = 32 << 10;
const DEPTH_MAX: usize = 60;
