//! Sources of the hops of a lane group.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One source of hops. Exactly one of the fields is set.
#[derive(
    Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "camelCase")]
pub struct HopSource {
    /// Access log of the Gateway's own pods, which the engine follows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access_log: Option<AccessLog>,
    /// Grafana Tempo, queried over HTTP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tempo: Option<TraceStore>,
    /// Jaeger with the API v3, queried over HTTP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jaeger: Option<TraceStore>,
    /// Zipkin with the API v2, queried over HTTP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zipkin: Option<TraceStore>,
    /// Apache SkyWalking, queried over GraphQL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sky_walking: Option<TraceStore>,
}

/// Access log of a gateway: JSON, one line for each request.
#[derive(
    Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "camelCase")]
pub struct AccessLog {
    /// Format of the log.
    #[serde(default)]
    pub format: LogFormat,
    /// Namespace of the gateway's pods. Default: derived from the Gateway.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Labels of the gateway's pods. Default: derived from the Gateway.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub match_labels: BTreeMap<String, String>,
    /// Container that writes the log. Default: the only container of the pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
    /// Field names that differ from the format's defaults.
    #[serde(default, skip_serializing_if = "LogFields::is_empty")]
    pub fields: LogFields,
}

/// Program that writes an access log, which determines the field names.
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
    /// Any other program; `fields` names every field to read.
    #[default]
    Json,
}

/// Field names of an access log.
#[derive(
    Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "camelCase")]
pub struct LogFields {
    /// Start of the request: RFC 3339, or seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<String>,
    /// End of the response, in the same formats. Used if there is no start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<String>,
    /// Duration of the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration: Option<String>,
    /// Unit of the duration. Default: the format's own unit, otherwise seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_unit: Option<TimeUnit>,
    /// Trace ID.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<String>,
    /// ID of the gateway's own span.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub span: Option<String>,
    /// `traceparent` header as received.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
    /// `traceparent` header as sent to the pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sent_traceparent: Option<String>,
    /// Request ID, used if there is no trace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// Lane tag: the header as sent to the pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    /// Address of the upstream pod: `IP` or `IP:port`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upstream: Option<String>,
    /// Address of the caller.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<String>,
    /// HTTP status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// Request method.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// Path and query.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Name of the matched route.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub route: Option<String>,
    /// Error text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl LogFields {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Unit of a duration.
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

/// Trace store.
#[derive(
    Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "camelCase")]
pub struct TraceStore {
    /// URL to query directly: `http://tempo.observability:3200`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Service to query through the API server: `NAMESPACE/NAME:PORT`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// Path prefix of the API: `/zipkin`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base_path: Option<String>,
    /// Service name of the gateway's own spans, if the store requires one (Jaeger).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway_name: Option<String>,
    /// Attribute (tag) that holds the lane tag. Default: `http.request.header.HEADER`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag_attribute: Option<String>,
}

/// State of one hop source of a lane group, as observed by the engine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HopSourceStatus {
    /// Source: `accessLog traefik`, `otlp`.
    pub source: String,
    /// Number of pods whose logs are followed.
    #[serde(default)]
    pub pods: u32,
    /// Problem with the source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// Pods in whose logs the engine writes the spans it has read. Cockpits follow these logs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SpanLog {
    /// Namespace of the pods.
    pub namespace: String,
    /// Labels of the pods.
    pub match_labels: BTreeMap<String, String>,
}
