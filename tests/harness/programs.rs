//! Where the servers of other versions and the drivers are, which `cargo xtask setup` puts below `target/tools`.
//!
//! What is not there is an error that says what installs it; [`missing`] turns that into a skip on a
//! person's machine, never where the answer counts.

use anyhow::{Context, Result, bail};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use tempfile::TempDir;

/// Everything that is installed for this repository only.
pub fn tools() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    let top = tests.parent().unwrap_or(tests);
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(dir) => top.join(dir),
        None => top.join("target"),
    }
    .join("tools")
}

/// Where the programs of the distribution's newest server are; `GOVERNOR_PG_BIN` overrules.
pub fn default_server() -> Result<PathBuf> {
    if let Some(dir) = std::env::var_os("GOVERNOR_PG_BIN") {
        return Ok(dir.into());
    }
    let mut found: Vec<(u32, PathBuf)> = std::fs::read_dir(DISTRIBUTION)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let version = entry.file_name().to_str()?.parse().ok()?;
            Some((version, entry.path().join("bin")))
        })
        .filter(|(_, bin)| bin.join("initdb").exists())
        .collect();
    found.sort();
    found.pop().map(|(_, bin)| bin).context("no PostgreSQL server found: run `cargo xtask setup`")
}

/// Where clients are looked for: the programs themselves first. What the distribution has in `/usr/bin` is a script that looks
/// for them, and takes longer than what psql mostly does.
pub fn search_path() -> &'static str {
    static PATH: OnceLock<String> = OnceLock::new();
    PATH.get_or_init(|| match default_server() {
        Ok(bin) => format!("{}:{SYSTEM_PATH}", bin.display()),
        Err(_) => SYSTEM_PATH.to_owned(),
    })
}

/// The programs of one server.
#[derive(Debug)]
pub struct Programs {
    pub bin: PathBuf,
    /// Where they had to be copied to; goes with its owner.
    _copy: Option<TempDir>,
}

impl Programs {
    /// Of this major version: the distribution's, else those below `target/tools`. Without one, the default.
    pub fn find(version: Option<u32>) -> Result<Self> {
        let Some(version) = version else { return Ok(Self { bin: default_server()?, _copy: None }) };
        let packaged = Path::new(DISTRIBUTION).join(version.to_string()).join("bin");
        if packaged.join("initdb").exists() {
            return Ok(Self { bin: packaged, _copy: None });
        }
        let ours = server_below_tools(version);
        if !ours.join("bin/initdb").exists() {
            bail!("no PostgreSQL {version} here: run `cargo xtask setup`");
        }
        let ours = ours.canonicalize()?;
        let open = |path: &Path| path.metadata().is_ok_and(|meta| meta.permissions().mode() & 0o005 == 0o005);
        if ours.ancestors().all(open) {
            return Ok(Self { bin: ours.join("bin"), _copy: None });
        }
        // A home directory is closed to others, such as the user that the server runs as.
        let copy = tempfile::Builder::new()
            .prefix("governor-pg-programs-")
            .permissions(std::fs::Permissions::from_mode(0o755))
            .tempdir()?;
        copy_tree(&ours, copy.path())?;
        Ok(Self { bin: copy.path().join("bin"), _copy: Some(copy) })
    }
}

/// Where `cargo xtask setup` puts servers that the distribution does not have.
pub fn server_below_tools(version: u32) -> PathBuf {
    tools().join("postgres").join(version.to_string())
}

/// Copies what is in one directory into another, links as links.
pub fn copy_tree(from: &Path, to: &Path) -> Result<()> {
    let done = Command::new("cp").arg("-a").arg(from.join(".")).arg(to).status()?;
    if !done.success() {
        bail!("cannot copy {}: {done}", from.display());
    }
    Ok(())
}

/// Python with the drivers that the tests use.
pub fn python() -> PathBuf {
    tools().join("python/bin/python")
}

/// The directory whose `node_modules` has the drivers that the tests use.
pub fn node_modules() -> PathBuf {
    tools().join("node/node_modules")
}

/// The JDBC driver of the distribution.
pub fn jdbc() -> PathBuf {
    "/usr/share/java/postgresql.jar".into()
}

/// DBD::Pg, where Perl finds it; an empty path where it does not.
pub fn perl_driver() -> PathBuf {
    let mut perl = Command::new("/usr/bin/perl");
    let asked = perl.args(["-MDBD::Pg", "-e", "print $INC{'DBD/Pg.pm'}"]).output();
    asked.map(|asked| String::from_utf8_lossy(&asked.stdout).into_owned()).unwrap_or_default().into()
}

/// The server's own regression tests.
pub fn regress(version: u32) -> PathBuf {
    tools().join("regress").join(version.to_string())
}

/// The relay that Docker starts for a published port.
pub fn docker_proxy() -> PathBuf {
    tools().join("docker/docker-proxy")
}

/// Files of a container engine's packages, as they lie below `/`.
pub fn podman_files() -> PathBuf {
    tools().join("podman")
}

/// Whether to leave out what needs `path`. It fails where the answer counts: there nothing may be missing.
pub fn missing(what: &str, path: &Path) -> bool {
    if path.exists() {
        return false;
    }
    let reason = format!("{what} is not installed ({}); run `cargo xtask setup`", path.display());
    assert!(std::env::var_os("CI").is_none(), "{reason}");
    eprintln!("skip: {reason}");
    true
}

const SYSTEM_PATH: &str = "/usr/local/bin:/usr/bin:/bin";
const DISTRIBUTION: &str = "/usr/lib/postgresql";
