//! Where a PostgreSQL server on this host keeps its certificate and key: found from its listening socket, its
//! process, and its own configuration.
//!
//! Source: PostgreSQL's documentation, "Setting Parameters" (which file wins) and "Connection Settings, SSL".

use super::files::read;
use crate::engine::model::Endpoint;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};

/// Certificate and key of the server that listens at `destination`. `None` where that is no PostgreSQL of this
/// host, or its files cannot be found. Reads `/proc`, so it may take milliseconds. The network namespace is the
/// calling thread's.
pub(super) fn server_key(destination: &Endpoint) -> Option<(PathBuf, PathBuf)> {
    if !is_local(destination.address) {
        return None;
    }
    let inodes = listening(destination);
    let process = processes().find(|process| holds(process, &inodes) && is_postmaster(process))?;
    let settings = settings(&process)?;
    let file = |name: &str, default: &str| {
        let written = settings.get(name).map_or(default, String::as_str);
        in_root_of(&process, &process.join("cwd"), Path::new(written))
    };
    Some((file("ssl_cert_file", "server.crt"), file("ssl_key_file", "server.key")))
}

/// Loopback, or an address of this host.
fn is_local(address: IpAddr) -> bool {
    let own = || {
        let interfaces = nix::ifaddrs::getifaddrs().ok()?;
        interfaces.filter_map(|interface| interface.address).find_map(|found| {
            let found = match (found.as_sockaddr_in(), found.as_sockaddr_in6()) {
                (Some(v4), _) => IpAddr::V4(v4.ip()),
                (_, Some(v6)) => IpAddr::V6(v6.ip()),
                _ => return None,
            };
            (found == address).then_some(())
        })
    };
    address.is_loopback() || own().is_some()
}

/// Inodes of the sockets that listen at this endpoint, or at its port of every address.
fn listening(destination: &Endpoint) -> Vec<String> {
    let mut inodes = Vec::new();
    for table in ["/proc/thread-self/net/tcp", "/proc/thread-self/net/tcp6"] {
        let text = read_text(Path::new(table)).unwrap_or_default();
        for line in text.lines().skip(1) {
            let fields: Vec<&str> = line.split_ascii_whitespace().collect();
            let (Some(local), Some(&"0A"), Some(inode)) = (fields.get(1), fields.get(3), fields.get(9))
            else {
                continue;
            };
            let fits = endpoint(local).is_some_and(|(address, port)| {
                port == destination.port
                    && (address.is_unspecified() || address.to_canonical() == destination.address)
            });
            if fits {
                inodes.push(format!("socket:[{inode}]"));
            }
        }
    }
    inodes
}

/// `0100007F:1538` as in `/proc/net/tcp`: words of the address in host order, port in hexadecimal.
fn endpoint(text: &str) -> Option<(IpAddr, u16)> {
    let (address, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let bytes = hex::decode(address).ok()?;
    let words: Vec<u8> = bytes
        .chunks_exact(4)
        .flat_map(|word| {
            let word: [u8; 4] = word.try_into().unwrap_or_default();
            u32::from_be_bytes(word).to_ne_bytes()
        })
        .collect();
    let address = match words.len() {
        4 => IpAddr::V4(Ipv4Addr::from(<[u8; 4]>::try_from(words).ok()?)),
        16 => IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(words).ok()?)),
        _ => return None,
    };
    Some((address, port))
}

/// `/proc/PID` of every process.
fn processes() -> impl Iterator<Item = PathBuf> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter(|entry| {
            entry.file_name().to_str().is_some_and(|name| name.bytes().all(|b| b.is_ascii_digit()))
        })
        .map(|entry| entry.path())
}

fn holds(process: &Path, inodes: &[String]) -> bool {
    let descriptors = std::fs::read_dir(process.join("fd")).into_iter().flatten().flatten();
    descriptors
        .filter_map(|descriptor| std::fs::read_link(descriptor.path()).ok())
        .any(|target| target.to_str().is_some_and(|target| inodes.iter().any(|inode| inode == target)))
}

/// PostgreSQL works in its data directory.
fn is_postmaster(process: &Path) -> bool {
    process.join("cwd/PG_VERSION").is_file()
}

/// The server's settings, as far as they are about files: the main file with what it includes, then
/// `postgresql.auto.conf`, then the command line; later ones win.
fn settings(process: &Path) -> Option<HashMap<String, String>> {
    let arguments = arguments(process);
    let data = process.join("cwd");
    let main = match arguments.iter().rev().find(|(name, _)| name == "config_file") {
        Some((_, path)) => in_root_of(process, &data, Path::new(path)),
        None => data.join("postgresql.conf"),
    };
    let mut settings = HashMap::new();
    let mut files_left = FILES_MAX;
    read_settings(process, &main, &mut settings, &mut files_left)?;
    read_settings(process, &data.join("postgresql.auto.conf"), &mut settings, &mut files_left);
    settings.extend(arguments);
    Some(settings)
}

/// `-c name=value` and `--name=value` of its command line.
fn arguments(process: &Path) -> Vec<(String, String)> {
    let text = read_text(&process.join("cmdline")).unwrap_or_default();
    let mut words = text.split('\0');
    let mut found = Vec::new();
    while let Some(word) = words.next() {
        let setting = match word.strip_prefix("-c") {
            Some("") => words.next(),
            Some(setting) => Some(setting),
            None => word.strip_prefix("--"),
        };
        if let Some((name, value)) = setting.and_then(|setting| setting.split_once('=')) {
            found.push((name.replace('-', "_").to_ascii_lowercase(), value.to_owned()));
        }
    }
    found
}

/// Adds the settings of one file and of those that it includes.
fn read_settings(
    process: &Path,
    path: &Path,
    settings: &mut HashMap<String, String>,
    files_left: &mut u32,
) -> Option<()> {
    *files_left = files_left.checked_sub(1)?;
    let text = read_text(path)?;
    let beside = path.parent().unwrap_or(Path::new("/")).to_owned();
    for (name, value) in text.lines().filter_map(setting) {
        let target = in_root_of(process, &beside, Path::new(&value));
        match name.as_str() {
            "include" | "include_if_exists" => {
                read_settings(process, &target, settings, files_left);
            }
            "include_dir" if *files_left > 0 => {
                *files_left -= 1;
                let entries = std::fs::read_dir(&target).into_iter().flatten().flatten();
                let mut files: Vec<PathBuf> = entries
                    .take(DIRECTORY_COUNT_MAX)
                    .map(|entry| entry.path())
                    .filter(|file| file.extension().is_some_and(|extension| extension == "conf"))
                    .collect();
                files.sort();
                for file in files {
                    read_settings(process, &file, settings, files_left);
                }
            }
            _ => {
                settings.insert(name, value);
            }
        }
    }
    Some(())
}

/// `name = 'value' # comment`; the equals sign and the quotes may be left out.
fn setting(line: &str) -> Option<(String, String)> {
    let line = line.trim_start();
    let end = line.find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '_' | '.')))?;
    let (name, rest) = line.split_at_checked(end)?;
    if name.is_empty() {
        return None;
    }
    let rest = rest.trim_start().strip_prefix('=').unwrap_or(rest).trim_start();
    let value = match rest.strip_prefix('\'') {
        Some(quoted) => {
            let mut value = String::new();
            let mut chars = quoted.chars().peekable();
            while let Some(c) = chars.next() {
                match c {
                    '\'' if chars.peek() == Some(&'\'') => value.extend(chars.next()),
                    '\'' => break,
                    '\\' => value.extend(chars.next()),
                    c => value.push(c),
                }
            }
            value
        }
        None => rest.split(|c: char| c == '#' || c.is_whitespace()).next().unwrap_or_default().to_owned(),
    };
    Some((name.to_ascii_lowercase(), value))
}

/// A path as the process sees it: absolute ones begin at its own root, which may be a container's.
fn in_root_of(process: &Path, base: &Path, path: &Path) -> PathBuf {
    match path.strip_prefix("/") {
        Ok(below) => process.join("root").join(below),
        Err(_) => base.join(path),
    }
}

fn read_text(path: &Path) -> Option<String> {
    let bytes = read(path, TEXT_BYTES_MAX).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// Of all configuration files together.
const FILES_MAX: u32 = 64;
/// Of one directory that is included.
const DIRECTORY_COUNT_MAX: usize = 1024;
/// Of one file; `/proc/net/tcp` has 150 bytes for each socket.
const TEXT_BYTES_MAX: u64 = 16 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_read_as_the_server_reads_them() {
        let of = |line| setting(line).map(|(_, value)| value);
        assert_eq!(of("ssl_cert_file = '/etc/ssl/a''b.pem' # here").as_deref(), Some("/etc/ssl/a'b.pem"));
        assert_eq!(of("  ssl_cert_file=server.crt#x").as_deref(), Some("server.crt"));
        assert_eq!(of("SSL_Cert_File 'server.crt'").as_deref(), Some("server.crt"));
        assert_eq!(setting("SSL_Cert_File 'x'").unwrap().0, "ssl_cert_file");
        assert_eq!((setting("# ssl = on"), setting("")), (None, None));
    }

    #[test]
    fn includes_come_in_order_and_end() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        std::fs::create_dir(at("conf.d")).unwrap();
        std::fs::write(at("conf.d/1.conf"), "ssl_key_file = 'one'\n").unwrap();
        std::fs::write(at("conf.d/2.conf"), "ssl_key_file = 'two'\n").unwrap();
        let read = |text: &str| {
            std::fs::write(at("main.conf"), text).unwrap();
            let (mut settings, mut files) = (HashMap::new(), FILES_MAX);
            read_settings(Path::new("/proc/self"), &at("main.conf"), &mut settings, &mut files);
            (settings.remove("ssl_key_file").unwrap_or_default(), files)
        };
        assert_eq!(read("ssl_key_file = 'main'\ninclude_dir = 'conf.d'\n").0, "two", "the last one wins");
        assert_eq!(read("include_dir = 'conf.d'\nssl_key_file = 'main'\n").0, "main");
        assert_eq!(read("include 'main.conf'\n").1, 0, "a file that includes itself ends");
        assert_eq!(read(&"include_dir = 'conf.d'\n".repeat(100)).1, 0);
    }

    #[test]
    fn a_configuration_that_is_no_file_makes_nobody_wait() {
        let dir = tempfile::tempdir().unwrap();
        let pipe = dir.path().join("postgresql.conf");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert_eq!(read_text(&pipe), None);
        assert_eq!(read_text(Path::new("/dev/zero")), None);
    }

    #[test]
    fn endpoints_of_the_kernel_are_understood() {
        assert_eq!(endpoint("0100007F:1538"), Some(([127, 0, 0, 1].into(), 5432)));
        assert_eq!(
            endpoint("00000000000000000000000001000000:1538"),
            Some((IpAddr::V6(Ipv6Addr::LOCALHOST), 5432))
        );
        assert_eq!(endpoint("01:1538"), None);
    }

    #[test]
    fn a_listener_is_found_by_its_endpoint() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let local = listener.local_addr().unwrap();
        let inodes = listening(&Endpoint::tcp(local.ip(), local.port()));
        assert!(holds(Path::new("/proc/self"), &inodes));
        assert!(!is_postmaster(Path::new("/proc/self")));
        assert!(!is_local([192, 0, 2, 1].into()));
    }
}
