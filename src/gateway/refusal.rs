//! Error responses of the gateway itself. The hop names the Service, the backend and the cause, and
//! so does the response to a service. A client at an entry is a stranger and learns nothing about
//! the backends.

use std::error::Error;

use http::{HeaderValue, Response, StatusCode, Version, header};

use super::body::{self, BodyTooLong, CallerError, ResponseBody};
use crate::domain::request::RequestRefusal;

/// Why there is no response from a backend.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    pub(super) words: String,
    /// The text is about the request itself, so a stranger may read it.
    of_request: bool,
    /// Close the connection: what follows on it may be part of the refused request.
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

    /// An error in the request itself.
    pub(super) fn request_error(status: StatusCode, words: impl Into<String>) -> Self {
        Self {
            status,
            words: words.into(),
            of_request: true,
            closes: false,
        }
    }

    /// `entry`: the client is a stranger. With the trace id, the text can be found in the gateway's
    /// log.
    pub(super) fn to_response(
        &self,
        entry: bool,
        trace: &str,
        version: Version,
    ) -> Response<ResponseBody> {
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
        let mut answer = Response::new(body::text_body(text));
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

    /// A request that could not be sent or got no response.
    pub(super) fn from_error(error: &hyper::Error, who: &str) -> Self {
        let chain = || std::iter::successors(error.source(), |e| (**e).source());
        if chain().any(|e| e.is::<BodyTooLong>()) {
            return Self::request_error(StatusCode::PAYLOAD_TOO_LARGE, BodyTooLong.to_string());
        }
        if let Some(broke) = chain().find_map(|e| e.downcast_ref::<CallerError>()) {
            let why = format_error_chain(broke);
            return if broke.is_malformed() {
                Self::request_error(
                    StatusCode::BAD_REQUEST,
                    format!("the caller's body is malformed: {why}"),
                )
            } else {
                Self::request_error(
                    client_closed_request(),
                    format!("the caller went away before its body's end: {why}"),
                )
            };
        }
        Self::new(
            StatusCode::BAD_GATEWAY,
            format!("{who} broke off: {}", format_error_chain(error)),
        )
    }
}

impl From<RequestRefusal> for Refusal {
    fn from(refused: RequestRefusal) -> Self {
        Self {
            closes: true,
            ..Self::request_error(refused.status, refused.words)
        }
    }
}

/// Status 499 of nginx: the caller went away.
pub(super) fn client_closed_request() -> StatusCode {
    StatusCode::from_u16(499).unwrap_or(StatusCode::BAD_REQUEST)
}

/// The text of an error with its causes.
pub(super) fn format_error_chain(error: &dyn Error) -> String {
    let more = std::iter::successors(error.source(), |e| (**e).source()).map(ToString::to_string);
    std::iter::once(error.to_string())
        .chain(more)
        .collect::<Vec<_>>()
        .join(": ")
}
