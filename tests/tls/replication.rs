//! Replication connections within TLS: refused by default, passed and on record where they are a service's, with the
//! server's key and with a CA of governor's own.

use super::{Keys, Secure, field, text};
use governor_tests::process::Finished;
use governor_tests::{Class, client, process, wait};

const BOTH: &str =
    "hostssl all all 127.0.0.1/32 scram-sha-256\nhostssl replication all 127.0.0.1/32 scram-sha-256";

/// A client that verifies in full, and gets what governor may show.
fn verifying(site: &Secure, class: Class, program: &str, arguments: &[&str]) -> Finished {
    let both = site.both_roots();
    let mut command = client::command(program, &site.group, class, site.postgres.port()).unwrap();
    command.env("PGSSLMODE", "verify-full").env("PGSSLROOTCERT", &both).env("PGHOST", "localhost");
    // With a certificate of governor's own nothing can be bound to the server's.
    command.env("PGCHANNELBINDING", "disable").args(arguments);
    process::run(command, wait::PATIENCE).unwrap()
}

#[test]
fn replication_within_tls_is_a_services_alone_and_is_on_record() {
    for (keys, shown) in [(Keys::Found, "server_key"), (Keys::LocalCa, "local_ca")] {
        let site = Secure::start(keys, "");
        site.postgres.admin("postgres", "ALTER ROLE app REPLICATION").unwrap();
        site.postgres.authenticate(BOTH).unwrap();
        let asks = ["-X", "-A", "-t", "-d", "dbname=shop replication=database", "-c", "IDENTIFY_SYSTEM"];
        for class in [Class::Person, Class::Agent] {
            let refused = verifying(&site, class, "psql", &asks);
            assert!(refused.err().contains("replication"), "{keys:?} {}", refused.all());
        }
        let refused = site.governor.events("session_decision").unwrap();
        assert!(refused.len() == 2 && refused.iter().all(|r| text(r, "verdict") == "deny"), "{refused:?}");
        let asked = verifying(&site, Class::Service, "psql", &asks).ok().unwrap();
        assert!(asked.out().trim_end().ends_with("|shop"), "{}", asked.out());
        // Two connections: one for the files, one for what is written meanwhile.
        let place = site.pki.path("copy");
        let copy = place.to_str().unwrap();
        verifying(&site, Class::Service, "pg_basebackup", &["-D", copy, "-X", "stream", "-c", "fast"])
            .ok()
            .unwrap();
        assert!(place.join("PG_VERSION").is_file() && place.join("pg_wal").is_dir());
        let allowed = site.governor.events("session_decision").unwrap();
        assert_eq!(allowed.iter().filter(|r| text(r, "verdict") == "allow").count(), 3, "{keys:?}");
        let records = site.governor.events("tls").unwrap();
        let last = field(records.last().unwrap(), "tls");
        assert_eq!(
            (&last["shown"], &last["upstream"]["certificate"]["verified"]),
            (&shown.into(), &true.into())
        );
        let ends = wait::until("the ends of the sessions", wait::PATIENCE, || {
            let ends = site.governor.events("session_end")?;
            Ok((ends.len() == 5).then_some(ends))
        })
        .unwrap();
        let relayed: u64 =
            ends.iter().map(|end| text(end, "bytes_from_database").parse::<u64>().unwrap()).sum();
        assert!(relayed > 1 << 20, "the files of a server came through: {relayed}");
        assert_eq!(site.governor.events("statement").unwrap().len(), 0, "nothing of it is read");
    }
}
