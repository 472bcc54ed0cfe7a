//! How releases exclude each other: who holds an environment, and when a lane may take requests.

use crate::api::{App, Release, ReleasePhase, TaskKind, TaskPhase, TaskStatus, Uid};

/// Name of another release that has begun to change an App's environment and is not over: it may
/// still roll back, so no other release changes anything there.
pub fn find_holder<'a>(
    app: &str,
    environment: &str,
    own_uid: &Uid,
    releases: &[&'a Release],
) -> Option<&'a str> {
    releases
        .iter()
        .filter(|r| r.spec.app == app && !own_uid.is_of(&r.metadata))
        .find(|r| {
            is_under_way(r)
                && tasks(r)
                    .iter()
                    .any(|t| is_in(t, environment) && has_begun(t))
        })
        .and_then(|r| r.metadata.name.as_deref())
}

/// Why a lane's version of an App takes no requests yet, or no more.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LaneNotOpen {
    /// A release removes what an environment that the App no longer has left behind.
    #[error("release {0} is removing what is left of it")]
    TakenDown(String),
    /// A release is changing the environment.
    #[error("release {release} {doing}")]
    Changing {
        /// Name of the release.
        release: String,
        /// What the release is doing.
        doing: &'static str,
    },
    /// A release of the same window rolls back.
    #[error("the window's release {release} of {app} is being aborted")]
    WindowAborts {
        /// Name of the release.
        release: String,
        /// Name of its App.
        app: String,
    },
    /// An App of the same window is not ready.
    #[error("waits for {0}: the lane opens when all releases of the window are ready")]
    WindowWaits(String),
}

/// Whether other releases let a lane's version of an App take requests.
///
/// A lane is closed while its environment is being changed. In a window, it opens only when every
/// release that deploys something to this lane has done so.
pub fn check_lane_open<'a>(
    app: &str,
    tag: &str,
    app_of: &dyn Fn(&str) -> Option<&'a App>,
    releases: &[&Release],
) -> Result<(), LaneNotOpen> {
    let environment = |app: &str| {
        app_of(app)?
            .spec
            .environment_of_lane(tag)
            .map(|e| e.name.clone())
    };
    let under_way = || releases.iter().filter(|r| is_under_way(r));
    let Some(own) = environment(app) else {
        // What serves the lane was left behind by an environment that the App no longer has, and
        // may be about to be removed.
        let lost = |e: &str| app_of(app).is_some_and(|a| a.spec.environment(e).is_none());
        let goes = |t: &&TaskStatus| {
            t.environment.as_deref().is_some_and(lost) && has_begun(t) && !t.phase.is_passed()
        };
        let going = under_way().find(|r| r.spec.app == app && tasks(r).iter().find(goes).is_some());
        return going.map_or(Ok(()), |r| Err(LaneNotOpen::TakenDown(name(r).to_owned())));
    };
    for release in under_way().filter(|r| r.spec.app == app) {
        if let Some(doing) = current_work(release, &own) {
            let release = name(release).to_owned();
            return Err(LaneNotOpen::Changing { release, doing });
        }
    }
    let windows: Vec<&str> = under_way()
        .filter(|r| r.spec.app == app && deploys_to(r, &own))
        .filter_map(|r| r.spec.window.as_deref())
        .collect();
    let in_window = |r: &&&Release| {
        let window = r.spec.window.as_deref();
        window.is_some_and(|w| windows.contains(&w))
    };
    let closes = |r: &&Release| closes_window(r, &environment(&r.spec.app)?);
    under_way()
        .filter(in_window)
        .find_map(closes)
        .map_or(Ok(()), Err)
}

/// Whether the release has a task that deploys to an environment.
fn deploys_to(release: &Release, environment: &str) -> bool {
    let mut tasks = tasks(release).iter();
    tasks.any(|t| t.kind == TaskKind::Deploy && is_in(t, environment))
}

/// Why a release of a window keeps the window's lane closed. `environment` is that of the lane in
/// the release's App.
fn closes_window(release: &Release, environment: &str) -> Option<LaneNotOpen> {
    let app = release.spec.app.clone();
    if is_aborting(release) {
        let release = name(release).to_owned();
        return Some(LaneNotOpen::WindowAborts { release, app });
    }
    let late = |t: &TaskStatus| {
        t.kind == TaskKind::Deploy && is_in(t, environment) && !t.phase.is_passed()
    };
    // A release without tasks has not begun: what it will deploy is not known yet.
    let waits = tasks(release).is_empty() || tasks(release).iter().any(late);
    waits.then_some(LaneNotOpen::WindowWaits(app))
}

/// Whether a release is changing an environment right now.
pub fn is_changing(release: &Release, environment: &str) -> bool {
    is_under_way(release) && current_work(release, environment).is_some()
}

fn current_work(release: &Release, environment: &str) -> Option<&'static str> {
    let begun = || {
        tasks(release)
            .iter()
            .filter(|t| is_in(t, environment) && has_begun(t))
    };
    if is_aborting(release) {
        return begun().next().map(|_| "is rolling it back");
    }
    let now = begun().find(|t| !t.phase.is_passed())?;
    Some(if now.kind == TaskKind::Deploy {
        "is deploying it"
    } else {
        "is taking it down"
    })
}

/// Whether the task has made changes in the cluster, or may have.
pub(super) fn has_begun(task: &TaskStatus) -> bool {
    task.started_at.is_some() && !matches!(task.phase, TaskPhase::Skipped)
}

fn is_in(task: &TaskStatus, environment: &str) -> bool {
    task.environment.as_deref() == Some(environment)
}

fn is_aborting(release: &Release) -> bool {
    release
        .status
        .as_ref()
        .is_some_and(|s| s.phase == ReleasePhase::Aborting)
}

fn is_under_way(release: &Release) -> bool {
    !release.status.as_ref().is_some_and(|s| s.phase.is_final())
}

fn tasks(release: &Release) -> &[TaskStatus] {
    release
        .status
        .as_ref()
        .map(|s| s.tasks.as_slice())
        .unwrap_or_default()
}

fn name(release: &Release) -> &str {
    release.metadata.name.as_deref().unwrap_or_default()
}
