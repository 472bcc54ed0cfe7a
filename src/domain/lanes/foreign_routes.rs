//! Routes of other owners at the same entry: finds those that would take a request before the lanes
//! do.

use super::{
    GatewayFeatures,
    colour::{lane_paths, trim_slashes},
    gateway_match::{CombinedMatch, MatchCriteria, ValueTest, expand_conditions},
};
use crate::{
    api::{
        Entry, EntryRoute, Lane, LaneGroup, OtherRoute,
        gateway_api::{HttpRoute, ParentRef, RouteMatch, RouteRule, ValueMatch},
        label,
    },
    domain::{request::is_under_prefix, text::Clean},
};

/// Maximum number of reported routes.
const MAX_FOREIGN_ROUTES: usize = 16;
const MAX_MATCHES_PER_ROUTE: usize = 8;

/// HTTPRoutes of other owners on the entry's Gateway that overlap its host and one of its paths.
pub fn find_foreign_routes<'a>(
    group: &LaneGroup,
    routes: impl IntoIterator<Item = &'a HttpRoute>,
) -> Vec<OtherRoute> {
    let (own, home) = (
        group.metadata.name.as_deref().unwrap_or_default(),
        group.metadata.namespace.as_deref(),
    );
    let entry = &group.spec.entry;
    let mut found = vec![];
    for route in routes {
        let ours = route
            .metadata
            .labels
            .as_ref()
            .and_then(|l| l.get(label::LANE_GROUP));
        let there = |p: &ParentRef| {
            let of = p
                .namespace
                .as_deref()
                .or(route.metadata.namespace.as_deref());
            p.is_gateway() && p.name == entry.gateway && of == home
        };
        let hosts = &route.spec.hostnames;
        let host = entry.host.as_deref();
        let meets = hosts.is_empty()
            || host.is_none_or(|h| hosts.iter().any(|other| covers_host(other, h)));
        if ours.is_some_and(|g| g == own) || !route.spec.parent_refs.iter().any(there) || !meets {
            continue;
        }
        let matches = overlapping_matches(entry, route);
        if !matches.is_empty() {
            let name = |n: &Option<String>| {
                Clean::from_untrusted(n.as_deref().unwrap_or_default()).to_string()
            };
            let full = format!(
                "{}/{}",
                name(&route.metadata.namespace),
                name(&route.metadata.name)
            );
            found.push(OtherRoute {
                route: full,
                hosts: hosts.clone(),
                matches,
            });
        }
    }
    found.sort_by(|a, b| a.route.cmp(&b.route));
    found.truncate(MAX_FOREIGN_ROUTES);
    found
}

/// The first matches of a route that overlap a path of the entry.
fn overlapping_matches(entry: &Entry, route: &HttpRoute) -> Vec<RouteMatch> {
    let every = [RouteMatch::default()];
    let of_rule = |rule: &RouteRule| match rule.matches.as_slice() {
        [] => every.to_vec(),
        some => some.to_vec(),
    };
    let near = |m: &RouteMatch| {
        entry
            .routes
            .iter()
            .any(|r| overlaps_path(m, &trim_slashes(&r.path)))
    };
    let rules = route.spec.rules.iter();
    let mut matches: Vec<RouteMatch> = rules.flat_map(of_rule).filter(near).collect();
    matches.truncate(MAX_MATCHES_PER_ROUTE);
    matches
}

/// Describes which routes take requests of the group (or of one of its lanes) before it does.
pub fn describe_preceding_routes(group: &LaneGroup, lane: Option<&Lane>) -> Vec<String> {
    let status = group.status.as_ref();
    let others = status.map(|s| s.others.as_slice()).unwrap_or_default();
    if others.is_empty() {
        return vec![];
    }
    let means = GatewayFeatures::from_group(group);
    let mut told = vec![];
    for route in &group.spec.entry.routes {
        let mine = own_matches(group, lane, route, means.as_ref());
        for other in others {
            let Some(more) = compare_hosts(group, other) else {
                continue;
            };
            let taken = other.matches.iter().find(|m| {
                mine.iter()
                    .any(|(asked, rank)| takes_before(m, asked, rank, more))
            });
            if let Some(taken) = taken {
                let words = format!(
                    "HTTPRoute {} takes {} before",
                    other.route,
                    describe_match(taken, other)
                );
                if !told.contains(&words) {
                    told.push(words);
                }
            }
        }
    }
    told.into_iter()
        .map(|w| {
            format!(
                "{w} {}",
                if lane.is_some() {
                    "this lane"
                } else {
                    "the lanes do"
                }
            )
        })
        .collect()
}

/// Matches of the group or lane below an entry, each with the match whose rank counts.
fn own_matches(
    group: &LaneGroup,
    lane: Option<&Lane>,
    route: &EntryRoute,
    means: Option<&GatewayFeatures>,
) -> Vec<(MatchCriteria, MatchCriteria)> {
    let plain = MatchCriteria {
        path: trim_slashes(&route.path),
        ..MatchCriteria::default()
    };
    let Some(lane) = lane else {
        return vec![(plain.clone(), plain)];
    };
    let paths = lane_paths(group, route, lane).into_iter();
    let with_path = |path: &str, way: &MatchCriteria| MatchCriteria {
        path: path.to_owned(),
        ..way.clone()
    };
    match means {
        Some(means) => {
            let ways = expand_conditions(&lane.spec, means).unwrap_or_default();
            paths
                .flat_map(|path| ways.iter().map(move |w| with_path(&path, w)))
                .map(|asked| (asked.clone(), asked))
                .collect()
        }
        // Graylane's own gateway evaluates lanes only after the entry's plain match has taken the
        // request.
        None => paths
            .map(|path| {
                let asked = with_path(&path, &MatchCriteria::default());
                (asked, plain.clone())
            })
            .collect(),
    }
}

/// Whether the host pattern `wide` (`*.a.b`, `a.b`) covers `host`.
fn covers_host(wide: &str, host: &str) -> bool {
    wide.eq_ignore_ascii_case(host)
        || wide
            .strip_prefix('*')
            .is_some_and(|end| host.ends_with(end))
}

/// Whether the other route's host is more specific than ours and so comes first, whatever its
/// match; `None` if ours is more specific.
fn compare_hosts(group: &LaneGroup, other: &OtherRoute) -> Option<bool> {
    match (&group.spec.entry.host, other.hosts.is_empty()) {
        (None, true) => Some(false),
        (None, false) => Some(true),
        (Some(_), true) => None,
        (Some(own), false) => other
            .hosts
            .iter()
            .any(|h| h.eq_ignore_ascii_case(own))
            .then_some(false),
    }
}

fn path_kind(m: &RouteMatch) -> (&str, String) {
    m.path
        .as_ref()
        .map_or(("PathPrefix", String::new()), |p| match p.kind.as_str() {
            "PathPrefix" => ("PathPrefix", trim_slashes(&p.value)),
            kind => (kind, p.value.clone()),
        })
}

fn overlaps_path(m: &RouteMatch, path: &str) -> bool {
    match path_kind(m) {
        ("PathPrefix", own) => is_under_prefix(&own, path) || is_under_prefix(path, &own),
        ("Exact", own) => is_under_prefix(&own, path),
        // What a pattern matches is unknown.
        _ => true,
    }
}

/// Whether the other route's match may take a request of `asked`, and comes before or together with
/// our match, which ranks as `ours`.
fn takes_before(m: &RouteMatch, asked: &MatchCriteria, ours: &MatchCriteria, more: bool) -> bool {
    if !overlaps_path(m, &asked.path) {
        return false;
    }
    let (kind, path) = path_kind(m);
    let prefix = kind == "PathPrefix";
    let values = |all: &[ValueMatch], lower: bool| {
        let one = |v: &ValueMatch| {
            let name = if lower {
                v.name.to_ascii_lowercase()
            } else {
                v.name.clone()
            };
            // Patterns of other owners are not evaluated.
            (
                name,
                if v.kind == "Exact" {
                    ValueTest::Exact(v.value.clone())
                } else {
                    ValueTest::Exists
                },
            )
        };
        all.iter().map(one).collect()
    };
    let theirs = MatchCriteria {
        path: if prefix { path } else { asked.path.clone() },
        method: m.method.clone(),
        headers: values(&m.headers, true),
        parameters: values(&m.query_params, false),
    };
    let meets = asked.combine_with(&theirs) != CombinedMatch::Never;
    meets && (more || !prefix || theirs.rank() >= ours.rank())
}

fn describe_match(m: &RouteMatch, other: &OtherRoute) -> String {
    let mut words = match path_kind(m) {
        ("PathPrefix", path) => {
            if path.is_empty() {
                "/".to_owned()
            } else {
                path
            }
        }
        ("Exact", path) => format!("exactly {path}"),
        (_, path) => format!("paths like {path}"),
    };
    if let Some(method) = &m.method {
        words = format!("{method} {words}");
    }
    let keys = m.headers.iter().map(|v| format!("header {}", v.name));
    let keys: Vec<String> = keys
        .chain(
            m.query_params
                .iter()
                .map(|v| format!("parameter {}", v.name)),
        )
        .collect();
    if !keys.is_empty() {
        words = format!("{words} with {}", keys.join(", "));
    }
    if let Some(host) = other.hosts.first() {
        words = format!("{words} of {host}");
    }
    Clean::bounded(&words, 120).to_string()
}
