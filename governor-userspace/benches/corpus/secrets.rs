//! Credentials and addresses of machines: tokens with their makers' prefixes, keys, hashes, URLs with passwords.
//!
//! All of it is made up here; prefixes are put together from pieces, so that no scanner takes this file for a leak.

use super::random::{Maker, Random};

const BASE64: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const BASE64_URL: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
const WORD: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
const CAPITALS: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// Clear name of the column and maker.
pub const SECRETS: &[(&str, Maker)] = &[
    ("jwt", jwt),
    ("aws_access_key_id", |r| format!("{}{}", r.pick(&["AKIA", "ASIA"]), r.of(CAPITALS, 16))),
    ("aws_secret_access_key", |r| mixed(r, BASE64, 40)),
    ("private_key", private_key),
    ("password_hash", password_hash),
    ("github_token", |r| format!("{}{}", r.pick(&["ghp_", "gho_", "ghs_"]), r.of(WORD, 36))),
    ("api_token", api_token),
    ("stripe_secret", |r| {
        format!("{}_{}_{}", r.pick(&["sk", "rk"]), r.pick(&["live", "test"]), r.of(WORD, 24))
    }),
    ("database_url", connection),
    ("session_token", |r| mixed(r, BASE64_URL, 43)),
];

/// Always small and large letters and digits: as random text of this length practically always is.
fn mixed(r: &mut Random, alphabet: &str, count: usize) -> String {
    loop {
        let made = r.of(alphabet, count);
        let has = |class: fn(char) -> bool| made.chars().filter(|&c| class(c)).count() > 1;
        if has(|c| c.is_ascii_uppercase()) && has(|c| c.is_ascii_lowercase()) && has(|c| c.is_ascii_digit()) {
            return made;
        }
    }
}

pub fn jwt(r: &mut Random) -> String {
    let head = r.pick(&[
        "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9",
        "eyJhbGciOiJSUzI1NiJ9",
        "eyJ0eXAiOiJKV1QiLCJhbGciOiJFUzI1NiJ9",
    ]);
    let body = r.between(40, 90) as usize;
    format!("{head}.eyJ{}.{}", r.of(BASE64_URL, body), r.of(BASE64_URL, 43))
}

fn private_key(r: &mut Random) -> String {
    let kind = r.pick(&["RSA ", "EC ", "", "OPENSSH "]);
    let lines: Vec<String> = (0..r.between(3, 8)).map(|_| r.of(BASE64, 64)).collect();
    format!("-----BEGIN {kind}PRIVATE KEY-----\n{}\n-----END {kind}PRIVATE KEY-----", lines.join("\n"))
}

fn password_hash(r: &mut Random) -> String {
    let crypt = "./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    match r.below(4) {
        0 => format!("$2b$12${}", r.of(crypt, 53)),
        1 => format!("$argon2id$v=19$m=65536,t=3,p=4${}${}", r.of(BASE64, 22), r.of(BASE64, 43)),
        2 => format!("$6${}${}", r.of(crypt, 16), r.of(crypt, 86)),
        _ => format!("pbkdf2_sha256$600000${}${}=", r.of(WORD, 22), r.of(BASE64, 43)),
    }
}

pub fn api_token(r: &mut Random) -> String {
    match r.below(7) {
        0 => format!("xox{}-{}-{}", r.pick(&["b", "p"]), r.fill("%###########"), r.of(WORD, 24)),
        1 => format!("glpat-{}", r.of(BASE64_URL, 20)),
        2 => format!("AIza{}", r.of(BASE64_URL, 35)),
        3 => format!("SG.{}.{}", r.of(BASE64_URL, 22), r.of(BASE64_URL, 43)),
        4 => format!("sk-proj-{}", mixed(r, WORD, 48)),
        5 => format!("npm_{}", r.of(WORD, 36)),
        _ => format!("dop_v1_{}", r.of("0123456789abcdef", 64)),
    }
}

fn connection(r: &mut Random) -> String {
    let scheme = r.pick(&["postgres", "mysql", "mongodb+srv", "redis", "amqp"]);
    let secret = r.of(WORD, 12);
    format!("{scheme}://app:{secret}@db-{}.internal:{}/main", r.between(1, 40), r.between(1024, 9999))
}

/// Public addresses only: those that say something about a person.
pub fn ipv4(r: &mut Random) -> String {
    loop {
        let first = r.between(1, 223);
        if ![10, 127, 0].contains(&first) {
            return format!("{first}.{}.{}.{}", r.below(256), r.below(256), r.between(1, 254));
        }
    }
}

pub fn ip(r: &mut Random) -> String {
    match r.below(10) {
        0 | 1 => (0..8).map(|_| format!("{:x}", r.below(65_536))).collect::<Vec<_>>().join(":"),
        2 => r.fill("2001:db8::^^^^:^^^^"),
        _ => ipv4(r),
    }
}

pub fn mac(r: &mut Random) -> String {
    let all = r.fill("^^:^^:^^:^^:^^:^^");
    match r.below(4) {
        0 => all.to_uppercase().replace(':', "-"),
        1 => all.to_uppercase(),
        _ => all,
    }
}

pub fn geo(r: &mut Random) -> String {
    let latitude = r.below(180_000_000) as f64 / 1e6 - 90.0;
    let longitude = r.below(360_000_000) as f64 / 1e6 - 180.0;
    match r.below(3) {
        0 => format!("{latitude:.5}, {longitude:.5}"),
        1 => format!("{latitude:.6},{longitude:.6}"),
        _ => format!("{latitude:.4},{longitude:.4}"),
    }
}
