//! Column names that tell, and look-alikes that do not.

use super::*;
use Category::*;

const BOOL: u32 = 16;
const INT4: u32 = 23;
const INT8: u32 = 20;
const TEXT: u32 = 25;
const DATE: u32 = 1082;
const TIMESTAMPTZ: u32 = 1184;
const NUMERIC: u32 = 1700;
const UUID: u32 = 2950;
const INET: u32 = 869;
const INTERVAL: u32 = 1186;
const XID8: u32 = 5069;

#[test]
fn sensitive_names_are_found() {
    let rows: &[(&str, &str, u32, Category)] = &[
        ("users", "email", TEXT, Email),
        ("users", "EMAIL_ADDRESS", TEXT, Email),
        ("t", "customerEmail", TEXT, Email),
        ("t", "primaryEMail", TEXT, Email),
        ("t", "email2", TEXT, Email),
        ("clients", "courriel", TEXT, Email),
        ("t", "correo_electronico", TEXT, Email),
        ("t", "phone", TEXT, Phone),
        ("t", "phone_en_us", TEXT, Phone),
        ("t", "mobile_number", INT8, Phone),
        ("t", "Telefonnummer", TEXT, Phone),
        ("t", "teléfono", TEXT, Phone),
        ("t", "card_number", TEXT, PaymentCard),
        ("t", "cardNumber", INT8, PaymentCard),
        ("t", "cvv", INT4, PaymentCard),
        ("t", "iban", TEXT, Iban),
        ("t", "ssn", TEXT, NationalId),
        ("t", "SSN", INT4, NationalId),
        ("t", "steuer_id", TEXT, NationalId),
        ("t", "numero_secu", TEXT, NationalId),
        ("t", "pan", TEXT, NationalId),
        ("t", "national_insurance", TEXT, NationalId),
        ("t", "first_name", TEXT, PersonName),
        ("t", "lastName", TEXT, PersonName),
        ("t", "full_name_de_de", TEXT, PersonName),
        ("t", "Nachname", TEXT, PersonName),
        ("t", "prénom", TEXT, PersonName),
        ("people", "name", TEXT, PersonName),
        ("customers", "name", TEXT, PersonName),
        ("tmp_users_2024", "name", TEXT, PersonName),
        ("customers_archive", "name", TEXT, PersonName),
        ("UserProfiles", "name", TEXT, PersonName),
        ("clientes", "nombre", TEXT, PersonName),
        ("t", "address", TEXT, Address),
        ("t", "shipping_address_line_2", TEXT, Address),
        ("t", "Straße", TEXT, Address),
        ("t", "birth_date", DATE, BirthDate),
        ("t", "dob", TEXT, BirthDate),
        ("t", "date_of_birth", TIMESTAMPTZ, BirthDate),
        ("t", "geburtsdatum", DATE, BirthDate),
        ("t", "fechaDeNacimiento", DATE, BirthDate),
        ("t", "numero_cellulare", TEXT, Phone),
        ("t", "cognome", TEXT, PersonName),
        ("t", "codice_fiscale", TEXT, NationalId),
        ("t", "pesel", TEXT, NationalId),
        ("t", "DataDiNascita", DATE, BirthDate),
        ("t", "telemovel", TEXT, Phone),
        ("t", "data_nascimento", DATE, BirthDate),
        ("t", "telefoonnummer", TEXT, Phone),
        ("t", "geboortedatum", DATE, BirthDate),
        ("t", "numer_telefonu", TEXT, Phone),
        ("t", "nazwisko_rodowe", TEXT, PersonName),
        ("t", "passport_no", TEXT, Passport),
        ("t", "salary", INTERVAL, Financial),
        ("t", "diagnosis", INTERVAL, Health),
        ("t", "salary", XID8, Financial),
        ("t", "driver_license", TEXT, Passport),
        ("t", "password_hash", TEXT, Credential),
        ("t", "api_key", UUID, Credential),
        ("t", "APIKey", TEXT, Credential),
        ("t", "mot_de_passe", TEXT, Credential),
        ("t", "aws_secret", TEXT, Credential),
        ("t", "pin", INT4, Credential),
        ("t", "ip_address", TEXT, IpAddress),
        ("t", "mac_address", TEXT, IpAddress),
        ("logins", "source", INET, IpAddress),
        ("t", "diagnosis", TEXT, Health),
        ("t", "is_pregnant", BOOL, Health),
        ("t", "blood_type", TEXT, Health),
        ("t", "salary", NUMERIC, Financial),
        ("t", "gehalt", NUMERIC, Financial),
        ("t", "credit_score", INT4, Financial),
        ("t", "account_number", INT8, Financial),
        ("t", "religion", TEXT, Other),
        // An array or a type of an extension (citext) may hold anything.
        ("t", "email", 16_999, Email),
        ("t", "emails", 1009, Email),
    ];
    for &(relation, column, oid, category) in rows {
        assert_eq!(classify_column(relation, column, oid), Some(category), "{relation}.{column} {oid}");
    }
}

#[test]
fn look_alike_names_are_left_alone() {
    let rows: &[(&str, &str, u32)] = &[
        ("users", "email_verified", BOOL),
        ("users", "email_verified", TEXT),
        ("users", "email_count", INT4),
        ("users", "email_sent_at", TIMESTAMPTZ),
        ("users", "email_id", INT8),
        ("users", "is_email", TEXT),
        ("t", "phone_type", TEXT),
        ("t", "address_type", TEXT),
        ("t", "address_id", INT8),
        ("t", "memory_address", TEXT),
        ("t", "address_id", UUID),
        ("t", "password_changed_at", TIMESTAMPTZ),
        ("t", "has_password", BOOL),
        ("t", "token_count", INT4),
        ("t", "password", INTERVAL),
        ("t", "phone", INTERVAL),
        ("t", "session_token", INTERVAL),
        ("t", "xmin", XID8),
        ("t", "backend_xid", XID8),
        ("t", "email", XID8),
        ("t", "max_tokens", INT4),
        ("t", "credit_card_type", TEXT),
        ("t", "card_id", INT8),
        ("products", "name", TEXT),
        ("user_roles", "name", TEXT),
        ("", "name", TEXT),
        ("t", "filename", TEXT),
        ("t", "hostname", TEXT),
        ("t", "product_name", TEXT),
        ("communes", "code_insee", TEXT),
        ("t", "panel", TEXT),
        ("t", "pan_angle", NUMERIC),
        ("t", "zip_file", TEXT),
        ("stores", "zip", TEXT),
        ("t", "ship_date", DATE),
        ("t", "description", TEXT),
        ("t", "shipping_method", TEXT),
        ("t", "public_key", TEXT),
        ("t", "pinned", BOOL),
        ("t", "amount", NUMERIC),
        ("t", "status", TEXT),
        ("t", "", TEXT),
        ("t", "___", TEXT),
        ("t", "2024", TEXT),
    ];
    for &(relation, column, oid) in rows {
        assert_eq!(classify_column(relation, column, oid), None, "{relation}.{column} {oid}");
    }
}

#[test]
fn every_phrase_is_reachable_from_its_own_name() {
    for (category, place, list) in phrases() {
        for phrase in *list {
            assert!(phrase.split(' ').count() <= PHRASE_WORDS_MAX, "{phrase}");
            let name = phrase.replace(' ', "_");
            assert_eq!(words(&name).join(" "), **phrase, "lexicon entries are folded, lower-case words");
            if *place == Place::Anywhere {
                let found = classify_column("t", &name, TEXT);
                assert_eq!(found, *category, "{name}");
            }
        }
    }
}

#[test]
fn types_without_room_for_text_carry_nothing() {
    for oid in [16, 20, 21, 23, 700, 701, 1082, 1114, 1184, 1700, 2950, 869] {
        assert!(!could_carry(oid), "{oid}");
    }
    // text, varchar, bpchar, name, "char", json, jsonb, xml, bytea, text[], int4[], record, unknown.
    for oid in [25, 1043, 1042, 19, 18, 114, 3802, 142, 17, 1009, 1007, 2249, 0, 99_999, u32::MAX] {
        assert!(could_carry(oid), "{oid}");
    }
}
