//! Finds conditions and paths that no request can fulfil, given what a request can contain there,
//! and those that are probably not meant as written. Contradictions between conditions are found
//! elsewhere.

use http::{HeaderName, Method, uri::PathAndQuery};

use super::{Severity, empty_regex::matches_nothing};
use crate::{
    api::{Condition, ConditionOn, Operator},
    domain::request::{is_hop_by_hop, parse_host, remove_dot_segments},
};

type FoundProblem = Option<(Severity, String)>;

fn found_error(text: impl Into<String>) -> FoundProblem {
    Some((Severity::Error, text.into()))
}

fn found_warning(text: impl Into<String>) -> FoundProblem {
    Some((Severity::Warning, text.into()))
}

/// Problem with a path of a lane.
pub(super) fn check_path(path: &str) -> FoundProblem {
    if !path.starts_with('/') {
        // Reported when the lane is compiled.
        return None;
    }
    if path.contains('?') {
        return found_error(format!(
            "{path:?} can never match: a path ends before the '?'; write a condition on the parameter"
        ));
    }
    if path.contains('#') {
        return found_error(format!(
            "{path:?} can never match: what follows '#' is never sent"
        ));
    }
    let outside = |c: char| !c.is_ascii() || c.is_whitespace() || c.is_control();
    if path.chars().any(outside) || path.parse::<PathAndQuery>().is_err() {
        return found_error(format!(
            "{path:?} can never match: no request's path has such characters; write them as %20 and so on"
        ));
    }
    if remove_dot_segments(path).ok().as_deref() != Some(path) {
        return found_error(format!(
            "{path:?} can never match: dot segments are taken out before lanes look at a path"
        ));
    }
    let wild = |s: &str| !s.is_empty() && s.bytes().all(|b| b == b'*');
    if path.split('/').any(wild) {
        let own = path
            .split('/')
            .take_while(|s| !wild(s))
            .collect::<Vec<_>>()
            .join("/");
        let own = if own.is_empty() { "/" } else { own.as_str() };
        return found_error(format!(
            "{path:?}: '*' has no special meaning here, and a path covers all below it: write {own}"
        ));
    }
    if let Some(c) = path.chars().find(|c| "*{}<>\"|\\^`".contains(*c)) {
        return found_warning(format!(
            "{path:?}: {c:?} has no special meaning: a path is not a pattern"
        ));
    }
    None
}

/// Problem with a condition.
pub(super) fn check_condition(condition: &Condition) -> FoundProblem {
    let key = condition.key.as_deref().unwrap_or_default();
    check_key(condition.on, key).or_else(|| check_values(condition, key))
}

fn check_key(on: ConditionOn, key: &str) -> FoundProblem {
    match on {
        ConditionOn::Header => {
            let name: HeaderName = key.parse().ok()?;
            let words = || {
                format!(
                    "can never match: {key} is of one connection, and ends at the gateway before lanes are asked"
                )
            };
            if is_hop_by_hop(&name) {
                found_error(words())
            } else {
                None
            }
        }
        ConditionOn::Cookie => {
            let outer = key.trim_matches([' ', '\t']) != key;
            let wrong = key.contains(['=', ';']) || outer || key.chars().any(is_invalid_in_field);
            if !wrong {
                return None;
            }
            let (name, value) = key.split_once('=').unwrap_or((key, ""));
            let instead = if key.contains('=') {
                format!(
                    "the name ends before the '=': write cookie {} == {}",
                    name.trim(),
                    value.trim()
                )
            } else {
                "no cookie's name has a ';', an outer blank or a control character".to_owned()
            };
            found_error(format!("can never match: {instead}"))
        }
        ConditionOn::Parameter if is_encoded(key) => found_warning(format!(
            "parameters are compared decoded: {key:?} is written with its %XX"
        )),
        ConditionOn::Parameter | ConditionOn::Method => None,
    }
}

/// Problem with wanted values that can never occur.
fn check_values(condition: &Condition, key: &str) -> FoundProblem {
    if let (Operator::Regex, [pattern]) = (condition.op, &condition.values[..]) {
        return check_regex(condition.on, pattern);
    }
    let whole = match condition.op {
        Operator::Equal | Operator::In => true,
        Operator::Prefix => false,
        Operator::NotEqual
        | Operator::NotIn
        | Operator::Regex
        | Operator::Exists
        | Operator::Percent => return None,
    };
    let never = |value: &&String| why_never(condition.on, key, value, whole);
    let found: Vec<(&String, String)> = condition
        .values
        .iter()
        .filter_map(|v| Some((v, never(&v)?)))
        .collect();
    if let Some((value, why)) = found.first() {
        let text = format!("{value:?} can never be there: {why}");
        return if found.len() == condition.values.len() {
            found_error(text)
        } else {
            found_warning(text)
        };
    }
    let encoded = condition
        .values
        .iter()
        .find(|v| condition.on == ConditionOn::Parameter && is_encoded(v));
    encoded.and_then(|v| {
        found_warning(format!(
            "parameters are compared decoded: {v:?} is written with its %XX"
        ))
    })
}

/// Problem with a regex that no value can match.
fn check_regex(on: ConditionOn, pattern: &str) -> FoundProblem {
    if matches_nothing(pattern, |_| true, false) {
        return found_error(format!(
            "the regex {pattern:?} can never match: no text at all matches it"
        ));
    }
    let (what, none) = match on {
        ConditionOn::Parameter => return None,
        ConditionOn::Method => ("method", matches_nothing(pattern, is_token_byte, true)),
        ConditionOn::Header => ("header", matches_nothing(pattern, is_field_byte, true)),
        ConditionOn::Cookie => (
            "cookie",
            matches_nothing(pattern, |b| is_field_byte(b) && b != b';', true),
        ),
    };
    let words =
        || format!("the regex {pattern:?} can never match: what it matches is in no {what}");
    if none { found_error(words()) } else { None }
}

fn is_field_byte(byte: u8) -> bool {
    !is_invalid_in_field(char::from(byte))
}

fn why_never(on: ConditionOn, key: &str, value: &str, whole: bool) -> Option<String> {
    let outer = value.trim_start_matches([' ', '\t']) != value
        || whole && value.trim_end_matches([' ', '\t']) != value;
    let said = |why: &str| Some(why.to_owned());
    match on {
        ConditionOn::Parameter => None,
        ConditionOn::Method => match value.parse::<Method>() {
            _ if !whole => value
                .bytes()
                .any(|b| !is_token_byte(b))
                .then(|| "no method has such characters".into()),
            Ok(Method::CONNECT) => said("the gateway answers CONNECT itself"),
            Ok(_) => None,
            Err(_) => said("that is not a method"),
        },
        _ if value.chars().any(is_invalid_in_field) => said("no header has control characters"),
        _ if outer => said("blanks around a value are no part of it"),
        ConditionOn::Header
            if whole && key.eq_ignore_ascii_case("host") && parse_host(value).is_none() =>
        {
            said("that is not a host; write it as name or name:port")
        }
        ConditionOn::Header => None,
        ConditionOn::Cookie if value.contains(';') => said("a cookie ends before the ';'"),
        ConditionOn::Cookie => {
            let inner = value.strip_prefix('"').and_then(|v| v.strip_suffix('"'));
            let quoted = whole && inner.is_some_and(|v| !v.contains('"'));
            quoted.then(|| "quotes around a cookie's value are no part of it".into())
        }
    }
}

/// Whether a header field cannot contain this character; it can contain a tab.
fn is_invalid_in_field(c: char) -> bool {
    c != '\t' && (c.is_ascii_control())
}

fn is_token_byte(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b)
}

fn is_encoded(text: &str) -> bool {
    let hex = |at: usize| text.as_bytes().get(at).is_some_and(u8::is_ascii_hexdigit);
    text.match_indices('%')
        .any(|(at, _)| hex(at + 1) && hex(at + 2))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::{
        lanes::{self, text::parse_condition},
        request::{RequestParts, RequestView, is_under_prefix},
    };

    #[test]
    fn conditions_that_can_never_hold_are_errors() {
        use Severity::{Error, Warning};
        for (text, want) in [
            ("cookie a == b", None),
            ("cookie a=b exists", Some(Error)),
            ("cookie a=b == c", Some(Error)),
            ("cookie a;b exists", Some(Error)),
            ("cookie uid == \"\\\"gray\\\"\"", Some(Error)),
            ("cookie uid == \"\\\"gray\"", None),
            ("cookie uid == a;b", Some(Error)),
            ("cookie uid in a;b,c", Some(Warning)),
            ("cookie uid == \" a\"", Some(Error)),
            ("cookie uid prefix \"a \"", None),
            ("cookie uid prefix \" a\"", Some(Error)),
            ("header connection exists", Some(Error)),
            ("header Transfer-Encoding == chunked", Some(Error)),
            ("header TE exists", Some(Error)),
            ("header upgrade == websocket", Some(Error)),
            ("header proxy-authorization exists", Some(Error)),
            ("header expect exists", Some(Error)),
            ("header x-user == \"a \"", Some(Error)),
            ("header x-user == \"a\tb\"", None),
            ("header x-user == \"a\u{1}b\"", Some(Error)),
            ("header x-user != \"a \"", None),
            ("header host == shop.example", None),
            ("header host == shop.example:8080", None),
            ("header Host == http://shop.example", Some(Error)),
            ("header host in a/b,shop", Some(Warning)),
            ("header host exists", None),
            ("header x-user regex a^", Some(Error)),
            ("header x-user regex $a", Some(Error)),
            ("header x-user regex [^\\s\\S]", Some(Error)),
            ("header x-user regex a^|b", None),
            ("header x-user regex a\\nb", Some(Error)),
            ("header x-user regex [ ]a", Some(Error)),
            ("header x-user regex a(", None),
            ("cookie uid regex a;b", Some(Error)),
            ("cookie uid regex a[;,]b", None),
            ("parameter a regex a\\nb", None),
            ("parameter a regex a$.", Some(Error)),
            ("method regex GET|POST", None),
            ("method regex GET[ ]", Some(Error)),
            ("method == GET", None),
            ("method == PROPFIND", None),
            ("method == CONNECT", Some(Error)),
            ("method in CONNECT,GET", Some(Warning)),
            ("method == \"GET /\"", Some(Error)),
            ("method prefix \"G E\"", Some(Error)),
            ("parameter a=b == c", None),
            ("parameter a == \" b \"", None),
            ("parameter %41 exists", Some(Warning)),
            ("parameter a == %41", Some(Warning)),
            ("parameter a == 100%", None),
        ] {
            let found = check_condition(&parse_condition(text).unwrap());
            assert_eq!(found.as_ref().map(|f| f.0), want, "{text}: {found:?}");
        }
    }

    #[test]
    fn paths_that_can_never_hold_are_errors() {
        use Severity::{Error, Warning};
        for (text, want) in [
            ("/", None),
            ("/A", None),
            ("/A/", None),
            ("/A/b.c", None),
            ("/A/b%20c", None),
            ("/A;v=1", None),
            ("/A/*", Some(Error)),
            ("/*", Some(Error)),
            ("/A/**/b", Some(Error)),
            ("/A*", Some(Warning)),
            ("/A/{id}", Some(Warning)),
            ("/A?x=1", Some(Error)),
            ("/A?", Some(Error)),
            ("/A#b", Some(Error)),
            ("/A b", Some(Error)),
            ("/A\tb", Some(Error)),
            ("/A/../B", Some(Error)),
            ("/A/./B", Some(Error)),
            ("/A/%2e%2E/B", Some(Error)),
            ("/A/..%2fB", Some(Error)),
            ("/..", Some(Error)),
            ("/灰度", Some(Error)),
            ("/A/caf%C3%A9", None),
        ] {
            let found = check_path(text);
            assert_eq!(found.as_ref().map(|f| f.0), want, "{text}: {found:?}");
        }
        assert!(check_path("/A/*").unwrap().1.ends_with("write /A"));
        assert!(check_path("/*").unwrap().1.ends_with("write /"));
    }

    fn any_condition() -> impl Strategy<Value = Condition> {
        let on = prop::sample::select(vec![
            ConditionOn::Header,
            ConditionOn::Cookie,
            ConditionOn::Method,
            ConditionOn::Parameter,
        ]);
        let op = prop::sample::select(vec![
            Operator::Equal,
            Operator::In,
            Operator::Prefix,
            Operator::Exists,
        ]);
        let key = "x|te|a=b|host|a b|connection|%41";
        (
            on,
            op,
            key,
            prop::collection::vec("[ab=;\" \t%/:]{0,3}|GET|CONNECT", 1..3),
        )
            .prop_map(|(on, op, key, mut values)| {
                match op {
                    Operator::Exists => values.clear(),
                    Operator::In => {}
                    _ => values.truncate(1),
                }
                Condition {
                    on,
                    key: (on != ConditionOn::Method).then_some(key),
                    op,
                    values,
                }
            })
    }

    proptest! {
        /// Errors are true for every request that a gateway admits.
        #[test]
        fn what_is_said_never_to_hold_holds_for_no_request(
            condition in any_condition(), header in "[ab=;\" \t%/:]{0,4}", cookie in "[ab=;\" \t%]{0,6}",
            method in "GET|a|CONNECT", key in "x|te|host|connection", query in "[ab=&%41x]{0,6}", base in "/[ab*?%2e./]{0,6}",
        ) {
            if super::check_condition(&condition).is_some_and(|f| f.0 == Severity::Error) {
                let mut spec = crate::api::LaneSpec { group: "g".into(), tag: "t".into(), enabled: true, ..Default::default() };
                spec.rule.all = vec![condition.clone()];
                let lane = crate::api::Lane::new("l", spec);
                let request = http::Request::builder().method(method.as_str()).uri(format!("/?{query}"))
                    .header("host", "h").header(key.as_str(), header.trim_matches([' ', '\t'])).header("cookie", cookie.trim_matches([' ', '\t']));
                if let Ok(request) = request.body(()) {
                    let mut parts = request.into_parts().0;
                    if crate::domain::request::admit_request(&mut parts, "l", &[]).is_ok() {
                        let (rules, _) = lanes::Rules::compile("g", &[lane]);
                        let seen = crate::domain::request::InFlightRequest { parts: &parts, trace: "" };
                        prop_assert!(rules.decide_lane(&seen).is_none(), "{condition:?} {parts:?}");
                    }
                }
            }
            // A request's path is one that admission accepts.
            if super::check_path(&base).is_some_and(|f| f.0 == Severity::Error) && !base.contains('*')
                && let Ok(plain) = remove_dot_segments(base.split(['?', '#']).next().unwrap())
            {
                let request = RequestParts { path: plain.into_owned(), ..RequestParts::default() };
                prop_assert!(!is_under_prefix(request.path(), &base), "{base}");
            }
        }
    }
}
