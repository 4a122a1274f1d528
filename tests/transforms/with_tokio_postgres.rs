//! tokio-postgres: every value of a table, decoded from binary by the driver's own types, and by its description of a type
//! where it has none: the parts of composites, elements, labels of enums.

use anyhow::{Result, ensure};
use std::collections::HashMap;
use std::error::Error;
use std::net::{IpAddr, TcpStream};
use std::time::SystemTime;
use tokio_postgres::types::{Field, FromSql, Kind, Type};
use tokio_postgres::{Config, NoTls};

type Decoded = Result<Shown, Box<dyn Error + Sync + Send>>;

/// A value as it reads once it is decoded.
struct Shown(String);

impl<'a> FromSql<'a> for Shown {
    fn from_sql(kind: &Type, raw: &'a [u8]) -> Decoded {
        match kind.kind() {
            Kind::Domain(base) => return Self::from_sql(base, raw),
            // The driver's own lists have one dimension.
            Kind::Array(_) if raw.first_chunk() <= Some(&ONE_DIMENSION) => {
                let elements = Vec::<Option<Self>>::from_sql(kind, raw)?;
                let shown: Vec<_> =
                    elements.into_iter().map(|one| one.map_or("NULL".into(), |one| one.0)).collect();
                return Ok(Self(format!("{shown:?}")));
            }
            Kind::Composite(fields) => return Self::of_fields(fields, raw),
            Kind::Enum(labels) => {
                let label = std::str::from_utf8(raw)?;
                if !labels.iter().any(|known| known == label) {
                    return Err(format!("{label} is none of {labels:?}").into());
                }
                return Ok(Self(label.into()));
            }
            _ => {}
        }
        Ok(Self(match *kind {
            Type::BOOL => bool::from_sql(kind, raw)?.to_string(),
            Type::CHAR => i8::from_sql(kind, raw)?.to_string(),
            Type::INT2 => i16::from_sql(kind, raw)?.to_string(),
            Type::INT4 => i32::from_sql(kind, raw)?.to_string(),
            Type::INT8 => i64::from_sql(kind, raw)?.to_string(),
            Type::OID => u32::from_sql(kind, raw)?.to_string(),
            Type::FLOAT4 => f32::from_sql(kind, raw)?.to_string(),
            Type::FLOAT8 => f64::from_sql(kind, raw)?.to_string(),
            Type::TIMESTAMP | Type::TIMESTAMPTZ => format!("{:?}", SystemTime::from_sql(kind, raw)?),
            Type::INET => IpAddr::from_sql(kind, raw)?.to_string(),
            Type::XML | Type::JSON | Type::REFCURSOR => std::str::from_utf8(raw)?.to_owned(),
            Type::JSONB => match raw.split_first() {
                Some((1, text)) => std::str::from_utf8(text)?.to_owned(),
                _ => return Err("jsonb of another version".into()),
            },
            Type::UUID => uuid(raw)?,
            _ if kind.name() == "hstore" => {
                format!("{:?}", HashMap::<String, Option<String>>::from_sql(kind, raw)?)
            }
            _ if <&str as FromSql>::accepts(kind) => format!("{:?}", <&str>::from_sql(kind, raw)?),
            // The driver has no type for it: its bytes, as text where they are.
            _ => format!("{} {}", String::from_utf8_lossy(raw).escape_debug(), hex(raw)),
        }))
    }

    fn from_sql_null(_: &Type) -> Decoded {
        Ok(Self("NULL".into()))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}

impl Shown {
    /// A count, then for each field its type, its length and so many bytes.
    fn of_fields(fields: &[Field], raw: &[u8]) -> Decoded {
        let (count, mut rest) = number(raw)?;
        if usize::try_from(count) != Ok(fields.len()) {
            return Err(format!("{count} fields of {}", fields.len()).into());
        }
        let mut shown = Vec::new();
        for field in fields {
            let (oid, behind) = number(rest)?;
            if oid.cast_unsigned() != field.type_().oid() {
                return Err(format!("{} has type {oid}", field.name()).into());
            }
            let (length, behind) = number(behind)?;
            let Ok(length) = usize::try_from(length) else {
                shown.push("NULL".into());
                rest = behind;
                continue;
            };
            let (value, behind) = behind.split_at_checked(length).ok_or("a field is cut")?;
            shown.push(Self::from_sql(field.type_(), value)?.0);
            rest = behind;
        }
        if rest.is_empty() {
            Ok(Self(format!("{shown:?}")))
        } else {
            Err("bytes behind the last field".into())
        }
    }
}

const ONE_DIMENSION: [u8; 4] = 1_i32.to_be_bytes();

fn number(raw: &[u8]) -> Result<(i32, &[u8]), Box<dyn Error + Sync + Send>> {
    let (number, rest) = raw.split_first_chunk().ok_or("a number is cut")?;
    Ok((i32::from_be_bytes(*number), rest))
}

fn uuid(raw: &[u8]) -> Result<String, Box<dyn Error + Sync + Send>> {
    if raw.len() == 16 { Ok(hex(raw)) } else { Err("a uuid has 16 bytes".into()) }
}

fn hex(raw: &[u8]) -> String {
    raw.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Every row of the table, a line for each value.
pub fn rows(stream: TcpStream, table: &str) -> Result<String> {
    stream.set_nonblocking(true)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let stream = tokio::net::TcpStream::from_std(stream)?;
        let (client, connection) =
            Config::new().user("app").dbname("shop").connect_raw(stream, NoTls).await?;
        tokio::spawn(connection);
        let rows = client.query(&format!("SELECT * FROM {table} ORDER BY id"), &[]).await?;
        ensure!(rows.len() == 2, "{} rows", rows.len());
        let mut out = String::new();
        for row in &rows {
            for (at, column) in row.columns().iter().enumerate().skip(1) {
                let Shown(shown) = row.try_get(at)?;
                out += &format!("{table}\tbinary\t{}\t{}\t{shown}\n", row.get::<_, i32>(0), column.name());
            }
        }
        Ok(out)
    })
}
