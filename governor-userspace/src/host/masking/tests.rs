//! Keys on disk: made once, rotated, refused.

use super::*;
use crate::host::clock;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

fn open(dir: &Path) -> Result<MaskingKeys, MaskingKeyError> {
    MaskingKeys::open(KeySource::Directory(dir.to_owned()), clock::now())
}

#[test]
fn the_first_start_makes_a_key_and_the_next_one_finds_it() {
    let dir = tempfile::tempdir().unwrap();
    let keys_dir = dir.path().join("keys");
    let first = open(&keys_dir).unwrap();
    let file = keys_dir.join(KEY_FILE);
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::metadata(&keys_dir).unwrap().permissions().mode() & 0o777, 0o700);
    let id = first.created().unwrap();
    let again = open(&keys_dir).unwrap();
    assert_eq!((again.created(), again.ring().current().unwrap().id()), (None, id));

    let rotated = again.rotate(clock::now()).unwrap();
    assert!(rotated.current && rotated.id != id.to_string());
    assert_eq!(again.list().iter().map(|key| key.current).collect::<Vec<_>>(), [false, true]);
    assert_eq!(again.ring().current().unwrap().id().to_string(), rotated.id);
    assert!(again.ring().named(id).is_some(), "old keys reveal");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(open(&keys_dir).unwrap().list(), again.list());
    let text = fs::read_to_string(&file).unwrap();
    for root in text.lines().filter(|line| !line.starts_with('#')).map(|line| &line[..64]) {
        assert!(!format!("{again:?}").contains(root) && !format!("{:?}", again.list()).contains(root));
    }
}

#[test]
fn a_file_that_others_may_read_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    open(dir.path()).unwrap();
    let file = dir.path().join(KEY_FILE);
    for mode in [0o640, 0o604, 0o620, 0o666] {
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
        assert!(matches!(open(dir.path()), Err(MaskingKeyError::Exposed { .. })), "{mode:o}");
    }
}

#[test]
fn what_is_wrong_in_the_file_is_told_with_its_line() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join(KEY_FILE);
    let opened = |text: &str| {
        fs::write(&file, text).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        open(dir.path()).map_err(|error| error.to_string())
    };
    let (a, b) = ("ab".repeat(32), "cd".repeat(32));
    assert_eq!(opened(&format!("# note\n\n{a}\n{b} 2026-01-01T00:00:00Z\n")).unwrap().list().len(), 2);
    for (text, reason) in [
        (String::new(), "hold no key"),
        ("# nothing\n".into(), "hold no key"),
        (format!("{a}\n{a}\n"), ":2: this key is there twice"),
        (format!("{a}\n{}\n", &b[1..]), ":2: a key is 64 hexadecimal digits"),
        (format!("{a} now 00000000\n"), ":1: the key is not the one that the line names"),
    ] {
        let told = opened(&text).unwrap_err();
        assert!(told.contains(reason) && !told.contains(&a), "{told}");
    }
}

/// Nothing is cut off: a key beyond the bound is refused before it is made.
#[test]
fn no_more_keys_than_the_file_may_hold() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join(KEY_FILE);
    let keys = open(dir.path()).unwrap();
    let first = fs::read_to_string(&file).unwrap();
    let note = format!("# {}\n", "n".repeat((64 << 10) - first.len() - 100));
    fs::write(&file, format!("{note}{first}")).unwrap();
    assert!(matches!(keys.rotate(clock::now()), Err(MaskingKeyError::TooLarge { .. })));
    assert_eq!(open(dir.path()).unwrap().list().len(), 1);
    fs::write(&file, format!("{note}{note}{first}")).unwrap();
    assert!(matches!(open(dir.path()), Err(MaskingKeyError::TooLarge { .. })));
}

#[test]
fn a_credential_is_read_and_never_written() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("masking"), "ef".repeat(32)).unwrap();
    fs::set_permissions(dir.path().join("masking"), fs::Permissions::from_mode(0o440)).unwrap();
    let source = |directory: Option<&Path>| KeySource::Credential {
        name: "masking".into(),
        directory: directory.map(|path| path.as_os_str().to_owned()),
    };
    let keys = MaskingKeys::open(source(Some(dir.path())), clock::now()).unwrap();
    assert_eq!(keys.list().len(), 1);
    assert!(matches!(keys.rotate(clock::now()), Err(MaskingKeyError::ReadOnly { .. })));
    let without = MaskingKeys::open(source(None), clock::now());
    assert!(matches!(without, Err(MaskingKeyError::NoCredentials)));
}
