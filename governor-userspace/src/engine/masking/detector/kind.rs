//! The kinds of values that detectors know, each with its name and category.
//!
//! A name is what people read in findings and write in configuration; it never changes its meaning. Kinds that
//! operators define come after the built-in ones.

use crate::engine::model::Category;
use serde::{Deserialize, Serialize};

/// Which detector made a finding: a built-in kind, or one that the operator defined.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DetectorId(pub u16);

impl DetectorId {
    /// No detector: what the operator's search for was not searched to its end.
    pub(super) const UNFINISHED: Self = Self(u16::MAX);

    /// The `index`th of the detectors that the operator defined.
    pub(super) fn user(index: usize) -> Self {
        Self(USER_FIRST.saturating_add(u16::try_from(index).unwrap_or(u16::MAX)))
    }

    /// Its place among the detectors that the operator defined; `None` for built-in ones.
    pub(super) fn user_index(self) -> Option<usize> {
        self.0.checked_sub(USER_FIRST).map(usize::from)
    }

    /// The built-in kind, where it is one.
    pub(in crate::engine::masking) fn kind(self) -> Option<Kind> {
        Kind::ALL.get(usize::from(self.0)).copied()
    }
}

impl From<Kind> for DetectorId {
    fn from(kind: Kind) -> Self {
        Self(kind as u16)
    }
}

macro_rules! kinds {
    ($($kind:ident $name:literal $category:ident,)*) => {
        /// A built-in kind of value.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u16)]
        pub(in crate::engine::masking) enum Kind { $($kind,)* }

        impl Kind {
            /// In the order of their numbers.
            pub(in crate::engine::masking) const ALL: &[Self] = &[$(Self::$kind,)*];

            pub(in crate::engine::masking) const fn name(self) -> &'static str {
                match self { $(Self::$kind => $name,)* }
            }

            pub(in crate::engine::masking) const fn category(self) -> Category {
                match self { $(Self::$kind => Category::$category,)* }
            }
        }
    };
}

kinds! {
    Email "email" Email,
    Phone "phone" Phone,
    // Money.
    PaymentCard "payment_card" PaymentCard,
    CardTrack "card_track" PaymentCard,
    Iban "iban" Iban,
    Bic "bic" Financial,
    UsRoutingNumber "us_routing_number" Financial,
    MxClabe "mx_clabe" Financial,
    BitcoinAddress "bitcoin_address" Financial,
    EthereumAddress "ethereum_address" Financial,
    LitecoinAddress "litecoin_address" Financial,
    TronAddress "tron_address" Financial,
    // Names, places, days.
    PersonName "person_name" PersonName,
    GivenName "given_name" PersonName,
    FamilyName "family_name" PersonName,
    Address "address" Address,
    GeoCoordinates "geo_coordinates" Address,
    BirthDate "birth_date" BirthDate,
    // National identity, social security and tax numbers.
    UsSsn "us_ssn" NationalId,
    UsItin "us_itin" NationalId,
    CaSin "ca_sin" NationalId,
    UkNino "uk_nino" NationalId,
    IePps "ie_pps" NationalId,
    DeSteuerId "de_steuer_id" NationalId,
    DeSocialSecurity "de_social_security" NationalId,
    AtSocialSecurity "at_social_security" NationalId,
    ChAhv "ch_ahv" NationalId,
    FrInsee "fr_insee" NationalId,
    BeNationalNumber "be_national_number" NationalId,
    NlBsn "nl_bsn" NationalId,
    EsDni "es_dni" NationalId,
    PtNif "pt_nif" NationalId,
    ItCodiceFiscale "it_codice_fiscale" NationalId,
    SePersonnummer "se_personnummer" NationalId,
    NoFodselsnummer "no_fodselsnummer" NationalId,
    DkCpr "dk_cpr" NationalId,
    FiHetu "fi_hetu" NationalId,
    IsKennitala "is_kennitala" NationalId,
    PlPesel "pl_pesel" NationalId,
    PlNip "pl_nip" NationalId,
    CzRodneCislo "cz_rodne_cislo" NationalId,
    RoCnp "ro_cnp" NationalId,
    BgEgn "bg_egn" NationalId,
    HrOib "hr_oib" NationalId,
    Jmbg "jmbg" NationalId,
    GrAmka "gr_amka" NationalId,
    EeLtPersonalCode "ee_lt_personal_code" NationalId,
    RuSnils "ru_snils" NationalId,
    RuInn "ru_inn" NationalId,
    TrTckn "tr_tckn" NationalId,
    IlId "il_id" NationalId,
    AeEmiratesId "ae_emirates_id" NationalId,
    InAadhaar "in_aadhaar" NationalId,
    InPan "in_pan" NationalId,
    PkCnic "pk_cnic" NationalId,
    CnResidentId "cn_resident_id" NationalId,
    HkId "hk_id" NationalId,
    TwId "tw_id" NationalId,
    JpMyNumber "jp_my_number" NationalId,
    KrRrn "kr_rrn" NationalId,
    SgNric "sg_nric" NationalId,
    MyNric "my_nric" NationalId,
    ThId "th_id" NationalId,
    AuTfn "au_tfn" NationalId,
    ZaId "za_id" NationalId,
    BrCpf "br_cpf" NationalId,
    MxCurp "mx_curp" NationalId,
    MxRfc "mx_rfc" NationalId,
    ArCuit "ar_cuit" NationalId,
    ClRut "cl_rut" NationalId,
    UyCi "uy_ci" NationalId,
    EcCedula "ec_cedula" NationalId,
    // Travel and driving.
    Passport "passport" Passport,
    DePassport "de_passport" Passport,
    PassportMrz "passport_mrz" Passport,
    UkDrivingLicence "uk_driving_licence" Passport,
    DrivingLicence "driving_licence" Passport,
    Vin "vin" Other,
    // Health.
    UkNhs "uk_nhs" Health,
    UsMbi "us_mbi" Health,
    UsNpi "us_npi" Health,
    UsDea "us_dea" Health,
    AuMedicare "au_medicare" Health,
    MedicalRecord "medical_record" Health,
    IcdCode "icd_code" Health,
    // Networks and devices.
    IpAddress "ip_address" IpAddress,
    MacAddress "mac_address" IpAddress,
    Imei "imei" Other,
    // Credentials.
    Jwt "jwt" Credential,
    PrivateKey "private_key" Credential,
    AwsAccessKey "aws_access_key" Credential,
    SecretKeyBase64 "secret_key_base64" Credential,
    GoogleKey "google_key" Credential,
    AzureKey "azure_key" Credential,
    GithubToken "github_token" Credential,
    GitlabToken "gitlab_token" Credential,
    SlackToken "slack_token" Credential,
    StripeKey "stripe_key" Credential,
    OpenaiKey "openai_key" Credential,
    NpmToken "npm_token" Credential,
    PypiToken "pypi_token" Credential,
    TwilioKey "twilio_key" Credential,
    SendgridKey "sendgrid_key" Credential,
    DigitaloceanToken "digitalocean_token" Credential,
    HuggingfaceToken "huggingface_token" Credential,
    ShopifyToken "shopify_token" Credential,
    SquareToken "square_token" Credential,
    VaultToken "vault_token" Credential,
    DatabricksToken "databricks_token" Credential,
    DockerToken "docker_token" Credential,
    AtlassianToken "atlassian_token" Credential,
    TelegramToken "telegram_token" Credential,
    DiscordWebhook "discord_webhook" Credential,
    MailchimpKey "mailchimp_key" Credential,
    AgeKey "age_key" Credential,
    PasswordHash "password_hash" Credential,
    ConnectionString "connection_string" Credential,
    // What a column is said to hold of which no single value tells.
    InText "in_text" Other,
    InDocument "in_document" Other,
    ByName "by_name" Other,
    // Numbers of kinds are written into the catalogue of findings: new ones come last.
    BrCnpj "br_cnpj" NationalId,
}

/// The first number that operators' detectors get.
const USER_FIRST: u16 = 1000;

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn names_are_snake_case_and_different() {
        let names: HashSet<_> = Kind::ALL.iter().map(|kind| kind.name()).collect();
        assert_eq!(names.len(), Kind::ALL.len());
        for name in names {
            assert!(
                name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_'),
                "{name}"
            );
        }
        for (at, kind) in Kind::ALL.iter().enumerate() {
            assert_eq!(*kind as usize, at);
            assert_eq!(DetectorId::from(*kind).kind(), Some(*kind));
        }
        assert!(Kind::ALL.len() < usize::from(USER_FIRST));
        assert_eq!(DetectorId::user(3).user_index(), Some(3));
        assert_eq!(DetectorId::from(Kind::Email).user_index(), None);
    }
}
