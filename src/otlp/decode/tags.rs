//! Which attributes hold the lane tag, by the propagation settings of the lane groups.

use std::{borrow::Cow, collections::HashMap};

use super::{Value, text::clean_bounded};
use crate::domain::span::{Tag, TagKeys};

/// Prefix of attributes with captured request headers, before the header's name.
/// <https://opentelemetry.io/docs/specs/semconv/registry/attributes/http/>
const HEADER: &str = "http.request.header.";
const BAGGAGE: &str = "baggage";

/// How an attribute holds the tag; the first in this order counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum TagLocation {
    /// Named as the header: a custom tag of Envoy.
    Custom,
    /// The captured header.
    Header,
    /// The captured `baggage` header, which has the tag as a member.
    Baggage,
    /// Named as the baggage member: a processor turned baggage into attributes.
    Member,
    /// Request headers as lines `NAME=VALUE`, as in SkyWalking.
    Lines,
}

/// The attributes that may hold the lane tag.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AttributeKeys {
    ways: HashMap<String, TagLocation>,
    keys: TagKeys,
}

impl AttributeKeys {
    /// From the headers and baggage members that carry tags.
    pub fn from_tag_keys(keys: TagKeys) -> Self {
        let mut this = Self {
            ways: HashMap::new(),
            keys,
        };
        for header in &this.keys.headers {
            let lower = header.to_ascii_lowercase();
            this.ways.insert(header.to_owned(), TagLocation::Custom);
            this.ways.insert(lower.clone(), TagLocation::Custom);
            this.ways
                .insert(format!("{HEADER}{lower}"), TagLocation::Header);
            this.ways.insert(
                format!("{HEADER}{}", lower.replace('-', "_")),
                TagLocation::Header,
            );
            this.ways.insert("http.headers".into(), TagLocation::Lines);
        }
        for member in &this.keys.members {
            this.ways
                .entry(member.to_owned())
                .or_insert(TagLocation::Member);
            this.ways
                .insert(format!("{HEADER}{BAGGAGE}"), TagLocation::Baggage);
        }
        this
    }

    /// Adds an attribute, for a store that uses another name.
    #[must_use]
    pub fn and_attribute(mut self, name: &str) -> Self {
        self.ways.insert(name.to_owned(), TagLocation::Custom);
        self
    }

    /// How an attribute may hold the tag; `None` when it cannot.
    pub(super) fn tag_location(&self, attribute: &str) -> Option<TagLocation> {
        self.ways.get(attribute).copied()
    }

    /// The tag in an attribute's value.
    pub(super) fn read_tag(&self, way: TagLocation, value: &Value<'_>) -> Tag {
        let Some(text) = value.as_text() else {
            return Tag::Unknown;
        };
        match way {
            TagLocation::Custom | TagLocation::Header | TagLocation::Member => first_tag(text),
            TagLocation::Baggage => self.tag_from_baggage(text),
            TagLocation::Lines => self.tag_from_lines(text),
        }
    }

    /// Baggage without the member says nothing: the tag may be in the header.
    fn tag_from_baggage(&self, text: &str) -> Tag {
        self.keys
            .tag_in_baggage(text)
            .map_or(Tag::Unknown, |value| first_tag(&value))
    }

    /// Lines `NAME=VALUE`. A missing header says nothing: it may not have been collected.
    fn tag_from_lines(&self, text: &str) -> Tag {
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
        found.map_or(Tag::Unknown, |value| {
            first_tag(value.trim_matches(['[', ']']))
        })
    }

    /// Path and query, with only the parameters that lanes use.
    pub(super) fn cut_query(&self, path: &str, query: &str) -> String {
        self.keys.filter_query(&format!("{path}?{query}"))
    }
}

/// The first of comma-separated values, or of a JSON array in text.
fn first_tag(text: &str) -> Tag {
    let text = text.trim();
    let text = match text.strip_prefix('[') {
        Some(_) => serde_json::from_str::<Vec<String>>(text).map_or(Cow::Borrowed(text), |list| {
            Cow::Owned(list.into_iter().next().unwrap_or_default())
        }),
        None => Cow::Borrowed(text),
    };
    Tag::from_reported(&clean_bounded(
        text.split(',').next().unwrap_or_default().trim(),
    ))
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
        AttributeKeys::from_tag_keys(TagKeys::from_groups([&group], [&lane]))
    }

    fn tag(attribute: &str, value: &str) -> Tag {
        let keys = keys();
        keys.tag_location(attribute)
            .map_or(Tag::Unknown, |way| keys.read_tag(way, &value.into()))
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
        assert_eq!(store.tag_location("lane.tag"), Some(TagLocation::Custom));
        assert_eq!(
            keys().read_tag(TagLocation::Header, &Value::Number(1)),
            Tag::Unknown
        );
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
