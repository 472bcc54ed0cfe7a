//! OTLP trace and log messages to spans, protobuf and JSON. Pure.
//!
//! Protobuf is read in place: four million bytes of empty messages are no four million structs. JSON is read into
//! structs, and one of too many objects is refused before that.

mod facts;
mod json;
mod logs;
mod own;
mod peer;
mod status;
mod tags;
mod target;
mod text;
mod time;
mod value;
mod wire;

use crate::domain::span::{Source, Span};

pub use facts::{Facts, Ids, Lasted};
pub use own::Own;
pub use tags::AttributeKeys;
pub use time::instant;
pub use value::Value;
pub use wire::Malformed;

/// Spans taken of one request.
pub const MOST_SPANS: usize = 1000;
/// Attributes read of one span, resource or record.
pub const MOST_ATTRIBUTES: usize = 128;

/// Reads a line of a gateway's access log; none: it is no such line.
pub type ReadLine<'a> = dyn Fn(&str) -> Option<Span> + Send + Sync + 'a;

/// What came of a request.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Decoded {
    /// In the order of the request.
    pub spans: Vec<Span>,
    /// What was left out.
    pub dropped: Dropped,
}

/// What was left out of a request, by why.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dropped {
    /// Spans or records over [`MOST_SPANS`].
    pub too_many: u64,
    /// Their trace or span id is missing, zero or too long.
    pub bad_id: u64,
    /// They begin before 1970, after 2100 or never.
    pub bad_time: u64,
    /// Log records that are no line of an access log.
    pub no_access_log: u64,
    /// Attributes over [`MOST_ATTRIBUTES`] each; their spans were taken.
    pub attributes: u64,
}

impl Dropped {
    /// Spans and records that their sender should hear of: they were not taken, and should have been.
    pub const fn rejected(&self) -> u64 {
        self.too_many + self.bad_id + self.bad_time
    }
}

/// Why a span is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unusable {
    /// A trace or span id is missing, zero or too long.
    Id,
    /// It begins at no time that can be.
    Time,
}

/// How messages are read.
#[derive(Clone, Copy, Debug)]
pub struct Decoder<'k> {
    keys: &'k AttributeKeys,
    source: Source,
    most: usize,
}

impl<'k> Decoder<'k> {
    /// Of what is received.
    pub const fn new(keys: &'k AttributeKeys) -> Self {
        Self {
            keys,
            source: Source::Otlp,
            most: MOST_SPANS,
        }
    }

    /// Of what a store answers, of which `most` spans are taken.
    #[must_use]
    pub const fn of_store(keys: &'k AttributeKeys, source: Source, most: usize) -> Self {
        Self { keys, source, most }
    }

    /// An `ExportTraceServiceRequest` (or `TracesData`) in protobuf.
    ///
    /// # Errors
    ///
    /// When it is none.
    pub fn traces(&self, bytes: &[u8]) -> Result<Decoded, Malformed> {
        wire::traces(self, bytes)
    }

    /// The same in JSON.
    ///
    /// # Errors
    ///
    /// When it is none, or holds too many objects.
    pub fn traces_json(&self, bytes: &[u8]) -> Result<Decoded, Malformed> {
        json::traces(self, bytes)
    }

    /// An `ExportLogsServiceRequest` in protobuf: access logs, each line read by `line`.
    ///
    /// # Errors
    ///
    /// When it is none.
    pub fn logs(&self, bytes: &[u8], line: &ReadLine<'_>) -> Result<Decoded, Malformed> {
        wire::logs(self, bytes, line)
    }

    /// The same in JSON.
    ///
    /// # Errors
    ///
    /// When it is none, or holds too many objects.
    pub fn logs_json(&self, bytes: &[u8], line: &ReadLine<'_>) -> Result<Decoded, Malformed> {
        json::logs(self, bytes, line)
    }
}

impl Decoded {
    fn is_full(&self, decoder: &Decoder<'_>) -> bool {
        self.spans.len() >= decoder.most
    }

    fn add(&mut self, span: Result<Span, Unusable>) {
        match span {
            Ok(span) => self.spans.push(span),
            Err(Unusable::Id) => self.dropped.bad_id += 1,
            Err(Unusable::Time) => self.dropped.bad_time += 1,
        }
    }
}

#[cfg(test)]
mod tests;
