//! Credentials: prefixes that their makers chose so that scanners find them, and forms of hashes and keys.

use super::Group::Token;
use super::{Shape, always, shape};
use crate::engine::masking::detector::kind::Kind as K;

pub(super) const SHAPES: &[Shape] = &[
    shape(K::Jwt, Token, 99, true, r"eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*", always),
    shape(
        K::PrivateKey,
        Token,
        99,
        true,
        r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----(?s-u:.)*",
        always,
    ),
    shape(K::AwsAccessKey, Token, 99, true, r"(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}", always),
    shape(
        K::GithubToken,
        Token,
        99,
        true,
        r"(?:gh[pousr]_[A-Za-z0-9]{30,}|github_pat_[A-Za-z0-9_]{22,})",
        always,
    ),
    shape(
        K::GitlabToken,
        Token,
        99,
        true,
        r"gl(?:pat|dt|rt|cbt|ptt|ft|imt|agent|oas|soat)-[A-Za-z0-9_-]{20,}",
        always,
    ),
    shape(K::SlackToken, Token, 99, true, r"xox[abeoprs]-[A-Za-z0-9-]{10,}", always),
    shape(K::SlackToken, Token, 99, true, r"xapp-[0-9]-[A-Z0-9]{8,}-[0-9]{8,}-[a-f0-9]{16,}", always),
    shape(K::SlackToken, Token, 99, true, r"https://hooks\.slack\.com/services/[A-Za-z0-9/]{20,}", always),
    shape(
        K::StripeKey,
        Token,
        99,
        true,
        r"(?:[rs]k_(?:live|test)_[A-Za-z0-9]{16,}|whsec_[A-Za-z0-9+/=]{24,})",
        always,
    ),
    shape(K::GoogleKey, Token, 99, true, r"AIza[A-Za-z0-9_-]{35}", always),
    shape(K::GoogleKey, Token, 99, true, r"(?:ya29\.|GOCSPX-|1//0)[A-Za-z0-9_-]{20,}", always),
    shape(K::AzureKey, Token, 99, true, r"(?:AccountKey|SharedAccessKey|sig)=[A-Za-z0-9+/=%]{20,}", always),
    shape(K::AzureKey, Token, 95, true, r"[A-Za-z0-9_~.-]{3}[0-9]Q~[A-Za-z0-9_~.-]{31,34}", always),
    shape(
        K::AzureKey,
        Token,
        99,
        false,
        r"(?:DefaultEndpointsProtocol|Endpoint|HostName)=[^\s]+(?:AccountKey|SharedAccessKey)=[A-Za-z0-9+/=]{20,}[^\s]*",
        always,
    ),
    shape(K::NpmToken, Token, 99, true, r"npm_[A-Za-z0-9]{36}", always),
    shape(K::PypiToken, Token, 99, true, r"pypi-[A-Za-z0-9_-]{50,}", always),
    shape(K::SendgridKey, Token, 99, true, r"SG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}", always),
    shape(K::TwilioKey, Token, 95, true, r"(?:SK|AC)[0-9a-f]{32}", always),
    shape(K::OpenaiKey, Token, 95, true, r"sk-(?:ant-|proj-|svcacct-|or-)?[A-Za-z0-9_-]{32,}", mixed_token),
    shape(K::DigitaloceanToken, Token, 99, true, r"do[opr]_v1_[a-f0-9]{64}", always),
    shape(K::HuggingfaceToken, Token, 97, true, r"hf_[A-Za-z]{34}", always),
    shape(K::ShopifyToken, Token, 99, true, r"shp(?:at|ca|pa|ss)_[A-Fa-f0-9]{32}", always),
    shape(
        K::SquareToken,
        Token,
        99,
        true,
        r"(?:sq0(?:atp|csp|idp)-[A-Za-z0-9_-]{22,}|EAAA[A-Za-z0-9_-]{60})",
        always,
    ),
    shape(K::VaultToken, Token, 97, true, r"hv[sbr]\.[A-Za-z0-9_-]{24,}", always),
    shape(K::DatabricksToken, Token, 97, true, r"dapi[a-f0-9]{32}(?:-[0-9])?", always),
    shape(K::DockerToken, Token, 99, true, r"dckr_(?:pat|oat)_[A-Za-z0-9_-]{20,}", always),
    shape(K::AtlassianToken, Token, 99, true, r"AT[AC]TT3[A-Za-z0-9_=-]{50,}", always),
    shape(K::TelegramToken, Token, 95, true, r"[0-9]{8,10}:AA[A-Za-z0-9_-]{33}", always),
    shape(
        K::DiscordWebhook,
        Token,
        99,
        true,
        r"https://(?:[a-z]{1,8}\.)?discord(?:app)?\.com/api/webhooks/[0-9]{10,20}/[A-Za-z0-9_-]{20,}",
        always,
    ),
    shape(K::MailchimpKey, Token, 95, true, r"[0-9a-f]{32}-us[0-9]{1,2}", always),
    shape(K::AgeKey, Token, 99, true, r"AGE-SECRET-KEY-1[0-9A-Z]{58}", always),
    shape(K::PasswordHash, Token, 99, true, r"\$2[abxy]\$[0-9]{2}\$[./A-Za-z0-9]{53}", always),
    shape(
        K::PasswordHash,
        Token,
        99,
        true,
        r"\$(?:argon2(?:id|i|d)|scrypt|pbkdf2[a-z0-9-]{0,16}|y|gy|7|6|5|1)\$[A-Za-z0-9$./=,+:_-]{16,}",
        always,
    ),
    shape(
        K::PasswordHash,
        Token,
        99,
        true,
        r"SCRAM-SHA-(?:1|256|512)\$[0-9]{1,9}:[A-Za-z0-9+/=]{8,}\$[A-Za-z0-9+/=:]{16,}",
        always,
    ),
    shape(
        K::PasswordHash,
        Token,
        99,
        true,
        r"(?:pbkdf2_sha(?:1|256|512)|bcrypt_sha256|argon2)\$[A-Za-z0-9$./=,+:_-]{16,}",
        always,
    ),
    shape(
        K::PasswordHash,
        Token,
        95,
        true,
        r"\{(?:S?SHA(?:256|512)?|CRYPT|SMD5)\}[A-Za-z0-9+/=$.]{20,}",
        always,
    ),
    shape(K::PasswordHash, Token, 80, false, r"md5[0-9a-f]{32}", always),
    // A star and a doubled SHA-1: MySQL's `mysql_native_password`.
    shape(K::PasswordHash, Token, 90, false, r"\*[0-9A-F]{40}", always),
    shape(
        K::ConnectionString,
        Token,
        95,
        true,
        r"[a-z][a-z0-9+]+://[^\s:/@]*:[^\s/@]+@[^\s/@]+(?:/\S*)?",
        always,
    ),
    // base64 of 30 random bytes: AWS secret keys and their like. A SHA-1 has no capitals.
    shape(K::SecretKeyBase64, Token, 70, false, r"[A-Za-z0-9/+]{40}", mixed_token),
    // The same of 32, 48 or 64 bytes in the alphabet of URLs: tokens of sessions, keys of signatures.
    shape(
        K::SecretKeyBase64,
        Token,
        65,
        false,
        r"(?:[A-Za-z0-9_-]{43}|[A-Za-z0-9_-]{64}|[A-Za-z0-9_-]{86})",
        random_token,
    ),
    // base64 of 64 random bytes: keys of storage accounts.
    shape(K::AzureKey, Token, 75, false, r"[A-Za-z0-9/+]{86}==", mixed_token),
];

/// Capitals, small letters and digits together: random letters, not a word or a hexadecimal digest.
fn mixed_token(value: &[u8]) -> bool {
    value.iter().any(u8::is_ascii_uppercase)
        && value.iter().any(u8::is_ascii_lowercase)
        && value.iter().filter(|b| b.is_ascii_digit()).count() > 1
}

/// Random letters change between large, small and digits at nearly two places of three; words, and names made of
/// words, at fewer than one of three.
fn random_token(value: &[u8]) -> bool {
    let class = |byte: u8| match byte {
        b'A'..=b'Z' => 1,
        b'a'..=b'z' => 2,
        b'0'..=b'9' => 3,
        _ => 4,
    };
    let changes = value.windows(2).filter(|two| matches!(two, [a, b] if class(*a) != class(*b))).count();
    mixed_token(value) && changes * 100 >= value.len() * RANDOM_CHANGES_PERCENT_MIN
}

const RANDOM_CHANGES_PERCENT_MIN: usize = 45;
