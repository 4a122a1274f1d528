//! Names of Japan in their own script: a common family name, then a given name of one to three characters.
//!
//! Half of all Japanese have one of the names below. Other scripts without capitals and blanks between words
//! (Chinese, Korean) have family names of one character, which are words too: they are not told here.

use super::{Kind, Look};
use rustc_hash::FxHashMap;
use std::sync::LazyLock;

/// Begins with a character of Japanese or Chinese writing, or with the postal mark.
pub(in crate::engine::masking::detector) fn begins(value: &[u8]) -> bool {
    matches!(value.first(), Some(0xe3..=0xe9))
}

pub(super) fn look(value: &[u8]) -> Look {
    let Ok(text) = std::str::from_utf8(value) else { return Look::default() };
    if value.len() > NAME_BYTES_MAX || !text.chars().all(|c| is_letter(c) || is_blank(c)) {
        return Look::default();
    }
    if names_organisation(text) {
        return Look { name: None, organisation: true };
    }
    let name = |kind, confidence| Look { name: Some((kind, confidence)), organisation: false };
    let has_given_length = |given: &str| (1..=3).contains(&given.chars().count());
    let mut parts = text.split(is_blank).filter(|part| !part.is_empty());
    match (parts.next(), parts.next(), parts.next()) {
        (Some(family), Some(given), None) if FAMILY.contains_key(family) && has_given_length(given) => {
            name(Kind::PersonName, 75)
        }
        (Some(_), Some(given), None) if GIVEN.contains_key(given) => name(Kind::PersonName, 45),
        (Some(one), None, None) if FAMILY.contains_key(one) => name(Kind::FamilyName, 30),
        (Some(one), None, None) if GIVEN.contains_key(one) => name(Kind::GivenName, 30),
        (Some(one), None, None) => {
            // Of several family names that it begins with, the more frequent one, which comes first.
            let ends = one.char_indices().map(|(at, c)| at + c.len_utf8()).take(FAMILY_CHARACTERS_MAX);
            let families = ends.filter_map(|end| {
                let (family, given) = one.split_at_checked(end)?;
                Some((FAMILY.get(family)?, given)).filter(|(_, given)| has_given_length(given))
            });
            let given = families.min_by_key(|(order, _)| **order).map(|(_, given)| given);
            match given {
                Some(given) if GIVEN.contains_key(given) => name(Kind::PersonName, 70),
                // A family name and a word: a shop, a place.
                Some(_) => name(Kind::PersonName, 30),
                None => Look::default(),
            }
        }
        _ => Look::default(),
    }
}

/// Whether one of [`ORGANISATION`] is in it. A search for each of them costs more than all else of a name.
fn names_organisation(text: &str) -> bool {
    text.char_indices().any(|(at, first)| {
        let words = ORGANISATION_BY_FIRST.get(&first).map_or(&[][..], Vec::as_slice);
        words.iter().any(|word| text.get(at..).is_some_and(|rest| rest.starts_with(word)))
    })
}

/// Kanji, hiragana, katakana, and the mark that repeats a character.
fn is_letter(c: char) -> bool {
    matches!(c, '\u{3005}' | '\u{3041}'..='\u{30ff}' | '\u{4e00}'..='\u{9fff}')
}

fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\u{3000}')
}

/// Names and their places in the list.
static FAMILY: LazyLock<FxHashMap<&str, usize>> = LazyLock::new(|| places(FAMILY_NAMES));
static GIVEN: LazyLock<FxHashMap<&str, usize>> = LazyLock::new(|| places(GIVEN_NAMES));

/// By their first character.
static ORGANISATION_BY_FIRST: LazyLock<FxHashMap<char, Vec<&str>>> = LazyLock::new(|| {
    let mut words: FxHashMap<char, Vec<&str>> = FxHashMap::default();
    for word in ORGANISATION {
        words.entry(word.chars().next().unwrap_or_default()).or_default().push(word);
    }
    words
});

fn places(list: &'static [&'static str]) -> FxHashMap<&'static str, usize> {
    list.iter().enumerate().map(|(at, name)| (*name, at)).collect()
}

const NAME_BYTES_MAX: usize = 32;
/// Longest family name of the list.
const FAMILY_CHARACTERS_MAX: usize = 3;

const ORGANISATION: &[&str] = &[
    "会社",
    "商店",
    "銀行",
    "大学",
    "病院",
    "組合",
    "財団",
    "協会",
    "工業",
    "産業",
    "製作所",
    "学校",
    "事務所",
    "医院",
    "研究所",
    "ホテル",
    "センター",
    "グループ",
];

/// The most frequent ones.
const FAMILY_NAMES: &[&str] = &[
    "佐藤",
    "鈴木",
    "高橋",
    "田中",
    "伊藤",
    "渡辺",
    "渡邊",
    "渡部",
    "山本",
    "中村",
    "小林",
    "加藤",
    "吉田",
    "山田",
    "佐々木",
    "山口",
    "松本",
    "井上",
    "木村",
    "林",
    "斎藤",
    "斉藤",
    "齋藤",
    "清水",
    "山崎",
    "森",
    "池田",
    "橋本",
    "阿部",
    "石川",
    "山下",
    "中島",
    "石井",
    "小川",
    "前田",
    "岡田",
    "長谷川",
    "藤田",
    "後藤",
    "近藤",
    "村上",
    "遠藤",
    "青木",
    "坂本",
    "福田",
    "太田",
    "西村",
    "藤井",
    "金子",
    "岡本",
    "藤原",
    "中野",
    "三浦",
    "原田",
    "松田",
    "中川",
    "中山",
    "小野",
    "田村",
    "竹内",
    "和田",
    "石田",
    "上田",
    "森田",
    "原",
    "内田",
    "柴田",
    "酒井",
    "宮崎",
    "横山",
    "高木",
    "安藤",
    "谷口",
    "大野",
    "丸山",
    "今井",
    "高田",
    "藤本",
    "武田",
    "村田",
    "上野",
    "杉山",
    "増田",
    "平野",
    "菅原",
    "大塚",
    "小島",
    "久保",
    "千葉",
    "岩崎",
    "松井",
    "木下",
    "野口",
    "野村",
    "松尾",
    "菊地",
    "佐野",
    "杉本",
    "新井",
    "古川",
    "浜田",
    "菊池",
    "市川",
    "水野",
    "小松",
    "島田",
    "高野",
    "小山",
    "五十嵐",
    "川崎",
    "樋口",
    "永井",
    "荒木",
    "内藤",
    "小池",
    "望月",
    "川口",
    "吉川",
    "大西",
    "川村",
    "大久保",
    "片山",
    "田口",
    "西田",
    "東",
    "安田",
    "平田",
    "吉村",
    "川上",
    "本田",
    "中田",
    "熊谷",
    "飯田",
    "辻",
    "関",
    "矢野",
    "岩田",
    "久保田",
    "土屋",
    "秋山",
    "福島",
    "松下",
    "岡",
    "広瀬",
    "須藤",
    "川島",
    "永田",
    "小沢",
    "大橋",
    "服部",
    "早川",
    "松岡",
    "大島",
    "荒井",
    "星野",
    "桑原",
    "馬場",
    "片岡",
    "松原",
    "三宅",
    "栗原",
    "堀",
    "浅野",
    "中西",
    "河野",
    "黒田",
    "石原",
    "関口",
];

/// Common in several generations.
const GIVEN_NAMES: &[&str] = &[
    "翔",
    "蓮",
    "大翔",
    "湊",
    "陽翔",
    "悠真",
    "律",
    "樹",
    "悠斗",
    "大和",
    "颯太",
    "陸",
    "拓海",
    "大輝",
    "翔太",
    "健太",
    "大輔",
    "誠",
    "直樹",
    "哲也",
    "健一",
    "浩",
    "剛",
    "学",
    "豊",
    "茂",
    "勇",
    "清",
    "正",
    "実",
    "隆",
    "太郎",
    "一郎",
    "次郎",
    "三郎",
    "健",
    "健二",
    "和也",
    "達也",
    "拓也",
    "翼",
    "亮",
    "圭",
    "修",
    "博",
    "和夫",
    "正男",
    "幸雄",
    "明",
    "進",
    "昭",
    "勝",
    "弘",
    "恵",
    "陽菜",
    "葵",
    "結衣",
    "凛",
    "芽依",
    "美咲",
    "愛",
    "優花",
    "七海",
    "彩",
    "舞",
    "麻衣",
    "愛美",
    "恵美",
    "由美子",
    "真由美",
    "智子",
    "陽子",
    "久美子",
    "裕子",
    "明美",
    "恵子",
    "幸子",
    "和子",
    "節子",
    "洋子",
    "美智子",
    "京子",
    "良子",
    "文子",
    "千代子",
    "花子",
    "直美",
    "真理子",
    "桜",
    "さくら",
    "ひなた",
    "あおい",
    "めい",
    "ゆい",
    "美羽",
    "莉子",
    "結菜",
    "心春",
    "遥",
    "千尋",
    "香織",
    "純子",
    "典子",
    "由美",
    "美穂",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_family_name_and_a_given_name_are_told_from_shops_and_words() {
        let of = |text: &str| look(text.as_bytes()).name.map(|(_, confidence)| confidence);
        for name in ["佐藤 健", "高橋\u{3000}花子", "山田太郎", "佐々木 希"] {
            assert!(of(name).is_some_and(|confidence| confidence >= 50), "{name}");
        }
        for other in ["山本商店", "鈴木", "林業", "株式会社 田中", "こんにちは", "東京", "注文 確認済"]
        {
            assert!(of(other).is_none_or(|confidence| confidence < 50), "{other}");
        }
        assert!(look("株式会社 田中".as_bytes()).organisation);
    }

    #[test]
    fn organisations_are_found_wherever_their_word_stands() {
        for word in ORGANISATION {
            for text in [(*word).to_owned(), format!("山{word}"), format!("{word}山"), format!("会{word}")]
            {
                assert!(names_organisation(&text), "{text}");
            }
        }
        assert!(!["会", "社会", "商 店", "山田太郎"].into_iter().any(names_organisation));
    }

    #[test]
    fn family_names_are_no_longer_than_is_looked_for() {
        assert!(FAMILY_NAMES.iter().all(|name| name.chars().count() <= FAMILY_CHARACTERS_MAX));
        assert_eq!((FAMILY.len(), GIVEN.len()), (FAMILY_NAMES.len(), GIVEN_NAMES.len()), "each once");
    }
}
