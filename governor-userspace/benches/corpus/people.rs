//! Names, e-mail, phones, addresses, birth dates, passports, driving licences, health.

use super::locales::{LOCALES, Locale};
use super::random::Random;

pub fn any_locale(r: &mut Random) -> &'static Locale {
    &LOCALES[r.below(LOCALES.len() as u64) as usize]
}

pub fn full_name(r: &mut Random, of: &Locale) -> String {
    let (given, family) = (r.pick(of.given), r.pick(of.family));
    match r.below(100) {
        _ if of.code == "ja_jp" => format!("{family} {given}"),
        0..=7 => format!("{family}, {given}"),
        8..=13 => format!("{given} {}. {family}", r.of("ABCDEFGHJKLMPRSTW", 1)),
        14..=18 if of.code.starts_with("en") => {
            format!("{} {given} {family}", r.pick(&["Mr.", "Mrs.", "Dr.", "Ms."]))
        }
        14..=18 if of.code == "de_de" => {
            format!("{} {given} {family}", r.pick(&["Dr.", "Prof. Dr.", "Herr", "Frau"]))
        }
        19..=26 if of.code.starts_with("es") || of.code.starts_with("pt") => {
            format!("{given} {family} {}", r.pick(of.family))
        }
        _ => format!("{given} {family}"),
    }
}

/// Letters with marks become the plain ones that mail systems use.
fn plain(text: &str) -> String {
    text.chars()
        .filter_map(|c| {
            Some(match c.to_lowercase().next()? {
                'á' | 'à' | 'ã' | 'â' | 'ä' | 'å' | 'ą' => 'a',
                'é' | 'è' | 'ê' | 'ë' | 'ě' | 'ę' => 'e',
                'í' | 'ì' | 'î' | 'ı' => 'i',
                'ó' | 'ò' | 'ô' | 'õ' | 'ö' | 'ø' => 'o',
                'ú' | 'ù' | 'û' | 'ü' | 'ů' => 'u',
                'ç' | 'ć' | 'č' => 'c',
                'ł' => 'l',
                'ñ' | 'ń' | 'ň' => 'n',
                'ř' => 'r',
                'š' | 'ś' | 'ş' | 'ß' => 's',
                'ý' => 'y',
                'ž' | 'ź' | 'ż' => 'z',
                'ğ' => 'g',
                c if c.is_ascii_alphabetic() => c,
                _ => return None,
            })
        })
        .collect()
}

pub fn email(r: &mut Random) -> String {
    let locale = until_latin(r);
    let (given, family) = (plain(r.pick(locale.given)), plain(r.pick(locale.family)));
    let initial = given.get(..1).unwrap_or("x").to_owned();
    let local = match r.below(7) {
        0 => format!("{given}.{family}"),
        1 => format!("{initial}{family}"),
        2 => format!("{given}{}", r.between(1, 2010)),
        3 => format!("{family}_{given}"),
        4 => format!("{initial}.{family}{}", r.between(1, 99)),
        5 => format!("{given}.{family}+{}", r.pick(&["shop", "news", "bank"])),
        _ => format!("{family}{initial}"),
    };
    let domain = r.pick(&[
        "example.com",
        "example.org",
        "example.net",
        "mail.example.de",
        "post.example.fr",
        "gmail.example",
        "firma.example.co.uk",
        "uni.example.edu",
        "correo.example.es",
        "exemplo.example.com.br",
    ]);
    let address = format!("{local}@{domain}");
    if r.chance(4) { address.to_uppercase() } else { address }
}

fn until_latin(r: &mut Random) -> &'static Locale {
    let locale = any_locale(r);
    if locale.code == "ja_jp" { &LOCALES[0] } else { locale }
}

pub fn phone(r: &mut Random, of: &Locale) -> String {
    let pattern = r.pick(of.phones);
    r.fill(pattern)
}

pub fn address(r: &mut Random, of: &Locale) -> String {
    let (street, town) = (r.pick(of.streets), r.pick(of.towns));
    // The pattern's letters first: streets and towns have signs of their own.
    let pattern = of.address.replace('S', "\u{1}").replace('T', "\u{2}");
    r.fill(&pattern).replace('\u{1}', street).replace('\u{2}', town)
}

pub fn birth_date(r: &mut Random) -> String {
    let (year, month, day) = r.day(1935, 2007);
    format!("{year}-{month:02}-{day:02}")
}

pub fn birth_date_german(r: &mut Random) -> String {
    let (year, month, day) = r.day(1935, 2007);
    format!("{day:02}.{month:02}.{year}")
}

pub fn passport(r: &mut Random) -> String {
    let german = "CFGHJKLMNPRTVWXYZ0123456789";
    match r.below(5) {
        0 => r.fill("%########"),
        1 => format!("C{}", r.of(german, 8)),
        2 => r.fill("##@@#####"),
        3 => r.fill("@@#######"),
        _ => r.fill("@########"),
    }
}

pub fn driving_licence(r: &mut Random) -> String {
    let family: String = plain(r.pick(LOCALES[1].family)).to_uppercase();
    match r.below(3) {
        0 => {
            let five: String = family.chars().chain("99999".chars()).take(5).collect();
            let (_, month, day) = r.day(1950, 2000);
            r.fill(&format!("{five}#{month:02}{day:02}#@@9@@"))
        }
        1 => r.fill("@#######"),
        _ => r.fill("@###-####-####"),
    }
}

pub fn medical_record(r: &mut Random) -> String {
    let pattern = r.pick(&["MRN-%#######", "MRN %######", "MRN%########"]);
    r.fill(pattern)
}

pub fn diagnosis(r: &mut Random) -> String {
    let code = r.pick(&[
        "E11.9", "I10", "F32.1", "J45.909", "C50.911", "M54.5", "K21.9", "G43.709", "N18.3", "Z79.4", "B20",
        "F41.1", "E78.5", "J18.9",
    ]);
    code.to_owned()
}
