//! What the file says and what is refused, with line and key.

use super::*;
use crate::engine::masking::UserMatch;
use crate::engine::masking::{Category, JsonPath};
use crate::engine::model::{Class, MaskStyle};
use crate::host::config::file;

const SAMPLE: &str = include_str!("../../../../../deploy/governor.toml");
const REFERENCE: &str = include_str!("../../../../../docs/configuration.md");

fn config(text: &str) -> Result<Config, ConfigError> {
    parse(text, Path::new("/x/governor.toml"), Overrides::default())
}

#[test]
fn nothing_written_is_the_default() {
    assert_eq!(config("").unwrap(), Config::default());
    for section in
        ["capture", "identity", "policy", "masking", "approvals", "audit", "metrics", "limits", "log"]
    {
        assert_eq!(config(&format!("[{section}]\n")).unwrap(), Config::default(), "{section}");
    }
}

#[test]
fn the_sample_is_the_default_and_shows_every_key() {
    assert_eq!(config(SAMPLE).unwrap(), Config::default());
    let shown = |text: &str, section: &str, key: &str| {
        let lines = text.lines().map(|l| l.trim_start_matches(['#', ' ']));
        let list = format!("[[{section}.{key}]]");
        let table = format!("[{section}.{key}]");
        lines.into_iter().any(|l| {
            l.split('=').next().is_some_and(|k| k.trim() == key && l.contains('=')) || l == list || l == table
        })
    };
    let sections: [(&str, &[&str]); 21] = [
        ("capture", file::Capture::KEYS),
        ("capture.rules", file::CaptureRule::KEYS),
        ("capture.inbound", file::CaptureInbound::KEYS),
        ("capture.unix", file::CaptureUnix::KEYS),
        ("tls", file::Tls::KEYS),
        ("tls.server_keys", file::ServerKey::KEYS),
        ("identity", file::Identity::KEYS),
        ("identity.assign", file::Assign::KEYS),
        ("identity.peers", file::PeerBlock::KEYS),
        ("policy", file::Policy::KEYS),
        ("masking", file::Masking::KEYS),
        ("masking.columns", file::MaskingColumn::KEYS),
        ("masking.keys", file::MaskingKeys::KEYS),
        ("masking.inference", file::Inference::KEYS),
        ("masking.discovery", file::MaskingDiscovery::KEYS),
        ("masking.detectors", file::MaskingDetector::KEYS),
        ("approvals", file::Approvals::KEYS),
        ("audit", file::Audit::KEYS),
        ("metrics", file::Metrics::KEYS),
        ("limits", file::Limits::KEYS),
        ("log", file::Log::KEYS),
    ];
    for (section, keys) in sections {
        for key in keys {
            assert!(shown(SAMPLE, section, key), "deploy/governor.toml lacks {section}.{key}");
            assert!(
                REFERENCE.contains(&format!("`{section}.{key}`")),
                "docs/configuration.md lacks {section}.{key}"
            );
        }
    }
    for section in file::File::KEYS {
        assert!(SAMPLE.contains(&format!("\n[{section}]\n")), "deploy/governor.toml lacks [{section}]");
    }
}

/// The examples that the sample has as comments work when they are uncommented.
#[test]
fn the_examples_of_the_sample_parse() {
    let example = |line: &str| {
        let rest = line.strip_prefix("# ")?;
        let key = rest.split(" = ").next().filter(|_| rest.contains(" = "));
        let key = key.is_some_and(|k| k.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'));
        (key && !rest.contains("agents_file") || rest.starts_with("[[")).then(|| rest.to_owned())
    };
    let text: String = SAMPLE.lines().map(|l| example(l).unwrap_or_else(|| l.to_owned()) + "\n").collect();
    let got = config(&text).unwrap();
    assert_eq!(got.capture.own_cgroup.unwrap().as_str(), "/system.slice/governor.service");
    assert_eq!(got.identity.rules.assignments[0].class, Some(Class::Service));
    assert_eq!(got.identity.rules.assignments[0].uid, Some(990));
    assert_eq!(got.masking.detectors.len(), 2);
    assert_eq!(got.masking.detectors[0].confidence_percent, 80);
    assert_eq!(got.masking.columns[0].column.relation, "customers");
    let members = vec![Approver::User("alice".into()), Approver::Uid(1001), Approver::Group("dbas".into())];
    assert_eq!(got.approvals.groups["dba"], members);
}

#[test]
fn values_arrive() {
    let got = config(
        "[capture]\non_stop='detach'\n[[capture.rules]]\ncgroup='/app'\nports=[5432, 6432]\nwhen_down='pass'\ntls='pass-unread'\n\
         [[capture.rules]]\ncgroup='/b'\n\
         [policy]\nprofile='observe'\ndirectory='/p'\nbuiltin=false\ndisabled=['a']\npacks=['pci']\ntime_zone='Europe/Berlin'\n\
         [masking]\nclear=['*.*.id', '\"my.schema\".t.c']\ndetect_values=false\nunknown_columns='hide'\n\
         [[masking.columns]]\ncolumn='a.b.c'\ncategory='payment_card'\npath='$.x[*].y'\nstyle='hash'\n\
         [masking.discovery]\nenabled=false\nmask_from=95\n\
         [approvals]\ntimeout='24h'\n[audit]\ntext_bytes_max='1KiB'\nsegment_bytes_max='1GiB'\n\
         [metrics]\nlisten=''\n[limits]\nworkers=3\nstartup_timeout='250ms'\n[log]\nlevel='debug'\nformat='json'\n",
    )
    .unwrap();
    assert_eq!((got.capture.rules.len(), got.capture.on_stop), (2, OnStop::Detach));
    assert_eq!(
        (got.capture.rules[0].when_down, got.capture.rules[0].tls),
        (WhenDown::Pass, TlsMode::PassUnread)
    );
    assert_eq!(got.capture.rules[1].ports, [5432]);
    assert_eq!((got.policy.profile, got.policy.directory_required), (Profile::Observe, true));
    assert_eq!(got.masking.clear[1].schema, "my.schema");
    assert_eq!(got.masking.columns[0].category, Category::PaymentCard);
    assert_eq!(got.masking.discovery, DiscoverySettings { enabled: false, mask_from: 95 });
    assert_eq!(got.masking.unknown_columns, UnknownColumns::Hide);
    assert_eq!(got.masking.columns[0].path, JsonPath::parse("x.y"));
    assert_eq!(got.masking.columns[0].style, Some(MaskStyle::Hash));
    assert_eq!(got.approvals.timeout, Duration::from_secs(86_400));
    assert_eq!((got.audit.text_bytes_max, got.audit.segment_bytes_max), (1024, 1 << 30));
    assert_eq!(got.metrics.listen, None);
    assert_eq!((got.limits.workers, got.limits.startup_timeout), (Some(3), Duration::from_millis(250)));
    assert_eq!((got.log.level, got.log.format), (LogLevel::Debug, LogFormat::Json));
}

#[test]
fn errors_name_line_key_reason_and_what_is_allowed() {
    for (text, line, key, reason) in [
        ("\n[limit]\n", 2, "limit", "unknown key `limit`, expected one of `capture`"),
        (
            "[limits]\nworker = 1\n",
            2,
            "limits.worker",
            "unknown key `worker`, expected one of `connections_max`",
        ),
        ("[capture]\n[[capture.rules]]\nport = [1]\n", 3, "capture.rules.port", "unknown key `port`"),
        ("[policy]\nprofile = 'on'\n", 2, "policy.profile", "expected `protect` or `observe`"),
        ("[policy]\nbuiltin = 'yes'\n", 2, "policy.builtin", "expected a boolean"),
        ("[[capture.rules]]\nports = []\n", 2, "capture.rules.ports", "at least one port"),
        ("[[capture.rules]]\nports = [0]\n", 2, "capture.rules.ports", "between 1 and 65535"),
        ("[[capture.rules]]\nports = [70000]\n", 2, "capture.rules.ports", "u16"),
        (
            "[[capture.rules]]\n[[capture.rules]]\nports = [5432]\n",
            3,
            "capture.rules.ports",
            "captured twice",
        ),
        (
            "[[capture.rules]]\ncgroup = '/a'\n[[capture.rules]]\ncgroup = 'a/'\n",
            4,
            "capture.rules.ports",
            "captured twice",
        ),
        ("[[capture.rules]]\ncgroup = '/a/../b'\n", 2, "capture.rules.cgroup", "must not contain"),
        ("[[capture.rules]]\ncgroup = ''\n", 2, "capture.rules.cgroup", "must not be empty"),
        ("[[capture.rules]]\nprotocol = 'mysql'\n", 2, "capture.rules.protocol", "`postgres`"),
        ("[[capture.rules]]\ntls = 'accept'\n", 2, "capture.rules.tls", "`pass-unread`"),
        ("[[identity.assign]]\nclass = 'agent'\n", 1, "identity.assign", "at least one condition"),
        ("[[identity.assign]]\nuid = 1\n", 1, "identity.assign", "a class, groups or both"),
        ("[[identity.assign]]\npeer = 'x'\nclass = 'agent'\n", 2, "identity.assign.peer", "is no peer"),
        ("[[identity.peers]]\n", 1, "identity.peers.name", "is missing"),
        ("[[identity.peers]]\nname = 'a@b'\n", 2, "identity.peers.name", "letters, digits"),
        ("[[identity.peers]]\nname = 'a'\n", 1, "identity.peers.addresses", "at least one"),
        (
            "[[identity.peers]]\nname = 'a'\naddresses = ['db1']\n",
            3,
            "identity.peers.addresses",
            "no address",
        ),
        (
            "[[identity.peers]]\nname = 'a'\naddresses = ['::1']\n",
            1,
            "identity.peers.key",
            "governor keys hello",
        ),
        (
            "[[identity.peers]]\nname = 'a'\naddresses = ['::1']\nkey = '00'\n",
            4,
            "identity.peers.key",
            "64 hexadecimal digits",
        ),
        ("[[identity.assign]]\nuid = -1\nclass = 'agent'\n", 2, "identity.assign.uid", "u32"),
        (
            "[[identity.assign]]\nuid = 1\nclass = 'robot'\n",
            3,
            "identity.assign.class",
            "`service`, `person`, `agent`",
        ),
        ("[[identity.assign]]\nunit = '*'\nclass = 'agent'\n", 2, "identity.assign.unit", "only wildcards"),
        ("[identity]\nagents_file = 'none.toml'\n", 2, "identity.agents_file", "/x/none.toml: No such file"),
        ("[[masking.columns]]\ncolumn = 'a.b'\n", 2, "masking.columns.column", "schema.relation.column"),
        ("[[masking.columns]]\ncolumn = 'a.b.c'\npath = '$'\n", 3, "masking.columns.path", "path of keys"),
        ("[[masking.columns]]\ncategory = 'email'\n", 1, "masking.columns.column", "is missing"),
        (
            "[[masking.columns]]\ncolumn = 'a.b.c'\ncategory = 'mail'\n",
            3,
            "masking.columns.category",
            "`email`",
        ),
        ("[masking]\nclear = [\n 'a.b.c',\n 'a..c',\n]\n", 4, "masking.clear", "is no column"),
        ("[approvals]\ntimeout = '25h'\n", 2, "approvals.timeout", "25h is out of range; allowed: 1s to 24h"),
        ("[approvals]\ntimeout = '0s'\n", 2, "approvals.timeout", "out of range"),
        ("[approvals]\ntimeout = '5'\n", 2, "approvals.timeout", "ms, s, m or h"),
        ("[approvals]\ntimeout = 5\n", 2, "approvals.timeout", "expected a string"),
        ("[approvals.groups]\ndba = ['uid:x']\n", 2, "approvals.groups.dba", "uid:1001"),
        ("[audit]\nsegment_bytes_max = '64MB'\n", 2, "audit.segment_bytes_max", "KiB, MiB or GiB"),
        ("[audit]\nsegment_bytes_max = '1B'\n", 2, "audit.segment_bytes_max", "allowed: 64KiB to 4GiB"),
        ("[audit]\ntext_bytes_max = -1\n", 2, "audit.text_bytes_max", "negative"),
        ("[metrics]\nlisten = 'localhost:1'\n", 2, "metrics.listen", "IP:PORT"),
        ("[limits]\npeer_timeout = '2d'\n", 2, "limits.peer_timeout", "no duration"),
        ("[limits]\nconnections_max = 0\n", 2, "limits.connections_max", "allowed: 1 to 1000000"),
        ("[limits]\nworkers = 1\nworkers = 2\n", 3, "limits.workers", "duplicate key"),
        ("[log]\nlevel = info\n", 2, "log.level", ""),
    ] {
        let error = config(text).unwrap_err();
        let ConfigError::Invalid { line: got_line, key: got_key, reason: got_reason, .. } = &error else {
            panic!("{text:?}: {error}");
        };
        assert_eq!((*got_line, got_key.as_str()), (line, key), "{text:?}: {error}");
        assert!(got_reason.contains(reason), "{text:?}: {error}");
        assert!(error.to_string().starts_with(&format!("/x/governor.toml:{line}: {key}: ")), "{error}");
    }
}

#[test]
fn a_named_file_must_exist_and_the_command_line_wins() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("governor.toml");
    let error = load(Some(&path), Overrides::default()).unwrap_err();
    assert!(matches!(error, ConfigError::Read { .. }), "{error}");
    std::fs::write(&path, "[policy]\nprofile = 'protect'\n").unwrap();
    let overrides = Overrides { profile: Some(Profile::Observe) };
    assert_eq!(load(Some(&path), overrides).unwrap().policy.profile, Profile::Observe);
    assert_eq!(load(Some(&path), Overrides::default()).unwrap().policy.profile, Profile::Protect);
    std::fs::write(&path, b"[policy]\nprofile = '\xff'\n").unwrap();
    assert!(load(Some(&path), Overrides::default()).is_err());
}

#[test]
fn an_agents_file_extends_and_is_checked() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("governor.toml");
    std::fs::write(&path, "[identity]\nagents_file = 'agents.toml'\n").unwrap();
    let agents = directory.path().join("agents.toml");
    std::fs::write(&agents, "[[agent]]\nname = 'ours'\nenvironment = ['OURS']\n").unwrap();
    let got = load(Some(&path), Overrides::default()).unwrap();
    let names: Vec<_> = got.identity.rules.agents.agents.iter().map(|a| a.name.as_str()).collect();
    assert!(names.contains(&"ours") && names.contains(&"claude-code"), "{names:?}");
    std::fs::write(&agents, "[[agent]]\nname = 'ours'\nenv = ['OURS']\n").unwrap();
    let error = load(Some(&path), Overrides::default()).unwrap_err().to_string();
    assert!(error.contains("agents.toml: line 3: unknown key `env`"), "{error}");
}

#[test]
fn cgroups_are_found_below_the_mount_however_written() {
    let mount = Path::new("/sys/fs/cgroup");
    for (text, expected) in [
        ("/", "/sys/fs/cgroup"),
        ("/a/b", "/sys/fs/cgroup/a/b"),
        ("a/b", "/sys/fs/cgroup/a/b"),
        ("/sys/fs/cgroup/a", "/sys/fs/cgroup/a"),
        ("/sys/fs/cgroup", "/sys/fs/cgroup"),
        ("/sys/fs/cgroup2/a", "/sys/fs/cgroup/sys/fs/cgroup2/a"),
    ] {
        assert_eq!(CgroupRef::new(text).unwrap().directory(mount), Path::new(expected), "{text}");
    }
    assert_eq!(CgroupRef::root().directory(mount), mount);
}

#[test]
fn one_source_may_have_half_of_all_connections_unless_written() {
    let of = |text: &str| config(text).unwrap().limits.connections_per_source_max;
    assert_eq!(of("[limits]\nconnections_max = 31\n"), 16);
    assert_eq!(of("[limits]\nconnections_max = 1\n"), 1);
    assert_eq!(of("[limits]\nconnections_per_source_max = 7\n"), 7);
    assert_eq!(config("[limits]\npeer_timeout = '0s'\n").unwrap().limits.peer_timeout, None);
}

#[test]
fn detectors_that_cannot_work_are_refused_with_their_line() {
    let rows = [
        ("name = 'x'", "give either a pattern or a dictionary"),
        ("name = 'x'\npattern = 'a'\ndictionary = ['abc']", "give either a pattern or a dictionary"),
        ("pattern = 'a'", "is missing"),
        ("name = 'us_ssn'\npattern = 'a'", "the name is taken"),
        ("name = 'X'\npattern = 'a'", "small letter"),
        ("name = 'x'\npattern = 'a('", "cannot be compiled"),
        ("name = 'x'\npattern = 'a*'", "empty value"),
        ("name = 'x'\npattern = '(?:[a-z]{1000}){1000}'", "bound its repetitions"),
        ("name = 'x'\ndictionary = []", "dictionary is empty"),
        ("name = 'x'\ndictionary = ['ab']", "shorter than"),
        ("name = 'x'\ndictionary = 'no/such/file'", "No such file"),
        ("name = 'x'\npattern = 'a'\nconfidence = 0", "between 1 and 100"),
        ("name = 'x'\npattern = 'a'\ncontext = ['a b']", "one word"),
        ("name = 'x'\npattern = 'a'\nchecksum = 'crc'", "unknown variant"),
    ];
    for (block, reason) in rows {
        let text = format!("[masking]\ndetect_values = true\n[[masking.detectors]]\n{block}\n");
        match config(&text).unwrap_err() {
            ConfigError::Invalid { line, key, reason: told, .. } => {
                assert!(told.contains(reason), "{block}: {told}");
                assert!(key.starts_with("masking.detectors"), "{block}: {key}");
                assert!(line >= 3, "{block}: line {line}");
            }
            other => panic!("{block}: {other}"),
        }
    }
    let twice =
        "[[masking.detectors]]\nname='x'\npattern='a'\n[[masking.detectors]]\nname='x'\npattern='b'\n";
    match config(twice).unwrap_err() {
        ConfigError::Invalid { line, reason, .. } => {
            assert!(line == 4 && reason.contains("taken"), "{line} {reason}")
        }
        other => panic!("{other}"),
    }
}

#[test]
fn a_dictionary_is_read_from_a_file_beside_the_configuration() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("words.txt"), "Blue Falcon\n\nNightfall\n").unwrap();
    let text = "[[masking.detectors]]\nname = 'project'\ndictionary = 'words.txt'\ncategory = 'financial'\n";
    let got = parse(text, &dir.path().join("governor.toml"), Overrides::default()).unwrap();
    let expected = UserMatch::Dictionary(vec!["Blue Falcon".into(), String::new(), "Nightfall".into()]);
    assert_eq!(got.masking.detectors[0].matches, expected);
}

#[test]
fn unix_sockets_are_checked() {
    let got = config(
        "[[capture.unix]]\npath='/run/a/.s.PGSQL.*'\nmode='0770'\nwhen_down='pass'\ndirect_connections='end'\n\
         [[capture.unix]]\npath='/run/a/.s.PGSQL.5432'\n",
    )
    .unwrap()
    .capture;
    assert_eq!(got.rules, Capture::default().rules, "ports are captured as before");
    assert_eq!((got.unix[0].mode, got.unix[0].when_down), (Some(0o770), WhenDown::Pass));
    assert_eq!(got.unix[0].direct_connections, DirectConnections::End);
    assert_eq!((got.unix[1].mode, got.unix[1].direct_connections), (None, DirectConnections::Report));
    for (keys, reason) in [
        ("mode = '0777'", "every block names a server's socket"),
        ("path = '.s.PGSQL.5432'", "a socket's path is absolute"),
        ("path = '@shop/.s.PGSQL.5432'", "an abstract socket cannot be taken over"),
        ("path = '/'", "names no file"),
        ("path = '/run/*/.s.PGSQL.5432'", "not in its directory"),
        ("path = '/run/../.s.PGSQL.5432'", "not in its directory"),
        ("path = '/run/postgresql/'", "name a file"),
        ("path = '/run/*'", "matches everything"),
        ("path = '/run/s'\nmode = '999'", "in octal"),
        ("path = '/run/s'\nmode = '1777'", "in octal"),
        ("path = '/run/s'\n[[capture.unix]]\npath = '/run/s'", "taken over twice"),
    ] {
        let error = config(&format!("[[capture.unix]]\n{keys}\n")).unwrap_err().to_string();
        assert!(error.contains("capture.unix") && error.contains(reason), "{keys}: {error}");
    }
}

const KEYS: [&str; 2] = [
    "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
    "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
];

#[test]
fn peers_arrive_and_no_two_are_the_same() {
    let block = |name: &str, key: &str| {
        format!("[[identity.peers]]\nname='{name}'\naddresses=['10.1.0.1', 'fd00::/64']\nkey='{key}'\n")
    };
    let (first, second) = (block("app1", KEYS[0]), block("app2", KEYS[1]));
    let got = config(&format!("{first}hello='required'\n{second}")).unwrap().identity.peers;
    assert_eq!((got.len(), got[0].hello, got[1].hello), (2, HelloMode::Required, HelloMode::Optional));
    assert_eq!((hex::encode(got[0].keys[0]).as_str(), got[0].networks.len()), (KEYS[0], 2));
    for same in [block("app1", KEYS[1]), block("app2", KEYS[0])] {
        assert!(config(&format!("{first}{same}")).is_err(), "{same}");
    }
    // While a peer changes its key.
    let both = config(&format!("{first}other_keys=['{}']\n", KEYS[1])).unwrap().identity.peers;
    assert_eq!(both[0].keys.iter().map(hex::encode).collect::<Vec<_>>(), KEYS);
    for bad in [
        format!("{first}other_keys=['{}']\n", KEYS[0]),
        format!("{first}other_keys=['00']\n"),
        format!("{first}other_keys=['{}']\n{second}", KEYS[1]),
    ] {
        let error = config(&bad).unwrap_err().to_string();
        assert!(error.contains("identity.peers."), "{error}");
    }
    // Where addresses are changed on the way.
    let there = config(&format!("{first}translated = {{ '10.1.0.1:6432' = '192.168.0.7:5432' }}\n")).unwrap();
    let pair = ("10.1.0.1:6432".parse().unwrap(), "192.168.0.7:5432".parse().unwrap());
    assert_eq!(there.identity.peers[0].translated, [pair]);
    for bad in [
        "'10.2.0.1:6432' = '192.168.0.7:5432'",
        "'10.1.0.1' = '192.168.0.7:5432'",
        "'10.1.0.1:1' = 'db1:5432'",
    ] {
        let error = config(&format!("{first}translated = {{ {bad} }}\n")).unwrap_err().to_string();
        assert!(error.contains("identity.peers.translated"), "{error}");
    }
    let rule = "[[identity.assign]]\npeer='app1'\nclass='agent'\n";
    let got = config(&format!("{first}{rule}unit='billing.service'\n")).unwrap().identity.rules.assignments;
    assert_eq!(got[0].peer.as_deref(), Some("app1"));
    let by_path = config(&format!("{first}{rule}executable='/usr/bin/psql'\n"));
    assert!(by_path.unwrap_err().to_string().contains("on its own host"));
}

#[test]
fn a_server_is_looked_for_everywhere_where_more_than_its_port_names_it() {
    let of = |block: &str| {
        config(&format!("[[capture.inbound]]\n{block}\n")).unwrap().capture.inbound[0].namespaces
    };
    assert_eq!(of("ports = [5432]"), InboundNamespaces::Own);
    assert_eq!(of("ports = [5432]\ncgroup = \"/docker/*\""), InboundNamespaces::All);
    assert_eq!(of("unit = \"db.service\""), InboundNamespaces::All);
    assert_eq!(of("ports = [5432]\nnamespaces = \"all\""), InboundNamespaces::All);
    let others = of("unit = \"db.service\"\nnamespaces = \"others\"");
    assert!(others.has_others() && !others.has_own());
    assert!(config("[[capture.inbound]]\nports = [5432]\nnamespaces = \"each\"\n").is_err());
    let published = config("[[capture.inbound]]\ncgroup = \"/docker/*\"\npublished = [15432]\n").unwrap();
    assert_eq!(published.capture.inbound[0].published, [15432]);
    for bad in ["ports = [5432]\npublished = [15432]", "cgroup = \"/docker/*\"\npublished = [0]"] {
        let error = config(&format!("[[capture.inbound]]\n{bad}\n")).unwrap_err().to_string();
        assert!(error.contains("capture.inbound.published"), "{error}");
    }
}
