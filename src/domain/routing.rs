//! Decides which match of which HTTPRoute takes a request, in the order that Gateway API defines.
//!
//! The lane gateway routes with it, and `lane explain` uses it too. What a match leads to is up to
//! the caller (`R`).

use std::cmp::Reverse;

use http::{HeaderName, Method};
use kube::ResourceExt;
use regex::{Regex, RegexBuilder};

use super::request::{Look, under};
use crate::api::gateway_api::{HttpRoute, RouteMatch, ValueMatch};

/// One match of one rule.
#[derive(Debug)]
pub struct Match<R> {
    /// Hosts that it applies to.
    pub host: Host,
    /// Paths that it applies to.
    pub path: Path,
    method: Option<Method>,
    headers: Vec<(HeaderName, Value)>,
    query: Vec<(String, Value)>,
    /// What it leads to.
    pub rule: R,
}

/// Pattern of hosts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Host {
    /// All hosts.
    Any,
    /// This host, in lower case.
    Exact(String),
    /// Hosts under a suffix: `.example.com` for `*.example.com`.
    Under(String),
}

/// Pattern of paths.
#[derive(Clone, Debug)]
pub enum Path {
    /// This path.
    Exact(String),
    /// Paths under a prefix of whole segments.
    Prefix(String),
    /// Paths that the regex matches as a whole.
    Regex(Regex),
}

#[derive(Clone, Debug)]
enum Value {
    Exact(String),
    Regex(Regex),
}

/// Precedence in Gateway API: host, path, method, headers, parameters, then the older route, its
/// name, and the order of rules and matches.
pub type Order = (
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
pub fn matches<R>(
    route: &HttpRoute,
    host: &Host,
    lead: &dyn Fn(usize) -> R,
) -> Vec<(Order, Match<R>)> {
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
        for (m, wanted) in of_rule(&rule.matches).iter().enumerate() {
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
pub fn of_rule(matches: &[RouteMatch]) -> Vec<RouteMatch> {
    if matches.is_empty() {
        vec![RouteMatch::default()]
    } else {
        matches.to_vec()
    }
}

/// Sorts matches by precedence.
pub fn in_order<R>(mut all: Vec<(Order, Match<R>)>) -> Vec<Match<R>> {
    all.sort_by(|a, b| a.0.cmp(&b.0));
    all.into_iter().map(|(_, found)| found).collect()
}

/// How specific a match is, by host, path, then method, headers and parameters.
type Rank = ((u8, usize), (u8, usize), (bool, usize, usize));

impl<R> Match<R> {
    /// Compiles a match, or describes what is not supported.
    pub fn compile(wanted: &RouteMatch, host: Host, rule: R) -> Result<Self, String> {
        let path = match wanted
            .path
            .as_ref()
            .map(|p| (p.kind.as_str(), p.value.as_str()))
        {
            None => Path::Prefix("/".into()),
            Some(("PathPrefix", p)) => Path::Prefix(p.into()),
            Some(("Exact", p)) => Path::Exact(p.into()),
            Some(("RegularExpression", p)) => Path::Regex(regex(p)?),
            Some((other, _)) => return Err(format!("the path match {other} is not served")),
        };
        let headers = wanted.headers.iter().map(|h| {
            let name = h
                .name
                .parse()
                .map_err(|_| format!("{:?} cannot be the name of a header", h.name))?;
            Ok((name, value(h)?))
        });
        let query = wanted
            .query_params
            .iter()
            .map(|q| Ok((q.name.clone(), value(q)?)));
        let method = wanted
            .method
            .as_deref()
            .map(|m| m.parse().map_err(|_| format!("{m:?} is no method")));
        Ok(Self {
            host,
            path,
            method: method.transpose()?,
            headers: headers.collect::<Result<_, String>>()?,
            query: query.collect::<Result<_, String>>()?,
            rule,
        })
    }

    /// Whether it takes a request for this host (without a port).
    pub fn takes(&self, host: &str, request: &impl Look) -> bool {
        self.host.takes(host)
            && self.path.takes(request.path())
            && self
                .method
                .as_ref()
                .is_none_or(|m| m.as_str() == request.method())
            && self
                .headers
                .iter()
                .all(|(name, value)| request.named(name).is_some_and(|v| value.takes(v)))
            && self
                .query
                .iter()
                .all(|(name, value)| request.parameter(name).is_some_and(|v| value.takes(&v)))
    }

    fn rank(&self) -> Rank {
        let by_host = match &self.host {
            Host::Exact(h) => (2, h.len()),
            Host::Under(h) => (1, h.len()),
            Host::Any => (0, 0),
        };
        let by_path = match &self.path {
            Path::Exact(p) => (2, p.len()),
            Path::Regex(p) => (1, p.as_str().len()),
            Path::Prefix(p) => (0, p.trim_end_matches('/').len()),
        };
        (
            by_host,
            by_path,
            (self.method.is_some(), self.headers.len(), self.query.len()),
        )
    }
}

fn value(wanted: &ValueMatch) -> Result<Value, String> {
    match wanted.kind.as_str() {
        "Exact" => Ok(Value::Exact(wanted.value.clone())),
        "RegularExpression" => Ok(Value::Regex(regex(&wanted.value)?)),
        other => Err(format!("the match {other} is not served")),
    }
}

fn regex(pattern: &str) -> Result<Regex, String> {
    let build = |p: &str| RegexBuilder::new(p).size_limit(1 << 18).build();
    build(pattern)
        .and_then(|_| build(&format!("^(?:{pattern})$")))
        .map_err(|_| format!("the regex {pattern:?} is wrong or too large"))
}

/// Removes the port from a host.
pub fn without_port(host: &str) -> &str {
    let port = host
        .rfind(':')
        .filter(|i| host[i + 1..].bytes().all(|b| b.is_ascii_digit()));
    port.map_or(host, |i| &host[..i])
}

impl Host {
    /// Parses a host as listeners and routes write it; `None` is any host.
    pub fn of(text: Option<&str>) -> Self {
        match text.map(str::to_ascii_lowercase) {
            None => Self::Any,
            Some(t) if t.is_empty() => Self::Any,
            Some(t) => t.strip_prefix('*').map_or_else(
                || Self::Exact(t.clone()),
                |rest| Self::Under(rest.to_owned()),
            ),
        }
    }

    fn takes(&self, host: &str) -> bool {
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
    pub fn and(&self, other: &Self) -> Option<Self> {
        match (self, other) {
            (Self::Any, h) | (h, Self::Any) => Some(h.clone()),
            (Self::Exact(a), h) | (h, Self::Exact(a)) => h.takes(a).then(|| Self::Exact(a.clone())),
            (Self::Under(a), Self::Under(b)) => {
                let (long, short) = if a.len() >= b.len() { (a, b) } else { (b, a) };
                long.ends_with(short.as_str())
                    .then(|| Self::Under(long.clone()))
            }
        }
    }
}

impl Path {
    fn takes(&self, path: &str) -> bool {
        match self {
            Self::Exact(p) => p == path,
            Self::Prefix(p) => under(path, p),
            Self::Regex(r) => r.is_match(path),
        }
    }
}

impl Value {
    fn takes(&self, value: &str) -> bool {
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
        let host = |t| Host::of(Some(t));
        assert!(
            host("*.a.com").takes("x.A.com")
                && !host("*.a.com").takes("a.com")
                && !host("a.com").takes("b.com")
        );
        assert_eq!(host("*.a.com").and(&host("x.a.com")), Some(host("x.a.com")));
        assert_eq!(
            host("*.a.com").and(&host("*.x.a.com")),
            Some(host("*.x.a.com"))
        );
        assert_eq!(host("a.com").and(&host("b.com")), None);
        assert_eq!(Host::Any.and(&host("b.com")), Some(host("b.com")));
        assert_eq!(
            ["a", "a:80", "[::1]:80", "[::1]", "a:"].map(without_port),
            ["a", "a", "[::1]", "[::1]", "a"]
        );
    }
}
