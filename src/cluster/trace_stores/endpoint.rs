//! One HTTP request to a trace store, directly or through the API server, bounded in time and size.

use std::{pin::pin, time::Duration};

use bytes::Bytes;
use futures::{Stream, StreamExt};
use http::{HeaderMap, Method, Request, StatusCode, header};
use http_body_util::BodyExt;
use kube::client::Body;
use serde_json::Value;

use crate::{cluster::proxy::Proxy, domain::text::Clean, otlp::decode::Malformed};

/// Timeout of a request.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(15);
/// Bytes of one answer.
const MOST_BYTES: usize = 16 << 20;

/// Why a query failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The lane group's settings are incomplete or wrong.
    #[error("{store} in spec.hops: {why}")]
    Setting {
        /// Kind of the store.
        store: &'static str,
        /// What to write instead.
        why: String,
    },
    /// The store cannot be reached.
    #[error("{store} at {place} does not answer: {why}; check url or service in spec.hops")]
    Unreachable {
        /// Kind of the store.
        store: &'static str,
        /// Address that was asked.
        place: String,
        /// The reason.
        why: String,
    },
    /// The store answered with an error.
    #[error("{store} at {place} refuses with {status}: {why}")]
    Refused {
        /// Kind of the store.
        store: &'static str,
        /// Address that was asked.
        place: String,
        /// HTTP status.
        status: u16,
        /// The store's message.
        why: String,
    },
    /// The answer is too long.
    #[error("{store}'s answer is longer than {} MiB: ask for fewer traces, or for a shorter time", MOST_BYTES >> 20)]
    TooLong {
        /// Kind of the store.
        store: &'static str,
    },
    /// The answer does not match the store's API.
    #[error(
        "what answers at {place} is no {store}: {why}; check url, service and basePath in spec.hops"
    )]
    Unreadable {
        /// Kind of the store.
        store: &'static str,
        /// Address that was asked.
        place: String,
        /// What is wrong with the answer.
        why: String,
    },
}

/// A store's URL cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum StoreUrlError {
    #[error("url {url:?}: {source}")]
    Invalid {
        url: String,
        source: http::uri::InvalidUri,
    },
    #[error("url {0:?}: write it as http://HOST:PORT")]
    NoHttp(String),
    #[error(transparent)]
    Client(#[from] reqwest::Error),
}

/// A store's answer does not match its API.
#[derive(Debug, thiserror::Error)]
pub(super) enum AnswerError {
    #[error(transparent)]
    Json(#[from] serde_json::Error),
    #[error(transparent)]
    Protobuf(#[from] prost::DecodeError),
    #[error(transparent)]
    Otlp(#[from] Malformed),
    /// An error in the answer, in the store's words.
    #[error("{0}")]
    Told(Clean),
    #[error("its answer holds no data")]
    NoData,
}

/// A complete answer.
#[derive(Debug)]
pub(super) struct StoreAnswer {
    pub(super) is_json: bool,
    pub(super) bytes: Bytes,
}

#[derive(Clone)]
enum Connection {
    Direct(reqwest::Client, String),
    Proxied(Proxy),
}

/// Where a store is queried.
#[derive(Clone)]
pub(super) struct StoreEndpoint {
    store: &'static str,
    place: String,
    base: String,
    way: Connection,
}

impl StoreEndpoint {
    pub(super) fn new_direct(
        store: &'static str,
        url: &str,
        base: String,
    ) -> Result<Self, StoreUrlError> {
        let url = url.trim_end_matches('/');
        let parsed: http::Uri = url.parse().map_err(|source| StoreUrlError::Invalid {
            url: url.to_owned(),
            source,
        })?;
        if !matches!(parsed.scheme_str(), Some("http" | "https"))
            || parsed.host().is_none_or(str::is_empty)
        {
            return Err(StoreUrlError::NoHttp(url.to_owned()));
        }
        let client = reqwest::Client::builder()
            .timeout(ANSWER_TIMEOUT)
            .redirect(reqwest::redirect::Policy::none());
        let client = client.build()?;
        // A password in the URL is for the store, not for readers of messages.
        let place = format!(
            "{}://{}",
            parsed.scheme_str().unwrap_or("http"),
            parsed.host().unwrap_or_default()
        );
        let place = parsed
            .port_u16()
            .map_or(place.clone(), |port| format!("{place}:{port}"));
        Ok(Self {
            store,
            place,
            base,
            way: Connection::Direct(client, url.to_owned()),
        })
    }

    pub(super) fn new_proxied(
        store: &'static str,
        proxy: Proxy,
        service: &str,
        base: String,
    ) -> Self {
        Self {
            store,
            place: format!("service {service}"),
            base,
            way: Connection::Proxied(proxy),
        }
    }

    /// Sends a GET; `None` when the store answers 404.
    pub(super) async fn get(
        &self,
        path: &str,
        parameters: &[(&str, &str)],
        accept: &str,
    ) -> Result<Option<StoreAnswer>, StoreError> {
        let query = parameters
            .iter()
            .map(|(name, value)| format!("{name}={}", escape_query_value(value)))
            .collect::<Vec<_>>();
        let path = if query.is_empty() {
            path.to_owned()
        } else {
            format!("{path}?{}", query.join("&"))
        };
        self.send_request(Method::GET, &path, accept, None).await
    }

    /// Posts JSON; `None` when the store answers 404.
    pub(super) async fn post(
        &self,
        path: &str,
        body: &Value,
    ) -> Result<Option<StoreAnswer>, StoreError> {
        self.send_request(
            Method::POST,
            path,
            "application/json",
            Some(body.to_string()),
        )
        .await
    }

    #[tracing::instrument(level = "debug", skip_all, fields(method = %method, path = path.split('?').next()))]
    async fn send_request(
        &self,
        method: Method,
        path: &str,
        accept: &str,
        body: Option<String>,
    ) -> Result<Option<StoreAnswer>, StoreError> {
        let asking = self.fetch_response(method, path, accept, body);
        let late = |_| {
            self.unreachable_error(format!(
                "nothing came within {} s",
                ANSWER_TIMEOUT.as_secs()
            ))
        };
        let (status, headers, bytes) = tokio::time::timeout(ANSWER_TIMEOUT, asking)
            .await
            .map_err(late)??;
        if status == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        if !status.is_success() {
            let why = Clean::bounded(&String::from_utf8_lossy(&bytes), 300).into_string();
            let place = self.place.clone();
            return Err(StoreError::Refused {
                store: self.store,
                place,
                status: status.as_u16(),
                why,
            });
        }
        let kind = headers
            .get(header::CONTENT_TYPE)
            .and_then(|kind| kind.to_str().ok())
            .unwrap_or_default();
        Ok(Some(StoreAnswer {
            is_json: kind.contains("json"),
            bytes,
        }))
    }

    async fn fetch_response(
        &self,
        method: Method,
        path: &str,
        accept: &str,
        body: Option<String>,
    ) -> Result<(StatusCode, HeaderMap, Bytes), StoreError> {
        let path = format!("{}{path}", self.base);
        match &self.way {
            Connection::Direct(client, url) => {
                let request = client
                    .request(method, format!("{url}{path}"))
                    .header(header::ACCEPT, accept);
                let request = match body {
                    Some(body) => request
                        .header(header::CONTENT_TYPE, "application/json")
                        .body(body),
                    None => request,
                };
                let answer = request
                    .send()
                    .await
                    .map_err(|e| self.unreachable_error(root_message(&e)))?;
                let (status, headers) = (answer.status(), answer.headers().clone());
                Ok((
                    status,
                    headers,
                    self.collect_body(answer.bytes_stream()).await?,
                ))
            }
            Connection::Proxied(proxy) => {
                let request = Request::builder()
                    .method(method)
                    .uri(&path)
                    .header(header::ACCEPT, accept);
                let request = request.header(header::CONTENT_TYPE, "application/json");
                let body = body.map_or_else(Body::empty, |body| Body::from(body.into_bytes()));
                let request = request
                    .body(body)
                    .map_err(|e| self.unreachable_error(e.to_string()))?;
                let answer = proxy
                    .send_body(request)
                    .await
                    .map_err(|e| self.unreachable_error(e.to_string()))?;
                let (head, body) = answer.into_parts();
                Ok((
                    head.status,
                    head.headers,
                    self.collect_body(body.into_data_stream()).await?,
                ))
            }
        }
    }

    async fn collect_body<E: std::error::Error>(
        &self,
        chunks: impl Stream<Item = Result<Bytes, E>>,
    ) -> Result<Bytes, StoreError> {
        let (mut chunks, mut bytes) = (pin!(chunks), vec![]);
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk.map_err(|e| self.unreachable_error(root_message(&e)))?;
            if bytes.len() + chunk.len() > MOST_BYTES {
                return Err(StoreError::TooLong { store: self.store });
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes.into())
    }

    pub(super) fn setting_error(&self, why: &str) -> StoreError {
        StoreError::Setting {
            store: self.store,
            why: why.into(),
        }
    }

    fn unreachable_error(&self, why: String) -> StoreError {
        let why = Clean::bounded(&why, 300).into_string();
        StoreError::Unreachable {
            store: self.store,
            place: self.place.clone(),
            why,
        }
    }

    pub(super) fn unreadable_error(&self, why: impl ToString) -> StoreError {
        let why = Clean::bounded(&why.to_string(), 300).into_string();
        StoreError::Unreadable {
            store: self.store,
            place: self.place.clone(),
            why,
        }
    }
}

/// The message of the root cause; outer errors only repeat it.
fn root_message(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}

fn escape_query_value(value: &str) -> String {
    percent_encoding::utf8_percent_encode(value, percent_encoding::NON_ALPHANUMERIC).to_string()
}

/// Quotes a string for TraceQL.
pub(super) fn quote_traceql(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_leads_to_a_host_and_its_password_is_not_told() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let asked = |url| StoreEndpoint::new_direct("Tempo", url, String::new());
        assert_eq!(
            asked("https://me:secret@tempo:3200/").ok().unwrap().place,
            "https://tempo:3200"
        );
        for wrong in [
            "tempo:3200",
            "ftp://tempo",
            "http://",
            "/x",
            "",
            "http://a b",
        ] {
            assert!(asked(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn values_cannot_leave_their_place() {
        assert_eq!(
            escape_query_value("a&b=c#d e/灰"),
            "a%26b%3Dc%23d%20e%2F%E7%81%B0"
        );
        assert_eq!(
            quote_traceql(r#"a" || true || "\"#),
            r#""a\" || true || \"\\""#
        );
    }
}
