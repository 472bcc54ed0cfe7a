//! Export of graylane's own spans over OTLP/HTTP in protobuf, behind the feature `otlp-export`.
//!
//! Spans are made by `tracing` everywhere; this module turns them into OpenTelemetry's, in batches
//! of at most 512 that are at most 5 s old, and sends them to the endpoint that the environment
//! names ([`settings`]). 429, 502, 503 and 504 are retried with back-off, as the OTLP specification
//! says. At most 2,048 spans wait; further ones are dropped and counted. All of this happens on
//! threads of its own: an endpoint that is slow or dead costs spans, never time.

mod exporter;
pub mod settings;

use std::{io, time::Duration};

use opentelemetry::{KeyValue, trace::TracerProvider};
use opentelemetry_otlp::ExporterBuildError;
use opentelemetry_sdk::{
    Resource,
    resource::TelemetryResourceDetector,
    trace::{BatchSpanProcessor, SdkTracerProvider, SpanExporter},
};
use tracing::{Level, Metadata, Subscriber, level_filters::LevelFilter};
use tracing_subscriber::{Layer, filter::FilterFn, registry::LookupSpan};

use exporter::QuietExporter;
use settings::Settings;

/// How long the end of the program waits for the last spans.
const FLUSH_LIMIT: Duration = Duration::from_secs(2);
/// Crates whose spans are exported. The exporter's own requests make none in these, so exporting
/// never makes more to export.
const OWN_CRATES: [&str; 6] = [
    "graylane",
    "kube_yaml",
    "malloc_settings",
    "net",
    "pocket",
    "reconcile",
];

/// Why spans are not exported.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The HTTP client cannot be built, for example because there are no system certificates.
    #[error("no HTTP client for spans: {0}")]
    Client(#[from] reqwest::Error),
    /// No thread could be started.
    #[error("no thread for spans: {0}")]
    Thread(#[from] io::Error),
    /// The thread that builds the HTTP client has panicked.
    #[error("the HTTP client for spans could not be built")]
    Panicked,
    /// The settings are refused.
    #[error("spans: {0}")]
    Exporter(#[from] ExporterBuildError),
}

/// A running export of spans. Dropping it sends what still waits, for at most two seconds.
#[derive(Debug)]
pub struct SpanExport {
    provider: SdkTracerProvider,
    level: LevelFilter,
}

impl SpanExport {
    /// Starts the threads that send. Nothing is sent until there are spans.
    ///
    /// # Errors
    ///
    /// When the HTTP client or a thread cannot be had.
    pub fn start(settings: &Settings) -> Result<Self, StartError> {
        let exporter = exporter::build_http_exporter(settings)?;
        let place = settings.place().to_owned();
        Ok(Self::with_exporter(
            settings,
            QuietExporter::new(exporter, place),
        ))
    }

    fn with_exporter(settings: &Settings, exporter: impl SpanExporter + 'static) -> Self {
        let attributes = settings.resource().iter();
        let resource = Resource::builder_empty()
            .with_detector(Box::new(TelemetryResourceDetector))
            .with_attributes(attributes.map(|(k, v)| KeyValue::new(k.clone(), v.clone())))
            .build();
        // The limits of the queue and of a batch are the specification's, which `OTEL_BSP_*` change.
        let batches = BatchSpanProcessor::builder(exporter).build();
        let provider = SdkTracerProvider::builder()
            .with_sampler(settings.sampler())
            .with_resource(resource)
            .with_span_processor(batches)
            .build();
        Self {
            provider,
            level: settings.level(),
        }
    }

    /// The layer that hands spans to the export.
    pub fn layer<S>(&self) -> impl Layer<S> + Send + Sync + use<S>
    where
        S: Subscriber + for<'s> LookupSpan<'s> + Send + Sync,
    {
        let level = self.level;
        let filter = FilterFn::new(move |metadata| is_exported(metadata, level))
            .with_max_level_hint(level.max(LevelFilter::WARN));
        tracing_opentelemetry::layer()
            .with_tracer(self.provider.tracer(env!("CARGO_PKG_NAME")))
            // The target tells the module; files, lines and threads are of no use to an operator.
            .with_location(false)
            .with_threads(false)
            // Only a level says that a span has failed.
            .with_error_events_to_status(false)
            // Nobody here asks OpenTelemetry for the current span.
            .with_context_activation(false)
            .with_filter(filter)
    }
}

impl Drop for SpanExport {
    fn drop(&mut self) {
        if let Err(why) = self.provider.shutdown_with_timeout(FLUSH_LIMIT) {
            tracing::warn!(%why, "the last spans may not have been exported");
        }
    }
}

/// Of spans, our own up to this level; of events, warnings and errors within such spans.
fn is_exported(metadata: &Metadata<'_>, level: LevelFilter) -> bool {
    if metadata.is_event() {
        return *metadata.level() <= Level::WARN;
    }
    let target = metadata.target();
    let of = target.split_once("::").map_or(target, |(of, _)| of);
    *metadata.level() <= level && OWN_CRATES.contains(&of)
}

#[cfg(test)]
mod tests;
