//! Decodes OTLP trace and log messages, in protobuf and JSON, to spans. Pure.
//!
//! Protobuf is read in place, so that four million bytes of empty messages do not become four
//! million structs. JSON is read into structs, after a message with too many objects was refused.

mod emitter;
mod json;
mod logs;
mod peer;
mod protobuf;
mod span_attributes;
mod status;
mod tags;
mod target;
mod text;
mod time;
mod value;

use crate::domain::span::{Source, Span};

pub use emitter::EmitterAttributes;
pub use protobuf::Malformed;
pub use span_attributes::{SpanAttributes, SpanIds, Timing};
pub use tags::AttributeKeys;
pub use time::valid_timestamp;
pub use value::Value;

/// Spans of one request that are kept.
pub const MOST_SPANS: usize = 1000;
/// Attributes that are read of one span, resource or record.
pub const MOST_ATTRIBUTES: usize = 128;

/// Reads a line of a gateway's access log; `None` when it is no such line.
pub type ReadLine<'a> = dyn Fn(&str) -> Option<Span> + Send + Sync + 'a;

/// The result of decoding a request.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Decoded {
    /// The spans, in the order of the request.
    pub spans: Vec<Span>,
    /// What was left out.
    pub dropped: Dropped,
}

/// What was left out of a request, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dropped {
    /// Spans or records over [`MOST_SPANS`].
    pub too_many: u64,
    /// The trace or span id is missing, zero or too long.
    pub bad_id: u64,
    /// The start time is missing, or not between 1970 and 2100.
    pub bad_time: u64,
    /// Log records that are no line of an access log.
    pub no_access_log: u64,
    /// Attributes over [`MOST_ATTRIBUTES`]; their spans were kept.
    pub attributes: u64,
}

impl Dropped {
    /// Spans and records to report to the sender: they were left out although they should not have
    /// been.
    pub const fn rejected(&self) -> u64 {
        self.too_many + self.bad_id + self.bad_time
    }
}

/// Why a span is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unusable {
    /// A trace or span id is missing, zero or too long.
    Id,
    /// Its start time is impossible.
    Time,
}

/// Decoding options.
#[derive(Clone, Copy, Debug)]
pub struct Decoder<'k> {
    keys: &'k AttributeKeys,
    source: Source,
    most: usize,
}

impl<'k> Decoder<'k> {
    /// For received messages.
    pub const fn new(keys: &'k AttributeKeys) -> Self {
        Self {
            keys,
            source: Source::Otlp,
            most: MOST_SPANS,
        }
    }

    /// For the answers of a store, of which `most` spans are kept.
    #[must_use]
    pub const fn for_store(keys: &'k AttributeKeys, source: Source, most: usize) -> Self {
        Self { keys, source, most }
    }

    /// Decodes an `ExportTraceServiceRequest` (or `TracesData`) in protobuf.
    ///
    /// # Errors
    ///
    /// When the message is malformed.
    pub fn decode_traces(&self, bytes: &[u8]) -> Result<Decoded, Malformed> {
        protobuf::decode_traces(self, bytes)
    }

    /// Decodes the same in JSON.
    ///
    /// # Errors
    ///
    /// When the message is malformed, or has too many objects.
    pub fn decode_traces_json(&self, bytes: &[u8]) -> Result<Decoded, Malformed> {
        json::decode_traces(self, bytes)
    }

    /// Decodes an `ExportLogsServiceRequest` in protobuf: access logs, each line read by `line`.
    ///
    /// # Errors
    ///
    /// When the message is malformed.
    pub fn decode_logs(&self, bytes: &[u8], line: &ReadLine<'_>) -> Result<Decoded, Malformed> {
        protobuf::decode_logs(self, bytes, line)
    }

    /// Decodes the same in JSON.
    ///
    /// # Errors
    ///
    /// When the message is malformed, or has too many objects.
    pub fn decode_logs_json(
        &self,
        bytes: &[u8],
        line: &ReadLine<'_>,
    ) -> Result<Decoded, Malformed> {
        json::decode_logs(self, bytes, line)
    }
}

impl Decoded {
    fn is_full(&self, decoder: &Decoder<'_>) -> bool {
        self.spans.len() >= decoder.most
    }

    fn add_span(&mut self, span: Result<Span, Unusable>) {
        match span {
            Ok(span) => self.spans.push(span),
            Err(Unusable::Id) => self.dropped.bad_id += 1,
            Err(Unusable::Time) => self.dropped.bad_time += 1,
        }
    }
}

#[cfg(test)]
mod tests;
