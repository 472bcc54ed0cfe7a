//! Compiles one condition for evaluation.

use std::collections::HashSet;

use regex::{Regex, RegexBuilder};

use super::condition_error::InvalidCondition;
use super::{hash_to_basis_points, percent_to_basis_points};
use crate::api::{Condition, ConditionOn, Operator};

/// Maximum memory of a compiled regex, so that a pattern from a form cannot bring the gateway down.
const REGEX_BYTES: usize = 1 << 18;

/// Test of a value.
#[derive(Clone, Debug)]
pub(super) enum ConditionTest {
    Equal(Box<str>),
    NotEqual(Box<str>),
    In(HashSet<Box<str>>),
    NotIn(HashSet<Box<str>>),
    Prefix(Box<str>),
    Regex(Regex),
    Exists,
    /// In basis points.
    Percent(u32),
    /// Invalid, and reported as a problem.
    Never,
}

impl ConditionTest {
    pub(super) fn holds(&self, value: &str) -> bool {
        match self {
            Self::Equal(v) => **v == *value,
            Self::NotEqual(v) => **v != *value,
            Self::In(vs) => vs.contains(value),
            Self::NotIn(vs) => !vs.contains(value),
            Self::Prefix(p) => value.starts_with(&**p),
            Self::Regex(r) => r.is_match(value),
            Self::Exists => true,
            Self::Percent(bp) => hash_to_basis_points(value) < *bp,
            Self::Never => false,
        }
    }
}

/// Compiles the test of a condition, or explains why it is invalid.
pub(super) fn compile_test(condition: &Condition) -> Result<ConditionTest, InvalidCondition> {
    match (condition.on, condition.key.as_deref()) {
        (ConditionOn::Method, _) => {}
        (on, None | Some("")) => return Err(InvalidCondition::NoName(on)),
        (ConditionOn::Header, Some(key)) if !is_token(key) => {
            return Err(InvalidCondition::HeaderName(key.to_owned()));
        }
        _ => {}
    }
    let op = condition.op;
    let one = || match condition.values.as_slice() {
        [value] => Ok(Box::<str>::from(value.as_str())),
        [] => Err(InvalidCondition::NoValue(op)),
        _ => Err(InvalidCondition::SeveralValues(op)),
    };
    let several = || match condition.values.as_slice() {
        [] => Err(InvalidCondition::EmptyList(op)),
        values => Ok(values.iter().map(|v| v.as_str().into()).collect()),
    };
    Ok(match op {
        Operator::Equal => ConditionTest::Equal(one()?),
        Operator::NotEqual => ConditionTest::NotEqual(one()?),
        Operator::In => ConditionTest::In(several()?),
        Operator::NotIn => ConditionTest::NotIn(several()?),
        Operator::Prefix => ConditionTest::Prefix(one()?),
        Operator::Regex => ConditionTest::Regex(compile_regex(&one()?)?),
        Operator::Exists if condition.values.is_empty() => ConditionTest::Exists,
        Operator::Exists => return Err(InvalidCondition::ExistsWithValue),
        Operator::Percent => {
            let text = one()?;
            let number = text
                .trim_end_matches('%')
                .trim()
                .parse()
                .ok()
                .and_then(percent_to_basis_points);
            ConditionTest::Percent(
                number.ok_or_else(|| InvalidCondition::Percentage(text.into_string()))?,
            )
        }
    })
}

/// Compiles a regex that must match the whole value.
fn compile_regex(pattern: &str) -> Result<Regex, InvalidCondition> {
    let build = |p: &str| {
        RegexBuilder::new(p)
            .size_limit(REGEX_BYTES)
            .dfa_size_limit(REGEX_BYTES)
            .build()
    };
    // Compile it alone first: `a)(b` would be a valid but different pattern within the anchors.
    build(pattern)
        .and_then(|_| build(&format!("^(?:{pattern})$")))
        .map_err(|e| InvalidCondition::Regex {
            pattern: pattern.to_owned(),
            reason: last_line(&e.to_string()).to_owned(),
        })
}

fn last_line(text: &str) -> &str {
    text.lines()
        .last()
        .unwrap_or(text)
        .trim_start_matches("error: ")
}

/// Whether the text is a valid header name (RFC 9110).
pub(super) fn is_token(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}
