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
        match self.compile_filters(&wanted.filters) {
            Ok((change, colour)) => {
                if let Some((group, colour)) = &colour {
                    (rule.group, rule.tag) = (Some(group.clone()), Some(colour.header.clone()));
                }
                (rule.change, rule.colour) = (change, colour.map(|c| c.1));
            }
            Err(words) => rule.broken = Some(words),
        }
        for backend in &wanted.backend_refs {
            let port = self.resolve_backend(backend).map_err(|(reason, words)| {
                compiled.resolved = (reason, words.clone());
                words
            });
            match self.compile_filters(&backend.filters) {
                Ok((change, None)) => rule.backends.push(Backend {
                    weight: backend.weight.unwrap_or(1),
                    port,
                    change,
                }),
                Ok((_, Some(_))) => {
                    rule.broken = Some("a lane group cannot colour behind a backend".into())
                }
                Err(words) => rule.broken = Some(words),
            }
        }
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
        if let Some(words) = &rule.broken {
            compiled
                .unsupported
                .get_or_insert(format!("rules[{i}]: {words}"));
        }
        rule
    }

    fn resolve_backend(&self, backend: &BackendRef) -> Result<usize, (&'static str, String)> {
        let kind = backend.kind.as_deref().unwrap_or("Service");
        if kind != "Service" || !backend.group.as_deref().unwrap_or_default().is_empty() {
            return Err((
                "InvalidKind",
                format!(
                    "the backend {} is a {kind}, only Services are served",
                    backend.name
                ),
            ));
        }
        if backend
            .namespace
            .as_ref()
            .is_some_and(|n| *n != self.namespace)
        {
            return Err((
                "RefNotPermitted",
                format!("the backend {} is in another namespace", backend.name),
            ));
        }
        let Some(port) = backend.port else {
            return Err((
                "BackendNotFound",
                format!("the backend {} has no port", backend.name),
            ));
        };
        let found = self
            .ports
            .get(&(self.namespace.clone(), backend.name.clone(), port))
            .copied();
        found.ok_or_else(|| {
            (
                "BackendNotFound",
                format!(
                    "there is no Service {}/{} with port {port}",
                    self.namespace, backend.name
                ),
            )
        })
    }

    fn compile_filters(&self, filters: &[RouteFilter]) -> Result<FilterChanges, String> {
        let (mut change, mut colour) = (Change::default(), None);
        for filter in filters {
            let missing = || format!("the filter {} says nothing", filter.kind);
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
                    change.host = host.map_err(|_| "URLRewrite: no host name".to_owned())?;
                    let path = rewrite.path.as_ref().map(|p| match p.kind.as_str() {
                        "ReplacePrefixMatch" => Ok(Rewrite::Prefix(
                            p.replace_prefix_match.clone().unwrap_or_default(),
                        )),
                        "ReplaceFullPath" => Ok(Rewrite::Full(
                            p.replace_full_path.clone().unwrap_or_default(),
                        )),
                        other => Err(format!("URLRewrite: {other} is not served")),
                    });
                    change.path = path.transpose()?;
                }
                "ExtensionRef" => {
                    let to = filter.extension_ref.as_ref().ok_or_else(missing)?;
                    if to.group != GROUP || to.kind != "LaneGroup" {
                        return Err(format!(
                            "ExtensionRef: {}/{} is not served, only a LaneGroup",
                            to.group, to.kind
                        ));
                    }
                    let found = self.colours.get(&(self.namespace.clone(), to.name.clone()));
                    let found = found.ok_or_else(|| {
                        format!("there is no LaneGroup {}/{}", self.namespace, to.name)
                    })?;
                    colour = Some((to.name.clone(), found.clone()));
                }
                other => return Err(format!("the filter {other} is not served")),
            }
        }
        Ok((change, colour))
    }
}

fn compile_header_changes(modifier: &HeaderModifier) -> Result<HeaderChanges, String> {
    let name = |n: &str| {
        n.parse::<HeaderName>()
            .map_err(|_| format!("{n:?} cannot be the name of a header"))
    };
    let pairs = |list: &[crate::api::gateway_api::HeaderValuePair]| {
        let pair = |h: &crate::api::gateway_api::HeaderValuePair| {
            let value = HeaderValue::from_str(&h.value)
                .map_err(|_| format!("{:?} cannot be a header's value", h.value));
            Ok((name(&h.name)?, value?))
        };
        list.iter().map(pair).collect::<Result<Vec<_>, String>>()
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
