//! National identity, social security and tax numbers with valid check digits, and how people write them.
//!
//! From the issuers' public descriptions of each number.

use super::checks::{digits, luhn, mod_11_10, text, verhoeff, weighed};
use super::random::{Maker, Random};

/// Label, clear names of such a column, maker.
pub const NUMBERS: &[(&str, &[&str], Maker)] = &[
    ("us_ssn", &["ssn", "social_security_number"], us_ssn),
    ("us_itin", &["itin"], |r| {
        let (area, group, serial) = (r.between(900, 999), r.between(70, 88), r.between(1, 9999));
        format!("{area}-{group}-{serial:04}")
    }),
    ("ca_sin", &["sin", "social_insurance_number"], ca_sin),
    ("mx_curp", &["curp"], mx_curp),
    ("br_cpf", &["cpf"], br_cpf),
    ("br_cnpj", &["cnpj"], br_cnpj),
    ("ar_cuit", &["cuit"], ar_cuit),
    ("cl_rut", &["rut"], cl_rut),
    ("uk_nino", &["nino", "national_insurance_number"], uk_nino),
    ("uk_nhs", &["nhs_number"], uk_nhs),
    ("ie_pps", &["pps_number"], ie_pps),
    ("de_steuer_id", &["steuer_id", "steueridentifikationsnummer"], de_steuer_id),
    ("fr_insee", &["numero_secu", "numero_securite_sociale"], fr_insee),
    ("es_dni", &["dni", "nif"], es_dni),
    ("it_codice_fiscale", &["codice_fiscale"], it_codice_fiscale),
    ("pt_nif", &["nif_contribuinte"], pt_nif),
    ("nl_bsn", &["bsn", "burgerservicenummer"], nl_bsn),
    ("be_national_number", &["rijksregisternummer"], be_national_number),
    ("ch_ahv", &["ahv_nummer"], ch_ahv),
    ("at_social_security", &["sozialversicherungsnummer"], at_svnr),
    ("pl_pesel", &["pesel"], pl_pesel),
    ("cz_rodne_cislo", &["rodne_cislo"], cz_birth_number),
    ("se_personnummer", &["personnummer"], se_personnummer),
    ("no_fodselsnummer", &["fodselsnummer"], no_fodselsnummer),
    ("dk_cpr", &["cpr_nummer"], |r| {
        let (year, month, day) = r.day(1940, 2004);
        let hyphen = if r.chance(70) { "-" } else { "" };
        format!("{day:02}{month:02}{:02}{hyphen}{:04}", year % 100, r.below(10_000))
    }),
    ("fi_hetu", &["henkilotunnus"], fi_hetu),
    ("ro_cnp", &["cnp"], ro_cnp),
    ("bg_egn", &["egn"], bg_egn),
    ("hr_oib", &["oib"], |r| with(r.digits(10), mod_11_10)),
    ("gr_amka", &["amka"], |r| {
        let (year, month, day) = r.day(1940, 2004);
        let body = digits(&format!("{day:02}{month:02}{:02}{:04}", year % 100, r.below(10_000)));
        with(body, luhn)
    }),
    ("tr_tckn", &["tc_kimlik_no"], tr_tckn),
    ("il_id", &["teudat_zehut"], |r| with(r.digits(8), luhn)),
    ("in_aadhaar", &["aadhaar", "aadhaar_number"], in_aadhaar),
    ("in_pan", &["pan", "pan_number"], |r| {
        let kind = r.of("ABCFGHJLPT", 1);
        r.fill(&format!("@@@{kind}@####@"))
    }),
    ("sg_nric", &["nric"], sg_nric),
    ("kr_rrn", &["resident_registration_number"], kr_rrn),
    ("jp_my_number", &["my_number"], jp_my_number),
    ("cn_resident_id", &["id_card_number", "resident_id"], cn_resident_id),
    ("tw_id", &["national_id_tw"], tw_id),
    ("th_id", &["thai_id"], |r| {
        let first = r.between(1, 8) as u32;
        let body = prefixed(r, first, 11);
        let sum = weighed(&body, &[13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2]);
        let all = with(body, |_| (11 - sum % 11) % 10);
        if r.chance(50) {
            format!("{}-{}-{}-{}-{}", &all[..1], &all[1..5], &all[5..10], &all[10..12], &all[12..])
        } else {
            all
        }
    }),
    ("au_tfn", &["tfn", "tax_file_number"], au_tfn),
    ("za_id", &["sa_id_number"], za_id),
];

/// Digits, and the check digit behind them.
fn with(mut body: Vec<u32>, check: impl Fn(&[u32]) -> u32) -> String {
    body.push(check(&body));
    text(&body)
}

fn prefixed(r: &mut Random, first: u32, more: usize) -> Vec<u32> {
    std::iter::once(first).chain(r.digits(more)).collect()
}

/// Bodies until one has a check digit: some rules leave a remainder of ten, which is never issued.
fn until<T>(mut attempt: impl FnMut() -> Option<T>) -> T {
    loop {
        if let Some(made) = attempt() {
            return made;
        }
    }
}

fn single(remainder: u32) -> Option<u32> {
    (remainder < 10).then_some(remainder)
}

/// Cut into groups of these lengths.
fn grouped(all: &str, lengths: &[usize], by: &str) -> String {
    let mut rest = all;
    let mut groups = Vec::new();
    for length in lengths {
        let (group, tail) = rest.split_at(*length);
        groups.push(group);
        rest = tail;
    }
    groups.join(by)
}

fn us_ssn(r: &mut Random) -> String {
    let area = until(|| Some(r.between(1, 899)).filter(|&area| area != 666));
    format!("{area:03}-{:02}-{:04}", r.between(1, 99), r.between(1, 9999))
}

fn ca_sin(r: &mut Random) -> String {
    let first = r.pick(&["1", "2", "4", "5", "6", "7"]).parse().unwrap();
    let all = with(prefixed(r, first, 7), luhn);
    let by = r.pick(&[" ", "-", ""]);
    grouped(&all, &[3, 3, 3], by)
}

fn mx_curp(r: &mut Random) -> String {
    const ALPHABET: &str = "0123456789ABCDEFGHIJKLMNÑOPQRSTUVWXYZ";
    let (year, month, day) = r.day(1950, 1999);
    let state = r.pick(&["DF", "JC", "NL", "PL", "VZ", "MC", "GT", "BC"]);
    let consonants = "BCDFGHJKLMNPQRSTVWXYZ";
    let head = format!("{}{}{}", r.of(consonants, 1), r.of("AEIOU", 1), r.fill("@@"));
    let middle =
        format!("{:02}{month:02}{day:02}{}{state}{}", year % 100, r.of("HM", 1), r.of(consonants, 3));
    let body = format!("{head}{middle}{}", r.below(10));
    let sum: usize = body
        .chars()
        .enumerate()
        .map(|(at, c)| ALPHABET.chars().position(|known| known == c).unwrap_or(0) * (18 - at))
        .sum();
    format!("{body}{}", (10 - sum % 10) % 10)
}

fn br_cpf(r: &mut Random) -> String {
    let check = |body: &[u32]| {
        let first = body.len() as u32 + 1;
        let sum: u32 = body.iter().enumerate().map(|(at, digit)| digit * (first - at as u32)).sum();
        sum * 10 % 11 % 10
    };
    let mut body = r.digits(9);
    body.push(check(&body));
    let all = with(body, check);
    if r.chance(60) { format!("{}-{}", grouped(&all, &[3, 3, 3], "."), &all[9..]) } else { all }
}

fn br_cnpj(r: &mut Random) -> String {
    let check = |body: &[u32]| {
        let sum: u32 = body.iter().rev().enumerate().map(|(at, digit)| digit * (2 + at as u32 % 8)).sum();
        match sum % 11 {
            0 | 1 => 0,
            rest => 11 - rest,
        }
    };
    let mut body = r.digits(8);
    body.extend([0, 0, 0, 1]);
    body.push(check(&body));
    let all = with(body, check);
    if r.chance(70) {
        format!("{}/{}-{}", grouped(&all, &[2, 3, 3], "."), &all[8..12], &all[12..])
    } else {
        all
    }
}

fn ar_cuit(r: &mut Random) -> String {
    let all = until(|| {
        let kind = r.pick(&["20", "23", "24", "27"]);
        let body = digits(&format!("{kind}{}", r.fill("%#######")));
        let check = (11 - weighed(&body, &[5, 4, 3, 2, 7, 6, 5, 4, 3, 2]) % 11) % 11;
        single(check).map(|check| with(body, |_| check))
    });
    if r.chance(70) { format!("{}-{}-{}", &all[..2], &all[2..10], &all[10..]) } else { all }
}

fn cl_rut(r: &mut Random) -> String {
    let number = r.between(5_000_000, 26_000_000);
    let body: Vec<u32> = digits(&number.to_string());
    let sum: u32 = body.iter().rev().enumerate().map(|(at, digit)| digit * (2 + at as u32 % 6)).sum();
    let check = match 11 - sum % 11 {
        11 => "0".to_owned(),
        10 => "K".to_owned(),
        check => check.to_string(),
    };
    let (millions, thousands, ones) = (number / 1_000_000, number / 1_000 % 1_000, number % 1_000);
    if r.chance(60) {
        format!("{millions}.{thousands:03}.{ones:03}-{check}")
    } else {
        format!("{number}-{check}")
    }
}

fn uk_nino(r: &mut Random) -> String {
    let prefix = until(|| {
        let prefix = format!("{}{}", r.of("ABCEGHJKLMNPRSTWXYZ", 1), r.of("ABCEGHJKLMNPRSTWXYZ", 1));
        let refused = ["BG", "GB", "KN", "NK", "NT", "TN", "ZZ"].contains(&prefix.as_str());
        (!refused).then_some(prefix)
    });
    let suffix = r.of("ABCD", 1);
    if r.chance(50) {
        r.fill(&format!("{prefix} ## ## ## {suffix}"))
    } else {
        r.fill(&format!("{prefix}######{suffix}"))
    }
}

fn uk_nhs(r: &mut Random) -> String {
    let all = until(|| {
        let first = r.between(4, 7) as u32;
        let body = prefixed(r, first, 8);
        let check = (11 - weighed(&body, &[10, 9, 8, 7, 6, 5, 4, 3, 2]) % 11) % 11;
        single(check).map(|check| with(body, |_| check))
    });
    if r.chance(60) { grouped(&all, &[3, 3, 4], " ") } else { all }
}

fn ie_pps(r: &mut Random) -> String {
    let body = r.digits(7);
    let second = r.of("AB", 1);
    let value = if second == "A" { 1 } else { 2 };
    let sum = weighed(&body, &[8, 7, 6, 5, 4, 3, 2]) + 9 * value;
    let letter = b"WABCDEFGHIJKLMNOPQRSTUV"[sum as usize % 23];
    format!("{}{}{second}", text(&body), char::from(letter))
}

/// One digit twice or three times among the first ten, one at least missing.
fn de_steuer_id(r: &mut Random) -> String {
    let mut nine: Vec<u32> = (0..10).collect();
    for at in (1..nine.len()).rev() {
        nine.swap(at, r.below(at as u64 + 1) as usize);
    }
    nine.truncate(9);
    let again = nine[r.below(9) as usize];
    nine.insert(r.below(10) as usize, again);
    if nine[0] == 0 {
        let other = nine.iter().position(|&digit| digit != 0).unwrap();
        nine.swap(0, other);
    }
    let all = with(nine, mod_11_10);
    if r.chance(30) { grouped(&all, &[2, 3, 3, 3], " ") } else { all }
}

fn fr_insee(r: &mut Random) -> String {
    let body = format!(
        "{}{:02}{:02}{:02}{:03}{:03}",
        r.between(1, 2),
        r.below(100),
        r.between(1, 12),
        r.between(1, 95),
        r.between(1, 600),
        r.between(1, 999)
    );
    let key = 97 - body.parse::<u64>().unwrap() % 97;
    let all = format!("{body}{key:02}");
    if r.chance(50) { grouped(&all, &[1, 2, 2, 2, 3, 3, 2], " ") } else { all }
}

fn es_dni(r: &mut Random) -> String {
    let letter = |number: u64| char::from(b"TRWAGMYFPDXBNJZSQVHLCKE"[(number % 23) as usize]);
    if r.chance(25) {
        let (kind, number) = (r.below(3), r.below(10_000_000));
        let first = ["X", "Y", "Z"][kind as usize];
        return format!("{first}{number:07}{}", letter(kind * 10_000_000 + number));
    }
    let number = r.between(1_000_000, 99_999_999);
    let hyphen = if r.chance(20) { "-" } else { "" };
    format!("{number:08}{hyphen}{}", letter(number))
}

fn it_codice_fiscale(r: &mut Random) -> String {
    const ODD: [u32; 26] =
        [1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24, 23];
    let consonants = "BCDFGLMNPRSTVZ";
    let day = r.between(1, 28) + if r.chance(50) { 40 } else { 0 };
    let body = format!(
        "{}{:02}{}{day:02}{}{:03}",
        r.of(consonants, 6),
        r.below(100),
        r.of("ABCDEHLMPRST", 1),
        r.pick(&["H", "F", "L", "A", "G", "D"]),
        r.between(100, 999)
    );
    let sum: u32 = body
        .bytes()
        .enumerate()
        .map(|(at, byte)| {
            let value = if byte.is_ascii_digit() { byte - b'0' } else { byte - b'A' };
            if at % 2 == 0 { ODD[usize::from(value)] } else { u32::from(value) }
        })
        .sum();
    format!("{body}{}", char::from(b'A' + (sum % 26) as u8))
}

fn pt_nif(r: &mut Random) -> String {
    let first = r.between(1, 3) as u32;
    let body = prefixed(r, first, 7);
    let check = match 11 - weighed(&body, &[9, 8, 7, 6, 5, 4, 3, 2]) % 11 {
        10 | 11 => 0,
        check => check,
    };
    with(body, |_| check)
}

fn nl_bsn(r: &mut Random) -> String {
    until(|| {
        let first = r.between(1, 8) as u32;
        let body = prefixed(r, first, 7);
        single(weighed(&body, &[9, 8, 7, 6, 5, 4, 3, 2]) % 11).map(|check| with(body, |_| check))
    })
}

fn be_national_number(r: &mut Random) -> String {
    let (year, month, day) = r.day(1940, 1999);
    let body = format!("{:02}{month:02}{day:02}{:03}", year % 100, r.between(1, 997));
    let all = format!("{body}{:02}", 97 - body.parse::<u64>().unwrap() % 97);
    if r.chance(70) {
        format!("{}-{}.{}", grouped(&all, &[2, 2, 2], "."), &all[6..9], &all[9..])
    } else {
        all
    }
}

fn ch_ahv(r: &mut Random) -> String {
    let mut body = vec![7, 5, 6];
    body.extend(r.digits(9));
    let sum = weighed(&body, &[1, 3, 1, 3, 1, 3, 1, 3, 1, 3, 1, 3]);
    let all = with(body, |_| (10 - sum % 10) % 10);
    if r.chance(80) { grouped(&all, &[3, 4, 4, 2], ".") } else { all }
}

fn at_svnr(r: &mut Random) -> String {
    until(|| {
        let (year, month, day) = r.day(1940, 2004);
        let date = digits(&format!("{day:02}{month:02}{:02}", year % 100));
        let first = r.between(1, 9) as u32;
        let serial = prefixed(r, first, 2);
        let sum = weighed(&serial, &[3, 7, 9]) + weighed(&date, &[5, 8, 4, 2, 1, 6]);
        single(sum % 11).map(|check| format!("{}{check} {}", text(&serial), text(&date)))
    })
}

fn pl_pesel(r: &mut Random) -> String {
    let (year, month, day) = r.day(1940, 2005);
    let month = if year >= 2000 { month + 20 } else { month };
    let body = digits(&format!("{:02}{month:02}{day:02}{:04}", year % 100, r.below(10_000)));
    let sum = weighed(&body, &[1, 3, 7, 9, 1, 3, 7, 9, 1, 3]);
    with(body, |_| (10 - sum % 10) % 10)
}

fn cz_birth_number(r: &mut Random) -> String {
    until(|| {
        let (year, month, day) = r.day(1955, 2003);
        let month = if r.chance(50) { month + 50 } else { month };
        let body = format!("{:02}{month:02}{day:02}{:03}", year % 100, r.between(1, 999));
        let rest = (body.parse::<u64>().ok()? % 11) as u32;
        let check = single(rest)?;
        let slash = if r.chance(70) { "/" } else { "" };
        Some(format!("{}{slash}{}{check}", &body[..6], &body[6..]))
    })
}

fn se_personnummer(r: &mut Random) -> String {
    let (year, month, day) = r.day(1940, 2004);
    let date = format!("{:02}{month:02}{day:02}", year % 100);
    let serial = r.between(1, 999);
    let check = luhn(&digits(&format!("{date}{serial:03}")));
    let century = if r.chance(40) { (year / 100).to_string() } else { String::new() };
    format!("{century}{date}-{serial:03}{check}")
}

fn no_fodselsnummer(r: &mut Random) -> String {
    until(|| {
        let (year, month, day) = r.day(1940, 1999);
        let mut body = digits(&format!("{day:02}{month:02}{:02}{:03}", year % 100, r.below(500)));
        body.push(single((11 - weighed(&body, &[3, 7, 6, 1, 8, 9, 4, 5, 2]) % 11) % 11)?);
        body.push(single((11 - weighed(&body, &[5, 4, 3, 2, 7, 6, 5, 4, 3, 2]) % 11) % 11)?);
        Some(text(&body))
    })
}

fn fi_hetu(r: &mut Random) -> String {
    let (year, month, day) = r.day(1940, 2004);
    let sign = if year >= 2000 { "A" } else { "-" };
    let (date, serial) = (format!("{day:02}{month:02}{:02}", year % 100), r.between(2, 899));
    let number: u64 = format!("{date}{serial:03}").parse().unwrap();
    let check = b"0123456789ABCDEFHJKLMNPRSTUVWXY"[(number % 31) as usize];
    format!("{date}{sign}{serial:03}{}", char::from(check))
}

fn ro_cnp(r: &mut Random) -> String {
    let (year, month, day) = r.day(1940, 2004);
    let first = if year < 2000 { r.between(1, 2) } else { r.between(5, 6) };
    let county = r.between(1, 46);
    let body =
        digits(&format!("{first}{:02}{month:02}{day:02}{county:02}{:03}", year % 100, r.between(1, 999)));
    let sum = weighed(&body, &[2, 7, 9, 1, 4, 6, 3, 5, 8, 2, 7, 9]) % 11;
    with(body, |_| if sum == 10 { 1 } else { sum })
}

fn bg_egn(r: &mut Random) -> String {
    let (year, month, day) = r.day(1940, 2004);
    let month = if year >= 2000 { month + 40 } else { month };
    let body = digits(&format!("{:02}{month:02}{day:02}{:03}", year % 100, r.below(1000)));
    let sum = weighed(&body, &[2, 4, 8, 5, 10, 9, 7, 3, 6]) % 11;
    with(body, |_| sum % 10)
}

fn tr_tckn(r: &mut Random) -> String {
    let first = r.between(1, 9) as u32;
    let mut body = prefixed(r, first, 8);
    let odd: u32 = body.iter().step_by(2).sum();
    let even: u32 = body.iter().skip(1).step_by(2).sum();
    body.push((odd * 7 + 100 - even) % 10);
    with(body, |body| body.iter().sum::<u32>() % 10)
}

fn in_aadhaar(r: &mut Random) -> String {
    let first = r.between(2, 9) as u32;
    let all = with(prefixed(r, first, 10), verhoeff);
    if r.chance(60) { grouped(&all, &[4, 4, 4], " ") } else { all }
}

fn sg_nric(r: &mut Random) -> String {
    let kind = r.of("STFG", 1);
    let body = r.digits(7);
    let more = if kind == "T" || kind == "G" { 4 } else { 0 };
    let sum = weighed(&body, &[2, 7, 6, 5, 4, 3, 2]) + more;
    let letters: &[u8] = if kind == "S" || kind == "T" { b"JZIHGFEDCBA" } else { b"XWUTRQPNMLK" };
    format!("{kind}{}{}", text(&body), char::from(letters[sum as usize % 11]))
}

fn kr_rrn(r: &mut Random) -> String {
    let (year, month, day) = r.day(1940, 1999);
    let body =
        digits(&format!("{:02}{month:02}{day:02}{}{:05}", year % 100, r.between(1, 2), r.below(100_000)));
    let sum = weighed(&body, &[2, 3, 4, 5, 6, 7, 8, 9, 2, 3, 4, 5]);
    let all = with(body, |_| (11 - sum % 11) % 10);
    format!("{}-{}", &all[..6], &all[6..])
}

fn jp_my_number(r: &mut Random) -> String {
    let body = r.digits(11);
    let check = match weighed(&body, &[6, 5, 4, 3, 2, 7, 6, 5, 4, 3, 2]) % 11 {
        0 | 1 => 0,
        rest => 11 - rest,
    };
    let all = with(body, |_| check);
    if r.chance(40) { grouped(&all, &[4, 4, 4], " ") } else { all }
}

fn cn_resident_id(r: &mut Random) -> String {
    let (year, month, day) = r.day(1950, 2004);
    let place = r.pick(&["110101", "310104", "440305", "510107", "330106", "420102", "120103"]);
    let body = format!("{place}{year}{month:02}{day:02}{:03}", r.between(1, 999));
    let sum = weighed(&digits(&body), &[7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2]);
    format!("{body}{}", char::from(b"10X98765432"[sum as usize % 11]))
}

fn tw_id(r: &mut Random) -> String {
    const ORDER: &[u8] = b"ABCDEFGHJKLMNPQRSTUVXYWZIO";
    let at = r.below(26) as u32;
    let letter = char::from(ORDER[at as usize]);
    let first = r.between(1, 2) as u32;
    let body = prefixed(r, first, 7);
    let code = at + 10;
    let sum = code / 10 + code % 10 * 9 + weighed(&body, &[8, 7, 6, 5, 4, 3, 2, 1]);
    format!("{letter}{}{}", text(&body), (10 - sum % 10) % 10)
}

fn au_tfn(r: &mut Random) -> String {
    let all = until(|| {
        let first = r.between(1, 8) as u32;
        let body = prefixed(r, first, 7);
        // The last weight is 10, which is −1 modulo 11.
        single(weighed(&body, &[1, 4, 3, 7, 5, 8, 6, 9]) % 11).map(|check| with(body, |_| check))
    });
    if r.chance(60) { grouped(&all, &[3, 3, 3], " ") } else { all }
}

fn za_id(r: &mut Random) -> String {
    let (year, month, day) = r.day(1940, 2004);
    let body = digits(&format!("{:02}{month:02}{day:02}{:04}08", year % 100, r.below(10_000)));
    with(body, luhn)
}
