//! Colouring at the entry: removes the client's own tag and sets the lane's.

use http::{HeaderMap, HeaderName, HeaderValue, request::Parts};

use super::{Decision, Rules};
use crate::{
    api::{Lane, LaneGroup, OnLoss},
    domain::request::{InFlightRequest, RequestView},
};

/// How requests of a lane group get their tag.
#[derive(Debug)]
pub struct Colouring {
    /// Header that carries the tag.
    pub header: HeaderName,
    /// Member of `baggage` that carries it too.
    pub baggage: Option<String>,
    /// Whether a client's own tag is kept when no lane takes the request.
    pub client_may_tag: bool,
    /// Tags of lanes whose requests fail rather than reach a baseline.
    pub held: Vec<String>,
    pub(super) rules: Rules,
}

impl Colouring {
    /// Creates the colouring of a group with these lanes; lanes of other groups are ignored.
    /// Invalid parts of a lane are reported in its status and take no request.
    pub fn new(group: &LaneGroup, lanes: &[Lane]) -> Self {
        let name = group.metadata.name.as_deref().unwrap_or_default();
        let propagation = &group.spec.propagation;
        let held = |l: &&Lane| l.spec.group == name && l.spec.on_loss == OnLoss::Hold;
        Self {
            header: tag_header(group),
            baggage: propagation.baggage.clone(),
            client_may_tag: group.spec.client_may_tag,
            held: lanes
                .iter()
                .filter(held)
                .map(|l| l.spec.tag.clone())
                .collect(),
            rules: Rules::compile(name, lanes).0,
        }
    }

    /// Lane that takes a request; `None` also if its tag is not a valid header value.
    pub fn decide_lane(&self, request: &impl RequestView) -> Option<Decision<'_>> {
        self.rules
            .decide_lane(request)
            .filter(|d| HeaderValue::from_str(d.tag).is_ok())
    }

    /// Sets, keeps or removes the tag of a request.
    pub fn apply_tag(&self, parts: &mut Parts, trace: &str) {
        let tag = self
            .decide_lane(&InFlightRequest { parts, trace })
            .and_then(|d| HeaderValue::from_str(d.tag).ok());
        match tag {
            Some(tag) => {
                if let Some(member) = &self.baggage {
                    set_baggage_member(&mut parts.headers, member, Some(&tag));
                }
                parts.headers.insert(&self.header, tag);
            }
            None if self.client_may_tag => {}
            None => {
                parts.headers.remove(&self.header);
                if let Some(member) = &self.baggage {
                    set_baggage_member(&mut parts.headers, member, None);
                }
            }
        }
    }
}

/// Header that carries the group's tags.
pub fn tag_header(group: &LaneGroup) -> HeaderName {
    group
        .spec
        .propagation
        .header
        .parse()
        .unwrap_or(HeaderName::from_static("x-mse-tag"))
}

/// Sets or removes one member of W3C `baggage` and keeps the others.
fn set_baggage_member(headers: &mut HeaderMap, member: &str, value: Option<&HeaderValue>) {
    let name = |entry: &str| {
        entry
            .split(['=', ';'])
            .next()
            .unwrap_or_default()
            .trim()
            .to_owned()
    };
    let mut entries: Vec<String> = headers
        .get_all("baggage")
        .iter()
        .filter_map(|v| v.to_str().ok())
        .flat_map(|v| v.split(',').map(|e| e.trim().to_owned()))
        .filter(|e| !e.is_empty() && name(e) != member)
        .collect();
    entries.extend(
        value
            .and_then(|v| v.to_str().ok())
            .map(|v| format!("{member}={v}")),
    );
    headers.remove("baggage");
    if let Ok(value) = HeaderValue::from_str(&entries.join(","))
        && !entries.is_empty()
    {
        headers.insert("baggage", value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn baggage_keeps_its_other_members() {
        let mut headers = HeaderMap::new();
        headers.append("baggage", HeaderValue::from_static("a=1;p=x, lane=old;q"));
        headers.append("baggage", HeaderValue::from_static("b=2"));
        set_baggage_member(
            &mut headers,
            "lane",
            Some(&HeaderValue::from_static("gray")),
        );
        assert_eq!(headers["baggage"], "a=1;p=x,b=2,lane=gray");
        set_baggage_member(&mut headers, "lane", None);
        assert_eq!(headers["baggage"], "a=1;p=x,b=2");
        let mut headers = HeaderMap::new();
        headers.append("baggage", HeaderValue::from_static("lane=old"));
        set_baggage_member(&mut headers, "lane", None);
        assert!(headers.get("baggage").is_none());
    }
}
