//! The response messages, in protobuf and JSON.
//!
//! A partly accepted request is a success with `partial_success`, and is not sent again
//! (<https://opentelemetry.io/docs/specs/otlp/#partial-success>). Any failure is answered with a
//! `google.rpc.Status`, which contains a `RetryInfo` if the request should be sent again.

use prost::Message;
use serde_json::{Value, json};

use super::{
    intake::Signal,
    refusal::{MOST_BYTES, Refusal},
};
use crate::otlp::decode::MOST_SPANS;

const RETRY_INFO: &str = "type.googleapis.com/google.rpc.RetryInfo";

/// `ExportTraceServiceResponse` and `ExportLogsServiceResponse`, which have the same fields.
#[derive(Clone, PartialEq, Message)]
struct ExportResponse {
    #[prost(message, optional, tag = "1")]
    partial_success: Option<PartialSuccess>,
}

/// `ExportTracePartialSuccess` and `ExportLogsPartialSuccess`.
#[derive(Clone, PartialEq, Message)]
struct PartialSuccess {
    #[prost(int64, tag = "1")]
    rejected: i64,
    #[prost(string, tag = "2")]
    error_message: String,
}

/// `google.rpc.Status`.
#[derive(Clone, PartialEq, Message)]
struct Status {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
    #[prost(message, repeated, tag = "3")]
    details: Vec<Detail>,
}

/// `google.protobuf.Any`.
#[derive(Clone, PartialEq, Message)]
struct Detail {
    #[prost(string, tag = "1")]
    type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

/// `google.rpc.RetryInfo`.
#[derive(Clone, PartialEq, Message)]
struct RetryInfo {
    #[prost(message, optional, tag = "1")]
    retry_delay: Option<Delay>,
}

/// `google.protobuf.Duration`, in whole seconds.
#[derive(Clone, Copy, PartialEq, Message)]
struct Delay {
    #[prost(int64, tag = "1")]
    seconds: i64,
}

fn rejection_message(rejected: u64) -> String {
    format!(
        "{rejected} were left out: a request is at most {MOST_SPANS} spans and {} MiB, ids are not zero, and times lie \
         between 1970 and 2100",
        MOST_BYTES >> 20
    )
}

/// A success; `rejected` spans were left out.
pub(super) fn encode_success(rejected: u64) -> Vec<u8> {
    let part = |rejected| PartialSuccess {
        rejected: i64::try_from(rejected).unwrap_or(i64::MAX),
        error_message: rejection_message(rejected),
    };
    ExportResponse {
        partial_success: (rejected > 0).then(|| part(rejected)),
    }
    .encode_to_vec()
}

/// The same in JSON.
pub(super) fn success_json(rejected: u64, signal: Signal) -> Value {
    let name = match signal {
        Signal::Traces => "rejectedSpans",
        Signal::Logs => "rejectedLogRecords",
    };
    if rejected == 0 {
        return json!({});
    }
    json!({"partialSuccess": {name: rejected.to_string(), "errorMessage": rejection_message(rejected)}})
}

/// The status of a refusal.
pub(super) fn encode_status(refusal: &Refusal) -> Vec<u8> {
    let retry = refusal.retry_delay().map(|delay| {
        let seconds = i64::try_from(delay.as_secs()).unwrap_or(i64::MAX);
        let info = RetryInfo {
            retry_delay: Some(Delay { seconds }),
        };
        Detail {
            type_url: RETRY_INFO.into(),
            value: info.encode_to_vec(),
        }
    });
    let status = Status {
        code: refusal.grpc_status().0,
        message: refusal.to_message(),
        details: retry.into_iter().collect(),
    };
    status.encode_to_vec()
}

/// The same in JSON.
pub(super) fn status_json(refusal: &Refusal) -> Value {
    let mut status = json!({"code": refusal.grpc_status().0, "message": refusal.to_message()});
    if let Some(delay) = refusal.retry_delay() {
        status["details"] =
            json!([{"@type": RETRY_INFO, "retryDelay": format!("{}s", delay.as_secs())}]);
    }
    status
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::collector::{
        logs::v1::ExportLogsServiceResponse, trace::v1::ExportTraceServiceResponse,
    };

    use super::*;

    #[test]
    fn others_read_our_answers() {
        let traces = ExportTraceServiceResponse::decode(&encode_success(7)[..])
            .unwrap()
            .partial_success
            .unwrap();
        assert_eq!(traces.rejected_spans, 7);
        assert!(
            traces.error_message.contains("at most 1000 spans"),
            "{}",
            traces.error_message
        );
        let logs = ExportLogsServiceResponse::decode(&encode_success(7)[..])
            .unwrap()
            .partial_success
            .unwrap();
        assert_eq!(logs.rejected_log_records, 7);
        assert!(encode_success(0).is_empty());
        // In JSON, 64-bit numbers are strings.
        for (signal, name) in [
            (Signal::Traces, "rejectedSpans"),
            (Signal::Logs, "rejectedLogRecords"),
        ] {
            let part = &success_json(7, signal)["partialSuccess"];
            assert_eq!(
                (&part[name], &part["errorMessage"]),
                (&json!("7"), &json!(traces.error_message))
            );
        }
        assert_eq!(success_json(0, Signal::Traces), json!({}));
    }

    #[test]
    fn only_what_is_to_be_sent_again_says_so() {
        let busy = Status::decode(&encode_status(&Refusal::Busy)[..]).unwrap();
        assert_eq!((busy.code, busy.details.len()), (8, 1));
        assert_eq!(
            RetryInfo::decode(&busy.details[0].value[..])
                .unwrap()
                .retry_delay,
            Some(Delay { seconds: 1 })
        );
        assert_eq!(
            status_json(&Refusal::Busy)["details"][0]["retryDelay"],
            "1s"
        );
        let large = Status::decode(&encode_status(&Refusal::TooLarge)[..]).unwrap();
        assert_eq!((large.code, large.details.len()), (8, 0));
        assert_eq!(status_json(&Refusal::TooLarge)["details"], Value::Null);
    }
}
