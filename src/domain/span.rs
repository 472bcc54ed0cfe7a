//! A span: what one party tells of one request. It may be a span of a trace, or a line of a gateway's access log.
//!
//! A hop is known from one or two of them: the caller's side names the pod that was asked, the pod's own side says who
//! it is. `chain::resolve` joins them with what the world knows of pods. The wire form is one JSON line in the log of
//! an engine's pod.

mod keys;

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub use keys::TagKeys;

use super::{hop::bounded, text::Clean};

/// One request as one party tells it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Span {
    /// Whose view it is. The first field: a line that has it is a span.
    pub side: Side,
    /// Where it was read.
    pub source: Source,
    /// When the request began.
    pub time: Timestamp,
    /// Microseconds that it took.
    #[serde(default)]
    pub micros: u64,
    /// W3C trace id, 32 hex digits; a request id where there is no trace; empty where nothing ties requests.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub trace: String,
    /// Span id, 16 hex digits; of an access log without one, a digest of the line.
    pub span: String,
    /// Span id of whoever called.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<String>,
    /// Who tells it.
    #[serde(default, skip_serializing_if = "Emitter::is_empty")]
    pub by: Emitter,
    /// IP address of the pod that was asked, as its caller knows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<String>,
    /// IP address of whoever asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub caller: Option<String>,
    /// The lane tag that the callee got.
    #[serde(default, skip_serializing_if = "Tag::is_unknown")]
    pub tag: Tag,
    /// The lane tag as the request came to a gateway whose log tells that, and not what it sent on.
    #[serde(default, skip_serializing_if = "Tag::is_unknown")]
    pub tag_came: Tag,
    /// The gateway's name for the route that it took.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub route: Option<String>,
    /// Method.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub method: String,
    /// Path and query.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub path: String,
    /// HTTP status; none where nobody tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// What went wrong, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// Whose view of a request a span is.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// Neither called nor was called: work within a service. It only ties others.
    #[default]
    Inner,
    /// The caller's.
    Client,
    /// The callee's.
    Server,
    /// A gateway's line of a request that it took and passed on: both.
    Gateway,
}

/// Where a span was read.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// OTLP, received.
    #[default]
    Otlp,
    /// Traefik's access log.
    Traefik,
    /// An access log of Envoy.
    Envoy,
    /// An access log of nginx.
    Nginx,
    /// An access log of a JSON form of its own.
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
    /// As shown.
    pub const fn word(self) -> &'static str {
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

    /// Tells of every request: rates and shares are exact.
    pub const fn is_complete(self) -> bool {
        matches!(self, Self::Traefik | Self::Envoy | Self::Nginx | Self::Json)
    }
}

/// Who tells a span: whatever of it was told.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Emitter {
    /// `service.name`, or what the gateway is called.
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

/// The lane tag, as far as it was told: what nobody told is not known to be absent.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tag {
    /// Not told. On the wire the field is missing.
    #[default]
    Unknown,
    /// Told to be absent. On the wire `null`.
    Absent,
    /// Told.
    Value(String),
}

impl Tag {
    /// Whether it was told at all.
    pub const fn is_unknown(&self) -> bool {
        matches!(self, Self::Unknown)
    }

    /// The tag.
    pub fn value(&self) -> Option<&str> {
        match self {
            Self::Value(tag) => Some(tag),
            Self::Unknown | Self::Absent => None,
        }
    }

    /// Of a told value: empty, or Envoy's `-`, is none.
    pub fn told(value: &str) -> Self {
        match value {
            "" | "-" => Self::Absent,
            tag => Self::Value(tag.to_owned()),
        }
    }

    /// This one, or where it is unknown the other.
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
            .map_or(Self::Absent, |tag| Self::told(&tag)))
    }
}

impl Span {
    /// With every text, which foreign programs wrote, cleaned and bounded: to be done once, where it enters.
    #[must_use]
    pub fn cleaned(mut self) -> Self {
        for text in self.texts_mut() {
            *text = bounded(&Clean::from_untrusted(text));
        }
        for tag in [&mut self.tag, &mut self.tag_came] {
            if let Tag::Value(value) = tag {
                *tag = Tag::told(value);
            }
        }
        self
    }

    /// The texts that foreign programs wrote.
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
        assert_eq!([Tag::told("-"), Tag::told("")], [Tag::Absent, Tag::Absent]);
        assert_eq!(Tag::told("gray").value(), Some("gray"));
        assert_eq!(Tag::Unknown.or(Tag::Absent), Tag::Absent);
        assert_eq!(Tag::Absent.or(Tag::told("x")), Tag::Absent);
    }
}
