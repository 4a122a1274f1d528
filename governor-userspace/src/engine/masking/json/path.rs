//! Places in documents that an operator names: `$.a.b`.

/// Keys from the top of a document down. Arrays on the way count for nothing: a place in each element is meant.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct JsonPath {
    keys: Box<[Box<str>]>,
}

impl JsonPath {
    /// `$.a.b`, the `$.` may be left out; `"quotes"` around a key with a dot; `[*]` behind a key may be written.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.strip_prefix("$.").unwrap_or(text);
        let mut keys = vec![String::new()];
        let mut quoted = false;
        let plain = text.replace("[*]", "");
        for c in plain.chars() {
            match c {
                '"' => quoted = !quoted,
                '.' if !quoted => keys.push(String::new()),
                c if !quoted && (c.is_whitespace() || c.is_control() || "[]()$@*".contains(c)) => {
                    return None;
                }
                c => keys.last_mut()?.push(c),
            }
        }
        if quoted || keys.len() > KEYS_COUNT_MAX || keys.iter().any(String::is_empty) {
            return None;
        }
        Some(Self { keys: keys.into_iter().map(String::into_boxed_str).collect() })
    }

    /// How many keys of it are met behind `key`, where `met` were before; [`NOT_MET`] where it leads elsewhere.
    ///
    /// A key in another encoding than UTF-8 (the client may ask for one) may be any that is not ASCII.
    pub(super) fn follow(&self, met: u8, key: &[u8]) -> u8 {
        let may_be =
            |next: &str| next.as_bytes() == key || !next.is_ascii() && std::str::from_utf8(key).is_err();
        let next = self.keys.get(usize::from(met)).filter(|next| may_be(next));
        if met != NOT_MET && next.is_some() { met + 1 } else { NOT_MET }
    }

    pub(super) fn is_met(&self, met: u8) -> bool {
        usize::from(met) == self.keys.len()
    }
}

pub(super) const NOT_MET: u8 = u8::MAX;
const KEYS_COUNT_MAX: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_keys_with_dots_between() {
        let keys = |text: &str| {
            JsonPath::parse(text).map(|path| path.keys.iter().map(|key| key.to_string()).collect::<Vec<_>>())
        };
        let some = |keys: &[&str]| Some(keys.iter().map(|key| (*key).to_owned()).collect::<Vec<_>>());
        assert_eq!(keys("$.a.b"), some(&["a", "b"]));
        assert_eq!(keys("a"), some(&["a"]));
        assert_eq!(keys("$.items[*].\"the.code\""), some(&["items", "the.code"]));
        for wrong in ["", "$", "$.", "$.a..b", "$.a[0]", "$.*", "$.a b", "\"a", "a.?(@)"] {
            assert_eq!(keys(wrong), None, "{wrong}");
        }
    }
}
