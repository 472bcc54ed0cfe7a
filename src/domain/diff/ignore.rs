//! What to ignore in a comparison.

use super::{Header, JsonPath, JsonPathError};

/// Headers and paths of a JSON body that may differ.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ignored {
    headers: Vec<Header>,
    paths: Vec<JsonPath>,
}

/// A text that names nothing that could be ignored.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IgnoredError {
    /// Not a valid JSON path.
    #[error(transparent)]
    Path(#[from] JsonPathError),
    /// A header that is not compared.
    #[error(
        "{0:?} is neither a JSON path ($.time) nor a header that is compared (content-type, cache-control, location)"
    )]
    Name(String),
}

/// The entries of a list with `;` between them.
pub fn split_list(text: &str) -> impl Iterator<Item = &str> {
    text.split(';')
        .map(str::trim)
        .filter(|entry| !entry.is_empty())
}

impl Ignored {
    /// Parses user input: a text that starts with `$` is a JSON path, any other is a header name.
    pub fn parse<T: AsRef<str>>(texts: impl IntoIterator<Item = T>) -> Result<Self, IgnoredError> {
        let mut ignored = Self::default();
        for text in texts {
            let text = text.as_ref().trim();
            if text.starts_with('$') {
                ignored.paths.push(text.parse()?);
                continue;
            }
            let header = Header::ALL
                .into_iter()
                .find(|h| h.name().eq_ignore_ascii_case(text));
            ignored
                .headers
                .push(header.ok_or_else(|| IgnoredError::Name(text.chars().take(100).collect()))?);
        }
        Ok(ignored)
    }

    /// Parses a list as it is typed into one line, with `;` between the entries.
    pub fn parse_list(text: &str) -> Result<Self, IgnoredError> {
        Self::parse(split_list(text))
    }

    pub(super) fn has_header(&self, header: Header) -> bool {
        self.headers.contains(&header)
    }

    /// Whether a path is ignored, together with everything below it.
    pub(super) fn has_path(&self, place: &JsonPath) -> bool {
        self.paths.iter().any(|p| p.matches_place(place))
    }
}
