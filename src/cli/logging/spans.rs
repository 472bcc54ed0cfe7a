//! The export of our own spans as commands turn it on: where the build has it (feature
//! `otlp-export`) and the environment names an endpoint.

use tracing_subscriber::{EnvFilter, Layer, Registry};

#[cfg(any(feature = "otlp-export", test))]
use crate::otlp_export::{SpanExport, settings::Settings};

/// What OpenTelemetry logs of itself: each failure of a request is told elsewhere, once an outage.
const QUIET_EXPORTER: [&str; 2] = ["opentelemetry_sdk=warn", "opentelemetry-otlp=off"];

/// The running export, if any. Dropping it sends what still waits, for two seconds at most.
#[derive(Debug, Default)]
pub(super) struct Spans {
    #[cfg(any(feature = "otlp-export", test))]
    export: Option<SpanExport>,
    /// What to log as soon as there is a log.
    warnings: Vec<String>,
}

impl Spans {
    /// Starts the export. What hinders it is logged and hinders nothing else.
    #[cfg(any(feature = "otlp-export", test))]
    pub(super) fn start() -> Self {
        let (settings, ignored) = Settings::from_variables(&|name| std::env::var(name).ok());
        let mut warnings: Vec<String> = ignored.iter().map(ToString::to_string).collect();
        let export = settings.and_then(|settings| {
            let started = SpanExport::start(&settings);
            started.map_err(|why| warnings.push(why.to_string())).ok()
        });
        Self { export, warnings }
    }

    #[cfg(not(any(feature = "otlp-export", test)))]
    pub(super) fn start() -> Self {
        Self::default()
    }

    /// The layer that takes spans, when they are exported.
    #[cfg(any(feature = "otlp-export", test))]
    pub(super) fn layer(&self) -> Option<Box<dyn Layer<Registry> + Send + Sync>> {
        self.export.as_ref().map(|export| export.layer().boxed())
    }

    #[cfg(not(any(feature = "otlp-export", test)))]
    pub(super) fn layer(&self) -> Option<Box<dyn Layer<Registry> + Send + Sync>> {
        None
    }

    pub(super) fn log_warnings(&self) {
        for warning in &self.warnings {
            tracing::warn!("{warning}");
        }
    }
}

/// Keeps the exporter's own lines out of the log, unless the filter is about them.
pub(super) fn quiet_exporter(filter: EnvFilter) -> EnvFilter {
    if filter.to_string().contains("opentelemetry") {
        return filter;
    }
    let directives = QUIET_EXPORTER.into_iter().filter_map(|d| d.parse().ok());
    directives.fold(filter, EnvFilter::add_directive)
}
