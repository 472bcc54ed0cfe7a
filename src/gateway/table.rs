//! What the data plane knows: where it listens, which rule takes a request, and who stands behind it.
//! Made anew from the objects at each change and swapped in whole.

use std::{collections::HashMap, net::SocketAddr, sync::Arc, time::Duration};

use http::{HeaderName, HeaderValue};

use super::endpoint::Endpoints;
use crate::domain::{
    lanes::Colouring,
    routing::{self, Path},
};

/// The whole of it.
#[derive(Debug, Default)]
pub struct Table {
    pub(super) ports: Vec<Port>,
    pub(super) listeners: HashMap<SocketAddr, Frontend>,
    /// How long tunnels of a listener may be silent, where its Gateway or Service says so; Some(None): for ever.
    pub(super) tunnel_idle: HashMap<SocketAddr, Option<Duration>>,
    /// Headers that carry the tags of some lane group.
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
pub(super) type Match = routing::Match<Arc<Rule>>;

/// One rule of an HTTPRoute.
#[derive(Debug, Default)]
pub(super) struct Rule {
    /// `namespace/name`.
    pub(super) route: String,
    /// The lane group that the route stands for.
    pub(super) group: Option<String>,
    /// The header with that group's tag.
    pub(super) tag: Option<HeaderName>,
    pub(super) colour: Option<Arc<Colouring>>,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_is_replaced_by_segments() {
        let rewrite = |prefix: &str, new: &str, path| {
            Rewrite::Prefix(new.into()).path(path, &Path::Prefix(prefix.into()))
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
