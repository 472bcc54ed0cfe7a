//! Answers of the gateway itself, each naming the Service, the backend and the cause.

use std::{error::Error, fmt};

use http::{HeaderValue, Response, StatusCode, header};

use super::body::{self, Answer, TooLong};

/// Why there is no answer from a backend.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    pub(super) words: String,
}

impl Refusal {
    pub(super) fn new(status: StatusCode, words: impl Into<String>) -> Self {
        Self { status, words: words.into() }
    }

    pub(super) fn answer(&self) -> Response<Answer> {
        let mut answer = Response::new(body::text(format!("{self}\n")));
        *answer.status_mut() = self.status;
        let kind = HeaderValue::from_static("text/plain; charset=utf-8");
        answer.headers_mut().insert(header::CONTENT_TYPE, kind);
        answer
    }

    /// A request that could not be sent, or whose answer did not come.
    pub(super) fn of_error(error: &hyper::Error, who: &str) -> Self {
        let too_long = std::iter::successors(error.source(), |e| (**e).source()).any(|e| e.is::<TooLong>());
        if too_long {
            return Self::new(StatusCode::PAYLOAD_TOO_LARGE, TooLong.to_string());
        }
        Self::new(StatusCode::BAD_GATEWAY, format!("{who} broke off: {}", causes(error)))
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.status.as_u16(), self.words)
    }
}

/// An error with its causes.
pub(super) fn causes(error: &dyn Error) -> String {
    let more = std::iter::successors(error.source(), |e| (**e).source()).map(ToString::to_string);
    std::iter::once(error.to_string()).chain(more).collect::<Vec<_>>().join(": ")
}
