//! The same text must be read as `toml_edit` reads it, places included, or refused as it refuses it.

use std::fmt::Write as _;

use proptest::prelude::*;
use toml_edit::{Item, TableLike};

use super::{Kind, MANY, Table, Value, parse};

fn ours(table: &Table<'_>) -> String {
    let mut keys: Vec<String> = table
        .iter()
        .map(|entry| {
            format!(
                "{:?}@{}={}",
                entry.key,
                entry.offset,
                our_value(&entry.value)
            )
        })
        .collect();
    keys.sort();
    format!("{{{}}}", keys.join(","))
}

fn our_value(value: &Value<'_>) -> String {
    let values = |values: &[Value<'_>]| {
        let values: Vec<String> = values.iter().map(our_value).collect();
        format!("[{}]", values.join(","))
    };
    let kind = match &value.kind {
        Kind::String(text) => format!("{text:?}"),
        Kind::Integer(number) => number.to_string(),
        Kind::Boolean(value) => value.to_string(),
        Kind::Float | Kind::Datetime => value.type_name().to_owned(),
        Kind::Array(elements) => values(elements),
        Kind::Tables(tables) => format!("tables{}", values(tables)),
        Kind::Inline(table) => format!("inline{}", ours(table)),
        Kind::Table(table) => format!("table{}", ours(table)),
    };
    format!("{}:{kind}", value.offset)
}

fn theirs(table: &dyn TableLike) -> String {
    let mut keys: Vec<String> = table
        .iter()
        .map(|(key, _)| {
            let (key, item) = table.get_key_value(key).unwrap();
            let offset = key.span().unwrap().start;
            format!("{:?}@{offset}={}", key.get(), their_item(item))
        })
        .collect();
    keys.sort();
    format!("{{{}}}", keys.join(","))
}

fn their_item(item: &Item) -> String {
    let offset = item.span().map_or(0, |span| span.start);
    match item {
        Item::Value(value) => their_value(value),
        Item::Table(table) => format!("{offset}:table{}", theirs(table)),
        Item::ArrayOfTables(tables) => {
            let mut all = String::new();
            for table in tables {
                let separator = if all.is_empty() { "" } else { "," };
                let offset = table.span().unwrap().start;
                write!(all, "{separator}{offset}:table{}", theirs(table)).unwrap();
            }
            format!("{offset}:tables[{all}]")
        }
        Item::None => unreachable!(),
    }
}

fn their_value(value: &toml_edit::Value) -> String {
    use toml_edit::Value;
    let offset = value.span().unwrap().start;
    let kind = match value {
        Value::String(text) => format!("{:?}", text.value()),
        Value::Integer(number) => number.value().to_string(),
        Value::Boolean(value) => value.value().to_string(),
        Value::Float(_) => "a float".to_owned(),
        Value::Datetime(_) => "a date".to_owned(),
        Value::Array(values) => {
            let values: Vec<String> = values.iter().map(their_value).collect();
            format!("[{}]", values.join(","))
        }
        // One that a dotted key makes is a table like any other.
        Value::InlineTable(table) if table.is_dotted() => format!("table{}", theirs(table)),
        Value::InlineTable(table) => format!("inline{}", theirs(table)),
    };
    format!("{offset}:{kind}")
}

/// Whether both read it, if they agree.
pub fn read_alike(text: &str) -> Result<bool, String> {
    match (parse(text), toml_edit::Document::parse(text)) {
        (Ok(ours_read), Ok(theirs_read)) => {
            let (ours, theirs) = (ours(&ours_read), theirs(theirs_read.as_table()));
            if ours == theirs {
                return Ok(true);
            }
            Err(format!("{text}\n{ours}\n{theirs}"))
        }
        (Err(_), Err(_)) => Ok(false),
        (ours, theirs) => Err(format!("{text}\nours: {ours:?}\ntheirs: {theirs:?}")),
    }
}

#[test]
fn every_form_is_read() {
    for text in [
        "",
        "\u{feff}a = 1",
        "a = 1\nb = -2\nc = 0x1F\nd = 1_000\ne = true\nf = false",
        "a = 'x'\nb = \"\\u00e4\\n\"\nc = '''\nx'''\nd = \"\"\"\n\\\n x\"\"\"",
        "a = 1.5\nb = 1e3\nc = inf\nd = 1979-05-27\ne = 07:32:00",
        "a = [1, [2, 'x'], { b = 1 },]\nc = []\nd = {}",
        "a.b.c = 1\na.b.d = 2\na.'e f'.g = 3",
        "a = { b.c = 1, b.d = 2, e = { f = 1 } }",
        "[a]\nb = 1\n[a.c]\nd = 1\n[e.f]\n[e]\ng = 1",
        "[[a]]\nb = 1\n[[a]]\nb = 2\n[a.c]\nd = 1\n[[a.e]]\n[[a.e]]\nf.g = 1",
        "[x.y.z.w]\n[x]\nv = 1",
        "[ a . b ]\r\nc = 1 # x\r\n",
    ] {
        assert_eq!(read_alike(text), Ok(true), "{text}");
    }
}

#[test]
fn what_is_no_toml_is_refused() {
    for text in [
        "a",
        "a = ",
        "a = 1\na = 2",
        "a = { b = 1, b = 2 }",
        "a.b = 1\na.b = 2",
        "a = 1\na.b = 2",
        "a.b = 1\n[a]",
        "a = { b = 1 }\na.c = 1",
        "a = { b = { c = 1 }, b.d = 1 }",
        "[a]\n[a]",
        "[[a]]\n[a]",
        "[a]\n[[a]]",
        "a = []\n[[a]]",
        "[a.b]\n[a]\nb.c = 1",
        "[a.b]\n[a]\nb.c.d = 1",
        "[a.b.c]\n[a]\nb.d = 1\n[a.b]",
        "[a]\nb = 1\n[a.b]",
        "a = 99999999999999999999",
        "a = 1e999",
        "a = 1979-13-27",
        "a = [1",
        "a = {",
        "[a",
        "= 1",
        "a = \"\\x\"",
    ] {
        assert_eq!(read_alike(text), Ok(false), "{text}");
    }
    let deep = |depth: usize| format!("a = {}{}", "[".repeat(depth), "]".repeat(depth));
    for depth in [70, 79, 80, 81, 100, 10_000] {
        assert!(read_alike(&deep(depth)).is_ok(), "{depth}");
    }
    for depth in [79, 80, 81, 82, 10_000] {
        assert!(
            read_alike(&format!("{}b = 1", "a.".repeat(depth))).is_ok(),
            "{depth}"
        );
    }
}

#[test]
fn a_key_is_found_among_few_and_among_many() {
    for count in [1, MANY - 1, MANY, MANY + 1, 1000] {
        let text: String = (0..count).map(|n| format!("key{n} = {n}\n")).collect();
        let table = parse(&text).unwrap();
        for n in 0..count {
            let entry = table.get(&format!("key{n}")).unwrap();
            assert_eq!(entry.value.as_integer(), Some(n as i64));
        }
        assert!(table.get("key").is_none());
        assert!(parse(&format!("{text}key{} = 1", count - 1)).is_err());
    }
}

/// A line of a document with few names, so that they meet.
fn line() -> impl Strategy<Value = String> {
    let name = || proptest::sample::select(&["a", "b", "'c'", "\"\\u0061\""][..]);
    let path = move || proptest::collection::vec(name(), 1..4).prop_map(|names| names.join("."));
    let value = proptest::sample::select(
        &[
            "1",
            "'x'",
            "true",
            "1.5",
            "[]",
            "{}",
            "[{}]",
            "{ a = 1 }",
            "{ a.b = 1, a.c = 2 }",
            "{ a.b = 1, a = 2 }",
            "{ a = {}, a.b = 1 }",
            "[[1], { b.a = 1 }]",
            "1979-05-27",
            "[",
        ][..],
    );
    prop_oneof![
        2 => path().prop_map(|path| format!("[{path}]")),
        2 => path().prop_map(|path| format!("[[{path}]]")),
        3 => (path(), value).prop_map(|(path, value)| format!("{path} = {value}")),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 5000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn tables_are_made_and_extended_alike(lines in proptest::collection::vec(line(), 1..8)) {
        let text = lines.join("\n");
        if let Err(difference) = read_alike(&text) {
            return Err(TestCaseError::fail(difference));
        }
    }
}

#[test]
fn depth_is_bounded() {
    let way = "a.".repeat(79) + "a";
    let deep = format!("{way} = {{ ").repeat(79) + &format!("{way} = 1") + &" }".repeat(79);
    assert!(parse(&deep).is_ok());
}
