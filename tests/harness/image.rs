//! Images for a container engine, made of this host's own files: programs, the libraries that they ask for, nothing from a registry.

use crate::process::{self, Finished};
use crate::{programs, wait};
use anyhow::{Context, Result};
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// A directory that becomes the root of a container.
#[derive(Debug)]
pub struct Image {
    root: TempDir,
    libraries: BTreeSet<PathBuf>,
}

impl Image {
    /// A shell with a few tools, psql, and Python with what [`crate::engine`]'s clients import.
    pub fn of_clients() -> Result<Self> {
        let mut image = Self::new()?;
        image.program(&programs::default_server()?.join("psql"), "psql")?;
        image.python()?;
        Ok(image)
    }

    /// PostgreSQL of this host, and the shell to set it up.
    pub fn of_server() -> Result<Self> {
        let mut image = Self::new()?;
        let bin = programs::default_server()?;
        for name in ["postgres", "initdb", "psql"] {
            image.file(&bin.join(name))?;
        }
        let version = bin.parent().context("no version in the server's path")?;
        let (major, lib) = (version.file_name().context("no version")?, version.join("lib"));
        for entry in fs::read_dir(lib)? {
            let path = entry?.path();
            // As large as all the rest, and only for queries that take long.
            let is_compiler = path.to_string_lossy().contains("llvm") || path.ends_with("bitcode");
            if !is_compiler && path.is_file() {
                image.file(&path)?;
            }
        }
        for directory in [Path::new("/usr/share/postgresql").join(major), "/usr/share/zoneinfo".into()] {
            image.tree(&directory)?;
        }
        fs::write(
            image.below(Path::new("/etc/passwd"))?,
            "root:x:0:0::/:/bin/sh\npostgres:x:999:999::/:/bin/sh\n",
        )?;
        Ok(image)
    }

    /// Where the server's programs are in it.
    pub fn server_programs() -> Result<PathBuf> {
        programs::default_server()
    }

    /// As an archive in `file`.
    pub fn save(mut self, file: &File) -> Result<()> {
        for library in std::mem::take(&mut self.libraries) {
            self.copy(&library, &library)?;
        }
        let mut tar = Command::new("tar");
        tar.arg("-C").arg(self.root.path()).args(["-cf", "-", "."]).stdout(file.try_clone()?);
        let status = tar.status()?;
        anyhow::ensure!(status.success(), "tar: {status}");
        Ok(())
    }

    fn new() -> Result<Self> {
        let mut image = Self {
            root: tempfile::Builder::new().prefix("governor-image-").tempdir()?,
            libraries: BTreeSet::new(),
        };
        fs::create_dir_all(image.root.path().join("usr/bin"))?;
        let tmp = image.root.path().join("tmp");
        fs::create_dir_all(&tmp)?;
        fs::set_permissions(&tmp, fs::Permissions::from_mode(0o1777))?;
        symlink("usr/bin", image.root.path().join("bin"))?;
        for name in ["sh", "cat", "sleep", "mkdir", "chown", "rm", "ln", "env", "nsenter", "setpriv", "mount"]
        {
            image.program(&PathBuf::from("/usr/bin").join(name), name)?;
        }
        image.tree(Path::new("/usr/lib/locale/C.utf8"))?;
        Ok(image)
    }

    /// A program, found by its name in the image.
    fn program(&mut self, path: &Path, name: &str) -> Result<()> {
        self.needs(path)?;
        self.copy(path, &Path::new("/usr/bin").join(name))
    }

    /// A file at the place where this host has it.
    fn file(&mut self, path: &Path) -> Result<()> {
        self.needs(path)?;
        self.copy(path, path)
    }

    fn tree(&self, path: &Path) -> Result<()> {
        let to = self.below(path)?;
        let mut cp = Command::new("cp");
        cp.arg("-rL").arg(path).arg(to);
        run(cp)?;
        Ok(())
    }

    /// The interpreter and the modules that it says it has loaded.
    fn python(&mut self) -> Result<()> {
        let mut ask = Command::new(PYTHON);
        ask.args(["-ISc", MODULES]);
        self.program(Path::new(PYTHON), "python3")?;
        for path in run(ask)?.out().lines().map(PathBuf::from) {
            self.file(&path)?;
        }
        Ok(())
    }

    /// Notes the libraries that a program or library asks for.
    fn needs(&mut self, path: &Path) -> Result<()> {
        let mut ldd = Command::new("ldd");
        ldd.arg(path);
        // What is no ELF file, or asks for nothing, fails.
        let asked = process::run(ldd, wait::PATIENCE)?.out();
        self.libraries.extend(
            asked
                .split_whitespace()
                .filter(|word| word.starts_with('/'))
                .map(|word| word.trim_end_matches(':').into()),
        );
        Ok(())
    }

    fn copy(&self, from: &Path, to: &Path) -> Result<()> {
        fs::copy(from, self.below(to)?).with_context(|| format!("{} for an image", from.display()))?;
        Ok(())
    }

    /// Where a path of the image is, with the directories above it.
    fn below(&self, path: &Path) -> Result<PathBuf> {
        let path = self.root.path().join(path.strip_prefix("/")?);
        fs::create_dir_all(path.parent().context("no parent")?)?;
        Ok(path)
    }
}

fn run(command: Command) -> Result<Finished> {
    process::run(command, wait::PATIENCE)?.ok()
}

const PYTHON: &str = "/usr/bin/python3";
const MODULES: &str = "import ctypes, encodings.ascii, encodings.idna, os, socket, struct, sys
for module in list(sys.modules.values()):
    path = getattr(module, '__file__', None)
    if path: print(path)";
