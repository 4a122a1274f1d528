//! Machines that are not this one: kernels of the distribution, booted in QEMU.
//!
//! Emulation needs no hypervisor, so it runs everywhere; it is slow, so limits are generous. Where the processor lends
//! its own virtualisation, that is used. What is downloaded is kept in `target/kernels`.

use crate::{shell, workspace};
use anyhow::{Context, Result, bail};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// One kernel that can be booted.
pub struct Promise {
    /// As in `docs/kernel.md` and in the result line.
    pub name: &'static str,
    /// What its package's name starts with.
    pub package: &'static str,
}

/// An unpacked kernel package.
pub struct Image {
    kernel: PathBuf,
    /// `lib/modules/VERSION`.
    modules: PathBuf,
}

/// The newest image of a line of kernels that the package lists know, downloaded where it is not there yet.
pub fn image(promise: &Promise) -> Result<Image> {
    let _alone = DOWNLOADS.lock().unwrap_or_else(PoisonError::into_inner);
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

/// Downloads a package of the distribution and unpacks its files.
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

/// The first program of a machine with what it needs: a directory that becomes its initramfs.
pub struct Initramfs {
    root: PathBuf,
}

impl Initramfs {
    /// A directory of this name made anew: a shell, and what `init` calls of `applets`.
    pub fn new(name: &str, init: &str, applets: &[&str]) -> Result<Self> {
        let directory = directory()?;
        let busybox = directory.join("busybox");
        let _alone = DOWNLOADS.lock().unwrap_or_else(PoisonError::into_inner);
        if !busybox.join("bin/busybox").exists() {
            unpack("busybox-static", &busybox)?;
        }
        let root = directory.join(name);
        if root.exists() {
            fs::remove_dir_all(&root)?;
        }
        for name in ["bin", "dev", "modules", "proc"] {
            fs::create_dir_all(root.join(name))?;
        }
        fs::copy(busybox.join("bin/busybox"), root.join("bin/busybox"))?;
        for applet in ["sh"].iter().chain(applets) {
            std::os::unix::fs::symlink("busybox", root.join("bin").join(applet))?;
        }
        let file = root.join("init");
        fs::write(&file, init)?;
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755))?;
        Ok(Self { root })
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Puts the kernel's modules into `/modules`, in the order in which `init` loads them, and packs all of it.
    pub fn pack(&self, image: &Image, modules: &[&str]) -> Result<PathBuf> {
        let place = self.root.join("modules");
        fs::remove_dir_all(&place)?;
        fs::create_dir(&place)?;
        for (number, module) in modules.iter().enumerate() {
            module_file(image, module, &place.join(format!("{number:02}.ko")))?;
        }
        let archive = self.root.with_extension("initramfs");
        let pack = format!("find . | ./bin/busybox cpio -o -H newc > '{}'", archive.display());
        let packed = Command::new("sh").args(["-c", &pack]).current_dir(&self.root).output()?;
        if !packed.status.success() {
            bail!("cannot pack the initramfs: {}", String::from_utf8_lossy(&packed.stderr));
        }
        Ok(archive)
    }
}

/// What is booted.
pub struct Machine<'a> {
    /// Its console goes to `target/kernels/NAME.log`, so that it can be watched.
    pub name: &'a str,
    pub image: &'a Image,
    pub initramfs: &'a Path,
    pub disk: Option<&'a Path>,
    pub memory_mib: u32,
    /// An emulated machine's clock goes by the instructions that it ran, as if each took a nanosecond: a busy host makes it
    /// slow, and nothing in it late. It costs one of the host's processors.
    pub own_time: bool,
    /// After this it is ended, which is a failure.
    pub seconds_max: u32,
}

/// What became of it.
pub struct Boot {
    /// It said [`PASSED`] and powered itself off.
    pub passed: bool,
    pub output: String,
    pub seconds: f32,
    pub command: String,
}

impl Machine<'_> {
    pub fn boot(&self) -> Result<Boot> {
        let mut qemu = Command::new("timeout");
        qemu.args(["--kill-after=10", &self.seconds_max.to_string(), "nice", QEMU]);
        if lends_virtualisation() {
            qemu.args(["-accel", "kvm", "-cpu", "host"]);
        } else if self.own_time {
            qemu.args(["-accel", "tcg,thread=single", "-cpu", EMULATED, "-icount", "shift=0"]);
        } else {
            qemu.args(["-accel", "tcg,thread=multi", "-cpu", EMULATED]);
        }
        qemu.args(["-smp", "2", "-m", &self.memory_mib.to_string()]);
        qemu.args(["-nographic", "-no-reboot", "-nic", "none", "-kernel"]).arg(&self.image.kernel);
        qemu.arg("-initrd").arg(self.initramfs);
        if let Some(disk) = self.disk {
            // Thrown away afterwards: nothing has to outlive a crash of this host.
            qemu.args(["-drive", &format!("file={},format=raw,if=virtio,cache=unsafe", disk.display())]);
        }
        qemu.args(["-append", "console=ttyS0 quiet panic=-1 mitigations=off"]);
        let log = directory()?.join(format!("{}.log", self.name));
        let console = fs::File::create(&log)?;
        qemu.stdin(std::process::Stdio::null()).stdout(console.try_clone()?).stderr(console);
        let command = shell::words(&qemu);
        let start = Instant::now();
        let status = qemu.status().context("cannot start QEMU")?;
        let output = String::from_utf8_lossy(&fs::read(&log)?).replace('\r', "");
        let passed = status.success() && output.lines().any(|line| line == PASSED);
        Ok(Boot { passed, output, seconds: start.elapsed().as_secs_f32(), command })
    }
}

/// Whether the processor's own virtualisation can be had: the device alone does not say so, since a machine that is one
/// itself may offer it for guests that know of that.
fn lends_virtualisation() -> bool {
    let processor = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let able = processor
        .lines()
        .filter(|line| line.starts_with("flags"))
        .any(|line| line.split(' ').any(|flag| flag == "vmx" || flag == "svm"));
    able && fs::File::options().read(true).write(true).open("/dev/kvm").is_ok()
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

/// Where everything of these machines lies.
pub fn directory() -> Result<PathBuf> {
    let directory = workspace::target().join("kernels");
    fs::create_dir_all(&directory)?;
    Ok(directory)
}

/// Why none can be booted here; `None` where they can.
pub fn cannot_boot() -> Option<&'static str> {
    if !cfg!(target_arch = "x86_64") {
        Some("images are booted on x86_64 only")
    } else if !shell::has(QEMU) {
        Some("qemu-system-x86_64 is not installed: run `cargo xtask setup`")
    } else {
        None
    }
}

/// Machines that are made ready beside each other may want the same packages: one at a time.
static DOWNLOADS: Mutex<()> = Mutex::new(());

const QEMU: &str = "qemu-system-x86_64";

/// All that the emulator knows but `cmpxchg16b`: QEMU 7.2 leaves an operand of an earlier instruction in the flags
/// there. With the flag for nested tasks among them the next return from an interrupt is a double fault, now and then,
/// in the kernel's allocator, which does without the instruction where there is none.
const EMULATED: &str = "max,-cx16";

/// The last word of a machine whose tests passed.
pub const PASSED: &str = "guest: passed";

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
