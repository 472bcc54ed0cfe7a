use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::*;

fn answer(body: impl Into<Bytes>) -> Answer {
    Answer {
        status: 200,
        body: body.into(),
        ..Answer::default()
    }
}

fn told_of(base: &Answer, gray: &Answer, ignored: &[&str]) -> Vec<String> {
    let ignored = Ignored::parse(ignored).unwrap();
    compare_answers(base, gray, &ignored)
        .differences
        .iter()
        .map(ToString::to_string)
        .collect()
}

fn told(base: &str, gray: &str, ignored: &[&str]) -> Vec<String> {
    told_of(&answer(base.to_owned()), &answer(gray.to_owned()), ignored)
}

#[test]
fn json_is_compared_by_path() {
    let base =
        r#"{"time": 1, "items": [{"id": 7, "price": 12}, {"id": 8}], "old": null, "a b": true}"#;
    let gray = r#"{"a b": false, "items": [{"id": 9, "price": 13}], "time": 2.5, "new": {"x": 1}}"#;
    let all = [
        "$.time: 1 -> 2.5",
        "$.items[0].id: 7 -> 9",
        "$.items[0].price: 12 -> 13",
        "$.items[1]: removed {\"id\":8}",
        "$.old: removed null",
        "$[\"a b\"]: true -> false",
        "$.new: added {\"x\":1}",
    ];
    assert_eq!(told(base, gray, &[]), all);
    let some = ["$.time", "$.items[*].id", "$['a b']", "$.new", "$.old"];
    assert_eq!(told(base, gray, &some), [all[2], all[3]]);
    assert_eq!(told(base, gray, &["$.*"]), Vec::<String>::new());
    assert_eq!(told(base, gray, &["$"]), Vec::<String>::new());
    assert_eq!(told("[1]", "{}", &[]), ["$: [1] -> {}"]);
}

#[test]
fn numbers_are_the_same_however_they_are_written() {
    assert_eq!(
        told("[1, 1.0, -0.0, 1e2]", "[1.0, 1, 0, 100]", &[]),
        Vec::<String>::new()
    );
    assert_eq!(
        told("9007199254740993", "9007199254740992.0", &[]),
        ["$: 9007199254740993 -> 9007199254740992.0"]
    );
    assert_eq!(told("18446744073709551615", "-1", &[]).len(), 1);
    assert_eq!(told("1", "\"1\"", &[]), ["$: 1 -> \"1\""]);
}

#[test]
fn what_is_no_json_is_compared_by_line() {
    assert_eq!(
        told("a\nb\nc\nd", "a\nx\nc\nd\ne", &[]),
        ["line 2: b -> x", "line 5: added e"]
    );
    assert_eq!(told("a\nb\nc", "a\nc", &[]), ["line 2: removed b"]);
    assert_eq!(told("{}", "no", &["$.x"]), ["line 1: {} -> no"]);
    assert_eq!(told("a\r\nb", "a\nb", &[]), ["line 1: a\\r -> a"]);
    assert_eq!(told("a\u{200b}", "a", &["$"]), Vec::<String>::new());
    assert_eq!(told("a\u{200b}", "a", &[]), ["line 1: a\\u{200b} -> a"]);
    assert_eq!(told("a\n", "a", &[]), ["line 2: removed (empty)"]);
    let bytes = |b: &'static [u8]| answer(Bytes::from_static(b));
    assert_eq!(
        told_of(&bytes(&[0xff]), &bytes(&[0xfe]), &[]),
        ["byte 1: ff -> fe"]
    );
}

#[test]
fn status_and_headers_are_told_one_by_one_and_latency_never() {
    let header = |h: Header, v: &str| (h, v.to_owned());
    let headers = [
        header(Header::ContentType, "text/html"),
        header(Header::Location, "/\u{1b}[31ma"),
    ];
    let base = Answer {
        headers: headers.into(),
        ..answer("x")
    };
    let other = [
        header(Header::ContentType, "text/plain"),
        header(Header::CacheControl, "no-store"),
    ];
    let gray = Answer {
        status: 500,
        headers: other.into(),
        latency: Duration::from_secs(9),
        ..answer("x")
    };
    let all = [
        "status: 200 -> 500",
        "content-type: text/html -> text/plain",
        "cache-control: added no-store",
        "location: removed /a",
    ];
    assert_eq!(told_of(&base, &gray, &[]), all);
    assert_eq!(
        told_of(&base, &gray, &["Content-Type", "location"]),
        [all[0], all[2]]
    );
    let slow = Answer {
        latency: Duration::from_secs(9),
        ..base.clone()
    };
    let compared = compare_answers(&base, &slow, &Ignored::default());
    assert!(compared.is_equal() && compared.latency.gray == Duration::from_secs(9));
}

#[test]
fn what_is_told_is_bounded_and_still_says_where() {
    let many = |n: usize| json!((0..500).map(|i| i + n).collect::<Vec<_>>()).to_string();
    let compared = compare_answers(&answer(many(0)), &answer(many(1)), &Ignored::default());
    assert_eq!(
        (compared.differences.len(), compared.count()),
        (MAX_DIFFERENCES, 500)
    );
    let long = "é".repeat(5000);
    let told = told(
        &format!("{long}old{long}"),
        &format!("{long}new{long}"),
        &[],
    )
    .remove(0);
    assert!(
        told.chars().count() < 500 && told.contains("éold") && told.contains("éne"),
        "{told}"
    );
    let lines = |c: char| (0..30_000).map(|i| format!("{c}{i}\n")).collect::<String>();
    let compared = compare_answers(
        &answer(lines('a')),
        &answer(lines('b')),
        &Ignored::default(),
    );
    assert_eq!(compared.count(), 30_000);
    let cut = Answer {
        cut: true,
        ..answer("x")
    };
    assert!(compare_answers(&cut, &cut, &Ignored::default()).partial);
}

#[test]
fn what_cannot_be_ignored_is_refused() {
    for wrong in [
        "",
        "x-date",
        "$x",
        "$.",
        "$.a..b",
        "$[",
        "$[x]",
        "$[-1]",
        "$[\"a]",
        "$[\"a\"x]",
        "$[]",
    ] {
        assert!(Ignored::parse([wrong]).is_err(), "{wrong}");
    }
    assert!(Ignored::parse([" $.a ", "$", "Location", "$[\"]\"].x", "$[\"\"]"]).is_ok());
}

fn any_json() -> impl Strategy<Value = Value> {
    let number = prop_oneof![
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from)
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        number,
        ".{0,4}".prop_map(Value::from)
    ];
    leaf.prop_recursive(4, 40, 5, |inner| {
        let object = prop::collection::vec(("[ab]|.{0,3}", inner.clone()), 0..5);
        prop_oneof![
            prop::collection::vec(inner, 0..5).prop_map(Value::from),
            object.prop_map(|all| Value::Object(all.into_iter().collect())),
        ]
    })
}

fn turned(value: &Value) -> Value {
    match value {
        Value::Object(all) => Value::Object(
            all.iter()
                .rev()
                .map(|(k, v)| (k.clone(), turned(v)))
                .collect::<Map<_, _>>(),
        ),
        Value::Array(all) => all.iter().map(turned).collect(),
        other => other.clone(),
    }
}

#[test]
fn a_report_reads_as_the_command_prints_it() {
    let text = |base: &Answer, gray: &Answer| {
        let cells =
            |ms: &str, lane: &str, chain: &str| ["200", ms, lane, "ok", chain].map(str::to_owned);
        let cells = Sides {
            base: cells("10.4", "", "a=base[1.2.3.4]"),
            gray: cells("9.1", "gray", "a=gray[1.2.3.5]"),
        };
        let found = compare_answers(base, gray, &Ignored::default());
        let lines = report_lines(cells, &found);
        lines.into_iter().map(|line| line.text + "\n").collect()
    };
    let head = "\
SIDE   STATUS   MS     LANE   VERDICT   CHAIN
base   200      10.4   -      ok        a=base[1.2.3.4]
gray   200      9.1    gray   ok        a=gray[1.2.3.5]
";
    let same = answer("x");
    let told: String = text(&same, &same);
    assert_eq!(told, format!("{head}\nThe answers are equal.\n"));
    let [old, mut new] = [1, 2].map(|n| answer(serde_json::to_vec(&vec![n; 105]).unwrap()));
    new.cut = true;
    let told: String = text(&old, &new);
    assert!(
        told.starts_with(&format!(
            "{head}\nFrom base to gray:\n  $[0]: 1 -> 2\n  $[1]: "
        )),
        "{told}"
    );
    let tail = "  $[99]: 1 -> 2\n  and 5 more\nOnly the first 64 KiB of each body are compared.\n";
    assert!(told.ends_with(tail), "{told}");
}

fn any_answer() -> impl Strategy<Value = Answer> {
    let bytes = prop::collection::vec(any::<u8>(), 0..80).prop_map(Bytes::from);
    let body = prop_oneof![
        bytes,
        any_json().prop_map(|v| Bytes::from(v.to_string())),
        "([ab]|\n|\r|\t|\u{1b}\\[31m|.){0,30}".prop_map(Bytes::from)
    ];
    let headers =
        prop::collection::btree_map(prop::sample::select(&Header::ALL[..]), ".{0,5}", 0..3);
    (any::<u16>(), headers, body, any::<bool>()).prop_map(|(status, headers, body, cut)| Answer {
        status,
        headers,
        body,
        cut,
        latency: Duration::ZERO,
    })
}

proptest! {
    #[test]
    fn an_answer_never_differs_from_itself(answer in any_answer()) {
        prop_assert!(compare_answers(&answer, &answer.clone(), &Ignored::default()).is_equal());
    }

    #[test]
    fn the_order_of_keys_does_not_matter(value in any_json()) {
        prop_assert_eq!(told(&value.to_string(), &turned(&value).to_string(), &[]), Vec::<String>::new());
    }

    #[test]
    fn ignoring_every_path_told_makes_bodies_equal(base in any_json(), gray in any_json()) {
        let [base, gray] = [base, gray].map(|v| answer(v.to_string()));
        let compared = compare_answers(&base, &gray, &Ignored::default());
        let paths: Vec<String> = compared.differences.iter().map(|d| d.at.to_string()).collect();
        prop_assert_eq!(compared.left_out, 0);
        prop_assert!(compare_answers(&base, &gray, &Ignored::parse(&paths).unwrap()).is_equal(), "{:?}", paths);
    }

    #[test]
    fn any_two_answers_are_compared_both_ways_and_told_in_clean_lines(base in any_answer(), gray in any_answer()) {
        let compared = compare_answers(&base, &gray, &Ignored::default());
        for line in compared.differences.iter().map(ToString::to_string) {
            prop_assert_eq!(Clean::from_untrusted(&line), line.as_str());
        }
        let back = compare_answers(&gray, &base, &Ignored::default());
        prop_assert_eq!(compared.is_equal(), back.is_equal());
        if base.body == gray.body && base.status == gray.status && base.headers == gray.headers {
            prop_assert!(compared.is_equal());
        }
    }

    #[test]
    fn any_text_is_a_path_or_refused(text in "\\$([.]|\\[|\\]|\"|'|\\*|[0-9]|a|\\\\|.){0,12}") {
        if let Ok(path) = text.parse::<JsonPath>() {
            prop_assert_eq!(path.to_string().parse::<JsonPath>().unwrap(), path);
        }
    }
}
