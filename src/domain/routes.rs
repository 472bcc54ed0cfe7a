//! Turns lanes into routes: which HTTPRoutes a lane group needs now, and which side serves each app
//! of each lane.
//!
//! The plan follows the state at this moment: a lane has a rule for an app exactly while its
//! version may take requests. An app without such a version is served by its baseline; the tag
//! stays on the request, so that the next app can be gray again. The lane's policy (`onLoss`) says
//! what happens when an expected version is lost.

mod build;
mod controller_status;

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::{
    api::{
        Lane, LaneApp, LaneAppStatus, LaneGroup, LaneMode, OnLoss, RecordedTime, Served,
        gateway_api::{Gateway, HttpRoute},
    },
    domain::{
        lanes::{self, GatewayFeatures},
        text::format_count,
        workflow::LaneNotOpen,
    },
};

pub use build::{app_name as app_route, entry_name as entry_route, internal_gateway_name};
pub use controller_status::{
    ANSWER_TIME, describe_gateway, is_same_spec, last_spec_change, observe_gateway, route_status,
};

/// Observed state of one app's version with one lane tag.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LaneVersion {
    /// Whether it should serve: its environment is `Running`. False while it is deployed or torn
    /// down, because then its absence is no loss.
    pub expected: bool,
    /// Whether its Service (`LaneApp::lane_service`) exists.
    pub service: bool,
    /// Number of pods with the tag that are ready and not terminating.
    pub ready: u32,
}

/// What a plan is made from.
pub struct RouteInputs<'a> {
    /// Lane group, with the name and namespace of the routes.
    pub group: &'a LaneGroup,
    /// All lanes; those of other groups are ignored.
    pub lanes: &'a [Lane],
    /// Observed version of an app and tag.
    pub version: &'a dyn Fn(&str, &str) -> LaneVersion,
    /// Whether the version of an app and tag may take requests as far as releases are concerned.
    /// `Err` says why not yet or no longer (its window waits for another app, it is about to be
    /// torn down, …).
    pub open: &'a dyn Fn(&str, &str) -> Result<(), LaneNotOpen>,
}

/// Desired routes, and the resulting state of the lanes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RoutePlan {
    /// All HTTPRoutes with the group's label: apply these and delete the others.
    pub routes: Vec<HttpRoute>,
    /// Gateway between the services, in `gateway` mode.
    pub gateway: Option<Gateway>,
    /// Apps of each lane by the lane's name, in the group's order.
    pub lanes: BTreeMap<String, Vec<LaneAppStatus>>,
    /// Descriptions of problems with the group.
    pub problems: Vec<String>,
}

/// Plans the routes of one group. The same inputs give the same plan, in the same order.
pub fn plan_routes(inputs: &RouteInputs) -> RoutePlan {
    let group = inputs.group.metadata.name.as_deref().unwrap_or_default();
    let mut lanes: Vec<&Lane> = inputs
        .lanes
        .iter()
        .filter(|l| l.spec.group == group)
        .collect();
    lanes.sort_by_key(|l| (l.spec.priority, l.metadata.name.clone()));
    let mut plan = RoutePlan::default();
    for lane in &lanes {
        let name = lane.metadata.name.clone().unwrap_or_default();
        plan.lanes.insert(name, lane_apps(inputs, lane));
    }
    // Lanes with the same tag share a rule, which exists while one of them needs it.
    let tags_of = |at: usize| -> Vec<String> {
        let gray = |lane: &&&Lane| {
            let name = lane.metadata.name.as_deref().unwrap_or_default();
            let apps = plan.lanes.get(name).map(Vec::as_slice).unwrap_or_default();
            // The apps are in the group's order.
            apps.get(at).is_some_and(|a| a.served == Served::Gray)
        };
        let mut tags: Vec<String> = lanes
            .iter()
            .filter(gray)
            .map(|l| l.spec.tag.clone())
            .collect();
        tags.sort();
        tags.dedup();
        tags
    };
    let (entry, mut problems) = build::build_entry_route(inputs.group);
    let all: Vec<Vec<String>> = (0..inputs.group.spec.apps.len()).map(tags_of).collect();
    let mut routes = entry_routes(inputs.group, inputs.lanes, &|at, tag| {
        all[at].iter().any(|t| t == tag)
    });
    if let Some(means) = GatewayFeatures::from_group(inputs.group).filter(|_| entry.is_some()) {
        problems.extend(lanes::group_problems(inputs.group, &means));
    }
    problems.extend(lanes::describe_preceding_routes(inputs.group, None));
    if inputs.group.spec.mode != LaneMode::Agent {
        for (at, app) in inputs.group.spec.apps.iter().enumerate() {
            routes.push(build::build_app_route(inputs.group, app, &tags_of(at)));
        }
    }
    problems.extend(find_duplicates(&inputs.group.spec.apps));
    plan.routes = routes;
    plan.gateway = build::build_gateway(inputs.group);
    plan.problems = problems;
    plan
}

/// Routes of a group at its entry. `serves` says whether an app (by its index) has a version with a
/// tag; a gateway other than graylane's own is routed to it directly.
pub fn entry_routes(
    group: &LaneGroup,
    lanes: &[Lane],
    serves: &dyn Fn(usize, &str) -> bool,
) -> Vec<HttpRoute> {
    let own = build::build_entry_route(group).0;
    match GatewayFeatures::from_group(group).filter(|_| own.is_some()) {
        None => own.into_iter().collect(),
        Some(means) => build::build_coloured_routes(
            group,
            &lanes::build_coloured_rules(group, lanes, &means).0,
            serves,
        ),
    }
}

/// Keeps the times of sides that have not changed, and sets the others to now. A time in the future
/// comes from a clock that was set back and is replaced: it would excuse every leak until then, as
/// if the lane had only just been opened.
pub fn carry_since(old: &[LaneAppStatus], new: &mut [LaneAppStatus], now: Timestamp) {
    let has_come = |since: &RecordedTime| since.timestamp().is_some_and(|since| since <= now);
    for app in new {
        let before = old
            .iter()
            .find(|o| o.app == app.app && o.served == app.served);
        app.since = before
            .and_then(|b| b.since.clone())
            .filter(has_come)
            .or_else(|| Some(now.into()));
    }
}

/// Determines which side serves each app of one lane, and why.
fn lane_apps(inputs: &RouteInputs, lane: &Lane) -> Vec<LaneAppStatus> {
    let apps = &inputs.group.spec.apps;
    let tag = lane.spec.tag.as_str();
    let all_base = |reason: String| {
        apps.iter()
            .map(|a| base_status(&a.app, reason.clone()))
            .collect()
    };
    if !lane.spec.enabled {
        return all_base("the lane is disabled".into());
    }
    let lost = |app: &LaneApp| {
        let seen = (inputs.version)(&app.app, tag);
        seen.expected && !(seen.service && seen.ready > 0) && (inputs.open)(&app.app, tag).is_ok()
    };
    if lane.spec.on_loss == OnLoss::Close
        && let Some(app) = apps.iter().find(|a| lost(a))
    {
        return all_base(format!(
            "the lane is closed: {} has lost its last ready {tag} pod",
            app.app
        ));
    }
    apps.iter()
        .map(|app| lane_app(inputs, lane, app, lost(app)))
        .collect()
}

fn lane_app(inputs: &RouteInputs, lane: &Lane, app: &LaneApp, lost: bool) -> LaneAppStatus {
    let tag = lane.spec.tag.as_str();
    let seen = (inputs.version)(&app.app, tag);
    if let Err(reason) = (inputs.open)(&app.app, tag) {
        return base_status(&app.app, reason.to_string());
    }
    if seen.service && seen.ready > 0 {
        let pods = format_count(seen.ready, &format!("{tag} pod"));
        return gray_status(&app.app, format!("{pods} ready"));
    }
    if lost && lane.spec.on_loss == OnLoss::Hold {
        return gray_status(
            &app.app,
            format!(
                "held: no ready {tag} pod, tagged requests fail rather than reach the baseline"
            ),
        );
    }
    base_status(
        &app.app,
        match (lost, seen.service, seen.ready) {
            (true, ..) => format!("fell back: the last ready {tag} pod is lost"),
            (false, true, _) => format!("no {tag} pod is ready yet"),
            (false, false, 0) => format!("no {tag} version is deployed"),
            (false, false, _) => format!("the Service {} does not exist", app.lane_service(tag)),
        },
    )
}

fn base_status(app: &str, reason: String) -> LaneAppStatus {
    LaneAppStatus {
        app: app.into(),
        served: Served::Base,
        reason,
        since: None,
    }
}

fn gray_status(app: &str, reason: String) -> LaneAppStatus {
    LaneAppStatus {
        app: app.into(),
        served: Served::Gray,
        reason,
        since: None,
    }
}

fn find_duplicates(apps: &[LaneApp]) -> Vec<String> {
    let mut seen = BTreeMap::new();
    apps.iter()
        .for_each(|a| *seen.entry(a.app.as_str()).or_insert(0_usize) += 1);
    seen.iter()
        .filter(|(_, n)| **n > 1)
        .map(|(app, n)| format!("{app} is among the apps {}", format_count(*n, "time")))
        .collect()
}

#[cfg(test)]
mod tests;
