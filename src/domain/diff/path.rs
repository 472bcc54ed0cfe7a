//! Paths in a JSON document, such as `$.items[3].price`; `[*]` matches every child.

use std::{
    fmt::{self, Write as _},
    str::FromStr,
};

/// One step of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum PathStep {
    /// A member of an object.
    Name(String),
    /// An item of an array.
    Index(usize),
    /// Every child.
    Any,
}

/// A path from the root of a document.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JsonPath(pub(super) Vec<PathStep>);

/// Not a valid JSON path.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no JSON path: write $.time, $.items[3].price, $.items[*].id, $[\"any name\"], or $ for the whole body"
)]
pub struct JsonPathError(String);

impl JsonPath {
    /// Whether this path, taken as a pattern, matches `place`.
    pub(super) fn matches_place(&self, place: &Self) -> bool {
        self.0.len() == place.0.len()
            && self
                .0
                .iter()
                .zip(&place.0)
                .all(|(p, s)| *p == PathStep::Any || p == s)
    }
}

impl FromStr for JsonPath {
    type Err = JsonPathError;

    fn from_str(text: &str) -> Result<Self, JsonPathError> {
        let steps = text.strip_prefix('$').and_then(parse_steps);
        steps
            .map(Self)
            .ok_or_else(|| JsonPathError(text.chars().take(100).collect()))
    }
}

fn parse_steps(mut rest: &str) -> Option<Vec<PathStep>> {
    let mut steps = vec![];
    while !rest.is_empty() {
        let (step, after) = match rest.strip_prefix('.') {
            Some(name) => {
                let end = name.find(['.', '[']).unwrap_or(name.len());
                let (name, after) = name.split_at(end);
                (
                    if name == "*" {
                        PathStep::Any
                    } else {
                        PathStep::Name(name.to_owned())
                    },
                    after,
                )
            }
            None => parse_bracket(rest.strip_prefix('[')?)?,
        };
        if step == PathStep::Name(String::new()) && !rest.starts_with('[') {
            return None;
        }
        steps.push(step);
        rest = after;
    }
    Some(steps)
}

/// Parses what follows a `[`; returns the step and the text after its `]`.
fn parse_bracket(rest: &str) -> Option<(PathStep, &str)> {
    if rest.starts_with('"') {
        // A JSON string may contain brackets, so let the JSON parser find its end.
        let mut read = serde_json::Deserializer::from_str(rest).into_iter::<String>();
        let name = read.next()?.ok()?;
        let after = rest.get(read.byte_offset()..)?.strip_prefix(']')?;
        return Some((PathStep::Name(name), after));
    }
    let (inside, after) = rest.split_once(']')?;
    let quoted = || {
        inside
            .strip_prefix('\'')?
            .strip_suffix('\'')
            .map(|name| PathStep::Name(name.to_owned()))
    };
    let step = if inside == "*" {
        Some(PathStep::Any)
    } else {
        inside.parse().ok().map(PathStep::Index).or_else(quoted)
    };
    Some((step?, after))
}

/// The output parses to the same path and is safe to display: invisible characters are escaped.
impl fmt::Display for JsonPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("$")?;
        for step in &self.0 {
            match step {
                PathStep::Name(name) if is_plain(name) => write!(f, ".{name}")?,
                PathStep::Name(name) => {
                    f.write_str("[\"")?;
                    name.chars().try_for_each(|c| write_escaped(f, c))?;
                    f.write_str("\"]")?;
                }
                PathStep::Index(index) => write!(f, "[{index}]")?,
                PathStep::Any => f.write_str("[*]")?,
            }
        }
        Ok(())
    }
}

fn is_plain(name: &str) -> bool {
    !name.is_empty()
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'))
}

fn write_escaped(f: &mut fmt::Formatter<'_>, c: char) -> fmt::Result {
    match c {
        '"' | '\\' => write!(f, "\\{c}"),
        c if c == ' ' || c.is_ascii_graphic() || c.is_alphanumeric() => f.write_char(c),
        c => c
            .encode_utf16(&mut [0; 2])
            .iter()
            .try_for_each(|unit| write!(f, "\\u{unit:04x}")),
    }
}
