//! What the environment says about the export of spans, by the names of the OpenTelemetry
//! specification. Pure: the caller looks variables up.
//!
//! A variable that cannot be read is ignored and told, as the specification asks: telemetry is no
//! reason not to start.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use opentelemetry_sdk::trace::Sampler;
use percent_encoding::percent_decode_str;
use tracing::level_filters::LevelFilter;

const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
const TRACES_ENDPOINT: &str = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT";
const HEADERS: &str = "OTEL_EXPORTER_OTLP_HEADERS";
const TRACES_HEADERS: &str = "OTEL_EXPORTER_OTLP_TRACES_HEADERS";
const TIMEOUT: &str = "OTEL_EXPORTER_OTLP_TIMEOUT";
const TRACES_TIMEOUT: &str = "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT";
const PROTOCOL: &str = "OTEL_EXPORTER_OTLP_PROTOCOL";
const TRACES_PROTOCOL: &str = "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL";
const SERVICE_NAME: &str = "OTEL_SERVICE_NAME";
const RESOURCE_ATTRIBUTES: &str = "OTEL_RESOURCE_ATTRIBUTES";
const SAMPLER: &str = "OTEL_TRACES_SAMPLER";
const SAMPLER_ARG: &str = "OTEL_TRACES_SAMPLER_ARG";
const DISABLED: &str = "OTEL_SDK_DISABLED";
const EXPORTER: &str = "OTEL_TRACES_EXPORTER";
/// Which spans are exported; the only variable that is not OpenTelemetry's.
const LEVEL: &str = "GRAYLANE_SPAN_LEVEL";
/// The specification's timeout of one request with its retries.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);

/// Where spans go, which of them, and what they say of their sender.
#[derive(Clone, Debug)]
pub struct Settings {
    endpoint: String,
    place: String,
    headers: HashMap<String, String>,
    resource: BTreeMap<String, String>,
    sampler: Sampler,
    timeout: Duration,
    level: LevelFilter,
}

/// A variable that is set to something that cannot be used. Its value may be a secret, so it is not
/// told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name} is ignored: {expected}")]
pub struct IgnoredVariable {
    name: &'static str,
    expected: &'static str,
}

impl Settings {
    /// Reads the variables that `look_up` finds. `None` unless an endpoint is named.
    pub fn from_variables(
        look_up: &dyn Fn(&str) -> Option<String>,
    ) -> (Option<Self>, Vec<IgnoredVariable>) {
        let mut reader = Reader {
            look_up,
            ignored: vec![],
        };
        let settings = reader.read_settings();
        (settings, reader.ignored)
    }

    /// The URL that spans are posted to.
    pub(super) fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Scheme, host and port of the endpoint: what may be shown of it.
    pub(super) fn place(&self) -> &str {
        &self.place
    }

    pub(super) fn is_encrypted(&self) -> bool {
        self.place.starts_with("https")
    }

    /// Headers of each request; the values are percent-encoded, as they were given.
    pub(super) const fn headers(&self) -> &HashMap<String, String> {
        &self.headers
    }

    /// Attributes of the sender.
    pub(super) const fn resource(&self) -> &BTreeMap<String, String> {
        &self.resource
    }

    pub(super) fn sampler(&self) -> Sampler {
        self.sampler.clone()
    }

    /// Longest time of a request with its retries.
    pub(super) const fn timeout(&self) -> Duration {
        self.timeout
    }

    /// The finest spans that are exported.
    pub(super) const fn level(&self) -> LevelFilter {
        self.level
    }
}

struct Reader<'a> {
    look_up: &'a dyn Fn(&str) -> Option<String>,
    ignored: Vec<IgnoredVariable>,
}

impl Reader<'_> {
    fn read_settings(&mut self) -> Option<Settings> {
        let is_off = |name: &str, off: &str| {
            self.value(name)
                .is_some_and(|value| value.eq_ignore_ascii_case(off))
        };
        if is_off(DISABLED, "true") || is_off(EXPORTER, "none") {
            return None;
        }
        let (endpoint, place) = self.read_endpoint()?;
        self.check_protocol();
        Some(Settings {
            endpoint,
            place,
            headers: self.read_headers(),
            resource: self.read_resource(),
            sampler: self.read_sampler(),
            timeout: self.read_timeout(),
            level: self.read_level(),
        })
    }

    /// An empty variable means the same as none.
    fn value(&self, name: &str) -> Option<String> {
        let value = (self.look_up)(name)?;
        let value = value.trim();
        (!value.is_empty()).then(|| value.to_owned())
    }

    /// The first of these that is set.
    fn first_value(&self, names: [&'static str; 2]) -> Option<(&'static str, String)> {
        let mut names = names.into_iter();
        names.find_map(|name| Some((name, self.value(name)?)))
    }

    fn ignore(&mut self, name: &'static str, expected: &'static str) {
        self.ignored.push(IgnoredVariable { name, expected });
    }

    /// The URL for spans, and what may be shown of it.
    fn read_endpoint(&mut self) -> Option<(String, String)> {
        let (name, url) = self.first_value([TRACES_ENDPOINT, ENDPOINT])?;
        let Some(place) = place_of(&url) else {
            self.ignore(name, "spans are not exported; write it as http://HOST:PORT");
            return None;
        };
        let endpoint = if name == ENDPOINT {
            format!("{}/v1/traces", url.trim_end_matches('/'))
        } else {
            url
        };
        Some((endpoint, place))
    }

    fn check_protocol(&mut self) {
        let given = self.first_value([TRACES_PROTOCOL, PROTOCOL]);
        if let Some((name, _)) = given.filter(|(_, protocol)| protocol != "http/protobuf") {
            self.ignore(name, "spans are sent as http/protobuf");
        }
    }

    fn read_headers(&mut self) -> HashMap<String, String> {
        let Some((name, text)) = self.first_value([TRACES_HEADERS, HEADERS]) else {
            return HashMap::new();
        };
        let Some(pairs) = split_pairs(&text) else {
            self.ignore(name, "write it as name=value,name=value");
            return HashMap::new();
        };
        let owned = |(k, v): (&str, &str)| (k.to_owned(), v.to_owned());
        pairs.into_iter().map(owned).collect()
    }

    fn read_resource(&mut self) -> BTreeMap<String, String> {
        let mut resource = BTreeMap::from(
            [
                ("service.name", env!("CARGO_PKG_NAME")),
                ("service.version", env!("CARGO_PKG_VERSION")),
            ]
            .map(|(k, v)| (k.to_owned(), v.to_owned())),
        );
        if let Some(text) = self.value(RESOURCE_ATTRIBUTES) {
            let pairs = split_pairs(&text);
            match pairs.and_then(|pairs| pairs.into_iter().map(decode_pair).collect()) {
                Some(pairs) => resource.extend::<Vec<(String, String)>>(pairs),
                None => self.ignore(
                    RESOURCE_ATTRIBUTES,
                    "write it as name=value,name=value, with other characters percent-encoded",
                ),
            }
        }
        if let Some(name) = self.value(SERVICE_NAME) {
            resource.insert("service.name".to_owned(), name);
        }
        resource
    }

    fn read_sampler(&mut self) -> Sampler {
        let all_of_parent = |root| Sampler::ParentBased(Box::new(root));
        let Some(name) = self.value(SAMPLER) else {
            return all_of_parent(Sampler::AlwaysOn);
        };
        match name.as_str() {
            "always_on" => Sampler::AlwaysOn,
            "always_off" => Sampler::AlwaysOff,
            "traceidratio" => Sampler::TraceIdRatioBased(self.read_ratio()),
            "parentbased_always_on" => all_of_parent(Sampler::AlwaysOn),
            "parentbased_always_off" => all_of_parent(Sampler::AlwaysOff),
            "parentbased_traceidratio" => {
                all_of_parent(Sampler::TraceIdRatioBased(self.read_ratio()))
            }
            _ => {
                self.ignore(
                    SAMPLER,
                    "all spans are exported; known are always_on, always_off, traceidratio, and \
                     these with parentbased_ before them",
                );
                all_of_parent(Sampler::AlwaysOn)
            }
        }
    }

    /// Share of the traces that are exported.
    fn read_ratio(&mut self) -> f64 {
        let Some(text) = self.value(SAMPLER_ARG) else {
            return 1.0;
        };
        let ratio = text.parse().ok().filter(|r| (0.0..=1.0).contains(r));
        ratio.unwrap_or_else(|| {
            self.ignore(
                SAMPLER_ARG,
                "all traces are exported; write a number from 0 to 1",
            );
            1.0
        })
    }

    fn read_timeout(&mut self) -> Duration {
        let Some((name, text)) = self.first_value([TRACES_TIMEOUT, TIMEOUT]) else {
            return DEFAULT_TIMEOUT;
        };
        let millis = text.parse().ok().filter(|ms| *ms > 0);
        millis.map_or_else(
            || {
                self.ignore(name, "write a number of milliseconds");
                DEFAULT_TIMEOUT
            },
            Duration::from_millis,
        )
    }

    fn read_level(&mut self) -> LevelFilter {
        let Some(text) = self.value(LEVEL) else {
            return LevelFilter::DEBUG;
        };
        text.parse().unwrap_or_else(|_| {
            self.ignore(LEVEL, "write info, debug or trace");
            LevelFilter::DEBUG
        })
    }
}

/// Scheme, host and port of an HTTP URL, without user, password, path and query.
fn place_of(url: &str) -> Option<String> {
    let url: http::Uri = url.parse().ok()?;
    let scheme = url
        .scheme_str()
        .filter(|scheme| matches!(*scheme, "http" | "https"))?;
    let host = url.host().filter(|host| !host.is_empty())?;
    let port = url.port_u16().map(|port| format!(":{port}"));
    Some(format!("{scheme}://{host}{}", port.unwrap_or_default()))
}

/// Splits `name=value,name=value`; `None` unless all of it is of this form.
fn split_pairs(text: &str) -> Option<Vec<(&str, &str)>> {
    let pairs = text.split(',').map(str::trim).filter(|p| !p.is_empty());
    pairs
        .map(|pair| {
            let (name, value) = pair.split_once('=')?;
            let (name, value) = (name.trim(), value.trim());
            (!name.is_empty()).then_some((name, value))
        })
        .collect()
}

fn decode_pair((name, value): (&str, &str)) -> Option<(String, String)> {
    let decode = |text| percent_decode_str(text).decode_utf8().ok();
    Some((decode(name)?.into_owned(), decode(value)?.into_owned()))
}

#[cfg(test)]
mod tests;
