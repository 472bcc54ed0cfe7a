//! A span: what one party reports about one request. It is a span of a trace, or a line of a
//! gateway's access log.
//!
//! A hop is known from one or two spans: the caller's side names the called pod, the pod's own side
//! says which pod it is. The module `join` joins them with the pods of the world. The wire form is
//! one JSON line in the log of an engine's pod.

mod keys;

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub use keys::TagKeys;

use super::{hop::truncate_text, text::Clean};

/// One request as one party reports it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Span {
    /// Side that reports it. It is the first field: a line that starts with it is a span.
    pub side: Side,
    /// Where it was read from.
    pub source: Source,
    /// When the request began.
    pub time: Timestamp,
    /// Duration in microseconds.
    #[serde(default)]
    pub micros: u64,
    /// W3C trace id, 32 hex digits; a request id if there is no trace; empty if nothing connects
    /// requests.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub trace: String,
    /// Span id, 16 hex digits; for an access log without span ids, a hash of the line.
    pub span: String,
    /// Span id of the caller.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<String>,
    /// Party that reports it.
    #[serde(default, skip_serializing_if = "Emitter::is_empty")]
    pub by: Emitter,
    /// IP address of the called pod, as the caller knows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<String>,
    /// IP address of the caller.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub caller: Option<String>,
    /// Lane tag that the callee received.
    #[serde(default, skip_serializing_if = "Tag::is_unknown")]
    pub tag: Tag,
    /// Lane tag as a gateway received it, if its log reports that and not what it sent on.
    #[serde(default, skip_serializing_if = "Tag::is_unknown")]
    pub tag_came: Tag,
    /// The gateway's name for the route that it used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub route: Option<String>,
    /// HTTP method.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub method: String,
    /// Path and query.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub path: String,
    /// HTTP status; `None` if it was not reported.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// What went wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// Side of a request that a span reports.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// Work within a service, neither a call nor its handling. It only connects other spans.
    #[default]
    Inner,
    /// The caller's side.
    Client,
    /// The callee's side.
    Server,
    /// A gateway's line about a request that it received and passed on: both sides.
    Gateway,
}

/// Where a span was read from.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// Received over OTLP.
    #[default]
    Otlp,
    /// Traefik's access log.
    Traefik,
    /// Envoy's access log.
    Envoy,
    /// nginx's access log.
    Nginx,
    /// An access log in another JSON format.
    Json,
    /// Grafana Tempo.
    Tempo,
    /// Jaeger.
    Jaeger,
    /// Zipkin.
    Zipkin,
    /// Apache SkyWalking.
    SkyWalking,
}

impl Source {
    /// Name for messages.
    pub const fn display_name(self) -> &'static str {
        match self {
            Self::Otlp => "OTLP",
            Self::Traefik => "Traefik's access log",
            Self::Envoy => "Envoy's access log",
            Self::Nginx => "nginx's access log",
            Self::Json => "the access log",
            Self::Tempo => "Tempo",
            Self::Jaeger => "Jaeger",
            Self::Zipkin => "Zipkin",
            Self::SkyWalking => "SkyWalking",
        }
    }

    /// Whether it reports every request, so that rates and shares are exact.
    pub const fn is_complete(self) -> bool {
        matches!(self, Self::Traefik | Self::Envoy | Self::Nginx | Self::Json)
    }
}

/// Party that reports a span, as far as it is known.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Emitter {
    /// `service.name`, or the name of the gateway.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub service: String,
    /// Namespace of its pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Name of its pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<String>,
    /// Uid of its pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
    /// IP address of its pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
}

impl Emitter {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Lane tag, as far as it was reported. A tag that was not reported is not known to be absent.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tag {
    /// Not reported. The field is missing on the wire.
    #[default]
    Unknown,
    /// Reported to be absent. On the wire it is `null`.
    Absent,
    /// Reported, with this value.
    Value(String),
}

impl Tag {
    /// Whether it was not reported.
    pub const fn is_unknown(&self) -> bool {
        matches!(self, Self::Unknown)
    }

    /// Value of the tag, if there is one.
    pub fn value(&self) -> Option<&str> {
        match self {
            Self::Value(tag) => Some(tag),
            Self::Unknown | Self::Absent => None,
        }
    }

    /// Converts a reported value: an empty one, or Envoy's `-`, means that there was no tag.
    pub fn from_reported(value: &str) -> Self {
        match value {
            "" | "-" => Self::Absent,
            tag => Self::Value(tag.to_owned()),
        }
    }

    /// This tag, or the other one if this is unknown.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        if self.is_unknown() { other } else { self }
    }
}

impl Serialize for Tag {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.value().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Tag {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Option::<String>::deserialize(deserializer)?
            .map_or(Self::Absent, |tag| Self::from_reported(&tag)))
    }
}

impl Span {
    /// Cleans and bounds all texts that foreign programs wrote. Call it once, where a span enters.
    #[must_use]
    pub fn into_cleaned(mut self) -> Self {
        for text in self.texts_mut() {
            *text = truncate_text(&Clean::from_untrusted(text));
        }
        for tag in [&mut self.tag, &mut self.tag_came] {
            if let Tag::Value(value) = tag {
                *tag = Tag::from_reported(value);
            }
        }
        self
    }

    /// Texts that foreign programs wrote.
    pub fn texts_mut(&mut self) -> impl Iterator<Item = &mut String> {
        let Emitter {
            service,
            namespace,
            pod,
            uid,
            address,
        } = &mut self.by;
        let tags = [&mut self.tag, &mut self.tag_came]
            .into_iter()
            .filter_map(|tag| match tag {
                Tag::Value(tag) => Some(tag),
                Tag::Unknown | Tag::Absent => None,
            });
        let always = [
            &mut self.trace,
            &mut self.span,
            service,
            &mut self.method,
            &mut self.path,
        ];
        let perhaps = [
            &mut self.parent,
            namespace,
            pod,
            uid,
            address,
            &mut self.peer,
            &mut self.caller,
        ];
        let words = [&mut self.route, &mut self.error];
        always
            .into_iter()
            .chain(perhaps.into_iter().chain(words).flatten())
            .chain(tags)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wire_tells_an_absent_tag_from_one_that_nobody_told() {
        for (tag, wire) in [
            (Tag::Unknown, ""),
            (Tag::Absent, r#""tag":null"#),
            (Tag::Value("gray".into()), r#""tag":"gray""#),
        ] {
            let span = Span {
                tag,
                span: "1".into(),
                ..Span::default()
            };
            let line = serde_json::to_string(&span).unwrap();
            assert!(line.starts_with(r#"{"side":"inner""#), "{line}");
            assert_eq!(line.contains("tag"), !wire.is_empty(), "{line}");
            assert!(line.contains(wire), "{line}");
            assert_eq!(serde_json::from_str::<Span>(&line).unwrap(), span);
        }
    }

    #[test]
    fn what_stands_for_nothing_is_absent() {
        assert_eq!(
            [Tag::from_reported("-"), Tag::from_reported("")],
            [Tag::Absent, Tag::Absent]
        );
        assert_eq!(Tag::from_reported("gray").value(), Some("gray"));
        assert_eq!(Tag::Unknown.or(Tag::Absent), Tag::Absent);
        assert_eq!(Tag::Absent.or(Tag::from_reported("x")), Tag::Absent);
    }
}
