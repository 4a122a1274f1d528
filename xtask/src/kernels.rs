//! `cargo xtask test kernel`: the kernel programs on the kernels that we promise, beside the one that runs here.
//!
//! Each kernel boots in QEMU from the distribution's own image, without a disk: an initramfs holds the unit tests of
//! `host::kernel` and `host::sockdiag` as one program with its libraries, the few tools that they start, and an `init` that
//! runs them.
//!
//! Images are downloaded once into `target/kernels`. A kernel that cannot be had is skipped with its reason; with `CI` set
//! that is a failure. `GOVERNOR_KERNELS=6.1` names others than all of them; `none` is for machines that *are* the kernel
//! that is tested.

use crate::qemu::{self, Initramfs, Machine, Promise};
use crate::shell;
use crate::tally::Tally;
use anyhow::{Context, Result, bail};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The oldest kernel that is tested, and the one of the current Debian.
const PROMISES: [Promise; 2] = [
    Promise { name: "6.1", package: "linux-image-6.1." },
    Promise { name: "6.12", package: "linux-image-6.12." },
];

/// Runs the tests on every kernel and adds what they said.
pub fn run(tally: &mut Tally) {
    if !PROMISES.iter().any(|promise| wanted(promise.name)) {
        return tally.skip("kernel", &format!("{CHOICE} names none of them"));
    }
    if let Some(reason) = qemu::cannot_boot() {
        return leave_out(tally, "kernel", reason);
    }
    let guest = match guest_files() {
        Ok(guest) => guest,
        Err(error) => return tally.check("kernel: the guest's files", Err(error)),
    };
    let mut machines = Vec::new();
    for promise in PROMISES.iter().filter(|promise| wanted(promise.name)) {
        let name = format!("kernel {}", promise.name);
        match qemu::image(promise) {
            Err(error) => leave_out(tally, &name, &format!("{error:#}")),
            Ok(image) => match packed(&guest, &image, promise.name) {
                Err(error) => tally.check(&name, Err(error)),
                Ok(initramfs) => machines.push((promise.name, image, initramfs)),
            },
        }
    }
    // An emulated machine keeps one processor busy: they run beside each other.
    let booted: Vec<Result<qemu::Boot>> = std::thread::scope(|scope| {
        let running: Vec<_> = machines
            .iter()
            .map(|(name, image, initramfs)| scope.spawn(move || boot(name, image, initramfs)))
            .collect();
        let ended = |_| Err(anyhow::anyhow!("the thread that watched it ended"));
        running.into_iter().map(|thread| thread.join().unwrap_or_else(ended)).collect()
    });
    for ((name, ..), boot) in machines.iter().zip(booted) {
        let name = format!("kernel {name}");
        match boot {
            Err(error) => tally.check(&name, Err(error)),
            Ok(boot) => tally.report(&name, boot.passed, &boot.output, boot.seconds, &boot.command),
        }
    }
}

/// The guest's files with this kernel's modules, in a file of their own.
fn packed(guest: &Initramfs, image: &qemu::Image, name: &str) -> Result<PathBuf> {
    let archive = guest.pack(image, &MODULES)?;
    let own = archive.with_file_name(format!("root-{name}.initramfs"));
    fs::rename(&archive, &own)?;
    Ok(own)
}

fn boot(name: &str, image: &qemu::Image, initramfs: &Path) -> Result<qemu::Boot> {
    let machine = Machine {
        name,
        image,
        initramfs,
        disk: None,
        memory_mib: 1536,
        own_time: false,
        seconds_max: SECONDS_MAX,
    };
    machine.boot()
}

/// All, unless the environment chooses.
pub fn wanted(name: &str) -> bool {
    std::env::var(CHOICE).map_or(true, |chosen| chosen.split([',', ' ']).any(|word| word == name))
}

/// A failure where the answer counts, elsewhere a thing that was not looked at.
pub fn leave_out(tally: &mut Tally, name: &str, reason: &str) {
    if std::env::var_os("CI").is_some() {
        tally.check(name, Err(anyhow::anyhow!("{reason}")));
    } else {
        tally.skip(name, reason);
    }
}

/// The guest's files, made anew: tests, tools, libraries, init.
fn guest_files() -> Result<Initramfs> {
    // A shell and what `init` calls; everything else is the host's own program.
    let applets = ["mount", "insmod", "uname", "poweroff", "sleep", "cat", "ls", "hostname"];
    let guest = Initramfs::new("root", INIT, &applets)?;
    let root = guest.root();
    for name in ["etc", "lib", "lib64", "sys", "tmp", "usr/bin", "usr/sbin"] {
        fs::create_dir_all(root.join(name))?;
    }
    let tests = unit_tests()?;
    shell::run(Command::new("strip").arg("-o").arg(root.join("tests")).arg(&tests))?;
    let mut programs = vec![tests];
    for tool in TOOLS {
        // The distribution's own: one found on the PATH may be a version manager's wrapper.
        let Some(found) = ["/usr/bin", "/usr/sbin", "/sbin"]
            .map(|place| Path::new(place).join(tool))
            .into_iter()
            .find(|file| file.exists())
        else {
            continue;
        };
        let real = fs::canonicalize(&found)?;
        fs::copy(&real, root.join("usr/bin").join(tool))?;
        programs.push(real);
    }
    for library in libraries(&programs)? {
        let place = root.join(library.strip_prefix("/")?);
        fs::create_dir_all(place.parent().context("a library lies in a directory")?)?;
        fs::copy(&library, place)?;
    }
    python(root)?;
    Ok(guest)
}

/// Python's own library, without what no client of a test imports.
fn python(root: &Path) -> Result<()> {
    let program = fs::canonicalize("/usr/bin/python3").context("the tests' clients need /usr/bin/python3")?;
    let version = program.file_name().context("python3 is a file")?.to_owned();
    let library = Path::new("/usr/lib").join(&version);
    let place = root.join("usr/lib").join(&version);
    fs::create_dir_all(&place)?;
    for entry in fs::read_dir(&library)?.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if PYTHON_LEFT_OUT.iter().any(|left_out| name.starts_with(left_out)) {
            continue;
        }
        // With its times: compiled modules are taken only where they are as old as their source.
        let done = Command::new("cp").arg("-a").arg(entry.path()).arg(&place).status()?;
        if !done.success() {
            bail!("cannot copy {}", entry.path().display());
        }
    }
    Ok(())
}

/// What the dynamic linker would load for these programs.
fn libraries(programs: &[PathBuf]) -> Result<BTreeSet<PathBuf>> {
    let listed = shell::capture(Command::new("ldd").args(programs))?;
    // `NAME => /path (0x…)`, or `/path/of/the/linker (0x…)`; programs that are linked statically have none.
    Ok(String::from_utf8_lossy(&listed.stdout)
        .lines()
        .filter_map(|line| line.split(" => ").last()?.trim().split(" (").next())
        .filter(|path| path.starts_with('/') && !path.ends_with(':'))
        .map(PathBuf::from)
        .collect())
}

/// The library's unit tests as one program.
fn unit_tests() -> Result<PathBuf> {
    let output = shell::capture(shell::cargo().args([
        "test",
        "--quiet",
        "--no-run",
        "--message-format=json",
        "--package",
        "governor-userspace",
        "--lib",
    ]))?;
    if !output.status.success() {
        bail!("does not build:\n{}", String::from_utf8_lossy(&output.stderr));
    }
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter_map(|message| message.get("executable")?.as_str().map(PathBuf::from))
        .next_back()
        .context("cargo names no program")
}

const CHOICE: &str = "GOVERNOR_KERNELS";

/// Programs that the tests start.
const TOOLS: [&str; 4] = ["python3", "ip", "unshare", "nsenter"];

/// In the order in which they are loaded: for the listing of sockets, and for cables between namespaces.
const MODULES: [&str; 3] = ["net/ipv4/inet_diag", "net/ipv4/tcp_diag", "drivers/net/veth"];

const PYTHON_LEFT_OUT: [&str; 14] = [
    "config-",
    "test",
    "lib2to3",
    "pydoc_data",
    "distutils",
    "asyncio",
    "unittest",
    "idlelib",
    "tkinter",
    "ensurepip",
    "turtle",
    "dist-packages",
    "email",
    "xml",
];

/// A limit, not a measure: emulation takes its time, on a busy machine and with two beside each other.
const SECONDS_MAX: u32 = 1800;

const INIT: &str = "#!/bin/sh
export PATH=/usr/bin:/bin HOME=/tmp CI=1 RUST_BACKTRACE=1
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mount -t tmpfs tmp /tmp
mount -t cgroup2 cgroup /sys/fs/cgroup
mount -t bpf bpf /sys/fs/bpf
for module in /modules/*.ko; do insmod $module; done
ip link set lo up
uname -r
/tests host::kernel host::sockdiag --skip sockdiag::unix --skip an_evicted_note --test-threads=1 && echo guest: passed
poweroff -f
";
