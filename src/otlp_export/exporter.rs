//! Sends batches of spans: without queries, and without a line of log for each failure.

use std::{
    borrow::Cow,
    sync::{
        LazyLock,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use opentelemetry::{KeyValue, Value};
use opentelemetry_otlp::{Protocol, RetryPolicy, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::{
    Resource,
    error::OTelSdkResult,
    trace::{SpanData, SpanExporter},
};
use regex::Regex;

use super::{Settings, StartError};

/// The query of a URL or a path within a text.
static QUERY: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r#"(/[^\s?"'<>()]*)\?[^\s"'<>()]*"#).ok());

/// An exporter that posts protobuf, with retries.
pub(super) fn build_http_exporter(
    settings: &Settings,
) -> Result<opentelemetry_otlp::SpanExporter, StartError> {
    let client = build_client(settings.is_encrypted(), settings.timeout())?;
    let built = opentelemetry_otlp::SpanExporter::builder()
        .with_http()
        .with_http_client(client)
        .with_protocol(Protocol::HttpBinary)
        .with_endpoint(settings.endpoint())
        .with_timeout(settings.timeout())
        .with_headers(settings.headers().clone())
        .with_retry_policy(RetryPolicy::recommended())
        .build()?;
    Ok(built)
}

fn build_client(
    is_encrypted: bool,
    timeout: Duration,
) -> Result<reqwest::blocking::Client, StartError> {
    // Fails if a provider is installed; it is the same one everywhere.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let builder = reqwest::blocking::Client::builder()
        .timeout(timeout)
        .redirect(reqwest::redirect::Policy::none());
    // Without TLS no system certificates are loaded: a container may have none.
    let builder = if is_encrypted {
        builder
    } else {
        builder.tls_certs_only([])
    };
    // A blocking client cannot be built on a thread that runs futures.
    let building = thread::Builder::new()
        .name("spans-client".to_owned())
        .spawn(move || builder.build())?;
    Ok(building.join().map_err(|_| StartError::Panicked)??)
}

/// Takes queries out of what it sends, and tells of an outage once at its begin and once at its end.
#[derive(Debug)]
pub(super) struct QuietExporter<E> {
    inner: E,
    place: String,
    /// Spans that could not be sent since the last success.
    lost: AtomicU64,
}

impl<E> QuietExporter<E> {
    pub(super) const fn new(inner: E, place: String) -> Self {
        Self {
            inner,
            place,
            lost: AtomicU64::new(0),
        }
    }

    fn note_result(&self, count: u64, result: &OTelSdkResult) {
        match result {
            Ok(()) => {
                let lost = self.lost.swap(0, Ordering::Relaxed);
                if lost > 0 {
                    tracing::info!(lost, "spans are exported to {} again", self.place);
                }
            }
            Err(why) => {
                if self.lost.fetch_add(count, Ordering::Relaxed) == 0 {
                    let place = &self.place;
                    tracing::warn!(%why, "spans are not exported to {place}; told again when they are");
                }
            }
        }
    }
}

impl<E: SpanExporter> SpanExporter for QuietExporter<E> {
    async fn export(&self, mut batch: Vec<SpanData>) -> OTelSdkResult {
        let count = batch.len() as u64;
        batch.iter_mut().for_each(remove_queries);
        let result = self.inner.export(batch).await;
        self.note_result(count, &result);
        // The caller would only log it once more, for each batch.
        Ok(())
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        let lost = self.lost.load(Ordering::Relaxed);
        if lost > 0 {
            tracing::warn!(lost, "spans could not be exported to {}", self.place);
        }
        self.inner.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}

/// Removes the queries of URLs and paths from a span and its events: an error's text may name the
/// URL of the request that failed.
fn remove_queries(span: &mut SpanData) {
    clean_attributes(&mut span.attributes);
    for event in &mut span.events.events {
        if let Some(name) = without_queries(&event.name) {
            event.name = Cow::Owned(name);
        }
        clean_attributes(&mut event.attributes);
    }
}

fn clean_attributes(attributes: &mut [KeyValue]) {
    for attribute in attributes {
        let Value::String(text) = &attribute.value else {
            continue;
        };
        if let Some(text) = without_queries(text.as_str()) {
            attribute.value = Value::String(text.into());
        }
    }
}

/// The text without queries; `None` when it has none.
pub(super) fn without_queries(text: &str) -> Option<String> {
    match QUERY.as_ref()?.replace_all(text, "$1") {
        Cow::Borrowed(_) => None,
        Cow::Owned(text) => Some(text),
    }
}
