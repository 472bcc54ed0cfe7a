//! The routing table of the data plane: addresses to listen on, rules and endpoints. Rebuilt at
//! each change and replaced atomically.

use std::{collections::HashMap, net::SocketAddr, sync::Arc, time::Duration};

use http::{HeaderName, HeaderValue};

use super::{endpoint::Endpoints, rule::BackendError};
use crate::domain::{
    lanes::Colouring,
    routing::{self, MatchList, PathPattern},
};

/// An immutable routing table.
#[derive(Debug, Default)]
pub struct RoutingTable {
    pub(super) ports: Vec<Port>,
    pub(super) listeners: HashMap<SocketAddr, Frontend>,
    /// Idle timeouts of tunnels set by a Gateway or Service; `Some(None)` in place of a value means
    /// no limit.
    pub(super) tunnel_idle: HashMap<SocketAddr, Option<Duration>>,
    /// Headers that carry tags of any lane group.
    pub(super) tags: Vec<HeaderName>,
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
    /// Rules of HTTPRoutes with this parent; if empty, requests go straight to the endpoints.
    pub(super) routes: MatchList<Arc<Rule>>,
}

/// What an address serves.
#[derive(Debug)]
pub(super) enum Frontend {
    /// A Gateway with its routes in order of precedence.
    Entry {
        gateway: String,
        routes: MatchList<Arc<Rule>>,
    },
    /// A Service port.
    Service(usize),
    /// A Service port that does not speak HTTP.
    Raw(usize),
}

/// One match of one rule.
pub(super) type Match = routing::Match<Arc<Rule>>;

/// One rule of an HTTPRoute.
#[derive(Debug, Default)]
pub(super) struct Rule {
    /// The HTTPRoute, as `namespace/name`.
    pub(super) route: String,
    /// Lane group of the route.
    pub(super) group: Option<String>,
    /// Header for the tag of this lane group.
    pub(super) tag: Option<HeaderName>,
    pub(super) colour: Option<Arc<Colouring>>,
    pub(super) change: Change,
    pub(super) backends: Vec<Backend>,
    /// `None`: the gateway's default; `Some(None)`: no limit.
    pub(super) request: Option<Option<Duration>>,
    pub(super) backend_request: Option<Option<Duration>>,
    /// A rule of a lane for an app: while it has no endpoints, the app's baseline serves.
    pub(super) falls_back: bool,
    /// Why the rule cannot be served; its requests get 500.
    pub(super) broken: Option<String>,
}

/// Changes made by filters.
#[derive(Clone, Debug, Default)]
pub(super) struct Change {
    pub(super) request: HeaderChanges,
    pub(super) response: HeaderChanges,
    pub(super) host: Option<HeaderValue>,
    pub(super) path: Option<Rewrite>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct HeaderChanges {
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
    pub(super) port: Result<usize, BackendError>,
    pub(super) change: Change,
}

impl Rewrite {
    /// The new path; `matched` is the pattern that matched the old one.
    pub(super) fn rewrite_path(&self, old: &str, matched: &PathPattern) -> String {
        match (self, matched) {
            (Self::Full(path), _) => path.clone(),
            (Self::Prefix(new), PathPattern::Prefix(prefix)) => {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_is_replaced_by_segments() {
        let rewrite = |prefix: &str, new: &str, path| {
            Rewrite::Prefix(new.into()).rewrite_path(path, &PathPattern::Prefix(prefix.into()))
        };
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
}
