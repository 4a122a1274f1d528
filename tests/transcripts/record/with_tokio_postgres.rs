//! Recorded with tokio-postgres: a protocol implementation of its own; everything binary and pipelined.

use anyhow::{Context, Result};
use futures_util::{SinkExt, StreamExt, TryStreamExt, future, pin_mut, stream};
use tokio_postgres::{Config, NoTls};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let from = |name: &str| std::env::var(name).with_context(|| format!("{name} is not set"));
    let mut config = Config::new();
    config.host(from("PGHOST")?).port(from("PGPORT")?.parse()?).dbname(from("PGDATABASE")?);
    config.user(from("PGUSER")?).password(from("PGPASSWORD")?);
    let (mut client, connection) = config.connect(NoTls).await?;
    let served = tokio::spawn(connection);
    let code = |error: &tokio_postgres::Error| error.code().map_or("-".into(), |code| code.code().to_owned());
    for row in client.query("SELECT id, email FROM people WHERE id < $1 ORDER BY id", &[&9]).await? {
        println!("{} {}", row.get::<_, i32>(0), row.get::<_, &str>(1));
    }
    println!("{}", client.simple_query("SELECT 1; SELECT 2").await?.len());
    let sum = client.prepare("SELECT $1::int + $2").await?;
    let (a, b, wrong) = future::join3(
        client.query_one(&sum, &[&1, &2]),
        client.query_one(&sum, &[&3, &4]),
        client.query_one("SELECT 1/$1::int", &[&0]),
    )
    .await;
    println!(
        "{} {} {}",
        a?.get::<_, i32>(0),
        b?.get::<_, i32>(0),
        wrong.err().as_ref().map_or("none".into(), code)
    );
    let begun = client.transaction().await?;
    begun.execute("INSERT INTO notes VALUES ($1, $2)", &[&6, &"tokio"]).await?;
    let portal = begun.bind("SELECT n FROM generate_series(1, 5) AS n", &[]).await?;
    println!(
        "{} {}",
        begun.query_portal(&portal, 2).await?.len(),
        begun.query_portal(&portal, 9).await?.len()
    );
    if let Err(error) = begun.execute("SELECT * FROM no_such_table", &[]).await {
        println!("{}", code(&error));
    }
    begun.rollback().await?;
    for lines in ["1\tone\n2\ttwo\n", "wrong\tx\n"] {
        let sink = client.copy_in("COPY notes FROM STDIN").await?;
        pin_mut!(sink);
        let mut rows = stream::iter([Ok::<_, tokio_postgres::Error>(bytes::Bytes::from(lines))]);
        let sent = sink.send_all(&mut rows).await;
        match sent.and(sink.finish().await) {
            Ok(rows) => println!("{rows}"),
            Err(error) => println!("{}", code(&error)),
        }
    }
    let rows = client.copy_out("COPY (SELECT n FROM generate_series(1, 3) AS n) TO STDOUT").await?;
    println!("{}", rows.map(|part| part.map(|part| part.len())).try_collect::<Vec<_>>().await?.len());
    drop(sum);
    drop(client);
    served.await??;
    Ok(())
}
