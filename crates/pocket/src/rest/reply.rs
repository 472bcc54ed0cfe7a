//! Responses: which form the client asked for, and how it is encoded.

use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use http::{HeaderValue, Response, StatusCode, header};
use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use serde_json::{Value, json};

use super::convert::ServedObject;
use super::error::{ApiError, Result};
use super::query::Query;
use super::registry::Resource;
use crate::table;

pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
pub type ResponseBody = UnsyncBoxBody<Bytes, BoxError>;

/// An answer that is not a refusal.
pub(crate) enum Reply {
    Json {
        code: StatusCode,
        value: Arc<Value>,
        warnings: Vec<String>,
        content_type: Option<&'static str>,
    },
    Text(String),
    Bytes {
        content_type: &'static str,
        bytes: Bytes,
    },
    /// What a pod or a Service answered through the proxy.
    Proxied {
        head: http::response::Parts,
        stream: BoxStream<'static, std::result::Result<Bytes, BoxError>>,
    },
    Stream {
        content_type: &'static str,
        stream: BoxStream<'static, std::result::Result<Bytes, BoxError>>,
    },
}

impl Reply {
    pub(crate) fn from_json(value: impl Into<Arc<Value>>) -> Reply {
        Reply::Json {
            code: StatusCode::OK,
            value: value.into(),
            warnings: Vec::new(),
            content_type: None,
        }
    }

    pub(crate) fn into_response(self) -> Response<ResponseBody> {
        match self {
            Reply::Json {
                code,
                value,
                warnings,
                content_type,
            } => {
                let mut response = json_response(code, &value);
                add_warnings(&mut response, &warnings);
                if let Some(content_type) = content_type {
                    let value = HeaderValue::from_static(content_type);
                    response.headers_mut().insert(header::CONTENT_TYPE, value);
                }
                response
            }
            Reply::Bytes {
                content_type,
                bytes,
            } => build_response(StatusCode::OK, content_type, bytes),
            Reply::Text(text) => {
                build_response(StatusCode::OK, "text/plain; charset=utf-8", text.into())
            }
            Reply::Proxied { head, stream } => {
                let body = StreamBody::new(stream.map(|chunk| chunk.map(Frame::data)));
                Response::from_parts(head, body.boxed_unsync())
            }
            Reply::Stream {
                content_type,
                stream,
            } => {
                let body = StreamBody::new(stream.map(|chunk| chunk.map(Frame::data)));
                let mut response = Response::new(body.boxed_unsync());
                let value = HeaderValue::from_static(content_type);
                response.headers_mut().insert(header::CONTENT_TYPE, value);
                response
            }
        }
    }
}

/// Adds each warning as a header of its own, as in RFC 7234 and in Kubernetes.
pub(super) fn add_warnings(response: &mut Response<ResponseBody>, warnings: &[String]) {
    for warning in warnings {
        let text = warning.replace('\\', "\\\\").replace('"', "\\\"");
        if let Ok(value) = HeaderValue::from_str(&format!("299 - \"{text}\"")) {
            response.headers_mut().append(header::WARNING, value);
        }
    }
}

pub fn error_response(error: &ApiError) -> Response<ResponseBody> {
    json_response(error.code, &error.to_status())
}

fn json_response(code: StatusCode, value: &Value) -> Response<ResponseBody> {
    // Like Go's encoder, end with a newline.
    let mut text = value.to_string();
    text.push('\n');
    build_response(code, "application/json", text.into())
}

fn build_response(
    code: StatusCode,
    content_type: &'static str,
    body: Bytes,
) -> Response<ResponseBody> {
    let body = Full::new(body).map_err(|never| match never {});
    let mut response = Response::new(body.boxed_unsync());
    *response.status_mut() = code;
    let value = HeaderValue::from_static(content_type);
    response.headers_mut().insert(header::CONTENT_TYPE, value);
    response
}

/// The form in which objects are answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum View {
    Full,
    /// Rows and columns, and how much of its object each row includes.
    Table(Include),
    Partial,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Include {
    Nothing,
    Metadata,
    Object,
}

impl View {
    /// Chooses the first form in the Accept header that is served.
    pub(crate) fn from_accept(accept: &str, query: &Query) -> Result<View> {
        if accept.trim().is_empty() {
            return Ok(View::Full);
        }
        for range in accept.split(',') {
            let mut params = range.split(';').map(str::trim);
            let media = params.next().unwrap_or_default();
            let form = params.find_map(|p| p.strip_prefix("as="));
            if !matches!(media, "application/json" | "application/*" | "*/*") {
                continue;
            }
            return match form {
                None => Ok(View::Full),
                Some("Table") => Ok(View::Table(match query.get("includeObject") {
                    None | Some("Metadata") => Include::Metadata,
                    Some("None") => Include::Nothing,
                    Some("Object") => Include::Object,
                    Some(other) => {
                        return Err(ApiError::bad_request(format!(
                            "unrecognized includeObject value: {other:?}"
                        )));
                    }
                })),
                Some("PartialObjectMetadata" | "PartialObjectMetadataList") => Ok(View::Partial),
                Some(_) => continue,
            };
        }
        // A log is text, whatever the client accepts.
        if accept.contains("text/plain") {
            return Ok(View::Full);
        }
        Err(ApiError::new(
            StatusCode::NOT_ACCEPTABLE,
            "NotAcceptable",
            "only the following media types are accepted: application/json",
        ))
    }

    pub(crate) fn render_object(self, resource: &Resource, object: &Arc<Value>) -> Arc<Value> {
        match self {
            View::Full => object.clone(),
            View::Partial => to_partial_metadata(object).into(),
            View::Table(include) => {
                let rv = object["metadata"]["resourceVersion"].clone();
                table::build_table(
                    resource,
                    [&**object],
                    include,
                    json!({"resourceVersion": rv}),
                    true,
                )
                .into()
            }
        }
    }

    /// Encodes item by item: building one value of the whole list would cost many times as much.
    pub(super) fn render_list(
        self,
        resource: &Resource,
        items: &[ServedObject],
        metadata: Value,
    ) -> Reply {
        let (api_version, kind) = match self {
            View::Table(include) => {
                let values: Vec<Arc<Value>> = items.iter().map(ServedObject::value).collect();
                let objects = values.iter().map(|value| &**value);
                return Reply::from_json(table::build_table(
                    resource, objects, include, metadata, true,
                ));
            }
            View::Full => (resource.api_version(), resource.list_kind.as_str()),
            View::Partial => ("meta.k8s.io/v1".to_owned(), "PartialObjectMetadataList"),
        };
        let head =
            json!({"kind": kind, "apiVersion": api_version, "metadata": metadata, "items": []})
                .to_string();
        let mut text = head.into_bytes();
        text.truncate(text.len() - "]}".len());
        for (at, item) in items.iter().enumerate() {
            if at > 0 {
                text.push(b',');
            }
            match self {
                View::Partial => {
                    text.extend(to_partial_metadata(&item.value()).to_string().bytes());
                }
                _ => text.extend_from_slice(&item.text()),
            }
        }
        // Like Go's encoder, end with a newline.
        text.extend_from_slice(b"]}\n");
        Reply::Bytes {
            content_type: "application/json",
            bytes: text.into(),
        }
    }

    /// The object of a watch event; a table includes its columns only in the first event.
    pub(super) fn render_event(
        self,
        resource: &Resource,
        object: &ServedObject,
        first: bool,
    ) -> Bytes {
        let value = match self {
            View::Full => return object.text(),
            View::Partial => to_partial_metadata(&object.value()),
            View::Table(include) => {
                let object = object.value();
                let rv = object["metadata"]["resourceVersion"].clone();
                table::build_table(
                    resource,
                    [&*object],
                    include,
                    json!({"resourceVersion": rv}),
                    first,
                )
            }
        };
        value.to_string().into()
    }

    /// The object of a bookmark, which has only a version.
    pub(crate) fn render_bookmark(
        self,
        resource: &Resource,
        metadata: Value,
        first: bool,
    ) -> Value {
        match self {
            View::Full => {
                json!({"kind": resource.kind, "apiVersion": resource.api_version(), "metadata": metadata})
            }
            View::Partial => {
                json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": metadata})
            }
            View::Table(include) => table::build_table(resource, [], include, metadata, first),
        }
    }
}

pub(crate) fn to_partial_metadata(object: &Value) -> Value {
    json!({
        "kind": "PartialObjectMetadata",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": object["metadata"],
    })
}
