//! Free text, log lines and JSON: with something in them, and without.

use super::money::{card, iban};
use super::people::{any_locale, email, full_name, phone};
use super::random::Random;
use super::secrets::{api_token, ipv4};

const SENTENCES: &[&str] = &[
    "Customer called about the invoice.",
    "Shipment delayed again.",
    "Duplicate ticket, closing.",
    "Waiting on parts until next week.",
    "Please escalate to the second level.",
    "The new release fixes the export.",
    "Kunde wünscht Rückruf am Nachmittag.",
    "Die Lieferung kam beschädigt an.",
    "Le client attend le remboursement.",
    "Livraison reportée à lundi.",
    "El paquete llegó sin factura.",
    "Se ha enviado un segundo aviso.",
    "Il cliente chiede una copia.",
    "De levering is vertraagd.",
    "Pedido cancelado pelo sistema.",
    "Paczka wróciła do magazynu.",
    "Closed after 14 days without an answer.",
    "Price agreed: 1,299.00 EUR for 12 units.",
    "Meeting moved to 2025-03-14 at 10:30.",
    "See order ORD-2024-118822 and build 4.18.2.",
];

fn sentence(r: &mut Random) -> String {
    r.pick(SENTENCES).to_owned()
}

/// A sentence with one thing in it that has to be hidden.
pub fn with_finding(r: &mut Random) -> String {
    let locale = any_locale(r);
    let hidden = match r.below(9) {
        0 | 1 => format!("{} {}", r.pick(&["reach me at", "Antwort an", "écrire à", "contacto:"]), email(r)),
        2 => {
            let number = r.fill("+1 4%# 5## ####");
            format!("{} {number}", r.pick(&["call back on", "ring", "tel."]))
        }
        3 => format!("paid with {}", card(r)),
        4 => {
            format!("{} IBAN {}", r.pick(&["send refund to", "Erstattung auf", "remboursement sur"]), iban(r))
        }
        5 => {
            let number = r.fill("2##-4#-1###");
            format!("SSN is {number}")
        }
        6 => format!("login from {}", ipv4(r)),
        7 => format!("password: {}", r.fill("?@##?@?#")),
        _ => {
            let number = phone(r, &super::locales::LOCALES[4]);
            // National numbers in text are told from other numbers by the word before them.
            format!(
                "{} unter +49 171 {}",
                full_name(r, locale),
                number.chars().filter(char::is_ascii_digit).take(7).collect::<String>()
            )
        }
    };
    match r.below(3) {
        0 => format!("{} {hidden}.", sentence(r)),
        1 => format!("{} {hidden}, thanks. {}", sentence(r), sentence(r)),
        _ => format!("{hidden} - {}", sentence(r)),
    }
}

pub fn without_finding(r: &mut Random) -> String {
    let mut all: Vec<String> = (0..r.between(1, 4)).map(|_| sentence(r)).collect();
    if r.chance(30) {
        all.push(match r.below(5) {
            0 => format!("Ref {}.", r.fill("BUILD-%##-####")),
            1 => format!("order {}", r.between(10_000, 99_999_999)),
            2 => format!("v{}.{}.{}", r.below(20), r.below(30), r.below(60)),
            3 => format!("batch {}, {} pieces", r.fill("%########"), r.below(900)),
            _ => format!("sha {}", r.fill("^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^")),
        });
    }
    all.join(" ")
}

pub fn log_line(r: &mut Random) -> String {
    let (year, month, day) = r.day(2023, 2026);
    let level = r.pick(&["INFO", "WARN", "ERROR", "DEBUG"]);
    let what = match r.below(4) {
        0 => format!("request {} took {} ms", r.fill("^^^^^^^^^^^^^^^^"), r.below(5000)),
        1 => format!("job {} finished: {} rows, 0 errors", r.below(90_000), r.below(1_000_000)),
        2 => format!("GET /api/v2/orders/{} 200 {}", r.below(1_000_000), r.below(90_000)),
        _ => format!("cache miss for key item:{}", r.below(10_000_000)),
    };
    format!(
        "{year}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z {level} [worker-{}] {what}",
        r.below(24),
        r.below(60),
        r.below(60),
        r.below(16)
    )
}

pub fn json_with_finding(r: &mut Random) -> String {
    let locale = any_locale(r);
    let (id, ts) = (r.between(100_000, 999_999), r.between(1_600_000_000, 1_790_000_000));
    let build = r.fill("BUILD-%##-####");
    let name = full_name(r, locale);
    let inner = match r.below(5) {
        0 => format!(r#""user":{{"email":"{}","name":"{name}"}}"#, email(r)),
        1 => format!(r#""customer":{{"contact":{{"telefon":"{}"}},"vip":true}}"#, phone(r, locale)),
        2 => format!(r#""payment":{{"card":"{}","amount":{}.90}}"#, card(r), r.below(900)),
        3 => format!(r#""request":{{"client_ip":"{}","status":200}}"#, ipv4(r)),
        _ => format!(r#""auth":{{"token":"{}"}}"#, api_token(r)),
    };
    format!(
        r#"{{"id": {id}, "ts": {ts}, "build": "{build}", {inner}, "items": [{{"sku": "{}", "qty": {}}}]}}"#,
        r.fill("SKU-#####"),
        r.below(9)
    )
}

pub fn json_without_finding(r: &mut Random) -> String {
    let (id, ts) = (r.between(100_000, 999_999), r.between(1_600_000_000, 1_790_000_000));
    let build = r.fill("BUILD-%##-####");
    let agent = r.pick(&["curl/8.1", "Mozilla/5.0", "okhttp/4.12"]);
    let tags = r.pick(&[r#"["new","sale"]"#, r#"["b2b"]"#, "[]"]);
    format!(
        r#"{{"id": {id}, "ts": {ts}, "ua": "{agent}", "build": "{build}", "tags": {tags}, "items": [{{"sku": "{}", "qty": {}, "price": {}.50}}]}}"#,
        r.fill("SKU-#####"),
        r.below(9),
        r.below(400)
    )
}
