//! Cards, accounts, banks, wallets.

use super::checks::{base58check, bech32, iban as iban_check, luhn, text};
use super::random::Random;

pub fn card(r: &mut Random) -> String {
    // Prefix, digits in all, groups.
    let (prefix, length, groups): (&str, usize, &[usize]) = match r.below(8) {
        0..=2 => ("4", 16, &[4, 4, 4, 4]),
        3 => ("53", 16, &[4, 4, 4, 4]),
        4 => ("2412", 16, &[4, 4, 4, 4]),
        5 => (r.pick(&["34", "37"]), 15, &[4, 6, 5]),
        6 => ("6011", 16, &[4, 4, 4, 4]),
        _ => (r.pick(&["3530", "3566"]), 16, &[4, 4, 4, 4]),
    };
    let mut body: Vec<u32> = prefix.chars().filter_map(|c| c.to_digit(10)).collect();
    body.extend(r.digits(length - 1 - body.len()));
    body.push(luhn(&body));
    let all = text(&body);
    let by = match r.below(100) {
        0..=49 => return all,
        50..=79 => " ",
        _ => "-",
    };
    let mut at = 0;
    let parts: Vec<&str> = groups
        .iter()
        .map(|length| {
            at += length;
            &all[at - length..at]
        })
        .collect();
    parts.join(by)
}

pub fn iban(r: &mut Random) -> String {
    // Country and its account's pattern.
    let (country, pattern) = [
        ("DE", "##################"),
        ("GB", "@@@@##############"),
        ("FR", "#######################"),
        ("ES", "####################"),
        ("IT", "@######################"),
        ("NL", "@@@@##########"),
        ("BE", "############"),
        ("AT", "################"),
        ("CH", "#################"),
        ("PL", "########################"),
        ("SE", "####################"),
        ("NO", "###########"),
        ("DK", "##############"),
        ("FI", "##############"),
        ("PT", "#####################"),
        ("IE", "@@@@##############"),
        ("CZ", "####################"),
        ("TR", "######################"),
        ("SA", "####################"),
        ("AE", "###################"),
    ][r.below(20) as usize];
    let account = r.fill(pattern);
    let all = format!("{country}{}{account}", iban_check(country, &account));
    if r.chance(40) {
        let letters: Vec<char> = all.chars().collect();
        letters.chunks(4).map(|group| group.iter().collect::<String>()).collect::<Vec<_>>().join(" ")
    } else {
        all
    }
}

pub fn bic(r: &mut Random) -> String {
    let country = r.pick(&[
        "DE", "FR", "GB", "US", "ES", "IT", "NL", "CH", "AT", "BE", "SE", "PL", "JP", "AU", "CA", "IE",
    ]);
    let bank = r.of("ABCDEFGHIJKLMNOPQRSTUVWXYZ", 4);
    let place = format!(
        "{}{}",
        r.of("ABCDEFGHJKLMNPQRSTUVWXYZ23456789", 1),
        r.of("ABCDEFGHJKLMNPQRSTUVWXYZ2345678", 1)
    );
    let branch = if r.chance(40) { r.pick(&["XXX", "500", "100", "MUC"]) } else { "" };
    format!("{bank}{country}{place}{branch}")
}

pub fn wallet(r: &mut Random) -> String {
    let bytes =
        |r: &mut Random, count: usize| -> Vec<u8> { (0..count).map(|_| r.below(256) as u8).collect() };
    match r.below(4) {
        0 => {
            let mut payload = vec![0];
            payload.extend(bytes(r, 20));
            base58check(&payload)
        }
        1 => {
            let mut payload = vec![5];
            payload.extend(bytes(r, 20));
            base58check(&payload)
        }
        2 => {
            // Version 0, then twenty bytes in groups of five bits.
            let data: Vec<u8> = std::iter::once(0).chain((0..32).map(|_| r.below(32) as u8)).collect();
            bech32("bc", &data)
        }
        _ => r.fill("0x^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^"),
    }
}

pub fn salary(r: &mut Random) -> String {
    format!("{}.{:02}", r.between(21_000, 190_000), r.pick(&["0", "50", "25"]))
}
