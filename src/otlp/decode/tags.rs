//! Where the lane tag stands in what is told, by what the lane groups say of how it travels.

use std::{borrow::Cow, collections::HashMap};

use super::{Value, text::told};
use crate::domain::span::{Tag, TagKeys};

/// Captured request headers are attributes of this name and the header's.
/// <https://opentelemetry.io/docs/specs/semconv/registry/attributes/http/>
const HEADER: &str = "http.request.header.";
const BAGGAGE: &str = "baggage";

/// How an attribute tells the tag; the first that tells it counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Way {
    /// It is named as the header: a custom tag of Envoy's.
    Custom,
    /// It is the captured header.
    Header,
    /// It is the captured `baggage` header, of which the tag is a member.
    Baggage,
    /// It is named as the member: a processor made attributes of the baggage.
    Member,
    /// It holds request headers as lines `NAME=VALUE`, as SkyWalking's does.
    Lines,
}

/// What attributes the lane tag may be in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AttributeKeys {
    ways: HashMap<String, Way>,
    keys: TagKeys,
}

impl AttributeKeys {
    /// By how tags travel.
    pub fn of(keys: TagKeys) -> Self {
        let mut this = Self {
            ways: HashMap::new(),
            keys,
        };
        for header in &this.keys.headers {
            let lower = header.to_ascii_lowercase();
            this.ways.insert(header.to_owned(), Way::Custom);
            this.ways.insert(lower.clone(), Way::Custom);
            this.ways.insert(format!("{HEADER}{lower}"), Way::Header);
            this.ways
                .insert(format!("{HEADER}{}", lower.replace('-', "_")), Way::Header);
            this.ways.insert("http.headers".into(), Way::Lines);
        }
        for member in &this.keys.members {
            this.ways.entry(member.to_owned()).or_insert(Way::Member);
            this.ways.insert(format!("{HEADER}{BAGGAGE}"), Way::Baggage);
        }
        this
    }

    /// Also an attribute of that name, where a store calls it otherwise.
    #[must_use]
    pub fn and_attribute(mut self, name: &str) -> Self {
        self.ways.insert(name.to_owned(), Way::Custom);
        self
    }

    /// Whether an attribute may hold the tag, and how.
    pub(super) fn way(&self, attribute: &str) -> Option<Way> {
        self.ways.get(attribute).copied()
    }

    /// The tag that an attribute holds.
    pub(super) fn tag(&self, way: Way, value: &Value<'_>) -> Tag {
        let Some(text) = value.text() else {
            return Tag::Unknown;
        };
        match way {
            Way::Custom | Way::Header | Way::Member => first(text),
            Way::Baggage => self.of_baggage(text),
            Way::Lines => self.of_lines(text),
        }
    }

    /// A baggage without the member says nothing: the tag may be in the header.
    fn of_baggage(&self, text: &str) -> Tag {
        self.keys
            .member_of(text)
            .map_or(Tag::Unknown, |value| first(&value))
    }

    /// Lines `NAME=VALUE`. A header that is not among them was not sent: whoever collects names it, or it is no line.
    fn of_lines(&self, text: &str) -> Tag {
        let lines = text.lines().filter_map(|line| line.split_once('='));
        let ours = |name: &str| {
            self.keys
                .headers
                .iter()
                .any(|h| h.eq_ignore_ascii_case(name.trim()))
        };
        let found = lines
            .into_iter()
            .find(|(name, _)| ours(name))
            .map(|(_, value)| value);
        found.map_or(Tag::Unknown, |value| first(value.trim_matches(['[', ']'])))
    }

    /// Path and query, of which only the parameters stay that lanes look at.
    pub(super) fn cut_query(&self, path: &str, query: &str) -> String {
        self.keys.cut_query(&format!("{path}?{query}"))
    }
}

/// The first of values that are separated by commas, or of an array that was made text.
fn first(text: &str) -> Tag {
    let text = text.trim();
    let text = match text.strip_prefix('[') {
        Some(_) => serde_json::from_str::<Vec<String>>(text).map_or(Cow::Borrowed(text), |list| {
            Cow::Owned(list.into_iter().next().unwrap_or_default())
        }),
        None => Cow::Borrowed(text),
    };
    Tag::told(&told(text.split(',').next().unwrap_or_default().trim()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{Condition, Lane, LaneGroup, LaneGroupSpec, LaneMatch, LaneSpec, Propagation};

    fn keys() -> AttributeKeys {
        let travels = Propagation {
            header: "X-Mse-Tag".into(),
            baggage: Some("lane".into()),
        };
        let group = LaneGroup::new(
            "g",
            LaneGroupSpec {
                propagation: travels,
                ..LaneGroupSpec::default()
            },
        );
        let condition = |key: &str| Condition {
            key: Some(key.into()),
            ..Condition::default()
        };
        let all = vec![condition("group"), condition("a b")];
        let rule = LaneMatch {
            all,
            ..LaneMatch::default()
        };
        let lane = Lane::new(
            "l",
            LaneSpec {
                rule,
                ..LaneSpec::default()
            },
        );
        AttributeKeys::of(TagKeys::of([&group], [&lane]))
    }

    fn tag(attribute: &str, value: &str) -> Tag {
        let keys = keys();
        keys.way(attribute)
            .map_or(Tag::Unknown, |way| keys.tag(way, &value.into()))
    }

    #[test]
    fn the_tag_is_found_under_every_name() {
        let gray = Tag::Value("gray".into());
        for (attribute, value, expected) in [
            ("x-mse-tag", "gray", gray.clone()),
            ("X-Mse-Tag", "gray", gray.clone()),
            ("http.request.header.x-mse-tag", "gray", gray.clone()),
            ("http.request.header.x_mse_tag", "gray, other", gray.clone()),
            (
                "http.request.header.x_mse_tag",
                r#"["gray","x"]"#,
                gray.clone(),
            ),
            ("http.request.header.x_mse_tag", "[]", Tag::Absent),
            (
                "http.request.header.baggage",
                "a=b, lane = gray ;p=1",
                gray.clone(),
            ),
            ("http.request.header.baggage", "lane=gr%61y", gray.clone()),
            ("http.request.header.baggage", "a=b", Tag::Unknown),
            ("http.request.header.baggage", "lane=", Tag::Absent),
            ("lane", "gray", gray.clone()),
            ("http.headers", "accept=*/*\nX-Mse-Tag=[gray]", gray.clone()),
            ("http.headers", "accept=*/*", Tag::Unknown),
            ("x-mse-tag", "-", Tag::Absent),
            ("x-mse-tag", "", Tag::Absent),
            ("x-mse-tag", "a\u{1b}[31mb", Tag::Value("ab".into())),
            ("http.request.header.other", "gray", Tag::Unknown),
        ] {
            assert_eq!(tag(attribute, value), expected, "{attribute} {value}");
        }
        let store = keys().and_attribute("lane.tag");
        assert_eq!(store.way("lane.tag"), Some(Way::Custom));
        assert_eq!(keys().tag(Way::Header, &Value::Number(1)), Tag::Unknown);
    }

    #[test]
    fn of_a_query_only_what_lanes_look_at_is_told() {
        let cut = |query| keys().cut_query("/A/a", query);
        assert_eq!(cut("token=secret&group=gray&x=1"), "/A/a?group=gray");
        assert_eq!(cut("a%20b=1&group"), "/A/a?a%20b=1&group");
        for none in ["", "REDACTED", "groups=1", "=group", "&&"] {
            assert_eq!(cut(none), "/A/a", "{none}");
        }
    }
}
