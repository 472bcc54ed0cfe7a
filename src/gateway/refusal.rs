//! Answers of the gateway itself. The hop names the Service, the backend and the cause; so does the answer to a
//! service. Who asks at an entry is a stranger, and is told nothing of what stands behind it.

use std::error::Error;

use http::{HeaderValue, Response, StatusCode, Version, header};

use super::body::{self, Answer, CallerBroke, TooLong};
use crate::domain::request::Refused;

/// Why there is no answer from a backend.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    pub(super) words: String,
    /// The words are of the request itself: a stranger may read them.
    of_request: bool,
    /// What comes behind it on its connection is not read any more: it may be part of what was refused.
    closes: bool,
}

impl Refusal {
    pub(super) fn new(status: StatusCode, words: impl Into<String>) -> Self {
        Self {
            status,
            words: words.into(),
            of_request: false,
            closes: false,
        }
    }

    /// What is wrong with the request.
    pub(super) fn of_request(status: StatusCode, words: impl Into<String>) -> Self {
        Self {
            status,
            words: words.into(),
            of_request: true,
            closes: false,
        }
    }

    /// `entry` says that a stranger asked; the trace finds the words in the gateway's log.
    pub(super) fn answer(&self, entry: bool, trace: &str, version: Version) -> Response<Answer> {
        let code = self.status.as_u16();
        let text = match (entry && !self.of_request, self.status) {
            (false, _) => format!("{code} {}\n", self.words),
            (true, StatusCode::SERVICE_UNAVAILABLE) => {
                format!("{code} nothing is ready to answer (trace {trace})\n")
            }
            (true, StatusCode::GATEWAY_TIMEOUT) => {
                format!("{code} no answer came in time (trace {trace})\n")
            }
            (true, StatusCode::BAD_GATEWAY) => {
                format!("{code} no valid answer came (trace {trace})\n")
            }
            (true, _) => format!("{code} this cannot be answered (trace {trace})\n"),
        };
        let mut answer = Response::new(body::text(text));
        *answer.status_mut() = self.status;
        let kind = HeaderValue::from_static("text/plain; charset=utf-8");
        answer.headers_mut().insert(header::CONTENT_TYPE, kind);
        if self.closes && version < Version::HTTP_2 {
            answer
                .headers_mut()
                .insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        answer
    }

    /// A request that could not be sent, or whose answer did not come.
    pub(super) fn of_error(error: &hyper::Error, who: &str) -> Self {
        let chain = || std::iter::successors(error.source(), |e| (**e).source());
        if chain().any(|e| e.is::<TooLong>()) {
            return Self::of_request(StatusCode::PAYLOAD_TOO_LARGE, TooLong.to_string());
        }
        if let Some(broke) = chain().find_map(|e| e.downcast_ref::<CallerBroke>()) {
            let why = causes(broke);
            return match broke.is_malformed() {
                true => Self::of_request(
                    StatusCode::BAD_REQUEST,
                    format!("the caller's body is malformed: {why}"),
                ),
                false => Self::of_request(
                    gone(),
                    format!("the caller went away before its body's end: {why}"),
                ),
            };
        }
        Self::new(
            StatusCode::BAD_GATEWAY,
            format!("{who} broke off: {}", causes(error)),
        )
    }
}

impl From<Refused> for Refusal {
    fn from(refused: Refused) -> Self {
        Self {
            closes: true,
            ..Self::of_request(refused.status, refused.words)
        }
    }
}

/// nginx's 499: the caller went away.
pub(super) fn gone() -> StatusCode {
    StatusCode::from_u16(499).unwrap_or(StatusCode::BAD_REQUEST)
}

/// An error with its causes.
pub(super) fn causes(error: &dyn Error) -> String {
    let more = std::iter::successors(error.source(), |e| (**e).source()).map(ToString::to_string);
    std::iter::once(error.to_string())
        .chain(more)
        .collect::<Vec<_>>()
        .join(": ")
}
