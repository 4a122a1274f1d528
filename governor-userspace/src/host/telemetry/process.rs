//! The agent's own process, as the kernel accounts it.
//!
//! Source: proc(5): `/proc/self/stat`, `/proc/self/limits`, `/proc/stat`.

use std::fs;

/// One reading of the agent's process. Everything that could not be read is 0.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct ProcessUsage {
    pub cpu_s: f64,
    pub resident_bytes: i64,
    pub virtual_bytes: i64,
    pub threads: i64,
    pub open_fds: i64,
    pub max_fds: i64,
    /// Seconds since the Unix epoch.
    pub start_s: f64,
}

impl ProcessUsage {
    pub(super) fn read() -> Self {
        let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
        let boot_s = fs::read_to_string("/proc/stat").ok().and_then(|text| boot_time_s(&text)).unwrap_or(0);
        let mut usage = parse_stat(&stat, ticks_per_second(), page_bytes(), boot_s).unwrap_or_default();
        usage.open_fds = fs::read_dir("/proc/self/fd").map_or(0, |entries| entries.count() as i64);
        usage.max_fds =
            fs::read_to_string("/proc/self/limits").ok().and_then(|text| open_files_max(&text)).unwrap_or(0);
        usage
    }
}

fn parse_stat(stat: &str, ticks: f64, page_bytes: i64, boot_s: u64) -> Option<ProcessUsage> {
    // The command (field 2) may hold spaces and parentheses: fields count from its last one.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let number = |field: usize| fields.get(field - 3)?.parse::<i64>().ok();
    Some(ProcessUsage {
        cpu_s: (number(14)? + number(15)?) as f64 / ticks,
        threads: number(20)?,
        start_s: boot_s as f64 + number(22)? as f64 / ticks,
        virtual_bytes: number(23)?,
        resident_bytes: number(24)?.saturating_mul(page_bytes),
        ..ProcessUsage::default()
    })
}

fn boot_time_s(stat: &str) -> Option<u64> {
    stat.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
}

fn open_files_max(limits: &str) -> Option<i64> {
    limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"))?
        .split_whitespace()
        .next()?
        .parse()
        .ok()
}

fn ticks_per_second() -> f64 {
    sysconf(nix::unistd::SysconfVar::CLK_TCK).map_or(100.0, |ticks| ticks as f64)
}

fn page_bytes() -> i64 {
    sysconf(nix::unistd::SysconfVar::PAGE_SIZE).unwrap_or(4096)
}

fn sysconf(name: nix::unistd::SysconfVar) -> Option<i64> {
    nix::unistd::sysconf(name).ok().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_this_process() {
        let usage = ProcessUsage::read();
        assert!(usage.resident_bytes > 100_000 && usage.virtual_bytes >= usage.resident_bytes);
        assert!(usage.threads >= 1 && usage.open_fds >= 3 && usage.max_fds >= usage.open_fds);
        assert!(usage.start_s > 1_600_000_000.0);
    }

    #[test]
    fn a_command_with_parentheses_moves_no_field() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 0 0 0 0 0 150 50 0 0 20 0 3 0 1000 4096 2 0";
        let usage = parse_stat(stat, 100.0, 4096, 1_000).unwrap();
        assert_eq!((usage.cpu_s, usage.threads, usage.start_s), (2.0, 3, 1_010.0));
        assert_eq!((usage.virtual_bytes, usage.resident_bytes), (4096, 8192));
        assert_eq!(parse_stat("7 (a) S 1", 100.0, 4096, 0), None);
    }
}
