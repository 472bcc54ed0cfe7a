//! The matches of one address or Service in order of precedence, found by the first segment of the
//! path: with a thousand rules, few are compared for each request.

use std::collections::HashMap;

use super::{Match, PathPattern};
use crate::domain::request::RequestView;

/// Matches in order of precedence.
#[derive(Debug)]
pub struct MatchList<R> {
    all: Vec<Match<R>>,
    /// Positions, in order, of those that take only paths with this first segment.
    by_segment: HashMap<String, Vec<usize>>,
    /// Positions, in order, of the rest.
    others: Vec<usize>,
}

impl<R> Default for MatchList<R> {
    fn default() -> Self {
        Self::new(vec![])
    }
}

impl<R> MatchList<R> {
    /// `all` in order of precedence.
    pub fn new(all: Vec<Match<R>>) -> Self {
        let mut by_segment: HashMap<String, Vec<usize>> = HashMap::new();
        let mut others = vec![];
        for (at, found) in all.iter().enumerate() {
            match only_segment(&found.path) {
                Some(segment) => by_segment.entry(segment.to_owned()).or_default().push(at),
                None => others.push(at),
            }
        }
        Self {
            all,
            by_segment,
            others,
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// The first match that takes a request for this host (without a port).
    pub fn find(&self, host: &str, request: &impl RequestView) -> Option<&Match<R>> {
        let named = self.by_segment.get(first_segment(request.path()));
        let mut named = named.map_or(&[][..], Vec::as_slice).iter().peekable();
        let mut others = self.others.iter().peekable();
        let in_order = std::iter::from_fn(|| match (named.peek(), others.peek()) {
            (Some(a), Some(b)) if b < a => others.next(),
            (Some(_), _) => named.next(),
            (None, _) => others.next(),
        });
        in_order
            .map(|at| &self.all[*at])
            .find(|m| m.takes_request(host, request))
    }
}

/// The first segment of all paths that a pattern takes; `None` if they have several.
fn only_segment(pattern: &PathPattern) -> Option<&str> {
    match pattern {
        PathPattern::Exact(path) => Some(first_segment(path)),
        PathPattern::Prefix(prefix) => {
            let prefix = prefix.strip_suffix('/').unwrap_or(prefix);
            (!prefix.is_empty()).then(|| first_segment(prefix))
        }
        PathPattern::Regex(_) => None,
    }
}

fn first_segment(path: &str) -> &str {
    let path = path.strip_prefix('/').unwrap_or(path);
    path.split('/').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        api::gateway_api::{PathMatch, RouteMatch},
        domain::{request::RequestParts, routing::HostPattern},
    };

    proptest! {
        #[test]
        fn the_first_match_is_found_as_if_all_were_compared(
            patterns in prop::collection::vec((0..3usize, "(/|a|b){0,4}"), 0..12),
            path in "(/|a|b){0,4}",
        ) {
            let matches: Vec<Match<usize>> = patterns.iter().enumerate().map(|(at, (kind, value))| {
                let kind = ["Exact", "PathPrefix", "RegularExpression"][*kind].to_owned();
                let path = PathMatch { kind, value: value.clone() };
                let wanted = RouteMatch { path: Some(path), ..RouteMatch::default() };
                Match::compile(&wanted, HostPattern::Any, at).unwrap()
            }).collect();
            let request = RequestParts { path, ..RequestParts::default() };
            let want = matches.iter().find(|m| m.takes_request("", &request)).map(|m| m.rule);
            let list = MatchList::new(matches);
            prop_assert_eq!(list.find("", &request).map(|m| m.rule), want);
        }
    }
}
