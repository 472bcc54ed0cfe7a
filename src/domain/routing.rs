//! Decides which match of which HTTPRoute takes a request, in the order that Gateway API defines.
//!
//! The lane gateway routes with it, and `lane explain` uses it too. What a match leads to is up to
//! the caller (`R`).

mod match_list;

use std::cmp::Reverse;

use http::{HeaderName, Method};
use kube::ResourceExt;
use regex::{Regex, RegexBuilder};

pub use match_list::MatchList;

use super::request::{RequestView, is_under_prefix};
use crate::api::gateway_api::{HttpRoute, RouteMatch, ValueMatch};

/// A match asks for something that is not supported.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MatchError {
    /// Type of a path match.
    #[error("the path match {0} is not served")]
    PathType(String),
    /// Type of a match of a header or parameter.
    #[error("the match {0} is not served")]
    ValueType(String),
    /// Not a valid name of a header.
    #[error("{0:?} cannot be the name of a header")]
    HeaderName(String),
    /// Not a method.
    #[error("{0:?} is not a method")]
    Method(String),
    /// A regex that does not compile.
    #[error("the regex {0:?} is wrong or too large")]
    Regex(String),
}

/// One match of one rule.
#[derive(Debug)]
pub struct Match<R> {
    /// Hosts that it applies to.
    pub host: HostPattern,
    /// Paths that it applies to.
    pub path: PathPattern,
    method: Option<Method>,
    headers: Vec<(HeaderName, ValuePattern)>,
    query: Vec<(String, ValuePattern)>,
    /// What it leads to.
    pub rule: R,
}

/// Pattern of hosts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostPattern {
    /// All hosts.
    Any,
    /// This host, in lower case.
    Exact(String),
    /// Hosts under a suffix: `.example.com` for `*.example.com`.
    Under(String),
}

/// Pattern of paths.
#[derive(Clone, Debug)]
pub enum PathPattern {
    /// This path.
    Exact(String),
    /// Paths under a prefix of whole segments.
    Prefix(String),
    /// Paths that the regex matches as a whole.
    Regex(Regex),
}

#[derive(Clone, Debug)]
enum ValuePattern {
    Exact(String),
    Regex(Regex),
}

/// Precedence in Gateway API: host, path, method, headers, parameters, then the older route, its
/// name, and the order of rules and matches.
pub type MatchOrder = (
    Reverse<(u8, usize)>,
    Reverse<(u8, usize)>,
    Reverse<(bool, usize, usize)>,
    String,
    String,
    usize,
    usize,
);

/// Compiles the matches of a route at one of its hosts, each with its precedence; unsupported ones
/// are left out. `lead` returns what a rule (by its index) leads to.
pub fn compile_matches<R>(
    route: &HttpRoute,
    host: &HostPattern,
    lead: &dyn Fn(usize) -> R,
) -> Vec<(MatchOrder, Match<R>)> {
    let created = route
        .creation_timestamp()
        .map(|t| t.0.to_string())
        .unwrap_or_default();
    let name = format!(
        "{}/{}",
        route.namespace().unwrap_or_default(),
        route.name_any()
    );
    let mut all = vec![];
    for (r, rule) in route.spec.rules.iter().enumerate() {
        for (m, wanted) in rule_matches(&rule.matches).iter().enumerate() {
            let Ok(made) = Match::compile(wanted, host.clone(), lead(r)) else {
                continue;
            };
            let (by_host, by_path, by_rest) = made.rank();
            let order = (
                Reverse(by_host),
                Reverse(by_path),
                Reverse(by_rest),
                created.clone(),
                name.clone(),
                r,
                m,
            );
            all.push((order, made));
        }
    }
    all
}

/// Matches of a rule; a rule without any takes everything.
pub fn rule_matches(matches: &[RouteMatch]) -> Vec<RouteMatch> {
    if matches.is_empty() {
        vec![RouteMatch::default()]
    } else {
        matches.to_vec()
    }
}

/// Sorts matches by precedence.
pub fn sort_matches<R>(mut all: Vec<(MatchOrder, Match<R>)>) -> Vec<Match<R>> {
    all.sort_by(|a, b| a.0.cmp(&b.0));
    all.into_iter().map(|(_, found)| found).collect()
}

/// How specific a match is, by host, path, then method, headers and parameters.
type Rank = ((u8, usize), (u8, usize), (bool, usize, usize));

impl<R> Match<R> {
    /// Compiles a match.
    pub fn compile(wanted: &RouteMatch, host: HostPattern, rule: R) -> Result<Self, MatchError> {
        let path = match wanted
            .path
            .as_ref()
            .map(|p| (p.kind.as_str(), p.value.as_str()))
        {
            None => PathPattern::Prefix("/".into()),
            Some(("PathPrefix", p)) => PathPattern::Prefix(p.into()),
            Some(("Exact", p)) => PathPattern::Exact(p.into()),
            Some(("RegularExpression", p)) => PathPattern::Regex(compile_regex(p)?),
            Some((other, _)) => return Err(MatchError::PathType(other.to_owned())),
        };
        let headers = wanted.headers.iter().map(|h| {
            let name = h
                .name
                .parse()
                .map_err(|_| MatchError::HeaderName(h.name.clone()))?;
            Ok((name, compile_value(h)?))
        });
        let query = wanted
            .query_params
            .iter()
            .map(|q| Ok((q.name.clone(), compile_value(q)?)));
        let method = wanted
            .method
            .as_deref()
            .map(|m| m.parse().map_err(|_| MatchError::Method(m.to_owned())));
        Ok(Self {
            host,
            path,
            method: method.transpose()?,
            headers: headers.collect::<Result<_, MatchError>>()?,
            query: query.collect::<Result<_, MatchError>>()?,
            rule,
        })
    }

    /// Whether it takes a request for this host (without a port).
    pub fn takes_request(&self, host: &str, request: &impl RequestView) -> bool {
        self.host.takes_host(host)
            && self.path.takes_path(request.path())
            && self
                .method
                .as_ref()
                .is_none_or(|m| m.as_str() == request.method())
            && self.headers.iter().all(|(name, value)| {
                request
                    .header_by_name(name)
                    .is_some_and(|v| value.takes_value(v))
            })
            && self.query.iter().all(|(name, value)| {
                request
                    .parameter(name)
                    .is_some_and(|v| value.takes_value(&v))
            })
    }

    fn rank(&self) -> Rank {
        let by_host = match &self.host {
            HostPattern::Exact(h) => (2, h.len()),
            HostPattern::Under(h) => (1, h.len()),
            HostPattern::Any => (0, 0),
        };
        let by_path = match &self.path {
            PathPattern::Exact(p) => (2, p.len()),
            PathPattern::Regex(p) => (1, p.as_str().len()),
            PathPattern::Prefix(p) => (0, p.trim_end_matches('/').len()),
        };
        (
            by_host,
            by_path,
            (self.method.is_some(), self.headers.len(), self.query.len()),
        )
    }
}

fn compile_value(wanted: &ValueMatch) -> Result<ValuePattern, MatchError> {
    match wanted.kind.as_str() {
        "Exact" => Ok(ValuePattern::Exact(wanted.value.clone())),
        "RegularExpression" => Ok(ValuePattern::Regex(compile_regex(&wanted.value)?)),
        other => Err(MatchError::ValueType(other.to_owned())),
    }
}

fn compile_regex(pattern: &str) -> Result<Regex, MatchError> {
    let build = |p: &str| RegexBuilder::new(p).size_limit(1 << 18).build();
    build(pattern)
        .and_then(|_| build(&format!("^(?:{pattern})$")))
        .map_err(|_| MatchError::Regex(pattern.to_owned()))
}

/// Removes the port from a host.
pub fn strip_port(host: &str) -> &str {
    let port = host
        .rfind(':')
        .filter(|i| host[i + 1..].bytes().all(|b| b.is_ascii_digit()));
    port.map_or(host, |i| &host[..i])
}

impl HostPattern {
    /// Parses a host as listeners and routes write it; `None` is any host.
    pub fn from_hostname(text: Option<&str>) -> Self {
        match text.map(str::to_ascii_lowercase) {
            None => Self::Any,
            Some(t) if t.is_empty() => Self::Any,
            Some(t) => t.strip_prefix('*').map_or_else(
                || Self::Exact(t.clone()),
                |rest| Self::Under(rest.to_owned()),
            ),
        }
    }

    fn takes_host(&self, host: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Exact(h) => h.eq_ignore_ascii_case(host),
            Self::Under(h) => {
                host.len() > h.len()
                    && host
                        .get(host.len() - h.len()..)
                        .is_some_and(|end| end.eq_ignore_ascii_case(h))
            }
        }
    }

    /// Hosts that both cover; `None` if there are none.
    pub fn intersect_with(&self, other: &Self) -> Option<Self> {
        match (self, other) {
            (Self::Any, h) | (h, Self::Any) => Some(h.clone()),
            (Self::Exact(a), h) | (h, Self::Exact(a)) => {
                h.takes_host(a).then(|| Self::Exact(a.clone()))
            }
            (Self::Under(a), Self::Under(b)) => {
                let (long, short) = if a.len() >= b.len() { (a, b) } else { (b, a) };
                long.ends_with(short.as_str())
                    .then(|| Self::Under(long.clone()))
            }
        }
    }
}

impl PathPattern {
    fn takes_path(&self, path: &str) -> bool {
        match self {
            Self::Exact(p) => p == path,
            Self::Prefix(p) => is_under_prefix(path, p),
            Self::Regex(r) => r.is_match(path),
        }
    }
}

impl ValuePattern {
    fn takes_value(&self, value: &str) -> bool {
        match self {
            Self::Exact(v) => v == value,
            Self::Regex(r) => r.is_match(value),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_meet_or_not() {
        let host = |t| HostPattern::from_hostname(Some(t));
        assert!(
            host("*.a.com").takes_host("x.A.com")
                && !host("*.a.com").takes_host("a.com")
                && !host("a.com").takes_host("b.com")
        );
        assert_eq!(
            host("*.a.com").intersect_with(&host("x.a.com")),
            Some(host("x.a.com"))
        );
        assert_eq!(
            host("*.a.com").intersect_with(&host("*.x.a.com")),
            Some(host("*.x.a.com"))
        );
        assert_eq!(host("a.com").intersect_with(&host("b.com")), None);
        assert_eq!(
            HostPattern::Any.intersect_with(&host("b.com")),
            Some(host("b.com"))
        );
        assert_eq!(
            ["a", "a:80", "[::1]:80", "[::1]", "a:"].map(strip_port),
            ["a", "a", "[::1]", "[::1]", "a"]
        );
    }
}
