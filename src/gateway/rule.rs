//! Compiles the rules of one HTTPRoute. A feature that the gateway lacks is refused: the status of
//! the route says so, and requests that need it get 500 instead of a partial result.

use std::{collections::HashMap, sync::Arc};

use http::{HeaderName, HeaderValue};
use kube::ResourceExt;

use super::{
    limits::parse_duration,
    table::{Backend, Change, HeaderChanges, Rewrite, Rule},
};
use crate::{
    api::{
        GROUP,
        gateway_api::{BackendRef, HeaderModifier, HttpRoute, RouteFilter, RouteRule, ValueMatch},
        label,
    },
    domain::{
        lanes::Colouring,
        routing::{HostPattern, Match, rule_matches},
    },
};

/// Why a filter cannot be applied.
#[derive(Debug, thiserror::Error)]
enum FilterError {
    #[error("the filter {0} says nothing")]
    Empty(String),
    #[error("the filter {0} is not served")]
    Unserved(String),
    #[error("URLRewrite: no host name")]
    HostName,
    #[error("URLRewrite: {0} is not served")]
    UnservedRewrite(String),
    #[error("ExtensionRef: {group}/{kind} is not served, only a LaneGroup")]
    UnservedExtension { group: String, kind: String },
    #[error("there is no LaneGroup {namespace}/{name}")]
    NoLaneGroup { namespace: String, name: String },
    #[error("{0:?} cannot be the name of a header")]
    HeaderName(String),
    #[error("{0:?} cannot be a header's value")]
    HeaderValue(String),
}

/// Why a backend of a route cannot be reached.
#[derive(Debug, thiserror::Error)]
pub(super) enum BackendError {
    #[error("the backend {0} is a {1}, only Services are served")]
    InvalidKind(String, String),
    #[error("the backend {0} is in another namespace")]
    OtherNamespace(String),
    #[error("the backend {0} has no port")]
    NoPort(String),
    #[error("there is no Service {namespace}/{name} with port {port}")]
    NotFound {
        namespace: String,
        name: String,
        port: u16,
    },
}

impl BackendError {
    /// Reason of the `ResolvedRefs` condition.
    const fn reason(&self) -> &'static str {
        match self {
            Self::InvalidKind(..) => "InvalidKind",
            Self::OtherNamespace(_) => "RefNotPermitted",
            Self::NoPort(_) | Self::NotFound { .. } => "BackendNotFound",
        }
    }
}

pub(super) struct CompiledRoute {
    pub(super) rules: Vec<Arc<Rule>>,
    /// A feature that the gateway does not support.
    pub(super) unsupported: Option<String>,
    /// Reason and message of the `ResolvedRefs` condition.
    pub(super) resolved: (&'static str, String),
}

/// The changes of filters, and the lane group that sets the tag.
type FilterChanges = (Change, Option<(String, Arc<Colouring>)>);
type PortIndex = HashMap<(String, String, u16), usize>;
type ColouringIndex = HashMap<(String, String), Arc<Colouring>>;

pub(super) fn compile_route(
    route: &HttpRoute,
    ports: &PortIndex,
    colours: &ColouringIndex,
) -> CompiledRoute {
    let mut compiled = CompiledRoute {
        rules: vec![],
        unsupported: None,
        resolved: ("ResolvedRefs", "every backend is known".into()),
    };
    let context = RouteContext {
        route,
        namespace: route.namespace().unwrap_or_default(),
        ports,
        colours,
    };
    for (i, wanted) in route.spec.rules.iter().enumerate() {
        let rule = Arc::new(context.compile_rule(i, wanted, &mut compiled));
        for m in &rule_matches(&wanted.matches) {
            if let Err(words) = Match::compile(m, HostPattern::Any, ()) {
                compiled
                    .unsupported
                    .get_or_insert(format!("rules[{i}]: {words}"));
            }
        }
        compiled.rules.push(rule);
    }
    compiled
}

struct RouteContext<'a> {
    route: &'a HttpRoute,
    namespace: String,
    ports: &'a PortIndex,
    colours: &'a ColouringIndex,
}

impl RouteContext<'_> {
    fn compile_rule(&self, i: usize, wanted: &RouteRule, compiled: &mut CompiledRoute) -> Rule {
        let mut rule = self.start_rule(wanted);
        match self.compile_filters(&wanted.filters) {
            Ok((change, colour)) => {
                if let Some((group, colour)) = &colour {
                    (rule.group, rule.tag) = (Some(group.clone()), Some(colour.header.clone()));
                }
                (rule.change, rule.colour) = (change, colour.map(|c| c.1));
            }
            Err(why) => rule.broken = Some(why.to_string()),
        }
        for backend in &wanted.backend_refs {
            let port = self.resolve_backend(backend).inspect_err(|why| {
                compiled.resolved = (why.reason(), why.to_string());
            });
            match self.compile_filters(&backend.filters) {
                Ok((change, None)) => rule.backends.push(Backend {
                    weight: backend.weight.unwrap_or(1),
                    port,
                    change,
                }),
                Ok((_, Some(_))) => {
                    rule.broken = Some("a lane group cannot colour behind a backend".into());
                }
                Err(why) => rule.broken = Some(why.to_string()),
            }
        }
        set_timeouts(&mut rule, wanted);
        if let Some(words) = &rule.broken {
            compiled
                .unsupported
                .get_or_insert(format!("rules[{i}]: {words}"));
        }
        rule
    }

    /// A rule that knows its route and its lane group.
    fn start_rule(&self, wanted: &RouteRule) -> Rule {
        let labels = self.route.metadata.labels.as_ref();
        let mut rule = Rule {
            route: format!("{}/{}", self.namespace, self.route.name_any()),
            group: labels.and_then(|l| l.get(label::LANE_GROUP)).cloned(),
            ..Rule::default()
        };
        let group = rule
            .group
            .as_ref()
            .and_then(|g| self.colours.get(&(self.namespace.clone(), g.clone())));
        rule.tag = group.map(|group| group.header.clone());
        rule.falls_back = group.is_some_and(|group| {
            let held = |h: &ValueMatch| {
                group.header.as_str().eq_ignore_ascii_case(&h.name) && group.held.contains(&h.value)
            };
            !wanted.matches.iter().flat_map(|m| &m.headers).any(held)
        });
        rule
    }

    fn resolve_backend(&self, backend: &BackendRef) -> Result<usize, BackendError> {
        let name = || backend.name.clone();
        let kind = backend.kind.as_deref().unwrap_or("Service");
        if kind != "Service" || !backend.group.as_deref().unwrap_or_default().is_empty() {
            return Err(BackendError::InvalidKind(name(), kind.to_owned()));
        }
        let namespace = backend.namespace.as_ref();
        if namespace.is_some_and(|n| *n != self.namespace) {
            return Err(BackendError::OtherNamespace(name()));
        }
        let port = backend.port.ok_or_else(|| BackendError::NoPort(name()))?;
        let found = self.ports.get(&(self.namespace.clone(), name(), port));
        found.copied().ok_or_else(|| BackendError::NotFound {
            namespace: self.namespace.clone(),
            name: name(),
            port,
        })
    }

    fn compile_filters(&self, filters: &[RouteFilter]) -> Result<FilterChanges, FilterError> {
        let (mut change, mut colour) = (Change::default(), None);
        for filter in filters {
            let missing = || FilterError::Empty(filter.kind.clone());
            match filter.kind.as_str() {
                "RequestHeaderModifier" => {
                    change.request = compile_header_changes(
                        filter
                            .request_header_modifier
                            .as_ref()
                            .ok_or_else(missing)?,
                    )?;
                }
                "ResponseHeaderModifier" => {
                    change.response = compile_header_changes(
                        filter
                            .response_header_modifier
                            .as_ref()
                            .ok_or_else(missing)?,
                    )?;
                }
                "URLRewrite" => {
                    let rewrite = filter.url_rewrite.as_ref().ok_or_else(missing)?;
                    let host = rewrite
                        .hostname
                        .as_deref()
                        .map(HeaderValue::from_str)
                        .transpose();
                    change.host = host.map_err(|_| FilterError::HostName)?;
                    let path = rewrite.path.as_ref().map(|p| match p.kind.as_str() {
                        "ReplacePrefixMatch" => Ok(Rewrite::Prefix(
                            p.replace_prefix_match.clone().unwrap_or_default(),
                        )),
                        "ReplaceFullPath" => Ok(Rewrite::Full(
                            p.replace_full_path.clone().unwrap_or_default(),
                        )),
                        other => Err(FilterError::UnservedRewrite(other.to_owned())),
                    });
                    change.path = path.transpose()?;
                }
                "ExtensionRef" => {
                    let to = filter.extension_ref.as_ref().ok_or_else(missing)?;
                    if to.group != GROUP || to.kind != "LaneGroup" {
                        return Err(FilterError::UnservedExtension {
                            group: to.group.clone(),
                            kind: to.kind.clone(),
                        });
                    }
                    let found = self.colours.get(&(self.namespace.clone(), to.name.clone()));
                    let found = found.ok_or_else(|| FilterError::NoLaneGroup {
                        namespace: self.namespace.clone(),
                        name: to.name.clone(),
                    })?;
                    colour = Some((to.name.clone(), found.clone()));
                }
                other => return Err(FilterError::Unserved(other.to_owned())),
            }
        }
        Ok((change, colour))
    }
}

/// Takes the time limits of a rule; what cannot be read breaks it.
fn set_timeouts(rule: &mut Rule, wanted: &RouteRule) {
    let mut limit = |text: Option<&String>| {
        let text = text?;
        let parsed = parse_duration(text);
        if parsed.is_none() {
            rule.broken = Some(format!(
                "timeouts: {text:?} is no duration such as 10s or 500ms"
            ));
        }
        parsed
    };
    let timeouts = wanted.timeouts.as_ref();
    let (all, each) = (
        limit(timeouts.and_then(|t| t.request.as_ref())),
        limit(timeouts.and_then(|t| t.backend_request.as_ref())),
    );
    (rule.request, rule.backend_request) = (all, each);
}

fn compile_header_changes(modifier: &HeaderModifier) -> Result<HeaderChanges, FilterError> {
    let name = |n: &str| {
        n.parse::<HeaderName>()
            .map_err(|_| FilterError::HeaderName(n.to_owned()))
    };
    let pairs = |list: &[crate::api::gateway_api::HeaderValuePair]| {
        let pair = |h: &crate::api::gateway_api::HeaderValuePair| {
            let value = HeaderValue::from_str(&h.value)
                .map_err(|_| FilterError::HeaderValue(h.value.clone()));
            Ok((name(&h.name)?, value?))
        };
        list.iter()
            .map(pair)
            .collect::<Result<Vec<_>, FilterError>>()
    };
    let remove = modifier
        .remove
        .iter()
        .map(|n| name(n))
        .collect::<Result<_, _>>()?;
    Ok(HeaderChanges {
        set: pairs(&modifier.set)?,
        add: pairs(&modifier.add)?,
        remove,
    })
}
