//! `cargo xtask test kernel`: the kernel programs on the kernels that we promise, beside the one that runs here.
//!
//! Each kernel boots in QEMU from the distribution's own image, without a disk: an initramfs holds the unit tests of
//! `host::kernel` and `host::sockdiag` as one program with its libraries, the few tools that they start, and an `init` that
//! runs them. Emulation needs no hypervisor, so it runs everywhere; it is slow, so limits are generous.
//!
//! Images are downloaded once into `target/kernels`. A kernel that cannot be had is skipped with its reason; with `CI` set
//! that is a failure. `GOVERNOR_KERNELS=6.1` names others than all of them; `none` is for machines that *are* the kernel
//! that is tested.

use crate::tally::Tally;
use crate::{shell, workspace};
use anyhow::{Context, Result, bail};
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

/// One kernel of the matrix.
struct Promise {
    /// As in `docs/kernel.md` and in the result line.
    name: &'static str,
    /// What its package's name starts with.
    package: &'static str,
}

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
    if !cfg!(target_arch = "x86_64") {
        return leave_out(tally, "kernel", "images are booted on x86_64 only");
    }
    if !shell::has(QEMU) {
        return leave_out(tally, "kernel", "qemu-system-x86_64 is not installed: run `cargo xtask setup`");
    }
    let root = match guest_files() {
        Ok(root) => root,
        Err(error) => return tally.check("kernel: the guest's files", Err(error)),
    };
    for promise in PROMISES.iter().filter(|promise| wanted(promise.name)) {
        let name = format!("kernel {}", promise.name);
        match image(promise) {
            Err(error) => leave_out(tally, &name, &format!("{error:#}")),
            Ok(image) => match boot(&root, &image, promise.name) {
                Err(error) => tally.check(&name, Err(error)),
                Ok(boot) => tally.report(&name, boot.passed, &boot.output, boot.seconds, &boot.command),
            },
        }
    }
}

/// All, unless the environment chooses.
fn wanted(name: &str) -> bool {
    std::env::var(CHOICE).map_or(true, |chosen| chosen.split([',', ' ']).any(|word| word == name))
}

fn leave_out(tally: &mut Tally, name: &str, reason: &str) {
    if std::env::var_os("CI").is_some() {
        tally.check(name, Err(anyhow::anyhow!("{reason}")));
    } else {
        tally.skip(name, reason);
    }
}

/// An unpacked kernel package.
struct Image {
    kernel: PathBuf,
    /// `lib/modules/VERSION`.
    modules: PathBuf,
}

/// The newest image of a line of kernels that the package lists know, downloaded where it is not there yet.
fn image(promise: &Promise) -> Result<Image> {
    let unpacked = directory()?.join(promise.name);
    if let Ok(image) = find_image(&unpacked) {
        return Ok(image);
    }
    let pattern = format!("^{}.*-cloud-amd64$", promise.package.replace('.', "\\."));
    let listed = shell::capture(Command::new("apt-cache").args(["search", "--names-only", &pattern]))?;
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    let package = listed
        .lines()
        .filter_map(|line| line.split(' ').next())
        .max_by_key(|name| numbers(name))
        .with_context(|| {
        format!("no package {}…-cloud-amd64 is known here (apt-get update?)", promise.package)
    })?;
    unpack(package, &unpacked)?;
    find_image(&unpacked)
}

fn find_image(unpacked: &Path) -> Result<Image> {
    let kernel = only_entry(&unpacked.join("boot"), "vmlinuz-")?;
    // Where /lib and /usr/lib are one, packages may use either.
    let modules = only_entry(&unpacked.join("lib/modules"), "")
        .or_else(|_| only_entry(&unpacked.join("usr/lib/modules"), ""))?;
    Ok(Image { kernel, modules })
}

fn only_entry(directory: &Path, prefix: &str) -> Result<PathBuf> {
    let entries = fs::read_dir(directory).with_context(|| format!("reading {}", directory.display()))?;
    entries
        .flatten()
        .find(|entry| entry.file_name().to_string_lossy().starts_with(prefix))
        .map(|entry| entry.path())
        .with_context(|| format!("nothing in {}", directory.display()))
}

/// Versions are compared by the numbers in them: 6.12.117 is newer than 6.12.99.
fn numbers(name: &str) -> Vec<u64> {
    name.split(|character: char| !character.is_ascii_digit()).filter_map(|word| word.parse().ok()).collect()
}

fn unpack(package: &str, into: &Path) -> Result<()> {
    let packages = directory()?.join("packages");
    fs::create_dir_all(&packages)?;
    let mut download = Command::new("apt-get");
    download.current_dir(&packages).args(["-q", "download", package]);
    // Not `shell::run`: the file lands where the command runs.
    let done = download.output().context("cannot start apt-get")?;
    if !done.status.success() {
        bail!("cannot download {package}: {}", String::from_utf8_lossy(&done.stderr).trim());
    }
    let file = only_entry(&packages, &format!("{package}_"))?;
    fs::create_dir_all(into)?;
    shell::run(Command::new("dpkg-deb").arg("-x").arg(&file).arg(into))?;
    fs::remove_file(file)?;
    Ok(())
}

/// The root directory of the guest, made anew: tests, tools, libraries, init.
fn guest_files() -> Result<PathBuf> {
    let directory = directory()?;
    let busybox = directory.join("busybox");
    if !busybox.join("bin/busybox").exists() {
        unpack("busybox-static", &busybox)?;
    }
    let root = directory.join("root");
    if root.exists() {
        fs::remove_dir_all(&root)?;
    }
    for name in ["bin", "dev", "etc", "lib", "lib64", "modules", "proc", "sys", "tmp", "usr/bin", "usr/sbin"]
    {
        fs::create_dir_all(root.join(name))?;
    }
    let shell_program = root.join("bin/busybox");
    fs::copy(busybox.join("bin/busybox"), &shell_program)?;
    // A shell and what `init` calls; everything else is the host's own program.
    for applet in ["sh", "mount", "insmod", "uname", "poweroff", "sleep", "cat", "ls", "hostname"] {
        std::os::unix::fs::symlink("busybox", root.join("bin").join(applet))?;
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
    python(&root)?;
    let init = root.join("init");
    fs::write(&init, INIT)?;
    fs::set_permissions(&init, fs::Permissions::from_mode(0o755))?;
    Ok(root)
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

struct Boot {
    passed: bool,
    output: String,
    seconds: f32,
    command: String,
}

fn boot(root: &Path, image: &Image, name: &str) -> Result<Boot> {
    let place = root.join("modules");
    fs::remove_dir_all(&place)?;
    fs::create_dir(&place)?;
    for (number, module) in MODULES.iter().enumerate() {
        module_file(image, module, &place.join(format!("{number:02}.ko")))?;
    }
    let archive = directory()?.join("initramfs");
    let pack = format!("find . | ./bin/busybox cpio -o -H newc > '{}'", archive.display());
    let packed = Command::new("sh").args(["-c", &pack]).current_dir(root).output()?;
    if !packed.status.success() {
        bail!("cannot pack the initramfs: {}", String::from_utf8_lossy(&packed.stderr));
    }
    let mut qemu = Command::new("timeout");
    qemu.args(["--kill-after=10", LIMIT_SECONDS, "nice", QEMU]);
    qemu.args(["-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2", "-m", "1536"]);
    qemu.args(["-nographic", "-no-reboot", "-nic", "none", "-kernel"]).arg(&image.kernel);
    qemu.arg("-initrd").arg(&archive);
    qemu.args(["-append", "console=ttyS0 quiet panic=-1 mitigations=off"]);
    // To a file, so that it can be watched: emulation takes minutes.
    let log = directory()?.join(format!("{name}.log"));
    let console = fs::File::create(&log)?;
    qemu.stdin(std::process::Stdio::null()).stdout(console.try_clone()?).stderr(console);
    let command = shell::words(&qemu);
    let start = Instant::now();
    let status = qemu.status().context("cannot start QEMU")?;
    let output = String::from_utf8_lossy(&fs::read(&log)?).replace('\r', "");
    let passed = status.success() && output.lines().any(|line| line == PASSED);
    Ok(Boot { passed, output, seconds: start.elapsed().as_secs_f32(), command })
}

/// Debian ships some drivers as modules, and newer ones packed.
fn module_file(image: &Image, module: &str, to: &Path) -> Result<()> {
    let plain = image.modules.join(format!("kernel/{module}.ko"));
    if plain.exists() {
        fs::copy(&plain, to)?;
        return Ok(());
    }
    let packed = image.modules.join(format!("kernel/{module}.ko.xz"));
    if packed.exists() {
        let unpacked = Command::new("xz").args(["--decompress", "--stdout"]).arg(&packed).output()?;
        fs::write(to, unpacked.stdout)?;
    }
    // Neither: it is part of the kernel.
    Ok(())
}

fn directory() -> Result<PathBuf> {
    let directory = workspace::target().join("kernels");
    fs::create_dir_all(&directory)?;
    Ok(directory)
}

const CHOICE: &str = "GOVERNOR_KERNELS";

const QEMU: &str = "qemu-system-x86_64";

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

/// A limit, not a measure: emulation on a busy machine takes its time.
const LIMIT_SECONDS: &str = "1200";

const PASSED: &str = "guest: passed";

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_kernel_is_the_one_with_the_highest_numbers() {
        let names = [
            "linux-image-6.12.99+deb12-cloud-amd64",
            "linux-image-6.12.117+deb12-cloud-amd64",
            "linux-image-6.12.9+deb12-cloud-amd64",
        ];
        assert_eq!(names.into_iter().max_by_key(|name| numbers(name)), Some(names[1]));
    }
}
