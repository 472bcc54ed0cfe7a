//! Why a request is refused, in both protocols.
//!
//! Senders retry what is refused with 429 or, over gRPC, with `RESOURCE_EXHAUSTED` and a
//! `RetryInfo`; they drop what is refused otherwise
//! (<https://opentelemetry.io/docs/specs/otlp/#failures>,
//! <https://opentelemetry.io/docs/specs/otlp/#otlpgrpc-throttling>).

use std::time::Duration;

use ::http::StatusCode;

use crate::{domain::text::Clean, otlp::decode::Malformed};

/// How long senders should wait before they retry after an overload.
pub(super) const LATER: Duration = Duration::from_secs(1);
/// Maximum bytes of a request, before and after decompression.
pub(super) const MOST_BYTES: usize = 4 << 20;

/// Why a request is refused.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    #[error("there is too much to do; send it again in {} s", LATER.as_secs())]
    Busy,
    #[error("a request is at most {} MiB, also once it is inflated; send fewer spans at once", MOST_BYTES >> 20)]
    TooLarge,
    #[error(transparent)]
    Malformed(#[from] Malformed),
    #[error("its body is no gzip, or is cut off")]
    BadGzip,
    #[error("its body did not come to its end")]
    Cut,
    #[error("its body did not come in time")]
    Slow,
    #[error("{0}")]
    BadFrame(&'static str),
    #[error("the encoding {0} is not known here; send it with gzip, or as it is")]
    Encoding(Clean),
    #[error("{0}")]
    Type(&'static str),
    #[error("{0}")]
    NoSuch(&'static str),
    #[error("only POST is taken here")]
    Method,
    #[error("it could not be read, by a fault of graylane")]
    Fault,
}

impl Refusal {
    /// The HTTP status.
    pub(super) const fn http_status(&self) -> StatusCode {
        match self {
            Self::Busy => StatusCode::TOO_MANY_REQUESTS,
            Self::TooLarge | Self::Malformed(Malformed::TooManyObjects(_)) => {
                StatusCode::PAYLOAD_TOO_LARGE
            }
            Self::Malformed(_) | Self::BadGzip | Self::Cut | Self::BadFrame(_) => {
                StatusCode::BAD_REQUEST
            }
            Self::Slow => StatusCode::REQUEST_TIMEOUT,
            Self::Encoding(_) | Self::Type(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::NoSuch(_) => StatusCode::NOT_FOUND,
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::Fault => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// The gRPC status and its name.
    pub(super) const fn grpc_status(&self) -> (i32, &'static str) {
        match self {
            Self::Busy | Self::TooLarge | Self::Malformed(Malformed::TooManyObjects(_)) => {
                (8, "RESOURCE_EXHAUSTED")
            }
            Self::Malformed(_) | Self::BadGzip | Self::Cut | Self::BadFrame(_) | Self::Type(_) => {
                (3, "INVALID_ARGUMENT")
            }
            Self::Slow => (4, "DEADLINE_EXCEEDED"),
            Self::Encoding(_) | Self::NoSuch(_) | Self::Method => (12, "UNIMPLEMENTED"),
            Self::Fault => (13, "INTERNAL"),
        }
    }

    /// When to retry; `None` means never.
    pub(super) const fn retry_delay(&self) -> Option<Duration> {
        match self {
            Self::Busy => Some(LATER),
            _ => None,
        }
    }

    /// The message on one line.
    pub(super) fn to_message(&self) -> String {
        Clean::bounded(&self.to_string(), 300).into_string()
    }
}
