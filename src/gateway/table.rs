//! What the data plane knows: where it listens, which rule takes a request, and who stands behind it.
//! Made anew from the objects at each change and swapped in whole.

use std::{collections::HashMap, net::SocketAddr, sync::Arc, time::Duration};

use http::{HeaderName, HeaderValue, Method, request::Parts};
use regex::Regex;

use super::endpoint::Endpoints;
use crate::domain::{
    lanes::Rules,
    request::{Look, under},
};

/// The whole of it.
#[derive(Debug, Default)]
pub struct Table {
    pub(super) ports: Vec<Port>,
    pub(super) listeners: HashMap<SocketAddr, Frontend>,
}

/// One port of a Service.
#[derive(Debug)]
pub(super) struct Port {
    pub(super) namespace: String,
    pub(super) service: String,
    pub(super) port: u16,
    /// Does not speak HTTP.
    pub(super) raw: bool,
    pub(super) endpoints: Endpoints,
    /// HTTPRoutes whose parent it is; empty: straight to the endpoints.
    pub(super) routes: Vec<Match>,
}

/// What a listening address stands for.
#[derive(Debug)]
pub(super) enum Frontend {
    /// A Gateway; its routes, first asked first.
    Entry { gateway: String, routes: Vec<Match> },
    /// A Service's port.
    Service(usize),
    /// A Service's port that does not speak HTTP.
    Raw(usize),
}

/// One match of one rule.
#[derive(Debug)]
pub(super) struct Match {
    pub(super) host: Host,
    pub(super) path: Path,
    pub(super) method: Option<Method>,
    pub(super) headers: Vec<(HeaderName, Value)>,
    pub(super) query: Vec<(String, Value)>,
    pub(super) rule: Arc<Rule>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Host {
    Any,
    Exact(String),
    /// `.example.com` for `*.example.com`.
    Under(String),
}

#[derive(Clone, Debug)]
pub(super) enum Path {
    Exact(String),
    Prefix(String),
    Regex(Regex),
}

#[derive(Clone, Debug)]
pub(super) enum Value {
    Exact(String),
    Regex(Regex),
}

/// One rule of an HTTPRoute.
#[derive(Debug, Default)]
pub(super) struct Rule {
    /// `namespace/name`.
    pub(super) route: String,
    /// The lane group that the route stands for.
    pub(super) group: Option<String>,
    /// The header with that group's tag.
    pub(super) tag: Option<HeaderName>,
    pub(super) colour: Option<Arc<Colour>>,
    pub(super) change: Change,
    pub(super) backends: Vec<Backend>,
    /// None: the gateway's own; Some(None): no limit.
    pub(super) request: Option<Option<Duration>>,
    pub(super) backend_request: Option<Option<Duration>>,
    /// A lane's rule of an app: while nobody stands behind it, the app's baseline serves.
    pub(super) falls_back: bool,
    /// Why the rule cannot be served; its requests get 500.
    pub(super) broken: Option<String>,
}

/// How requests of a lane group get their tag.
#[derive(Debug)]
pub(super) struct Colour {
    pub(super) header: HeaderName,
    pub(super) baggage: Option<String>,
    pub(super) client_may_tag: bool,
    /// Tags of lanes whose requests rather fail than reach a baseline.
    pub(super) held: Vec<String>,
    pub(super) rules: Rules,
}

/// Changes that filters make.
#[derive(Clone, Debug, Default)]
pub(super) struct Change {
    pub(super) request: Headers,
    pub(super) response: Headers,
    pub(super) host: Option<HeaderValue>,
    pub(super) path: Option<Rewrite>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Headers {
    pub(super) set: Vec<(HeaderName, HeaderValue)>,
    pub(super) add: Vec<(HeaderName, HeaderValue)>,
    pub(super) remove: Vec<HeaderName>,
}

#[derive(Clone, Debug)]
pub(super) enum Rewrite {
    Prefix(String),
    Full(String),
}

#[derive(Debug)]
pub(super) struct Backend {
    pub(super) weight: u32,
    /// Index of the port, or why there is none.
    pub(super) port: Result<usize, String>,
    pub(super) change: Change,
}

impl Match {
    pub(super) fn takes(&self, host: &str, request: &Parts) -> bool {
        self.host.takes(host)
            && self.path.takes(request.uri.path())
            && self.method.as_ref().is_none_or(|m| *m == request.method)
            && self.headers.iter().all(|(name, value)| {
                request.headers.get(name).and_then(|v| v.to_str().ok()).is_some_and(|v| value.takes(v))
            })
            && (self.query.is_empty() || {
                let seen = Seen { parts: request, trace: "" };
                self.query.iter().all(|(name, value)| seen.parameter(name).is_some_and(|v| value.takes(&v)))
            })
    }
}

impl Host {
    pub(super) fn of(text: Option<&str>) -> Self {
        match text.map(str::to_ascii_lowercase) {
            None => Self::Any,
            Some(t) if t.is_empty() => Self::Any,
            Some(t) => t.strip_prefix('*').map_or_else(|| Self::Exact(t.clone()), |rest| Self::Under(rest.to_owned())),
        }
    }

    pub(super) fn takes(&self, host: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Exact(h) => h.eq_ignore_ascii_case(host),
            Self::Under(h) => {
                host.len() > h.len() && host.get(host.len() - h.len()..).is_some_and(|end| end.eq_ignore_ascii_case(h))
            }
        }
    }

    /// What both take; none when nothing.
    pub(super) fn and(&self, other: &Self) -> Option<Self> {
        match (self, other) {
            (Self::Any, h) | (h, Self::Any) => Some(h.clone()),
            (Self::Exact(a), h) | (h, Self::Exact(a)) => h.takes(a).then(|| Self::Exact(a.clone())),
            (Self::Under(a), Self::Under(b)) => {
                let (long, short) = if a.len() >= b.len() { (a, b) } else { (b, a) };
                long.ends_with(short.as_str()).then(|| Self::Under(long.clone()))
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

impl Rewrite {
    /// The new path, where `matched` is how the old one was matched.
    pub(super) fn path(&self, old: &str, matched: &Path) -> String {
        match (self, matched) {
            (Self::Full(path), _) => path.clone(),
            (Self::Prefix(new), Path::Prefix(prefix)) => {
                let prefix = prefix.strip_suffix('/').unwrap_or(prefix);
                let rest = old.strip_prefix(prefix).unwrap_or(old);
                let new = new.strip_suffix('/').unwrap_or(new);
                match (new, rest) {
                    ("", "") => "/".into(),
                    (new, rest) => format!("{new}{rest}"),
                }
            }
            (Self::Prefix(_), _) => old.to_owned(),
        }
    }
}

/// A request in flight, as lanes look at it.
pub(super) struct Seen<'a> {
    pub(super) parts: &'a Parts,
    pub(super) trace: &'a str,
}

impl Look for Seen<'_> {
    fn method(&self) -> &str {
        self.parts.method.as_str()
    }

    fn path(&self) -> &str {
        self.parts.uri.path()
    }

    fn query(&self) -> &str {
        self.parts.uri.query().unwrap_or_default()
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.parts.headers.get(name).and_then(|v| std::str::from_utf8(v.as_bytes()).ok())
    }

    fn headers<'a>(&'a self, each: &mut dyn FnMut(&'a str, &'a str)) {
        for (name, value) in &self.parts.headers {
            if let Ok(value) = std::str::from_utf8(value.as_bytes()) {
                each(name.as_str(), value);
            }
        }
    }

    fn trace(&self) -> &str {
        self.trace
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_is_replaced_by_segments() {
        let rewrite =
            |prefix: &str, new: &str, path| Rewrite::Prefix(new.into()).path(path, &Path::Prefix(prefix.into()));
        for (prefix, new, path, want) in [
            ("/A", "/", "/A/a", "/a"),
            ("/A/", "/", "/A/a", "/a"),
            ("/A", "/", "/A", "/"),
            ("/A", "/x", "/A", "/x"),
            ("/A", "/x/", "/A/a/", "/x/a/"),
            ("/", "/x", "/a", "/x/a"),
        ] {
            assert_eq!(rewrite(prefix, new, path), want, "{prefix} {new} {path}");
        }
    }

    #[test]
    fn hosts_meet_or_not() {
        let host = |t| Host::of(Some(t));
        assert!(host("*.a.com").takes("x.A.com") && !host("*.a.com").takes("a.com") && !host("a.com").takes("b.com"));
        assert_eq!(host("*.a.com").and(&host("x.a.com")), Some(host("x.a.com")));
        assert_eq!(host("*.a.com").and(&host("*.x.a.com")), Some(host("*.x.a.com")));
        assert_eq!(host("a.com").and(&host("b.com")), None);
        assert_eq!(Host::Any.and(&host("b.com")), Some(host("b.com")));
    }
}
