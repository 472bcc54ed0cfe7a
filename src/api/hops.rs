//! Where the hops of a lane group's requests are told.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One place where hops are told: exactly one of the fields.
#[derive(
    Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "camelCase")]
pub struct HopSource {
    /// The access log of the Gateway's own pods, followed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access_log: Option<AccessLog>,
    /// A Grafana Tempo, asked over HTTP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tempo: Option<TraceStore>,
    /// A Jaeger with the API v3, asked over HTTP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jaeger: Option<TraceStore>,
    /// A Zipkin with the API v2, asked over HTTP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zipkin: Option<TraceStore>,
    /// An Apache SkyWalking, asked over GraphQL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sky_walking: Option<TraceStore>,
}

/// A gateway's access log: JSON, one line a request.
#[derive(
    Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "camelCase")]
pub struct AccessLog {
    /// Who writes it.
    #[serde(default)]
    pub format: LogFormat,
    /// The namespace of the gateway's pods. None: they are found from the Gateway.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// The labels of the gateway's pods. None: they are found from the Gateway.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub match_labels: BTreeMap<String, String>,
    /// The container that writes it. None: the pod's only one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
    /// Names of its fields where they are not the usual ones of the format.
    #[serde(default, skip_serializing_if = "LogFields::is_empty")]
    pub fields: LogFields,
}

/// Who writes an access log, and so what its fields are called.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Traefik with `accessLog.format: json`.
    Traefik,
    /// Envoy with a JSON format: Envoy Gateway, Istio, Higress.
    Envoy,
    /// nginx with a `log_format` that writes JSON.
    Nginx,
    /// Anybody else: `fields` names all that is to be read.
    #[default]
    Json,
}

/// What the fields of an access log are called.
#[derive(
    Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "camelCase")]
pub struct LogFields {
    /// When the request began: RFC 3339, or seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<String>,
    /// When its answer ended, in the same forms; used where there is no start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<String>,
    /// How long it took.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration: Option<String>,
    /// The unit of the duration. None: the format's usual one, else seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_unit: Option<TimeUnit>,
    /// Trace id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<String>,
    /// Id of the gateway's own span.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub span: Option<String>,
    /// The `traceparent` header as it came in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
    /// The `traceparent` header as the pod got it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sent_traceparent: Option<String>,
    /// Request id, where there is no trace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// The lane tag: the header as the pod got it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    /// Address of the pod that was asked: `IP` or `IP:port`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upstream: Option<String>,
    /// Address of whoever asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<String>,
    /// HTTP status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// Method.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// Path and query.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Name of the route taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub route: Option<String>,
    /// What went wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl LogFields {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// The unit of a duration.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub enum TimeUnit {
    /// Nanoseconds.
    #[serde(rename = "ns")]
    Nanoseconds,
    /// Microseconds.
    #[serde(rename = "us")]
    Microseconds,
    /// Milliseconds.
    #[serde(rename = "ms")]
    Milliseconds,
    /// Seconds.
    #[serde(rename = "s")]
    Seconds,
}

/// A store of traces.
#[derive(
    Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "camelCase")]
pub struct TraceStore {
    /// Where it answers, as `http://tempo.observability:3200`: asked straight.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Its Service, as `NAMESPACE/NAME:PORT`: asked through the API server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// What comes before the API's own paths, as `/zipkin`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base_path: Option<String>,
    /// The name under which the gateway reports, where the store asks for one (Jaeger).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway_name: Option<String>,
    /// The attribute (tag) that holds the lane tag. None: `http.request.header.HEADER`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag_attribute: Option<String>,
}

/// How one source of a lane group does, as the engine sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HopSourceStatus {
    /// Which one: `accessLog traefik`, `otlp`.
    pub source: String,
    /// Pods that are followed.
    #[serde(default)]
    pub pods: u32,
    /// In words, what is wrong with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// The pods in whose logs the engine writes what it has read, for cockpits to follow.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SpanLog {
    /// Their namespace.
    pub namespace: String,
    /// Their labels.
    pub match_labels: BTreeMap<String, String>,
}
