//! The same programs where governor is on the database's host: from another host, and from processes beside the server.

use super::{Driver, Work, assert_recorded, assert_same, transcript};
use governor_tests::database_host::{DatabaseHost, PORT, REMOTE_V4, SERVER_V4};
use governor_tests::governor::field;
use governor_tests::{Auth, Class, Options, cgroup};

/// Where a client runs.
#[derive(Clone, Copy, Debug)]
enum From {
    Remote,
    Local,
}

#[test]
fn every_driver_is_the_same_on_a_database_host() {
    let more = format!("[[identity.assign]]\naddress = \"{REMOTE_V4}\"\nclass = \"service\"\n");
    let options = Options { more, ..Options::default() };
    let mut site = DatabaseHost::start("ports = [5432]", Auth::ScramSha256, &options).unwrap();
    // tokio-postgres runs in this process, which is in neither network.
    let drivers = Driver::ALL.into_iter().filter(|driver| *driver != Driver::TokioPostgres);
    let drivers: Vec<Driver> = drivers.filter(|driver| !driver.is_missing()).collect();
    let all = |site: &DatabaseHost| -> Vec<String> {
        let both = |driver: &Driver| [From::Remote, From::Local].map(|from| run(*driver, site, from));
        drivers.iter().flat_map(both).collect()
    };
    // Stopped, it is out of the way.
    site.governor.stop().unwrap();
    let direct = all(&site);
    site.governor.launch().unwrap();
    assert_eq!(site.governor.count_records("session_start").unwrap(), 0, "the first round was direct");
    let governed = all(&site);
    for (at, (direct, governed)) in direct.iter().zip(&governed).enumerate() {
        assert_same(drivers[at / 2], direct, governed);
    }
    assert_recorded(&site.governor);
    let starts = site.governor.events("session_start").unwrap();
    for (address, name) in [(REMOTE_V4, "remote"), ("127.0.0.1", "pid")] {
        let from: Vec<_> =
            starts.iter().filter(|start| field(start, "client")["address"] == address).collect();
        assert!(from.len() >= drivers.len(), "{} sessions from {address}", from.len());
        for start in from {
            let principal = field(start, "principal");
            assert!(principal["class"] == "service" && !principal[name].is_null(), "{start}");
        }
    }
    println!("{} drivers, {} sessions", drivers.len(), starts.len());
}

fn run(driver: Driver, site: &DatabaseHost, from: From) -> String {
    site.truth(include_str!("setup.sql")).unwrap();
    let mut command = driver.command(PORT, Work::Everything);
    match from {
        From::Remote => {
            command.env("PGHOST", SERVER_V4);
            site.remote.enter(&mut command).unwrap();
        }
        From::Local => {
            site.host.enter(&mut command).unwrap();
            cgroup::enter(&mut command, &site.group.client(Class::Service)).unwrap();
        }
    }
    transcript(command, PORT).unwrap_or_else(|error| panic!("{driver:?}, {from:?}: {error:#}"))
}
