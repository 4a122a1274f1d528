//! Transparent: what an unmodified client sees through governor is what it sees without.

// Helpers beside the tests fail the test that called them.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use governor_tests::client::{self, PSQL_ROWS};
use governor_tests::governor::{field, text};
use governor_tests::postgres::Auth;
use governor_tests::{Class, Options, Running, Site, process, wait, wire};
use std::time::Duration;

/// The same script both ways: same output, same errors, same exit code.
fn assert_transparent(site: &Site, script: &str) {
    let through = site.psql(Class::Service, script).unwrap();
    let direct = site.psql_direct(script).unwrap();
    assert_eq!(through.out(), direct.out(), "output of {script}");
    assert_eq!(through.err(), direct.err(), "errors of {script}");
    assert_eq!(through.status, direct.status, "exit code of {script}");
}

#[test]
fn psql_prints_the_same_with_and_without() {
    let site = Site::start().unwrap();
    for script in [
        "SELECT * FROM people ORDER BY id;",
        "SELECT 1 AS a, NULL AS b, '' AS c; SELECT 2; SELECT repeat('x', 300000);",
        "SELECT * FROM generate_series(1, 20000) AS n;",
        "SELECT broken;",
        "SELECT 1/0;",
        "SELEC 1;",
        "BEGIN; SELECT 1/0; SELECT 1; ROLLBACK; SELECT 3;",
        "SELECT $1 || '!' \\bind 'hello' \\g\nSELECT $1::int \\bind '7' \\g\n",
        "PREPARE p (int) AS SELECT $1 + 1; EXECUTE p(4); DEALLOCATE p;",
        "BEGIN; DECLARE c CURSOR FOR SELECT n FROM generate_series(1, 9) n; FETCH 4 FROM c; MOVE 2 IN c; FETCH ALL FROM c; COMMIT;",
        "DO $$ BEGIN RAISE NOTICE 'a notice'; RAISE WARNING 'a warning'; END $$;",
        "SHOW server_version; SET search_path = public; SHOW search_path;",
        "SELECT inet_server_port() IS NOT NULL, current_user, current_database();",
        "SELECT 'ünïcödé ☃', E'tab\\there', '\\x00ff'::bytea;",
        ";\n;;\n",
        "\\d people\n\\l\n\\df pg_catalog.lower\n",
    ] {
        assert_transparent(&site, script);
    }
}

#[test]
fn copy_goes_both_ways_unchanged() {
    let site = Site::start().unwrap();
    for script in [
        "COPY (SELECT * FROM orders ORDER BY id) TO STDOUT;",
        "COPY (SELECT * FROM people ORDER BY id) TO STDOUT WITH (FORMAT csv, HEADER);",
        "COPY (SELECT n, md5(n::text) FROM generate_series(1, 50000) n) TO STDOUT;",
        "CREATE TEMP TABLE t (a int, b text);\nCOPY t FROM STDIN;\n1\tone\n2\ttwo\n\\.\nSELECT * FROM t;\n",
        "CREATE TEMP TABLE t (a int);\nCOPY t FROM STDIN;\nnot a number\n\\.\nSELECT count(*) FROM t;\n",
    ] {
        assert_transparent(&site, script);
    }
    let rows: String = (0..100_000).map(|row| format!("{row}\tvalue {row}\n")).collect();
    let script = format!("CREATE TABLE bulk (a int, b text);\nCOPY bulk FROM STDIN;\n{rows}\\.\n");
    site.psql(Class::Service, &script).unwrap().ok().unwrap();
    assert_eq!(site.truth("SELECT count(*), sum(a) FROM bulk").unwrap(), "100000|4999950000");
}

#[test]
fn a_notification_arrives_while_the_session_is_idle() {
    let site = Site::start().unwrap();
    let mut listener = site.wire(Class::Service).unwrap();
    assert_eq!(wire::tags(&listener.query("LISTEN news").unwrap()), "CZ");
    site.truth("NOTIFY news, 'paper'").unwrap();
    let news = listener.read().unwrap();
    assert_eq!(news.tag, b'A');
    assert!(String::from_utf8_lossy(&news.body).contains("news\0paper"), "{news:?}");
    assert_eq!(wire::tags(&listener.query("SELECT 1").unwrap()), "TDCZ");
}

#[test]
fn a_cancel_request_stops_the_statement_it_names() {
    let site = Site::start().unwrap();
    let mut slow = site.wire(Class::Service).unwrap();
    slow.send(&wire::query("SELECT pg_sleep(600)")).unwrap();
    wait::until("the sleep to run", wait::PATIENCE, || {
        let count = site.truth(
            "SELECT count(*) FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(600)' AND state = 'active'",
        )?;
        Ok((count == "1").then_some(()))
    })
    .unwrap();
    let mut forged = slow.cancel_key.clone();
    *forged.last_mut().unwrap() ^= 1;
    for (key, works) in [(forged, false), (slow.cancel_key.clone(), true)] {
        let mut canceller = wire::Wire::new(site.socket(Class::Service).unwrap()).unwrap();
        canceller.send(&wire::cancel(&key)).unwrap();
        assert!(canceller.until_closed().unwrap().is_empty(), "a cancel request has no answer");
        if !works {
            let still = site.truth("SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%pg_sleep(600)'").unwrap();
            assert_eq!(still, "1", "a forged key must do nothing");
        }
    }
    let reply = slow.until_ready().unwrap();
    let error = reply.iter().find(|message| message.tag == b'E').unwrap();
    assert_eq!(error.field(b'C').as_deref(), Some("57014"));
    assert_eq!(wire::tags(&slow.query("SELECT 1").unwrap()), "TDCZ", "the session goes on");
}

#[test]
fn a_cancel_request_counts_though_its_sender_leaves_at_once() {
    let site = Site::start().unwrap();
    let mut slow = site.wire(Class::Service).unwrap();
    for round in 0..10 {
        slow.send(&wire::query("SELECT pg_sleep(600)")).unwrap();
        wait::until("the sleep to run", wait::PATIENCE, || {
            let asked =
                "SELECT count(*) FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(600)' AND state = 'active'";
            Ok((site.truth(asked)? == "1").then_some(()))
        })
        .unwrap();
        let mut canceller = site.socket(Class::Service).unwrap();
        std::io::Write::write_all(&mut canceller.stream, &wire::cancel(&slow.cancel_key)).unwrap();
        canceller.stream.shutdown(std::net::Shutdown::Write).unwrap();
        let reply = slow.until_ready().unwrap();
        let error = reply.iter().find(|message| message.tag == b'E').unwrap();
        assert_eq!(error.field(b'C').as_deref(), Some("57014"), "round {round}");
        // The server signals a backend twice, by pid and by group: the second may hit the statement that comes next. It
        // closes the request's connection when it has done both.
        std::io::Read::read_to_end(&mut canceller.stream, &mut Vec::new()).unwrap();
    }
}

#[test]
fn messages_split_at_every_byte_and_coalesced_mean_the_same() {
    let site = Site::start().unwrap();
    let mut whole = site.wire(Class::Service).unwrap();
    let mut split = site.wire(Class::Service).unwrap();
    let pipeline = [
        wire::extended("SELECT $1::text || '!'", &["a"]),
        wire::extended("SELECT n FROM generate_series(1, 3) n", &[]),
        wire::sync(),
        wire::extended("SELECT 1/0", &[]),
        wire::extended("SELECT 'skipped'", &[]),
        wire::sync(),
        wire::query("SELECT 'simple'; SELECT 2"),
    ]
    .concat();
    whole.send(&pipeline).unwrap();
    split.send_split(&pipeline).unwrap();
    for round in 0..3 {
        let (whole, split) = (whole.until_ready().unwrap(), split.until_ready().unwrap());
        assert_eq!(whole, split, "round {round}");
        assert_eq!(wire::tags(&whole), ["12DC12DDDCZ", "1EZ", "TDCTDCZ"][round]);
    }
}

#[test]
fn every_kind_of_password_authentication_passes_through() {
    for auth in [Auth::Md5, Auth::ScramSha256] {
        let site = Site::with(auth, &Options::default()).unwrap();
        let done = site.psql(Class::Service, "SELECT 'in'").unwrap().ok().unwrap();
        assert_eq!(done.out(), "in\n", "{auth:?}");
        let mut wrong = site.client("psql", Class::Service).unwrap();
        wrong.env("PGPASSWORD", "wrong").args(PSQL_ROWS).args(["-c", "SELECT 1"]);
        let refused = process::run(wrong, wait::PATIENCE).unwrap();
        assert!(refused.err().contains("password authentication failed"), "{}", refused.err());
    }
}

#[test]
fn where_tls_is_declined_a_client_that_requires_it_is_refused_and_recorded() {
    let site = Site::with(Auth::Trust, &Options { tls: "decline", ..Options::default() }).unwrap();
    let mut psql = site.client("psql", Class::Service).unwrap();
    psql.env("PGSSLMODE", "require").args(PSQL_ROWS).args(["-c", "SELECT 1"]);
    let refused = process::run(psql, wait::PATIENCE).unwrap();
    assert!(!refused.status.success());
    assert!(refused.err().contains("SSL"), "{}", refused.err());
    site.governor.wait_for_record("tls", |record| text(record, "outcome") == "refused").unwrap();
}

#[test]
fn the_client_still_sees_the_server_that_it_asked_for() {
    let site = Site::start().unwrap();
    let said = site.psql(Class::Service, "\\conninfo\n").unwrap().ok().unwrap().out();
    assert!(said.contains(&format!("port \"{}\"", site.postgres.port())), "{said}");
    let mut raw = site.socket(Class::Service).unwrap();
    assert_eq!(raw.stream.peer_addr().unwrap(), site.server_address());
    std::io::Write::write_all(&mut raw.stream, &wire::ssl_request()).unwrap();
}

/// On a host of clients the server sees the client's address, and a port of governor's own: as `docs/compatibility.md` says.
#[test]
fn the_server_sees_the_clients_address_and_a_port_of_governors() {
    let site = Site::start().unwrap();
    let asked = "SELECT host(inet_client_addr()), inet_client_port(), \
                 (SELECT client_addr = inet_client_addr() AND client_port = inet_client_port() \
                  FROM pg_stat_activity WHERE pid = pg_backend_pid())";
    let sees = |socket: governor_tests::remote_socket::RemoteSocket| {
        let own = socket.stream.local_addr().unwrap();
        let mut wire = wire::Wire::new(socket).unwrap();
        wire.start("app", "shop").unwrap();
        let answer = wire.query(asked).unwrap();
        let row = answer.iter().find(|message| message.tag == b'D').unwrap().row().unwrap();
        let cells: Vec<String> =
            row.into_iter().map(|cell| String::from_utf8(cell.unwrap()).unwrap()).collect();
        assert_eq!((cells[0].as_str(), cells[2].as_str()), ("127.0.0.1", "t"), "{cells:?}");
        (own, cells[1].parse::<u16>().unwrap(), wire)
    };
    let (own, seen, _open) = sees(site.socket_direct().unwrap());
    assert_eq!(seen, own.port(), "without governor");
    let (own, seen, _open) = sees(site.socket(Class::Service).unwrap());
    assert_ne!(seen, own.port(), "governor's connection");
    // The client's own port is on record.
    let start = site.governor.wait_for_record("session_start", |_| true).unwrap();
    let client = field(&start, "client");
    assert_eq!((&client["address"], &client["port"]), (&"127.0.0.1".into(), &own.port().into()), "{start}");
}

/// What pgbench prints and what it leaves in the tables, in every protocol: the same without governor and with it.
#[test]
fn pgbench_is_the_same_in_all_three_protocols() {
    let site = Site::start().unwrap();
    let scripts = tempfile::tempdir().unwrap();
    let script = |name: &str, text: &str| {
        let path = scripts.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_string_lossy().into_owned()
    };
    let failing = script("failing.sql", "DO $$ BEGIN RAISE SQLSTATE '40001'; END $$;\n");
    let aborted = script("aborted.sql", "SELECT 1;\nSELECT 1/0;\n");
    let pipeline = script(
        "pipeline.sql",
        "\\set n random(1, 1000)\n\\startpipeline\nSELECT abalance FROM pgbench_accounts WHERE aid = :n;\n\
         UPDATE pgbench_accounts SET abalance = abalance + :n WHERE aid = :n;\n\\endpipeline\n\
         SELECT count(*) AS c FROM pgbench_branches \\gset\nSELECT :c;\n",
    );
    let seen = |class: Option<Class>| {
        site.truth(
            "DROP TABLE IF EXISTS pgbench_accounts, pgbench_branches, pgbench_tellers, pgbench_history",
        )
        .unwrap();
        let mut seen = vec![pgbench(&site, class, &["-i", "-s", "1"])];
        for protocol in ["simple", "extended", "prepared"] {
            let work = ["-n", "-M", protocol, "-c", "4", "-j", "2", "--random-seed=7731"];
            let run = |more: &[&str]| pgbench(&site, class, &[&work[..], more].concat());
            seen.push(run(&["-t", "100"]));
            assert!(seen.last().unwrap().contains("processed: 400/400"), "{class:?}: {seen:?}");
            seen.push(run(&["-t", "20", "-S"]));
            seen.push(run(&["-t", "10", "-f", &failing, "--max-tries=2", "--failures-detailed"]));
            seen.push(pgbench(&site, class, &["-n", "-M", protocol, "-t", "1", "-f", &aborted]));
            if protocol != "simple" {
                seen.push(run(&["-t", "20", "-f", &pipeline]));
            }
        }
        for (table, row) in [
            ("accounts", "aid, bid, abalance"),
            ("branches", "bid, bbalance"),
            ("tellers", "tid, bid, tbalance"),
            ("history", "tid, bid, aid, delta"),
        ] {
            let rows = format!(
                "SELECT count(*), md5(string_agg(r, ';' ORDER BY r)) FROM (SELECT ({row})::text AS r FROM pgbench_{table}) t"
            );
            seen.push(format!("{table} {}", site.truth(&rows).unwrap()));
        }
        seen
    };
    let (direct, governed) = (seen(None), seen(Some(Class::Service)));
    assert_eq!(governed, direct);
    let all = direct.concat();
    for line in [
        "number of failed transactions: 0 (0.000%)",
        "number of failed transactions: 40 (100.000%)",
        "division by zero",
        "history 1200|",
    ] {
        assert!(all.contains(line), "{line}: {all}");
    }
}

#[test]
fn sessions_beside_each_other_do_not_mix() {
    let site = Site::start().unwrap();
    let running: Vec<Running> = (0..12)
        .map(|n| {
            site.psql_running(Class::Service, &format!("SELECT {n} FROM generate_series(1, 2000);")).unwrap()
        })
        .collect();
    for (n, client) in running.into_iter().enumerate() {
        let done = client.finish(wait::PATIENCE).unwrap().ok().unwrap();
        assert_eq!(done.out(), format!("{n}\n").repeat(2000));
    }
}

#[test]
fn metrics_and_health_answer() {
    let site = Site::start().unwrap();
    site.psql(Class::Service, "SELECT 1").unwrap().ok().unwrap();
    let address = site.governor.metrics_address().unwrap();
    for path in ["/healthz", "/readyz"] {
        assert_eq!(governor_tests::http::get(&address, path).unwrap().0, 200, "{path}");
    }
    let page = site.governor.metrics().unwrap();
    assert!(page.lines().any(|line| line.starts_with("# TYPE governor_")), "{page:.500}");
}

/// How often facts and decisions come from memory.
#[test]
fn the_rate_of_hits_of_facts_and_decisions_is_a_metric() {
    let site = Site::start().unwrap();
    let count = |name: &str, cache: &str| -> u64 {
        let page = site.governor.metrics().unwrap();
        let start = format!("governor_{name}_total{{cache=\"{cache}\"}} ");
        page.lines()
            .find_map(|line| line.strip_prefix(&start))
            .map_or(0, |count| count.trim().parse().unwrap())
    };
    let mut agent = site.wire(Class::Agent).unwrap();
    // A text is kept from its second time on.
    for _ in 0..8 {
        assert_eq!(wire::tags(&agent.query("SELECT count(*) FROM orders").unwrap()), "TDCZ");
    }
    for name in ["facts", "decisions"] {
        wait::until(&format!("eight {name}, most of them from memory"), wait::PATIENCE, || {
            let (hits, misses) = (count(name, "hit"), count(name, "miss"));
            Ok((hits >= 5 && misses >= 1).then_some(()))
        })
        .unwrap();
    }
}

/// What pgbench says, by line, and how it ended: all but times and the port.
fn pgbench(site: &Site, class: Option<Class>, args: &[&str]) -> String {
    let mut pgbench = match class {
        Some(class) => site.client("pgbench", class).unwrap(),
        None => client::outside("pgbench", site.postgres.port()),
    };
    pgbench.args(args);
    let done = process::run(pgbench, Duration::from_secs(120)).unwrap();
    let timed = ["latency average", "initial connection time", "tps = ", "done in "];
    let all = format!("{}-- errors\n{}", done.out(), done.err());
    // Progress of the load overwrites itself, with times.
    let lines = all.lines().filter(|line| !line.contains("(elapsed "));
    let lines = lines.filter(|line| !timed.iter().any(|start| line.starts_with(start)));
    format!("{}\n{}", lines.collect::<Vec<_>>().join("\n"), process::describe(done.status))
}
