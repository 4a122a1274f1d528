//! A labelled corpus: columns of made-up values, each column with a name that tells and one that does not.
//!
//! Why made up: real personal data has no place in a repository, and a generator has as many seeds as one wants: detectors
//! are tuned on one and judged on another. Twenty locales, forty identity numbers, credentials, free text and JSON, and about
//! as many columns of values that only look like something.
//!
//! Invariant: the same seed makes the same corpus everywhere; a column's values depend on its name and the seed alone.

pub mod checks;
pub mod csv;
pub mod harmless;
pub mod locales;
pub mod money;
pub mod national;
pub mod people;
pub mod phones;
pub mod prose;
pub mod random;
pub mod rows;
pub mod secrets;

use locales::LOCALES;
use random::Random;

/// Values of one kind under one name.
#[derive(Clone, Debug)]
pub struct Column {
    pub id: String,
    /// As a careful schema would call it.
    pub name_clear: String,
    /// As a careless one would.
    pub name_opaque: String,
    /// What the values are; [`NONE`] where they are nothing that has to be hidden.
    pub label: String,
    pub values: Vec<String>,
}

pub const NONE: &str = "none";
/// Free text with something in it.
pub const FREE_TEXT: &str = "free_text_pii";
/// JSON with something in it.
pub const JSON: &str = "json_pii";

/// For tuning detectors; what they are judged by is [`SEED_JUDGE`].
pub const SEED_TUNE: u64 = 1;
pub const SEED_JUDGE: u64 = 0x6f76_6572_6e6f_7221;

/// All columns, with so many values each.
pub fn generate(seed: u64, values_count: usize) -> Vec<Column> {
    let mut maker = Maker { random: Random::new(seed), values_count, columns: vec![] };
    for name in ["email", "contact_email", "kontakt"] {
        maker.add(name, "email", people::email);
    }
    for locale in LOCALES {
        let [name, phone, address, birth] = locale.columns;
        let named = |column: &str| format!("{column}/{}", locale.code);
        maker.add(&named(name), "person_name", |r| people::full_name(r, locale));
        maker.add(&named(phone), "phone", |r| people::phone(r, locale));
        maker.add(&named(address), "address", |r| people::address(r, locale));
        if ["en_us", "de_de", "fr_fr", "es_es"].contains(&locale.code) {
            let german = locale.code == "de_de";
            maker.add(&named(birth), "date_of_birth", |r| {
                if german { people::birth_date_german(r) } else { people::birth_date(r) }
            });
        }
    }
    for (name, family) in [("first_name", false), ("last_name", true), ("vorname", false), ("apellido", true)]
    {
        maker.add(name, "person_name", |r| {
            let locale = people::any_locale(r);
            r.pick(if family { locale.family } else { locale.given }).to_owned()
        });
    }
    for (label, names, make) in national::NUMBERS {
        for name in *names {
            maker.add(name, label, make);
        }
    }
    maker.add("passport_no", "passport", people::passport);
    maker.add("driving_licence", "driving_licence", people::driving_licence);
    maker.add("medical_record_number", "medical_record", people::medical_record);
    maker.add("diagnosis_code", "icd_code", people::diagnosis);
    maker.add("card_number", "credit_card", money::card);
    maker.add("kreditkarte", "credit_card", money::card);
    maker.add("iban", "iban", money::iban);
    maker.add("bankverbindung", "iban", money::iban);
    maker.add("bic", "bic", money::bic);
    maker.add("wallet_address", "crypto_wallet", money::wallet);
    maker.add("salary", "salary", money::salary);
    for (name, make) in secrets::SECRETS {
        maker.add(name, "secret", make);
    }
    maker.add("ip_address", "ip", secrets::ip);
    maker.add("mac", "mac", secrets::mac);
    maker.add("coordinates", "geo", secrets::geo);
    maker.add("comment", FREE_TEXT, prose::with_finding);
    maker.add("notiz", FREE_TEXT, prose::with_finding);
    maker.add("payload", JSON, prose::json_with_finding);
    maker.add("remark", NONE, prose::without_finding);
    maker.add("bemerkung", NONE, prose::without_finding);
    maker.add("log_line", NONE, prose::log_line);
    maker.add("event", NONE, prose::json_without_finding);
    for (name, make) in harmless::HARMLESS {
        maker.add(name, NONE, make);
    }
    maker.columns
}

/// Columns of telephone numbers that are digits alone, and of numbers that look like them, with so many values each.
pub fn generate_phones(seed: u64, values_count: usize) -> Vec<Column> {
    let mut maker = Maker { random: Random::new(seed), values_count, columns: vec![] };
    phones::add(&mut maker);
    maker.columns
}

struct Maker {
    random: Random,
    values_count: usize,
    columns: Vec<Column>,
}

impl Maker {
    /// `name` may carry a locale behind a slash, for its stream only.
    fn add(&mut self, name: &str, label: &str, make: impl Fn(&mut Random) -> String) {
        let mut random = self.random.derive(name);
        let number = self.columns.len();
        self.columns.push(Column {
            id: format!("c{number:03}"),
            name_clear: name.split('/').next().unwrap_or(name).to_owned(),
            name_opaque: format!("f{}", number + 1),
            label: label.to_owned(),
            values: (0..self.values_count).map(|_| make(&mut random)).collect(),
        });
    }
}
