//! Ways past governor to a server whose socket is taken over: closed to all but root, and told of where somebody is on one.

use super::{become_user, block, public_directory, socket_in};
use governor_tests::client::PSQL_ROWS;
use governor_tests::governor::{field, text};
use governor_tests::{Auth, Cgroup, Class, Governor, Options, Postgres, Running, client, process, wait};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// Tries to connect to a path of the host as a user, and says what came of it.
fn knock(path: &str, user: &str) -> String {
    let script =
        "import socket, sys\ns = socket.socket(socket.AF_UNIX)\ns.connect(sys.argv[1])\nprint('connected')";
    let mut python = Command::new("python3");
    python.args(["-c", script, path]).env_clear().env("PATH", "/usr/bin:/bin");
    become_user(&mut python, user);
    let knocked = process::run(python, wait::PATIENCE).unwrap();
    if knocked.status.success() {
        knocked.out().trim().to_owned()
    } else {
        knocked.err().lines().last().unwrap_or_default().to_owned()
    }
}

#[test]
fn no_other_way_leads_to_the_server() {
    let directory = public_directory();
    let postgres = Postgres::start_with_socket_in(directory.path(), Auth::Trust, &[]).unwrap();
    let socket = socket_in(directory.path(), postgres.port());
    // What a client may have prepared before governor came: a handle, a link, a bind mount of the file.
    let elsewhere = tempfile::tempdir_in(directory.path()).unwrap();
    std::fs::set_permissions(elsewhere.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let link = elsewhere.path().join("link");
    std::fs::hard_link(&socket, &link).unwrap();
    let mounted = elsewhere.path().join("mounted");
    std::fs::write(&mounted, "").unwrap();
    // The mount is in a namespace of its own, which lives as long as the process in it: not on the host.
    let mut sleeper = Command::new("unshare");
    sleeper.args(["--mount", "--propagation", "private", "sh", "-c"]);
    sleeper.arg(format!(
        "mount --bind {} {} && echo mounted && exec sleep 600",
        socket.display(),
        mounted.display()
    ));
    sleeper.stdout(std::process::Stdio::piped());
    let mut sleeper = process::spawn(sleeper, libc::SIGKILL).unwrap();
    let mut told = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(sleeper.stdout.take().unwrap()), &mut told)
        .unwrap();
    assert_eq!(told, "mounted\n");
    let in_namespace = format!("/proc/{}/root{}", sleeper.id(), mounted.display());
    let handle = nix::fcntl::open(&socket, nix::fcntl::OFlag::O_PATH, nix::sys::stat::Mode::empty()).unwrap();
    let by_handle = format!("/proc/{}/fd/{}", std::process::id(), std::os::fd::AsRawFd::as_raw_fd(&handle));

    let group = Cgroup::create("governor-test-unix").unwrap();
    let options = Options { more: block(&socket, ""), ..Options::default() };
    let mut governor = Governor::start(&group, postgres.port(), &options).unwrap();
    let aside = directory.path().join(".governor").join(socket.file_name().unwrap());
    assert!(aside.exists(), "{aside:?}");
    for user in ["nobody", "postgres", "daemon"] {
        assert_eq!(knock(&socket.display().to_string(), user), "connected", "{user} meets governor");
        for way in [&aside.display().to_string(), &link.display().to_string()] {
            let answer = knock(way, user);
            assert!(answer.starts_with("PermissionError"), "{user} by {way}: {answer}");
        }
    }
    // By another process's descriptor or mount only its own user, or root, gets so far.
    let as_nobody = |path: &str| {
        let script = "import os, socket, sys\nos.seteuid(65534)\ns = socket.socket(socket.AF_UNIX)\ns.connect(sys.argv[1])";
        let mut python = Command::new("python3");
        python.args(["-c", script, path]);
        process::run(python, wait::PATIENCE).unwrap().err()
    };
    for way in [&by_handle, &in_namespace] {
        assert!(as_nobody(way).contains("PermissionError"), "{way}: {}", as_nobody(way));
    }
    let inherited = {
        // The handle itself, in the hands of an unprivileged process.
        let mut python = Command::new("python3");
        let number = std::os::fd::AsRawFd::as_raw_fd(&handle);
        python
            .args(["-c", "import socket\ns = socket.socket(socket.AF_UNIX)\ns.connect('/proc/self/fd/200')"]);
        become_user(&mut python, "nobody");
        // SAFETY: dup2 of an open descriptor, a plain system call between fork and exec.
        unsafe {
            python.pre_exec(move || match libc::dup2(number, 200) {
                -1 => Err(std::io::Error::last_os_error()),
                _ => Ok(()),
            });
        }
        process::run(python, wait::PATIENCE).unwrap().err()
    };
    assert!(inherited.contains("PermissionError"), "{inherited}");
    // An abstract socket of the same name is another name, with nobody behind it.
    let abstract_name = format!("\\0{}", socket.display());
    let script = format!("import socket\ns = socket.socket(socket.AF_UNIX)\ns.connect('{abstract_name}')");
    let mut python = Command::new("python3");
    python.args(["-c", &script]);
    assert!(process::run(python, wait::PATIENCE).unwrap().err().contains("ConnectionRefusedError"));

    governor.stop().unwrap();
    assert_eq!(knock(&link.display().to_string(), "nobody"), "connected", "given back, with its links");
    sleeper.kill().unwrap();
    sleeper.wait().unwrap();
}

/// psql that is connected to the server itself since before governor, and waits.
fn connected_before(postgres: &Postgres) -> Running {
    let mut psql = client::outside("psql", postgres.port());
    psql.args(PSQL_ROWS).env("PGHOST", postgres.socket_dir());
    Running::start(psql, b"SELECT 'connected', pg_sleep(600);").unwrap()
}

#[test]
fn connections_past_governor_are_told_and_ended() {
    for (more, ended) in [("", false), ("direct_connections = \"end\"", true)] {
        let directory = public_directory();
        let postgres = Postgres::start_with_socket_in(directory.path(), Auth::Trust, &[]).unwrap();
        let socket = socket_in(directory.path(), postgres.port());
        let mut psql = client::outside("psql", postgres.port());
        psql.args(PSQL_ROWS).env("PGHOST", directory.path());
        become_user(&mut psql, "daemon");
        let early = Running::start(psql, b"SELECT pg_sleep(600);").unwrap();
        // By the other socket, which is not governor's.
        let other = connected_before(&postgres);
        let sleepers =
            || postgres.admin("shop", "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'");
        wait::until("the early ones", wait::PATIENCE, || Ok((sleepers()? == "2").then_some(()))).unwrap();
        let group = Cgroup::create("governor-test-unix").unwrap();
        let options = Options { more: block(&socket, more), ..Options::default() };
        let governor = Governor::start(&group, postgres.port(), &options).unwrap();
        let told = governor.wait_for_record("direct_connection", |_| true).unwrap();
        assert_eq!(text(&told, "socket"), socket.display().to_string());
        assert_eq!(text(&told, "pid"), early.pid().to_string());
        assert_eq!((text(&told, "uid"), text(&told, "command")), ("1".into(), "psql".into()));
        assert_eq!(field(&told, "ended").as_bool(), Some(ended));
        let word = if ended { "ended" } else { "reported" };
        let series = format!("governor_unix_direct_connections_total{{action=\"{word}\"}} 1\n");
        assert!(governor.metrics().unwrap().contains(&series));
        if ended {
            let end = early.finish(wait::PATIENCE).unwrap();
            assert!(!end.status.success(), "{}", end.out());
            // The server lets go of what it did for that one, and of nothing else.
            postgres.admin("shop", "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND client_port = -1 AND usename = 'app' AND application_name = 'psql'").unwrap();
        } else {
            assert_eq!(sleepers().unwrap(), "2", "reported only");
        }
        // Root goes where it wants; it is seen.
        let aside = directory.path().join(".governor").join(socket.file_name().unwrap());
        let script = "import socket, sys\ns = socket.socket(socket.AF_UNIX)\ns.connect(sys.argv[1])\nprint('in', flush=True)\ns.recv(1)";
        let mut python = Command::new("python3");
        python.args(["-c", script]).arg(&aside);
        let root = Running::start(python, &[]).unwrap();
        let pid = root.pid().to_string();
        let told =
            governor.wait_for_record("direct_connection", |record| text(record, "pid") == pid).unwrap();
        assert_eq!((text(&told, "uid"), field(&told, "ended").as_bool()), ("0".into(), Some(ended)));
        if ended {
            assert_eq!(root.finish(wait::PATIENCE).unwrap().out(), "in\n");
        }
        // governor's own connections are none.
        let mut through = client::command("psql", &group, Class::Service, postgres.port()).unwrap();
        through.args(PSQL_ROWS).env("PGHOST", directory.path());
        let through = Running::start(through, b"SELECT pg_sleep(3);").unwrap();
        through.finish(wait::PATIENCE).unwrap().ok().unwrap();
        assert_eq!(governor.events("direct_connection").unwrap().len(), 2);
        drop((other, governor));
    }
}
