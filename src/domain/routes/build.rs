//! The HTTPRoutes themselves: one for the entry, one for each app.

use crate::api::{
    GROUP, LaneApp, LaneGroup, LaneMode,
    gateway_api::{
        BackendRef, HttpRoute, HttpRouteSpec, LocalRef, ParentRef, PathMatch, PathRewrite, RouteFilter, RouteMatch,
        RouteRule, UrlRewrite, ValueMatch,
    },
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
pub fn internal_gateway(group: &LaneGroup) -> String {
    format!("{}-internal", group.spec.entry.gateway)
}

/// The route at the entry: colours by the group's lanes, rewrites, hands over to the app's Service. None
/// while the group has no entry path that leads to an app of it.
pub fn entry(group: &LaneGroup) -> (Option<HttpRoute>, Vec<String>) {
    let name = group.metadata.name.as_deref().unwrap_or_default();
    let (mut rules, mut problems) = (vec![], vec![]);
    for (i, route) in group.spec.entry.routes.iter().enumerate() {
        let Some(app) = group.spec.apps.iter().find(|a| a.app == route.app) else {
            problems.push(format!("entry.routes[{i}] {}: {} is not among the group's apps", route.path, route.app));
            continue;
        };
        if !route.path.starts_with('/') {
            problems.push(format!("entry.routes[{i}]: the path {:?} must start with /", route.path));
            continue;
        }
        let mut filters = vec![colour(name)];
        filters.extend(route.rewrite.as_deref().map(rewrite));
        rules.push(RouteRule {
            matches: vec![RouteMatch {
                path: Some(PathMatch { kind: "PathPrefix".into(), value: route.path.clone() }),
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
    (Some(HttpRoute::of_group(namespace(group), &entry_name(name), name, spec)), problems)
}

/// The route of one app: a rule for each tag, and the baseline last.
pub fn app(group: &LaneGroup, app: &LaneApp, tags: &[String]) -> HttpRoute {
    let name = group.metadata.name.as_deref().unwrap_or_default();
    let mut rules: Vec<RouteRule> = tags.iter().map(|tag| lane_rule(group, app, tag)).collect();
    let baseline = BackendRef::service(app.service(), app.port);
    rules.push(RouteRule { backend_refs: vec![baseline], ..RouteRule::default() });
    let (parent, hostnames) = match group.spec.mode {
        LaneMode::Gateway => (ParentRef::gateway(&internal_gateway(group)), hostnames(group, app)),
        LaneMode::Mesh | LaneMode::Agent => (ParentRef::service(app.service(), app.port), vec![]),
    };
    let spec = HttpRouteSpec { parent_refs: vec![parent], hostnames, rules };
    HttpRoute::of_group(namespace(group), &app_name(name, &app.app), name, spec)
}

fn lane_rule(group: &LaneGroup, app: &LaneApp, tag: &str) -> RouteRule {
    let header =
        ValueMatch { kind: "Exact".into(), name: group.spec.propagation.header.clone(), value: tag.to_owned() };
    RouteRule {
        matches: vec![RouteMatch { headers: vec![header], ..RouteMatch::default() }],
        backend_refs: vec![BackendRef::service(&app.lane_service(tag), app.port)],
        ..RouteRule::default()
    }
}

fn colour(group: &str) -> RouteFilter {
    let reference = LocalRef { group: GROUP.into(), kind: "LaneGroup".into(), name: group.into() };
    RouteFilter { kind: "ExtensionRef".into(), extension_ref: Some(reference), ..RouteFilter::default() }
}

fn rewrite(to: &str) -> RouteFilter {
    let path = PathRewrite {
        kind: "ReplacePrefixMatch".into(),
        replace_prefix_match: Some(to.to_owned()),
        ..PathRewrite::default()
    };
    RouteFilter {
        kind: "URLRewrite".into(),
        url_rewrite: Some(UrlRewrite { path: Some(path), ..UrlRewrite::default() }),
        ..RouteFilter::default()
    }
}

fn hostnames(group: &LaneGroup, app: &LaneApp) -> Vec<String> {
    let (service, namespace) = (app.service(), namespace(group));
    vec![service.into(), format!("{service}.{namespace}"), format!("{service}.{namespace}.svc.cluster.local")]
}

fn namespace(group: &LaneGroup) -> &str {
    group.metadata.namespace.as_deref().unwrap_or("default")
}
