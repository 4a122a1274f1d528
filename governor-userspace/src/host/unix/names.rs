//! Servers' sockets that have a name and no path, which nothing can take over: `@shop/.s.PGSQL.5432`.
//!
//! Source: unix(7) and proc_pid_net(5). An abstract name belongs to its network namespace; this is of the caller's.

/// Abstract names at which a PostgreSQL server listens, each once.
pub fn abstract_servers() -> std::io::Result<Vec<String>> {
    Ok(of_table(&std::fs::read_to_string("/proc/thread-self/net/unix")?))
}

fn of_table(table: &str) -> Vec<String> {
    let mut found: Vec<String> = table
        .lines()
        .filter_map(|line| {
            let mut fields = line.split_ascii_whitespace();
            let (flags, name) = (fields.nth(3)?, fields.nth(3)?);
            let is_abstract = name.starts_with('@') && name.contains(SERVER_NAME);
            (u32::from_str_radix(flags, 16).ok()? & LISTENS != 0 && is_abstract).then(|| name.to_owned())
        })
        .collect();
    found.sort();
    found.dedup();
    found
}

/// What PostgreSQL calls its sockets, in whatever directory or name space.
const SERVER_NAME: &str = "/.s.PGSQL.";
/// `__SO_ACCEPTCON` of linux/net.h.
const LISTENS: u32 = 1 << 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listening_servers_without_a_path_are_found_and_nothing_else() {
        let table = "Num       RefCount Protocol Flags    Type St Inode Path\n\
            0000000000000000: 00000002 00000000 00010000 0001 01 11 @shop/.s.PGSQL.5432\n\
            0000000000000000: 00000003 00000000 00000000 0001 03 12 @shop/.s.PGSQL.5432\n\
            0000000000000000: 00000002 00000000 00010000 0001 01 13 /run/postgresql/.s.PGSQL.5432\n\
            0000000000000000: 00000002 00000000 00010000 0001 01 14 @/tmp/.X11-unix/X0\n\
            0000000000000000: 00000002 00000000 00010000 0001 01 15\n";
        assert_eq!(of_table(table), ["@shop/.s.PGSQL.5432"]);
    }
}
