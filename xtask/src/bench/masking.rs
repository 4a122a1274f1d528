//! `cargo xtask bench masking`: how fast rows are masked, in the engine alone and through a running governor.
//!
//! Through governor: one client, one table of eight columns of which two are masked for people and not for services, so that the same rows
//! take the same way and differ in the masking alone; and the time to the first row of ten rows and of all of them, which must
//! not differ, since a row leaves before the next one comes. Rounds are interleaved; medians are printed.

use crate::{compile, root, setup, shell};
use anyhow::{Result, bail};
use governor_tests::postgres::{Auth, Postgres};
use governor_tests::remote_socket::RemoteSocket;
use governor_tests::wire::{self, Wire};
use governor_tests::{Cgroup, Class, Governor, Options as GovernorOptions, process};
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Rounds; the median of all is printed
    #[arg(long, default_value_t = 5)]
    rounds: u32,
    /// Rows of the big result
    #[arg(long, default_value_t = 1_000_000)]
    rows: u32,
    /// Only the engine by itself: no server, no root
    #[arg(long)]
    engine_only: bool,
    /// Only through governor
    #[arg(long, conflicts_with = "engine_only")]
    governor_only: bool,
    /// Measure the binary named in GOVERNOR_BIN instead of building one
    #[arg(long)]
    no_build: bool,
}

pub fn run(options: &Options) -> Result<()> {
    if !options.governor_only {
        shell::run(&mut shell::engine_bench("masking"))?;
    }
    if options.engine_only {
        return Ok(());
    }
    if !options.no_build {
        setup::run(&setup::Options::for_building())?;
        let binary = compile::governor(true)?;
        // SAFETY: no other thread runs yet, so nobody reads the environment at the same time.
        unsafe { std::env::set_var("GOVERNOR_BIN", binary) };
    }
    root::ensure("attaching kernel programs to the bench's cgroup")?;
    let postgres = Postgres::start_with(Auth::Trust, &["shared_buffers=512MB", "max_wal_size=4GB"])?;
    postgres.admin("shop", &table(options.rows))?;
    let group = Cgroup::create("governor-bench")?;
    let governor = Governor::start(&group, postgres.port(), &GovernorOptions::default())?;
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, postgres.port()));
    let mut ways = [
        Way {
            name: "direct",
            client: Client::direct(address)?,
            bytes: vec![],
            cpu_us: vec![],
            few: vec![],
            all: vec![],
        },
        Way::through(&group, address, "unmasked", Class::Service)?,
        Way::through(&group, address, "two masked", Class::Person)?,
    ];
    for round in 1..=options.rounds {
        for way in &mut ways {
            way.measure(&governor)?;
        }
        eprintln!("round {round}/{}", options.rounds);
    }
    report(&ways, options.rows);
    Ok(())
}

fn report(ways: &[Way], rows: u32) {
    println!(
        "\n{rows} rows of eight columns through governor; two of them masked for people, none for services"
    );
    println!(
        "  {:12} {:>8} {:>22} {:>22} {:>22}",
        "", "MB/s", "governor's CPU, ns/row", "first of 10 rows, µs", "first of all, µs"
    );
    for way in ways {
        println!(
            "  {:12} {:>8.0} {:>22.0} {:>22.0} {:>22.0}",
            way.name,
            median(&way.bytes),
            median(&way.cpu_us) * 1e3 / f64::from(rows),
            median(&way.few),
            median(&way.all)
        );
    }
    if let [direct, plain, masked] = ways {
        let of = |a: &Way, b: &Way| {
            let ratios: Vec<f64> = a.bytes.iter().zip(&b.bytes).map(|(a, b)| a / b).collect();
            median(&ratios)
        };
        println!(
            "  masked beside unmasked {:.2}, beside direct {:.2} (of the same round)",
            of(masked, plain),
            of(masked, direct)
        );
    }
}

/// One way to the server, and what was measured on it.
struct Way {
    name: &'static str,
    client: Client,
    /// Megabytes a second.
    bytes: Vec<f64>,
    /// Microseconds of governor's CPU for the big result.
    cpu_us: Vec<f64>,
    /// Microseconds to the first row of ten.
    few: Vec<f64>,
    /// Microseconds to the first row of all.
    all: Vec<f64>,
}

impl Way {
    fn through(group: &Cgroup, address: SocketAddr, name: &'static str, class: Class) -> Result<Self> {
        let mut wire = Wire::new(RemoteSocket::connect(&group.client(class), address)?)?;
        wire.start("app", "shop")?;
        let client = Client { stream: wire.sender()?, _wire: Some(wire) };
        Ok(Self { name, client, bytes: vec![], cpu_us: vec![], few: vec![], all: vec![] })
    }

    fn measure(&mut self, governor: &Governor) -> Result<()> {
        // Small results first and several times: a single one says little.
        let few: Vec<f64> = (0..FEW_RUNS)
            .map(|_| Ok(self.client.query(&format!("{SELECT} LIMIT 10"))?.first_row.as_secs_f64() * 1e6))
            .collect::<Result<_>>()?;
        self.few.push(median(&few));
        let cpu = || governor.pid().map(process::cpu_us).transpose().map(Option::unwrap_or_default);
        let before = cpu()?;
        let all = self.client.query(SELECT)?;
        self.cpu_us.push((cpu()? - before) as f64);
        self.all.push(all.first_row.as_secs_f64() * 1e6);
        self.bytes.push(all.bytes as f64 / 1e6 / all.whole.as_secs_f64());
        Ok(())
    }
}

/// Reads as fast as it can and keeps nothing.
struct Client {
    stream: TcpStream,
    _wire: Option<Wire>,
}

struct Answer {
    first_row: Duration,
    whole: Duration,
    bytes: usize,
}

impl Client {
    fn direct(address: SocketAddr) -> Result<Self> {
        let mut client = Self { stream: TcpStream::connect(address)?, _wire: None };
        client.ask(&wire::startup("app", "shop"))?;
        Ok(client)
    }

    fn query(&mut self, sql: &str) -> Result<Answer> {
        self.ask(&wire::query(sql))
    }

    /// Sends, and reads up to ReadyForQuery.
    fn ask(&mut self, message: &[u8]) -> Result<Answer> {
        let start = Instant::now();
        self.stream.write_all(message)?;
        let mut buffer = vec![0; READ_BYTES];
        let (mut held, mut bytes, mut first_row) = (0, 0, None);
        loop {
            let more = self.stream.read(buffer.get_mut(held..).unwrap_or_default())?;
            if more == 0 {
                bail!("the connection ended");
            }
            bytes += more;
            held += more;
            let mut at = 0;
            while let Some([tag, length @ ..]) = buffer.get(at..held).and_then(|rest| rest.first_chunk::<5>())
            {
                let end = at + 1 + u32::from_be_bytes(*length) as usize;
                if *tag == b'D' {
                    // Its first bytes are here.
                    first_row.get_or_insert_with(|| start.elapsed());
                }
                let Some(body) = buffer.get(at + 5..end).filter(|_| end <= held) else { break };
                match tag {
                    b'E' => bail!("the server says {:?}", String::from_utf8_lossy(body)),
                    b'Z' => {
                        let whole = start.elapsed();
                        return Ok(Answer { first_row: first_row.unwrap_or(whole), whole, bytes });
                    }
                    _ => at = end,
                }
            }
            buffer.copy_within(at..held, 0);
            held -= at;
            if held == buffer.len() {
                bail!("a message is longer than {READ_BYTES} bytes");
            }
        }
    }
}

fn table(rows: u32) -> String {
    format!(
        "CREATE UNLOGGED TABLE clients AS SELECT n AS id,
            (ARRAY['Laura','Amir','Chen','Diego','Elif'])[1 + n % 5] || ' ' || (ARRAY['Martin','Silva','Novak','Weber'])[1 + n % 4] AS full_name,
            'client' || n || '@example.com' AS email,
            timestamptz '2025-01-01' + n * interval '1 second' AS placed,
            (ARRAY['open','shipped','refunded'])[1 + n % 3] AS status,
            round(n * 1.17, 2) AS total,
            (ARRAY['Lisbon','Accra','Osaka','Denver'])[1 + n % 4] AS town,
            'second delivery, call the shop first' AS remark
         FROM generate_series(1, {rows}) n;
         GRANT SELECT ON clients TO app; VACUUM ANALYZE clients;"
    )
}

/// The middle one; of an even number the lower of the two.
fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len().saturating_sub(1) / 2).copied().unwrap_or(f64::NAN)
}

const SELECT: &str = "SELECT * FROM clients";
const FEW_RUNS: usize = 20;
const READ_BYTES: usize = 256 * 1024;
