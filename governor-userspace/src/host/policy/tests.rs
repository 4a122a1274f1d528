//! Loading, reloading and following a policy directory.

use super::*;
use crate::engine::model::{Claims, Endpoint, Principal, Verdict};
use crate::engine::policy::{PolicyPrincipal, PolicySource, SessionContext};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

const FORBID: &str = "@id(\"closed\") forbid (principal, action == Governor::Action::\"connect\", resource);";

fn options(dir: &Path) -> PolicyOptions {
    PolicyOptions { dir: Some(dir.to_owned()), ..PolicyOptions::default() }
}

fn principal(class: &str) -> PolicyPrincipal {
    let who: Principal = serde_json::from_value(serde_json::json!({
        "class": class, "class_evidence": [], "pid": 1, "start_ticks": 1, "uid": 1000, "user": "alice",
        "gid": 1000, "groups": [], "command": "psql", "command_line": [], "cgroup_id": 1, "ancestors": [],
    }))
    .unwrap();
    PolicyPrincipal::new(who.into())
}

fn server() -> Endpoint {
    Endpoint::tcp("127.0.0.1".parse().unwrap(), 5432)
}

fn connect(store: &PolicyStore) -> Verdict {
    store
        .current()
        .connect(&principal("person"), &Claims::default(), &server(), &SessionContext::default())
        .verdict
}

/// The problem of a directory with one bad entry.
fn refused(dir: &Path) -> String {
    PolicyStore::open(options(dir)).unwrap_err().to_string()
}

#[test]
fn files_join_the_builtin_policies() {
    let dir = tempfile::tempdir().unwrap();
    let store = PolicyStore::open(options(dir.path())).unwrap();
    assert_eq!(connect(&store), Verdict::Allow);
    fs::write(dir.path().join("b.cedar"), FORBID).unwrap();
    fs::write(dir.path().join("a.cedar"), "// nothing").unwrap();
    fs::write(dir.path().join(".hidden.cedar"), "nonsense").unwrap();
    fs::write(dir.path().join("README.md"), "nonsense").unwrap();
    let reloaded = store.reload().unwrap();
    assert_ne!(reloaded.before, reloaded.version);
    assert_eq!(connect(&store), Verdict::Deny);
    let names: Vec<String> = store.current().files().iter().map(|file| file.name.clone()).collect();
    assert!(names[names.len() - 2].ends_with("/a.cedar") && names[names.len() - 1].ends_with("/b.cedar"));

    let alone = PolicyOptions { builtin: false, dir: None, ..PolicyOptions::default() };
    assert_eq!(connect(&PolicyStore::open(alone).unwrap()), Verdict::Deny);
}

#[test]
fn an_error_keeps_the_set_before() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("a.cedar");
    fs::write(&file, FORBID).unwrap();
    let store = PolicyStore::open(options(dir.path())).unwrap();
    let version = store.current().version().to_owned();
    fs::write(&file, "\n\nforbid (principal, action, resorce);").unwrap();
    let error = store.reload().unwrap_err();
    assert_eq!((error.problems[0].file.as_str(), error.problems[0].line), (file.to_str().unwrap(), Some(3)));
    assert_eq!(store.current().version(), version);
    assert_eq!(connect(&store), Verdict::Deny);

    // A removed file is a change; a removed directory is not believed.
    fs::remove_file(&file).unwrap();
    store.reload().unwrap();
    assert_eq!(connect(&store), Verdict::Allow);
    fs::write(&file, FORBID).unwrap();
    store.reload().unwrap();
    fs::remove_dir_all(dir.path()).unwrap();
    assert!(store.reload().unwrap_err().to_string().contains("is gone"));
    assert_eq!(connect(&store), Verdict::Deny);
}

#[test]
fn strange_files_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("a.cedar");

    fs::create_dir(&file).unwrap();
    assert!(refused(dir.path()).contains("not a regular file"));
    fs::remove_dir(&file).unwrap();

    nix::unistd::mkfifo(&file, nix::sys::stat::Mode::S_IRWXU).unwrap();
    assert!(refused(dir.path()).contains("not a regular file"));
    fs::remove_file(&file).unwrap();

    std::os::unix::fs::symlink("nowhere", &file).unwrap();
    assert!(refused(dir.path()).contains("a.cedar: "));
    fs::remove_file(&file).unwrap();

    fs::write(&file, vec![b' '; (1 << 20) + 1]).unwrap();
    assert!(refused(dir.path()).contains("larger than"));
    fs::write(&file, [0xff, 0xfe]).unwrap();
    assert!(refused(dir.path()).contains("UTF-8"));

    fs::write(&file, FORBID).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o666)).unwrap();
    assert!(refused(dir.path()).contains("everybody may write"));
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    PolicyStore::open(options(dir.path())).unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o1777)).unwrap();
    assert!(refused(dir.path()).contains("everybody may write"));
}

#[test]
fn unknown_disabled_ids_are_refused() {
    let options = PolicyOptions { disabled: vec!["nope".into()], ..PolicyOptions::default() };
    assert!(PolicyStore::open(options).unwrap_err().to_string().contains("nope"));
}

struct Watched {
    store: Arc<PolicyStore>,
    heard: Receiver<Result<Reloaded, PolicyError>>,
    _watch: PolicyWatch,
}

fn watched(dir: &Path) -> Watched {
    let store = Arc::new(PolicyStore::open(options(dir)).unwrap());
    let (tell, heard) = channel();
    let watch = store
        .watch(move |result| {
            let _ = tell.send(result);
        })
        .unwrap();
    Watched { store, heard, _watch: watch }
}

impl Watched {
    #[track_caller]
    fn hear(&self) -> Result<Reloaded, PolicyError> {
        self.heard.recv_timeout(Duration::from_secs(20)).expect("a change is heard of")
    }
}

/// A whole file at once, as careful editors do it: a slow machine would read a half-written one, and be right.
fn put(file: &Path, text: &str) {
    let draft = file.with_extension("draft");
    fs::write(&draft, text).unwrap();
    fs::rename(draft, file).unwrap();
}

#[test]
fn changes_on_disk_come_into_force() {
    let dir = tempfile::tempdir().unwrap();
    let watched = watched(dir.path());
    let file = dir.path().join("a.cedar");

    put(&file, FORBID);
    watched.hear().unwrap();
    assert_eq!(connect(&watched.store), Verdict::Deny);

    put(&file, "nonsense");
    watched.hear().unwrap_err();
    assert_eq!(connect(&watched.store), Verdict::Deny);

    // Repaired to what is in force: heard of, because the refusal was.
    put(&file, FORBID);
    let repaired = watched.hear().unwrap();
    assert_eq!(repaired.before, repaired.version);

    let beside = dir.path().join(".new");
    fs::write(&beside, "// open again").unwrap();
    fs::rename(&beside, &file).unwrap();
    watched.hear().unwrap();
    assert_eq!(connect(&watched.store), Verdict::Allow);
}

#[test]
fn a_directory_made_later_or_replaced_is_followed() {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("policies");
    let watched = watched(&dir);
    assert_eq!(connect(&watched.store), Verdict::Allow);

    fs::create_dir(&dir).unwrap();
    put(&dir.join("a.cedar"), FORBID);
    watched.hear().unwrap();
    assert_eq!(connect(&watched.store), Verdict::Deny);

    let next = parent.path().join("next");
    fs::create_dir(&next).unwrap();
    fs::rename(&dir, parent.path().join("old")).unwrap();
    fs::rename(&next, &dir).unwrap();
    // With unlucky timing the moment without a directory is heard of first.
    while watched.hear().is_err() {}
    assert_eq!(connect(&watched.store), Verdict::Allow);
    put(&dir.join("b.cedar"), FORBID);
    watched.hear().unwrap();
    assert_eq!(connect(&watched.store), Verdict::Deny);
}

#[test]
fn a_watch_without_a_directory_ends() {
    let store = Arc::new(PolicyStore::open(PolicyOptions::default()).unwrap());
    drop(store.watch(|_| {}).unwrap());
}

/// Prints what the built-in policies cost. Run with
/// `cargo test --release -p governor-userspace --lib -- --ignored --nocapture decision_cost`.
#[test]
#[ignore = "a measurement, not a check"]
fn decision_cost() {
    use crate::engine::masking::Category;
    use crate::engine::model::{ColumnName, RelationName, Statement, StatementKind, Unknown};
    use crate::engine::policy::{DecisionCache, RunContext, SeeColumn};

    let time = |name: &str, work: &mut dyn FnMut()| {
        let rounds = 20_000_u32;
        (0..1_000).for_each(|_| work());
        let start = std::time::Instant::now();
        (0..rounds).for_each(|_| work());
        println!("{name:28} {:8} ns", start.elapsed().as_nanos() / u128::from(rounds));
    };
    let set = PolicyStore::open(PolicyOptions::default()).unwrap().current();
    let (claims, to, around) = (Claims::default(), server(), RunContext::default());
    let statement = |kind| {
        let mut s = Statement::unknown("…".into(), Unknown::TooDeep);
        (s.kind, s.kinds, s.unknown, s.has_where) = (kind, vec![kind], None, Some(true));
        s.tag = "SELECT".into();
        s.reads = vec![RelationName { schema: None, name: "pgbench_accounts".into() }];
        s.mentions.columns = vec!["abalance".into(), "aid".into()];
        s
    };
    let (select, delete) = (statement(StatementKind::Select), statement(StatementKind::Delete));
    let name = ColumnName { schema: "public".into(), relation: "people".into(), column: "email".into() };
    let email = SeeColumn { column: Some(name), category: Some(Category::Email) };
    for class in ["service", "agent"] {
        let who = principal(class);
        let black_box = std::hint::black_box::<Verdict>;
        time(&format!("{class}: run, cold, SELECT"), &mut || {
            black_box(set.run(&who, &claims, &to, &select, &around).verdict);
        });
        time(&format!("{class}: run, cold, DELETE"), &mut || {
            black_box(set.run(&who, &claims, &to, &delete, &around).verdict);
        });
        time(&format!("{class}: connect, cold"), &mut || {
            black_box(set.connect(&who, &claims, &to, &around.session).verdict);
        });
        time(&format!("{class}: see, cold"), &mut || {
            std::hint::black_box(set.see(&who, &claims, &to, &email, &around.session));
        });
        let mut cache = DecisionCache::new(std::num::NonZeroUsize::new(4096).unwrap());
        time(&format!("{class}: run, remembered"), &mut || {
            black_box(cache.run(&set, &who, &claims, &to, &select, &around).verdict);
        });
        time(&format!("{class}: see, remembered"), &mut || {
            std::hint::black_box(cache.see(&set, &who, &claims, &to, &email, &around.session));
        });
    }

    // Ten thousand policies of a large company: one per team database, for its own action and class.
    let many: String = (0..10_000)
        .map(|n| {
            format!(
                "@id(\"team-{n}\") forbid (principal in Governor::Class::\"person\", \
                 action == Governor::Action::\"delete\", resource == Governor::Database::\"team-{n}\");\n"
            )
        })
        .collect();
    let mut sources = PolicySet::builtin(Profile::Protect);
    sources.push(PolicySource::new("many.cedar", many));
    let start = std::time::Instant::now();
    let set = PolicySet::compile(&sources).unwrap();
    println!("10,000 policies: compile       {} ms", start.elapsed().as_millis());
    for (what, class, statement) in [("touched", "person", &delete), ("not touched", "agent", &delete)] {
        let who = principal(class);
        let start = std::time::Instant::now();
        (0..100).for_each(|_| {
            std::hint::black_box(set.run(&who, &claims, &to, statement, &around));
        });
        println!("10,000 policies: {what:12}  {} ns", start.elapsed().as_nanos() / 100);
    }
}

#[test]
fn packs_labels_and_the_zone_come_from_the_options() {
    let dir = tempfile::tempdir().unwrap();
    let labels = "[[label]]\non = [\"pay.cards\"]\nlabels = [\"pci\"]\n[groups]\npci-users = [\"alice\"]\n";
    fs::write(dir.path().join("a.labels.toml"), labels).unwrap();
    fs::write(dir.path().join("notes.toml"), "not for governor").unwrap();
    let with = |packs: &[&str], zone: Option<&str>| PolicyOptions {
        packs: packs.iter().map(|&name| name.to_owned()).collect(),
        zone: zone.map(str::to_owned),
        ..options(dir.path())
    };
    let store = PolicyStore::open(with(&["pci", "essential"], Some("Europe/Berlin"))).unwrap();
    let set = store.current();
    assert!(set.files().iter().any(|file| file.name == "pack/pci.cedar"));
    assert_eq!(set.labelling().all_labels().into_iter().collect::<Vec<_>>(), ["pci"]);
    let error = PolicyStore::open(with(&["pcii"], Some("Mars/Olympus"))).unwrap_err().to_string();
    assert!(error.contains("no rule pack \"pcii\"") && error.contains("essential"), "{error}");
    assert!(error.contains("no time zone"), "{error}");

    // A label file that changes is a policy that changes; a bad one changes nothing.
    fs::write(dir.path().join("a.labels.toml"), labels.replace("alice", "bob")).unwrap();
    let reloaded = store.reload().unwrap();
    assert_ne!(reloaded.before, reloaded.version);
    fs::write(dir.path().join("a.labels.toml"), "[[label]]\non = [\"cards\"]\nlabels = [\"pci\"]\n").unwrap();
    let error = store.reload().unwrap_err().to_string();
    assert!(error.contains("a.labels.toml:2:") && error.contains("no name of relations"), "{error}");
    assert_eq!(store.current().version(), reloaded.version);
}
