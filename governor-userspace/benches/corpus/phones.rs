//! Telephone numbers as digits and nothing else, one country a column, beside numbers that only have the same lengths.
//!
//! The ranges are written here by hand, from what regulators publish and what is frequent, apart from the table that the
//! detectors have, so that a mistake in either shows. `%` is 1 to 9, `#` 0 to 9, `N` 2 to 9, `[…]` one of these.

use super::random::Random;
use super::{Maker, NONE};

/// Country, and what is frequent there: without trunk prefix, as a number stands behind the country's code.
const NATIONAL: &[(&str, &[&str])] = &[
    (
        "us",
        &[
            "212N######",
            "310N######",
            "415N######",
            "512N######",
            "617N######",
            "702N######",
            "773N######",
            "786N######",
            "206N######",
            "303N######",
            "404N######",
            "503N######",
            "614N######",
            "713N######",
            "813N######",
            "901N######",
            "919N######",
            "972N######",
        ],
    ),
    (
        "ca",
        &[
            "416N######",
            "514N######",
            "604N######",
            "403N######",
            "613N######",
            "905N######",
            "780N######",
            "204N######",
            "902N######",
            "418N######",
            "250N######",
        ],
    ),
    (
        "gb",
        &[
            "74########",
            "75########",
            "77########",
            "78########",
            "79########",
            "20[78]#######",
            "161#######",
        ],
    ),
    (
        "de",
        &[
            "151########",
            "157########",
            "160#######",
            "170#######",
            "172#######",
            "176########",
            "179#######",
        ],
    ),
    (
        "de_fixed",
        &["30########", "40########", "89########", "69########", "221#######", "711#######", "351#######"],
    ),
    ("fr", &["6########", "6########", "7[3-8]#######", "1[3-9]#######", "4[2-9]#######"]),
    ("es", &["6########", "6########", "6########", "7[1-4]#######", "91#######", "93#######", "95#######"]),
    ("it", &["32########", "33########", "34########", "38########", "39[1-3]#######"]),
    ("nl", &["6[1-5]#######", "6[1-5]#######", "20#######", "10#######", "70#######", "30#######"]),
    ("pl", &["5[0137]#######", "6[069]#######", "7[2389]#######", "22#######", "12#######"]),
    ("pt", &["91#######", "92#######", "93#######", "96#######", "21#######", "22#######"]),
    ("se", &["70#######", "72#######", "73#######", "76#######"]),
    ("no", &["4#######", "9#######", "9#######", "22######", "55######"]),
    ("fi", &["40#######", "41#######", "44#######", "45#######", "50#######"]),
    ("ch", &["76#######", "77#######", "78#######", "79#######", "44#######", "22#######"]),
    ("at", &["664#######", "676#######", "699########", "660#######", "650#######"]),
    ("be", &["47#######", "48#######", "49#######", "46[5-8]######"]),
    ("cz", &["60[1-8]######", "72#######", "73#######", "77#######", "2########"]),
    ("sk", &["90[1-8]######", "91#######", "94#######", "95#######"]),
    ("hu", &["20#######", "30#######", "70#######"]),
    ("ro", &["72#######", "73#######", "74#######", "75#######", "76#######", "21#######"]),
    ("gr", &["69[0-9]#######", "210#######", "2310######"]),
    ("tr", &["53########", "54########", "50[1-7]#######", "55[1-9]#######"]),
    ("ru", &["90########", "91########", "92########", "96########", "98########", "495#######"]),
    ("ua", &["50#######", "63#######", "66#######", "67#######", "93#######", "95#######", "97#######"]),
    ("il", &["50#######", "52#######", "53#######", "54#######", "58#######"]),
    ("in", &["9#########", "8#########", "7#########", "98########", "99########"]),
    ("cn", &["13#########", "15[0-3]########", "18#########", "17[6-8]########", "139########"]),
    ("jp", &["90[1-9]#######", "80[1-9]#######", "70[1-9]#######"]),
    ("kr", &["10[2-9]#######"]),
    ("au", &["4########", "4########", "2[89]#######", "3[89]#######", "7[3-5]#######"]),
    ("nz", &["21#######", "22#######", "27#######", "9[2-9]######"]),
    ("za", &["82#######", "83#######", "72#######", "73#######", "76#######", "79#######", "61#######"]),
    ("br", &["119########", "219########", "319########", "419########", "519########", "119########"]),
    ("mx", &["55########", "33########", "81########", "222#######", "664#######", "998#######"]),
    ("cl", &["9########", "9########", "2[2-3]#######"]),
    ("co", &["30[0-5]#######", "31########", "32[0-3]#######", "350#######"]),
    ("ng", &["803#######", "806#######", "703#######", "813#######", "902#######", "810#######"]),
    ("eg", &["10########", "11########", "12########", "15########"]),
    ("sa", &["50#######", "53#######", "54#######", "55#######", "56#######"]),
    ("ae", &["50#######", "52#######", "54#######", "55#######", "56#######", "58#######"]),
    ("sg", &["8[1-9]######", "9[0-8]######", "6[2-9]######"]),
    ("th", &["8########", "9########", "6[1-5]#######"]),
    ("ph", &["917#######", "918#######", "905#######", "927#######", "998#######"]),
    ("vn", &["9########", "3[2-9]#######", "7[06-9]#######", "8[1-9]#######"]),
];

/// Those that are also written with their trunk prefix, and those with their country's code.
const TRUNK: &[(&str, &str)] = &[
    ("de", "0"),
    ("de_fixed", "0"),
    ("nl", "0"),
    ("se", "0"),
    ("ch", "0"),
    ("at", "0"),
    ("tr", "0"),
    ("au", "0"),
    ("za", "0"),
    ("ru", "8"),
    ("fi", "0"),
    ("th", "0"),
];
const CODES: &[(&str, &str)] = &[
    ("us", "1"),
    ("gb", "44"),
    ("de", "49"),
    ("fr", "33"),
    ("es", "34"),
    ("it", "39"),
    ("br", "55"),
    ("in", "91"),
    ("pl", "48"),
    ("ua", "380"),
    ("sg", "65"),
    ("ae", "971"),
];

/// A look-alike and what makes one of it.
type Other = (&'static str, fn(&mut Random) -> String);

/// Numbers of machines and firms.
const OTHERS: &[Other] = &[
    ("any8", |r| digits(r, "%#######")),
    ("any9", |r| digits(r, "%########")),
    ("any10", |r| digits(r, "%#########")),
    ("any11", |r| digits(r, "%##########")),
    ("any12", |r| digits(r, "%###########")),
    ("any13", |r| digits(r, "%############")),
    ("zeros10", |r| digits(r, "0000######")),
    ("zeros12", |r| digits(r, "000#########")),
    ("word31", |r| r.below(1 << 31).to_string()),
    ("word32", |r| r.below(1 << 32).to_string()),
    ("epoch_s", |r| r.between(1_500_000_000, 1_800_000_000).to_string()),
    ("epoch_ms", |r| r.between(1_500_000_000_000, 1_800_000_000_000).to_string()),
    ("year_number", |r| format!("20{}{}", r.between(15, 26), digits(r, "######"))),
    ("month_number", |r| format!("{}{:02}{}", r.between(15, 26), r.between(1, 12), digits(r, "#####"))),
    ("day_number", |r| {
        format!("20{}{:02}{:02}{}", r.between(15, 26), r.between(1, 12), r.between(1, 28), digits(r, "###"))
    }),
    ("shop_number", |r| format!("{}{}", r.between(100, 480), digits(r, "######"))),
    ("counter_near", |r| r.between(640_000_000, 640_900_000).to_string()),
    ("counter_wide", |r| r.between(610_000_000, 655_000_000).to_string()),
    ("counter_ten", |r| r.between(3_310_000_000, 3_390_000_000).to_string()),
    ("counter_small", |r| r.between(10_000_000, 41_000_000).to_string()),
    ("counter_nine", |r| r.between(100_000_000, 730_000_000).to_string()),
    ("tracking12", |r| digits(r, "7###########")),
    ("account10", |r| digits(r, "[1-5]#########")),
    ("account8", |r| digits(r, "[3-9]#######")),
    ("customer1", |r| digits(r, "1#########")),
    ("customer2", |r| digits(r, "2########")),
    ("customer3", |r| digits(r, "3#########")),
    ("customer4", |r| digits(r, "4########")),
    ("customer5", |r| digits(r, "5#########")),
    ("customer6", |r| digits(r, "6########")),
    ("customer7", |r| digits(r, "7########")),
    ("customer8", |r| digits(r, "8#########")),
    ("customer9", |r| digits(r, "9########")),
    ("customer_of_49", |r| digits(r, "49########")),
    ("customer_of_34", |r| digits(r, "34#########")),
    ("customer_of_44", |r| digits(r, "44##########")),
    ("customer_of_10", |r| digits(r, "10########")),
    ("customer_of_55", |r| digits(r, "55########")),
    ("order_of_9", |r| digits(r, "9#########")),
    ("order_of_7", |r| digits(r, "70########")),
    ("order_of_1", |r| digits(r, "1##########")),
    ("ean13", |r| digits(r, "40[0-4]##########")),
    ("article8", |r| digits(r, "2[0-4]######")),
    ("article10", |r| digits(r, "[4-7]00#######")),
    ("postal9", |r| digits(r, "[1-9]####[1-9]###")),
    ("branch_and_account", |r| digits(r, "[1-7]##00#######")),
];

/// One column for each, with so many values.
pub(super) fn add(maker: &mut Maker) {
    for (country, patterns) in NATIONAL {
        maker.add(&format!("contact/bare_{country}"), "phone", |r| national(r, "", patterns));
    }
    for (form, list) in [("trunk", TRUNK), ("code", CODES)] {
        for (country, prefix) in list {
            let patterns = NATIONAL.iter().find(|(known, _)| known == country).map_or(&[][..], |(_, it)| *it);
            maker.add(&format!("contact/{form}_{country}"), "phone", |r| national(r, prefix, patterns));
        }
    }
    for (name, make) in OTHERS {
        maker.add(&format!("{name}/phones"), NONE, make);
    }
}

fn national(r: &mut Random, prefix: &str, patterns: &[&str]) -> String {
    let pattern = r.pick(patterns);
    format!("{prefix}{}", digits(r, pattern))
}

fn digits(r: &mut Random, pattern: &str) -> String {
    let mut out = String::new();
    let mut rest = pattern.chars();
    while let Some(next) = rest.next() {
        let one = match next {
            '[' => {
                let class: String = rest.by_ref().take_while(|c| *c != ']').collect();
                r.of(&spelled_out(&class), 1)
            }
            'N' => r.of("23456789", 1),
            '%' => r.of("123456789", 1),
            '#' => r.of("0123456789", 1),
            digit => digit.to_string(),
        };
        out.push_str(&one);
    }
    out
}

/// `3-57` is 3457.
fn spelled_out(class: &str) -> String {
    let mut out = String::new();
    let signs: Vec<char> = class.chars().collect();
    let mut at = 0;
    while at < signs.len() {
        if signs.get(at + 1) == Some(&'-') {
            out.extend(signs[at]..=signs[at + 2]);
            at += 3;
        } else {
            out.push(signs[at]);
            at += 1;
        }
    }
    out
}
