//! Finds the app of a gateway's route when the pod is unknown: none answered, or it is no longer
//! remembered.

use crate::{
    api::LaneGroup,
    domain::{
        request::is_under_prefix,
        routes::{app_route, entry_route},
        span::Span,
        world::LaneGroups,
    },
};

/// Finds the lane group and the app of a span's route. Gateways name a route after its HTTPRoute,
/// with additions: Traefik `httproute-NAMESPACE-NAME-…`, Envoy Gateway
/// `httproute/NAMESPACE/NAME/rule/0/…`, Istio `NAMESPACE.NAME.0`.
pub(super) fn app_for_route<'a>(span: &Span, groups: &'a LaneGroups) -> Option<(&'a str, &'a str)> {
    let route = span.route.as_deref()?;
    let mut best: Option<(usize, &str, &str)> = None;
    for (name, group) in groups {
        let at_entry = is_named(route, &entry_route(name))
            .then(|| app_for_path(group, &span.path))
            .flatten();
        let mut found: Vec<(usize, &str)> = at_entry
            .into_iter()
            .map(|app| (entry_route(name).len(), app))
            .collect();
        let apps = group.spec.apps.iter().map(|a| a.app.as_str());
        found.extend(
            apps.filter(|app| is_named(route, &app_route(name, app)))
                .map(|a| (app_route(name, a).len(), a)),
        );
        for (length, app) in found {
            if best.is_none_or(|(most, ..)| length > most) {
                best = Some((length, name, app));
            }
        }
    }
    best.map(|(_, group, app)| (group, app))
}

/// Whether the route contains the name as a whole word.
fn is_named(route: &str, name: &str) -> bool {
    let is_part = |c: char| c.is_ascii_alphanumeric();
    route.match_indices(name).any(|(at, _)| {
        let before = route[..at].chars().next_back();
        let after = route[at + name.len()..].chars().next();
        !before.is_some_and(is_part) && !after.is_some_and(is_part)
    })
}

/// App of the longest entry path that covers the path.
fn app_for_path<'a>(group: &'a LaneGroup, path: &str) -> Option<&'a str> {
    let path = path.split('?').next().unwrap_or_default();
    let fits = group
        .spec
        .entry
        .routes
        .iter()
        .filter(|r| is_under_prefix(path, &r.path));
    fits.max_by_key(|r| r.path.len()).map(|r| r.app.as_str())
}
