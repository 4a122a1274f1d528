//! Numbers without any separator, by their length: no pattern needed, only arithmetic.
//!
//! Most values of most tables are such numbers, and a check digit is one in ten, so what counts by itself is what
//! has two check digits, or a check digit and a date, or an issuer's range. The rest counts in context only: below
//! `ALONE_PERCENT_MIN`, for columns whose name, or nearly all of whose values, say what they are.

use super::checksum::{digits, luhn};
use super::kind::Kind::{self, *};
use super::national::{self as id, america, asia, europe};
use super::shapes::{card_digits, us_routing_number};

/// What a number of one length may be.
pub(super) struct Number {
    pub(super) kind: Kind,
    pub(super) confidence_percent: u8,
    check: fn(&[u8]) -> bool,
}

impl Number {
    pub(super) fn holds(&self, value: &[u8]) -> bool {
        (self.check)(value)
    }
}

const fn number(kind: Kind, confidence_percent: u8, check: fn(&[u8]) -> bool) -> Number {
    Number { kind, confidence_percent, check }
}

/// What `length` digits may be, the surest first.
pub(super) fn of_length(length: usize) -> &'static [Number] {
    match length {
        9 => NINE,
        10 => TEN,
        11 => ELEVEN,
        12 => TWELVE,
        13 => THIRTEEN,
        14 => FOURTEEN,
        15 => FIFTEEN,
        16 | 17 | 19 => CARD,
        18 => EIGHTEEN,
        _ => &[],
    }
}

static NINE: &[Number] = &[
    number(NlBsn, 40, europe::nl_bsn),
    number(PtNif, 40, europe::pt_nif),
    number(CaSin, 40, america::ca_sin),
    number(IlId, 35, asia::il_id),
    number(AuTfn, 35, asia::au_tfn),
    number(UsRoutingNumber, 30, us_routing_number),
    number(UsSsn, 20, id::us_ssn),
    // Spanish mobile and landline numbers.
    number(Phone, 18, |value| matches!(value.first(), Some(b'6' | b'7' | b'9'))),
    number(Passport, 15, |_| true),
];
static TEN: &[Number] = &[
    number(Phone, 50, |value| matches!(value, [b'0', b'6' | b'7', ..]) && id::is_not_isbn10(value)),
    number(BgEgn, 48, europe::bg_egn),
    number(CzRodneCislo, 48, europe::cz_rodne_cislo),
    number(SePersonnummer, 48, id::se_personnummer),
    number(AtSocialSecurity, 48, europe::at_social_security),
    number(IsKennitala, 48, europe::is_kennitala),
    number(EcCedula, 45, america::ec_cedula),
    number(UkNhs, 40, europe::uk_nhs),
    number(PlNip, 40, europe::pl_nip),
    number(UsNpi, 40, america::us_npi),
    number(AuMedicare, 38, asia::au_medicare),
    number(DkCpr, 25, europe::dk_cpr),
    // North American and Indian numbers, and German ones of landlines.
    number(Phone, 18, |value| matches!(value, [b'2'..=b'9', _, _, b'2'..=b'9', ..] | [b'0', ..])),
];
static ELEVEN: &[Number] = &[
    number(BrCpf, 85, id::br_cpf),
    number(BeNationalNumber, 85, id::be_national_number),
    number(DeSteuerId, 85, id::de_steuer_id),
    number(TrTckn, 80, asia::tr_tckn),
    number(NoFodselsnummer, 80, id::no_fodselsnummer),
    number(EeLtPersonalCode, 60, europe::ee_lt_personal_code),
    number(GrAmka, 60, europe::gr_amka),
    number(PlPesel, 60, id::pl_pesel),
    number(Phone, 50, phone_eleven),
    number(RuSnils, 48, europe::ru_snils),
    number(HrOib, 45, europe::hr_oib),
    // Eight beginnings of a hundred, and a check digit.
    number(ArCuit, 60, ar_cuit_digits),
];
static TWELVE: &[Number] = &[
    number(RuInn, 60, europe::ru_inn),
    number(Phone, 50, |value| value.starts_with(b"015")),
    number(InAadhaar, 45, id::in_aadhaar),
    number(JpMyNumber, 45, asia::jp_my_number),
    number(MyNric, 35, asia::my_nric),
    // With a country code and without its sign.
    number(Phone, 18, |value| matches!(value, [b'3' | b'4', b'0'..=b'9', ..] | [b'9', b'1', ..])),
];
static THIRTEEN: &[Number] = &[
    number(ChAhv, 85, |value| value.starts_with(b"756") && id::ch_ahv(value)),
    number(RoCnp, 75, europe::ro_cnp),
    number(ZaId, 80, id::za_id),
    number(Jmbg, 65, europe::jmbg),
    number(ThId, 45, asia::th_id),
    number(KrRrn, 20, |value| matches!(value.get(6), Some(b'1'..=b'8')) && id::kr_rrn(value)),
];
static FOURTEEN: &[Number] = &[number(PaymentCard, 90, is_card), number(BrCnpj, 85, america::br_cnpj_digits)];
static FIFTEEN: &[Number] = &[
    number(FrInsee, 97, |value| {
        matches!(value.first(), Some(b'1' | b'2' | b'3' | b'7' | b'8')) && id::fr_insee(value)
    }),
    number(PaymentCard, 95, is_card),
    number(AeEmiratesId, 85, |value| value.starts_with(b"784") && asia::ae_emirates_id(value)),
    number(Imei, 45, |value| luhn(&digits(value))),
];
static CARD: &[Number] = &[number(PaymentCard, 95, is_card)];
static EIGHTEEN: &[Number] = &[
    number(CnResidentId, 95, is_cn_resident_id),
    number(PaymentCard, 90, is_card),
    number(MxClabe, 45, america::mx_clabe),
];

fn is_card(value: &[u8]) -> bool {
    card_digits(&digits(value), value.len())
}

fn is_cn_resident_id(value: &[u8]) -> bool {
    matches!(value.get(6..8), Some(b"19" | b"20")) && !value.starts_with(b"0") && id::cn_resident_id(value)
}

fn ar_cuit_digits(value: &[u8]) -> bool {
    matches!(value, [b'2', b'0' | b'3'..=b'7', ..] | [b'3', b'0' | b'3' | b'4', ..])
        && america::ar_cuit(value)
}

/// British and German mobile numbers with their trunk prefix.
fn phone_eleven(value: &[u8]) -> bool {
    matches!(value, [b'0', b'7', ..] | [b'0', b'1', b'5'..=b'7', ..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_surest_comes_first_and_tables_name_their_length() {
        for length in 1..40 {
            let found = of_length(length);
            assert_eq!(found.is_empty(), !(9..=19).contains(&length), "{length}");
            // A check that refuses other lengths would never hold here.
            let zeros = vec![b'0'; length];
            for number in found {
                let _ = number.holds(&zeros);
            }
        }
    }
}
