//! OTLP over HTTP: `POST /v1/traces` and `/v1/logs` in protobuf or JSON; the answer has the same
//! form. <https://opentelemetry.io/docs/specs/otlp/#otlphttp>

use std::sync::Arc;

use ::http::{HeaderMap, HeaderValue, Method, Request, Response, header};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;

use super::{
    Answer,
    answer::{encode_status, encode_success, status_json, success_json},
    body,
    intake::{Form, Intake, Payload, Signal},
    refusal::Refusal,
};
use crate::domain::text::Clean;

impl Form {
    const fn media_type(self) -> &'static str {
        match self {
            Self::Protobuf => "application/x-protobuf",
            Self::Json => "application/json",
        }
    }
}

#[tracing::instrument(level = "trace", skip_all, fields(path = request.uri().path()))]
pub(super) async fn answer_http(intake: &Arc<Intake>, mut request: Request<Incoming>) -> Answer {
    let form = requested_form(request.headers());
    let signal = match request.uri().path() {
        "/v1/traces" => Some(Signal::Traces),
        "/v1/logs" => Some(Signal::Logs),
        _ => None,
    };
    let known = signal.is_some() && form.is_some() && *request.method() == Method::POST;
    if !known {
        body::drain_body(request.body_mut()).await;
    }
    let taken = match (signal, form) {
        (None, _) => Err(Refusal::NoSuch("there are /v1/traces and /v1/logs")),
        (Some(_), _) if *request.method() != Method::POST => Err(Refusal::Method),
        (Some(_), None) => Err(Refusal::Type(
            "the Content-Type must be application/x-protobuf or application/json",
        )),
        (Some(signal), Some(form)) => take_request(intake, signal, form, request).await,
    };
    let code = taken.as_ref().err().map_or("200", code_label);
    intake
        .metrics
        .count_answer("http", signal.map_or("none", Signal::label_value), code);
    // Failures are answered with a Status; in protobuf when the request's form is unknown.
    let form = form.unwrap_or(Form::Protobuf);
    let signal = signal.unwrap_or(Signal::Traces);
    let body = match (&taken, form) {
        (Ok(rejected), Form::Protobuf) => encode_success(*rejected),
        (Ok(rejected), Form::Json) => success_json(*rejected, signal).to_string().into_bytes(),
        (Err(refusal), Form::Protobuf) => encode_status(refusal),
        (Err(refusal), Form::Json) => status_json(refusal).to_string().into_bytes(),
    };
    let mut answer = Response::new(Full::new(Bytes::from(body)).boxed_unsync());
    answer.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static(form.media_type()),
    );
    if let Err(refusal) = &taken {
        *answer.status_mut() = refusal.http_status();
        if let Some(delay) = refusal.retry_delay() {
            answer
                .headers_mut()
                .insert(header::RETRY_AFTER, delay.as_secs().into());
        }
        if matches!(refusal, Refusal::Method) {
            answer
                .headers_mut()
                .insert(header::ALLOW, HeaderValue::from_static("POST"));
        }
    }
    answer
}

/// The status of a refusal as a label: few values, so that no sender makes many series.
fn code_label(refusal: &Refusal) -> &'static str {
    match refusal.http_status().as_u16() {
        400 => "400",
        404 => "404",
        405 => "405",
        408 => "408",
        413 => "413",
        415 => "415",
        429 => "429",
        _ => "500",
    }
}

fn requested_form(headers: &HeaderMap) -> Option<Form> {
    let kind = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    let kind = kind.split(';').next().unwrap_or_default().trim();
    [Form::Protobuf, Form::Json]
        .into_iter()
        .find(|form| kind.eq_ignore_ascii_case(form.media_type()))
}

async fn take_request(
    intake: &Arc<Intake>,
    signal: Signal,
    form: Form,
    request: Request<Incoming>,
) -> Result<u64, Refusal> {
    let (head, mut body) = request.into_parts();
    let encoding = head
        .headers
        .get(header::CONTENT_ENCODING)
        .map(HeaderValue::as_bytes)
        .unwrap_or_default();
    let gzip = match encoding {
        b"" | b"identity" => false,
        b"gzip" => true,
        other => {
            body::drain_body(&mut body).await;
            return Err(Refusal::Encoding(Clean::bounded(
                &String::from_utf8_lossy(other),
                40,
            )));
        }
    };
    let (bytes, held) = body::collect_body(&head.headers, body, &intake.budget).await?;
    intake
        .take_payload(Payload {
            signal,
            form,
            gzip,
            bytes,
            held,
        })
        .await
}
