//! National numbers with letters or separators in fixed places; bare digits are in `numbers.rs`.

use super::Group::{Id, Token};
use super::{Shape, always, shape};
use crate::engine::masking::detector::kind::Kind as K;
use crate::engine::masking::detector::national::{self as id, america, asia, europe};

pub(super) const SHAPES: &[Shape] = &[
    // Western Europe.
    shape(
        K::UkNino,
        Id,
        90,
        true,
        r"[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z] ?[0-9]{2} ?[0-9]{2} ?[0-9]{2} ?[A-D]",
        id::uk_nino,
    ),
    // Written with blanks as its issuer does, and passing its check, it is hardly a phone of North America.
    shape(K::UkNhs, Id, 82, false, r"[0-9]{3} [0-9]{3} [0-9]{4}", europe::uk_nhs),
    shape(K::UkNhs, Id, 75, false, r"[0-9]{3}-[0-9]{3}-[0-9]{4}", europe::uk_nhs),
    shape(
        K::UkDrivingLicence,
        Id,
        90,
        true,
        r"[A-Z]{1,5}9{0,4}[0-9][0156][0-9][0-3][0-9]{2}[A-Z9]{2}[0-9A-Z]{3}",
        europe::uk_driving_licence,
    ),
    shape(K::IePps, Id, 90, true, r"[0-9]{7}[A-W][ABHPTWX]?", europe::ie_pps),
    shape(K::EsDni, Id, 95, true, r"(?:[0-9]{8}-?|[XYZ]-?[0-9]{7}-?)[A-Z]", id::es_dni),
    shape(
        K::FrInsee,
        Id,
        98,
        true,
        r"[12378] ?[0-9]{2} ?[0-9]{2} ?(?:[0-9]{2}|2[AB]) ?[0-9]{3} ?[0-9]{3} ?[0-9]{2}",
        id::fr_insee,
    ),
    shape(
        K::ItCodiceFiscale,
        Id,
        98,
        true,
        r"[A-Z]{6}[0-9LMNP-V]{2}[ABCDEHLMPR-T][0-9LMNP-V]{2}[A-Z][0-9LMNP-V]{3}[A-Z]",
        id::it_codice_fiscale,
    ),
    shape(
        K::BeNationalNumber,
        Id,
        95,
        true,
        r"[0-9]{2}\.[0-9]{2}\.[0-9]{2}-[0-9]{3}\.[0-9]{2}",
        id::be_national_number,
    ),
    shape(K::ChAhv, Id, 95, true, r"756\.[0-9]{4}\.[0-9]{4}\.[0-9]{2}", id::ch_ahv),
    shape(K::DeSteuerId, Id, 85, false, r"[1-9][0-9] [0-9]{3} [0-9]{3} [0-9]{3}", id::de_steuer_id),
    shape(
        K::DeSocialSecurity,
        Id,
        95,
        true,
        r"[0-9]{2} ?[0-3][0-9][01][0-9][0-9]{2} ?[A-Z] ?[0-9]{2} ?[0-9]",
        europe::de_social_security,
    ),
    shape(
        K::AtSocialSecurity,
        Id,
        85,
        true,
        r"[1-9][0-9]{3}[ -][0-3][0-9][01][0-9]{3}",
        europe::at_social_security,
    ),
    shape(K::PtNif, Id, 60, false, r"[1-35689][0-9]{2} [0-9]{3} [0-9]{3}", europe::pt_nif),
    // Northern and eastern Europe.
    shape(K::SePersonnummer, Id, 85, true, r"(?:19|20)?[0-9]{6}[-+][0-9]{4}", id::se_personnummer),
    shape(K::NoFodselsnummer, Id, 90, true, r"[0-9]{6} [0-9]{5}", id::no_fodselsnummer),
    shape(K::FiHetu, Id, 95, true, r"[0-9]{6}[-+A-FU-Y][0-9]{3}[0-9A-Y]", id::fi_hetu),
    shape(K::IsKennitala, Id, 90, true, r"[0-7][0-9][01][0-9]{3}-[0-9]{3}[890]", europe::is_kennitala),
    // A German area code of six digits (03…) is never a day and a month.
    shape(K::DkCpr, Id, 75, false, r"[0-3][0-9][01][0-9]{3}-[0-9]{4}", europe::dk_cpr),
    shape(K::PlNip, Id, 80, true, r"[1-9][0-9]{2}-[0-9]{3}-[0-9]{2}-[0-9]{2}", europe::pl_nip),
    shape(K::PlNip, Id, 80, true, r"[1-9][0-9]{2}-[0-9]{2}-[0-9]{2}-[0-9]{3}", europe::pl_nip),
    shape(K::CzRodneCislo, Id, 90, true, r"[0-9]{2}[0-8][0-9][0-3][0-9]/[0-9]{4}", europe::cz_rodne_cislo),
    shape(K::RuSnils, Id, 95, true, r"[0-9]{3}-[0-9]{3}-[0-9]{3}[ -][0-9]{2}", europe::ru_snils),
    // The Americas.
    shape(K::UsSsn, Id, 90, true, r"[0-9]{3}-[0-9]{2}-[0-9]{4}", id::us_ssn),
    shape(K::UsSsn, Id, 60, false, r"[0-9]{3} [0-9]{2} [0-9]{4}", id::us_ssn),
    shape(K::UsItin, Id, 85, true, r"9[0-9]{2}-[5-9][0-9]-[0-9]{4}", america::us_itin),
    shape(K::CaSin, Id, 80, true, r"[1-79][0-9]{2}[ -][0-9]{3}[ -][0-9]{3}", america::ca_sin),
    shape(K::BrCnpj, Id, 98, true, r"[0-9]{2}\.[0-9]{3}\.[0-9]{3}/[0-9]{4}-[0-9]{2}", america::br_cnpj),
    // Given out since 2026.
    shape(
        K::BrCnpj,
        Id,
        98,
        false,
        r"[0-9A-Z]{2}\.[0-9A-Z]{3}\.[0-9A-Z]{3}/[0-9A-Z]{4}-[0-9]{2}",
        america::br_cnpj_lettered,
    ),
    shape(K::BrCpf, Id, 98, true, r"[0-9]{3}\.[0-9]{3}\.[0-9]{3}-[0-9]{2}", id::br_cpf),
    shape(
        K::MxCurp,
        Id,
        95,
        true,
        r"[A-Z][AEIOUX][A-Z]{2}[0-9]{6}[HMX][A-Z]{2}[B-DF-HJ-NP-TV-Z]{3}[A-Z0-9][0-9]",
        id::mx_curp,
    ),
    shape(K::MxRfc, Id, 85, true, r"[A-Z][AEIOUX][A-Z]{2}[0-9]{6}[A-Z0-9]{2}[0-9A]", america::mx_rfc),
    shape(K::ArCuit, Id, 90, true, r"(?:2[03-7]|3[034])-[0-9]{8}-[0-9]", america::ar_cuit),
    shape(K::ClRut, Id, 92, true, r"[0-9]{1,2}\.[0-9]{3}\.[0-9]{3}-[0-9Kk]", america::cl_rut),
    shape(K::ClRut, Id, 70, true, r"[0-9]{7,8}-[0-9Kk]", america::cl_rut),
    shape(K::UyCi, Id, 85, true, r"[0-9]\.[0-9]{3}\.[0-9]{3}-[0-9]", america::uy_ci),
    // Asia, Africa, Oceania.
    shape(K::InAadhaar, Id, 85, true, r"[2-9][0-9]{3}[ -][0-9]{4}[ -][0-9]{4}", id::in_aadhaar),
    shape(K::InPan, Id, 85, true, r"[A-Z]{3}[ABCFGHJLPT][A-Z][0-9]{4}[A-Z]", always),
    shape(K::PkCnic, Id, 80, true, r"[1-7][0-9]{4}-[0-9]{7}-[1-9]", always),
    shape(
        K::CnResidentId,
        Id,
        95,
        true,
        r"[1-9][0-9]{5}(?:19|20)[0-9]{2}[01][0-9][0-3][0-9]{4}[0-9X]",
        id::cn_resident_id,
    ),
    shape(K::HkId, Id, 95, true, r"[A-Z]{1,2}[0-9]{6}\([0-9A]\)", asia::hk_id),
    shape(K::TwId, Id, 85, true, r"[A-Z][1289][0-9]{8}", asia::tw_id),
    // Twelve digits in fours with a check digit are an identity number of Japan or of India.
    shape(K::JpMyNumber, Id, 55, false, r"[0-9]{4}[ -][0-9]{4}[ -][0-9]{4}", asia::jp_my_number),
    shape(K::KrRrn, Id, 80, true, r"[0-9]{6}-[1-8][0-9]{6}", id::kr_rrn),
    shape(K::SgNric, Id, 95, true, r"[STFG][0-9]{7}[A-Z]", id::sg_nric),
    shape(K::MyNric, Id, 80, true, r"[0-9]{2}[01][0-9][0-3][0-9]-[0-9]{2}-[0-9]{4}", asia::my_nric),
    shape(K::ThId, Id, 92, true, r"[1-8]-[0-9]{4}-[0-9]{5}-[0-9]{2}-[0-9]", asia::th_id),
    shape(K::AeEmiratesId, Id, 97, true, r"784-[0-9]{4}-[0-9]{7}-[0-9]", asia::ae_emirates_id),
    shape(K::AuTfn, Id, 65, false, r"[0-9]{3} [0-9]{3} [0-9]{3}", asia::au_tfn),
    shape(K::AuMedicare, Id, 75, false, r"[2-6][0-9]{3} [0-9]{5} [0-9](?:[ /-][1-9])?", asia::au_medicare),
    // Health in the United States.
    shape(
        K::UsMbi,
        Id,
        85,
        true,
        r"[1-9][AC-HJKMNP-RT-Y][0-9AC-HJKMNP-RT-Y][0-9]-?[AC-HJKMNP-RT-Y][0-9AC-HJKMNP-RT-Y][0-9]-?[AC-HJKMNP-RT-Y]{2}[0-9]{2}",
        always,
    ),
    shape(K::UsDea, Id, 85, true, r"[ABCDEFGHJKLMPRSTUX][A-Z9][0-9]{7}", america::us_dea),
    shape(K::MedicalRecord, Id, 85, true, r"MRN[-# ]?[0-9]{7,10}", always),
    shape(K::IcdCode, Id, 30, false, r"[A-TV-Z][0-9][0-9AB](?:\.[0-9A-Z]{1,4})?", always),
    // Documents and vehicles. Serial numbers of passports have no telling shape: they need their column.
    shape(K::PassportMrz, Token, 98, false, r"P[A-Z<][A-Z<]{3}[A-Z<]{20,39}", europe::mrz_names),
    shape(
        K::PassportMrz,
        Token,
        98,
        true,
        r"[A-Z0-9<]{9}[0-9][A-Z<]{3}[0-9]{7}[MF<X][0-9]{7}[A-Z0-9<]{14,16}",
        europe::mrz_numbers,
    ),
    shape(K::Vin, Id, 85, true, r"[A-HJ-NPR-Z0-9]{8}[0-9X][A-HJ-NPR-Z0-9]{8}", america::vin),
    // German, American and Indian, British, French, Spanish and Italian or Dutch serial numbers.
    shape(K::DePassport, Id, 30, false, r"[CFGHJK][0-9CFGHJKLMNPRTVWXYZ]{8}", has_letter_behind),
    shape(K::Passport, Id, 25, false, r"[A-Z][0-9]{7,8}", always),
    shape(K::Passport, Id, 25, false, r"[0-9]{2}[A-Z]{2}[0-9]{5}", always),
    shape(K::Passport, Id, 25, false, r"[A-Z]{2,3}[0-9]{6,7}", always),
    // Florida, Illinois and Wisconsin group theirs: a letter and eleven digits or more.
    shape(
        K::DrivingLicence,
        Id,
        55,
        false,
        r"[A-Z][0-9]{3}-[0-9]{4}-[0-9]{4}(?:-[0-9]{2})?|[A-Z][0-9]{3}-[0-9]{3}-[0-9]{2}-[0-9]{3}-[0-9]",
        always,
    ),
    shape(
        K::DrivingLicence,
        Id,
        25,
        false,
        r"[A-Z][0-9]{7,14}|[A-Z]{2}[0-9]{5,7}[A-Z]?|[A-Z][0-9A-Z]{10}",
        always,
    ),
];

/// A letter beyond the first: one letter and digits alone are many things.
fn has_letter_behind(value: &[u8]) -> bool {
    value.iter().skip(1).any(u8::is_ascii_uppercase)
}
