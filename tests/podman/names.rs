//! Who else calls a group of his own what the engine calls a container: it is not taken for that container.

use super::{ASK, BILLING, Site, no_engine};
use governor_tests::client::{PSQL_ROWS, outside};
use governor_tests::database_host::PORT;
use governor_tests::engine::GATEWAY;
use governor_tests::governor::{Governor, field};
use governor_tests::{Finished, Options, Running, cgroup, wait};
use std::fmt::Write as _;
use std::path::Path;

/// psql on the host, as a process of this group.
fn psql_in(site: &Site, group: &Path, sql: &str) -> Finished {
    let mut psql = outside("psql", PORT);
    psql.env("PGHOST", GATEWAY).args(PSQL_ROWS);
    cgroup::enter(&mut psql, group).unwrap();
    site.engine.enter(&mut psql).unwrap();
    Running::start(psql, format!("{sql};\n").as_bytes()).unwrap().finish(wait::PATIENCE).unwrap()
}

#[test]
fn a_group_of_a_users_or_a_services_own_is_not_the_container_that_it_is_called_after() {
    if no_engine() {
        return;
    }
    let mut site = Site::prepare(&Options::default());
    let id = site.run("billing-1", &[], BILLING);
    // Only this container may read, by its id or by its image.
    let policy = format!(
        "@id(\"billing-only\")\nforbid (principal, action in Governor::Action::\"read\", resource)\n\
         unless {{ principal in Governor::Container::\"{id}\" || (principal has image && principal.image == \"{BILLING}\") }};\n"
    );
    // Parts of the tree that a user's manager, a service and a container own: what is made in them is theirs.
    let owned = ["user@1000.service", "own.service"].map(|unit| site.group.path().join(unit));
    let mut options = Options { policies: vec![("billing.cedar".into(), policy)], ..site.options() };
    for part in &owned {
        std::fs::create_dir(part).unwrap();
        let name = site.group.kernel_name(part).unwrap();
        write!(options.more, "\n[[capture.rules]]\ncgroup = {name:?}\nports = [{PORT}]\n").unwrap();
    }
    site.governor = Governor::prepare(&site.group, PORT, &options).unwrap();
    site.governor.launch().unwrap();
    let secret = site.secret();
    assert_eq!(site.psql("billing-1", ASK).ok().unwrap().out().trim(), secret);
    let names = [
        format!("libpod-{id}"),
        format!("libpod-{id}.scope"),
        format!("libpod_parent/libpod-{id}"),
        id.clone(),
    ];
    for part in &owned {
        let unit = part.file_name().unwrap().to_str().unwrap();
        for name in &names {
            let group = part.join(name);
            std::fs::create_dir_all(&group).unwrap();
            let done = psql_in(&site, &group, ASK);
            assert!(done.err().contains("billing-only") && !done.all().contains(&secret), "{}", done.all());
            let cgroup = site.group.kernel_name(&group).unwrap();
            let of_it = |record: &serde_json::Value| field(record, "principal")["cgroup"] == cgroup;
            let start = site.governor.wait_for_record("session_start", of_it).unwrap();
            let principal = field(&start, "principal");
            assert_eq!(principal["container"], format!("{unit}/{id}"), "{principal}");
            assert!(
                principal.get("image").is_none() && principal.get("container_name").is_none(),
                "{principal}"
            );
            assert_eq!(principal["unit"], unit, "{principal}");
        }
    }
    // Inside a container another one's name is a part of the former.
    let other = site.run("other-1", &[], BILLING);
    let group = site.group.clients().join(format!("libpod_parent/libpod-{other}/libpod-{id}"));
    std::fs::create_dir(&group).unwrap();
    psql_in(&site, &group, ASK);
    assert_eq!(site.principal(&other)["container_name"], "other-1");
}
