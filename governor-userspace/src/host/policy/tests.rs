use super::*;
use crate::engine::model::{Claims, Endpoint, Principal, Verdict};
use crate::engine::policy::PolicyPrincipal;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

const FORBID: &str = "@id(\"closed\") forbid (principal, action == Governor::Action::\"connect\", resource);";

fn options(dir: &Path) -> PolicyOptions {
    PolicyOptions { dir: Some(dir.to_owned()), ..PolicyOptions::default() }
}

fn connect(store: &PolicyStore) -> Verdict {
    let who: Principal = serde_json::from_value(serde_json::json!({
        "class": "person", "class_evidence": [], "pid": 1, "start_ticks": 1, "uid": 1000, "user": "alice",
        "gid": 1000, "groups": [], "command": "psql", "command_line": [], "cgroup_id": 1, "ancestors": [],
    }))
    .unwrap();
    let to = Endpoint { address: "127.0.0.1".parse().unwrap(), port: 5432 };
    store.current().connect(&PolicyPrincipal::new(&who), &Claims::default(), &to).verdict
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

#[test]
fn changes_on_disk_come_into_force() {
    let dir = tempfile::tempdir().unwrap();
    let watched = watched(dir.path());
    let file = dir.path().join("a.cedar");

    fs::write(&file, FORBID).unwrap();
    watched.hear().unwrap();
    assert_eq!(connect(&watched.store), Verdict::Deny);

    fs::write(&file, "nonsense").unwrap();
    watched.hear().unwrap_err();
    assert_eq!(connect(&watched.store), Verdict::Deny);

    // Repaired to what is in force: heard of, because the refusal was.
    fs::write(&file, FORBID).unwrap();
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
    fs::write(dir.join("a.cedar"), FORBID).unwrap();
    watched.hear().unwrap();
    assert_eq!(connect(&watched.store), Verdict::Deny);

    let next = parent.path().join("next");
    fs::create_dir(&next).unwrap();
    fs::rename(&dir, parent.path().join("old")).unwrap();
    fs::rename(&next, &dir).unwrap();
    // With unlucky timing the moment without a directory is heard of first.
    while watched.hear().is_err() {}
    assert_eq!(connect(&watched.store), Verdict::Allow);
    fs::write(dir.join("b.cedar"), FORBID).unwrap();
    watched.hear().unwrap();
    assert_eq!(connect(&watched.store), Verdict::Deny);
}

#[test]
fn a_watch_without_a_directory_ends() {
    let store = Arc::new(PolicyStore::open(PolicyOptions::default()).unwrap());
    drop(store.watch(|_| {}).unwrap());
}
