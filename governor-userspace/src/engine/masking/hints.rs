//! Column names that only hint at what a column holds, in several languages: what they make likely, and what not.
//!
//! `lexicon` has the names that tell outright and mask alone. A hint here masks nothing by itself; it lifts values
//! that are weak evidence (`contact` and a bare number), and the words of a reference lower what arithmetic alone says.

use super::classify::{classify_column, is_people, words};
use super::detector::{ColumnContext, NAME_WORDS_MAX, word_digest};
use crate::engine::model::Category::{self, *};
use std::collections::HashMap;
use std::sync::LazyLock;

impl ColumnContext {
    /// What the names around a value say. `relation`, `column` and `neighbours` (the other columns of the relation)
    /// are bare names in any case; `relation` may be empty where it is unknown.
    pub fn new(relation: &str, column: &str, type_oid: u32, neighbours: &[&str]) -> Self {
        let mut context = Self::by_name(column, false);
        if let Some(category) = classify_column(relation, column, type_oid) {
            context = context.expecting(category);
            context.is_reference = false;
        }
        context.is_among_people = is_people(relation)
            || neighbours
                .iter()
                .take(NEIGHBOURS_MAX)
                .filter(|name| classify_column(relation, name, type_oid).is_some_and(tells_of_people))
                .count()
                >= PEOPLE_COLUMNS_MIN;
        context
    }

    /// The same of a column whose name does not tell outright, and of whose neighbours the caller knows enough.
    pub fn by_name(column: &str, is_among_people: bool) -> Self {
        let words = words(column);
        let (mut expected, mut known) = (0, Word::default());
        for (at, word) in words.iter().enumerate() {
            let hint = WORDS.get(word.as_str()).copied().unwrap_or_default();
            expected |= hint.expected;
            known.ends_reference |= hint.ends_reference && at + 1 == words.len();
            known.begins_reference |= hint.begins_reference && at == 0;
        }
        let is_reference = expected == 0 && (known.ends_reference || known.begins_reference);
        let mut digests = [0; NAME_WORDS_MAX];
        for (digest, word) in digests.iter_mut().zip(&words) {
            *digest = word_digest(word);
        }
        Self { expected, is_reference, is_among_people, words: digests, ..Self::UNKNOWN }
    }
}

/// A relation with several such columns is about people.
pub(crate) fn tells_of_people(category: Category) -> bool {
    matches!(category, Email | Phone | PersonName | BirthDate | NationalId | Address)
}

#[derive(Clone, Copy, Default)]
struct Word {
    expected: u16,
    ends_reference: bool,
    begins_reference: bool,
}

static WORDS: LazyLock<HashMap<&'static str, Word>> = LazyLock::new(|| {
    let mut known: HashMap<&'static str, Word> = HashMap::new();
    for (categories, hints) in HINTS {
        for word in hints.split_ascii_whitespace() {
            let mask = categories.iter().fold(0, |mask, &category| mask | 1 << (category as u16));
            known.entry(word).or_default().expected |= mask;
        }
    }
    for word in REFERENCES.split_ascii_whitespace() {
        known.entry(word).or_default().ends_reference = true;
    }
    for word in REFERENCES_FIRST.split_ascii_whitespace() {
        known.entry(word).or_default().begins_reference = true;
    }
    known
});

/// What a word in a name makes likely. Words are folded like those of names.
const HINTS: &[(&[Category], &str)] = &[
    (&[Email, Phone, PersonName], "contact contacts kontakt contacto contatto contato reach reachable"),
    (
        &[Email, PersonName],
        "recipient sender cc bcc login username user destinataire empfaenger absender remitente ontvanger afzender odbiorca nadawca",
    ),
    (&[Phone], "call callback dial caller callee whatsapp sms hotline rufnr"),
    (
        &[PersonName],
        "customer client employee patient owner author assignee assigned manager driver signatory tutor agent teacher doctor nurse who requester requestor approver \
         reporter holder guest passenger member student applicant candidate beneficiary insured subscriber tenant landlord lawyer witness victim kunde kundin \
         mitarbeiter patientin inhaber fahrer arzt lehrer imie nazwisko klient kunden cliente paziente dipendente utilisateur usuario pracownik gebruiker klant \
         surname nickname contactperson salesperson representative by",
    ),
    (
        &[Address],
        "location place home residence residential destination origin delivery billing ort lieu lugar adr address street road city town site venue geo position point coords \
         wohnung lieferung ubicacion endereco morada indirizzo adres ulica miejsce woonplaats",
    ),
    (
        &[BirthDate],
        "born birth geb nasc nato nata urodzenia urodzony geboren geboorte nascita nascimento bday",
    ),
    (
        &[Passport, NationalId],
        "document doc travel identity identification ausweis documento dokument licence license permit visa papers idno idnumber dowod",
    ),
    (
        &[NationalId],
        "fiscal tax social citizen insurance vat steuer impots impuesto fisco podatek belasting rfc cuit cuil rut nino tin egn cnp oib emso jmbg sin tfn amka",
    ),
    (
        &[Financial, Iban],
        "bank account wallet konto compte cuenta conto conta rekening rachunek payee payout routing crypto btc eth wire transfer",
    ),
    (&[PaymentCard], "card pan payment instrument karte carte tarjeta carta cartao kaart karta"),
    (
        &[Credential],
        "auth key config env header headers cookie session credential login hash signature nonce",
    ),
    (
        &[IpAddress],
        "host server remote source src dst client origin device peer node endpoint gateway machine hardware nic interface addr",
    ),
    (&[Health], "provider prescriber npi dea nhs medicare medical clinical health patient diag icd befund"),
];

/// Last words of names of references: numbers and codes that are given out in order or by a machine.
const REFERENCES: &str = "order orders invoice ref refs reference references tracking shipment shipping sku skus build builds version versions batch serial seq sequence uuid guid hash digest sha md5 sha256 sha1 crc checksum \
isbn ean gtin upc barcode epoch timestamp ts ms us ns amount price cost qty quantity total count lot item items product part article ticket request transaction txn trx event span trace revision rev commit etag bigint rownum rownumber \
row position rank score weight height width size length duration offset limit port status state type kind color colour url uri path slug bestellung auftrag rechnung commande facture pedido factura ordine fattura fatura zamowienie faktura \
bestelling factuur created updated modified deleted at";

/// First words of such names: `order_no`, `build_number`.
const REFERENCES_FIRST: &str = "order invoice tracking shipment sku build version batch serial seq sequence isbn ean barcode product part article ticket request transaction txn event commit item lot trace span rechnung auftrag pedido factura commande facture reference ref epoch bigint sha md5 hash";

/// So many columns of people's data make a relation of people.
pub(crate) const PEOPLE_COLUMNS_MIN: usize = 2;
/// Columns beside a value that are looked at.
const NEIGHBOURS_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: u32 = 25;

    fn context(column: &str) -> ColumnContext {
        ColumnContext::new("t", column, TEXT, &[])
    }

    #[test]
    fn hints_and_references_are_told_apart() {
        assert!(context("contact").expects(Phone) && context("contact").expects(Email));
        assert!(context("doc_no").expects(Passport));
        assert!(context("steuer_id").expects(NationalId), "a name that tells hints too");
        for reference in [
            "acct_ref",
            "order_id",
            "order_no",
            "reference16",
            "batch_no",
            "epoch_ms",
            "isbn",
            "bigint_count",
        ] {
            assert!(context(reference).is_reference, "{reference}");
        }
        for other in ["c1", "contact", "phone", "customer_ref_email", "x"] {
            assert!(!context(other).is_reference, "{other}");
        }
        let nothing = context("c17");
        assert!(nothing.expected == 0 && !nothing.is_reference && !nothing.is_among_people);
    }

    #[test]
    fn neighbours_tell_a_relation_of_people() {
        let beside = |names: &[&str]| ColumnContext::new("t", "c1", TEXT, names).is_among_people;
        assert!(beside(&["id", "email", "birth_date"]));
        assert!(!beside(&["id", "email", "sku"]));
        assert!(ColumnContext::new("customers", "c1", TEXT, &[]).is_among_people);
    }
}
