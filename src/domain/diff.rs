//! Compares two responses to the same request, one from the baseline and one from gray: status,
//! some headers and body.
//!
//! Latency is reported but never counts as a difference.

mod body;
mod excerpt;
mod ignore;
mod pair;
mod path;
mod report;

use std::{collections::BTreeMap, fmt, time::Duration};

use bytes::Bytes;
use serde::{Serialize, Serializer};

pub use ignore::{Ignored, IgnoredError, split_list};
pub use pair::AnswerPair;
pub use path::{JsonPath, JsonPathError};
pub use report::{ReportLine, ReportLineKind, report_lines};

use super::text::Clean;

/// Limit on the differences that are kept; further ones are only counted.
pub const MAX_DIFFERENCES: usize = 100;

/// A header that is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Header {
    /// `content-type`.
    ContentType,
    /// `cache-control`.
    CacheControl,
    /// `location`.
    Location,
}

impl Header {
    /// All headers that are compared.
    pub const ALL: [Self; 3] = [Self::ContentType, Self::CacheControl, Self::Location];

    /// Name of the header, in lower case.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ContentType => "content-type",
            Self::CacheControl => "cache-control",
            Self::Location => "location",
        }
    }
}

/// A response as received.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// HTTP status code.
    pub status: u16,
    /// The headers that are compared.
    pub headers: BTreeMap<Header, String>,
    /// The part of the body that was read.
    pub body: Bytes,
    /// Whether the body was longer than what was read.
    pub cut: bool,
    /// Time until the end of the body.
    pub latency: Duration,
}

/// A pair of values, one of each side.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Sides<T> {
    /// Value of the baseline.
    pub base: T,
    /// Value of gray.
    pub gray: T,
}

/// Where two responses differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DifferencePlace {
    /// The status.
    Status,
    /// A header.
    Header(Header),
    /// A path in a JSON body.
    Path(JsonPath),
    /// A line of a body that is not JSON, from 1: the baseline's number, or gray's when only gray
    /// has the line.
    Line(usize),
    /// The first differing byte, from 1, of a body that is not text.
    Byte(usize),
}

impl fmt::Display for DifferencePlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status => f.write_str("status"),
            Self::Header(header) => f.write_str(header.name()),
            Self::Path(path) => path.fmt(f),
            Self::Line(number) => write!(f, "line {number}"),
            Self::Byte(number) => write!(f, "byte {number}"),
        }
    }
}

impl Serialize for DifferencePlace {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// One difference; `None` on the side that lacks the value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// Where the responses differ.
    pub at: DifferencePlace,
    /// Value of the baseline, shortened; JSON values in JSON notation.
    pub base: Option<Clean>,
    /// Value of gray, in the same form.
    pub gray: Option<Clean>,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |t: &Clean| {
            if t.is_empty() {
                "(empty)".to_owned()
            } else {
                t.to_string()
            }
        };
        write!(f, "{}: ", self.at)?;
        match (&self.base, &self.gray) {
            (Some(base), Some(gray)) => write!(f, "{} -> {}", text(base), text(gray)),
            (None, Some(gray)) => write!(f, "added {}", text(gray)),
            (Some(base), None) => write!(f, "removed {}", text(base)),
            (None, None) => f.write_str("differs"),
        }
    }
}

/// Result of a comparison.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Comparison {
    /// Differences in the order status, headers, body.
    pub differences: Vec<Difference>,
    /// Number of further differences that were not kept.
    pub left_out: usize,
    /// Whether one of the bodies was not read to its end, so that the rest was not compared.
    pub partial: bool,
    /// Latency of each side.
    pub latency: Sides<Duration>,
}

impl Comparison {
    /// Whether nothing differs in what was read.
    pub fn is_equal(&self) -> bool {
        self.differences.is_empty()
    }

    /// Number of all differences, including those not kept.
    pub fn count(&self) -> usize {
        self.differences.len() + self.left_out
    }

    fn add_difference(&mut self, at: DifferencePlace, base: Option<&str>, gray: Option<&str>) {
        if self.differences.len() == MAX_DIFFERENCES {
            self.left_out += 1;
            return;
        }
        let (base, gray) = excerpt::shorten_pair(base, gray);
        self.differences.push(Difference { at, base, gray });
    }
}

/// Compares two responses, except for what is ignored.
pub fn compare_answers(base: &Answer, gray: &Answer, ignored: &Ignored) -> Comparison {
    let mut found = Comparison {
        partial: base.cut || gray.cut,
        latency: Sides {
            base: base.latency,
            gray: gray.latency,
        },
        ..Comparison::default()
    };
    if base.status != gray.status {
        found.add_difference(
            DifferencePlace::Status,
            Some(&base.status.to_string()),
            Some(&gray.status.to_string()),
        );
    }
    for header in Header::ALL.into_iter().filter(|h| !ignored.has_header(*h)) {
        let [old, new] = [base, gray].map(|a| a.headers.get(&header).map(String::as_str));
        if old != new {
            found.add_difference(DifferencePlace::Header(header), old, new);
        }
    }
    body::compare_bodies(&base.body, &gray.body, ignored, &mut found);
    found
}

#[cfg(test)]
mod tests;
