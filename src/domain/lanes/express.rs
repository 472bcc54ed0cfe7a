//! Expresses a lane's rule in Gateway API: matches of path, method, headers and parameters, or the
//! reason why this is impossible.

use std::collections::BTreeMap;

use super::{
    condition::{self, Test},
    means::{METHODS, Means, PARAMETERS},
};
use crate::{
    api::{
        Condition, ConditionOn, LaneSpec, Operator,
        gateway_api::{PathMatch, RouteMatch, ValueMatch},
    },
    domain::request::under,
};

const METHOD_NAMES: [&str; 9] = [
    "GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH",
];
/// Limits from the definition of HTTPRoute: keys of one kind in a match, and lengths.
const MOST_KEYS: usize = 16;
const MOST_NAME: usize = 256;
const MOST_HEADER: usize = 4096;
const MOST_PARAMETER: usize = 1024;
/// Maximum number of matches; a route has no room for more.
pub(super) const MOST_WAYS: usize = 128;

/// What one match asks for of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    Exact(String),
    Prefix(String),
    Regex(String),
    Exists,
}

/// One match, all parts of which must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Asked {
    /// Prefix of whole segments; empty for every path.
    pub(super) path: String,
    pub(super) method: Option<String>,
    /// Names in lower case.
    pub(super) headers: BTreeMap<String, Value>,
    pub(super) parameters: BTreeMap<String, Value>,
}

/// Combination of two matches.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Both {
    /// No request can meet both.
    Never,
    /// This match asks for both.
    As(Asked),
    /// Some request may meet both, but no match can express it; the key.
    Unsaid(String),
}

impl Asked {
    /// Precedence in Gateway API, the greater first: path, method, headers, parameters.
    pub(super) fn rank(&self) -> (usize, bool, usize, usize) {
        (
            self.path.len(),
            self.method.is_some(),
            self.headers.len(),
            self.parameters.len(),
        )
    }

    pub(super) fn and(&self, other: &Self) -> Both {
        let mut both = self.clone();
        if under(&other.path, &self.path) {
            both.path.clone_from(&other.path);
        } else if !under(&self.path, &other.path) {
            return Both::Never;
        }
        match (&self.method, &other.method) {
            (Some(mine), Some(theirs)) if mine != theirs => return Both::Never,
            (None, theirs) => both.method.clone_from(theirs),
            _ => {}
        }
        let mut unsaid = None;
        let pairs = [
            (&mut both.headers, &other.headers),
            (&mut both.parameters, &other.parameters),
        ];
        for (mine, theirs) in pairs {
            for (key, theirs) in theirs {
                let Some(own) = mine.get(key) else {
                    mine.insert(key.clone(), theirs.clone());
                    continue;
                };
                match own.and(theirs) {
                    None => return Both::Never,
                    Some(Ok(value)) => drop(mine.insert(key.clone(), value)),
                    Some(Err(())) => unsaid = Some(key.clone()),
                }
            }
        }
        unsaid.map_or(Both::As(both), Both::Unsaid)
    }

    pub(super) fn route_match(&self) -> RouteMatch {
        let value = |(name, value): (&String, &Value)| {
            let (kind, value) = match value {
                Value::Exact(v) if !v.is_empty() => ("Exact", v.clone()),
                Value::Exact(_) => ("RegularExpression", "^$".into()),
                // Some gateways match the whole value, some any part of it; with anchors both are
                // the same.
                Value::Prefix(p) => ("RegularExpression", format!("^{}.*$", regex::escape(p))),
                Value::Regex(r) => ("RegularExpression", format!("^(?:{r})$")),
                Value::Exists => ("RegularExpression", "^.*$".into()),
            };
            ValueMatch {
                kind: kind.into(),
                name: name.clone(),
                value,
            }
        };
        let path = if self.path.is_empty() {
            "/"
        } else {
            &self.path
        };
        RouteMatch {
            path: Some(PathMatch {
                kind: "PathPrefix".into(),
                value: path.into(),
            }),
            headers: self.headers.iter().map(value).collect(),
            query_params: self.parameters.iter().map(value).collect(),
            method: self.method.clone(),
        }
    }
}

impl Value {
    /// `None`: no value meets both. An error: some value may, but no match can express it.
    fn and(&self, other: &Self) -> Option<Result<Self, ()>> {
        let holds = |pattern: &str, value: &str| {
            let regex = Condition {
                op: Operator::Regex,
                key: Some("k".into()),
                values: vec![pattern.into()],
                ..Condition::default()
            };
            condition::compile(&regex).is_ok_and(|t| t.holds(value))
        };
        match (self, other) {
            (a, b) if a == b => Some(Ok(a.clone())),
            (Self::Exists, one) | (one, Self::Exists) => Some(Ok(one.clone())),
            (Self::Exact(_), Self::Exact(_)) => None,
            (Self::Exact(v), Self::Prefix(p)) | (Self::Prefix(p), Self::Exact(v)) => v
                .starts_with(p.as_str())
                .then(|| Ok(Self::Exact(v.clone()))),
            (Self::Exact(v), Self::Regex(r)) | (Self::Regex(r), Self::Exact(v)) => {
                holds(r, v).then(|| Ok(Self::Exact(v.clone())))
            }
            (Self::Prefix(a), Self::Prefix(b)) if a.starts_with(b.as_str()) => {
                Some(Ok(self.clone()))
            }
            (Self::Prefix(a), Self::Prefix(b)) => {
                b.starts_with(a.as_str()).then(|| Ok(other.clone()))
            }
            _ => Some(Err(())),
        }
    }
}

/// Expands a lane's conditions into alternative matches, for any path. Errors are pairs of place
/// and description.
pub(super) fn ways(spec: &LaneSpec, means: &Means) -> Result<Vec<Asked>, Vec<(String, String)>> {
    let mut wrong = vec![];
    if spec.share.is_some() {
        let instead = "use a condition on a parameter or a header, or weights between two Services outside of lanes";
        wrong.push((
            "share".into(),
            format!(
                "{} cannot take a share of all requests: {instead}",
                means.who()
            ),
        ));
    }
    for (i, path) in spec.rule.paths.iter().enumerate() {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-/._~!$&'()*+,;=:@%".contains(c);
        if path.contains("//") || path.contains("/../") || !path.chars().all(plain) {
            wrong.push((
                format!("match.paths[{i}]"),
                format!("an HTTPRoute cannot ask for the path {path:?}"),
            ));
        }
    }
    let mut options = |list: &str, conditions: &[Condition]| -> Vec<Vec<Asked>> {
        let mut all = vec![];
        for (i, condition) in conditions.iter().enumerate() {
            match option(condition, means) {
                Ok(ways) => all.push(ways),
                Err(words) => wrong.push((format!("{list}[{i}]"), words)),
            }
        }
        all
    };
    let all = options("match.all", &spec.rule.all);
    let any: Vec<Asked> = options("match.any", &spec.rule.any).concat();
    if !wrong.is_empty() {
        return Err(wrong);
    }
    let mut ways = vec![Asked::default()];
    let any = (!spec.rule.any.is_empty()).then_some(any);
    for choices in all.into_iter().chain(any) {
        let mut next = vec![];
        for way in &ways {
            for choice in &choices {
                match way.and(choice) {
                    Both::Never => {}
                    Both::As(both) if next.contains(&both) => {}
                    Both::As(both) => next.push(both),
                    Both::Unsaid(key) => {
                        let words = format!(
                            "an HTTPRoute asks one thing only of {key}: join these conditions to one regex, or use =="
                        );
                        return Err(vec![("match".into(), words)]);
                    }
                }
            }
        }
        if next.len() > MOST_WAYS {
            let words = format!(
                "comes to more than {MOST_WAYS} matches, an HTTPRoute has no room for them: fewer values"
            );
            return Err(vec![("match".into(), words)]);
        }
        ways = next;
    }
    let full =
        |asked: &&Asked| asked.headers.len() > MOST_KEYS || asked.parameters.len() > MOST_KEYS;
    if ways.iter().any(|w| full(&w)) {
        return Err(vec![(
            "match".into(),
            format!("an HTTPRoute asks for {MOST_KEYS} headers or parameters at most"),
        )]);
    }
    Ok(ways)
}

/// Expands one condition into alternative matches.
fn option(condition: &Condition, means: &Means) -> Result<Vec<Asked>, String> {
    // An invalid condition is reported elsewhere, and never holds.
    let Ok(test) = condition::compile(condition) else {
        return Ok(vec![]);
    };
    let who = means.who();
    let on = condition.on;
    if on == ConditionOn::Cookie {
        return Err(format!(
            "{who} cannot look at cookies (Gateway API has no match for them): use a header or parameter"
        ));
    }
    let feature = match on {
        ConditionOn::Parameter => Some(PARAMETERS),
        ConditionOn::Method => Some(METHODS),
        _ => None,
    };
    if let Some(words) = feature.and_then(|f| means.lacks(f)) {
        return Err(format!("{words}: use a header"));
    }
    if on == ConditionOn::Method {
        return methods(condition, &test, &who);
    }
    let word = on.word();
    let values = match condition.op {
        Operator::Equal | Operator::In => {
            condition.values.iter().cloned().map(Value::Exact).collect()
        }
        Operator::Prefix => vec![Value::Prefix(condition.values[0].clone())],
        Operator::Regex => vec![Value::Regex(condition.values[0].clone())],
        Operator::Exists => vec![Value::Exists],
        Operator::NotEqual | Operator::NotIn => {
            return Err(format!(
                "{who} cannot ask for what a {word} is not: name the values that are meant, with == or in"
            ));
        }
        Operator::Percent => {
            let instead = "name values with in, or send a parameter or header with the requests that are meant";
            return Err(format!(
                "{who} cannot take a percentage of a {word}'s values: {instead}"
            ));
        }
    };
    let exact = |v: &Value| matches!(v, Value::Exact(text) if !text.is_empty());
    if !values.iter().all(exact) && !means.takes_regex() {
        let asked = condition.op.word();
        return Err(format!(
            "'{asked}' needs a regular expression, and of {who} nobody knows whether it takes one: use == or in"
        ));
    }
    if let Some(Value::Regex(r)) = values.first()
        && (r.contains("(?x")
            || r.contains('[') && ["&&", "--", "~~"].iter().any(|own| r.contains(own)))
    {
        return Err(format!(
            "the regex {r:?} means something else to {who}: write it without &&, --, ~~ and (?x)"
        ));
    }
    let key = condition.key.clone().unwrap_or_default();
    let most = if on == ConditionOn::Header {
        MOST_HEADER
    } else {
        MOST_PARAMETER
    };
    // Patterns are longer than their values.
    if key.len() > MOST_NAME || condition.values.iter().any(|v| 2 * v.len() + 8 > most) {
        return Err(format!(
            "too long for an HTTPRoute: at most {MOST_NAME} letters of name, {} of value",
            most / 2
        ));
    }
    if !condition::is_token(&key) {
        return Err(format!(
            "an HTTPRoute cannot ask for a {word} called {key:?}: letters, digits, - and _"
        ));
    }
    let one = |value: Value| match on {
        ConditionOn::Header => Asked {
            headers: [(key.to_ascii_lowercase(), value)].into(),
            ..Asked::default()
        },
        _ => Asked {
            parameters: [(key.clone(), value)].into(),
            ..Asked::default()
        },
    };
    Ok(values.into_iter().map(one).collect())
}

fn methods(condition: &Condition, test: &Test, who: &str) -> Result<Vec<Asked>, String> {
    if condition.op == Operator::Exists {
        return Ok(vec![Asked::default()]);
    }
    if !matches!(test, Test::Equal(_) | Test::In(_)) {
        return Err(format!("{who} takes methods by name only: use == or in"));
    }
    if let Some(strange) = condition
        .values
        .iter()
        .find(|v| !METHOD_NAMES.contains(&v.as_str()))
    {
        return Err(format!(
            "an HTTPRoute knows no method {strange:?}, only {}",
            METHOD_NAMES.join(", ")
        ));
    }
    Ok(condition
        .values
        .iter()
        .map(|m| Asked {
            method: Some(m.clone()),
            ..Asked::default()
        })
        .collect())
}
