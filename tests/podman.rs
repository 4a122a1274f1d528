//! Containers of a real engine: Podman with runc, conmon and netavark, with images of this host's own files. What the engine calls
//! a container, its image and its pod is what governor records, and what policies decide by.

// Helpers beside the tests fail the test that called them.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

#[path = "podman/mounted.rs"]
mod mounted;
#[path = "podman/names.rs"]
mod names;
#[path = "podman/published.rs"]
mod published;
#[path = "podman/root.rs"]
mod root;

use governor_tests::database_host::PORT;
use governor_tests::engine::{Archive, Engine, GATEWAY};
use governor_tests::governor::{Governor, field, text};
use governor_tests::postgres::{Auth, Place, Postgres};
use governor_tests::{Cgroup, Finished, Options, containers, database, programs, wait};
use serde_json::Value;

const BILLING: &str = "shop.test/billing:2";
const REPORTS: &str = "shop.test/reports:1";
const ASK: &str = "SELECT email FROM people WHERE id = 1";
/// As long as a test takes, and more.
const WAITS: &[&str] = &["sleep", "600"];

/// A server on the engine's host. Dropped in this order: governor first, so that nothing is refused on the way down.
struct Site {
    governor: Governor,
    postgres: Postgres,
    engine: Engine,
    group: Cgroup,
}

impl Site {
    /// Everything but a running governor.
    fn prepare(options: &Options) -> Self {
        let group = Cgroup::slice("governor-test").unwrap();
        let engine = Engine::start(&group).unwrap();
        engine.import(Archive::Clients, BILLING).unwrap();
        engine.podman(&["tag", BILLING, REPORTS]).unwrap().ok().unwrap();
        let place = Place {
            network: format!("/proc/{}/ns/net", engine.network.pid()),
            cgroup: group.path().join("server"),
        };
        std::fs::create_dir(&place.cgroup).unwrap();
        let postgres = Postgres::start_at(place, PORT, Auth::Trust, containers::LISTENS).unwrap();
        database::load(&postgres, "shop").unwrap();
        postgres.authenticate("host all all all trust").unwrap();
        let governor = Governor::prepare(&group, PORT, &on_host(&engine, options)).unwrap();
        Self { governor, postgres, engine, group }
    }

    /// What governor is started with where a test says nothing.
    fn options(&self) -> Options {
        on_host(&self.engine, &Options::default())
    }

    fn run(&self, name: &str, options: &[&str], image: &str) -> String {
        self.engine.run(name, options, image, WAITS).unwrap()
    }

    /// psql in a container, once governor listens there: what comes before is refused.
    fn psql(&self, container: &str, sql: &str) -> Finished {
        wait::until("governor to listen in the container", wait::PATIENCE, || {
            let done = self.engine.psql(container, GATEWAY, PORT, sql)?;
            Ok((!done.err().contains("Operation not permitted")).then_some(done))
        })
        .unwrap()
    }

    fn secret(&self) -> String {
        self.postgres.admin("shop", ASK).unwrap()
    }

    /// The principal of a session of this container.
    fn principal(&self, container: &str) -> Value {
        let of_it = |record: &Value| field(record, "principal")["container"] == container;
        let start = self.governor.wait_for_record("session_start", of_it).unwrap();
        field(&start, "principal").clone()
    }

    fn metric(&self, series: &str) -> f64 {
        let page = self.engine.network.inside(|| self.governor.metrics()).unwrap().unwrap();
        let value = page.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')).unwrap();
        value.parse().unwrap()
    }

    fn wait_served(&self, count: f64) {
        wait::until(&format!("{count} namespaces to be served"), wait::PATIENCE, || {
            Ok((self.metric("governor_namespaces_served") == count).then_some(()))
        })
        .unwrap();
    }
}

/// governor and its command line are on the engine's host.
fn on_host(engine: &Engine, options: &Options) -> Options {
    Options { launcher: engine.launcher(), command_launcher: engine.launcher(), ..options.clone() }
}

/// Whether there is no engine to test with, which is told.
fn no_engine() -> bool {
    programs::missing("Podman", &programs::podman_files())
}

#[test]
fn a_container_is_known_by_the_engines_id_name_and_image_and_policy_decides_by_them() {
    if no_engine() {
        return;
    }
    let policy = format!(
        "@id(\"reports-read-no-people\")\n\
         forbid (principal, action in Governor::Action::\"run\", resource)\n\
         when {{ principal has image && principal.image == \"{REPORTS}\" && context.reads.contains(\"people\") }};\n"
    );
    let options = Options { policies: vec![("reports.cedar".into(), policy)], ..Options::default() };
    let mut site = Site::prepare(&options);
    // One from before governor, and one from after.
    let billing = site.run("billing-1", &[], BILLING);
    site.governor.launch().unwrap();
    let reports = site.run("reports-1", &[], REPORTS);
    let secret = site.secret();
    assert_eq!(site.psql("billing-1", ASK).ok().unwrap().out().trim(), secret, "a service, in clear");
    let denied = site.psql("reports-1", ASK);
    assert!(denied.err().contains("42501") && !denied.all().contains(&secret), "{}", denied.all());
    assert!(denied.err().contains("reports-read-no-people"), "{}", denied.all());
    assert_eq!(site.psql("reports-1", "SELECT count(*) FROM orders WHERE id = 1").ok().unwrap().out(), "1\n");
    for (id, name, image) in [(&billing, "billing-1", BILLING), (&reports, "reports-1", REPORTS)] {
        assert_eq!(&site.engine.inspect(name, "{{.Id}}").unwrap(), id);
        assert_eq!(site.engine.inspect(name, "{{.ImageName}}").unwrap(), image);
        let principal = site.principal(id);
        assert_eq!(principal["class"], "service", "{principal}");
        assert_eq!(principal["container_name"], name, "{principal}");
        assert_eq!(principal["image"], image, "{principal}");
        assert_eq!(principal["cgroup"], format!("{}/libpod-{id}", site.engine.containers), "{principal}");
        assert_eq!(principal["executable"], "/usr/bin/psql", "{principal}");
        assert!(principal.get("pod").is_none(), "{principal}");
    }
    let statements = site.governor.events("statement").unwrap();
    assert_eq!(statements.iter().filter(|statement| text(statement, "text") == ASK).count(), 2, "each once");
    site.governor.cli(&["audit", "completeness"]).unwrap().ok().unwrap();
}

#[test]
fn a_pod_of_the_engine_is_in_the_record_and_policy_decides_by_it() {
    if no_engine() {
        return;
    }
    let mut site = Site::prepare(&Options::default());
    let create = |name: &str| -> String {
        let options = ["--share-parent=false", "--cgroup-parent", &site.engine.containers];
        let all = [&["pod", "create", "--name", name], &options[..]].concat();
        site.engine.podman(&all).unwrap().ok().unwrap().out().trim().to_owned()
    };
    let pods = [create("shop"), create("back-office")];
    let policy = format!(
        "@id(\"shop-only-reads\")\nforbid (principal, action in Governor::Action::\"write\", resource)\n\
         when {{ principal has pod && principal.pod == \"{}\" }};\n",
        pods[0]
    );
    let options = Options { policies: vec![("pods.cedar".into(), policy)], ..site.options() };
    site.governor = Governor::prepare(&site.group, PORT, &options).unwrap();
    site.governor.launch().unwrap();
    let update = "UPDATE orders SET state = state WHERE id = 1";
    for ((pod, pod_id), name, is_denied) in
        [(("shop", &pods[0]), "in-shop", true), (("back-office", &pods[1]), "in-back-office", false)]
    {
        // Where this engine puts containers of a pod by itself. Told, because with `cgroupfs` this version (4.3) also denies
        // the group of a pod every device, and nothing starts in it.
        let parent = format!("{}/{pod_id}", site.engine.containers);
        let id = site.engine.run_below(&parent, name, &["--pod", pod], BILLING, WAITS).unwrap();
        let done = site.psql(name, update);
        assert_eq!(done.err().contains("shop-only-reads"), is_denied, "{}", done.all());
        assert_eq!(done.err().is_empty(), !is_denied, "{}", done.all());
        let principal = site.principal(&id);
        assert_eq!(&site.engine.inspect(name, "{{.Pod}}").unwrap(), pod_id);
        assert_eq!(principal["pod"], pod_id.as_str(), "{principal}");
        assert_eq!(principal["container_name"], name, "{principal}");
        assert_eq!(principal["image"], BILLING, "{principal}");
    }
}

#[test]
fn a_container_that_ends_takes_its_listeners_along() {
    if no_engine() {
        return;
    }
    let mut site = Site::prepare(&Options::default());
    site.governor.launch().unwrap();
    site.wait_served(0.0);
    let status = || site.governor.cli(&["status"]).unwrap().ok().unwrap().out();
    for (name, image) in [("billing-1", BILLING), ("reports-1", REPORTS)] {
        site.run(name, &[], image);
        site.psql(name, "SELECT 1").ok().unwrap();
        wait::until("status to name the container", wait::PATIENCE, || {
            Ok(status().contains(&format!("{name}, {image}")).then_some(()))
        })
        .unwrap();
    }
    site.wait_served(2.0);
    // One that is killed, and one whose engine removes it.
    site.engine.podman(&["kill", "--signal", "KILL", "billing-1"]).unwrap().ok().unwrap();
    site.wait_served(1.0);
    site.engine.podman(&["rm", "--force", "--time", "0", "reports-1"]).unwrap().ok().unwrap();
    site.wait_served(0.0);
    wait::until("status forgets both", wait::PATIENCE, || {
        let told = status();
        Ok((!told.contains("billing-1") && !told.contains("reports-1")).then_some(()))
    })
    .unwrap();
    // The same container again, in another namespace.
    site.engine.podman(&["start", "billing-1"]).unwrap().ok().unwrap();
    site.psql("billing-1", "SELECT 1").ok().unwrap();
    site.wait_served(1.0);
}
