//! What only looks like personal data or a secret: the values of most columns of most tables.

use super::checks::{luhn, text, weighed};
use super::locales::LOCALES;
use super::random::{Maker, Random};

/// Clear name of the column and maker.
pub const HARMLESS: &[(&str, Maker)] = &[
    ("id", |r| r.between(1, 90_000_000).to_string()),
    ("bigint_id", |r| r.between(100_000_000_000_000_000, 999_999_999_999_999_999).to_string()),
    ("uuid", uuid),
    ("order_id", |r| format!("ORD-{}-{:06}", r.between(2019, 2026), r.below(1_000_000))),
    ("order_no", |r| r.between(4_000_000_000_000_000, 5_599_999_999_999_999).to_string()),
    ("order_reference", |r| r.fill("R%########")),
    ("invoice_no", |r| format!("INV{}-{:05}", r.between(2019, 2026), r.below(100_000))),
    ("tracking", tracking),
    ("sku", |r| {
        let variant = r.pick(&["RED", "BLK", "S", "XL", "BLU", "M"]);
        r.fill(&format!("@@@-####-{variant}"))
    }),
    ("part_no", |r| r.fill("@%###-##-@@")),
    ("batch", |r| r.fill("%########")),
    ("sequence_no", |r| r.between(10_000_000_000, 99_999_999_999).to_string()),
    ("build", |r| r.fill("BUILD-%##-####")),
    ("commit", |r| r.fill("^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^")),
    ("version", version),
    ("sha256", |r| (0..4).map(|_| r.fill("^^^^^^^^^^^^^^^^")).collect()),
    ("etag", |r| r.fill("\"^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^\"")),
    ("md5_sum", |r| r.fill("^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^")),
    ("isbn", isbn13),
    ("isbn10", isbn10),
    ("ean", |r| {
        let mut body = r.digits(12);
        let sum = weighed(&body, &[1, 3, 1, 3, 1, 3, 1, 3, 1, 3, 1, 3]);
        body.push((10 - sum % 10) % 10);
        text(&body)
    }),
    ("gtin14", |r| r.fill("1%############")),
    ("epoch_ms", |r| r.between(1_600_000_000_000, 1_790_000_000_000).to_string()),
    ("epoch", |r| r.between(1_600_000_000, 1_790_000_000).to_string()),
    ("created_at", |r| {
        let (year, month, day) = r.day(2019, 2026);
        format!("{year}-{month:02}-{day:02} {:02}:{:02}:{:02}", r.below(24), r.below(60), r.below(60))
    }),
    ("updated", |r| {
        let (year, month, day) = r.day(2019, 2026);
        format!(
            "{year}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{:03}Z",
            r.below(24),
            r.below(60),
            r.below(60),
            r.below(1000)
        )
    }),
    ("ship_date", |r| {
        let (year, month, day) = r.day(2019, 2026);
        format!("{year}-{month:02}-{day:02}")
    }),
    ("valid_until", |r| {
        let (year, month, day) = r.day(2024, 2032);
        format!("{day:02}.{month:02}.{year}")
    }),
    ("amount", |r| format!("{}.{:02}", r.below(10_000), r.below(100))),
    ("total_eur", |r| format!("{}.{:03},{:02}", r.between(1, 99), r.below(1000), r.below(100))),
    ("quantity", |r| r.below(5000).to_string()),
    ("weight_kg", |r| format!("{}.{}", r.below(90), r.below(1000))),
    ("ratio", |r| format!("0.{:08}", r.below(100_000_000))),
    ("status", |r| {
        r.pick(&["open", "closed", "refunded", "shipped", "pending", "cancelled", "on_hold"]).to_owned()
    }),
    ("country", |r| r.pick(&["DE", "FR", "US", "GB", "ES", "IT", "NL", "PL", "JP", "BR"]).to_owned()),
    ("currency", |r| r.pick(&["EUR", "USD", "GBP", "CHF", "SEK", "JPY"]).to_owned()),
    ("product_name", product),
    ("category", |r| {
        r.pick(&["Home & Garden", "Electronics", "Toys", "Sporting Goods", "Books", "Outdoor", "Office"])
            .to_owned()
    }),
    ("company", company),
    ("city", |r| {
        let locale = &LOCALES[r.below(19) as usize];
        r.pick(locale.towns).split([',', '-']).next().unwrap_or_default().trim().to_owned()
    }),
    ("color", |r| r.fill("#^^^^^^")),
    ("url", url),
    ("file_name", |r| {
        let (kind, ending) = (r.pick(&["report", "export", "scan", "photo"]), r.pick(&["pdf", "csv", "png"]));
        let (year, month, day) = r.day(2019, 2026);
        format!("{kind}_{year}{month:02}{day:02}_{}.{ending}", r.below(10_000))
    }),
    ("mime_type", |r| {
        r.pick(&["application/json", "image/png", "text/html; charset=utf-8", "application/pdf"]).to_owned()
    }),
    ("user_agent", |r| {
        format!(
            "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.{} Chrome/{}.0.{}.{}",
            r.below(40),
            r.between(90, 140),
            r.between(4000, 7000),
            r.below(200)
        )
    }),
    ("locale", |r| r.pick(&["en_US", "de_DE", "fr_FR", "pt_BR", "ja_JP"]).to_owned()),
    ("dimensions", |r| format!("{}x{}x{} mm", r.between(10, 900), r.between(10, 900), r.between(10, 900))),
    ("serial_no", |r| r.fill("SN@@%#######")),
    ("flight", |r| {
        let line = r.pick(&["LH", "AF", "BA", "UA", "IB"]);
        format!("{line}{}", r.between(100, 9999))
    }),
    ("ticket", |r| {
        let team = r.pick(&["OPS", "DEV", "SUP", "WEB"]);
        format!("{team}-{}", r.between(1, 99_999))
    }),
    ("ledger_account", |r| r.fill("%###-####-##")),
    ("checksum16", |r| {
        // One digit off, so that it never passes.
        let mut body = r.digits(15);
        body[0] = 4;
        let check = (luhn(&body) + 1 + r.below(9) as u32) % 10;
        body.push(check);
        text(&body)
    }),
    ("cron", |r| format!("{} {} * * {}", r.below(60), r.below(24), r.pick(&["*", "1-5", "0"]))),
    ("bbox", |r| format!("{},{},{},{}", r.below(2000), r.below(2000), r.below(2000), r.below(2000))),
    ("sql_text", |r| {
        format!("SELECT id, total FROM orders WHERE id = {} AND status = 'open'", r.below(1_000_000))
    }),
    ("host", |r| {
        format!("web-{:02}.eu-{}.internal", r.between(1, 40), r.pick(&["west-1", "central-1", "north-2"]))
    }),
];

fn uuid(r: &mut Random) -> String {
    r.fill("^^^^^^^^-^^^^-4^^^-a^^^-^^^^^^^^^^^^")
}

fn tracking(r: &mut Random) -> String {
    match r.below(3) {
        0 => format!("1Z{}", r.of("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789", 16)),
        1 => r.fill("%###################"),
        _ => r.fill("RR#########@@"),
    }
}

fn version(r: &mut Random) -> String {
    let (major, minor, patch) = (r.below(20), r.below(30), r.below(60));
    match r.below(4) {
        0 => format!("v{major}.{minor}.{patch}"),
        1 => format!("{major}.{minor}.{patch}.{}", r.below(60)),
        2 => format!("{major}.{minor}.{patch}-rc.{}", r.between(1, 9)),
        _ => format!("{major}.{minor}.{patch}+{}", r.fill("^^^^^^^")),
    }
}

fn isbn13(r: &mut Random) -> String {
    let mut body = vec![9, 7, 8];
    body.extend(r.digits(9));
    let sum = weighed(&body, &[1, 3, 1, 3, 1, 3, 1, 3, 1, 3, 1, 3]);
    body.push((10 - sum % 10) % 10);
    let all = text(&body);
    if r.chance(30) {
        format!("{}-{}-{}-{}-{}", &all[..3], &all[3..4], &all[4..8], &all[8..12], &all[12..])
    } else {
        all
    }
}

fn isbn10(r: &mut Random) -> String {
    loop {
        let body = r.digits(9);
        let sum = weighed(&body, &[10, 9, 8, 7, 6, 5, 4, 3, 2]);
        match (11 - sum % 11) % 11 {
            10 => {}
            check => return format!("{}{check}", text(&body)),
        }
    }
}

fn product(r: &mut Random) -> String {
    let head = r.pick(&[
        "Quality", "Compact", "Deluxe", "Wireless", "Classic", "Solar", "Folding", "Steel", "Urban", "Garden",
    ]);
    let tail = r.pick(&[
        "Method", "Kettle", "Chair", "Lamp", "Speaker", "Backpack", "Bottle", "Drill", "Table", "Notebook",
    ]);
    match r.below(3) {
        0 => format!("{head} {tail} {}", r.between(100, 9000)),
        _ => format!("{head} {tail}"),
    }
}

fn company(r: &mut Random) -> String {
    let locale = &LOCALES[r.below(13) as usize];
    let name = r.pick(locale.family);
    match r.below(5) {
        0 => format!("{name} GmbH"),
        1 => format!("{name} & {} Ltd", r.pick(locale.family)),
        2 => format!("{name} S.L."),
        3 => format!("{name} Group"),
        _ => format!("{name}-{} Inc", r.pick(locale.family)),
    }
}

fn url(r: &mut Random) -> String {
    let host = r.pick(&["shop.example.com", "www.example.org", "cdn.example.net", "docs.example.io"]);
    match r.below(3) {
        0 => format!("https://{host}/list/{}", r.between(1, 99_999)),
        1 => format!("https://{host}/assets/{}.js", r.fill("^^^^^^^^^^^^")),
        _ => format!(
            "https://{host}/p/{}?ref=mail&v={}",
            product(r).to_lowercase().replace(' ', "-"),
            r.below(90)
        ),
    }
}
