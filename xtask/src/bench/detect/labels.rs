//! Which words of governor and of Presidio stand for which label of the corpus.
//!
//! Both tools are read kindly: what names the kind counts, and so does what names a kind that includes it (`national_id`, `LOCATION`).
//! What Presidio calls a date, a link or a nationality is neither right nor wrong, since a corpus of tables is full of harmless ones: a
//! date counts where a birth date stands, and nothing is held against it anywhere else; so with kinds that the corpus has no label for.

/// Labels a word may stand for. `None`: the word says nothing that counts.
pub fn meant(word: &str) -> Option<Meaning> {
    match word {
        "in_text" | "in_document" => return Some(Meaning::Inside),
        "DATE_TIME" => return Some(Meaning::OnlyIf(&["date_of_birth"])),
        "URL" | "NRP" => return None,
        _ => {}
    }
    let word = own(word);
    match WORDS.iter().find(|(known, _)| *known == word) {
        Some((_, labels)) => Some(Meaning::Any(labels)),
        // A kind of Presidio's (in capitals) that the corpus has no label for: number plates, companies, post codes.
        None if word.starts_with(|c: char| c.is_ascii_uppercase()) => None,
        // Detectors and labels have the same names where nothing else is said.
        None => Some(Meaning::Own),
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// One of these.
    Any(&'static [&'static str]),
    /// One of these, or as good as unsaid.
    OnlyIf(&'static [&'static str]),
    /// The label of the same name.
    Own,
    /// Something stands inside: right for text and documents.
    Inside,
}

/// Whether `word` names what `label` says.
pub fn is_right(word: &str, label: &str) -> bool {
    if INSIDE_LABELS.contains(&label) {
        return meant(word).is_some_and(|meaning| !matches!(meaning, Meaning::OnlyIf(_)));
    }
    match meant(word) {
        Some(Meaning::Any(labels) | Meaning::OnlyIf(labels)) => labels.contains(&label),
        Some(Meaning::Own) => own(word) == label,
        Some(Meaning::Inside) | None => false,
    }
}

/// Whether `word` claims that there is something, right or wrong, where `label` stands.
pub fn claims(word: &str, label: &str) -> bool {
    match meant(word) {
        None => false,
        Some(Meaning::OnlyIf(labels)) => labels.contains(&label),
        Some(_) => true,
    }
}

/// The label that a wrong claim is held against.
pub fn blamed(word: &str) -> &str {
    match meant(word) {
        Some(Meaning::Any([first, rest @ ..])) if rest.len() <= 2 => first,
        Some(Meaning::Any(_)) => "(of several)",
        Some(Meaning::Inside) => "free_text_pii",
        _ => own(word),
    }
}

/// The word itself, whether a value or a column's name says it.
fn own(word: &str) -> &str {
    word.strip_prefix("by_name:").unwrap_or(word)
}

/// Values of these are not one thing but have one inside.
const INSIDE_LABELS: &[&str] = &["free_text_pii", "json_pii"];

/// Every label of an identity number.
const NATIONAL: &[&str] = &[
    "us_ssn",
    "us_itin",
    "ca_sin",
    "mx_curp",
    "br_cpf",
    "br_cnpj",
    "ar_cuit",
    "cl_rut",
    "uk_nino",
    "uk_nhs",
    "ie_pps",
    "de_steuer_id",
    "fr_insee",
    "es_dni",
    "it_codice_fiscale",
    "pt_nif",
    "nl_bsn",
    "be_national_number",
    "ch_ahv",
    "at_social_security",
    "pl_pesel",
    "cz_rodne_cislo",
    "se_personnummer",
    "no_fodselsnummer",
    "dk_cpr",
    "fi_hetu",
    "ro_cnp",
    "bg_egn",
    "hr_oib",
    "gr_amka",
    "tr_tckn",
    "il_id",
    "in_aadhaar",
    "in_pan",
    "sg_nric",
    "kr_rrn",
    "jp_my_number",
    "cn_resident_id",
    "tw_id",
    "th_id",
    "au_tfn",
    "za_id",
];

/// Words, and the labels that they stand for.
const WORDS: &[(&str, &[&str])] = &[
    // governor: categories, and detectors whose label has another name.
    ("payment_card", &["credit_card"]),
    ("card_track", &["credit_card"]),
    ("national_id", NATIONAL),
    ("birth_date", &["date_of_birth"]),
    ("passport", &["passport", "driving_licence"]),
    ("passport_mrz", &["passport"]),
    ("de_passport", &["passport"]),
    ("uk_driving_licence", &["driving_licence"]),
    ("credential", &["secret"]),
    ("ip_address", &["ip", "mac"]),
    ("mac_address", &["mac"]),
    ("address", &["address", "geo"]),
    ("geo_coordinates", &["geo"]),
    ("given_name", &["person_name"]),
    ("family_name", &["person_name"]),
    ("health", &["medical_record", "icd_code", "uk_nhs"]),
    ("financial", &["bic", "crypto_wallet", "salary"]),
    ("bitcoin_address", &["crypto_wallet"]),
    ("ethereum_address", &["crypto_wallet"]),
    ("litecoin_address", &["crypto_wallet"]),
    ("tron_address", &["crypto_wallet"]),
    ("other", &[]),
    // governor's names of credentials.
    ("jwt", &["secret"]),
    ("private_key", &["secret"]),
    ("aws_access_key", &["secret"]),
    ("secret_key_base64", &["secret"]),
    ("google_key", &["secret"]),
    ("azure_key", &["secret"]),
    ("github_token", &["secret"]),
    ("gitlab_token", &["secret"]),
    ("slack_token", &["secret"]),
    ("stripe_key", &["secret"]),
    ("openai_key", &["secret"]),
    ("npm_token", &["secret"]),
    ("pypi_token", &["secret"]),
    ("sendgrid_key", &["secret"]),
    ("digitalocean_token", &["secret"]),
    ("password_hash", &["secret"]),
    ("connection_string", &["secret"]),
    // Presidio.
    ("EMAIL_ADDRESS", &["email"]),
    ("PHONE_NUMBER", &["phone"]),
    ("CREDIT_CARD", &["credit_card"]),
    ("IBAN_CODE", &["iban"]),
    ("CRYPTO", &["crypto_wallet"]),
    ("IP_ADDRESS", &["ip"]),
    ("MAC_ADDRESS", &["mac"]),
    ("PERSON", &["person_name"]),
    ("LOCATION", &["address", "geo"]),
    ("MEDICAL_LICENSE", &["medical_record"]),
    ("US_SSN", &["us_ssn"]),
    ("US_ITIN", &["us_itin"]),
    ("US_PASSPORT", &["passport"]),
    ("US_DRIVER_LICENSE", &["driving_licence"]),
    ("US_BANK_NUMBER", &["bank_account"]),
    ("UK_NHS", &["uk_nhs"]),
    ("UK_NINO", &["uk_nino"]),
    ("UK_PASSPORT", &["passport"]),
    ("UK_DRIVING_LICENCE", &["driving_licence"]),
    ("ES_NIF", &["es_dni"]),
    ("ES_NIE", &["es_dni"]),
    ("ES_PASSPORT", &["passport"]),
    ("IT_FISCAL_CODE", &["it_codice_fiscale"]),
    ("IT_PASSPORT", &["passport"]),
    ("IT_DRIVER_LICENSE", &["driving_licence"]),
    ("IT_IDENTITY_CARD", &["passport"]),
    ("PL_PESEL", &["pl_pesel"]),
    ("FI_PERSONAL_IDENTITY_CODE", &["fi_hetu"]),
    ("SG_NRIC_FIN", &["sg_nric"]),
    ("AU_TFN", &["au_tfn"]),
    ("IN_PAN", &["in_pan"]),
    ("IN_AADHAAR", &["in_aadhaar"]),
    ("IN_PASSPORT", &["passport"]),
    ("KR_RRN", &["kr_rrn"]),
    ("KR_PASSPORT", &["passport"]),
    ("KR_DRIVER_LICENSE", &["driving_licence"]),
    ("TH_TNIN", &["th_id"]),
    ("SE_PERSONNUMMER", &["se_personnummer"]),
    ("DE_TAX_ID", &["de_steuer_id"]),
    ("DE_PASSPORT", &["passport"]),
    ("DE_ID_CARD", &["passport"]),
    ("DE_BSNR", &["medical_record"]),
    ("CA_SIN", &["ca_sin"]),
    ("TR_NATIONAL_ID", &["tr_tckn"]),
    ("BR_CPF", &["br_cpf"]),
    ("NG_NIN", &["ng_nin"]),
    ("ZA_ID_NUMBER", &["za_id"]),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_counts_by_its_own_name_and_by_one_that_includes_it() {
        for word in ["us_ssn", "national_id", "by_name:national_id", "US_SSN"] {
            assert!(is_right(word, "us_ssn"), "{word}");
        }
        for word in ["br_cpf", "phone", "in_text", "URL", "DATE_TIME", "other"] {
            assert!(!is_right(word, "us_ssn"), "{word}");
        }
        assert!(is_right("by_name:email", "email") && is_right("email", "email"));
        assert!(is_right("in_text", "free_text_pii") && is_right("EMAIL_ADDRESS", "json_pii"));
        assert!(!is_right("DATE_TIME", "free_text_pii") && !is_right("URL", "free_text_pii"));
    }

    #[test]
    fn a_date_is_held_against_nobody() {
        assert!(is_right("DATE_TIME", "date_of_birth") && claims("DATE_TIME", "date_of_birth"));
        assert!(!claims("DATE_TIME", "none") && !claims("URL", "none") && claims("PERSON", "none"));
    }
}
