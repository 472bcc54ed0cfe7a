//! Builds the HTTPRoutes, one for the entry and one for each app, and the Gateway between the
//! services.

use std::collections::BTreeMap;

use crate::{
    api::{
        GROUP, LaneApp, LaneGroup, LaneMode,
        gateway_api::{
            BackendRef, Gateway, GatewaySpec, HeaderModifier, HeaderValuePair, HttpRoute,
            HttpRouteSpec, Listener, LocalRef, ParentRef, PathMatch, PathRewrite, RouteFilter,
            RouteMatch, RouteRule, UrlRewrite, ValueMatch,
        },
        label,
    },
    domain::lanes::{ColouredRule, MAX_MATCHES, MAX_RULES, TagAction},
};

/// Name of the entry route of a group.
pub fn entry_name(group: &str) -> String {
    format!("{group}-entry")
}

/// Name of an app's route in a group.
pub fn app_name(group: &str, app: &str) -> String {
    format!("{group}-{app}")
}

/// Name of the internal Gateway of a group in `gateway` mode.
pub fn internal_gateway_name(group: &LaneGroup) -> String {
    format!("{}-internal", group.spec.entry.gateway)
}

/// Gateway between the services, in `gateway` mode, with the class of the entry's Gateway unless
/// the group says otherwise.
pub fn build_gateway(group: &LaneGroup) -> Option<Gateway> {
    let seen = group.status.as_ref().and_then(|s| s.gateway.as_ref());
    let internal = group.spec.internal.clone().unwrap_or_default();
    let class = internal
        .gateway_class_name
        .clone()
        .or_else(|| seen.map(|s| s.class.clone()))?;
    let listener = Listener {
        name: "http".into(),
        port: internal.port(),
        protocol: "HTTP".into(),
        ..Listener::default()
    };
    let spec = GatewaySpec {
        gateway_class_name: class,
        listeners: vec![listener],
        ..GatewaySpec::default()
    };
    let mut gateway = Gateway::new(&internal_gateway_name(group), spec);
    gateway.metadata.namespace = Some(group_namespace(group).into());
    let name = group.metadata.name.clone().unwrap_or_default();
    gateway.metadata.labels = Some(BTreeMap::from([(label::LANE_GROUP.to_owned(), name)]));
    (group.spec.mode == LaneMode::Gateway).then_some(gateway)
}

/// Routes of the entry for a gateway other than graylane's own. It colours by matches, and is
/// routed directly to the version that serves a tag now, because no specification says whether it
/// would follow the routes of a Service. `serves` says whether an app (by its index) has such a
/// version. If there are several routes, each holds whole entry paths.
pub fn build_coloured_routes(
    group: &LaneGroup,
    rules: &[Vec<ColouredRule>],
    serves: &dyn Fn(usize, &str) -> bool,
) -> Vec<HttpRoute> {
    let name = group.metadata.name.as_deref().unwrap_or_default();
    let mut packed: Vec<Vec<RouteRule>> = vec![];
    for (entry, of_entry) in group.spec.entry.routes.iter().zip(rules) {
        let Some(at) = group.spec.apps.iter().position(|a| a.app == entry.app) else {
            continue;
        };
        if !entry.path.starts_with('/') {
            continue;
        }
        let next: Vec<RouteRule> = of_entry
            .iter()
            .map(|rule| build_coloured_rule(group, at, rule, serves))
            .collect();
        let matches = |rules: &[RouteRule]| rules.iter().map(|r| r.matches.len()).sum::<usize>();
        let room = |last: &&mut Vec<RouteRule>| {
            last.len() + next.len() <= MAX_RULES && matches(last) + matches(&next) <= MAX_MATCHES
        };
        match packed.last_mut().filter(room) {
            Some(last) => last.extend(next),
            None => packed.push(next),
        }
    }
    let route = |(i, rules): (usize, Vec<RouteRule>)| {
        let own = if i == 0 {
            entry_name(name)
        } else {
            format!("{}-{}", entry_name(name), i + 1)
        };
        let spec = HttpRouteSpec {
            parent_refs: vec![ParentRef::gateway(&group.spec.entry.gateway)],
            hostnames: group.spec.entry.host.iter().cloned().collect(),
            rules,
        };
        HttpRoute::for_lane_group(group_namespace(group), &own, name, spec)
    };
    packed.into_iter().enumerate().map(route).collect()
}

fn build_coloured_rule(
    group: &LaneGroup,
    at: usize,
    rule: &ColouredRule,
    serves: &dyn Fn(usize, &str) -> bool,
) -> RouteRule {
    let app = &group.spec.apps[at];
    let header = &group.spec.propagation.header;
    let change = match &rule.tag {
        TagAction::Set(tag) => {
            let set = vec![HeaderValuePair {
                name: header.clone(),
                value: tag.clone(),
            }];
            Some(HeaderModifier {
                set,
                ..HeaderModifier::default()
            })
        }
        TagAction::None if !group.spec.client_may_tag => Some(HeaderModifier {
            remove: vec![header.clone()],
            ..HeaderModifier::default()
        }),
        TagAction::Client(_) | TagAction::None => None,
    };
    let modify = |change| RouteFilter {
        kind: "RequestHeaderModifier".into(),
        request_header_modifier: Some(change),
        ..RouteFilter::default()
    };
    let service = match &rule.tag {
        TagAction::Set(tag) | TagAction::Client(tag) if serves(at, tag) => app.lane_service(tag),
        _ => app.service().to_owned(),
    };
    RouteRule {
        matches: rule.matches.clone(),
        filters: change
            .map(modify)
            .into_iter()
            .chain(rule.rewrite.as_deref().map(rewrite_filter))
            .collect(),
        backend_refs: vec![BackendRef::service(&service, app.port)],
        ..RouteRule::default()
    }
}

/// Route at an entry of graylane's own gateway: it colours by the group's lanes, rewrites, and
/// forwards to the app's Service. `None` while the group has no entry path that leads to one of its
/// apps.
pub fn build_entry_route(group: &LaneGroup) -> (Option<HttpRoute>, Vec<String>) {
    let name = group.metadata.name.as_deref().unwrap_or_default();
    let (mut rules, mut problems) = (vec![], vec![]);
    for (i, route) in group.spec.entry.routes.iter().enumerate() {
        let Some(app) = group.spec.apps.iter().find(|a| a.app == route.app) else {
            problems.push(format!(
                "entry.routes[{i}] {}: {} is not among the group's apps",
                route.path, route.app
            ));
            continue;
        };
        if !route.path.starts_with('/') {
            problems.push(format!(
                "entry.routes[{i}]: the path {:?} must start with /",
                route.path
            ));
            continue;
        }
        let mut filters = vec![colour_filter(name)];
        filters.extend(route.rewrite.as_deref().map(rewrite_filter));
        rules.push(RouteRule {
            matches: vec![RouteMatch {
                path: Some(PathMatch {
                    kind: "PathPrefix".into(),
                    value: route.path.clone(),
                }),
                ..RouteMatch::default()
            }],
            filters,
            backend_refs: vec![BackendRef::service(app.service(), app.port)],
            ..RouteRule::default()
        });
    }
    if rules.is_empty() {
        problems.push("the entry has no path that leads to an app".into());
        return (None, problems);
    }
    let spec = HttpRouteSpec {
        parent_refs: vec![ParentRef::gateway(&group.spec.entry.gateway)],
        hostnames: group.spec.entry.host.iter().cloned().collect(),
        rules,
    };
    (
        Some(HttpRoute::for_lane_group(
            group_namespace(group),
            &entry_name(name),
            name,
            spec,
        )),
        problems,
    )
}

/// Route of one app: a rule for each tag, and the baseline last.
pub fn build_app_route(group: &LaneGroup, app: &LaneApp, tags: &[String]) -> HttpRoute {
    let name = group.metadata.name.as_deref().unwrap_or_default();
    let mut rules: Vec<RouteRule> = tags
        .iter()
        .map(|tag| build_lane_rule(group, app, tag))
        .collect();
    let baseline = BackendRef::service(app.service(), app.port);
    rules.push(RouteRule {
        backend_refs: vec![baseline],
        ..RouteRule::default()
    });
    let (parent, hostnames) = match group.spec.mode {
        LaneMode::Gateway => (
            ParentRef::gateway(&internal_gateway_name(group)),
            service_hostnames(group, app),
        ),
        LaneMode::Mesh | LaneMode::Agent => (ParentRef::service(app.service(), app.port), vec![]),
    };
    let spec = HttpRouteSpec {
        parent_refs: vec![parent],
        hostnames,
        rules,
    };
    HttpRoute::for_lane_group(
        group_namespace(group),
        &app_name(name, &app.app),
        name,
        spec,
    )
}

fn build_lane_rule(group: &LaneGroup, app: &LaneApp, tag: &str) -> RouteRule {
    let header = ValueMatch {
        kind: "Exact".into(),
        name: group.spec.propagation.header.clone(),
        value: tag.to_owned(),
    };
    RouteRule {
        matches: vec![RouteMatch {
            headers: vec![header],
            ..RouteMatch::default()
        }],
        backend_refs: vec![BackendRef::service(&app.lane_service(tag), app.port)],
        ..RouteRule::default()
    }
}

fn colour_filter(group: &str) -> RouteFilter {
    let reference = LocalRef {
        group: GROUP.into(),
        kind: "LaneGroup".into(),
        name: group.into(),
    };
    RouteFilter {
        kind: "ExtensionRef".into(),
        extension_ref: Some(reference),
        ..RouteFilter::default()
    }
}

fn rewrite_filter(to: &str) -> RouteFilter {
    let path = PathRewrite {
        kind: "ReplacePrefixMatch".into(),
        replace_prefix_match: Some(to.to_owned()),
        ..PathRewrite::default()
    };
    RouteFilter {
        kind: "URLRewrite".into(),
        url_rewrite: Some(UrlRewrite {
            path: Some(path),
            ..UrlRewrite::default()
        }),
        ..RouteFilter::default()
    }
}

fn service_hostnames(group: &LaneGroup, app: &LaneApp) -> Vec<String> {
    let (service, namespace) = (app.service(), group_namespace(group));
    vec![
        service.into(),
        format!("{service}.{namespace}"),
        format!("{service}.{namespace}.svc.cluster.local"),
    ]
}

fn group_namespace(group: &LaneGroup) -> &str {
    group.metadata.namespace.as_deref().unwrap_or("default")
}
