//! Expresses a lane's rule in Gateway API: matches of path, method, headers and parameters, or the
//! reason why this is impossible.

use std::collections::BTreeMap;

use super::{
    condition::{self, ConditionTest},
    gateway_features::{GatewayFeatures, METHOD_MATCHING, QUERY_PARAM_MATCHING},
    inexpressible::Inexpressible,
};
use crate::{
    api::{
        Condition, ConditionOn, LaneSpec, Operator,
        gateway_api::{PathMatch, RouteMatch, ValueMatch},
    },
    domain::request::is_under_prefix,
};

pub(super) const METHOD_NAMES: [&str; 9] = [
    "GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH",
];
/// Limits from the definition of HTTPRoute: keys of one kind in a match, and lengths.
pub(super) const MAX_KEYS: usize = 16;
pub(super) const MAX_NAME_LENGTH: usize = 256;
const MAX_HEADER_LENGTH: usize = 4096;
const MAX_PARAMETER_LENGTH: usize = 1024;
/// Maximum number of matches; a route has no room for more.
pub(super) const MAX_ALTERNATIVES: usize = 128;

/// What one match asks for of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ValueTest {
    Exact(String),
    Prefix(String),
    Regex(String),
    Exists,
}

/// One match, all parts of which must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct MatchCriteria {
    /// Prefix of whole segments; empty for every path.
    pub(super) path: String,
    pub(super) method: Option<String>,
    /// Names in lower case.
    pub(super) headers: BTreeMap<String, ValueTest>,
    pub(super) parameters: BTreeMap<String, ValueTest>,
}

/// Combination of two matches.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum CombinedMatch {
    /// No request can meet both.
    Never,
    /// This match asks for both.
    Match(MatchCriteria),
    /// Some request may meet both, but no match can express it; the key.
    Inexpressible(String),
}

impl MatchCriteria {
    /// Precedence in Gateway API, the greater first: path, method, headers, parameters.
    pub(super) fn rank(&self) -> (usize, bool, usize, usize) {
        (
            self.path.len(),
            self.method.is_some(),
            self.headers.len(),
            self.parameters.len(),
        )
    }

    pub(super) fn combine_with(&self, other: &Self) -> CombinedMatch {
        let mut both = self.clone();
        if is_under_prefix(&other.path, &self.path) {
            both.path.clone_from(&other.path);
        } else if !is_under_prefix(&self.path, &other.path) {
            return CombinedMatch::Never;
        }
        match (&self.method, &other.method) {
            (Some(mine), Some(theirs)) if mine != theirs => return CombinedMatch::Never,
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
                match own.combine_with(theirs) {
                    None => return CombinedMatch::Never,
                    Some(Ok(value)) => drop(mine.insert(key.clone(), value)),
                    Some(Err(())) => unsaid = Some(key.clone()),
                }
            }
        }
        unsaid.map_or(CombinedMatch::Match(both), CombinedMatch::Inexpressible)
    }

    pub(super) fn to_route_match(&self) -> RouteMatch {
        let value = |(name, value): (&String, &ValueTest)| {
            let (kind, value) = match value {
                ValueTest::Exact(v) if !v.is_empty() => ("Exact", v.clone()),
                ValueTest::Exact(_) => ("RegularExpression", "^$".into()),
                // Some gateways match the whole value, some any part of it; with anchors both are
                // the same.
                ValueTest::Prefix(p) => ("RegularExpression", format!("^{}.*$", regex::escape(p))),
                ValueTest::Regex(r) => ("RegularExpression", format!("^(?:{r})$")),
                ValueTest::Exists => ("RegularExpression", "^.*$".into()),
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

impl ValueTest {
    /// `None`: no value meets both. An error: some value may, but no match can express it.
    fn combine_with(&self, other: &Self) -> Option<Result<Self, ()>> {
        let holds = |pattern: &str, value: &str| {
            let regex = Condition {
                op: Operator::Regex,
                key: Some("k".into()),
                values: vec![pattern.into()],
                ..Condition::default()
            };
            condition::compile_test(&regex).is_ok_and(|t| t.holds(value))
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

/// Expands a lane's conditions into alternative matches, for any path. Errors come with their
/// place in the spec.
pub(super) fn expand_conditions(
    spec: &LaneSpec,
    means: &GatewayFeatures,
) -> Result<Vec<MatchCriteria>, Vec<(String, Inexpressible)>> {
    let mut wrong = vec![];
    if spec.share.is_some() {
        let class = means.describe_class();
        wrong.push(("share".into(), Inexpressible::Share { class }));
    }
    for (i, path) in spec.rule.paths.iter().enumerate() {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-/._~!$&'()*+,;=:@%".contains(c);
        if path.contains("//") || path.contains("/../") || !path.chars().all(plain) {
            wrong.push((
                format!("match.paths[{i}]"),
                Inexpressible::Path(path.clone()),
            ));
        }
    }
    let mut options = |list: &str, conditions: &[Condition]| -> Vec<Vec<MatchCriteria>> {
        let mut all = vec![];
        for (i, condition) in conditions.iter().enumerate() {
            match expand_condition(condition, means) {
                Ok(ways) => all.push(ways),
                Err(why) => wrong.push((format!("{list}[{i}]"), why)),
            }
        }
        all
    };
    let all = options("match.all", &spec.rule.all);
    let any: Vec<MatchCriteria> = options("match.any", &spec.rule.any).concat();
    if !wrong.is_empty() {
        return Err(wrong);
    }
    let mut ways = vec![MatchCriteria::default()];
    let any = (!spec.rule.any.is_empty()).then_some(any);
    for choices in all.into_iter().chain(any) {
        let mut next = vec![];
        for way in &ways {
            for choice in &choices {
                match way.combine_with(choice) {
                    CombinedMatch::Never => {}
                    CombinedMatch::Match(both) if next.contains(&both) => {}
                    CombinedMatch::Match(both) => next.push(both),
                    CombinedMatch::Inexpressible(key) => {
                        let why = Inexpressible::KeyAskedTwice(key);
                        return Err(vec![("match".into(), why)]);
                    }
                }
            }
        }
        if next.len() > MAX_ALTERNATIVES {
            return Err(vec![("match".into(), Inexpressible::TooManyMatches)]);
        }
        ways = next;
    }
    let full = |asked: &&MatchCriteria| {
        asked.headers.len() > MAX_KEYS || asked.parameters.len() > MAX_KEYS
    };
    if ways.iter().any(|w| full(&w)) {
        return Err(vec![("match".into(), Inexpressible::TooManyKeys)]);
    }
    Ok(ways)
}

/// Expands one condition into alternative matches.
fn expand_condition(
    condition: &Condition,
    means: &GatewayFeatures,
) -> Result<Vec<MatchCriteria>, Inexpressible> {
    // An invalid condition is reported elsewhere, and never holds.
    let Ok(test) = condition::compile_test(condition) else {
        return Ok(vec![]);
    };
    let class = means.describe_class();
    let on = condition.on;
    if on == ConditionOn::Cookie {
        return Err(Inexpressible::Cookie { class });
    }
    let feature = match on {
        ConditionOn::Parameter => Some(QUERY_PARAM_MATCHING),
        ConditionOn::Method => Some(METHOD_MATCHING),
        _ => None,
    };
    if let Some(words) = feature.and_then(|f| means.describe_missing(f)) {
        return Err(Inexpressible::Feature(words));
    }
    if on == ConditionOn::Method {
        return expand_methods(condition, &test, class);
    }
    let values = expand_values(condition, means)?;
    let key = condition.key.clone().unwrap_or_default();
    let most = if on == ConditionOn::Header {
        MAX_HEADER_LENGTH
    } else {
        MAX_PARAMETER_LENGTH
    };
    // Patterns are longer than their values.
    if key.len() > MAX_NAME_LENGTH || condition.values.iter().any(|v| 2 * v.len() + 8 > most) {
        return Err(Inexpressible::TooLong {
            max_value: most / 2,
        });
    }
    if !condition::is_token(&key) {
        return Err(Inexpressible::KeyName { on, key });
    }
    let one = |value: ValueTest| match on {
        ConditionOn::Header => MatchCriteria {
            headers: [(key.to_ascii_lowercase(), value)].into(),
            ..MatchCriteria::default()
        },
        _ => MatchCriteria {
            parameters: [(key.clone(), value)].into(),
            ..MatchCriteria::default()
        },
    };
    Ok(values.into_iter().map(one).collect())
}

/// The values of a condition on a parameter or a header.
fn expand_values(
    condition: &Condition,
    means: &GatewayFeatures,
) -> Result<Vec<ValueTest>, Inexpressible> {
    let (class, on) = (means.describe_class(), condition.on);
    let values: Vec<ValueTest> = match condition.op {
        Operator::Equal | Operator::In => condition
            .values
            .iter()
            .cloned()
            .map(ValueTest::Exact)
            .collect(),
        Operator::Prefix => vec![ValueTest::Prefix(condition.values[0].clone())],
        Operator::Regex => vec![ValueTest::Regex(condition.values[0].clone())],
        Operator::Exists => vec![ValueTest::Exists],
        Operator::NotEqual | Operator::NotIn => {
            return Err(Inexpressible::Negation { class, on });
        }
        Operator::Percent => {
            return Err(Inexpressible::Percentage { class, on });
        }
    };
    let exact = |v: &ValueTest| matches!(v, ValueTest::Exact(text) if !text.is_empty());
    if !values.iter().all(exact) && !means.supports_regex() {
        let op = condition.op;
        return Err(Inexpressible::RegexSupport { class, op });
    }
    if let Some(ValueTest::Regex(r)) = values.first()
        && (r.contains("(?x")
            || r.contains('[') && ["&&", "--", "~~"].iter().any(|own| r.contains(own)))
    {
        let pattern = r.clone();
        return Err(Inexpressible::RegexDialect { class, pattern });
    }
    Ok(values)
}

fn expand_methods(
    condition: &Condition,
    test: &ConditionTest,
    class: String,
) -> Result<Vec<MatchCriteria>, Inexpressible> {
    if condition.op == Operator::Exists {
        return Ok(vec![MatchCriteria::default()]);
    }
    if !matches!(test, ConditionTest::Equal(_) | ConditionTest::In(_)) {
        return Err(Inexpressible::MethodTest { class });
    }
    if let Some(strange) = condition
        .values
        .iter()
        .find(|v| !METHOD_NAMES.contains(&v.as_str()))
    {
        return Err(Inexpressible::Method(strange.clone()));
    }
    Ok(condition
        .values
        .iter()
        .map(|m| MatchCriteria {
            method: Some(m.clone()),
            ..MatchCriteria::default()
        })
        .collect())
}
