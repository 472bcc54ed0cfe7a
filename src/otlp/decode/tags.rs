//! Where the lane tag stands in what is told, by what the lane groups say of how it travels.

use std::{borrow::Cow, collections::HashMap};

use percent_encoding::percent_decode_str;

use super::{Value, text::told};
use crate::{
    api::{ConditionOn, Lane, LaneGroup},
    domain::span::Tag,
};

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

/// What the lane tag may be called, and what of a query may be told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TagKeys {
    ways: HashMap<String, Way>,
    headers: Vec<String>,
    members: Vec<String>,
    parameters: Vec<String>,
}

impl TagKeys {
    /// By these lane groups and their lanes.
    pub fn of<'a>(groups: impl IntoIterator<Item = &'a LaneGroup>, lanes: impl IntoIterator<Item = &'a Lane>) -> Self {
        let mut keys = Self::default();
        for group in groups {
            let travels = &group.spec.propagation;
            keys.add_header(&travels.header);
            if let Some(member) = &travels.baggage {
                keys.add_member(member);
            }
        }
        for lane in lanes {
            let rule = &lane.spec.rule;
            let looked_at = rule.all.iter().chain(&rule.any).filter(|c| c.on == ConditionOn::Parameter);
            for name in looked_at.filter_map(|c| c.key.as_ref()) {
                if !keys.parameters.contains(name) {
                    keys.parameters.push(name.clone());
                }
            }
        }
        keys
    }

    /// Also an attribute of that name, where a store calls it otherwise.
    #[must_use]
    pub fn and_attribute(mut self, name: &str) -> Self {
        self.ways.insert(name.to_owned(), Way::Custom);
        self
    }

    fn add_header(&mut self, header: &str) {
        let lower = header.to_ascii_lowercase();
        if self.headers.contains(&lower) {
            return;
        }
        self.ways.insert(header.to_owned(), Way::Custom);
        self.ways.insert(lower.clone(), Way::Custom);
        self.ways.insert(format!("{HEADER}{lower}"), Way::Header);
        self.ways.insert(format!("{HEADER}{}", lower.replace('-', "_")), Way::Header);
        self.ways.insert("http.headers".into(), Way::Lines);
        self.headers.push(lower);
    }

    fn add_member(&mut self, member: &str) {
        self.ways.entry(member.to_owned()).or_insert(Way::Member);
        self.ways.insert(format!("{HEADER}{BAGGAGE}"), Way::Baggage);
        self.members.push(member.to_owned());
    }

    /// Whether an attribute may hold the tag, and how.
    pub(super) fn way(&self, attribute: &str) -> Option<Way> {
        self.ways.get(attribute).copied()
    }

    /// The tag that an attribute holds.
    pub(super) fn tag(&self, way: Way, value: &Value<'_>) -> Tag {
        let Some(text) = value.text() else { return Tag::Unknown };
        match way {
            Way::Custom | Way::Header | Way::Member => first(text),
            Way::Baggage => self.of_baggage(text),
            Way::Lines => self.of_lines(text),
        }
    }

    /// A member `NAME=VALUE;PROPERTIES`. A baggage without it says nothing: the tag may be in the header.
    fn of_baggage(&self, text: &str) -> Tag {
        let members = text.split(',').filter_map(|member| member.split(';').next()?.split_once('='));
        let ours = |(name, _): &(&str, &str)| self.members.iter().any(|m| m == name.trim());
        let found = members.into_iter().find(ours).map(|(_, value)| value.trim());
        found.map_or(Tag::Unknown, |value| first(&percent_decode_str(value).decode_utf8_lossy()))
    }

    /// Lines `NAME=VALUE`. A header that is not among them was not sent: whoever collects names it, or it is no line.
    fn of_lines(&self, text: &str) -> Tag {
        let lines = text.lines().filter_map(|line| line.split_once('='));
        let ours = |name: &str| self.headers.iter().any(|h| h.eq_ignore_ascii_case(name.trim()));
        let found = lines.into_iter().find(|(name, _)| ours(name)).map(|(_, value)| value);
        found.map_or(Tag::Unknown, |value| first(value.trim_matches(['[', ']'])))
    }

    /// Path and query, of which only the parameters stay that lanes look at.
    pub(super) fn cut_query(&self, path: &str, query: &str) -> String {
        let kept: Vec<&str> = query.split('&').filter(|pair| self.is_looked_at(pair)).collect();
        if kept.is_empty() { path.to_owned() } else { format!("{path}?{}", kept.join("&")) }
    }

    fn is_looked_at(&self, pair: &str) -> bool {
        let name = pair.split('=').next().unwrap_or_default();
        let name = percent_decode_str(name).decode_utf8_lossy();
        self.parameters.iter().any(|p| *p == name)
    }
}

/// The first of values that are separated by commas, or of an array that was made text.
fn first(text: &str) -> Tag {
    let text = text.trim();
    let text = match text.strip_prefix('[') {
        Some(_) => serde_json::from_str::<Vec<String>>(text)
            .map_or(Cow::Borrowed(text), |list| Cow::Owned(list.into_iter().next().unwrap_or_default())),
        None => Cow::Borrowed(text),
    };
    Tag::told(&told(text.split(',').next().unwrap_or_default().trim()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{Condition, LaneGroupSpec, LaneMatch, LaneSpec, Propagation};

    fn keys() -> TagKeys {
        let travels = Propagation { header: "X-Mse-Tag".into(), baggage: Some("lane".into()) };
        let group = LaneGroup::new("g", LaneGroupSpec { propagation: travels, ..LaneGroupSpec::default() });
        let condition = |key: &str| Condition { key: Some(key.into()), ..Condition::default() };
        let all = vec![condition("group"), condition("a b")];
        let rule = LaneMatch { all, ..LaneMatch::default() };
        let lane = Lane::new("l", LaneSpec { rule, ..LaneSpec::default() });
        TagKeys::of([&group], [&lane])
    }

    fn tag(attribute: &str, value: &str) -> Tag {
        let keys = keys();
        keys.way(attribute).map_or(Tag::Unknown, |way| keys.tag(way, &value.into()))
    }

    #[test]
    fn the_tag_is_found_under_every_name() {
        let gray = Tag::Value("gray".into());
        for (attribute, value, expected) in [
            ("x-mse-tag", "gray", gray.clone()),
            ("X-Mse-Tag", "gray", gray.clone()),
            ("http.request.header.x-mse-tag", "gray", gray.clone()),
            ("http.request.header.x_mse_tag", "gray, other", gray.clone()),
            ("http.request.header.x_mse_tag", r#"["gray","x"]"#, gray.clone()),
            ("http.request.header.x_mse_tag", "[]", Tag::Absent),
            ("http.request.header.baggage", "a=b, lane = gray ;p=1", gray.clone()),
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
