//! One published or computed example of each kind, and the same with a wrong check digit.

use super::*;
use crate::engine::masking::detector::ColumnContext;

/// Everything that the value may be, by name.
fn kinds(value: &str) -> Vec<&str> {
    let mut names = Vec::new();
    DETECTORS.examine_all(value.as_bytes(), &mut |finding| names.push(DETECTORS.name(finding.detector)));
    names
}

#[test]
fn examples_pass_and_wrong_check_digits_fail() {
    // (kind, an example, the same with a wrong check)
    let rows = [
        ("uk_nhs", "943 476 5919", "943 476 5918"),
        ("uk_nhs", "9434765919", "9434765918"),
        ("uk_driving_licence", "MORGA657054SM9IJ", "MORGA699054SM9IJ"),
        ("ie_pps", "1234567T", "1234567U"),
        ("ie_pps", "1234567FA", "1234567GA"),
        ("de_social_security", "15070649C103", "15070649C104"),
        ("at_social_security", "1237 010180", "1238 010180"),
        ("pt_nif", "123456789", "123456788"),
        ("nl_bsn", "111222333", "111222334"),
        ("is_kennitala", "120174-3399", "120174-3299"),
        ("dk_cpr", "010190-1234", "410190-1234"),
        ("pl_nip", "123-456-32-18", "123-456-32-17"),
        ("cz_rodne_cislo", "710319/2745", "710319/2746"),
        ("ro_cnp", "1800101221144", "1800101221143"),
        ("bg_egn", "7523169263", "7523169264"),
        ("hr_oib", "33392005961", "33392005962"),
        ("jmbg", "0101006500006", "0101006500007"),
        ("gr_amka", "01013099997", "01013099998"),
        ("ee_lt_personal_code", "36805280109", "36805280108"),
        ("ee_lt_personal_code", "38703181745", "38703181746"),
        ("ru_snils", "112-233-445 95", "112-233-445 96"),
        ("ru_inn", "500100732259", "500100732258"),
        ("tr_tckn", "17291716060", "17291716061"),
        ("il_id", "039337423", "039337424"),
        ("hk_id", "G123456(A)", "G123456(9)"),
        ("hk_id", "A123456(3)", "A123456(4)"),
        ("tw_id", "A123456789", "A123456788"),
        ("jp_my_number", "123456789018", "123456789019"),
        ("my_nric", "770305-02-1234", "771305-02-1234"),
        ("au_tfn", "123 456 782", "123 456 783"),
        ("au_medicare", "2123 45670 1", "2123 45671 1"),
        ("us_itin", "912-90-3456", "912-40-3456"),
        ("ca_sin", "130 692 544", "130 692 545"),
        ("mx_rfc", "GODE561231GR8", "GODE561231GR7"),
        ("br_cnpj", "11.222.333/0001-81", "11.222.333/0001-82"),
        ("br_cnpj", "11222333000181", "11222333000171"),
        ("br_cnpj", "12.ABC.345/01DE-35", "12.ABC.345/01DE-36"),
        ("ar_cuit", "20-05536168-2", "20-05536168-3"),
        ("cl_rut", "12.531.909-2", "12.531.909-3"),
        ("cl_rut", "7.654.321-6", "7.654.321-K"),
        ("uy_ci", "1.234.567-2", "1.234.567-3"),
        ("ec_cedula", "1714307103", "1714307104"),
        ("mx_clabe", "032180000118359719", "032180000118359718"),
        ("us_npi", "1234567893", "1234567894"),
        ("us_dea", "AP5836727", "AP5836728"),
        ("us_routing_number", "111000025", "111000026"),
        ("vin", "1M8GDM9AXKP042788", "1M8GDM9A1KP042788"),
        ("imei", "490154203237518", "490154203237519"),
        ("bitcoin_address", "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa", "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNb"),
        ("bitcoin_address", "3J98t1WpEZ73CNmQviecrnyiWrnqRhWNLy", "3J98t1WpEZ73CNmQviecrnyiWrnqRhWNLz"),
        (
            "bitcoin_address",
            "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4",
            "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t5",
        ),
        (
            "passport_mrz",
            "L898902C36UTO7408122F1204159ZE184226B<<<<<10",
            "L898902C35UTO7408122F1204159ZE184226B<<<<<10",
        ),
        (
            "ethereum_address",
            "0x52908400098527886E0F7030069857D2E4169EE7",
            "0x52908400098527886E0F7030069857D2E4169EE",
        ),
        ("us_mbi", "1EG4-TE5-MK73", "0EG4-TE5-MK73"),
        ("bic", "DEUTDEFF500", "DEUTXXFF500"),
        ("geo_coordinates", "52.51628, 13.37771", "52.5, 13.3"),
        ("medical_record", "MRN-0012345", "MRN-001234"),
    ];
    for (kind, good, bad) in rows {
        assert!(kinds(good).contains(&kind), "{kind}: {good} is {:?}", kinds(good));
        assert!(!kinds(bad).contains(&kind), "{kind}: {bad}");
    }
}

#[test]
fn shapes_of_makers_are_known() {
    let rows = [
        ("passport_mrz", "P<UTOERIKSSON<<ANNA<MARIA<<<<<<<<<<<<<<<<<<<".to_owned()),
        ("de_passport", "C01X00T47".to_owned()),
        ("pk_cnic", "42101-1234567-1".to_owned()),
        ("card_track", ";4111111111111111=25121011000012300000?".to_owned()),
        (
            "azure_key",
            format!("DefaultEndpointsProtocol=https;AccountName=x;AccountKey={}==", "Ab1".repeat(28)),
        ),
        ("twilio_key", format!("SK{}", "0a1b2c3d".repeat(4))),
        ("digitalocean_token", format!("dop_v1_{}", "0a1b2c3d".repeat(8))),
        ("huggingface_token", format!("hf_{}", "abCD".repeat(9).get(..34).unwrap())),
        ("shopify_token", format!("shpat_{}", "0a1b2c3d".repeat(4))),
        ("vault_token", format!("hvs.{}", "abCD12".repeat(6))),
        ("databricks_token", format!("dapi{}", "0a1b2c3d".repeat(4))),
        ("docker_token", format!("dckr_pat_{}", "abCD12".repeat(5))),
        ("telegram_token", format!("123456789:AA{}", "b1C".repeat(11))),
        ("mailchimp_key", format!("{}-us12", "0a1b2c3d".repeat(4))),
        ("openai_key", format!("sk-proj-{}", "aB3".repeat(14))),
        ("npm_token", format!("npm_{}", "aB3".repeat(12))),
        ("gitlab_token", format!("glpat-{}", "aB3".repeat(8))),
        ("password_hash", format!("{{SSHA}}{}", "aB3+".repeat(8))),
        ("imei", "35-209900-176148-1".to_owned()),
        ("mac_address", "001a.2b3c.4d5e".to_owned()),
        ("icd_code", "E11.9".to_owned()),
        ("geo_coordinates", "POINT(13.37771 52.51628)".to_owned()),
    ];
    for (kind, value) in rows {
        assert!(kinds(&value).contains(&kind), "{kind}: {value} is {:?}", kinds(&value));
    }
    assert!(DETECTORS.list().count() > 100, "the issue asks for fifty at least");
}

/// A check that accepts everything, or nothing, is a mistake in its arithmetic or in its pattern.
#[test]
fn every_check_accepts_some_and_refuses_some() {
    let always = shapes::all().into_iter().find(|shape| shape.kind == Kind::Jwt).unwrap().check;
    for shape in shapes::all().iter().filter(|shape| !std::ptr::fn_addr_eq(shape.check, always)) {
        // Checksums that no sample of this size passes; they have examples above.
        let is_long = matches!(
            shape.kind,
            Kind::BitcoinAddress
                | Kind::LitecoinAddress
                | Kind::TronAddress
                | Kind::Iban
                | Kind::FrInsee
                | Kind::AeEmiratesId
        );
        let values = samples(shape.pattern, 1500);
        let passed = values.iter().filter(|value| (shape.check)(value)).count();
        assert!(
            passed > 0 || is_long || shape.kind == Kind::PassportMrz,
            "{} accepts nothing",
            shape.pattern
        );
        let lenient = matches!(
            shape.kind,
            Kind::Phone
                | Kind::Email
                | Kind::UkNino
                | Kind::SecretKeyBase64
                | Kind::OpenaiKey
                | Kind::AzureKey
                | Kind::DePassport
                | Kind::MacAddress
        );
        assert!(passed < values.len() || lenient, "{} refuses nothing", shape.pattern);
    }
}

#[test]
fn a_reference_needs_more_than_arithmetic() {
    let context = |name: &str| ColumnContext::by_name(name, false);
    // Nine digits that pass a Dutch check: nothing alone, a tax number where the name says so.
    assert_eq!(DETECTORS.detect(b"111222333"), None);
    assert!(DETECTORS.detect_in(context("fiscal_no"), b"111222333").is_some());
    assert_eq!(DETECTORS.detect_in(context("acct_ref"), b"111222333"), None);
    // A PESEL by one check digit and a day: not where orders are numbered.
    assert!(DETECTORS.detect(b"44051401359").is_some());
    assert_eq!(DETECTORS.detect_in(context("order_id"), b"44051401359"), None);
    // What is certain is certain everywhere.
    for value in ["alice@example.com", "4111111111111111", "AKIAIOSFODNN7EXAMPLE", "219-09-9999"] {
        assert!(DETECTORS.detect_in(context("order_id"), value.as_bytes()).is_some(), "{value}");
    }
}
