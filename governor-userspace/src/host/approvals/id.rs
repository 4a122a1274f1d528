//! Short names for approval requests, made to be read aloud and typed.
//!
//! Six characters of Crockford's base 32 without the look-alikes i, l, o, u: 30 bits, checked
//! against every request that is still on disk. Source: <https://www.crockford.com/base32.html>.

/// A random id. Not a secret: who may answer is decided by the kernel's peer credentials.
pub(super) fn random() -> Result<String, getrandom::Error> {
    let bits = getrandom::u32()?;
    Ok((0..LENGTH as u32)
        .filter_map(|place| ALPHABET.get(((bits >> (place * 5)) & 31) as usize))
        .map(|&symbol| char::from(symbol))
        .collect())
}

/// What a person typed, as an id is written: lower case, look-alikes resolved. `None` where a
/// character can be in no id, or where there are none or too many.
pub(super) fn normalise(typed: &str) -> Option<String> {
    if typed.is_empty() || typed.len() > LENGTH {
        return None;
    }
    typed
        .chars()
        .map(|symbol| match symbol.to_ascii_lowercase() {
            'o' => Some('0'),
            'i' | 'l' => Some('1'),
            symbol if symbol.is_ascii() && ALPHABET.contains(&(symbol as u8)) => Some(symbol),
            _ => None,
        })
        .collect()
}

/// An id exactly as governor writes it: also what makes it safe as a file name.
pub(super) fn is_id(text: &str) -> bool {
    text.len() == LENGTH && text.bytes().all(|byte| ALPHABET.contains(&byte))
}

const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
const LENGTH: usize = 6;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_ids_are_ids() {
        for _ in 0..1000 {
            let id = random().unwrap();
            assert!(is_id(&id), "{id}");
            assert_eq!(normalise(&id.to_uppercase()), Some(id));
        }
    }

    #[test]
    fn look_alikes_are_read_as_meant_and_paths_are_not_ids() {
        assert_eq!(normalise("OiL").as_deref(), Some("011"));
        for bad in ["", "../../", "abcdefg", "abc u", "é", "abcdeu", "a/b"] {
            assert_eq!(normalise(bad), None, "{bad}");
            assert!(!is_id(bad), "{bad}");
        }
        assert!(!is_id("K7Q2MX"));
    }
}
