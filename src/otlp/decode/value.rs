//! The value of an attribute, as far as any of ours is read.

use std::borrow::Cow;

/// The value of an attribute.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Value<'a> {
    /// Text.
    Text(Cow<'a, str>),
    /// A whole number.
    Number(i64),
    /// True or false.
    Flag(bool),
    /// The first texts of an array.
    List(Vec<Cow<'a, str>>),
    /// Anything else: bytes, maps, fractions. Nothing of ours is one.
    #[default]
    Other,
}

/// Texts read of an array: the first one counts, the others are there for a message.
pub(super) const MOST_LISTED: usize = 8;

impl Value<'_> {
    /// As text: of an array the first one.
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::List(list) => list.first().map(|text| &**text),
            Self::Number(_) | Self::Flag(_) | Self::Other => None,
        }
    }

    /// As a whole number that is not negative, also where it stands as text.
    pub fn number(&self) -> Option<u64> {
        match self {
            Self::Number(number) => u64::try_from(*number).ok(),
            _ => self.text()?.trim().parse().ok(),
        }
    }

    /// True, also where it stands as text.
    pub fn is_true(&self) -> bool {
        *self == Self::Flag(true) || self.text() == Some("true")
    }
}

impl<'a> From<&'a str> for Value<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(text.into())
    }
}
