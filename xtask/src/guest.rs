//! `cargo xtask test guest` and `cargo xtask test crowd`: the installed service on a machine of its own.
//!
//! What a shared machine cannot show: the unit under a running systemd, limits of memory that end the agent, more
//! connections than a loopback address has ports. So a whole system boots in QEMU: a disk with the distribution's own
//! packages (systemd, PostgreSQL), unpacked and never configured, governor and its units installed as
//! `docs/OPERATING.md` says, and a unit that runs the tests (`tests/guest.rs`) and powers off.
//!
//! Nothing of the guest runs on this host, and no script of a package does.

use crate::qemu::{self, Initramfs, Machine, Promise};
use crate::tally::Tally;
use crate::{kernels, shell, workspace};
use anyhow::{Context, Result, bail};
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Which of the guest's tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The life of the service.
    Service,
    /// As many connections as it takes to need more than one address of everything.
    Crowd,
}

impl Part {
    /// As `cargo xtask test` knows it, and in the result line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Service => "guest",
            Self::Crowd => "crowd",
        }
    }

    /// The module of `tests/guest.rs`.
    fn module(self) -> &'static str {
        match self {
            Self::Service => "service::",
            Self::Crowd => "crowd::",
        }
    }

    fn memory_mib(self) -> u32 {
        match self {
            Self::Service => 2048,
            // Four sockets a connection, with what both ends keep.
            Self::Crowd => 6144,
        }
    }

    /// A limit, not a measure: emulation on a busy machine takes its time, and builds run beside it.
    fn seconds_max(self) -> u32 {
        match self {
            Self::Service => 3600,
            Self::Crowd => 7200,
        }
    }
}

/// Boots the machine with this agent in it and adds what its tests said.
pub fn run(tally: &mut Tally, part: Part, agent: &Path, tests: &Path) {
    let name = part.name();
    if !kernels::wanted(KERNEL.name) {
        return tally.skip(name, "its kernel is not among those that are asked for");
    }
    if let Some(reason) = qemu::cannot_boot() {
        return kernels::leave_out(tally, name, reason);
    }
    let image = match qemu::image(&KERNEL) {
        Ok(image) => image,
        Err(error) => return kernels::leave_out(tally, name, &format!("{error:#}")),
    };
    match boot(part, &image, agent, tests) {
        Ok(boot) => tally.report(name, boot.passed, &boot.output, boot.seconds, &boot.command),
        Err(error) => tally.check(name, Err(error)),
    }
}

fn boot(part: Part, image: &qemu::Image, agent: &Path, tests: &Path) -> Result<qemu::Boot> {
    let system = system()?;
    install(&system, part, agent, tests)?;
    let disk = qemu::directory()?.join("guest.disk");
    make_disk(&system, &disk)?;
    let first = Initramfs::new("guest-first", INIT, &["mount", "insmod", "stat", "chown", "switch_root"])?;
    fs::create_dir(first.root().join("system"))?;
    let machine = Machine {
        name: part.name(),
        image,
        initramfs: &first.pack(image, &MODULES)?,
        disk: Some(&disk),
        memory_mib: part.memory_mib(),
        // The service's own limits of time are the operator's: a watchdog, a heartbeat.
        own_time: true,
        seconds_max: part.seconds_max(),
    };
    let boot = machine.boot()?;
    fs::remove_file(&disk)?;
    Ok(boot)
}

/// The distribution's packages, unpacked once into a directory that looks like the root of a system.
fn system() -> Result<PathBuf> {
    let directory = qemu::directory()?.join("guest");
    let (root, whole) = (directory.join("root"), directory.join("packages"));
    let wanted = PACKAGES.join(" ");
    if fs::read_to_string(&whole).is_ok_and(|found| found == wanted) {
        return Ok(root);
    }
    if directory.exists() {
        fs::remove_dir_all(&directory)?;
    }
    let archives = directory.join("archives");
    fs::create_dir_all(archives.join("partial"))?;
    let status = directory.join("status");
    fs::write(&status, "")?;
    // As if nothing were installed: so that everything that these packages need comes with them.
    let mut download = Command::new("apt-get");
    download.args(["-q", "-y", "--no-install-recommends", "--download-only"]);
    for option in [
        format!("Dir::State::status={}", status.display()),
        format!("Dir::Cache::archives={}/", archives.display()),
        "Debug::NoLocking=1".into(),
    ] {
        download.args(["-o", &option]);
    }
    let done = download.arg("install").args(PACKAGES).output().context("cannot start apt-get")?;
    if !done.status.success() {
        let said = String::from_utf8_lossy(&done.stderr);
        bail!("cannot download {wanted} (apt-get update?): {}", said.trim());
    }
    // One tree, also where a package still has its files in both.
    for name in ["bin", "sbin", "lib", "lib64"] {
        fs::create_dir_all(root.join("usr").join(name))?;
        symlink(Path::new("usr").join(name), root.join(name))?;
    }
    for archive in fs::read_dir(&archives)?.flatten() {
        let name = archive.file_name().to_string_lossy().into_owned();
        if name.ends_with(".deb") && !LEFT_OUT.iter().any(|left_out| name.starts_with(left_out)) {
            unpack(&archive.path(), &root)?;
        }
    }
    fs::remove_dir_all(&archives)?;
    fs::write(whole, wanted)?;
    Ok(root)
}

fn unpack(archive: &Path, root: &Path) -> Result<()> {
    let mut files = Command::new("dpkg-deb")
        .arg("--fsys-tarfile")
        .arg(archive)
        .stdout(std::process::Stdio::piped())
        .spawn()
        .context("cannot start dpkg-deb")?;
    let stream = files.stdout.take().context("dpkg-deb has an output")?;
    let mut tar = Command::new("tar");
    tar.args(["--extract", "--keep-directory-symlink", "--no-same-owner", "--directory"]).arg(root);
    for pages in ["doc", "man", "locale", "info"] {
        tar.arg(format!("--exclude=./usr/share/{pages}"));
    }
    let unpacked = tar.stdin(stream).output()?;
    if !files.wait()?.success() || !unpacked.status.success() {
        bail!("cannot unpack {}: {}", archive.display(), String::from_utf8_lossy(&unpacked.stderr).trim());
    }
    Ok(())
}

/// What differs from a fresh installation: users, governor as an operator installs it, and the tests.
fn install(root: &Path, part: Part, agent: &Path, tests: &Path) -> Result<()> {
    let write = |path: &str, text: &str| -> Result<()> {
        let file = root.join(path);
        fs::create_dir_all(file.parent().context("a file lies in a directory")?)?;
        fs::write(&file, text).with_context(|| format!("writing {path} of the guest"))
    };
    write("etc/passwd", PASSWD)?;
    write("etc/group", GROUP)?;
    write("etc/hostname", "guest\n")?;
    // There is one already, so this is no first boot.
    write("etc/machine-id", "00000000000000000000000000000001\n")?;
    if !root.join("bin/sh").exists() {
        symlink("bash", root.join("bin/sh"))?;
    }
    let units = root.join("etc/systemd/system");
    fs::create_dir_all(units.join("multi-user.target.wants"))?;
    for name in UNITS {
        fs::copy(workspace::root().join("deploy").join(name), units.join(name))
            .with_context(|| format!("deploy/{name}"))?;
    }
    write("etc/systemd/system/guest-tests.service", TESTS_UNIT)?;
    let wants = units.join("multi-user.target.wants/guest-tests.service");
    if !wants.is_symlink() {
        symlink("../guest-tests.service", wants)?;
    }
    write("etc/guest-tests", &format!("TESTS={}\n", part.module()))?;
    for (program, name) in [(agent, "usr/bin/governor"), (tests, "usr/bin/guest-tests")] {
        let place = root.join(name);
        shell::run(Command::new("strip").arg("-o").arg(&place).arg(program))?;
        fs::set_permissions(place, fs::Permissions::from_mode(0o755))?;
    }
    Ok(())
}

/// A sparse file with the system as its file system.
fn make_disk(root: &Path, disk: &Path) -> Result<()> {
    let program = shell::find("mke2fs").context("mke2fs is not installed: run `cargo xtask setup`")?;
    if disk.exists() {
        fs::remove_file(disk)?;
    }
    fs::File::create(disk)?.set_len(DISK_BYTES)?;
    let made = Command::new(program).args(["-q", "-t", "ext4", "-d"]).arg(root).arg(disk).output()?;
    if !made.status.success() {
        bail!("cannot make the guest's disk: {}", String::from_utf8_lossy(&made.stderr).trim());
    }
    Ok(())
}

/// The one of the current Debian.
const KERNEL: Promise = Promise { name: "6.12", package: "linux-image-6.12." };

/// What a host of governor's has, and what the tests start.
const PACKAGES: [&str; 10] = [
    "systemd-sysv",
    "systemd",
    "postgresql",
    "dash",
    "bash",
    "coreutils",
    "util-linux",
    "mount",
    "procps",
    "grep",
];

/// Only for compiling queries, and most of the room.
const LEFT_OUT: [&str; 2] = ["libllvm", "libz3"];

/// The disk, and for the listing of sockets.
const MODULES: [&str; 5] = [
    "drivers/block/virtio_blk",
    "net/ipv4/inet_diag",
    "net/ipv4/tcp_diag",
    "net/unix/unix_diag",
    "drivers/net/veth",
];

/// What `docs/OPERATING.md` installs.
const UNITS: [&str; 2] = ["governor.service", "var-lib-governor-pins.mount"];

const DISK_BYTES: u64 = 6 << 30;

/// Files of the disk belong to whoever made them; on the guest they are root's.
const INIT: &str = "#!/bin/sh
mount -t devtmpfs dev /dev
mount -t proc proc /proc
for module in /modules/*.ko; do insmod $module; done
mount -t ext4 /dev/vda /system
[ $(stat -c %u /system/usr) = 0 ] || chown -R 0:0 /system
mount --move /dev /system/dev
mount --move /proc /system/proc
exec switch_root /system /sbin/init
";

const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh
nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin
postgres:x:990:990:PostgreSQL:/var/lib/postgresql:/bin/sh
";

const GROUP: &str = "root:x:0:\nnogroup:x:65534:\npostgres:x:990:\n";

/// Its output is the console's, which is what the host reads.
const TESTS_UNIT: &str = "[Unit]
Description=Tests of the installed service
After=basic.target

[Service]
Type=oneshot
EnvironmentFile=/etc/guest-tests
Environment=GOVERNOR_GUEST=1 GOVERNOR_BIN=/usr/bin/governor RUST_BACKTRACE=1 CI=1 HOME=/root
LimitNOFILE=1048576
TimeoutStartSec=infinity
StandardOutput=tty
StandardError=tty
TTYPath=/dev/ttyS0
ExecStart=/bin/sh -c '/usr/bin/guest-tests --test-threads=1 --nocapture $TESTS && echo guest: passed'
ExecStopPost=/bin/systemctl poweroff --force --force
";
