//! What the lanes promise at this moment: which side of an app answers a request with a tag.

use jiff::Timestamp;

use crate::{
    api::{Lane, LaneGroup, OnLoss, ReleasePhase, Served, TaskKind, TaskPhase, TaskStatus},
    domain::world::World,
};

/// Side that should answer, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expectation {
    /// Side that should answer.
    pub served: Served,
    /// Reason, for messages.
    pub reason: String,
    /// Whether a fallback counts as a leak.
    pub strict: bool,
    /// Since when that side serves, if this is known.
    pub since: Option<Timestamp>,
}

/// Determines which side should answer a request to `app` with that tag. If `group` is `None`, the
/// first group with the app is used.
pub fn expected_side(
    group: Option<&str>,
    app: &str,
    tag: Option<&str>,
    world: &World,
) -> Expectation {
    let base = |reason: String, strict| Expectation {
        served: Served::Base,
        reason,
        strict,
        since: None,
    };
    let Some(tag) = tag else {
        return base("the request has no tag".into(), false);
    };
    let Some(found) = find_group(group, app, world) else {
        return base(format!("{app} is in no lane group"), false);
    };
    let name = found.metadata.name.as_deref().unwrap_or_default();
    let lanes: Vec<&Lane> = world
        .lanes
        .values()
        .map(|l| &**l)
        .filter(|l| l.spec.group == name && l.spec.tag == tag)
        .collect();
    if lanes.is_empty() {
        return base(format!("no lane of {name} has the tag {tag}"), false);
    }
    let on: Vec<&Lane> = lanes.into_iter().filter(|l| l.spec.enabled).collect();
    if on.is_empty() {
        return base(format!("the lane {tag} is disabled"), false);
    }
    let strict = on.iter().any(|l| l.spec.strict);
    if !found.spec.apps.iter().any(|a| a.app == app) {
        return base(format!("{app} is not among the apps of {name}"), strict);
    }
    side_of_lanes(&on, app, tag, strict, world)
}

/// The side that the status of the lanes promises, or else the one that the pods allow.
fn side_of_lanes(on: &[&Lane], app: &str, tag: &str, strict: bool, world: &World) -> Expectation {
    let ready = world.has_ready_gray_pod(app, tag);
    let expect = |served, reason, since| Expectation {
        served,
        reason,
        strict,
        since,
    };
    let told = |l: &&Lane| {
        l.status
            .as_ref()
            .and_then(|s| s.apps.iter().find(|a| a.app == app))
            .cloned()
    };
    let status = on
        .iter()
        .filter_map(told)
        .max_by_key(|s| s.served == Served::Gray);
    let held = on.iter().any(|l| l.spec.on_loss == OnLoss::Hold);
    match status {
        None if ready => expect(Served::Gray, format!("{app} has ready {tag} pods"), None),
        None => expect(Served::Base, format!("{app} has no ready {tag} pod"), None),
        Some(status) if status.served == Served::Base => expect(Served::Base, status.reason, None),
        // Routes may lag behind the loss of the last pod; that is not a leak.
        Some(_) if !ready && !held => {
            let reason = format!("{app} has no ready {tag} pod any more");
            expect(Served::Base, reason, None)
        }
        // Routes go first, and the lane says so a moment later; that is not a leak either.
        Some(_) if is_taken_down(world, app, tag) => {
            let reason = format!("the {tag} version of {app} is being taken down");
            expect(Served::Base, reason, None)
        }
        Some(status) => {
            let since = status.since.and_then(|since| since.timestamp());
            expect(Served::Gray, status.reason, since)
        }
    }
}

/// Whether a release is removing the version of an app that has this tag: by its clean-up, or
/// because it is rolled back.
fn is_taken_down(world: &World, app: &str, tag: &str) -> bool {
    let Some(spec) = world.apps.get(app).map(|app| &app.spec) else {
        return false;
    };
    let has_tag = |task: &TaskStatus| {
        let environment = task.environment.as_deref();
        let environment = environment.and_then(|name| spec.environment(name));
        environment.is_some_and(|e| e.lane.as_deref() == Some(tag))
    };
    let own = world.releases.values().filter(|r| r.spec.app == app);
    own.filter_map(|release| release.status.as_ref())
        .any(|status| {
            let is_aborting = status.phase == ReleasePhase::Aborting;
            let removes = |task: &TaskStatus| match task.kind {
                TaskKind::CleanUp => task.phase == TaskPhase::Running,
                TaskKind::Deploy => is_aborting,
                _ => false,
            };
            !status.phase.is_final() && status.tasks.iter().any(|t| removes(t) && has_tag(t))
        })
}

/// Lane group of a hop: the one that it names, or else the first that has the app.
pub(super) fn find_group<'w>(
    group: Option<&str>,
    app: &str,
    world: &'w World,
) -> Option<&'w LaneGroup> {
    let named = group.and_then(|g| world.groups.get(g));
    let having = || {
        world
            .groups
            .values()
            .find(|g| g.spec.apps.iter().any(|a| a.app == app))
    };
    named.or_else(having).map(|g| &**g)
}
