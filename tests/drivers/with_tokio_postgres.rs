//! tokio-postgres and rust-postgres speak the protocol by code of their own: everything binary, everything pipelined.
//!
//! The connection is made inside the captured group and handed over, so that the driver itself can run here.

use anyhow::{Context, Result};
use futures_util::{SinkExt, StreamExt, TryStreamExt, future, pin_mut, stream};
use std::fmt::Write as _;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_postgres::types::{FromSql, Kind, ToSql, Type};
use tokio_postgres::{AsyncMessage, Client, Config, Error, NoTls, SimpleQueryMessage, error::DbError};

/// Makes one TCP connection to the server, in whatever way is being tested.
pub type Dial<'d> = &'d dyn Fn() -> Result<std::net::TcpStream>;

/// Any value as its bytes in binary format: what came over the wire.
struct Raw(Option<Vec<u8>>);

impl<'a> FromSql<'a> for Raw {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        Ok(Self(Some(raw.to_vec())))
    }

    fn from_sql_null(_: &Type) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        Ok(Self(None))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}

/// One client, and what the server says without being asked.
struct Session {
    client: Client,
    unasked: mpsc::UnboundedReceiver<String>,
    pid: i32,
}

pub fn transcript(dial: Dial<'_>, config: &Config) -> Result<String> {
    runtime()?.block_on(work(dial, config))
}

/// What an agent gets to see of a table with personal data.
pub fn masked(dial: Dial<'_>, config: &Config) -> Result<String> {
    runtime()?.block_on(async {
        let session = Session::open(dial, config).await?;
        let mut out = String::new();
        let rows = session
            .client
            .query(
                "SELECT id, name, email, phone, ssn, iban, birth_date::text, city FROM people ORDER BY id",
                &[],
            )
            .await?;
        for row in &rows {
            writeln!(
                out,
                "{} {:?}",
                row.get::<_, i32>(0),
                (1..8).map(|n| row.get::<_, String>(n)).collect::<Vec<_>>()
            )?;
        }
        simple(&mut out, &session.client, "SELECT name, email, birth_date FROM people ORDER BY id").await?;
        Ok(out)
    })
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?)
}

impl Session {
    async fn open(dial: Dial<'_>, config: &Config) -> Result<Self> {
        let stream = dial()?;
        stream.set_nonblocking(true)?;
        let (client, mut connection) = config.connect_raw(TcpStream::from_std(stream)?, NoTls).await?;
        let (tell, unasked) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Some(message) = future::poll_fn(|context| connection.poll_message(context)).await {
                let said = match message {
                    Ok(AsyncMessage::Notice(notice)) => format!("notice {}", fields(&notice)),
                    Ok(AsyncMessage::Notification(news)) => {
                        format!("news {} {:?}", news.channel(), news.payload())
                    }
                    Ok(other) => format!("{other:?}"),
                    Err(error) => format!("ended: {error}"),
                };
                tell.send(said).ok();
            }
        });
        let row = client.query_one("SELECT pg_backend_pid()", &[]).await?;
        Ok(Self { client, unasked, pid: row.get(0) })
    }
}

async fn work(dial: Dial<'_>, config: &Config) -> Result<String> {
    let mut out = String::new();
    let mut session = Session::open(dial, config).await?;
    let mut client = session.client;

    let typed = client.prepare("SELECT * FROM driver.typed ORDER BY id").await?;
    for column in typed.columns() {
        let custom =
            !matches!(column.type_().kind(), Kind::Simple | Kind::Pseudo) || column.type_().oid() >= 16384;
        let oid = if custom { 0 } else { column.type_().oid() };
        writeln!(out, "{} {} {oid}", column.name(), column.type_().name())?;
    }
    for row in client.query(&typed, &[]).await? {
        for (index, column) in row.columns().iter().enumerate() {
            // The bytes of a composite value name the types of its fields by numbers; those are built in.
            writeln!(out, "{} {:?}", column.name(), row.get::<_, Raw>(index).0)?;
        }
    }
    simple(&mut out, &client, "SELECT * FROM driver.typed ORDER BY id; SELECT 1; SELECT 1/0; SELECT 2")
        .await?;
    simple(&mut out, &client, "").await?;

    let values: [&(dyn ToSql + Sync); 7] =
        [&5_i32, &"ünïcödé ☃", &1.5_f64, &true, &None::<i64>, &vec![1_i32, 2], &b"\x00\xff".as_slice()];
    let kinds = ["int", "text", "float8", "bool", "bigint", "int[]", "bytea"];
    for (value, kind) in values.iter().zip(kinds) {
        let row = client.query_one(&format!("SELECT $1::{kind}"), &[*value]).await?;
        writeln!(out, "{kind} {:?}", row.get::<_, Raw>(0).0)?;
    }
    let twice = client.prepare("SELECT $1::int * 2").await?;
    let mut total = 0;
    for n in 0..200_i32 {
        total += client.query_one(&twice, &[&n]).await?.get::<_, i32>(0);
    }
    writeln!(out, "prepared {total}")?;

    for sql in ERRORS {
        attempt(&mut out, &client, sql).await?;
        simple(&mut out, &client, sql).await?;
    }
    attempt(&mut out, &client, "SELECT driver.says('bell')").await?;
    for _ in 0..2 {
        writeln!(out, "{}", session.unasked.recv().await.context("no notice")?)?;
    }

    let mut transaction = client.transaction().await?;
    transaction.execute("INSERT INTO driver.items VALUES (10, 'kept', 1)", &[]).await?;
    let nested = transaction.transaction().await?;
    let refused = nested.execute("INSERT INTO driver.items VALUES (10, 'dup', 1)", &[]).await;
    writeln!(out, "{}", refused.map_or_else(|error| failure(&error), |count| count.to_string()))?;
    nested.rollback().await?;
    let portal = transaction.bind("SELECT n FROM generate_series(1, 30) n", &[]).await?;
    loop {
        let some = transaction.query_portal(&portal, 7).await?;
        writeln!(out, "portal {:?}", some.iter().map(|row| row.get::<_, i32>(0)).collect::<Vec<_>>())?;
        if some.is_empty() {
            break;
        }
    }
    transaction.commit().await?;
    simple(&mut out, &client, "SELECT id, name, price FROM driver.items ORDER BY id").await?;

    // Forty requests are on their way before the first answer; one of them fails alone.
    let answers = future::join_all((0..40).map(|n| {
        let (client, twice) = (&client, &twice);
        async move {
            if n == 20 {
                client
                    .query("SELECT 1/0", &[])
                    .await
                    .map_err(|error| failure(&error))
                    .map(|rows| rows.len().to_string())
            } else {
                client
                    .query_one(twice, &[&n])
                    .await
                    .map_err(|error| failure(&error))
                    .map(|row| row.get::<_, i32>(0).to_string())
            }
        }
    }));
    writeln!(out, "pipelined {:?}", answers.await)?;

    let sink = client.copy_in("COPY driver.copied FROM STDIN").await?;
    pin_mut!(sink);
    let rows = (0..5000)
        .map(|n| Ok::<_, Error>(bytes::Bytes::from(format!("{n}\tnote {n}\t\\\\x{}\n", "00".repeat(n % 9)))));
    sink.send_all(&mut stream::iter(rows)).await?;
    writeln!(out, "copied {}", sink.finish().await?)?;
    let sink = client.copy_in("COPY driver.copied FROM STDIN").await?;
    pin_mut!(sink);
    sink.send(bytes::Bytes::from_static(b"not a number\n")).await?;
    writeln!(out, "{}", sink.finish().await.map_or_else(|error| failure(&error), |count| count.to_string()))?;
    for form in ["", " WITH (FORMAT csv)", " WITH (FORMAT binary)"] {
        let copy = client
            .copy_out(&format!("COPY (SELECT * FROM driver.copied ORDER BY id) TO STDOUT{form}"))
            .await?;
        let chunks: Vec<bytes::Bytes> = copy.try_collect().await?;
        writeln!(
            out,
            "copy out{form}: {} messages, {:?}",
            chunks.len(),
            chunks
                .iter()
                .flatten()
                .fold(7_u64, |sum, byte| { sum.wrapping_mul(1_099_511_628_211) ^ u64::from(*byte) })
        )?;
    }

    let other = Session::open(dial, config).await?;
    client.batch_execute("LISTEN driver_news").await?;
    other.client.batch_execute("NOTIFY driver_news, 'from another'").await?;
    writeln!(out, "{}", session.unasked.recv().await.context("no news")?)?;

    let (text, raw) = ("ü☃ab".repeat(262_144), vec![0x5a_u8; 1 << 20]);
    client.execute("INSERT INTO driver.large VALUES (1, $1, $2)", &[&text, &raw]).await?;
    let row = client.query_one("SELECT body, raw FROM driver.large", &[]).await?;
    writeln!(out, "large {} {}", row.get::<_, String>(0) == text, row.get::<_, Vec<u8>>(1) == raw)?;

    let cancel = client.cancel_token();
    let asleep = client.query("SELECT pg_sleep(600)", &[]);
    let wake = async {
        let active = "SELECT 1 FROM pg_stat_activity WHERE pid = $1 AND query LIKE '%pg_sleep(600)%' AND wait_event = 'PgSleep'";
        while other.client.query(active, &[&session.pid]).await?.is_empty() {}
        let stream = dial()?;
        stream.set_nonblocking(true)?;
        cancel.cancel_query_raw(TcpStream::from_std(stream)?, NoTls).await?;
        anyhow::Ok(())
    };
    let (asleep, woken) = future::join(asleep, wake).await;
    woken?;
    writeln!(out, "{}", asleep.map_or_else(|error| failure(&error), |rows| rows.len().to_string()))?;
    attempt(&mut out, &client, "SELECT 'goes on'").await?;
    Ok(out)
}

async fn attempt(out: &mut String, client: &Client, sql: &str) -> Result<()> {
    match client.query(sql, &[]).await {
        Ok(rows) => writeln!(out, "{} rows", rows.len())?,
        Err(error) => writeln!(out, "{}", failure(&error))?,
    }
    Ok(())
}

/// A simple query: text values, one result after the other.
async fn simple(out: &mut String, client: &Client, sql: &str) -> Result<()> {
    let answers = client.simple_query_raw(sql).await;
    let answers = match answers {
        Ok(answers) => answers,
        Err(error) => return Ok(writeln!(out, "{}", failure(&error))?),
    };
    pin_mut!(answers);
    while let Some(answer) = answers.next().await {
        match answer {
            Ok(SimpleQueryMessage::Row(row)) => {
                writeln!(out, "row {:?}", (0..row.len()).map(|n| row.get(n)).collect::<Vec<_>>())?;
            }
            Ok(SimpleQueryMessage::CommandComplete(count)) => writeln!(out, "complete {count}")?,
            Ok(SimpleQueryMessage::RowDescription(columns)) => {
                writeln!(
                    out,
                    "columns {:?}",
                    columns.iter().map(|column| column.name()).collect::<Vec<_>>()
                )?;
            }
            Ok(_) => writeln!(out, "something else")?,
            Err(error) => writeln!(out, "{}", failure(&error))?,
        }
    }
    Ok(())
}

fn failure(error: &Error) -> String {
    error.as_db_error().map_or_else(|| format!("error {error}"), |error| format!("error {}", fields(error)))
}

fn fields(error: &DbError) -> String {
    format!(
        "{} {:?} {:?} {:?} {:?} {:?} {:?} {:?} {:?} {:?} {:?}",
        error.severity(),
        error.code(),
        error.message(),
        error.detail(),
        error.hint(),
        error.position(),
        error.where_(),
        error.table(),
        error.column(),
        error.constraint(),
        error.routine(),
    )
}

const ERRORS: [&str; 9] = [
    "INSERT INTO driver.items VALUES (1, 'bolt', 2.5)",
    "INSERT INTO driver.items VALUES (1, 'again', 1)",
    "INSERT INTO driver.items VALUES (2, 'free', -1)",
    "SELECT * FROM driver.no_such_table",
    "SELECT missing FROM driver.items",
    "SELEC 1",
    "SELECT 'abc'::int",
    "SELECT driver.fails()",
    "SELECT 1/0",
];
