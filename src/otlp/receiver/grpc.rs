//! gRPC over HTTP/2: <https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md>. Calls are
//! unary: one message after a prefix of five bytes.

use std::sync::Arc;

use ::http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use base64::{Engine, engine::general_purpose::STANDARD_NO_PAD};
use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::Incoming;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use super::{
    Answer,
    answer::{encode_status, encode_success},
    body,
    intake::{Form, Intake, Payload, Signal},
    refusal::Refusal,
};
use crate::domain::text::Clean;

const GRPC: HeaderValue = HeaderValue::from_static("application/grpc");
/// ASCII characters to escape in `grpc-message`; all others are always escaped.
const PLAIN: &AsciiSet = &CONTROLS.add(b'%');

#[tracing::instrument(level = "trace", skip_all, fields(path = request.uri().path()))]
pub(super) async fn answer_grpc(intake: &Arc<Intake>, request: Request<Incoming>) -> Answer {
    let kind = request
        .headers()
        .get(header::CONTENT_TYPE)
        .and_then(|kind| kind.to_str().ok())
        .unwrap_or_default();
    if !kind.starts_with("application/grpc") {
        // The only case in which the protocol asks for a plain HTTP answer.
        let mut answer = Response::new(Empty::new().boxed_unsync());
        *answer.status_mut() = StatusCode::UNSUPPORTED_MEDIA_TYPE;
        intake
            .metrics
            .count_answer("grpc", "none", "UNSUPPORTED_MEDIA_TYPE");
        return answer;
    }
    let signal = match request.uri().path() {
        "/opentelemetry.proto.collector.trace.v1.TraceService/Export" => Some(Signal::Traces),
        "/opentelemetry.proto.collector.logs.v1.LogsService/Export" => Some(Signal::Logs),
        _ => None,
    };
    let taken = match signal {
        Some(signal) => take_request(intake, signal, request).await,
        None => Err(Refusal::NoSuch(
            "only TraceService/Export and LogsService/Export of OTLP v1 are served here",
        )),
    };
    let code = taken
        .as_ref()
        .map_or_else(|refusal| refusal.grpc_status().1, |_| "OK");
    intake
        .metrics
        .count_answer("grpc", signal.map_or("none", Signal::label_value), code);
    match taken {
        Ok(rejected) => success_response(&encode_success(rejected)),
        Err(refusal) => failure_response(&refusal),
    }
}

async fn take_request(
    intake: &Arc<Intake>,
    signal: Signal,
    request: Request<Incoming>,
) -> Result<u64, Refusal> {
    let (head, body) = request.into_parts();
    if head.method != Method::POST {
        return Err(Refusal::Method);
    }
    let (bytes, held) = body::collect_body(&head.headers, body, &intake.budget).await?;
    let (packed, bytes) = split_message(bytes)?;
    let encoding = head.headers.get("grpc-encoding").map(HeaderValue::as_bytes);
    let gzip = match (packed, encoding) {
        (false, _) => false,
        (true, Some(b"gzip")) => true,
        (true, None | Some(b"identity")) => {
            return Err(Refusal::BadFrame(
                "the message says that it is compressed, and no grpc-encoding says how",
            ));
        }
        (true, Some(other)) => {
            return Err(Refusal::Encoding(Clean::bounded(
                &String::from_utf8_lossy(other),
                40,
            )));
        }
    };
    intake
        .take_payload(Payload {
            signal,
            form: Form::Protobuf,
            gzip,
            bytes,
            held,
        })
        .await
}

/// The only message of a body, and whether it is compressed.
fn split_message(mut body: Bytes) -> Result<(bool, Bytes), Refusal> {
    let Some((&[packed, a, b, c, d], _)) = body.split_first_chunk() else {
        return Err(Refusal::BadFrame("the body holds no message"));
    };
    let message = body.split_off(5);
    let length = u32::from_be_bytes([a, b, c, d]) as usize;
    match packed {
        0 | 1 if message.len() == length => Ok((packed == 1, message)),
        0 | 1 if message.len() < length => Err(Refusal::BadFrame("the message is cut off")),
        0 | 1 => Err(Refusal::BadFrame("the body holds more than one message")),
        _ => Err(Refusal::BadFrame(
            "the message's first byte is neither 0 nor 1",
        )),
    }
}

fn success_response(message: &[u8]) -> Answer {
    let mut frame = Vec::with_capacity(5 + message.len());
    frame.push(0);
    frame.extend(
        u32::try_from(message.len())
            .unwrap_or_default()
            .to_be_bytes(),
    );
    frame.extend(message);
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    let body = Full::new(Bytes::from(frame)).with_trailers(std::future::ready(Some(Ok(trailers))));
    let mut answer = Response::new(body.boxed_unsync());
    answer.headers_mut().insert(header::CONTENT_TYPE, GRPC);
    answer
}

/// An answer that consists of trailers only.
fn failure_response(refusal: &Refusal) -> Answer {
    let mut answer = Response::new(Empty::new().boxed_unsync());
    let words = utf8_percent_encode(&refusal.to_message(), PLAIN).to_string();
    let details = STANDARD_NO_PAD.encode(encode_status(refusal));
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, GRPC);
    headers.insert("grpc-status", refusal.grpc_status().0.into());
    headers.insert(
        "grpc-accept-encoding",
        HeaderValue::from_static("identity,gzip"),
    );
    for (name, value) in [
        ("grpc-message", words),
        ("grpc-status-details-bin", details),
    ] {
        // Only visible ASCII can be in them.
        if let Ok(value) = HeaderValue::try_from(value) {
            headers.insert(name, value);
        }
    }
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_holds_one_whole_message() {
        let of = |bytes: &'static [u8]| split_message(Bytes::from_static(bytes));
        let (packed, bytes) = of(b"\x01\0\0\0\x02ab").unwrap();
        assert!(packed && bytes == "ab");
        assert!(of(b"\0\0\0\0\0").is_ok_and(|(packed, bytes)| !packed && bytes.is_empty()));
        for wrong in [
            &b""[..],
            b"\0\0\0\0",
            b"\0\0\0\0\x02a",
            b"\0\0\0\0\x01ab",
            b"\x02\0\0\0\0",
            b"\0\xff\xff\xff\xffa",
        ] {
            assert!(matches!(of(wrong), Err(Refusal::BadFrame(_))), "{wrong:?}");
        }
    }
}
