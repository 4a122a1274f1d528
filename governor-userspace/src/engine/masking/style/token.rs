//! Tokens: what stands for a value and, with the key and permission, can be turned back into it.
//!
//! `tok_KEYID_DATA`. DATA is AES-256-SIV (RFC 5297) of the value and its category, in base64 for URLs: deterministic,
//! so that equal values have equal tokens, and authenticated, so that nobody makes one up or changes one. A token is
//! as long as its value is, so the length shows.

use super::Context;
use crate::engine::masking::keys::{KeyId, KeyRing};
use crate::engine::masking::value::Value;
use crate::engine::model::Category;
use aes_siv::KeyInit as _;
use aes_siv::siv::Aes256Siv;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use std::fmt;
use zeroize::Zeroizing;

pub(super) fn of(context: &Context<'_>, value: &Value<'_>) -> Option<Value<'static>> {
    let (kind, bytes) = match value {
        Value::Text(text) => (TEXT, text),
        Value::Bytes(bytes) => (BYTES, bytes),
        _ => return None,
    };
    (bytes.len() <= VALUE_BYTES_MAX).then_some(())?;
    let mut plain = Zeroizing::new(Vec::with_capacity(bytes.len() + 10));
    plain.extend([kind, code(context.mask.category)]);
    plain.extend_from_slice(&context.mask.tweak.to_be_bytes());
    // A tweak of none costs no room.
    if context.mask.tweak == 0 {
        plain.truncate(2);
    } else if let Some(first) = plain.first_mut() {
        *first |= HAS_TWEAK;
    }
    plain.extend_from_slice(bytes);
    let mut cipher = Aes256Siv::new_from_slice(context.key.token()).ok()?;
    let data = cipher.encrypt([HEADER], &plain).ok()?;
    let token = format!("{PREFIX}{}_{}", context.key.id(), URL_SAFE_NO_PAD.encode(data)).into_bytes();
    Some(if kind == TEXT { Value::Text(token.into()) } else { Value::Bytes(token.into()) })
}

/// What a token stood for.
pub struct Revealed {
    pub category: Category,
    /// Not text where the column was `bytea`.
    pub is_bytes: bool,
    pub value: Zeroizing<Vec<u8>>,
}

impl fmt::Debug for Revealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Revealed").field("category", &self.category).finish_non_exhaustive()
    }
}

/// Why a token tells nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    #[error("this is no token: one begins with \"{PREFIX}\" and the name of a key")]
    Malformed,
    #[error("the token was made with the key {0}, which this governor does not have")]
    UnknownKey(KeyId),
    #[error("the token was cut or changed, or made elsewhere: it does not fit the key that it names")]
    NotAuthentic,
}

/// Turns a token back into its value. Whether somebody may ask is for the caller to know.
pub fn reveal(keys: &KeyRing, token: &str) -> Result<Revealed, TokenError> {
    let rest = token.trim().strip_prefix(PREFIX).ok_or(TokenError::Malformed)?;
    let (id, data) = rest.split_once('_').ok_or(TokenError::Malformed)?;
    let id: KeyId = id.parse().map_err(|_| TokenError::Malformed)?;
    if data.len() > VALUE_BYTES_MAX * 2 {
        return Err(TokenError::Malformed);
    }
    let key = keys.named(id).ok_or(TokenError::UnknownKey(id))?;
    let data = URL_SAFE_NO_PAD.decode(data).map_err(|_| TokenError::NotAuthentic)?;
    let mut cipher = Aes256Siv::new_from_slice(key.token()).map_err(|_| TokenError::NotAuthentic)?;
    let plain = cipher.decrypt([HEADER], &data).map(Zeroizing::new).map_err(|_| TokenError::NotAuthentic)?;
    let [kind, code, rest @ ..] = plain.as_slice() else { return Err(TokenError::NotAuthentic) };
    let tweak_bytes = if kind & HAS_TWEAK == 0 { 0 } else { 8 };
    let value = rest.get(tweak_bytes..).ok_or(TokenError::NotAuthentic)?;
    Ok(Revealed {
        category: CODES.iter().find(|(_, c)| c == code).map_or(Category::Other, |(category, _)| *category),
        is_bytes: kind & !HAS_TWEAK == BYTES,
        value: Zeroizing::new(value.to_vec()),
    })
}

/// It may be one, by its looks: as it stands, without blanks around it.
pub fn may_be_token(value: &[u8]) -> Option<&str> {
    let text = value.starts_with(PREFIX.as_bytes()).then(|| std::str::from_utf8(value).ok())??;
    (text.trim() == text).then_some(text)
}

fn code(category: Option<Category>) -> u8 {
    CODES.iter().find(|(known, _)| Some(*known) == category).map_or(0, |(_, code)| *code)
}

/// Part of what is encrypted, so of every token that was ever made: never changed, only added to.
const CODES: [(Category, u8); 14] = [
    (Category::Email, 1),
    (Category::Phone, 2),
    (Category::PaymentCard, 3),
    (Category::Iban, 4),
    (Category::NationalId, 5),
    (Category::PersonName, 6),
    (Category::Address, 7),
    (Category::BirthDate, 8),
    (Category::Passport, 9),
    (Category::Credential, 10),
    (Category::IpAddress, 11),
    (Category::Health, 12),
    (Category::Financial, 13),
    (Category::Other, 0),
];
const PREFIX: &str = "tok_";
/// Authenticated with every token: what it is, and in which form.
const HEADER: &[u8] = b"governor token 1";
const TEXT: u8 = 1;
const BYTES: u8 = 2;
const HAS_TWEAK: u8 = 0x10;
/// Longer values are redacted: a token is a name, not an archive.
const VALUE_BYTES_MAX: usize = 4096;
