//! Lane rules as text, and previews of lane changes.

use std::sync::Arc;

use crate::{
    api::{Lane, LaneSpec},
    domain::{
        lanes::{self, LaneCheck, Problem, text::format_condition},
        request::{self, RequestParts},
        world::World,
    },
};

/// A lane's rule in one line.
pub fn describe_rule(spec: &LaneSpec) -> String {
    let rule = &spec.rule;
    let mut parts = vec![];
    if let Some(share) = spec.share {
        parts.push(format!("{share} % of all"));
    }
    if !rule.paths.is_empty() {
        parts.push(format!("path {}", rule.paths.join(",")));
    }
    parts.extend(rule.all.iter().map(format_condition));
    let any: Vec<String> = rule.any.iter().map(format_condition).collect();
    match any.as_slice() {
        [] => {}
        [one] => parts.push(one.clone()),
        _ => parts.push(format!("({})", any.join(" or "))),
    }
    if parts.is_empty() {
        "every request".into()
    } else {
        parts.join(" and ")
    }
}

/// All lanes of the world.
fn all_lanes(world: &World) -> Vec<Lane> {
    world.lanes.values().map(|lane| (**lane).clone()).collect()
}

/// All lanes of the world, with one of them changed, added or (`None`) removed.
pub fn lanes_with(world: &World, name: &str, spec: Option<&LaneSpec>) -> Vec<Lane> {
    lanes::replace_lane(&all_lanes(world), name, spec)
}

/// Problems of a lane with this spec, and problems that it causes in other lanes.
pub fn check_lane(world: &World, name: &str, spec: &LaneSpec) -> Vec<Problem> {
    let check = LaneCheck {
        name: &spec.group,
        group: world.groups.get(&spec.group).map(Arc::as_ref),
        app_of: &|app| world.apps.get(app).map(Arc::as_ref),
        away: &|cluster| world.clusters.contains_key(cluster),
    };
    check.find_new_problems(&all_lanes(world), name, spec)
}

/// The newest different requests at the entry of a group.
pub fn recent_requests(world: &World, group: &str) -> Vec<RequestParts> {
    let mut seen: Vec<RequestParts> = vec![];
    for hop in world
        .hops
        .iter()
        .rev()
        .filter(|h| h.entry && h.group.as_deref().is_none_or(|g| g == group))
    {
        let line = format!("{} {}", hop.method, hop.path);
        let Ok(mut parts) = request::parse_request(&line, &[], &[]) else {
            continue;
        };
        parts.trace.clone_from(&hop.trace);
        if !seen
            .iter()
            .any(|s| s.method == parts.method && s.path == parts.path && s.query == parts.query)
        {
            seen.push(parts);
        }
        if seen.len() >= 50 {
            break;
        }
    }
    seen
}

/// Describes which of the recent requests would move to another lane.
pub fn describe_moves(
    world: &World,
    group: &str,
    name: &str,
    spec: Option<&LaneSpec>,
) -> Vec<String> {
    let before = all_lanes(world);
    let after = lanes_with(world, name, spec);
    let recent = recent_requests(world, group);
    let lane = |l: &Option<String>| {
        l.as_ref()
            .map_or_else(|| "baseline".to_owned(), |l| format!("lane {l}"))
    };
    let words = |m: lanes::LaneMove| {
        let request = recent.get(m.request)?;
        let query = if request.query.is_empty() {
            String::new()
        } else {
            format!("?{}", request.query)
        };
        Some(format!(
            "{} {}{query}: {} → {}",
            request.method,
            request.path,
            lane(&m.from),
            lane(&m.to)
        ))
    };
    lanes::preview_moves(group, &before, &after, &recent)
        .into_iter()
        .filter_map(words)
        .collect()
}

/// A spec as YAML for display.
pub fn spec_to_yaml(spec: &LaneSpec) -> String {
    serde_saphyr::to_string(spec).unwrap_or_else(|e| format!("# {e}\n"))
}
