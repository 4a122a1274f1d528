//! What a container engine keeps on disk of its containers: name, image, pod.
//!
//! Only files that the engine of the host writes, as root, are read, and only for a container whose cgroup
//! the engine itself made: a container's id is no secret, and whoever owns a part of the cgroup tree may give
//! a group that name. What is not there is not known; nothing is asked of an engine.
//!
//! Invariant: an id is 64 hexadecimal digits before it becomes part of a path; a read is bounded.
//!
//! Source: Docker (`config.v2.json`), the OCI runtime specification (`config.json`, annotations), the
//! annotations of containerd's CRI plugin and of CRI-O, containers/storage (`containers.json`).

use super::secrets::printable;
use super::workload::{Workload, is_container_id};
use crate::engine::model::ContainerFacts;
use lru::LruCache;
use parking_lot::Mutex;
use serde_json::Value;
use std::fs::File;
use std::io::Read;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The engines' files below a root directory, and what was read of them.
#[derive(Debug)]
pub(super) struct ContainerFiles {
    root: PathBuf,
    known: Mutex<LruCache<String, (ContainerFacts, Instant)>>,
}

impl ContainerFiles {
    pub(super) fn new(root: PathBuf) -> Self {
        Self { root, known: Mutex::new(LruCache::new(CONTAINERS_MAX)) }
    }

    /// What is known of a workload's container beside its identity.
    pub(super) fn facts(&self, workload: &Workload) -> ContainerFacts {
        let Some(id) = workload.container.as_deref().filter(|_| workload.container_is_the_hosts) else {
            return ContainerFacts::default();
        };
        let mut facts = if is_container_id(id) { self.of(id) } else { ContainerFacts::default() };
        facts.pod.clone_from(&workload.pod);
        facts
    }

    fn of(&self, id: &str) -> ContainerFacts {
        if let Some((facts, read)) = self.known.lock().get(id)
            && (*facts != ContainerFacts::default() || read.elapsed() < NOTHING_HOLDS_FOR)
        {
            return facts.clone();
        }
        let facts = self.read(id).unwrap_or_default();
        self.known.lock().put(id.to_owned(), (facts.clone(), Instant::now()));
        facts
    }

    fn read(&self, id: &str) -> Option<ContainerFacts> {
        let docker = || docker(&self.json(&format!("var/lib/docker/containers/{id}/config.v2.json"))?);
        let bundle = || BUNDLES.iter().find_map(|bundle| annotations(&self.json(&bundle.replace("ID", id))?));
        let storage = || STORAGE.iter().find_map(|file| storage(&self.json(file)?, id));
        docker().or_else(bundle).or_else(storage)
    }

    fn json(&self, file: &str) -> Option<Value> {
        read_json(&self.root.join(file))
    }
}

fn read_json(path: &Path) -> Option<Value> {
    let mut bytes = Vec::new();
    File::open(path).ok()?.take(FILE_BYTES_MAX).read_to_end(&mut bytes).ok()?;
    serde_json::from_slice(&bytes).ok()
}

/// `config.v2.json` of Docker; below Kubernetes it has the pod as labels.
fn docker(config: &Value) -> Option<ContainerFacts> {
    let inner = config.get("Config")?;
    let label = |name: &str| text(inner.get("Labels")?.get(name)?);
    Some(ContainerFacts {
        pod: None,
        pod_name: pod_name(label("io.kubernetes.pod.namespace"), label("io.kubernetes.pod.name")),
        container_name: label("io.kubernetes.container.name")
            .or_else(|| Some(text(config.get("Name")?)?.trim_start_matches('/').to_owned())),
        image: inner.get("Image").and_then(text),
    })
}

/// `config.json` of a bundle, annotated by containerd's CRI plugin or by CRI-O.
fn annotations(config: &Value) -> Option<ContainerFacts> {
    let annotations = config.get("annotations")?;
    let any = |names: &[&str]| names.iter().find_map(|name| annotations.get(*name).and_then(text));
    let facts = ContainerFacts {
        pod: None,
        pod_name: pod_name(
            any(&["io.kubernetes.cri.sandbox-namespace", "io.kubernetes.pod.namespace"]),
            any(&["io.kubernetes.cri.sandbox-name", "io.kubernetes.pod.name"]),
        ),
        container_name: any(&["io.kubernetes.cri.container-name", "io.kubernetes.container.name"]),
        image: any(&["io.kubernetes.cri.image-name", "io.kubernetes.cri-o.ImageName"]),
    };
    (facts != ContainerFacts::default()).then_some(facts)
}

/// `containers.json` of containers/storage, which Podman uses: its metadata is JSON within JSON.
fn storage(containers: &Value, id: &str) -> Option<ContainerFacts> {
    let of_it = |container: &&Value| container.get("id").and_then(Value::as_str) == Some(id);
    let container = containers.as_array()?.iter().find(of_it)?;
    let metadata: Option<Value> =
        container.get("metadata").and_then(Value::as_str).and_then(|inner| serde_json::from_str(inner).ok());
    Some(ContainerFacts {
        container_name: container.get("names").and_then(|names| text(names.get(0)?)),
        image: metadata.and_then(|metadata| text(metadata.get("image-name")?)),
        ..ContainerFacts::default()
    })
}

fn pod_name(namespace: Option<String>, name: Option<String>) -> Option<String> {
    Some(format!("{}/{}", namespace?, name?))
}

fn text(value: &Value) -> Option<String> {
    let text = printable(value.as_str()?);
    (!text.is_empty()).then(|| text.chars().take(TEXT_CHARS_MAX).collect())
}

/// Bundles of containerd, by its own namespaces, and of CRI-O and Podman.
const BUNDLES: [&str; 5] = [
    "run/containerd/io.containerd.runtime.v2.task/k8s.io/ID/config.json",
    "run/containerd/io.containerd.runtime.v2.task/default/ID/config.json",
    "run/k3s/containerd/io.containerd.runtime.v2.task/k8s.io/ID/config.json",
    "var/lib/containers/storage/overlay-containers/ID/userdata/config.json",
    "run/containers/storage/overlay-containers/ID/userdata/config.json",
];
const STORAGE: [&str; 3] = [
    "var/lib/containers/storage/overlay-containers/containers.json",
    "var/lib/containers/storage/overlay-containers/volatile-containers.json",
    "run/containers/storage/overlay-containers/volatile-containers.json",
];
/// A bundle's configuration has some ten KiB; a list of containers one for each.
const FILE_BYTES_MAX: u64 = 4 << 20;
const TEXT_CHARS_MAX: usize = 512;
const CONTAINERS_MAX: NonZeroUsize = NonZeroUsize::new(4096).unwrap();
/// An engine may write its file a moment after the first process runs.
const NOTHING_HOLDS_FOR: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "4f1c9d3b7a6e5d4c3b2a190817263544f1c9d3b7a6e5d4c3b2a1908172635441";

    /// Facts of the container at `path`, where `file` has `content`.
    fn facts(path: &str, file: &str, content: &str) -> ContainerFacts {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join(file.replace("ID", ID));
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, content.replace("ID", ID)).unwrap();
        ContainerFiles::new(root.path().into()).facts(&Workload::from_cgroup(&path.replace("ID", ID)))
    }

    fn expected(pod: &str, pod_name: &str, container_name: &str, image: &str) -> ContainerFacts {
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let (pod, pod_name) = (some(pod), some(pod_name));
        ContainerFacts { pod, pod_name, container_name: some(container_name), image: some(image) }
    }

    const DOCKER: &str = "var/lib/docker/containers/ID/config.v2.json";
    const BILLING: &str =
        r#"{"ID":"ID","Name":"/billing","Image":"sha256:77","Config":{"Image":"registry.test/billing:2"}}"#;

    #[test]
    fn docker_names_the_container_and_its_image() {
        let named = expected("", "", "billing", "registry.test/billing:2");
        assert_eq!(facts("/system.slice/docker-ID.scope", DOCKER, BILLING), named);
        assert_eq!(facts("/docker/ID/inner.scope", DOCKER, BILLING), named);
    }

    #[test]
    fn containerd_and_crio_name_the_pod() {
        let containerd = r#"{"ociVersion":"1.1.0","annotations":{"io.kubernetes.cri.container-name":"api",
            "io.kubernetes.cri.image-name":"registry.test/api:7","io.kubernetes.cri.sandbox-name":"api-5d",
            "io.kubernetes.cri.sandbox-namespace":"shop"}}"#;
        let path = "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1f_2e.slice/cri-containerd-ID.scope";
        assert_eq!(
            facts(path, BUNDLES[0], containerd),
            expected("1f-2e", "shop/api-5d", "api", "registry.test/api:7")
        );
        let crio = r#"{"annotations":{"io.kubernetes.container.name":"api","io.kubernetes.pod.name":"api-5d",
            "io.kubernetes.pod.namespace":"shop","io.kubernetes.cri-o.ImageName":"registry.test/api:7"}}"#;
        let path = "/kubepods.slice/kubepods-pod1f.slice/crio-ID.scope";
        assert_eq!(
            facts(path, BUNDLES[3], crio),
            expected("1f", "shop/api-5d", "api", "registry.test/api:7")
        );
    }

    #[test]
    fn podman_is_found_in_the_storage() {
        let list = r#"[{"id":"other","names":["x"]},{"id":"ID","names":["billing"],
            "metadata":"{\"image-name\":\"registry.test/billing:2\",\"name\":\"billing\"}"}]"#;
        let named = expected("", "", "billing", "registry.test/billing:2");
        for file in STORAGE {
            assert_eq!(facts("/machine.slice/libpod-ID.scope", file, list), named, "{file}");
        }
        let pod = "d26fb5d0a334a4ee7d3866faad213dbe27355ec2f547dc40880dedc986fc5f43";
        let path = format!("/machine.slice/machine-libpod_pod_{pod}.slice/libpod-ID.scope/container");
        assert_eq!(facts(&path, STORAGE[0], list), expected(pod, "", "billing", "registry.test/billing:2"));
    }

    #[test]
    fn a_group_that_somebody_else_named_borrows_nothing() {
        for path in [
            "/user.slice/user-1000.slice/user@1000.service/docker-ID.scope",
            "/system.slice/own.service/docker/ID",
            "/system.slice/billing.service",
            "/",
        ] {
            assert_eq!(facts(path, DOCKER, BILLING), ContainerFacts::default(), "{path}");
        }
    }

    #[test]
    fn what_cannot_be_understood_is_not_known() {
        for content in ["", "{", "[]", "{\"Config\":7}", "{\"Config\":{\"Image\":7}}", "null"] {
            assert_eq!(facts("/docker/ID", DOCKER, content), ContainerFacts::default(), "{content}");
        }
        let long = format!(r#"{{"Name":"/{}","Config":{{"Image":"a\u001b[2Jb"}}}}"#, "x".repeat(2000));
        let odd = facts("/docker/ID", DOCKER, &long);
        assert_eq!(odd.container_name.map(|name| name.len()), Some(TEXT_CHARS_MAX - 1));
        assert!(odd.image.is_some_and(|image| !image.contains('\u{1b}')));
    }
}
