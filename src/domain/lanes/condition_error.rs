//! What is wrong with a condition, and what to write instead.

use crate::api::{ConditionOn, Operator};

/// A condition that can never match, because it is invalid.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum InvalidCondition {
    #[error("the {}'s name is missing", .0.as_str())]
    NoName(ConditionOn),
    #[error("{0:?} cannot be the name of a header")]
    HeaderName(String),
    #[error("{} needs a value", .0.as_str())]
    NoValue(Operator),
    #[error("{} takes one value; use {} for several", .0.as_str(), list_operator(*.0))]
    SeveralValues(Operator),
    #[error("{} needs at least one value", .0.as_str())]
    EmptyList(Operator),
    #[error("exists takes no value")]
    ExistsWithValue,
    #[error("{0:?} is not a percentage from 0 to 100")]
    Percentage(String),
    #[error("the regex {pattern:?} is invalid: {reason}")]
    Regex {
        pattern: String,
        /// Last line of the regex parser's message.
        reason: String,
    },
}

fn list_operator(op: Operator) -> &'static str {
    match op {
        Operator::NotEqual => "notIn",
        _ => "in, or several conditions,",
    }
}

/// Error for a text that is not a condition.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?}: {problem}")]
pub struct ConditionError {
    /// Text that was given.
    pub text: String,
    /// What is wrong, and what to write instead.
    #[source]
    pub problem: ConditionProblem,
}

/// Why a text is not a condition.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConditionProblem {
    /// Its first word. Nothing that a condition looks at is called so.
    #[error("starts with parameter, header, cookie or method, not {0:?}")]
    On(String),
    /// The name of the parameter, header or cookie is missing.
    #[error("after {} comes its name", .0.as_str())]
    NoName(ConditionOn),
    /// The word in the operator's place.
    #[error("{word:?} is not an operator; there are: {known}")]
    Operator {
        /// Word that was given.
        word: String,
        /// All operators.
        known: String,
    },
    /// `exists` is followed by a value.
    #[error("exists takes no value")]
    ExistsWithValue,
    /// The operator has no value.
    #[error("the value is missing")]
    NoValue,
    /// One value of a list is empty.
    #[error("a value is missing")]
    EmptyItem,
    /// Text between a closing quote and the next value.
    #[error("{0:?} follows the closing quote")]
    AfterQuotes(String),
    /// A quote is never closed.
    #[error("the closing quote is missing")]
    OpenQuote,
}
