//! What a column holds, judged by its name, its relation's name and its type.
//!
//! A name is cut into words (`customerEmail2` → customer, email), the longest phrase of `lexicon`
//! wins, words that make it a fact about a value veto it (`email_verified`), and the type must be able
//! to hold such a value (`email_count integer` cannot). Name evidence alone is enough to mask: a value
//! without a checksum, such as a birth date or a salary, has no other.

use super::lexicon::{ABOUT, COPY_MARKS, PEOPLE, Place, QUESTIONS, phrases};
use super::pg_type::TypeClass;
use crate::engine::model::Category;
use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::sync::LazyLock;

/// The category of a column, or `None` where nothing says that it is sensitive.
///
/// `relation` and `column` are bare names (no schema), in any case; `relation` may be empty where it
/// is unknown. `type_oid` is the column's type as RowDescription reports it. Address types (`inet`,
/// `macaddr`) are sensitive whatever their name.
pub fn classify_column(relation: &str, column: &str, type_oid: u32) -> Option<Category> {
    let class = TypeClass::of(type_oid);
    by_name(relation, column, class).or_else(|| {
        matches!(class, TypeClass::Inet | TypeClass::MacAddr | TypeClass::MacAddr8)
            .then_some(Category::IpAddress)
    })
}

/// A name as it stands in a value. The client may have asked for another encoding than UTF-8: then each byte is taken for the character of
/// that number, as Latin-1 has it, so that accents of Western languages are still read.
pub(super) fn name_of(bytes: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(bytes) {
        Ok(name) => name.into(),
        Err(_) => bytes.iter().map(|byte| char::from(*byte)).collect::<String>().into(),
    }
}

/// Whether a value of this type can carry arbitrary text, and so anything a detector looks for.
///
/// True for text, JSON, XML, bytea, arrays, composites, and every type that is not known to be safe;
/// false for booleans, numbers, dates, times, UUIDs and network addresses. A *sensitive column* is
/// masked whatever its type.
pub fn could_carry(type_oid: u32) -> bool {
    let class = TypeClass::of(type_oid);
    class.could_show_text() || class == TypeClass::Bytea
}

fn by_name(relation: &str, column: &str, class: TypeClass) -> Option<Category> {
    let words = words(column);
    let lexicon = &*LEXICON;
    let mut best: Option<Match> = None;
    for start in 0..words.len() {
        let mut phrase = String::new();
        for (end, word) in words.iter().enumerate().skip(start).take(PHRASE_WORDS_MAX) {
            if !phrase.is_empty() {
                phrase.push(' ');
            }
            phrase.push_str(word);
            let Some(rules) = lexicon.phrases.get(phrase.as_str()) else { continue };
            let whole = start == 0 && end + 1 == words.len();
            let Some(category) = rules.iter().find_map(|(category, place)| match place {
                Place::Anywhere => Some(*category),
                Place::Whole => whole.then_some(*category),
                Place::OfPeople => (whole && is_people(relation)).then_some(*category),
            }) else {
                continue;
            };
            let found = Match { category, start, end, bytes: phrase.len() };
            if best.as_ref().is_none_or(|best| found.rank() > best.rank()) {
                best = Some(found);
            }
        }
    }
    let found = best?;
    let category = found.category?;
    let about = words.iter().enumerate().any(|(at, word)| {
        let outside = at < found.start || at > found.end;
        outside
            && (lexicon.about.contains(word.as_str())
                || (at == 0 && lexicon.questions.contains(word.as_str())))
    });
    // A yes-or-no about health is the secret itself: `is_pregnant boolean`.
    let answers = category == Category::Health && class == TypeClass::Bool;
    ((!about || answers) && can_hold(category, class)).then_some(category)
}

/// Whether the type can hold a value of the category, so that a foreign key, a flag or a moment about
/// the value is not taken for it.
fn can_hold(category: Category, class: TypeClass) -> bool {
    use Category as C;
    match class {
        TypeClass::Bool => matches!(category, C::Health | C::Other),
        TypeClass::Uuid => matches!(category, C::Credential | C::Other),
        c if c.is_day() => matches!(category, C::BirthDate | C::Health | C::Other),
        TypeClass::Float4 | TypeClass::Float8 | TypeClass::Numeric | TypeClass::Money => {
            !matches!(category, C::Email | C::PersonName | C::Credential | C::Iban | C::IpAddress)
        }
        // A number of a transaction, and as wide as any other.
        c if c.is_number() || c == TypeClass::Unsigned8 => {
            !matches!(category, C::Email | C::PersonName | C::Address | C::Iban)
        }
        // Numbers of objects.
        TypeClass::Unsigned4 => false,
        TypeClass::Time | TypeClass::TimeTz => matches!(category, C::BirthDate | C::Other),
        // An age, a leave; whatever is counted in days.
        TypeClass::Interval => matches!(category, C::BirthDate | C::Health | C::Financial | C::Other),
        c if c.is_network() => matches!(category, C::IpAddress | C::Other),
        _ => true,
    }
}

/// Rows of the relation are people: its last word that is not a copy's mark says so.
pub(super) fn is_people(relation: &str) -> bool {
    let lexicon = &*LEXICON;
    words(relation)
        .iter()
        .rev()
        .find(|word| !lexicon.copy_marks.contains(word.as_str()))
        .is_some_and(|word| lexicon.people.contains(word.as_str()))
}

/// Cuts a name into lower-case ASCII words at underscores, other signs, digits that end a word, and
/// changes from lower to upper case.
pub(super) fn words(name: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let mut word = String::new();
    let mut before: Option<char> = None;
    let mut characters = name.chars().take(NAME_CHARACTERS_MAX).peekable();
    while let Some(c) = characters.next() {
        if !c.is_alphanumeric() {
            flush(&mut word, &mut words);
            before = None;
            continue;
        }
        let camel = c.is_uppercase()
            && before.is_some_and(|b| {
                b.is_lowercase() || (b.is_uppercase() && characters.peek().is_some_and(|n| n.is_lowercase()))
            });
        if camel {
            flush(&mut word, &mut words);
        }
        fold(c, &mut word);
        before = Some(c);
    }
    flush(&mut word, &mut words);
    words
}

/// Ends a word: `email2` also counts as `email`, unless the lexicon knows it with its digits (`icd10`).
fn flush(word: &mut String, words: &mut Vec<String>) {
    let stem_bytes = word.trim_end_matches(|c: char| c.is_ascii_digit()).len();
    if stem_bytes == 0 {
        word.clear();
        return;
    }
    if !LEXICON.phrases.contains_key(word.as_str()) {
        word.truncate(stem_bytes);
    }
    words.push(std::mem::take(word));
}

fn fold(c: char, word: &mut String) {
    let folded = match c.to_lowercase().next().unwrap_or(c) {
        'à' | 'á' | 'â' | 'ã' | 'å' => "a",
        'ä' | 'æ' => "ae",
        'ç' => "c",
        'è' | 'é' | 'ê' | 'ë' => "e",
        'ì' | 'í' | 'î' | 'ï' => "i",
        'ñ' => "n",
        'ò' | 'ó' | 'ô' | 'õ' => "o",
        'ö' | 'ø' | 'œ' => "oe",
        'ù' | 'ú' | 'û' => "u",
        'ü' => "ue",
        'ß' => "ss",
        other => {
            word.push(other);
            return;
        }
    };
    word.push_str(folded);
}

struct Match {
    category: Option<Category>,
    start: usize,
    end: usize,
    bytes: usize,
}

impl Match {
    /// More words win, then more letters, then the later one (the head of an English name is last).
    fn rank(&self) -> (usize, usize, usize) {
        (self.end - self.start, self.bytes, self.start)
    }
}

struct Lexicon {
    phrases: HashMap<&'static str, Vec<(Option<Category>, Place)>>,
    people: HashSet<&'static str>,
    copy_marks: HashSet<&'static str>,
    about: HashSet<&'static str>,
    questions: HashSet<&'static str>,
}

static LEXICON: LazyLock<Lexicon> = LazyLock::new(|| {
    let mut known: HashMap<&'static str, Vec<(Option<Category>, Place)>> = HashMap::new();
    for (category, place, list) in phrases() {
        for phrase in *list {
            known.entry(phrase).or_default().push((*category, *place));
        }
    }
    Lexicon {
        phrases: known,
        people: PEOPLE.iter().copied().collect(),
        copy_marks: COPY_MARKS.iter().copied().collect(),
        about: ABOUT.iter().copied().collect(),
        questions: QUESTIONS.iter().copied().collect(),
    }
});

/// Longest phrase of the lexicon, in words.
const PHRASE_WORDS_MAX: usize = 4;
/// PostgreSQL names have at most 63 bytes; JSON keys may be longer, and are cut.
const NAME_CHARACTERS_MAX: usize = 128;

#[cfg(test)]
mod tests;
