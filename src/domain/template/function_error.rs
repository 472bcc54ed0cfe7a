//! Why a function of a template has no result.

use super::value::ValueLimit;

/// Error of a template function. Whoever calls the function adds its name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum FunctionError {
    /// The template's author wrote the message: `fail` and `required`.
    #[error("{0}")]
    Raised(String),
    #[error(transparent)]
    Limit(#[from] ValueLimit),
    #[error("that text would be too long")]
    TooLong,
    #[error("`%p` prints an address, and a manifest must render the same each time")]
    AddressVerb,
    #[error("{0} has no length")]
    NoLength(&'static str),
    #[error("{0} has no items")]
    NoItems(&'static str),
    #[error("it is nothing, and has no keys")]
    NilHasNoKeys,
    #[error("it is nothing, and has no items")]
    NilHasNoItems,
    #[error("a map's key is a text, and this is {0}")]
    KeyType(&'static str),
    #[error("a place is a whole number, and this is {0}")]
    PositionType(&'static str),
    #[error("there is no item {0}")]
    OutOfRange(String),
    #[error("too many places")]
    TooManyPositions,
    #[error("the places {from}, {to} are the wrong way round")]
    PositionOrder { from: usize, to: usize },
    #[error("this would cut a character in two")]
    SplitCharacter,
    #[error("something to compare with is missing")]
    NothingToCompare,
    #[error("{0} cannot be compared")]
    NotComparable(&'static str),
    #[error("{left} and {right} cannot be compared{}", if *.numbers {
        "; write the one as the other: 1.0 for 1, or `int` before it"
    } else {
        ""
    })]
    Incompatible {
        left: &'static str,
        right: &'static str,
        /// Both are numbers, of different kinds.
        numbers: bool,
    },
    #[error("JSON has no such number")]
    NoJsonNumber,
    #[error("each key needs a value; it is used as `dict KEY VALUE …`")]
    KeyWithoutValue,
    #[error("it needs a list, this is {0}")]
    NoList(&'static str),
    /// Holds the text as the message shows it: a text is in quotes.
    #[error("{0} is no whole number")]
    NoWholeNumber(String),
    #[error("the result is no number of 64 bits")]
    Overflow,
    #[error("it cannot be repeated less than never")]
    NegativeTimes,
    #[error("columns cannot be negative")]
    NegativeColumns,
    #[error(transparent)]
    Base64(#[from] base64::DecodeError),
    #[error("what is inside is no text")]
    NoText,
}
