//! Two answers to the same request, the baseline's and gray's, compared: status, some headers, body.
//!
//! How long they took is told and never a difference.

mod body;
mod ignore;
mod path;
mod shown;

use std::{collections::BTreeMap, fmt, time::Duration};

use bytes::Bytes;
use serde::{Serialize, Serializer};

pub use ignore::{Ignored, IgnoredError};
pub use path::{Path, PathError};

use super::text::Clean;

/// No more differences are kept; the others are counted.
pub const MOST_DIFFERENCES: usize = 100;

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
    /// All that are compared.
    pub const ALL: [Self; 3] = [Self::ContentType, Self::CacheControl, Self::Location];

    /// As it is written.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ContentType => "content-type",
            Self::CacheControl => "cache-control",
            Self::Location => "location",
        }
    }
}

/// An answer, as it came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// Those of its headers that are compared.
    pub headers: BTreeMap<Header, String>,
    /// As much of its body as was read.
    pub body: Bytes,
    /// There was more of the body.
    pub cut: bool,
    /// How long it took to the end of the body.
    pub latency: Duration,
}

/// One thing of either side.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Sides<T> {
    /// The baseline's.
    pub base: T,
    /// Gray's.
    pub gray: T,
}

/// Where two answers differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// In the status.
    Status,
    /// In a header.
    Header(Header),
    /// In a JSON body, there.
    Path(Path),
    /// In a body that is no JSON: in that line, from 1; gray's number where only gray has it.
    Line(usize),
    /// In a body that is no text: from that byte on, from 1.
    Byte(usize),
}

impl fmt::Display for Place {
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

impl Serialize for Place {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// One difference; the side that lacks it tells nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// Where.
    pub at: Place,
    /// What the baseline has, shortened; JSON is written as JSON.
    pub base: Option<Clean>,
    /// What gray has.
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

/// What came of comparing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Comparison {
    /// Where they differ: status, headers, body, in this order; from the baseline to gray.
    pub differences: Vec<Difference>,
    /// So many more there are.
    pub left_out: usize,
    /// One of the bodies was not read to its end: what follows is unknown.
    pub partial: bool,
    /// How long either took.
    pub latency: Sides<Duration>,
}

impl Comparison {
    /// Nothing differs, as far as it was read.
    pub fn is_equal(&self) -> bool {
        self.differences.is_empty()
    }

    /// All differences, those left out too.
    pub fn count(&self) -> usize {
        self.differences.len() + self.left_out
    }

    fn add(&mut self, at: Place, base: Option<&str>, gray: Option<&str>) {
        if self.differences.len() == MOST_DIFFERENCES {
            self.left_out += 1;
            return;
        }
        let (base, gray) = shown::pair(base, gray);
        self.differences.push(Difference { at, base, gray });
    }
}

/// Compares two answers but for what is to be ignored.
pub fn compare(base: &Answer, gray: &Answer, ignored: &Ignored) -> Comparison {
    let mut found = Comparison {
        partial: base.cut || gray.cut,
        latency: Sides {
            base: base.latency,
            gray: gray.latency,
        },
        ..Comparison::default()
    };
    if base.status != gray.status {
        found.add(
            Place::Status,
            Some(&base.status.to_string()),
            Some(&gray.status.to_string()),
        );
    }
    for header in Header::ALL.into_iter().filter(|h| !ignored.has_header(*h)) {
        let [old, new] = [base, gray].map(|a| a.headers.get(&header).map(String::as_str));
        if old != new {
            found.add(Place::Header(header), old, new);
        }
    }
    body::compare(&base.body, &gray.body, ignored, &mut found);
    found
}

#[cfg(test)]
mod tests;
