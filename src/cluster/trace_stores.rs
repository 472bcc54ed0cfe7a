//! Queries existing trace stores for spans: Tempo, Jaeger, Zipkin, SkyWalking.
//!
//! Each is queried over plain HTTP, directly or through the API server, and answers in its own
//! format. Answers are decoded like spans that are received over OTLP.

mod endpoint;
mod jaeger;
mod skywalking;
mod tempo;
mod zipkin;

use std::collections::HashSet;

use futures::{StreamExt, TryStreamExt};
use jiff::Timestamp;
use kube::Client;

use super::proxy::{Proxy, ProxyTarget};
use crate::{
    api::{HopSource, LaneGroup, TraceStore},
    domain::span::{Span, TagKeys},
    otlp::decode::AttributeKeys,
};
use endpoint::StoreEndpoint;

pub use endpoint::StoreError;

/// Traces that are fetched at once.
const AT_ONCE: usize = 4;
/// Spans of one answer.
const MOST_SPANS: usize = 10_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum StoreKind {
    Tempo,
    Jaeger,
    Zipkin,
    SkyWalking,
}

impl StoreKind {
    const fn display_name(self) -> &'static str {
        match self {
            Self::Tempo => "Tempo",
            Self::Jaeger => "Jaeger",
            Self::Zipkin => "Zipkin",
            Self::SkyWalking => "SkyWalking",
        }
    }
}

/// A trace store that a lane group names.
#[derive(Clone)]
pub struct TraceStoreClient {
    kind: StoreKind,
    endpoint: StoreEndpoint,
    keys: AttributeKeys,
    /// Attributes that may hold the lane tag.
    attributes: Vec<String>,
    gateway: Option<String>,
}

impl TraceStoreClient {
    /// The trace store of a hop source; `None` when the source is no store. `client` reaches the
    /// API server.
    ///
    /// # Errors
    ///
    /// When the lane group does not say where the store is.
    pub fn from_source(
        source: &HopSource,
        group: &LaneGroup,
        client: &Client,
    ) -> Result<Option<Self>, StoreError> {
        let named = [
            (StoreKind::Tempo, &source.tempo),
            (StoreKind::Jaeger, &source.jaeger),
            (StoreKind::Zipkin, &source.zipkin),
            (StoreKind::SkyWalking, &source.sky_walking),
        ];
        let Some((kind, store)) = named
            .into_iter()
            .find_map(|(kind, store)| Some((kind, store.as_ref()?)))
        else {
            return Ok(None);
        };
        let header = &group.spec.propagation.header;
        let attributes = store.tag_attribute.as_ref().map_or_else(
            || {
                vec![
                    format!("http.request.header.{}", header.to_ascii_lowercase()),
                    header.clone(),
                ]
            },
            |attribute| vec![attribute.clone()],
        );
        let keys = attributes.iter().fold(
            AttributeKeys::from_tag_keys(TagKeys::from_groups([group], [])),
            |keys, name| keys.and_attribute(name),
        );
        let asked = resolve_endpoint(kind, store, client)?;
        Ok(Some(Self {
            kind,
            endpoint: asked,
            keys,
            attributes,
            gateway: store.gateway_name.clone(),
        }))
    }

    /// The spans of at most `most` traces with this tag that began between `since` and `until`;
    /// each trace is complete.
    ///
    /// # Errors
    ///
    /// When the store does not answer, or its answer cannot be read.
    #[tracing::instrument(level = "debug", skip_all, fields(tag, most))]
    pub async fn recent_traces(
        &self,
        tag: &str,
        since: Timestamp,
        until: Timestamp,
        most: usize,
    ) -> Result<Vec<Span>, StoreError> {
        let most = most.clamp(1, 100);
        match self.kind {
            StoreKind::Tempo => {
                let ids = tempo::search_traces(self, tag, since, until, most).await?;
                self.fetch_traces(ids, most).await
            }
            StoreKind::SkyWalking => {
                let ids = skywalking::search_traces(self, tag, since, until, most).await?;
                self.fetch_traces(ids, most).await
            }
            StoreKind::Jaeger => jaeger::recent_traces(self, tag, since, until, most)
                .await
                .map(deduplicate_spans),
            StoreKind::Zipkin => zipkin::recent_traces(self, tag, since, until, most)
                .await
                .map(deduplicate_spans),
        }
    }

    /// The spans of one trace; none when the store has no such trace.
    ///
    /// # Errors
    ///
    /// When the store does not answer, or its answer cannot be read.
    #[tracing::instrument(level = "debug", skip_all, fields(trace = id))]
    pub async fn fetch_trace(&self, id: &str) -> Result<Vec<Span>, StoreError> {
        match self.kind {
            StoreKind::Tempo => tempo::fetch_trace(self, id).await,
            StoreKind::Jaeger => jaeger::fetch_trace(self, id).await,
            StoreKind::Zipkin => zipkin::fetch_trace(self, id).await,
            StoreKind::SkyWalking => skywalking::fetch_trace(self, id).await,
        }
    }

    async fn fetch_traces(&self, ids: Vec<String>, most: usize) -> Result<Vec<Span>, StoreError> {
        let asked = ids
            .into_iter()
            .take(most)
            .map(async |id| self.fetch_trace(&id).await);
        let found: Vec<Vec<Span>> = futures::stream::iter(asked)
            .buffered(AT_ONCE)
            .try_collect()
            .await?;
        Ok(deduplicate_spans(
            found.into_iter().flatten().take(MOST_SPANS).collect(),
        ))
    }
}

fn resolve_endpoint(
    kind: StoreKind,
    store: &TraceStore,
    client: &Client,
) -> Result<StoreEndpoint, StoreError> {
    let wrong = |why: String| StoreError::Setting {
        store: kind.display_name(),
        why,
    };
    let base = store
        .base_path
        .as_deref()
        .unwrap_or_default()
        .trim_matches('/');
    let base = if base.is_empty() {
        String::new()
    } else {
        format!("/{base}")
    };
    match (&store.url, &store.service) {
        (Some(url), None) => StoreEndpoint::new_direct(kind.display_name(), url, base)
            .map_err(|e| wrong(e.to_string())),
        (None, Some(service)) => {
            let target: ProxyTarget =
                service.parse().map_err(|e: crate::cluster::proxy::ProxyTargetError| wrong(e.to_string()))?;
            Ok(StoreEndpoint::new_proxied(kind.display_name(), Proxy::to_service(client, &target), service, base))
        }
        _ => Err(wrong(
            "say either url or service, as http://tempo.observability:3200 or observability/tempo:3200".into(),
        )),
    }
}

/// Drops duplicate spans: several queries may find the same trace.
fn deduplicate_spans(spans: Vec<Span>) -> Vec<Span> {
    let mut seen = HashSet::new();
    spans
        .into_iter()
        .filter(|span| seen.insert((span.trace.clone(), span.span.clone(), span.side)))
        .collect()
}

/// A trace id as lower-case hex with its leading zeros, which some stores omit; other ids stay as
/// they are.
fn pad_trace_id(id: &str) -> String {
    if id.len() > 32 || !id.bytes().all(|b| b.is_ascii_hexdigit()) {
        return id.to_owned();
    }
    format!("{:0>32}", id.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_get_their_zeros_back() {
        assert_eq!(pad_trace_id("ABC"), format!("{}abc", "0".repeat(29)));
        assert_eq!(pad_trace_id("a.b.1"), "a.b.1");
        assert_eq!(pad_trace_id(&"a".repeat(33)), "a".repeat(33));
    }
}
