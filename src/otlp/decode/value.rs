//! The value of an attribute, as far as it is used.

use std::borrow::Cow;

/// The value of an attribute.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Value<'a> {
    /// A string.
    Text(Cow<'a, str>),
    /// An integer.
    Number(i64),
    /// A boolean.
    Flag(bool),
    /// The first strings of an array.
    List(Vec<Cow<'a, str>>),
    /// Anything else: bytes, maps, floating-point numbers. None of them is used.
    #[default]
    Other,
}

/// Strings that are read of an array: the first one counts, the others are for messages.
pub(super) const MOST_LISTED: usize = 8;

impl Value<'_> {
    /// As a string; of an array, the first one.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::List(list) => list.first().map(|text| &**text),
            Self::Number(_) | Self::Flag(_) | Self::Other => None,
        }
    }

    /// As a non-negative integer, also from a string.
    pub fn as_number(&self) -> Option<u64> {
        match self {
            Self::Number(number) => u64::try_from(*number).ok(),
            _ => self.as_text()?.trim().parse().ok(),
        }
    }

    /// Whether it is true, also as a string.
    pub fn is_true(&self) -> bool {
        *self == Self::Flag(true) || self.as_text() == Some("true")
    }
}

impl<'a> From<&'a str> for Value<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(text.into())
    }
}
