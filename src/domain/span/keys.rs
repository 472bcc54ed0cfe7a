//! Parts of a request that are read at all: the lane groups' tags, and the parameters that their
//! lanes test.

use std::collections::BTreeSet;

use percent_encoding::percent_decode_str;

use crate::api::{ConditionOn, Lane, LaneGroup};

/// Where tags are carried, and which parameters may be shown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TagKeys {
    /// Headers that carry a tag, as the lane groups write them.
    pub headers: Vec<String>,
    /// Members of the W3C `baggage` header that carry a tag.
    pub members: Vec<String>,
    /// Parameters that lanes test. Others may contain private data.
    pub parameters: BTreeSet<String>,
}

impl TagKeys {
    /// Collects the keys of these lane groups and lanes.
    pub fn from_groups<'a>(
        groups: impl IntoIterator<Item = &'a LaneGroup>,
        lanes: impl IntoIterator<Item = &'a Lane>,
    ) -> Self {
        let mut keys = Self::default();
        for group in groups {
            let propagation = &group.spec.propagation;
            if !keys.headers.contains(&propagation.header) {
                keys.headers.push(propagation.header.clone());
            }
            keys.members.extend(
                propagation
                    .baggage
                    .clone()
                    .filter(|m| !keys.members.contains(m)),
            );
        }
        for lane in lanes {
            let conditions = lane.spec.rule.all.iter().chain(&lane.spec.rule.any);
            let parameters = conditions.filter(|c| c.on == ConditionOn::Parameter);
            keys.parameters
                .extend(parameters.filter_map(|c| c.key.clone()));
        }
        keys
    }

    /// Removes the parameters that no lane tests from a path and query.
    pub fn filter_query(&self, path: &str) -> String {
        let Some((path, query)) = path.split_once('?') else {
            return path.to_owned();
        };
        let is_asked_for = |pair: &&str| {
            let name = pair.split('=').next().unwrap_or_default().replace('+', " ");
            self.parameters
                .contains(&*percent_decode_str(&name).decode_utf8_lossy())
        };
        let kept: Vec<&str> = query
            .split('#')
            .next()
            .unwrap_or_default()
            .split('&')
            .filter(is_asked_for)
            .collect();
        if kept.is_empty() {
            path.to_owned()
        } else {
            format!("{path}?{}", kept.join("&"))
        }
    }

    /// Tag in a `baggage` header; empty if the member is empty.
    pub fn tag_in_baggage(&self, baggage: &str) -> Option<String> {
        let pairs = baggage
            .split(',')
            .filter_map(|member| member.split(';').next()?.split_once('='));
        let mut of_ours = pairs.filter(|(name, _)| self.members.iter().any(|m| m == name.trim()));
        let (_, value) = of_ours.next()?;
        Some(
            percent_decode_str(value.trim())
                .decode_utf8_lossy()
                .into_owned(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{Condition, LaneGroupSpec, LaneMatch, LaneSpec, Propagation};

    #[test]
    fn a_query_keeps_what_lanes_ask_for_and_nothing_else() {
        let on = |key: &str| Condition {
            on: ConditionOn::Parameter,
            key: Some(key.into()),
            ..Condition::default()
        };
        let rule = LaneMatch {
            all: vec![on("group")],
            any: vec![on("a b")],
            ..LaneMatch::default()
        };
        let lane = Lane::new(
            "l",
            LaneSpec {
                rule,
                ..LaneSpec::default()
            },
        );
        let keys = TagKeys::from_groups(&[], &[lane]);
        for (path, cut) in [
            ("/A/a", "/A/a"),
            ("/A/a?group=gray", "/A/a?group=gray"),
            ("/A/a?token=secret&group=gray&x", "/A/a?group=gray"),
            ("/A/a?token=secret", "/A/a"),
            ("/A/a?gr%6Fup=gray&a+b=1#group=x", "/A/a?gr%6Fup=gray&a+b=1"),
            ("/A/a?", "/A/a"),
            ("", ""),
        ] {
            assert_eq!(keys.filter_query(path), cut, "{path}");
        }
    }

    #[test]
    fn a_tag_in_baggage_is_the_groups_own_member() {
        let propagation = Propagation {
            baggage: Some("lane".into()),
            ..Propagation::default()
        };
        let group = LaneGroup::new(
            "g",
            LaneGroupSpec {
                propagation,
                ..LaneGroupSpec::default()
            },
        );
        let keys = TagKeys::from_groups(&[group.clone(), group], &[]);
        assert_eq!((keys.headers.len(), keys.members.len()), (1, 1));
        assert_eq!(
            keys.tag_in_baggage("user=7, lane = gray%20one;ttl=3")
                .as_deref(),
            Some("gray one")
        );
        assert_eq!(keys.tag_in_baggage("lane=").as_deref(), Some(""));
        assert_eq!(keys.tag_in_baggage("lanes=x,;,=").as_deref(), None);
    }
}
