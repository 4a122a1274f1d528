//! Whole identities: synthetic procfs trees for the tables; in `tests/real.rs` real processes for what only a kernel shows.

#[path = "tests/real.rs"]
mod real;

use super::*;
use crate::engine::model::Class;
use crate::host::identity::Glob;
use std::os::unix::fs::{MetadataExt, symlink};

/// A made-up host: a procfs and a cgroup mount.
struct Host {
    root: tempfile::TempDir,
}

/// A made-up process; start with [`process`].
struct Fake<'a> {
    pid: u32,
    parent: u32,
    start: u64,
    terminal: u32,
    uid: u32,
    login_uid: u32,
    executable: &'a str,
    arguments: &'a [&'a str],
    environment: &'a [&'a str],
    cgroup: &'a str,
    image: u64,
}

fn process(pid: u32) -> Fake<'static> {
    Fake {
        pid,
        parent: 1,
        start: 100,
        terminal: 0,
        uid: 1000,
        login_uid: u32::MAX,
        executable: "/usr/bin/app",
        arguments: &["app"],
        environment: &["PATH=/bin"],
        cgroup: "/",
        image: 1,
    }
}

const PTS_3: u32 = (136 << 8) | 3;

impl Host {
    fn new() -> Self {
        let host = Self { root: tempfile::tempdir().unwrap() };
        for group in [
            "",
            "system.slice/app.service",
            "system.slice/ssh.service",
            "user.slice/user-1000.slice/session-3.scope",
        ] {
            std::fs::create_dir_all(host.root.path().join("cgroup").join(group)).unwrap();
        }
        std::fs::create_dir(host.root.path().join("proc")).unwrap();
        host.add(Fake {
            parent: 0,
            start: 1,
            executable: "/usr/lib/systemd/systemd",
            arguments: &["init"],
            ..process(1)
        });
        host
    }

    fn add(&self, fake: Fake<'_>) {
        let directory = self.root.path().join("proc").join(fake.pid.to_string());
        let _ = std::fs::remove_dir_all(&directory);
        std::fs::create_dir(&directory).unwrap();
        let command = fake.executable.rsplit('/').next().unwrap();
        let mut fields = vec!["0".to_owned(); 50];
        fields[0] = "S".into();
        fields[1] = fake.parent.to_string();
        fields[4] = fake.terminal.to_string();
        fields[19] = fake.start.to_string();
        fields[25] = fake.image.to_string();
        let write = |file: &str, text: String| std::fs::write(directory.join(file), text).unwrap();
        write("stat", format!("{} ({command}) {}", fake.pid, fields.join(" ")));
        let uid = fake.uid;
        write("status", format!("Uid:\t{uid}\t{uid}\t{uid}\t{uid}\nGroups:\t0 4000000 \n"));
        write("comm", format!("{command}\n"));
        write("loginuid", fake.login_uid.to_string());
        write("sessionid", "12".into());
        write("cmdline", fake.arguments.iter().map(|a| format!("{a}\0")).collect());
        write("environ", fake.environment.iter().map(|a| format!("{a}\0")).collect());
        write("cgroup", format!("1:name=systemd:/x\n0::{}\n", fake.cgroup));
        symlink(fake.executable, directory.join("exe")).unwrap();
    }

    fn cgroup_id(&self, path: &str) -> u64 {
        let path = self.root.path().join("cgroup").join(path.trim_start_matches('/'));
        std::fs::metadata(path).unwrap().ino()
    }

    fn identifier(&self, assignments: Vec<Assignment>) -> Identifier {
        let rules = IdentityRules { assignments, ..IdentityRules::default() };
        Identifier::with_roots(rules, self.root.path().join("cgroup"), self.root.path().join("proc")).unwrap()
    }

    fn attested(&self, pid: u32, cgroup: &str) -> Attested {
        Attested {
            tgid: pid,
            uid: 1000,
            gid: 4_000_001,
            command: "app".into(),
            cgroup_id: self.cgroup_id(cgroup),
            connected_ns: 3_600_000_000_000,
        }
    }

    fn identify(&self, pid: u32, cgroup: &str) -> Arc<Principal> {
        self.identifier(Vec::new()).identify(&self.attested(pid, cgroup))
    }
}

#[test]
fn classes_follow_the_evidence() {
    type Change = fn(&mut Fake<'static>);
    let unit = "/system.slice/app.service";
    let session = "/user.slice/user-1000.slice/session-3.scope";
    let table: &[(&str, Class, &str, Change)] = &[
        ("/", Class::Service, "no terminal", |_| ()),
        (unit, Class::Service, "unit app.service", |_| ()),
        (session, Class::Person, "login session session-3.scope", |_| ()),
        ("/system.slice/ssh.service", Class::Person, "login ssh: unit ssh.service", |_| ()),
        (unit, Class::Person, "login uid 1000, session 12", |f| f.login_uid = 1000),
        (unit, Class::Person, "login uid 0", |f| f.login_uid = 0),
        (unit, Class::Person, "controlling terminal pts/3", |f| f.terminal = PTS_3),
        (unit, Class::Person, "login ssh: executable /usr/sbin/sshd, in ancestor 20", |f| f.parent = 20),
        (unit, Class::Person, "ancestor 30 (/bin/bash) has terminal pts/3", |f| f.parent = 30),
        (unit, Class::Agent, "known agent claude-code: environment marker CLAUDECODE", |f| {
            f.environment = &["A=b", "CLAUDECODE=1"]
        }),
        (session, Class::Agent, "known agent codex: executable /usr/bin/codex", |f| {
            f.executable = "/usr/bin/codex"
        }),
        (session, Class::Agent, "known agent claude-code: script", |f| {
            f.executable = "/usr/bin/node";
            f.arguments = &["node", "/usr/local/bin/claude"];
        }),
        (session, Class::Agent, "in ancestor 40", |f| f.parent = 40),
        // A scrubbed environment does not hide the shell that the agent started.
        (unit, Class::Agent, "environment marker CLAUDECODE, in ancestor 50 (/bin/sh)", |f| f.parent = 50),
    ];
    let host = Host::new();
    host.add(Fake {
        start: 50,
        executable: "/usr/sbin/sshd",
        arguments: &["sshd: alice@pts/3"],
        ..process(20)
    });
    host.add(Fake {
        start: 50,
        executable: "/bin/bash",
        arguments: &["-bash"],
        terminal: PTS_3,
        ..process(30)
    });
    host.add(Fake {
        start: 50,
        executable: "/usr/bin/aider",
        arguments: &["aider"],
        terminal: PTS_3,
        ..process(40)
    });
    host.add(Fake {
        start: 50,
        executable: "/bin/sh",
        arguments: &["sh"],
        environment: &["CLAUDECODE=1"],
        ..process(50)
    });
    for (cgroup, class, why, change) in table {
        let mut fake = Fake { cgroup, ..process(77) };
        change(&mut fake);
        host.add(fake);
        let who = host.identify(77, cgroup);
        assert_eq!(who.class, *class, "{why}: {:?}", who.class_evidence);
        assert!(who.class_evidence[0].contains(why), "{why}: {:?}", who.class_evidence);
        assert_eq!((who.pid, who.start_ticks, who.cgroup.as_deref()), (77, 100, Some(*cgroup)), "{why}");
    }
}

#[test]
fn marker_values_are_nowhere() {
    let host = Host::new();
    host.add(Fake {
        environment: &["CLAUDECODE=topsecret", "PGPASSWORD=topsecret"],
        arguments: &["app", "password=topsecret"],
        ..process(77)
    });
    let identifier = host.identifier(Vec::new());
    let who = identifier.identify(&host.attested(77, "/"));
    assert_eq!(who.class, Class::Agent);
    assert!(!format!("{who:?}").contains("topsecret"), "{who:?}");
    assert_eq!(who.command_line, ["app", "password=***"]);
}

#[test]
fn assignments_win_in_order_and_groups_add_up() {
    let glob = |text: &str| Some(Glob::new(text).unwrap());
    let unit = "/system.slice/app.service";
    let rules = vec![
        Assignment {
            uid: Some(4),
            class: Some(Class::Agent),
            groups: vec!["no".into()],
            ..Assignment::default()
        },
        Assignment {
            cgroup: glob("/system.slice/app.*"),
            groups: vec!["apps".into()],
            ..Assignment::default()
        },
        Assignment {
            unit: glob("app.service"),
            uid: Some(1000),
            class: Some(Class::Service),
            groups: vec!["billing".into(), "apps".into()],
            ..Assignment::default()
        },
        Assignment {
            uid: Some(1000),
            class: Some(Class::Person),
            groups: vec!["all".into()],
            ..Assignment::default()
        },
    ];
    let host = Host::new();
    host.add(Fake { cgroup: unit, terminal: PTS_3, environment: &["CLAUDECODE=1"], ..process(77) });
    let who = host.identifier(rules.clone()).identify(&host.attested(77, unit));
    assert_eq!(who.class, Class::Service, "explicit assignment beats evidence");
    assert!(
        who.class_evidence[0].contains("identity.assign 3: uid 1000, unit app.service"),
        "{:?}",
        who.class_evidence
    );
    assert!(who.class_evidence.iter().any(|e| e.contains("CLAUDECODE")), "what was seen stays on record");
    assert_eq!(who.groups, ["4000001", "root", "4000000", "apps", "billing", "all"]);
    let who = host.identifier(rules).identify(&host.attested(77, "/"));
    assert_eq!((who.class, who.groups.last().unwrap().as_str()), (Class::Person, "all"));
}

#[test]
fn an_executable_path_from_elsewhere_makes_nothing_lenient() {
    // On this host the path is a file of another identity, as with a private mount namespace.
    let host = Host::new();
    host.add(Fake { executable: "/usr/bin/no-such-billing", terminal: PTS_3, ..process(77) });
    for (class, expected) in [(Class::Service, Class::Person), (Class::Agent, Class::Agent)] {
        let rule = Assignment {
            executable: Some(Glob::new("/usr/bin/no-such-billing").unwrap()),
            class: Some(class),
            groups: vec!["trusted".into()],
            ..Assignment::default()
        };
        let who = host.identifier(vec![rule]).identify(&host.attested(77, "/"));
        assert_eq!(who.class, expected, "{:?}", who.class_evidence);
        assert!(!who.groups.contains(&"trusted".to_owned()));
    }
}

#[test]
fn a_recycled_pid_tells_nothing() {
    let host = Host::new();
    // Started an hour and a second after boot, the connect was at an hour.
    host.add(Fake { start: 360_100, executable: "/usr/bin/other", terminal: PTS_3, ..process(77) });
    let who = host.identify(77, "/");
    assert_eq!((who.start_ticks, &who.executable, &who.terminal), (0, &None, &None));
    assert_eq!(who.class, Class::Agent, "could be anything");
    assert!(who.class_evidence[0].contains("in use again"), "{:?}", who.class_evidence);
    assert_eq!((who.uid, who.command.as_str()), (1000, "app"), "what the kernel attests stays");
}

#[test]
fn within_one_tick_the_uid_decides() {
    let host = Host::new();
    let slept = suspended_ns();
    let ticks = host.identifier(Vec::new()).procfs.ticks_per_second_for_tests();
    let connected_ticks = (3_600_000_000_000u128 + u128::from(slept)) * u128::from(ticks) / 1_000_000_000;
    let start = u64::try_from(connected_ticks).unwrap();
    host.add(Fake { start, uid: 1000, ..process(77) });
    assert_eq!(host.identify(77, "/").start_ticks, start);
    host.add(Fake { start, uid: 1001, ..process(77) });
    assert_eq!(host.identify(77, "/").start_ticks, 0);
}

#[test]
fn a_vanished_process_is_judged_by_its_cgroup_strictly() {
    let host = Host::new();
    for (cgroup, class) in [
        ("/", Class::Agent),
        ("/system.slice/app.service", Class::Service),
        ("/system.slice/ssh.service", Class::Agent),
        ("/user.slice/user-1000.slice/session-3.scope", Class::Agent),
    ] {
        let who = host.identify(4242, cgroup);
        assert_eq!(who.class, class, "{cgroup}: {:?}", who.class_evidence);
        assert!(who.class_evidence[0].contains("gone"), "{:?}", who.class_evidence);
        assert_eq!(who.cgroup.as_deref(), Some(cgroup));
        assert!(who.command_line.is_empty() && who.ancestors.is_empty());
    }
    let rule = Assignment { uid: Some(1000), class: Some(Class::Person), ..Assignment::default() };
    assert_eq!(host.identifier(vec![rule]).identify(&host.attested(4242, "/")).class, Class::Person);
}

#[test]
fn the_cgroup_of_the_connect_counts_not_a_later_one() {
    let host = Host::new();
    host.add(Fake { cgroup: "/system.slice/app.service", ..process(77) });
    let session = "/user.slice/user-1000.slice/session-3.scope";
    let who = host.identify(77, session);
    assert_eq!((who.class, who.cgroup.as_deref()), (Class::Person, Some(session)));
}

#[test]
fn another_program_in_the_same_process_is_read_anew() {
    let host = Host::new();
    let identifier = host.identifier(Vec::new());
    host.add(process(77));
    assert_eq!(identifier.identify(&host.attested(77, "/")).class, Class::Service);
    // The cache holds: the environment alone does not change while a program runs.
    host.add(Fake { environment: &["CLAUDECODE=1"], ..process(77) });
    assert_eq!(identifier.identify(&host.attested(77, "/")).class, Class::Service);
    host.add(Fake { environment: &["CLAUDECODE=1"], image: 2, ..process(77) });
    assert_eq!(identifier.identify(&host.attested(77, "/")).class, Class::Agent);
    host.add(Fake { executable: "/usr/bin/codex", image: 2, ..process(77) });
    assert_eq!(identifier.identify(&host.attested(77, "/")).class, Class::Agent);
}

/// An answer is given again within a second, to the same program of the same process alone.
#[test]
fn an_answer_is_given_again_only_to_the_same() {
    let host = Host::new();
    let identifier = host.identifier(Vec::new());
    let login = |fake: Fake<'static>| Fake { login_uid: 1000, ..fake };
    host.add(process(77));
    let attested = host.attested(77, "/");
    let first = identifier.identify(&attested);
    assert_eq!(first.login_uid, None);
    host.add(login(process(77)));
    let again = identifier.identify(&attested);
    assert_eq!(again.login_uid, None, "not read again");
    assert!(Arc::ptr_eq(&first, &again), "what is known of one holds for the other");
    type Change = fn(&mut Fake<'static>);
    let changes: &[(&str, Change)] = &[
        ("program", |f| f.image = 2),
        ("executable", |f| f.executable = "/usr/bin/other"),
        ("process", |f| f.start = 1_001),
        ("terminal", |f| f.terminal = 34_817),
        ("parent", |f| f.parent = 1),
        ("a program that cannot be told", |f| f.image = 0),
    ];
    for (what, change) in changes {
        let identifier = host.identifier(Vec::new());
        let mut fake = process(77);
        fake.parent = 0;
        host.add(fake);
        assert_eq!(identifier.identify(&attested).login_uid, None);
        let mut fake = login(process(77));
        fake.parent = 0;
        change(&mut fake);
        host.add(fake);
        assert_eq!(identifier.identify(&attested).login_uid, Some(1000), "{what}");
    }
    let others = [
        Attested { uid: 1001, ..attested.clone() },
        Attested { gid: 7, ..attested.clone() },
        Attested { command: "thread".into(), ..attested.clone() },
        host.attested(77, "/system.slice/app.service"),
    ];
    for other in others {
        let identifier = host.identifier(Vec::new());
        host.add(process(77));
        identifier.identify(&attested);
        host.add(login(process(77)));
        assert_eq!(identifier.identify(&other).login_uid, Some(1000), "{other:?}");
    }
}

#[test]
fn a_child_keeps_the_parent_it_was_seen_with() {
    let host = Host::new();
    host.add(Fake { start: 50, executable: "/usr/bin/aider", arguments: &["aider"], ..process(40) });
    host.add(Fake { parent: 40, ..process(77) });
    let identifier = host.identifier(Vec::new());
    assert_eq!(identifier.identify(&host.attested(77, "/")).class, Class::Agent);
    host.add(Fake { parent: 1, ..process(77) });
    assert_eq!(identifier.identify(&host.attested(77, "/")).class, Class::Agent);
}

#[test]
fn ancestry_is_bounded_and_never_younger() {
    let host = Host::new();
    for pid in 100..200 {
        host.add(Fake { parent: pid - 1, start: u64::from(pid), ..process(pid) });
    }
    let who = host.identify(199, "/");
    assert_eq!(who.ancestors.len(), 16);
    assert_eq!((who.ancestors[0].pid, who.ancestors[0].start_ticks), (198, 198));
    // The parent's pid was taken over by a younger process.
    host.add(Fake { start: 5000, executable: "/usr/bin/aider", ..process(40) });
    host.add(Fake { parent: 40, ..process(77) });
    let who = host.identify(77, "/");
    assert!(who.ancestors.is_empty(), "{:?}", who.ancestors);
    // A loop, which no kernel makes, ends.
    host.add(Fake { parent: 78, ..process(77) });
    host.add(Fake { parent: 77, ..process(78) });
    assert_eq!(host.identify(77, "/").ancestors.len(), 16);
}

#[test]
fn missing_files_weaken_nothing_silently() {
    let host = Host::new();
    host.add(process(77));
    let directory = host.root.path().join("proc/77");
    for file in ["exe", "environ", "cmdline", "loginuid", "sessionid", "cgroup", "status", "comm"] {
        std::fs::remove_file(directory.join(file)).unwrap();
    }
    let who = host.identify(77, "/");
    assert_eq!((&who.executable, who.login_uid, who.start_ticks), (&None, None, 100));
    assert!(
        who.class_evidence.iter().any(|e| e.contains("environment could not be read")),
        "{:?}",
        who.class_evidence
    );
    assert_eq!(who.cgroup.as_deref(), Some("/"), "found by its id");
    std::fs::remove_file(directory.join("stat")).unwrap();
    assert!(host.identify(77, "/").class_evidence[0].contains("gone"));
}

#[test]
fn a_directory_that_is_no_cgroup_mount_is_refused() {
    let error = Identifier::new(IdentityRules::default(), "/tmp".into()).unwrap_err().to_string();
    assert!(error.contains("/tmp is not a cgroup v2 mount"), "{error}");
}
