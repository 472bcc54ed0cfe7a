//! Why a lane's rule cannot be expressed in Gateway API, and what to use instead.

use super::gateway_match::{MAX_ALTERNATIVES, MAX_KEYS, MAX_NAME_LENGTH, METHOD_NAMES};
use crate::api::{ConditionOn, Operator};

/// A part of a lane's rule that no match can express. `class` names the gateway's class.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Inexpressible {
    #[error(
        "{class} cannot take a share of all requests: use a condition on a parameter or a header, or weights between two \
         Services outside of lanes"
    )]
    Share { class: String },
    #[error("an HTTPRoute cannot match the path {0:?}")]
    Path(String),
    #[error(
        "an HTTPRoute can test only one thing of {0}: join these conditions to one regex, or use =="
    )]
    KeyAskedTwice(String),
    #[error(
        "needs more than {MAX_ALTERNATIVES} matches, and an HTTPRoute has no room for them: use fewer values"
    )]
    TooManyMatches,
    #[error("an HTTPRoute tests at most {MAX_KEYS} headers or parameters")]
    TooManyKeys,
    #[error(
        "{class} cannot match cookies (Gateway API has no match for them): use a header or parameter"
    )]
    Cookie { class: String },
    /// The class lacks a feature; says which.
    #[error("{0}: use a header")]
    Feature(String),
    #[error("{class} cannot match what a {} is not: name the wanted values with == or in", .on.as_str())]
    Negation { class: String, on: ConditionOn },
    #[error(
        "{class} cannot take a percentage of a {}'s values: name values with in, or send a parameter or header with the \
         requests that are meant",
        .on.as_str()
    )]
    Percentage { class: String, on: ConditionOn },
    #[error(
        "'{}' needs a regular expression, and whether {class} supports one is not known: use == or in",
        .op.as_str()
    )]
    RegexSupport { class: String, op: Operator },
    #[error(
        "the regex {pattern:?} means something else to {class}: write it without &&, --, ~~ and (?x)"
    )]
    RegexDialect { class: String, pattern: String },
    #[error(
        "too long for an HTTPRoute: at most {MAX_NAME_LENGTH} letters of name, {max_value} of value"
    )]
    TooLong { max_value: usize },
    #[error("an HTTPRoute cannot match a {} called {key:?}: use letters, digits, - and _", .on.as_str())]
    KeyName { on: ConditionOn, key: String },
    #[error("{class} takes methods by name only: use == or in")]
    MethodTest { class: String },
    #[error("an HTTPRoute knows no method {0:?}, only {names}", names = METHOD_NAMES.join(", "))]
    Method(String),
}
