//! What a column holds, judged by everything at once: its values, its name, its type and its neighbours.
//!
//! A name alone is a guess and values alone may be chance, so each is asked what it would look like if the other were
//! wrong: one number in ten passes one check digit, so a check digit counts when nearly all numbers of the column
//! pass; a word that is a name counts when most words are.

use super::classify::{classify_column, could_carry};
use super::detector::{ColumnContext, DetectorId, Kind};
use super::evidence::{ColumnEvidence, Seen, Tally};
use super::plans::PLAN_SHARE_MIN;
use crate::engine::model::Category;

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ColumnVerdict {
    pub category: Category,
    /// The detector that most of it rests on; `by_name` where no value was needed.
    pub detector: DetectorId,
    /// 50 to 99.
    pub confidence_percent: u8,
    /// Where the numbering plan of one calling code tells a column of telephone numbers: its countries, `ES` or `US/CA`.
    pub countries: Option<&'static str>,
}

/// Judges a column by its names, its type, the names of the columns beside it and what was seen of its values.
/// `None` where it holds nothing sensitive, as far as can be told.
pub fn judge_column(
    relation: &str,
    column: &str,
    type_oid: u32,
    neighbours: &[&str],
    evidence: &ColumnEvidence,
) -> Option<ColumnVerdict> {
    let seen = Seen { evidence, context: ColumnContext::new(relation, column, type_oid, neighbours) };
    let by_values = could_carry(type_oid).then(|| of_values(&seen)).flatten();
    let by_name = classify_column(relation, column, type_oid);
    match (by_name, by_values) {
        (Some(category), Some(found)) if found.category == category => Some(ColumnVerdict {
            confidence_percent: found.confidence_percent.saturating_add(10).clamp(90, 99),
            ..found
        }),
        // A column called one thing and full of another holds the other.
        (Some(_), Some(found))
            if found.confidence_percent >= 80 && found.detector.kind().is_some_and(is_whole) =>
        {
            Some(found)
        }
        (Some(category), _) => {
            let told = evidence.values_count() < VALUES_MIN || !has_telling_shape(category);
            Some(named(category, if told { 80 } else { 55 }))
        }
        (None, found) => found.filter(|found| found.confidence_percent >= CONFIDENCE_MIN),
    }
}

fn named(category: Category, confidence_percent: u8) -> ColumnVerdict {
    ColumnVerdict { category, detector: Kind::ByName.into(), confidence_percent, countries: None }
}

/// The values are the thing itself, not text around it.
fn is_whole(kind: Kind) -> bool {
    !matches!(kind, Kind::InText | Kind::InDocument)
}

/// Values of the category show it themselves, so a column without such values is hardly of it.
fn has_telling_shape(category: Category) -> bool {
    use Category as C;
    matches!(category, C::Email | C::PaymentCard | C::Iban | C::IpAddress)
}

/// The surest thing that the values say.
fn of_values(seen: &Seen<'_>) -> Option<ColumnVerdict> {
    let found = seen.evidence.tallies().iter().filter_map(|tally| of_tally(tally, seen));
    let all = found.chain(of_kinds(seen)).chain(of_inside(seen)).chain(mixed(seen));
    // The first of the surest: whole values come before what stands inside them.
    all.reduce(|best, next| if next.confidence_percent > best.confidence_percent { next } else { best })
}

/// One detector's count.
fn of_tally(tally: &Tally, seen: &Seen<'_>) -> Option<ColumnVerdict> {
    let evidence = seen.evidence;
    let kind = tally.detector.kind();
    if kind.is_some_and(needs_its_own_rule) {
        return None;
    }
    let (share, confidence) = (evidence.share(tally.count), tally.confidence_percent());
    let expected = seen.context.expects(tally.category);
    // A book's number of ten digits has the same check digit: without blanks nobody can tell them apart.
    let may_be_books = kind == Some(Kind::UkNhs) && evidence.share(tally.strong) < SELDOM_SHARE_MIN;
    if may_be_books && !expected && !seen.context.is_among_people {
        return None;
    }
    let least = if expected { 0.3 } else { 0.5 };
    let verdict = |percent: u8| {
        Some(ColumnVerdict {
            category: tally.category,
            detector: tally.detector,
            confidence_percent: percent.min(99),
            countries: None,
        })
    };
    let strong = evidence.share(tally.strong);
    // What has a check digit, or is written in one of several ways: nearly all values have to be it.
    let by_count = (share >= if expected { 0.6 } else { 0.85 }
        && tally.count >= if kind.is_none_or(has_check) { CHECKED_COUNT_MIN } else { WEAK_COUNT_MIN }
        && kind.is_none_or(|kind| has_check(kind) || tally.strong > 0))
    .then_some(if share > 0.95 { 85 } else { 75 });
    if strong >= least && (tally.strong >= 2 || evidence.values_count() < VALUES_MIN) {
        let by_value = confidence.saturating_add(if strong > 0.9 { 5 } else { 0 }).max(60);
        return verdict(by_count.map_or(by_value, |percent| by_value.max(percent)));
    }
    if let Some(percent) = by_count {
        return verdict(percent);
    }
    // Few, but not by chance: the rest are no numbers that might have passed, or nothing passes by chance.
    let tried = evidence.numbers_count().max(tally.count);
    let by_chance = is_arithmetic(tally.category) && f64::from(tally.count) < 0.5 * f64::from(tried);
    let certain = confidence >= 90 && !by_chance || confidence >= 99;
    if certain && tally.count >= 2 && share >= SELDOM_SHARE_MIN && !seen.context.is_reference {
        return verdict(60);
    }
    None
}

/// Kinds of which single values say little and whose counts have their own meaning.
fn needs_its_own_rule(kind: Kind) -> bool {
    use Kind as K;
    matches!(
        kind,
        K::PersonName
            | K::GivenName
            | K::FamilyName
            | K::BirthDate
            | K::Passport
            | K::DePassport
            | K::DrivingLicence
            | K::IcdCode
            | K::Bic
            | K::Phone
            | K::Address
    )
}

fn is_arithmetic(category: Category) -> bool {
    use Category as C;
    matches!(category, C::NationalId | C::PaymentCard | C::Financial | C::Health | C::Other)
}

/// One number in about ten passes by chance, so a column of them passes by no chance.
fn has_check(kind: Kind) -> bool {
    use Kind as K;
    !matches!(kind, K::UsSsn | K::KrRrn | K::MyNric | K::DkCpr | K::IpAddress)
}

/// Names, dates, documents: what only the whole column shows.
fn of_kinds(seen: &Seen<'_>) -> impl Iterator<Item = ColumnVerdict> {
    let verdicts = [
        of_names(seen),
        of_addresses(seen),
        of_birth_dates(seen),
        of_documents(seen),
        of_codes(seen),
        of_phones(seen),
        of_plans(seen),
    ];
    verdicts.into_iter().flatten()
}

fn verdict(kind: Kind, confidence_percent: u8) -> Option<ColumnVerdict> {
    let (category, detector) = (kind.category(), kind.into());
    Some(ColumnVerdict { category, detector, confidence_percent, countries: None })
}

fn bonus(seen: &Seen<'_>, category: Category) -> u8 {
    10 * u8::from(seen.context.is_among_people) + 10 * u8::from(seen.context.expects(category))
}

fn of_names(seen: &Seen<'_>) -> Option<ColumnVerdict> {
    use Kind as K;
    let evidence = seen.evidence;
    let lifted = seen.context.expects(Category::PersonName) || seen.context.is_among_people;
    let full = evidence.share(evidence.strong_of(&[K::PersonName]));
    let any = evidence.share(evidence.count_of(&[K::PersonName, K::GivenName, K::FamilyName]));
    let single = evidence.share(evidence.count_of(&[K::GivenName, K::FamilyName]));
    if evidence.share(evidence.organisations_count()) > 0.08 || evidence.values_count() < NAMES_MIN {
        return None;
    }
    let more = bonus(seen, Category::PersonName);
    if full >= 0.35 && any >= 0.5 {
        return verdict(K::PersonName, 80 + more.min(19));
    }
    let least = if lifted { 0.25 } else { 0.4 };
    if single >= least && any >= least {
        let given = evidence.count_of(&[K::GivenName]) > evidence.count_of(&[K::FamilyName]);
        return verdict(if given { K::GivenName } else { K::FamilyName }, 65 + more);
    }
    (any >= 0.7).then(|| verdict(K::PersonName, 60 + more)).flatten()
}

fn of_addresses(seen: &Seen<'_>) -> Option<ColumnVerdict> {
    let evidence = seen.evidence;
    let strong = evidence.share(evidence.strong_of(&[Kind::Address]));
    let any = evidence.share(evidence.count_of(&[Kind::Address]));
    let more = bonus(seen, Category::Address);
    if strong >= 0.4 || any >= 0.6 && strong >= 0.2 {
        return verdict(Kind::Address, 75 + more);
    }
    None
}

fn of_birth_dates(seen: &Seen<'_>) -> Option<ColumnVerdict> {
    seen.evidence
        .is_lifetimes()
        .then(|| verdict(Kind::BirthDate, 65 + bonus(seen, Category::BirthDate)))
        .flatten()
}

/// Serial numbers of passports and licences: the German ones show themselves, since they have no vowels and none of
/// the letters that look like digits; the rest needs a name or a neighbour that says so.
fn of_documents(seen: &Seen<'_>) -> Option<ColumnVerdict> {
    use Kind as K;
    let evidence = seen.evidence;
    let german = evidence.share(evidence.count_of(&[K::DePassport]));
    let any = evidence.share(evidence.count_of(&[K::Passport, K::DePassport]));
    let more = bonus(seen, Category::Passport);
    if german >= 0.25 && any >= 0.9 && evidence.values_count() >= VALUES_MIN {
        return verdict(K::DePassport, 60 + more);
    }
    if seen.context.expects(Category::Passport) && evidence.values_count() >= WEAK_COUNT_MIN {
        if any >= 0.8 {
            return verdict(K::Passport, 60 + more);
        }
        if evidence.share(evidence.count_of(&[K::DrivingLicence])) >= 0.8 {
            return verdict(K::DrivingLicence, 60 + more);
        }
    }
    None
}

/// Bank codes and codes of diseases.
fn of_codes(seen: &Seen<'_>) -> Option<ColumnVerdict> {
    use Kind as K;
    let evidence = seen.evidence;
    let bic = evidence.count_of(&[K::Bic]);
    if evidence.share(bic) >= 0.9 && bic >= WEAK_COUNT_MIN {
        return verdict(K::Bic, 80 + bonus(seen, Category::Financial));
    }
    let icd = evidence.share(evidence.count_of(&[K::IcdCode]));
    let expected = seen.context.expects(Category::Health) || seen.context.is_among_people;
    (icd >= 0.9 && expected).then(|| verdict(K::IcdCode, 60 + bonus(seen, Category::Health))).flatten()
}

fn of_phones(seen: &Seen<'_>) -> Option<ColumnVerdict> {
    let evidence = seen.evidence;
    let strong = evidence.share(evidence.strong_of(&[Kind::Phone]));
    let any = evidence.share(evidence.count_of(&[Kind::Phone]));
    let more = bonus(seen, Category::Phone);
    let expected = seen.context.expects(Category::Phone);
    if strong >= if expected { 0.3 } else { 0.45 } {
        return verdict(Kind::Phone, 75 + more);
    }
    (any >= 0.85 && (strong >= 0.1 || expected)).then(|| verdict(Kind::Phone, 65 + more)).flatten()
}

/// Numbers of digits alone, no one of which tells: all of them are of one country's numbering plan, and that is no chance.
fn of_plans(seen: &Seen<'_>) -> Option<ColumnVerdict> {
    let fit = seen.evidence.plan().filter(|_| !seen.context.is_reference)?;
    let is_most = seen.evidence.share(fit.count) >= PLAN_SHARE_MIN;
    let found = verdict(Kind::Phone, 70 + bonus(seen, Category::Phone))?;
    (is_most && fit.bits >= PLAN_BITS_MIN).then_some(ColumnVerdict { countries: fit.countries, ..found })
}

/// Several kinds that together are most of the column: `contact` with addresses and numbers.
fn mixed(seen: &Seen<'_>) -> Option<ColumnVerdict> {
    let evidence = seen.evidence;
    let whole =
        evidence.tallies().iter().filter(|tally| tally.strong > 0 && evidence.share(tally.strong) >= 0.05);
    let (mut sum, mut first): (f64, Option<&Tally>) = (0.0, None);
    for tally in whole {
        sum += evidence.share(tally.strong);
        if first.is_none_or(|most| most.strong < tally.strong) {
            first = Some(tally);
        }
    }
    let most = first.filter(|_| sum >= 0.6 && evidence.values_count() >= WEAK_COUNT_MIN)?;
    let (category, detector) = (most.category, most.detector);
    Some(ColumnVerdict { category, detector, confidence_percent: 60, countries: None })
}

/// Text and documents in which something stands.
fn of_inside(seen: &Seen<'_>) -> impl Iterator<Item = ColumnVerdict> {
    let evidence = seen.evidence;
    let of = |kind: Kind, category: Category, count: u32| {
        let share = evidence.share(count);
        let enough = count >= 2 && share >= SELDOM_SHARE_MIN || count >= 1 && share >= 0.2;
        let percent = u8::try_from((share * 40.0) as u32).unwrap_or(40);
        enough.then(|| ColumnVerdict {
            category,
            detector: kind.into(),
            confidence_percent: 55 + percent.min(40),
            countries: None,
        })
    };
    let text = of(Kind::InText, evidence.text_category(), evidence.in_text_count());
    let document = of(Kind::InDocument, Category::Other, evidence.in_document_count());
    [text, document].into_iter().flatten()
}

const CONFIDENCE_MIN: u8 = 50;
/// Below so many values a column without findings proves nothing.
const VALUES_MIN: u32 = 20;
/// Weak findings of a column count from so many on.
const WEAK_COUNT_MIN: u32 = 10;
/// Numbers that all pass a check digit: six do in one of a million columns.
const CHECKED_COUNT_MIN: u32 = 6;
const NAMES_MIN: u32 = 5;
/// One in a million, among the two hundred plans and three forms that are tried: one column in two thousand.
const PLAN_BITS_MIN: f64 = 20.0;
/// Part of a column's values that may be something the others are not.
const SELDOM_SHARE_MIN: f64 = 0.02;

#[cfg(test)]
mod tests;
