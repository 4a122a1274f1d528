//! Places in documents, each in a style of its own, seen by psql, in the extended protocol in binary, and in COPY.

use super::{reveal, wire};
use governor_tests::{Auth, Class, Options, Site};
use serde_json::Value;

/// Path, category, style.
const PLACES: [(&str, &str, &str); 4] = [
    ("$.to.mail", "email", "hash"),
    ("$.to.sum", "financial", "range"),
    ("$.to.born", "birth_date", "shift"),
    ("$.items[*].code", "other", "token"),
];
const DOCUMENT: &str = r#"{"to": {"mail": "clear.mail7731@example.net", "sum": 77317.31, "born": "1977-03-17"}, "items": [{"code": "clearcode7731", "n": 1}], "kept": "in the open"}"#;

fn site() -> Site {
    let mut more = "[masking]\n".to_owned();
    for column in ["doc", "plain", "words"] {
        for (path, category, style) in PLACES {
            more += &format!(
                "[[masking.columns]]\ncolumn = 'public.letters.{column}'\npath = '{path}'\ncategory = '{category}'\nstyle = '{style}'\n"
            );
        }
    }
    more += "[[masking.columns]]\ncolumn = 'public.letters.mail'\ncategory = 'email'\nstyle = 'hash'\n\
             [approvals.groups]\nreveal = ['root']\n";
    let site = Site::with(Auth::Trust, &Options { more, ..Options::default() }).unwrap();
    site.truth(&format!(
        "CREATE TABLE letters (id int PRIMARY KEY, mail text, doc jsonb, plain json, words text);
         INSERT INTO letters VALUES (1, 'clear.mail7731@example.net', '{DOCUMENT}', '{DOCUMENT}', '{DOCUMENT}');
         GRANT SELECT ON letters TO PUBLIC"
    ))
    .unwrap();
    site
}

#[test]
fn a_place_in_documents_has_the_style_of_its_label() {
    let site = site();
    let psql = |class, sql: &str| {
        site.psql(class, &format!("{sql};\n")).unwrap().ok().unwrap().out().trim().to_owned()
    };
    let hash = psql(Class::Agent, "SELECT mail FROM letters");
    assert!(hash.starts_with("hash_"), "{hash}");
    let mut shown: Vec<String> = ["doc", "plain", "words"]
        .map(|column| psql(Class::Agent, &format!("SELECT {column} FROM letters")))
        .into();
    for (column, version) in [("doc", 1), ("plain", 0)] {
        let mut agent = site.wire(Class::Agent).unwrap();
        let request = [
            wire::parse("", &format!("SELECT {column} FROM letters")),
            wire::bind_formats("", "", &[], &[1]),
            wire::execute(""),
            wire::sync(),
        ];
        agent.send(&request.concat()).unwrap();
        let answer = agent.until_ready().unwrap();
        let row = answer.iter().find(|message| message.tag == b'D').unwrap().row().unwrap();
        let value = row[0].clone().unwrap();
        assert_eq!(usize::from(value[0] == 1), version, "the version of jsonb: {value:?}");
        shown.push(String::from_utf8(value[version..].to_vec()).unwrap());
    }
    shown.push(psql(Class::Agent, "COPY letters (doc) TO STDOUT"));
    shown.push(psql(Class::Person, "COPY (SELECT plain FROM letters) TO STDOUT"));
    for text in &shown {
        assert!(!text.contains("clear") && !text.contains("77317"), "{text}");
        let document: Value = serde_json::from_str(text).unwrap();
        assert_eq!(document["to"]["mail"], hash, "as the column has it: {text}");
        assert_eq!(document["to"]["sum"], 70_000);
        let born = document["to"]["born"].as_str().unwrap();
        assert!(born.len() == 10 && born.starts_with("197") && born != "1977-03-17", "{text}");
        assert!(document["items"][0]["code"].as_str().unwrap().starts_with("tok_"), "{text}");
        assert_eq!((&document["items"][0]["n"], &document["kept"]), (&1.into(), &"in the open".into()));
    }
    let csv = psql(Class::Agent, "COPY letters (doc, plain) TO STDOUT (FORMAT csv)");
    assert!(csv.matches(&hash).count() == 2 && !csv.contains("clear"), "{csv}");
    assert_eq!(psql(Class::Agent, "SELECT doc #>> '{to,mail}' FROM letters"), "[masked]");

    let document: Value = serde_json::from_str(&shown[0]).unwrap();
    let token = document["items"][0]["code"].as_str().unwrap();
    let clear = reveal(&site, Class::Person, &["--reason", "ticket 18", token]).ok().unwrap();
    assert_eq!(clear.out(), "clearcode7731\n");
    assert!(psql(Class::Service, "SELECT doc FROM letters").contains("clear.mail7731@example.net"));
}
