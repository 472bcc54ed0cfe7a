//! Lanes become routes: which HTTPRoutes stand for a lane group now, and who serves each app of each lane.
//!
//! The plan is made from what is true at this look: a lane's rule for an app is there exactly while its
//! version may take requests. An app without one is served by its baseline; the tag stays on the request,
//! so that the next app may be gray again. What a lane does when a version that ought to be there is lost
//! is its policy (`onLoss`).

mod build;
mod told;

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::{
    api::{
        Lane, LaneApp, LaneAppStatus, LaneGroup, LaneMode, OnLoss, Served,
        gateway_api::{Gateway, HttpRoute},
    },
    domain::lanes::{self, Means},
};

pub use build::{app_name as app_route, entry_name as entry_route, internal_gateway};
pub use told::{NEWS, answered, changed, gateway_seen, gateway_words, same};

/// What is seen of one app's version with one lane tag.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LaneVersion {
    /// It ought to serve: its environment is `Running`. Not while it is deployed or taken down, for then its
    /// absence is no loss.
    pub expected: bool,
    /// Its Service (`LaneApp::lane_service`) exists.
    pub service: bool,
    /// Pods with the tag that are ready and not terminating.
    pub ready: u32,
}

/// What a plan is made from.
pub struct Inputs<'a> {
    /// The group; its name and namespace are those of the routes.
    pub group: &'a LaneGroup,
    /// All lanes; those of other groups are passed over.
    pub lanes: &'a [Lane],
    /// App and tag to what is seen of that version.
    pub version: &'a dyn Fn(&str, &str) -> LaneVersion,
    /// App and tag to whether that version may take requests as far as releases go: `Err` says in words why
    /// not yet or no longer (its window waits for another app, it is about to be taken down, …).
    pub open: &'a dyn Fn(&str, &str) -> Result<(), String>,
}

/// What ought to be.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// Exactly the HTTPRoutes labelled with the group: apply these, delete the rest.
    pub routes: Vec<HttpRoute>,
    /// In `gateway` mode: the Gateway between the services.
    pub gateway: Option<Gateway>,
    /// Lane name to its apps, in the group's order.
    pub lanes: BTreeMap<String, Vec<LaneAppStatus>>,
    /// In words, what is wrong with the group.
    pub problems: Vec<String>,
}

/// Plans the routes of one group. Same inputs, same plan, in the same order.
pub fn plan(inputs: &Inputs) -> Plan {
    let group = inputs.group.metadata.name.as_deref().unwrap_or_default();
    let mut lanes: Vec<&Lane> = inputs
        .lanes
        .iter()
        .filter(|l| l.spec.group == group)
        .collect();
    lanes.sort_by_key(|l| (l.spec.priority, l.metadata.name.clone()));
    let mut plan = Plan::default();
    for lane in &lanes {
        let name = lane.metadata.name.clone().unwrap_or_default();
        plan.lanes.insert(name, lane_apps(inputs, lane));
    }
    // Lanes with the same tag share a rule: it is there while one of them wants it.
    let tags_of = |at: usize| -> Vec<String> {
        let gray = |lane: &&&Lane| {
            let name = lane.metadata.name.as_deref().unwrap_or_default();
            let apps = plan.lanes.get(name).map(Vec::as_slice).unwrap_or_default();
            // They stand in the group's order.
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
    let (entry, mut problems) = build::entry(inputs.group);
    let all: Vec<Vec<String>> = (0..inputs.group.spec.apps.len()).map(tags_of).collect();
    let mut routes = entry_routes(inputs.group, inputs.lanes, &|at, tag| {
        all[at].iter().any(|t| t == tag)
    });
    if let Some(means) = Means::of(inputs.group).filter(|_| entry.is_some()) {
        problems.extend(lanes::group_problems(inputs.group, &means));
    }
    problems.extend(lanes::taken_before(inputs.group, None));
    if inputs.group.spec.mode != LaneMode::Agent {
        for (at, app) in inputs.group.spec.apps.iter().enumerate() {
            routes.push(build::app(inputs.group, app, &tags_of(at)));
        }
    }
    problems.extend(duplicates(&inputs.group.spec.apps));
    plan.routes = routes;
    plan.gateway = build::gateway(inputs.group);
    plan.problems = problems;
    plan
}

/// The routes of a group at its entry. `serves` tells whether an app (by its place) has a version of a tag, which a
/// gateway that is not ours is led to directly.
pub fn entry_routes(
    group: &LaneGroup,
    lanes: &[Lane],
    serves: &dyn Fn(usize, &str) -> bool,
) -> Vec<HttpRoute> {
    let own = build::entry(group).0;
    match Means::of(group).filter(|_| own.is_some()) {
        None => own.into_iter().collect(),
        Some(means) => build::coloured(group, &lanes::coloured(group, lanes, &means).0, serves),
    }
}

/// Times of sides that have not changed stay, the others are of now. What is still to come is a time of a clock that was
/// put back: kept, it would excuse every leak until then, as of a lane that was only just opened.
pub fn carry_since(old: &[LaneAppStatus], new: &mut [LaneAppStatus], now: Timestamp) {
    let has_come = |since: &String| since.parse::<Timestamp>().is_ok_and(|since| since <= now);
    for app in new {
        let before = old
            .iter()
            .find(|o| o.app == app.app && o.served == app.served);
        app.since = before
            .and_then(|b| b.since.clone())
            .filter(has_come)
            .or_else(|| Some(now.to_string()));
    }
}

/// Who serves each app of one lane, and why.
fn lane_apps(inputs: &Inputs, lane: &Lane) -> Vec<LaneAppStatus> {
    let apps = &inputs.group.spec.apps;
    let tag = lane.spec.tag.as_str();
    let all_base = |reason: String| apps.iter().map(|a| base(&a.app, reason.clone())).collect();
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

fn lane_app(inputs: &Inputs, lane: &Lane, app: &LaneApp, lost: bool) -> LaneAppStatus {
    let tag = lane.spec.tag.as_str();
    let seen = (inputs.version)(&app.app, tag);
    if let Err(reason) = (inputs.open)(&app.app, tag) {
        return base(&app.app, reason);
    }
    if seen.service && seen.ready > 0 {
        let pods = if seen.ready == 1 { "pod" } else { "pods" };
        return gray(&app.app, format!("{} {tag} {pods} ready", seen.ready));
    }
    if lost && lane.spec.on_loss == OnLoss::Hold {
        return gray(
            &app.app,
            format!(
                "held: no ready {tag} pod, tagged requests fail rather than reach the baseline"
            ),
        );
    }
    base(
        &app.app,
        match (lost, seen.service, seen.ready) {
            (true, ..) => format!("fell back: the last ready {tag} pod is lost"),
            (false, true, _) => format!("no {tag} pod is ready yet"),
            (false, false, 0) => format!("no {tag} version is deployed"),
            (false, false, _) => format!("the Service {} does not exist", app.lane_service(tag)),
        },
    )
}

fn base(app: &str, reason: String) -> LaneAppStatus {
    LaneAppStatus {
        app: app.into(),
        served: Served::Base,
        reason,
        since: None,
    }
}

fn gray(app: &str, reason: String) -> LaneAppStatus {
    LaneAppStatus {
        app: app.into(),
        served: Served::Gray,
        reason,
        since: None,
    }
}

fn duplicates(apps: &[LaneApp]) -> Vec<String> {
    let mut seen = BTreeMap::new();
    apps.iter()
        .for_each(|a| *seen.entry(a.app.as_str()).or_insert(0_usize) += 1);
    seen.iter()
        .filter(|(_, n)| **n > 1)
        .map(|(app, n)| format!("{app} stands {n} times among the apps"))
        .collect()
}

#[cfg(test)]
mod tests;
